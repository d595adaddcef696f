//! `key=value` text (libpq, "Keyword/Value Connection Strings"): blanks between, `'…'` around values with blanks, `\`
//! before a quote or a backslash, blanks around `=` allowed.

use zeroize::Zeroizing;

use super::{
    DatabaseFault, uri,
    values::{Parameters, Trust},
};

const BLANKS: [char; 6] = [' ', '\t', '\n', '\r', '\x0b', '\x0c'];

/// Reads the whole text.
pub(super) fn parse(text: &str) -> Result<Parameters, DatabaseFault> {
    let mut parameters = Parameters::default();
    let mut trust = Trust::Named;
    let mut rest = text.trim_start_matches(BLANKS);
    if rest.is_empty() {
        return Err(DatabaseFault::Form(
            "is empty: write it as in \"postgresql://relinkd@localhost/okdesk_bot\"",
        ));
    }
    while !rest.is_empty() {
        let (key, after) = key(rest).ok_or_else(|| no_equals(text))?;
        let (value, after) = value(after)?;
        parameters.set(key, value, trust)?;
        if key == "password" {
            // What follows may be the rest of a password that lacks its quotes.
            trust = Trust::AfterPassword;
        }
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

fn no_equals(text: &str) -> DatabaseFault {
    DatabaseFault::Form(if text.contains("://") && uri::scheme(text).is_none() {
        "must begin with postgresql:// or postgres://, or be key=value text"
    } else {
        "must be a URI (postgresql://…), or key=value text with `=` after each key and quotes ('…') around a value \
         with blanks"
    })
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
