//! What is wrong with a file, as people see it: line, column, key, what would be right, and the line with a caret under
//! the place.
//!
//! Never shown is a line of `[database]`, which may hold a password, nor any line where the file is no TOML, for then it
//! cannot be told which line belongs where. serde says what is wrong and `toml` where; the structs know their keys.

use super::Settings;
use super::section::{Shape, Shaped as _};
use crate::place::Place;
use serde_path_to_error::Segment;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

/// The keys that must be there, each with what may be written.
const REQUIRED: [([&str; 2], &str); 2] = [
    (["database", "url"], "postgresql://relinkd@localhost/okdesk_bot"),
    (["portal", "base_url"], "https://yapomogu55.okdesk.ru"),
];

/// A file that is not even TOML. The error's own words are not used.
pub(super) fn not_toml(text: &str, error: &toml::de::Error) -> String {
    let what = "not TOML: is a quote, a bracket or `=` missing here, or one too many, or does a key stand here a second time?";
    of_text(Place::of(text, error.span().unwrap_or_default().start), what)
}

/// A fault of the file as a text.
pub(super) fn of_text(place: Place, what: &str) -> String {
    format!("{place}: {what}")
}

/// A value that one section alone could not judge.
pub(super) fn of_value(text: &str, document: &DeTable<'_>, path: &[&str], what: &str) -> String {
    let span = at(document, path).map(|(span, _)| span).unwrap_or_default();
    said(text, span, path, what.to_owned())
}

/// A key that is not known, or a value of another type, whatever else is wrong: a key that is missing may be the one
/// that is misspelt. Also a section that is no table: serde alone would take a list for one.
pub(super) fn of_shape(text: &str, document: &DeTable<'_>, above: &[&str]) -> Option<String> {
    document.iter().find_map(|(key, value)| {
        let path = [above, &[key.get_ref()]].concat();
        match (shape(&path), value.get_ref()) {
            (None, _) => Some(unknown(text, key.span(), above, key.get_ref())),
            (Some(Shape::Section(_)), DeValue::Table(section)) => of_shape(text, section, &path),
            (Some(Shape::Text), DeValue::String(_))
            | (Some(Shape::Switch), DeValue::Boolean(_))
            | (Some(Shape::List), DeValue::Array(_)) => None,
            (Some(wanted), found) => Some(wrong_type(text, span(key, value), &path, wanted, found)),
        }
    })
}

/// What keeps a document of the right shape from being settings: a value that is wrong, or a key that is missing.
pub(super) fn of_document(
    text: &str,
    document: &DeTable<'_>,
    error: &serde_path_to_error::Error<toml::de::Error>,
) -> String {
    let path: Vec<&str> = (error.path().iter())
        .filter_map(|segment| if let Segment::Map { key } = segment { Some(key.as_str()) } else { None })
        .collect();
    match at(document, &path) {
        Some((_, value)) if !value.is_table() => {
            let span = error.inner().span().unwrap_or_default();
            said(text, span, &path, error.inner().message().to_owned())
        }
        section => missing(text, document, section.map(|(span, _)| span)),
    }
}

fn missing(text: &str, document: &DeTable<'_>, section: Option<Range<usize>>) -> String {
    let (key, example) = (REQUIRED.into_iter())
        .find(|(key, _)| at(document, key).is_none())
        .expect("the structs require what REQUIRED lists, as a test shows");
    let what = format!("is missing: write {} = \"{example}\" under [{}]", key[1], key[0]);
    match section {
        Some(span) => said(text, span, &key, what),
        None => of_text(Place::START, &format!("`{}` {what}", key.join("."))),
    }
}

fn wrong_type(text: &str, span: Range<usize>, path: &[&str], wanted: Shape, found: &DeValue<'_>) -> String {
    let wanted = match wanted {
        Shape::Section(_) => format!("a section, written as [{}]", path.join(".")),
        Shape::Switch => "true or false, without quotes".to_owned(),
        Shape::List => "a list of texts, as in [\"https://…\"]".to_owned(),
        Shape::Text => "text in quotes".to_owned(),
    };
    let found = match found {
        DeValue::String(_) => "text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a section",
    };
    said(text, span, path, format!("must be {wanted}, and is {found}"))
}

fn unknown(text: &str, span: Range<usize>, above: &[&str], key: &str) -> String {
    let known = keys(above);
    let list = known.join(", ");
    let what = match (nearest(key, &known), above) {
        (Some(near), _) => format!("is not known; did you mean `{near}`?"),
        (None, []) => format!("is not known; there are {list}"),
        // It may be a password that slipped out of its quotes.
        (None, ["database"]) => {
            let what = format!("has a key that is not known; [database] has {list}");
            return said(text, span, above, what);
        }
        (None, _) => format!("is not known; [{}] has {list}", above.join(".")),
    };
    said(text, span, &[above, &[key]].concat(), what)
}

/// The place, the key, what is wrong and what would be right; and beneath, where it may be shown, the line.
fn said(text: &str, span: Range<usize>, path: &[&str], what: String) -> String {
    let place = Place::of(text, span.start);
    let said = of_text(place, &printable(&format!("`{}` {what}", path.join("."))));
    if secret(path) { said } else { said + &excerpt(text, span, place.line) }
}

/// Whether the lines of this key are not shown: those of `[database]`, misspelt or not.
fn secret(path: &[&str]) -> bool {
    path.first().is_some_and(|section| nearest(section, &["database"]).is_some())
}

/// The value at this path, and where it stands; of a section, where its name stands.
fn at<'d>(document: &'d DeTable<'d>, path: &[&str]) -> Option<(Range<usize>, &'d DeValue<'d>)> {
    let (key, rest) = path.split_first()?;
    let (name, value) = document.get_key_value(*key)?;
    match (rest, value.get_ref()) {
        ([], found) => Some((span(name, value), found)),
        (rest, DeValue::Table(table)) => at(table, rest),
        _ => None,
    }
}

fn span(name: &Spanned<DeString<'_>>, value: &Spanned<DeValue<'_>>) -> Range<usize> {
    if value.get_ref().is_table() { name.span() } else { value.span() }
}

/// The known word that is at most two slips away from `written` (a letter more, less, other, or two swapped); one slip
/// where the word is short.
pub(super) fn nearest(written: &str, known: &[&'static str]) -> Option<&'static str> {
    let written = written.to_ascii_lowercase();
    let slips = known.iter().map(|word| (strsim::osa_distance(&written, word), *word));
    let near = slips.filter(|(slips, word)| *slips <= if word.len() < 6 { 1 } else { 2 });
    near.min_by_key(|(slips, _)| *slips).map(|(_, word)| word)
}

/// What may stand at this path; none where the structs know no such key.
fn shape(path: &[&str]) -> Option<Shape> {
    path.iter().try_fold(Settings::SHAPE, |shape, key| match shape {
        Shape::Section(keys) => keys.iter().find(|(name, _)| name == key).map(|(_, shape)| *shape),
        Shape::Text | Shape::Switch | Shape::List => None,
    })
}

/// The keys of the section at this path; none where there is no section.
pub(super) fn keys(path: &[&str]) -> Vec<&'static str> {
    match shape(path) {
        Some(Shape::Section(keys)) => keys.iter().map(|(name, _)| *name).collect(),
        _ => Vec::new(),
    }
}

/// The line in which `span` begins, and carets under it.
fn excerpt(text: &str, span: Range<usize>, number: usize) -> String {
    let start = text[..span.start].rfind('\n').map_or(0, |at| at + 1);
    let line = text[start..].lines().next().unwrap_or_default();
    let column = |offset: usize| line.char_indices().take_while(|(at, _)| start + at < offset).count();
    let before = column(span.start);
    let carets = "^".repeat(column(span.end).saturating_sub(before).max(1));
    let margin = number.to_string().len();
    format!("\n{number} | {}\n{:margin$} | {:before$}{carets}", printable(line), "", "")
}

/// The text with something harmless of the same width for what a terminal would obey.
fn printable(text: &str) -> String {
    let harmless = |character| match character {
        '\t' => ' ',
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        control if control.is_control() => '\u{fffd}',
        other => other,
    };
    text.chars().map(harmless).collect()
}
