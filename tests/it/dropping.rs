//! Files in the spool, end to end: all or nothing, exactly once, in order, and reasons that name places and no value.

use crate::support::cast::{ALICE, BOB, OTHER, TOKEN, installed, revealed};
use crate::support::{Bench, Cluster, ClusterOptions, Database, Stop, TokenColumn};
use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::time::Duration;

#[test]
fn every_fault_of_a_file_is_named_with_its_place() {
    let bench = installed(&[ALICE, BOB]);
    bench.set("portal.token_pattern", r"'^\d{4}(-\d{4}){3}$'");
    let daemon = bench.start();
    let secret = "sEcReT-vAlUe-77";
    let files = [
        ("syntax.toml", format!("telegram_id = {ALICE}\ntoken = \"{secret}\n"), "2:"),
        ("unknown.toml", format!("telegram_id = {ALICE}\ntoken = \"{TOKEN}\"\n{secret} = 1\n"), "3:1: "),
        ("kind.toml", format!("telegram_id = \"{secret}\"\nremove = true\n"), "1:15: "),
        ("range.toml", "telegram_id = 99999999999999999999\nremove = true\n".to_owned(), "1:15: "),
        ("neither.toml", format!("telegram_id = {ALICE}\n"), "1:"),
        ("both.toml", format!("telegram_id = {ALICE}\ntoken = \"{TOKEN}\"\nremove = true\n"), ""),
        ("false.toml", format!("telegram_id = {ALICE}\nremove = false\n"), "2:10: "),
        (
            "mixed.toml",
            format!(
                "telegram_id = {ALICE}\nremove = true\n[[assignment]]\ntelegram_id = {BOB}\nremove = true\n"
            ),
            "",
        ),
        ("bad.toml", format!("telegram_id = {ALICE}\ntoken = \"{secret}\"\n"), "2:9: "),
        (
            "twice.toml",
            format!(
                "[[assignment]]\ntelegram_id = {ALICE}\nremove = true\n[[assignment]]\ntelegram_id = {ALICE}\nremove = true\n"
            ),
            "5:15: ",
        ),
        ("nobody.toml", "telegram_id = 77\nremove = true\n".to_owned(), "1:15: "),
        (
            "same.toml",
            format!(
                "[[assignment]]\ntelegram_id = {ALICE}\ntoken = \"{TOKEN}\"\n[[assignment]]\ntelegram_id = {BOB}\ntoken = \"{TOKEN}\"\n"
            ),
            "6:9: ",
        ),
        ("empty.toml", String::new(), "1:1: "),
        ("large.toml", format!("# {}\n", "x".repeat(1 << 20)), "1:1: "),
    ];
    for (name, content, place) in &files {
        bench.drop_file(name, content);
        let reason = bench.wait_rejected(name);
        assert!(reason.starts_with(place), "{name}: {reason}");
        assert_eq!(&fs::read_to_string(bench.rejected().join(name)).unwrap(), content, "{name}");
        assert!(!reason.contains("sEcReT") && !reason.contains(&TOKEN[..6]), "{name}: {reason}");
    }
    bench.drop_file("latin.toml", b"telegram_id = 1 # \xff\nremove = true\n");
    assert!(bench.wait_rejected("latin.toml").starts_with("1:19: "));
    assert_eq!(bench.db.token_column(ALICE), None);
    let status = bench.run(["status", "--json"]).json();
    assert_eq!(status["spool"]["rejected"], files.len() + 1);
    daemon.stop();
    bench.assert_no_leak(&[TOKEN, secret]);
}

#[test]
fn a_file_is_all_or_nothing_and_a_name_that_is_taken_gets_a_suffix() {
    let bench = installed(&[ALICE, BOB]);
    let daemon = bench.start();
    let good = format!("[[assignment]]\ntelegram_id = {ALICE}\ntoken = \"{TOKEN}\"\n");
    bench.drop_file("a.toml", format!("{good}[[assignment]]\ntelegram_id = 77\nremove = true\n"));
    bench.wait_rejected("a.toml");
    assert_eq!(bench.db.token_column(ALICE), None);
    bench.drop_file("a.toml", &good);
    let receipt = bench.wait_applied("a.toml");
    assert_eq!(receipt["set"], serde_json::json!([ALICE]));
    bench.drop_removal("a.toml", ALICE);
    bench.wait_until("a second receipt", || fs::read_dir(bench.applied()).unwrap().count() == 2);
    bench.drop_removal("a.toml", 77);
    bench.wait_until("a second reason", || bench.rejected().join("a.toml.1.reason").exists());
    assert_eq!(fs::read_dir(bench.rejected()).unwrap().count(), 4);
    assert_eq!(bench.db.token_column(ALICE), None);
    daemon.stop();
}

#[test]
fn files_are_taken_in_order_of_arrival() {
    let bench = installed(&[ALICE, BOB]);
    for round in 0..20 {
        let name = format!("{}.toml", 99 - round);
        // The kernel's clock for files moves every few milliseconds.
        std::thread::sleep(Duration::from_millis(12));
        bench.drop_token(&name, ALICE, &format!("1000-0000-0000-{round:04}"));
    }
    let daemon = bench.start();
    bench.wait_until("all are applied", || {
        bench.applied().exists() && fs::read_dir(bench.applied()).unwrap().count() == 20
    });
    assert_eq!(revealed(&bench, ALICE), "1000-0000-0000-0019");
    daemon.stop();
}

#[test]
fn a_file_takes_effect_once_however_often_the_daemon_is_killed() {
    let bench = installed(&[ALICE, BOB]);
    let mut last = String::new();
    let files = 30;
    for round in 0..files {
        let daemon = bench.start();
        last = format!("2000-0000-0000-{round:04}");
        bench.drop_token(&format!("{round:02}.toml"), ALICE, &last);
        std::thread::sleep(Duration::from_millis(round * 2));
        daemon.kill();
    }
    let daemon = bench.start();
    bench.wait_until("each file has a receipt", || {
        fs::read_dir(bench.applied()).is_ok_and(|entries| entries.count() >= usize::try_from(files).unwrap())
    });
    bench.wait_until("nothing is claimed", || fs::read_dir(bench.claimed()).unwrap().count() == 0);
    assert_eq!(fs::read_dir(bench.applied()).unwrap().count(), usize::try_from(files).unwrap());
    assert_eq!(fs::read_dir(bench.incoming()).unwrap().count(), 0);
    assert_eq!(revealed(&bench, ALICE), last);
    bench.wait_until("the ledger is empty", || bench.db.number("select count(*) from relinkd.ledger") == 0);
    daemon.stop();
}

/// The daemon died between the commit and the clearing away; since then the token has been replaced.
#[test]
fn a_file_that_was_applied_never_brings_its_token_back() {
    let bench = installed(&[ALICE, BOB]);
    let daemon = bench.start();
    bench.drop_token("now.toml", ALICE, OTHER);
    bench.wait_applied("now.toml");
    daemon.stop();
    let claim = bench.claimed().join("0123456789abcdef0123456789abcdef");
    fs::create_dir(&claim).unwrap();
    fs::write(claim.join("old.toml"), format!("telegram_id = {ALICE}\ntoken = \"{TOKEN}\"\n")).unwrap();
    bench.db.admin().execute(
        "insert into relinkd.ledger (claim, receipt) values ('0123456789abcdef0123456789abcdef', '{\"set\": [1]}')",
    );
    let daemon = bench.start();
    bench.wait_applied("old.toml");
    bench.wait_until("nothing is claimed", || !claim.exists());
    assert_eq!(revealed(&bench, ALICE), OTHER);
    assert_eq!(bench.db.number("select count(*) from relinkd.ledger"), 0);
    daemon.stop();
}

#[test]
fn what_is_no_file_is_told_once_and_never_opened() {
    let bench = installed(&[ALICE, BOB]);
    fs::write(bench.path("elsewhere"), format!("telegram_id = {ALICE}\ntoken = \"{TOKEN}\"\n")).unwrap();
    symlink(bench.path("elsewhere"), bench.incoming().join("link.toml")).unwrap();
    fs::create_dir(bench.incoming().join("directory.toml")).unwrap();
    nix::unistd::mkfifo(&bench.incoming().join("fifo.toml"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    fs::hard_link(bench.path("elsewhere"), bench.incoming().join("hard.toml")).unwrap();
    fs::write(bench.incoming().join(".hidden.toml"), "x").unwrap();
    fs::write(bench.incoming().join("note.txt"), "x").unwrap();
    bench.set("spool.rescan", "\"500ms\"");
    let daemon = bench.start();
    for name in ["link.toml", "directory.toml", "fifo.toml", "hard.toml"] {
        daemon.wait_log(&format!("file={name}"));
    }
    bench.drop_token("good.toml", BOB, OTHER);
    bench.wait_applied("good.toml");
    for name in ["link.toml", "directory.toml", "fifo.toml", "hard.toml"] {
        assert_eq!(daemon.log().matches(&format!("file={name}")).count(), 1, "{}", daemon.log());
    }
    let status = bench.run(["status", "--json"]).json();
    assert_eq!(status["spool"]["not_taken"], 4);
    // The second link goes: now it is a file like any other.
    fs::remove_file(bench.path("elsewhere")).unwrap();
    bench.wait_applied("hard.toml");
    daemon.stop();
}

#[test]
fn a_second_daemon_on_the_same_spool_refuses_to_start() {
    let bench = installed(&[ALICE, BOB]);
    let daemon = bench.start();
    let refused = bench.run(["run"]).exits(1);
    assert!(refused.stderr.contains("another relinkd owns the spool"), "{}", refused.stderr);
    daemon.stop();
}

#[test]
fn a_directory_that_is_replaced_is_found_again() {
    let bench = installed(&[ALICE, BOB]);
    bench.set("spool.rescan", "\"500ms\"");
    let daemon = bench.start();
    bench.drop_token("before.toml", ALICE, TOKEN);
    bench.wait_applied("before.toml");
    fs::rename(bench.incoming(), bench.path("aside")).unwrap();
    fs::create_dir(bench.incoming()).unwrap();
    bench.drop_token("after.toml", ALICE, OTHER);
    bench.wait_applied("after.toml");
    bench.drop_removal("again.toml", ALICE);
    bench.wait_applied("again.toml");
    daemon.stop();
}

#[test]
fn of_two_who_give_the_same_token_at_the_same_moment_one_is_refused() {
    let bench = installed(&[ALICE, BOB]);
    for round in 0..15 {
        let token = format!("3000-0000-0000-{round:04}");
        let results: Vec<Option<i32>> = std::thread::scope(|scope| {
            let set = |user: i64| {
                let (bench, token) = (&bench, &token);
                scope.spawn(move || bench.run_with_input(["token", "set", &user.to_string()], token).code)
            };
            [set(ALICE), set(BOB)].into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let mut codes: Vec<i32> = results.into_iter().flatten().collect();
        codes.sort_unstable();
        assert_eq!(codes, [0, 1], "round {round}");
    }
}

/// The claim is gone from the disk for good: a row of it that came back would stay for ever.
#[test]
fn what_the_ledger_has_forgotten_stays_forgotten_when_the_server_loses_power() {
    let lazy = ClusterOptions::default()
        .setting("synchronous_commit", "off")
        .setting("wal_writer_delay", "10s")
        .setting("autovacuum", "off");
    let cluster = Cluster::start(&lazy);
    let bench = Bench::over(Arc::new(Database::on(&cluster, TokenColumn::Varchar)));
    bench.db.insert_user(ALICE, None);
    bench.install();
    let daemon = bench.start();
    bench.drop_token("a.toml", ALICE, TOKEN);
    bench.wait_applied("a.toml");
    bench.wait_until("the claim is closed", || fs::read_dir(bench.claimed()).unwrap().count() == 0);
    daemon.kill();
    cluster.stop(Stop::Immediate);
    cluster.resume();
    assert_eq!(revealed(&bench, ALICE), TOKEN);
    assert_eq!(bench.db.number("select count(*) from relinkd.ledger"), 0);
}

#[test]
fn more_files_of_one_user_than_a_batch_takes_wait_for_the_row_and_not_for_each_other() {
    const FILES: usize = 140;
    let bench = installed(&[ALICE]);
    let other = bench.db.another_bot();
    other.execute(&format!("begin; update users set phone = '1' where telegram_id = {ALICE}"));
    let daemon = bench.start();
    for file in 0..FILES {
        bench.drop_token(&format!("{file:03}.toml"), ALICE, &format!("{file:04}-1111-2222-3333"));
    }
    bench.wait_until("all wait", || {
        fs::read_dir(bench.incoming()).unwrap().count() == 0
            && daemon.log().matches("waits, the others").count() == FILES
    });
    other.execute("rollback");
    bench.wait_until("all are applied", || fs::read_dir(bench.applied()).unwrap().count() == FILES);
    daemon.stop();
}
