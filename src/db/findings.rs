//! What `check` finds in the database: judged in `sql/check.sql`, and only handed on here.

use super::params::params;
use super::text::Lossy;
use super::{DbError, Tx};
use tokio_postgres::Row;

const QUERIES: &str = include_str!("../../sql/check.sql");

/// A row of a query in `sql/check.sql`, whose head says what the columns mean.
pub(crate) struct Found {
    /// What kind of finding it is.
    pub(crate) id: String,
    /// `ok`, `warning` or `fault`.
    pub(crate) severity: String,
    /// What there is.
    pub(crate) what: String,
    /// The step that mends it.
    pub(crate) mend: Option<String>,
}

/// Gives the queries of this transaction what they ask for by name.
pub(crate) async fn given(tx: &Tx<'_>, settings: &[(&str, String)]) -> Result<(), DbError> {
    let (keys, values): (Vec<&str>, Vec<&str>) = settings.iter().map(|(key, value)| (*key, &**value)).unzip();
    let sql = "select set_config(s.key, s.value, true) from unnest($1, $2) s(key, value)";
    tx.query(sql, params![keys, values]).await.map(drop)
}

/// The role that can install; none where nothing of the bot's is there.
pub(crate) async fn admin(tx: &Tx<'_>) -> Result<Option<String>, DbError> {
    Ok(tx.query(query("admin"), &[]).await?.first().map(|row| row.get(0)))
}

/// Lets the query `tables` judge what relinkd is bound to, and not what the configuration names.
pub(crate) async fn bound(tx: &Tx<'_>) -> Result<(), DbError> {
    tx.query(query("bound"), &[]).await.map(drop)
}

/// The findings of the query with this name.
pub(crate) async fn of(tx: &Tx<'_>, name: &str) -> Result<Vec<Found>, DbError> {
    let found = |row: &Row| Found {
        id: row.get(0),
        severity: row.get(1),
        what: row.get::<_, Lossy>(2).0,
        mend: row.get::<_, Option<Lossy>>(3).map(|text| text.0),
    };
    tx.query_map(query(name), &[], found).await
}

fn query(name: &str) -> &'static str {
    let named = |part: &&str| part.strip_prefix(name).is_some_and(|rest| rest.starts_with('\n'));
    QUERIES.split("-- == ").find(named).and_then(|part| part.split_once('\n')).map_or("", |(_, sql)| sql)
}
