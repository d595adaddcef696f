//! The parameters by name, and what their values mean. Empty values count as none, as in libpq.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf, time::Duration};

use zeroize::Zeroizing;

use super::{
    ClientCert, DEFAULT_PORT, DEFAULT_SOCKET_DIRECTORY, Database, DatabaseFault, Endpoint, Host, Implied,
    KEYS, Keepalives, RootCert, Target, Tls, TlsMode,
};
use crate::config::{Environment, Password, nearest::nearest};

/// The parameters of a text, none of them empty.
#[derive(Default)]
pub(super) struct Parameters(BTreeMap<&'static str, Zeroizing<String>>);

/// Whether the name of an unknown parameter may be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// It stands where a name was meant to stand.
    Named,
    /// It follows a password, of which it may be a part.
    AfterPassword,
}

impl Parameters {
    /// Keeps a value; of several for one key the last one, as libpq has it.
    pub(super) fn set(
        &mut self,
        key: &str,
        value: Zeroizing<String>,
        trust: Trust,
    ) -> Result<(), DatabaseFault> {
        let Some(key) = KEYS.into_iter().find(|known| *known == key) else {
            return Err(unknown(key, trust));
        };
        if value.contains('\0') {
            return Err(DatabaseFault::Value { key, right: "without zero bytes" });
        }
        if !value.is_empty() {
            self.0.insert(key, value);
        }
        Ok(())
    }

    fn get(&self, key: &'static str) -> Option<&str> {
        self.0.get(key).map(|value| value.as_str())
    }

    fn owned(&self, key: &'static str) -> Option<String> {
        self.get(key).map(str::to_owned)
    }

    /// The value of `key` as `read` has it; where that is nothing, it must be `right`.
    fn value<T>(
        &self,
        key: &'static str,
        right: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, DatabaseFault> {
        self.get(key).map(|text| read(text).ok_or(DatabaseFault::Value { key, right })).transpose()
    }

    /// A whole number that libpq's texts may surround with blanks.
    fn number(&self, key: &'static str) -> Result<Option<u32>, DatabaseFault> {
        // The servers' kernels count in signed 32-bit numbers.
        let read = |text: &str| text.trim().parse().ok().filter(|number| i32::try_from(*number).is_ok());
        self.value(key, "a whole number", read)
    }

    /// A number of seconds, of which 0 is none.
    fn seconds(&self, key: &'static str) -> Result<Option<Duration>, DatabaseFault> {
        let number = self.number(key)?.filter(|number| *number > 0);
        Ok(number.map(|number| Duration::from_secs(number.into())))
    }

    /// An absolute path: a daemon has no working directory worth the name.
    fn path(&self, key: &'static str) -> Result<Option<PathBuf>, DatabaseFault> {
        self.value(key, "an absolute path", |text| {
            Some(PathBuf::from(text)).filter(|path| path.is_absolute())
        })
    }
}

/// The fault of an unknown key. Its name is shown where it is a name, and cannot be a piece of a password.
fn unknown(key: &str, trust: Trust) -> DatabaseFault {
    let word = key.len() <= 32 && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let libpq = LIBPQ_KEYS.contains(&key);
    if key.is_empty() || !(libpq || word && trust == Trust::Named) {
        return DatabaseFault::UnnamedKey;
    }
    DatabaseFault::UnknownKey { name: key.to_owned(), nearest: nearest(key, KEYS) }
}

/// The other parameters that libpq knows, which people may bring along.
const LIBPQ_KEYS: [&str; 26] = [
    "channel_binding",
    "client_encoding",
    "fallback_application_name",
    "gssdelegation",
    "gssencmode",
    "gsslib",
    "krbsrvname",
    "load_balance_hosts",
    "max_protocol_version",
    "min_protocol_version",
    "passfile",
    "replication",
    "require_auth",
    "requirepeer",
    "requiressl",
    "scram_client_key",
    "scram_server_key",
    "service",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "sslcertmode",
    "sslcompression",
    "sslcrl",
    "sslcrldir",
    "sslnegotiation",
    "tcp_user_timeout",
];

/// Makes the parameters of a text a database.
pub(super) fn database(
    parameters: &Parameters,
    environment: &Environment,
) -> Result<Database, DatabaseFault> {
    let given = parameters.owned("user").or_else(|| environment.pg_user.clone());
    let user = given.clone().or_else(|| environment.os_user.clone()).ok_or(DatabaseFault::Form(
        "names no user, and this process's user has no name: write it as in \"postgresql://relinkd@localhost/okdesk_bot\"",
    ))?;
    let dbname = parameters.owned("dbname").or_else(|| environment.pg_database.clone());
    Ok(Database {
        hosts: hosts(parameters)?,
        implied: Implied { user: given.is_none(), dbname: dbname.is_none() },
        dbname: dbname.unwrap_or_else(|| user.clone()),
        user,
        application_name: parameters.owned("application_name"),
        connect_timeout: parameters.seconds("connect_timeout")?,
        options: parameters.owned("options"),
        target: target(parameters)?.unwrap_or_default(),
        keepalives: Keepalives {
            enabled: parameters.value("keepalives", "0 or 1", |text| match text {
                "0" => Some(false),
                "1" => Some(true),
                _ => None,
            })?,
            idle: parameters.seconds("keepalives_idle")?,
            interval: parameters.seconds("keepalives_interval")?,
            count: parameters.number("keepalives_count")?.filter(|number| *number > 0),
        },
        tls: tls(parameters)?,
        password: parameters.owned("password").map(Password::new),
        password_file: None,
    })
}

fn target(parameters: &Parameters) -> Result<Option<Target>, DatabaseFault> {
    let right = "any, read-write or primary, since relinkd writes";
    parameters.value("target_session_attrs", right, |text| match text {
        "any" => Some(Target::Any),
        "read-write" | "primary" => Some(Target::Writable),
        _ => None,
    })
}

fn tls(parameters: &Parameters) -> Result<Tls, DatabaseFault> {
    let right = "disable, allow, prefer, require, verify-ca or verify-full";
    let mode = parameters.value("sslmode", right, |text| match text {
        "disable" => Some(TlsMode::Disable),
        "allow" => Some(TlsMode::Allow),
        "prefer" => Some(TlsMode::Prefer),
        "require" => Some(TlsMode::Require),
        "verify-ca" => Some(TlsMode::VerifyCa),
        "verify-full" => Some(TlsMode::VerifyFull),
        _ => None,
    })?;
    let system = parameters.get("sslrootcert") == Some("system");
    let root_cert =
        if system { Some(RootCert::System) } else { parameters.path("sslrootcert")?.map(RootCert::File) };
    // As libpq has it: whom everybody trusts vouches for nothing but a name.
    let mode = mode.unwrap_or(if system { TlsMode::VerifyFull } else { TlsMode::default() });
    if system && mode != TlsMode::VerifyFull {
        return Err(DatabaseFault::Value { key: "sslmode", right: "verify-full beside sslrootcert=system" });
    }
    let client = match (parameters.path("sslcert")?, parameters.path("sslkey")?) {
        (None, None) => None,
        (Some(cert), Some(key)) => Some(ClientCert { cert, key }),
        _ => return Err(DatabaseFault::Form("has one of `sslcert` and `sslkey`: they belong together")),
    };
    Ok(Tls { mode, root_cert, client })
}

/// Pairs hosts, addresses and ports: as many of each, or one port for all.
fn hosts(parameters: &Parameters) -> Result<Vec<Endpoint>, DatabaseFault> {
    let list =
        |key| -> Vec<&str> { parameters.get(key).map(|text| text.split(',').collect()).unwrap_or_default() };
    let (names, addresses, ports) = (list("host"), list("hostaddr"), list("port"));
    if !names.is_empty() && !addresses.is_empty() && names.len() != addresses.len() {
        return Err(DatabaseFault::Value { key: "hostaddr", right: "as many addresses as there are hosts" });
    }
    let count = names.len().max(addresses.len()).max(1);
    if ports.len() > 1 && ports.len() != count {
        return Err(DatabaseFault::Value { key: "port", right: "one port, or as many as there are hosts" });
    }
    (0..count)
        .map(|index| {
            let hostaddr = address(addresses.get(index).copied().unwrap_or_default())?;
            Ok(Endpoint {
                host: host(names.get(index).copied().unwrap_or_default(), hostaddr)?,
                hostaddr,
                port: port(ports.get(index).or(ports.first()).copied().unwrap_or_default())?,
            })
        })
        .collect()
}

fn host(text: &str, hostaddr: Option<IpAddr>) -> Result<Host, DatabaseFault> {
    match (text, hostaddr) {
        ("", Some(address)) => Ok(Host::Name(address.to_string())),
        ("", None) => Ok(Host::Socket(DEFAULT_SOCKET_DIRECTORY.into())),
        (directory, _) if directory.starts_with('/') => Ok(Host::Socket(directory.into())),
        // An abstract socket, a slip in a URI, or a piece of a password: hosts are shown to people.
        (name, _) if name.contains(|c: char| matches!(c, '@' | '/' | '\\') || c <= ' ' || c == '\x7f') => {
            Err(DatabaseFault::Value {
                key: "host",
                right: "a host's name or address, or the directory of a socket",
            })
        }
        (name, _) => Ok(Host::Name(name.to_owned())),
    }
}

fn address(text: &str) -> Result<Option<IpAddr>, DatabaseFault> {
    let fault = DatabaseFault::Value { key: "hostaddr", right: "an IP address" };
    if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(|_| fault) }
}

fn port(text: &str) -> Result<u16, DatabaseFault> {
    if text.is_empty() {
        return Ok(DEFAULT_PORT);
    }
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let port = text.parse().ok().filter(|port| digits && *port > 0);
    port.ok_or(DatabaseFault::Value { key: "port", right: "a number from 1 to 65535" })
}
