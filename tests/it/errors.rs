//! Exit statuses and what is said on the way: one line for the cause, one for what to do next.

use crate::support::relinkd::{KEYRING, quoted};
use crate::support::{Bench, Output, plain_link};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

/// Fails unless standard error is a line for the cause and a line for the next step.
#[track_caller]
fn two_lines(output: Output, code: i32, cause: &str, next: &str) {
    let output = output.exits(code);
    let lines: Vec<&str> = output.stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{}", output.stderr);
    assert!(lines[0].starts_with("relinkd: ") && lines[0].contains(cause), "{}", output.stderr);
    assert!(lines[1].starts_with("  next: ") && lines[1].contains(next), "{}", output.stderr);
    assert_eq!(output.stdout, "", "results and errors are kept apart");
}

#[test]
fn exit_0_done_and_1_refused() {
    let bench = Bench::installed();
    bench.run(["status"]).exits(0);
    two_lines(bench.run(["token", "show", "77"]), 1, "no user 77", "first write to the bot");
    two_lines(
        bench.run_with_input(["token", "set", "77"], "7812-5733-8392-7092"),
        1,
        "no user 77",
        "first write",
    );
    two_lines(bench.run(["explain", "99"]), 1, "no issue 99", "relinkd explain --number 99");
    bench.db.insert_user(1, Some("1111-2222-3333-4444"));
    bench.db.insert_user(2, None);
    two_lines(
        bench.run_with_input(["token", "set", "2"], "1111-2222-3333-4444"),
        1,
        "another user holds this token",
        "take the user's own from the portal",
    );
    bench.set("portal.token_pattern", "'[0-9]+'");
    two_lines(
        bench.run_with_input(["token", "set", "2"], "7812-5733-8392-7092"),
        1,
        "the token ",
        "portal.token_pattern",
    );
    bench.assert_no_leak(&["1111-2222-3333-4444", "7812-5733-8392-7092"]);
}

#[test]
fn exit_1_a_result_that_cannot_be_written() {
    let bench = Bench::installed();
    for arguments in [["status", "--json"], ["token", "list"], ["completions", "bash"], ["check", "-v"]] {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let output = bench.command(arguments).stdout(full).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.contains("cannot be written: No space left"), "{arguments:?}: {said}");
    }
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = bench.command(["token", "list"]).stdout(writer).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "a reader that has gone is no failure");
}

#[test]
fn exit_1_uninstall_refuses_while_tokens_are_sealed() {
    let bench = Bench::installed();
    bench.db.insert_user(1, None);
    bench.run_with_input(["token", "set", "1"], "1111-2222-3333-4444").ok();
    let admin = bench.db.admin_url();
    two_lines(bench.run(["uninstall", "--admin-url", &admin]), 1, "cannot read them: 1 token", "--unseal");
    let daemon = bench.start();
    two_lines(
        bench.run(["uninstall", "--admin-url", &admin]),
        1,
        "still connected: 1 daemon",
        "systemctl stop relinkd",
    );
    daemon.stop();
}

#[test]
fn exit_2_wrong_usage_and_a_token_in_the_arguments() {
    let bench = Bench::installed();
    for arguments in [
        &["frobnicate"][..],
        &["status", "--jsno"],
        &["explain"],
        &["token", "set", "bob"],
        &["-v", "-q", "status"],
        &[],
    ] {
        let output = bench.run(arguments).exits(2);
        assert!(!output.stderr.is_empty());
    }
    two_lines(
        bench.run(["token", "set", "1", "7812-5733-8392-7092"]),
        2,
        "can be read by every user of this machine",
        "pipe it in",
    );
    bench.assert_no_leak(&["7812-5733-8392-7092"]);
}

#[test]
fn exit_3_a_dry_run_that_finds_changes() {
    let bench = Bench::installed();
    bench.db.insert_user(1, Some("1111-2222-3333-4444"));
    bench.db.insert_issue(5, 1, Some(&plain_link(5)));
    bench.run(["sync", "--dry-run"]).exits(3);
    bench.run(["sync"]).exits(0);
    bench.run(["sync", "--dry-run"]).exits(0);
    bench.assert_no_leak(&["1111-2222-3333-4444"]);
}

#[test]
fn exit_4_configuration() {
    let bench = Bench::installed();
    bench.set("portal.tokenless", "\"maybe\"");
    let output = bench.run(["status"]).exits(4);
    assert!(output.stderr.contains("config.toml:") && output.stderr.contains('^'), "{}", output.stderr);
    assert!(output.stderr.lines().last().unwrap().starts_with("  next: "), "{}", output.stderr);
    fs::remove_file(bench.config_file()).unwrap();
    two_lines(bench.run(["status"]), 4, "cannot be read", "make it from the example");
}

#[test]
fn exit_5_database() {
    let bench = Bench::new();
    bench.db.admin().execute(&format!("create role {} login", bench.db.role()));
    two_lines(bench.run(["sync"]), 5, "no schema relinkd", "relinkd install");
    bench.set("database.url", "\"host=/nonexistent user=r dbname=d\"");
    two_lines(bench.run(["sync"]), 5, "cannot connect to /nonexistent:5432", "relinkd check");
    bench.set("database.url", &quoted(&bench.db.url("nobody_here")));
    two_lines(bench.run(["sync"]), 5, "nobody_here", "pg_hba.conf");
    let admin = "postgresql://u@localhost:1/d?sslmode=disable";
    two_lines(bench.run(["install", "--admin-url", admin]), 5, "localhost:1", "--admin-url");
    two_lines(bench.run(["install", "--admin-url", "mysql://"]), 2, "--admin-url", "postgresql://OWNER@");
}

#[test]
fn exit_6_key() {
    let bench = Bench::installed();
    fs::set_permissions(bench.keyring_file(), Permissions::from_mode(0o644)).unwrap();
    two_lines(bench.run(["sync"]), 6, "read by others", "chmod g-w,o-rw ");
    bench.write_keyring("primary = \"k1\"\n");
    two_lines(bench.run(["key", "list"]), 6, "keyring.toml:1:", "check --offline");
    fs::remove_file(bench.keyring_file()).unwrap();
    two_lines(bench.run(["sync"]), 6, "there is no keyring", "relinkd key generate");
    bench.write_keyring(KEYRING);
    bench.run(["key", "retire", "k1"]).exits(1);
    bench.run(["key", "promote", "k7"]).exits(1);
}

#[test]
fn exit_7_done_in_part() {
    let bench = Bench::installed();
    bench.db.insert_user(1, None);
    bench.run_with_input(["token", "set", "1"], "1111-2222-3333-4444").ok();
    bench.write_keyring(&KEYRING.replace("k1", "k2"));
    let output = bench.run(["rekey"]).exits(7);
    assert!(output.stderr.contains("user 1 was left"), "{}", output.stderr);
}

#[test]
fn exit_7_a_daemon_that_does_not_get_to_it_in_time() {
    let bench = Bench::installed();
    bench.db.insert_user(1, None);
    bench.db.insert_issue(5, 1, Some(&plain_link(5)));
    let daemon = bench.start();
    bench.wait_idle();
    let holder = bench.db.another_bot();
    holder.execute("begin; update issues set okdesk_url = okdesk_url where id = 5");
    two_lines(
        bench.run_with_input(["token", "set", "1"], "1111-2222-3333-4444"),
        7,
        "within 10 s",
        "relinkd status",
    );
    holder.execute("rollback");
    bench.wait_link(5, &crate::support::login_link("1111-2222-3333-4444", 5));
    daemon.stop();
}
