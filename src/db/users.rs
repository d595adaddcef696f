//! Users: their rows as read, and stored tokens replaced where they still are what was read.

use super::issues::{RowPlace, Tid};
use super::params::{each, params};
use super::session::Purpose;
use super::text::{Lossy, token_column};
use super::{Cursor, DbError, Session, Tx, as_i64};
use crate::config::UsersTable;
use crate::envelope::{KeyId, Keyring, TokenState};
use crate::token::TokenRule;
use std::collections::{BTreeMap, HashSet};
use std::pin::pin;
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use zeroize::Zeroizing;

/// A user's row as read. Not to be printed: it may hold a token.
pub(crate) struct UserRow {
    /// The user.
    pub telegram_id: i64,
    /// What stands in the token column; none for null.
    pub value: Option<Zeroizing<String>>,
    /// Where the row was when it was read; none where the bot has no such user.
    pub place: Option<RowPlace>,
}

impl UserRow {
    /// The state of the token, under this keyring and rule.
    pub(crate) fn state(&self, keyring: &Keyring, rule: &TokenRule) -> TokenState {
        keyring.read(self.value.as_ref().map(|value| value.as_str()), self.telegram_id, rule)
    }
}

/// What relinkd remembers of a user.
#[derive(Debug, Default)]
pub(crate) struct Remembered {
    /// The fingerprints under the primary key of the token that the user had when they were last looked at.
    pub fingerprints: Vec<Vec<u8>>,
    /// The reason recorded in `relinkd.unusable`.
    pub unusable: Option<String>,
}

macro_rules! by_id {
    ($columns:expr) => {
        concat!(
            "select w.id, ",
            token_column!("u"),
            ", u.place, u.version",
            $columns,
            " from unnest($1) w(id) left join relinkd.bot_user u on u.telegram_id = w.id"
        )
    };
}

/// The columns of what is remembered of a user.
macro_rules! remembered {
    ($user:literal, $key:literal) => {
        concat!(
            ", array(select f.fingerprint from relinkd.fingerprint f
                      where f.telegram_id = ",
            $user,
            " and f.key_id = ",
            $key,
            " and f.until is null),
               (select x.reason from relinkd.unusable x where x.telegram_id = ",
            $user,
            ")"
        )
    };
}

/// Users as they are now: of each id that is asked for every row that the bot has, or one without a value.
pub(crate) async fn by_id(tx: &Tx<'_>, users: &[i64]) -> Result<Vec<UserRow>, DbError> {
    tx.query_map(by_id!(""), params![users], user_row).await
}

/// As [`by_id()`], each with what is remembered of the user.
pub(crate) async fn by_id_remembered(
    tx: &Tx<'_>,
    users: &[i64],
    primary_key: &KeyId,
) -> Result<Vec<(UserRow, Remembered)>, DbError> {
    let sql = by_id!(remembered!("w.id", "$2"));
    tx.query_map(sql, params![users, primary_key.as_str()], remembered_row).await
}

/// Which of these users the bot knows, or has issues of.
pub(crate) async fn known_or_with_issues(tx: &Tx<'_>, users: &[i64]) -> Result<HashSet<i64>, DbError> {
    let sql = "select w.id from unnest($1) w(id)
                where exists (select from relinkd.bot_user u where u.telegram_id = w.id)
                   or exists (select from relinkd.bot_issue i where i.telegram_id = w.id)";
    tx.query_map(sql, params![users], |row| row.get(0)).await
}

macro_rules! page {
    ($columns:expr, $filter:literal) => {
        concat!(
            "select u.telegram_id::int8, ",
            token_column!("u"),
            ", u.place, u.version",
            $columns,
            " from relinkd.bot_user u
              where u.telegram_id >= $1 and ($3 or u.telegram_id > $1)",
            $filter,
            " order by u.telegram_id fetch first $2 rows with ties"
        )
    };
}

/// The next users of the bot's table who have a value in the token column, in order of `telegram_id`; never a part of the
/// rows of one `telegram_id`, unless there are more than a page.
pub(crate) async fn page_with_value(tx: &Tx<'_>, cursor: &mut Cursor<i64>) -> Result<Vec<UserRow>, DbError> {
    let (from, limit, first) = start(cursor);
    let sql = page!("", " and u.portal_token <> ''");
    let rows = tx.query_map(sql, params![from, limit, first], user_row).await?;
    Ok(cursor.pass(rows, |row| row.telegram_id))
}

/// As [`page_with_value()`], all users, each with what is remembered of the user.
pub(crate) async fn page_remembered(
    tx: &Tx<'_>,
    cursor: &mut Cursor<i64>,
    primary_key: &KeyId,
) -> Result<Vec<(UserRow, Remembered)>, DbError> {
    let (from, limit, first) = start(cursor);
    let sql = page!(remembered!("u.telegram_id", "$4"), "");
    let rows = tx.query_map(sql, params![from, limit, first, primary_key.as_str()], remembered_row).await?;
    Ok(cursor.pass(rows, |(row, _)| row.telegram_id))
}

/// The first three parameters of a page.
fn start(cursor: &Cursor<i64>) -> (i64, i64, bool) {
    (cursor.after().unwrap_or(i64::MIN), as_i64(cursor.limit()), cursor.after().is_none())
}

/// How many sealed values name which key; none where that cannot be seen.
pub(crate) async fn keys_in_use(
    session: &mut Session,
    table: &UsersTable,
) -> Result<Option<BTreeMap<String, u64>>, DbError> {
    let tx = session.begin(Purpose::Read);
    let column = params![table.name.schema, table.name.table, table.portal_token];
    let found = tx.query(KEYS_IN_USE, column).await?;
    let Some(query) = found.first().map(|row| row.get::<_, String>(0)) else { return Ok(None) };
    let rows = tx.query(&query, &[]).await?;
    tx.commit().await?;
    let named =
        |row: &Row| Some((KeyId::parse(&row.get::<_, Lossy>(0).0).ok()?.to_string(), row.get::<_, i64>(1)));
    Ok(Some(
        rows.iter().filter_map(named).map(|(key, count)| (key, u64::try_from(count).unwrap_or(0))).collect(),
    ))
}

/// The query over relinkd's view; over the table itself, where schema relinkd is gone and values are still sealed. None where
/// there is no such table, or where code of the bot's would run with a superuser's rights.
const KEYS_IN_USE: &str = "
    select format('select split_part(t.%1$I::text, '':'', 3), count(*) from %2$I.%3$I t
                    where case when octet_length(t.%1$I::text) <= 4096
                               then t.%1$I::text like ''relinkd:v1:%%:%%'' end group by 1', x.column_name, x.schema_name, x.table_name)
      from (select 'portal_token', 'relinkd', 'bot_user' where to_regclass('relinkd.bot_user') is not null
             union all
            select a.attname, n.nspname, c.relname
              from pg_namespace n join pg_class c on c.relnamespace = n.oid and c.relkind = 'r'
              join pg_attribute a on a.attrelid = c.oid and not a.attisdropped
             where n.nspname = $1 and c.relname = $2 and a.attname = $3 and to_regclass('relinkd.bot_user') is null
               and not exists (select from pg_roles r where r.rolsuper and pg_has_role(session_user, r.oid, 'member')))
           x(column_name, schema_name, table_name)";

fn user_row(row: &Row) -> UserRow {
    UserRow {
        telegram_id: row.get(0),
        value: row.get::<_, Option<Lossy>>(1).map(|text| Zeroizing::new(text.0)),
        place: row.get::<_, Option<Tid>>(2).map(|tid| RowPlace { tid, xid: row.get(3) }),
    }
}

fn remembered_row(row: &Row) -> (UserRow, Remembered) {
    (user_row(row), Remembered { fingerprints: row.get(4), unusable: row.get(5) })
}

/// How long a stored token may be at this moment, in characters; none where the column is not bounded.
pub(crate) async fn token_limit(tx: &Tx<'_>) -> Result<Option<usize>, DbError> {
    let sql = "select max(b.type_modifier) from relinkd.bound b where b.part = 'users.portal_token'";
    let modifier: Option<i32> = tx.query_value(sql, &[]).await?;
    Ok(modifier.and_then(|modifier| usize::try_from(modifier - 4).ok()))
}

/// How many stored tokens begin like this.
pub(crate) async fn count_with_prefix(session: &Session, prefix: &str) -> Result<i64, DbError> {
    let sql = "select count(*) from relinkd.bot_user u where starts_with(u.portal_token, $1)";
    session.query_value(sql, params![prefix]).await
}

/// A stored token to be replaced, where the row still is the one that was read.
pub(crate) struct Replacement {
    /// The user.
    pub telegram_id: i64,
    /// Where it was read.
    pub place: RowPlace,
    /// What takes its place: the sealed token (or, on the way out, the plaintext one).
    pub value: Zeroizing<String>,
}

/// Replaces stored tokens where they still are what was read, passing over rows that are locked. Returns the users whose
/// tokens were not replaced.
pub(crate) async fn replace(tx: &Tx<'_>, replacements: &[Replacement]) -> Result<Vec<i64>, DbError> {
    let sql = "with wanted as materialized (
                   select w.* from rows from (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3)) with ordinality w(place, version, value, number)),
               free as materialized (
                   select w.* from wanted w join relinkd.bot_user u on u.place operator(pg_catalog.=) w.place
                    where u.version operator(pg_catalog.=) w.version
                      for no key update of u skip locked),
               done as (
                   update relinkd.bot_user u set portal_token = f.value from free f
                    where u.place operator(pg_catalog.=) f.place and u.version operator(pg_catalog.=) f.version
                   returning f.number)
               select w.number from wanted w
                where not exists (select from done d where d.number operator(pg_catalog.=) w.number)";
    let rows = tx
        .write(
            sql,
            params![
                each(replacements, |it| it.place.tid),
                each(replacements, |it| it.place.xid),
                each(replacements, |it| it.value.as_str()),
            ],
        )
        .await?;
    Ok(rows
        .iter()
        .filter_map(|row| usize::try_from(row.get::<_, i64>(0) - 1).ok())
        .filter_map(|index| replacements.get(index).map(|it| it.telegram_id))
        .collect())
}

/// As [`replace`], for tokens in plaintext: they are copied in, for a server may log parameters. The session must be
/// allowed temporary tables.
pub(crate) async fn replace_by_copy(tx: &Tx<'_>, replacements: &[Replacement]) -> Result<Vec<i64>, DbError> {
    tx.batch("create temporary table relinkd_unsealed (place tid, version xid, token text) on commit drop")
        .await?;
    let copy = "copy pg_temp.relinkd_unsealed from stdin binary";
    let mut copied = pin!(tx.copy_in(copy, &[Type::TID, Type::XID, Type::TEXT]).await?);
    for Replacement { place, value, .. } in replacements {
        copied.as_mut().write(&[&place.tid, &place.xid, &value.as_str()]).await?;
    }
    copied.finish().await?;
    // No `with`: the bot's table may have rules, and Postgres takes no such statement where one adds others.
    let free: Vec<Tid> = tx
        .query_map(
            "select w.place from pg_temp.relinkd_unsealed w join relinkd.bot_user u on u.place = w.place
              where u.version = w.version for no key update of u skip locked",
            &[],
            |row| row.get(0),
        )
        .await?;
    tx.execute("delete from pg_temp.relinkd_unsealed w where w.place <> all ($1)", params![free]).await?;
    tx.write(
        "update relinkd.bot_user u set portal_token = w.token from pg_temp.relinkd_unsealed w
          where u.place operator(pg_catalog.=) w.place and u.version operator(pg_catalog.=) w.version",
        &[],
    )
    .await?;
    Ok(replacements.iter().filter(|r| !free.contains(&r.place.tid)).map(|r| r.telegram_id).collect())
}
