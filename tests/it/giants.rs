//! A user with very many issues: walked in chunks, put off for nobody, taken up again after a crash.

use crate::support::cast::{settled, start_command};
use crate::support::{BASE, Bench};
use std::thread::sleep;
use std::time::Duration;

const GIANT: i64 = 1;
const OTHER: i64 = 2;
const MANY: i64 = 12_000;

fn giant() -> Bench {
    let bench = Bench::new();
    bench.db.insert_user(GIANT, None);
    bench.db.insert_user(OTHER, None);
    bench.db.execute(&format!(
        "insert into issues (id, telegram_user_id, okdesk_issue_id, status, okdesk_url)
         select g, {GIANT}, g, 'opened', '{BASE}/issues/' || g from generate_series(1, {MANY}) g;
         insert into issues (id, telegram_user_id, okdesk_issue_id, status, okdesk_url)
         values (100000, {OTHER}, 5, 'opened', '{BASE}/issues/5')"
    ));
    bench.install();
    bench
}

fn with_token(bench: &Bench, token: &str) -> i64 {
    bench.db.number(&format!("select count(*) from issues where okdesk_url like '%token={token}&%'"))
}

#[test]
fn a_walk_that_was_cut_short_goes_on_where_it_was() {
    let bench = giant();
    let daemon = bench.start();
    bench.wait_idle();
    bench.db.set_token(GIANT, Some("1111-2222-3333-4444"));
    bench.wait_until("the walk is under way", || with_token(&bench, "1111-2222-3333-4444") > 0);
    // Others pass by.
    bench.db.set_token(OTHER, Some("5555-2222-3333-4444"));
    bench.wait_link(100_000, &format!("{BASE}/login?token=5555-2222-3333-4444&redirect=/issues/5"));
    daemon.kill();
    let daemon = bench.start();
    bench.wait_idle();
    assert_eq!(with_token(&bench, "1111-2222-3333-4444"), MANY);
    // Stopped in the middle of it, it ends in order, and nothing is half done.
    bench.db.set_token(GIANT, Some("9999-2222-3333-4444"));
    bench.wait_until("the walk is under way", || with_token(&bench, "9999-2222-3333-4444") > 0);
    daemon.stop();
    let (old, new) = (with_token(&bench, "1111-2222-3333-4444"), with_token(&bench, "9999-2222-3333-4444"));
    assert_eq!(old + new, MANY);
    let daemon = bench.start();
    bench.wait_idle();
    assert_eq!(with_token(&bench, "9999-2222-3333-4444"), MANY);
    daemon.stop();
}

#[test]
fn a_new_issue_costs_an_issue_however_many_its_user_has() {
    let bench = giant();
    let daemon = bench.start();
    bench.db.set_token(GIANT, Some("1111-2222-3333-4444"));
    bench.wait_until("all links follow", || with_token(&bench, "1111-2222-3333-4444") == MANY);
    bench.wait_idle();
    let read = "select idx_tup_fetch + seq_tup_read from pg_stat_all_tables where relname = 'issues'";
    let touched = || settled(|| bench.db.number(read));
    let before = touched();
    bench.db.insert_issue(200_000, GIANT, Some(&format!("{BASE}/issues/7")));
    bench.wait_link(200_000, &format!("{BASE}/login?token=1111-2222-3333-4444&redirect=/issues/7"));
    let after = touched();
    // Beside the few rows of the change, what `wait_link` itself reads.
    assert!(after - before < MANY / 10, "{} rows were read for one issue", after - before);
    daemon.stop();
}

#[test]
fn two_daemons_share_the_work() {
    let bench = giant();
    let second = Bench::over(std::sync::Arc::clone(&bench.db));
    let (one, two) = (bench.start(), second.start());
    for round in 0..5 {
        let token = format!("{round}000-2222-3333-4444");
        bench.db.set_token(GIANT, Some(&token));
        bench.db.set_token(OTHER, Some(&format!("{round}000-7777-3333-4444")));
        bench.wait_link(100_000, &format!("{BASE}/login?token={round}000-7777-3333-4444&redirect=/issues/5"));
    }
    bench.wait_until("all links follow", || with_token(&bench, "4000-2222-3333-4444") == MANY);
    let status = bench.run(["status", "--json"]).json();
    assert_eq!(status["daemons"], 2);
    assert_eq!(status["mode"], "listen");
    one.stop();
    two.stop();
}

/// Each change begins a walk; none begins before the one under way is at its end.
#[test]
fn a_user_whose_token_changes_all_the_time_is_walked_to_the_end() {
    let bench = giant();
    let daemon = bench.start();
    bench.wait_idle();
    let last = format!("select count(*) from issues where id = {MANY} and okdesk_url like '%token=%'");
    let mut token = String::new();
    let mut round = 0;
    bench.wait_until("the last link carries a token", || {
        for _ in 0..10 {
            round += 1;
            token = format!("{round:04}-5733-8392-7092");
            bench.db.set_token(GIANT, Some(&token));
        }
        bench.db.number(&last) > 0
    });
    bench.wait_until("the last token is in all links", || with_token(&bench, &token) == MANY);
    daemon.stop();
}

/// What it takes to find work is no reason to do less of it at a time.
#[test]
fn a_long_queue_of_somebody_who_is_locked_makes_no_step_smaller() {
    let bench = giant();
    let daemon = bench.start();
    bench.wait_idle();
    let admin = bench.db.admin();
    admin.execute(&format!(
        "do $$ begin perform pg_advisory_lock(relinkd.user_key({OTHER})); end $$;
         insert into relinkd.change (telegram_id, issue_id) select {OTHER}, 100000 from generate_series(1, 400000)"
    ));
    let token = "1111-2222-3333-4444";
    bench.db.set_token(GIANT, Some(token));
    // A walk that is not at its end is put back, with a place of its own.
    let steps = || admin.number("select last_value from relinkd.change_id_seq");
    let before = steps();
    bench.wait_until("the walk is over", || with_token(&bench, token) == MANY);
    let steps = steps() - before;
    admin.execute("delete from relinkd.change; do $$ begin perform pg_advisory_unlock_all(); end $$");
    daemon.stop();
    assert!(steps < 150, "{steps} steps for {MANY} links");
}

/// Another session has the user's lock all the time, and works off what is queued, as a daemon with much to do.
#[test]
fn a_sync_waits_for_whoever_is_at_work_on_its_users() {
    let bench = giant();
    bench.run(["sync"]).ok();
    let admin = bench.db.admin();
    admin.execute(&format!(
        "do $$ begin perform pg_advisory_lock(relinkd.user_key({GIANT})); end $$;
         insert into relinkd.change (telegram_id, issue_id) select {GIANT}, n from generate_series(1, 130) n"
    ));
    let command = start_command(&bench, &["sync", &GIANT.to_string()], "");
    while admin.number("select count(*) from relinkd.change") > 0 {
        admin.execute("delete from relinkd.change where id = (select min(id) from relinkd.change)");
        sleep(Duration::from_millis(100));
    }
    let output = command.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
