//! Links for people to see: what a link may give away is masked, whoever's host it is.
//!
//! A link may stand in a parameter of another one, encoded once for each link around it. So every character is read as
//! what it stands for in the end, with the number of times it was encoded: a value ends at a delimiter that was encoded
//! no more often than its own `=`.

use super::percent;
use super::read::nothing;
use crate::printable::Printable;

/// Names with one of these in them hint at a secret, whatever stands around it.
const PARTS: &str = "token secret passw passphrase pwd apikey session sessid signature credential authoriz authoris \
                     oauth bearer cookie jwt hmac csrf xsrf токен парол секрет";
/// Words that hint at a secret where they stand alone, or between `_`, `-`, `.`, brackets and capitals.
const WORDS: [&str; 6] = ["sig", "sid", "pass", "pin", "otp", "hash"];
/// Segments of a path behind which a token may stand.
const LOGIN_SEGMENTS: [&str; 5] = ["login", "signin", "sign_in", "auth", "token"];
/// So long a segment may be a token, or enough of one.
const LONG_SEGMENT: usize = 8;
/// Whoever encodes a link more often than this gets no characters of a secret shown.
const DEEPEST: u32 = 16;

/// A link, with the values under names that hint at a secret masked, and passwords before a host.
pub(crate) fn mask(link: &str) -> Printable {
    masked_whole(link, false)
}

/// The same for a sentence that may quote links: a value ends at a space, too.
pub(crate) fn mask_text(sentence: &str) -> Printable {
    masked_whole(sentence, true)
}

/// How often a text is gone through at most. Nothing is shown of one that still hides more then.
const ROUNDS: usize = 8;

/// A value that is masked no longer ends what stands around it (a backslash in it, for one): what is a value only then is
/// masked, too.
fn masked_whole(written: &str, space_ends: bool) -> Printable {
    let mut shown = masked(written, space_ends);
    for _ in 1..ROUNDS {
        let again = masked(shown.as_str(), space_ends);
        if again == shown {
            return shown;
        }
        shown = again;
    }
    Printable::text("…")
}

fn masked(written: &str, space_ends: bool) -> Printable {
    let text = Printable::text(written);
    let text = text.as_str();
    let reading = Reading { units: units(text), space_ends };
    let mut masked = String::with_capacity(text.len());
    let (mut at, mut copied) = (0, 0);
    while at < reading.units.len() {
        let Some(secret) = reading.secret_at(at) else {
            at += 1;
            continue;
        };
        let (start, end) = (reading.offset(secret.start, text), reading.offset(secret.end, text));
        masked.push_str(&text[copied..start]);
        if is_masked(&text[start..end]) {
            masked.push_str(&text[start..end]);
        } else {
            masked.push_str(&hint(&text[start..reading.offset(secret.shown_end, text)], secret.depth));
        }
        copied = end;
        at = secret.end;
    }
    masked.push_str(&text[copied..]);
    Printable::text(&masked)
}

/// The first four characters of a value of 12 or more, and `…`: as [`crate::token::Token::masked`], percent-encoded.
fn hint(value: &str, depth: u32) -> String {
    if depth > DEEPEST {
        return "…".to_owned();
    }
    let value = (0..=depth).fold(value.to_owned(), |text, _| percent::decode(&text, nothing));
    let shown: String =
        if value.chars().count() >= 12 { value.chars().take(4).collect() } else { String::new() };
    percent::encode(&shown, b"") + "…"
}

/// Whether a value is a hint already.
fn is_masked(value: &str) -> bool {
    value.strip_suffix('…').is_some_and(|shown| {
        shown.is_ascii() && [0, 4].contains(&percent::decode(shown, nothing).chars().count())
    })
}

/// What one byte of a text stands for, in the end.
struct Unit {
    byte: u8,
    /// How often it was encoded.
    depth: u32,
    /// Where it begins in the text.
    start: usize,
}

fn units(text: &str) -> Vec<Unit> {
    let mut units = Vec::with_capacity(text.len());
    for (start, byte) in text.bytes().enumerate() {
        units.push(Unit { byte, depth: 0, start });
        while let Some(unit) = last_escape(&units) {
            units.truncate(units.len() - 3);
            units.push(unit);
        }
    }
    units
}

fn last_escape(units: &[Unit]) -> Option<Unit> {
    let [.., percent, high, low] = units else { return None };
    let digit = |unit: &Unit| char::from(unit.byte).to_digit(16);
    let byte = u8::try_from(digit(high)? * 16 + digit(low)?).ok()?;
    let depth = percent.depth.max(high.depth).max(low.depth) + 1;
    (percent.byte == b'%').then_some(Unit { byte, depth, start: percent.start })
}

/// A value to mask: units from `start` to `end`.
struct Secret {
    start: usize,
    end: usize,
    /// Up to here it is surely the value; behind may stand what would make a short one look long.
    shown_end: usize,
    depth: u32,
}

struct Reading {
    units: Vec<Unit>,
    space_ends: bool,
}

impl Reading {
    fn offset(&self, unit: usize, text: &str) -> usize {
        self.units.get(unit).map_or(text.len(), |unit| unit.start)
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.units.get(at).map(|unit| unit.byte)
    }

    /// The value whose `=`, `:` or `//` is here.
    fn secret_at(&self, at: usize) -> Option<Secret> {
        match self.byte(at)? {
            b'=' => self.parameter(at),
            b':' => self.member(at),
            b'/' => self.user(at).or_else(|| self.segment(at)),
            _ => None,
        }
        .filter(|secret| secret.start < secret.end)
    }

    /// `name=value`
    fn parameter(&self, equals: usize) -> Option<Secret> {
        let blanks = self.units[..equals].iter().rev().take_while(|unit| b" +".contains(&unit.byte)).count();
        let name = self.name(equals - blanks);
        let around = name.start.checked_sub(1).map_or(0, |before| self.units[before].depth);
        let depth = self.units[equals].depth;
        self.hints(name).then(|| {
            let start = equals + 1;
            let end = self.first(start, depth, |byte| byte == b'&' || byte == b'#');
            // An `=` that was not encoded though what stands around it was.
            let depth = depth.max(around);
            let ends = |byte: u8| b"&#;,\"<>\\ ".contains(&byte);
            Secret { start, end, shown_end: self.first(start, depth, ends).min(end), depth }
        })
    }

    /// `"name": "value"`, the quotes escaped or not.
    fn member(&self, colon: usize) -> Option<Secret> {
        let is_quote = |at: usize| self.byte(at).is_some_and(|byte| b"\"'".contains(&byte));
        let quote = colon.checked_sub(1).filter(|before| is_quote(*before))?;
        let depth = self.units[quote].depth;
        let escapes = self.units[..quote].iter().rev().take_while(|unit| unit.byte == b'\\').count();
        self.hints(self.name(quote - escapes)).then(|| {
            let blanks = self.units[colon + 1..].iter().take_while(|unit| b" +".contains(&unit.byte)).count();
            let start = colon + 1 + blanks;
            let (start, ends): (usize, &[u8]) =
                if is_quote(start) { (start + 1, b"\"'&#") } else { (start, b",}]&#") };
            let end = self.first(start, depth, |byte| ends.contains(&byte));
            Secret { start, end, shown_end: end, depth }
        })
    }

    /// `//user:password@`, or `//user@` with a user that may be a token.
    fn user(&self, slash: usize) -> Option<Secret> {
        let begins = slash.checked_sub(1).is_none_or(|before| b":=".contains(&self.units[before].byte));
        if !begins || self.byte(slash + 1) != Some(b'/') {
            return None;
        }
        let (start, depth) = (slash + 2, self.units[slash + 1].depth);
        let authority = &self.units[start..self.first(start, depth, |byte| b"/?#\\".contains(&byte))];
        let end = authority.iter().rposition(|unit| unit.byte == b'@')?;
        let colon = authority[..end].iter().position(|unit| unit.byte == b':');
        let (start, end) = (start + colon.map_or(0, |colon| colon + 1), start + end);
        Some(Secret { start, end, shown_end: end, depth })
    }

    /// `login/token`: a long segment of a path behind one that logs in.
    fn segment(&self, slash: usize) -> Option<Secret> {
        let before: Vec<u8> = self.units[self.name(slash)].iter().map(|unit| unit.byte).collect();
        if !LOGIN_SEGMENTS.iter().any(|login| before.eq_ignore_ascii_case(login.as_bytes())) {
            return None;
        }
        let (start, depth) = (slash + 1, self.units[slash].depth);
        let end = self.first(start, depth, |byte| b"/?#;&,\"<>\\ ".contains(&byte));
        (end - start >= LONG_SEGMENT).then_some(Secret { start, end, shown_end: end, depth })
    }

    /// The first unit from here that ends a value, encoded no more often than this.
    fn first(&self, start: usize, depth: u32, ends: impl Fn(u8) -> bool) -> usize {
        let ends =
            |unit: &Unit| unit.depth <= depth && (ends(unit.byte) || (self.space_ends && unit.byte == b' '));
        self.units[start..].iter().position(ends).map_or(self.units.len(), |length| start + length)
    }

    /// The name that ends before this unit, with the control characters in it: some readers pass over them.
    fn name(&self, end: usize) -> std::ops::Range<usize> {
        let is_name = |unit: &&Unit| {
            unit.byte.is_ascii_alphanumeric()
                || unit.byte.is_ascii_control()
                || unit.byte >= 0x80
                || b"_-.[]~$\\{}".contains(&unit.byte)
        };
        end - self.units[..end].iter().rev().take_while(is_name).count()..end
    }

    fn hints(&self, name: std::ops::Range<usize>) -> bool {
        let bytes: Vec<u8> = self.units[name].iter().map(|unit| unit.byte).collect();
        let text = String::from_utf8_lossy(&bytes);
        hints(&text) || text.contains('\\') && hints(&without_escapes(&text))
    }
}

/// A name with a blank for every escape that [`Printable`] shows a character as.
fn without_escapes(name: &str) -> String {
    let mut parts = name.split('\\');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let length = match part.as_bytes() {
            [b'n' | b'r' | b't', ..] => 1,
            [b'x', ..] => 3,
            [b'u', b'{', ..] => part.find('}').map_or(0, |end| end + 1),
            _ => 0,
        };
        text.push(' ');
        text.push_str(part.get(length..).unwrap_or_default());
    }
    text
}

/// Whether a name hints at a secret.
fn hints(name: &str) -> bool {
    let mut spaced = String::with_capacity(name.len());
    let mut before = ' ';
    for character in name.chars() {
        if before.is_lowercase() && character.is_uppercase() {
            spaced.push(' ');
        }
        spaced.extend(if character.is_alphanumeric() { character } else { ' ' }.to_lowercase());
        before = character;
    }
    let whole = spaced.replace(' ', "");
    PARTS.split(' ').any(|part| whole.contains(part))
        || spaced.split(' ').map(|word| word.trim_end_matches(|c: char| c.is_ascii_digit())).any(|word| {
            WORDS.contains(&word)
                || ["key", "keys", "code", "auth"].iter().any(|end| word.ends_with(end))
                || word.starts_with("auth") && !word.starts_with("author")
        })
}
