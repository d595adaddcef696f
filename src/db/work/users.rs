//! Users: their locks, their rows as read, and stored tokens replaced by compare-and-swap.

use crate::db::{DbError, Session, Tx};
use std::collections::HashSet;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};
use zeroize::Zeroizing;

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

/// Users as they are now; one row for each id asked for, whether the bot knows the user or not.
///
/// # Errors
/// The database's.
pub async fn users(tx: &Tx<'_>, users: &[i64], primary_key: &str) -> Result<Vec<UserRow>, DbError> {
    let rows = tx
        .query(
            // By key, each, whatever the planner thinks of tables that were empty a moment ago.
            "select w.id, u.portal_token::text, u.version::text,
                    (select m.mark from relinkd.token_mark m where m.telegram_id = w.id and m.key_id = $2),
                    (select x.reason from relinkd.unusable x where x.telegram_id = w.id)
               from unnest($1) w(id) left join relinkd.bot_user u on u.telegram_id = w.id",
            &[(&users, Type::INT8_ARRAY), (&primary_key, Type::TEXT)],
        )
        .await?;
    Ok(rows.iter().map(user_row).collect())
}

/// Users of the bot's table after this `telegram_id` (none: from the first on), in order.
///
/// # Errors
/// The database's.
pub async fn users_after(
    tx: &Tx<'_>,
    after: Option<i64>,
    limit: i64,
    primary_key: &str,
) -> Result<Vec<UserRow>, DbError> {
    let rows = tx
        .query(
            "select w.telegram_id::int8, w.portal_token::text, w.version::text, m.mark, x.reason
               from (select * from relinkd.bot_user where telegram_id >= $1 and ($4 or telegram_id > $1)
                      order by telegram_id limit $2) w
               left join relinkd.token_mark m on m.telegram_id = w.telegram_id and m.key_id = $3
               left join relinkd.unusable x on x.telegram_id = w.telegram_id
              order by 1",
            &[
                (&after.unwrap_or(i64::MIN), Type::INT8),
                (&limit, Type::INT8),
                (&primary_key, Type::TEXT),
                (&after.is_none(), Type::BOOL),
            ],
        )
        .await?;
    Ok(rows.iter().map(user_row).collect())
}

/// Users after this `telegram_id` (none: from the first on) who have a value in the token column, in order, with the value.
///
/// # Errors
/// The database's.
pub async fn users_with_value_after(
    tx: &Tx<'_>,
    after: Option<i64>,
    limit: i64,
) -> Result<Vec<(i64, Zeroizing<String>)>, DbError> {
    let rows = tx
        .query(
            "select telegram_id::int8, portal_token::text from relinkd.bot_user
              where telegram_id >= $1 and ($3 or telegram_id > $1) and portal_token <> ''
              order by telegram_id limit $2",
            &[(&after.unwrap_or(i64::MIN), Type::INT8), (&limit, Type::INT8), (&after.is_none(), Type::BOOL)],
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

/// As [`seal`], the other way: the values are tokens in plaintext, and so travel in no parameter, which a server may log.
/// The session must be allowed temporary tables.
///
/// # Errors
/// The database's.
pub async fn unseal(tx: &Tx<'_>, sealings: &[Sealing]) -> Result<usize, DbError> {
    tx.batch(
        "create temporary table relinkd_unsealed (telegram_id int8, version text, token text) on commit drop",
    )
    .await?;
    let rows: Vec<Vec<&(dyn ToSql + Sync)>> =
        sealings.iter().map(|s| vec![&s.telegram_id as &(dyn ToSql + Sync), &s.version, &s.value]).collect();
    let copy = "copy pg_temp.relinkd_unsealed from stdin binary";
    tx.copy(copy, &[Type::INT8, Type::TEXT, Type::TEXT], &rows).await?;
    let rows = tx
        .query(
            "with free as materialized (
                 select w.* from pg_temp.relinkd_unsealed w join relinkd.bot_user u on u.telegram_id = w.telegram_id
                  where u.version = w.version::xid
                    for no key update of u skip locked)
             update relinkd.bot_user u set portal_token = f.token from free f
              where u.telegram_id = f.telegram_id and u.version = f.version::xid
             returning u.telegram_id::int8",
            &[],
        )
        .await?;
    Ok(rows.len())
}
