//! The parameters by name, and what their values mean. Empty values count as none, as in libpq.

use super::{
    ClientCert, DEFAULT_PORT, DEFAULT_SOCKET_DIRECTORY, Database, DatabaseFault, Endpoint, Host, KEYS,
    Keepalives, RootCert, Tls, TlsMode,
};
use crate::config::Password;
use crate::config::file_source::absolute;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;
use zeroize::Zeroizing;

/// The other parameters that libpq knows, which people may bring along: no password looks like one of these.
const LIBPQ_KEYS: &str = "channel_binding client_encoding fallback_application_name gssdelegation gssencmode gsslib \
    krbsrvname load_balance_hosts max_protocol_version min_protocol_version passfile replication require_auth \
    requirepeer requiressl scram_client_key scram_server_key service ssl_max_protocol_version \
    ssl_min_protocol_version sslcertmode sslcompression sslcrl sslcrldir sslnegotiation tcp_user_timeout";

/// The parameters of a text, none of them empty.
#[derive(Default)]
pub(super) struct Parameters {
    values: BTreeMap<&'static str, Zeroizing<String>>,
    /// What follows as the name of a parameter may be part of a password: it is not shown.
    pub(super) after_password: bool,
}

impl Parameters {
    /// Keeps a value; of several for one key the last one, as libpq has it.
    pub(super) fn set(&mut self, key: &str, value: Zeroizing<String>) -> Result<(), DatabaseFault> {
        let Some(key) = KEYS.into_iter().find(|known| *known == key) else {
            let word = !key.is_empty()
                && key.len() <= 32
                && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            let shown = LIBPQ_KEYS.split(' ').any(|known| known == key) || word && !self.after_password;
            return Err(if shown {
                DatabaseFault::UnknownKey(key.to_owned())
            } else {
                DatabaseFault::UnnamedKey
            });
        };
        if value.contains('\0') {
            return Err(DatabaseFault::Value(key, "without zero bytes"));
        }
        if !value.is_empty() {
            self.values.insert(key, value);
        }
        Ok(())
    }

    fn get(&self, key: &'static str) -> Option<&str> {
        self.values.get(key).map(|value| value.as_str())
    }

    fn owned(&self, key: &'static str) -> Option<String> {
        self.get(key).map(str::to_owned)
    }

    fn list(&self, key: &'static str) -> Vec<&str> {
        self.get(key).map(|text| text.split(',').collect()).unwrap_or_default()
    }

    /// The value of `key` as `read` has it; where that is nothing, it must be `right`.
    fn value<T>(
        &self,
        key: &'static str,
        right: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, DatabaseFault> {
        self.get(key).map(|text| read(text).ok_or(DatabaseFault::Value(key, right))).transpose()
    }

    /// A whole number above 0, which libpq's texts may surround with blanks; 0 is none.
    fn number(&self, key: &'static str) -> Result<Option<u32>, DatabaseFault> {
        // The servers' kernels count in signed 32-bit numbers.
        let read = |text: &str| text.trim().parse().ok().filter(|number| i32::try_from(*number).is_ok());
        Ok(self.value(key, "a whole number", read)?.filter(|number| *number > 0))
    }

    fn seconds(&self, key: &'static str) -> Result<Option<Duration>, DatabaseFault> {
        Ok(self.number(key)?.map(|number| Duration::from_secs(number.into())))
    }

    fn path(&self, key: &'static str) -> Result<Option<PathBuf>, DatabaseFault> {
        self.value(key, "an absolute path", absolute)
    }
}

/// Makes the parameters of a text a database; names that are left out are empty yet, and noted as such.
pub(super) fn database(parameters: &Parameters) -> Result<Database, DatabaseFault> {
    let (user, dbname) = (parameters.owned("user"), parameters.owned("dbname"));
    // Obeyed as it is: relinkd has no use for a server that only reads.
    parameters.value("target_session_attrs", "any, read-write or primary, since relinkd writes", |text| {
        matches!(text, "any" | "read-write" | "primary").then_some(())
    })?;
    let switch = |text: &str| match text {
        "0" => Some(false),
        "1" => Some(true),
        _ => None,
    };
    Ok(Database {
        hosts: hosts(parameters)?,
        user_is_implied: user.is_none(),
        dbname_is_implied: dbname.is_none(),
        user: user.unwrap_or_default(),
        dbname: dbname.unwrap_or_default(),
        application_name: parameters.owned("application_name"),
        connect_timeout: parameters.seconds("connect_timeout")?,
        options: parameters.owned("options"),
        keepalives: Keepalives {
            enabled: parameters.value("keepalives", "0 or 1", switch)?,
            idle: parameters.seconds("keepalives_idle")?,
            interval: parameters.seconds("keepalives_interval")?,
            count: parameters.number("keepalives_count")?,
        },
        tls: tls(parameters)?,
        password: parameters.owned("password").map(Password::new),
        password_file: None,
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
        return Err(DatabaseFault::Value("sslmode", "verify-full beside sslrootcert=system"));
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
    let (names, addresses) = (parameters.list("host"), parameters.list("hostaddr"));
    let ports = parameters.list("port");
    if !names.is_empty() && !addresses.is_empty() && names.len() != addresses.len() {
        return Err(DatabaseFault::Value("hostaddr", "as many addresses as there are hosts"));
    }
    let count = names.len().max(addresses.len()).max(1);
    if ports.len() > 1 && ports.len() != count {
        return Err(DatabaseFault::Value("port", "one port, or as many as there are hosts"));
    }
    let nth = |list: &[&'_ str], index: usize| list.get(index).copied().unwrap_or_default().to_owned();
    let endpoint = |index| {
        let hostaddr = address(&nth(&addresses, index))?;
        let host = host(&nth(&names, index), hostaddr)?;
        Ok(Endpoint { host, hostaddr, port: port(&nth(&ports, if ports.len() > 1 { index } else { 0 }))? })
    };
    (0..count).map(endpoint).collect()
}

fn host(text: &str, hostaddr: Option<IpAddr>) -> Result<Host, DatabaseFault> {
    match (text, hostaddr) {
        ("", Some(address)) => Ok(Host::Name(address.to_string())),
        ("", None) => Ok(Host::Socket(DEFAULT_SOCKET_DIRECTORY.into())),
        (directory, _) if directory.starts_with('/') => Ok(Host::Socket(directory.into())),
        // An abstract socket, a slip in a URI, or a piece of a password: hosts are shown to people.
        (name, _) if name.contains(|c: char| matches!(c, '@' | '/' | '\\') || c <= ' ' || c == '\x7f') => {
            let right = "a host's name or address, or the directory of a socket";
            Err(DatabaseFault::Value("host", right))
        }
        (name, _) => Ok(Host::Name(name.to_owned())),
    }
}

fn address(text: &str) -> Result<Option<IpAddr>, DatabaseFault> {
    let fault = DatabaseFault::Value("hostaddr", "an IP address");
    if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(|_| fault) }
}

fn port(text: &str) -> Result<u16, DatabaseFault> {
    if text.is_empty() {
        return Ok(DEFAULT_PORT);
    }
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let port = text.parse().ok().filter(|port| digits && *port > 0);
    port.ok_or(DatabaseFault::Value("port", "a number from 1 to 65535"))
}
