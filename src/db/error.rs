//! What can go wrong with a database, told without a word that might quote a row.
//!
//! Of a server's error only SQLSTATE, message and object names are kept: its DETAIL, HINT and CONTEXT may hold a
//! link or a token (Postgres manual, "Error Fields").

use crate::link;
use std::error::Error as _;
use std::fmt::Write as _;
use tokio_postgres::error::SqlState;

/// An error of a database, or on the way to it.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// No connection came about; the text says where to and why not.
    #[error("cannot connect to {endpoint}: {reason}")]
    Connect {
        /// Host and port, or the socket directory.
        endpoint: String,
        /// Why not.
        reason: String,
        /// What the server answered, if it did.
        code: Option<SqlState>,
    },
    /// Every server named is read-only.
    #[error("no writable server among {0}: it is a standby, or read-only")]
    ReadOnly(String),
    /// The server refused a statement.
    #[error("{message} (SQLSTATE {})", code.code())]
    Server {
        /// The SQLSTATE.
        code: SqlState,
        /// The server's message, with the objects it names.
        message: String,
    },
    /// The connection is gone.
    #[error("the connection to the database was lost: {0}")]
    Lost(String),
    /// The database did not answer in time.
    #[error("the database did not answer within {0:?}")]
    Silent(std::time::Duration),
    /// There is no schema `relinkd` here.
    #[error("this database has no schema relinkd")]
    NoSchema,
    /// The schema is of another version of relinkd.
    #[error("schema relinkd has version {found}, this relinkd needs version {wanted}")]
    WrongVersion {
        /// What is installed.
        found: i32,
        /// What this program needs.
        wanted: i32,
    },
    /// The schema was installed for other tables or columns than the configuration names.
    #[error("schema relinkd was installed for {installed}, the configuration names {configured}")]
    OtherTables {
        /// Table and columns as installed.
        installed: String,
        /// Table and columns as configured.
        configured: String,
    },
    /// TLS settings that cannot be used.
    #[error("TLS: {0}")]
    Tls(String),
    /// A password that cannot be had.
    #[error("password: {0}")]
    Password(String),
}

impl DbError {
    /// The server's SQLSTATE, where it sent one.
    #[must_use]
    pub fn code(&self) -> Option<&SqlState> {
        match self {
            Self::Server { code, .. } => Some(code),
            Self::Connect { code, .. } => code.as_ref(),
            Self::ReadOnly(_)
            | Self::Lost(_)
            | Self::Silent(_)
            | Self::NoSchema
            | Self::WrongVersion { .. }
            | Self::OtherTables { .. }
            | Self::Tls(_)
            | Self::Password(_) => None,
        }
    }
}

impl From<tokio_postgres::Error> for DbError {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            Some(db) => Self::Server { code: db.code().clone(), message: server_message(db) },
            None => Self::Lost(chain(&error)),
        }
    }
}

/// A server's message and the objects it names. A login link in it, should a trigger of somebody's raise one, is masked.
fn server_message(db: &tokio_postgres::error::DbError) -> String {
    let mut text = link::mask(db.message());
    for (kind, name) in [
        ("table", db.table()),
        ("column", db.column()),
        ("constraint", db.constraint()),
        ("type", db.datatype()),
    ] {
        if let Some(name) = name {
            let quoted = format!("\"{name}\"");
            if !text.contains(&quoted) {
                let _ = write!(text, ", {kind} {quoted}");
            }
        }
    }
    text
}

/// An error and its sources in one line; the crate's own text for a server's error is only "db error".
pub(super) fn chain(error: &tokio_postgres::Error) -> String {
    if let Some(db) = error.as_db_error() {
        return server_message(db);
    }
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            let _ = write!(text, ": {cause_text}");
        }
        source = cause.source();
    }
    text
}
