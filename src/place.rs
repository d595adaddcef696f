//! Where a byte stands in a text, as a person counts: line and column, both from 1.
//!
//! A column counts characters, not bytes, as editors do; `\r\n` is one line end. Whoever needs many places of one text
//! asks a [`LineIndex`], which counts the text once.

use std::fmt;

/// A line and a column, both counted from 1. It prints as `line:column`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    /// The line.
    pub line: usize,
    /// The character in the line.
    pub column: usize,
}

impl Place {
    /// The beginning of any text: what to cite for a fault of the whole.
    pub(crate) const START: Self = Self { line: 1, column: 1 };

    /// The place of the byte at `byte_offset`. Inside a character it is that character's place; beyond the text, the
    /// text's end.
    pub(crate) fn of(text: &str, byte_offset: usize) -> Self {
        LineIndex::of(text).place(byte_offset)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// The bytes between two counts of [`LineIndex`].
const STRIDE: usize = 1024;

/// A text with its lines and characters counted, so that a place costs no second walk over the text: a megabyte on a
/// single line with ten thousand places is no trouble.
#[derive(Clone)]
pub(crate) struct LineIndex<'t> {
    text: &'t str,
    /// The offset at which each line begins.
    starts: Vec<usize>,
    /// How many characters begin before each multiple of [`STRIDE`].
    counts: Vec<usize>,
}

impl<'t> LineIndex<'t> {
    /// Counts `text`.
    pub(crate) fn of(text: &'t str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        let counts = text
            .as_bytes()
            .chunks(STRIDE)
            .scan(0, |sum, chunk| {
                let before = *sum;
                *sum += characters(chunk);
                Some(before)
            })
            .collect();
        Self { text, starts, counts }
    }

    /// As [`Place::of`].
    pub(crate) fn place(&self, byte_offset: usize) -> Place {
        let offset = self.character_start(byte_offset);
        let line = self.starts.partition_point(|start| *start <= offset);
        let column = self.characters_before(offset) - self.characters_before(self.starts[line - 1]) + 1;
        Place { line, column }
    }

    /// The offset of the character, or line end, that `offset` falls into.
    fn character_start(&self, offset: usize) -> usize {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        let before_newline = self.text[..offset].ends_with('\r') && self.text[offset..].starts_with('\n');
        offset - usize::from(before_newline)
    }

    fn characters_before(&self, offset: usize) -> usize {
        let Some(counted) = self.counts.get(offset / STRIDE) else {
            // The end of a text that fills its last stride, or an empty one.
            return self.text.chars().count();
        };
        counted + characters(&self.text.as_bytes()[offset - offset % STRIDE..offset])
    }
}

/// How many characters begin in these bytes of a UTF-8 text.
fn characters(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte & 0xc0 != 0x80).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn counts_as_a_person_does() {
        let cases = [
            ("", 0, "1:1"),
            ("abc", 0, "1:1"),
            ("abc", 2, "1:3"),
            ("abc", 3, "1:4"),
            ("abc", 99, "1:4"),
            ("a\nb", 1, "1:2"),
            ("a\nb", 2, "2:1"),
            ("a\n", 2, "2:1"),
            ("\n\n\nx", 3, "4:1"),
            ("a\r\nb", 1, "1:2"),
            ("a\r\nb", 2, "1:2"),
            ("a\r\nb", 3, "2:1"),
            ("a\rb", 2, "1:3"),
            ("\r\r\n", 2, "1:2"),
            ("ключ = 1", 11, "1:8"),
            ("ключ", 3, "1:2"),
            ("я\n🔑x", 7, "2:2"),
            ("я\n🔑x", 5, "2:1"),
        ];
        for (text, offset, place) in cases {
            assert_eq!(Place::of(text, offset).to_string(), place, "{text:?} at {offset}");
        }
        assert_eq!(Place::of("x", 0), Place::START);
    }

    #[test]
    fn counts_beyond_a_stride() {
        let text = format!("\n{}x", "я".repeat(STRIDE));
        assert_eq!(Place::of(&text, text.len() - 1), Place { line: 2, column: STRIDE + 1 });
        let full = "y".repeat(2 * STRIDE);
        assert_eq!(Place::of(&full, full.len()), Place { line: 1, column: 2 * STRIDE + 1 });
    }

    #[test]
    fn places_sort_by_line_first() {
        assert!(Place { line: 1, column: 9 } < Place { line: 2, column: 1 });
    }

    proptest! {
        #[test]
        fn agrees_with_counting_by_hand(
            parts in prop::collection::vec("[aя🔑]{0,400}(\n|\r\n)", 0..12),
            at in any::<prop::sample::Index>(),
        ) {
            let text = parts.concat();
            let starts: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
            let offset = starts[at.index(starts.len())];
            let before = &text[..offset];
            let inside_line_end = before.ends_with('\r');
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap().chars().count() + 1 - usize::from(inside_line_end);
            prop_assert_eq!(Place::of(&text, offset), Place { line, column });
        }
    }
}
