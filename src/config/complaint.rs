//! A fault of a configuration file as people see it: file, line, column, key, what would be right, and the line with a
//! caret under the place.
//!
//! The line is left out where it may hold a secret. What may is decided from the text alone, and in doubt it does:
//! a password in a log is worse than a line that must be looked up.

use std::{fmt, ops::Range, path::Path};

use crate::place::{Lines, Place};

use super::schema;

/// One fault of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// Where.
    pub place: Place,
    /// The key, with its section; none where the fault is no key's, or the key may be a secret itself.
    pub key: Option<String>,
    /// What is wrong and what would be right; it completes the key's name.
    pub what: String,
    excerpt: Option<Excerpt>,
}

/// The line, and the columns that are underlined, counted from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Excerpt {
    line: String,
    underline: Range<usize>,
}

/// What is known of a place beside the text around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// The key of this section, which is known or a misspelt known one.
    Key(&'static str),
    /// A key that is not known, of this section.
    Stranger(&'static str),
    /// Nothing: it is not TOML, or not one of our sections.
    Unknown,
    /// Nothing is at the place: it is where something is missing.
    Missing,
}

/// A file's text, to make complaints of.
pub(super) struct Page<'t> {
    text: &'t str,
    lines: Lines<'t>,
}

impl<'t> Page<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, lines: Lines::of(text) }
    }

    pub(super) fn place(&self, offset: usize) -> Place {
        self.lines.place(offset)
    }

    /// A complaint about these bytes of the text.
    pub(super) fn complaint(
        &self,
        span: Range<usize>,
        standing: Standing,
        key: Option<String>,
        what: String,
    ) -> Complaint {
        let shown = standing != Standing::Missing && self.may_show(span.start, standing);
        Complaint {
            place: self.lines.place(span.start),
            key,
            what,
            excerpt: shown.then(|| self.excerpt(span)),
        }
    }

    /// The offset of the character that `offset` falls into.
    fn settle(&self, offset: usize) -> usize {
        (0..=offset.min(self.text.len())).rev().find(|at| self.text.is_char_boundary(*at)).unwrap_or_default()
    }

    /// The line around `offset`, without its end.
    fn line(&self, offset: usize) -> Range<usize> {
        let offset = self.settle(offset);
        let start = self.text[..offset].rfind('\n').map_or(0, |at| at + 1);
        let end = self.text[offset..].find('\n').map_or(self.text.len(), |at| offset + at);
        start..start + self.text[start..end].trim_end_matches('\r').len()
    }

    fn excerpt(&self, span: Range<usize>) -> Excerpt {
        let line = self.line(span.start);
        let text = &self.text[line.clone()];
        let column = |offset: usize| {
            let offset = self.settle(offset.clamp(line.start, line.end));
            self.text[line.start..offset].chars().map(width).sum::<usize>()
        };
        let start = column(span.start);
        Excerpt {
            underline: start..column(span.end).max(start + 1),
            line: text.chars().map(printable).collect(),
        }
    }

    /// Whether the line at `offset` can be shown to anybody.
    fn may_show(&self, offset: usize, standing: Standing) -> bool {
        let line = self.line(offset);
        let written = &self.text[line.clone()];
        // Inside a text of several lines nothing is what it looks like.
        let multiline = [r#"""""#, "'''"].iter().any(|quotes| self.text[..line.end].contains(quotes));
        if multiline || looks_secret(written) {
            return false;
        }
        if is_header(written) {
            return true;
        }
        let harmless = match standing {
            Standing::Key(section) => section != "database",
            Standing::Stranger(section) => {
                !matches!(section, "database" | "keyring") && !hints_at_secret(written)
            }
            // A comment may be where the rest of a line went.
            Standing::Unknown if written.contains('#') => false,
            Standing::Unknown => {
                self.is_known_setting(&line)
                    || self.is_in_harmless_section(&line) && !hints_at_secret(written)
            }
            Standing::Missing => false,
        };
        harmless && !written.to_lowercase().contains("database")
    }

    /// Whether the line begins with a key of ours that is no secret, as far as its section can be told.
    fn is_known_setting(&self, line: &Range<usize>) -> bool {
        let key =
            self.text[line.clone()].split(['=', ' ', '\t']).find(|word| !word.is_empty()).unwrap_or_default();
        self.section_above(line).is_some_and(|section| section != "database" && schema::has_key(section, key))
    }

    fn is_in_harmless_section(&self, line: &Range<usize>) -> bool {
        self.section_above(line).is_some_and(|section| !matches!(section, "database" | "keyring"))
    }

    /// The section whose header is the last one up to this line, if it is one of ours and written as it should be.
    fn section_above(&self, line: &Range<usize>) -> Option<&'static str> {
        let header = self.text[..line.end].lines().rev().map(str::trim).find(|line| line.starts_with('['))?;
        let (name, rest) = header.strip_prefix('[')?.split_once(']')?;
        let rest = rest.trim_start();
        schema::section(name.trim()).filter(|_| rest.is_empty() || rest.starts_with('#'))
    }
}

/// Whether the line is a section's header and nothing else.
fn is_header(line: &str) -> bool {
    let name = line.trim().strip_prefix('[').and_then(|line| line.strip_suffix(']'));
    name.is_some_and(|name| name.chars().all(|c| c.is_ascii_lowercase() || matches!(c, '_' | '.')))
}

/// Whether the line has what a secret looks like: somebody else's name for one, a URL with credentials or a login
/// token, many digits (a token), or a long word without a break (a key).
fn looks_secret(line: &str) -> bool {
    let lower = line.to_lowercase();
    let named =
        ["passw", "secret", "token=", "token%3d", "@", "bearer"].iter().any(|hint| lower.contains(hint));
    let digits = line.chars().filter(char::is_ascii_digit).count();
    let part_of_key = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_' || c == '+';
    let longest = line.split(|c| !part_of_key(c)).map(str::len).max().unwrap_or_default();
    named || digits >= 12 || longest >= 40
}

/// Whether a line that nothing is known of names a secret, or a place that may carry one.
fn hints_at_secret(line: &str) -> bool {
    let lower = line.to_lowercase();
    ["url", "://", "token", "pass", "pw", "key", "auth", "dsn"].iter().any(|hint| lower.contains(hint))
}

/// The columns a character takes on a terminal; a tab is shown as one blank.
fn width(character: char) -> usize {
    let wide = matches!(character,
        '\u{1100}'..='\u{115f}' | '\u{2e80}'..='\u{a4cf}' | '\u{ac00}'..='\u{d7a3}' | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}' | '\u{ff00}'..='\u{ff60}' | '\u{ffe0}'..='\u{ffe6}' | '\u{1f300}'..='\u{1f64f}'
        | '\u{1f680}'..='\u{1f6ff}' | '\u{1f900}'..='\u{1faff}' | '\u{20000}'..='\u{3fffd}');
    let narrowless =
        matches!(character, '\u{300}'..='\u{36f}' | '\u{200b}'..='\u{200f}' | '\u{fe00}'..='\u{fe0f}');
    if wide { 2 } else { usize::from(!narrowless) }
}

/// The character, or something harmless of the same width: a terminal must not obey what a file says.
fn printable(character: char) -> char {
    match character {
        '\t' => ' ',
        control if control.is_control() => '\u{fffd}',
        other => other,
    }
}

/// A complaint and the file that it is about.
struct Located<'c> {
    complaint: &'c Complaint,
    path: &'c Path,
}

impl fmt::Display for Located<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.complaint.write(self.path, f)
    }
}

impl Complaint {
    /// The complaint as [`super::Faults`] prints it among others.
    #[must_use]
    pub fn in_file(&self, path: &Path) -> String {
        Located { complaint: self, path }.to_string()
    }

    /// The complaint with the file's name before it, over one line, or three with the file's own.
    pub(super) fn write(&self, path: &Path, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", path.display(), self.place)?;
        if let Some(key) = &self.key {
            write!(f, "`{key}` ")?;
        }
        f.write_str(&self.what)?;
        let Some(Excerpt { line, underline }) = &self.excerpt else { return Ok(()) };
        let number = self.place.line.to_string();
        let (margin, before) = (number.len(), underline.start);
        let carets = "^".repeat(underline.len());
        write!(f, "\n{number} | {line}\n{:margin$} | {:before$}{carets}", "", "")
    }
}
