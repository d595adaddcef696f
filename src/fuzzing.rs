//! What the fuzz targets in `fuzz/` call: one function each, with what has to hold whatever the input is. It is built for
//! the fuzzer and the tests alone; the tests go through the inputs that are kept in `fuzz/corpus`.
//!
//! A byte 1 in the input stands for [`SECRET`], so that a message which quotes what it must not is noticed.

use crate::drop_file::{self, Assignment, DropFile, Faulty};
use crate::envelope::{self, Key, KeyId, Keyring, MAX_SEALED_LEN, TokenState, UnusableReason};
use crate::link::{self, Origin, Portal, Tokenless};
use crate::token::{Token, TokenFault, TokenRule};
use crate::{config, keyring_file};
use std::collections::HashSet;
use std::ops::Range;
use std::sync::LazyLock;
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use url::Url;

/// It can be no word of a message and no id of a key.
const SECRET: &str = "S7-Qx9-K4";
/// Whoever sees this much of it has seen it.
const MUCH: usize = 4;

const HOSTS: [&str; 3] = ["yapomogu55.okdesk.ru", "help.example.org", "xn--80awhdgm.xn--p1ai"];

static PORTAL: LazyLock<Portal> = LazyLock::new(|| {
    let origin = |text| Origin::parse(text).expect("an origin");
    let aliases = ["http://help.example.org:8443", "https://xn--80awhdgm.xn--p1ai"];
    Portal::new(origin("https://yapomogu55.okdesk.ru"), aliases.map(origin).into())
});

static RING: LazyLock<Keyring> = LazyLock::new(|| {
    let kid = KeyId::parse("k2026a").expect("an id");
    let key = Key::parse("iRdO7hVMhiSBvbVpaKp5rAk7uNYVPRhUNh0Tr9bIqNA").expect("a key");
    Keyring::new(kid.clone(), [(kid, key)].into(), [].into()).expect("a ring")
});

/// A token, a line break, and a link.
pub fn link(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (token, written) = text.split_once('\n').unwrap_or(("7812-5733-8392-7092", text));
    let Ok(token) = Token::parse(token) else { return };
    let portal = &*PORTAL;
    let state = TokenState::Plaintext(token.clone());
    let unusable = TokenState::Unusable(UnusableReason::Plaintext(TokenFault::TooLong));
    let decide = |written: &str, state, strip| link::decide(portal, written, state, Tokenless::Plain, strip);
    let right = |written: &str, state| decide(written, state, false).unwrap_or_else(|| written.to_owned());

    for shown in [link::mask(written), link::mask_text(written)] {
        assert!(!shown.as_str().contains(char::is_control));
    }
    let masked = link::mask(written);
    assert_eq!(link::mask(masked.as_str()), masked, "masking twice is masking once");

    let Some(read) = portal.read(written) else {
        for state in [&state, &TokenState::None, &unusable] {
            assert_eq!(decide(written, state, true), None, "what is not ours is left");
        }
        return;
    };
    let url = Url::parse(written).expect("what is ours is a URL to others, too");
    assert!(HOSTS.contains(&url.host_str().unwrap_or_default()), "ours, and elsewhere to others: {url}");
    assert!(url.username().is_empty() && url.password().is_none());

    let login = right(written, &state);
    stays_on_the_portal(&login, Some(&token), &read.number);
    let plain = right(written, &TokenState::None);
    stays_on_the_portal(&plain, None, &read.number);
    assert_eq!(right(&login, &state), login, "rewriting twice is rewriting once");
    assert_eq!(right(&plain, &TokenState::None), plain);
    assert_eq!(right(&login, &TokenState::None), plain, "the plain form comes back");
    let carried = portal.read(&login).and_then(|link| link.token).expect("a login link carries it");
    assert_eq!(carried.as_str(), token.expose());
    let stripped = decide(written, &unusable, true);
    assert_eq!(stripped, read.token.is_some().then_some(plain), "a token goes, and nothing else");
}

/// What the `url` crate, which reads as browsers do (WHATWG URL), makes of a link that relinkd has written.
fn stays_on_the_portal(written: &str, token: Option<&Token>, number: &str) {
    let url = Url::parse(written).expect("a URL");
    let on_the_portal = |url: &Url| {
        url.scheme() == "https"
            && url.host_str() == Some("yapomogu55.okdesk.ru")
            && url.port().is_none()
            && url.username().is_empty()
            && url.password().is_none()
    };
    assert!(on_the_portal(&url), "{url}");
    let Some(token) = token else {
        assert_eq!(url.path(), format!("/issues/{number}"));
        return;
    };
    assert_eq!((url.path(), url.fragment()), ("/login", None));
    assert!(!written.contains(';'), "some portals split there");
    let query: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let [(first, value), (second, redirect)] = &query[..] else { panic!("two parameters, not {query:?}") };
    assert_eq!((first.as_str(), second.as_str()), ("token", "redirect"));
    assert_eq!(value, token.expose());
    let target = url.join(redirect).expect("a URL");
    assert!(on_the_portal(&target), "{target}");
    assert_eq!(target.path(), format!("/issues/{number}"));
}

/// A drop file.
pub fn drop_file(input: &[u8]) {
    let bytes = with_secret(input);
    if let Some(assignments) = read(drop_file::parse(&bytes, &TokenRule::default())) {
        let again: String = assignments.iter().map(assignment).collect();
        let again = drop_file::parse(again.as_bytes(), &TokenRule::default()).expect("as it was read");
        assert_eq!(again.assignments, assignments);
    }
}

/// A table of `token import`; its first line may be `--columns USER,TOKEN`.
pub fn csv(input: &[u8]) {
    let bytes = with_secret(input);
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let columns = std::str::from_utf8(line).ok().and_then(|line| line.strip_prefix("--columns "));
    let (columns, table) = match columns.map(str::parse) {
        Some(Ok(columns)) => (Some(columns), bytes.get(line.len() + 1..).unwrap_or_default()),
        Some(Err(message)) => return hides_the_secret(message),
        None => (None, &bytes[..]),
    };
    let file = drop_file::parse_spreadsheet(table, &TokenRule::default(), columns.as_ref());
    if let Some(assignments) = read(file) {
        let again: String = assignments.iter().map(row).collect();
        let again = format!("telegram_id,token\n{again}");
        let again = drop_file::parse_spreadsheet(again.as_bytes(), &TokenRule::default(), None);
        assert_eq!(again.expect("as it was read").assignments, assignments);
    }
}

/// The assignments of a file that is in order; of another one nothing but that its faults hide what is in it.
fn read(file: Result<DropFile, Faulty>) -> Option<Vec<Assignment>> {
    match file {
        Ok(file) => {
            let assignments = &file.assignments;
            let users: HashSet<i64> = assignments.iter().map(|it| it.telegram_id).collect();
            assert_eq!(users.len(), assignments.len(), "no user stands twice");
            assert!(!assignments.is_empty());
            hides_the_secret(&format!("{file:?}"));
            Some(file.assignments)
        }
        Err(faulty) => {
            assert!(!faulty.faults.is_empty());
            assert!(faulty.faults.is_sorted_by_key(|fault| fault.place.line));
            for fault in &faulty.faults {
                hides_the_secret(&fault.in_two_languages());
            }
            hides_the_secret(&format!("{faulty:?}"));
            None
        }
    }
}

fn assignment(assignment: &Assignment) -> String {
    let change = match &assignment.token {
        Some(token) => format!("token = \"{}\"", token.expose().replace('\\', r"\\").replace('"', "\\\"")),
        None => "remove = true".to_owned(),
    };
    format!("[[assignment]]\ntelegram_id = {}\n{change}\n", assignment.telegram_id)
}

fn row(assignment: &Assignment) -> String {
    let Some(token) = &assignment.token else { panic!("no table removes") };
    format!("{},\"{}\"\n", assignment.telegram_id, token.expose().replace('"', "\"\""))
}

/// A `telegram_id` (8 bytes), then what to do with the rest: read it as a column's value, seal it and open it, or seal it
/// and damage it.
pub fn sealed(input: &[u8]) {
    let Some((id, [manner, rest @ ..])) = input.split_first_chunk() else { return };
    let (telegram_id, rule) = (i64::from_le_bytes(*id), TokenRule::default());
    let ring = &*RING;
    let column = match (manner % 3, std::str::from_utf8(&with_secret(rest))) {
        (0, Ok(text)) => text.to_owned(),
        (0, Err(_)) => return,
        (1, _) => {
            let sealed = envelope::seal_anything(ring, rest, telegram_id);
            let token = std::str::from_utf8(rest).ok().and_then(|text| Token::parse(text).ok());
            let opened = ring.open(&sealed, telegram_id).ok().map(|(token, _)| token);
            if sealed.len() <= MAX_SEALED_LEN {
                assert_eq!(opened, token, "what is no token does not come out");
            } else {
                assert_eq!(opened, None, "longer than anything that is written");
            }
            assert!(ring.open(&sealed, telegram_id.wrapping_add(1)).is_err(), "another row's");
            sealed
        }
        _ => {
            let [at, other, rest @ ..] = rest else { return };
            let sealed = envelope::seal_anything(ring, rest, telegram_id);
            let mut damaged = sealed.clone().into_bytes();
            let at = usize::from(*at) % damaged.len();
            damaged[at] = *other;
            let Ok(damaged) = String::from_utf8(damaged) else { return };
            assert!(damaged == sealed || ring.open(&damaged, telegram_id).is_err(), "damaged");
            damaged
        }
    };
    let read = ring.read(Some(&column), telegram_id, &rule);
    hides_the_secret(&format!("{read:?}"));
    match &read {
        TokenState::Unusable(reason) => hides_the_secret(&format!("{reason} {}", reason.code())),
        TokenState::None => assert!(column.is_empty()),
        TokenState::Plaintext(token) => assert_eq!(token.expose(), column),
        TokenState::Sealed { token, .. } => {
            let again = ring.seal(token, telegram_id).expect("there is randomness");
            assert_eq!(again.len(), column.len(), "there is one way to write it");
        }
    }
}

/// A configuration.
pub fn config(input: &[u8]) {
    let bytes = with_secret(input);
    let Ok(text) = std::str::from_utf8(&bytes) else { return };
    let Some(shown) = config::fault_of(text) else { return };
    assert!(!shown.contains(|c: char| c.is_control() && c != '\n'), "a terminal would obey it");
    let Ok(document) = DeTable::parse(text) else { return hides_the_secret(&shown) };
    let mut unseen = Vec::new();
    if let Some((name, database)) = document.get_ref().get_key_value("database") {
        unseen.push(name.span());
        spans(database, &mut unseen);
    }
    // What stands in another section, or in a comment, may be shown.
    if text.match_indices(SECRET).all(|(at, _)| unseen.iter().any(|span| span.contains(&at))) {
        hides_the_secret(&shown);
    }
}

/// Where the keys and values of a section stand.
fn spans(value: &Spanned<DeValue<'_>>, found: &mut Vec<Range<usize>>) {
    match value.get_ref() {
        DeValue::Table(table) => {
            for (name, value) in table {
                found.push(name.span());
                spans(value, found);
            }
        }
        _ => found.push(value.span()),
    }
}

/// A keyring file.
pub fn keyring(input: &[u8]) {
    let bytes = with_secret(input);
    let Ok(text) = std::str::from_utf8(&bytes) else { return };
    match keyring_file::read_text(text) {
        Ok(ring) => {
            let written = keyring_file::write_text(&ring);
            let again = keyring_file::read_text(&written).expect("as it was written");
            assert_eq!(*keyring_file::write_text(&again), *written);
            hides_the_secret(&format!("{ring:?}"));
        }
        Err(message) => hides_the_secret(&message),
    }
}

/// A `database.url`.
pub fn database_url(input: &[u8]) {
    let bytes = with_secret(input);
    let Ok(text) = std::str::from_utf8(&bytes) else { return };
    match config::Database::of_text(text) {
        Err(fault) => {
            hides_the_secret(&fault.to_string());
            hides_the_secret(&format!("{fault:?}"));
        }
        Ok(database) => {
            assert!(!database.hosts.is_empty());
            let is_password = database.password.as_ref().is_some_and(|it| it.expose().contains(SECRET));
            if is_password && text.matches(SECRET).count() == 1 {
                hides_the_secret(&format!("{database:?}"));
            }
        }
    }
}

/// Nothing where the input has a piece of the secret of its own: no message could be blamed for it.
fn with_secret(input: &[u8]) -> Vec<u8> {
    let pieces = || SECRET.as_bytes().windows(MUCH);
    if input.windows(MUCH).any(|window| pieces().any(|piece| piece == window)) {
        return Vec::new();
    }
    let mut bytes = Vec::with_capacity(input.len());
    for byte in input {
        match byte {
            1 => bytes.extend(SECRET.bytes()),
            other => bytes.push(*other),
        }
    }
    bytes
}

#[track_caller]
fn hides_the_secret(message: &str) {
    for at in 0..=SECRET.len() - MUCH {
        assert!(!message.contains(&SECRET[at..at + MUCH]), "it quotes what it must not: {message}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    type Target = fn(&[u8]);

    #[test]
    fn what_was_found_once_stays_mended() {
        let targets: [(&str, Target); 7] = [
            ("link", link),
            ("drop_file", drop_file),
            ("csv", csv),
            ("sealed", sealed),
            ("config", config),
            ("keyring", keyring),
            ("database_url", database_url),
        ];
        for (name, target) in targets {
            let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
            let inputs: Vec<_> = std::fs::read_dir(corpus).unwrap().map(|it| it.unwrap().path()).collect();
            assert!(!inputs.is_empty(), "{name}");
            for input in inputs {
                println!("{}", input.display());
                target(&std::fs::read(input).unwrap());
            }
        }
    }
}
