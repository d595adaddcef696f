//! `status` for people: a line a subject; beneath what is not as it should be its cause, and the command that mends it.
//! Of no list are more than five shown.

use super::{Answer, Place};
use crate::check::Severity;
use crate::cli::output::{self, Failure, count, rough, rough_seconds, things};
use crate::cli::{database, spool};
use crate::config;
use crate::db::status::{LockHolder, SetAside, Triggers};
use crate::envelope::KeyId;
use crate::keyring_file::{KeyringError, shell_word};
use crate::printable::Printable;
use crate::status::{Local, Remote};
use crate::tokens::TokenStats;
use std::collections::BTreeMap;
use std::fmt::Display;

/// How many of anything are shown.
const SHOWN: usize = 5;
/// A change that is older than this is late.
const LATE_SECONDS: f64 = 60.0;

/// How grave it is, if it may be amiss.
fn warning_if(amiss: bool) -> Severity {
    if amiss { Severity::Warning } else { Severity::Ok }
}

/// What is shown of this place, with this at the end of each line.
pub(super) struct Screen<'a> {
    pub(super) place: &'a Place<'a>,
    pub(super) end: &'static str,
}

impl Screen<'_> {
    /// How a subject stands.
    fn row(&self, name: &str, severity: Severity, text: impl Display) {
        output::coloured("", (&format!("{name:<12}"), Some(severity)), text, self.end);
    }

    /// A cause, beneath the row that it belongs to.
    fn cause(&self, text: impl Display) {
        output::coloured("", (&" ".repeat(12), None), text, self.end);
    }

    /// The command that mends it.
    fn mend(&self, command: impl Display) {
        self.cause(format_args!("mend: {command}"));
    }

    /// The first of several, and how many more there are, with those that are not even listed.
    fn some<T>(&self, all: impl IntoIterator<Item = T>, unlisted: usize, cause: impl Fn(T) -> String) {
        let mut all = all.into_iter();
        all.by_ref().take(SHOWN).for_each(|one| self.cause(cause(one)));
        let more = all.count() + unlisted;
        if more > 0 {
            self.cause(format_args!("and {} more", count(more)));
        }
    }

    /// What is known without the database.
    pub(super) fn local(&self, local: &Local) {
        if let Some(owner) = &local.daemon {
            let text = format!("running here for {}, process {}", rough(owner.uptime), owner.pid);
            self.row("daemon", Severity::Ok, text);
        } else {
            self.row("daemon", Severity::Warning, "none is running here");
            // Without a keyring it would not start.
            if self.place.keyring.is_ok() {
                self.mend("systemctl start relinkd");
            }
        }
        self.files(local);
        match &self.place.keyring {
            Ok(keyring) => {
                let keys = things(keyring.ids().count(), "key");
                self.row("keyring", Severity::Ok, format!("{} seals; {keys} in all", keyring.primary()));
            }
            Err(error) => self.row("keyring", Severity::Fault, error),
        }
    }

    fn files(&self, local: &Local) {
        let counts = match &local.counts {
            Ok(counts) => counts,
            Err(error) => return self.row("spool", Severity::Fault, error),
        };
        let severity = warning_if(counts.rejected + counts.not_taken > 0);
        let [waiting, rejected, not_taken] = [counts.waiting, counts.rejected, counts.not_taken].map(count);
        self.row("spool", severity, format!("{waiting} waiting, {rejected} rejected, {not_taken} not taken"));
        let Some(listing) = &local.listing else { return };
        self.some(&listing.rejected, 0, |file| {
            format!("rejected: {}: {}", Printable::name(&file.name), spool::summary(file))
        });
        if let Some(file) = listing.rejected.first() {
            let name = shell_word(Printable::name(&file.name).as_str());
            self.mend(format!("relinkd spool show {name}"));
        }
        self.some(&listing.not_taken, 0, |file| {
            format!("not taken: {}: {}", Printable::name(&file.name), file.reason)
        });
        if !listing.not_taken.is_empty() {
            self.cause(
                "a file is taken that is a regular one, has one name, and may be read: mend it, or move it away",
            );
        }
    }

    /// What the database told, or why it did not.
    pub(super) fn remote(&self, answer: &Answer) {
        match answer {
            Ok(remote) => {
                let server = format!("{}, Postgres {}", remote.endpoint, remote.work.server_version);
                self.row("server", Severity::Ok, server);
                self.daemons(remote);
                self.backlog(remote);
                self.triggers(&remote.work.triggers);
                self.tokens(&remote.token_stats);
                self.keys(&remote.token_stats.keys, &remote.token_stats.missing_keys);
                self.audit(remote);
            }
            Err(silence) => {
                let Failure { cause, next, .. } = Failure::from_database(&silence.error);
                self.row("database", Severity::Fault, cause);
                self.mend(next);
                if let Some(keys) = &silence.keys {
                    let ring = self.place.keyring.as_ref().ok();
                    let held = |key: &str| {
                        ring.is_some_and(|ring| KeyId::parse(key).is_ok_and(|id| ring.contains(&id)))
                    };
                    let missing = keys.iter().filter(|(key, _)| !held(key));
                    self.keys(keys, &missing.map(|(key, values)| (key.clone(), *values)).collect());
                }
            }
        }
    }

    fn daemons(&self, remote: &Remote) {
        let daemons = &remote.daemons;
        let Some(mode) = remote.mode() else {
            return self.row("connected", Severity::Fault, "no daemon: nothing is brought into links");
        };
        let polls = mode == "poll";
        let waits = daemons.iter().any(|daemon| daemon.other_portal);
        let longest = daemons.iter().filter_map(|daemon| daemon.running_seconds).reduce(f64::max);
        let up = longest.map_or_else(String::new, |seconds| format!(", up {}", rough_seconds(seconds)));
        let connected = format!("{}, mode {mode}{up}", things(daemons.len(), "daemon"));
        self.row("connected", warning_if(polls || waits), connected);
        if polls {
            self.cause("notifications do not come through, as behind a pooler: looks once a second");
            let config = shell_word(&self.place.config.to_string_lossy());
            self.mend(format!("editor {config} && relinkd check # let database.url name the server itself"));
        }
        if waits {
            self.cause("a daemon has another [portal] than the one that links follow, and writes none");
            self.mend("systemctl reload relinkd");
        }
        let files: Vec<&str> = daemons.iter().filter_map(|daemon| daemon.files_wait.as_deref()).collect();
        if let [first, others @ ..] = &*files {
            self.row("files", Severity::Warning, format!("files wait: {first}"));
            self.some(others, 0, |reason| format!("files wait: {reason}"));
        }
        let written = things(remote.links_written(), "link");
        self.row("links", Severity::Ok, format!("{written} written since the start"));
    }

    fn backlog(&self, remote: &Remote) {
        let work = &remote.work;
        match work.oldest_seconds {
            Some(age) if work.changes > 0 => {
                let (changes, oldest) = (things(work.changes, "change"), rough_seconds(age));
                let severity = warning_if(age > LATE_SECONDS);
                self.row("backlog", severity, format!("{changes} waiting, the oldest for {oldest}"));
                self.holders(&remote.lock_holders);
            }
            _ => self.row("backlog", Severity::Ok, "nothing is waiting"),
        }
        if work.set_aside_count > 0 {
            let total = usize::try_from(work.set_aside_count).unwrap_or(usize::MAX);
            let changes = things(total, "change");
            self.row("set aside", Severity::Warning, format!("{changes}, tried again by themselves"));
            self.some(&work.set_aside, total.saturating_sub(work.set_aside.len()), set_aside);
            self.cause("the reason names what refuses: a trigger or a constraint of the bot's tables");
        }
    }

    fn holders(&self, holders: &[LockHolder]) {
        self.some(holders, 0, |holder| {
            let since =
                holder.seconds.map_or_else(String::new, |age| format!(", for {}", rough_seconds(age)));
            format!("session {} of {} has locked rows of the bot's tables{since}", holder.pid, holder.user)
        });
        if let Some(LockHolder { pid, user, .. }) = holders.first() {
            self.mend(format!(
                "select pg_terminate_backend({pid}); -- as {user}, or a superuser; if it was forgotten"
            ));
        }
    }

    fn triggers(&self, triggers: &Triggers) {
        let sound = triggers.unsound.is_empty();
        let severity = if sound { Severity::Ok } else { Severity::Fault };
        let text = format!("{}/{} in place and enabled", triggers.sound(), triggers.wanted);
        self.row("triggers", severity, text);
        self.some(&triggers.unsound, 0, |name| {
            format!("{name} is missing, disabled, or not as it should be")
        });
        if !sound {
            self.mend("relinkd check # says which, and how");
        }
    }

    fn tokens(&self, stats: &TokenStats) {
        let usable = things(stats.with_token, "usable token");
        let (sealed, plaintext) = (count(stats.sealed), count(stats.plaintext));
        let unusable = count(stats.unusable.len());
        self.row(
            "tokens",
            warning_if(!stats.unusable.is_empty() || !stats.duplicated.is_empty()),
            format!("{usable}: {sealed} sealed, {plaintext} in plaintext; {unusable} unusable"),
        );
        // Those whose key is missing are told beneath `keys`, key by key.
        let own: Vec<_> =
            stats.unusable.iter().filter(|(_, reason)| reason.unknown_key().is_none()).collect();
        self.some(&own, 0, |(id, reason)| format!("user {id}: unusable ({})", reason.code()));
        if let Some((id, _)) = own.first() {
            self.mend(format!("relinkd token set {id}"));
        }
        if let Some(last) = stats.duplicated.last() {
            let users = listed(&stats.duplicated, ToString::to_string);
            self.cause(format!("these users share tokens with each other: {users}"));
            self.mend(format!("relinkd token set {last}"));
        }
    }

    fn keys(&self, in_use: &BTreeMap<String, u64>, missing: &BTreeMap<String, u64>) {
        let keyring = &self.place.keyring;
        let primary = match keyring {
            Ok(ring) => format!("primary {}", ring.primary()),
            Err(_) => "no keyring".to_owned(),
        };
        let uses = listed(in_use, |(key, values)| format!("{key}: {}", count(*values)));
        let uses = if uses.is_empty() { "none" } else { &uses };
        let severity = if missing.is_empty() { Severity::Ok } else { Severity::Fault };
        self.row("keys", severity, format!("{primary}; in use: {uses}"));
        if missing.is_empty() {
            return;
        }
        let (why, mend) = match keyring {
            Ok(_) => (
                "which is not in the keyring: no other key opens them",
                database::bring_back_key(&self.place.settings),
            ),
            Err(KeyringError::Absent(path)) => {
                ("and the keyring is gone: no new key opens them", database::bring_back(path))
            }
            Err(error) => (
                "and the keyring cannot be used",
                error.mend().unwrap_or_else(|| "relinkd check --offline".to_owned()),
            ),
        };
        self.some(missing, 0, |(key, values)| {
            format!("{} under the key {key}, {why}", database::sealed(*values))
        });
        self.mend(mend);
    }

    fn audit(&self, remote: &Remote) {
        let next = remote
            .next_audit_seconds()
            .map_or_else(String::new, |seconds| format!("; the next in {}", rough_seconds(seconds)));
        let Some(audit) = &remote.work.audit else {
            return self.row("audit", Severity::Ok, format!("none yet{next}"));
        };
        let late = audit.age_seconds > self.place.settings.audit.late_after().as_secs_f64();
        let (when, found) = (&audit.finished_at, count(audit.found));
        self.row("audit", warning_if(late), format!("last finished {when}, found {found} to mend{next}"));
        if late {
            self.cause("late: none came to its end since; the log says why");
            self.mend(format!("journalctl -u {} -p warning", config::unit(self.place.config)));
        }
    }
}

fn set_aside(one: &SetAside) -> String {
    let issue = one.issue_id.map_or_else(String::new, |issue| format!("issue {issue} of "));
    let user = one.telegram_id.map_or_else(|| "everybody".to_owned(), |id| format!("user {id}"));
    let tried = i64::from(one.attempts);
    format!("{issue}{user} failed {}: {}", things(tried, "time"), one.reason)
}

/// The first of these, and how many more there are.
fn listed<T>(all: impl IntoIterator<Item = T>, one: impl Fn(T) -> String) -> String {
    let mut all = all.into_iter();
    let some: Vec<String> = all.by_ref().take(SHOWN).map(one).collect();
    let more = all.count();
    some.join(", ") + &if more > 0 { format!(" and {} more", count(more)) } else { String::new() }
}
