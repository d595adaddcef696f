//! What waits: changes as the triggers recorded them, and walks of whole users, with their cursors.

use crate::db::{DbError, Session, Tx};
use std::time::Duration;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

/// A change as a trigger recorded it; its row is locked by the transaction that picked it.
#[derive(Debug, Clone, Copy)]
pub struct Change {
    /// The row's key in `relinkd.change`.
    pub id: i64,
    /// The user whose links are due.
    pub telegram_id: i64,
    /// The issue, or none for all issues of the user.
    pub issue_id: Option<i64>,
    /// Links of issues up to this id lose a token whatever the setting.
    pub strip_upto: Option<i64>,
}

/// A user whose issues are being walked.
#[derive(Debug, Clone)]
pub struct Walk {
    /// The user.
    pub telegram_id: i64,
    /// Issues up to this id are done.
    pub cursor: i64,
    /// As in [`Change`].
    pub strip_upto: Option<i64>,
    /// Failures in a row.
    pub attempts: i32,
}

impl Walk {
    /// A walk over all issues of a user.
    #[must_use]
    pub fn from_start(telegram_id: i64, strip_upto: Option<i64>) -> Self {
        Self { telegram_id, cursor: i64::MIN, strip_upto, attempts: 0 }
    }
}

/// What was picked, and how much of it belongs to users whom another session is working on.
#[derive(Debug)]
pub struct Picked<T> {
    /// Rows whose user's lock this transaction now holds.
    pub ours: Vec<T>,
    /// Rows passed over.
    pub contended: usize,
}

/// Locks up to `limit` changes that are due, oldest first, and tries for their users' locks.
///
/// # Errors
/// The database's.
pub async fn pick_changes(tx: &Tx<'_>, limit: i64) -> Result<Picked<Change>, DbError> {
    let rows = tx
        .query(
            "with picked as materialized (
                 select id, telegram_id, issue_id, strip_upto from relinkd.change
                  where due <= now() order by id limit $1 for update skip locked)
             select id, telegram_id, issue_id, strip_upto,
                    pg_try_advisory_xact_lock(relinkd.user_key(telegram_id))
               from picked",
            &[(&limit, Type::INT8)],
        )
        .await?;
    Ok(picked(&rows, change))
}

/// Locks up to `limit` walks that are due, longest waiting first, and tries for their users' locks.
///
/// # Errors
/// The database's.
pub async fn pick_walks(tx: &Tx<'_>, limit: i64) -> Result<Picked<Walk>, DbError> {
    let rows = tx
        .query(
            "with picked as materialized (
                 select telegram_id, cursor, strip_upto, attempts from relinkd.walk
                  where due <= now() order by due limit $1 for update skip locked)
             select telegram_id, cursor, strip_upto, attempts,
                    pg_try_advisory_xact_lock(relinkd.user_key(telegram_id))
               from picked",
            &[(&limit, Type::INT8)],
        )
        .await?;
    Ok(picked(&rows, walk))
}

/// The fifth column says whether the user's lock was got.
fn picked<T>(rows: &[Row], of: fn(&Row) -> T) -> Picked<T> {
    let (ours, contended): (Vec<&Row>, Vec<&Row>) = rows.iter().partition(|row| row.get(4));
    Picked { ours: ours.into_iter().map(of).collect(), contended: contended.len() }
}

fn change(row: &Row) -> Change {
    Change { id: row.get(0), telegram_id: row.get(1), issue_id: row.get(2), strip_upto: row.get(3) }
}

fn walk(row: &Row) -> Walk {
    Walk { telegram_id: row.get(0), cursor: row.get(1), strip_upto: row.get(2), attempts: row.get(3) }
}

/// The changes of these users that are waiting.
///
/// # Errors
/// The database's.
pub async fn changes_of(tx: &Tx<'_>, users: &[i64]) -> Result<Vec<Change>, DbError> {
    let rows = tx
        .query(
            "select id, telegram_id, issue_id, strip_upto from relinkd.change where telegram_id = any ($1)",
            &[(&users, Type::INT8_ARRAY)],
        )
        .await?;
    Ok(rows.iter().map(change).collect())
}

/// Whether anything of this user's is waiting.
///
/// # Errors
/// The database's.
pub async fn is_waiting(session: &Session, telegram_id: i64) -> Result<bool, DbError> {
    let row = session
        .query_one(
            "select exists (select from relinkd.change where telegram_id = $1)
                 or exists (select from relinkd.walk where telegram_id = $1)",
            &[(&telegram_id, Type::INT8)],
        )
        .await?;
    Ok(row.get(0))
}

/// Forgets these changes.
///
/// # Errors
/// The database's.
pub async fn forget_changes(tx: &Tx<'_>, ids: &[i64]) -> Result<(), DbError> {
    tx.execute("delete from relinkd.change where id = any ($1)", &[(&ids, Type::INT8_ARRAY)]).await?;
    Ok(())
}

/// Puts these changes off for as long as they have waited already: at least 50 ms, at most 5 s.
///
/// # Errors
/// The database's.
pub async fn defer_changes(tx: &Tx<'_>, ids: &[i64]) -> Result<(), DbError> {
    tx.execute(
        "update relinkd.change
            set due = now() + least(greatest(clock_timestamp() - at, interval '50 ms'), interval '5 s')
          where id = any ($1)",
        &[(&ids, Type::INT8_ARRAY)],
    )
    .await?;
    Ok(())
}

/// Appends changes (user, issue, strip) to come back to: an issue's in 50 ms, a user's in a second.
///
/// # Errors
/// The database's.
pub async fn append_changes(tx: &Tx<'_>, changes: &[(i64, Option<i64>, Option<i64>)]) -> Result<(), DbError> {
    let users: Vec<i64> = changes.iter().map(|c| c.0).collect();
    let issues: Vec<Option<i64>> = changes.iter().map(|c| c.1).collect();
    let strips: Vec<Option<i64>> = changes.iter().map(|c| c.2).collect();
    tx.execute(
        "insert into relinkd.change (telegram_id, issue_id, strip_upto, due)
         select u, i, s, now() + case when i is null then interval '1 s' else interval '50 ms' end
           from unnest($1, $2, $3) c(u, i, s)",
        &[(&users, Type::INT8_ARRAY), (&issues, Type::INT8_ARRAY), (&strips, Type::INT8_ARRAY)],
    )
    .await?;
    Ok(())
}

/// The walks of these users. Their users' locks must be held.
///
/// # Errors
/// The database's.
pub async fn walks_of(tx: &Tx<'_>, users: &[i64]) -> Result<Vec<Walk>, DbError> {
    let rows = tx
        .query(
            "select telegram_id, cursor, strip_upto, attempts from relinkd.walk where telegram_id = any ($1)",
            &[(&users, Type::INT8_ARRAY)],
        )
        .await?;
    Ok(rows.iter().map(walk).collect())
}

/// Forgets the walks of these users.
///
/// # Errors
/// The database's.
pub async fn forget_walks(tx: &Tx<'_>, users: &[i64]) -> Result<(), DbError> {
    tx.execute("delete from relinkd.walk where telegram_id = any ($1)", &[(&users, Type::INT8_ARRAY)])
        .await?;
    Ok(())
}

/// Puts walks at the end of the line.
///
/// # Errors
/// The database's.
pub async fn put_walks(tx: &Tx<'_>, walks: &[Walk]) -> Result<(), DbError> {
    let users: Vec<i64> = walks.iter().map(|w| w.telegram_id).collect();
    let cursors: Vec<i64> = walks.iter().map(|w| w.cursor).collect();
    let strips: Vec<Option<i64>> = walks.iter().map(|w| w.strip_upto).collect();
    tx.execute(
        "insert into relinkd.walk as w (telegram_id, cursor, strip_upto, since, due)
         select u, c, s, now(), clock_timestamp() from unnest($1, $2, $3) p(u, c, s)
         on conflict (telegram_id) do update
            set cursor = excluded.cursor, strip_upto = excluded.strip_upto, due = excluded.due,
                attempts = 0, last_error = null",
        &[(&users, Type::INT8_ARRAY), (&cursors, Type::INT8_ARRAY), (&strips, Type::INT8_ARRAY)],
    )
    .await?;
    Ok(())
}

/// Sets a user aside after a failure, to be walked from `walk.cursor` in `pause_ms`, and keeps the reason.
///
/// # Errors
/// The database's.
pub async fn set_aside(tx: &Tx<'_>, walk: &Walk, pause_ms: i64, reason: &str) -> Result<(), DbError> {
    tx.execute(
        "insert into relinkd.walk as w (telegram_id, cursor, strip_upto, since, due, attempts, last_error)
         values ($1, $2, $3, now(), now() + $4 * interval '1 ms', $5, $6)
         on conflict (telegram_id) do update
            set cursor = least(w.cursor, excluded.cursor), strip_upto = greatest(w.strip_upto, excluded.strip_upto),
                due = excluded.due, attempts = excluded.attempts, last_error = excluded.last_error",
        &[
            (&walk.telegram_id, Type::INT8),
            (&walk.cursor, Type::INT8),
            (&walk.strip_upto, Type::INT8),
            (&pause_ms, Type::INT8),
            (&walk.attempts, Type::INT4),
            (&reason, Type::TEXT),
        ],
    )
    .await?;
    Ok(())
}

/// When the next change or walk is due: none when there is none, zero when one is due now.
///
/// # Errors
/// The database's.
pub async fn next_due(session: &Session) -> Result<Option<Duration>, DbError> {
    let row = session
        .query_opt(
            "select (1000 * extract(epoch from greatest(next, now()) - now()))::float8
               from (select least(case when exists (select from relinkd.change where due <= now()) then now()
                                       else (select min(due) from relinkd.change) end,
                                  (select min(due) from relinkd.walk))) n(next)
              where next is not null",
            &[],
        )
        .await?;
    Ok(row.map(|row| Duration::from_secs_f64(row.get::<_, f64>(0).clamp(0.0, 60_000.0) / 1000.0)))
}
