//! How to reach the database: `database.url`, a URI or `key=value` text as psql takes it, made into plain values.
//!
//! The rules are libpq's (Postgres manual, "Connection Strings" and "Parameter Key Words"), for the parameters of
//! [`KEYS`] alone: one that is not obeyed must not be accepted. tokio-postgres' own parser knows neither `verify-full` nor
//! certificates, and its errors name no key. No fault repeats a value, nor any part of the text that may be a stray piece
//! of a password. The connection itself is not made here.

mod passfile;
mod password;
mod text;
mod values;

#[cfg(test)]
mod tests;

use super::section::{Shape, Shaped, from_text, section};
use super::{Environment, FileSource, Password};
use serde::Deserialize;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;
use thiserror::Error;

pub(crate) use password::PasswordError;

/// The parameters that may stand in `database.url`.
#[rustfmt::skip]
const KEYS: [&str; 18] = [
    "host", "hostaddr", "port", "user", "password", "dbname", "application_name", "connect_timeout",
    "target_session_attrs", "options", "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count",
    "sslmode", "sslrootcert", "sslcert", "sslkey",
];

/// Where the server's socket is when no host is given: Debian's place for it.
const DEFAULT_SOCKET_DIRECTORY: &str = "/var/run/postgresql";

/// The port when none is given.
const DEFAULT_PORT: u16 = 5432;

/// How to reach the database, and as whom.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "Section")]
pub(crate) struct Database {
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
    /// `keepalives*`.
    pub keepalives: Keepalives,
    /// `ssl*`.
    pub tls: Tls,
    /// Whether the text leaves the role out, and nothing but the process's user names it.
    user_is_implied: bool,
    /// The same of the database.
    dbname_is_implied: bool,
}

section! {
    /// `[database]`, as the file has it.
    Section {
        url: Url,
        #[serde(default)] password_file: Option<FileSource>,
    }
}

/// What the text alone says.
#[derive(Debug, Clone)]
pub(crate) struct Url(Database);

from_text! {
    Url: |text| Database::of_text(text).map(Self);
}

impl From<Section> for Database {
    fn from(Section { url: Url(database), password_file }: Section) -> Self {
        Self { password_file, ..database }
    }
}

impl Shaped for Database {
    const SHAPE: Shape = Section::SHAPE;
}

/// One server, or one address of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub host: Host,
    /// Where to connect to without asking for the name's address.
    pub hostaddr: Option<IpAddr>,
    pub port: u16,
}

/// A `host`: a name or an address, or the directory of a unix socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Host {
    Name(String),
    Socket(PathBuf),
}

/// `keepalives*`; what is none is the connection's default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Keepalives {
    pub enabled: Option<bool>,
    pub idle: Option<Duration>,
    pub interval: Option<Duration>,
    pub count: Option<u32>,
}

/// `ssl*`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Tls {
    pub mode: TlsMode,
    pub root_cert: Option<RootCert>,
    /// `sslcert` and `sslkey`.
    pub client: Option<ClientCert>,
}

/// `sslmode`, in libpq's meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum TlsMode {
    Disable,
    /// Only where the server wants it.
    Allow,
    /// Where the server can.
    #[default]
    Prefer,
    /// Always; the server's certificate is not looked at, unless `sslrootcert` is given.
    Require,
    /// Always, with a certificate that `sslrootcert` vouches for.
    VerifyCa,
    /// As before, and the certificate is the host's.
    VerifyFull,
}

/// Who vouches for the server's certificate: whom the operating system trusts, or the certificates in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RootCert {
    System,
    File(PathBuf),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClientCert {
    pub cert: PathBuf,
    pub key: PathBuf,
}

impl Database {
    /// Reads a URI (`postgresql://`, `postgres://`) or `key=value` text; names that it leaves out come from the
    /// process's environment.
    pub(crate) fn parse(text: &str) -> Result<Self, DatabaseFault> {
        Self::of_text(text)?.in_environment(&Environment::of_process())
    }

    /// What the text alone says.
    pub(crate) fn of_text(text: &str) -> Result<Self, DatabaseFault> {
        values::database(&text::parse(text)?)
    }

    /// With the names that the text leaves out: from the environment, else from the process's user.
    pub(super) fn in_environment(mut self, environment: &Environment) -> Result<Self, DatabaseFault> {
        if self.user_is_implied {
            self.user_is_implied = environment.pg_user.is_none();
            self.user = environment.pg_user.as_ref().or(environment.os_user.as_ref()).cloned().ok_or(
                DatabaseFault::Form(
                    "names no user, and this process's user has no name: write it as in \"postgresql://relinkd@localhost/okdesk_bot\"",
                ),
            )?;
        }
        if self.dbname_is_implied {
            self.dbname_is_implied = environment.pg_database.is_none();
            self.dbname = environment.pg_database.clone().unwrap_or_else(|| self.user.clone());
        }
        Ok(self)
    }

    /// The same database for a process that has become `os_user`: the role, and the database named after it, follow
    /// where nothing else names them.
    pub(crate) fn with_os_user(mut self, os_user: &str) -> Self {
        if self.user_is_implied {
            os_user.clone_into(&mut self.user);
            if self.dbname_is_implied {
                os_user.clone_into(&mut self.dbname);
            }
        }
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
pub(crate) enum DatabaseFault {
    /// A parameter that is not obeyed here.
    #[error("has the parameter `{0}`, which relinkd does not know{hint}; known are {known}", hint = hint(.0), known = KEYS.join(", "))]
    UnknownKey(String),
    /// As before, but the name may be part of a password.
    #[error(
        "has a parameter that relinkd does not know, after the password: is a quote or a backslash missing there, or a %-escape?"
    )]
    UnnamedKey,
    /// A parameter, and what its value may be.
    #[error("has a wrong value for `{0}`: it must be {1}")]
    Value(&'static str, &'static str),
    /// The text as a whole.
    #[error("{0}")]
    Form(&'static str),
}

fn hint(name: &str) -> String {
    let near = super::fault::nearest(name, &KEYS);
    near.map(|near| format!(" (did you mean `{near}`?)")).unwrap_or_default()
}
