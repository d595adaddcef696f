//! The queries of an assignment: the ledger that makes a file apply once, and the write of the tokens.

use super::{DbError, Session, Tx, doorbell};
use std::collections::HashSet;
use tokio_postgres::types::Type;

/// A token to be written, sealed, or removed.
pub struct Write {
    /// Whose.
    pub telegram_id: i64,
    /// The sealed token; none removes.
    pub sealed: Option<String>,
}

/// Takes the lock under which assignments go one at a time; waits for it.
///
/// # Errors
/// The database's.
pub async fn lock(tx: &Tx<'_>) -> Result<(), DbError> {
    tx.query("select pg_advisory_xact_lock($1, 2)::text", &[(&doorbell::KEY, Type::INT4)]).await?;
    Ok(())
}

/// The receipt of a claim that took effect.
///
/// # Errors
/// The database's.
pub async fn receipt(session: &Session, claim: &str) -> Result<Option<String>, DbError> {
    let rows =
        session.query("select receipt from relinkd.ledger where claim = $1", &[(&claim, Type::TEXT)]).await?;
    Ok(rows.first().map(|row| row.get(0)))
}

/// Enters a claim in the ledger.
///
/// # Errors
/// The database's.
pub async fn enter(tx: &Tx<'_>, claim: &str, receipt: &str) -> Result<(), DbError> {
    tx.execute(
        "insert into relinkd.ledger (claim, receipt) values ($1, $2)",
        &[(&claim, Type::TEXT), (&receipt, Type::TEXT)],
    )
    .await?;
    Ok(())
}

/// Forgets a claim whose file is gone from the disk for good.
///
/// # Errors
/// The database's.
pub async fn forget(session: &Session, claim: &str) -> Result<(), DbError> {
    session.execute("delete from relinkd.ledger where claim = $1", &[(&claim, Type::TEXT)]).await?;
    Ok(())
}

/// Which of these users the bot knows.
///
/// # Errors
/// The database's.
pub async fn known(tx: &Tx<'_>, users: &[i64]) -> Result<HashSet<i64>, DbError> {
    let rows = tx
        .query(
            "select telegram_id::int8 from relinkd.bot_user where telegram_id = any ($1)",
            &[(&users, Type::INT8_ARRAY)],
        )
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Users whose token may have changed since their mark was written.
///
/// # Errors
/// The database's.
pub async fn waiting(tx: &Tx<'_>) -> Result<Vec<i64>, DbError> {
    let rows = tx
        .query(
            "select telegram_id from relinkd.change where issue_id is null
              union select telegram_id from relinkd.walk",
            &[],
        )
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Writes tokens, in the order given. Returns the users there are.
///
/// # Errors
/// The database's.
pub async fn write(tx: &Tx<'_>, writes: &[Write]) -> Result<HashSet<i64>, DbError> {
    let users: Vec<i64> = writes.iter().map(|w| w.telegram_id).collect();
    let sealed: Vec<Option<&str>> = writes.iter().map(|w| w.sealed.as_deref()).collect();
    let rows = tx
        .query(
            "update relinkd.bot_user u set portal_token = w.sealed
               from unnest($1, $2) w(telegram_id, sealed)
              where u.telegram_id = w.telegram_id
             returning u.telegram_id::int8",
            &[(&users, Type::INT8_ARRAY), (&sealed, Type::TEXT_ARRAY)],
        )
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// The server's time, UTC, as RFC 3339 writes it.
///
/// # Errors
/// The database's.
pub async fn now(tx: &Tx<'_>) -> Result<String, DbError> {
    let row = tx
        .query_one(
            "select to_char(clock_timestamp() at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')",
            &[],
        )
        .await?;
    Ok(row.get(0))
}
