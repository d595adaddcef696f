//! What `check` asks the catalog and the server: plain facts, judged elsewhere.
//!
//! The bot's tables are looked up by name in `pg_class` and not as `regclass`, which is refused without USAGE on their
//! schema; so everything here can be asked before `install`, by a role that may do nothing yet.

use super::{DbError, Session};
use crate::config::QualifiedName;
use tokio_postgres::types::Type;

/// What the server says of itself and of this session.
#[derive(Debug)]
pub struct Server {
    /// The version as it calls itself.
    pub version: String,
    /// The version as a number: 150004 is 15.4.
    pub version_number: i32,
    /// The role of this session.
    pub role: String,
    /// Whether that role is a superuser.
    pub superuser: bool,
    /// `max_prepared_transactions`.
    pub prepared_transactions: i32,
    /// Whether `relinkd.applying` is on in a new session, which silences the triggers.
    pub applying: bool,
    /// The settings by which parameters and rows would get into the server's log, each with its value.
    pub telltale: Vec<String>,
    /// Whether statements are logged now.
    pub logs_statements: bool,
}

/// Asks the server.
///
/// # Errors
/// The database's.
pub async fn server(session: &Session) -> Result<Server, DbError> {
    let row = session
        .query_one(
            "select current_setting('server_version'), current_setting('server_version_num')::int4,
                    current_user::text, r.rolsuper, current_setting('max_prepared_transactions')::int4,
                    coalesce(current_setting('relinkd.applying', true), '') = 'on',
                    array(select name || ' = ' || setting from pg_settings
                           where (name in ('log_parameter_max_length', 'log_parameter_max_length_on_error') and setting <> '0')
                              or (name = 'log_error_verbosity' and setting <> 'terse') order by name),
                    current_setting('log_min_duration_statement') <> '-1'
                 or current_setting('log_min_duration_sample') <> '-1'
                 or current_setting('log_statement') in ('mod', 'all')
               from pg_roles r where r.rolname = current_user",
            &[],
        )
        .await?;
    Ok(Server {
        version: row.get(0),
        version_number: row.get(1),
        role: row.get(2),
        superuser: row.get(3),
        prepared_transactions: row.get(4),
        applying: row.get(5),
        telltale: row.get(6),
        logs_statements: row.get(7),
    })
}

/// The commands that take back settings of `relinkd.applying`, one for each role or database that has one.
///
/// # Errors
/// The database's.
pub async fn applying_resets(session: &Session) -> Result<Vec<String>, DbError> {
    let rows = session
        .query(
            "select case when s.setrole = 0 and s.setdatabase <> 0
                         then format('alter database %I reset relinkd.applying;', d.datname)
                         else format('alter role %s%s reset relinkd.applying;', coalesce(quote_ident(r.rolname), 'all'),
                                     ' in database ' || quote_ident(d.datname)) end
               from pg_db_role_setting s
               left join pg_database d on d.oid = s.setdatabase
               left join pg_roles r on r.oid = s.setrole
              where (s.setdatabase = 0 or d.datname = current_database())
                and exists (select from unnest(s.setconfig) c where c ilike 'relinkd.applying=%')
              order by 1",
            &[],
        )
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// A table of the bot's.
#[derive(Debug)]
pub struct Table {
    /// Its id in the catalog.
    pub oid: u32,
    /// What it is (`pg_class.relkind`): `r` is an ordinary table.
    pub kind: String,
    /// Its owner.
    pub owner: String,
    /// Row-level security is on.
    pub row_security: bool,
    /// It holds for the owner too.
    pub forced: bool,
    /// The columns.
    pub columns: Vec<Column>,
}

/// A column.
#[derive(Debug)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type as SQL writes it, `character varying(64)`.
    pub sql_type: String,
    /// The type's name in the catalog, `varchar`; a domain's base.
    pub type_name: String,
    /// How many characters fit; none where that is not bounded.
    pub limit: Option<usize>,
    /// It alone is unique in the whole table.
    pub unique: bool,
}

/// Looks a table up.
///
/// # Errors
/// The database's.
pub async fn table(session: &Session, name: &QualifiedName) -> Result<Option<Table>, DbError> {
    let found = session
        .query_opt(
            "select c.oid, c.relkind::text, pg_get_userbyid(c.relowner)::text, c.relrowsecurity, c.relforcerowsecurity
               from pg_class c join pg_namespace n on n.oid = c.relnamespace
              where n.nspname = $1 and c.relname = $2 and c.relkind not in ('i', 'I', 'S', 'c', 't')",
            &[(&name.schema, Type::TEXT), (&name.table, Type::TEXT)],
        )
        .await?;
    let Some(found) = found else { return Ok(None) };
    let oid: u32 = found.get(0);
    let columns = session
        .query(
            "select a.attname::text, format_type(a.atttypid, a.atttypmod), b.typname::text,
                    case when b.typname in ('varchar', 'bpchar') and a.atttypmod > 4 then a.atttypmod - 4 end,
                    exists (select from pg_index x
                             where x.indrelid = a.attrelid and x.indisunique and x.indisvalid and x.indpred is null
                               and x.indnkeyatts = 1 and x.indkey[0] = a.attnum)
               from pg_attribute a
               join pg_type t on t.oid = a.atttypid
               join pg_type b on b.oid = coalesce(nullif(t.typbasetype, 0), t.oid)
              where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped",
            &[(&oid, Type::OID)],
        )
        .await?;
    let column = |row: &tokio_postgres::Row| Column {
        name: row.get(0),
        sql_type: row.get(1),
        type_name: row.get(2),
        limit: row.get::<_, Option<i32>>(3).and_then(|limit| usize::try_from(limit).ok()),
        unique: row.get(4),
    };
    Ok(Some(Table {
        oid,
        kind: found.get(1),
        owner: found.get(2),
        row_security: found.get(3),
        forced: found.get(4),
        columns: columns.iter().map(column).collect(),
    }))
}

/// The triggers of others that run before a row is written, and so may change what relinkd or the bot writes.
///
/// # Errors
/// The database's.
pub async fn foreign_triggers(session: &Session, table: u32) -> Result<Vec<String>, DbError> {
    let rows = session
        .query(
            "select t.tgname::text
               from pg_trigger t join pg_proc p on p.oid = t.tgfoid join pg_namespace n on n.oid = p.pronamespace
              where t.tgrelid = $1 and not t.tgisinternal and t.tgenabled <> 'D' and n.nspname <> 'relinkd'
                and t.tgtype & 1 <> 0 and t.tgtype & 2 <> 0 and t.tgtype & 20 <> 0
              order by 1",
            &[(&table, Type::OID)],
        )
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// The index by which a user's issues are walked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WalkIndex {
    /// There is one.
    Valid,
    /// A build that failed has left one that is not used.
    Invalid,
    /// There is none.
    Missing,
}

/// Looks for an index over user and id.
///
/// # Errors
/// The database's.
pub async fn walk_index(
    session: &Session,
    issues: u32,
    telegram_id: &str,
    id: &str,
) -> Result<WalkIndex, DbError> {
    let row = session
        .query_one(
            "select coalesce(bool_or(x.indisvalid), false), coalesce(bool_or(not x.indisvalid), false)
               from pg_index x
              where x.indrelid = $1 and x.indpred is null and x.indnkeyatts >= 2
                and (select a.attname from pg_attribute a where a.attrelid = $1 and a.attnum = x.indkey[0]) = $2::text
                and (select a.attname from pg_attribute a where a.attrelid = $1 and a.attnum = x.indkey[1]) = $3::text",
            &[(&issues, Type::OID), (&telegram_id, Type::TEXT), (&id, Type::TEXT)],
        )
        .await?;
    Ok(match (row.get(0), row.get(1)) {
        (true, _) => WalkIndex::Valid,
        (false, true) => WalkIndex::Invalid,
        (false, false) => WalkIndex::Missing,
    })
}

/// A trigger of relinkd's.
#[derive(Debug)]
pub struct Trigger {
    /// Its name.
    pub name: String,
    /// Its table.
    pub table: String,
    /// How it is.
    pub state: TriggerState,
}

/// How a trigger of relinkd's is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TriggerState {
    /// As it should be.
    Sound,
    /// Not there.
    Missing,
    /// There and switched off, or on for replicas alone.
    Disabled,
    /// There, and watching something else than it should.
    Different,
    /// On a table where it does not belong, or of another version.
    Stray,
}

/// The triggers that should be there and those that are.
///
/// # Errors
/// The database's.
pub async fn triggers(session: &Session) -> Result<Vec<Trigger>, DbError> {
    let rows = session
        .query(
            "select w.name::text, coalesce(w.on_table::text, 'a table that is gone'),
                    case when s.name is not null then 'sound' when t.oid is null then 'missing'
                         when t.tgenabled not in ('O', 'A') then 'disabled' else 'different' end
               from relinkd.wanted_trigger w
               left join pg_trigger t on t.tgname = w.name and t.tgrelid = w.on_table
               left join relinkd.sound_trigger s on s.name = w.name and s.on_table = w.on_table
             union all
             select o.name::text, o.on_table::text, 'stray' from relinkd.own_trigger o
              where not exists (select from relinkd.wanted_trigger w where w.name = o.name and w.on_table = o.on_table)
              order by 1, 2",
            &[],
        )
        .await?;
    let state = |word: &str| match word {
        "sound" => TriggerState::Sound,
        "missing" => TriggerState::Missing,
        "disabled" => TriggerState::Disabled,
        "stray" => TriggerState::Stray,
        _ => TriggerState::Different,
    };
    Ok(rows
        .iter()
        .map(|row| Trigger { name: row.get(0), table: row.get(1), state: state(row.get(2)) })
        .collect())
}

/// Who the views read the bot's tables as.
#[derive(Debug)]
pub struct Reader {
    /// The owner of schema relinkd's views.
    pub role: String,
    /// Row-level security does not hold for it.
    pub sees_all: bool,
}

/// The owner of the views, where there are any.
///
/// # Errors
/// The database's.
pub async fn reader(session: &Session) -> Result<Option<Reader>, DbError> {
    let row = session
        .query_opt(
            "select r.rolname::text, r.rolsuper or r.rolbypassrls
               from pg_class c join pg_namespace n on n.oid = c.relnamespace join pg_roles r on r.oid = c.relowner
              where n.nspname = 'relinkd' and c.relname = 'bot_user'",
            &[],
        )
        .await?;
    Ok(row.map(|row| Reader { role: row.get(0), sees_all: row.get(1) }))
}

/// What this session's role lacks of what `sql/grants.sql` gives.
///
/// # Errors
/// The database's.
pub async fn lacking(session: &Session) -> Result<Vec<String>, DbError> {
    let rows = session
        .query(
            "with object as (
                 select c.oid, c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
                  where n.nspname = 'relinkd')
             select 'usage on schema relinkd' where not has_schema_privilege('relinkd', 'usage')
             union all
             select format('%s on relinkd.%s', p, o.relname)
               from object o, unnest(array['select', 'insert', 'update', 'delete']) p
              where o.relname in ('change', 'walk', 'token_mark', 'unusable', 'ledger', 'daemon')
                and not has_table_privilege(o.oid, p)
             union all
             select format('select on relinkd.%s', o.relname) from object o
              where o.relname in ('bot_user', 'bot_issue', 'meta', 'own_trigger', 'wanted_trigger', 'sound_trigger')
                and not has_table_privilege(o.oid, 'select')
             union all
             select format('update (%s) on relinkd.%s', w.col, o.relname)
               from object o join (values ('bot_user', 'portal_token'), ('bot_issue', 'url'), ('meta', 'portal_fingerprint'),
                                          ('meta', 'audit_finished_at'), ('meta', 'audit_found')) w(rel, col)
                    on w.rel = o.relname
              where not has_column_privilege(o.oid, w.col, 'update')
             union all
             select format('execute on function relinkd.%s', p.proname)
               from pg_proc p join pg_namespace n on n.oid = p.pronamespace and n.nspname = 'relinkd'
              where p.proname in ('user_key', 'ring', 'alive', 'queue_everyone')
                and not has_function_privilege(p.oid, 'execute')",
            &[],
        )
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// A right on a table of the bot's that the daemon does not need.
#[derive(Debug)]
pub struct Excess {
    /// What may be done.
    pub what: String,
    /// The command that takes it back.
    pub revoke: String,
}

/// Rights that this session's role has on these tables, be it by way of `public` or a role it is in. The daemon needs
/// none: it works through views.
///
/// # Errors
/// The database's.
pub async fn excess(session: &Session, tables: &[u32]) -> Result<Vec<Excess>, DbError> {
    let rows = session
        .query(
            "with grants as (
                 select c.oid, c.relowner, a.grantee, a.privilege_type, null::name as col
                   from pg_class c, aclexplode(c.relacl) a where c.oid = any ($1)
                 union all
                 select c.oid, c.relowner, a.grantee, a.privilege_type, t.attname
                   from pg_class c join pg_attribute t on t.attrelid = c.oid, aclexplode(t.attacl) a where c.oid = any ($1))
             select string_agg(distinct lower(g.privilege_type) || coalesce(' (' || quote_ident(g.col) || ')', ''), ', ')
                        || ' on ' || g.oid::regclass
                        || case when g.grantee = 0 then ', as everybody may'
                                when pg_get_userbyid(g.grantee) <> current_user then ', as a member of ' || pg_get_userbyid(g.grantee)
                                else '' end,
                    format('revoke all on %s from %s;', g.oid::regclass,
                           case g.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(g.grantee)) end)
               from grants g
              where g.grantee <> g.relowner and (g.grantee = 0 or pg_has_role(current_user, g.grantee, 'usage'))
              group by g.oid, g.grantee order by 2",
            &[(&tables, Type::OID_ARRAY)],
        )
        .await?;
    Ok(rows.iter().map(|row| Excess { what: row.get(0), revoke: row.get(1) }).collect())
}

/// Whether this session's role is this one, or a member of it.
///
/// # Errors
/// The database's.
pub async fn is_member(session: &Session, of: &str) -> Result<bool, DbError> {
    let sql = "select exists (select from pg_roles r where r.rolname = $1 and pg_has_role(current_user, r.oid, 'member'))";
    Ok(session.query_one(sql, &[(&of, Type::TEXT)]).await?.get(0))
}

/// The owner of schema relinkd, who alone (but for a superuser) can install again; none where it is not there.
///
/// # Errors
/// The database's.
pub async fn schema_owner(session: &Session) -> Result<Option<String>, DbError> {
    let sql = "select pg_get_userbyid(nspowner)::text from pg_namespace where nspname = 'relinkd'";
    Ok(session.query_opt(sql, &[]).await?.map(|row| row.get(0)))
}

/// Telegram ids that stand in more than one row of the users, a hundred at most.
///
/// # Errors
/// The database's.
pub async fn repeated_users(session: &Session) -> Result<Vec<i64>, DbError> {
    let sql = "select telegram_id::int8 from relinkd.bot_user where telegram_id is not null
                group by telegram_id having count(*) > 1 order by 1 limit 100";
    Ok(session.query(sql, &[]).await?.iter().map(|row| row.get(0)).collect())
}
