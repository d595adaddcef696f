//! `relinkd health`: one line, performance data, and the exit statuses of Nagios' plugins.

use crate::support::cast::{ALICE, BOB, TOKEN, installed};
use crate::support::{Bench, Output};
use std::fs;

fn health(bench: &Bench, arguments: &[&str]) -> Output {
    let said = bench.run(["health"].iter().chain(arguments));
    assert_eq!(said.stdout.lines().count(), 1, "one line: {said:?}");
    assert_eq!(said.stderr, "", "whoever reads this reads standard output alone");
    said
}

/// The fields of the performance data, `label=value`.
fn data(said: &Output) -> Vec<String> {
    let (_, data) = said.stdout.trim_end().split_once(" | ").expect("performance data");
    data.split(' ').map(|datum| datum.split(';').next().unwrap().to_owned()).collect()
}

#[test]
fn all_is_well() {
    let bench = installed(&[ALICE]);
    let daemon = bench.start();
    bench.run_with_input(["token", "set", &ALICE.to_string()], TOKEN).ok();
    bench.wait_idle();
    let said = health(&bench, &[]).exits(0);
    assert!(
        said.stdout.starts_with(
            "RELINKD OK - 1 daemon, mode listen, 0 changes waiting, triggers 6/6, 0 unusable, no audit yet, 0 rejected | "
        ),
        "{}",
        said.stdout
    );
    let data = data(&said);
    for datum in
        ["daemons=1", "backlog=0", "backlog_age=0s", "triggers=6", "with_token=1", "unusable=0", "rejected=0"]
    {
        assert!(data.iter().any(|it| it == datum), "{datum}: {data:?}");
    }
    assert!(said.stdout.contains(" backlog_age=0s;60;900;0 "), "{}", said.stdout);
    // Two intervals and ten minutes.
    assert!(said.stdout.contains("s;7800;15600;0"), "{}", said.stdout);
    daemon.stop();
    bench.assert_no_leak(&[TOKEN]);
}

#[test]
fn each_limit_is_its_own() {
    let bench = installed(&[ALICE, BOB]);
    let daemon = bench.start();
    bench.db.set_token(ALICE, Some("relinkd:v1:broken"));
    fs::write(bench.rejected().join("a.toml"), "").unwrap();
    bench.wait_idle();

    let said = health(&bench, &[]).exits(1);
    assert!(
        said.stdout.starts_with("RELINKD WARNING - 1 token unusable; 1 file rejected | "),
        "{}",
        said.stdout
    );
    health(&bench, &["--unusable-warning", "1", "--rejected-warning", "1"]).exits(0);
    health(&bench, &["--unusable-warning", "1"]).exits(1);
    let said = health(&bench, &["--rejected-critical", "0"]).exits(2);
    assert!(
        said.stdout.starts_with("RELINKD CRITICAL - 1 file rejected; 1 token unusable | "),
        "{}",
        said.stdout
    );
    assert!(said.stdout.contains(" rejected=1;0;0;0"), "{}", said.stdout);

    let lenient = ["--unusable-warning", "1", "--rejected-warning", "1"];
    let with = |more: &[&str]| health(&bench, &[&lenient[..], more].concat());
    bench.db.admin().execute(
        "insert into relinkd.change (telegram_id, at, due) values (1, now() - interval '5 min', now() + interval '9 min')",
    );
    assert!(with(&[]).exits(1).stdout.contains("1 change waiting, the oldest for 5 min"));
    with(&["--backlog-warning", "10m"]).exits(0);
    with(&["--backlog-critical", "120"]).exits(2);
    bench.db.admin().execute("delete from relinkd.change");

    let audited = |ago: &str| {
        bench.db.admin().execute(&format!(
            "update relinkd.meta set audit_found = 0, audit_finished_at = now() - interval '{ago}'"
        ));
    };
    audited("3 h");
    assert!(with(&[]).exits(1).stdout.contains("the last audit was 3 h ago"));
    with(&["--audit-warning", "4h"]).exits(0);
    with(&["--audit-critical", "1h"]).exits(2);
    audited("5 h");
    with(&[]).exits(2);
    audited("1 min");
    with(&[]).exits(0);

    bench.db.admin().execute("alter table users disable trigger relinkd_2_user_updated");
    assert!(with(&[]).exits(2).stdout.contains("CRITICAL - triggers 5/6"));
    bench.db.admin().execute("alter table users enable trigger relinkd_2_user_updated");
    daemon.stop();
    assert!(with(&[]).exits(2).stdout.starts_with("RELINKD CRITICAL - no daemon is running"));
}

#[test]
fn what_cannot_be_known_is_unknown_and_a_database_that_is_gone_is_critical() {
    let bench = Bench::installed();
    bench.set("database.url", "\"host=/nonexistent user=r dbname=d\"");
    let said = health(&bench, &[]).exits(2);
    assert!(
        said.stdout.starts_with("RELINKD CRITICAL - cannot connect to /nonexistent:5432"),
        "{}",
        said.stdout
    );
    assert!(data(&said).iter().any(|datum| datum == "waiting=0"), "{}", said.stdout);
    fs::remove_file(bench.config_file()).unwrap();
    let said = health(&bench, &[]).exits(3);
    assert!(
        said.stdout.starts_with("RELINKD UNKNOWN - ") && said.stdout.contains("cannot be read"),
        "{}",
        said.stdout
    );
    // Exit status 2 would be taken for CRITICAL.
    for wrong in [&["--backlog-warning", "soon"][..], &["--nothing"], &["now"]] {
        let said = health(&bench, wrong).exits(3);
        assert!(said.stdout.starts_with("RELINKD UNKNOWN - "), "{}", said.stdout);
    }
    assert!(bench.run(["health", "--help"]).ok().contains("Example"));
}

#[test]
fn text_of_others_begins_no_performance_data() {
    let bench = Bench::installed();
    bench.set("database.url", "\"host='/non|existent' user=r dbname=d\"");
    let said = health(&bench, &[]).exits(2);
    assert_eq!(said.stdout.matches('|').count(), 1, "{}", said.stdout);
}
