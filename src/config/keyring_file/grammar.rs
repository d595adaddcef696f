//! The keyring file's content: TOML ↔ [`Keyring`]. Faults say where, and repeat nothing of the file but the key ids that
//! are read already.

use std::{
    borrow::Cow, collections::BTreeMap, fmt::Write as _, fs::File, io::Read as _, ops::Range, path::Path,
};

use thiserror::Error;
use toml::{
    Spanned,
    de::{DeString, DeTable, DeValue},
};
use zeroize::{Zeroize as _, Zeroizing};

use super::KeyringError;
use crate::{
    envelope::{Key, KeyFault, KeyId, Keyring, KeyringFault},
    place::Place,
};

/// The largest keyring file, in bytes: some hundreds of keys.
const MAX_BYTES: usize = 64 << 10;

/// A fault and where it is.
type At = (Range<usize>, ContentFault);

/// Reads an open file.
pub(super) fn read(file: &mut File, path: &Path) -> Result<Keyring, KeyringError> {
    // With room for all of it, so that it does not grow, which would leave copies of keys behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_BYTES + 2));
    file.take(MAX_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(KeyringError::system(path, "cannot be read"))?;
    let content = |place, fault| KeyringError::Content { path: path.to_owned(), place, fault };
    if bytes.len() > MAX_BYTES {
        return Err(content(Place::START, ContentFault::TooLarge));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| content(Place::START, ContentFault::NotToml))?;
    parse(text).map_err(|(span, fault)| content(Place::of(text, span.start), fault))
}

pub(super) fn parse(text: &str) -> Result<Keyring, At> {
    let (document, errors) = DeTable::parse_recoverable(text);
    if let Some(error) = errors.first() {
        let twice = error.message() == "duplicate key";
        let fault = if twice { ContentFault::Twice } else { ContentFault::NotToml };
        return Err((error.span().unwrap_or(0..0), fault));
    }
    let (mut primary, mut keys, mut retired) = (None, BTreeMap::new(), BTreeMap::new());
    for (name, value) in document.into_inner() {
        match name.get_ref().as_ref() {
            "primary" => primary = Some(id_of(&value)?),
            "keys" => keys = ring(value)?,
            "retired" => retired = ring(value)?,
            _ => return Err((name.span(), ContentFault::UnknownKey)),
        }
    }
    let (span, primary) = primary.ok_or((0..0, ContentFault::NoPrimary))?;
    Keyring::new(primary, keys, retired).map_err(|fault| (span, ContentFault::Ring(fault)))
}

fn id_of(value: &Spanned<DeValue<'_>>) -> Result<(Range<usize>, KeyId), At> {
    let id = value.get_ref().as_str().and_then(|text| KeyId::parse(text).ok());
    id.map(|id| (value.span(), id)).ok_or((value.span(), ContentFault::Primary))
}

/// The keys of a section.
fn ring(section: Spanned<DeValue<'_>>) -> Result<BTreeMap<KeyId, Key>, At> {
    let span = section.span();
    let DeValue::Table(table) = section.into_inner() else { return Err((span, ContentFault::Section)) };
    table
        .into_iter()
        .map(|(name, value)| {
            let id = KeyId::parse(name.get_ref()).map_err(|_| (name.span(), ContentFault::Id))?;
            let span = value.span();
            let DeValue::String(text) = value.into_inner() else { return Err((span, ContentFault::Text)) };
            Ok((id, key(text).map_err(|fault| (span, fault))?))
        })
        .collect()
}

/// Reads a key, and wipes the copy that TOML has made of it when it was written with escapes.
fn key(text: DeString<'_>) -> Result<Key, ContentFault> {
    let key = Key::parse(&text).map_err(ContentFault::Key);
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
    let room = HEADER.len() + KEY_LINE * (4 + keyring.active().len() + keyring.retired().len());
    // With room for all of it: growing would leave copies of keys behind.
    let mut text = Zeroizing::new(String::with_capacity(room));
    text.push_str(HEADER);
    // Writing to a string does not fail.
    let _ = writeln!(text, "primary = \"{}\"", keyring.primary());
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

/// What is wrong with a file's content.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ContentFault {
    /// Larger than any keyring.
    #[error("a keyring is not larger than 64 KiB")]
    TooLarge,
    /// Not TOML.
    #[error("not TOML: is a quote, a bracket or `=` missing here?")]
    NotToml,
    /// A key of TOML's that stands twice.
    #[error("this id stands here a second time")]
    Twice,
    /// A key of TOML's that a keyring does not have.
    #[error("a keyring has `primary`, [keys] and [retired], and nothing else")]
    UnknownKey,
    /// No `primary`.
    #[error("`primary` is missing: it names the key that seals, above [keys]")]
    NoPrimary,
    /// `primary` is no id.
    #[error("`primary` must be the id of a key, in quotes: 1 to 16 of a-z and 0-9")]
    Primary,
    /// `keys` or `retired` is no table.
    #[error("[keys] and [retired] must be sections")]
    Section,
    /// No id.
    #[error("the id of a key must be 1 to 16 of a-z and 0-9")]
    Id,
    /// No text.
    #[error("a key must be text in quotes")]
    Text,
    /// No key.
    #[error("{0}")]
    Key(KeyFault),
    /// Keys that make no ring.
    #[error("{0}")]
    Ring(KeyringFault),
}
