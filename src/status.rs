//! How things stand: what `status`, `health` and the metrics tell, gathered the same way for all of them.
//!
//! What is local is known whether or not the database answers, and does not wait for it.

use crate::config::Settings;
use crate::db::presence::{self, Daemon};
use crate::db::standing::{self, Holder, Standing};
use crate::db::{DbError, Session};
use crate::envelope::Keyring;
use crate::metrics::{Files, Metrics, Users};
use crate::spool::{self, Counts, Listing, Owner, SpoolError};
use crate::survey::{self, Survey};
use crate::token::TokenRule;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// A change that is older than this is late, and somebody may be holding its rows.
const LATE_SECONDS: f64 = 10.0;
/// How many of those who may are named.
const HOLDERS: i64 = 6;

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
    /// What waits, what is held up, triggers and audit.
    pub standing: Standing,
    /// The tokens.
    pub survey: Survey,
    /// Who may be holding rows that changes wait for.
    pub holders: Vec<Holder>,
}

/// Asks the database, whose schema must fit.
pub(crate) async fn remote(
    session: &mut Session,
    keyring: Option<&Keyring>,
    rule: &TokenRule,
) -> Result<Remote, DbError> {
    let standing = standing::read(session).await?;
    let late = standing.changes > 0 && standing.oldest_seconds.is_some_and(|age| age > LATE_SECONDS);
    Ok(Remote {
        endpoint: session.endpoint.clone(),
        daemons: presence::daemons(session).await?,
        holders: if late { standing::holders(session, HOLDERS).await? } else { Vec::new() },
        survey: survey::survey(session, keyring, rule).await?,
        standing,
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
        let Self { survey, .. } = self;
        let least = |moments: Vec<f64>| moments.into_iter().min_by(f64::total_cmp);
        let moments = |of: fn(&Daemon) -> Option<SystemTime>| -> Vec<f64> {
            self.daemons.iter().filter_map(of).map(seconds).collect()
        };
        let some = !self.daemons.is_empty();
        Metrics {
            up: some,
            database_connected: true,
            start_time: least(moments(|daemon| daemon.running_since)),
            reconnects: some.then(|| self.daemons.iter().map(|daemon| daemon.reconnects).sum()),
            links_written: some.then(|| self.links_written()),
            last_write: some.then(|| moments(|daemon| daemon.last_write_at).into_iter().fold(0.0, f64::max)),
            users: Some(Users {
                with_token: survey.with_token,
                sealed: survey.sealed,
                plaintext: survey.plaintext,
                unusable: survey.unusable.len(),
                duplicated: survey.duplicated.len(),
            }),
            ..work_metrics(&self.standing)
        }
    }
}

/// As [`Remote::metrics`], without the daemons and the tokens, for whoever asks often.
pub(crate) async fn work(session: &Session) -> Result<Metrics, DbError> {
    Ok(work_metrics(&standing::read(session).await?))
}

fn work_metrics(standing: &Standing) -> Metrics {
    let audit = standing.audit.as_ref();
    Metrics {
        backlog: Some((standing.changes, standing.oldest_seconds.unwrap_or(0.0))),
        set_aside: Some(standing.set_aside_count),
        triggers: Some((standing.triggers.sound(), standing.triggers.wanted)),
        audit: Some(audit.map_or((0.0, 0), |audit| (seconds(audit.finished), audit.found))),
        ..Metrics::default()
    }
}

impl Metrics {
    /// With what is known without the database: the files, and of the settings what is told.
    pub(crate) fn with_local(self, settings: &Settings, config: &Path, counts: Option<Counts>) -> Self {
        Self {
            database: instance(config),
            audit_interval: settings.audit.interval.as_secs_f64(),
            files: counts.map(|counts| Files {
                waiting: counts.waiting,
                rejected: counts.rejected,
                not_taken: counts.not_taken,
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
