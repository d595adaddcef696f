//! `relinkd explain`: shape, user, token, what waits, and what relinkd would write, for each case support meets.

use crate::support::cast::{OTHER, TOKEN};
use crate::support::{BASE, Bench, login_link, plain_link};

fn explain(bench: &Bench, arguments: &[&str]) -> String {
    bench.run(["explain"].iter().chain(arguments)).ok()
}

/// The words after a name at the beginning of a line.
#[track_caller]
fn row<'t>(said: &'t str, name: &str) -> &'t str {
    let found = said
        .lines()
        .find_map(|line| line.trim_start().strip_prefix(name).filter(|rest| rest.starts_with(' ')));
    found.unwrap_or_else(|| panic!("no row {name} in:\n{said}")).trim_start()
}

#[test]
fn the_shapes_of_links() {
    let bench = Bench::installed();
    bench.db.insert_user(1, None);
    for (number, link, shape) in [
        (1, Some(plain_link(1)), "plain link of the portal"),
        (2, Some(format!("{BASE}/api/v1/issues/2")), "API link"),
        (3, Some(login_link(TOKEN, 3)), "login link"),
        (4, Some("https://example.org/issues/4".to_owned()), "left as it is"),
        (5, None, "no link"),
    ] {
        bench.db.insert_issue(number, 1, link.as_deref());
        let said = explain(&bench, &[&number.to_string()]);
        assert!(row(&said, "shape").contains(shape), "{said}");
        assert!(row(&said, "user").starts_with('1'), "{said}");
        assert!(row(&said, "token").contains("no token"), "{said}");
    }
    assert!(row(&explain(&bench, &["2"]), "relinkd").contains(&format!("would write {}", plain_link(2))));
    assert!(row(&explain(&bench, &["3"]), "relinkd").contains(&format!("would write {}", plain_link(3))));
    assert!(row(&explain(&bench, &["4"]), "relinkd").contains("leaves it"));
    assert!(row(&explain(&bench, &["1"]), "relinkd").contains("leaves it"));
    bench.assert_no_leak(&[TOKEN]);
}

#[test]
fn the_states_of_tokens() {
    let bench = Bench::installed();
    bench.db.insert_user(1, Some(TOKEN));
    bench.db.insert_issue(1, 1, Some(&plain_link(1)));
    let said = explain(&bench, &["1"]);
    assert_eq!(row(&said, "token"), "7812… (in plaintext)");
    assert!(row(&said, "relinkd").contains("would write"), "{said}");
    assert!(row(&said, "waiting").contains("changes not yet in links"), "{said}");
    let daemon = bench.start();
    bench.wait_link(1, &login_link(TOKEN, 1));
    bench.wait_idle();
    let said = explain(&bench, &["1"]);
    assert_eq!(row(&said, "token"), "7812… (sealed under k1)");
    assert_eq!(row(&said, "waiting"), "nothing");
    assert!(row(&said, "relinkd").contains("leaves it as it is"), "{said}");
    daemon.stop();
    // A sealed value copied to another user does not open there.
    bench.db.insert_user(2, bench.db.token_column(1).as_deref());
    bench.db.insert_issue(2, 2, Some(&plain_link(2)));
    let said = explain(&bench, &["2"]);
    assert!(row(&said, "token").contains("unusable"), "{said}");
    assert!(row(&said, "relinkd").contains("leaves it"), "{said}");
    bench.db.insert_issue(3, 77, Some(&plain_link(3)));
    assert!(row(&explain(&bench, &["3"]), "user").contains("whom the bot does not know"));
    bench.assert_no_leak(&[TOKEN]);
}

#[test]
fn a_user_and_their_links() {
    let bench = Bench::installed();
    bench.db.insert_user(413_129_274, Some(TOKEN));
    let said = explain(&bench, &["--user", "413129274"]);
    assert!(said.starts_with("user 413129274\n"), "{said}");
    assert_eq!(row(&said, "issues"), "none");
    bench.db.insert_issue(17, 413_129_274, Some(&plain_link(17)));
    let said = explain(&bench, &["--user", "413129274"]);
    assert!(said.contains("issue 17\n") && row(&said, "relinkd").contains("would write"), "{said}");
    let said = explain(&bench, &["--user", "99"]);
    assert!(said.contains("99, whom the bot does not know"), "{said}");
    bench.assert_no_leak(&[TOKEN]);
}

/// A row that nobody told relinkd of, and why nobody did.
#[test]
fn a_wrong_link_whose_trigger_is_gone_is_explained_by_that() {
    let bench = Bench::installed();
    bench.db.insert_user(1, Some(TOKEN));
    let daemon = bench.start();
    bench.wait_idle();
    bench.db.execute("alter table issues disable trigger user");
    bench.db.insert_issue(1, 1, Some(&plain_link(1)));
    let said = explain(&bench, &["1"]);
    assert!(row(&said, "triggers").contains("on public.issues is disabled"), "{said}");
    assert!(row(&said, "triggers").contains("run `relinkd install`"), "{said}");
    bench.db.execute("alter table issues enable trigger user");
    let said = explain(&bench, &["1"]);
    assert!(!said.contains("triggers"), "{said}");
    assert!(row(&said, "why").contains("the next audit mends it"), "{said}");
    let json = bench.run(["explain", "1", "--json"]).json();
    assert_eq!((&json["version"], &json["issue"]), (&1.into(), &1.into()));
    assert_eq!((json["shape"].as_str(), json["user"]["state"].as_str()), (Some("plain"), Some("sealed")));
    assert!(json["would_write"].as_str().unwrap().contains("/login?token=7812…"), "{json}");
    daemon.stop();
    bench.assert_no_leak(&[TOKEN]);
}

#[test]
fn an_issue_is_found_by_its_number_in_the_portal() {
    let bench = Bench::installed();
    bench.db.insert_user(1, None);
    for (id, link) in [
        (1, plain_link(4711)),
        (2, format!("{BASE}/login?token={TOKEN}&redirect=%2F%69ssues%2F471%31")),
        (3, plain_link(47_110)),
        (4, plain_link(14_711)),
        (5, "https://example.org/issues/4711".to_owned()),
    ] {
        bench.db.insert_issue(id, 1, Some(&link));
    }
    let said = explain(&bench, &["--number", "4711"]);
    let found: Vec<&str> = said.lines().filter(|line| line.starts_with("issue ")).collect();
    assert_eq!(found, ["issue 1", "issue 2"]);
    let json = bench.run(["explain", "--number", "4711", "--json"]).json();
    assert_eq!((&json["version"], json["issues"].as_array().unwrap().len()), (&1.into(), 2));
    assert_eq!(json["issues"][1]["number"], "4711");
    let none = bench.run(["explain", "--number", "99"]).exits(1).stderr;
    assert!(none.contains("no link of the bot's leads to issue 99"), "{none}");
    bench.run(["explain", "--number", "1 or 1"]).exits(2);
    bench.assert_no_leak(&[TOKEN]);
}

#[test]
fn a_link_that_somebody_sent_is_explained_from_standard_input() {
    let bench = Bench::installed();
    bench.db.insert_user(1, Some(TOKEN));
    bench.db.insert_issue(7, 1, Some(&plain_link(4711)));
    let sent = |link: &str| bench.run_with_input(["explain", "--link"], &format!(" {link}\r\n")).ok();
    let said = sent(&login_link(TOKEN, 4711));
    insta::assert_snapshot!(said, @"
    the link that was sent
      link      https://yapomogu55.okdesk.ru/login?token=7812…&redirect=/issues/4711
      shape     login link of the portal
      number    4711
    issue 7
      link      https://yapomogu55.okdesk.ru/issues/4711
      shape     plain link of the portal
      user      1
      token     7812… (in plaintext)
      waiting   3 changes not yet in links
      sent      the link that was sent carries this user's token
      relinkd   would write https://yapomogu55.okdesk.ru/login?token=7812…&redirect=/issues/4711
    ");
    assert!(sent(&login_link(OTHER, 4711)).contains("a token that is not this user's"));
    assert!(sent(&plain_link(99)).contains("no link of the bot's leads to that number"));
    for (link, rule) in [
        ("https://example.org/issues/1", "its host is neither"),
        (&format!("{BASE}:8443/issues/1"), "its port is neither"),
        (&format!("{BASE}/issues/new"), "something else after /issues/"),
        (&format!("{BASE}/login?token={TOKEN}"), "without a redirect"),
        (&format!("{BASE}/login?redirect=//x/issues/1"), "its redirect does not lead to an issue"),
        ("no link", "a space, a control character"),
    ] {
        let said = sent(link);
        assert!(row(&said, "rule").contains(rule), "{said}");
        let json = bench.run_with_input(["explain", "--link", "--json"], link).json();
        assert_eq!((&json["version"], &json["issues"]), (&1.into(), &serde_json::json!([])));
        assert!(json["link"]["rule"]["text"].as_str().unwrap().contains(rule), "{json}");
    }
    bench.run_with_input(["explain", "--link"], "\n").exits(1);
    assert!(sent(TOKEN).contains("no absolute URL"), "a token in place of a link is not shown");
    let typed = bench.run(["explain", &login_link(TOKEN, 4711)]).exits(2).stderr;
    assert!(typed.contains("relinkd explain --link"), "{typed}");
    bench.run(["explain", "--link", &login_link(TOKEN, 4711)]).exits(2);
    bench.run(["explain", "7", "--link"]).exits(2);
    bench.run(["explain"]).exits(2);
    bench.assert_no_leak(&[TOKEN, OTHER]);
}

#[test]
fn a_user_is_explained_in_json() {
    let bench = Bench::installed();
    bench.db.insert_user(1, Some("hunter2 hunter2"));
    bench.db.insert_issue(7, 1, Some("https://example.org/x?password=hunter2hunter2"));
    let json = bench.run(["explain", "--user", "1", "--json"]).json();
    assert_eq!((&json["version"], &json["telegram_id"]), (&1.into(), &1.into()));
    assert_eq!(json["user"]["state"], "bad_plaintext");
    assert_eq!(json["issues"][0]["rule"]["id"], "host");
    assert!(!json.to_string().contains("hunter2hunter2"), "{json}");
    bench.assert_no_leak(&["hunter2 hunter2"]);
}
