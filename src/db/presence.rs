//! Which daemons are at work on this database: a row each in `relinkd.daemon`.
//!
//! A daemon that listens is alive while its listening backend is; one behind a pooler has no backend of its own and
//! says so every 10 s instead.

use super::params::params;
use super::{DbError, Session, as_i64};
use std::time::SystemTime;
use tokio_postgres::Row;

named! {
    /// How a daemon learns of changes. The names stand in `status` as well.
    Mode {
        /// By notifications, with a poll behind them.
        Listen = "listen",
        /// By looking once a second: a pooler keeps notifications away.
        Poll = "poll",
    }
}

/// Enters a daemon, on its listening session, and clears away rows of dead ones.
pub(crate) async fn enter(
    listener: &Session,
    id: &str,
    mode: Mode,
    running_since: SystemTime,
    seals_with: &str,
) -> Result<(), DbError> {
    let dead = "delete from relinkd.daemon d where d.id = $1 or not relinkd.alive(d)";
    listener.execute(dead, params![id]).await?;
    let sql = "insert into relinkd.daemon (id, mode, running_since, seals_with, backend_pid, backend_start)
               select $1, $2, $3, $4, a.pid, a.backend_start from pg_stat_activity a where a.pid = pg_backend_pid()";
    listener.execute(sql, params![id, mode.name(), running_since, seals_with]).await
}

/// What a daemon tells of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Report {
    /// The key that it seals with.
    pub seals_with: String,
    /// Links written since the start.
    pub links_written: u64,
    /// When it last wrote one.
    pub last_write_at: Option<SystemTime>,
    /// How often it had to connect again.
    pub reconnects: u64,
    /// Seconds until the next audit.
    pub next_audit_in: Option<u64>,
    /// Its `[portal]` is not the one that links follow.
    pub other_portal: bool,
}

/// Says that a daemon is still there, and what it has to tell.
pub(crate) async fn beat(listener: &Session, id: &str, report: Report) -> Result<(), DbError> {
    let Report { seals_with, links_written, last_write_at, reconnects, next_audit_in, other_portal } = report;
    let (written, reconnects, next_audit) =
        (as_i64(links_written), as_i64(reconnects), next_audit_in.map(as_i64));
    let sql = "update relinkd.daemon
                  set seen_at = now(), links_written = $2, other_portal = $3, next_audit_at = now() + $4 * interval '1 s',
                      last_write_at = $5, reconnects = $6, seals_with = $7
                where id = $1";
    let values = params![id, written, other_portal, next_audit, last_write_at, reconnects, seals_with];
    listener.execute(sql, values).await
}

/// Takes a daemon's row away.
pub(crate) async fn leave(session: &Session, id: &str) -> Result<(), DbError> {
    session.execute("delete from relinkd.daemon where id = $1", params![id]).await
}

/// Says why the files in a daemon's spool have to wait, or that they do not.
pub(crate) async fn files_wait(session: &Session, id: &str, reason: Option<&str>) -> Result<(), DbError> {
    let sql = "update relinkd.daemon set files_wait = $2 where id = $1";
    session.execute(sql, params![id, reason]).await
}

/// A daemon that is alive, as far as its last report tells.
#[derive(Debug, Default)]
pub(crate) struct Daemon {
    /// The name of its [`Mode`].
    pub mode: String,
    /// Why the files in its spool have to wait, if they do.
    pub files_wait: Option<String>,
    /// When its process started.
    pub running_since: Option<SystemTime>,
    /// For how long it has been running, by the server's clock.
    pub running_seconds: Option<f64>,
    /// Links written since then.
    pub links_written: i64,
    /// When it last wrote one.
    pub last_write_at: Option<SystemTime>,
    /// How often it had to connect again.
    pub reconnects: i64,
    /// Seconds until its next audit.
    pub next_audit_seconds: Option<f64>,
    /// The key that it seals with.
    pub seals_with: Option<String>,
    /// Its `[portal]` is not the one that links follow.
    pub other_portal: bool,
}

/// How many daemons are alive; of any version's schema.
pub(crate) async fn count(session: &Session) -> Result<i64, DbError> {
    let sql = "select count(*) from relinkd.daemon d where relinkd.alive(d)";
    session.query_value(sql, &[]).await
}

/// Which of the daemons that write links this one is, and how many there are.
pub(crate) async fn seat(session: &Session, id: &str) -> Result<(i64, i64), DbError> {
    let sql = "select count(*) filter (where d.id < $1), count(*)
                 from relinkd.daemon d where d.id = $1 or relinkd.alive(d) and not d.other_portal";
    let row = session.query_one(sql, params![id]).await?;
    Ok((row.get(0), row.get(1)))
}

/// The daemons that are alive, the longest first.
pub(crate) async fn daemons(session: &Session) -> Result<Vec<Daemon>, DbError> {
    let sql = "select d.mode, d.files_wait, d.running_since, extract(epoch from now() - d.running_since)::float8 as running_seconds,
                      d.links_written, d.last_write_at, d.reconnects,
                      greatest(extract(epoch from d.next_audit_at - now()), 0)::float8 as next_audit_seconds,
                      d.other_portal, d.seals_with
                 from relinkd.daemon d where relinkd.alive(d) order by d.started_at";
    let daemon = |row: &Row| {
        from_row!(
            row,
            Daemon {
                mode,
                files_wait,
                running_since,
                running_seconds,
                links_written,
                last_write_at,
                reconnects,
                next_audit_seconds,
                other_portal,
                seals_with
            }
        )
    };
    session.query_map(sql, &[], daemon).await
}
