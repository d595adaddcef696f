//! How to reach the database: `database.url`, a URI or `key=value` text as psql takes it, made into plain values.
//!
//! The rules are libpq's (Postgres manual, "Connection Strings" and "Parameter Key Words"), for the parameters of
//! [`KEYS`] alone: one that is not obeyed must not be accepted. No fault repeats a value, and no part of the text that
//! may be a stray piece of a password. The connection itself is not made here.

mod keyword_value;
mod passfile;
mod password;
mod percent;
mod uri;
mod values;

#[cfg(test)]
mod tests;

use std::{fmt, net::IpAddr, path::PathBuf, time::Duration};

use thiserror::Error;

use super::{Environment, FileSource, Password};

pub use password::{FoundPassword, PasswordError};

/// The parameters that may stand in `database.url`.
const KEYS: [&str; 18] = [
    "host",
    "hostaddr",
    "port",
    "user",
    "password",
    "dbname",
    "application_name",
    "connect_timeout",
    "target_session_attrs",
    "options",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
];

/// Where the server's socket is when no host is given: Debian's place for it.
pub const DEFAULT_SOCKET_DIRECTORY: &str = "/var/run/postgresql";

/// The port when none is given.
pub const DEFAULT_PORT: u16 = 5432;

/// How to reach the database, and as whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Database {
    /// Where to try, in this order; at least one.
    pub hosts: Vec<Endpoint>,
    /// The role: of the text, else `PGUSER`, else the operating system's user.
    pub user: String,
    /// The database: of the text, else `PGDATABASE`, else the role's name.
    pub dbname: String,
    /// The password in the text.
    pub password: Option<Password>,
    /// `database.password_file`.
    pub password_file: Option<FileSource>,
    /// `application_name`.
    pub application_name: Option<String>,
    /// `connect_timeout`; none where the text has none, or 0.
    pub connect_timeout: Option<Duration>,
    /// `options`: command-line options for the server's session.
    pub options: Option<String>,
    /// `target_session_attrs`.
    pub target: Target,
    /// `keepalives*`.
    pub keepalives: Keepalives,
    /// `ssl*`.
    pub tls: Tls,
    /// Which names only follow from the process's user.
    implied: Implied,
}

/// One server, or one address of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// `host`.
    pub host: Host,
    /// `hostaddr`: where to connect to without asking for the name's address.
    pub hostaddr: Option<IpAddr>,
    /// `port`.
    pub port: u16,
}

/// What a `host` is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// A name or an address.
    Name(String),
    /// The directory of a unix socket.
    Socket(PathBuf),
}

/// Which servers will do (`target_session_attrs`); those that only read never do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Target {
    /// `any`, the default.
    #[default]
    Any,
    /// `read-write` or `primary`.
    Writable,
}

/// TCP keepalives; what is none is the connection's default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Keepalives {
    /// `keepalives`: whether there are any.
    pub enabled: Option<bool>,
    /// `keepalives_idle`: silence before the first one.
    pub idle: Option<Duration>,
    /// `keepalives_interval`: silence before the next one.
    pub interval: Option<Duration>,
    /// `keepalives_count`: how many may be lost.
    pub count: Option<u32>,
}

/// Encryption of the connection.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tls {
    /// `sslmode`.
    pub mode: TlsMode,
    /// `sslrootcert`.
    pub root_cert: Option<RootCert>,
    /// `sslcert` and `sslkey`.
    pub client: Option<ClientCert>,
}

/// `sslmode`, in libpq's meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum TlsMode {
    /// Never.
    Disable,
    /// Only where the server wants it.
    Allow,
    /// Where the server can; the default.
    #[default]
    Prefer,
    /// Always; the server's certificate is not looked at, unless `sslrootcert` is given.
    Require,
    /// Always, with a certificate that `sslrootcert` vouches for.
    VerifyCa,
    /// As before, and the certificate is the host's.
    VerifyFull,
}

/// Who vouches for the server's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootCert {
    /// `system`: whom the operating system trusts.
    System,
    /// The certificates in this file.
    File(PathBuf),
}

/// The client's certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCert {
    /// `sslcert`.
    pub cert: PathBuf,
    /// `sslkey`.
    pub key: PathBuf,
}

/// Which names were not given but follow from the process's user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Implied {
    user: bool,
    dbname: bool,
}

impl Database {
    /// Reads a URI (`postgresql://`, `postgres://`) or `key=value` text; names that it leaves out come from the
    /// process's environment.
    ///
    /// # Errors
    /// The first fault, without any value.
    pub fn parse(text: &str) -> Result<Self, DatabaseFault> {
        Self::parse_in(text, &Environment::of_process())
    }

    /// As [`Database::parse`], in this environment.
    ///
    /// # Errors
    /// The first fault, without any value.
    pub fn parse_in(text: &str, environment: &Environment) -> Result<Self, DatabaseFault> {
        let parameters = match uri::scheme(text) {
            Some(rest) => uri::parse(rest)?,
            None => keyword_value::parse(text)?,
        };
        values::database(&parameters, environment)
    }

    /// The same database for a process that has become `os_user`: the role, and the database named after it, follow
    /// where nothing else names them.
    #[must_use]
    pub fn with_os_user(mut self, os_user: &str) -> Self {
        if self.implied.user {
            os_user.clone_into(&mut self.user);
            if self.implied.dbname {
                os_user.clone_into(&mut self.dbname);
            }
        }
        self
    }

    /// The same database for another role, without the password, which was the former one's.
    #[must_use]
    pub fn with_user(mut self, user: &str) -> Self {
        user.clone_into(&mut self.user);
        self.implied.user = false;
        self.password = None;
        self.password_file = None;
        self
    }
}

/// `host:port`, with brackets around an IPv6 address, or the socket's directory and port.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Name(name) if name.contains(':') => write!(f, "[{name}]:{}", self.port),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
            Host::Socket(directory) => write!(f, "{}:{}", directory.display(), self.port),
        }
    }
}

/// Why a text says no database. The messages complete "database.url …" and repeat no value.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DatabaseFault {
    /// A parameter that is not obeyed here.
    #[error("has the parameter `{name}`, which relinkd does not know{}; known are {}", hint(.nearest.as_ref()), KEYS.join(", "))]
    UnknownKey {
        /// Its name.
        name: String,
        /// A known one that looks like it.
        nearest: Option<&'static str>,
    },
    /// A parameter that is not obeyed here and whose name may be part of a password.
    #[error(
        "has a parameter that relinkd does not know, after the password: is a quote or a backslash missing there, or a %-escape?"
    )]
    UnnamedKey,
    /// A parameter's value.
    #[error("has a wrong value for `{key}`: it must be {right}")]
    Value {
        /// The parameter.
        key: &'static str,
        /// What it may be.
        right: &'static str,
    },
    /// The text as a whole.
    #[error("{0}")]
    Form(&'static str),
}

fn hint(nearest: Option<&&str>) -> String {
    nearest.map(|nearest| format!(" (did you mean `{nearest}`?)")).unwrap_or_default()
}
