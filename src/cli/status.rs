//! `relinkd status`: how things stand, as a table or as JSON.

use super::StatusArgs;
use super::database::{self, Workplace};
use super::output::{self, Exit, Failure};
use crate::db::presence::{self, Daemon};
use crate::db::standing::{self, Standing};
use crate::spool;
use crate::survey::{self, Survey};
use serde_json::json;
use std::path::Path;

pub(super) fn run(config: &Path, args: &StatusArgs) -> Result<Exit, Failure> {
    database::block_on(async {
        let mut workplace = Workplace::open(config).await?;
        let view = View::gather(&mut workplace).await?;
        if args.json {
            view.print_json(&workplace);
        } else {
            view.print(&workplace);
        }
        Ok(Exit::Done)
    })
}

struct View {
    daemons: Vec<Daemon>,
    standing: Standing,
    survey: Survey,
    spool: Option<spool::Counts>,
}

impl View {
    async fn gather(workplace: &mut Workplace) -> Result<Self, Failure> {
        let daemons = presence::daemons(&workplace.session).await?;
        let standing = standing::read(&workplace.session).await?;
        let rule = workplace.settings.portal.token_rule.clone();
        let survey = survey::survey(&mut workplace.session, &workplace.keyring, &rule).await?;
        let spool = spool::counts(&workplace.settings.spool.directory).ok();
        Ok(Self { daemons, standing, survey, spool })
    }

    /// How the daemons learn of changes; polling, if any of them polls.
    fn mode(&self) -> Option<&str> {
        let polls = |daemon: &&Daemon| daemon.mode == "poll";
        self.daemons.iter().find(polls).or(self.daemons.first()).map(|daemon| daemon.mode.as_str())
    }

    /// Why files wait, if they do.
    fn files_wait(&self) -> Option<&str> {
        self.daemons.iter().find_map(|daemon| daemon.files_wait.as_deref())
    }

    fn print_json(&self, workplace: &Workplace) {
        let Self { standing, survey, spool, .. } = self;
        output::line(json!({
            "version": 1,
            "server": { "endpoint": workplace.session.endpoint, "version": standing.server_version },
            "mode": self.mode(),
            "daemons": self.daemons.len(),
            "backlog": { "changes": standing.changes, "oldest_seconds": standing.oldest_seconds },
            "set_aside": standing.set_aside.iter().map(|s| json!({
                "telegram_id": s.telegram_id, "attempts": s.attempts, "reason": s.reason,
            })).collect::<Vec<_>>(),
            "users": {
                "with_token": survey.with_token,
                "sealed": survey.sealed,
                "plaintext": survey.plaintext,
                "unusable": survey.unusable.len(),
                "unusable_ids": survey.unusable.keys().collect::<Vec<_>>(),
                "duplicated": survey.duplicated,
            },
            "keys": { "primary": workplace.keyring.primary().as_str(), "in_use": survey.keys },
            "spool": spool.as_ref().map(|counts| json!({
                "waiting": counts.waiting, "rejected": counts.rejected, "not_taken": counts.not_taken,
                "reason": self.files_wait(),
            })),
            "audit": { "finished_at": standing.audit_finished_at, "found": standing.audit_found },
        }));
    }

    fn print(&self, workplace: &Workplace) {
        let Self { standing, survey, spool, .. } = self;
        let row = |name: &str, value: String| output::line(format!("{name:<12} {value}"));
        row("server", format!("{}, Postgres {}", workplace.session.endpoint, standing.server_version));
        row(
            "daemon",
            match (self.daemons.len(), self.mode()) {
                (0, _) => "none is running".to_owned(),
                (count, mode) => format!("{count} connected, mode {}", mode.unwrap_or("unknown")),
            },
        );
        row(
            "backlog",
            match standing.oldest_seconds {
                Some(age) if standing.changes > 0 => {
                    format!(
                        "{} waiting, the oldest for {age:.0} s",
                        output::things(standing.changes, "change")
                    )
                }
                _ => "nothing is waiting".to_owned(),
            },
        );
        for held in &standing.set_aside {
            row("", format!("user {} failed {} times: {}", held.telegram_id, held.attempts, held.reason));
        }
        row(
            "tokens",
            format!(
                "{}: {} sealed, {} in plaintext",
                output::things(survey.with_token, "usable token"),
                output::count(survey.sealed),
                output::count(survey.plaintext)
            ),
        );
        for (id, reason) in &survey.unusable {
            row("", format!("user {id}: unusable ({reason})"));
        }
        if !survey.duplicated.is_empty() {
            let ids: Vec<String> = survey.duplicated.iter().map(ToString::to_string).collect();
            row("", format!("these users share tokens with each other: {}", ids.join(", ")));
        }
        let keys: Vec<String> = survey.keys.iter().map(|(key, count)| format!("{key}: {count}")).collect();
        row(
            "keys",
            format!(
                "primary {}; in use: {}",
                workplace.keyring.primary(),
                if keys.is_empty() { "none".to_owned() } else { keys.join(", ") }
            ),
        );
        row(
            "spool",
            spool.as_ref().map_or_else(
                || "cannot be read by this user".to_owned(),
                |counts| {
                    format!(
                        "{} waiting, {} rejected, {} not taken",
                        counts.waiting, counts.rejected, counts.not_taken
                    )
                },
            ),
        );
        if let Some(reason) = self.files_wait() {
            row("", format!("files wait: {reason}"));
        }
        row(
            "audit",
            match (&standing.audit_finished_at, standing.audit_found) {
                (Some(at), Some(found)) => format!("last finished {at}, found {found} to mend"),
                _ => "none yet".to_owned(),
            },
        );
    }
}
