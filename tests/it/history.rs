//! Who changed what: what is recorded by each way, and how `relinkd history` shows it.

use crate::support::Bench;
use crate::support::cast::{ALICE, BOB, CAROL, OTHER, THIRD, TOKEN, installed, is_sealed, revealed};
use serde_json::Value;

/// The objects of `history --json`, with these arguments besides.
#[track_caller]
fn history(bench: &Bench, arguments: &[&str]) -> Vec<Value> {
    let said = bench.run(["history", "--json"].iter().chain(arguments)).ok();
    said.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What was done to whom, by which way.
fn deeds(rows: &[Value]) -> Vec<(i64, &str, &str)> {
    rows.iter()
        .map(|row| {
            let word = |key: &str| row[key].as_str().unwrap();
            (row["telegram_id"].as_i64().unwrap(), word("action"), word("via"))
        })
        .collect()
}

/// This user's name, who owns what the tests drop.
fn me() -> String {
    let uid = nix::unistd::Uid::current();
    nix::unistd::User::from_uid(uid).unwrap().map_or_else(|| uid.to_string(), |user| user.name)
}

fn age(bench: &Bench, user: i64, interval: &str) {
    bench.db.admin().execute(&format!(
        "update relinkd.history set at = at - interval '{interval}' where telegram_id = {user}"
    ));
}

#[test]
fn each_way_of_changing_a_token_leaves_a_row_and_none_has_the_token() {
    let bench = installed(&[ALICE, BOB]);
    let daemon = bench.start();
    bench.run_with_input(["token", "set", &ALICE.to_string()], TOKEN).ok();
    bench.drop_token("o\u{202e}ne.toml", BOB, OTHER);
    bench.wait_until("the file is applied", || is_sealed(&bench, BOB));
    bench.drop_removal("gone.toml", ALICE);
    bench.wait_applied("gone.toml");
    bench.db.set_token(ALICE, Some(THIRD));
    bench.wait_until("the bot's token is sealed", || is_sealed(&bench, ALICE));
    bench.wait_idle();
    assert_eq!(revealed(&bench, ALICE), THIRD);
    daemon.stop();

    let rows = history(&bench, &[]);
    assert_eq!(
        deeds(&rows),
        [
            (ALICE, "set", "cli"),
            (BOB, "set", "spool"),
            (ALICE, "removed", "spool"),
            (ALICE, "sealed", "bot"),
            (ALICE, "revealed", "cli"),
        ]
    );
    assert!(rows.iter().all(|row| row["version"] == 1), "{rows:?}");
    for row in &rows {
        // By RFC 3339, with an offset.
        let at = row["at"].as_str().unwrap();
        assert!(at.len() == 25 && at.as_bytes()[10] == b'T' && at.as_bytes()[22] == b':', "{at}");
    }
    assert_eq!((&rows[2]["by"], &rows[2]["file"]), (&Value::from(me()), &Value::from("gone.toml")));
    assert_eq!((&rows[3]["by"], &rows[3]["file"]), (&Value::Null, &Value::Null));
    assert_eq!(rows[0]["by"], rows[4]["by"]);
    assert!(rows[4]["by"].is_string() && rows[4]["file"].is_null(), "{}", rows[4]);

    assert_eq!(deeds(&history(&bench, &[&BOB.to_string()])), [(BOB, "set", "spool")]);
    let table = bench.run(["history"]).ok();
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("TIME") && lines.len() == 6, "{table}");
    assert!(lines[2].contains("o\\u{202e}ne.toml") && lines[5].contains("revealed"), "{table}");
    bench.assert_no_leak(&[TOKEN, OTHER, THIRD]);
    let stored: String =
        bench.db.rows("select h::text from relinkd.history h").concat().into_iter().flatten().collect();
    for token in [TOKEN, OTHER, THIRD] {
        assert!(!stored.contains(&token[..8]), "{stored}");
    }
}

#[test]
fn a_token_is_not_revealed_where_that_cannot_be_recorded() {
    let bench = installed(&[ALICE]);
    bench.run_with_input(["token", "set", &ALICE.to_string()], TOKEN).ok();
    bench
        .db
        .admin()
        .execute("alter table relinkd.history add constraint none_is_revealed check (action <> 'revealed')");
    let refused = bench.run(["token", "show", &ALICE.to_string(), "--reveal"]).exits(5);
    assert_eq!(refused.stdout, "");
    // To show it masked is not to reveal it.
    bench.run(["token", "show", &ALICE.to_string()]).ok();
    assert_eq!(deeds(&history(&bench, &[])), [(ALICE, "set", "cli")]);
    bench.assert_no_leak(&[TOKEN]);
}

#[test]
fn since_takes_a_length_of_time_or_a_moment() {
    let bench = installed(&[ALICE, BOB, CAROL]);
    for (user, token) in [(ALICE, TOKEN), (BOB, OTHER), (CAROL, THIRD)] {
        bench.run_with_input(["token", "set", &user.to_string()], token).ok();
    }
    age(&bench, ALICE, "30 days");
    age(&bench, BOB, "2 hours");
    let users = |since: &str| -> Vec<i64> {
        deeds(&history(&bench, &["--since", since])).into_iter().map(|(user, ..)| user).collect()
    };
    assert_eq!(users("31d"), [ALICE, BOB, CAROL]);
    assert_eq!(users("24h"), [BOB, CAROL]);
    assert_eq!(users("60m"), [CAROL]);
    assert_eq!(users("2001-02-03"), [ALICE, BOB, CAROL]);
    assert_eq!(users("2001-02-03T04:05:06.789Z"), [ALICE, BOB, CAROL]);
    assert_eq!(users("9001-02-03 04:05+03:00"), [] as [i64; 0]);

    // Without an offset it is this machine's time; what is shown is, too.
    bench.db.admin().execute("update relinkd.history set at = '2026-03-01T09:30:00Z'");
    let in_tokyo = |since: &str| {
        let mut command = bench.command(["history", &CAROL.to_string(), "--since", since]);
        String::from_utf8(command.env("TZ", "Asia/Tokyo").output().unwrap().stdout).unwrap()
    };
    let shown = in_tokyo("2026-03-01T18:30");
    assert!(shown.contains("2026-03-01T18:30:00+09:00  77000001     set     cli"), "{shown}");
    assert!(in_tokyo("2026-03-01T18:31").contains("since then"));
    // One that nobody knows is no obstacle.
    let mut command = bench.command(["history"]);
    let output = command.env("TZ", "nowhere").output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("2026-03-01T09:30:00+00:00"), "{output:?}");

    let long_ago = format!("{BOB} --since 9001-02-03");
    let nothing = bench.run(["history"].into_iter().chain(long_ago.split(' '))).ok();
    assert_eq!(nothing, format!("nobody has set, removed or looked at a token of user {BOB} since then\n"));
    assert_eq!(bench.run(["history", "1"]).ok(), "nobody has set, removed or looked at a token of user 1\n");
}

#[test]
fn since_that_is_neither_is_refused_and_not_said_again() {
    let bench = installed(&[ALICE]);
    bench.db.log_every_statement();
    for wrong in
        ["", "yesterday", "0d", "24", "4000d", "2026-02-30", "2026-11-24T25:00", "2026-11-24T09:00+99", TOKEN]
    {
        let refused = bench.run(["history", "--since", wrong]).exits(2);
        assert!(
            refused.stderr.contains("`24h`") && refused.stderr.contains("2026-11-24T09:00:00+03:00"),
            "{}",
            refused.stderr
        );
        assert_eq!(refused.stdout, "");
    }
    bench.assert_no_leak(&[TOKEN]);
}

#[test]
fn history_longer_than_a_page_is_whole_and_in_order() {
    let bench = installed(&[ALICE]);
    assert_eq!(bench.run(["history"]).ok(), "nobody has set, removed or looked at a token\n");
    bench.db.admin().execute(
        "insert into relinkd.history (telegram_id, action, via)
         select n, 'sealed', 'bot' from generate_series(1, 10001) n",
    );
    let ids: Vec<i64> = deeds(&history(&bench, &[])).into_iter().map(|(user, ..)| user).collect();
    assert!(ids.iter().copied().eq(1..=10_001), "{} rows", ids.len());
}

/// Who has lost the keyring needs to know who held what more than ever.
#[test]
fn history_needs_no_keyring() {
    let bench = installed(&[ALICE]);
    bench.run_with_input(["token", "set", &ALICE.to_string()], TOKEN).ok();
    std::fs::remove_file(bench.keyring_file()).unwrap();
    assert_eq!(deeds(&history(&bench, &[])), [(ALICE, "set", "cli")]);
}
