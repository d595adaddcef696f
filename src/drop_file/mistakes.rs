//! The commonest mistakes, called by their name: another encoding, another format, quotes of a word processor.
//!
//! Asked only about files, or lines, that are wrong in any case: nothing here refuses a file that TOML takes.

use super::fault::{Fault, FaultKind, Key};
use crate::place::Place;
use std::ops::Range;

/// Bytes of Windows-1251 that stand for punctuation and the like in Russian text: „…“”–— space « » Ё ё № °.
const PUNCTUATION_1251: [u8; 13] =
    [0x84, 0x85, 0x93, 0x94, 0x96, 0x97, 0xa0, 0xa8, 0xab, 0xb0, 0xb8, 0xb9, 0xbb];

/// From here on are the letters of Windows-1251.
const LETTERS_1251: u8 = 0xc0;

/// Fewer letters than this could be anything.
const LETTERS_TO_TELL: usize = 3;

/// The text, without a byte order mark at its beginning, or what keeps these bytes from being one.
pub(super) fn decode(bytes: &[u8]) -> Result<&str, Fault> {
    let zeros = bytes.iter().take(512).filter(|byte| **byte == 0).count();
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") || zeros * 4 > bytes.len().min(512) {
        return Err(Fault::of_file(FaultKind::Utf16));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let valid = std::str::from_utf8(&bytes[..error.valid_up_to()]).expect("valid up to there");
        let kind = if looks_like_1251(bytes) { FaultKind::Windows1251 } else { FaultKind::NotUtf8 };
        Fault::new(Place::of(valid, valid.len()), kind)
    })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

fn looks_like_1251(bytes: &[u8]) -> bool {
    let mut foreign = bytes.iter().filter(|byte| !byte.is_ascii());
    let letters = foreign.clone().filter(|byte| **byte >= LETTERS_1251).count();
    letters >= LETTERS_TO_TELL && foreign.all(|byte| *byte >= LETTERS_1251 || PUNCTUATION_1251.contains(byte))
}

/// Another format that the text is in, and the offset that shows it.
pub(super) fn other_format(text: &str) -> Option<(usize, FaultKind)> {
    let start = text.len() - text.trim_start().len();
    let rest = &text[start..];
    let list = rest.strip_prefix('[').map(str::trim_start);
    if rest.starts_with('{')
        || list.is_some_and(|items| items.starts_with(['{', '"', ']']) && rest.contains(':'))
    {
        return Some((start, FaultKind::Json));
    }
    let lines = || lines(text).filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let is_toml = |line: &str| line.starts_with("[[") || keys(line, '=');
    if lines().any(|(_, line)| is_toml(line)) {
        return None;
    }
    if let Some((at, _)) = lines().find(|(_, line)| keys(line, ':')) {
        return Some((at, FaultKind::Yaml));
    }
    let (at, first) = lines().next()?;
    (first.contains([',', ';', '\t']) && !text.contains('=')).then_some((at, FaultKind::Csv))
}

/// Whether a line is one of our keys, a dash and quotes allowed, and then this sign.
fn keys(line: &str, sign: char) -> bool {
    let line = line.trim_start_matches(['-', ' ', '"', '\'']);
    [Key::User, Key::Token, Key::Remove, Key::List].into_iter().any(|key| {
        line.strip_prefix(key.name())
            .is_some_and(|rest| rest.trim_start_matches(['"', '\'']).trim_start().starts_with(sign))
    })
}

/// Each line with the offset of its first character that is no space, and without the spaces around it.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.split_inclusive('\n').scan(0, |next, line| {
        let at = *next + (line.len() - line.trim_start().len());
        *next += line.len();
        Some((at, line.trim()))
    })
}

/// The line that the byte at this offset is in, its end included.
pub(super) fn line_at(text: &str, offset: usize) -> Range<usize> {
    let offset = offset.min(text.len());
    let bytes = text.as_bytes();
    let start = bytes[..offset].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let end = bytes[offset..].iter().position(|byte| *byte == b'\n').map_or(text.len(), |at| offset + at);
    start..end + 1
}

/// What is wrong with the line that TOML stumbles over at this offset, and where.
pub(super) fn in_line(text: &str, range: &Range<usize>, offset: usize) -> (usize, FaultKind) {
    let (start, line) = (range.start, &text[range.start..range.end.min(text.len())]);
    if let Some(at) = line.find(['“', '”', '„', '‟', '«', '»', '‘', '’', '‚', '‛', '″', '′'])
    {
        return (start + at, FaultKind::CurlyQuotes);
    }
    if let Some(at) = line.find('\u{feff}') {
        return (start + at, FaultKind::ByteOrderMark);
    }
    let value = line
        .trim_start()
        .strip_prefix(Key::Token.name())
        .and_then(|rest| rest.trim_start().strip_prefix('='))
        .map(str::trim_start);
    match value {
        Some(value) if value.starts_with(|c: char| c.is_ascii_alphanumeric()) => {
            (start + line.len() - value.len(), FaultKind::Unquoted)
        }
        _ => (offset, FaultKind::NotToml),
    }
}
