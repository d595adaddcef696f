//! Roles: whether there is one, and making one whose password the server's log never sees.

use super::{DbError, Session};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;

/// Whether there is such a role.
///
/// # Errors
/// The database's.
pub async fn exists(session: &Session, role: &str) -> Result<bool, DbError> {
    let sql = "select exists (select from pg_roles where rolname = $1)";
    Ok(session.query_one(sql, &[(&role, Type::TEXT)]).await?.get(0))
}

/// Makes a role that may log in. Of a password only the SCRAM verifier is sent (RFC 5803), as `psql` does it.
///
/// # Errors
/// The database's.
pub async fn create(session: &Session, role: &str, password: Option<&[u8]>) -> Result<(), DbError> {
    let mut command = create_command(role);
    command.pop();
    if let Some(password) = password {
        let verifier = postgres_protocol::password::scram_sha_256(password);
        command.push_str(" password ");
        command.push_str(&literal(&verifier));
    }
    session.batch(&command).await
}

/// The command that makes the role, for people.
#[must_use]
pub fn create_command(role: &str) -> String {
    format!("create role {} login;", identifier(role))
}

/// The commands that keep tokens out of the server's log, for people.
#[must_use]
pub fn quiet_command(role: &str) -> String {
    let role = identifier(role);
    format!(
        "alter role {role} set log_parameter_max_length = 0; \
         alter role {role} set log_parameter_max_length_on_error = 0; \
         alter role {role} set log_error_verbosity = terse;"
    )
}

/// The command that removes the role, for people.
#[must_use]
pub fn drop_command(role: &str) -> String {
    format!("drop role {};", identifier(role))
}

/// Whether the error says that this is not allowed.
#[must_use]
pub fn not_allowed(error: &DbError) -> bool {
    error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE)
}

/// Whether the server asked for a password that was missing or wrong.
#[must_use]
pub fn wants_password(error: &DbError) -> bool {
    match error {
        DbError::Connect { code: Some(code), .. } => *code == SqlState::INVALID_PASSWORD,
        DbError::Connect { code: None, reason, .. } => reason.contains("password missing"),
        _ => false,
    }
}

/// A text as an SQL literal (Postgres manual, 4.1.2.1).
#[must_use]
pub fn literal(text: &str) -> String {
    if text.contains('\\') {
        format!(" E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
    } else {
        format!("'{}'", text.replace('\'', "''"))
    }
}

/// A name as an SQL identifier (Postgres manual, 4.1.1): quoted unless it is plain.
#[must_use]
pub fn identifier(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}
