//! One table: what an error of the database means for the work, and what an operator can do about it.

use crate::config;
use crate::db::{DbError, NoConnection};
use tokio_postgres::error::SqlState;

/// What an error is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The connection, or the server's being there: connect anew, with growing pauses.
    Connection,
    /// The server as a whole, a full disk for one: likewise.
    Server,
    /// A name that is not there, or a right that is missing.
    Schema,
    /// Somebody else holds what is wanted.
    Held,
    /// This piece of work.
    Work,
}

/// What an error is about (Postgres manual, appendix A: `SQLSTATE`).
pub(crate) fn trouble(error: &DbError) -> Trouble {
    if matches!(error, DbError::Locked(_)) {
        return Trouble::Held;
    }
    let Some(code) = error.code() else { return Trouble::Connection };
    match code.code() {
        // A plan that was made before the schema changed, or a rule of the bot's that admits no such statement.
        "0A000" => Trouble::Schema,
        // Sessions that the server ended, or a standby.
        "25006" | "25P03" | "57P01" | "57P02" | "57P03" | "57P04" | "57P05" => Trouble::Connection,
        "55P03" | "40001" | "40P01" => Trouble::Held,
        code => match &code[..2] {
            "08" | "28" | "3D" => Trouble::Connection,
            "53" | "58" | "XX" => Trouble::Server,
            "3F" | "42" => Trouble::Schema,
            _ => Trouble::Work,
        },
    }
}

const ITS_TRANSACTION: &str =
    "try again when its transaction is over; pg_stat_activity names sessions that are idle in one";

/// The next step for an operator, in one sentence; none where waiting is all there is to do.
pub(crate) fn advice(error: &DbError) -> Option<&'static str> {
    Some(match error {
        DbError::NoSchema => "run `relinkd install`",
        DbError::WrongVersion { found, wanted } if found > wanted => {
            "another, newer relinkd uses this database: upgrade this one"
        }
        DbError::WrongVersion { .. } => "run `relinkd install` to upgrade it",
        DbError::OtherTables { .. } => {
            "correct [tables] in the configuration, or run `relinkd install` to move relinkd to these tables"
        }
        DbError::Standby(_) => "name the primary in database.url",
        DbError::ReadOnly(_) => {
            "somebody had a reason: `select * from pg_db_role_setting` and the server's configuration show where it is set"
        }
        DbError::Tls { .. } => "see sslmode, sslrootcert, sslcert and sslkey in database.url",
        DbError::Password(_) => "see database.password_file, PGPASSFILE or ~/.pgpass",
        DbError::Connect { cause, .. } => match cause {
            NoConnection::NoPassword(_) => {
                "the server asks for a password: see database.password_file, PGPASSFILE or ~/.pgpass"
            }
            NoConnection::Tls(_) => {
                "see sslmode and sslrootcert in database.url: that root must have signed the server's certificate, which must name the host for verify-full"
            }
            NoConnection::Silence(_) | NoConnection::Network(_) => {
                "see whether Postgres runs there and database.url names it rightly; `relinkd check` tells more"
            }
            NoConnection::Refused { code, .. } => return advice_by_code(code),
        },
        DbError::Server { code, .. } => return advice_by_code(code),
        DbError::Locked(_) => ITS_TRANSACTION,
        DbError::Lost(_) | DbError::Silent(_) | DbError::NoRow => return None,
    })
}

/// What happened, and the next step where there is one.
pub(crate) fn with_advice(error: &DbError) -> String {
    match advice(error) {
        Some(advice) => format!("{error}; {}", config::typed(advice)),
        None => error.to_string(),
    }
}

fn advice_by_code(code: &SqlState) -> Option<&'static str> {
    Some(match code.code() {
        "28P01" => "the password is wrong: see database.url, database.password_file, PGPASSFILE or ~/.pgpass",
        "28000" => {
            "the server refuses this user: see pg_hba.conf and that the role exists (`relinkd install` creates it); with peer authentication run the command as root, or as that user of the system"
        }
        "3D000" => "there is no such database: see database.url",
        "42501" => "the role lacks a privilege: run `relinkd install --role ROLE` as the tables' owner",
        "42P01" | "42703" | "42883" | "3F000" => {
            "run `relinkd install`: the schema is not as this relinkd needs it"
        }
        "55P03" => ITS_TRANSACTION,
        "53100" => "the disk of the database server is full",
        "53300" => "the server has no connection left: raise max_connections, or the role's connection limit",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_about_one_thing() {
        for (code, wanted) in [
            (SqlState::CHECK_VIOLATION, Trouble::Work),
            (SqlState::RAISE_EXCEPTION, Trouble::Work),
            (SqlState::STRING_DATA_RIGHT_TRUNCATION, Trouble::Work),
            (SqlState::QUERY_CANCELED, Trouble::Work),
            (SqlState::T_R_DEADLOCK_DETECTED, Trouble::Held),
            (SqlState::LOCK_NOT_AVAILABLE, Trouble::Held),
            (SqlState::DISK_FULL, Trouble::Server),
            (SqlState::TOO_MANY_CONNECTIONS, Trouble::Server),
            (SqlState::ADMIN_SHUTDOWN, Trouble::Connection),
            (SqlState::INVALID_PASSWORD, Trouble::Connection),
            (SqlState::READ_ONLY_SQL_TRANSACTION, Trouble::Connection),
            (SqlState::UNDEFINED_TABLE, Trouble::Schema),
            (SqlState::INSUFFICIENT_PRIVILEGE, Trouble::Schema),
        ] {
            let error = DbError::Server { code: code.clone(), message: String::new() };
            assert_eq!(trouble(&error), wanted, "{}", code.code());
        }
        let locked = DbError::Locked(std::time::Duration::from_secs(10));
        assert_eq!(trouble(&locked), Trouble::Held);
        assert!(with_advice(&locked).starts_with("another session has held a row for 10s; try again when"));
        assert_eq!(trouble(&DbError::Lost("".into())), Trouble::Connection);
    }
}
