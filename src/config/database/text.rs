//! The two forms of `database.url`, taken apart into parameters.
//!
//! `postgresql://[user[:password]@][host][:port][,…][/dbname][?key=value&…]` (libpq, "Connection URIs"), as
//! `conninfo_uri_parse_options` does it, but stricter where an unescaped character of a password would make the rest of it
//! a host, a database or a key: such text is refused, because those are shown to people. And `key=value` text (libpq,
//! "Keyword/Value Connection Strings"): blanks between, `'…'` around values with blanks, `\` before a quote or a backslash.

use super::DatabaseFault;
use super::values::Parameters;
use percent_encoding::percent_decode_str;
use zeroize::Zeroizing;

const BLANKS: [char; 6] = [' ', '\t', '\n', '\r', '\x0b', '\x0c'];

/// Reads the whole text.
pub(super) fn parse(text: &str) -> Result<Parameters, DatabaseFault> {
    match text.strip_prefix("postgresql://").or_else(|| text.strip_prefix("postgres://")) {
        Some(rest) => uri(rest),
        None => pairs(text),
    }
}

/// Reads what follows the scheme.
fn uri(rest: &str) -> Result<Parameters, DatabaseFault> {
    let mut parameters = Parameters::default();
    let mut set = |key: &str, value: &str| parameters.set(key, decode(value)?);
    let rest = match rest.find(['@', '/']) {
        Some(at) if rest[at..].starts_with('@') => {
            let (user, password) = rest[..at].split_once(':').unwrap_or((&rest[..at], ""));
            set("user", user)?;
            set("password", password)?;
            &rest[at + 1..]
        }
        _ => rest,
    };
    if rest.contains('@') {
        return Err(DatabaseFault::Form(
            "has an `@` too many: in a user name and a password write `@` as %40, `/` as %2F and `:` as %3A",
        ));
    }
    let (before, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (servers, dbname) = before.split_once('/').unwrap_or((before, ""));
    let (hosts, ports): (Vec<_>, Vec<_>) =
        servers.split(',').map(server).collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
    set("host", &hosts.join(","))?;
    set("port", &ports.join(","))?;
    set("dbname", dbname)?;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) =
            pair.split_once('=').filter(|(_, value)| !value.contains('=')).ok_or(DatabaseFault::Form(
                "must have `key=value` between each `&` after its `?`, and `=` in a value as %3D",
            ))?;
        set(&decode(key)?, value)?;
    }
    Ok(parameters)
}

/// `host[:port]`, an IPv6 address in brackets.
fn server(text: &str) -> Result<(&str, &str), DatabaseFault> {
    let Some(address) = text.strip_prefix('[') else { return Ok(text.split_once(':').unwrap_or((text, ""))) };
    address
        .split_once(']')
        .filter(|(address, after)| !address.is_empty() && (after.is_empty() || after.starts_with(':')))
        .map(|(address, after)| (address, after.strip_prefix(':').unwrap_or_default()))
        .ok_or(DatabaseFault::Form("must have an IPv6 address as its host in brackets, as in [::1]"))
}

/// Decodes `text`, strictly: what is no escape is a fault, and so is what does not decode to text. `+` is a plus.
fn decode(text: &str) -> Result<Zeroizing<String>, DatabaseFault> {
    let escape = |after: &str| {
        after.get(..2).is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    // As long as it can get: growing would leave copies of a password behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    bytes.extend(percent_decode_str(text));
    std::str::from_utf8(&bytes)
        .ok()
        .filter(|decoded| text.split('%').skip(1).all(escape) && !decoded.contains('\0'))
        .map(|decoded| Zeroizing::new(decoded.to_owned()))
        .ok_or(DatabaseFault::Form(
            "has a bad %-escape: after `%` stand two hexadecimal digits, and `%` itself is %25",
        ))
}

/// Reads `key=value` text.
fn pairs(text: &str) -> Result<Parameters, DatabaseFault> {
    let mut parameters = Parameters::default();
    let mut rest = text.trim_start_matches(BLANKS);
    if rest.is_empty() {
        return Err(DatabaseFault::Form(
            "is empty: write it as in \"postgresql://relinkd@localhost/okdesk_bot\"",
        ));
    }
    while !rest.is_empty() {
        let (key, after) = key(rest).ok_or(DatabaseFault::Form(
            "must be a URI (postgresql://…), or key=value text with `=` after each key and quotes ('…') around a value \
             with blanks",
        ))?;
        let (value, after) = value(after)?;
        parameters.set(key, value)?;
        // What follows may be the rest of a password that lacks its quotes.
        parameters.after_password |= key == "password";
        rest = after.trim_start_matches(BLANKS);
    }
    Ok(parameters)
}

/// The key at the beginning, and what follows its `=`.
fn key(text: &str) -> Option<(&str, &str)> {
    let (key, after) = text.split_at(text.find(|c| c == '=' || BLANKS.contains(&c))?);
    let after = after.trim_start_matches(BLANKS).strip_prefix('=')?;
    Some((key, after.trim_start_matches(BLANKS)))
}

/// The value at the beginning, and what follows it.
fn value(text: &str) -> Result<(Zeroizing<String>, &str), DatabaseFault> {
    let quoted = text.starts_with('\'');
    // As long as it can get: growing would leave copies of a password behind.
    let mut value = Zeroizing::new(String::with_capacity(text.len()));
    let mut chars = text[usize::from(quoted)..].chars();
    loop {
        match chars.next() {
            Some('\\') => value.extend(chars.next()),
            Some('\'') if quoted => break,
            Some(blank) if !quoted && BLANKS.contains(&blank) => break,
            Some(other) => value.push(other),
            None if quoted => return Err(DatabaseFault::Form("has a quote (') that is not closed")),
            None => break,
        }
    }
    Ok((value, chars.as_str()))
}
