//! No token leaves by the back door: the server's log, a constraint's DETAIL, arguments, core files, help.

use crate::support::cast::{ALICE, OTHER, TOKEN};
use crate::support::{BASE, Bench};
use std::fs;

#[test]
fn the_servers_log_hears_no_token_from_relinkd() {
    let bench = Bench::new();
    bench.db.log_every_statement();
    bench.db.insert_user(ALICE, None);
    bench.db.insert_issue(1, ALICE, Some(&format!("{BASE}/issues/1")));
    bench.db.insert_issue(2, ALICE, Some(&format!("{BASE}/issues/2")));
    bench.install();
    let daemon = bench.start();
    bench.drop_token("a.toml", ALICE, TOKEN);
    bench.wait_applied("a.toml");
    bench.wait_link(1, &format!("{BASE}/login?token={TOKEN}&redirect=/issues/1"));
    bench.run_with_input(["token", "set", &ALICE.to_string()], OTHER).ok();
    bench.run(["explain", "1"]).ok();
    bench.run(["explain", "--user", &ALICE.to_string()]).ok();
    bench.run(["token", "list"]).ok();
    bench.run(["status"]).ok();
    bench.run(["sync", "--dry-run"]).ok();
    bench.run(["sync"]).ok();
    daemon.stop();
    assert!(bench.db.server_log().contains("relinkd.bot_issue"), "the server logs statements");
    bench.assert_no_leak(&[TOKEN, OTHER]);
}

#[test]
fn a_constraint_that_refuses_a_link_does_not_quote_it() {
    let bench = Bench::new();
    bench.db.insert_user(ALICE, None);
    bench.db.insert_issue(1, ALICE, Some(&format!("{BASE}/issues/1")));
    bench.db.execute("alter table issues add constraint no_login check (okdesk_url not like '%login%')");
    bench.install();
    let daemon = bench.start();
    bench.drop_token("a.toml", ALICE, TOKEN);
    daemon.wait_log("no_login");
    let shown = bench.run(["status"]).ok();
    assert!(shown.contains("no_login"), "{shown}");
    daemon.stop();
    bench.assert_no_leak(&[TOKEN]);
}

#[test]
fn a_link_that_would_not_fit_its_column_is_left_and_reported() {
    let bench = Bench::new();
    bench.db.execute("alter table issues alter column okdesk_url type varchar(70)");
    bench.db.insert_user(ALICE, None);
    bench.db.insert_issue(1, ALICE, Some(&format!("{BASE}/issues/1")));
    bench.install();
    let daemon = bench.start();
    bench.drop_token("a.toml", ALICE, TOKEN);
    daemon.wait_log("issue_id=1");
    bench.wait_idle();
    assert_eq!(bench.db.link(1), Some(format!("{BASE}/issues/1")));
    daemon.stop();
    bench.assert_no_leak(&[TOKEN]);
}

#[test]
fn a_running_daemon_leaves_no_core_file_and_has_no_token_in_its_arguments() {
    let bench = Bench::installed();
    let daemon = bench.start();
    let limits = fs::read_to_string(format!("/proc/{}/limits", daemon.pid())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
    daemon.stop();
    let refused = bench.run(["token", "set", &ALICE.to_string(), TOKEN]).exits(2);
    assert!(refused.stderr.contains("in the arguments"), "{}", refused.stderr);
    bench.assert_no_leak(&[TOKEN]);
}
