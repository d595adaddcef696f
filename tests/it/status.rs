//! `relinkd status`: what it says when all is well, when not, and when the database or the keyring is gone; and the commands
//! that rely on it.

use crate::support::cast::{ALICE, BOB, CAROL, OTHER, THIRD, TOKEN, bench_of, installed, status};
use crate::support::relinkd::KEYRING;
use crate::support::{Bench, plain_link};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// The screen without what differs from run to run.
fn screen(bench: &Bench, text: &str) -> String {
    let endpoint = status(bench)["server"]["endpoint"].as_str().map(str::to_owned).unwrap_or_default();
    let version = bench.db.admin().value("show server_version").unwrap();
    let text = text.replace(&format!("{endpoint}, Postgres {version}"), "SERVER");
    let home = bench.path("").display().to_string();
    let text = text.replace(home.trim_end_matches('/'), "HOME");
    let words = [
        (r"process \d+", "process N"),
        (r"for \d+ s", "for N s"),
        (r"up \d+ s", "up N s"),
        (r"in \d+ min", "in N min"),
    ];
    words.iter().fold(text, |text, (pattern, with)| replaced(&text, pattern, with))
}

/// A pattern of a literal, `\d+` and a literal.
fn replaced(text: &str, pattern: &str, with: &str) -> String {
    let (before, after) = pattern.split_once(r"\d+").unwrap();
    let mut rest = text;
    let mut done = String::new();
    while let Some(at) = rest.find(before) {
        let tail = &rest[at + before.len()..];
        let digits = tail.bytes().take_while(u8::is_ascii_digit).count();
        if digits > 0 && tail[digits..].starts_with(after) {
            done += &rest[..at];
            done += with;
            rest = &tail[digits + after.len()..];
        } else {
            done += &rest[..at + before.len()];
            rest = tail;
        }
    }
    done + rest
}

#[test]
fn all_is_well() {
    let bench = installed(&[ALICE, BOB]);
    let daemon = bench.start();
    bench.run_with_input(["token", "set", &ALICE.to_string()], TOKEN).ok();
    bench.wait_idle();
    bench.wait_until("the daemon has told what it did", || status(&bench)["links_written"] == 1);
    insta::assert_snapshot!(screen(&bench, &bench.run(["status"]).ok()), @"
    daemon       running here for N s, process N
    spool        0 waiting, 0 rejected, 0 not taken
    keyring      k1 seals; 1 key in all
    server       SERVER
    connected    1 daemon, mode listen, up N s
    links        1 link written since the start
    backlog      nothing is waiting
    triggers     6/6 in place and enabled
    tokens       1 usable token: 1 sealed, 0 in plaintext; 0 unusable
    keys         primary k1; in use: k1: 1
    audit        none yet; the next in N min
    ");
    let json = status(&bench);
    assert_eq!(json["version"], 1);
    assert!(json["daemon"]["pid"].is_u64() && json["daemon"]["uptime_seconds"].is_u64(), "{json}");
    assert_eq!(json["triggers"], json!({"sound": 6, "wanted": 6, "unsound": []}));
    assert_eq!(json["database"], json!({"answers": true, "error": null, "next": null}));
    assert_eq!(json["users"]["with_token"], 1);
    assert_eq!(
        json["keys"],
        json!({"primary": "k1", "in_use": {"k1": 1}, "daemons_seal_with": ["k1"], "missing": {}})
    );
    assert!(json["audit"]["next_seconds"].as_f64().is_some_and(|left| left > 3000.0), "{json}");
    daemon.stop();
    assert_eq!(status(&bench)["daemon"], Value::Null, "who has stopped owns the spool no more");
    bench.assert_no_leak(&[TOKEN]);
}

#[test]
fn of_no_list_are_more_than_five_shown_each_with_what_mends_it() {
    let users: Vec<i64> = (1..=20).collect();
    let bench = bench_of(&users);
    for user in 1..=7 {
        // Two users a token, and seven values that are none.
        bench.db.set_token(user, Some(&format!("1000-2000-3000-400{}", user / 2)));
        bench.db.set_token(user + 10, Some(&format!("relinkd:v1:broken{user}")));
    }
    bench.install();
    bench.drop_file("a.txt", "");
    fs::create_dir(bench.rejected()).unwrap();
    for name in 1..=6 {
        fs::write(bench.rejected().join(format!("{name}.toml")), "").unwrap();
        fs::write(bench.rejected().join(format!("{name}.toml.reason")), "1:1: no\n    нет\n").unwrap();
        fs::create_dir(bench.incoming().join(format!("d{name}.toml"))).unwrap();
    }
    bench.db.admin().execute(
        "alter table users disable trigger relinkd_2_user_updated;
         delete from relinkd.change;
         insert into relinkd.change (telegram_id, issue_id, attempts, last_error)
             select 1, n, 3, 'no' from generate_series(1, 8) n",
    );
    let shown = bench.run(["status"]).ok();
    insta::assert_snapshot!(screen(&bench, &shown), @"
    daemon       none is running here
                 mend: systemctl start relinkd
    spool        0 waiting, 6 rejected, 6 not taken
                 rejected: 1.toml: 1:1: no
                 rejected: 2.toml: 1:1: no
                 rejected: 3.toml: 1:1: no
                 rejected: 4.toml: 1:1: no
                 rejected: 5.toml: 1:1: no
                 and 1 more
                 mend: relinkd spool show 1.toml
                 not taken: d1.toml: it is a directory, not a regular file
                 not taken: d2.toml: it is a directory, not a regular file
                 not taken: d3.toml: it is a directory, not a regular file
                 not taken: d4.toml: it is a directory, not a regular file
                 not taken: d5.toml: it is a directory, not a regular file
                 and 1 more
                 a file is taken that is a regular one, has one name, and may be read: mend it, or move it away
    keyring      k1 seals; 1 key in all
    server       SERVER
    connected    no daemon: nothing is brought into links
    backlog      8 changes waiting, the oldest for N s
    set aside    8 changes, tried again by themselves
                 issue 1 of user 1 failed 3 times: no
                 issue 2 of user 1 failed 3 times: no
                 issue 3 of user 1 failed 3 times: no
                 issue 4 of user 1 failed 3 times: no
                 issue 5 of user 1 failed 3 times: no
                 and 3 more
                 the reason names what refuses: a trigger or a constraint of the bot's tables
    triggers     5/6 in place and enabled
                 relinkd_2_user_updated is missing, disabled, or not as it should be
                 mend: relinkd check # says which, and how
    tokens       7 usable tokens: 0 sealed, 7 in plaintext; 7 unusable
                 user 11: unusable (malformed)
                 user 12: unusable (malformed)
                 user 13: unusable (malformed)
                 user 14: unusable (malformed)
                 user 15: unusable (malformed)
                 and 2 more
                 mend: relinkd token set 11
                 these users share tokens with each other: 2, 3, 4, 5, 6 and 1 more
                 mend: relinkd token set 7
    keys         primary k1; in use: none
    audit        none yet
    ");
    let json = status(&bench);
    assert_eq!(json["users"]["unusable_ids"].as_array().unwrap().len(), 7, "JSON is whole");
    assert_eq!(json["set_aside_count"], 8);
    assert_eq!(
        json["spool"]["rejected_files"][0],
        json!({"name": "1.toml", "age_seconds": json["spool"]["rejected_files"][0]["age_seconds"], "reason": ["1:1: no"]})
    );
}

/// One row for each user pushed all else off the screen.
#[test]
fn a_missing_key_is_one_line_however_many_tokens_need_it() {
    let users: Vec<i64> = (1..=100).collect();
    let bench = bench_of(&users);
    bench.install();
    for user in &users {
        bench.db.set_token(*user, Some(&format!("1000-2000-3000-{user:04}")));
    }
    bench.run(["sync"]).ok();
    bench.write_keyring(&KEYRING.replace("k1", "k2"));
    let shown = bench.run(["status"]).ok();
    assert!(shown.lines().count() < 25, "{shown}");
    assert!(shown.contains("100 tokens are sealed under the key k1"), "{shown}");
    assert!(shown.contains("make no new key"), "{shown}");
    assert_eq!(status(&bench)["keys"]["missing"], json!({"k1": 100}));
}

/// It is there: to bring a copy back would be the wrong advice.
#[test]
fn a_keyring_that_others_may_read_is_not_called_lost() {
    let bench = installed(&[ALICE]);
    bench.run_with_input(["token", "set", &ALICE.to_string()], TOKEN).ok();
    fs::set_permissions(bench.keyring_file(), fs::Permissions::from_mode(0o644)).unwrap();
    let said = bench.run(["status"]).exits(6);
    assert!(said.stdout.contains("under the key k1, and the keyring cannot be used"), "{}", said.stdout);
    assert!(said.stdout.contains("mend: chmod g-w,o-rw "), "{}", said.stdout);
    for text in [said.stdout, said.stderr, bench.run(["check"]).exits(6).stdout] {
        assert!(!text.contains("copy"), "{text}");
    }
}

#[test]
fn a_late_audit_is_told() {
    let bench = installed(&[ALICE]);
    let audited = |ago: &str| {
        bench.db.admin().execute(&format!(
            "update relinkd.meta set audit_found = 3, audit_finished_at = now() - interval '{ago}'"
        ));
        bench.run(["status"]).ok()
    };
    assert!(audited("3 h").contains("mend: journalctl -u relinkd -p warning"));
    let shown = audited("2 h");
    assert!(shown.contains("found 3 to mend") && !shown.contains("journalctl"), "{shown}");
}

#[test]
fn it_answers_without_the_database() {
    let bench = Bench::installed();
    bench.drop_file("a.toml", "x");
    bench.set("database.url", "\"host=/nonexistent user=r dbname=d\"");
    let said = bench.run(["status"]).exits(5);
    assert!(said.stdout.contains("1 waiting, 0 rejected, 0 not taken"), "{}", said.stdout);
    assert!(said.stdout.contains("database     cannot connect to /nonexistent:5432"), "{}", said.stdout);
    assert!(said.stdout.contains("\n             mend: see whether Postgres runs there"), "{}", said.stdout);
    assert_eq!((said.stdout.matches("cannot connect").count(), said.stderr.as_str()), (1, ""), "said once");
    let said = bench.run(["status", "--json"]).exits(5);
    let json: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(json["spool"]["waiting"], 1);
    assert_eq!(json["database"]["answers"], false);
    assert_eq!((&json["backlog"]["changes"], &json["mode"]), (&Value::Null, &Value::Null));
    let said = bench.run(["status", "--prometheus"]).exits(5);
    assert!(said.stdout.contains("relinkd_database_connected 0\n"), "{}", said.stdout);
    assert!(said.stdout.contains("relinkd_spool_files{state=\"waiting\"} 1\n"), "{}", said.stdout);
    assert!(!said.stdout.contains("relinkd_backlog"), "{}", said.stdout);
}

#[test]
fn who_holds_up_the_oldest_change_is_named() {
    let bench = installed(&[ALICE]);
    let bot = bench.db.another_bot();
    bot.execute("begin; update issues set status = 'x'");
    bench.db.admin().execute(
        "delete from relinkd.change;
         insert into relinkd.change (telegram_id, at) values (413129274, now() - interval '5 min')",
    );
    let pid = bot.value("select pg_backend_pid()").unwrap();
    let shown = bench.run(["status"]).ok();
    assert!(shown.contains("1 change waiting, the oldest for 5 min"), "{shown}");
    assert!(shown.contains(&format!("session {pid} of ")), "{shown}");
    assert!(shown.contains(&format!("mend: select pg_terminate_backend({pid});")), "{shown}");
    bot.execute("rollback");
    assert!(!bench.run(["status"]).ok().contains("session "), "nobody holds it any more");
}

/// The tokens that a lost key seals are lost with it; a new key of its name would hide even that.
#[test]
fn a_lost_keyring_is_to_be_brought_back_and_its_id_is_not_given_again() {
    let bench = installed(&[ALICE, BOB]);
    bench.run_with_input(["token", "set", &ALICE.to_string()], TOKEN).ok();
    fs::remove_file(bench.keyring_file()).unwrap();

    let said = bench.run(["status"]).exits(6);
    assert!(said.stdout.contains("no keyring; in use: k1: 1"), "{}", said.stdout);
    for said in [said.stderr, bench.run(["run"]).exits(6).stderr] {
        assert!(
            said.contains("there is no keyring") && said.contains("1 token is sealed under the key k1"),
            "{said}"
        );
        assert!(said.contains("bring the copy") && !said.contains("key generate"), "{said}");
    }
    let said = bench.run(["check"]).exits(6).stdout;
    assert!(said.contains("stored tokens need the key k1"), "{said}");
    assert!(said.contains("bring the copy of the keyring back") && !said.contains("key generate"), "{said}");

    // As systemd asks before a reload: nobody looks into the database.
    let said = bench.run(["check", "--offline"]).exits(6).stdout;
    assert!(said.contains("bring the copy of the keyring back; only where there never was one"), "{said}");

    let refused = bench.run(["key", "generate", "--id", "k1"]).exits(1);
    assert!(refused.stderr.contains("sealed under the key k1"), "{}", refused.stderr);
    assert!(refused.stderr.contains("bring the copy of the keyring back"), "{}", refused.stderr);
    assert!(!bench.keyring_file().exists());
    let made = bench.run(["key", "generate"]).exits(0);
    assert!(made.stderr.contains("1 token is sealed under the key k1"), "{}", made.stderr);
    // One that is there, but not with that key.
    let refused = bench.run(["key", "generate", "--id", "k1"]).exits(1);
    assert!(refused.stderr.contains("make no new key"), "{}", refused.stderr);
    let daemon = bench.start();
    daemon.wait_log("bring it back from the copy of the keyring");
    daemon.stop();
}

#[test]
fn a_key_is_made_where_nobody_looks_only_when_asked_so() {
    let bench = Bench::installed();
    bench.set("database.url", "\"host=/nonexistent user=r dbname=d\"");
    let refused = bench.run(["key", "generate"]).exits(5);
    assert!(refused.stderr.contains("key generate --offline"), "{}", refused.stderr);
    bench.run(["key", "generate", "--offline"]).ok();
    // A server that has no such role yet has no relinkd.
    let bench = Bench::new();
    fs::remove_file(bench.keyring_file()).unwrap();
    assert_eq!(bench.run(["key", "generate"]).exits(0).stderr, "");
}

/// Values stay sealed when relinkd is gone; whoever comes back must not get their key's id for another key.
#[test]
fn a_stored_key_id_is_seen_without_the_schema() {
    let bench = installed(&[ALICE]);
    bench.run_with_input(["token", "set", &ALICE.to_string()], TOKEN).ok();
    bench.run(["uninstall", "--keep-sealed", "--admin-url", &bench.db.admin_url()]).ok();
    bench.db.admin().execute(&format!("grant select on users to {}", bench.db.role()));
    fs::remove_file(bench.keyring_file()).unwrap();
    bench.run(["key", "generate", "--id", "k1"]).exits(1);
    bench.run(["key", "generate", "--id", "k2"]).ok();
}

#[test]
fn everything_is_told_of_users_of_whom_there_is_one() {
    let bench = bench_of(&[ALICE, BOB, CAROL]);
    bench.install();
    bench.db.insert_issue(1, ALICE, Some(&plain_link(1)));
    for (user, token) in [(ALICE, TOKEN), (BOB, OTHER), (CAROL, THIRD)] {
        bench.db.set_token(user, Some(token));
    }
    let shown = bench.run(["status"]).ok();
    assert!(shown.contains("tokens       3 usable tokens: 0 sealed, 3 in plaintext; 0 unusable"), "{shown}");
    assert!(shown.contains("keys         primary k1; in use: none"), "{shown}");
    bench.assert_no_leak(&[TOKEN, OTHER, THIRD]);
}
