//! The daemon behind a `PgBouncer`, in each of its modes. docs/install.md says not to; where it happens, links stay right,
//! or it is said why not.

use crate::support::cast::{ALICE, BOB, OTHER, THIRD, TOKEN, installed, revealed, status};
use crate::support::pooler::Pooler;
use crate::support::{login_link, plain_link};

#[test]
fn behind_a_pooler_that_lends_sessions_or_transactions_links_and_files_follow() {
    for (mode, how) in [("session", "listen"), ("transaction", "poll")] {
        let bench = installed(&[ALICE, BOB]);
        let _pooler = Pooler::start(&bench, mode, 20);
        let daemon = bench.start();
        assert_eq!(status(&bench)["mode"], how, "{mode}");
        bench.db.set_token(ALICE, Some(TOKEN));
        bench.wait_link(1, &login_link(TOKEN, 1));
        bench.drop_token("1.toml", BOB, OTHER);
        bench.wait_applied("1.toml");
        bench.wait_link(2, &login_link(OTHER, 2));
        bench.run_with_input(["token", "set", &BOB.to_string()], &format!("{THIRD}\n")).ok();
        bench.wait_link(2, &login_link(THIRD, 2));
        assert_eq!(revealed(&bench, BOB), THIRD);
        bench.run(["sync"]).ok();
        bench.db.set_token(ALICE, None);
        bench.wait_link(1, &plain_link(1));
        daemon.stop();
        bench.assert_no_leak(&[TOKEN, OTHER, THIRD]);
    }
}

#[test]
fn behind_a_pooler_that_lends_statements_the_daemon_says_why_nothing_goes() {
    let bench = installed(&[ALICE]);
    bench.db.set_token(ALICE, Some(TOKEN));
    let pooler = Pooler::start(&bench, "statement", 20);
    let daemon = bench.start();
    daemon.wait_log("statement pooling mode");
    assert_eq!(bench.db.link(1), Some(plain_link(1)));
    daemon.stop();
    drop(pooler);
    let _pooler = Pooler::start(&bench, "session", 20);
    let daemon = bench.start();
    bench.wait_link(1, &login_link(TOKEN, 1));
    daemon.stop();
}
