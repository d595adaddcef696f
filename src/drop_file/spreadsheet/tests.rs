use super::*;
use crate::drop_file::Assignment;
use proptest::prelude::*;
use std::fmt::Write as _;

fn read(bytes: &[u8], columns: Option<&str>) -> Result<Vec<String>, Vec<String>> {
    let columns = columns.map(|columns| columns.parse().unwrap());
    let show = |Assignment { telegram_id, token }: &Assignment| match token {
        Some(token) => format!("{telegram_id} {}", token.expose()),
        None => panic!("no table removes"),
    };
    match parse(bytes, &TokenRule::default(), columns.as_ref()) {
        Ok(file) => Ok(file.assignments.iter().map(show).collect()),
        Err(faulty) => Err(faulty.faults.iter().map(|it| format!("{} {:?}", it.place, it.kind)).collect()),
    }
}

fn utf16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
    text.encode_utf16().flat_map(bytes).collect()
}

#[test]
fn what_spreadsheets_save_is_read() {
    let two = ["1 a-b", "22 c"];
    let cases: &[(&str, Option<&str>)] = &[
        ("telegram_id,token\n1,a-b\n22,c\n", None),
        ("telegram_id;token\r\n1;a-b\r\n22;c", None),
        ("\u{feff}telegram_id\ttoken\n1\ta-b\n22\tc\n", None),
        ("Token|Имя|Telegram ID\na-b|Аня; Оля|1\nc|Пётр, Иван|22\n", None),
        (
            "\"telegram_id\",\"name\",\"token\"\n\"1\",\"Аня \"\"А\"\",\nИванова\",\"a-b\"\n\"22\",,\"c\"\n",
            None,
        ),
        ("sep=;\ntelegram_id;token;x\n1;a-b;,\n22;c;,,,\n", None),
        ("1;a-b\n22;c\n", None),
        ("sep=\t\ntelegram_id\ttoken\n1\ta-b\n22\tc\n", None),
        // Columns either way; which of them, the numbers say.
        ("1,a-b,x;y\n22,c,x;y\n", Some("1,2")),
        ("telegram_id, token\n1, \"a-b\"\n22, c\n", None),
        ("\n;;;\ntelegram_id;token;;\n 1 ; a-b ;;\n;;;\n22;c;;\n\n", None),
        ("Чат,Токен,token\n1,a-b,x\n22,c,y\n", Some("чат,Токен")),
        ("a-b,x,1\nc,x,22\n", Some("3,1")),
        ("Токен,x,Чат\na-b,x,1\nc,x,22\n", Some("3,1")),
        ("a-b;x,1;1\nc;x,2;22\n", Some("3,1")),
    ];
    for (text, columns) in cases {
        assert_eq!(read(text.as_bytes(), *columns), Ok(two.map(str::to_owned).to_vec()), "{text}");
    }
}

#[test]
fn encodings_of_spreadsheets_are_recognised() {
    let text = "\u{feff}telegram_id\tимя\ttoken\r\n1\tЁж\ta-b\r\n";
    let wanted = Ok(vec!["1 a-b".to_owned()]);
    assert_eq!(read(&utf16(text, u16::to_le_bytes), None), wanted);
    assert_eq!(read(&utf16(text, u16::to_be_bytes), None), wanted);
    assert_eq!(read(&utf16(&text[3..], u16::to_le_bytes), None), wanted);
    let cyrillic = b"telegram_id;\xd2\xee\xea\xe5\xed \xb9\n1;a-b\n";
    assert_eq!(read(cyrillic, Some("telegram_id,Токен №")), wanted, "Windows-1251");
    assert_eq!(WINDOWS_1251.chars().count(), 64);
    assert_eq!(read(b"PK\x03\x04rest", None), Err(vec!["1:1 Workbook".to_owned()]));
}

#[test]
fn each_fault_has_its_place() {
    let cases: &[(&str, &[&str])] = &[
        ("", &["1:1 NoAssignment"]),
        ("telegram_id;token\n", &["1:1 NoAssignment"]),
        ("user;token\n1;a\n", &["1:1 NoColumns"]),
        ("telegram_id;token;token\n1;a;b\n", &["1:1 NoColumns"]),
        ("telegram_id;token\n1;\n;b\nx;c\n", &["2:1 BadToken(Empty)", "3:1 NoUser", "4:1 WrongType(User)"]),
        (
            "telegram_id;token\n1;a b\n2;тоkен\n",
            &["2:3 BadToken(NotVisibleAscii)", "3:3 BadToken(NotVisibleAscii)"],
        ),
        ("telegram_id;token\n4,13E+08;a\n1;7.8E+15\n", &["2:1 Shortened(User)", "3:3 Shortened(Token)"]),
        ("telegram_id;token\n9223372036854775808;a\n413 129;b\n", &["2:1 OutOfRange", "3:1 WrongType(User)"]),
        (
            "telegram_id;token\r\n1;a\r\n1;b\r\n\r\n\"2\";\"a\"\r\n",
            &["3:1 UserTwice(Place { line: 2, column: 1 })", "5:5 TokenTwice(Place { line: 2, column: 3 })"],
        ),
    ];
    for (text, faults) in cases {
        let faults: Vec<String> = faults.iter().map(|fault| (*fault).to_owned()).collect();
        assert_eq!(read(text.as_bytes(), None), Err(faults), "{text}");
    }
}

/// Each of these would have taken a wrong token, or left a row out without a word.
#[test]
fn rows_that_are_hidden_or_moved_are_refused() {
    for (text, fault) in [
        ("telegram_id,name,token\n1,Иванов, Иван,a\n", "2:16 CellTooMany"),
        ("telegram_id;token;name\n1;a;\"Ан\n2;b;Оля\n", "2:5 Misquoted"),
        ("telegram_id;token;name\n1;a;\"Ан\n2;b;\"Оля\n", "2:5 Misquoted"),
        ("telegram_id;token;name\n1;a;\"Ан\"я\"\n2;b;Оля\n", "2:5 Misquoted"),
    ] {
        assert_eq!(read(text.as_bytes(), None), Err(vec![fault.to_owned()]), "{text}");
    }
}

#[test]
fn columns_are_two() {
    for text in ["", "a", "1,1", "0,1", "a,", "a,b,c", "a,A"] {
        assert!(text.parse::<Columns>().is_err(), "{text}");
    }
    assert_eq!("Telegram ID, Token".parse(), Ok(Columns::default()));
}

proptest! {
    #[test]
    fn whatever_the_bytes_nothing_panics_and_no_fault_quotes_them(
        bytes in proptest::collection::vec(prop_oneof![Just(b'"'), Just(b';'), Just(b'\n'), Just(b'\r'), Just(b'7'), any::<u8>()], 0..200)
    ) {
        for columns in [None, Some("1,2"), Some("2,1")] {
            let _ = read(&bytes, columns);
        }
    }

    #[test]
    fn what_is_quoted_is_read_as_it_was(rows in proptest::collection::vec((any::<i64>(), "[!-~]{1,20}", "[ -~а-я\n]{0,20}"), 1..20)) {
        let quote = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
        let mut text = "telegram_id,other,token\n".to_owned();
        let (mut users, mut tokens) = (std::collections::HashSet::new(), std::collections::HashSet::new());
        let mut wanted = Vec::new();
        for (user, token, other) in rows {
            let good = !token.starts_with("relinkd:") && !is_shortened(&token);
            if good && users.insert(user) && tokens.insert(token.clone()) {
                writeln!(text, "{user},{},{}", quote(&other), quote(&token)).unwrap();
                wanted.push(format!("{user} {token}"));
            }
        }
        prop_assume!(!wanted.is_empty());
        prop_assert_eq!(read(text.as_bytes(), None), Ok(wanted));
    }
}

#[test]
fn a_table_may_be_as_large_as_a_file() {
    let table = "telegram_id,token\n1,a-b\n";
    let padded = |size: usize| format!("{table}{}", "\n".repeat(size - table.len()));
    assert_eq!(read(padded(MAX_BYTES).as_bytes(), None), Ok(vec!["1 a-b".to_owned()]));
    assert!(read(padded(MAX_BYTES + 1).as_bytes(), None).unwrap_err()[0].ends_with("TooLarge"));
}

#[test]
fn numbers_that_a_spreadsheet_has_shortened() {
    for shortened in ["4,13E+08", "7.8e+15", "4E+08"] {
        assert!(is_shortened(shortened), "{shortened}");
    }
    for whole in ["413129274", "a,13E+08", "4,bE+08", "4,13E08", "4,13E+x", "4E"] {
        assert!(!is_shortened(whole), "{whole}");
    }
}

#[test]
fn a_line_that_announces_no_separator_is_a_row() {
    for text in ["sep=\ntelegram_id;token\n1;a-b\n", "sep=\u{e9}\ntelegram_id;token\n1;a-b\n"] {
        assert_eq!(read(text.as_bytes(), None), Err(vec!["1:1 NoColumns".to_owned()]), "{text}");
    }
}
