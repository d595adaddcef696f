//! Schema `relinkd`: whether it is there and fits, and what the daemons remember in it.
//!
//! Making and removing it is `install`'s and `uninstall`'s, in [`super::setup`].

use super::params::params;
use super::{DbError, Session, Tx, as_i64};
use crate::config::Tables;
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
    bound(session, tables).await
}

/// What the accessors are bound to, beside what the configuration names.
async fn bound(session: &Session, Tables { users, issues }: &Tables) -> Result<Verified, DbError> {
    let sql = "
        with part as (
            select w.place, w.part, b.type_modifier, c.oid = b.table_id as is_table, a.attnum = b.column_number as is_column,
                   w.schema_name || '.' || w.table_name as given_table, w.column_name as given_column,
                   b.schema_name || '.' || b.table_name as bound_table, b.column_name::text as bound_column
              from (values (1, 'users.telegram_id', $1, $2, $3), (2, 'users.portal_token', $1, $2, $4), (3, 'issues.id', $5, $6, $7),
                           (4, 'issues.telegram_id', $5, $6, $8), (5, 'issues.url', $5, $6, $9))
                   w(place, part, schema_name, table_name, column_name)
              left join relinkd.bound b on b.part = w.part
              left join pg_namespace n on n.nspname = w.schema_name
              left join pg_class c on c.relnamespace = n.oid and c.relname = w.table_name
              left join pg_attribute a on a.attrelid = b.table_id and a.attname = w.column_name and not a.attisdropped
        ), named(whose, place, tables) as (
            select n.whose, min(p.place), format('%s (%s)', n.table_name, string_agg(n.column_name, ', ' order by p.place))
              from part p cross join lateral (
                   values ('bound', p.bound_table, p.bound_column), ('given', p.given_table, p.given_column))
                   n(whose, table_name, column_name)
             where n.table_name is not null group by n.whose, n.table_name
        ), renamed(place, key, old, new) as (
            -- What is bound, where the configured name stands for nothing any more.
            select min(p.place), split_part(p.part, '.', 1) || '.name', p.given_table, p.bound_table
              from part p where p.is_table is null and p.bound_table is not null group by 2, 3, 4
            union all
            select p.place, p.part, p.given_column, p.bound_column
              from part p where p.is_column is null and p.bound_table is not null
        )
        select bool_and(p.bound_table is not null and coalesce(p.is_table, true) and coalesce(p.is_column, true)),
               coalesce((select string_agg(n.tables, ' and ' order by n.place) from named n where n.whose = 'bound'), 'tables that are gone'),
               (select string_agg(n.tables, ' and ' order by n.place) from named n where n.whose = 'given'),
               max(p.type_modifier) filter (where p.part = 'issues.url'),
               max(p.type_modifier) filter (where p.part = 'users.portal_token'),
               array(select format('%s is called %s now: set tables.%s = %2$s', to_json(r.old), to_json(r.new), r.key)
                       from renamed r order by r.place, r.key not like '%.name')
          from part p";
    let names = params![
        users.name.schema,
        users.name.table,
        users.telegram_id,
        users.portal_token,
        issues.name.schema,
        issues.name.table,
        issues.id,
        issues.telegram_id,
        issues.url,
    ];
    let row = session.query_one(sql, names).await?;
    if !row.get::<_, bool>(0) {
        return Err(DbError::OtherTables { installed: row.get(1), configured: row.get(2) });
    }
    let limit = |column| usize::try_from(row.get::<_, i32>(column) - 4).ok();
    Ok(Verified { facts: Facts { url_limit: limit(3), token_limit: limit(4) }, warnings: row.get(5) })
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
