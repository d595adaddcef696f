use super::fault::keys;
use super::load::{Context, choose, instance, read};
use super::*;
use crate::link::Tokenless;
use crate::token::TokenRule;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

const MINIMAL: &str = "[database]\nurl = \"postgresql://relinkd@localhost/okdesk_bot\"\n\n[portal]\nbase_url = \"https://yapomogu55.okdesk.ru\"\n";
const EXAMPLE: &str = include_str!("../../config.toml.example");
const PAGE: &str = include_str!("../../docs/man/relinkd-config.5");

fn environment() -> Environment {
    Environment { os_user: Some("tester".to_owned()), ..Environment::default() }
}

/// A file of this text, and what it says.
fn load_text(text: &str) -> Result<Settings, ConfigError> {
    let file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    fs::write(file.path(), text).unwrap();
    read(file.path(), &environment()).1
}

fn minimal(more: &str) -> Settings {
    load_text(&format!("{MINIMAL}{more}")).unwrap()
}

/// What is shown of a wrong file, without the file's own path.
fn shown(text: &str) -> String {
    match load_text(text).expect_err("the file is wrong") {
        ConfigError::Wrong { fault, .. } => fault,
        other @ ConfigError::Unreadable { .. } => panic!("{other}"),
    }
}

/// What is shown of a file that is right but for the lines that are added to its end.
fn shown_after_minimal(text: &str) -> String {
    shown(&format!("{MINIMAL}{text}"))
}

/// Every key there is, as the structs have it.
fn every_key() -> Vec<String> {
    let below =
        |path: &[&'static str]| keys(path).iter().map(|key| [path, &[*key]].concat()).collect::<Vec<_>>();
    let mut paths = below(&[]);
    let mut found = Vec::new();
    while let Some(path) = paths.pop() {
        match below(&path) {
            inner if inner.is_empty() => found.push(path.join(".")),
            inner => paths.extend(inner),
        }
    }
    found.sort();
    found
}

/// The keys of the example, each with its value; none where it stands after a `#`, and is no default.
fn keys_of_the_example() -> BTreeMap<String, Option<String>> {
    let (mut section, mut found) = ("", BTreeMap::new());
    for line in EXAMPLE.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.strip_suffix(']').unwrap();
        } else if let Some((key, value)) = line.trim_start_matches("# ").split_once(" = ")
            && key.chars().all(|c| c.is_ascii_lowercase() || c == '_')
        {
            let value = (!line.starts_with('#')).then(|| value.trim_matches('"').to_owned());
            assert!(found.insert(format!("{section}.{key}"), value).is_none(), "{key} stands there twice");
        }
    }
    found
}

#[test]
fn the_example_has_every_key_and_is_the_defaults() {
    assert_eq!(keys_of_the_example().into_keys().collect::<Vec<_>>(), every_key());
    assert_eq!(format!("{:?}", load_text(EXAMPLE).unwrap()), format!("{:?}", minimal("")));
    // Those that are commented out are right as well.
    let all = ["password_file", "token_pattern", "file"]
        .iter()
        .fold(EXAMPLE.to_owned(), |text, key| text.replace(&format!("# {key} = "), &format!("{key} = ")));
    let settings = load_text(&all).unwrap();
    assert!(settings.portal.token_pattern.rule.admit("7812-5733-8392-7092").is_ok());
    assert!(settings.portal.token_pattern.rule.admit("7812").is_err());
    assert_eq!(settings.database.password_file, Some(FileSource::Path("/etc/relinkd/password".into())));
    assert_eq!(settings.metrics.file, Some("/run/relinkd/relinkd.prom".into()));
}

#[test]
fn the_manual_page_has_every_key_with_its_default() {
    let (mut section, mut key) = ("", "");
    let mut found = BTreeMap::new();
    for line in PAGE.lines() {
        if let Some(name) = line.strip_prefix(".SS [") {
            section = name.strip_suffix(']').unwrap();
        } else if let Some(name) = line.strip_prefix(".SH ") {
            (section, key) = ("", name);
        } else if line == ".TP" {
            key = "";
        } else if let (true, Some(name)) = (key.is_empty(), line.strip_prefix(".B ")) {
            key = name;
        } else if let Some(default) = line.strip_prefix("Default: ") {
            let default = default.strip_suffix('.').unwrap().to_owned();
            assert!(found.insert(format!("{section}.{key}"), Some(default)).is_none(), "{key}");
        } else if line == "Required." || line == "No default." {
            assert!(found.insert(format!("{section}.{key}"), None).is_none(), "{key}");
        }
    }
    let mut wanted = keys_of_the_example();
    for required in ["database.url", "portal.base_url"] {
        assert!(wanted.insert(required.to_owned(), None).unwrap().is_some());
    }
    assert_eq!(found, wanted);
}

#[test]
fn two_keys_are_enough() {
    let settings = minimal("");
    assert_eq!(settings.portal.base_url.to_string(), "https://yapomogu55.okdesk.ru");
    assert!(settings.portal.aliases.is_empty());
    assert_eq!(settings.portal.tokenless, Tokenless::Plain);
    assert_eq!(settings.portal.token_pattern.rule, TokenRule::default());
    assert_eq!(settings.keyring.file, FileSource::Path("/etc/relinkd/keyring.toml".into()));
    assert_eq!(settings.spool.directory, PathBuf::from("/var/spool/relinkd"));
    assert_eq!(settings.spool.rescan.as_secs(), 30);
    assert!(settings.seal.plaintext);
    assert_eq!(settings.audit.interval.as_secs(), 3600);
    assert_eq!(settings.history.keep.as_secs(), 400 * 86_400);
    assert_eq!(settings.metrics.file, None);
    let Tables { users, issues } = settings.tables;
    assert_eq!(
        [users.name.to_string(), users.telegram_id, users.portal_token],
        ["public.users", "telegram_id", "portal_token"]
    );
    assert_eq!(
        [issues.name.to_string(), issues.id, issues.telegram_id, issues.url],
        ["public.issues", "id", "telegram_user_id", "okdesk_url"]
    );
    assert_eq!((settings.database.user, settings.database.dbname), ("relinkd".into(), "okdesk_bot".into()));
}

#[test]
fn every_key_is_obeyed() {
    let text = r#"
        database = { url = "host=/run/pg dbname=bot", password_file = "credential:pw" }
        portal.base_url = "http://portal.example:8080"
        portal.aliases = ["https://old.example", "https://older.example"]
        portal.tokenless = "keep"
        portal.token_pattern = "[a-z]+"
        keyring.file = "credential:ring"
        spool = { directory = "/srv/spool", rescan = "500ms" }
        seal.plaintext = false
        audit.interval = "10m"
        history.keep = "1h"
        metrics.file = "/srv/relinkd.prom"
        [tables]
        users = { name = '"My Schema"."Users"', telegram_id = "TG", portal_token = "select" }
        issues.name = "public.user"
        issues.id = "no"
        issues.telegram_id = "who"
        issues.url = "link"
    "#;
    let settings = load_text(text).unwrap();
    assert_eq!((settings.database.user.as_str(), settings.database.dbname.as_str()), ("tester", "bot"));
    assert!(settings.database.password_file.unwrap().is_credential());
    assert_eq!(settings.portal.aliases.len(), 2);
    assert_eq!(settings.portal.tokenless, Tokenless::Keep);
    assert!(settings.portal.token_pattern.rule.admit("A").is_err());
    let ring = FileSource::Credential { name: "ring".to_owned(), unit: "relinkd.service".to_owned() };
    assert_eq!(settings.keyring.file, ring);
    assert_eq!(settings.spool.directory, PathBuf::from("/srv/spool"));
    assert_eq!(settings.spool.rescan.as_millis(), 500);
    assert!(!settings.seal.plaintext);
    assert_eq!((settings.audit.interval.as_secs(), settings.history.keep.as_secs()), (600, 3600));
    assert_eq!(settings.metrics.file, Some("/srv/relinkd.prom".into()));
    let Tables { users, issues } = settings.tables;
    let name = |schema: &str, table: &str| QualifiedName { schema: schema.into(), table: table.into() };
    assert_eq!((users.name, users.telegram_id), (name("My Schema", "Users"), "TG".to_owned()));
    assert_eq!(users.portal_token, "select");
    assert_eq!((issues.name, issues.url), (name("public", "user"), "link".to_owned()));
}

#[test]
fn instances_have_a_keyring_and_a_spool_of_their_own() {
    let instance = |path: &str| instance(&PathBuf::from(path));
    assert_eq!(instance("/etc/relinkd/shop.toml").as_deref(), Some("shop"));
    for path in
        ["/etc/relinkd/config.toml", "/etc/relinkd/shop.conf", "/etc/relinkd/sub/shop.toml", "/tmp/shop.toml"]
    {
        assert_eq!(instance(path), None, "{path}");
    }
    let environment = environment();
    let context = Context { instance: Some("shop".to_owned()), environment: &environment };
    let shop = |more: &str| context.read(&format!("{MINIMAL}{more}")).1.unwrap();
    let settings = shop("");
    assert_eq!(settings.keyring.file, FileSource::Path("/etc/relinkd/shop.keyring.toml".into()));
    assert_eq!(settings.spool.directory, PathBuf::from("/var/spool/relinkd/shop"));
    let settings = shop("[spool]\nrescan = \"1s\"\n[keyring]\nfile = \"/etc/relinkd/keyring.toml\"");
    assert_eq!(settings.keyring.file, FileSource::Path("/etc/relinkd/keyring.toml".into()));
    assert_eq!(settings.spool.directory, PathBuf::from("/var/spool/relinkd/shop"));
    let root = Environment { root: true, ..Environment::default() };
    assert_eq!(
        shop("[keyring]\nfile = \"credential:k\"").keyring.file.path(&root).unwrap(),
        PathBuf::from("/run/credentials/relinkd@shop.service/k")
    );
}

#[test]
fn the_command_line_chooses_first() {
    let (typed, set) = (PathBuf::from("/a.toml"), PathBuf::from("/b.toml"));
    assert_eq!(choose(Some(typed.clone()), Some(set.clone())), typed);
    assert_eq!(choose(None, Some(set.clone())), set);
    assert_eq!(choose(None, None), PathBuf::from("/etc/relinkd/config.toml"));
}

#[test]
fn an_unreadable_file_is_an_error() {
    let absent = read("/nonexistent/config.toml".as_ref(), &environment()).1.unwrap_err();
    assert_eq!(
        absent.to_string(),
        "the configuration /nonexistent/config.toml cannot be read: No such file or directory (os error 2)"
    );
    assert!(std::error::Error::source(&absent).is_some());
    assert!(matches!(read("/tmp".as_ref(), &environment()).1, Err(ConfigError::Unreadable { .. })));
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), b"[portal]\n# \xd1\x8f \xff hunter2").unwrap();
    let error = read(file.path(), &environment()).1.unwrap_err().to_string();
    assert!(error.ends_with(":2:5: not UTF-8 text from here on"), "{error}");
}

/// Lines after those that must be there; what is said of them; and what stands under the place, where it is told exactly.
#[rustfmt::skip]
const WRONG: [(&str, &str, &str); 27] = [
    ("tokenles = \"plain\" # as before", "6:1: `portal.tokenles` is not known; did you mean `tokenless`?", "^^^^^^^^"),
    ("colour = 1", "6:1: `portal.colour` is not known; [portal] has base_url, aliases, tokenless, token_pattern", "^^^^^^"),
    ("[spol]", "6:2: `spol` is not known; did you mean `spool`?", " ^^^^"),
    ("[tables.user]", "6:9: `tables.user` is not known; did you mean `users`?", "        ^^^^"),
    ("[log]", "6:2: `log` is not known; there are database, portal, keyring, spool, seal, audit, history, metrics, tables", " ^^^"),
    ("tokenless = \"never\"", "6:13: `portal.tokenless` must be \"plain\" or \"keep\"", "            ^^^^^^^"),
    ("tokenless = true", "6:13: `portal.tokenless` must be text in quotes, and is true or false", "            ^^^^"),
    ("aliases = \"https://a\"", "6:11: `portal.aliases` must be a list of texts, as in [\"https://…\"], and is text", "          ^^^^^^^^^^^"),
    ("aliases = [\"https://a\", \"ftp://b\"]", "6:25: `portal.aliases` must begin with https:// or http://", "                        ^^^^^^^^^"),
    ("token_pattern = \"\"", "6:17: `portal.token_pattern` is empty, and would admit no token: leave it out to admit every one", "                ^^"),
    ("seal.plaintext = 1", "6:1: `portal.seal` is not known; [portal] has base_url, aliases, tokenless, token_pattern", ""),
    ("[keyring]\nfile = \"k.toml\"", "7:8: `keyring.file` must be an absolute path, or \"credential:NAME\"", "       ^^^^^^^^"),
    ("[spool]\ndirectory = \"spool\"", "7:13: `spool.directory` must be an absolute path", "            ^^^^^^^"),
    ("[spool]\nrescan = \"30\"", "7:10: `spool.rescan` must be a whole number and a unit, as in \"500ms\", \"30s\", \"10m\", \"1h\" or \"400d\"", "         ^^^^"),
    ("[spool]\nrescan = 30", "7:10: `spool.rescan` must be text in quotes, and is a number", "         ^^"),
    ("[seal]\nplaintext = \"yes\"", "7:13: `seal.plaintext` must be true or false, without quotes, and is text", "            ^^^^^"),
    ("[history]\nkeep = \"0d\"", "7:8: `history.keep` must be more than nothing, as in \"30s\"", "       ^^^^"),
    ("[metrics]\nfile = \"relinkd.prom\"", "7:8: `metrics.file` must be an absolute path", "       ^^^^^^^^^^^^^^"),
    ("[metrics]\nfile = \"/run/\"", "7:8: `metrics.file` must be the absolute path of a file, not of a directory", "       ^^^^^^^"),
    ("[tables]\nusers = \"users\"", "7:9: `tables.users` must be a section, written as [tables.users], and is text", "        ^^^^^^^"),
    ("[[spool]]\nrescan = \"1s\"", "6:1: `spool` must be a section, written as [spool], and is a list", ""),
    ("[tables.users]\nname = \"a.b.c\"", "7:8: `tables.users.name` must be `table` or `schema.table`; put a name that holds a dot in double quotes", "       ^^^^^^^"),
    ("[tables.users]\ntelegram_id = \"\"", "7:15: `tables.users.telegram_id` must not be empty, and neither may a part of it", "              ^^"),
    ("[tables.users]\nportal_token = \"telegram_id\"", "7:16: `tables.users.portal_token` names a column that is something else already", "               ^^^^^^^^^^^^^"),
    ("[tables.issues]\ntelegram_id = \"id\"", "7:15: `tables.issues.telegram_id` names a column that is something else already", "              ^^^^"),
    ("[tables.issues]\nurl = \"telegram_user_id\"", "7:7: `tables.issues.url` names a column that is something else already", "      ^^^^^^^^^^^^^^^^^^"),
    ("[tables.issues]\nname = \"users\"", "7:8: `tables.issues.name` must be another table than that of the users", "       ^^^^^^^"),
];

#[test]
fn a_wrong_key_or_value_is_shown_with_what_would_be_right() {
    for (lines, message, carets) in WRONG {
        let shown = shown_after_minimal(lines);
        let number = message.split(':').next().unwrap();
        let line =
            format!("{MINIMAL}{lines}").lines().nth(number.parse::<usize>().unwrap() - 1).unwrap().to_owned();
        if carets.is_empty() {
            assert!(shown.starts_with(&format!("{message}\n{number} | {line}\n")), "{shown}");
        } else {
            assert_eq!(shown, format!("{message}\n{number} | {line}\n  | {carets}"));
        }
    }
}

#[test]
fn a_required_key_that_is_missing_is_shown_how_to_write() {
    assert_eq!(
        shown(""),
        "1:1: `database.url` is missing: write url = \"postgresql://relinkd@localhost/okdesk_bot\" under [database]"
    );
    assert_eq!(
        shown("[database]\nurl = \"postgresql://relinkd@/x\"\n[portal]\n"),
        "3:2: `portal.base_url` is missing: write base_url = \"https://yapomogu55.okdesk.ru\" under [portal]\n\
         3 | [portal]\n  |  ^^^^^^"
    );
}

/// The key that is missing may be the one that is misspelt.
#[test]
fn a_key_that_is_not_known_is_named_before_one_that_is_missing() {
    assert_eq!(
        shown("[database]\nurl = \"host=x\"\n[portal]\nbase_ulr = \"https://a\""),
        "4:1: `portal.base_ulr` is not known; did you mean `base_url`?\n4 | base_ulr = \"https://a\"\n  | ^^^^^^^^"
    );
    for text in ["[portla]\nbase_url = \"https://a\"", "[database]\n[portal]\n[portla]", "[spool]\nx = 1"] {
        assert!(shown(text).contains("` is not known; "), "{}", shown(text));
    }
}

#[test]
fn the_caret_stands_under_the_place() {
    let shown = shown_after_minimal("\ttokenless\t=\t\"ключ\"\t# \u{9b}2J\u{202e}x\r\n");
    assert_eq!(
        shown.lines().skip(1).collect::<Vec<_>>(),
        ["6 |  tokenless = \"ключ\" # \u{fffd}2J\u{fffd}x", "  |              ^^^^^^"]
    );
}

/// Of `[database]`, and of a file that is no TOML, the place is told and no line shown.
#[test]
fn no_line_of_database_is_shown() {
    let cases = [
        "[database]\nurl = 5 # hunter2",
        "[database]\nurl = [\"hunter2\"]",
        "[database]\nurl = { password = \"hunter2\" }",
        "[database]\nurl = \"postgresql://relinkd:hunter2@localhost:port/x\"",
        "[database]\nurl = \"postgresql://relinkd:hunter2@localhost/x?sslmod=require\"",
        "[database]\nurl = \"postgresql://relinkd:hunt/er2@localhost/x\"",
        "[database]\nurl = \"postgresql://relinkd:x@hunter2@localhost/x\"",
        "[database]\nurl = \"postgresql://relinkd:x?hunter2=3@localhost/x\"",
        "[database]\nurl = \"postgresql://relinkd:x/y?hunter2=3@localhost/x\"",
        "[database]\nurl = \"password=a hunter2 host=x\"",
        "[database]\nurl = \"password=a hunter2=4 host=x\"",
        "[database]\nurl = \"password='a'hunter2=4 host=x\"",
        "[database]\nurl = postgresql://relinkd:hunter2@localhost/x",
        "[database]\nurl = \"postgresql://relinkd:hunter2@localhost/x",
        "[database]\nurl \"postgresql://relinkd:hunter2@localhost/x\"",
        "[database]\nurl = \"x=\"\nhunter2",
        "[database]\npassword = \"hunter2\"",
        "[database]\npasword_file = \"hunter2\"",
        "[database]\nurl = \"host=x\"\npassword_file = \"hunter2\"",
        "[database]\nurl = \"host=x\"\n\"hunter2\" = 1",
        "[database\nurl = \"hunter2\"",
        "[databse]\nhost = \"hunter2\"",
        "databse = \"hunter2\"",
        "databse.url = \"hunter2\"",
        "database = \"hunter2\"",
        "database.pasword = \"hunter2\"",
        "database.url = \"hunter2\"",
        "database = { url = \"hunter2\" }",
        "database = { url = hunter2 }",
        "[[database]]\nurl = \"hunter2\"",
        "[database]\npas\n [spool]sword = \"hunter2\"",
        "[database]\nurl = \"\"\"\n[spool]\nrescan = \"\"\" hunter2",
        "\"hunter2",
        "x = \"\"\"\nhunter2\n\"\"\"\nhunter2",
    ];
    for text in cases {
        let shown = shown(text);
        assert!(!shown.contains("hunter2") && !shown.contains("er2"), "{text}\n---\n{shown}");
        assert!(!shown.contains('\n') && shown.contains(": "), "{shown}");
    }
    assert_eq!(
        shown("[database]\npasword_file = \"x\""),
        "2:1: `database.pasword_file` is not known; did you mean `password_file`?"
    );
    assert_eq!(
        shown("[database]\nurl = \"host=x\"\npasswort = 1"),
        "3:1: `database` has a key that is not known; [database] has url, password_file"
    );
    assert_eq!(shown("[database]\nurl = 5"), "2:7: `database.url` must be text in quotes, and is a number");
    assert!(shown("tokenless = keep").starts_with("1:13: not TOML: "), "{}", shown("tokenless = keep"));
    assert!(shown_after_minimal("base_url = \"https://b\"").starts_with("6:1: not TOML: "));
}

#[test]
fn the_password_is_in_no_debug_text() {
    let settings = load_text(&MINIMAL.replace("relinkd@", "relinkd:hunter2@")).unwrap();
    assert_eq!(settings.database.password.as_ref().unwrap().expose(), "hunter2");
    assert!(!format!("{settings:?}").contains("hunter2"));
}

#[test]
fn check_goes_on_with_the_sections_that_are_right() {
    let file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    let parts = |text: &str| {
        fs::write(file.path(), text).unwrap();
        load_parts(file.path())
    };
    let (all, fault) = parts(MINIMAL);
    assert!(fault.is_none() && all.database.is_some() && all.portal.is_some() && all.tables.is_some());
    let (some, fault) = parts(&format!("{MINIMAL}tokenless = \"x\"\n[tables.issues]\nname = \"users\""));
    assert!(fault.is_some() && some.portal.is_none() && some.tables.is_none());
    assert!(some.database.is_some() && some.keyring.is_some() && some.spool.is_some());
    let (none, fault) = parts("spool = [\"/x\", \"1s\"]");
    assert!(fault.is_some() && none.spool.is_none() && none.database.is_none());
}

#[test]
fn the_fingerprint_changes_with_what_decides_links_and_nothing_else() {
    let fingerprint = |text: &str| minimal(text).portal_fingerprint();
    let plain = fingerprint("");
    for same in [
        "aliases = []",
        "tokenless = \"plain\"",
        "[seal]\nplaintext = true",
        "[spool]\nrescan = \"1s\"",
        "[history]\nkeep = \"1d\"",
    ] {
        assert_eq!(fingerprint(same), plain, "{same}");
    }
    for other in [
        "aliases = [\"https://a\"]",
        "tokenless = \"keep\"",
        "token_pattern = \"x\"",
        "[seal]\nplaintext = false",
    ] {
        assert_ne!(fingerprint(other), plain, "{other}");
    }
    let order = |aliases: &str| fingerprint(&format!("aliases = {aliases}"));
    assert_eq!(order("[\"https://a\", \"https://b\"]"), order("[\"https://b\", \"https://a\"]"));
    let base = MINIMAL.replace("yapomogu55", "other");
    assert_ne!(load_text(&base).unwrap().portal_fingerprint(), plain);
}

#[test]
fn says_which_sections_need_a_restart() {
    let loaded = |text: &str| load_text(&format!("{text}\n{MINIMAL}")).unwrap();
    let restart = |text: &str| minimal("").restart_needed(&loaded(text));
    assert!(restart("").is_empty());
    assert!(restart("seal.plaintext = false\naudit.interval = \"1s\"\nkeyring.file = \"/k\"").is_empty());
    assert_eq!(restart("spool.rescan = \"1s\""), ["[spool]"]);
    assert_eq!(restart("tables.users.name = \"u\"\nspool.directory = \"/s\""), ["[spool]", "[tables]"]);
    // What is read again is put in force but for these.
    let in_force =
        loaded("spool.rescan = \"1s\"\nseal.plaintext = false").with_fixed_sections_of(&minimal(""));
    assert!(!in_force.seal.plaintext);
    assert!(in_force.restart_needed(&minimal("")).is_empty());
    let password = MINIMAL.replace("relinkd@", "relinkd:x@");
    assert_eq!(minimal("").restart_needed(&load_text(&password).unwrap()), ["[database]"]);
}

/// Texts that break a file, or mend it, at any place.
fn breakage() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "\"",
        "'",
        "\"\"\"",
        "[",
        "]",
        "=",
        "{",
        "\n",
        "#",
        ",",
        "\\",
        "@",
        "/",
        " ",
        "\n[portal]\n",
        "\n[spool]",
        "x = ",
    ])
}

proptest! {
    /// A password under [database] is shown by no error, however the file is broken around it.
    #[test]
    fn no_error_shows_a_password(
        password in "[A-Z][A-Z0-9]{3}[A-Z!?/=]{1,4}[A-Z]{4}",
        form in 0..8_usize,
        breaks in prop::collection::vec((any::<prop::sample::Index>(), breakage()), 0..4),
    ) {
        let mut line = [
            "url = \"postgresql://relinkd:PW@localhost/x\"",
            "url = \"postgresql://relinkd:PW@localhost/x?bogus=1\"",
            "url = \"host=h password=PW port=x\"",
            "url = \"host=h password='PW' bogus=1\"",
            "password = \"PW\"",
            "pasword = PW",
            "url = \"PW",
            "password_file = \"PW\"",
        ][form].replace("PW", &password);
        for (at, text) in breaks {
            // Not inside the password: a piece of it that is shown must be found below.
            let places: Vec<usize> = (0..=line.len())
                .filter(|place| line.find(&password).is_none_or(|start| *place <= start || *place >= start + password.len()))
                .collect();
            line.insert_str(*at.get(&places), text);
        }
        // What stands in a line of another section is not under [database] any more.
        let above = &line[..line[..line.find(&password).unwrap()].rfind('\n').unwrap_or_default()];
        if above.lines().any(|line| line.trim_start().starts_with('[')) {
            return Ok(());
        }
        if let Err(error) = load_text(&format!("[database]\n{line}\n[portal]\nbase_url = \"https://a\"\n")) {
            let ConfigError::Wrong { fault, .. } = error else { panic!("{error}") };
            for piece in password.as_bytes().windows(4) {
                let piece = std::str::from_utf8(piece).unwrap();
                prop_assert!(!fault.contains(piece), "{piece} in {fault}\nof {line}");
            }
        }
    }

    #[test]
    fn no_file_is_a_panic(text in "(\\[(database|portal|tables|tables\\.users|spool)\\]\n|[a-z_]{1,4} ?= ?|\"|[\"'#{}\\[\\],.\n\\\\я漢0-9 ]){0,40}") {
        let _ = load_text(&text).map_err(|error| error.to_string());
    }
}
