//! What is wrong with a file, as people see it: line, column, key, what would be right, and the line with a caret under
//! the place.
//!
//! Never shown is a line of `[database]`, which may hold a password, nor any line where the file is no TOML, for then it
//! cannot be told which line belongs where. serde says what is wrong and `toml` where; the structs know their keys.

use std::{cell::Cell, fmt, iter::once, ops::Range};

use serde::{
    Deserialize as _, Deserializer,
    de::{
        Error as _, IntoDeserializer, Visitor,
        value::{Error, MapDeserializer},
    },
    forward_to_deserialize_any,
};
use serde_path_to_error::Segment;
use toml::de::{DeTable, DeValue};

use super::Settings;
use crate::place::Place;

/// The keys that must be there, each with what may be written.
const REQUIRED: [([&str; 2], &str); 2] = [
    (["database", "url"], "postgresql://relinkd@localhost/okdesk_bot"),
    (["portal", "base_url"], "https://yapomogu55.okdesk.ru"),
];

/// One fault of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    place: Place,
    /// The key, what is wrong and what would be right; and beneath, where it may be shown, the line.
    said: String,
}

impl Fault {
    /// A file that is not even TOML. The error's own words are not used.
    pub(super) fn not_toml(text: &str, error: &toml::de::Error) -> Self {
        let what = "not TOML: is a quote, a bracket or `=` missing here, or one too many, or does a key stand here a second time?";
        Self::of_text(Place::of(text, error.span().unwrap_or_default().start), what)
    }

    /// A fault of the file as a text.
    pub(super) fn of_text(place: Place, what: &str) -> Self {
        Self { place, said: what.to_owned() }
    }

    /// A value that one section alone could not judge.
    pub(super) fn of_value(text: &str, document: &DeTable<'_>, path: &[&str], what: &str) -> Self {
        let span = at(document, path).map(|(span, _)| span).unwrap_or_default();
        Self::new(text, span, path, what.to_owned())
    }

    /// A section that is no table: serde alone would take a list for one.
    pub(super) fn no_section(text: &str, document: &DeTable<'_>) -> Option<Self> {
        let below = |path: &[&'static str]| keys(path).iter().map(|key| [path, &[*key]].concat()).collect();
        let mut paths: Vec<Vec<&str>> = below(&[]);
        while let Some(path) = paths.pop() {
            let inner: Vec<_> = below(&path);
            let found = at(document, &path).filter(|(_, value)| !inner.is_empty() && !value.is_table());
            if let Some((span, value)) = found {
                return Some(Self::wrong_type(text, span, &path, value));
            }
            paths.extend(inner);
        }
        None
    }

    /// What keeps this document from being settings.
    pub(super) fn of_document(
        text: &str,
        document: &DeTable<'_>,
        error: &serde_path_to_error::Error<toml::de::Error>,
    ) -> Self {
        let path: Vec<&str> = (error.path().iter())
            .filter_map(|segment| if let Segment::Map { key } = segment { Some(key.as_str()) } else { None })
            .collect();
        let span = error.inner().span().unwrap_or_default();
        if let Some((key, above)) = path.split_last()
            && !keys(above).contains(key)
        {
            return Self::unknown(text, span, above, key);
        }
        match at(document, &path) {
            Some((span, value)) if !wanted(&path).fits(value) => Self::wrong_type(text, span, &path, value),
            Some((_, value)) if !value.is_table() => {
                Self::new(text, span, &path, error.inner().message().to_owned())
            }
            section => Self::missing(text, document, section.map(|(span, _)| span)),
        }
    }

    fn missing(text: &str, document: &DeTable<'_>, section: Option<Range<usize>>) -> Self {
        let (key, example) = (REQUIRED.into_iter())
            .find(|(key, _)| at(document, key).is_none())
            .expect("the structs require what REQUIRED lists, as a test shows");
        let what = format!("is missing: write {} = \"{example}\" under [{}]", key[1], key[0]);
        match section {
            Some(span) => Self::new(text, span, &key, what),
            None => Self::of_text(Place::START, &format!("`{}` {what}", key.join("."))),
        }
    }

    fn wrong_type(text: &str, span: Range<usize>, path: &[&str], value: &DeValue<'_>) -> Self {
        let wanted = match wanted(path) {
            Wanted::Section(_) => format!("a section, written as [{}]", path.join(".")),
            Wanted::Switch => "true or false, without quotes".to_owned(),
            Wanted::List => "a list of texts, as in [\"https://…\"]".to_owned(),
            Wanted::Text | Wanted::Nothing => "text in quotes".to_owned(),
        };
        let found = match value {
            DeValue::String(_) => "text",
            DeValue::Integer(_) | DeValue::Float(_) => "a number",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a section",
        };
        Self::new(text, span, path, format!("must be {wanted}, and is {found}"))
    }

    fn unknown(text: &str, span: Range<usize>, above: &[&str], key: &str) -> Self {
        let known = keys(above);
        let list = known.join(", ");
        let what = match (nearest(key, known), above) {
            (Some(near), _) => format!("is not known; did you mean `{near}`?"),
            (None, []) => format!("is not known; there are {list}"),
            // It may be a password that slipped out of its quotes.
            (None, ["database"]) => {
                let what = format!("has a key that is not known; [database] has {list}");
                return Self::new(text, span, above, what);
            }
            (None, _) => format!("is not known; [{}] has {list}", above.join(".")),
        };
        Self::new(text, span, &[above, &[key]].concat(), what)
    }

    fn new(text: &str, span: Range<usize>, path: &[&str], what: String) -> Self {
        let place = Place::of(text, span.start);
        let mut said = printable(&format!("`{}` {what}", path.join(".")));
        if !secret(path) {
            said.push_str(&excerpt(text, span, place.line));
        }
        Self { place, said }
    }
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
        ([], value_itself @ DeValue::Table(_)) => Some((name.span(), value_itself)),
        ([], value_itself) => Some((value.span(), value_itself)),
        (rest, DeValue::Table(table)) => at(table, rest),
        _ => None,
    }
}

/// The known word that is at most two slips away from `written` (a letter more, less, other, or two swapped); one slip
/// where the word is short.
pub(super) fn nearest(written: &str, known: &[&'static str]) -> Option<&'static str> {
    let written = written.to_ascii_lowercase();
    let slips = known.iter().map(|word| (strsim::osa_distance(&written, word), *word));
    let near = slips.filter(|(slips, word)| *slips <= if word.len() < 6 { 1 } else { 2 });
    near.min_by_key(|(slips, _)| *slips).map(|(_, word)| word)
}

/// What the structs want at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// No struct knows the path.
    Nothing,
    /// A section with these keys.
    Section(&'static [&'static str]),
    Text,
    Switch,
    List,
}

impl Wanted {
    fn fits(self, value: &DeValue<'_>) -> bool {
        match self {
            Self::Nothing => false,
            Self::Section(_) => value.is_table(),
            Self::Text => value.is_str(),
            Self::Switch => value.is_bool(),
            Self::List => value.is_array(),
        }
    }
}

/// The keys of the section at this path; none where there is no section.
pub(super) fn keys(path: &[&str]) -> &'static [&'static str] {
    if let Wanted::Section(keys) = wanted(path) { keys } else { &[] }
}

fn wanted(path: &[&str]) -> Wanted {
    let found = Cell::new(Wanted::Nothing);
    // Always an error: nothing is read here.
    let _ = Settings::deserialize(Asking { path, found: &found });
    found.get()
}

/// Leads serde to a path, and notes what the structs ask for there.
#[derive(Clone, Copy)]
struct Asking<'p> {
    path: &'p [&'p str],
    found: &'p Cell<Wanted>,
}

impl Asking<'_> {
    fn note<T>(self, wanted: Wanted) -> Result<T, Error> {
        if self.path.is_empty() {
            self.found.set(wanted);
        }
        Err(Error::custom("noted"))
    }
}

impl<'de> Deserializer<'de> for Asking<'_> {
    type Error = Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.path.split_first() {
            None => self.note(Wanted::Section(fields)),
            Some((key, path)) => {
                visitor.visit_map(MapDeserializer::new(once((*key, Asking { path, ..self }))))
            }
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Error> {
        self.note(Wanted::Text)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Error> {
        self.note(Wanted::Switch)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Error> {
        self.note(Wanted::List)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Error> {
        self.note(Wanted::Nothing)
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char string bytes byte_buf unit unit_struct newtype_struct tuple
        tuple_struct map enum identifier ignored_any
    }
}

impl IntoDeserializer<'_> for Asking<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
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

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.said)
    }
}
