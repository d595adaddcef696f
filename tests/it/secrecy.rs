//! No token leaves by the back door: the server's log, a constraint's DETAIL, arguments, core files, help.

use crate::support::cast::{ALICE, BOB, OTHER, TOKEN};
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
fn a_value_that_an_expression_of_the_bots_cannot_read_is_not_quoted() {
    let bench = Bench::new();
    bench.db.insert_user(ALICE, None);
    bench.db.insert_issue(1, ALICE, Some(&format!("{BASE}/issues/1")));
    bench.db.execute(
        "alter table issues add column part bigint generated always as
             (substring(okdesk_url from 'token=([^&]*)')::bigint) stored",
    );
    bench.install();
    let daemon = bench.start();
    bench.drop_token("a.toml", ALICE, TOKEN);
    daemon.wait_log("22P02");
    let shown = bench.run(["status"]).ok();
    assert!(shown.contains("invalid input syntax for type bigint: \"…\""), "{shown}");
    assert!(!shown.contains(TOKEN), "{shown}");
    assert!(!daemon.log().contains(TOKEN), "{}", daemon.log());
    let kept = bench
        .db
        .admin()
        .rows(&format!("select id::text from relinkd.change where last_error like '%{TOKEN}%'"));
    assert!(kept.is_empty(), "the token stands in relinkd.change");
    // What the server itself wrote of the bot's expression into its own log is not relinkd's to say.
    daemon.stop();
}

#[test]
fn a_token_that_a_trigger_of_the_bots_raises_is_masked() {
    let bench = Bench::new();
    bench.db.insert_user(ALICE, None);
    bench.db.insert_user(BOB, Some(OTHER));
    bench.db.insert_issue(1, ALICE, Some(&format!("{BASE}/issues/1")));
    bench.db.execute(
        "create function refuse_link() returns trigger language plpgsql as
             $$ begin raise exception 'no % for you', substring(new.okdesk_url from 'token=([^&]*)'); end $$;
         create trigger refuse_link before update on issues for each row
             when (new.okdesk_url like '%token=%') execute function refuse_link();
         create function refuse_token() returns trigger language plpgsql as
             $$ begin raise exception 'keep % for me%', old.portal_token, repeat(' ', 980) || old.portal_token; end $$;
         create trigger refuse_token before update on users for each row
             when (old.portal_token is not null) execute function refuse_token()",
    );
    bench.install();
    let daemon = bench.start();
    bench.drop_token("a.toml", ALICE, TOKEN);
    daemon.wait_log("no … for you");
    daemon.wait_log("keep … for me");
    let shown = bench.run(["status"]).ok();
    assert!(shown.contains("no … for you"), "{shown}");
    // As a command, and as an assignment.
    let user = BOB.to_string();
    let said = [
        bench.run(["rekey"]).exits(5),
        bench.run_with_input(["token", "set", &user], "2222-3333-4444-5555\n").exits(5),
        bench.run(["token", "remove", &user]).exits(5),
    ];
    let mut texts = vec![shown, daemon.log()];
    texts.extend(said.into_iter().map(|said| said.stderr));
    // What the server wrote of the bot's triggers into its own log is not relinkd's to say.
    for text in texts {
        assert!(text.contains("for me"), "{text}");
        assert!(!text.contains(TOKEN) && !text.contains(&OTHER[..6]), "{text}");
    }
    daemon.stop();
    let kept = format!("select id::text from relinkd.change where last_error ~ '{TOKEN}|{}'", &OTHER[..6]);
    assert_eq!(bench.db.rows(&kept), Vec::<Vec<Option<String>>>::new());
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
