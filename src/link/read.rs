//! Reading a link as it is written, or the first rule that it fails.

use super::{Link, Portal, Shape, percent};
use zeroize::Zeroizing;

/// Why a link is no issue link of ours: the first rule that it fails. The messages complete "not ours: …".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotOurs {
    /// A character that may stand in no link of ours, anywhere.
    #[error("a space, a control character or a backslash stands in it")]
    Character,
    /// No `://`.
    #[error("it is no absolute URL, which begins with https://")]
    NoUrl,
    /// Another scheme.
    #[error("its scheme is neither https nor http")]
    Scheme,
    /// An `@` before the host.
    #[error("a user name, a password or an empty `@` stands before its host")]
    Credentials,
    /// Another host.
    #[error("its host is neither portal.base_url's nor one of portal.aliases")]
    Host,
    /// The host of one of our origins with another port, or one that is no number.
    #[error("its host is right, its port is neither portal.base_url's nor one of portal.aliases")]
    Port,
    /// Another path.
    #[error("its path is neither /issues/NUMBER nor /api/v1/issues/NUMBER nor /login")]
    Path,
    /// The right path without a number at its end.
    #[error("its path has something else after /issues/ than the digits of one number")]
    Number,
    /// A login link without a redirect.
    #[error("it leads to /login without a redirect")]
    NoRedirect,
    /// A login link with more than one.
    #[error("it leads to /login with two redirects")]
    TwoRedirects,
    /// A login link whose redirect leads elsewhere.
    #[error("its redirect does not lead to an issue: {0}")]
    Redirect(Box<Self>),
}

impl NotOurs {
    /// The rule as one stable word, for `--json`.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Character => "character",
            Self::NoUrl => "no_url",
            Self::Scheme => "scheme",
            Self::Credentials => "credentials",
            Self::Host => "host",
            Self::Port => "port",
            Self::Path => "path",
            Self::Number => "number",
            Self::NoRedirect => "no_redirect",
            Self::TwoRedirects => "two_redirects",
            Self::Redirect(_) => "redirect",
        }
    }
}

/// A character that may stand in no link of ours, anywhere.
pub(super) fn is_forbidden(character: char) -> bool {
    character <= ' ' || character == '\u{7f}' || character == '\\'
}

/// For decoding everything.
pub(super) fn nothing(_: char) -> bool {
    false
}

pub(super) fn link(portal: &Portal, written: &str) -> Result<Link, NotOurs> {
    let rest = after_origin(portal, written)?;
    let path = &rest[..rest.find(['?', '#']).unwrap_or(rest.len())];
    if path == "/login" { login(portal, rest) } else { plain_or_api(rest) }
}

/// Path, query and fragment, where the origin is ours.
pub(super) fn after_origin<'a>(portal: &Portal, written: &'a str) -> Result<&'a str, NotOurs> {
    if written.chars().any(is_forbidden) {
        return Err(NotOurs::Character);
    }
    let (scheme, rest) = written.split_once("://").ok_or(NotOurs::NoUrl)?;
    let scheme = scheme.to_ascii_lowercase();
    if scheme != "http" && scheme != "https" {
        return Err(NotOurs::Scheme);
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    if authority.contains('@') {
        return Err(NotOurs::Credentials);
    }
    let (host, port) = host_and_port(authority);
    if port.is_some_and(|port| portal.is_ours(&scheme, host, port)) {
        return Ok(rest);
    }
    Err(if portal.has_host(host) { NotOurs::Port } else { NotOurs::Host })
}

/// The port is none where it is no port as one is written.
fn host_and_port(authority: &str) -> (&str, Option<Option<u16>>) {
    let after_brackets = authority.rfind(']').map_or(0, |at| at + 1);
    match authority[after_brackets..].find(':') {
        None => (authority, Some(None)),
        Some(colon) => {
            let (host, port) = authority.split_at(after_brackets + colon);
            let port = &port[1..];
            let canonical = port.bytes().all(|b| b.is_ascii_digit()) && !port.starts_with('0');
            (host, canonical.then(|| port.parse().ok()).flatten().map(Some))
        }
    }
}

/// `/issues/N`, `/issues/N/` or `/api/v1/issues/N`, with what follows.
fn plain_or_api(rest: &str) -> Result<Link, NotOurs> {
    let (path, tail) = rest.split_at(rest.find(['?', '#']).unwrap_or(rest.len()));
    let (shape, path, tail) = match path.strip_prefix("/api/v1") {
        Some(path) => (Shape::Api, path, ""),
        None => (Shape::Plain, path, tail),
    };
    let number = path.strip_prefix("/issues/").ok_or(NotOurs::Path)?;
    let number = number.strip_suffix('/').unwrap_or(number);
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(NotOurs::Number);
    }
    Ok(Link { shape, number: number.to_owned(), tail: tail.to_owned(), token: None })
}

/// `/login?…` with one `redirect` to an issue.
fn login(portal: &Portal, rest: &str) -> Result<Link, NotOurs> {
    let query = rest.strip_prefix("/login?").ok_or(NotOurs::NoRedirect)?;
    let query = query.split('#').next().unwrap_or(query);
    let (mut token, mut redirect) = (None, None);
    for parameter in query.split('&') {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        match name {
            "token" => token = token.or(Some(value)),
            "redirect" if redirect.is_some() => return Err(NotOurs::TwoRedirects),
            "redirect" => redirect = Some(value),
            name if percent::decode(name, nothing) == "redirect" => return Err(NotOurs::TwoRedirects),
            _ => {}
        }
    }
    let redirect = percent::decode(redirect.ok_or(NotOurs::NoRedirect)?, is_forbidden);
    let link = redirect_target(portal, &redirect).map_err(|rule| NotOurs::Redirect(Box::new(rule)))?;
    let token =
        token.filter(|token| !token.is_empty()).map(|token| Zeroizing::new(percent::decode(token, nothing)));
    Ok(Link { shape: Shape::Login, token, ..link })
}

/// Where a redirect leads: a path of ours with or without its first slash, or an absolute link of ours.
fn redirect_target(portal: &Portal, redirect: &str) -> Result<Link, NotOurs> {
    if redirect.starts_with("issues/") {
        return plain_or_api(&format!("/{redirect}"));
    }
    if redirect.starts_with('/') {
        return plain_or_api(redirect);
    }
    plain_or_api(after_origin(portal, redirect)?)
}
