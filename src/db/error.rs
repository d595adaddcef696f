//! What can go wrong with a database, told without a word that might quote a row.
//!
//! Of a server's error only SQLSTATE, message and object names are kept: its DETAIL, HINT and CONTEXT may hold a
//! link or a token (Postgres manual, "Error Fields"). What is kept is made harmless, and shortened: a trigger of the
//! bot's says what it likes.

use crate::config::PasswordError;
use crate::link;
use crate::printable::Printable;
use openssl::error::ErrorStack;
use std::borrow::Cow;
use std::error::Error;
use std::fmt::Write as _;
use std::io;
use std::iter::successors;
use std::time::Duration;
use tokio_postgres::error::SqlState;

/// An error of a database, or on the way to it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DbError {
    /// No connection came about.
    #[error("cannot connect to {endpoint}: {cause}")]
    Connect {
        /// Host and port, or the socket directory.
        endpoint: String,
        /// Why not.
        #[source]
        cause: NoConnection,
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
    #[error("the connection to the database was lost: {}", chain(&**.0))]
    Lost(#[source] Box<dyn Error + Send + Sync>),
    /// The database did not answer in time.
    #[error("the database did not answer within {0:?}")]
    Silent(Duration),
    /// Rows stayed locked for so long.
    #[error("another session has held a row for {0:?}")]
    Locked(Duration),
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
    #[error("TLS: {what}: {}", reasons(source))]
    Tls {
        /// The setting.
        what: String,
        /// Why not.
        source: ErrorStack,
    },
    /// A password that cannot be had.
    #[error("password: {0}")]
    Password(#[from] PasswordError),
}

/// Why no connection came about.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoConnection {
    /// Nobody answered in time.
    #[error("no answer within {0:?}")]
    Silence(Duration),
    /// The server refused.
    #[error("{message}")]
    Refused {
        /// The SQLSTATE.
        code: SqlState,
        /// The server's message.
        message: String,
    },
    /// The server wants a password, and there is none.
    #[error("{}", chain(.0))]
    NoPassword(#[source] tokio_postgres::Error),
    /// The server has no TLS, or another certificate than it must have.
    #[error("{}", chain(.0))]
    Tls(#[source] tokio_postgres::Error),
    /// The server is not to be reached, or does not speak as Postgres does.
    #[error("{}", chain(.0))]
    Network(#[source] tokio_postgres::Error),
}

impl NoConnection {
    /// Of an attempt where the server would not do TLS, which it must, and where there was no password. tokio-postgres
    /// keeps the kind of an error to itself, but what it refuses of its own accord has a source of no known type, and
    /// that can be nothing but one of these two.
    pub(super) fn of(error: tokio_postgres::Error, without_tls: bool, without_password: bool) -> Self {
        if let Some(db) = error.as_db_error() {
            return Self::Refused { code: db.code().clone(), message: server_message(db) };
        }
        let of_openssl =
            |cause: &(dyn Error + 'static)| cause.is::<openssl::ssl::Error>() || cause.is::<ErrorStack>();
        let of_the_client = error.source().is_some_and(|cause| !cause.is::<io::Error>());
        if successors(error.source(), |&cause| cause.source()).any(of_openssl) || of_the_client && without_tls
        {
            Self::Tls(error)
        } else if of_the_client && without_password {
            Self::NoPassword(error)
        } else {
            Self::Network(error)
        }
    }
}

impl DbError {
    /// The server's SQLSTATE, where it sent one.
    pub(crate) fn code(&self) -> Option<&SqlState> {
        match self {
            Self::Server { code, .. } | Self::Connect { cause: NoConnection::Refused { code, .. }, .. } => {
                Some(code)
            }
            _ => None,
        }
    }

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
            None => Self::Lost(error.into()),
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

/// An error and its sources in one line. Not for a server's error: see [`server_message`].
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    for cause in successors(error.source(), |&cause| cause.source()) {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            let _ = write!(text, ": {cause_text}");
        }
    }
    Printable::text(&text).shortened(LONGEST).to_string()
}

/// What OpenSSL has against a setting.
fn reasons(errors: &ErrorStack) -> String {
    let reasons: Vec<&str> = errors.errors().iter().filter_map(openssl::error::Error::reason).collect();
    if reasons.is_empty() { "cannot be used".to_owned() } else { reasons.join(", ") }
}
