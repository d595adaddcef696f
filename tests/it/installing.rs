//! Installing and taking it back: by whom, on what, how often, beside a bot that writes; and how little the daemon's
//! role is left with.

use crate::support::cast::{
    ALICE, BOB, CAROL, OTHER, THIRD, TOKEN, appended, bench_of, installed, is_sealed, revealed, start_command,
};
use crate::support::cluster::BOT;
use crate::support::database::psql;
use crate::support::session::sqlstate;
use crate::support::{BASE, Bench, Database, Session, login_link, plain_link, wait_until};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The schema as `pg_dump` writes it, the database's own grants and settings included; without the two lines that
/// newer versions fill with a random word.
fn dump(db: &Database) -> String {
    let output = Command::new("pg_dump")
        .args(["--schema-only", "--create", "--no-password", "--dbname"])
        .arg(db.admin_url())
        .output()
        .expect("pg_dump is installed with Postgres");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let kept =
        text.lines().filter(|line| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict"));
    kept.map(|line| format!("{line}\n")).collect()
}

/// The objects that a second `install` must not touch, by oid.
fn triggers_and_indexes(bench: &Bench) -> Vec<Vec<Option<String>>> {
    bench.db.rows(
        "select oid::text, tgname::text from pg_trigger where not tgisinternal
          union all
         select indexrelid::text, indexrelid::regclass::text from pg_index
          where indrelid in ('issues'::regclass, 'users'::regclass)
          order by 1",
    )
}

fn owner_url(bench: &Bench) -> String {
    bench.db.url(BOT)
}

fn make_role(bench: &Bench) {
    bench.db.admin().execute(&format!("create role {} login", bench.db.role()));
}

#[test]
fn a_second_install_touches_nothing_and_the_daemon_goes_on() {
    let bench = bench_of(&[ALICE]);
    bench.db.insert_issue(1, ALICE, Some(&plain_link(1)));
    bench.install();
    let before = triggers_and_indexes(&bench);
    assert_eq!(before.iter().filter(|row| row[1].as_ref().unwrap().starts_with("relinkd_2_")).count(), 6);
    let daemon = bench.start();
    bench.install();
    assert_eq!(triggers_and_indexes(&bench), before);
    bench.db.set_token(ALICE, Some(TOKEN));
    bench.wait_link(1, &login_link(TOKEN, 1));
    bench.wait_idle();
    daemon.stop();
}

#[test]
fn a_second_install_mends_what_was_taken_away_or_disabled() {
    let bench = bench_of(&[ALICE]);
    bench.db.insert_issue(1, ALICE, Some(&plain_link(1)));
    bench.install();
    bench.db.execute(
        "drop trigger relinkd_2_issue_inserted on issues;
         alter table users disable trigger relinkd_2_user_updated;
         drop index relinkd_issue_walk",
    );
    bench.db.set_token(ALICE, Some(TOKEN));
    bench.install();
    let wanted = "select count(*) from pg_trigger where tgname like 'relinkd_2_%' and tgenabled = 'O'";
    assert_eq!(bench.db.number(wanted), 6);
    assert_eq!(bench.db.number("select count(*) from pg_class where relname = 'relinkd_issue_walk'"), 1);
    // Everyone was queued: what no trigger saw is in the links too.
    let daemon = bench.start();
    bench.wait_link(1, &login_link(TOKEN, 1));
    daemon.stop();
}

#[test]
fn the_tables_owner_installs_who_is_no_superuser() {
    let bench = bench_of(&[ALICE]);
    bench.db.insert_issue(1, ALICE, Some(&plain_link(1)));
    // They may not create the role, and are told the one command that does.
    let refused = bench.run(["install", "--admin-url", &owner_url(&bench)]).exits(5);
    let command = format!("create role {} login;", bench.db.role());
    assert!(refused.stderr.contains(&command), "{}", refused.stderr);
    assert_eq!(bench.db.number("select count(*) from pg_namespace where nspname = 'relinkd'"), 0);

    bench.db.admin().execute(&command);
    let done = bench.run(["install", "--admin-url", &owner_url(&bench)]).exits(0);
    // Nor may they keep parameters out of the server's log; that is said with the command, and no failure.
    assert!(done.stderr.contains("log_parameter_max_length"), "{}", done.stderr);
    bench.run(["install", "--admin-url", &owner_url(&bench)]).ok();
    let daemon = bench.start();
    bench.db.set_token(ALICE, Some(TOKEN));
    bench.wait_link(1, &login_link(TOKEN, 1));
    daemon.stop();
}

#[test]
fn a_role_that_is_missing_is_created_where_that_is_allowed() {
    let bench = bench_of(&[ALICE]);
    let owner = format!("owner_of_{}", bench.db.name());
    bench.db.admin().execute(&format!(
        "create role {owner} login createrole;
         grant create on database {} to {owner};
         alter table users owner to {owner}; alter table issues owner to {owner}",
        bench.db.name()
    ));
    let done = bench.run(["install", "--admin-url", &bench.db.url(&owner)]).exits(0);
    assert!(done.stdout.contains(&format!("created role {}", bench.db.role())), "{}", done.stdout);
    // From Postgres 15 on they may own tables in schema public and still not build an index there.
    let newer = bench.db.number("select current_setting('server_version_num')::int8") >= 150_000;
    assert_eq!(done.stderr.contains("grant this admin `create`"), newer, "{}", done.stderr);
    let plain = format!(
        "select count(*) from pg_roles where rolname = '{}' and rolcanlogin
            and not (rolsuper or rolcreaterole or rolcreatedb or rolreplication or rolbypassrls)",
        bench.db.role()
    );
    assert_eq!(bench.db.number(&plain), 1);
    bench.start().stop();
    bench.run(["uninstall", "--admin-url", &bench.db.url(&owner)]).ok();
    bench
        .db
        .admin()
        .execute(&format!("reassign owned by {owner} to {BOT}; drop owned by {owner}; drop role {owner}"));
}

#[test]
fn a_role_by_another_name_than_the_urls_user() {
    let bench = bench_of(&[ALICE]);
    bench.db.insert_issue(1, ALICE, Some(&plain_link(1)));
    // The config names the owner, as where only `install` was run yet.
    bench.set("database.url", &format!("\"{}\"", owner_url(&bench)));
    make_role(&bench);
    bench.run(["install", "--role", bench.db.role()]).ok();
    bench.set("database.url", &format!("\"{}\"", bench.db.url(bench.db.role())));
    let daemon = bench.start();
    bench.db.set_token(ALICE, Some(TOKEN));
    bench.wait_link(1, &login_link(TOKEN, 1));
    daemon.stop();
}

#[test]
fn what_print_writes_makes_the_same_schema() {
    let (by_hand, by_command) = (bench_of(&[ALICE]), bench_of(&[ALICE]));
    by_command.install();
    let sql = by_hand.run(["install", "--print"]).ok();
    assert!(sql.contains("'create role %I login'"), "{sql}");
    assert_eq!(by_hand.db.number("select count(*) from pg_namespace where nspname = 'relinkd'"), 0);
    make_role(&by_hand);
    let file = by_hand.path("install.sql");
    std::fs::write(&file, sql).unwrap();
    for _ in 0..2 {
        psql(&by_hand.db.admin_url(), &file).unwrap();
    }
    let neutral =
        |bench: &Bench| dump(&bench.db).replace(bench.db.name(), "DATABASE").replace(bench.db.role(), "ROLE");
    assert_eq!(neutral(&by_hand), neutral(&by_command));
    // It works, and `install` finds nothing to do.
    let before = triggers_and_indexes(&by_hand);
    by_hand.install();
    assert_eq!(triggers_and_indexes(&by_hand), before);
    by_hand.db.insert_issue(1, ALICE, Some(&plain_link(1)));
    let daemon = by_hand.start();
    by_hand.db.set_token(ALICE, Some(TOKEN));
    by_hand.wait_link(1, &login_link(TOKEN, 1));
    daemon.stop();
}

#[test]
fn what_print_writes_can_be_run_by_the_tables_owner() {
    let bench = bench_of(&[ALICE]);
    bench.db.insert_issue(1, ALICE, Some(&plain_link(1)));
    make_role(&bench);
    let file = bench.path("install.sql");
    std::fs::write(&file, bench.run(["install", "--print"]).ok()).unwrap();
    psql(&owner_url(&bench), &file).unwrap();
    let daemon = bench.start();
    bench.db.set_token(ALICE, Some(TOKEN));
    bench.wait_link(1, &login_link(TOKEN, 1));
    daemon.stop();
}

#[test]
fn an_install_that_fails_changes_nothing_and_bot_and_daemon_go_on() {
    let bench = bench_of(&[ALICE]);
    bench.db.insert_issue(1, ALICE, Some(&plain_link(1)));
    make_role(&bench);
    bench.run(["install", "--admin-url", &owner_url(&bench)]).ok();
    let before = (dump(&bench.db), triggers_and_indexes(&bench));
    let daemon = bench.start();
    // The last table to get its triggers is somebody else's.
    bench.db.admin().execute("create table tickets (like issues including all)");
    bench.set("tables.issues.name", "\"tickets\"");
    let refused = bench.run(["install", "--admin-url", &owner_url(&bench)]).exits(5);
    assert!(
        refused.stderr.contains("tickets") && refused.stderr.contains("next: connect as the owner"),
        "{}",
        refused.stderr
    );
    bench.db.admin().execute("drop table tickets");
    assert_eq!((dump(&bench.db), triggers_and_indexes(&bench)), before);
    bench.db.set_token(ALICE, Some(TOKEN));
    bench.wait_link(1, &login_link(TOKEN, 1));
    daemon.stop();
}

#[test]
fn a_newer_schema_is_left_as_it_is() {
    let bench = bench_of(&[ALICE]);
    bench.install();
    bench.db.admin().execute("update relinkd.meta set schema_version = 99");
    let refused = bench.run(["install", "--admin-url", &bench.db.admin_url()]).exits(5);
    assert!(
        refused.stderr.contains("version 99") && refused.stderr.contains("upgrade"),
        "{}",
        refused.stderr
    );
    assert_eq!(bench.db.number("select schema_version from relinkd.meta"), 99);
    let said = bench.run(["check"]).exits(5);
    assert!(said.stdout.contains("--only-upgrade relinkd"), "{}", said.stdout);
}

#[test]
fn a_table_that_takes_anothers_place_gets_triggers_and_index_and_the_old_one_loses_them() {
    let bench = bench_of(&[ALICE]);
    bench.install();
    bench.db.execute(
        "alter table issues rename to issues_old;
         create table issues (like issues_old including defaults including constraints, primary key (id))",
    );
    bench.install();
    bench.run(["check"]).exits(0);
    let old = "select (select count(*) from pg_trigger where tgrelid = 'issues_old'::regclass)
                    + (select count(*) from pg_index x join pg_class c on c.oid = x.indexrelid
                        where x.indrelid = 'issues_old'::regclass and c.relname like 'relinkd%')";
    assert_eq!(bench.db.number(old), 0);
    let daemon = bench.start();
    bench.db.insert_issue(1, ALICE, Some(&plain_link(1)));
    bench.db.set_token(ALICE, Some(TOKEN));
    bench.wait_link(1, &login_link(TOKEN, 1));
    daemon.stop();
    bench.run(["uninstall", "--unseal", "--admin-url", &bench.db.admin_url()]).ok();
    assert_eq!(bench.db.number("select count(*) from pg_class where relname like 'relinkd%'"), 0);
}

#[test]
fn partitioned_tables_are_refused_and_nothing_is_left_behind() {
    for (table, rest) in [
        ("issues", "id integer, telegram_user_id bigint, okdesk_url varchar"),
        ("users", "telegram_id bigint, portal_token varchar"),
    ] {
        let bench = Bench::new();
        let key = if table == "issues" { "telegram_user_id" } else { "telegram_id" };
        bench.db.execute(&format!(
            "drop table {table}; create table {table} ({rest}) partition by hash ({key});
             create table {table}_0 partition of {table} for values with (modulus 1, remainder 0)"
        ));
        let refused = bench.run(["install", "--admin-url", &bench.db.admin_url()]).exits(5);
        assert!(refused.stderr.contains("partitioned"), "{}", refused.stderr);
        let left = "select (select count(*) from pg_namespace where nspname = 'relinkd')
                         + (select count(*) from pg_trigger where not tgisinternal)";
        assert_eq!(bench.db.number(left), 0, "{table}");
    }
}

#[test]
fn columns_of_other_types_are_refused_and_nothing_is_left_behind() {
    for (table, column, kind, wanted) in [
        ("users", "telegram_id", "text", "bigint"),
        ("users", "portal_token", "bytea", "varchar"),
        ("issues", "id", "numeric", "bigint"),
        ("issues", "telegram_user_id", "text", "bigint"),
        ("issues", "okdesk_url", "jsonb", "varchar"),
    ] {
        let bench = Bench::new();
        bench.db.execute(&format!(
            "alter table {table} drop column {column}; alter table {table} add {column} {kind}"
        ));
        let refused = bench.run(["install", "--admin-url", &bench.db.admin_url()]).exits(5);
        let said = format!("{column} in public.{table} is {kind}, and must be {wanted}");
        assert!(
            refused.stderr.contains(&said) && refused.stderr.contains("relinkd check"),
            "{}",
            refused.stderr
        );
        assert_eq!(bench.db.number("select count(*) from pg_namespace where nspname = 'relinkd'"), 0);
    }
}

#[test]
fn tables_that_are_not_there_are_named() {
    let bench = Bench::new();
    bench.set("tables.issues.name", "\"public.tickets\"");
    let refused = bench.run(["install", "--admin-url", &bench.db.admin_url()]).exits(5);
    assert!(refused.stderr.contains("tickets") && refused.stderr.contains("[tables]"), "{}", refused.stderr);
    assert_eq!(bench.db.number("select count(*) from pg_namespace where nspname = 'relinkd'"), 0);
}

#[test]
fn other_names_of_schema_tables_and_columns() {
    let bench = Bench::new();
    bench.db.execute(
        r#"create schema "Bot"; alter table users set schema "Bot"; alter table issues set schema "Bot";
           alter table "Bot".users rename to "Us.ers"; alter table "Bot"."Us.ers" rename telegram_id to "tg id";
           alter table "Bot"."Us.ers" rename portal_token to "to""ken";
           alter table "Bot".issues rename telegram_user_id to "select"; alter table "Bot".issues rename okdesk_url to "URL";
           alter table "Bot".issues rename id to "№";
           alter table "Bot".issues alter "№" type bigint"#,
    );
    bench.set("tables.users.name", r#"'"Bot"."Us.ers"'"#);
    bench.set("tables.users.telegram_id", "'tg id'");
    bench.set("tables.users.portal_token", r#"'to"ken'"#);
    bench.set("tables.issues.name", "'\"Bot\".issues'");
    bench.set("tables.issues.id", "'№'");
    bench.set("tables.issues.telegram_id", "'select'");
    bench.set("tables.issues.url", "'URL'");
    let before = dump(&bench.db);
    bench.install();
    // The daemon's role may not use that schema, and need not.
    bench.run(["check"]).exits(0);
    let daemon = bench.start();
    bench.db.execute(&format!(
        r#"insert into "Bot"."Us.ers" ("tg id", user_type, "to""ken") values ({ALICE}, 'client', '{TOKEN}');
           insert into "Bot".issues ("№", "select", okdesk_issue_id, status, "URL")
           values (5000000000, {ALICE}, 1, 'opened', '{BASE}/issues/1')"#
    ));
    bench.wait_until("the link follows", || {
        bench.db.admin().value(r#"select "URL" from "Bot".issues"#) == Some(login_link(TOKEN, 1))
    });
    daemon.stop();
    bench.run(["uninstall", "--unseal", "--admin-url", &bench.db.admin_url()]).ok();
    assert_eq!(dump(&bench.db), before);
}

/// Which words are reserved only Postgres knows: names are compared as they stand in the database, never in quotes.
#[test]
fn tables_whose_names_are_reserved_words() {
    let bench = Bench::new();
    bench.db.execute(
        r#"alter table users rename to "user"; create schema "order"; alter table issues set schema "order";
           alter table "order".issues rename to "table""#,
    );
    bench.set("tables.users.name", "'public.user'");
    bench.set("tables.issues.name", "'order.table'");
    let before = dump(&bench.db);
    bench.install();
    bench.run(["check"]).exits(0);
    bench.run(["status"]).ok();
    bench.run(["uninstall", "--admin-url", &bench.db.admin_url()]).ok();
    let sql = bench.path("print.sql");
    std::fs::write(&sql, bench.run(["install", "--print"]).ok()).unwrap();
    psql(&bench.db.admin_url(), &sql).unwrap();
    bench.run(["sync", "--dry-run"]).ok();
    bench.run(["uninstall", "--admin-url", &bench.db.admin_url()]).ok();
    assert_eq!(dump(&bench.db), before);
}

#[test]
fn the_summary_says_what_will_change() {
    let bench = Bench::new();
    bench.db.insert_user(ALICE, Some(TOKEN));
    bench.db.insert_user(BOB, None);
    bench.db.insert_user(CAROL, Some("two words"));
    bench.db.insert_user(4, Some(OTHER));
    bench.db.insert_user(5, Some(OTHER));
    bench.db.insert_issue(1, ALICE, Some(&plain_link(1)));
    bench.db.insert_issue(2, ALICE, Some(&format!("{BASE}/api/v1/issues/2")));
    bench.db.insert_issue(3, ALICE, Some(&login_link(TOKEN, 3)));
    bench.db.insert_issue(4, BOB, Some(&login_link(THIRD, 4)));
    bench.db.insert_issue(5, BOB, Some(&format!("{BASE}/api/v1/issues/5")));
    bench.db.insert_issue(6, BOB, Some("https://elsewhere.example/issues/6"));
    bench.db.insert_issue(7, CAROL, Some(&plain_link(7)));
    let said = bench.run(["install", "--admin-url", &bench.db.admin_url()]).ok();
    let value = |what: &str| {
        let line = said.lines().find(|line| line.trim_start().starts_with(what));
        line.unwrap_or_else(|| panic!("no {what} in:\n{said}")).trim_start()[what.len()..].trim().to_owned()
    };
    assert_eq!(value("links that get a token"), "2");
    assert_eq!(value("login links that become plain"), "1");
    assert_eq!(value("links that change otherwise"), "1");
    assert_eq!(value("tokens to seal"), "3");
    assert_eq!(value("users who share a token"), "4, 5");
    assert!(value("users with an unusable value").starts_with(&CAROL.to_string()), "{said}");
    assert!(said.contains("tokenless = \"keep\""), "{said}");
    // So far only words.
    assert_eq!(bench.db.link(1), Some(plain_link(1)));
    assert_eq!(bench.db.token_column(ALICE).as_deref(), Some(TOKEN));
    bench.assert_no_leak(&[TOKEN, OTHER, THIRD, "two words"]);
    let daemon = bench.start();
    bench.wait_link(1, &login_link(TOKEN, 1));
    bench.wait_idle();
    assert_eq!(bench.db.link(4), Some(plain_link(4)));
    daemon.stop();
}

#[test]
fn a_bot_that_writes_meanwhile_is_not_held_up_and_nothing_is_missed() {
    let bench = bench_of(&[ALICE, BOB]);
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = [(ALICE, 0_i32), (BOB, 1)]
        .into_iter()
        .map(|(user, lane)| {
            let (stop, bot) = (Arc::clone(&stop), bench.db.another_bot());
            std::thread::spawn(move || write_until(&stop, &bot, user, lane))
        })
        .collect();
    bench.install();
    let daemon = bench.start();
    bench.install();
    bench.install();
    stop.store(true, Ordering::Relaxed);
    let written: Vec<(i64, String, i32)> = writers.into_iter().map(|writer| writer.join().unwrap()).collect();
    bench.wait_idle();
    for (user, token, issues) in written {
        assert!(issues > 0);
        let right = format!(
            "select count(*) from issues where telegram_user_id = {user}
                and okdesk_url = '{BASE}/login?token={token}&redirect=/issues/' || id"
        );
        assert_eq!(bench.db.number(&right), i64::from(issues), "{}", daemon.log());
    }
    bench.run(["sync", "--dry-run"]).exits(0);
    daemon.stop();
}

#[test]
fn what_reads_all_issues_ends_beside_a_bot_that_never_pauses() {
    let bench = installed(&[ALICE]);
    // Each has its change in the queue, for no daemon runs.
    bench.db.bot().execute(&format!(
        "insert into issues (id, telegram_user_id, okdesk_issue_id, status, okdesk_url)
         select -n, {ALICE}, n, 'opened', '{BASE}/issues/' || n from generate_series(1, 50000) n"
    ));
    let stop = Arc::new(AtomicBool::new(false));
    let (until, bot) = (Arc::clone(&stop), bench.db.another_bot());
    let writer = std::thread::spawn(move || write_until(&until, &bot, ALICE, 0));
    bench.run(["sync", "--dry-run", "--summary"]).exits(3);
    bench.run(["token", "show", &ALICE.to_string()]).exits(0);
    stop.store(true, Ordering::Relaxed);
    writer.join().unwrap();
}

#[test]
fn limits_that_the_database_sets_are_not_an_admins() {
    let bench = bench_of(&[ALICE]);
    for (setting, value) in [
        ("statement_timeout", "'20ms'"),
        ("lock_timeout", "'1ms'"),
        ("client_min_messages", "error"),
        ("restrict_nonsystem_relation_kind", "'view'"),
        ("default_transaction_isolation", "serializable"),
    ] {
        bench.db.admin().execute(&format!(
            "do $$ begin execute format('alter database %I set {setting} = {value}', current_database());
             exception when undefined_object then null; end $$",
            value = value.replace('\'', "''")
        ));
    }
    bench.install();
    bench.run(["uninstall", "--keep-sealed", "--admin-url", &bench.db.admin_url()]).exits(0);
    let only_reading = format!("alter database {} set default_transaction_read_only = on", bench.db.name());
    bench.db.admin().execute(&only_reading);
    let refused = bench.run(["install", "--admin-url", &bench.db.admin_url()]).exits(5);
    assert!(refused.stderr.contains("default_transaction_read_only is on there"), "{}", refused.stderr);
}

/// A bot at work: issues, statuses and tokens, one row a transaction. Any error of its statements fails the test.
pub(crate) fn write_until(stop: &AtomicBool, bot: &Session, user: i64, lane: i32) -> (i64, String, i32) {
    let (mut issues, mut token) = (0, String::new());
    while !stop.load(Ordering::Relaxed) {
        let id = 2 * issues + lane;
        bot.execute(&format!(
            "insert into issues (id, telegram_user_id, okdesk_issue_id, status, okdesk_url)
             values ({id}, {user}, {id}, 'opened', '{BASE}/issues/{id}')"
        ));
        bot.execute(&format!("update issues set status = 'closed' where id = {id}"));
        issues += 1;
        if issues % 5 == 1 {
            token = format!("{lane:04}-{issues:08}");
            bot.execute(&format!("update users set portal_token = '{token}' where telegram_id = {user}"));
        }
    }
    (user, token, issues)
}

#[test]
fn an_open_transaction_delays_the_index_and_leaves_no_ruin() {
    let bench = bench_of(&[ALICE]);
    bench.db.insert_issue(1, ALICE, Some(&plain_link(1)));
    let idle = bench.db.another_bot();
    idle.execute("begin isolation level repeatable read; select from issues");
    let mut install = start_command(&bench, &["install", "--admin-url", &bench.db.admin_url()], "");
    let index = |state: &str| {
        format!(
            "select count(*) from pg_index where indrelid = 'issues'::regclass and not indisprimary and {state}"
        )
    };
    wait_until("the index is begun", || bench.db.number(&index("not indisvalid")) == 1);
    // The bot goes on meanwhile.
    bench.db.insert_issue(2, ALICE, Some(&plain_link(2)));
    idle.execute("commit");
    assert!(install.wait().unwrap().success());
    assert_eq!(bench.db.number(&index("indisvalid")), 1);
    assert_eq!(bench.db.number(&index("not indisvalid")), 0);
}

#[test]
fn an_index_in_ruins_is_built_anew() {
    let bench = bench_of(&[ALICE]);
    bench.install();
    bench
        .db
        .admin()
        .execute("update pg_index set indisvalid = false where indexrelid = 'relinkd_issue_walk'::regclass");
    bench.install();
    let valid =
        "select count(*) from pg_index where indexrelid = 'relinkd_issue_walk'::regclass and indisvalid";
    assert_eq!(bench.db.number(valid), 1);
}

#[test]
fn an_index_that_serves_is_not_built_twice() {
    let bench = bench_of(&[ALICE]);
    bench.db.execute("create index their_own on issues (telegram_user_id, id)");
    let before = dump(&bench.db);
    bench.install();
    assert_eq!(bench.db.number("select count(*) from pg_class where relname = 'relinkd_issue_walk'"), 0);
    bench.run(["uninstall", "--admin-url", &bench.db.admin_url()]).ok();
    assert_eq!(dump(&bench.db), before);
}

#[test]
fn the_role_owns_nothing_and_may_do_no_more_than_its_work() {
    let bench = bench_of(&[ALICE, BOB]);
    bench.db.insert_issue(1, ALICE, Some(&plain_link(1)));
    bench.install();
    let role = bench.db.connect_as(bench.db.role()).unwrap();
    for forbidden in [
        "select phone from users",
        "select * from users",
        "select telegram_id from users",
        "insert into users (telegram_id, user_type) values (1, 'client')",
        "update users set portal_token = null",
        "delete from users",
        "truncate users",
        "select okdesk_url from issues",
        "select description from issues",
        "update issues set okdesk_url = ''",
        "update issues set status = 'closed'",
        "delete from issues",
        "insert into issues (telegram_user_id, okdesk_issue_id, status) values (1, 1, 'x')",
        "select content from comments",
        "insert into relinkd.bot_issue (id, telegram_id) values (9, 9)",
        "delete from relinkd.bot_issue",
        "delete from relinkd.bot_user",
        "update relinkd.bot_issue set telegram_id = 1",
        "update relinkd.bot_issue set id = 1",
        "update relinkd.bot_user set telegram_id = 1",
        "update relinkd.meta set users_table = 'x'",
        "delete from relinkd.meta",
        "select relinkd.detach()",
        "select relinkd.attach()",
        "drop schema relinkd cascade",
        "create table relinkd.mine ()",
        "create or replace view relinkd.bot_user as select 1",
        "drop trigger relinkd_2_user_updated on users",
        "alter table issues disable trigger all",
        "create schema mine",
    ] {
        let error = role.try_execute(forbidden).expect_err(forbidden);
        assert_eq!(sqlstate(&error), "42501", "{forbidden}");
    }
    // What its work needs.
    for allowed in [
        "select telegram_id, portal_token, version from relinkd.bot_user",
        "select id, telegram_id, url from relinkd.bot_issue",
        "begin; update relinkd.bot_user set portal_token = portal_token; rollback",
        "begin; update relinkd.bot_issue set url = url; rollback",
    ] {
        role.execute(allowed);
    }
    let owned = format!(
        "select count(*) from pg_shdepend where refclassid = 'pg_authid'::regclass and deptype = 'o'
            and refobjid = '{}'::regrole",
        bench.db.role()
    );
    assert_eq!(bench.db.number(&owned), 0);
    let daemon = bench.start();
    bench.db.set_token(ALICE, Some(TOKEN));
    bench.wait_link(1, &login_link(TOKEN, 1));
    bench.wait_until("sealed", || is_sealed(&bench, ALICE));
    daemon.stop();
}

#[test]
fn a_stranger_gets_nothing_from_the_schema() {
    let bench = bench_of(&[ALICE]);
    bench.install();
    let stranger = format!("stranger_of_{}", bench.db.name());
    bench
        .db
        .admin()
        .execute(&format!("create role {stranger} login; grant usage on schema relinkd to {stranger}"));
    let session = bench.db.connect_as(&stranger).unwrap();
    session.execute("create temp table trap (telegram_user_id bigint, id integer, okdesk_url text)");
    for forbidden in [
        "create trigger t after insert on trap referencing new table as inserted
            for each statement execute function relinkd.issue_inserted()",
        "select relinkd.detach()",
        "select relinkd.attach()",
        "select * from relinkd.change",
        "select * from relinkd.bot_user",
    ] {
        let error = session.try_execute(forbidden).expect_err(forbidden);
        assert_eq!(sqlstate(&error), "42501", "{forbidden}");
    }
    drop(session);
    bench.db.admin().execute(&format!("drop owned by {stranger}; drop role {stranger}"));
}

#[test]
fn uninstall_leaves_the_database_as_it_was() {
    for owner_installs in [false, true] {
        let bench = bench_of(&[ALICE]);
        bench.db.insert_issue(1, ALICE, Some(&plain_link(1)));
        let admin = if owner_installs { owner_url(&bench) } else { bench.db.admin_url() };
        make_role(&bench);
        let settings = format!(
            "select coalesce(array_to_string(setconfig, ','), '') from pg_db_role_setting where setrole = '{}'::regrole",
            bench.db.role()
        );
        let (before, settings_before) = (dump(&bench.db), bench.db.rows(&settings));
        bench.run(["install", "--admin-url", &admin]).ok();
        assert_ne!(dump(&bench.db), before);
        let daemon = bench.start();
        bench.db.set_token(ALICE, Some(TOKEN));
        bench.wait_link(1, &login_link(TOKEN, 1));
        bench.wait_until("sealed", || is_sealed(&bench, ALICE));

        // Not while a daemon works, nor over sealed tokens without a word about them.
        let refused = bench.run(["uninstall", "--keep-sealed", "--admin-url", &admin]).exits(1);
        assert!(refused.stderr.contains("--force"), "{}", refused.stderr);
        daemon.stop();
        let refused = bench.run(["uninstall", "--admin-url", &admin]).exits(1);
        assert!(
            refused.stderr.contains("--unseal") && refused.stderr.contains("--keep-sealed"),
            "{}",
            refused.stderr
        );
        assert_eq!(bench.db.number("select count(*) from pg_trigger where not tgisinternal"), 6);

        let sealed = bench.db.token_column(ALICE);
        let done = bench.run(["uninstall", "--keep-sealed", "--admin-url", &admin]).ok();
        assert!(done.contains(&format!("drop role {};", bench.db.role())), "{done}");
        assert_eq!(dump(&bench.db), before);
        assert_eq!(bench.db.rows(&settings), settings_before);
        assert_eq!(bench.db.token_column(ALICE), sealed);
        assert_eq!(bench.db.link(1), Some(login_link(TOKEN, 1)));
        // The bot goes on, and a second time there is nothing to remove.
        bench.db.set_token(ALICE, None);
        bench.run(["uninstall", "--admin-url", &admin]).ok();
        bench.db.admin().execute(&format!("drop role {}", bench.db.role()));
        bench.assert_no_leak(&[TOKEN]);
    }
}

#[test]
fn uninstall_writes_tokens_back_where_it_is_told_to() {
    let bench = bench_of(&[ALICE, BOB]);
    bench.install();
    let daemon = bench.start();
    bench.db.set_token(ALICE, Some(TOKEN));
    bench.run_with_input(["token", "set", &BOB.to_string()], OTHER).ok();
    bench.wait_until("sealed", || is_sealed(&bench, ALICE) && is_sealed(&bench, BOB));
    assert_eq!(revealed(&bench, BOB), OTHER);
    daemon.stop();
    // A server that logs every statement does not hear them either.
    bench.db.log_every_statement();
    bench.run(["uninstall", "--unseal", "--admin-url", &bench.db.admin_url()]).ok();
    assert_eq!(bench.db.token_column(ALICE).as_deref(), Some(TOKEN));
    assert_eq!(bench.db.token_column(BOB).as_deref(), Some(OTHER));
    assert!(bench.db.server_log().contains("copy pg_temp.relinkd_unsealed"), "the log has no statements");
    bench.assert_no_leak(&[TOKEN, OTHER]);
}

#[test]
fn uninstall_makes_links_plain_where_it_is_told_to() {
    for owner_installs in [false, true] {
        let bench = bench_of(&[ALICE, BOB]);
        bench.db.insert_user(CAROL, None);
        for (id, user) in [(1, ALICE), (2, BOB), (3, ALICE)] {
            bench.db.insert_issue(id, user, Some(&format!("{}?tab=files#c", plain_link(id.into()))));
        }
        bench.db.insert_issue(4, CAROL, Some("https://elsewhere.example/login?token=x&redirect=/issues/4"));
        bench.db.execute("alter table issues alter telegram_user_id drop not null");
        make_role(&bench);
        let admin = if owner_installs { owner_url(&bench) } else { bench.db.admin_url() };
        bench.run(["install", "--admin-url", &admin]).ok();
        bench.run_with_input(["token", "set", &ALICE.to_string()], TOKEN).ok();
        bench.run_with_input(["token", "set", &BOB.to_string()], OTHER).ok();
        bench.run(["sync"]).ok();
        let login = |token: &str, id: i64| format!("{}%3Ftab=files%23c", login_link(token, id));
        let bot_row = "insert into issues (id, telegram_user_id, okdesk_issue_id, status, okdesk_url) values (5, null, 5, 'x', '";
        bench.db.execute(&format!("{bot_row}{}')", login_link(THIRD, 5)));
        let before: Vec<_> = (1..=4).map(|id| bench.db.link(id)).collect();
        assert!(before[1].as_ref().unwrap().contains(OTHER), "{before:?} {}", login(OTHER, 2));
        // A row that the bot holds is waited for, and what it holds by then counts.
        let holder = bench.db.another_bot();
        holder.execute(&format!(
            "begin; update issues set okdesk_url = '{}' where id = 3",
            login_link(THIRD, 33)
        ));
        let arguments = ["uninstall", "--keep-sealed", "--plain-links", "--admin-url", &admin];
        let command = start_command(&bench, &arguments, "");
        let free = format!(
            "select count(*) from issues where id = 1 and okdesk_url = '{}?tab=files#c'",
            plain_link(1)
        );
        // The triggers go first, and for that nobody may hold the tables.
        assert_eq!(bench.db.number(&free), 0);
        holder.execute("commit");
        let output = command.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && said.contains("4 links plain now"), "{said}{output:?}");
        assert_eq!(bench.db.link(1), Some(format!("{}?tab=files#c", plain_link(1))));
        assert_eq!(bench.db.link(2), Some(format!("{}?tab=files#c", plain_link(2))));
        assert_eq!(bench.db.link(3), Some(plain_link(33)));
        assert_eq!(bench.db.link(4), before[3]);
        assert_eq!(bench.db.link(5), Some(plain_link(5)));
        assert!(is_sealed(&bench, ALICE));
        bench.assert_no_leak(&[TOKEN, OTHER, THIRD]);
    }
}

#[test]
fn unsealing_refuses_while_a_token_does_not_open_and_changes_nothing() {
    let bench = bench_of(&[ALICE, BOB]);
    bench.install();
    bench.run_with_input(["token", "set", &ALICE.to_string()], TOKEN).ok();
    bench.db.execute(&format!(
        "update users set portal_token = (select portal_token from users where telegram_id = {ALICE}) where telegram_id = {BOB}"
    ));
    let refused = bench.run(["uninstall", "--unseal", "--admin-url", &bench.db.admin_url()]).exits(6);
    assert!(refused.stderr.contains(&BOB.to_string()), "{}", refused.stderr);
    assert!(is_sealed(&bench, ALICE));
    assert_eq!(bench.db.number("select count(*) from pg_trigger where not tgisinternal"), 6);
}

#[test]
fn a_database_that_not_everybody_may_connect_to() {
    let bench = bench_of(&[ALICE]);
    make_role(&bench);
    bench.db.admin().execute(&format!("revoke connect on database {} from public", bench.db.name()));
    let before = dump(&bench.db);
    bench.install();
    bench.start().stop();
    // Installed again, it still knows that the right to connect was its own gift.
    bench.install();
    bench.run(["uninstall", "--admin-url", &bench.db.admin_url()]).ok();
    assert_eq!(dump(&bench.db), before);
    assert!(bench.db.connect_as(bench.db.role()).is_err());
}

#[test]
fn installing_queues_everyone_once_by_one_row_and_again_only_where_something_was_amiss() {
    let bench = bench_of(&[ALICE, BOB]);
    bench.install();
    let everyone = "select count(*) from relinkd.change where telegram_id is null and issue_id is null";
    assert_eq!((bench.db.number(everyone), appended(&bench)), (1, 1));
    let said = bench.install();
    assert!(said.contains("all was in order"), "{said}");
    assert!(!said.contains("what will change"), "{said}");
    assert_eq!(appended(&bench), 1);
    bench.db.execute("drop trigger relinkd_2_user_updated on users");
    bench.install();
    assert_eq!((bench.db.number(everyone), appended(&bench)), (2, 2));
}
