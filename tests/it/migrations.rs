//! Schemas that change under a running bot: relinkd's own from version to version, and the bot's tables under relinkd.

use crate::installing::write_until;
use crate::support::cast::{ALICE, BOB, OTHER, TOKEN, bench_of, installed, start_command};
use crate::support::cluster::BOT;
use crate::support::database::psql;
use crate::support::session::sqlstate;
use crate::support::{BASE, Bench, login_link, plain_link, wait_until};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// `relinkd install --print` of version 0.1.0, for the tables and the role that its configuration named by default.
const VERSION_0_1_0: &str = include_str!("../upgrade/0.1.0.sql");

/// Installs what 0.1.0 installed.
fn install_0_1_0(bench: &Bench, url: &str) {
    bench.db.admin().execute(&format!("create role {} login", bench.db.role()));
    let file = bench.path("0.1.0.sql");
    let sql =
        VERSION_0_1_0.replace("relinkd.role = 'relinkd'", &format!("relinkd.role = '{}'", bench.db.role()));
    std::fs::write(&file, sql).unwrap();
    psql(url, &file).unwrap();
}

fn triggers(bench: &Bench) -> Vec<String> {
    let rows = bench.db.rows("select tgname::text from pg_trigger where not tgisinternal order by 1");
    rows.into_iter().map(|mut row| row.remove(0).unwrap()).collect()
}

#[test]
fn an_upgrade_from_0_1_0_keeps_what_waits_and_no_write_of_the_bots_fails() {
    let bench = bench_of(&[ALICE, BOB]);
    install_0_1_0(&bench, &bench.db.admin_url());
    bench.db.admin().execute(&format!(
        "insert into relinkd.walk (telegram_id, cursor, strip_upto, since, due, attempts, last_error)
         values (77, 5, 9, '2020-01-01', now(), 3, 'why'), (78, 5, null, '2020-01-02', now(), 0, null);
         insert into relinkd.token_mark values ({ALICE}, 'k1', '\\x0102');
         insert into relinkd.unusable values (77, 'why', null);
         insert into relinkd.ledger values ('claim', 'receipt');
         update relinkd.change set strip_upto = 7 where telegram_id = {BOB}"
    ));
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = [(ALICE, 0_i32), (BOB, 1)]
        .into_iter()
        .map(|(user, lane)| {
            let (stop, bot) = (Arc::clone(&stop), bench.db.another_bot());
            std::thread::spawn(move || write_until(&stop, &bot, user, lane))
        })
        .collect();
    let written = "select count(*) from issues";
    wait_until("the bot is at work", || bench.db.number(written) > 20);
    bench.install();
    let then = bench.db.number(written);
    wait_until("the bot goes on", || bench.db.number(written) > then + 20);
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.join().unwrap();
    }
    let names = triggers(&bench);
    assert!(names.len() == 6 && names.iter().all(|name| name.starts_with("relinkd_2_")), "{names:?}");
    assert_eq!(bench.db.number("select schema_version from relinkd.meta"), 2);
    // No issue that was written is missing, before, during or after.
    let missed = "select count(*) from issues i where not exists (select from relinkd.change c where c.issue_id = i.id)";
    assert_eq!(bench.db.number(missed), 0);
    let walks = bench.db.rows(
        "select telegram_id::text, strip::text, date(at)::text from relinkd.change where telegram_id in (77, 78) order by 1",
    );
    let text = |value: &str| Some(value.to_owned());
    assert_eq!(
        walks,
        [[text("77"), text("true"), text("2020-01-01")], [text("78"), None, text("2020-01-02")]]
    );
    assert_eq!(bench.db.number("select count(*) from relinkd.fingerprint where fingerprint = '\\x0102'"), 1);
    assert_eq!(bench.db.number("select count(*) from relinkd.unusable"), 1);
    assert_eq!(bench.db.number("select count(*) from relinkd.ledger"), 1);
    assert_eq!(bench.db.number("select count(*) from relinkd.change where telegram_id is null"), 1);
    // What is left of version 1 is nothing.
    let fresh = bench_of(&[]);
    fresh.install();
    let objects = "select pg_describe_object(classid, objid, 0) from pg_depend
                    where refclassid = 'pg_namespace'::regclass and refobjid = 'relinkd'::regnamespace order by 1";
    assert_eq!(bench.db.rows(objects), fresh.db.rows(objects));
    let columns =
        "select c.relname::text, a.attname::text, format_type(a.atttypid, a.atttypmod), a.attnotnull::text,
                          a.attidentity::text, pg_get_expr(d.adbin, d.adrelid)
                     from pg_attribute a join pg_class c on c.oid = a.attrelid
                     left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
                    where c.relnamespace = 'relinkd'::regnamespace and c.relkind in ('r', 'v')
                      and a.attnum > 0 and not a.attisdropped order by 1, 2";
    assert_eq!(bench.db.rows(columns), fresh.db.rows(columns));
}

#[test]
fn the_owner_who_installed_0_1_0_upgrades_and_uninstall_takes_an_old_schema_away_too() {
    let bench = bench_of(&[ALICE]);
    let owner = bench.db.url(BOT);
    install_0_1_0(&bench, &owner);
    let refused = bench.run(["install", "--admin-url", &bench.db.admin_url()]).exits(1);
    assert!(refused.stderr.contains(&format!("belongs to role {BOT}")), "{}", refused.stderr);
    bench.run(["uninstall", "--keep-sealed", "--admin-url", &owner]).exits(0);
    assert_eq!(triggers(&bench), Vec::<String>::new());
    assert_eq!(bench.db.number("select count(*) from pg_class where relname = 'relinkd_issue_walk'"), 0);
    bench.db.admin().execute(&format!("drop role {}", bench.db.role()));
    install_0_1_0(&bench, &owner);
    bench.run(["install", "--admin-url", &owner]).exits(0);
    assert_eq!(triggers(&bench).len(), 6);
}

#[test]
fn a_renamed_column_or_table_fails_no_write_and_the_warning_names_the_key() {
    let bench = installed(&[ALICE]);
    let mut names = [
        ("tables.users.name", "public.users", "alter table users rename to people", "public.people"),
        ("tables.users.telegram_id", "telegram_id", "alter table people rename telegram_id to tg", "tg"),
        (
            "tables.users.portal_token",
            "portal_token",
            "alter table people rename portal_token to pass",
            "pass",
        ),
        ("tables.issues.name", "public.issues", "alter table issues rename to \"user\"", "public.\"user\""),
        ("tables.issues.id", "id", "alter table \"user\" rename id to number", "number"),
        (
            "tables.issues.telegram_id",
            "telegram_user_id",
            "alter table \"user\" rename telegram_user_id to tg",
            "tg",
        ),
        (
            "tables.issues.url",
            "okdesk_url",
            "alter table \"user\" rename okdesk_url to \"select\"",
            "\"select\"",
        ),
    ];
    for renamed in 0..names.len() {
        let issue = 100 + renamed;
        let (key, _, rename, new_name) = names[renamed];
        bench.db.execute(rename);
        names[renamed].1 = new_name;
        let [users, tg, token, issues, id, user, url] = names.map(|(_, name, ..)| name);
        bench.db.admin().execute("delete from relinkd.change");
        bench.db.execute(&format!(
            "insert into {users} ({tg}, user_type, {token}) values (9, 'client', 'seven');
             update {users} set {token} = 'eight' where {tg} = 9; update {users} set {token} = null where {tg} = 9;
             insert into {issues} ({id}, {user}, okdesk_issue_id, status, {url})
             values ({issue}, 9, 9, 'opened', '{BASE}/issues/9');
             update {issues} set {url} = '{BASE}/issues/10' where {id} = {issue};
             update {issues} set {user} = 10 where {id} = {issue};
             update {users} set {token} = 'nine' where {tg} = 9; delete from {users} where {tg} = 9"
        ));
        assert_eq!(bench.db.number("select count(*) from relinkd.change"), 8, "{rename}");
        let said = bench.run(["token", "list"]).exits(0);
        let plain = new_name.replace('"', "");
        let set = |name: &str| format!("set {key} = \"{name}\"");
        // A quoted name of a table is written with its quotes only where relinkd's own grammar wants them.
        assert!(
            said.stderr.contains(&set(&plain)) || said.stderr.contains(&set(&new_name.replace('"', "\\\""))),
            "{}",
            said.stderr
        );
    }
    for (key, _, _, new_name) in names {
        bench.set(key, &format!("\"{}\"", new_name.replace('"', "")));
    }
    let said = bench.run(["token", "list"]).exits(0);
    assert!(said.stderr.is_empty(), "{}", said.stderr);
    assert!(bench.install().contains("all was in order"));
    bench.run(["uninstall", "--keep-sealed", "--admin-url", &bench.db.admin_url()]).exits(0);
    assert_eq!(triggers(&bench), Vec::<String>::new());
}

#[test]
fn the_daemon_goes_on_when_columns_and_tables_are_renamed_under_it() {
    let bench = installed(&[ALICE]);
    let daemon = bench.start();
    bench.db.set_token(ALICE, Some(TOKEN));
    bench.wait_link(1, &login_link(TOKEN, 1));
    bench.db.execute(
        "alter table users rename to people; alter table people rename portal_token to pass;
         alter table people rename telegram_id to tg; alter table issues rename to tickets;
         alter table tickets rename okdesk_url to link; alter table tickets rename telegram_user_id to tg;
         alter table tickets rename id to number",
    );
    bench.db.execute(&format!("update people set pass = '{OTHER}' where tg = {ALICE}"));
    let right = format!("select count(*) from tickets where link = '{}'", login_link(OTHER, 1));
    bench.wait_until("the link follows", || bench.db.number(&right) == 1);
    bench.drop_removal("a.toml", ALICE);
    bench.wait_applied("a.toml");
    let plain = format!("select count(*) from tickets where link = '{}'", plain_link(1));
    bench.wait_until("the link is plain", || bench.db.number(&plain) == 1);
    daemon.stop();
    // As after a restart.
    let daemon = bench.start();
    bench.db.execute(&format!("update people set pass = '{OTHER}' where tg = {ALICE}"));
    bench.wait_until("the link follows", || bench.db.number(&right) == 1);
    daemon.stop();
}

#[test]
fn a_table_or_column_rebuilt_under_its_own_name_is_refused_with_the_next_step() {
    for rebuild in [
        "alter table issues rename to issues_old; create table issues (like issues_old including all)",
        "alter table users rename portal_token to portal_token_old; alter table users add portal_token varchar",
        "drop table issues cascade; create table issues (id serial primary key, telegram_user_id bigint, okdesk_url varchar)",
    ] {
        let bench = installed(&[ALICE]);
        bench.db.execute(rebuild);
        let refused = bench.run(["token", "list"]).exits(5);
        assert!(
            refused.stderr.contains("the configuration names public.users")
                && refused.stderr.contains("relinkd install"),
            "{}",
            refused.stderr
        );
        bench.install();
        bench.run(["token", "list"]).exits(0);
        assert_eq!(triggers(&bench).len(), 6, "{rebuild}");
        bench.run(["uninstall", "--keep-sealed", "--admin-url", &bench.db.admin_url()]).exits(0);
        assert_eq!(triggers(&bench), Vec::<String>::new());
        assert_eq!(
            bench.db.number("select count(*) from pg_class where relname like 'relinkd%'"),
            0,
            "{rebuild}"
        );
    }
}

#[test]
fn a_running_daemon_notices_a_table_rebuilt_under_its_own_name_and_goes_on_after_install() {
    let bench = installed(&[ALICE]);
    bench.set("audit.interval", "\"1s\"");
    let daemon = bench.start();
    bench.db.set_token(ALICE, Some(TOKEN));
    bench.wait_link(1, &login_link(TOKEN, 1));
    bench.db.execute(
        "begin; create table issues_new (like issues including all); insert into issues_new select * from issues;
         alter table issues rename to issues_old; alter table issues_new rename to issues; commit",
    );
    bench.db.set_token(ALICE, Some(OTHER));
    bench.wait_until("the daemon says what is amiss", || {
        let log = daemon.log();
        log.contains("schema relinkd was installed for") && log.contains(" install")
    });
    bench.install();
    bench.wait_link(1, &login_link(OTHER, 1));
    daemon.stop();
}

/// What the documentation gives for a migration that Postgres refuses.
fn recipe(alter: &str) -> String {
    format!("begin; select relinkd.detach(); {alter}; select relinkd.attach(); commit")
}

#[test]
fn columns_are_widened_and_dropped_by_the_recipe() {
    for owner_installs in [false, true] {
        let bench = bench_of(&[ALICE]);
        bench.db.insert_issue(1, ALICE, Some(&plain_link(1)));
        bench.db.execute(
            "alter table users alter portal_token type varchar(100); alter table issues alter okdesk_url type varchar(60);
             create view report as select rating from issues",
        );
        bench.db.admin().execute(&format!("create role {} login", bench.db.role()));
        let admin = if owner_installs { bench.db.url(BOT) } else { bench.db.admin_url() };
        bench.run(["install", "--admin-url", &admin]).exits(0);
        let session = if owner_installs { bench.db.bot() } else { bench.db.admin() };
        for alter in [
            "alter table users alter portal_token type varchar(500)",
            "alter table issues alter okdesk_url type text",
            "alter table issues alter id type bigint",
        ] {
            let refused = session.try_execute(alter).unwrap_err();
            assert_eq!(sqlstate(&refused), "0A000", "{alter}");
            session.execute(&recipe(alter));
        }
        session.execute(&recipe("drop view report; alter table issues drop column rating"));
        assert_eq!(triggers(&bench).len(), 6);
        bench.db.admin().execute("delete from relinkd.change");
        bench.db.set_token(ALICE, Some(TOKEN));
        bench.db.execute(&format!(
            "insert into issues (id, telegram_user_id, okdesk_issue_id, status, okdesk_url)
             values (2, {ALICE}, 2, 'opened', '{BASE}/issues/2')"
        ));
        assert_eq!(bench.db.number("select count(*) from relinkd.change"), 2);
        // The daemon's role sees through the new views as it did through the old ones.
        bench.run(["token", "list"]).exits(0);
        let role = bench.db.connect_as(bench.db.role()).unwrap();
        role.execute("begin; update relinkd.bot_issue set url = url; update relinkd.bot_user set portal_token = portal_token; rollback");
        let limits = "select coalesce(string_agg(part || ' ' || type_modifier, ', ' order by part), '') from relinkd.bound where type_modifier > 0";
        assert_eq!(role.value(limits).unwrap(), "users.portal_token 504");
        assert!(bench.run(["install", "--admin-url", &admin]).ok().contains("all was in order"));
    }
}

#[test]
fn a_second_install_waits_for_no_writer_and_no_writer_for_it() {
    let bench = installed(&[ALICE]);
    let writer = bench.db.another_bot();
    writer.execute("begin; update users set portal_token = 'seven'; update issues set okdesk_url = 'x'");
    assert!(bench.install().contains("all was in order"));
    writer.execute("commit");
}

#[test]
fn the_bot_goes_on_while_install_waits_for_a_long_transaction() {
    let bench = bench_of(&[ALICE, BOB]);
    bench.db.insert_issue(1, ALICE, Some(&plain_link(1)));
    let long = bench.db.another_bot();
    long.execute("begin; update issues set status = 'closed'");
    let mut install = start_command(&bench, &["install", "--admin-url", &bench.db.admin_url()], "");
    let waits = "select count(*) from pg_stat_activity
                  where datname = current_database() and application_name = 'relinkd admin' and wait_event_type = 'Lock'";
    for id in 2..8 {
        wait_until("install waits for the lock", || bench.db.number(waits) == 1);
        // Behind a lock that is waited for as long as it takes, this would wait as long.
        bench.db.execute(&format!(
            "set statement_timeout = '5s';
             insert into issues (id, telegram_user_id, okdesk_issue_id, status) values ({id}, {BOB}, {id}, 'opened')"
        ));
    }
    assert!(install.try_wait().unwrap().is_none());
    long.execute("commit");
    assert!(install.wait().unwrap().success());
    assert_eq!(triggers(&bench).len(), 6);
}

#[test]
fn every_lock_that_the_bot_would_wait_for_has_its_limit() {
    let bench = installed(&[ALICE]);
    let functions = "select count(*) from pg_proc where pronamespace = 'relinkd'::regnamespace
                        and proname in ('attach', 'detach', 'arm') and 'lock_timeout=25ms' = any (proconfig)";
    assert_eq!(bench.db.number(functions), 3);
    let holder = bench.db.another_bot();
    holder.execute("begin; update issues set status = 'x'");
    let error = bench.db.admin().try_execute("select relinkd.detach()").unwrap_err();
    assert_eq!(sqlstate(&error), "55P03");
    holder.execute("rollback");
    let printed = bench.run(["install", "--print"]).ok();
    assert!(printed.contains("begin; set local lock_timeout = '25ms'"), "{printed}");
}

/// For a person: `cargo test --test it how_long_the_bot_waits -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement for a person, of which nothing is asserted"]
fn how_long_the_bot_waits_for_install_and_uninstall() {
    let bench = bench_of(&[ALICE, BOB]);
    for id in 1..2000 {
        bench.db.insert_issue(id, ALICE, Some(&plain_link(i64::from(id))));
    }
    let (stop, beside) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let writers: Vec<_> = [ALICE, BOB]
        .into_iter()
        .map(|user| {
            let (stop, beside, bot) = (Arc::clone(&stop), Arc::clone(&beside), bench.db.another_bot());
            std::thread::spawn(move || {
                let mut waits = [Vec::new(), Vec::new()];
                for n in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let began = Instant::now();
                    if n % 2 == 0 {
                        bot.execute(&format!(
                            "update users set portal_token = '{TOKEN}-{n}' where telegram_id = {user}"
                        ));
                    } else {
                        let id = 1 + n % 999 + if user == ALICE { 0 } else { 1000 };
                        bot.execute(&format!(
                            "update issues set okdesk_url = '{BASE}/issues/{n}' where id = {id}"
                        ));
                    }
                    waits[usize::from(beside.load(Ordering::Relaxed))].push(began.elapsed());
                    std::thread::sleep(Duration::from_millis(2));
                }
                waits
            })
        })
        .collect();
    std::thread::sleep(Duration::from_secs(15));
    beside.store(true, Ordering::Relaxed);
    for _ in 0..10 {
        bench.install();
        bench.run(["uninstall", "--keep-sealed", "--admin-url", &bench.db.admin_url()]).exits(0);
    }
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        for (mut waits, what) in
            writer.join().unwrap().into_iter().zip(["alone", "beside install and uninstall"])
        {
            waits.sort();
            let at = |part: usize| waits[(waits.len() - 1) * part / 1000];
            println!(
                "{} writes {what}: p50 {:?}, p99 {:?}, p99.9 {:?}, longest {:?}",
                waits.len(),
                at(500),
                at(990),
                at(999),
                at(1000)
            );
        }
    }
}
