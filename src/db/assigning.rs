//! The queries of an assignment: the ledger that makes a file apply once, and the write of the tokens.

use super::params::{each, params};
use super::session::Purpose;
use super::text::{Lossy, token_column};
use super::{DbError, Session, Tx, doorbell};
use std::collections::{HashMap, HashSet};
use tokio_postgres::Row;
use zeroize::Zeroizing;

/// A token to be written, sealed, or removed.
pub(crate) struct Write {
    /// Whose.
    pub telegram_id: i64,
    /// The sealed token; none removes.
    pub sealed: Option<String>,
}

/// Takes the lock under which assignments go one at a time; waits for it, longer than a frozen daemon can keep it
/// (`idle_in_transaction_session_timeout`). What comes after it in the transaction waits for
/// no lock any longer than `deadlock_timeout`, so that the bot is never the one to give way.
pub(crate) async fn lock(tx: &Tx<'_>) -> Result<(), DbError> {
    let sql = "select set_config('lock_timeout', '5s', true), pg_advisory_xact_lock($1, 2)::text";
    tx.query(sql, params![doorbell::KEY]).await?;
    tx.batch("set local lock_timeout = '300ms'").await
}

/// The rows of users, as an assignment found them.
pub(crate) struct Rows {
    /// Locked by this transaction, each with its value.
    ours: HashMap<i64, Zeroizing<String>>,
    /// There, and locked by somebody else.
    locked: HashSet<i64>,
}

impl Rows {
    /// Whether the bot has no such user.
    pub(crate) fn is_unknown(&self, user: i64) -> bool {
        !self.ours.contains_key(&user) && !self.locked.contains(&user)
    }

    /// The values of the rows.
    pub(crate) fn values(&self) -> impl Iterator<Item = &str> {
        self.ours.values().map(|value| value.as_str())
    }

    /// Whether somebody else holds the row.
    pub(crate) fn is_locked(&self, user: i64) -> bool {
        self.locked.contains(&user)
    }
}

/// Locks the rows of these users until the end of the transaction, passing over those that somebody else holds.
pub(crate) async fn lock_users(tx: &Tx<'_>, users: &[i64]) -> Result<Rows, DbError> {
    let sql = concat!(
        "select u.telegram_id::int8, ",
        token_column!("u"),
        " from relinkd.bot_user u where u.telegram_id = any ($1) for no key update skip locked"
    );
    let rows = tx.query(sql, params![users]).await?;
    let value =
        |row: &Row| Zeroizing::new(row.get::<_, Option<Lossy>>(1).map_or_else(String::new, |text| text.0));
    let ours: HashMap<i64, _> = rows.iter().map(|row| (row.get(0), value(row))).collect();
    let others: Vec<i64> = users.iter().filter(|user| !ours.contains_key(user)).copied().collect();
    let locked = if others.is_empty() { HashSet::new() } else { known(tx, &others).await? };
    Ok(Rows { ours, locked })
}

/// The receipts of those of these claims that took effect.
pub(crate) async fn receipts(session: &Session, claims: &[&str]) -> Result<HashMap<String, String>, DbError> {
    let sql = "select claim, receipt from relinkd.ledger where claim = any ($1)";
    session.query_map(sql, params![claims], |row| (row.get(0), row.get(1))).await
}

/// Enters claims in the ledger, each with its receipt.
pub(crate) async fn enter(tx: &Tx<'_>, entries: &[(&str, &str)]) -> Result<(), DbError> {
    let (claims, receipts): (Vec<&str>, Vec<&str>) = entries.iter().copied().unzip();
    let sql = "insert into relinkd.ledger (claim, receipt) select c, r from unnest($1, $2) n(c, r)";
    tx.execute(sql, params![claims, receipts]).await
}

/// Forgets claims whose files are gone from the disk for good. Flushed like what entered them: the claims themselves go
/// next, and a row that came back after power loss would stay for ever.
pub(crate) async fn forget(session: &mut Session, claims: &[&str]) -> Result<(), DbError> {
    let tx = session.begin(Purpose::Assign);
    tx.execute("delete from relinkd.ledger where claim = any ($1)", params![claims]).await?;
    tx.commit().await
}

/// Which of these users the bot knows.
pub(crate) async fn known(tx: &Tx<'_>, users: &[i64]) -> Result<HashSet<i64>, DbError> {
    let sql = "select telegram_id::int8 from relinkd.bot_user where telegram_id = any ($1)";
    tx.query_map(sql, params![users], |row| row.get(0)).await
}

/// Users whose token may have changed since their fingerprint was written.
pub(crate) async fn users_with_changes(tx: &Tx<'_>) -> Result<Vec<i64>, DbError> {
    let sql = "select c.telegram_id from relinkd.change c where c.issue_id is null and c.telegram_id is not null
                union
               select u.telegram_id::int8 from relinkd.bot_user u
                where u.portal_token <> '' and exists (select from relinkd.change c where c.telegram_id is null)";
    tx.query_map(sql, &[], |row| row.get(0)).await
}

/// Writes tokens. Returns the users there are.
pub(crate) async fn write(tx: &Tx<'_>, writes: &[Write]) -> Result<HashSet<i64>, DbError> {
    let sql = "update relinkd.bot_user u set portal_token = w.sealed
                 from rows from (pg_catalog.unnest($1), pg_catalog.unnest($2)) w(telegram_id, sealed)
                where u.telegram_id operator(pg_catalog.=) w.telegram_id
               returning u.telegram_id::pg_catalog.int8";
    let (users, sealed) = (each(writes, |w| w.telegram_id), each(writes, |w| w.sealed.as_deref()));
    let rows = tx.write(sql, params![users, sealed]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// The server's time, UTC, as RFC 3339 writes it.
pub(crate) async fn now(tx: &Tx<'_>) -> Result<String, DbError> {
    let sql = "select to_char(clock_timestamp() at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')";
    tx.query_value(sql, &[]).await
}
