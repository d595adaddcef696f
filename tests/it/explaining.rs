//! `relinkd explain`: shape, user, token, what waits, and what relinkd would write, for each case support meets.

use crate::support::cast::TOKEN;
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
