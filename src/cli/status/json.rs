//! `status --json`: all that is known, by name; what is not known is null. No list is cut short.

use super::{Answer, Place, keys_in_use};
use crate::cli::output::Failure;
use crate::cli::spool;
use crate::db::status::WorkStatus;
use crate::status::{Local, Remote};
use serde_json::{Value, json};

pub(super) fn document(place: &Place<'_>, local: &Local, answer: &Answer) -> Value {
    let remote = answer.as_ref().ok();
    let work = remote.map(|remote| &remote.work);
    let stats = remote.map(|remote| &remote.token_stats);
    let audit = work.and_then(|work| work.audit.as_ref());
    let keyring = place.keyring.as_ref();
    json!({
        "daemon": local.daemon.map(|it| json!({ "pid": it.pid, "uptime_seconds": it.uptime.as_secs() })),
        "spool": files(place, local, remote),
        "keyring": { "usable": keyring.is_ok(), "error": keyring.err().map(ToString::to_string) },
        "database": database(answer),
        "server": remote.map(|remote| json!({
            "endpoint": remote.endpoint, "version": remote.work.server_version,
        })),
        "mode": remote.and_then(Remote::mode),
        "daemons": remote.map(|remote| remote.daemons.len()),
        "uptime_seconds": remote.and_then(|remote| remote.daemons.first()?.running_seconds),
        "links_written": remote.map(Remote::links_written),
        "backlog": {
            "changes": work.map(|work| work.changes),
            "oldest_seconds": work.and_then(|work| work.oldest_seconds),
        },
        "set_aside_count": work.map(|work| work.set_aside_count),
        "set_aside": work.map(|work| &work.set_aside),
        "triggers": work.map(|WorkStatus { triggers, .. }| json!({
            "sound": triggers.sound(), "wanted": triggers.wanted, "unsound": triggers.unsound,
        })),
        "users": {
            "with_token": stats.map(|stats| stats.with_token),
            "sealed": stats.map(|stats| stats.sealed),
            "plaintext": stats.map(|stats| stats.plaintext),
            "unusable": stats.map(|stats| stats.unusable.len()),
            "unusable_ids": stats.map(|stats| stats.unusable.keys().collect::<Vec<_>>()),
            "duplicated": stats.map(|stats| &stats.duplicated),
        },
        "keys": {
            "primary": keyring.ok().map(|keyring| keyring.primary().as_str()),
            "in_use": keys_in_use(answer),
            "daemons_seal_with": remote.map(|it| it.daemons.iter().map(|daemon| &daemon.seals_with).collect::<Vec<_>>()),
            "missing": stats.map(|stats| &stats.missing_keys),
        },
        "audit": {
            "finished_at": audit.map(|audit| &audit.finished_at),
            "age_seconds": audit.map(|audit| audit.age_seconds),
            "found": audit.map(|audit| audit.found),
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
