//! The keyring file's content: TOML ↔ [`Keyring`]. A fault says where and what, and repeats nothing of the file but the
//! key ids that are read already.

use super::KeyringError;
use crate::envelope::{Key, KeyId, Keyring};
use crate::place::Place;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::Read as _;
use std::ops::Range;
use std::path::Path;
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use zeroize::{Zeroize as _, Zeroizing};

/// The largest keyring file, in bytes: some hundreds of keys.
const MAX_BYTES: usize = 64 << 10;
const NOT_TOML: &str =
    "not TOML: is a quote, a bracket or `=` missing here, or does an id stand here a second time?";
const ID: &str = "the id of a key must be 1 to 16 of a-z and 0-9";

/// Where a fault is, and what it is.
type At = (Range<usize>, String);

fn at<T>(span: Range<usize>, what: impl ToString) -> Result<T, At> {
    Err((span, what.to_string()))
}

/// Reads an open file.
pub(super) fn read(file: &mut File, path: &Path) -> Result<Keyring, KeyringError> {
    // With room for all of it, so that it does not grow, which would leave copies of keys behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_BYTES + 2));
    file.take(MAX_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(KeyringError::system(path, "cannot be read"))?;
    let text = std::str::from_utf8(&bytes).ok();
    let read = match text {
        _ if bytes.len() > MAX_BYTES => at(0..0, "a keyring is not larger than 64 KiB"),
        None => at(0..0, NOT_TOML),
        Some(text) => parse(text),
    };
    read.map_err(|(span, what)| {
        let place = text.map_or(Place::START, |text| Place::of(text, span.start));
        KeyringError::Content { path: path.to_owned(), place, what }
    })
}

pub(super) fn parse(text: &str) -> Result<Keyring, At> {
    let document = DeTable::parse(text).or_else(|error| at(error.span().unwrap_or(0..0), NOT_TOML))?;
    let (mut primary, mut keys, mut retired) = (None, BTreeMap::new(), BTreeMap::new());
    let mut fingerprint_keys = Vec::new();
    for (name, value) in document.into_inner() {
        match name.get_ref().as_ref() {
            "primary" => primary = Some((value.span(), id(value.get_ref().as_str(), value.span())?)),
            "keys" => keys = ring(value)?,
            "retired" => retired = ring(value)?,
            "fingerprint_keys" => fingerprint_keys = list(value)?,
            _ => return at(name.span(), "a keyring has `primary`, [keys] and [retired], and nothing else"),
        }
    }
    let Some((span, primary)) = primary else {
        return at(0..0, "`primary` is missing: it names the key that seals, above [keys]");
    };
    let ring = Keyring::new(primary, keys, retired).or_else(|fault| at(span, fault))?;
    Ok(ring.with_fingerprint_keys(fingerprint_keys))
}

fn id(text: Option<&str>, span: Range<usize>) -> Result<KeyId, At> {
    text.and_then(|text| KeyId::parse(text).ok()).ok_or_else(|| (span, ID.to_owned()))
}

/// The keys of a section.
fn ring(section: Spanned<DeValue<'_>>) -> Result<BTreeMap<KeyId, Key>, At> {
    let span = section.span();
    let DeValue::Table(table) = section.into_inner() else {
        return at(span, "[keys] and [retired] must be sections");
    };
    let keys = table.into_iter().map(|(name, value)| {
        let id = id(Some(name.get_ref()), name.span())?;
        Ok((id, key(value)?))
    });
    keys.collect()
}

/// The keys of a list without ids.
fn list(list: Spanned<DeValue<'_>>) -> Result<Vec<Key>, At> {
    let span = list.span();
    let DeValue::Array(keys) = list.into_inner() else {
        return at(span, "`fingerprint_keys` must be a list");
    };
    keys.into_iter().map(key).collect()
}

/// Reads a key, and wipes the copy that TOML has made of it when it was written with escapes.
fn key(value: Spanned<DeValue<'_>>) -> Result<Key, At> {
    let span = value.span();
    let DeValue::String(text) = value.into_inner() else {
        return at(span, "a key must be text in quotes");
    };
    let key = Key::parse(&text).or_else(|fault| at(span, fault));
    if let Cow::Owned(mut copy) = text {
        copy.zeroize();
    }
    key
}

/// What a keyring looks like as a file.
pub(super) fn write(keyring: &Keyring) -> Zeroizing<String> {
    const HEADER: &str = "# The keys that seal the portal tokens. Whoever reads this file can open every token, and without it nobody can:\n\
        # keep a copy of it, apart from the database's backups. `relinkd key` rewrites it; other comments do not stay.\n\n";
    const KEY_LINE: usize = 80;
    const FINGERPRINTS: &str =
        "\n# Of keys that were destroyed. They open nothing; they tell a removed token in a link.\n";
    let left = keyring.fingerprint_keys();
    let room = HEADER.len()
        + FINGERPRINTS.len()
        + KEY_LINE * (6 + keyring.active().len() + keyring.retired().len() + left.len());
    // With room for all of it: growing would leave copies of keys behind.
    let mut text = Zeroizing::new(String::with_capacity(room));
    text.push_str(HEADER);
    // Writing to a string does not fail.
    let _ = writeln!(text, "primary = \"{}\"", keyring.primary());
    if !left.is_empty() {
        text.push_str(FINGERPRINTS);
        text.push_str("fingerprint_keys = [\n");
        for key in left {
            let _ = writeln!(text, "    \"{}\",", key.encode().as_str());
        }
        text.push_str("]\n");
    }
    for (section, keys) in [("keys", keyring.active()), ("retired", keyring.retired())] {
        if !keys.is_empty() {
            let _ = writeln!(text, "\n[{section}]");
        }
        for (id, key) in keys {
            let _ = writeln!(text, "{id} = \"{}\"", key.encode().as_str());
        }
    }
    debug_assert!(text.len() <= room, "the text did not grow");
    text
}
