//! The doorbell: how a writer wakes sleeping daemons, and how a daemon goes to sleep without losing a change.
//!
//! A transaction that notifies takes a lock over the whole server until it is flushed, so writers ring only where
//! somebody sleeps. The sleeper holds the advisory lock ([`KEY`], 0) exclusively, on its listening session; a trigger
//! tries for it shared, until its transaction's end. It got the lock: nobody sleeps, and nobody can fall asleep before
//! this change can be seen. It did not: somebody sleeps, and it rings.
//!
//! So a daemon that got the lock and then finds nothing, in a statement that was sent after the lock's answer came, may
//! sleep. When it is woken it keeps the lock for one step, for mostly that is all there is to do, and lets go of it where
//! there is more. `tests/model/doorbell.rs` walks every interleaving.

use super::params::params;
use super::{DbError, Session};
use std::time::Duration;
use tokio::sync::mpsc;

/// First half of relinkd's advisory locks ("relk"); the second half tells them apart. The trigger functions in
/// `sql/attach.sql` say it again.
pub(crate) const KEY: i32 = 1_919_249_515;

/// Starts listening on this session. Returns the process id of its backend.
pub(crate) async fn listen(listener: &Session) -> Result<i32, DbError> {
    listener.batch("listen relinkd").await?;
    listener.query_value("select pg_backend_pid()", &[]).await
}

/// Listens no more. Behind a pooler that is where the session is at the moment, not always where [`listen`] was; where
/// nobody listens it costs nothing.
pub(crate) async fn unlisten(session: &Session) -> Result<(), DbError> {
    session.batch("unlisten relinkd").await
}

/// Whether a notification sent on `worker` reaches `listener` within 2 s. It does not where a pooler in between hands
/// out server connections by transaction; then nothing of the trial is left, where it can be reached.
pub(crate) async fn delivers(listener: &mut Session, worker: &Session) -> Result<bool, DbError> {
    worker.query("select pg_notify('relinkd', '')::text", &[]).await?;
    match tokio::time::timeout(Duration::from_secs(2), listener.rings.recv()).await {
        Ok(Some(())) => Ok(true),
        Ok(None) => Err(DbError::Lost("it closed while relinkd tried it".into())),
        Err(_) => {
            unlisten(listener).await?;
            Ok(false)
        }
    }
}

/// The rings that a listening session hears.
pub(crate) struct Rings(mpsc::Receiver<()>);

impl Rings {
    /// Takes them from the session, which goes on to be used for other things.
    pub(crate) fn of(listener: &mut Session) -> Self {
        Self(std::mem::replace(&mut listener.rings, mpsc::channel(1).1))
    }

    /// Waits for a ring; swallows those that have piled up. Fails when the connection is gone.
    pub(crate) async fn next(&mut self) -> Result<(), DbError> {
        let first = self.0.recv().await;
        while self.0.try_recv().is_ok() {}
        first.ok_or_else(|| DbError::Lost("the listening session closed".into()))
    }
}

/// What came of trying for the sleeper's lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lock {
    /// This daemon has it: from now on writers ring.
    Ours,
    /// Another daemon has it: writers ring, and this one hears it as well.
    Anothers,
    /// A writer is still at it, or a stranger has it: whoever sleeps now would hear nothing.
    NotYet,
}

/// Tries to be the one who sleeps, on the session that listens. `backend` is what [`listen`] returned: behind a pooler
/// the lock could be taken on a session that is not ours.
///
/// Whether another daemon sleeps is read from `pg_locks`, granted locks only: trying for it again would keep others out.
pub(crate) async fn try_lock(listener: &Session, backend: i32) -> Result<Lock, DbError> {
    let row = listener
        .query_one(
            "select case when pg_backend_pid() = $2 then pg_try_advisory_lock($1, 0) end, pg_backend_pid() = $2",
            params![KEY, backend],
        )
        .await?;
    if !row.get::<_, bool>(1) {
        return Err(DbError::Lost("a pooler moved the listening session to another backend".into()));
    }
    if row.get::<_, Option<bool>>(0) == Some(true) {
        return Ok(Lock::Ours);
    }
    let another_sleeps = listener
        .query_value(
            "select exists (
                 select from pg_locks l join relinkd.daemon d on d.backend_pid = l.pid
                  where l.locktype = 'advisory' and l.granted and l.mode = 'ExclusiveLock'
                    and l.database = (select b.oid from pg_database b where b.datname = current_database())
                    and l.classid = $1::int8::oid and l.objid = 0 and l.objsubid = 2)",
            params![i64::from(KEY)],
        )
        .await?;
    Ok(if another_sleeps { Lock::Anothers } else { Lock::NotYet })
}

/// Stays awake: lets go of the lock, however often it was taken.
pub(crate) async fn unlock(listener: &Session) -> Result<(), DbError> {
    listener.query("select pg_advisory_unlock_all()::text", &[]).await.map(drop)
}
