//! Roles: whether there is one, and making one whose password the server's log never sees.

use super::params::params;
use super::{DbError, NoConnection, Session};
use postgres_protocol::escape::escape_identifier;
use postgres_protocol::password::scram_sha_256;
use tokio_postgres::error::SqlState;

/// Whether there is such a role.
pub(crate) async fn exists(session: &Session, role: &str) -> Result<bool, DbError> {
    let sql = "select exists (select from pg_roles where rolname = $1)";
    session.query_value(sql, params![role]).await
}

/// Makes a role that may log in. Of a password only the SCRAM verifier is sent (RFC 5803), as `psql` does it.
pub(crate) async fn create(session: &Session, role: &str, password: Option<&[u8]>) -> Result<(), DbError> {
    let verifier = password.map(scram_sha_256).unwrap_or_default();
    let sql = "select format('create role %I login', $1) || case when $2 <> '' then format(' password %L', $2) else '' end";
    let command: String = session.query_value(sql, params![role, verifier]).await?;
    session.batch(&command).await
}

/// Commands about the role, for people; `%I` in the pattern is its name.
pub(crate) async fn command(session: &Session, pattern: &str, role: &str) -> Result<String, DbError> {
    let sql = "select replace($1, '%I', quote_ident($2))";
    session.query_value(sql, params![pattern, role]).await
}

/// Makes the role.
pub(crate) const CREATE: &str = "create role %I login;";
/// Removes it.
pub(crate) const DROP: &str = "drop role %I;";
/// Keeps tokens out of the server's log.
pub(crate) const QUIET: &str = "alter role %I set log_parameter_max_length = 0; \
                         alter role %I set log_parameter_max_length_on_error = 0; \
                         alter role %I set log_error_verbosity = terse;";

/// Whether this session may read and write the bot's rows: the code of others that comes with them (triggers, checks,
/// predicates of indexes) has no more rights in it than it has anyway. So for the owner of both tables, logged in as such.
pub(crate) async fn owns_rows(session: &Session) -> Result<bool, DbError> {
    let sql = "select session_user = r.rolname and not r.rolsuper
                  and (select coalesce(bool_and(c.relowner = r.oid), false)
                         from pg_rewrite w
                         join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = w.oid
                                         and d.refclassid = 'pg_class'::regclass and d.refobjid <> w.ev_class
                         join pg_class c on c.oid = d.refobjid
                        where w.ev_class in (to_regclass('relinkd.bot_user'), to_regclass('relinkd.bot_issue')))
                 from pg_roles r where r.rolname = current_user";
    session.query_value(sql, &[]).await
}

/// Who this session is, where that is a superuser or can become one: they must not touch the bot's rows.
pub(crate) async fn superuser(session: &Session) -> Result<Option<String>, DbError> {
    let sql = "select r.rolname::text from pg_roles r
                where r.rolsuper and (pg_has_role(session_user, r.oid, 'member') or r.rolname = current_user)
                order by r.rolname <> current_user limit 1";
    Ok(session.query(sql, &[]).await?.first().map(|row| row.get(0)))
}

/// What the daemon's role has that it had better not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TooMuch {
    /// It is a superuser.
    Superuser,
    /// It owns one of the bot's tables.
    Owner,
}

/// Whether the daemon's role has too much.
pub(crate) async fn too_much(session: &Session, role: &str) -> Result<Option<TooMuch>, DbError> {
    let sql = "select r.rolsuper, exists (select from relinkd.bound b where b.owner = r.oid)
                 from pg_roles r where r.rolname = $1";
    let row = session.query_one(sql, params![role]).await?;
    Ok(match (row.get(0), row.get(1)) {
        (true, _) => Some(TooMuch::Superuser),
        (false, true) => Some(TooMuch::Owner),
        (false, false) => None,
    })
}

/// Whether the error says that this is not allowed.
pub(crate) fn not_allowed(error: &DbError) -> bool {
    error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE)
}

/// Whether the server asked for a password that was missing or wrong.
pub(crate) fn wants_password(error: &DbError) -> bool {
    match error {
        DbError::Connect { cause: NoConnection::NoPassword(_), .. } => true,
        DbError::Connect { cause: NoConnection::Refused { code, .. }, .. } => {
            *code == SqlState::INVALID_PASSWORD
        }
        _ => false,
    }
}

/// A name as an SQL identifier (Postgres manual, 4.1.1): quoted unless it is plain. Not quoted by Postgres, for it is told to
/// whoever gets no session any more.
pub(crate) fn identifier(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if plain { name.to_owned() } else { escape_identifier(name) }
}
