//! Reading a link as it is written.

use super::{Link, Portal, Shape, percent};
use zeroize::Zeroizing;

/// A character that may stand in no link of ours, anywhere.
pub(super) fn is_forbidden(character: char) -> bool {
    character <= ' ' || character == '\u{7f}' || character == '\\'
}

/// For decoding everything.
pub(super) fn nothing(_: char) -> bool {
    false
}

pub(super) fn link(portal: &Portal, written: &str) -> Option<Link> {
    let rest = after_origin(portal, written)?;
    plain_or_api(rest).or_else(|| login(portal, rest))
}

/// Path, query and fragment, where the origin is ours.
fn after_origin<'a>(portal: &Portal, written: &'a str) -> Option<&'a str> {
    if written.chars().any(is_forbidden) {
        return None;
    }
    let (scheme, rest) = written.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    if scheme != "http" && scheme != "https" {
        return None;
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    if authority.contains('@') {
        return None;
    }
    let (host, port) = host_and_port(authority)?;
    portal.is_ours(&scheme, host, port).then_some(rest)
}

fn host_and_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let after_brackets = authority.rfind(']').map_or(0, |at| at + 1);
    match authority[after_brackets..].find(':') {
        None => Some((authority, None)),
        Some(colon) => {
            let (host, port) = authority.split_at(after_brackets + colon);
            let port = &port[1..];
            let canonical = port.bytes().all(|b| b.is_ascii_digit()) && !port.starts_with('0');
            canonical.then(|| port.parse().ok()).flatten().map(|port| (host, Some(port)))
        }
    }
}

/// `/issues/N`, `/issues/N/` or `/api/v1/issues/N`, with what follows.
fn plain_or_api(rest: &str) -> Option<Link> {
    let (path, tail) = rest.split_at(rest.find(['?', '#']).unwrap_or(rest.len()));
    let (shape, number, tail) = match path.strip_prefix("/api/v1") {
        Some(path) => (Shape::Api, path.strip_prefix("/issues/")?, ""),
        None => (Shape::Plain, path.strip_prefix("/issues/")?, tail),
    };
    let number = number.strip_suffix('/').unwrap_or(number);
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| Link { shape, number: number.to_owned(), tail: tail.to_owned(), token: None })
}

/// `/login?…` with one `redirect` to an issue.
fn login(portal: &Portal, rest: &str) -> Option<Link> {
    let query = rest.strip_prefix("/login?")?;
    let query = query.split('#').next().unwrap_or(query);
    let (mut token, mut redirect) = (None, None);
    for parameter in query.split('&') {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        match name {
            "token" => token = token.or(Some(value)),
            "redirect" if redirect.is_some() => return None,
            "redirect" => redirect = Some(value),
            name if percent::decode(name, nothing) == "redirect" => return None,
            _ => {}
        }
    }
    let link = redirect_target(portal, &percent::decode(redirect?, is_forbidden))?;
    let token =
        token.filter(|token| !token.is_empty()).map(|token| Zeroizing::new(percent::decode(token, nothing)));
    Some(Link { shape: Shape::Login, token, ..link })
}

/// Where a redirect leads: a path of ours with or without its first slash, or an absolute link of ours.
fn redirect_target(portal: &Portal, redirect: &str) -> Option<Link> {
    if redirect.starts_with("issues/") {
        return plain_or_api(&format!("/{redirect}"));
    }
    if redirect.starts_with('/') {
        return plain_or_api(redirect);
    }
    plain_or_api(after_origin(portal, redirect)?)
}
