//! Percent-encoding (RFC 3986, section 2.1), for the two places where relinkd needs it.

use std::fmt::Write as _;

/// What is left in the value of `redirect`: what may stand in a query (RFC 3986, section 3.4) but `&`, `;`, `#`, `+` and
/// `%`. Some servers split a query at `;`.
pub(super) const REDIRECT: &[u8] = b"!$'()*,=:@/?";

/// Encodes all of a text but the unreserved characters and these.
pub(super) fn encode(text: &str, left: &[u8]) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || left.contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// Decodes a text once. What would decode to a character that `keep` names, or to no character, stays as it is; so does
/// a `%` that begins no escape.
pub(super) fn decode(text: &str, keep: impl Fn(char) -> bool) -> String {
    let bytes = text.as_bytes();
    let mut decoded = String::with_capacity(text.len());
    let mut at = 0;
    while at < bytes.len() {
        match escaped_char(&bytes[at..]) {
            Some((character, length)) if !keep(character) => {
                decoded.push(character);
                at += length;
            }
            Some((_, length)) => {
                decoded.push_str(&text[at..at + length]);
                at += length;
            }
            None => {
                let character = text[at..].chars().next().expect("`at` is before the end, on a boundary");
                decoded.push(character);
                at += character.len_utf8();
            }
        }
    }
    decoded
}

/// The character that the escapes at the start stand for, and how many bytes they take.
pub(super) fn escaped_char(bytes: &[u8]) -> Option<(char, usize)> {
    let first = escaped_byte(bytes)?;
    let length = match first {
        0x00..=0x7f => 1,
        0xc0..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf7 => 4,
        _ => return None,
    };
    let mut utf8 = [0_u8; 4];
    for (index, slot) in utf8.iter_mut().take(length).enumerate() {
        *slot = escaped_byte(bytes.get(index * 3..)?)?;
    }
    let character = std::str::from_utf8(&utf8[..length]).ok()?.chars().next()?;
    Some((character, length * 3))
}

fn escaped_byte(bytes: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = bytes else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(*high)? * 16 + digit(*low)?)
}
