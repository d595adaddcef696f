//! What can go wrong with a database, told without a word that might quote a row.
//!
//! Of a server's error only SQLSTATE, message and object names are kept: its DETAIL, HINT and CONTEXT may hold a
//! link or a token (Postgres manual, "Error Fields"). What is kept is made harmless, and shortened: a trigger of the
//! bot's says what it likes.

use crate::link;
use crate::printable::Printable;
use std::borrow::Cow;
use std::error::Error as _;
use std::fmt::Write as _;
use tokio_postgres::error::SqlState;

/// An error of a database, or on the way to it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DbError {
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
    /// Every server named is a standby.
    #[error("no writable server among {0}: it is a standby")]
    Standby(String),
    /// The server is no standby, and made read-only for this role or database, or as a whole.
    #[error("{0} is read-only: default_transaction_read_only is on there")]
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
    /// A question that always has an answer had none: somebody else answers for Postgres.
    #[error("the server gave no row where there is always one")]
    NoRow,
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
    pub(crate) fn code(&self) -> Option<&SqlState> {
        match self {
            Self::Server { code, .. } => Some(code),
            Self::Connect { code, .. } => code.as_ref(),
            Self::Standby(_)
            | Self::ReadOnly(_)
            | Self::Lost(_)
            | Self::Silent(_)
            | Self::NoRow
            | Self::NoSchema
            | Self::WrongVersion { .. }
            | Self::OtherTables { .. }
            | Self::Tls(_)
            | Self::Password(_) => None,
        }
    }
}

impl DbError {
    /// The same without these secrets, where code of the bot's that a write called has put one into its message.
    pub(crate) fn without<'s>(mut self, secrets: impl IntoIterator<Item = &'s str>) -> Self {
        if let Self::Server { message, .. } = &mut self {
            for secret in secrets.into_iter().filter(|secret| !secret.is_empty()) {
                *message = message.replace(secret, "…");
                // A long message was cut off, perhaps in the middle of it.
                if let Some(whole) = message.strip_suffix('…') {
                    let head = (4..secret.len())
                        .rev()
                        .find(|length| secret.get(..*length).is_some_and(|head| whole.ends_with(head)));
                    *message = format!("{}…", &whole[..whole.len() - head.unwrap_or(0)]);
                }
            }
        }
        self
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

/// The longest message of a server that is kept, in characters.
const LONGEST: usize = 1_000;

/// What a lock that is not to be had means: the server's own words speak of a timeout.
const LOCKED: &str = "another session holds the row or table";

/// A server's message and the objects it names. A login link in it, should a trigger of somebody's raise one, is masked.
fn server_message(db: &tokio_postgres::error::DbError) -> String {
    let locked = *db.code() == SqlState::LOCK_NOT_AVAILABLE;
    let message = if locked { LOCKED.into() } else { without_value(db.code(), db.message()) };
    let mut text = link::mask_text(&message).shortened(LONGEST).to_string();
    for (kind, name) in [
        ("table", db.table()),
        ("column", db.column()),
        ("constraint", db.constraint()),
        ("type", db.datatype()),
    ] {
        if let Some(name) = name {
            let quoted = format!("\"{}\"", Printable::text(name));
            if !text.contains(&quoted) {
                let _ = write!(text, ", {kind} {quoted}");
            }
        }
    }
    text
}

/// The message without what it quotes, where that is data: those of class 22 quote the value that did not fit
/// (`invalid input syntax for type bigint: "…"`), and a generated column or a cast of the bot's may take a token apart.
/// The value may hold quotes itself.
fn without_value<'m>(code: &SqlState, message: &'m str) -> Cow<'m, str> {
    const QUOTES: [char; 7] = ['"', '«', '»', '„', '“', '”', '\''];
    match (message.find(QUOTES), message.rfind(QUOTES)) {
        (Some(first), Some(last)) if code.code().starts_with("22") => {
            let after = message[last..].trim_start_matches(QUOTES);
            Cow::Owned(format!("{}\"…\"{after}", &message[..first]))
        }
        _ => Cow::Borrowed(message),
    }
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
    Printable::text(&text).shortened(LONGEST).to_string()
}
