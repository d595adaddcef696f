use super::*;
use crate::envelope::UnusableReason;
use crate::token::TokenFault;
use proptest::prelude::*;

const TOKEN: &str = "7812-5733-8392-7092";

fn portal() -> Portal {
    Portal::new(
        Origin::parse("https://yapomogu55.okdesk.ru").unwrap(),
        vec![Origin::parse("https://help.example.org:8443").unwrap()],
    )
}

fn token() -> Token {
    Token::parse(TOKEN).unwrap()
}

fn with_token(written: &str) -> String {
    let new = decide(&portal(), written, &TokenState::Plaintext(token()), Tokenless::Plain, false);
    new.unwrap_or_else(|| written.to_owned())
}

fn without_token(written: &str) -> String {
    let new = decide(&portal(), written, &TokenState::None, Tokenless::Plain, false);
    new.unwrap_or_else(|| written.to_owned())
}

/// Each: what is found, and the tail of the plain form of issue 123.
const OURS: &[(&str, &str)] = &[
    ("https://yapomogu55.okdesk.ru/issues/123", ""),
    ("https://yapomogu55.okdesk.ru/issues/123/", ""),
    ("https://yapomogu55.okdesk.ru/issues/123?tab=files#comment-5", "?tab=files#comment-5"),
    ("https://yapomogu55.okdesk.ru/issues/123/?tab=files", "?tab=files"),
    ("https://yapomogu55.okdesk.ru/issues/123?", "?"),
    ("https://yapomogu55.okdesk.ru/issues/123#", "#"),
    ("https://yapomogu55.okdesk.ru/issues/123?a=1&b=2+3&c=%20%zz", "?a=1&b=2+3&c=%20%zz"),
    ("https://yapomogu55.okdesk.ru/issues/123?q=привет\"<>[]^`{|}", "?q=привет\"<>[]^`{|}"),
    ("http://yapomogu55.okdesk.ru/issues/123", ""),
    ("HTTPS://YaPomogu55.OKDESK.ru/issues/123", ""),
    ("https://yapomogu55.okdesk.ru:443/issues/123", ""),
    ("http://yapomogu55.okdesk.ru:80/issues/123", ""),
    ("https://help.example.org:8443/issues/123", ""),
    ("http://help.example.org:8443/issues/123", ""),
    ("https://yapomogu55.okdesk.ru/api/v1/issues/123", ""),
    ("https://yapomogu55.okdesk.ru/api/v1/issues/123?api_token=secret#x", ""),
    ("https://yapomogu55.okdesk.ru/login?token=OLD&redirect=/issues/123", ""),
    ("https://yapomogu55.okdesk.ru/login?redirect=/issues/123&token=OLD", ""),
    ("https://yapomogu55.okdesk.ru/login?a=b&redirect=/issues/123&token=OLD&c", ""),
    ("https://yapomogu55.okdesk.ru/login?redirect=/issues/123", ""),
    ("https://yapomogu55.okdesk.ru/login?token=&redirect=/issues/123/", ""),
    ("https://yapomogu55.okdesk.ru/login?token=OLD&redirect=/issues/123#outer", ""),
    ("https://yapomogu55.okdesk.ru/login?token=OLD&redirect=issues/123", ""),
    ("https://yapomogu55.okdesk.ru/login?token=OLD&redirect=%2Fissues%2F123", ""),
    ("https://yapomogu55.okdesk.ru/login?token=OLD&redirect=/api/v1/issues/123?x=1", ""),
    ("https://yapomogu55.okdesk.ru/login?token=OLD&redirect=https://yapomogu55.okdesk.ru/issues/123", ""),
    (
        "https://yapomogu55.okdesk.ru/login?token=OLD&redirect=http%3A%2F%2FYAPOMOGU55.okdesk.ru%3A80%2Fissues%2F123%3Fa%3D1",
        "?a=1",
    ),
    (
        "https://yapomogu55.okdesk.ru/login?token=OLD&redirect=https://help.example.org:8443/api/v1/issues/123",
        "",
    ),
    (
        "https://yapomogu55.okdesk.ru/login?token=OLD&redirect=/issues/123?tab=files%23comment-5",
        "?tab=files#comment-5",
    ),
    (
        "https://yapomogu55.okdesk.ru/login?token=OLD&redirect=/issues/123?q=a%20b%0A%5C%7F",
        "?q=a%20b%0A%5C%7F",
    ),
    ("https://yapomogu55.okdesk.ru/login?token=OLD&redirect=/issues/123?q=%FF%d0%bf%zz%", "?q=%FFп%zz%"),
    ("https://yapomogu55.okdesk.ru/login?token=OLD&redirect=/issues/123?q=a+b%2Bc", "?q=a+b+c"),
];

const NOT_OURS: &[&str] = &[
    "",
    "/issues/123",
    "yapomogu55.okdesk.ru/issues/123",
    "https://yapomogu55.okdesk.ru",
    "https://yapomogu55.okdesk.ru/",
    "https://yapomogu55.okdesk.ru/issues",
    "https://yapomogu55.okdesk.ru/issues/",
    "https://yapomogu55.okdesk.ru/issues//",
    "https://yapomogu55.okdesk.ru/issues/123//",
    "https://yapomogu55.okdesk.ru//issues/123",
    "https://yapomogu55.okdesk.ru/issues/new",
    "https://yapomogu55.okdesk.ru/issues/1/edit",
    "https://yapomogu55.okdesk.ru/issues/١٢٣",
    "https://yapomogu55.okdesk.ru/issues/+1",
    "https://yapomogu55.okdesk.ru/issues/%31",
    "https://yapomogu55.okdesk.ru/Issues/1",
    "https://yapomogu55.okdesk.ru/./issues/1",
    "https://yapomogu55.okdesk.ru/x/../issues/1",
    "https://yapomogu55.okdesk.ru/issues/1/..",
    "https://yapomogu55.okdesk.ru/issues/1;x=1",
    "https://yapomogu55.okdesk.ru/issues/1?a=\\",
    "https://yapomogu55.okdesk.ru/issues/1 ",
    " https://yapomogu55.okdesk.ru/issues/1",
    "https://yapomogu55.okdesk.ru/iss\tues/1",
    "https://yapomogu55.okdesk.ru/issues/1\n",
    "https://yapomogu55.okdesk.ru/issues/1?\u{7f}",
    "https:\\\\yapomogu55.okdesk.ru\\issues\\1",
    "https:/yapomogu55.okdesk.ru/issues/1",
    "https:yapomogu55.okdesk.ru/issues/1",
    "https:///yapomogu55.okdesk.ru/issues/1",
    "ftp://yapomogu55.okdesk.ru/issues/1",
    "https://yapomogu55.okdesk.ru:8443/issues/1",
    "https://yapomogu55.okdesk.ru:80/issues/1",
    "http://yapomogu55.okdesk.ru:443/issues/1",
    "https://yapomogu55.okdesk.ru:/issues/1",
    "https://yapomogu55.okdesk.ru:0443/issues/1",
    "https://yapomogu55.okdesk.ru:443x/issues/1",
    "https://yapomogu55.okdesk.ru:99999/issues/1",
    "https://help.example.org/issues/1",
    "https://yapomogu55.okdesk.ru.evil.example/issues/1",
    "https://yapomogu55.okdesk.ru./issues/1",
    "https://yapomogu55%2Eokdesk.ru/issues/1",
    "https://evil.example/issues/1#https://yapomogu55.okdesk.ru/issues/1",
    "https://user@yapomogu55.okdesk.ru/issues/1",
    "https://user:pw@yapomogu55.okdesk.ru/issues/1",
    "https://@yapomogu55.okdesk.ru/issues/1",
    "https://yapomogu55.okdesk.ru@evil.example/issues/1",
    "https://yapomogu55.okdesk.ru/login",
    "https://yapomogu55.okdesk.ru/login?token=T",
    "https://yapomogu55.okdesk.ru/login/?token=T&redirect=/issues/1",
    "https://yapomogu55.okdesk.ru/login?token=T&redirect=/issues/1&redirect=/issues/2",
    "https://yapomogu55.okdesk.ru/login?token=T&redirect=/issues/1&%72edirect=/issues/2",
    "https://yapomogu55.okdesk.ru/login?token=T&redirect=",
    "https://yapomogu55.okdesk.ru/login?token=T&redirect=/",
    "https://yapomogu55.okdesk.ru/login?token=T&redirect=//evil.example/issues/1",
    "https://yapomogu55.okdesk.ru/login?token=T&redirect=%2F%2Fevil.example/issues/1",
    "https://yapomogu55.okdesk.ru/login?token=T&redirect=//yapomogu55.okdesk.ru/issues/1",
    "https://yapomogu55.okdesk.ru/login?token=T&redirect=/%5Cevil.example/issues/1",
    "https://yapomogu55.okdesk.ru/login?token=T&redirect=https://evil.example/issues/1",
    "https://yapomogu55.okdesk.ru/login?token=T&redirect=https://u@yapomogu55.okdesk.ru/issues/1",
    "https://yapomogu55.okdesk.ru/login?token=T&redirect=/issues/new",
    "https://yapomogu55.okdesk.ru/login?token=T&redirect=/issues/../issues/1",
    "https://yapomogu55.okdesk.ru/login?token=T&redirect=%252Fissues%252F1",
    "https://yapomogu55.okdesk.ru/login?token=T&redirect=/login?redirect=/issues/1",
    "https://yapomogu55.okdesk.ru/login?token=T#&redirect=/issues/1",
];

#[test]
fn every_shape_of_ours_goes_to_both_forms_and_back() {
    let base = "https://yapomogu55.okdesk.ru";
    for (found, tail) in OURS {
        let plain = format!("{base}/issues/123{tail}");
        assert_eq!(without_token(found), plain, "{found}");
        let login = with_token(found);
        assert!(login.starts_with(&format!("{base}/login?token={TOKEN}&redirect=/issues/123")), "{login}");
        assert_eq!(with_token(&login), login, "idempotent: {found}");
        assert_eq!(without_token(&login), plain, "and back: {found}");
        assert_eq!(without_token(&plain), plain, "idempotent: {found}");
    }
}

#[test]
fn a_link_says_how_it_is_written_and_what_it_carries() {
    for (path, shape, token) in [
        ("issues/123?a#b", Shape::Plain, None),
        ("api/v1/issues/123", Shape::Api, None),
        ("login?redirect=/api/v1/issues/123", Shape::Login, None),
        ("login?token=&redirect=/issues/123", Shape::Login, None),
        ("login?token=a%20b&token=c&redirect=issues/123", Shape::Login, Some("a b")),
    ] {
        let link = portal().read(&format!("https://yapomogu55.okdesk.ru/{path}")).unwrap();
        assert_eq!((link.shape, link.number.as_str()), (shape, "123"), "{path}");
        assert_eq!(link.token.as_ref().map(|token| token.as_str()), token, "{path}");
    }
    for (link, on) in [
        ("https://yapomogu55.okdesk.ru", true),
        ("http://help.example.org:8443/new?x", true),
        ("https://yapomogu55.okdesk.ru/a b", false),
        ("https://help.example.org/", false),
        ("issues/123", false),
    ] {
        assert_eq!(portal().is_on(link), on, "{link}");
    }
}

#[test]
fn escapes_stand_for_characters_of_any_length() {
    let kept = |text: &str| percent::decode(text, |character| character == '€');
    for (written, decoded) in [
        ("%41%d1%8F%E2%82%ac%F0%9F%94%91%", "AяEURO🔑%"),
        // No character: a byte that begins none, one that is cut short, one too long, one that is not followed.
        ("%ff%80%C3%E2%82x%F0%9F%94", "%ff%80%C3%E2%82x%F0%9F%94"),
        ("%C0%80%F8%88%80%80%80%4", "%C0%80%F8%88%80%80%80%4"),
        ("%D1я%zz%4", "%D1я%zz%4"),
    ] {
        assert_eq!(kept(written), decoded.replace("EURO", "%E2%82%ac"));
        assert_eq!(percent::decode(written, read::nothing), decoded.replace("EURO", "€"));
    }
}

#[test]
fn whoever_encodes_too_often_gets_nothing_shown() {
    for (depth, shown) in [(1, "7812…"), (16, "7812…"), (17, "…")] {
        let equals = format!("%{}3D", "25".repeat(depth - 1));
        let masked = mask(&format!("https://x/?token{equals}7812-5733-8392"));
        assert_eq!(masked.as_str(), format!("https://x/?token{equals}{shown}"), "{depth}");
    }
    // What looks like a hint and is none.
    for value in ["abc…", "abcde…", "абвг…", "abcdefghijklmn"] {
        let masked = mask(&format!("https://x/?code={value}"));
        let shown = if value.len() == 14 { "abcd…" } else { "…" };
        assert_eq!(masked.as_str(), format!("https://x/?code={shown}"), "{value}");
    }
}

#[test]
fn what_is_not_ours_is_left_to_the_byte() {
    for found in NOT_OURS {
        assert_eq!(with_token(found), *found);
        assert_eq!(without_token(found), *found);
    }
}

#[test]
fn the_two_forms_are_those_of_the_contract() {
    let plain = "https://yapomogu55.okdesk.ru/issues/123";
    assert_eq!(
        with_token(plain),
        "https://yapomogu55.okdesk.ru/login?token=7812-5733-8392-7092&redirect=/issues/123"
    );
    assert_eq!(
        with_token("https://yapomogu55.okdesk.ru/issues/0123?a=1&b=2+3&c=%20;d=(e)[f]:@/?é#x"),
        "https://yapomogu55.okdesk.ru/login?token=7812-5733-8392-7092&redirect=/issues/0123?a=1%26b=2%2B3%26c=%2520%3Bd=(e)%5Bf%5D:@/?%C3%A9%23x"
    );
    let odd = Token::parse("a+b/c=&%~._-\\").unwrap();
    let link = portal().read(plain).unwrap();
    assert_eq!(
        portal().login(&link, &odd),
        "https://yapomogu55.okdesk.ru/login?token=a%2Bb%2Fc%3D%26%25~._-%5C&redirect=/issues/123"
    );
    let again = portal().read(&portal().login(&link, &odd)).unwrap();
    assert_eq!(again.token.as_ref().map(|t| t.as_str()), Some("a+b/c=&%~._-\\"));
}

#[test]
fn keep_and_unusable_leave_links_alone_unless_stripped() {
    let login = "https://yapomogu55.okdesk.ru/login?token=OLD&redirect=issues/1";
    let stripped = Some("https://yapomogu55.okdesk.ru/issues/1".to_owned());
    let tokenless_login = "https://yapomogu55.okdesk.ru/login?redirect=issues/1";
    let api = "https://yapomogu55.okdesk.ru/api/v1/issues/1";
    let unusable = || TokenState::Unusable(UnusableReason::Plaintext(TokenFault::TooLong));
    for (state, tokenless) in
        [(TokenState::None, Tokenless::Keep), (unusable(), Tokenless::Keep), (unusable(), Tokenless::Plain)]
    {
        assert!(decide(&portal(), login, &state, tokenless, false).is_none());
        assert!(decide(&portal(), login, &state, tokenless, true) == stripped);
        assert!(decide(&portal(), tokenless_login, &state, tokenless, true).is_none());
        assert!(decide(&portal(), api, &state, tokenless, true).is_none());
    }
}

#[test]
fn origins_are_scheme_host_and_port() {
    for (text, shown) in [
        ("https://a.example", "https://a.example"),
        ("HTTP://A.Example:8080", "http://a.example:8080"),
        ("https://a.example:443", "https://a.example"),
        ("http://[::1]:3000", "http://[::1]:3000"),
        ("https://портал.рф", "https://xn--80awhdgm.xn--p1ai"),
    ] {
        assert_eq!(Origin::parse(text).map(|origin| origin.to_string()).as_deref(), Ok(shown));
    }
    for text in [
        "",
        "a.example",
        "ftp://a.example",
        "https://",
        "https://a.example/",
        "https://a.example/x",
        "https://a.example?x",
        "https://a.example#x",
        "https://u@a.example",
        "https://@a.example",
        "https:a.example",
        "https:\\\\a.example",
        " https://a.example",
        "https://a.example\\",
        "https://a.exam\tple",
        "https://a.example\n",
        "https://a.example\u{7f}",
    ] {
        assert!(Origin::parse(text).is_err(), "{text}");
    }
}

#[test]
fn an_international_host_is_ours_in_both_spellings() {
    let portal = Portal::new(Origin::parse("https://портал.рф").unwrap(), vec![]);
    for host in ["портал.рф", "ПОРТАЛ.РФ", "xn--80awhdgm.xn--p1ai"] {
        let link = portal.read(&format!("https://{host}/issues/7")).expect(host);
        assert_eq!(portal.plain(&link), "https://xn--80awhdgm.xn--p1ai/issues/7");
    }
    for host in ["evil.example", "xn--e1afmkfd.xn--p1ai", "портал.рф.evil.example", "пример.рф"]
    {
        assert!(portal.read(&format!("https://{host}/issues/7")).is_none(), "{host}");
    }
    assert!(super::tests::portal().read("https://ｙapomogu55.okdesk.ru/issues/7").is_none());
    let v6 = Portal::new(Origin::parse("http://[::1]:3000").unwrap(), vec![]);
    assert!(v6.read("http://[::1]:3000/issues/7").is_some());
    assert!(v6.read("http://[::1]/issues/7").is_none());
}

#[test]
fn a_semicolon_in_a_tail_cannot_split_the_login_link() {
    let plain = "https://yapomogu55.okdesk.ru/issues/123?a=1;token=x#b;c";
    let login = with_token(plain);
    assert_eq!(
        login,
        format!(
            "https://yapomogu55.okdesk.ru/login?token={TOKEN}&redirect=/issues/123?a=1%3Btoken=x%23b%3Bc"
        )
    );
    assert_eq!(without_token(&login), plain);
    let before = login.replace("%3B", ";");
    assert_eq!(with_token(&before), login);
    assert_eq!(without_token(&before), plain);
}

#[test]
fn secrets_are_masked_wherever_they_stand() {
    for (written, masked) in [
        (
            "https://x/login?token=7812-5733-8392-7092&redirect=/issues/1",
            "https://x/login?token=7812…&redirect=/issues/1",
        ),
        ("https://x/login?redirect=/issues/1&TOKEN=short", "https://x/login?redirect=/issues/1&TOKEN=…"),
        ("https://x/?api_token=7812-5733-8392", "https://x/?api_token=7812…"),
        ("https://x/?%74oken%3D7812-5733-8392", "https://x/?%74oken%3D7812…"),
        ("https://x/?%25%37%34oken%253D7812-5733-8392%2526a", "https://x/?%25%37%34oken%253D7812…%2526a"),
        (
            "https://x/?token[]=abc&token%5B0%5D=abc&user[token]=abc",
            "https://x/?token[]=…&token%5B0%5D=…&user[token]=…",
        ),
        ("https://x/#access_token=abc&state=1", "https://x/#access_token=…&state=1"),
        ("https://x/?code =1&+sid=2&a=1;pwd=3", "https://x/?code =…&+sid=…&a=1;pwd=…"),
        // What stands behind a short secret makes it no longer.
        ("https://x/?code=1234;tab=files&a=1", "https://x/?code=…&a=1"),
        ("https://x/?redirect=/login%3Fcode=1234%26tab%3Dfiles", "https://x/?redirect=/login%3Fcode=…"),
        // A delimiter that is part of the value.
        ("https://x/?password=a%26b%23c", "https://x/?password=…"),
        ("https://x/?password=a b'c\"d", "https://x/?password=…"),
        ("https://x/?password=%41%42%26%44efghijkl&a", "https://x/?password=AB%26D…&a"),
        ("https://user:pass@x/", "https://user:…@x/"),
        ("https://7812-5733-8392@x/?next=//u:p@y", "https://7812…@x/?next=//u:…@y"),
        ("https://x/?next=https%3A%2F%2Fu%3Ap%40y%2Fz", "https://x/?next=https%3A%2F%2Fu%3A…%40y%2Fz"),
        (
            "https://x/?d=%7B%22token%22%3A%22abc%22%2C%22id%22%3A1%7D",
            "https://x/?d=%7B%22token%22%3A%22…%22%2C%22id%22%3A1%7D",
        ),
        (r#"https://x/?d={\"token\":\"abc\",\"id\":1}"#, r#"https://x/?d={\"token\":…,\"id\":1}"#),
        ("https://x/?\tkey=abc&\u{202e}code=abc", r"https://x/?\tkey=…&\u{202e}code=…"),
        ("https://x/?\tcode=a\u{1b}[31m", r"https://x/?\tcode=…"),
        ("https://x/?%D1%82%D0%BE%D0%BA%D0%B5%D0%BD=abc", "https://x/?%D1%82%D0%BE%D0%BA%D0%B5%D0%BD=…"),
        ("https://x/?token=", "https://x/?token="),
        // Readers that pass over control characters see `token`.
        ("https://x/login?to%00ken=7812-5733-8392", "https://x/login?to%00ken=7812…"),
        ("https://x/login?to%2509ken=7812-5733-8392", "https://x/login?to%2509ken=7812…"),
        ("https://x/login?%74o\n%6be\u{200b}n=abc", r"https://x/login?%74o\n%6be\u{200b}n=…"),
        ("https://x/login?to%E2%80%8Bken=abc", "https://x/login?to%E2%80%8Bken=…"),
        ("https://x/login/7812-5733-8392-7092?a=1", "https://x/login/7812…?a=1"),
        ("https://x/api/Login%2F78125733%3Fa=1", "https://x/api/Login%2F…%3Fa=1"),
        ("https://x/login/1234567/issues/12345678", "https://x/login/1234567/issues/12345678"),
        (r#"{"token":  "abcdefghijklmnop", "a": 1}"#, r#"{"token":  "abcd…", "a": 1}"#),
        ("https://x/?to\u{7f}ken=abcdefghijklmnop", r"https://x/?to\x7fken=abcd…"),
        // Two slashes that begin no authority, and one that does not either.
        ("https://x/a//b@c", "https://x/a//b@c"),
        ("mailto:/ab@c", "mailto:/ab@c"),
        (r"https://x/?ta\b=v1", r"https://x/?ta\b=v1"),
        (
            "https://x/issues/1?tab=files;author=5&q=a:b@c#comment-5",
            "https://x/issues/1?tab=files;author=5&q=a:b@c#comment-5",
        ),
    ] {
        assert_eq!(mask(written).as_str(), masked);
    }
}

#[test]
fn the_names_that_hint_at_a_secret() {
    for name in [
        "token",
        "token[]",
        "api_key",
        "apikey",
        "access_token",
        "code",
        "password",
        "passwd",
        "pwd",
        "secret",
        "auth",
        "authorization",
        "sig",
        "signature",
        "session",
        "sid",
        "key",
        "jwt",
        "X-Api-Key",
        "clientSecret",
        "PHPSESSID",
        "connect.sid",
        "auth_hash",
        "smscode",
        "key2",
        "hash",
    ] {
        for name in [name.to_owned(), name.to_uppercase(), format!("a%26{name}")] {
            assert_eq!(
                mask(&format!("https://x/?{name}=v1&b=2")).as_str(),
                format!("https://x/?{name}=…&b=2")
            );
        }
    }
    for name in
        ["tab", "id", "author", "authors[]", "page", "q", "redirect", "sort", "keyboard", "sidebar", "inside"]
    {
        let link = format!("https://x/?{name}=v1&b=2");
        assert_eq!(mask(&link).as_str(), link);
    }
}

#[test]
fn the_token_that_a_link_carries() {
    let carried = |written: &str| portal().carried(written).map(|token| token.to_string());
    let login = "https://yapomogu55.okdesk.ru/login?token=a%2Fb&redirect=/issues/1";
    assert_eq!(carried(login).as_deref(), Some("a/b"));
    for without in
        ["https://yapomogu55.okdesk.ru/issues/1", "https://other.okdesk.ru/login?token=a&redirect=/issues/1"]
    {
        assert_eq!(carried(without), None);
    }
}

#[test]
fn an_address_that_ends_with_colons() {
    let portal = Portal::new(Origin::parse("https://[1::]:8443").unwrap(), Vec::new());
    assert!(portal.read("https://[1::]:8443/issues/1").is_some());
    assert!(portal.read("https://[1::]/issues/1").is_none());
}

/// Found by fuzzing: the value hid that a user name stands before an `@`.
#[test]
fn what_a_masked_value_uncovers_is_masked_too() {
    for (link, masked) in [
        ("https://token=a\0b%40y/&c", "https://token=…&c"),
        ("https://x/?next=//code=\u{1b}%40y&z", "https://x/?next=//code=…&z"),
        ("token/token=%00?%2F%00&login", "token/…&login"),
        ("https://;key%40key\":@", "https://…%40key\":…"),
    ] {
        assert_eq!(mask(link).as_str(), masked);
        assert_eq!(mask(masked).as_str(), masked);
    }
}

#[test]
fn a_sentence_keeps_what_stands_behind_a_link() {
    assert_eq!(
        mask_text("no \"https://x/login?token=abc\" in table \"issues\"").as_str(),
        "no \"https://x/login?token=… in table \"issues\""
    );
    assert_eq!(mask_text("a https://u:p w@x b@c").as_str(), "a https://u:p w@x b@c");
}

/// Texts close to links of ours.
fn near_links() -> impl Strategy<Value = String> {
    let scheme = prop::sample::select(vec!["https://", "http://", "HTTPS://", "https:/", "https:", "//", ""]);
    let host = prop::sample::select(vec![
        "yapomogu55.okdesk.ru",
        "YAPOMOGU55.okdesk.ru",
        "yapomogu55.okdesk.ru:443",
        "help.example.org:8443",
        "evil.example",
        "yapomogu55.okdesk.ru@evil.example",
        "evil.example:443",
        "yapomogu55.okdesk.ru.evil.example",
        "evil.example\\yapomogu55.okdesk.ru",
    ]);
    let path = prop::sample::select(vec![
        "/issues/1",
        "/issues/1/",
        "/api/v1/issues/22",
        "/login?redirect=/issues/3",
        "/login?token=OLD&redirect=issues/3",
        "/issues/new",
        "",
        "/login?token=OLD&redirect=https://yapomogu55.okdesk.ru/issues/9",
        "/login?redirect=//evil.example/issues/9",
    ]);
    (scheme, host, path, "[ -~а-я%&#+?]{0,20}")
        .prop_map(|(scheme, host, path, rest)| format!("{scheme}{host}{path}{rest}"))
}

proptest! {
    #[test]
    fn rewriting_twice_is_rewriting_once(found in near_links()) {
        let once = with_token(&found);
        prop_assert_eq!(with_token(&once), once);
        let plain = without_token(&found);
        prop_assert_eq!(without_token(&plain), plain);
    }

    #[test]
    fn setting_and_removing_gives_the_plain_form(found in near_links()) {
        prop_assert_eq!(without_token(&with_token(&found)), without_token(&found));
    }

    #[test]
    fn a_plain_tail_survives_as_written(tail in "([?#][!-\\[\\]-~а-яé]{0,40})?") {
        let plain = format!("https://yapomogu55.okdesk.ru/issues/5{tail}");
        prop_assert_eq!(without_token(&with_token(&plain)), plain);
    }

    #[test]
    fn a_token_is_written_on_our_host_alone(found in near_links()) {
        let written = with_token(&found);
        if written == found {
            prop_assert!(!written.contains(TOKEN));
        } else {
            prop_assert!(written.starts_with("https://yapomogu55.okdesk.ru/login?token=7812-5733-8392-7092&redirect=/issues/"), "{}", written);
            let url = url::Url::parse(&written).unwrap();
            prop_assert_eq!(url.host_str(), Some("yapomogu55.okdesk.ru"));
            prop_assert!(url.username().is_empty());
        }
    }

    #[test]
    fn nothing_panics(found in ".{0,80}") {
        let _ = (with_token(&found), without_token(&found), mask(&found));
    }

    #[test]
    fn a_mask_shows_four_characters_at_most(token in "[!-~]{1,40}") {
        prop_assume!(!token.starts_with("relinkd:"));
        let token = Token::parse(&token).unwrap();
        let login = portal().login(&portal().read("https://yapomogu55.okdesk.ru/issues/1").unwrap(), &token);
        let shown = token.masked();
        let shown = percent::encode(shown.trim_end_matches('…'), b"");
        let expected = format!("https://yapomogu55.okdesk.ru/login?token={shown}…&redirect=/issues/1");
        prop_assert_eq!(mask(&login).to_string(), expected);
    }

    #[test]
    fn a_secret_of_any_kind_survives_no_mask(
        secret in "[0-9A-Za-z]{5,40}",
        place in prop::sample::select(vec![
            "?token=", "?to%00ken=", "?t%0aoken=", "?to\tken=",
            "?a=1&Api_Key=", "?a=1;pwd=", "#access_token=", "?a[token][]=", "?%63ode=", "?state=%&sid=", "@",
        ]),
        behind in prop::sample::select(vec!["", "&a=b", "&b=%zz#c", "#d"]),
        depth in 0..=3,
        every in any::<bool>(),
    ) {
        let mut link = match place {
            "@" => format!("https://user:{secret}@x/{behind}"),
            _ => format!("https://x/login{place}{secret}{behind}"),
        };
        for _ in 0..depth {
            link = if every {
                link.bytes().map(|byte| format!("%{byte:02x}")).collect()
            } else {
                percent::encode(&link, b"")
            };
            link = format!("https://x/login?redirect={link}&tab=1");
        }
        let masked = mask(&link);
        let mut plain = masked.as_str().to_owned();
        for _ in 0..=depth {
            let leaks = (0..=secret.len() - 5).any(|at| plain.contains(&secret[at..at + 5]));
            prop_assert!(!leaks, "{}", masked);
            plain = percent::decode(&plain, read::nothing);
        }
        prop_assert_eq!(mask(masked.as_str()), masked);
    }

    #[test]
    fn masking_twice_is_masking_once(
        parts in prop::collection::vec(prop::sample::select(vec![
            "token", "code", "=", "&", "#", ";", "%3D", "%253D", "%26", "%", "2", "5", "://", "//", ":", "@", "a", "\"",
            "\\", "\t", "\u{1b}", "\u{202e}", "…", " ",
            "login", "/", "to%00ken", "7812-5733-8392", "n", "x", "о", "%25", "%0a", "key", "'", "+",
        ]), 0..24),
    ) {
        let link: String = parts.concat();
        let once = mask(&link);
        prop_assert_eq!(mask(once.as_str()), once, "{:?}", link);
        let once = mask_text(&link);
        prop_assert_eq!(mask_text(once.as_str()), once, "{:?}", link);
    }

    #[test]
    fn a_link_without_secrets_is_shown_as_it_is(
        names in prop::collection::vec(prop::sample::select(vec!["tab", "author", "q", "id", "redirect"]), 0..5),
        value in "[a-z0-9%./:;!$,-]{0,12}",
    ) {
        let tail: Vec<String> = names.iter().map(|name| format!("{name}={value}")).collect();
        let link = format!("https://x/issues/1?{}#comment-5", tail.join("&"));
        prop_assert_eq!(mask(&link).to_string(), link);
    }
}

/// The rule is what `relinkd explain` says, and where a rule is added or moved this shows for which links.
#[test]
fn what_is_not_ours_fails_a_rule_of_a_name() {
    let rule = |written: &str| portal().judge(written).err().unwrap();
    let mut links = NOT_OURS.iter().map(|link| (rule(link).code(), *link)).collect::<Vec<_>>();
    links.sort_unstable();
    let said: Vec<String> = links.iter().map(|(code, link)| format!("{code} {link:?}")).collect();
    insta::assert_snapshot!(said.join("\n"));
    let nested = "https://yapomogu55.okdesk.ru/login?redirect=https://evil.example/issues/1";
    assert_eq!(
        rule(nested).to_string(),
        "its redirect does not lead to an issue: its host is neither portal.base_url's nor one of portal.aliases"
    );
}
