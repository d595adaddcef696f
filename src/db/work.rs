//! The queries of the relinker: what is due, whose it is, and the guarded writes.
//!
//! One function a query, each over a transaction that its caller opened. All of them go through the views of schema
//! `relinkd`; none waits for a row or a user that somebody else holds.

use super::{DbError, Session, Tx};
use std::collections::HashSet;
use std::time::Duration;
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use zeroize::Zeroizing;

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

/// A user as stored, with what relinkd remembers of them.
#[derive(Debug)]
pub struct UserRow {
    /// The user.
    pub telegram_id: i64,
    /// The column as it is; none for null.
    pub stored: Option<Zeroizing<String>>,
    /// The row's version (`xmin`), for [`seal`]; none where the bot has no such user.
    pub version: Option<String>,
    /// The mark under the primary key, where there is one.
    pub mark: Option<Vec<u8>>,
    /// The reason recorded in `relinkd.unusable`.
    pub unusable: Option<String>,
}

/// An issue and its link as read.
#[derive(Debug, Clone)]
pub struct IssueRow {
    /// The issue.
    pub id: i64,
    /// Whose it is.
    pub telegram_id: i64,
    /// The link.
    pub url: Option<String>,
}

/// A link to be written over the one that was read.
#[derive(Clone)]
pub struct Rewrite {
    /// The issue.
    pub issue_id: i64,
    /// Whose it must still be.
    pub telegram_id: i64,
    /// The link it must still have.
    pub old: String,
    /// The link it gets.
    pub new: String,
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

/// Every user that either table knows, in order.
///
/// # Errors
/// The database's.
pub async fn everyone(session: &Session) -> Result<Vec<i64>, DbError> {
    let rows = session
        .query(
            "select u.telegram_id::int8 from relinkd.bot_user u where u.telegram_id is not null
              union
             select i.telegram_id::int8 from relinkd.bot_issue i where i.telegram_id is not null
              order by 1",
            &[],
        )
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Tries for the locks of these users; returns those it got.
///
/// # Errors
/// The database's.
pub async fn try_users(tx: &Tx<'_>, users: &[i64]) -> Result<HashSet<i64>, DbError> {
    let rows = tx
        .query(
            "select u from unnest($1) u where pg_try_advisory_xact_lock(relinkd.user_key(u))",
            &[(&users, Type::INT8_ARRAY)],
        )
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// How long a stored token may be at this moment, in characters; none where the column is not bounded.
///
/// # Errors
/// The database's.
pub async fn token_limit(tx: &Tx<'_>) -> Result<Option<usize>, DbError> {
    let row = tx
        .query_one(
            "select atttypmod from pg_attribute
              where attrelid = 'relinkd.bot_user'::regclass and attname = 'portal_token'",
            &[],
        )
        .await?;
    Ok(usize::try_from(row.get::<_, i32>(0) - 4).ok())
}

/// How many stored tokens begin like this.
///
/// # Errors
/// The database's.
pub async fn count_with_prefix(session: &Session, prefix: &str) -> Result<i64, DbError> {
    let sql = "select count(*) from relinkd.bot_user where starts_with(portal_token, $1)";
    Ok(session.query_one(sql, &[(&prefix, Type::TEXT)]).await?.get(0))
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

/// Users as they are now; one row for each id asked for, whether the bot knows the user or not.
///
/// # Errors
/// The database's.
pub async fn users(tx: &Tx<'_>, users: &[i64], primary_key: &str) -> Result<Vec<UserRow>, DbError> {
    let rows = tx
        .query(
            "select w.id, u.portal_token::text, u.version::text, m.mark, x.reason
               from unnest($1) w(id)
               left join relinkd.bot_user u on u.telegram_id = w.id
               left join relinkd.token_mark m on m.telegram_id = w.id and m.key_id = $2
               left join relinkd.unusable x on x.telegram_id = w.id",
            &[(&users, Type::INT8_ARRAY), (&primary_key, Type::TEXT)],
        )
        .await?;
    Ok(rows.iter().map(user_row).collect())
}

/// Users of the bot's table after this `telegram_id`, in order.
///
/// # Errors
/// The database's.
pub async fn users_after(
    tx: &Tx<'_>,
    after: i64,
    limit: i64,
    primary_key: &str,
) -> Result<Vec<UserRow>, DbError> {
    let rows = tx
        .query(
            "select w.telegram_id::int8, w.portal_token::text, w.version::text, m.mark, x.reason
               from (select * from relinkd.bot_user where telegram_id > $1 order by telegram_id limit $2) w
               left join relinkd.token_mark m on m.telegram_id = w.telegram_id and m.key_id = $3
               left join relinkd.unusable x on x.telegram_id = w.telegram_id
              order by 1",
            &[(&after, Type::INT8), (&limit, Type::INT8), (&primary_key, Type::TEXT)],
        )
        .await?;
    Ok(rows.iter().map(user_row).collect())
}

/// Users after this `telegram_id` who have a value in the token column, in order, with the value.
///
/// # Errors
/// The database's.
pub async fn users_with_value_after(
    tx: &Tx<'_>,
    after: i64,
    limit: i64,
) -> Result<Vec<(i64, Zeroizing<String>)>, DbError> {
    let rows = tx
        .query(
            "select telegram_id::int8, portal_token::text from relinkd.bot_user
              where telegram_id > $1 and portal_token <> '' order by telegram_id limit $2",
            &[(&after, Type::INT8), (&limit, Type::INT8)],
        )
        .await?;
    Ok(rows.iter().map(|row| (row.get(0), Zeroizing::new(row.get(1)))).collect())
}

fn user_row(row: &Row) -> UserRow {
    UserRow {
        telegram_id: row.get(0),
        stored: row.get::<_, Option<String>>(1).map(Zeroizing::new),
        version: row.get(2),
        mark: row.get(3),
        unusable: row.get(4),
    }
}

/// These issues as they are now.
///
/// # Errors
/// The database's.
pub async fn issues(tx: &Tx<'_>, ids: &[i64]) -> Result<Vec<IssueRow>, DbError> {
    let rows = tx
        .query(
            "select i.id::int8, i.telegram_id::int8, i.url::text from relinkd.bot_issue i
              where i.id = any ($1) and i.telegram_id is not null",
            &[(&ids, Type::INT8_ARRAY)],
        )
        .await?;
    Ok(rows.iter().map(issue_row).collect())
}

/// The next `limit` issues of each of these users, after each one's cursor, in order of id.
///
/// # Errors
/// The database's.
pub async fn issues_of(tx: &Tx<'_>, walks: &[Walk], limit: i64) -> Result<Vec<IssueRow>, DbError> {
    let users: Vec<i64> = walks.iter().map(|walk| walk.telegram_id).collect();
    let cursors: Vec<i64> = walks.iter().map(|walk| walk.cursor).collect();
    let rows = tx
        .query(
            "select i.id::int8, w.telegram_id, i.url::text
               from unnest($1, $2) w(telegram_id, cursor)
              cross join lateral (
                    select i.id, i.url from relinkd.bot_issue i
                     where i.telegram_id = w.telegram_id and i.id > w.cursor order by i.id limit $3) i",
            &[(&users, Type::INT8_ARRAY), (&cursors, Type::INT8_ARRAY), (&limit, Type::INT8)],
        )
        .await?;
    Ok(rows.iter().map(issue_row).collect())
}

/// The next `limit` issues after (`telegram_id`, `id`), in that order.
///
/// # Errors
/// The database's.
pub async fn issues_after(tx: &Tx<'_>, after: (i64, i64), limit: i64) -> Result<Vec<IssueRow>, DbError> {
    let rows = tx
        .query(
            "select i.id::int8, i.telegram_id::int8, i.url::text from relinkd.bot_issue i
              where (i.telegram_id, i.id) > ($1, $2) order by i.telegram_id, i.id limit $3",
            &[(&after.0, Type::INT8), (&after.1, Type::INT8), (&limit, Type::INT8)],
        )
        .await?;
    Ok(rows.iter().map(issue_row).collect())
}

fn issue_row(row: &Row) -> IssueRow {
    IssueRow { id: row.get(0), telegram_id: row.get(1), url: row.get(2) }
}

/// Writes links over those that were read, where issue, user and link are still the same and the row is free.
/// Returns the issues written.
///
/// # Errors
/// The database's.
pub async fn write_links(tx: &Tx<'_>, rewrites: &[Rewrite]) -> Result<HashSet<i64>, DbError> {
    let ids: Vec<i64> = rewrites.iter().map(|r| r.issue_id).collect();
    let users: Vec<i64> = rewrites.iter().map(|r| r.telegram_id).collect();
    let old: Vec<&str> = rewrites.iter().map(|r| r.old.as_str()).collect();
    let new: Vec<&str> = rewrites.iter().map(|r| r.new.as_str()).collect();
    let rows = tx
        .query(
            "with free as materialized (
                 select w.* from unnest($1, $2, $3, $4) w(id, telegram_id, old, new)
                   join relinkd.bot_issue i on i.id = w.id
                  where i.telegram_id = w.telegram_id and i.url = w.old
                    for no key update of i skip locked)
             update relinkd.bot_issue i set url = f.new from free f
              where i.id = f.id and i.telegram_id = f.telegram_id and i.url = f.old
             returning i.id::int8",
            &[
                (&ids, Type::INT8_ARRAY),
                (&users, Type::INT8_ARRAY),
                (&old, Type::TEXT_ARRAY),
                (&new, Type::TEXT_ARRAY),
            ],
        )
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// A stored token to be replaced, where the row is still of this version.
pub struct Sealing {
    /// The user.
    pub telegram_id: i64,
    /// The version of the row that was read.
    pub version: String,
    /// What takes its place: the sealed token (or, on the way out, the plaintext one).
    pub value: String,
}

/// Replaces stored tokens by compare-and-swap on the row's version, passing over rows that are locked.
/// Returns the users done.
///
/// # Errors
/// The database's.
pub async fn seal(tx: &Tx<'_>, sealings: &[Sealing]) -> Result<HashSet<i64>, DbError> {
    let users: Vec<i64> = sealings.iter().map(|s| s.telegram_id).collect();
    let versions: Vec<&str> = sealings.iter().map(|s| s.version.as_str()).collect();
    let sealed: Vec<&str> = sealings.iter().map(|s| s.value.as_str()).collect();
    let rows = tx
        .query(
            "with free as materialized (
                 select w.* from unnest($1, $2, $3) w(telegram_id, version, sealed)
                   join relinkd.bot_user u on u.telegram_id = w.telegram_id
                  where u.version = w.version::xid
                    for no key update of u skip locked)
             update relinkd.bot_user u set portal_token = f.sealed from free f
              where u.telegram_id = f.telegram_id and u.version = f.version::xid
             returning u.telegram_id::int8",
            &[(&users, Type::INT8_ARRAY), (&versions, Type::TEXT_ARRAY), (&sealed, Type::TEXT_ARRAY)],
        )
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
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
