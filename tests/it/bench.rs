//! The bench that the other tests stand on: a tool that lies would make them all lie.

use crate::support::cluster::{BOT, SUPERUSER};
use crate::support::session::sqlstate;
use crate::support::{
    Bench, Cluster, ClusterOptions, Daemon, Database, Stop, TokenColumn, assert_no_leak, plain_link, scratch,
};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;

#[test]
fn a_database_has_the_bots_tables_as_they_are_in_the_field() {
    let db = Database::new();
    db.insert_user(413_129_274, Some("7812-5733-8392-7092"));
    db.insert_issue(123, 413_129_274, Some(&plain_link(123)));
    db.insert_issue(124, 413_129_274, None);
    assert_eq!(db.token_column(413_129_274).as_deref(), Some("7812-5733-8392-7092"));
    assert_eq!(db.link(123), Some(plain_link(123)));
    assert_eq!(db.link(124), None);
    db.set_token(413_129_274, None);
    assert_eq!(db.token_column(413_129_274), None);

    let owners = db
        .rows("select distinct pg_get_userbyid(relowner) from pg_class where relname in ('users', 'issues')");
    assert_eq!(owners, [[Some(BOT.to_owned())]]);
    let indexed =
        "select count(*) from pg_index join pg_attribute on attrelid = indrelid and attnum = any (indkey)";
    assert_eq!(db.number(&format!("{indexed} where attname = 'telegram_id' and indisunique")), 1);
    assert_eq!(db.number(&format!("{indexed} where attname = 'telegram_user_id'")), 0);
}

#[test]
fn the_token_column_comes_in_both_types() {
    let typed = "select format_type(atttypid, atttypmod) from pg_attribute
        where attrelid = 'users'::regclass and attname = 'portal_token'";
    let bounded = Database::on(&Cluster::shared(), TokenColumn::Varchar255);
    assert_eq!(bounded.admin().value(typed).as_deref(), Some("character varying(255)"));
    assert_eq!(Database::new().admin().value(typed).as_deref(), Some("character varying"));
}

#[test]
fn a_database_and_the_daemons_role_are_gone_after_the_test() {
    let keeper = Database::new();
    let db = Database::new();
    let (name, role) = (db.name().to_owned(), db.role().to_owned());
    db.admin().execute(&format!("create role {role} login"));
    drop(db);
    let left = format!(
        "select (select count(*) from pg_database where datname = '{name}')
              + (select count(*) from pg_roles where rolname = '{role}')"
    );
    assert_eq!(keeper.number(&left), 0);
}

#[test]
fn a_server_is_stopped_and_started_and_keeps_what_was_committed() {
    let cluster = Cluster::start(&ClusterOptions::default().setting("wal_level", "logical"));
    let db = Database::on(&cluster, TokenColumn::Varchar);
    assert_eq!(db.admin().value("show wal_level").as_deref(), Some("logical"));
    for how in [Stop::Immediate, Stop::Fast] {
        db.insert_user(if how == Stop::Fast { 2 } else { 1 }, None);
        cluster.stop(how);
        assert!(db.connect_as(BOT).is_err());
        cluster.resume();
    }
    assert_eq!(db.number("select count(*) from users"), 2);
}

#[test]
fn a_server_speaks_tls_and_asks_for_passwords_where_told() {
    let cluster = Cluster::start(&ClusterOptions::default().tls().host_method("scram-sha-256"));
    let db = Database::on(&cluster, TokenColumn::Varchar);
    db.admin().execute(&format!("alter role {BOT} password 'mind the gap'"));
    let ask = |password: &str| {
        let target = format!(
            "host=localhost hostaddr=127.0.0.1 port={} user={BOT} dbname={} sslmode=verify-full sslrootcert={}",
            cluster.port(),
            db.name(),
            cluster.authority().display()
        );
        let query = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";
        let mut psql = Command::new("psql");
        let output = psql.args(["-XAtw", "-c", query, &target]).env("PGPASSWORD", password).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(ask("mind the gap"), "t\n");
    assert_eq!(ask("wrong"), "");
}

#[test]
fn a_refusal_has_its_sqlstate() {
    let db = Database::new();
    db.insert_user(1, None);
    let refusal =
        db.bot().try_execute("insert into users (telegram_id, user_type) values (1, 'client')").unwrap_err();
    assert_eq!(sqlstate(&refusal), "23505");
}

#[test]
fn the_servers_log_tells_whose_statement_it_was() {
    let db = Database::new();
    db.log_every_statement();
    db.another_bot().execute("select 'by the bot'");
    db.connect_as(SUPERUSER).unwrap().execute("select 'by another',\n 'on two lines'");
    let log = db.server_log();
    assert!(log.contains("by another") && log.contains("on two lines"), "{log}");
    assert!(!log.contains("by the bot"), "{log}");
}

#[test]
fn a_setting_is_changed_by_a_reload() {
    let cluster = Cluster::start(&ClusterOptions::default());
    cluster.reload_with("log_min_duration_statement", "0");
    let db = Database::on(&cluster, TokenColumn::Varchar);
    db.connect_as(SUPERUSER).unwrap().execute("select 'slow enough'");
    assert!(db.server_log().contains("slow enough"));
}

#[test]
fn a_token_or_a_piece_of_it_is_a_leak_and_its_mask_is_none() {
    assert_no_leak(&["7812-5733-8392-7092"], [("a log", "user 7, token 7812…")]);
    for leak in ["token 7812-5733-8392-7092 set", "token ends in 33-8392-7092"] {
        let caught = catch_unwind(|| assert_no_leak(&["7812-5733-8392-7092"], [("a log", leak)]));
        assert!(caught.is_err(), "{leak}");
    }
}

#[test]
fn a_bench_writes_its_config_keyring_and_spool() {
    let bench = Bench::new();
    bench.set("portal.tokenless", "\"keep\"");
    bench.set("tables.users.name", "\"public.users\"");
    let config: toml::Table = std::fs::read_to_string(bench.config_file()).unwrap().parse().unwrap();
    assert_eq!(config["portal"]["tokenless"].as_str(), Some("keep"));
    assert_eq!(config["tables"]["users"]["name"].as_str(), Some("public.users"));
    assert_eq!(config["database"]["url"].as_str(), Some(bench.db.url(bench.db.role()).as_str()));
    bench.drop_token("a.toml", 5, "7812-5733-8392-7092");
    assert!(bench.incoming().join("a.toml").is_file());
}

/// Stands in for the daemon, to try what tries the daemon.
fn stand_in(script: &str) -> (tempfile::TempDir, Daemon) {
    let directory = scratch::directory();
    // A shell cannot trap what it was told to ignore, and whoever runs the tests may ignore anything (nohup).
    let mut command = Command::new("env");
    command.args(["--default-signal", "sh", "-c", script]);
    let daemon = Daemon::spawn(command, directory.path().join("log"), &directory.path().join("notify"));
    (directory, daemon)
}

#[test]
fn a_daemon_is_waited_for_heard_and_stopped() {
    let (_directory, mut daemon) = stand_in(
        "trap 'exit 0' TERM; trap 'echo hup >&2' HUP; systemd-notify --ready --status=here; \
         while :; do sleep 0.05; done",
    );
    daemon.wait_ready();
    daemon.wait_notice("STATUS=here");
    daemon.hup();
    daemon.wait_log("hup");
    daemon.stop();
}

#[test]
fn a_daemon_that_ends_early_or_unwell_fails_the_test_with_its_log() {
    let (_directory, mut early) = stand_in("echo no config >&2; exit 4");
    let panic = catch_unwind(AssertUnwindSafe(|| early.wait_ready())).unwrap_err();
    let text = panic.downcast_ref::<String>().unwrap();
    assert!(text.contains("no config") && text.contains("exit status: 4"), "{text}");
    assert_eq!(early.wait_exit(), Some(4));

    let (_directory, mut unwell) =
        stand_in("trap 'exit 3' TERM; systemd-notify --ready; while :; do sleep 0.05; done");
    unwell.wait_ready();
    assert!(catch_unwind(AssertUnwindSafe(|| unwell.stop())).is_err());
}
