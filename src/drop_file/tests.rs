use super::*;
use crate::token::TokenFault;
use proptest::prelude::*;
use std::fmt::Write as _;

fn read(text: &str) -> Result<Vec<Assignment>, Vec<Fault>> {
    let file = parse(text.as_bytes(), &TokenRule::default()).map_err(|faulty| faulty.faults)?;
    Ok(file.assignments)
}

/// The faults as `line:column kind`, the kind without what it holds.
fn faults(text: &str) -> Vec<String> {
    short(&read(text).expect_err("a fault"))
}

fn short(faults: &[Fault]) -> Vec<String> {
    let name = |fault: &Fault| {
        let kind = format!("{:?}", fault.kind);
        format!("{} {}", fault.place, kind.split([' ', '(']).next().unwrap_or_default())
    };
    faults.iter().map(name).collect()
}

fn token(text: &str) -> Token {
    Token::parse(text).unwrap()
}

#[test]
fn reads_a_list_in_order_and_knows_the_places() {
    let text = "[[assignment]]\ntelegram_id = 413129274\ntoken = \"7812-5733-8392-7092\"\n\n\
                [[assignment]]\r\n  remove = true\r\n  telegram_id = -5\r\n";
    let expected = [
        Assignment { telegram_id: 413_129_274, token: Some(token("7812-5733-8392-7092")) },
        Assignment { telegram_id: -5, token: None },
    ];
    let file = parse(text.as_bytes(), &TokenRule::default()).unwrap();
    assert_eq!(file.assignments, expected);
    assert_eq!(places(&file.named), "413129274 at 2:15, -5 at 7:17; 3:9");
    let refusals = [
        Refusal::UnknownUser(-5),
        Refusal::TokenHeld(Token::parse("7812-5733-8392-7092").unwrap(), vec![8]),
        Refusal::UnknownUser(413_129_274),
    ];
    let own = vec![Fault::new(Place { line: 3, column: 1 }, FaultKind::UnknownKey)];
    assert_eq!(
        short(&file.named.faults(own, &refusals)),
        ["2:15 UnknownUser", "3:1 UnknownKey", "3:9 TokenHeld", "7:17 UnknownUser"]
    );
}

/// The users and the places of the tokens.
fn places(named: &Named) -> String {
    let mut users: Vec<_> =
        named.users.iter().map(|(user, place)| (place, format!("{user} at {place}"))).collect();
    let mut tokens: Vec<_> = named.tokens.values().map(|place| (place, place.to_string())).collect();
    users.sort();
    tokens.sort();
    let [users, tokens] =
        [users, tokens].map(|all| all.into_iter().map(|(_, shown)| shown).collect::<Vec<_>>().join(", "));
    format!("{users}; {tokens}")
}

/// What only the database knows is still to be asked of them.
#[test]
fn beside_a_fault_users_and_tokens_are_kept_for_the_database() {
    let asked = |text: &str| places(&parse(text.as_bytes(), &TokenRule::default()).unwrap_err().named);
    let two = "[[assignment]]\ntelegram_id = 1\ntoken = 'x'\n[[assignment]]\ntelegram_id = 2\nremove = ";
    assert_eq!(asked(&format!("{two}false")), "1 at 2:15, 2 at 5:15; 3:9");
    assert_eq!(asked(&format!("{two}true\nother = 1")), "1 at 2:15, 2 at 5:15; 3:9");
    // The damaged line may be the one that takes the token from its holder.
    assert_eq!(asked(two), "1 at 2:15, 2 at 5:15; ");
    assert_eq!(asked("telegram_id = 1 2\nremove = true"), "; ");
}

#[test]
fn reads_a_single_one_and_every_spelling_of_toml() {
    let cases = [
        ("telegram_id = 1\ntoken = 'abc'", 1, Some(token("abc"))),
        ("remove = true # gone\ntelegram_id = 1_000", 1000, None),
        ("\"telegram_id\" = 0xff\n'token' = \"a\\u0062c\"", 255, Some(token("abc"))),
        ("token = '''abc'''\ntelegram_id = +7", 7, Some(token("abc"))),
        ("assignment = [{ telegram_id = 1, token = 'abc' }]", 1, Some(token("abc"))),
        ("telegram_id = 9223372036854775807\nremove = true", i64::MAX, None),
        ("telegram_id = -9223372036854775808\nremove = true", i64::MIN, None),
        ("\u{feff}telegram_id = 1\nremove = true", 1, None),
    ];
    for (text, telegram_id, change) in cases {
        let read = read(text).unwrap_or_else(|faults| panic!("{text}: {faults:?}"));
        assert_eq!(read.len(), 1, "{text}");
        assert_eq!((read[0].telegram_id, &read[0].token), (telegram_id, &change), "{text}");
    }
}

#[test]
fn names_place_and_rule_of_each_fault() {
    let cases: &[(&str, &[&str])] = &[
        ("", &["1:1 NoAssignment"]),
        ("# nothing\n", &["1:1 NoAssignment"]),
        ("assignment = []", &["1:14 NoAssignment"]),
        ("colour = 1\n", &["1:1 UnknownKey", "1:1 NoAssignment"]),
        ("telegram_id = 1\ntoken = 'x'\n  colour = 1", &["3:3 UnknownKey"]),
        ("[[assignment]]\ntelegram_id = 1\ntoken = 'x'\nassignment = 1", &["4:1 UnknownKey"]),
        ("telegram_id = 1\nremove = true\n[other]\nx = 1", &["3:2 UnknownKey"]),
        ("telegram_id = '1'\ntoken = 'x'", &["1:15 WrongType"]),
        ("telegram_id = 1.0\ntoken = 'x'", &["1:15 WrongType"]),
        ("telegram_id = 1\ntoken = 7812", &["2:9 WrongType"]),
        ("telegram_id = 1\ntoken.x = 7812", &["2:1 WrongType"]),
        ("telegram_id = 1\nremove = 'true'", &["2:10 WrongType"]),
        ("telegram_id = 1\nremove = 1", &["2:10 WrongType"]),
        ("[assignment]\ntelegram_id = 1\ntoken = 'x'", &["1:1 WrongType"]),
        ("assignment = [{ telegram_id = 1, token = 'x' }, 3]", &["1:49 WrongType"]),
        ("telegram_id = 9223372036854775808\ntoken = 'x'", &["1:15 OutOfRange"]),
        ("telegram_id = -9223372036854775809\ntoken = 'x'", &["1:15 OutOfRange"]),
        ("telegram_id = 0xffffffffffffffffffff\ntoken = 'x'", &["1:15 OutOfRange"]),
        ("\n\ntoken = 'x'", &["3:1 NoUser"]),
        ("telegram_id = 1", &["1:1 NoChange"]),
        (
            "[[assignment]]\n\n[[assignment]]\ntelegram_id = 1",
            &["1:1 NoUser", "1:1 NoChange", "3:1 NoChange"],
        ),
        ("telegram_id = 1\ntoken = 'x'\nremove = true", &["3:1 BothChanges"]),
        ("telegram_id = 1\nremove = false\ntoken = 'x'", &["2:1 BothChanges", "2:10 RemoveFalse"]),
        ("telegram_id = 1\nremove = false", &["2:10 RemoveFalse"]),
        ("telegram_id = 1\ntoken = ''", &["2:9 BadToken"]),
        ("telegram_id = 1\ntoken = 'ключ ключ'", &["2:9 BadToken"]),
        ("telegram_id = 1\ntoken = 'relinkd:v1:k:AAAA'", &["2:9 BadToken"]),
        ("# ключ\r\ntelegram_id = 'ключ' ; token", &["2:22 NotToml"]),
        ("telegram_id = 1\ntelegram_id = 1\nremove = true", &["2:1 NotToml"]),
    ];
    for (text, expected) in cases {
        assert_eq!(faults(text), *expected, "{text}");
    }
}

#[test]
fn both_forms_in_one_file_are_a_fault_and_both_are_read() {
    let text = "token = ''\ntelegram_id = 1\n[[assignment]]\ntelegram_id = 1\nremove = false";
    assert_eq!(faults(text), ["1:1 MixedForms", "1:9 BadToken", "4:15 UserTwice", "5:10 RemoveFalse"]);
}

#[test]
fn a_user_or_a_token_stands_once() {
    let text = "[[assignment]]\ntelegram_id = 1\ntoken = 'x'\n[[assignment]]\ntelegram_id = 2\ntoken = \"\\u0078\"\n\
                [[assignment]]\ntelegram_id = 0x1\nremove = true\n";
    let found = read(text).unwrap_err();
    let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        ["6:9: the same token stands at 3:9 already", "8:15: the same `telegram_id` stands at 2:15 already"]
    );
}

#[test]
fn a_swap_is_no_fault_of_the_file() {
    let text = "[[assignment]]\ntelegram_id = 1\ntoken = 'b'\n[[assignment]]\ntelegram_id = 2\ntoken = 'a'\n";
    assert_eq!(read(text).unwrap().len(), 2);
}

#[test]
fn a_line_that_is_not_toml_hides_no_other_fault_and_makes_none() {
    let cases: &[(&str, &[&str])] = &[
        ("telegram_id = 1\ntoken = \"7812", &["2:14 NotToml"]),
        ("telegram_id = \ntoken = 'x'", &["1:15 NotToml"]),
        ("telegram_id 1\ntoken = 'x'", &["1:13 NotToml"]),
        ("telegram_id = 1\ntoken = 7812-5733", &["2:9 Unquoted"]),
        ("telegram_id = 1 2\nremove = truex", &["1:15 NotToml", "2:10 NotToml"]),
        ("[[assignment]\ntelegram_id = 1\ntoken = 'x'", &["1:14 NotToml"]),
        (
            "[[assignment]]\ntelegram_id = 1\ntoken = x y\n[[assignment]]\ntelegram_id = 1\nremove = false",
            &["3:9 Unquoted", "5:15 UserTwice", "6:10 RemoveFalse"],
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(faults(text), *expected, "{text}");
    }
}

#[test]
fn the_pattern_applies() {
    let rule = TokenRule::new(Some(r"\d+")).unwrap();
    let found = parse(b"telegram_id = 1\ntoken = 'x'", &rule).unwrap_err().faults;
    assert_eq!(found[0].to_string(), "2:9: the token does not match portal.token_pattern");
    assert!(parse(b"telegram_id = 1\ntoken = '1'", &rule).is_ok());
}

/// In both languages, as operators read them.
#[test]
fn the_commonest_mistakes_are_called_by_their_name() {
    let utf16 = |text: &str, mark: bool| {
        let mark = mark.then_some(0xfeff);
        mark.into_iter().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect::<Vec<u8>>()
    };
    let right = "telegram_id = 1\ntoken = 'x'\n";
    let files: Vec<(&str, Vec<u8>)> = vec![
        ("curly quotes", "telegram_id = 1\ntoken = “7812-5733-8392-7092”\n".into()),
        ("Russian quotes, one of them straight", "telegram_id = 1\ntoken = «7812-5733\"\n".into()),
        ("no quotes", "telegram_id = 1\ntoken = 7812-5733-8392-7092\n".into()),
        ("JSON", "{\"telegram_id\": 1, \"token\": \"7812\"}".into()),
        ("JSON, a list", "\n[\n  {\"telegram_id\": 1, \"token\": \"7812\"}\n]\n".into()),
        ("YAML", "---\n- telegram_id: 1\n  token: 7812-5733\n".into()),
        ("YAML, a single one", "# for Anna\ntelegram_id: 1\ntoken: \"7812\"\n".into()),
        ("CSV", "telegram_id,token\n1,7812-5733\n".into()),
        ("CSV without a heading", "1;7812-5733\n2;4401-9276\n".into()),
        (
            "two files joined",
            format!("[[assignment]]\n{right}\u{feff}[[assignment]]\ntelegram_id = 2\nremove = true").into(),
        ),
        ("UTF-16", utf16(right, true)),
        ("UTF-16 without a mark", utf16(right, false)),
        ("Windows-1251", b"# \xce\xeb\xfc\xe3\xe0\ntelegram_id = 1\n".into()),
        ("neither", b"telegram_id = 1 # \xff\n".into()),
    ];
    let mut said = String::new();
    for (what, bytes) in files {
        writeln!(said, "{what}").unwrap();
        for fault in parse(&bytes, &TokenRule::default()).unwrap_err().faults {
            writeln!(said, "  {}", fault.in_two_languages().replace('\n', "\n  ")).unwrap();
        }
    }
    insta::assert_snapshot!(said);
}

/// Each sentence, in both languages: a new kind has to have both.
#[test]
fn every_fault_is_said_in_two_languages() {
    let first = Place { line: 3, column: 9 };
    let kinds = [
        FaultKind::TooLarge,
        FaultKind::NotToml,
        FaultKind::UnknownKey,
        FaultKind::WrongType(Key::User),
        FaultKind::WrongType(Key::Token),
        FaultKind::WrongType(Key::Remove),
        FaultKind::WrongType(Key::List),
        FaultKind::OutOfRange,
        FaultKind::NoUser,
        FaultKind::NoChange,
        FaultKind::BothChanges,
        FaultKind::RemoveFalse,
        FaultKind::MixedForms,
        FaultKind::NoAssignment,
        FaultKind::Workbook,
        FaultKind::NoColumns,
        FaultKind::CellTooMany,
        FaultKind::Misquoted,
        FaultKind::Shortened(Key::User),
        FaultKind::BadToken(TokenFault::Empty),
        FaultKind::BadToken(TokenFault::TooLong),
        FaultKind::BadToken(TokenFault::NotVisibleAscii),
        FaultKind::BadToken(TokenFault::ReservedPrefix),
        FaultKind::BadToken(TokenFault::Pattern),
        FaultKind::UserTwice(first),
        FaultKind::TokenTwice(first),
        FaultKind::UnknownUser,
        FaultKind::TokenHeld,
        FaultKind::Unreadable,
        FaultKind::WriteRefused,
    ];
    let said: Vec<String> = kinds.iter().map(|kind| Fault::of_file(*kind).in_two_languages()).collect();
    insta::assert_snapshot!(said.join("\n"));
}

/// As some editors on Windows save UTF-8; the columns of the first line are as an editor shows them.
#[test]
fn a_byte_order_mark_at_the_beginning_does_no_harm() {
    assert_eq!(read("\u{feff}telegram_id = 1\nremove = true").unwrap().len(), 1);
    assert_eq!(faults("\u{feff}telegram_id = 'x'\nremove = true"), ["1:15 WrongType"]);
    assert_eq!(faults("telegram_id = 1\nremove = \u{feff}true"), ["2:10 ByteOrderMark"]);
}

/// A file that TOML takes is not judged by its looks.
#[test]
fn what_looks_like_another_format_in_a_comment_or_a_string_is_none() {
    for text in [
        "# {\"telegram_id\": 1}\ntelegram_id = 1\nremove = true",
        "# telegram_id: 1, token: “x”\ntelegram_id = 1\nremove = true",
        "telegram_id = 1 # «a», b; c\ntoken = 'a,b;c:d'",
        "assignment = [\n{telegram_id = 1, token = 'x'}\n]",
    ] {
        assert!(read(text).is_ok(), "{text}");
    }
    assert_eq!(faults("telegram_id = 1\ntoken: 'x'"), ["2:8 NotToml"], "one line does not make it YAML");
}

#[test]
fn says_where_text_ends() {
    let found = |bytes| short(&parse(bytes, &TokenRule::default()).unwrap_err().faults);
    assert_eq!(found(b"telegram_id = 1\n\xd0\xba \xff\xfe"), ["2:3 NotUtf8"]);
    assert_eq!(found(b"\xff"), ["1:1 NotUtf8"]);
    assert_eq!(found(b"token = '\xd0"), ["1:10 NotUtf8"]);
}

#[test]
fn takes_a_mebibyte_and_no_more() {
    let mut text = "telegram_id = 1\nremove = true\n#".to_owned();
    text.push_str(&"x".repeat(MAX_BYTES - text.len()));
    assert!(read(&text).is_ok());
    text.push('x');
    assert_eq!(faults(&text), ["1:1 TooLarge"]);
}

/// Places must not cost a walk over the text each: quadratic work would take minutes here.
#[test]
fn a_mebibyte_on_one_line_is_read_at_once() {
    let mut text = "assignment = [".to_owned();
    let mut count = 0_usize;
    while text.len() < MAX_BYTES - 60 {
        write!(text, "{{telegram_id={count},token='t{count}'}},").unwrap();
        count += 1;
    }
    text.push(']');
    let before = std::time::Instant::now();
    assert_eq!(read(&text).unwrap().len(), count);
    assert!(before.elapsed() < std::time::Duration::from_secs(20), "{:?}", before.elapsed());
}

/// Tables in tables are walked, wiped and dropped by recursion: depth must end at the parser, not at the stack.
#[test]
fn nesting_without_end_is_a_fault() {
    let deep = |unit: &str| unit.repeat(MAX_BYTES / 8);
    for text in [
        format!("{}a = 1", deep("a.")),
        format!("[{}a]", deep("a.")),
        format!("a = {}", deep("[")),
        format!("a = {}1{}", deep("["), deep("]")),
        format!("a = {}", deep("{a=")),
    ] {
        assert!(read(&text).unwrap_err().iter().any(|fault| fault.kind == FaultKind::NotToml));
    }
}

/// Lines of a drop file, right and wrong, whose every value is of letters that no message of ours has in a row.
fn line() -> impl Strategy<Value = String> {
    let value = "[QZJX]{4,12}";
    let quote = prop::sample::select(vec!["'", "\"", "", "'''", "\"\"\""]);
    let key = prop_oneof![
        prop::sample::select(vec!["telegram_id", "token", "remove", "assignment"]).prop_map(str::to_owned),
        value,
    ];
    let written = prop_oneof![
        (quote, value).prop_map(|(quote, value)| format!("{quote}{value}{quote}")),
        (value, value).prop_map(|(a, b)| format!("'{a} {b}'")),
        prop::sample::select(vec!["1", "2", "true", "false", "1.5", "[", "{}"]).prop_map(str::to_owned),
    ];
    prop_oneof![
        1 => prop::sample::select(vec!["[[assignment]]", "[assignment]", "[[assignment]", ""]).prop_map(str::to_owned),
        1 => value.prop_map(|value| format!("[{value}]")),
        4 => (key, prop::sample::select(vec!["=", " = ", " ", "."]), written).prop_map(|(k, sep, v)| format!("{k}{sep}{v}")),
    ]
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), text in "\\PC{0,100}") {
        let _ = parse(&bytes, &TokenRule::default());
        let _ = read(&text);
    }

    #[test]
    fn no_fault_repeats_a_value(lines in prop::collection::vec(line(), 0..12), pattern in prop::bool::ANY) {
        let text = lines.join("\n");
        let rule = TokenRule::new(pattern.then_some("[0-9]+")).unwrap();
        if let Err(Faulty { faults: found, .. }) = parse(text.as_bytes(), &rule) {
            prop_assert!(!found.is_empty());
            prop_assert!(found.is_sorted_by_key(|fault| (fault.place.line, fault.place.column)), "{:?}", found);
            for fault in found {
                let shown = format!("{fault} {fault:?}");
                let fragment = shown.as_bytes().windows(4).find(|four| four.iter().all(|byte| b"QZJX".contains(byte)));
                prop_assert!(fragment.is_none(), "{}", shown);
            }
        }
    }

    #[test]
    fn what_is_written_is_read(changes in prop::collection::btree_map(any::<i64>(), any::<bool>(), 1..20)) {
        let mut text = String::new();
        for (id, set) in &changes {
            let change = if *set { format!("token = 't{id}'") } else { "remove = true".to_owned() };
            writeln!(text, "[[assignment]]\ntelegram_id = {id}\n{change}").unwrap();
        }
        let expected: Vec<(i64, Option<Token>)> = changes
            .into_iter()
            .map(|(id, is_set)| (id, is_set.then(|| token(&format!("t{id}")))))
            .collect();
        let found: Vec<(i64, Option<Token>)> =
            read(&text).unwrap().into_iter().map(|one| (one.telegram_id, one.token)).collect();
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn what_only_looks_like_another_format_is_left_to_toml() {
    for text in ["[\"abc\"]\n", "[table]\nx: 1\n", "# a,b\n7 8\n"] {
        assert_eq!(mistakes::other_format(text), None, "{text}");
    }
    assert_eq!(mistakes::other_format("x\n  telegram_id: 7\n"), Some((4, FaultKind::Yaml)));
}

#[test]
fn bytes_that_are_utf_16_are_called_so_with_and_without_a_mark() {
    let little: Vec<u8> = "token = 1".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for bytes in [b"\xff\xfea\0".to_vec(), b"\xfe\xff\0a".to_vec(), b"\xff\xfeaaaaaa".to_vec(), little] {
        assert_eq!(mistakes::decode(&bytes).unwrap_err().kind, FaultKind::Utf16, "{bytes:?}");
    }
}

#[test]
fn a_line_and_what_is_wrong_in_it() {
    assert_eq!(mistakes::line_at("ab\ncd", 4), 3..6);
    assert_eq!(mistakes::line_at("ab\ncd\nef", 4), 3..6);
    assert_eq!(mistakes::line_at("ab\ncd\nef", 7), 6..9);
    let text = "ab\ntoken = “x”";
    assert_eq!(mistakes::in_line(text, &mistakes::line_at(text, 5), 5), (11, FaultKind::CurlyQuotes));
}
