//! The path of a change: what it costs, what it does not wait for, that nothing is done twice or left out, and that
//! nobody writes a user's links beside somebody else who does.

use crate::support::cast::{
    ALICE, BOB, CAROL, OTHER, THIRD, TOKEN, appended, bench_of, installed, revealed, settled, start_command,
    status,
};
use crate::support::{BASE, Bench, Session, login_link, plain_link};
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

/// More than some dozen chunks of a walk.
const MANY: i64 = 30_000;

/// Alice with issues 1 to [`MANY`], Bob with one beyond them.
fn with_a_giant() -> Bench {
    let bench = bench_of(&[ALICE, BOB]);
    bench.db.execute(&format!(
        "insert into issues (id, telegram_user_id, okdesk_issue_id, status, okdesk_url)
         select n, {ALICE}, n, 'opened', '{BASE}/issues/' || n from generate_series(1, {MANY}) n"
    ));
    bench.db.insert_issue(100_000, BOB, Some(&plain_link(100_000)));
    bench.install();
    bench
}

/// How many of a user's links are exactly as they should be with this token.
fn right(bench: &Bench, user: i64, token: &str) -> i64 {
    bench.db.number(&format!(
        "select count(*) from issues where telegram_user_id = {user}
            and okdesk_url = '{BASE}/login?token={token}&redirect=/issues/' || id"
    ))
}

/// How many rows of `issues` were ever updated.
fn updated(bench: &Bench) -> i64 {
    let admin = bench.db.connect_as("postgres").unwrap();
    settled(|| admin.number("select n_tup_upd from pg_stat_all_tables where relname = 'issues'"))
}

#[test]
fn a_new_issue_of_a_user_with_very_many_writes_one_row() {
    let bench = with_a_giant();
    bench.db.set_token(ALICE, Some(TOKEN));
    bench.run(["sync"]).ok();
    assert_eq!(right(&bench, ALICE, TOKEN), MANY);
    let daemon = bench.start();
    bench.wait_idle();
    let before = updated(&bench);
    bench.db.insert_issue(200_000, ALICE, Some(&plain_link(200_000)));
    bench.wait_link(200_000, &login_link(TOKEN, 200_000));
    bench.wait_idle();
    daemon.stop();
    assert_eq!(updated(&bench) - before, 1);
}

#[test]
fn a_walk_that_is_killed_goes_on_from_its_cursor() {
    let bench = with_a_giant();
    let daemon = bench.start();
    bench.wait_idle();
    // Not the server's statistics, which count what was rolled back, too.
    bench.db.execute(
        "create table written (id bigint);
         create function note() returns trigger language plpgsql as
             $$ begin insert into written select id from new_rows; return null; end $$;
         create trigger note after update on issues referencing new table as new_rows for each statement execute function note();
         alter function note() security definer",
    );
    bench.db.set_token(ALICE, Some(TOKEN));
    let mut daemon = Some(daemon);
    let mut cursors = vec![0];
    for _ in 0..3 {
        let mut cursor = 0;
        bench.wait_until("the walk has moved on, or is over", || {
            let rows = bench.db.rows(&format!(
                "select cursor from relinkd.change where telegram_id = {ALICE} and cursor is not null"
            ));
            cursor = rows.first().map_or(MANY, |row| row[0].as_ref().unwrap().parse().unwrap());
            cursor > *cursors.last().unwrap() && (cursor < MANY || right(&bench, ALICE, TOKEN) == MANY)
        });
        daemon.take().unwrap().kill();
        cursors.push(cursor);
        daemon = Some(bench.start());
    }
    bench.wait_idle();
    assert!(cursors[1] < MANY, "the giant is too small to be caught in the middle: {cursors:?}");
    assert_eq!(right(&bench, ALICE, TOKEN), MANY);
    daemon.take().unwrap().stop();
    // Every link was written once: a crash is a rollback, and no walk began anew.
    assert_eq!(bench.db.number("select count(*) from written"), MANY);
}

#[test]
fn a_giant_is_taken_in_pieces_and_others_pass_between() {
    let bench = with_a_giant();
    let daemon = bench.start();
    bench.wait_idle();
    bench.db.set_token(ALICE, Some(TOKEN));
    bench.wait_until("the walk is under way", || right(&bench, ALICE, TOKEN) > 0);
    bench.db.set_token(BOB, Some(OTHER));
    bench.wait_link(100_000, &login_link(OTHER, 100_000));
    let (done, walking) =
        (right(&bench, ALICE, TOKEN), status(&bench)["backlog"]["changes"].as_i64().unwrap());
    assert!(done < MANY, "Bob waited for all of Alice's");
    assert!(walking >= 1, "a user being walked counts as waiting");
    // An issue of hers that the walk is not at yet, and a token that overtakes the walk.
    bench.db.set_token(ALICE, Some(THIRD));
    bench.db.insert_issue(200_000, ALICE, Some(&plain_link(200_000)));
    bench.wait_idle();
    assert_eq!(right(&bench, ALICE, THIRD), MANY + 1);
    daemon.stop();
}

#[test]
fn a_removal_that_overtakes_a_walk_reaches_every_link_under_keep() {
    let bench = with_a_giant();
    bench.set("portal.tokenless", "\"keep\"");
    let daemon = bench.start();
    bench.wait_idle();
    bench.db.set_token(ALICE, Some(TOKEN));
    bench.wait_until("the walk is under way", || right(&bench, ALICE, TOKEN) > 0);
    bench.db.set_token(ALICE, None);
    bench.wait_until("the walk back is under way", || right(&bench, ALICE, TOKEN) == 0);
    daemon.kill();
    let daemon = bench.start();
    bench.wait_idle();
    let plain = "select count(*) from issues where okdesk_url like '%/issues/' || id and okdesk_url not like '%login%'";
    assert_eq!(bench.db.number(plain), MANY + 1);
    daemon.stop();
}

#[test]
fn own_writes_ring_no_bell_and_idleness_is_idle() {
    let bench = bench_of(&[]);
    bench.db.execute(&format!(
        "insert into users (telegram_id, user_type) select n, 'client' from generate_series(1, 300) n;
         insert into issues (id, telegram_user_id, okdesk_issue_id, status, okdesk_url)
         select n, 1 + n % 300, n, 'opened', '{BASE}/issues/' || n from generate_series(1, 3000) n"
    ));
    bench.install();
    let daemon = bench.start();
    bench.wait_idle();
    let before = appended(&bench);
    bench.db.execute("update users set portal_token = lpad(telegram_id::text, 16, 'tokentokentokento')");
    bench.wait_idle();
    let sealed = "select count(*) from users where portal_token like 'relinkd:v1:%'";
    assert_eq!(bench.db.number(sealed), 300);
    let linked = "select count(*) from issues where okdesk_url like '%/login?token=%'";
    assert_eq!(bench.db.number(linked), 3000);
    let of_issues = "select coalesce(max(issue_id), 0) from relinkd.change";
    assert_eq!(bench.db.number(of_issues), 0);
    // A change a user, and one more for each walk that took more than a step: neither sealing nor linking appends one.
    assert!(appended(&bench) - before < 600, "{}", appended(&bench) - before);
    assert_eq!(bench.db.number("select count(*) from relinkd.change"), 0);

    let (writes, before) = (updated(&bench), appended(&bench));
    let transactions = || {
        bench.db.number(&format!(
            "select xact_commit from pg_stat_database where datname = '{}'",
            bench.db.name()
        ))
    };
    let busy = transactions();
    sleep(Duration::from_secs(4));
    // A poll or two a second, a heartbeat, this test's own.
    assert!(transactions() - busy < 100, "{} transactions in four idle seconds", transactions() - busy);
    assert_eq!(updated(&bench), writes);
    assert_eq!(appended(&bench), before);
    daemon.stop();
}

#[test]
fn what_is_not_relinkds_business_appends_nothing() {
    let bench = installed(&[ALICE, BOB]);
    bench.run(["sync"]).ok();
    let before = appended(&bench);
    for statement in [
        "update issues set status = 'closed', rating = 5, telegram_message_id = 7, updated_at = now()",
        "update issues set okdesk_url = okdesk_url, telegram_user_id = telegram_user_id, status = 'opened'",
        "update users set full_name = 'x', phone = '1', updated_at = now()",
        "update users set portal_token = portal_token, telegram_id = telegram_id",
        "insert into issues (id, telegram_user_id, okdesk_issue_id, status) values (50, 1, 50, 'opened')",
        "delete from issues where id = 50",
        "insert into comments (issue_id, telegram_user_id, content) values (1, 1, 'x')",
        "update issues set okdesk_url = null where false",
        "truncate comments",
        "begin; insert into issues (id, telegram_user_id, okdesk_issue_id, status, okdesk_url)
           values (51, 1, 51, 'opened', 'x'); rollback",
    ] {
        bench.db.execute(statement);
        assert_eq!(bench.db.number("select count(*) from relinkd.change"), 0, "{statement}");
    }
    // The one that was rolled back has taken a number, and nothing else has.
    assert!(appended(&bench) - before <= 1);
}

#[test]
fn imports_of_very_many_rows_in_one_statement() {
    let bench = Bench::installed();
    let daemon = bench.start();
    bench.wait_idle();
    bench.db.execute(&format!(
        "begin;
         insert into users (telegram_id, user_type, portal_token)
         select n, 'client', case when n % 2 = 0 then 'secret-of-' || lpad(n::text, 8, '0') end from generate_series(1, 2000) n;
         insert into issues (id, telegram_user_id, okdesk_issue_id, status, okdesk_url)
         select n, 1 + n % 2000, n, 'opened', '{BASE}/api/v1/issues/' || n from generate_series(1, 20000) n;
         commit"
    ));
    bench.wait_idle();
    let wrong = format!(
        "select count(*) from issues
          where okdesk_url is distinct from case when telegram_user_id % 2 = 0
                then '{BASE}/login?token=secret-of-' || lpad(telegram_user_id::text, 8, '0') || '&redirect=/issues/' || id
                else '{BASE}/issues/' || id end"
    );
    assert_eq!(bench.db.number(&wrong), 0);
    assert_eq!(bench.db.number("select count(*) from users where portal_token like 'relinkd:v1:k1:%'"), 1000);
    daemon.stop();
}

#[test]
fn two_daemons_and_several_bots_come_to_one_result() {
    let users: Vec<i64> = (1..=20).collect();
    let bench = bench_of(&users);
    bench.db.execute(&format!(
        "insert into issues (id, telegram_user_id, okdesk_issue_id, status, okdesk_url)
         select n, 1 + n % 20, n, 'opened', '{BASE}/issues/' || n from generate_series(1, 400) n"
    ));
    bench.install();
    let second = Bench::over(Arc::clone(&bench.db));
    let daemons = [bench.start(), second.start()];
    let bots: Vec<_> = (0..4)
        .map(|lane| {
            let bot = bench.db.another_bot();
            std::thread::spawn(move || mix(&bot, lane))
        })
        .collect();
    for bot in bots {
        bot.join().unwrap();
    }
    bench.wait_idle();
    for daemon in daemons {
        daemon.stop();
    }
    for user in users {
        let all = bench.db.number(&format!("select count(*) from issues where telegram_user_id = {user}"));
        let right = if bench.db.token_column(user).is_some() {
            right(&bench, user, &revealed(&bench, user))
        } else {
            bench.db.number(&format!(
                "select count(*) from issues where telegram_user_id = {user} and okdesk_url = '{BASE}/issues/' || id"
            ))
        };
        assert_eq!(right, all, "links of user {user}");
    }
    bench.run(["sync", "--dry-run"]).exits(0);
}

/// A change that was put off for a former user may be appended after the one for the user it has gone to: the daemon of
/// the former one met the row locked by the very statement that gave it away.
#[test]
fn a_late_change_of_a_former_user_does_not_hide_the_present_ones() {
    for late in [[ALICE, BOB], [BOB, ALICE]] {
        let bench = installed(&[ALICE, BOB]);
        bench.run(["sync"]).ok();
        bench.db.execute("alter table issues disable trigger relinkd_2_issue_updated");
        bench.db.execute(&format!("update issues set okdesk_url = '{}' where id = 1", login_link(TOKEN, 1)));
        bench.db.execute("alter table issues enable trigger relinkd_2_issue_updated");
        for user in late {
            bench
                .db
                .admin()
                .execute(&format!("insert into relinkd.change (telegram_id, issue_id) values ({user}, 1)"));
        }
        let daemon = bench.start();
        bench.wait_link(1, &plain_link(1));
        daemon.stop();
    }
}

/// Some of everything a bot does, on users and issues that other lanes work on as well.
fn mix(bot: &Session, lane: i64) {
    for round in 0..150 {
        let user = 1 + (round * 7 + lane * 3) % 20;
        let issue = 1 + (round * 13 + lane * 101) % 400;
        let statement = match round % 5 {
            0 => format!(
                "update users set portal_token = 'lane-{lane}-{round:04}-secret' where telegram_id = {user}"
            ),
            1 => format!("update issues set telegram_user_id = {user} where id = {issue}"),
            2 => format!("update issues set okdesk_url = '{BASE}/api/v1/issues/' || id where id = {issue}"),
            3 => format!("update users set portal_token = null where telegram_id = {user}"),
            _ => format!(
                "insert into issues (id, telegram_user_id, okdesk_issue_id, status, okdesk_url)
                 values ({id}, {user}, 1, 'opened', '{BASE}/issues/{id}')",
                id = 1000 + lane * 1000 + round
            ),
        };
        bot.execute(&statement);
    }
}

#[test]
fn a_locked_row_delays_itself_alone_and_the_bot_never() {
    let bench = bench_of(&[ALICE, BOB]);
    for id in 1..=100 {
        bench.db.insert_issue(id, ALICE, Some(&plain_link(i64::from(id))));
    }
    bench.db.insert_issue(101, BOB, Some(&plain_link(101)));
    bench.install();
    let daemon = bench.start();
    bench.wait_idle();
    let busy = bench.db.another_bot();
    busy.execute("begin; update issues set status = 'busy' where id = 50");
    bench.db.set_token(ALICE, Some(TOKEN));
    bench.db.set_token(BOB, Some(OTHER));
    bench.wait_link(101, &login_link(OTHER, 101));
    bench.wait_link(49, &login_link(TOKEN, 49));
    bench.wait_link(51, &login_link(TOKEN, 51));
    assert_eq!(bench.db.link(50), Some(plain_link(50)));
    assert!(status(&bench)["backlog"]["changes"].as_i64().unwrap() >= 1);
    // relinkd holds nothing of hers meanwhile: the bot's statements go through at once.
    let bot = bench.db.another_bot();
    bot.execute("set lock_timeout = '2s'");
    for id in 1..=49 {
        bot.execute(&format!("update issues set status = 'closed' where id = {id}"));
    }
    bot.execute("update users set full_name = 'x'");
    busy.execute("commit");
    bench.wait_link(50, &login_link(TOKEN, 50));
    bench.wait_idle();
    daemon.stop();
}

#[test]
fn a_users_row_that_is_locked_delays_the_sealing_alone() {
    let bench = installed(&[ALICE, BOB]);
    bench.db.set_token(ALICE, Some(TOKEN));
    let busy = bench.db.another_bot();
    busy.execute(&format!("begin; update users set full_name = 'x' where telegram_id = {ALICE}"));
    let daemon = bench.start();
    bench.wait_link(1, &login_link(TOKEN, 1));
    bench.db.set_token(BOB, Some(OTHER));
    bench.wait_link(2, &login_link(OTHER, 2));
    assert_eq!(bench.db.token_column(ALICE).as_deref(), Some(TOKEN));
    busy.execute("commit");
    bench.wait_until("sealed", || bench.db.token_column(ALICE).unwrap().starts_with("relinkd:"));
    bench.wait_idle();
    daemon.stop();
}

/// Does by hand what a slow daemon does: holds the lock of Alice (as everybody must who writes her links), and has
/// read token and plain link before the bot removes the token.
struct SlowDaemon(Session);

impl SlowDaemon {
    fn reads(bench: &Bench) -> Self {
        let session = bench.db.connect_as(bench.db.role()).unwrap();
        session.execute("begin; set local relinkd.applying = 'on'");
        let got = session.value(&format!("select pg_try_advisory_xact_lock(relinkd.user_key({ALICE}))"));
        assert_eq!(got.as_deref(), Some("t"));
        let link = session.value("select url from relinkd.bot_issue where id = 1");
        assert_eq!(link, Some(plain_link(1)));
        Self(session)
    }

    /// "Where the link still is what was read" is no protection: it is.
    fn writes(self) {
        let changed = format!(
            "with w as (update relinkd.bot_issue set url = '{}' where id = 1 and url = '{}' returning 1) select count(*) from w",
            login_link(TOKEN, 1),
            plain_link(1)
        );
        assert_eq!(self.0.number(&changed), 1);
        self.0.execute("commit");
    }
}

/// One daemon has read token and plain link; the bot removes the token; another daemon finds the plain link right
/// and forgets the change; the first one writes the removed token. Whoever does not try for the user's lock forgets
/// the change here, and the removed token stays in the link.
#[test]
fn a_removed_token_is_not_written_back_by_a_slow_daemon() {
    let bench = installed(&[ALICE, BOB]);
    let daemon = bench.start();
    bench.wait_idle();
    let slow = SlowDaemon::reads(&bench);
    bench.db.set_token(ALICE, Some(TOKEN));
    bench.db.set_token(ALICE, None);
    // The daemon has come by: it did what was appended later, and left this.
    bench.db.set_token(BOB, Some(OTHER));
    bench.wait_link(2, &login_link(OTHER, 2));
    let waiting = format!("select count(*) from relinkd.change where telegram_id = {ALICE}");
    assert!(bench.db.number(&waiting) > 0, "the change was forgotten while somebody else holds the user");
    slow.writes();
    bench.wait_link(1, &plain_link(1));
    bench.wait_idle();
    assert_eq!(bench.db.link(1), Some(plain_link(1)));
    daemon.stop();
}

/// The same for a change of the issue's own size.
#[test]
fn an_issue_that_was_given_away_does_not_get_the_token_back() {
    let bench = installed(&[ALICE, BOB]);
    bench.db.set_token(ALICE, Some(TOKEN));
    bench.run(["sync"]).ok();
    bench.db.execute(&format!("update issues set okdesk_url = '{}' where id = 1", plain_link(1)));
    let slow = SlowDaemon::reads(&bench);
    let daemon = bench.start();
    bench.db.set_token(BOB, Some(OTHER));
    bench.wait_link(2, &login_link(OTHER, 2));
    assert_eq!(bench.db.link(1), Some(plain_link(1)), "nobody else writes a link of hers");
    bench.db.execute(&format!("update issues set telegram_user_id = {CAROL} where id = 1"));
    bench.wait_link(1, &plain_link(1));
    slow.writes();
    bench.run(["sync"]).ok();
    assert_eq!(bench.db.link(1), Some(plain_link(1)));
    daemon.stop();
}

/// The same for `sync`, which waits for the user; and the audit, which only queues.
#[test]
fn sync_and_audit_keep_off_a_user_who_is_held() {
    let bench = installed(&[ALICE, BOB]);
    bench.set("audit.interval", "\"100ms\"");
    let daemon = bench.start();
    bench.wait_idle();
    let slow = SlowDaemon::reads(&bench);
    bench.db.set_token(ALICE, Some(TOKEN));
    let audits = || {
        bench.db.number("select coalesce(extract(epoch from audit_finished_at), 0)::int8 from relinkd.meta")
    };
    let before = audits();
    bench.wait_until("another audit has been", || audits() > before);
    assert_eq!(bench.db.link(1), Some(plain_link(1)));

    let sync = start_command(&bench, &["sync", &ALICE.to_string()], "");
    let at_work = "select count(*) from pg_stat_activity
        where datname = current_database() and application_name = 'relinkd command' and query ilike 'commit'";
    bench.wait_until("sync has asked for the user and not got her", || bench.db.number(at_work) > 0);
    bench.db.set_token(ALICE, None);
    slow.writes();
    let said = sync.wait_with_output().unwrap();
    assert!(said.status.success(), "{said:?}");
    bench.wait_link(1, &plain_link(1));
    bench.wait_idle();
    daemon.stop();
}

#[test]
fn a_user_who_fails_is_set_aside_with_the_reason_and_mended_when_it_goes() {
    let bench = bench_of(&[]);
    bench.db.execute(&format!(
        "insert into users (telegram_id, user_type) select n, 'client' from generate_series(1, 60) n;
         insert into issues (id, telegram_user_id, okdesk_issue_id, status, okdesk_url)
         select n, 1 + n % 60, n, 'opened', '{BASE}/issues/' || n from generate_series(1, 600) n;
         create function theirs() returns trigger language plpgsql as
         $$ begin raise exception 'links of 17 are frozen: %', new.okdesk_url; end $$;
         create trigger theirs before update on issues for each row
         when (new.telegram_user_id = 17) execute function theirs()"
    ));
    bench.install();
    let daemon = bench.start();
    bench.wait_idle();
    // All in one statement, and so in one step of the daemon's.
    bench.db.execute("update users set portal_token = 'secret-of-' || lpad(telegram_id::text, 6, '0')");
    let linked = format!(
        "select count(*) from issues where okdesk_url =
            '{BASE}/login?token=secret-of-' || lpad(telegram_user_id::text, 6, '0') || '&redirect=/issues/' || id"
    );
    bench.wait_until("the others go on", || bench.db.number(&linked) == 590);
    bench.wait_until("the one is set aside", || status(&bench)["set_aside"][0]["telegram_id"] == 17);
    let held = status(&bench);
    let held_up = held["set_aside"].as_array().unwrap();
    assert!(held_up.iter().all(|held| held["telegram_id"] == 17), "{held_up:?}");
    let reason = held["set_aside"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("links of 17 are frozen") && !reason.contains("secret"), "{reason}");
    assert!(held["backlog"]["changes"].as_i64().unwrap() >= 1);
    bench.db.insert_issue(1000, 18, Some(&plain_link(1000)));
    bench.wait_link(1000, &login_link("secret-of-000018", 1000));
    let said = bench.run(["sync", "17", "18"]).exits(7);
    assert!(said.stderr.contains("user 17") && !said.stderr.contains("user 18"), "{}", said.stderr);
    bench.db.execute("drop trigger theirs on issues");
    bench.wait_until("all are right", || bench.db.number(&linked) == 601);
    bench.wait_idle();
    assert_eq!(status(&bench)["set_aside"], serde_json::json!([]));
    // What that trigger wrote into the server's own log is its author's; what relinkd says of it is masked.
    assert!(daemon.log().contains("links of 17") && !daemon.log().contains("secret"), "{}", daemon.log());
    daemon.stop();
}

/// Somebody's trigger may swallow an update without an error: that user is no endless work for the daemon.
#[test]
fn an_update_that_is_swallowed_is_tried_again_with_patience() {
    let bench = installed(&[ALICE, BOB]);
    bench.db.execute(
        "create function theirs() returns trigger language plpgsql as $$ begin return null; end $$;
         create trigger theirs before update on issues for each row when (new.id = 1) execute function theirs()",
    );
    let daemon = bench.start();
    bench.db.set_token(ALICE, Some(TOKEN));
    bench.db.set_token(BOB, Some(OTHER));
    bench.wait_link(2, &login_link(OTHER, 2));
    sleep(Duration::from_secs(3));
    assert!(appended(&bench) < 40, "{} changes", appended(&bench));
    bench.db.execute("drop trigger theirs on issues");
    bench.wait_link(1, &login_link(TOKEN, 1));
    bench.wait_idle();
    daemon.stop();
}

/// Shared, no writer rings and nobody can fall asleep; exclusive, every writer rings.
#[test]
fn a_stranger_who_holds_the_doorbells_lock_holds_up_no_link() {
    for lock in ["pg_advisory_lock_shared", "pg_advisory_lock"] {
        let bench = installed(&[ALICE]);
        let holder = bench.db.connect_as("postgres").unwrap();
        holder.execute(&format!("select {lock}(1919249515, 0)"));
        let daemon = bench.start();
        for token in [TOKEN, OTHER] {
            bench.db.set_token(ALICE, Some(token));
            bench.wait_link(1, &login_link(token, 1));
        }
        daemon.stop();
    }
}

#[test]
fn a_row_that_the_server_cannot_read_holds_up_itself_alone() {
    let bench = installed(&[ALICE, BOB]);
    let admin = bench.db.admin();
    // Long enough for a table of its own (TOAST), of which a disk then loses a piece.
    admin.execute(&format!(
        "create extension pg_surgery;
         update issues set okdesk_url = (select '{BASE}/issues/1?x=' || string_agg(md5(n::text), '') from generate_series(1, 500) n)
          where id = 1"
    ));
    admin.execute(
        "select heap_force_kill(t.reltoastrelid, array['(0,1)'::tid])
           from pg_class t where t.oid = 'issues'::regclass",
    );
    let daemon = bench.start();
    for user in [ALICE, BOB] {
        bench.db.set_token(user, Some(&format!("{user:04}-5733-8392-7092")));
    }
    bench.wait_link(2, &login_link(&format!("{BOB:04}-5733-8392-7092"), 2));
    daemon.wait_log("XX001");
    bench.db.set_token(BOB, Some(OTHER));
    bench.wait_link(2, &login_link(OTHER, 2));
    assert_eq!(daemon.log().matches("connected").count(), 1, "{}", daemon.log());
    daemon.stop();
}

#[test]
fn rows_that_end_the_session_hold_up_themselves_alone() {
    let bench = bench_of(&[ALICE, BOB]);
    for (id, user) in [(1, ALICE), (2, BOB), (3, ALICE), (4, ALICE)] {
        bench.db.insert_issue(id, user, Some(&plain_link(i64::from(id))));
    }
    bench.db.execute(&format!(
        "create function end_it() returns trigger language plpgsql as $$ begin
             if session_user like 'relinkd%' then perform pg_terminate_backend(pg_backend_pid()); end if; return new;
         end $$;
         create trigger end_link before update on issues for each row when (old.id <> 2) execute function end_it();
         create trigger end_token before update on users for each row when (old.telegram_id = {CAROL}) execute function end_it()"
    ));
    bench.install();
    bench.db.insert_user(CAROL, None);
    bench.set("database.url", &format!("{:?}", bench.db.url(bench.db.role())));
    let daemon = bench.start();
    bench.db.set_token(ALICE, Some(TOKEN));
    bench.drop_token("a.toml", CAROL, THIRD);
    bench.drop_token("b.toml", BOB, OTHER);
    bench.wait_applied("b.toml");
    bench.wait_link(2, &login_link(OTHER, 2));
    bench.wait_until("the rows are set aside", || {
        bench.db.number("select count(distinct issue_id) from relinkd.change where attempts > 0") == 3
    });
    // They are tried again and again, and whoever comes after them waits for none of it.
    for round in 0..4 {
        let token = format!("{round:04}-5733-8392-7092");
        bench.db.set_token(BOB, Some(&token));
        bench.wait_link(2, &login_link(&token, 2));
    }
    assert!(bench.claimed().read_dir().unwrap().count() > 0, "the file of the other waits");
    bench.db.execute("drop trigger end_link on issues; drop trigger end_token on users");
    for issue in [1, 3, 4] {
        bench.wait_link(issue, &login_link(TOKEN, i64::from(issue)));
    }
    bench.wait_applied("a.toml");
    daemon.stop();
}

#[test]
fn an_array_of_any_shape_in_the_queue_stops_nobody() {
    let bench = installed(&[ALICE]);
    bench.db.execute(
        "insert into relinkd.change (telegram_id, former) values (105, array[null]::text[]);
         insert into relinkd.change (telegram_id, former) values (105, array[array['a', 'b'], array['c', null]]);
         insert into relinkd.change (telegram_id, former) values (105, '[5:6]={a,relinkd:}'::text[])",
    );
    let daemon = bench.start();
    bench.db.set_token(ALICE, Some(TOKEN));
    bench.wait_link(1, &login_link(TOKEN, 1));
    bench.wait_idle();
    assert!(!daemon.log().contains("panicked"), "{}", daemon.log());
    daemon.stop();
}

#[test]
fn a_host_that_is_silent_is_waited_for_once() {
    let bench = installed(&[ALICE]);
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, url) = (silent.local_addr().unwrap().port(), bench.db.url(bench.db.role()));
    let url = url.replace("host=", "host=127.0.0.1,").replace("port=", &format!("port={port},"));
    bench.set("database.url", &format!("{url:?}"));
    let daemon = bench.start();
    bench.drop_token("a.toml", ALICE, TOKEN);
    bench.wait_link(1, &login_link(TOKEN, 1));
    daemon.stop();
    silent.set_nonblocking(true).unwrap();
    // The daemon has four sessions; the first look found the host that answers.
    assert_eq!(std::iter::from_fn(|| silent.accept().ok()).count(), 1);
}

#[test]
fn a_session_that_is_cut_off_loses_nothing() {
    let bench = installed(&[ALICE]);
    let daemon = bench.start();
    bench.wait_idle();
    for round in 0..6 {
        let token = format!("{round:04}-5733-8392-7092");
        let which = if round % 2 == 0 { "listener" } else { "worker" };
        let cut = format!(
            "select count(pg_terminate_backend(pid)) from pg_stat_activity
              where datname = current_database() and usename = '{}' and application_name like '%{which}%'",
            bench.db.role()
        );
        bench.wait_until("there is a session to cut off", || bench.db.number(&cut) > 0);
        bench.db.set_token(ALICE, Some(&token));
        bench.wait_link(1, &login_link(&token, 1));
    }
    daemon.stop();
}

#[test]
fn a_transaction_that_commits_late_is_seen_when_it_does() {
    let bench = installed(&[ALICE, BOB]);
    let daemon = bench.start();
    bench.wait_idle();
    // Open across everything the daemon does before it sleeps, and begun while it is awake.
    let late = bench.db.another_bot();
    for round in 0..5 {
        let (token, other) = (format!("{round:04}-5733-8392-7092"), format!("{round:04}-9276-1183-5520"));
        bench.db.set_token(BOB, Some(&other));
        late.execute(&format!(
            "begin; update users set portal_token = '{token}' where telegram_id = {ALICE}"
        ));
        bench.wait_link(2, &login_link(&other, 2));
        sleep(Duration::from_millis(200 * round));
        late.execute("commit");
        bench.wait_link(1, &login_link(&token, 1));
    }
    daemon.stop();
}

#[test]
fn two_phase_commit_and_repeatable_read_bots_are_followed() {
    let bench = installed(&[ALICE]);
    let daemon = bench.start();
    bench.wait_idle();
    // An insert that is open while the token is set, with a snapshot from before it.
    let bot = bench.db.another_bot();
    bot.execute(&format!(
        "begin isolation level repeatable read;
         insert into issues (id, telegram_user_id, okdesk_issue_id, status, okdesk_url)
         values (9, {ALICE}, 9, 'opened', '{}')",
        plain_link(9)
    ));
    bench.db.set_token(ALICE, Some(TOKEN));
    bench.wait_link(1, &login_link(TOKEN, 1));
    bot.execute("commit");
    bench.wait_link(9, &login_link(TOKEN, 9));
    daemon.stop();
}

#[test]
fn a_database_that_defaults_to_repeatable_read() {
    let bench = installed(&[ALICE, BOB]);
    let name = bench.db.name();
    for setting in
        ["default_transaction_isolation = 'serializable'", "statement_timeout = '1h'", "search_path = ''"]
    {
        bench.db.admin().execute(&format!("alter database {name} set {setting}"));
    }
    let daemon = bench.start();
    for round in 0..5 {
        let token = format!("{round:04}-5733-8392-7092");
        bench.db.set_token(ALICE, Some(&token));
        bench.wait_link(1, &login_link(&token, 1));
    }
    bench.run(["sync"]).ok();
    bench.wait_idle();
    daemon.stop();
}

/// As another daemon does while it works on it: there is nothing to do but wait.
#[test]
fn a_change_that_another_session_holds_is_no_reason_to_look_without_end() {
    let bench = installed(&[ALICE, BOB]);
    bench.db.set_token(ALICE, Some(TOKEN));
    let other = bench.db.connect_as("postgres").unwrap();
    other.execute(&format!("begin; select from relinkd.change where telegram_id = {ALICE} for update"));
    let daemon = bench.start();
    bench.db.set_token(BOB, Some(OTHER));
    bench.wait_link(2, &login_link(OTHER, 2));
    let transactions = || {
        bench.db.number(
            "select xact_commit + xact_rollback from pg_stat_database where datname = current_database()",
        )
    };
    sleep(Duration::from_millis(1_500));
    let before = transactions();
    sleep(Duration::from_secs(3));
    let looks = transactions() - before;
    assert!(looks < 900, "{looks} transactions while there was nothing to do");
    other.execute("commit");
    bench.wait_link(1, &login_link(TOKEN, 1));
    daemon.stop();
}

/// SQL that queues an issue so often.
fn queued(times: i64) -> String {
    format!(
        "insert into relinkd.change (telegram_id, issue_id) select {ALICE}, 1 from generate_series(1, {times}) n"
    )
}

#[test]
fn what_an_open_snapshot_keeps_is_not_passed_again_and_again() {
    let bench = installed(&[ALICE]);
    bench.db.set_token(ALICE, Some(TOKEN));
    let daemon = bench.start();
    bench.wait_idle();
    let holder = bench.db.another_bot();
    holder.execute("begin isolation level repeatable read; select count(*) from users");
    let rows = 20_000;
    bench.db.execute(&queued(rows));
    bench.wait_idle();
    // As autovacuum does, which comes by once a minute: by this, a planner takes the queue for empty.
    bench.db.admin().execute("analyze relinkd.change");
    // Dead ones, too.
    let entries_read = || {
        let admin = bench.db.connect_as("postgres").unwrap();
        admin.number(
            "select idx_tup_read from pg_stat_all_indexes where schemaname = 'relinkd' and indexrelname = 'change_pkey'",
        )
    };
    // Each time that it falls asleep the daemon learns a little, unless somebody on the server is in the middle of a
    // transaction; and now and then it looks from the very beginning.
    let mut all_read = Vec::new();
    let few = (10..30).any(|issue| {
        let before = entries_read();
        // Nobody asks for the status meanwhile, which looks at the whole queue, too.
        bench.db.insert_issue(issue, ALICE, Some(&plain_link(issue.into())));
        sleep(Duration::from_secs(1));
        let plain = plain_link(issue.into());
        bench.db.execute(&format!("update issues set okdesk_url = '{plain}' where id = {issue}"));
        sleep(Duration::from_secs(2));
        all_read.push(entries_read() - before);
        all_read.last() < Some(&(rows / 2))
    });
    holder.execute("rollback");
    daemon.stop();
    assert!(few, "entries read for a new issue and a new link, beside {rows} dead ones: {all_read:?}");
}

/// The statistics are those of a queue with one row on one page: by them, a planner likes a bitmap, which passes all of the
/// queue before the first row comes, and marks no dead entry for the next look. And what seems to cost very much, for there
/// is no other way than one that is switched off, would be compiled each time, which takes many times longer.
#[test]
fn the_queue_is_read_in_its_order_whatever_the_statistics_and_nothing_is_compiled() {
    let bench = installed(&[ALICE]);
    let (name, admin) = (bench.db.name(), bench.db.admin());
    for setting in [
        "session_preload_libraries = 'auto_explain'",
        "auto_explain.log_min_duration = 0",
        "auto_explain.log_settings = on",
    ] {
        admin.execute(&format!("alter database {name} set {setting}"));
    }
    bench.run(["sync"]).ok();
    admin.execute("alter table relinkd.change set (autovacuum_enabled = off)");
    admin.execute("vacuum relinkd.change");
    admin.execute(&queued(1));
    admin.execute("vacuum analyze relinkd.change");
    bench.db.execute(&queued(20_000));
    let daemon = bench.start();
    bench.wait_idle();
    daemon.stop();
    let log = bench.db.server_log();
    assert!(log.contains("Index Scan using change_pkey on change"), "plans are logged: {log}");
    assert!(!log.contains("Bitmap Heap Scan on change"), "{log}");
    let switched_off: Vec<&str> =
        log.lines().filter(|line| line.contains("enable_seqscan = 'off'")).collect();
    assert!(
        switched_off.iter().any(|line| !line.contains("enable_hashjoin")),
        "those of the listener are logged"
    );
    for settings in switched_off {
        assert!(settings.contains("jit = 'off'"), "{settings}");
    }
}

#[test]
fn a_sequence_that_was_reset_hides_nothing() {
    let bench = installed(&[ALICE]);
    let daemon = bench.start();
    for issue in 10..20 {
        bench.db.insert_issue(issue, ALICE, Some(&plain_link(issue.into())));
        bench.wait_idle();
        sleep(Duration::from_millis(100));
    }
    bench.db.admin().execute("alter sequence relinkd.change_id_seq restart");
    bench.db.set_token(ALICE, Some(TOKEN));
    bench.wait_link(15, &login_link(TOKEN, 15));
    daemon.stop();
}

#[test]
fn a_restart_tries_what_was_set_aside_at_once_though_the_database_came_up_later() {
    let bench = installed(&[ALICE]);
    bench.db.admin().execute(&format!(
        "insert into relinkd.change (telegram_id, issue_id, attempts, last_error, due)
         values ({ALICE}, 1, 9, 'a trigger refused', now() + interval '4 min')"
    ));
    let role = bench.db.role();
    bench.db.admin().execute(&format!("alter role {role} nologin"));
    let daemon = bench.spawn();
    daemon.wait_log("is not permitted to log in");
    bench.db.admin().execute(&format!("alter role {role} login"));
    bench.wait_idle();
    daemon.stop();
}
