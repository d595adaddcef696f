//! What relinkd does not protect against, as docs/security.md says it: each limit shown, so that the page stays true.

use crate::support::cast::{ALICE, BOB, OTHER, TOKEN, installed, is_sealed};
use crate::support::{Bench, login_link, plain_link};

#[test]
fn an_older_sealed_value_of_the_same_user_opens_again() {
    let bench = installed(&[ALICE]);
    let daemon = bench.start();
    bench.db.set_token(ALICE, Some(TOKEN));
    bench.wait_link(1, &login_link(TOKEN, 1));
    bench.wait_until("the token is sealed", || is_sealed(&bench, ALICE));
    let older = bench.db.token_column(ALICE);
    bench.db.set_token(ALICE, Some(OTHER));
    bench.wait_link(1, &login_link(OTHER, 1));
    bench.db.set_token(ALICE, older.as_deref());
    bench.wait_link(1, &login_link(TOKEN, 1));
    daemon.stop();
}

#[test]
fn who_holds_the_lock_of_assignments_holds_them_up_and_the_log_says_so() {
    let bench = installed(&[ALICE, BOB]);
    let daemon = bench.start();
    bench.wait_idle();
    let stranger = bench.db.another_bot();
    stranger.execute("select pg_advisory_lock(1919249515, 2)");
    bench.drop_token("a.toml", ALICE, TOKEN);
    daemon.wait_log("files in the spool wait: ");
    // Who it is, the server says, as the page has it.
    let who = "select count(*) from pg_locks join pg_stat_activity using (pid)
                where locktype = 'advisory' and application_name not like 'relinkd%' and datname = current_database()";
    assert_eq!(bench.db.number(who), 1);
    // Links go on, and so do tokens that the bot writes.
    bench.db.set_token(BOB, Some(OTHER));
    bench.wait_link(2, &login_link(OTHER, 2));
    assert_eq!(bench.db.link(1).as_deref(), Some(plain_link(1).as_str()));
    stranger.execute("select pg_advisory_unlock_all()");
    bench.wait_applied("a.toml");
    bench.wait_link(1, &login_link(TOKEN, 1));
    daemon.stop();
}

#[test]
fn a_session_that_says_it_is_relinkd_is_mended_by_the_audit() {
    let bench = installed(&[ALICE]);
    bench.set("audit.interval", "\"1h\"");
    let daemon = bench.start();
    bench.wait_idle();
    let bot = bench.db.another_bot();
    bot.execute("set relinkd.applying = 'on'");
    bot.execute(&format!("update users set portal_token = '{TOKEN}' where telegram_id = {ALICE}"));
    assert_eq!(bench.db.number("select count(*) from relinkd.change"), 0, "no trigger has seen it");
    assert_eq!(bench.db.link(1).as_deref(), Some(plain_link(1).as_str()));
    daemon.stop();
    bench.set("audit.interval", "\"500ms\"");
    let daemon = bench.start();
    bench.wait_link(1, &login_link(TOKEN, 1));
    daemon.stop();
}

#[test]
fn a_password_in_the_arguments_is_warned_of() {
    let bench = Bench::new();
    let without = bench.db.admin_url();
    let in_the_authority = without.replacen('@', ":geheim-1@", 1);
    let in_the_query = format!("{without}&password=geheim-1");
    for (url, warned) in [(&without, false), (&in_the_authority, true), (&in_the_query, true)] {
        for command in ["install", "uninstall"] {
            let said = bench.run([command, "--admin-url", url]).exits(0).stderr;
            assert_eq!(
                said.contains("the password in --admin-url stands in the process list"),
                warned,
                "{said}"
            );
            assert!(!said.contains("geheim"), "{said}");
        }
    }
}
