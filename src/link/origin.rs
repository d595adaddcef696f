//! Origins (RFC 6454): scheme, host, and a port where it is not the scheme's own.

use std::fmt;
use url::Url;

/// An origin from the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    scheme: String,
    /// Lower-case ASCII; an international name in punycode.
    host: String,
    port: Option<u16>,
}

impl Origin {
    /// Reads an origin; the fault says what would be right, and does not quote the text itself.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let no_url = || "is not a URL; write scheme and host, as in https://portal.example.org".to_owned();
        if text.chars().any(|c| c <= ' ' || c == '\u{7f}' || c == '\\') {
            return Err(no_url());
        }
        let url = Url::parse(text).map_err(|_| no_url())?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err("must begin with https:// or http://".to_owned());
        }
        let (_, rest) = text.split_once("://").ok_or_else(no_url)?;
        if rest.contains('@') {
            return Err("must not hold a user name or a password".to_owned());
        }
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(no_url)?;
        let origin = Self { scheme: url.scheme().to_owned(), host: host.to_owned(), port: url.port() };
        if rest.contains(['/', '?', '#']) {
            return Err(format!(
                "must end after the host (or the port), without a path, a query or a slash: {origin}"
            ));
        }
        Ok(origin)
    }

    /// Whether a link with this scheme (lower case), host (as written) and port is of this origin. The scheme's own
    /// port counts as none, and http and https are the same portal.
    pub(super) fn has(&self, scheme: &str, host: &str, port: Option<u16>) -> bool {
        let own = if scheme == "https" { 443 } else { 80 };
        let port = port.filter(|port| *port != own);
        port == self.port && self.has_host(host)
    }

    /// Whether this is the host as written.
    pub(super) fn has_host(&self, host: &str) -> bool {
        host.eq_ignore_ascii_case(&self.host) || self.is_spelt(host)
    }

    /// Whether `host` is the international spelling of this origin's punycode name.
    fn is_spelt(&self, host: &str) -> bool {
        self.host.contains("xn--")
            && !host.is_ascii()
            && url::Host::parse(host).is_ok_and(|parsed| parsed.to_string() == self.host)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host)?;
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}
