//! Files in the spool under strain: a daemon that is killed in the middle of many, databases that refuse, files at and
//! beyond the limits, directories that are replaced. What a file says is `dropping`'s.

use crate::support::cast::{ALICE, BOB, CAROL, OTHER, THIRD, TOKEN, installed, revealed};
use crate::support::{Bench, Daemon, login_link};
use std::ffi::OsString;
use std::fs;
use std::io::Write as _;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::time::Duration;

/// A file is this large at most (contract).
const LIMIT: usize = 1 << 20;

fn count(directory: &Path) -> usize {
    fs::read_dir(directory).map_or(0, Iterator::count)
}

fn set(user: i64, token: &str) -> String {
    format!("[[assignment]]\ntelegram_id = {user}\ntoken = \"{token}\"\n")
}

/// The faults of a reason, in English; beneath each stands the same in Russian.
fn faults(reason: &str) -> impl Iterator<Item = &str> {
    let lines: Vec<&str> = reason.lines().collect();
    assert!(lines.len().is_multiple_of(2), "{reason}");
    for pair in lines.chunks(2) {
        assert!(pair[0].starts_with(|c: char| c.is_ascii_digit()) && pair[1].starts_with("    "), "{reason}");
    }
    lines.into_iter().step_by(2)
}

/// Waits until the daemon says in its status line that files wait for this reason.
fn wait_held_up(bench: &Bench, daemon: &Daemon, reason: &str) {
    bench.wait_until(&format!("the status line speaks of {reason}"), || {
        daemon.notices().iter().any(|line| line.starts_with("STATUS=") && line.contains(reason))
    });
}

/// Files found at the start wait for a second look: each round the daemon is killed about when it takes the first of
/// them, a little later each time, in the middle of a batch.
#[test]
fn each_file_takes_effect_once_and_in_order_over_kills_in_the_middle_of_a_batch() {
    let bench = installed(&[ALICE, BOB]);
    let mut dropped = 0;
    let mut last = String::new();
    for round in 0..6 {
        for _ in 0..15 {
            last = format!("2000-0000-0000-{dropped:04}");
            bench.drop_token(&format!("{dropped:04}.toml"), ALICE, &last);
            dropped += 1;
        }
        let daemon = bench.start();
        std::thread::sleep(Duration::from_millis(1_970 + 25 * round));
        daemon.kill();
    }
    let daemon = bench.start();
    bench.wait_until("each file has a receipt", || count(&bench.applied()) >= dropped);
    bench.wait_link(1, &login_link(&last, 1));
    bench.wait_until("nothing is claimed", || count(&bench.claimed()) == 0);
    assert_eq!(count(&bench.applied()), dropped, "a receipt each");
    assert_eq!(count(&bench.incoming()) + count(&bench.rejected()), 0);
    assert_eq!(revealed(&bench, ALICE), last);
    assert_eq!(bench.db.number("select count(*) from relinkd.ledger"), 0);
    // In order: by the time of its receipt, no file was applied before an earlier one.
    let mut moments: Vec<(String, String)> = fs::read_dir(bench.applied())
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let receipt: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            let at = receipt["applied_at"].as_str().unwrap().to_owned();
            (path.file_name().unwrap().to_string_lossy().into_owned(), at)
        })
        .collect();
    moments.sort();
    assert!(moments.is_sorted_by_key(|(_, at)| at), "{moments:?}");
    daemon.stop();
}

/// The daemon died after its last step but one: the claim is empty, the ledger still has it.
#[test]
fn an_empty_claim_in_the_ledger_is_cleared_away_without_a_second_receipt() {
    let bench = installed(&[ALICE, BOB]);
    fs::create_dir_all(bench.claimed().join("0123456789abcdef0123456789abcdef")).unwrap();
    bench.db.admin().execute(
        "insert into relinkd.ledger (claim, receipt) values ('0123456789abcdef0123456789abcdef', '{}')",
    );
    let daemon = bench.start();
    bench.wait_until("nothing is claimed", || count(&bench.claimed()) == 0);
    assert_eq!(bench.db.number("select count(*) from relinkd.ledger"), 0);
    assert_eq!(count(&bench.applied()), 0);
    daemon.stop();
}

/// Somebody swapped the file for something else while it was claimed, and the daemon died there.
#[test]
fn a_claim_of_something_that_is_no_file_holds_nothing_up() {
    let bench = installed(&[ALICE, BOB]);
    let claim = bench.claimed().join("0123456789abcdef0123456789abcdef");
    fs::create_dir_all(&claim).unwrap();
    std::os::unix::fs::symlink(bench.keyring_file(), claim.join("link.toml")).unwrap();
    let daemon = bench.start();
    bench.drop_token("good.toml", ALICE, TOKEN);
    bench.wait_applied("good.toml");
    assert!(bench.incoming().join("link.toml").is_symlink(), "it is back");
    assert!(fs::read_to_string(bench.keyring_file()).unwrap().contains("primary"));
    daemon.stop();
}

#[test]
fn a_file_dropped_twice_counts_twice() {
    let bench = installed(&[ALICE, BOB]);
    let daemon = bench.start();
    for token in [TOKEN, OTHER, TOKEN] {
        bench.drop_token("a.toml", ALICE, token);
        bench.wait_link(1, &login_link(token, 1));
    }
    bench.wait_until("three receipts", || count(&bench.applied()) == 3);
    daemon.stop();
}

#[test]
fn all_faults_of_a_file_are_listed_in_the_order_of_their_places() {
    let bench = installed(&[ALICE, BOB]);
    let daemon = bench.start();
    bench.drop_token("hers.toml", BOB, OTHER);
    bench.wait_applied("hers.toml");
    let mut file = set(ALICE, TOKEN);
    file += "[[assignment]]\ntelegram_id = 77\nremove = true\n";
    file += &set(78, "1000-2000-3000-4000");
    bench.drop_file("unknown.toml", format!("{file}{}", set(79, OTHER)));
    let reason = bench.wait_rejected("unknown.toml");
    let places: Vec<&str> = faults(&reason).map(|line| line.split(": ").next().unwrap()).collect();
    assert_eq!(places, ["5:15", "8:15", "11:15", "12:9"], "{reason}");
    file += &set(BOB, "a b");
    bench.drop_file("both.toml", format!("{file}{}", set(79, TOKEN)));
    let reason = bench.wait_rejected("both.toml");
    let places: Vec<&str> = faults(&reason).map(|line| line.split(": ").next().unwrap()).collect();
    assert_eq!(places, ["5:15", "8:15", "12:9", "14:15", "15:9"], "{reason}");
    bench.drop_file(
        "grammar.toml",
        format!("telegram_id = \"x\"\ntoken = 5\nother = 1\n{}remove = 1\n", set(ALICE, "a b")),
    );
    let reason = bench.wait_rejected("grammar.toml");
    let lines: Vec<&str> = faults(&reason).map(|line| line.split(':').next().unwrap()).collect();
    for line in ["1", "2", "3", "6", "7"] {
        assert!(lines.contains(&line), "line {line} has a fault: {reason}");
    }
    assert_eq!(bench.db.token_column(ALICE), None);
    daemon.stop();
    bench.assert_no_leak(&[TOKEN, OTHER, "1000-2000-3000-4000"]);
}

#[test]
fn a_file_of_exactly_the_limit_is_applied_and_a_byte_more_is_not() {
    let bench = installed(&[ALICE, BOB]);
    let daemon = bench.start();
    let assignment = set(ALICE, TOKEN);
    let padded = |size: usize| format!("{assignment}#{}", "x".repeat(size - assignment.len() - 1));
    assert_eq!(padded(LIMIT).len(), LIMIT);
    bench.drop_file("over.toml", padded(LIMIT + 1));
    assert!(bench.wait_rejected("over.toml").contains("1 MiB"));
    assert_eq!(bench.db.token_column(ALICE), None);
    bench.drop_file("full.toml", padded(LIMIT));
    bench.wait_applied("full.toml");
    daemon.stop();
}

#[test]
fn a_file_for_very_many_users_is_one_transaction() {
    let bench = installed(&[ALICE, BOB]);
    let users = 10_000;
    bench.db.execute(&format!(
        "insert into users (telegram_id, user_type) select g, 'client' from generate_series(1, {users}) g"
    ));
    let daemon = bench.start();
    let mut file = String::new();
    for user in 1..=users {
        file += &set(user, &format!("5000-0000-{:04}-{:04}", user / 10_000, user % 10_000));
    }
    bench.drop_file("bad.toml", format!("{file}{}", set(99_999, TOKEN)));
    assert_eq!(faults(&bench.wait_rejected("bad.toml")).count(), 1);
    assert_eq!(bench.db.number("select count(portal_token) from users"), 0);
    bench.drop_file("good.toml", &file);
    let receipt = bench.wait_applied("good.toml");
    assert_eq!(receipt["set"].as_array().unwrap().len(), usize::try_from(users).unwrap());
    assert_eq!(bench.db.number("select count(*) from users where portal_token like 'relinkd:%'"), users);
    daemon.stop();
}

/// A megabyte of noise has half a million faults: neither links nor later files may have to wait for long.
#[test]
fn noise_delays_nobody() {
    let bench = installed(&[ALICE, BOB]);
    let daemon = bench.start();
    for (name, line) in
        [("keys.toml", "x\n"), ("tables.toml", "[[x]]\n"), ("deep.toml", "["), ("quote.toml", "\"\"\"\n")]
    {
        bench.drop_file(name, &line.repeat(LIMIT)[..LIMIT]);
        bench.wait_rejected(name);
        assert!(
            fs::metadata(bench.rejected().join(format!("{name}.reason"))).unwrap().len() < 1 << 20,
            "{name}"
        );
    }
    bench.drop_token("after.toml", ALICE, TOKEN);
    bench.wait_applied("after.toml");
    bench.wait_link(1, &login_link(TOKEN, 1));
    daemon.stop();
}

#[test]
fn a_name_of_any_bytes_and_length_is_taken() {
    let bench = installed(&[ALICE, BOB]);
    let daemon = bench.start();
    let latin = OsString::from_vec(b"\xe9t\xe9.toml".to_vec());
    let longest = OsString::from(format!("{}.toml", "y".repeat(250)));
    for (round, name) in [&latin, &longest].into_iter().enumerate() {
        fs::write(bench.path("draft"), set(ALICE, &format!("6000-0000-0000-000{round}"))).unwrap();
        fs::rename(bench.path("draft"), bench.incoming().join(name)).unwrap();
        bench.wait_until("a receipt", || count(&bench.applied()) == round + 1);
        fs::write(bench.path("draft"), "x").unwrap();
        fs::rename(bench.path("draft"), bench.incoming().join(name)).unwrap();
        bench.wait_until("a reason", || count(&bench.rejected()) == 2 * (round + 1));
    }
    bench.wait_link(1, &login_link("6000-0000-0000-0001", 1));
    daemon.stop();
}

#[test]
fn a_role_that_may_not_write_holds_files_up_and_rejects_none() {
    let bench = installed(&[ALICE, BOB]);
    let daemon = bench.start();
    bench.wait_idle();
    let admin = bench.db.admin();
    admin.execute(&format!("revoke update on relinkd.bot_user from {0}; revoke update (portal_token) on relinkd.bot_user from {0}", bench.db.role()));
    bench.drop_token("a.toml", ALICE, TOKEN);
    wait_held_up(&bench, &daemon, " install");
    daemon.wait_log(" install");
    let status = bench.run(["status", "--json"]).json();
    assert_eq!(status["spool"]["waiting"], 1);
    bench.wait_until("status says why", || {
        let status = bench.run(["status", "--json"]).json();
        status["spool"]["reason"].as_str().is_some_and(|reason| reason.contains(" install"))
    });
    assert!(bench.run(["status"]).ok().contains("files wait: "));
    // Tried again and again by now, and told once.
    let told = |daemon: &Daemon| daemon.log().matches("files in the spool wait").count();
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(told(&daemon), 1, "{}", daemon.log());
    assert_eq!(count(&bench.rejected()), 0);
    bench.install();
    bench.wait_applied("a.toml");
    bench.wait_link(1, &login_link(TOKEN, 1));
    bench.wait_until("status says so no more", || {
        bench.run(["status", "--json"]).json()["spool"]["reason"].is_null()
    });
    daemon.stop();
    bench.assert_no_leak(&[TOKEN]);
}

/// A constraint of the bot's that no sealed token meets is no fault of the file's.
#[test]
fn a_column_that_refuses_holds_files_up_and_is_named() {
    let bench = installed(&[ALICE, BOB]);
    bench.db.execute("alter table users add constraint short_token check (length(portal_token) < 30)");
    let daemon = bench.start();
    bench.drop_token("a.toml", ALICE, TOKEN);
    wait_held_up(&bench, &daemon, "short_token");
    assert_eq!(count(&bench.rejected()), 0);
    bench.db.execute("alter table users drop constraint short_token");
    bench.wait_applied("a.toml");
    daemon.stop();
    bench.assert_no_leak(&[TOKEN]);
}

/// A write lease on the file (fcntl(2)), as a file server takes one, or somebody who means ill.
#[test]
fn a_file_under_a_lease_holds_up_itself_alone_and_is_rejected_in_the_end() {
    let bench = installed(&[ALICE, BOB]);
    let daemon = bench.start();
    let draft = bench.incoming().join(".leased.tmp");
    fs::write(&draft, set(ALICE, TOKEN)).unwrap();
    // 1024 is F_SETLEASE, 1 is F_WRLCK; SIGIO asks to give it up.
    let script = r#"$SIG{IO} = "IGNORE"; open(my $f, "+<", $ARGV[0]) or die; fcntl($f, 1024, 1) or die "no lease: $!";
        $| = 1; print "held\n"; sleep 600"#;
    let mut holder = std::process::Command::new("perl")
        .args(["-e", script])
        .arg(&draft)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::BufRead::read_line(
        &mut std::io::BufReader::new(holder.stdout.take().unwrap()),
        &mut String::new(),
    )
    .unwrap();
    fs::rename(&draft, bench.incoming().join("leased.toml")).unwrap();
    bench.drop_token("next.toml", BOB, OTHER);
    bench.wait_applied("next.toml");
    assert!(!bench.applied().join("leased.toml.json").exists());
    wait_held_up(&bench, &daemon, "cannot be read");
    let reason = bench.wait_rejected("leased.toml");
    assert!(reason.starts_with("1:1: relinkd cannot open or read the file"), "{reason}");
    assert_eq!(fs::read_to_string(bench.rejected().join("leased.toml")).unwrap(), set(ALICE, TOKEN));
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert_eq!(bench.db.token_column(ALICE), None);
    daemon.stop();
}

/// A check of the bot's, a trigger that raises, one that cancels: of one user, in a file among others.
#[test]
fn a_user_whose_row_refuses_holds_up_their_file_alone_and_it_is_rejected_in_the_end() {
    let bench = installed(&[ALICE, BOB, CAROL]);
    bench.db.execute(&format!(
        "alter table users add constraint not_alice check (telegram_id <> {ALICE} or portal_token is null)"
    ));
    bench.db.execute(&format!(
        "create function cancel() returns trigger language plpgsql as 'begin return null; end';
         create trigger cancel before update on users for each row when (old.telegram_id = {BOB})
         execute function cancel()"
    ));
    bench.drop_token("1.toml", ALICE, TOKEN);
    bench.drop_token("2.toml", BOB, OTHER);
    bench.drop_token("3.toml", CAROL, THIRD);
    let daemon = bench.start();
    bench.wait_applied("3.toml");
    assert_eq!(count(&bench.rejected()), 0, "they are tried again first");
    wait_held_up(&bench, &daemon, "not_alice");
    for name in ["1.toml", "2.toml"] {
        let reason = bench.wait_rejected(name);
        assert!(reason.starts_with("1:1: the database refuses the write"), "{reason}");
    }
    bench.wait_until("nothing is claimed", || count(&bench.claimed()) == 0);
    daemon.stop();
    bench.assert_no_leak(&[TOKEN, OTHER, THIRD]);
}

/// The bot is in the middle of something with this user. Neither does the bot wait for relinkd, nor a file for another.
#[test]
fn a_row_that_is_locked_holds_up_the_files_of_its_user_alone_and_their_order_stays() {
    let bench = installed(&[ALICE, BOB, CAROL]);
    let daemon = bench.start();
    let bot = bench.db.another_bot();
    bot.execute(&format!("begin; update users set full_name = 'x' where telegram_id = {ALICE}"));
    bench.drop_file("1.toml", set(ALICE, "1000-0000-0000-0001") + &set(BOB, OTHER));
    bench.wait_until("the first is claimed", || count(&bench.claimed()) == 1);
    wait_held_up(&bench, &daemon, "another session holds the row");
    // Bob's row is not kept from the bot by the file that waits.
    bench.db.execute(&format!("update users set full_name = 'y' where telegram_id = {BOB}"));
    bench.drop_token("2.toml", CAROL, THIRD);
    bench.wait_applied("2.toml");
    // Bob would be free, but not for a file that came later; nor is the token that Bob is to lose.
    bench.drop_token("3.toml", BOB, "1000-0000-0000-0003");
    bench.drop_token("4.toml", ALICE, "1000-0000-0000-0004");
    bench.wait_until("they are claimed", || count(&bench.claimed()) == 3);
    assert_eq!(bench.db.token_column(BOB), None);
    bot.execute("commit");
    for name in ["1.toml", "3.toml", "4.toml"] {
        bench.wait_applied(name);
    }
    assert_eq!(revealed(&bench, ALICE), "1000-0000-0000-0004");
    assert_eq!(revealed(&bench, BOB), "1000-0000-0000-0003");
    assert_eq!(count(&bench.rejected()), 0);
    daemon.stop();
}

/// What came after a refused file in its batch was in force before that file was off: when it was judged again, after a
/// crash or where it could not be moved at first, it took effect over what is newer.
#[test]
fn a_refused_file_is_off_before_a_later_one_takes_effect() {
    let bench = installed(&[ALICE, BOB]);
    bench.db.set_token(BOB, Some(TOKEN));
    // Nothing can be moved to rejected/: it is a file.
    for name in ["incoming", "claimed", "applied"] {
        fs::create_dir_all(bench.spool().join(name)).unwrap();
    }
    fs::write(bench.rejected(), "").unwrap();
    bench.drop_token("1.toml", ALICE, TOKEN);
    // The kernel's clock for files moves every few milliseconds.
    std::thread::sleep(Duration::from_millis(12));
    bench.drop_token("2.toml", ALICE, OTHER);
    let daemon = bench.start();
    daemon.wait_log("cannot be looked at: Not a directory");
    daemon.kill();
    // Now nothing speaks against the first file any more.
    bench.db.set_token(BOB, None);
    fs::remove_file(bench.rejected()).unwrap();
    let daemon = bench.start();
    bench.wait_applied("1.toml");
    bench.wait_applied("2.toml");
    assert_eq!(revealed(&bench, ALICE), OTHER, "the last file that was dropped has the last word");
    daemon.stop();
}

/// They are found at the start, and so taken together.
#[test]
fn of_files_taken_together_each_is_judged_on_what_the_ones_before_it_leave() {
    let bench = installed(&[ALICE, BOB, CAROL]);
    let remove = |user: i64| format!("telegram_id = {user}\nremove = true\n");
    let files = [
        ("01.toml", set(ALICE, TOKEN), true),
        ("02.toml", set(BOB, TOKEN), false),
        ("03.toml", set(ALICE, OTHER) + &set(CAROL, TOKEN), true),
        ("04.toml", set(BOB, OTHER) + &set(ALICE, THIRD), true),
        ("05.toml", "not toml".to_owned(), false),
        ("06.toml", set(ALICE, TOKEN), false),
        ("07.toml", set(BOB, "9000-0000-0000-0001") + &set(77, "9000-0000-0000-0002"), false),
        ("08.toml", remove(CAROL), true),
        ("09.toml", set(ALICE, TOKEN), true),
        ("10.toml", set(BOB, THIRD), true),
    ];
    for (name, content, _) in &files {
        bench.drop_file(name, content);
        // The kernel's clock for files moves every few milliseconds.
        std::thread::sleep(Duration::from_millis(12));
    }
    let daemon = bench.start();
    for (name, _, right) in &files {
        if *right { drop(bench.wait_applied(name)) } else { drop(bench.wait_rejected(name)) }
    }
    assert_eq!(revealed(&bench, ALICE), TOKEN);
    assert_eq!(revealed(&bench, BOB), THIRD);
    assert_eq!(bench.db.token_column(CAROL), None);
    let moment = |name| bench.wait_applied(name)["applied_at"].as_str().unwrap().to_owned();
    assert_eq!(moment("03.toml"), moment("04.toml"), "one transaction");
    assert_eq!(moment("09.toml"), moment("10.toml"), "one transaction");
    assert_ne!(moment("01.toml"), moment("03.toml"), "the refused file between them is off first");
    bench.wait_until("the ledger is empty", || bench.db.number("select count(*) from relinkd.ledger") == 0);
    daemon.stop();
    bench.assert_no_leak(&[TOKEN, OTHER, THIRD]);
}

#[test]
fn a_receipt_names_the_owner_of_the_file() {
    let bench = installed(&[ALICE, BOB]);
    let me = nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap().unwrap();
    bench.drop_token("mine.toml", ALICE, TOKEN);
    let draft = bench.incoming().join(".theirs.tmp");
    let mut owners = vec![("mine.toml", me.name)];
    if nix::unistd::geteuid().is_root() {
        fs::write(&draft, set(BOB, OTHER)).unwrap();
        nix::unistd::chown(&draft, Some(4242.into()), None).unwrap();
        fs::rename(&draft, bench.incoming().join("theirs.toml")).unwrap();
        owners.push(("theirs.toml", "4242".to_owned()));
    }
    let daemon = bench.start();
    for (name, owner) in owners {
        let receipt = bench.wait_applied(name);
        assert_eq!((&receipt["owner"], &receipt["via"]), (&owner.into(), &"spool".into()), "{name}");
    }
    daemon.stop();
}

#[test]
fn a_table_that_is_locked_holds_files_up_until_it_is_free() {
    let bench = installed(&[ALICE, BOB]);
    let daemon = bench.start();
    bench.wait_idle();
    let other = bench.db.another_bot();
    other.execute("begin; lock table users in access exclusive mode");
    bench.drop_token("a.toml", ALICE, TOKEN);
    bench.wait_until("the file is claimed", || count(&bench.claimed()) == 1);
    wait_held_up(&bench, &daemon, "another session holds");
    other.execute("commit");
    bench.wait_applied("a.toml");
    assert_eq!(count(&bench.rejected()), 0);
    daemon.stop();
}

#[test]
fn a_spool_that_is_replaced_whole_is_taken_up() {
    let bench = installed(&[ALICE, BOB]);
    bench.set("spool.rescan", "\"500ms\"");
    let daemon = bench.start();
    bench.drop_token("before.toml", ALICE, TOKEN);
    bench.wait_applied("before.toml");
    fs::rename(bench.spool(), bench.path("aside")).unwrap();
    bench.wait_until("the directories are made anew", || bench.incoming().is_dir());
    bench.drop_token("after.toml", ALICE, OTHER);
    bench.wait_applied("after.toml");
    // The old one is nobody's: it comes back while the daemon is away.
    daemon.stop();
    fs::write(bench.path("aside/incoming/late.toml"), set(BOB, TOKEN)).unwrap();
    fs::remove_dir_all(bench.spool()).unwrap();
    fs::rename(bench.path("aside"), bench.spool()).unwrap();
    let daemon = bench.start();
    bench.wait_applied("late.toml");
    daemon.stop();
}

#[test]
fn a_reload_looks_through_the_spool_at_once() {
    let bench = installed(&[ALICE]);
    bench.set("spool.rescan", "\"1h\"");
    let daemon = bench.start();
    bench.wait_idle();
    // Nothing is told of the new directories: the old ones are watched.
    fs::rename(bench.spool(), bench.path("aside")).unwrap();
    daemon.hup();
    bench.wait_until("the directories are made anew", || bench.incoming().is_dir());
    bench.drop_token("after.toml", ALICE, TOKEN);
    bench.wait_applied("after.toml");
    daemon.stop();
}

#[test]
fn a_file_still_being_written_is_left_alone() {
    let bench = installed(&[ALICE, BOB]);
    bench.set("spool.rescan", "\"500ms\"");
    let daemon = bench.start();
    let path = bench.incoming().join("slow.toml");
    let mut file = fs::File::create(&path).unwrap();
    for piece in set(ALICE, TOKEN).as_bytes().chunks(20) {
        file.write_all(piece).unwrap();
        std::thread::sleep(Duration::from_millis(600));
        assert!(path.exists(), "taken before its end");
    }
    drop(file);
    bench.wait_applied("slow.toml");
    assert_eq!(count(&bench.rejected()), 0);
    daemon.stop();
}
