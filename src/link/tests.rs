use super::*;
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
    match decide(&portal(), written, &Holder::Token(&token()), Tokenless::Plain, false) {
        Verdict::Leave => written.to_owned(),
        Verdict::Write(new) => new,
    }
}

fn without_token(written: &str) -> String {
    match decide(&portal(), written, &Holder::None, Tokenless::Plain, false) {
        Verdict::Leave => written.to_owned(),
        Verdict::Write(new) => new,
    }
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
        "https://yapomogu55.okdesk.ru/login?token=7812-5733-8392-7092&redirect=/issues/0123?a=1%26b=2%2B3%26c=%2520;d=(e)%5Bf%5D:@/?%C3%A9%23x"
    );
    let odd = Token::parse("a+b/c=&%~._-\\").unwrap();
    let link = portal().read(plain).unwrap();
    assert_eq!(
        portal().login(&link, &odd),
        "https://yapomogu55.okdesk.ru/login?token=a%2Bb%2Fc%3D%26%25~._-%5C&redirect=/issues/123"
    );
    let again = portal().read(&portal().login(&link, &odd)).unwrap();
    assert_eq!(again.carried_token().as_ref().map(|t| t.as_str()), Some("a+b/c=&%~._-\\"));
}

#[test]
fn keep_and_unusable_leave_links_alone_unless_stripped() {
    let login = "https://yapomogu55.okdesk.ru/login?token=OLD&redirect=issues/1";
    let stripped = Verdict::Write("https://yapomogu55.okdesk.ru/issues/1".to_owned());
    let tokenless_login = "https://yapomogu55.okdesk.ru/login?redirect=issues/1";
    let api = "https://yapomogu55.okdesk.ru/api/v1/issues/1";
    for (holder, tokenless) in [
        (Holder::None, Tokenless::Keep),
        (Holder::Unusable, Tokenless::Keep),
        (Holder::Unusable, Tokenless::Plain),
    ] {
        assert!(decide(&portal(), login, &holder, tokenless, false) == Verdict::Leave);
        assert!(decide(&portal(), login, &holder, tokenless, true) == stripped);
        assert!(decide(&portal(), tokenless_login, &holder, tokenless, true) == Verdict::Leave);
        assert!(decide(&portal(), api, &holder, tokenless, true) == Verdict::Leave);
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
    assert!(super::tests::portal().read("https://ｙapomogu55.okdesk.ru/issues/7").is_none());
    let v6 = Portal::new(Origin::parse("http://[::1]:3000").unwrap(), vec![]);
    assert!(v6.read("http://[::1]:3000/issues/7").is_some());
    assert!(v6.read("http://[::1]/issues/7").is_none());
}

#[test]
fn tokens_are_masked_wherever_they_stand() {
    for (written, masked) in [
        (
            "https://x/login?token=7812-5733-8392-7092&redirect=/issues/1",
            "https://x/login?token=7812…&redirect=/issues/1",
        ),
        ("https://x/login?redirect=/issues/1&TOKEN=short", "https://x/login?redirect=/issues/1&TOKEN=…"),
        ("https://x/?api_token=7812-5733-8392", "https://x/?api_token=7812…"),
        ("https://x/?%74oken%3D7812-5733-8392", "https://x/?%74oken%3D7812…"),
        ("https://x/issues/1?tab=files", "https://x/issues/1?tab=files"),
    ] {
        assert_eq!(mask(written), masked);
    }
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
        let expected = format!("https://yapomogu55.okdesk.ru/login?token={}&redirect=/issues/1", token.masked());
        prop_assert_eq!(mask(&login), expected);
    }

    #[test]
    fn a_nested_token_is_masked_too(token in "[0-9]{5,40}") {
        let inner = percent::encode(&format!("https://x/login?token={token}&a=b"), Set::Token);
        let masked = mask(&format!("https://x/login?redirect={inner}"));
        prop_assert!(!masked.contains(&token), "{}", masked);
    }
}
