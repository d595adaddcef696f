use proptest::prelude::*;

use super::*;
use crate::config::FileSource;

const MINIMAL: &str = "[database]\nurl = \"postgresql://relinkd@localhost/okdesk_bot\"\n\n[portal]\nbase_url = \"https://yapomogu55.okdesk.ru\"\n";

fn read(text: &str, surroundings: &Surroundings<'_>) -> Result<Settings, Vec<Complaint>> {
    let (parts, complaints) = read_parts(text, surroundings);
    if complaints.is_empty() { Ok(parts.complete().unwrap()) } else { Err(complaints) }
}

fn environment() -> Environment {
    Environment { os_user: Some("tester".to_owned()), ..Environment::default() }
}

fn load_text(text: &str) -> Result<Settings, ConfigError> {
    let file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    fs::write(file.path(), text).unwrap();
    load_in(file.path(), &environment())
}

/// What is shown of a wrong file called `config.toml`.
fn shown(text: &str) -> String {
    let surroundings = Surroundings { instance: None, environment: &environment() };
    let complaints = read(text, &surroundings).expect_err("the file is wrong");
    Faults { path: "config.toml".into(), complaints }.to_string()
}

/// What is shown of a file that is right but for the lines that are added to its end.
fn shown_after_minimal(text: &str) -> String {
    shown(&format!("{MINIMAL}{text}"))
}

#[test]
fn two_keys_are_enough() {
    let settings = load_text(MINIMAL).unwrap();
    assert_eq!(settings.portal.portal.base().to_string(), "https://yapomogu55.okdesk.ru");
    assert!(settings.portal.aliases.is_empty());
    assert_eq!(settings.portal.tokenless, Tokenless::Plain);
    assert_eq!(settings.portal.token_rule, TokenRule::default());
    assert_eq!(settings.portal.token_pattern, None);
    assert_eq!(settings.keyring, FileSource::Path("/etc/relinkd/keyring.toml".into()));
    assert_eq!(settings.spool.directory, Path::new("/var/spool/relinkd"));
    assert_eq!(settings.spool.rescan.as_secs(), 30);
    assert!(settings.seal_plaintext);
    assert_eq!(settings.audit_interval.as_secs(), 3600);
    let Tables { users, issues } = settings.tables;
    assert_eq!(
        [users.name.to_string(), users.telegram_id, users.portal_token],
        ["public.users", "telegram_id", "portal_token"]
    );
    assert_eq!(
        [issues.name.to_string(), issues.id, issues.telegram_id, issues.url],
        ["public.issues", "id", "telegram_user_id", "okdesk_url"]
    );
    assert_eq!(
        (settings.database.user.as_str(), settings.database.dbname.as_str()),
        ("relinkd", "okdesk_bot")
    );
}

/// The example says what the defaults are: it must mean what a file without them means.
#[test]
fn the_shipped_example_is_the_defaults() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("config.toml.example");
    let example_settings = load_in(&example, &environment()).unwrap();
    assert_eq!(format!("{example_settings:?}"), format!("{:?}", load_text(MINIMAL).unwrap()));
    let text = fs::read_to_string(&example).unwrap();
    for section in crate::config::schema::sections() {
        assert!(text.contains(&format!("\n[{section}]\n")), "{section}");
        for key in crate::config::schema::keys(section) {
            assert!(
                text.contains(&format!("\n{key} = ")) || text.contains(&format!("\n# {key} = ")),
                "{key}"
            );
        }
    }
    // The keys that are commented out are right as well.
    let all =
        text.replace("# password_file =", "password_file =").replace("# token_pattern =", "token_pattern =");
    let settings = load_text(&all).unwrap();
    assert!(settings.portal.token_rule.admit("7812-5733-8392-7092").is_ok());
    assert!(settings.portal.token_rule.admit("7812").is_err());
    assert_eq!(settings.database.password_file, Some(FileSource::Path("/etc/relinkd/password".into())));
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
        [tables]
        users = { name = '"My Schema"."Users"', telegram_id = "TG", portal_token = "tok" }
        issues.name = "tickets"
        issues.id = "no"
        issues.telegram_id = "who"
        issues.url = "link"
    "#;
    let settings = load_text(text).unwrap();
    assert_eq!((settings.database.user.as_str(), settings.database.dbname.as_str()), ("tester", "bot"));
    assert!(settings.database.password_file.unwrap().is_credential());
    assert_eq!(settings.portal.aliases.len(), 2);
    assert_eq!(settings.portal.tokenless, Tokenless::Keep);
    assert!(settings.portal.token_rule.admit("A").is_err());
    assert_eq!(
        settings.keyring,
        FileSource::Credential { name: "ring".to_owned(), unit: "relinkd.service".to_owned() }
    );
    assert_eq!(
        (settings.spool.directory.as_path(), settings.spool.rescan.as_millis()),
        (Path::new("/srv/spool"), 500)
    );
    assert!(!settings.seal_plaintext);
    assert_eq!(settings.audit_interval.as_secs(), 600);
    assert_eq!(settings.tables.users.name.to_string(), "\"My Schema\".\"Users\"");
    assert_eq!(settings.tables.users.telegram_id, "TG");
    assert_eq!(settings.tables.issues.name.to_string(), "public.tickets");
    assert_eq!(settings.tables.issues.url, "link");
}

#[test]
fn instances_have_a_keyring_and_a_spool_of_their_own() {
    assert_eq!(instance(Path::new("/etc/relinkd/shop.toml")).as_deref(), Some("shop"));
    for path in
        ["/etc/relinkd/config.toml", "/etc/relinkd/shop.conf", "/etc/relinkd/sub/shop.toml", "/tmp/shop.toml"]
    {
        assert_eq!(instance(Path::new(path)), None, "{path}");
    }
    let environment = environment();
    let shop = Surroundings { instance: Some("shop".to_owned()), environment: &environment };
    let settings = read(MINIMAL, &shop).unwrap();
    assert_eq!(settings.keyring, FileSource::Path("/etc/relinkd/shop.keyring.toml".into()));
    assert_eq!(settings.spool.directory, Path::new("/var/spool/relinkd/shop"));
    let settings = read(&format!("{MINIMAL}[keyring]\nfile = \"credential:k\""), &shop).unwrap();
    let root = Environment { root: true, ..Environment::default() };
    assert_eq!(settings.keyring.path(&root).unwrap(), Path::new("/run/credentials/relinkd@shop.service/k"));
}

#[test]
fn the_command_line_chooses_first() {
    let (typed, set) = (PathBuf::from("/a.toml"), PathBuf::from("/b.toml"));
    assert_eq!(choose(Some(typed.clone()), Some(set.clone())), typed);
    assert_eq!(choose(None, Some(set.clone())), set);
    assert_eq!(choose(None, None), Path::new("/etc/relinkd/config.toml"));
}

#[test]
fn an_unreadable_file_is_an_error() {
    let absent = load_in(Path::new("/nonexistent/config.toml"), &environment()).unwrap_err();
    assert_eq!(
        absent.to_string(),
        "the configuration /nonexistent/config.toml cannot be read: No such file or directory (os error 2)"
    );
    assert!(matches!(load_in(Path::new("/tmp"), &environment()), Err(ConfigError::Unreadable { .. })));
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), b"[portal]\n# \xd1\x8f \xff hunter2").unwrap();
    let error = load_in(file.path(), &environment()).unwrap_err().to_string();
    assert!(error.ends_with(":2:5: not UTF-8 text from here on"), "{error}");
}

#[test]
fn a_misspelt_key_shows_its_line_and_what_was_meant() {
    assert_eq!(
        shown_after_minimal("tokenles = \"plain\" # as before\n"),
        "config.toml:6:1: `portal.tokenles` is not known; did you mean `tokenless`?\n\
         6 | tokenles = \"plain\" # as before\n  | ^^^^^^^^"
    );
    assert_eq!(
        shown_after_minimal("[spol]\nrescan = \"1s\"\n"),
        "config.toml:6:2: `spol` is not known; did you mean `spool`?\n6 | [spol]\n  |  ^^^^"
    );
    assert_eq!(
        shown_after_minimal("[tables.user]\nname = \"x\"\n"),
        "config.toml:6:9: `tables.user` is not known; did you mean `users`?\n6 | [tables.user]\n  |         ^^^^"
    );
    assert_eq!(
        shown_after_minimal("colour = 1\n"),
        "config.toml:6:1: `portal.colour` is not known; [portal] has base_url, aliases, tokenless, token_pattern\n\
         6 | colour = 1\n  | ^^^^^^"
    );
}

#[test]
fn every_fault_is_found_at_once() {
    let text = "rescan = \"1s\"\n[database]\nurl = \"mysql://x\"\n[portal]\nbase_url = \"yapomogu55.okdesk.ru\"\n\
        tokenless = \"never\"\naliases = [\"https://a\", 5, \"ftp://b\"]\ntoken_pattern = \"(\"\n[seal]\nplaintext = \"yes\"\n\
        [spool]\nrescan = 30\ndirectory = \"spool\"\n[audit]\ninterval = \"1d\"\n[tables.users]\nname = \"a.b.c\"\n\
        telegram_id = \"\"\n[keyring]\nfile = \"keyring.toml\"\n[tables]\nissues = 1\n[log]\nlevel = 3\n";
    let text = shown(text);
    let places: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("config.toml:")?.split(' ').nth(1)).collect();
    assert_eq!(
        places,
        [
            "`rescan`",
            "`database.url`",
            "`portal.base_url`",
            "`portal.tokenless`",
            "`portal.aliases`",
            "`portal.aliases`",
            "`portal.token_pattern`",
            "`seal.plaintext`",
            "`spool.rescan`",
            "`spool.directory`",
            "`audit.interval`",
            "`tables.users.name`",
            "`tables.users.telegram_id`",
            "`keyring.file`",
            "`tables.issues`",
            "`log`"
        ],
        "{text}"
    );
}

#[test]
fn each_fault_says_what_would_be_right() {
    let cases = [
        (
            "tokenless = \"sometimes\"",
            "config.toml:6:13: `portal.tokenless` must be \"plain\" or \"keep\"\n6 | tokenless = \"sometimes\"\n  |             ^^^^^^^^^^^",
        ),
        (
            "tokenless = true",
            "config.toml:6:13: `portal.tokenless` must be text in quotes, and is true or false\n6 | tokenless = true\n  |             ^^^^",
        ),
        (
            "aliases = \"https://a\"",
            "config.toml:6:11: `portal.aliases` must be a list of texts, as in [\"https://…\"], and is text\n6 | aliases = \"https://a\"\n  |           ^^^^^^^^^^^",
        ),
        (
            "[seal]\nplaintext = 1",
            "config.toml:7:13: `seal.plaintext` must be true or false, without quotes, and is a number\n7 | plaintext = 1\n  |             ^",
        ),
        (
            "[spool]\nrescan = \"30\"",
            "config.toml:7:10: `spool.rescan` must be a whole number and a unit, as in \"500ms\", \"30s\", \"10m\" or \"1h\"\n7 | rescan = \"30\"\n  |          ^^^^",
        ),
        (
            "[spool]\ndirectory = \"spool\"",
            "config.toml:7:13: `spool.directory` must be an absolute path\n7 | directory = \"spool\"\n  |             ^^^^^^^",
        ),
        (
            "[keyring]\nfile = \"k.toml\"",
            "config.toml:7:8: `keyring.file` must be an absolute path, or \"credential:NAME\"\n7 | file = \"k.toml\"\n  |        ^^^^^^^^",
        ),
        (
            "[tables]\nusers = \"users\"",
            "config.toml:7:9: `tables.users` must be a section, written as [tables.users]\n7 | users = \"users\"\n  |         ^^^^^^^",
        ),
        (
            "base_url = \"https://b\"",
            "config.toml:6:1: this key stands in the file a second time: keep one of them\n6 | base_url = \"https://b\"\n  | ^^^^^^^^",
        ),
        (
            "tokenless = keep",
            "config.toml:6:13: not TOML: text must stand in quotes\n6 | tokenless = keep\n  |             ^^^^",
        ),
    ];
    for (line, complaint) in cases {
        assert_eq!(shown_after_minimal(line), complaint);
    }
}

#[test]
fn what_is_missing_is_shown_how_to_write() {
    assert_eq!(
        shown(""),
        "config.toml:1:1: `database.url` is missing: write url = \"postgresql://relinkd@localhost/okdesk_bot\" under \
         [database]\nconfig.toml:1:1: `portal.base_url` is missing: write base_url = \"https://yapomogu55.okdesk.ru\" \
         under [portal]"
    );
    assert_eq!(
        shown("[database]\nurl = \"postgresql://relinkd@/x\"\n[portal]\n"),
        "config.toml:3:2: `portal.base_url` is missing: write base_url = \"https://yapomogu55.okdesk.ru\" under \
         [portal]\n3 | [portal]\n  |  ^^^^^^"
    );
}

#[test]
fn the_caret_stands_under_the_place() {
    let line = |comment: &str| {
        let shown = shown_after_minimal(&format!("\ttokenless\t=\t\"{comment}\"\t# x\r\n"));
        let mut lines = shown.lines().skip(1).map(str::to_owned);
        (lines.next().unwrap(), lines.next().unwrap())
    };
    assert_eq!(
        line("ключ"),
        ("6 |  tokenless = \"ключ\" # x".to_owned(), "  |              ^^^^^^".to_owned())
    );
    assert_eq!(
        line("漢字"),
        ("6 |  tokenless = \"漢字\" # x".to_owned(), "  |              ^^^^^^".to_owned())
    );
}

#[test]
fn a_line_that_may_hold_a_secret_is_not_shown() {
    let cases = [
        // Under [database] nothing is shown, whatever is wrong.
        "[database]\nurl = 5 # hunter2\n[portal]\nbase_url = \"https://a\"",
        "[database]\nurl = \"postgresql://relinkd:hunter2@localhost:port/x\"\n[portal]\nbase_url = \"https://a\"",
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
        "[database\nurl = \"hunter2\"",
        "[databse]\nhost = hunter2",
        "databse = \"hunter2\"",
        "database = \"hunter2\"",
        "database.pasword = \"hunter2\"",
        "database = { url = hunter2 }",
        "[[database]]\nurl = \"hunter2\"",
        "[database]\npas\n [spool]sword = \"hunter2\"",
        "[database]\nurl = \"\"\"\n[spool]\nrescan = \"\"\" hunter2",
        // Nor is what nobody can know.
        "\"hunter2",
        "x = \"\"\"\nhunter2\n\"\"\"\nhunter2",
        "[portal]\ntoken = \"hunter2\"",
        "[portal]\napi_key = \"hunter2\"",
        "[portal]\nbase_url = \"https://u:hunter2@a\"",
        "[portal]\nbase_url = \"https://a/login?token=hunter2\"",
        "[keyring]\nk2026a = \"hunter2\"",
        "[portal]\ntokenless = \"x\" # the password is hunter2",
    ];
    for text in cases {
        let shown = shown(text);
        assert!(!shown.contains("hunter2") && !shown.contains("er2"), "{text}\n---\n{shown}");
        assert!(shown.starts_with("config.toml:"), "{shown}");
    }
    for secret in ["7812-5733-8392-7092", "q8ZrB0nD7cXw1vLk2mPj3hGf4sTa5yUe6iOo9pAbCdE"] {
        for text in [
            format!("[portal]\nadmin = \"{secret}\""),
            format!("[keyring]\nfile = \"{secret}\""),
            format!("[portal]\n\"{secret}\" = 1"),
        ] {
            assert!(!shown(&text).contains(&secret[5..]), "{}", shown(&text));
        }
    }
}

#[test]
fn the_password_is_in_no_debug_text() {
    let text = MINIMAL.replace("relinkd@", "relinkd:hunter2@");
    let settings = load_text(&text).unwrap();
    assert_eq!(settings.database.password.as_ref().unwrap().expose(), "hunter2");
    assert!(!format!("{settings:?}").contains("hunter2"));
}

#[test]
fn the_fingerprint_changes_with_what_decides_links_and_nothing_else() {
    let fingerprint = |text: &str| load_text(&format!("{MINIMAL}{text}")).unwrap().portal_fingerprint();
    let plain = fingerprint("");
    for same in [
        "aliases = []",
        "tokenless = \"plain\"",
        "[seal]\nplaintext = true",
        "[spool]\nrescan = \"1s\"",
        "[audit]\ninterval = \"2h\"",
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
fn a_name_means_one_thing_and_a_pattern_something() {
    for (text, fault) in [
        ("token_pattern = \"\"", "would admit no token"),
        ("[tables.users]\nportal_token = \"telegram_id\"", "names a column that is something else already"),
        ("[tables.issues]\ntelegram_id = \"id\"", "names a column that is something else already"),
        ("[tables.issues]\nurl = \"telegram_user_id\"", "names a column that is something else already"),
        ("[tables.issues]\nname = \"users\"", "must be another table"),
    ] {
        let said = load_text(&format!("{MINIMAL}{text}")).unwrap_err().to_string();
        assert!(said.contains(fault), "{text}: {said}");
    }
}

#[test]
fn says_which_sections_need_a_restart() {
    let restart = |text: &str| {
        load_text(MINIMAL).unwrap().restart_needed(&load_text(&format!("{text}\n{MINIMAL}")).unwrap())
    };
    assert!(restart("").is_empty());
    assert!(restart("seal.plaintext = false\naudit.interval = \"1s\"\nkeyring.file = \"/k\"").is_empty());
    assert_eq!(restart("spool.rescan = \"1s\""), ["[spool]"]);
    assert_eq!(restart("tables.users.name = \"u\"\nspool.directory = \"/s\""), ["[spool]", "[tables]"]);
    // What is read again is put in force but for these.
    let (old, new) = (
        load_text(MINIMAL).unwrap(),
        load_text(&format!("spool.rescan = \"1s\"\nseal.plaintext = false\n{MINIMAL}")).unwrap(),
    );
    let in_force = new.with_fixed_sections_of(&old);
    assert!(!in_force.seal_plaintext);
    assert!(in_force.restart_needed(&old).is_empty());
    let password = MINIMAL.replace("relinkd@", "relinkd:x@");
    assert_eq!(load_text(MINIMAL).unwrap().restart_needed(&load_text(&password).unwrap()), ["[database]"]);
}

/// Texts that break a file, or mend it, at any place.
fn breakage() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("\""),
        Just("'"),
        Just("\"\"\""),
        Just("["),
        Just("]"),
        Just("="),
        Just("{"),
        Just("\n"),
        Just("#"),
        Just(","),
        Just("\\"),
        Just("@"),
        Just("/"),
        Just(" "),
        Just("\n[portal]\n"),
        Just("\n[spool]"),
        Just("x = "),
    ]
    .prop_map(str::to_owned)
}

proptest! {
    /// A password under [database] is shown by no error, however the file is broken around it.
    #[test]
    fn no_error_shows_a_password(
        password in "[A-Z][A-Z0-9]{3}[A-Z!?/=]{1,4}[A-Z]{4}",
        form in 0..8_usize,
        breaks in prop::collection::vec((any::<prop::sample::Index>(), breakage()), 0..4),
    ) {
        let line = [
            "url = \"postgresql://relinkd:PW@localhost/x\"",
            "url = \"postgresql://relinkd:PW@localhost/x?bogus=1\"",
            "url = \"host=h password=PW port=x\"",
            "url = \"host=h password='PW' bogus=1\"",
            "password = \"PW\"",
            "pasword = PW",
            "url = \"PW",
            "password_file = \"PW\"",
        ][form].replace("PW", &password);
        let mut line = line;
        for (at, text) in breaks {
            // Not inside the password: a piece of it that is shown must be found below.
            let places: Vec<usize> = (0..=line.len())
                .filter(|place| line.is_char_boundary(*place))
                .filter(|place| line.find(&password).is_none_or(|start| *place <= start || *place >= start + password.len()))
                .collect();
            line.insert_str(*at.get(&places), &text);
        }
        // What stands in a line of another section is not under [database] any more.
        let above = &line[..line[..line.find(&password).unwrap()].rfind('\n').unwrap_or_default()];
        if above.lines().any(|line| line.trim_start().starts_with('[')) {
            return Ok(());
        }
        let text = format!("[database]\n{line}\n[portal]\nbase_url = \"https://a\"\n");
        let environment = environment();
        if let Err(complaints) = read(&text, &Surroundings { instance: None, environment: &environment }) {
            let shown = Faults { path: "config.toml".into(), complaints }.to_string();
            for piece in password.as_bytes().windows(4) {
                let piece = std::str::from_utf8(piece).unwrap();
                prop_assert!(!shown.contains(piece), "{piece} in {shown}\nof {text}");
            }
        }
    }

    #[test]
    fn no_file_is_a_panic(text in "(\\[(database|portal|tables|tables\\.users|spool)\\]\n|[a-z_]{1,4} ?= ?|\"|[\"'#{}\\[\\],.\n\\\\я漢0-9 ]){0,40}") {
        let _ = read(&text, &Surroundings { instance: None, environment: &environment() })
            .map_err(|complaints| Faults { path: "c".into(), complaints }.to_string());
    }
}
