//! The ordinary day and the bad day, end to end: what the bot, an operator and a server do, and the links that follow.

use crate::support::cast::{ALICE, BOB, OTHER, TOKEN};
use crate::support::cluster::{Cluster, ClusterOptions, Stop};
use crate::support::database::{Database, TokenColumn, psql};
use crate::support::{BASE, Bench};
use std::sync::Arc;

fn plain(number: u32) -> String {
    format!("{BASE}/issues/{number}")
}

fn login(number: u32, token: &str) -> String {
    format!("{BASE}/login?token={token}&redirect=/issues/{number}")
}

/// Two users with two issues each, nobody with a token.
fn two_users() -> Bench {
    let bench = Bench::new();
    bench.db.insert_user(ALICE, None);
    bench.db.insert_user(BOB, None);
    for (id, user) in [(1, ALICE), (2, ALICE), (3, BOB), (4, BOB)] {
        bench.db.insert_issue(id, user, Some(&plain(u32::try_from(id).unwrap())));
    }
    bench.install();
    bench
}

#[test]
fn links_follow_what_the_bot_does() {
    let bench = two_users();
    let daemon = bench.start();
    bench.db.set_token(ALICE, Some(TOKEN));
    bench.wait_link(1, &login(1, TOKEN));
    bench.wait_link(2, &login(2, TOKEN));
    bench.db.set_token(ALICE, Some(OTHER));
    bench.wait_link(2, &login(2, OTHER));
    bench.db.insert_issue(5, ALICE, Some(&format!("{BASE}/api/v1/issues/5")));
    bench.wait_link(5, &login(5, OTHER));
    // It changes hands, and comes back.
    bench.db.execute(&format!("update issues set telegram_user_id = {BOB} where id = 5"));
    bench.wait_link(5, &plain(5));
    bench.db.execute(&format!("update issues set telegram_user_id = {ALICE} where id = 5"));
    bench.wait_link(5, &login(5, OTHER));
    // The bot overwrites a link; somebody else's link is nobody's business.
    bench.db.execute(&format!("update issues set okdesk_url = '{BASE}/issues/1?tab=files#c' where id = 1"));
    bench.wait_link(1, &format!("{BASE}/login?token={OTHER}&redirect=/issues/1?tab=files%23c"));
    bench.db.execute("update issues set okdesk_url = 'https://elsewhere.example/issues/2' where id = 2");
    bench.db.set_token(ALICE, None);
    bench.wait_link(1, &format!("{BASE}/issues/1?tab=files#c"));
    bench.wait_link(5, &plain(5));
    bench.wait_idle();
    assert_eq!(bench.db.link(2).as_deref(), Some("https://elsewhere.example/issues/2"));
    assert_eq!(bench.db.link(3), Some(plain(3)));
    daemon.stop();
    bench.assert_no_leak(&[TOKEN, OTHER]);
}

#[test]
fn what_changed_while_the_daemon_was_down_is_right_after_it_starts() {
    let bench = two_users();
    bench.start().stop();
    bench.db.set_token(ALICE, Some(TOKEN));
    bench.db.insert_issue(6, ALICE, Some(&plain(6)));
    bench.db.execute(&format!("delete from users where telegram_id = {BOB}"));
    let daemon = bench.start();
    bench.wait_link(1, &login(1, TOKEN));
    bench.wait_link(6, &login(6, TOKEN));
    daemon.stop();
}

#[test]
fn plaintext_is_sealed_in_place_and_opens_with_the_keyring() {
    let bench = two_users();
    let daemon = bench.start();
    bench.db.set_token(ALICE, Some(TOKEN));
    bench.wait_until("the token is sealed", || {
        bench.db.token_column(ALICE).is_some_and(|value| value.starts_with("relinkd:v1:k1:"))
    });
    assert_eq!(bench.run_revealing(["token", "show", &ALICE.to_string(), "--reveal"]).ok().trim(), TOKEN);
    let shown = bench.run(["token", "show", &ALICE.to_string()]).ok();
    assert!(shown.contains("7812…") && shown.contains("sealed under k1"), "{shown}");
    daemon.stop();
    bench.assert_no_leak(&[TOKEN]);
}

#[test]
fn a_value_of_another_row_changes_no_link_and_is_reported_once() {
    let bench = two_users();
    let daemon = bench.start();
    bench.db.set_token(ALICE, Some(TOKEN));
    bench.wait_link(1, &login(1, TOKEN));
    bench.wait_idle();
    let stolen = format!(
        "update users set portal_token = (select portal_token from users where telegram_id = {ALICE}) where telegram_id = {BOB}"
    );
    bench.db.execute(&stolen);
    daemon.wait_log(&format!("telegram_id={BOB}"));
    bench.db.execute(&format!(
        "update issues set okdesk_url = okdesk_url || '?again' where telegram_user_id = {BOB}"
    ));
    bench.wait_idle();
    assert_eq!(bench.db.link(3), Some(format!("{}?again", plain(3))));
    assert_eq!(daemon.log().matches(&format!("telegram_id={BOB}")).count(), 1, "{}", daemon.log());
    let status = bench.run(["status", "--json"]).json();
    assert_eq!(status["users"]["unusable"], 1);
    assert_eq!(status["users"]["sealed"], 1);
    daemon.stop();
}

#[test]
fn a_token_that_another_holds_is_refused_and_a_swap_is_not() {
    let bench = two_users();
    let daemon = bench.start();
    bench.drop_file(
        "both.toml",
        format!(
            "[[assignment]]\ntelegram_id = {ALICE}\ntoken = \"{TOKEN}\"\n[[assignment]]\ntelegram_id = {BOB}\ntoken = \"{OTHER}\"\n"
        ),
    );
    bench.wait_applied("both.toml");
    bench.wait_link(3, &login(3, OTHER));
    bench.drop_token("theft.toml", BOB, TOKEN);
    let reason = bench.wait_rejected("theft.toml");
    assert!(reason.starts_with("2:9: "), "{reason}");
    bench.run_with_input(["token", "set", &BOB.to_string()], TOKEN).exits(1);
    bench.drop_file(
        "swap.toml",
        format!(
            "[[assignment]]\ntelegram_id = {ALICE}\ntoken = \"{OTHER}\"\n[[assignment]]\ntelegram_id = {BOB}\ntoken = \"{TOKEN}\"\n"
        ),
    );
    bench.wait_applied("swap.toml");
    bench.wait_link(1, &login(1, OTHER));
    bench.wait_link(3, &login(3, TOKEN));
    daemon.stop();
    bench.assert_no_leak(&[TOKEN, OTHER]);
}

#[test]
fn keep_leaves_login_links_of_the_bot_and_takes_out_a_removed_token() {
    let bench = two_users();
    bench.set("portal.tokenless", "\"keep\"");
    let daemon = bench.start();
    bench.db.set_token(ALICE, Some(TOKEN));
    bench.wait_link(1, &login(1, TOKEN));
    bench.wait_idle();
    daemon.stop();
    // Removed while nobody is there, and a new issue with a login link of the bot's own after that.
    bench.db.set_token(ALICE, None);
    let own = format!("{BASE}/login?token=30daysofthebot&redirect=issues/7");
    bench.db.insert_issue(7, ALICE, Some(&own));
    let daemon = bench.start();
    bench.wait_link(1, &plain(1));
    bench.wait_link(2, &plain(2));
    bench.wait_idle();
    assert_eq!(bench.db.link(7), Some(own));
    daemon.stop();
}

#[test]
fn the_audit_mends_what_no_trigger_saw() {
    let bench = two_users();
    bench.set("audit.interval", "\"500ms\"");
    let daemon = bench.start();
    bench.wait_idle();
    let admin = bench.db.admin();
    admin.execute(&format!(
        "set session_replication_role = replica;
         update users set portal_token = '{TOKEN}' where telegram_id = {ALICE};
         insert into issues (id, telegram_user_id, okdesk_issue_id, status, okdesk_url)
             values (8, 999, 8, 'opened', '{BASE}/login?token=gone&redirect=/issues/8');
         reset session_replication_role"
    ));
    bench.wait_link(1, &login(1, TOKEN));
    bench.wait_link(8, &plain(8));
    bench.wait_until("the token is sealed", || {
        bench.db.token_column(ALICE).is_some_and(|value| value.starts_with("relinkd:"))
    });
    daemon.stop();
}

#[test]
fn postgres_may_stop_and_start_and_come_late() {
    let cluster = Cluster::start(&ClusterOptions::default());
    let db = Arc::new(Database::on(&cluster, TokenColumn::Varchar255));
    let bench = Bench::over(db);
    bench.db.insert_user(ALICE, None);
    bench.db.insert_issue(1, ALICE, Some(&plain(1)));
    bench.install();
    let daemon = bench.start();
    for how in [Stop::Fast, Stop::Immediate] {
        cluster.restart(how);
        bench.db.set_token(ALICE, Some(TOKEN));
        bench.wait_link(1, &login(1, TOKEN));
        bench.db.set_token(ALICE, None);
        bench.wait_link(1, &plain(1));
    }
    daemon.stop();
    cluster.stop(Stop::Fast);
    let daemon = bench.start();
    assert!(daemon.notices().iter().any(|notice| notice.contains("retrying")), "{:?}", daemon.notices());
    bench.drop_token("late.toml", ALICE, TOKEN);
    cluster.resume();
    bench.wait_applied("late.toml");
    bench.wait_link(1, &login(1, TOKEN));
    daemon.stop();
}

/// The race of a removed token: one daemon has read token and plain link, the bot removes the token, another daemon
/// finds the plain link right and forgets the change, and the first one writes the removed token. Here the first
/// daemon is this test: it holds the user's lock, as whoever writes a user's links must.
#[test]
fn nobody_works_on_a_user_whose_lock_is_held() {
    let bench = two_users();
    let daemon = bench.start();
    bench.wait_idle();
    let other = bench.db.connect_as("postgres").unwrap();
    other.execute(&format!("begin; select pg_advisory_xact_lock(relinkd.user_key({ALICE}))"));
    bench.db.set_token(ALICE, Some(TOKEN));
    bench.db.set_token(ALICE, None);
    bench.db.set_token(BOB, Some(OTHER));
    // Others go on, this user's change waits, and the command that would write says so.
    bench.wait_link(3, &login(3, OTHER));
    assert!(
        bench.db.number(&format!("select count(*) from relinkd.change where telegram_id = {ALICE}")) >= 1
    );
    // The first daemon writes what it read before the removal, and lets go.
    other.execute(&format!(
        "set local relinkd.applying = 'on';
         update issues set okdesk_url = '{}' where id = 1; commit",
        login(1, TOKEN)
    ));
    bench.wait_link(1, &plain(1));
    bench.wait_idle();
    assert_eq!(bench.db.link(1), Some(plain(1)));
    daemon.stop();
}

#[test]
fn a_locked_row_delays_itself_alone() {
    let bench = two_users();
    let daemon = bench.start();
    bench.wait_idle();
    let other = bench.db.another_bot();
    other.execute("begin; update issues set status = 'busy' where id = 1");
    bench.db.set_token(ALICE, Some(TOKEN));
    bench.wait_link(2, &login(2, TOKEN));
    assert_eq!(bench.db.link(1), Some(plain(1)));
    other.execute("commit");
    bench.wait_link(1, &login(1, TOKEN));
    bench.wait_idle();
    daemon.stop();
}

#[test]
fn a_user_whose_links_cannot_be_written_is_set_aside_and_others_go_on() {
    let bench = two_users();
    bench.db.execute("create function no() returns trigger language plpgsql as
             $$ begin raise exception 'not this one: %', new.okdesk_url; end $$;
         create trigger no before update of okdesk_url on issues for each row when (old.id = 1) execute function no()");
    let daemon = bench.start();
    bench.wait_idle();
    bench.db.set_token(ALICE, Some(TOKEN));
    bench.db.set_token(BOB, Some(OTHER));
    bench.wait_link(3, &login(3, OTHER));
    bench.wait_until("the user is set aside", || {
        let status = bench.run(["status", "--json"]).json();
        status["set_aside"][0]["telegram_id"] == ALICE
    });
    bench.db.execute("drop trigger no on issues");
    bench.wait_link(1, &login(1, TOKEN));
    bench.wait_idle();
    // The trigger's message quotes the link: what relinkd says of it is masked.
    assert!(daemon.log().contains("not this one") && !daemon.log().contains(TOKEN), "{}", daemon.log());
    daemon.stop();
}

#[test]
fn the_bots_other_updates_do_not_notice_relinkd() {
    let bench = two_users();
    let daemon = bench.start();
    bench.wait_idle();
    daemon.stop();
    bench.db.execute("update issues set status = 'closed', rating = 5; update users set full_name = 'x'");
    assert_eq!(bench.db.number("select count(*) from relinkd.change"), 0);
}

#[test]
fn the_daemons_role_can_do_its_work_and_nothing_else() {
    let bench = two_users();
    let role = bench.db.connect_as(bench.db.role()).unwrap();
    for forbidden in [
        "select phone from users",
        "select portal_token from users",
        "delete from issues",
        "delete from relinkd.bot_issue",
        "insert into relinkd.bot_user (telegram_id) values (1)",
        "update relinkd.bot_issue set telegram_id = 1",
        "update relinkd.bot_user set telegram_id = 1",
        "create table relinkd.x ()",
        "select relinkd.attach()",
        "drop schema relinkd cascade",
    ] {
        let error = role.try_execute(forbidden).expect_err(forbidden);
        assert_eq!(crate::support::session::sqlstate(&error), "42501", "{forbidden}");
    }
    let owned = format!("select count(*) from pg_class where relowner = '{}'::regrole", bench.db.role());
    assert_eq!(bench.db.number(&owned), 0);
}

#[test]
fn sync_works_without_the_daemon_and_a_dry_run_changes_nothing() {
    let bench = two_users();
    bench.db.set_token(ALICE, Some(TOKEN));
    let shown = bench.run(["sync", "--dry-run"]).exits(3);
    assert!(shown.stdout.contains("token=7812…&redirect=/issues/1"), "{}", shown.stdout);
    assert_eq!(bench.db.link(1), Some(plain(1)));
    bench.run(["sync"]).ok();
    assert_eq!(bench.db.link(1), Some(login(1, TOKEN)));
    assert!(bench.db.token_column(ALICE).unwrap().starts_with("relinkd:"));
    bench.run(["sync", "--dry-run"]).exits(0);
    bench.wait_idle();
    bench.assert_no_leak(&[TOKEN]);
}

#[test]
fn uninstall_leaves_no_trace() {
    let bench = Bench::new();
    let schema = || {
        let dump = std::process::Command::new("pg_dump")
            .args(["--schema-only", "--dbname", &bench.db.admin_url()])
            .output()
            .expect("pg_dump is installed with Postgres");
        assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
        let text = String::from_utf8(dump.stdout).unwrap();
        // A word of its own in each dump keeps psql's meta-commands out.
        let lines = text.lines().filter(|line| !line.contains("restrict ")).map(ToOwned::to_owned);
        lines.collect::<Vec<String>>()
    };
    bench.db.insert_user(ALICE, Some(TOKEN));
    let before = schema();
    bench.install();
    let daemon = bench.start();
    bench.wait_until("sealed", || bench.db.token_column(ALICE).is_some_and(|v| v.starts_with("relinkd:")));
    let admin = bench.db.admin_url();
    bench.run(["uninstall", "--unseal", "--admin-url", &admin]).exits(1);
    daemon.stop();
    bench.run(["uninstall", "--admin-url", &admin]).exits(1);
    bench.run(["uninstall", "--unseal", "--admin-url", &admin]).ok();
    assert_eq!(schema(), before);
    assert_eq!(bench.db.token_column(ALICE).as_deref(), Some(TOKEN));
}

#[test]
fn what_print_writes_for_a_dba_installs_the_same() {
    let (by_hand, by_command) = (Bench::new(), Bench::new());
    let printed = by_hand.run(["install", "--print"]).ok();
    by_hand.db.admin().execute(&format!("create role {} login", by_hand.db.role()));
    let file = by_hand.path("install.sql");
    std::fs::write(&file, printed).unwrap();
    psql(&by_hand.db.admin_url(), &file).unwrap();
    by_command.install();
    let schema = |bench: &Bench| {
        let objects = "select c.oid::regclass::text, c.relkind::text from pg_class c where c.relnamespace = 'relinkd'::regnamespace order by 1";
        let rest = "select tgname::text, tgrelid::regclass::text from pg_trigger where not tgisinternal
                     union select proname::text, prosrc from pg_proc where pronamespace = 'relinkd'::regnamespace
                     union select indexrelid::regclass::text, '' from pg_index where indrelid = 'issues'::regclass order by 1, 2";
        (bench.db.rows(objects), bench.db.rows(rest))
    };
    assert_eq!(schema(&by_hand), schema(&by_command));
    by_hand.db.insert_user(ALICE, Some(TOKEN));
    by_hand.db.insert_issue(1, ALICE, Some(&plain(1)));
    let daemon = by_hand.start();
    by_hand.wait_link(1, &login(1, TOKEN));
    daemon.stop();
}

#[test]
fn the_tables_owner_installs_without_being_a_superuser() {
    let bench = Bench::new();
    bench.db.insert_user(ALICE, Some(TOKEN));
    bench.db.insert_issue(1, ALICE, Some(&plain(1)));
    let owner = bench.db.url("okdesk_user");
    // Who may not create the role is told the command that does.
    let refused = bench.run(["install", "--admin-url", &owner]).exits(5);
    assert!(refused.stderr.contains(&format!("create role {} login", bench.db.role())), "{}", refused.stderr);
    bench.db.admin().execute(&format!("create role {} login", bench.db.role()));
    let said = bench.run(["install", "--admin-url", &owner]).ok();
    assert!(said.contains("links that get a token"), "{said}");
    let again = bench.run(["install", "--admin-url", &owner]).ok();
    assert!(again.contains("all was in order"), "{again}");
    let daemon = bench.start();
    bench.wait_link(1, &login(1, TOKEN));
    daemon.stop();
    bench.run(["uninstall", "--keep-sealed", "--admin-url", &owner]).ok();
    assert!(bench.db.token_column(ALICE).unwrap().starts_with("relinkd:"));
}
