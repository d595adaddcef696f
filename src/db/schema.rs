//! Schema `relinkd`: whether it is there and fits, and what the daemons remember in it.
//!
//! Making and removing it is `install`'s and `uninstall`'s, in [`super::setup`].

use super::params::{each, params};
use super::{DbError, Session, Tx, as_i64};
use crate::config::{QualifiedName, Tables};
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;

/// The version of schema `relinkd` that this program works with.
pub(crate) const VERSION: i32 = 2;

/// What the bot's columns can hold, in characters; none where they are not bounded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// The link.
    pub url_limit: Option<usize>,
    /// The token.
    pub token_limit: Option<usize>,
}

/// A schema that fits.
#[derive(Debug, Default)]
pub(crate) struct Verified {
    /// What the columns can hold.
    pub facts: Facts,
    /// Names that have changed in the database: relinkd follows them, and the configuration should.
    pub warnings: Vec<String>,
}

/// Whether schema `relinkd` is there, of this version, and bound to these tables.
pub(crate) async fn verify(session: &Session, tables: &Tables) -> Result<Verified, DbError> {
    let rows = session.query("select schema_version from relinkd.meta", &[]).await.map_err(|error| {
        match error.code() {
            Some(code) if *code == SqlState::UNDEFINED_TABLE || *code == SqlState::INVALID_SCHEMA_NAME => {
                DbError::NoSchema
            }
            _ => error,
        }
    })?;
    let found: i32 = rows.first().ok_or(DbError::NoSchema)?.get(0);
    if found != VERSION {
        return Err(DbError::WrongVersion { found, wanted: VERSION });
    }
    let parts = bound(session, &Named::all(tables)).await?;
    if parts.iter().any(Part::is_another) {
        return Err(DbError::OtherTables {
            installed: describe(parts.iter().map(|part| part.today.as_ref())),
            configured: describe(parts.iter().map(|part| Some(&part.configured))),
        });
    }
    let limit = |of: &str| {
        let part = parts.iter().find(|part| part.configured.part == of);
        part.and_then(|part| usize::try_from(part.type_modifier - 4).ok())
    };
    Ok(Verified {
        facts: Facts { url_limit: limit("issues.url"), token_limit: limit("users.portal_token") },
        warnings: warnings(&parts),
    })
}

/// One of the five columns by its names.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Named {
    /// As `relinkd.bound` calls it.
    part: &'static str,
    table: QualifiedName,
    column: String,
}

impl Named {
    fn all(tables: &Tables) -> [Self; 5] {
        let (users, issues) = (&tables.users, &tables.issues);
        let named = |part, table: &QualifiedName, column: &str| Self {
            part,
            table: table.clone(),
            column: column.to_owned(),
        };
        [
            named("users.telegram_id", &users.name, &users.telegram_id),
            named("users.portal_token", &users.name, &users.portal_token),
            named("issues.id", &issues.name, &issues.id),
            named("issues.telegram_id", &issues.name, &issues.telegram_id),
            named("issues.url", &issues.name, &issues.url),
        ]
    }
}

/// One of the five columns, as configured and as it is bound.
#[derive(Debug)]
struct Part {
    configured: Named,
    /// What the bound one is called today; none where it is gone.
    today: Option<Named>,
    type_modifier: i32,
    /// Whether the configured name stands for the table that is bound; none where it stands for nothing: it was renamed.
    is_table: Option<bool>,
    /// The same of the column.
    is_column: Option<bool>,
}

impl Part {
    fn is_another(&self) -> bool {
        self.today.is_none() || self.is_table == Some(false) || self.is_column == Some(false)
    }
}

/// What the accessors are bound to, beside what the configuration names.
async fn bound(session: &Session, configured: &[Named; 5]) -> Result<Vec<Part>, DbError> {
    let parts = each(configured, |named| named.part);
    let schemas = each(configured, |named| named.table.schema.as_str());
    let names = each(configured, |named| named.table.table.as_str());
    let columns = each(configured, |named| named.column.as_str());
    let sql = "select b.schema_name::text, b.table_name::text, b.column_name::text, b.type_modifier,
                      c.oid = b.table_id, a.attnum = b.column_number
                 from unnest($1, $2, $3, $4) with ordinality w(part, schema_name, table_name, column_name, place)
                 left join relinkd.bound b on b.part = w.part
                 left join pg_catalog.pg_namespace n on n.nspname = w.schema_name
                 left join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = w.table_name
                 left join pg_catalog.pg_attribute a
                        on a.attrelid = b.table_id and a.attname = w.column_name and not a.attisdropped
                order by w.place";
    let rows = session.query(sql, params![parts, schemas, names, columns]).await?;
    let part = |(configured, row): (&Named, &Row)| Part {
        today: row.get::<_, Option<String>>(0).map(|schema| Named {
            part: configured.part,
            table: QualifiedName { schema, table: row.get(1) },
            column: row.get(2),
        }),
        configured: configured.clone(),
        type_modifier: row.get::<_, Option<i32>>(3).unwrap_or(-1),
        is_table: row.get(4),
        is_column: row.get(5),
    };
    Ok(configured.iter().zip(&rows).map(part).collect())
}

/// What was renamed, each with the key that should follow.
fn warnings(parts: &[Part]) -> Vec<String> {
    let mut warnings = Vec::new();
    for Part { configured, today, is_table, is_column, .. } in parts {
        let Some(today) = today else { continue };
        let section = configured.part.split('.').next().unwrap_or(configured.part);
        let mut renamed = |key: &str, old: &str, new: &str| {
            let warning = format!("{old:?} is called {new:?} now: set tables.{key} = {new:?}");
            if !warnings.contains(&warning) {
                warnings.push(warning);
            }
        };
        if is_table.is_none() {
            let (old, new) = (configured.table.to_string(), today.table.to_string());
            renamed(&format!("{section}.name"), &old, &new);
        }
        if is_column.is_none() {
            renamed(configured.part, &configured.column, &today.column);
        }
    }
    warnings
}

/// `public.users (telegram_id, portal_token) and …`
fn describe<'n>(parts: impl Iterator<Item = Option<&'n Named>>) -> String {
    let mut tables: Vec<(&QualifiedName, Vec<&str>)> = Vec::new();
    for named in parts.flatten() {
        match tables.last_mut() {
            Some((last, columns)) if *last == &named.table => columns.push(&named.column),
            _ => tables.push((&named.table, vec![&named.column])),
        }
    }
    let tables: Vec<String> =
        tables.iter().map(|(table, columns)| format!("{table} ({})", columns.join(", "))).collect();
    if tables.is_empty() { "tables that are gone".to_owned() } else { tables.join(" and ") }
}

const PORTAL: &str = "select m.portal_fingerprint from relinkd.meta m";

/// The `[portal]` settings that links follow, in short: those that were read last, by a daemon's start or reload or by a
/// command. None before the first.
pub(crate) async fn portal_in_force(tx: &Tx<'_>) -> Result<Option<String>, DbError> {
    tx.query_value(PORTAL, &[]).await
}

/// As [`portal_in_force`], outside a transaction.
pub(crate) async fn portal_now(session: &Session) -> Result<Option<String>, DbError> {
    session.query_value(PORTAL, &[]).await
}

/// Makes links follow these `[portal]` settings; where they are others than before, queues everybody and says so.
pub(crate) async fn put_portal_in_force(session: &Session, fingerprint: &str) -> Result<bool, DbError> {
    let sql = "with old as (select m.portal_fingerprint from relinkd.meta m),
                    new as (update relinkd.meta set portal_fingerprint = $1
                             where portal_fingerprint is distinct from $1 returning 1),
                    queued as (insert into relinkd.change (telegram_id)
                               select null from old, new where old.portal_fingerprint is not null returning 1)
               select 1 from queued";
    let rows = session.query(sql, params![fingerprint]).await?;
    Ok(!rows.is_empty())
}

/// Remembers an audit.
pub(crate) async fn audit_finished(session: &Session, found: usize) -> Result<(), DbError> {
    let sql = "update relinkd.meta set audit_finished_at = now(), audit_found = $1";
    session.execute(sql, params![as_i64(found)]).await
}
