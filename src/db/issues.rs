//! Issues: read by id, by user and in pages, and links written over those that were read.

use super::params::{Scalar, each, params};
use super::text::link_column;
use super::{Cursor, DbError, Tx, as_i64, as_millis};
use bytes::BytesMut;
use std::collections::HashSet;
use std::error::Error;
use std::time::Duration;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

/// An issue and its link as read. Not to be printed: the link may hold a token.
#[derive(Clone)]
pub(crate) struct IssueRow {
    /// The issue.
    pub id: i64,
    /// Whose it is; none where the bot has set that to null.
    pub telegram_id: Option<i64>,
    /// The link; none where there is none, and where it is no text or far too long.
    pub url: Option<String>,
    /// Where the row was when it was read, and in which version.
    pub place: RowPlace,
}

/// A row's place in its table and its version (`ctid`, `xmin`: Postgres manual, 5.5 System Columns). Good within the
/// transaction that read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RowPlace {
    pub(super) tid: Tid,
    pub(super) xid: Xid,
}

/// A `tid`.
pub(super) type Tid = Raw<6>;
/// An `xid`.
pub(super) type Xid = Raw<4>;

/// What is handed back to the server as it came: a value's binary form, of so many bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Raw<const LENGTH: usize>([u8; LENGTH]);

impl<'a, const LENGTH: usize> FromSql<'a> for Raw<LENGTH>
where
    Self: Scalar,
{
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(raw.try_into()?))
    }

    fn accepts(of: &Type) -> bool {
        *of == Self::ONE
    }
}

impl<const LENGTH: usize> ToSql for Raw<LENGTH>
where
    Self: Scalar,
{
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.extend_from_slice(&self.0);
        Ok(IsNull::No)
    }

    fn accepts(of: &Type) -> bool {
        *of == Self::ONE
    }

    to_sql_checked!();
}

/// A link to be written over the one that was read.
#[derive(Clone)]
pub(crate) struct Rewrite {
    /// The issue.
    pub issue_id: i64,
    /// Whose it is.
    pub telegram_id: Option<i64>,
    /// Where it was read.
    pub place: RowPlace,
    /// The link it had.
    pub old: String,
    /// The link it gets.
    pub new: String,
    /// The change that goes into the queue where the row is locked or has changed.
    pub back: Back,
}

/// A change of one issue, should it not come to be written.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Back {
    /// Its place in the queue, which it keeps; none for one that goes to the end.
    pub id: Option<i64>,
    /// Under which user it was found.
    pub(crate) user: i64,
    /// As in `relinkd.change`.
    pub strip: Option<bool>,
    /// When the change was recorded, in microseconds since 1970; none for now.
    pub at: Option<i64>,
    /// When it may be claimed again.
    pub pause: Duration,
}

/// A user's issues behind a cursor.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stretch {
    /// The user.
    pub telegram_id: i64,
    /// Issues up to this id are left out; none: from the first on.
    pub after: Option<i64>,
}

/// What [`issue_row`] reads, of the issues `i` in this.
macro_rules! issues {
    ($of:literal) => {
        concat!(
            "select i.id::int8, i.telegram_id::int8, ",
            link_column!("i"),
            ", i.place, i.version from ",
            $of
        )
    };
}

/// These issues as they are now.
pub(crate) async fn by_id(tx: &Tx<'_>, ids: &[i64]) -> Result<Vec<IssueRow>, DbError> {
    let sql = issues!("unnest($1) w(id) join relinkd.bot_issue i on i.id = w.id");
    tx.query_map(sql, params![ids], issue_row).await
}

/// Issues whose link may lead to this number (digits) in the portal: all that do, and perhaps others. Reads every link.
pub(crate) async fn that_may_have_number(tx: &Tx<'_>, number: &str) -> Result<Vec<IssueRow>, DbError> {
    // The caller decodes letters and digits that somebody has encoded without need.
    let sql = "select i.id::int8, i.telegram_id::int8, i.url::text, i.place, i.version from relinkd.bot_issue i
                where i.url::text ~ ('issues(/|%2[Ff])' || $1 || '([^0-9]|$)') or i.url::text ~ '%(3[0-9]|[4-7][0-9A-Fa-f])'
                order by i.id";
    tx.query_map(sql, params![number], issue_row).await
}

/// The next `limit` issues of each of these users, in order of id. Asked for in the order of the index on both columns, for
/// the planner takes the one on ids wherever most issues are one user's: then each of the others costs the whole table.
pub(crate) async fn of_users(
    tx: &Tx<'_>,
    stretches: &[Stretch],
    limit: usize,
) -> Result<Vec<IssueRow>, DbError> {
    let users = each(stretches, |stretch| stretch.telegram_id);
    let after = each(stretches, |stretch| stretch.after.unwrap_or(i64::MIN));
    let sql = concat!(
        "select i.id, w.telegram_id, i.url, i.place, i.version
               from unnest($1, $2) w(telegram_id, after)
              cross join lateral (
                    select i.id::int8, ",
        link_column!("i"),
        " as url, i.place, i.version from relinkd.bot_issue i
                     where (i.telegram_id, i.id) > (w.telegram_id, w.after) and i.telegram_id <= w.telegram_id
                     order by i.telegram_id, i.id limit $3) i"
    );
    tx.query_map(sql, params![users, after, as_i64(limit)], issue_row).await
}

/// The next issues of this user.
pub(crate) async fn page_of_user(
    tx: &Tx<'_>,
    telegram_id: i64,
    cursor: &mut Cursor<i64>,
) -> Result<Vec<IssueRow>, DbError> {
    let stretch = Stretch { telegram_id, after: cursor.after() };
    let issues = of_users(tx, &[stretch], cursor.limit()).await?;
    Ok(cursor.pass(issues, |issue| issue.id))
}

/// The next issues in order of (`telegram_id`, `id`); of nobody's none.
pub(crate) async fn page_by_user(
    tx: &Tx<'_>,
    cursor: &mut Cursor<(i64, i64)>,
) -> Result<Vec<IssueRow>, DbError> {
    let (user, issue) = cursor.after().unwrap_or((i64::MIN, i64::MIN));
    let sql = issues!(
        "relinkd.bot_issue i where (i.telegram_id, i.id) > ($1, $2) order by i.telegram_id, i.id limit $3"
    );
    let issues = tx.query_map(sql, params![user, issue, as_i64(cursor.limit())], issue_row).await?;
    Ok(cursor.pass(issues, |issue: &IssueRow| (issue.telegram_id.unwrap_or(i64::MIN), issue.id)))
}

/// The next issues in order of id, whosever they are.
pub(crate) async fn page(tx: &Tx<'_>, cursor: &mut Cursor<i64>) -> Result<Vec<IssueRow>, DbError> {
    let (first, after) = (cursor.after().is_none(), cursor.after().unwrap_or(i64::MIN));
    let sql = issues!("relinkd.bot_issue i where i.id >= $1 and ($2 or i.id > $1) order by i.id limit $3");
    let issues = tx.query_map(sql, params![after, first, as_i64(cursor.limit())], issue_row).await?;
    Ok(cursor.pass(issues, |issue: &IssueRow| issue.id))
}

/// About how many issues there are, as the server's statistics say.
pub(crate) async fn about_how_many(tx: &Tx<'_>) -> Result<usize, DbError> {
    let sql = "select coalesce(max(c.reltuples), 0)::int8 from relinkd.bound b
                 join pg_class c on c.oid = b.table_id where b.part = 'issues.id'";
    let known: i64 = tx.query_value(sql, &[]).await?;
    // -1 stands for a table without statistics.
    Ok(usize::try_from(known).unwrap_or(0))
}

fn issue_row(row: &Row) -> IssueRow {
    IssueRow {
        id: row.get(0),
        telegram_id: row.get(1),
        // None as well where the bytes are no text.
        url: row.try_get(2).unwrap_or_default(),
        place: RowPlace { tid: row.get(3), xid: row.get(4) },
    }
}

/// Writes links where the row still is the one that was read, and puts a change into the queue for each that was not
/// written; then commits. A row that somebody has locked is waited for as long as `lock_timeout` says, then it fails:
/// `careful` passes over such rows. Returns the issues that were not written.
pub(crate) async fn write_and_commit(
    tx: Tx<'_>,
    rewrites: &[Rewrite],
    careful: bool,
) -> Result<HashSet<i64>, DbError> {
    let sql = if careful { WRITE_FREE } else { WRITE };
    let rows = tx
        .write_and_commit(
            sql,
            params![
                each(rewrites, |r| r.place.tid),
                each(rewrites, |r| r.place.xid),
                each(rewrites, |r| r.issue_id),
                each(rewrites, |r| r.new.as_str()),
                each(rewrites, |r| r.back.user),
                each(rewrites, |r| r.back.strip),
                each(rewrites, |r| r.back.at),
                each(rewrites, |r| as_millis(r.back.pause)),
                each(rewrites, |r| r.back.id),
            ],
        )
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// The rows that were not written are looked for only where there are any.
macro_rules! write {
    ($source:literal) => {
        concat!(
            "with ", $source, "
             done as (
                 update relinkd.bot_issue i set url = w.url from wanted w
                  where i.place operator(pg_catalog.=) w.place and i.version operator(pg_catalog.=) w.version
                    and i.id operator(pg_catalog.=) w.id
                 returning i.id::pg_catalog.int8),
             deferred as materialized (
                 select w.id, w.back, w.telegram_id, w.strip,
                        coalesce(pg_catalog.to_timestamp(w.at::pg_catalog.float8 operator(pg_catalog./) 1000000.0::pg_catalog.float8),
                                 pg_catalog.clock_timestamp()) as at,
                        pg_catalog.clock_timestamp() operator(pg_catalog.+)
                            (w.pause::pg_catalog.float8 operator(pg_catalog.*) pg_catalog.interval '1 ms') as due
                   from rows from (pg_catalog.unnest($3), pg_catalog.unnest($5), pg_catalog.unnest($6), pg_catalog.unnest($7),
                                   pg_catalog.unnest($8), pg_catalog.unnest($9)) w(id, telegram_id, strip, at, pause, back)
                  where (select pg_catalog.count(*) from done) operator(pg_catalog.<>) pg_catalog.cardinality($3)
                    and not w.id operator(pg_catalog.=) any (select d.id from done d)),
             placed as (
                 insert into relinkd.change (id, telegram_id, issue_id, strip, at, due)
                 select d.back, d.telegram_id, d.id, d.strip, d.at, d.due from deferred d where d.back is not null),
             added as (
                 insert into relinkd.change (telegram_id, issue_id, strip, at, due)
                 select d.telegram_id, d.id, d.strip, d.at, d.due from deferred d where d.back is null)
             select d.id from deferred d"
        )
    };
}

const WRITE: &str = write!(
    "wanted as (
         select w.* from rows from (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4))
                              w(place, version, id, url)),"
);
const WRITE_FREE: &str = write!(
    "wanted as materialized (
         select w.* from rows from (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4))
                              w(place, version, id, url)
                    join relinkd.bot_issue i on i.place operator(pg_catalog.=) w.place
          where i.version operator(pg_catalog.=) w.version and i.id operator(pg_catalog.=) w.id
            for no key update skip locked),"
);
