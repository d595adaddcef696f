//! `status --json`: all that is known, by name; what is not known is null. No list is cut short.

use super::{Answer, Place, keys_in_use};
use crate::cli::output::Failure;
use crate::cli::spool;
use crate::status::{Local, Remote};
use serde_json::{Value, json};

pub(super) fn document(place: &Place<'_>, local: &Local, answer: &Answer) -> Value {
    let remote = answer.as_ref().ok();
    let standing = remote.map(|remote| &remote.standing);
    let survey = remote.map(|remote| &remote.survey);
    json!({
        "daemon": local.daemon.map(|owner| json!({
            "pid": owner.pid, "uptime_seconds": owner.uptime.as_secs(),
        })),
        "spool": files(place, local, remote),
        "keyring": {
            "usable": place.keyring.is_ok(), "error": place.keyring.as_ref().err().map(ToString::to_string),
        },
        "database": database(answer),
        "server": remote.map(|remote| json!({
            "endpoint": remote.endpoint, "version": remote.standing.server_version,
        })),
        "mode": remote.and_then(Remote::mode),
        "daemons": remote.map(|remote| remote.daemons.len()),
        "uptime_seconds": remote.and_then(|remote| remote.daemons.first()?.running_seconds),
        "links_written": remote.map(Remote::links_written),
        "backlog": {
            "changes": standing.map(|standing| standing.changes),
            "oldest_seconds": standing.and_then(|standing| standing.oldest_seconds),
        },
        "set_aside_count": standing.map(|standing| standing.set_aside_count),
        "set_aside": standing.map(|standing| &standing.set_aside),
        "triggers": standing.map(|standing| json!({
            "sound": standing.triggers.sound(), "wanted": standing.triggers.wanted,
            "unsound": standing.triggers.unsound,
        })),
        "users": {
            "with_token": survey.map(|survey| survey.with_token),
            "sealed": survey.map(|survey| survey.sealed),
            "plaintext": survey.map(|survey| survey.plaintext),
            "unusable": survey.map(|survey| survey.unusable.len()),
            "unusable_ids": survey.map(|survey| survey.unusable.keys().collect::<Vec<_>>()),
            "duplicated": survey.map(|survey| &survey.duplicated),
        },
        "keys": {
            "primary": place.keyring.as_ref().ok().map(|keyring| keyring.primary().as_str()),
            "in_use": keys_in_use(answer),
            "daemons_seal_with": remote.map(|it| it.daemons.iter().map(|daemon| &daemon.seals_with).collect::<Vec<_>>()),
            "missing": survey.map(|survey| &survey.missing_keys),
        },
        "audit": {
            "finished_at": standing.and_then(|it| it.audit.as_ref()).map(|audit| &audit.finished_at),
            "age_seconds": standing.and_then(|it| it.audit.as_ref()).map(|audit| audit.age_seconds),
            "found": standing.and_then(|it| it.audit.as_ref()).map(|audit| audit.found),
            "next_seconds": remote.and_then(Remote::next_audit_seconds),
        },
    })
}

fn database(answer: &Answer) -> Value {
    match answer {
        Ok(_) => json!({ "answers": true, "error": null, "next": null }),
        Err(silence) => {
            let Failure { cause, next, .. } = Failure::from_database(&silence.error);
            json!({
                "answers": false, "refuses": super::refuses(&silence.error), "error": cause.as_str(), "next": next.as_str(),
            })
        }
    }
}

fn files(place: &Place<'_>, local: &Local, remote: Option<&Remote>) -> Value {
    let counts = local.counts.as_ref().ok();
    let listing = local.listing.as_ref();
    json!({
        "directory": place.settings.spool.directory.to_string_lossy(),
        "error": local.counts.as_ref().err().map(ToString::to_string),
        "waiting": counts.map(|counts| counts.waiting),
        "rejected": counts.map(|counts| counts.rejected),
        "not_taken": counts.map(|counts| counts.not_taken),
        "rejected_files": listing.map(spool::rejected_as_json),
        "not_taken_files": listing.map(spool::not_taken_as_json),
        "reason": remote.and_then(Remote::files_wait),
    })
}
