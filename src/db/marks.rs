//! Marks of tokens, and the list of values that are no usable tokens.

use super::{DbError, Session, Tx};
use crate::envelope::{KeyId, Mark};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use tokio_postgres::types::Type;

/// Replaces the marks of these users: of each, its marks under every key of the ring.
///
/// # Errors
/// The database's.
pub async fn put(tx: &Tx<'_>, marks: &[(i64, Vec<(KeyId, Mark)>)]) -> Result<(), DbError> {
    if marks.is_empty() {
        return Ok(());
    }
    // In order of user: whoever writes several at once does it in one order.
    let rows: BTreeMap<(i64, &KeyId), &Mark> =
        marks.iter().flat_map(|(user, marks)| marks.iter().map(|(key, mark)| ((*user, key), mark))).collect();
    let users: Vec<i64> = rows.keys().map(|(user, _)| *user).collect();
    let keys: Vec<&str> = rows.keys().map(|(_, key)| key.as_str()).collect();
    let values: Vec<&[u8]> = rows.values().map(|mark| &mark[..]).collect();
    tx.execute(
        "with gone as (delete from relinkd.token_mark where telegram_id = any ($1) and key_id <> all ($2))
         insert into relinkd.token_mark (telegram_id, key_id, mark)
         select u, k, m from unnest($1, $2, $3) n(u, k, m)
         on conflict (telegram_id, key_id) do update set mark = excluded.mark",
        &[(&users, Type::INT8_ARRAY), (&keys, Type::TEXT_ARRAY), (&values, Type::BYTEA_ARRAY)],
    )
    .await?;
    Ok(())
}

/// Forgets the marks of these users.
///
/// # Errors
/// The database's.
pub async fn forget(tx: &Tx<'_>, users: &[i64]) -> Result<(), DbError> {
    tx.execute("delete from relinkd.token_mark where telegram_id = any ($1)", &[(&users, Type::INT8_ARRAY)])
        .await?;
    Ok(())
}

/// Who holds, or held last, a token with one of these marks.
///
/// # Errors
/// The database's.
pub async fn holders(tx: &Tx<'_>, marks: &[[u8; 32]]) -> Result<HashMap<Vec<u8>, BTreeSet<i64>>, DbError> {
    let values: Vec<&[u8]> = marks.iter().map(|mark| &mark[..]).collect();
    let rows = tx
        .query(
            "select mark, telegram_id from relinkd.token_mark where mark = any ($1)",
            &[(&values, Type::BYTEA_ARRAY)],
        )
        .await?;
    let mut holders: HashMap<Vec<u8>, BTreeSet<i64>> = HashMap::new();
    for row in &rows {
        holders.entry(row.get(0)).or_default().insert(row.get(1));
    }
    Ok(holders)
}

/// Groups of users who hold the same token, as far as they have one of these users in them.
///
/// # Errors
/// The database's.
pub async fn shared_with(tx: &Tx<'_>, users: &[i64]) -> Result<Vec<Vec<i64>>, DbError> {
    let rows = tx
        .query(
            // `offset 0` keeps the steps apart: each by key, whatever the planner thinks of a table that was empty a
            // moment ago.
            "select distinct w.id, b.telegram_id
               from unnest($1) w(id)
              cross join lateral (select mark from relinkd.token_mark where telegram_id = w.id offset 0) a
              cross join lateral (
                    select telegram_id from relinkd.token_mark t
                     where t.mark = a.mark and t.telegram_id <> w.id offset 0) b
              where exists (select from relinkd.bot_user u
                             where u.telegram_id = b.telegram_id and u.portal_token <> '' offset 0)",
            &[(&users, Type::INT8_ARRAY)],
        )
        .await?;
    let mut groups: BTreeMap<i64, BTreeSet<i64>> = BTreeMap::new();
    for row in &rows {
        groups.entry(row.get(0)).or_insert_with(|| BTreeSet::from([row.get(0)])).insert(row.get(1));
    }
    let distinct: BTreeSet<Vec<i64>> =
        groups.into_values().map(|group| group.into_iter().collect()).collect();
    Ok(distinct.into_iter().collect())
}

/// Records that a user's value is no usable token.
///
/// # Errors
/// The database's.
pub async fn put_unusable(
    tx: &Tx<'_>,
    telegram_id: i64,
    reason: &str,
    key: Option<&str>,
) -> Result<(), DbError> {
    tx.execute(
        "insert into relinkd.unusable (telegram_id, reason, key_id) values ($1, $2, $3)
         on conflict (telegram_id) do update set reason = excluded.reason, key_id = excluded.key_id",
        &[(&telegram_id, Type::INT8), (&reason, Type::TEXT), (&key, Type::TEXT)],
    )
    .await?;
    Ok(())
}

/// Records that a user's value is usable, or gone.
///
/// # Errors
/// The database's.
pub async fn clear_unusable(tx: &Tx<'_>, telegram_id: i64) -> Result<(), DbError> {
    tx.execute("delete from relinkd.unusable where telegram_id = $1", &[(&telegram_id, Type::INT8)]).await?;
    Ok(())
}

/// Queues the users whose value waits for one of these keys; returns how many.
///
/// # Errors
/// The database's.
pub async fn queue_waiting_for(session: &Session, keys: &[&str]) -> Result<u64, DbError> {
    session
        .execute(
            "insert into relinkd.change (telegram_id)
             select telegram_id from relinkd.unusable where key_id = any ($1)",
            &[(&keys, Type::TEXT_ARRAY)],
        )
        .await
}
