//! What `status`, `health` and the metrics tell, gathered the same way for all of them.
//!
//! What is local is known whether or not the database answers, and does not wait for it.

use crate::config::Settings;
use crate::db::presence::{self, Daemon};
use crate::db::status::{self, LockHolder, WorkStatus};
use crate::db::{DbError, Session};
use crate::envelope::Keyring;
use crate::metrics::Metrics;
use crate::spool::{self, Counts, Listing, Owner, SpoolError};
use crate::token::TokenRule;
use crate::tokens::TokenStats;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// A change that is older than this is late, and somebody may be holding its rows.
const LATE_SECONDS: f64 = 10.0;
/// How many of those who may are named.
const LOCK_HOLDERS: i64 = 6;

/// What can be seen without the database.
pub(crate) struct Local {
    /// The daemon that works on the spool.
    pub daemon: Option<Owner>,
    /// How many files lie where.
    pub counts: Result<Counts, SpoolError>,
    /// Which, and why; none where it cannot be seen.
    pub listing: Option<Listing>,
}

/// Looks at the spool, and at who works on it.
pub(crate) fn local(spool: &Path) -> Local {
    Local { daemon: spool::owner(spool), counts: spool::counts(spool), listing: spool::list(spool).ok() }
}

/// What the database tells.
pub(crate) struct Remote {
    /// Where it is.
    pub endpoint: String,
    /// The daemons that are connected.
    pub daemons: Vec<Daemon>,
    /// What waits, what is set aside, triggers and audit.
    pub work: WorkStatus,
    /// Counts over all tokens.
    pub token_stats: TokenStats,
    /// Who may be holding rows that changes wait for.
    pub lock_holders: Vec<LockHolder>,
}

/// Asks the database, whose schema must fit.
pub(crate) async fn remote(
    session: &mut Session,
    keyring: Option<&Keyring>,
    rule: &TokenRule,
) -> Result<Remote, DbError> {
    let work = status::read(session).await?;
    let late = work.changes > 0 && work.oldest_seconds.is_some_and(|age| age > LATE_SECONDS);
    Ok(Remote {
        endpoint: session.endpoint.clone(),
        daemons: presence::daemons(session).await?,
        lock_holders: if late { status::lock_holders(session, LOCK_HOLDERS).await? } else { Vec::new() },
        token_stats: TokenStats::gather(session, keyring, rule).await?,
        work,
    })
}

impl Remote {
    /// How the daemons learn of changes; polling, if any of them polls.
    pub(crate) fn mode(&self) -> Option<&str> {
        let polls = |daemon: &&Daemon| daemon.mode == "poll";
        self.daemons.iter().find(polls).or(self.daemons.first()).map(|daemon| daemon.mode.as_str())
    }

    /// Why files wait, if they do.
    pub(crate) fn files_wait(&self) -> Option<&str> {
        self.daemons.iter().find_map(|daemon| daemon.files_wait.as_deref())
    }

    /// Links that the daemons have written since they started.
    pub(crate) fn links_written(&self) -> i64 {
        self.daemons.iter().fold(0, |sum, daemon| sum.saturating_add(daemon.links_written))
    }

    /// Seconds until the next audit.
    pub(crate) fn next_audit_seconds(&self) -> Option<f64> {
        self.daemons.iter().filter_map(|daemon| daemon.next_audit_seconds).min_by(f64::total_cmp)
    }

    /// The same as metrics; of the daemons, what all of them say together.
    pub(crate) fn metrics(&self) -> Metrics {
        let Self { token_stats: stats, .. } = self;
        let some = !self.daemons.is_empty();
        let started = self.daemons.iter().filter_map(|daemon| daemon.running_since).min();
        let last_write = self.daemons.iter().filter_map(|daemon| daemon.last_write_at).max();
        Metrics {
            up: some,
            database_connected: true,
            start_time_seconds: started.map(seconds),
            reconnects_total: some.then(|| self.daemons.iter().map(|daemon| daemon.reconnects).sum()),
            links_written_total: some.then(|| self.links_written()),
            last_write_timestamp_seconds: some.then_some(last_write.map_or(0.0, seconds)),
            users_with_token: Some(stats.with_token),
            users: Some([
                ("sealed", stats.sealed),
                ("plaintext", stats.plaintext),
                ("unusable", stats.unusable.len() as u64),
                ("duplicated", stats.duplicated.len() as u64),
            ]),
            ..work_metrics(&self.work)
        }
    }
}

/// As [`Remote::metrics`], without the daemons and the tokens, for whoever asks often.
pub(crate) async fn work(session: &Session) -> Result<Metrics, DbError> {
    Ok(work_metrics(&status::read(session).await?))
}

fn work_metrics(work: &WorkStatus) -> Metrics {
    let audit = work.audit.as_ref();
    Metrics {
        backlog_changes: Some(work.changes),
        backlog_oldest_seconds: Some(work.oldest_seconds.unwrap_or(0.0)),
        set_aside: Some(work.set_aside_count),
        triggers_sound: Some(work.triggers.sound()),
        triggers_wanted: Some(work.triggers.wanted),
        audit_last_timestamp_seconds: Some(audit.map_or(0.0, |audit| seconds(audit.finished))),
        audit_found: Some(audit.map_or(0, |audit| audit.found)),
        ..Metrics::default()
    }
}

impl Metrics {
    /// With what is known without the database: the files, and of the settings what is told.
    pub(crate) fn with_local(self, settings: &Settings, config: &Path, counts: Option<Counts>) -> Self {
        Self {
            database: instance(config),
            audit_interval_seconds: settings.audit.interval.as_secs_f64(),
            spool_files: counts.map(|counts| {
                [
                    ("waiting", counts.waiting as u64),
                    ("rejected", counts.rejected as u64),
                    ("not_taken", counts.not_taken as u64),
                ]
            }),
            ..self
        }
    }
}

/// Seconds since 1970.
pub(crate) fn seconds(moment: SystemTime) -> f64 {
    moment.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// What tells the metrics of this configuration from those of another on the same machine: its name, unless it is the
/// usual one.
fn instance(config: &Path) -> Option<String> {
    let name = config.file_stem()?.to_string_lossy();
    (name != "config").then(|| name.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_named_by_its_configuration() {
        assert_eq!(instance(Path::new("/etc/relinkd/config.toml")), None);
        assert_eq!(instance(Path::new("/etc/relinkd/shop.toml")), Some("shop".to_owned()));
    }
}
