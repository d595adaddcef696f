//! Text of others, made harmless: what a terminal, the journal or systemd would obey, and what a reader cannot see,
//! is shown as an escape.
//!
//! Escapes are `\n`, `\r`, `\t`, `\x1b` (ASCII), `\u{202e}` (any other character) and, in a name, `\xff` (a byte that is
//! no UTF-8). A backslash of the text stays one backslash, so that text may pass twice and does not change; only in a
//! name is it doubled, so that each name is shown in a way of its own.

use std::ffi::OsStr;
use std::fmt::{self, Display, Write as _};
use std::os::unix::ffi::OsStrExt as _;

/// One line without control characters, invisible characters, or characters that change the direction of writing.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub(crate) struct Printable(String);

impl Printable {
    /// One line of text. Text that is harmless already does not change.
    pub(crate) fn text(text: &str) -> Self {
        let mut line = String::with_capacity(text.len());
        text.chars().for_each(|character| push(&mut line, character));
        Self(line)
    }

    /// One line of what a value shows of itself.
    pub(crate) fn of(value: impl Display) -> Self {
        Self::text(&value.to_string())
    }

    /// A name of a file, or a path: no two names look the same.
    pub(crate) fn name(name: impl AsRef<OsStr>) -> Self {
        let mut line = String::new();
        for chunk in name.as_ref().as_bytes().utf8_chunks() {
            for character in chunk.valid().chars() {
                match character {
                    '\\' => line.push_str(r"\\"),
                    _ => push(&mut line, character),
                }
            }
            for byte in chunk.invalid() {
                let _ = write!(line, r"\x{byte:02x}");
            }
        }
        Self(line)
    }

    /// Text of several lines, line by line: for a layout of our own whose parts hold no line break.
    pub(crate) fn lines(text: &str) -> Vec<Self> {
        text.lines().map(Self::text).collect()
    }

    /// Its first characters and `…`, if it is longer than `max` characters.
    pub(crate) fn shortened(self, max: usize) -> Self {
        if self.0.chars().nth(max).is_none() {
            return self;
        }
        let head: String = self.0.chars().take(max.saturating_sub(1)).collect();
        Self(head + "…")
    }

    /// The text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Display for Printable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A JSON document with the escapes that JSON has: whoever reads it gets every string as it was.
pub(crate) fn json(document: &str) -> String {
    let mut json = String::with_capacity(document.len());
    for character in document.chars() {
        // A serializer leaves no control character in a string but those from U+007F on; a line break is layout.
        if character == '\n' || !is_harmful(character) {
            json.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                let _ = write!(json, r"\u{unit:04x}");
            }
        }
    }
    json
}

fn push(line: &mut String, character: char) {
    let _ = match character {
        _ if !is_harmful(character) => line.write_char(character),
        '\n' => line.write_str(r"\n"),
        '\r' => line.write_str(r"\r"),
        '\t' => line.write_str(r"\t"),
        _ if character.is_ascii() => write!(line, r"\x{:02x}", u32::from(character)),
        _ => write!(line, r"\u{{{:x}}}", u32::from(character)),
    };
}

/// Whether a character acts on what shows it, hides from the reader, or may stand in no text.
fn is_harmful(character: char) -> bool {
    // The last two of each plane are no characters: the journal takes a line with one for binary.
    character.is_control()
        || u32::from(character) & 0xfffe == 0xfffe
        || matches!(character,
            // Soft hyphen, fillers, Mongolian selectors.
            '\u{ad}' | '\u{34f}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{3164}' | '\u{ffa0}'
            // Marks, embeddings, overrides and isolates of direction; zero width; line and paragraph separators.
            | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            // No characters, annotations, musical formats, tags and selectors.
            | '\u{fdd0}'..='\u{fdef}' | '\u{fff9}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_a_terminal_obeys_is_shown() {
        assert_eq!(
            Printable::text("a\nb\tc\r\u{1b}[31m\u{8}\u{7f}\u{9b}2J").as_str(),
            r"a\nb\tc\r\x1b[31m\x08\x7f\u{9b}2J"
        );
    }

    #[test]
    fn what_turns_or_hides_text_is_shown() {
        for character in
            "\u{61c}\u{200b}\u{200e}\u{200f}\u{202a}\u{202e}\u{2028}\u{2029}\u{2060}\u{2064}\u{2066}\u{2069}\u{feff}\
            \u{fff9}\u{fffb}\u{fffe}\u{ffff}\u{fdd0}\u{ad}\u{e0000}\u{e0041}\u{e007f}\u{1ffff}"
                .chars()
        {
            assert_eq!(
                Printable::text(&format!("a{character}b")).as_str(),
                format!(r"a\u{{{:x}}}b", u32::from(character))
            );
        }
    }

    #[test]
    fn words_of_any_language_stay() {
        let text = r"Ёлка, naïve, 日本語, עברית, 🙂, C:\new “quoted” 'x'";
        assert_eq!(Printable::text(text).as_str(), text);
        let decomposed = "и\u{306}";
        assert_eq!(Printable::text(decomposed).as_str(), decomposed);
    }

    #[test]
    fn a_name_of_bytes_is_shown() {
        assert_eq!(
            Printable::name(OsStr::from_bytes(b"a\xff\xc3(\\n\n\xe2\x82")).as_str(),
            r"a\xff\xc3(\\n\n\xe2\x82"
        );
    }

    #[test]
    fn a_layout_keeps_its_lines() {
        let lines = Printable::lines("a\u{1b}\n  ^\t\n");
        assert_eq!(lines.iter().map(Printable::as_str).collect::<Vec<_>>(), [r"a\x1b", r"  ^\t"]);
    }

    #[test]
    fn long_text_shows_its_head() {
        assert_eq!(Printable::text("абвг").shortened(4).as_str(), "абвг");
        assert_eq!(Printable::text("абвгд").shortened(4).as_str(), "абв…");
    }

    proptest! {
        #[test]
        fn nothing_harmful_is_left(text in any::<String>()) {
            prop_assert!(!Printable::text(&text).as_str().contains(is_harmful));
        }

        #[test]
        fn text_may_pass_twice(text in any::<String>()) {
            let once = Printable::text(&text);
            prop_assert_eq!(Printable::text(once.as_str()), once);
        }

        #[test]
        fn no_two_names_look_the_same(
            one in proptest::collection::vec(prop_oneof![any::<u8>(), proptest::sample::select(b"\\nx0{}\n".to_vec())], 0..6),
            two in proptest::collection::vec(prop_oneof![any::<u8>(), proptest::sample::select(b"\\nx0{}\n".to_vec())], 0..6),
        ) {
            let shown = |bytes: &[u8]| Printable::name(OsStr::from_bytes(bytes));
            prop_assert_eq!(shown(&one) == shown(&two), one == two);
            prop_assert!(!shown(&one).as_str().contains(is_harmful));
        }

        #[test]
        fn json_says_what_it_said(text in any::<String>()) {
            let value = serde_json::json!({ "name": text });
            let json = json(&serde_json::to_string_pretty(&value).unwrap());
            prop_assert!(!json.replace('\n', "").contains(is_harmful));
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap(), value);
        }
    }
}
