//! `postgresql://[user[:password]@][host][:port][,…][/dbname][?key=value&…]` (libpq, "Connection URIs").
//!
//! Taken apart as `conninfo_uri_parse_options` does it, but stricter where an unescaped character of a password would
//! make the rest of it a host, a database or a key: such text is refused, because those are shown to people.

use super::{
    DatabaseFault,
    percent::decode,
    values::{Parameters, Trust},
};

/// What follows the scheme, where `text` is a URI of ours.
pub(super) fn scheme(text: &str) -> Option<&str> {
    text.strip_prefix("postgresql://").or_else(|| text.strip_prefix("postgres://"))
}

/// Reads what follows the scheme.
pub(super) fn parse(rest: &str) -> Result<Parameters, DatabaseFault> {
    let mut parameters = Parameters::default();
    let rest = match rest.find(['@', '/']) {
        Some(at) if rest[at..].starts_with('@') => {
            credentials(&rest[..at], &mut parameters)?;
            &rest[at + 1..]
        }
        _ => rest,
    };
    if rest.contains('@') {
        return Err(DatabaseFault::Form(
            "has an `@` too many: in a user name and a password write `@` as %40, `/` as %2F and `:` as %3A",
        ));
    }
    let (before, query) = rest.split_once('?').map_or((rest, None), |(before, query)| (before, Some(query)));
    let (hosts, dbname) = before.split_once('/').map_or((before, ""), |(hosts, dbname)| (hosts, dbname));
    self::hosts(hosts, &mut parameters)?;
    parameters.set("dbname", decode(dbname)?, Trust::Named)?;
    for pair in query.into_iter().flat_map(|query| query.split('&')).filter(|pair| !pair.is_empty()) {
        let (key, value) =
            pair.split_once('=').filter(|(_, value)| !value.contains('=')).ok_or(DatabaseFault::Form(
                "must have `key=value` between each `&` after its `?`, and `=` in a value as %3D",
            ))?;
        parameters.set(&decode(key)?, decode(value)?, Trust::Named)?;
    }
    Ok(parameters)
}

fn credentials(text: &str, parameters: &mut Parameters) -> Result<(), DatabaseFault> {
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    parameters.set("user", decode(user)?, Trust::Named)?;
    parameters.set("password", decode(password)?, Trust::Named)
}

/// `host[:port]`, several with commas between, an IPv6 address in brackets.
fn hosts(mut rest: &str, parameters: &mut Parameters) -> Result<(), DatabaseFault> {
    let (mut hosts, mut ports) = (String::new(), String::new());
    loop {
        let (host, after) = match rest.strip_prefix('[') {
            Some(address) => {
                let (address, after) = address
                    .split_once(']')
                    .filter(|(address, _)| !address.is_empty())
                    .filter(|(_, after)| after.is_empty() || after.starts_with([':', ',']))
                    .ok_or(DatabaseFault::Form(
                        "must have an IPv6 address as its host in brackets, as in [::1]",
                    ))?;
                (address, after)
            }
            None => rest.split_at(rest.find([':', ',']).unwrap_or(rest.len())),
        };
        hosts.push_str(host);
        let (port, after) = match after.strip_prefix(':') {
            Some(after) => after.split_at(after.find(',').unwrap_or(after.len())),
            None => ("", after),
        };
        ports.push_str(port);
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None => break,
        }
        hosts.push(',');
        ports.push(',');
    }
    parameters.set("host", decode(&hosts)?, Trust::Named)?;
    parameters.set("port", decode(&ports)?, Trust::Named)
}
