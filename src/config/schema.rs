//! Which sections and keys a configuration has: the one list that the reader, the hints and the caution about secrets
//! share.

/// A section, by its path, and its keys. `tables` has only sections below it.
const SECTIONS: [(&str, &[&str]); 8] = [
    ("database", &["url", "password_file"]),
    ("portal", &["base_url", "aliases", "tokenless", "token_pattern"]),
    ("keyring", &["file"]),
    ("spool", &["directory", "rescan"]),
    ("seal", &["plaintext"]),
    ("audit", &["interval"]),
    ("tables.users", &["name", "telegram_id", "portal_token"]),
    ("tables.issues", &["name", "id", "telegram_id", "url"]),
];

/// The keys of a section.
pub(super) fn keys(section: &str) -> &'static [&'static str] {
    SECTIONS.iter().find(|(name, _)| *name == section).map(|(_, keys)| *keys).unwrap_or_default()
}

/// Whether the section has the key.
pub(super) fn has_key(section: &str, key: &str) -> bool {
    keys(section).contains(&key)
}

/// The paths of all sections.
pub(super) fn sections() -> impl Iterator<Item = &'static str> {
    SECTIONS.iter().map(|(name, _)| *name)
}

/// The section of this path.
pub(super) fn section(path: &str) -> Option<&'static str> {
    sections().find(|name| *name == path)
}
