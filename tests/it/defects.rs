//! Defects of version 0.1.0 (the table at the end of docs/reliability.md) that no other test holds: what the bot and
//! other users had to suffer from one user, one row, one session or one setting.

use crate::links::{keeping, of_the_bot};
use crate::support::cast::{
    ALICE, BOB, CAROL, OTHER, THIRD, TOKEN, appended, bench_of, installed, is_sealed, start_command, status,
};
use crate::support::cluster::BOT;
use crate::support::pooler::Pooler;
use crate::support::proxy::SlowWay;
use crate::support::{
    BASE, Bench, Cluster, ClusterOptions, Database, Session, Stop, TokenColumn, login_link, plain_link,
};
use crate::tokens::open;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;

/// Alice with issues 1 to `many`, Bob with one beyond them; relinkd installed.
fn with_many(many: i64) -> Bench {
    let bench = bench_of(&[ALICE, BOB]);
    bench.db.execute(&format!(
        "insert into issues (id, telegram_user_id, okdesk_issue_id, status, okdesk_url)
         select n, {ALICE}, n, 'opened', '{BASE}/issues/' || n from generate_series(1, {many}) n"
    ));
    bench.db.insert_issue(1_000_000, BOB, Some(&plain_link(1_000_000)));
    bench.install();
    bench
}

/// How many of Alice's links carry this token.
fn with_token(bench: &Bench, token: &str) -> i64 {
    bench.db.number(&format!(
        "select count(*) from issues where telegram_user_id = {ALICE}
            and okdesk_url = '{BASE}/login?token={token}&redirect=/issues/' || id"
    ))
}

/// A trigger on links that does this when relinkd writes them, for the rows that meet the condition.
fn trigger_on_links(bench: &Bench, when: &str, body: &str) {
    bench.db.execute(&format!(
        "create function theirs() returns trigger language plpgsql as
             $$ begin if session_user like 'relinkd%' then {body} end if; return new; end $$;
         create trigger theirs before update on issues for each row when ({when}) execute function theirs()"
    ));
}

/// Whether a write of the bot's to a link rings.
fn rings(bench: &Bench) -> bool {
    write_rings(bench, "update issues set okdesk_url = okdesk_url || '#' where id = 1")
}

/// Whether this write of the bot's rings: a session that listens hears its own notification at once.
fn write_rings(bench: &Bench, write: &str) -> bool {
    let output = Command::new("psql")
        .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", "listen relinkd"])
        .args(["-c", write])
        .arg(bench.db.url(BOT))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).contains("Asynchronous notification")
}

#[test]
fn a_token_that_stays_missing_rings_nobody() {
    let bench = installed(&[ALICE]);
    let sleeper = bench.db.connect_as("postgres").unwrap();
    sleeper.execute("select pg_advisory_lock(1919249515, 0)");
    assert!(rings(&bench), "somebody sleeps");
    assert!(!write_rings(&bench, "update users set portal_token = ''"));
}

#[test]
fn writers_ring_only_while_a_daemon_sleeps() {
    let bench = installed(&[ALICE]);
    assert!(!rings(&bench), "there is no daemon");
    let daemon = bench.start();
    bench.wait_until("the daemon sleeps", || rings(&bench));
    daemon.stop();
    assert!(!rings(&bench), "the daemon has gone");
    let _pooler = Pooler::start(&bench, "transaction", 20);
    let daemon = bench.start();
    assert_eq!(status(&bench)["mode"], "poll");
    for _ in 0..20 {
        assert!(!rings(&bench), "the daemon polls");
    }
    daemon.stop();
}

#[test]
fn no_writer_rings_for_a_daemon_that_has_more_than_a_little_to_do() {
    const MANY: i64 = 20_000;
    let bench = with_many(MANY);
    let daemon = bench.start();
    bench.wait_idle();
    bench.wait_until("the daemon sleeps", || rings(&bench));
    bench.wait_idle();
    sleep(Duration::from_millis(500));
    bench.db.set_token(ALICE, Some(TOKEN));
    bench.wait_until("the links are on their way", || with_token(&bench, TOKEN) > 0);
    bench.wait_until("the daemon is awake", || !rings(&bench));
    assert!(with_token(&bench, TOKEN) < MANY, "it was awake before all was done");
    bench.wait_idle();
    bench.wait_until("the daemon sleeps again", || rings(&bench));
    daemon.stop();
}

#[test]
fn a_sync_beside_the_daemon_forgets_no_walk_that_began_meanwhile() {
    const MANY: i64 = 6_000;
    let bench = with_many(MANY);
    let daemon = bench.start();
    bench.wait_idle();
    for round in 0..4 {
        let [first, last] = ["1111", "2222"].map(|end| format!("{round:04}-5733-8392-{end}"));
        bench.db.set_token(ALICE, Some(&first));
        let sync = start_command(&bench, &["sync"], "");
        bench.wait_until("the links are on their way", || with_token(&bench, &first) > 0);
        bench.db.set_token(ALICE, Some(&last));
        let said = sync.wait_with_output().unwrap();
        assert!(said.status.success(), "{said:?}");
        bench.wait_idle();
        assert_eq!(with_token(&bench, &last), MANY, "round {round}");
    }
    daemon.stop();
}

#[test]
fn a_hand_over_that_fails_once_strips_that_issue_alone() {
    let bench = keeping();
    bench.db.insert_issue(3, BOB, Some(&of_the_bot(3)));
    trigger_on_links(&bench, "old.id = 1", "raise exception 'not now';");
    let daemon = bench.start();
    bench.db.execute(&format!("update issues set telegram_user_id = {BOB} where id = 1"));
    bench.wait_until("it has failed", || status(&bench)["set_aside"][0]["telegram_id"] == BOB);
    bench.db.execute("drop trigger theirs on issues");
    bench.wait_link(1, &plain_link(1));
    bench.wait_idle();
    assert_eq!(bench.db.link(3), Some(of_the_bot(3)));
    daemon.stop();
}

#[test]
fn a_login_link_that_is_written_together_with_a_hand_over_stays() {
    let bench = keeping();
    let daemon = bench.start();
    bench.db.execute(&format!(
        "update issues set telegram_user_id = {BOB}, okdesk_url = '{}' where id = 1",
        of_the_bot(1)
    ));
    bench.db.execute(&format!("update issues set telegram_user_id = {BOB} where id = 2"));
    bench.wait_link(2, &plain_link(2));
    bench.wait_idle();
    assert_eq!(bench.db.link(1), Some(of_the_bot(1)));
    daemon.stop();
}

#[test]
fn a_stale_link_that_is_written_back_keeps_no_removed_token() {
    let bench = keeping();
    let daemon = bench.start();
    bench.db.set_token(ALICE, None);
    bench.wait_link(1, &plain_link(1));
    bench.wait_link(2, &plain_link(2));
    bench.wait_idle();
    bench.db.execute(&format!("update issues set okdesk_url = '{}' where id = 1", login_link(TOKEN, 1)));
    bench.wait_link(1, &plain_link(1));
    // In another's hands, too, and the bot's own links stay.
    bench.db.insert_issue(3, BOB, Some(&login_link(TOKEN, 3)));
    bench.db.insert_issue(4, ALICE, Some(&of_the_bot(4)));
    bench.wait_link(3, &plain_link(3));
    bench.wait_idle();
    assert_eq!(bench.db.link(4), Some(of_the_bot(4)));
    daemon.stop();
}

#[test]
fn no_plaintext_token_stands_in_relinkds_tables() {
    let bench = installed(&[ALICE, BOB]);
    let admin = bench.db.admin();
    let tables = "select c.oid::regclass::text from pg_class c
                   where c.relnamespace = 'relinkd'::regnamespace and c.relkind = 'r'";
    let nowhere = || {
        for table in bench.db.rows(tables).into_iter().flatten().flatten() {
            let rows = format!(
                "select count(*) from {table} t where t::text like '%{TOKEN}%' or t::text like '%{OTHER}%'"
            );
            assert_eq!(admin.number(&rows), 0, "{table}");
        }
    };
    for statement in [
        format!("update users set portal_token = '{TOKEN}' where telegram_id = {ALICE}"),
        format!("update users set portal_token = '{OTHER}' where telegram_id = {ALICE}"),
        format!("update issues set okdesk_url = '{}' where id = 1", login_link(TOKEN, 1)),
        format!("update issues set telegram_user_id = {BOB} where id = 1"),
        format!("update users set telegram_id = {CAROL} where telegram_id = {ALICE}"),
        format!("update users set portal_token = null where telegram_id = {CAROL}"),
        format!("update users set portal_token = '{TOKEN}' where telegram_id = {CAROL}"),
        format!("delete from users where telegram_id = {CAROL}"),
    ] {
        bench.db.execute(&statement);
        nowhere();
    }
    assert!(bench.db.number("select count(*) from relinkd.change") > 5);
    let daemon = bench.start();
    bench.db.set_token(BOB, Some(TOKEN));
    bench.wait_until("sealed", || is_sealed(&bench, BOB));
    bench.wait_idle();
    nowhere();
    daemon.stop();
}

#[test]
fn a_link_that_a_check_refuses_keeps_no_other_of_its_user_wrong() {
    let bench = with_many(200);
    bench.db.execute(
        "alter table issues add constraint no_77 check (id <> 77 or okdesk_url not like '%login%') not valid",
    );
    let daemon = bench.start();
    bench.db.set_token(ALICE, Some(TOKEN));
    bench.wait_until("the others are right", || with_token(&bench, TOKEN) == 199);
    bench.wait_until("the one is set aside", || status(&bench)["set_aside"][0]["telegram_id"] == ALICE);
    bench.db.execute("alter table issues drop constraint no_77");
    bench.wait_until("all are right", || with_token(&bench, TOKEN) == 200);
    bench.wait_idle();
    daemon.stop();
}

#[test]
fn a_trigger_that_raises_a_missing_right_stops_nobody_else() {
    let bench = installed(&[ALICE, BOB]);
    trigger_on_links(&bench, "old.id = 1", "raise exception 'no' using errcode = '42501';");
    let daemon = bench.start();
    for round in 0..5 {
        let token = |user: i64| Some(format!("{round:04}-{user}"));
        bench.db.set_token(ALICE, token(ALICE).as_deref());
        bench.db.set_token(BOB, token(BOB).as_deref());
        bench.wait_link(2, &login_link(&token(BOB).unwrap(), 2));
    }
    assert_eq!(daemon.log().matches("connected").count(), 1, "{}", daemon.log());
    bench.db.execute("drop trigger theirs on issues");
    bench.wait_link(1, &login_link(&format!("0004-{ALICE}"), 1));
    daemon.stop();
}

#[test]
fn a_slow_trigger_delays_its_links_and_neither_others_nor_the_bot() {
    const MANY: i64 = 300;
    let bench = with_many(MANY);
    trigger_on_links(&bench, "old.id <= 300", "perform pg_sleep(0.02);");
    let daemon = bench.start();
    bench.wait_idle();
    bench.db.set_token(ALICE, Some(TOKEN));
    let bot = bench.db.another_bot();
    // relinkd's own statements end sooner.
    bot.execute("set lock_timeout = '5s'");
    bench.wait_until("all are right", || {
        bot.execute("update issues set status = 'busy' where id = 1 + floor(random() * 300)");
        with_token(&bench, TOKEN) == MANY
    });
    bench.db.set_token(ALICE, None);
    bench.db.set_token(BOB, Some(OTHER));
    bench.wait_link(1_000_000, &login_link(OTHER, 1_000_000));
    bench.db.execute("drop trigger theirs on issues");
    bench.wait_idle();
    daemon.stop();
}

#[test]
fn an_audit_queues_nobody_anew_who_is_set_aside() {
    let bench = installed(&[ALICE, BOB]);
    bench.set("audit.interval", "\"200ms\"");
    trigger_on_links(&bench, "old.id = 1", "raise exception 'not now';");
    let daemon = bench.start();
    bench.db.set_token(ALICE, Some(TOKEN));
    bench.wait_until("it is set aside", || status(&bench)["set_aside"][0]["telegram_id"] == ALICE);
    bench.wait_until("the token is sealed", || is_sealed(&bench, ALICE));
    let audited = || bench.db.admin().value("select audit_finished_at::text from relinkd.meta");
    let audits = || {
        for _ in 0..5 {
            let before = audited();
            bench.wait_until("another audit has been", || audited() != before);
        }
    };
    // The first of them may have begun before.
    audits();
    let so_far = || (appended(&bench), daemon.log().lines().count());
    let before = so_far();
    audits();
    assert_eq!(so_far(), before, "{}", daemon.log());
    bench.db.execute("drop trigger theirs on issues");
    bench.wait_link(1, &login_link(TOKEN, 1));
    daemon.stop();
}

#[test]
fn held_users_at_the_head_of_the_queue_starve_nobody_behind_them() {
    let bench = with_many(3_000);
    bench.run(["sync"]).ok();
    bench.db.execute(
        "insert into users (telegram_id, user_type) select n, 'client' from generate_series(1, 400) n",
    );
    let holder = bench.db.connect_as("postgres").unwrap();
    holder.execute(&format!(
        "begin; select pg_advisory_xact_lock(relinkd.user_key(n)) from generate_series(1, 400) n;
         select pg_advisory_xact_lock(relinkd.user_key({ALICE}))"
    ));
    // More of both kinds than any step takes on.
    bench.db.execute(&format!(
        "update users set portal_token = 'secret-of-' || telegram_id where telegram_id <= 400;
         update issues set okdesk_url = okdesk_url || '#' where telegram_user_id = {ALICE}"
    ));
    let daemon = bench.start();
    for token in [OTHER, THIRD] {
        bench.db.set_token(BOB, Some(token));
        bench.wait_link(1_000_000, &login_link(token, 1_000_000));
    }
    holder.execute("rollback");
    bench.wait_idle();
    daemon.stop();
}

#[test]
fn connections_that_lead_to_no_work_grow_rare_and_are_not_told_of_each_time() {
    let bench = installed(&[ALICE]);
    let daemon = bench.start();
    bench.wait_idle();
    let connects = || {
        let sql = "select count(*) from pg_stat_activity where datname = current_database() and usename = '";
        bench.db.number(&format!("{sql}{}'", bench.db.role()))
    };
    bench.db.admin().execute(&format!("revoke delete on relinkd.change from {}", bench.db.role()));
    bench.db.set_token(ALICE, Some(TOKEN));
    daemon.wait_log("lacks a privilege");
    sleep(Duration::from_secs(8));
    assert!(connects() <= 4);
    let log = daemon.log();
    let told = |text: &str| log.matches(text).count();
    assert!(told("lacks a privilege") == 1 && told("connected") == 1, "{log}");
    bench.install();
    bench.wait_link(1, &login_link(TOKEN, 1));
    daemon.stop();
}

#[test]
fn what_rekey_has_sealed_outlives_a_power_loss_whatever_the_database_sets() {
    let lazy = ClusterOptions::default()
        .setting("synchronous_commit", "off")
        .setting("wal_writer_delay", "10s")
        .setting("autovacuum", "off");
    let cluster = Cluster::start(&lazy);
    let bench = Bench::over(Arc::new(Database::on(&cluster, TokenColumn::Varchar)));
    bench.db.insert_user(ALICE, None);
    bench.install();
    bench.run_with_input(["token", "set", &ALICE.to_string(), "--no-wait"], TOKEN).ok();
    for command in ["key generate --id k2", "key promote k2", "rekey"] {
        bench.run(command.split(' ')).ok();
    }
    cluster.stop(Stop::Immediate);
    cluster.resume();
    assert_eq!(status(&bench)["keys"]["in_use"], json!({ "k2": 1 }));
}

/// A process that was stopped by SIGSTOP and goes on at the end.
pub(crate) struct Frozen(Vec<Pid>);

impl Frozen {
    fn process(pid: i64) -> Self {
        Self::all([pid])
    }

    /// The server of this session, all of it.
    pub(crate) fn server(session: &Session) -> Self {
        let parent = |process: &str| -> Option<i64> {
            let told = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
            told.rsplit(") ").next()?.split(' ').nth(1)?.parse().ok()
        };
        let postmaster = parent(&session.value("select pg_backend_pid()").unwrap()).unwrap();
        let all =
            std::fs::read_dir("/proc").unwrap().filter_map(|it| it.unwrap().file_name().into_string().ok());
        let children = all.filter(|it| parent(it) == Some(postmaster)).map(|it| it.parse().unwrap());
        Self::all([postmaster].into_iter().chain(children))
    }

    fn all(pids: impl IntoIterator<Item = i64>) -> Self {
        let pids = pids.into_iter().map(|pid| Pid::from_raw(i32::try_from(pid).unwrap()));
        // One of a server's processes may have ended by itself.
        let pids: Vec<Pid> = pids.filter(|pid| kill(*pid, Signal::SIGSTOP).is_ok()).collect();
        assert!(!pids.is_empty());
        Self(pids)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        for pid in &self.0 {
            let _ = kill(*pid, Signal::SIGCONT);
        }
    }
}

#[test]
fn a_frozen_daemon_lets_go_of_the_bots_rows_and_of_its_bell() {
    let bench = installed(&[ALICE]);
    bench.db.execute(
        "create function slow() returns trigger language plpgsql as
             $$ begin if session_user like 'relinkd%' then perform pg_sleep(0.5); end if; return new; end $$;
         create trigger slow before update on users for each row execute function slow()",
    );
    let daemon = bench.start();
    bench.wait_idle();
    bench.db.set_token(ALICE, Some(TOKEN));
    let at_it = "select count(*) from pg_stat_activity
                  where datname = current_database() and usename like 'relinkd%' and wait_event = 'PgSleep'";
    bench.wait_until("the daemon has the row", || bench.db.number(at_it) == 1);
    let frozen = Frozen::process(daemon.pid().into());
    let bot = bench.db.another_bot();
    // What the server's own limits of such a transaction come to, with room for a busy machine; it was 30 s.
    bot.execute("set lock_timeout = '15s'; update users set full_name = 'x'");
    drop(frozen);
    bench.db.execute("drop trigger slow on users");
    bench.wait_link(1, &login_link(TOKEN, 1));
    // It may have woken at the very moment.
    let frozen = loop {
        bench.wait_until("the daemon sleeps", || rings(&bench));
        let frozen = Frozen::process(daemon.pid().into());
        if rings(&bench) {
            break frozen;
        }
    };
    let mut rung = 0;
    while rings(&bench) {
        rung += 1;
        assert!(rung < 60, "a daemon that is frozen is rung for without end");
        sleep(Duration::from_secs(1));
    }
    drop(frozen);
    bench.db.set_token(ALICE, Some(OTHER));
    bench.wait_until("the link follows", || bench.db.link(1).is_some_and(|link| link.contains(OTHER)));
    daemon.stop();
}

#[test]
fn the_bot_is_never_the_victim_of_a_deadlock() {
    let bench = with_many(2);
    let name = bench.db.name();
    bench.db.admin().execute(&format!("alter database {name} set deadlock_timeout = '400ms'"));
    let daemon = bench.start();
    let bot = bench.db.another_bot();
    for round in 0..4 {
        let token = format!("{round:04}-5733-8392-7092");
        bot.execute("begin; update issues set status = 'x' where id = 2");
        bench.db.set_token(ALICE, Some(&token));
        // The daemon has come to the second row by now, with the first one written.
        sleep(Duration::from_millis(700));
        bot.execute("update issues set status = 'y' where id = 1; commit");
        bench.wait_until("both follow", || with_token(&bench, &token) == 2);
    }
    let log = bench.db.cluster().log_of(name, &[]);
    assert!(!log.contains("deadlock detected"), "{log}");
    daemon.stop();
}

#[test]
fn a_slow_way_to_the_server_keeps_no_row_from_the_bot() {
    const MANY: i64 = 100;
    let bench = with_many(MANY);
    let _way = SlowWay::start(&bench, Duration::from_millis(100));
    let daemon = bench.start();
    bench.wait_idle();
    let bot = bench.db.another_bot();
    // Five times to the server and back.
    bot.execute("set lock_timeout = '1s'");
    bench.db.set_token(ALICE, Some(TOKEN));
    bench.wait_until("all are right", || {
        bot.execute(&format!("update issues set status = 'busy' where id = 1 + floor(random() * {MANY})"));
        with_token(&bench, TOKEN) == MANY
    });
    daemon.stop();
}

/// Of two sessions at work one has the giant, and the other may not think that all is done.
#[test]
fn nobody_waits_for_the_end_of_a_giants_walk() {
    const MANY: i64 = 8_000;
    const GIANT: i64 = 1;
    let bench = bench_of(&[GIANT, 2, 3]);
    bench.db.execute(&format!(
        "insert into issues (id, telegram_user_id, okdesk_issue_id, status, okdesk_url)
         select n, {GIANT}, n, 'opened', '{BASE}/issues/' || n from generate_series(1, {MANY}) n"
    ));
    bench.install();
    for user in [2, 3] {
        bench.db.set_token(user, Some(&format!("{user:04}-5733-8392-7092")));
    }
    let daemon = bench.start();
    bench.wait_idle();
    bench.db.execute(&format!(
        "create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(0.0002); return new; end $$;
         create trigger slow before update on issues for each row when (old.telegram_user_id = {GIANT}) execute function slow()"
    ));
    let mut issue = i32::try_from(MANY).unwrap();
    for walk in 1..=5 {
        let token = format!("1000-2000-3000-{walk:04}");
        let done = || {
            bench.db.number(&format!(
                "select count(*) from issues where telegram_user_id = {GIANT} and okdesk_url like '%token={token}&%'"
            ))
        };
        bench.db.set_token(GIANT, Some(&token));
        bench.wait_until("the walk is under way", || done() > 500);
        for user in [2, 3] {
            issue += 1;
            bench.db.insert_issue(issue, user, Some(&plain_link(i64::from(issue))));
            bench.wait_link(issue, &login_link(&format!("{user:04}-5733-8392-7092"), i64::from(issue)));
        }
        assert!(done() < MANY, "the giant was done first, in walk {walk}");
    }
    daemon.stop();
}

#[test]
fn what_was_set_aside_is_tried_again_while_giants_are_walked() {
    const MANY: i64 = 20_000;
    let bench = bench_of(&[1, 2, 3, 4]);
    bench.db.execute(&format!(
        "insert into issues (id, telegram_user_id, okdesk_issue_id, status, okdesk_url)
         select n, 1 + n % 2 * 3, n, 'opened', '{BASE}/issues/' || n from generate_series(1, {MANY}) n;
         create function refuse() returns trigger language plpgsql as $$ begin raise 'not now'; end $$;
         create trigger refuse before update on issues for each row when (old.id > {MANY}) execute function refuse();
         create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(0.0005); return new; end $$;
         create trigger slow before update on issues for each row when (old.id <= {MANY}) execute function slow()"
    ));
    let issue_of = |user: i64| i32::try_from(MANY + user).unwrap();
    let token_of = |user: i64| format!("{user:04}-5733-8392-7092");
    for user in [2, 3] {
        bench.db.insert_issue(issue_of(user), user, Some(&plain_link(i64::from(issue_of(user)))));
    }
    bench.install();
    let daemon = bench.start();
    bench.wait_idle();
    for user in [2, 3] {
        bench.db.set_token(user, Some(&token_of(user)));
    }
    let aside = "select count(*) from relinkd.change where attempts > 0";
    bench.wait_until("both are set aside", || bench.db.number(aside) == 2);
    // One in each share of the two sessions: neither is ever without work.
    bench.db.set_token(1, Some(TOKEN));
    bench.db.set_token(4, Some(OTHER));
    let done = || {
        let right = format!("select count(*) from issues where id <= {MANY} and okdesk_url like '%token=%'");
        bench.db.number(&right)
    };
    bench.wait_until("the walk is under way", || done() > 500);
    bench.db.execute(
        "create or replace function refuse() returns trigger language plpgsql as $$ begin return new; end $$",
    );
    for user in [2, 3] {
        bench.wait_link(issue_of(user), &login_link(&token_of(user), i64::from(issue_of(user))));
    }
    assert!(done() < MANY * 3 / 4, "the giants came first");
    daemon.stop();
}

/// Statistics that say that all issues are one user's make an index on ids look best.
#[test]
fn a_walk_of_few_issues_reads_no_others() {
    let bench = with_many(20_000);
    bench.db.execute("analyze issues");
    bench.db.set_token(BOB, Some(TOKEN));
    let read = "select pg_stat_get_tuples_returned(c.oid) + pg_stat_get_tuples_fetched(c.oid)
                  from pg_class c where c.oid = 'issues_pkey'::regclass";
    bench.run(["sync", &BOB.to_string()]).ok();
    bench.wait_link(1_000_000, &login_link(TOKEN, 1_000_000));
    let before = bench.db.number(read);
    bench.db.set_token(BOB, Some(OTHER));
    bench.run(["sync", &BOB.to_string()]).ok();
    bench.wait_link(1_000_000, &login_link(OTHER, 1_000_000));
    // The server counts a session's reads when it ends.
    sleep(Duration::from_millis(1_500));
    let read = bench.db.number(read) - before;
    assert!(read < 5_000, "{read} entries of the index on ids were read");
}

#[test]
fn of_two_daemons_reloaded_one_after_the_other_no_link_stays_on_the_old_host() {
    const MANY: i64 = 3_000;
    let bench = with_many(MANY);
    let second = Bench::over(Arc::clone(&bench.db));
    let (one, two) = (bench.start(), second.start());
    bench.wait_idle();
    let on = |host: &str| {
        bench.db.number(&format!("select count(*) from issues where okdesk_url like '{host}/issues/%'"))
    };
    let moved = |bench: &Bench, host: &str, from: &str| {
        bench.set("portal.base_url", &format!("\"{host}\""));
        bench.set("portal.aliases", &format!("[\"{from}\"]"));
    };
    let new = "https://new.example";
    moved(&bench, new, BASE);
    one.hup();
    one.wait_log("the configuration of the portal has changed");
    moved(&second, new, BASE);
    two.hup();
    bench.wait_until("all have moved", || on(new) == MANY + 1);
    // And where the first one dies as soon as it has queued everybody.
    moved(&second, BASE, new);
    two.hup();
    two.wait_log("the configuration of the portal has changed");
    two.kill();
    moved(&bench, BASE, new);
    one.hup();
    bench.wait_until("all have moved back", || on(BASE) == MANY + 1);
    one.stop();
}

#[test]
fn a_daemon_that_is_reloaded_without_end_goes_on_working() {
    let bench = installed(&[ALICE]);
    let daemon = bench.start();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                daemon.hup();
                sleep(Duration::from_millis(10));
            }
        });
        for round in 0..10 {
            let token = format!("{round:04}-5733-8392-7092");
            bench.db.set_token(ALICE, Some(&token));
            bench.wait_link(1, &login_link(&token, 1));
        }
        stop.store(true, Ordering::Relaxed);
    });
    daemon.stop();
}

#[test]
fn an_audit_interval_that_is_reloaded_counts_from_then_on() {
    let bench = installed(&[ALICE]);
    let daemon = bench.start();
    bench.wait_idle();
    bench.db.admin().execute(&format!(
        "set session_replication_role = replica;
         update users set portal_token = '{TOKEN}' where telegram_id = {ALICE};
         reset session_replication_role"
    ));
    bench.set("audit.interval", "\"500ms\"");
    daemon.hup();
    bench.wait_link(1, &login_link(TOKEN, 1));
    daemon.stop();
}

#[test]
fn limits_that_the_database_sets_are_not_the_daemons() {
    let bench = installed(&[ALICE, BOB]);
    let name = bench.db.name();
    for limit in [
        "statement_timeout = '30ms'",
        "lock_timeout = '1ms'",
        "idle_session_timeout = '400ms'",
        "idle_in_transaction_session_timeout = '30ms'",
    ] {
        bench.db.admin().execute(&format!("alter database {name} set {limit}"));
    }
    let slow = "perform pg_sleep(0.1);";
    trigger_on_links(&bench, "old.id = 1", slow);
    let daemon = bench.start();
    for round in 0..4 {
        let token = |user: i64| format!("{round:04}-{user}");
        bench.db.admin().execute(&format!(
            "update users set portal_token = '{}' where telegram_id = {ALICE}",
            token(ALICE)
        ));
        bench.drop_token(&format!("{round}.toml"), BOB, &token(BOB));
        bench.wait_link(1, &login_link(&token(ALICE), 1));
        bench.wait_link(2, &login_link(&token(BOB), 2));
        sleep(Duration::from_secs(2));
    }
    bench.run(["sync"]).ok();
    bench.run(["check"]).exits(0);
    assert_eq!(daemon.log().matches("connected").count(), 1, "{}", daemon.log());
    daemon.stop();
}

#[test]
fn no_trigger_begins_a_subtransaction() {
    let bench = with_many(50);
    bench.db.execute("update users set portal_token = 'seven'");
    let session = bench.db.connect_as("postgres").unwrap();
    for statement in [
        "insert into users (telegram_id, user_type, portal_token) select n, 'client', 'x' from generate_series(1, 50) n",
        "update users set portal_token = 'eight'",
        "update users set portal_token = null",
        "delete from users",
        "insert into issues (id, telegram_user_id, okdesk_issue_id, status, okdesk_url)
         select n, 1, n, 'opened', 'x' from generate_series(2000, 2050) n",
        "update issues set okdesk_url = okdesk_url || '#'",
        "update issues set telegram_user_id = 7",
        "truncate users",
    ] {
        session.execute(&format!("begin; delete from relinkd.change; {statement}"));
        let written = session.number("select count(*) from relinkd.change");
        // A subtransaction has a number of its own, and what it writes bears that.
        let by_itself = session.number(
            "select count(*) from relinkd.change where xmin::text = mod(pg_current_xact_id()::text::numeric, 4294967296)::text",
        );
        assert!(written > 0 && by_itself == written, "{statement}: {by_itself} of {written}");
        session.execute("rollback");
    }
}

#[test]
fn an_issue_that_loses_its_user_loses_the_token() {
    for tokenless in ["plain", "keep"] {
        let bench = installed(&[ALICE, BOB]);
        bench.set("portal.tokenless", &format!("\"{tokenless}\""));
        bench.db.execute("alter table issues alter telegram_user_id drop not null");
        let daemon = bench.start();
        bench.db.set_token(ALICE, Some(TOKEN));
        bench.wait_link(1, &login_link(TOKEN, 1));
        bench.db.execute("update issues set telegram_user_id = null where id = 1");
        bench.wait_link(1, &plain_link(1));
        daemon.stop();
    }
}

#[test]
fn two_rows_of_one_user_are_sealed_each_with_its_own_token() {
    let bench = bench_of(&[]);
    bench.db.execute("drop index ix_users_telegram_id");
    bench.install();
    for token in [TOKEN, OTHER] {
        bench.db.insert_user(ALICE, Some(token));
    }
    let daemon = bench.start();
    let stored = || bench.db.rows("select portal_token from users order by id").concat();
    bench.wait_until("both are sealed", || {
        stored().iter().flatten().all(|value| value.starts_with("relinkd:v1:"))
    });
    let opened: Vec<_> = stored().iter().flatten().map(|value| open(value, ALICE).unwrap()).collect();
    assert_eq!(opened, [TOKEN, OTHER]);
    bench.wait_idle();
    daemon.stop();
}

/// Of what it was set back from, times to come stand in the queue.
#[test]
fn a_clock_that_was_set_back_an_hour_delays_no_change() {
    let bench = installed(&[ALICE, BOB]);
    let daemon = bench.start();
    bench.wait_idle();
    bench.db.admin().execute(&format!(
        "set session_replication_role = replica;
         update users set portal_token = '{TOKEN}' where telegram_id = {ALICE};
         update users set portal_token = '{OTHER}' where telegram_id = {BOB};
         reset session_replication_role;
         insert into relinkd.change (telegram_id, at, due, attempts) values
            ({ALICE}, now() + interval '1 hour', now() + interval '1 hour', 0),
            ({BOB}, now() + interval '1 hour', now() + interval '1 hour', 3)"
    ));
    bench.wait_link(1, &login_link(TOKEN, 1));
    bench.wait_link(2, &login_link(OTHER, 2));
    daemon.stop();
}

#[test]
fn a_giants_walk_goes_on_while_the_users_row_is_locked() {
    const MANY: i64 = 12_000;
    let bench = with_many(MANY);
    let daemon = bench.start();
    bench.wait_idle();
    bench.db.set_token(ALICE, Some(TOKEN));
    let busy = bench.db.another_bot();
    busy.execute(&format!(
        "begin; update users set portal_token = portal_token, full_name = 'x' where telegram_id = {ALICE}"
    ));
    bench.wait_until("all are right", || with_token(&bench, TOKEN) == MANY);
    busy.execute("commit");
    bench.wait_until("sealed", || is_sealed(&bench, ALICE));
    bench.wait_idle();
    daemon.stop();
}

#[test]
fn a_session_that_falls_silent_is_left_for_another() {
    let bench = installed(&[ALICE]);
    let daemon = bench.start();
    bench.wait_idle();
    for (round, which) in ["listener", "worker"].into_iter().cycle().take(4).enumerate() {
        bench.wait_idle();
        let token = format!("{round:04}-5733-8392-7092");
        let backend = format!(
            "select coalesce(max(pid), 0) from pg_stat_activity where datname = current_database()
                and usename = '{}' and application_name = 'relinkd {which}'",
            bench.db.role()
        );
        bench.wait_until("there is a session", || bench.db.number(&backend) > 0);
        let _frozen = Frozen::process(bench.db.number(&backend));
        bench.db.set_token(ALICE, Some(&token));
        bench.wait_link(1, &login_link(&token, 1));
    }
    daemon.stop();
}

/// A trigger of the bot's that does not let itself be interrupted the first time.
#[test]
fn a_statement_that_is_given_up_is_not_left_running_on_the_server() {
    let bench = installed(&[ALICE, BOB]);
    trigger_on_links(
        &bench,
        "old.id = 1",
        "begin perform pg_sleep(60); exception when query_canceled then perform pg_sleep(3600); end;",
    );
    let daemon = bench.start();
    let sessions = |which: &str| {
        bench.db.number(&format!(
            "select count(*) from pg_stat_activity where datname = current_database() and usename = '{}' {which}",
            bench.db.role()
        ))
    };
    bench.db.set_token(ALICE, Some(TOKEN));
    bench.db.set_token(BOB, Some(OTHER));
    bench.wait_link(2, &login_link(OTHER, 2));
    let mut most = 0;
    bench.wait_until("it is set aside and was tried again", || {
        most = sessions("").max(most);
        bench.db.number("select coalesce(max(attempts), 0) from relinkd.change") >= 2
    });
    assert!(most <= 6, "{most} sessions at a time");
    bench.db.execute("drop trigger theirs on issues");
    bench.wait_until("nothing is left of it", || sessions("and wait_event = 'PgSleep'") == 0);
    bench.wait_link(1, &login_link(TOKEN, 1));
    daemon.stop();
}

/// What a primary demands for as long as this lives.
struct Demand<'a>(&'a Cluster);

impl<'a> Demand<'a> {
    fn of_a_standby_that_is_gone(cluster: &'a Cluster) -> Self {
        cluster.reload_with("synchronous_standby_names", "gone");
        Self(cluster)
    }
}

impl Drop for Demand<'_> {
    fn drop(&mut self) {
        self.0.reload_with("synchronous_standby_names", "");
    }
}

#[test]
fn a_synchronous_standby_that_is_gone_keeps_no_link_and_costs_no_sessions() {
    let cluster = Cluster::start(&ClusterOptions::default());
    let bench = Bench::over(Arc::new(Database::on(&cluster, TokenColumn::Varchar)));
    bench.db.insert_user(ALICE, None);
    bench.db.insert_user(BOB, None);
    bench.db.insert_issue(1, ALICE, Some(&plain_link(1)));
    bench.install();
    let daemon = bench.start();
    bench.wait_idle();
    let demand = Demand::of_a_standby_that_is_gone(&cluster);
    let bot = bench.db.another_bot();
    bot.execute("set synchronous_commit = off");
    for round in 0..6 {
        let token = format!("{round:04}-5733-8392-7092");
        bot.execute(&format!("update users set portal_token = '{token}' where telegram_id = {ALICE}"));
        bench.wait_link(1, &login_link(&token, 1));
        sleep(Duration::from_secs(3));
    }
    // The commit of its token waits, and nobody tries it anew beside that.
    bench.drop_token("a.toml", BOB, OTHER);
    sleep(Duration::from_secs(3));
    let sessions = "select count(*) from pg_stat_activity where datname = current_database() and usename like 'relinkd%'";
    assert!(bench.db.number(sessions) <= 6, "{}", daemon.log());
    assert!(!daemon.log().contains("warn "), "{}", daemon.log());
    drop(demand);
    bench.wait_applied("a.toml");
    daemon.stop();
}

/// The most memory that `sync --dry-run --json` had, in KiB.
fn memory_of_a_dry_run(bench: &Bench, wanted: i64) -> u64 {
    let mut command = bench.command(["sync", "--dry-run", "--json"]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let (mut most, mut lines, mut piece) = (0, 0, vec![0; 1 << 16]);
    loop {
        let told = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        let line = told.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        if let Some(kib) = line {
            most = kib.trim().trim_end_matches(" kB").parse().unwrap();
        }
        let length = stdout.read(&mut piece).unwrap();
        if length == 0 {
            break;
        }
        lines += piece[..length].split(|byte| *byte == b'\n').count() - 1;
    }
    assert_eq!(child.wait().unwrap().code(), Some(3));
    assert_eq!(i64::try_from(lines).unwrap(), wanted + 1);
    most
}

#[test]
fn a_dry_run_takes_no_memory_for_each_link() {
    let bench = with_many(2_000);
    bench.db.set_token(ALICE, Some(TOKEN));
    let few = memory_of_a_dry_run(&bench, 2_000);
    bench.db.execute(&format!(
        "insert into issues (id, telegram_user_id, okdesk_issue_id, status, okdesk_url)
         select n, {ALICE}, n, 'opened', '{BASE}/issues/' || n from generate_series(2001, 60000) n"
    ));
    let many = memory_of_a_dry_run(&bench, 60_000);
    assert!(many < few + 5_000, "{few} KiB for 2,000 links, {many} KiB for 60,000");
}
