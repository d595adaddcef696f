//! Which daemons are at work on this database: a row each in `relinkd.daemon`.
//!
//! A daemon that listens is alive while its listening backend is; one behind a pooler has no backend of its own and
//! says so every 10 s instead.

use super::{DbError, Session};
use tokio_postgres::types::Type;

/// How a daemon learns of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// By notifications, with a poll behind them.
    Listen,
    /// By looking once a second: a pooler keeps notifications away.
    Poll,
}

impl Mode {
    /// As it stands in the table and in `status`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Listen => "listen",
            Self::Poll => "poll",
        }
    }
}

/// Enters a daemon, on its listening session, and clears away rows of dead ones.
///
/// # Errors
/// The database's.
pub async fn enter(listener: &Session, id: &str, mode: Mode) -> Result<(), DbError> {
    listener
        .execute("delete from relinkd.daemon d where d.id = $1 or not relinkd.alive(d)", &[(&id, Type::TEXT)])
        .await?;
    listener
        .execute(
            "insert into relinkd.daemon (id, mode, backend_pid, backend_start)
             select $1, $2, a.pid, a.backend_start from pg_stat_activity a where a.pid = pg_backend_pid()",
            &[(&id, Type::TEXT), (&mode.name(), Type::TEXT)],
        )
        .await?;
    Ok(())
}

/// Says that a polling daemon is still there; also the heartbeat of a listening one, which writes nothing.
///
/// # Errors
/// The database's.
pub async fn beat(listener: &Session, id: &str, mode: Mode) -> Result<(), DbError> {
    match mode {
        Mode::Listen => listener.query("select 1", &[]).await.map(drop),
        Mode::Poll => listener
            .execute("update relinkd.daemon set seen_at = now() where id = $1", &[(&id, Type::TEXT)])
            .await
            .map(drop),
    }
}

/// Takes a daemon's row away.
///
/// # Errors
/// The database's.
pub async fn leave(session: &Session, id: &str) -> Result<(), DbError> {
    session.execute("delete from relinkd.daemon where id = $1", &[(&id, Type::TEXT)]).await?;
    Ok(())
}

/// Says why the files in a daemon's spool have to wait, or that they do not.
///
/// # Errors
/// The database's.
pub async fn files_wait(session: &Session, id: &str, reason: Option<&str>) -> Result<(), DbError> {
    session
        .execute(
            "update relinkd.daemon set files_wait = $2 where id = $1",
            &[(&id, Type::TEXT), (&reason, Type::TEXT)],
        )
        .await
        .map(drop)
}

/// A daemon that is alive.
#[derive(Debug)]
pub struct Daemon {
    /// The name of its [`Mode`].
    pub mode: String,
    /// Why the files in its spool have to wait, if they do.
    pub files_wait: Option<String>,
}

/// The daemons that are alive, the longest first.
///
/// # Errors
/// The database's.
pub async fn daemons(session: &Session) -> Result<Vec<Daemon>, DbError> {
    let rows = session
        .query(
            "select d.mode, d.files_wait from relinkd.daemon d where relinkd.alive(d) order by d.started_at",
            &[],
        )
        .await?;
    Ok(rows.iter().map(|row| Daemon { mode: row.get(0), files_wait: row.get(1) }).collect())
}
