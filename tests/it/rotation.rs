//! Rotation of the key with the bot and the daemon running: no token is unreadable for a moment, and a run that is
//! cut short anywhere is taken up by the next one.

use crate::support::cast::{ALICE, OTHER, TOKEN, bench_of};
use crate::support::{Bench, login_link, plain_link};
use serde_json::json;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Stdio;
use std::time::Duration;

fn token(user: i64) -> String {
    format!("{user:04}-5733-8392-7092")
}

/// Users 1 to `users`, each with a token and an issue of the same number, sealed and linked by a daemon that has ended.
fn sealed(users: i32) -> Bench {
    let bench = Bench::installed();
    for user in 1..=users {
        bench.db.insert_user(i64::from(user), Some(&token(i64::from(user))));
        bench.db.insert_issue(user, i64::from(user), Some(&plain_link(i64::from(user))));
    }
    let daemon = bench.start();
    bench.wait_until("all is sealed", || in_use(&bench) == json!({ "k1": users }));
    bench.wait_idle();
    daemon.stop();
    bench
}

fn in_use(bench: &Bench) -> serde_json::Value {
    bench.run(["status", "--json"]).json()["keys"]["in_use"].clone()
}

#[test]
fn a_key_is_rotated_while_bot_and_daemon_run() {
    let bench = sealed(300);
    let daemon = bench.start();
    bench.run(["key", "generate", "--id", "k2"]).ok();
    let told = bench.run(["key", "promote", "k2"]).ok();
    assert!(told.contains("systemctl reload relinkd"), "{told}");
    daemon.hup();
    daemon.wait_log("keyring");
    let said = bench.run(["key", "retire", "k1"]).exits(1);
    assert!(
        said.stderr.contains("seals 300 tokens") && said.stderr.contains("relinkd rekey"),
        "{}",
        said.stderr
    );

    // The bot goes on: it replaces tokens, removes some, and holds a row for a while.
    let held = bench.db.another_bot();
    held.execute("begin; update users set phone = '1' where telegram_id = 300");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for user in 1..=20 {
                bench.db.set_token(user, Some(&token(9000 + user)));
                bench.db.set_token(user + 20, None);
            }
            std::thread::sleep(Duration::from_millis(300));
            held.execute("commit");
        });
        bench.run(["rekey"]).ok();
    });
    bench.wait_until("everything is under k2", || in_use(&bench) == json!({ "k2": 280 }));
    bench.wait_idle();
    for user in [1, 20, 41, 300] {
        let wanted = if user <= 20 { token(9000 + user) } else { token(user) };
        bench.wait_link(i32::try_from(user).unwrap(), &login_link(&wanted, user));
    }
    bench.wait_link(21, &plain_link(21));
    bench.run(["key", "retire", "k1"]).ok();
    bench.run(["key", "retire", "k2"]).exits(1);
    assert!(bench.run(["key", "list"]).ok().contains("retired: opens"));
    bench.run(["check"]).exits(0);
    daemon.stop();
    let tokens: Vec<String> = (1..=40).chain([300]).map(token).collect();
    bench.assert_no_leak(&tokens.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn a_rekey_that_is_killed_leaves_every_token_readable_and_is_taken_up() {
    let bench = sealed(1_500);
    bench.run(["key", "generate", "--id", "k2"]).ok();
    bench.run(["key", "promote", "k2"]).ok();
    for after in [20, 60, 120, 250] {
        let mut rekey = bench.command(["rekey"]);
        let mut rekey =
            rekey.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(after));
        rekey.kill().unwrap();
        rekey.wait().unwrap();
        let status = bench.run(["status", "--json"]).json();
        assert_eq!(status["users"]["with_token"], json!(1_500), "{status}");
        assert_eq!(status["users"]["unusable"], json!(0), "{status}");
    }
    bench.run(["rekey"]).ok();
    assert_eq!(in_use(&bench), json!({ "k2": 1_500 }));
    assert!(bench.run(["rekey"]).ok().starts_with("0 tokens"), "a second run finds nothing to do");
}

#[test]
fn a_key_that_a_daemon_seals_with_still_is_not_destroyed() {
    let bench = sealed(1);
    let daemon = bench.start();
    let next = |wanted: &str| {
        let refused = bench.run(["key", "retire", "k1"]).exits(1).stderr;
        assert!(refused.contains(wanted), "{refused}");
    };
    bench.wait_until("the token is sealed", || in_use(&bench) == json!({ "k1": 1 }));
    next("relinkd key promote KID, then relinkd rekey");
    for command in ["key generate --id k2", "key promote k2"] {
        bench.run(command.split(' ')).ok();
    }
    next("seal them anew under the primary key: relinkd rekey");
    for command in ["rekey", "key retire k1"] {
        bench.run(command.split(' ')).ok();
    }
    let refused = bench.run(["key", "retire", "k1", "--destroy"]).exits(1);
    assert!(refused.stderr.contains("still seals with the key k1"), "{}", refused.stderr);
    daemon.hup();
    let sealing = || bench.run(["status", "--json"]).json()["keys"]["daemons_seal_with"].clone();
    bench.wait_until("the daemon seals with k2", || sealing() == json!(["k2"]));
    bench.run(["key", "retire", "k1", "--destroy"]).ok();
    daemon.stop();
}

/// What was removed in a key's time is known by that key's fingerprints alone.
#[test]
fn a_removed_token_is_recognised_after_its_key_was_destroyed() {
    let bench = bench_of(&[ALICE]);
    bench.db.insert_issue(1, ALICE, Some(&plain_link(1)));
    bench.db.insert_issue(2, ALICE, Some(&plain_link(2)));
    bench.set("portal.tokenless", "\"keep\"");
    bench.install();
    bench.run_with_input(["token", "set", &ALICE.to_string()], TOKEN).ok();
    bench.run(["token", "remove", &ALICE.to_string()]).ok();
    bench.run(["sync"]).ok();
    for command in ["generate --id k2", "promote k2", "retire k1 --destroy", "generate --id k3", "promote k3"]
    {
        bench.run(["key"].into_iter().chain(command.split(' '))).ok();
    }
    let keyring = fs::read_to_string(bench.keyring_file()).unwrap();
    // Not anywhere in it: a key's own text may hold these two characters.
    let names_it = |line: &str| line.starts_with("k1 ") || line.contains("\"k1\"");
    assert!(!keyring.lines().any(names_it), "{}", keyring.len());
    bench.db.execute(&format!("update issues set okdesk_url = '{}' where id = 1", login_link(TOKEN, 1)));
    bench.db.execute(&format!("update issues set okdesk_url = '{}' where id = 2", login_link(OTHER, 2)));
    bench.run(["sync"]).ok();
    assert_eq!(bench.db.link(1), Some(plain_link(1)));
    assert_eq!(bench.db.link(2), Some(login_link(OTHER, 2)), "nobody ever had that one");
}

#[test]
fn the_keyring_keeps_owner_and_mode_and_is_replaced_in_one_step() {
    let bench = Bench::installed();
    let file = bench.keyring_file();
    fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
    let group =
        nix::unistd::Group::from_name("nogroup").unwrap().filter(|_| nix::unistd::geteuid().is_root());
    if let Some(group) = &group {
        nix::unistd::chown(&file, None, Some(group.gid)).unwrap();
    }
    let before = fs::metadata(&file).unwrap();
    for command in ["generate --id k2", "promote k2", "retire k1", "retire k1 --destroy"] {
        let inode = fs::metadata(&file).unwrap().ino();
        bench.run(["key"].into_iter().chain(command.split(' '))).ok();
        let after = fs::metadata(&file).unwrap();
        assert_eq!(
            (after.uid(), after.gid(), after.mode()),
            (before.uid(), before.gid(), before.mode()),
            "{command}"
        );
        assert_ne!(after.ino(), inode, "{command}: a new file takes the old one's place");
        let left: Vec<_> = fs::read_dir(file.parent().unwrap())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .filter(|name| name.to_string_lossy().contains("keyring") && name.as_os_str() != "keyring.toml")
            .collect();
        assert!(left.is_empty(), "{command} leaves {left:?}");
    }
}

#[test]
fn a_daemon_finds_a_new_key_by_itself() {
    let bench = sealed(3);
    let daemon = bench.start();
    // Another host promotes and seals; this daemon is not told.
    bench.run(["key", "generate", "--id", "k2"]).ok();
    bench.run(["key", "promote", "k2"]).ok();
    bench.run_with_input(["token", "set", "2"], "4444-5733-8392-7092").ok();
    bench.wait_link(2, &login_link("4444-5733-8392-7092", 2));
    daemon.stop();
}

#[test]
fn a_daemon_seals_under_the_new_primary_after_a_reload_and_keeps_the_old_ring_when_the_new_is_bad() {
    let bench = sealed(2);
    let daemon = bench.start();
    bench.run(["key", "generate", "--id", "k2"]).ok();
    bench.run(["key", "promote", "k2"]).ok();
    daemon.hup();
    daemon.wait_log("keyring");
    bench.db.set_token(1, Some("5555-5733-8392-7092"));
    bench.wait_until("the new token is under k2", || in_use(&bench) == json!({ "k1": 1, "k2": 1 }));
    let good = fs::read_to_string(bench.keyring_file()).unwrap();
    fs::set_permissions(bench.keyring_file(), Permissions::from_mode(0o644)).unwrap();
    daemon.hup();
    daemon.wait_log("read by others");
    bench.db.set_token(2, Some("6666-5733-8392-7092"));
    bench.wait_link(2, &login_link("6666-5733-8392-7092", 2));
    bench.write_keyring(&good);
    bench.wait_until("all is under k2", || in_use(&bench) == json!({ "k2": 2 }));
    daemon.stop();
}

#[test]
fn a_lost_key_holds_up_only_its_users_and_its_return_mends_them() {
    let bench = sealed(2);
    bench.run(["key", "generate", "--id", "k2"]).ok();
    bench.run(["key", "promote", "k2"]).ok();
    let both = fs::read_to_string(bench.keyring_file()).unwrap();
    let without: String =
        both.lines().filter(|line| !line.starts_with("k1 =")).map(|line| format!("{line}\n")).collect();
    bench.write_keyring(&without);
    let daemon = bench.start();
    bench.db.execute("update issues set okdesk_url = 'https://yapomogu55.okdesk.ru/issues/1' where id = 1");
    bench.db.set_token(2, Some("7777-5733-8392-7092"));
    bench.wait_link(2, &login_link("7777-5733-8392-7092", 2));
    assert_eq!(bench.db.link(1), Some(plain_link(1)), "a token that does not open changes no link");
    bench.write_keyring(&both);
    daemon.hup();
    bench.wait_link(1, &login_link(&token(1), 1));
    daemon.stop();
}
