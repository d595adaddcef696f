//! Links for people to see: every token in them masked, whoever's host it is.

use super::percent;
use super::read::nothing;

/// The link with the value of each `token` parameter masked, in a nested link inside a parameter too.
#[must_use]
pub fn mask(written: &str) -> String {
    let mut masked = String::with_capacity(written.len());
    let mut rest = written;
    while let Some(at) = find(rest) {
        let (before, value) = rest.split_at(at);
        masked.push_str(before);
        let end = value.find(|c: char| "&#;\"' ".contains(c) || c.is_control()).unwrap_or(value.len());
        masked.push_str(&hint(&percent::decode(&value[..end], nothing)));
        rest = &value[end..];
    }
    masked.push_str(rest);
    masked
}

/// As [`crate::token::Token::masked`], for a text that may be no token.
fn hint(value: &str) -> String {
    let shown: String =
        if value.chars().count() >= 12 { value.chars().take(4).collect() } else { String::new() };
    shown + "…"
}

/// Where the value of the next `token` parameter begins; the name and the `=` may be percent-encoded.
fn find(text: &str) -> Option<usize> {
    text.char_indices().find_map(|(start, _)| after_name(&text[start..]).map(|length| start + length))
}

/// The length of `token=` at the start of the text, in any case and encoding.
fn after_name(text: &str) -> Option<usize> {
    let mut at = 0;
    for wanted in "token=".chars() {
        let rest = &text[at..];
        let literal = rest.chars().next()?;
        if literal.eq_ignore_ascii_case(&wanted) {
            at += literal.len_utf8();
        } else {
            let (character, length) = percent::escaped_char(rest.as_bytes())?;
            if !character.eq_ignore_ascii_case(&wanted) {
                return None;
            }
            at += length;
        }
    }
    Some(at)
}
