//! The doorbell: how a writer wakes sleeping daemons, and how a daemon goes to sleep without losing a ring.
//!
//! A transaction that notifies takes a lock over the whole server until it is flushed, so writers ring only where
//! nobody is awake. An awake daemon holds the advisory lock ([`KEY`], 0); `relinkd.ring()` in `sql/schema.sql` tries
//! for the same lock, shared. Both sides only ever try. `tests/it/doorbell_model.rs` walks every interleaving.

use super::{DbError, Session};
use std::time::Duration;
use tokio_postgres::types::Type;

/// First half of relinkd's advisory locks ("relk"); the second half tells them apart.
pub const KEY: i32 = 1_919_249_515;

/// Starts listening on this session.
///
/// # Errors
/// The database's.
pub async fn listen(listener: &Session) -> Result<(), DbError> {
    listener.batch("listen relinkd").await
}

/// Whether a notification sent on `worker` reaches `listener` within 2 s. It does not where a pooler in between hands
/// out server connections by transaction.
///
/// # Errors
/// The database's.
pub async fn delivers(listener: &mut Session, worker: &Session) -> Result<bool, DbError> {
    worker.query("select pg_notify('relinkd', '')::text", &[]).await?;
    match tokio::time::timeout(Duration::from_secs(2), listener.rings.recv()).await {
        Ok(Some(())) => Ok(true),
        Ok(None) => Err(DbError::Lost("it closed while relinkd tried it".to_owned())),
        Err(_) => Ok(false),
    }
}

/// Waits for a ring; swallows those that have piled up.
///
/// # Errors
/// [`DbError::Lost`] when the connection is gone.
pub async fn rung(listener: &mut Session) -> Result<(), DbError> {
    let first = listener.rings.recv().await;
    while listener.rings.try_recv().is_ok() {}
    first.ok_or_else(|| DbError::Lost("the listening session closed".to_owned()))
}

/// Tries to be the one that is awake. Without the lock writers ring, which costs them time and loses nothing.
///
/// # Errors
/// The database's.
pub async fn wake(worker: &Session) -> Result<bool, DbError> {
    Ok(worker.query_one("select pg_try_advisory_lock($1, 0)", &[(&KEY, Type::INT4)]).await?.get(0))
}

/// The moment a daemon let go of the lock, in the server's count of transactions.
pub struct Release(String);

/// Lets go of the lock and marks the moment.
///
/// # Errors
/// The database's.
pub async fn release(worker: &Session) -> Result<Release, DbError> {
    worker.query("select pg_advisory_unlock($1, 0)", &[(&KEY, Type::INT4)]).await?;
    let row = worker.query_one("select pg_current_xact_id()::text", &[]).await?;
    Ok(Release(row.get(0)))
}

/// Whether every transaction that may have seen the lock held is over: none older than the release is running. Only
/// then will each later change ring.
///
/// # Errors
/// The database's.
pub async fn settled(worker: &Session, release: &Release) -> Result<bool, DbError> {
    let row = worker
        .query_one(
            "select pg_snapshot_xmin(pg_current_snapshot()) > $1::text::xid8",
            &[(&release.0, Type::TEXT)],
        )
        .await?;
    Ok(row.get(0))
}

/// Rings as a trigger would; for a command that queued work.
///
/// # Errors
/// The database's.
pub async fn ring(session: &Session) -> Result<(), DbError> {
    session.query("select relinkd.ring()::text", &[]).await?;
    Ok(())
}
