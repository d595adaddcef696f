use super::*;
use proptest::prelude::*;

fn environment() -> Environment {
    Environment { os_user: Some("me".to_owned()), ..Environment::default() }
}

fn parse(text: &str) -> Result<Database, DatabaseFault> {
    Database::of_text(text)?.in_environment(&environment())
}

/// Hosts, user, password and database of a text, briefly.
fn brief(text: &str) -> String {
    let database = parse(text).unwrap_or_else(|fault| panic!("{text}: {fault}"));
    let hosts: Vec<String> = database.hosts.iter().map(ToString::to_string).collect();
    let password =
        database.password.as_ref().map(|password| format!(":{}", password.expose())).unwrap_or_default();
    format!("{}{password}@{}/{}", database.user, hosts.join(","), database.dbname)
}

const SOCKET: &str = "/var/run/postgresql:5432";

#[test]
fn reads_uris_as_libpq_does() {
    let cases = [
        // The examples of the manual.
        ("postgresql://", format!("me@{SOCKET}/me")),
        ("postgresql://localhost", "me@localhost:5432/me".to_owned()),
        ("postgresql://localhost:5433", "me@localhost:5433/me".to_owned()),
        ("postgresql://localhost/mydb", "me@localhost:5432/mydb".to_owned()),
        ("postgresql://user@localhost", "user@localhost:5432/user".to_owned()),
        ("postgresql://user:secret@localhost", "user:secret@localhost:5432/user".to_owned()),
        (
            "postgresql://other@localhost/otherdb?connect_timeout=10&application_name=myapp",
            "other@localhost:5432/otherdb".to_owned(),
        ),
        (
            "postgresql://host1:123,host2:456/somedb?target_session_attrs=any",
            "me@host1:123,host2:456/somedb".to_owned(),
        ),
        ("postgresql:///mydb?host=localhost&port=5433", "me@localhost:5433/mydb".to_owned()),
        ("postgresql://[2001:db8::1234]/database", "me@[2001:db8::1234]:5432/database".to_owned()),
        ("postgresql:///dbname?host=/var/lib/postgresql", "me@/var/lib/postgresql:5432/dbname".to_owned()),
        ("postgresql://%2Fvar%2Flib%2Fpostgresql/dbname", "me@/var/lib/postgresql:5432/dbname".to_owned()),
        // Others.
        ("postgres://u@h/d", "u@h:5432/d".to_owned()),
        ("postgresql://u%40x:p%40%2F%3a%25+@h/d%20e", "u@x:p@/:%+@h:5432/d e".to_owned()),
        ("postgresql://u:a:b?c#d@h/d", "u:a:b?c#d@h:5432/d".to_owned()),
        ("postgresql://u:@h", "u@h:5432/u".to_owned()),
        ("postgresql://:p@h/d", "me:p@h:5432/d".to_owned()),
        ("postgresql://u@/d", format!("u@{SOCKET}/d")),
        ("postgresql://u@h?dbname=d", "u@h:5432/d".to_owned()),
        ("postgresql://u@h/?dbname=d&dbname=e", "u@h:5432/e".to_owned()),
        ("postgresql://h1,h2:1,[::1]:2/d", "me@h1:5432,h2:1,[::1]:2/d".to_owned()),
        ("postgresql://h1,h2/d?port=7", "me@h1:7,h2:7/d".to_owned()),
        ("postgresql://:5433/d", "me@/var/run/postgresql:5433/d".to_owned()),
        ("postgresql://u@h/d?user=v&password=p", "v:p@h:5432/d".to_owned()),
        ("postgresql:///d?host=&port=", format!("me@{SOCKET}/d")),
    ];
    for (text, expected) in cases {
        assert_eq!(brief(text), expected, "{text}");
    }
}

#[test]
fn reads_keywords_and_values_as_libpq_does() {
    let cases = [
        ("host=localhost port=5432 dbname=mydb connect_timeout=10", "me@localhost:5432/mydb".to_owned()),
        ("  host = h\tuser\n=\nu dbname= 'a b' ", "u@h:5432/a b".to_owned()),
        (r"password='it\'s \\ here' user=u\ x host=h", r"u x:it's \ here@h:5432/u x".to_owned()),
        (r"password=a\'b\\c host=h", r"me:a'b\c@h:5432/me".to_owned()),
        ("host='' user=u", format!("u@{SOCKET}/u")),
        ("host=/run/a,h,::1 port=1,,3", "me@/run/a:1,h:5432,[::1]:3/me".to_owned()),
        ("hostaddr=127.0.0.1,::1", "me@127.0.0.1:5432,[::1]:5432/me".to_owned()),
        ("host=a host=b", "me@b:5432/me".to_owned()),
        ("password= user=u host=h", "u@h:5432/u".to_owned()),
        ("user=postgresql://x host=h", "postgresql://x@h:5432/postgresql://x".to_owned()),
    ];
    for (text, expected) in cases {
        // libpq skips blanks after `=`: an empty value before another pair takes that pair's key for its value.
        if text.starts_with("password= ") {
            assert_eq!(parse(text).unwrap().password.unwrap().expose(), "user=u");
        } else {
            assert_eq!(brief(text), expected, "{text}");
        }
    }
}

#[test]
fn reads_every_parameter() {
    let text = "host=h hostaddr=10.0.0.1 application_name='my app' connect_timeout=7 options='-c geqo=off' \
        target_session_attrs=read-write keepalives=1 keepalives_idle=10 keepalives_interval=0 keepalives_count=3 \
        sslmode=verify-full sslrootcert=/r.pem sslcert=/c.pem sslkey=/k.pem";
    let database = parse(text).unwrap();
    assert_eq!(database.hosts[0].hostaddr, Some("10.0.0.1".parse().unwrap()));
    assert_eq!(database.hosts[0].host, Host::Name("h".to_owned()));
    assert_eq!(database.application_name.as_deref(), Some("my app"));
    assert_eq!(database.connect_timeout, Some(Duration::from_secs(7)));
    assert_eq!(database.options.as_deref(), Some("-c geqo=off"));
    assert_eq!(
        database.keepalives,
        Keepalives {
            enabled: Some(true),
            idle: Some(Duration::from_secs(10)),
            interval: None,
            count: Some(3)
        }
    );
    assert_eq!(database.tls.mode, TlsMode::VerifyFull);
    assert_eq!(database.tls.root_cert, Some(RootCert::File("/r.pem".into())));
    assert_eq!(database.tls.client, Some(ClientCert { cert: "/c.pem".into(), key: "/k.pem".into() }));
    assert_eq!(parse("sslmode=prefer").unwrap().tls, Tls::default());
    assert_eq!(parse("connect_timeout=0").unwrap().connect_timeout, None);
    let system = parse("sslrootcert=system").unwrap().tls;
    assert_eq!((system.mode, system.root_cert), (TlsMode::VerifyFull, Some(RootCert::System)));
    for (name, mode) in [
        ("disable", TlsMode::Disable),
        ("allow", TlsMode::Allow),
        ("require", TlsMode::Require),
        ("verify-ca", TlsMode::VerifyCa),
    ] {
        assert_eq!(parse(&format!("postgresql://h?sslmode={name}")).unwrap().tls.mode, mode);
    }
}

#[test]
fn names_a_parameter_that_is_not_known() {
    let cases = [
        (
            "postgresql://h?sslmod=require",
            "has the parameter `sslmod`, which relinkd does not know (did you mean `sslmode`?)",
        ),
        (
            "postgresql://u:p@h?channel_binding=require",
            "has the parameter `channel_binding`, which relinkd does not know;",
        ),
        ("host=h passfile=/p", "has the parameter `passfile`, which relinkd does not know;"),
        ("host=h bogus=1 password=p", "has the parameter `bogus`, which relinkd does not know;"),
        ("password=p gssencmode=disable", "has the parameter `gssencmode`, which"),
        ("postgresql://h?ssl=true", "has the parameter `ssl`, which"),
    ];
    for (text, beginning) in cases {
        let fault = parse(text).unwrap_err().to_string();
        assert!(fault.starts_with(beginning), "{text}: {fault}");
        assert!(fault.contains("host, hostaddr, port") && fault.ends_with("sslkey"), "{fault}");
    }
    // Here it may be a piece of the password.
    assert_eq!(parse("password=p bogus=1"), Err(DatabaseFault::UnnamedKey));
}

#[test]
fn refuses_wrong_values_by_their_key() {
    let cases = [
        ("postgresql://h:0", "port"),
        ("postgresql://h:65536", "port"),
        ("postgresql://h:+1", "port"),
        ("postgresql://h:secret", "port"),
        ("host=a,b,c port=1,2", "port"),
        ("host=a,b hostaddr=127.0.0.1", "hostaddr"),
        ("hostaddr=localhost", "hostaddr"),
        ("host=@abstract", "host"),
        ("host='a b'", "host"),
        ("host=../sockets", "host"),
        ("sslmode=on", "sslmode"),
        ("sslmode=Require", "sslmode"),
        ("sslmode=require sslrootcert=system", "sslmode"),
        ("sslrootcert=root.pem", "sslrootcert"),
        ("connect_timeout=-1", "connect_timeout"),
        ("connect_timeout=10s", "connect_timeout"),
        ("keepalives=yes", "keepalives"),
        ("keepalives_idle=x", "keepalives_idle"),
        ("keepalives_count=99999999999", "keepalives_count"),
        ("target_session_attrs=standby", "target_session_attrs"),
        ("target_session_attrs=read-only", "target_session_attrs"),
    ];
    for (text, wrong) in cases {
        match parse(text) {
            Err(DatabaseFault::Value(key, _)) => assert_eq!(key, wrong, "{text}"),
            other => panic!("{text}: {other:?}"),
        }
    }
    assert_eq!(
        parse("sslmode=on").unwrap_err().to_string(),
        "has a wrong value for `sslmode`: it must be disable, allow, prefer, require, verify-ca or verify-full"
    );
}

#[test]
fn refuses_what_is_no_connection_text() {
    let cases = [
        "",
        "  ",
        "okdesk_bot",
        "host",
        "host=h user",
        "mysql://u@h/d",
        "POSTGRESQL://h",
        "postgresql:/h",
        "user='open",
        "postgresql://%zz",
        "postgresql://h/%4",
        "postgresql://h/%00",
        "postgresql://h/%ff",
        "postgresql://[::1",
        "postgresql://[]",
        "postgresql://[::1]x",
        "postgresql://h?dbname",
        "postgresql://h?dbname=a=b",
        "postgresql://u:p@q@h/d",
        "postgresql://u:p/q@h/d",
        "sslcert=/c.pem",
    ];
    for text in cases {
        assert!(matches!(parse(text), Err(DatabaseFault::Form(_))), "{text}: {:?}", parse(text));
    }
    let nobody = Environment::default();
    let unnamed = Database::of_text("host=h").unwrap();
    assert!(matches!(unnamed.in_environment(&nobody), Err(DatabaseFault::Form(_))));
}

#[test]
fn names_left_out_come_from_the_environment() {
    let environment = Environment {
        pg_user: Some("pguser".to_owned()),
        pg_database: Some("pgdatabase".to_owned()),
        ..environment()
    };
    let names = |text: &str| {
        let database = Database::of_text(text).unwrap().in_environment(&environment).unwrap();
        (database.user, database.dbname)
    };
    assert_eq!(names("postgresql://h"), ("pguser".to_owned(), "pgdatabase".to_owned()));
    assert_eq!(names("postgresql://u@h"), ("u".to_owned(), "pgdatabase".to_owned()));
    assert_eq!(names("postgresql://h/d"), ("pguser".to_owned(), "d".to_owned()));
}

#[test]
fn a_user_that_nobody_named_follows_the_process() {
    let names = |text: &str| {
        let database = parse(text).unwrap().with_os_user("relinkd");
        (database.user, database.dbname)
    };
    assert_eq!(names("postgresql://h"), ("relinkd".to_owned(), "relinkd".to_owned()));
    assert_eq!(names("postgresql://h/d"), ("relinkd".to_owned(), "d".to_owned()));
    assert_eq!(names("postgresql://u@h"), ("u".to_owned(), "u".to_owned()));
}

#[test]
fn debug_shows_no_password() {
    assert!(!format!("{:?}", parse("postgresql://u:hunter2@h").unwrap()).contains("hunter2"));
}

/// A directory with a password file and a file with a password.
fn home() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt as _;
    let home = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = home.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    };
    write(
        ".pgpass",
        "localhost:5432:*:u:of-localhost\n/run/other:*:*:u:of-other\n\\:\\:1:*:*:u:of-v6\n*:*:*:u:of-pgpass\n",
    );
    write("passfile", "*:*:*:*:of-passfile\n");
    write("password", "of-file\n");
    home
}

#[test]
fn passwords_have_an_order() {
    let home = home();
    let mut environment = Environment {
        pg_password: Some(Password::new("of-environment".to_owned())),
        pg_passfile: Some(home.path().join("passfile")),
        home: Some(home.path().to_owned()),
        ..environment()
    };
    let mut database = parse("postgresql://u:of-url@h/d").unwrap();
    database.password_file = Some(FileSource::Path(home.path().join("password")));
    let found = |database: &Database, environment: &Environment| {
        let found = database.password_for(&database.hosts[0], environment).unwrap();
        found.map(|password| password.expose().to_owned())
    };
    assert_eq!(found(&database, &environment).as_deref(), Some("of-url"));
    database.password = None;
    assert_eq!(found(&database, &environment).as_deref(), Some("of-file"));
    assert_eq!(database.configured_password(&environment).unwrap().unwrap().expose(), "of-file");
    database.password_file = None;
    assert_eq!(database.configured_password(&environment).unwrap(), None);
    assert_eq!(found(&database, &environment).as_deref(), Some("of-environment"));
    environment.pg_password = None;
    assert_eq!(found(&database, &environment).as_deref(), Some("of-passfile"));
    environment.pg_passfile = None;
    assert_eq!(found(&database, &environment).as_deref(), Some("of-pgpass"));
    environment.home = None;
    assert_eq!(found(&database, &environment), None);
}

#[test]
fn a_password_file_knows_sockets_and_addresses() {
    let home = home();
    let environment = Environment { home: Some(home.path().to_owned()), ..environment() };
    let found = |text: &str| {
        let database = parse(text).unwrap();
        let found = database.password_for(&database.hosts[0], &environment).unwrap();
        found.map(|password| password.expose().to_owned())
    };
    for (text, password) in [
        ("user=u", Some("of-localhost")),
        ("user=u host=/run/postgresql", Some("of-localhost")),
        ("user=u host=localhost hostaddr=10.0.0.1", Some("of-localhost")),
        ("user=u host=localhost port=5433", Some("of-pgpass")),
        ("user=u host=/run/other port=5433", Some("of-other")),
        ("user=u hostaddr=::1", Some("of-v6")),
        ("user=v", None),
    ] {
        assert_eq!(found(text).as_deref(), password, "{text}");
    }
}

#[test]
fn a_password_file_that_is_ignored_gives_no_password() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = home();
    let path = home.path().join(".pgpass");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let environment = Environment { home: Some(home.path().to_owned()), ..environment() };
    let database = parse("user=u").unwrap();
    let found = database.password_for(&database.hosts[0], &environment).unwrap();
    assert_eq!(found, None);
}

#[test]
fn the_file_of_a_password_holds_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pw");
    let mut database = parse("user=u").unwrap();
    database.password_file = Some(FileSource::Path(path.clone()));
    let read = |content: &[u8]| {
        std::fs::write(&path, content).unwrap();
        database.configured_password(&environment()).map(|password| password.unwrap().expose().to_owned())
    };
    for (content, password) in
        [("x", "x"), ("x\n", "x"), ("x\r\n", "x"), (" x \n", " x "), ("пароль", "пароль")]
    {
        assert_eq!(read(content.as_bytes()).unwrap(), password);
    }
    for content in ["", "\n", "a\nb\n", "x\n\n"] {
        assert!(matches!(read(content.as_bytes()), Err(PasswordError::NoPassword { .. })), "{content:?}");
    }
    assert!(matches!(read(b"\xff"), Err(PasswordError::Unreadable { .. })));
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(database.configured_password(&environment()), Err(PasswordError::Unreadable { .. })));
}

proptest! {
    #[test]
    fn what_is_encoded_is_read(user in "[^\0]{1,12}", password in "[^\0]{1,12}", dbname in "[^\0]{1,12}") {
        let encode = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<Vec<_>>().concat();
        let quote = |text: &str| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"));
        let uri = format!("postgresql://{}:{}@h/{}", encode(&user), encode(&password), encode(&dbname));
        let pairs = format!("user={} password={} dbname={} host=h", quote(&user), quote(&password), quote(&dbname));
        for text in [uri, pairs] {
            let database = parse(&text).unwrap();
            prop_assert_eq!(&database.user, &user);
            let read = database.password.unwrap();
            prop_assert_eq!(read.expose(), &password);
            prop_assert_eq!(&database.dbname, &dbname);
        }
    }

    #[test]
    fn no_text_is_a_panic(text in "(postgresql://)?[a-z=%@:/?&,'\\\\\\[\\] 0-9я]{0,30}") {
        let _ = parse(&text);
    }

    /// A password that is written without the escapes it needs is shown by no fault, and becomes no host that is shown.
    /// Its letters are those that no message of ours uses.
    #[test]
    fn no_fault_shows_a_password(password in "[JQX/@?:#%=&' \\\\,]{4,16}", form in 0..3_usize) {
        let text = [
            "postgresql://u:PW@localhost/d",
            "host=localhost password=PW user=u",
            "postgresql://localhost/d?password=PW&user=u",
        ][form].replace("PW", &password);
        let shown = match parse(&text) {
            Err(fault) => fault.to_string(),
            Ok(database) => format!("{:?} {}", database.hosts, database.dbname),
        };
        for piece in password.as_bytes().windows(3) {
            let piece = std::str::from_utf8(piece).unwrap();
            prop_assert!(!piece.bytes().any(|byte| byte.is_ascii_uppercase()) || !shown.contains(piece), "{}: {}", text, shown);
        }
    }
}
