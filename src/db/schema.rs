//! Schema `relinkd`: whether it is there and fits, and what the daemons remember in it.
//!
//! Making and removing it is `install`'s and `uninstall`'s, in [`super::setup`].

use super::{DbError, Session};
use crate::config::Tables;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;

/// The version of schema `relinkd` that this program works with.
pub const VERSION: i32 = 1;

/// What the bot's columns can hold, in characters; none where they are not bounded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Facts {
    /// The link.
    pub url_limit: Option<usize>,
    /// The token.
    pub token_limit: Option<usize>,
}

/// Whether schema `relinkd` is there, of this version, and made for these tables.
///
/// # Errors
/// What is amiss, or the database's.
pub async fn verify(session: &Session, tables: &Tables) -> Result<Facts, DbError> {
    let rows = session
        .query(
            "select schema_version, users_table, users_telegram_id, users_portal_token,
                    issues_table, issues_id, issues_telegram_id, issues_url from relinkd.meta",
            &[],
        )
        .await
        .map_err(|error| match error.code() {
            Some(code) if *code == SqlState::UNDEFINED_TABLE || *code == SqlState::INVALID_SCHEMA_NAME => {
                DbError::NoSchema
            }
            _ => error,
        })?;
    let row = rows.first().ok_or(DbError::NoSchema)?;
    let found: i32 = row.get(0);
    if found != VERSION {
        return Err(DbError::WrongVersion { found, wanted: VERSION });
    }
    let installed: Vec<String> = (1..8).map(|column| row.get(column)).collect();
    let configured = names(tables);
    if installed != configured {
        return Err(DbError::OtherTables {
            installed: describe(&installed),
            configured: describe(&configured),
        });
    }
    facts(session).await
}

/// The names of the bot's tables and columns, in the order of `relinkd.meta`, tables as `regclass` prints them.
#[must_use]
pub fn names(tables: &Tables) -> Vec<String> {
    vec![
        tables.users.name.to_string(),
        tables.users.telegram_id.clone(),
        tables.users.portal_token.clone(),
        tables.issues.name.to_string(),
        tables.issues.id.clone(),
        tables.issues.telegram_id.clone(),
        tables.issues.url.clone(),
    ]
}

fn describe(names: &[String]) -> String {
    format!(
        "{} ({}, {}) and {} ({}, {}, {})",
        names[0], names[1], names[2], names[3], names[4], names[5], names[6]
    )
}

async fn facts(session: &Session) -> Result<Facts, DbError> {
    let limit = |typmod: i32| usize::try_from(typmod - 4).ok();
    let row = session
        .query_one(
            "select (select atttypmod from pg_attribute
                      where attrelid = 'relinkd.bot_issue'::regclass and attname = 'url'),
                    (select atttypmod from pg_attribute
                      where attrelid = 'relinkd.bot_user'::regclass and attname = 'portal_token')",
            &[],
        )
        .await?;
    Ok(Facts { url_limit: limit(row.get(0)), token_limit: limit(row.get(1)) })
}

/// Remembers what decides links; where it is something else than before, queues everyone and says so.
///
/// # Errors
/// The database's.
pub async fn portal_changed(session: &Session, fingerprint: &str) -> Result<bool, DbError> {
    let row = session
        .query_opt(
            "with old as (select portal_fingerprint from relinkd.meta),
                  new as (update relinkd.meta set portal_fingerprint = $1
                           where portal_fingerprint is distinct from $1 returning 1)
             select case when old.portal_fingerprint is not null then relinkd.queue_everyone() end from old, new",
            &[(&fingerprint, Type::TEXT)],
        )
        .await?;
    Ok(row.is_some_and(|row| row.get::<_, Option<i64>>(0).is_some()))
}

/// Remembers an audit.
///
/// # Errors
/// The database's.
pub async fn audit_finished(session: &Session, found: usize) -> Result<(), DbError> {
    let found = i64::try_from(found).unwrap_or(i64::MAX);
    session
        .execute(
            "update relinkd.meta set audit_finished_at = now(), audit_found = $1",
            &[(&found, Type::INT8)],
        )
        .await?;
    Ok(())
}
