//! Fingerprints of tokens (keyed hashes, which tell nothing without the keyring), and the list of values that are no
//! usable tokens.

use super::params::params;
use super::{DbError, Session, Tx};
use crate::envelope::{Fingerprint, KeyId};
use std::collections::{BTreeSet, HashMap};

/// Until when the fingerprint of a token is kept that goes now.
macro_rules! kept_until {
    () => {
        "now() + interval '30 days'"
    };
}

/// Records the tokens that these users have, by their fingerprints under every key of the ring. Those of the tokens that
/// they had before are kept for 30 days: links may still carry them.
pub(crate) async fn put(tx: &Tx<'_>, of: &[(i64, Vec<(KeyId, Fingerprint)>)]) -> Result<(), DbError> {
    if of.is_empty() {
        return Ok(());
    }
    // In order of user: whoever writes several at once does it in one order.
    let rows: BTreeSet<(i64, &KeyId, &Fingerprint)> =
        of.iter().flat_map(|(user, all)| all.iter().map(|(key, one)| (*user, key, one))).collect();
    let users: Vec<i64> = rows.iter().map(|(user, _, _)| *user).collect();
    let keys: Vec<&str> = rows.iter().map(|(_, key, _)| key.as_str()).collect();
    let values: Vec<&[u8]> = rows.iter().map(|(_, _, one)| &one[..]).collect();
    let sql = concat!(
        "with new as materialized (select n.* from unnest($1, $2, $3) n(u, k, f)),
              old as (
                 update relinkd.fingerprint f set until = ",
        kept_until!(),
        "
                  where f.telegram_id = any ($1) and f.until is null
                    and not exists (select from new n where n.u = f.telegram_id and n.k = f.key_id and n.f = f.fingerprint))
         insert into relinkd.fingerprint (telegram_id, key_id, fingerprint)
         select n.u, n.k, n.f from new n order by 1, 2, 3
         on conflict (telegram_id, key_id, fingerprint) do update set until = null"
    );
    tx.execute(sql, params![users, keys, values]).await
}

/// These users have no token any more, and no link of theirs carries one: their fingerprints are kept for 30 days.
pub(crate) async fn expire(tx: &Tx<'_>, users: &[i64]) -> Result<(), DbError> {
    let sql = concat!(
        "update relinkd.fingerprint set until = ",
        kept_until!(),
        " where telegram_id = any ($1) and until is null"
    );
    tx.execute(sql, params![users]).await
}

/// Forgets the fingerprints whose time is over.
pub(crate) async fn forget_expired(session: &Session) -> Result<(), DbError> {
    session.execute("delete from relinkd.fingerprint where until < now()", &[]).await
}

/// Who has, or had, a token with one of these fingerprints.
pub(crate) async fn holders(
    tx: &Tx<'_>,
    fingerprints: &[Fingerprint],
) -> Result<HashMap<Vec<u8>, BTreeSet<i64>>, DbError> {
    let values: Vec<&[u8]> = fingerprints.iter().map(|one| &one[..]).collect();
    let sql = "select f.fingerprint, f.telegram_id from unnest($1) w(one)
                 join relinkd.fingerprint f on f.fingerprint = w.one";
    let rows = tx.query(sql, params![values]).await?;
    let mut holders: HashMap<Vec<u8>, BTreeSet<i64>> = HashMap::new();
    for row in &rows {
        holders.entry(row.get(0)).or_default().insert(row.get(1));
    }
    Ok(holders)
}

/// Groups of users who have the same token, as far as they have one of these users in them.
pub(crate) async fn shared_with(tx: &Tx<'_>, users: &[i64]) -> Result<Vec<Vec<i64>>, DbError> {
    // `offset 0` keeps the steps apart: each by key, whatever the planner thinks of a table that was empty a moment ago.
    let sql = "select distinct (select array_agg(m order by m) from unnest(g.others || g.id) m)
                 from (select w.id, array_agg(distinct b.telegram_id) as others
                         from unnest($1) w(id)
                        cross join lateral (select f.fingerprint from relinkd.fingerprint f
                                             where f.telegram_id = w.id and f.until is null offset 0) a
                        cross join lateral (
                              select t.telegram_id from relinkd.fingerprint t
                               where t.fingerprint = a.fingerprint and t.until is null and t.telegram_id <> w.id offset 0) b
                        where exists (select from relinkd.bot_user u
                                       where u.telegram_id = b.telegram_id and u.portal_token <> '' offset 0)
                        group by w.id) g
                order by 1";
    tx.query_map(sql, params![users], |row| row.get(0)).await
}

/// Records that a user's value is no usable token.
pub(crate) async fn put_unusable(
    tx: &Tx<'_>,
    telegram_id: i64,
    reason: &str,
    key: Option<&str>,
) -> Result<(), DbError> {
    let sql = "insert into relinkd.unusable (telegram_id, reason, key_id) values ($1, $2, $3)
               on conflict (telegram_id) do update set reason = excluded.reason, key_id = excluded.key_id";
    tx.execute(sql, params![telegram_id, reason, key]).await
}

/// Records that a user's value is usable, or gone.
pub(crate) async fn clear_unusable(tx: &Tx<'_>, telegram_id: i64) -> Result<(), DbError> {
    tx.execute("delete from relinkd.unusable where telegram_id = $1", params![telegram_id]).await
}

/// Queues the users whose value waits for one of these keys.
pub(crate) async fn queue_waiting_for(session: &Session, keys: &[&str]) -> Result<(), DbError> {
    let sql = "insert into relinkd.change (telegram_id)
               select telegram_id from relinkd.unusable where key_id = any ($1)";
    session.execute(sql, params![keys]).await
}
