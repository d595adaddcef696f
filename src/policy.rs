//! One table: what an error of the database means for the work, and what an operator can do about it.

use crate::db::DbError;
use tokio_postgres::error::SqlState;

/// What to do after an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Connect anew, with growing pauses.
    Reconnect,
    /// The same again after a pause: it was the moment, not the work.
    Retry,
    /// It is this piece of work: set it aside and go on with the rest.
    SetAside,
}

/// What an error means for the work.
#[must_use]
pub fn policy(error: &DbError) -> Policy {
    let Some(code) = error.code() else { return Policy::Reconnect };
    if [SqlState::QUERY_CANCELED, SqlState::DISK_FULL, SqlState::OUT_OF_MEMORY].contains(code) {
        return Policy::Retry;
    }
    // Classes: Postgres manual, appendix A.
    match &code.code()[..2] {
        "40" | "55" | "58" => Policy::Retry,
        "08" | "25" | "28" | "3D" | "3F" | "42" | "53" | "57" | "XX" => Policy::Reconnect,
        _ => Policy::SetAside,
    }
}

/// The next step for an operator, in one sentence; none where waiting is all there is to do.
#[must_use]
pub fn advice(error: &DbError) -> Option<&'static str> {
    match error {
        DbError::NoSchema => Some("run `relinkd install`"),
        DbError::WrongVersion { found, wanted } if found > wanted => {
            Some("another, newer relinkd uses this database: upgrade this one")
        }
        DbError::WrongVersion { .. } => Some("run `relinkd install` to upgrade it"),
        DbError::OtherTables { .. } => Some(
            "correct [tables] in the configuration, or run `relinkd install` to move relinkd to these tables",
        ),
        DbError::ReadOnly(_) => Some("name the primary in database.url"),
        DbError::Tls(_) => Some("see sslmode, sslrootcert, sslcert and sslkey in database.url"),
        DbError::Password(_) => Some("see database.password_file, PGPASSFILE or ~/.pgpass"),
        DbError::Connect { code: None, reason, .. } if reason.contains("password") => {
            Some("the server asks for a password: see database.password_file, PGPASSFILE or ~/.pgpass")
        }
        DbError::Connect { code: None, reason, .. }
            if reason.contains("certificate") || reason.contains("TLS") =>
        {
            Some(
                "see sslmode and sslrootcert in database.url: that root must have signed the server's certificate, which must name the host for verify-full",
            )
        }
        DbError::Connect { code: None, .. } => Some(
            "see whether Postgres runs there and database.url names it rightly; `relinkd check` tells more",
        ),
        DbError::Connect { code: Some(code), .. } | DbError::Server { code, .. } => advice_by_code(code),
        DbError::Lost(_) | DbError::Silent(_) => None,
    }
}

/// What happened, and the next step where there is one.
#[must_use]
pub fn with_advice(error: &DbError) -> String {
    match advice(error) {
        Some(advice) => format!("{error}; {advice}"),
        None => error.to_string(),
    }
}

fn advice_by_code(code: &SqlState) -> Option<&'static str> {
    match code.code() {
        "28P01" => {
            Some("the password is wrong: see database.url, database.password_file, PGPASSFILE or ~/.pgpass")
        }
        "28000" => Some(
            "the server refuses this user: see pg_hba.conf and that the role exists (`relinkd install` creates it); with peer authentication run the command as that user of the system: runuser -u USER -- relinkd …",
        ),
        "3D000" => Some("there is no such database: see database.url"),
        "42501" => Some("the role lacks a privilege: run `relinkd install --role ROLE` as the tables' owner"),
        "42P01" | "42703" | "42883" | "3F000" => {
            Some("run `relinkd install`: the schema is not as this relinkd needs it")
        }
        "53100" => Some("the disk of the database server is full"),
        "53300" => {
            Some("the server has no connection left: raise max_connections, or the role's connection limit")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(code: &SqlState) -> DbError {
        DbError::Server { code: code.clone(), message: String::new() }
    }

    #[test]
    fn each_kind_of_error_has_its_policy() {
        for (code, wanted) in [
            (SqlState::CHECK_VIOLATION, Policy::SetAside),
            (SqlState::RAISE_EXCEPTION, Policy::SetAside),
            (SqlState::STRING_DATA_RIGHT_TRUNCATION, Policy::SetAside),
            (SqlState::T_R_DEADLOCK_DETECTED, Policy::Retry),
            (SqlState::LOCK_NOT_AVAILABLE, Policy::Retry),
            (SqlState::QUERY_CANCELED, Policy::Retry),
            (SqlState::DISK_FULL, Policy::Retry),
            (SqlState::TOO_MANY_CONNECTIONS, Policy::Reconnect),
            (SqlState::ADMIN_SHUTDOWN, Policy::Reconnect),
            (SqlState::INVALID_PASSWORD, Policy::Reconnect),
            (SqlState::UNDEFINED_TABLE, Policy::Reconnect),
            (SqlState::INSUFFICIENT_PRIVILEGE, Policy::Reconnect),
            (SqlState::READ_ONLY_SQL_TRANSACTION, Policy::Reconnect),
        ] {
            assert_eq!(policy(&server(&code)), wanted, "{}", code.code());
        }
        assert_eq!(policy(&DbError::Lost(String::new())), Policy::Reconnect);
    }
}
