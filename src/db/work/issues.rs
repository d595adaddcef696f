//! Issues: read by id, by user and in pages, and links written over those that were read.

use super::Walk;
use crate::db::{DbError, Tx};
use std::collections::HashSet;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

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
