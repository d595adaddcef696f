//! A configuration file as it is written: sections, keys and values with their places, and every fault so far.
//!
//! What the values mean is not known here; who asks for one brings the meaning along. TOML's own errors quote the
//! file, so only their positions are used.

use std::{fmt::Display, ops::Range};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    complaint::{Complaint, Page, Standing},
    nearest::nearest,
    schema,
};

/// One section of a file; without a table where the file does not have it.
pub(super) struct Section<'d> {
    name: &'static str,
    table: Option<&'d DeTable<'d>>,
    /// Where its name stands.
    header: Range<usize>,
}

/// Reads values, and keeps what is wrong.
pub(super) struct Reader<'t> {
    page: Page<'t>,
    complaints: Vec<Complaint>,
    /// Whether the file is not TOML: then what is missing, or called strangely, may only look so.
    damaged: bool,
}

impl<'t> Reader<'t> {
    /// A reader of `text`, which knows the faults of its syntax and its unknown sections already; and its sections.
    pub(super) fn new<'d>(
        text: &'t str,
        document: &'d DeTable<'d>,
        errors: &[toml::de::Error],
    ) -> (Self, Vec<Section<'d>>) {
        let mut reader = Self { page: Page::new(text), complaints: Vec::new(), damaged: !errors.is_empty() };
        for error in errors {
            let span = error.span().unwrap_or(0..0);
            reader.complain(span, Standing::Unknown, None, syntax(error.message()).to_owned());
        }
        // One fault a line is enough: the others follow from it.
        reader.complaints.sort_by_key(|complaint| complaint.place);
        reader.complaints.dedup_by_key(|complaint| complaint.place.line);
        let sections = reader.sections(document, "");
        (reader, sections)
    }

    /// The outcome: all complaints, in the order of the file.
    pub(super) fn finish(mut self) -> Vec<Complaint> {
        self.complaints.sort_by_key(|complaint| complaint.place);
        self.complaints
    }

    fn complain(&mut self, span: Range<usize>, standing: Standing, key: Option<String>, what: String) {
        // What recovery made of a damaged file says nothing of where a line belongs.
        let standing = if self.damaged { Standing::Unknown } else { standing };
        self.complaints.push(self.page.complaint(span, standing, key, what));
    }

    /// The known sections in `table`, whose own path is `above`, and below it.
    fn sections<'d>(&mut self, table: &'d DeTable<'d>, above: &str) -> Vec<Section<'d>> {
        let mut found = Vec::new();
        for (key, value) in table {
            let written = key.get_ref().as_ref();
            let path = if above.is_empty() { written.to_owned() } else { format!("{above}.{written}") };
            let group = schema::sections().any(|name| name.starts_with(&format!("{path}.")));
            match (schema::section(&path), value.get_ref().as_table()) {
                (Some(name), Some(table)) => {
                    self.unknown_keys(name, table);
                    found.push(Section { name, table: Some(table), header: key.span() });
                }
                (None, Some(table)) if group => found.extend(self.sections(table, &path)),
                (None, _) if !group => self.unknown_section(key.span(), above, written, value),
                _ => {
                    let what = format!("must be a section, written as [{path}]");
                    self.complain(value.span(), Standing::Stranger(""), Some(path), what);
                }
            }
        }
        found
    }

    fn unknown_section(
        &mut self,
        span: Range<usize>,
        above: &str,
        written: &str,
        value: &Spanned<DeValue<'_>>,
    ) {
        let below = schema::sections().filter_map(|name| match above {
            "" => name.split('.').next(),
            _ => name.strip_prefix(above)?.strip_prefix('.'),
        });
        let mut known: Vec<&str> = Vec::new();
        for name in below {
            if !known.contains(&name) {
                known.push(name);
            }
        }
        let near = nearest(written, known.iter().copied());
        let what = match near {
            Some(near) => format!("is not known; did you mean `{near}`?"),
            // A key that lost its section, most likely.
            None => match schema::sections().find(|section| schema::has_key(section, written)) {
                Some(section) if !value.get_ref().is_table() => {
                    format!("is not known here; it belongs under [{section}]")
                }
                _ => format!("is not known; there are {}", known.join(", ")),
            },
        };
        let standing = if near == Some("database") { Standing::Unknown } else { Standing::Stranger("") };
        let path = if above.is_empty() { written.to_owned() } else { format!("{above}.{written}") };
        let key = self.name(standing, &path);
        self.complain(span, standing, key, what);
    }

    fn unknown_keys(&mut self, section: &'static str, table: &DeTable<'_>) {
        for (key, _) in table {
            let written = key.get_ref().as_ref();
            if schema::has_key(section, written) {
                continue;
            }
            let near = nearest(written, schema::keys(section).iter().copied());
            let what = match near {
                Some(near) => format!("is not known; did you mean `{near}`?"),
                None => format!("is not known; [{section}] has {}", schema::keys(section).join(", ")),
            };
            let standing = if near.is_some() { Standing::Key(section) } else { Standing::Stranger(section) };
            let name = self.name(standing, &format!("{section}.{written}"));
            self.complain(key.span(), standing, name, what);
        }
    }

    /// The name of an unknown key, unless it may be a value that slipped out of its quotes, or looks like a secret.
    fn name(&self, standing: Standing, path: &str) -> Option<String> {
        let section = |name| matches!(standing, Standing::Key(section) | Standing::Stranger(section) if section == name);
        let slipped =
            self.damaged && (standing == Standing::Unknown || section("database") || section("keyring"));
        let plain = path.chars().all(|c| c.is_ascii_lowercase() || matches!(c, '_' | '-' | '.'));
        (!slipped && (plain || !self.damaged) && is_presentable(path)).then(|| path.to_owned())
    }

    /// The text of a key as `read` understands it; of a key that is not there, the text `default`. Nothing when there
    /// is something to complain of, which is kept.
    pub(super) fn text<T, F: Display>(
        &mut self,
        section: &Section<'_>,
        key: &'static str,
        default: &str,
        read: impl FnOnce(&str) -> Result<T, F>,
    ) -> Option<T> {
        match section.get(key) {
            Some(value) => self.read(section, key, value, read),
            None => read(default).ok(),
        }
    }

    /// As [`Reader::text`], for a key that may be left out: nothing is then no fault.
    pub(super) fn optional_text<T, F: Display>(
        &mut self,
        section: &Section<'_>,
        key: &'static str,
        read: impl FnOnce(&str) -> Result<T, F>,
    ) -> Option<T> {
        self.read(section, key, section.get(key)?, read)
    }

    /// As [`Reader::text`], for a key that must be there; `example` shows how.
    pub(super) fn required_text<T, F: Display>(
        &mut self,
        section: &Section<'_>,
        key: &'static str,
        example: &str,
        read: impl FnOnce(&str) -> Result<T, F>,
    ) -> Option<T> {
        if let Some(value) = section.get(key) {
            return self.read(section, key, value, read);
        }
        if !self.damaged {
            let standing =
                if section.table.is_some() { Standing::Key(section.name) } else { Standing::Missing };
            let what = format!("is missing: write {key} = \"{example}\" under [{}]", section.name);
            self.complain(section.header.clone(), standing, Some(section.path(key)), what);
        }
        None
    }

    /// A list of texts; empty where the key is not there.
    pub(super) fn texts<T, F: Display>(
        &mut self,
        section: &Section<'_>,
        key: &'static str,
        read: impl Fn(&str) -> Result<T, F>,
    ) -> Option<Vec<T>> {
        let Some(value) = section.get(key) else { return Some(Vec::new()) };
        let Some(items) = value.get_ref().as_array() else {
            self.wrong_type(section, key, value, "a list of texts, as in [\"https://…\"]");
            return None;
        };
        // All of them are read, and complained of, before one that is missing makes the list nothing.
        let read: Vec<Option<T>> = items.iter().map(|item| self.read(section, key, item, &read)).collect();
        read.into_iter().collect()
    }

    /// `true` or `false`.
    pub(super) fn switch(&mut self, section: &Section<'_>, key: &'static str, default: bool) -> Option<bool> {
        let Some(value) = section.get(key) else { return Some(default) };
        let switch = value.get_ref().as_bool();
        if switch.is_none() {
            self.wrong_type(section, key, value, "true or false, without quotes");
        }
        switch
    }

    fn read<T, F: Display>(
        &mut self,
        section: &Section<'_>,
        key: &'static str,
        value: &Spanned<DeValue<'_>>,
        read: impl FnOnce(&str) -> Result<T, F>,
    ) -> Option<T> {
        let Some(text) = value.get_ref().as_str() else {
            self.wrong_type(section, key, value, "text in quotes");
            return None;
        };
        match read(text) {
            Ok(meaning) => Some(meaning),
            Err(fault) => {
                self.complain(
                    value.span(),
                    Standing::Key(section.name),
                    Some(section.path(key)),
                    fault.to_string(),
                );
                None
            }
        }
    }

    fn wrong_type(
        &mut self,
        section: &Section<'_>,
        key: &'static str,
        value: &Spanned<DeValue<'_>>,
        right: &str,
    ) {
        let found = match value.get_ref() {
            DeValue::String(_) => "text",
            DeValue::Integer(_) | DeValue::Float(_) => "a number",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a section",
        };
        // Recovery makes something of every value that is no TOML; of that line all is said.
        let place = self.page.place(value.span().start);
        if self.complaints.iter().any(|complaint| self.damaged && complaint.place.line == place.line) {
            return;
        }
        let what = format!("must be {right}, and is {found}");
        self.complain(value.span(), Standing::Key(section.name), Some(section.path(key)), what);
    }
}

impl<'d> Section<'d> {
    /// The section of this name, or an empty one.
    pub(super) fn of(sections: &[Section<'d>], name: &'static str) -> Self {
        sections.iter().find(|section| section.name == name).map_or(
            Self { name, table: None, header: 0..0 },
            |section| Self { name, table: section.table, header: section.header.clone() },
        )
    }

    fn get(&self, key: &str) -> Option<&'d Spanned<DeValue<'d>>> {
        self.table?.get(key)
    }

    fn path(&self, key: &str) -> String {
        format!("{}.{key}", self.name)
    }
}

/// Whether a key can be shown: no secret is this short and has so few digits.
fn is_presentable(key: &str) -> bool {
    let digits = key.chars().filter(char::is_ascii_digit).count();
    key.len() <= 50 && digits < 8 && key.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'))
}

/// What to say of an error of TOML's, of which the words are chosen here.
fn syntax(message: &str) -> &'static str {
    match message.split(',').next().unwrap_or_default() {
        "duplicate key" => "this key stands in the file a second time: keep one of them",
        "string values must be quoted" => "not TOML: text must stand in quotes",
        "key with no value" | "missing value for key" | "missing value" => {
            "not TOML: a key without `=` and a value"
        }
        "unclosed table" | "unclosed array table" | "unclosed array" => "not TOML: a bracket is not closed",
        _ => "not TOML: is a quote, a bracket or `=` missing here, or one too many?",
    }
}
