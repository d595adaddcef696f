//! Tokens: sealed in the bot's own column, each its own user's, reported where unusable, never overwritten when newer.

use crate::support::cast::{
    ALICE, BOB, CAROL, OTHER, THIRD, TOKEN, bench_of, installed, is_sealed, revealed, start_command, status,
};
use crate::support::relinkd::KEYRING;
use crate::support::{Bench, Output, login_link, plain_link};
use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::process::Child;
use std::sync::Arc;

/// Another host's key, with k1 beside it or without.
const K2: &str = "\nk2 = \"Zq0T1m8eQm6wC5y7n3rXj2k9v4u1s0a8b7c6d5e4f3g\"\n";

fn keyring_of_both(primary: &str) -> String {
    KEYRING.replace("primary = \"k1\"", &format!("primary = \"{primary}\"")) + K2
}

/// A ring with k2 alone.
fn keyring_of_k2() -> String {
    format!("primary = \"k2\"\n\n[keys]{K2}")
}

/// Another home on the same database, with a keyring of its own: as another host has.
fn elsewhere(bench: &Bench, keyring: &str) -> Bench {
    let other = Bench::over(Arc::clone(&bench.db));
    other.write_keyring(keyring);
    other
}

fn set(bench: &Bench, user: i64, token: &str) -> Output {
    bench.run_with_input(["token", "set", &user.to_string()], token)
}

/// Opens a stored value with nothing but an AES-GCM library and the contract.
pub(crate) fn open(value: &str, user: i64) -> Option<String> {
    let key = KEYRING.split_once("k1 = \"")?.1.split_once('"')?.0;
    let payload = value.strip_prefix("relinkd:v1:k1:")?;
    let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
    let (nonce, sealed) = payload.split_at_checked(12)?;
    let cipher = Aes256Gcm::new_from_slice(&URL_SAFE_NO_PAD.decode(key).ok()?).ok()?;
    let aad = format!("relinkd:v1:k1:{user}");
    let opened = cipher.decrypt(&Nonce::try_from(nonce).ok()?, Payload { msg: sealed, aad: aad.as_bytes() });
    String::from_utf8(opened.ok()?).ok()
}

#[test]
fn what_the_bot_writes_is_sealed_as_the_contract_says() {
    let bench = installed(&[ALICE, -7]);
    let daemon = bench.start();
    let longest = "x".repeat(128);
    for (user, token) in [(ALICE, TOKEN), (-7, OTHER), (ALICE, "!"), (ALICE, &longest)] {
        bench.db.set_token(user, Some(token));
        bench.wait_until("the token is sealed", || is_sealed(&bench, user));
        let value = bench.db.token_column(user).unwrap();
        assert!(value.len() <= 255, "{}", value.len());
        assert_eq!(open(&value, user).as_deref(), Some(token));
        assert_eq!(open(&value, BOB), None, "it opens for its own user only");
        assert_eq!(revealed(&bench, user), token);
    }
    // The same token anew is another text: a nonce is never used twice.
    let first = bench.db.token_column(ALICE);
    bench.db.set_token(ALICE, Some(&longest));
    bench.wait_until("sealed again", || is_sealed(&bench, ALICE));
    assert_ne!(bench.db.token_column(ALICE), first);
    daemon.stop();
}

#[test]
fn a_column_of_255_characters_holds_the_longest_token() {
    let bench = Bench::new();
    bench.db.execute("alter table users alter portal_token type varchar(255)");
    bench.db.insert_user(ALICE, Some(&"y".repeat(128)));
    bench.install();
    let daemon = bench.start();
    bench.wait_until("the token is sealed", || is_sealed(&bench, ALICE));
    daemon.stop();
}

#[test]
fn sealing_does_not_touch_what_the_bot_has_changed_meanwhile() {
    let bench = installed(&[ALICE]);
    bench.db.set_token(ALICE, Some(TOKEN));
    // The bot is about to replace the token; the daemon reads the old one and cannot have the row.
    let bot = bench.db.another_bot();
    bot.execute(&format!("begin; update users set portal_token = '{OTHER}' where telegram_id = {ALICE}"));
    let daemon = bench.start();
    bench.wait_link(1, &login_link(TOKEN, 1));
    assert_eq!(bench.db.token_column(ALICE).as_deref(), Some(TOKEN));
    bot.execute("commit");
    bench.wait_link(1, &login_link(OTHER, 1));
    bench.wait_until("the new token is sealed", || is_sealed(&bench, ALICE));
    assert_eq!(revealed(&bench, ALICE), OTHER);
    daemon.stop();
}

#[test]
fn the_newest_of_many_tokens_in_a_row_stays() {
    let bench = installed(&[ALICE]);
    let second = elsewhere(&bench, KEYRING);
    let daemons = [bench.start(), second.start()];
    for round in 0..300 {
        let token = format!("{round:04}-5733-8392-7092");
        bench.db.set_token(ALICE, Some(&token));
        // Another column changes the row's version, too, and must not make the sealing give up.
        bench.db.execute("update users set full_name = full_name || 'x'");
        let stored = bench.db.token_column(ALICE).unwrap();
        assert!(stored == token || open(&stored, ALICE).as_ref() == Some(&token), "an older token came back");
    }
    bench.wait_link(1, &login_link("0299-5733-8392-7092", 1));
    bench.wait_until("sealed", || is_sealed(&bench, ALICE));
    assert_eq!(revealed(&bench, ALICE), "0299-5733-8392-7092");
    for daemon in daemons {
        daemon.stop();
    }
}

#[test]
fn plaintext_stays_where_sealing_is_off_and_assignments_are_sealed_all_the_same() {
    let bench = installed(&[ALICE, BOB, CAROL]);
    bench.set("seal.plaintext", "false");
    let daemon = bench.start();
    bench.db.set_token(ALICE, Some(TOKEN));
    bench.wait_link(1, &login_link(TOKEN, 1));
    set(&bench, BOB, OTHER).ok();
    bench.drop_token("carol.toml", CAROL, THIRD);
    bench.wait_applied("carol.toml");
    bench.wait_link(2, &login_link(OTHER, 2));
    bench.wait_link(3, &login_link(THIRD, 3));
    bench.wait_idle();
    assert_eq!(bench.db.token_column(ALICE).as_deref(), Some(TOKEN));
    assert!(is_sealed(&bench, BOB) && is_sealed(&bench, CAROL));
    let users = &status(&bench)["users"];
    assert_eq!(
        (&users["plaintext"], &users["sealed"], &users["with_token"]),
        (&1.into(), &2.into(), &3.into())
    );
    // Known in plaintext, it is another user's nevertheless.
    set(&bench, BOB, TOKEN).exits(1);
    bench.run(["sync"]).ok();
    assert_eq!(bench.db.token_column(ALICE).as_deref(), Some(TOKEN));
    // Switched on again, it is sealed.
    bench.set("seal.plaintext", "true");
    daemon.hup();
    bench.db.set_token(ALICE, Some(THIRD));
    bench.wait_until("sealed", || is_sealed(&bench, ALICE));
    daemon.stop();
    bench.assert_no_leak(&[TOKEN, OTHER, THIRD]);
}

#[test]
fn unusable_values_are_left_change_no_link_and_are_reported_once() {
    let bench = installed(&[ALICE, BOB, CAROL, 4, 5, 6, 7]);
    let daemon = bench.start();
    set(&bench, ALICE, TOKEN).ok();
    set(&bench, CAROL, OTHER).ok();
    set(&elsewhere(&bench, &keyring_of_k2()), 4, THIRD).ok();
    let (of_alice, of_carol) = (bench.db.token_column(ALICE).unwrap(), bench.db.token_column(CAROL).unwrap());
    bench.wait_idle();
    let links: Vec<_> = (1..=7).map(|id| bench.db.link(id)).collect();

    let last = of_carol.len() - 2;
    let flipped = format!(
        "{}{}{}",
        &of_carol[..last],
        if &of_carol[last..=last] == "A" { "B" } else { "A" },
        &of_carol[last + 1..]
    );
    bench.db.set_token(BOB, Some(&of_alice));
    bench.db.set_token(CAROL, Some(&flipped));
    bench.db.set_token(5, Some("two words"));
    bench.db.set_token(6, Some("ключ"));
    bench.db.set_token(7, Some("relinkd:anything"));
    let unusable = [BOB, CAROL, 4, 5, 6, 7];
    for user in unusable {
        daemon.wait_log(&format!("telegram_id={user}"));
    }
    // Looked at again and again.
    bench.db.execute("update issues set okdesk_url = okdesk_url || '' where true");
    bench.db.execute("update users set portal_token = portal_token || ' ' where telegram_id = 5");
    for user in unusable {
        bench.db.insert_issue(i32::try_from(user % 1000).unwrap() + 100, user, Some(&plain_link(100)));
    }
    bench.run(["sync"]).ok();
    bench.wait_idle();

    let after: Vec<_> = (1..=7).map(|id| bench.db.link(id)).collect();
    assert_eq!(after, links);
    assert_eq!(
        bench.db.number(&format!("select count(*) from issues where okdesk_url = '{}'", plain_link(100))),
        6
    );
    assert_eq!(bench.db.token_column(BOB), Some(of_alice));
    assert_eq!(bench.db.token_column(CAROL), Some(flipped));
    let log = daemon.log();
    for user in unusable {
        let told =
            log.lines().filter(|line| line.split(' ').any(|word| word == format!("telegram_id={user}")));
        assert_eq!(told.count(), 1, "user {user} in\n{log}");
    }
    let users = &status(&bench)["users"];
    assert_eq!(
        (&users["unusable"], &users["sealed"], &users["with_token"]),
        (&6.into(), &1.into(), &1.into())
    );
    // Nor are they reported again by the next daemon.
    daemon.stop();
    let daemon = bench.start();
    bench.wait_idle();
    assert!(!daemon.log().contains(&format!("telegram_id={BOB}")), "{}", daemon.log());
    // Mended, it works, and broken once more it is news.
    bench.db.set_token(5, Some("7777-0000-7777-0000"));
    bench.wait_link(5, &login_link("7777-0000-7777-0000", 5));
    bench.db.set_token(5, Some("two words"));
    daemon.wait_log("telegram_id=5");
    assert_eq!(status(&bench)["users"]["unusable"], 6);
    daemon.stop();
    bench.assert_no_leak(&[TOKEN, OTHER, THIRD, "two words"]);
}

#[test]
fn a_pattern_narrows_what_is_admitted_and_not_what_is_sealed_already() {
    let bench = installed(&[ALICE, BOB]);
    set(&bench, ALICE, "abcdefgh").ok();
    bench.set("portal.token_pattern", r"'\d{4}(-\d{4}){3}'");
    let refused = set(&bench, BOB, "stuvwxyz").exits(1);
    assert!(refused.stderr.contains("pattern"), "{}", refused.stderr);
    // The whole token, not a part of it.
    set(&bench, BOB, &format!("x{TOKEN}")).exits(1);
    let daemon = bench.start();
    bench.wait_link(1, &login_link("abcdefgh", 1));
    bench.db.set_token(BOB, Some("stuvwxyz"));
    daemon.wait_log(&format!("telegram_id={BOB}"));
    bench.wait_idle();
    assert_eq!(bench.db.link(2), Some(plain_link(2)));
    assert_eq!(bench.db.token_column(BOB).as_deref(), Some("stuvwxyz"));
    set(&bench, BOB, TOKEN).ok();
    bench.wait_link(2, &login_link(TOKEN, 2));
    daemon.stop();
    bench.assert_no_leak(&["abcdefgh", "stuvwxyz"]);
}

#[test]
fn the_first_and_the_last_of_all_numbers_are_users_like_others() {
    let bench = bench_of(&[i64::MIN, i64::MAX]);
    bench.db.insert_issue(1, i64::MIN, Some(&plain_link(1)));
    bench.install();
    let daemon = bench.start();
    for (user, token) in [(i64::MIN, TOKEN), (i64::MAX, OTHER)] {
        bench.db.set_token(user, Some(token));
    }
    bench.wait_link(1, &login_link(TOKEN, 1));
    bench.wait_idle();
    daemon.stop();
    assert_eq!(status(&bench)["users"]["sealed"], 2);
    let listed = bench.run(["token", "list"]).ok();
    assert!(listed.contains(&i64::MIN.to_string()) && listed.contains(&i64::MAX.to_string()), "{listed}");
    assert_eq!(revealed(&bench, i64::MAX), OTHER);
}

#[test]
fn a_key_that_is_added_mends_what_waited_for_it() {
    let bench = installed(&[ALICE]);
    set(&elsewhere(&bench, &keyring_of_k2()), ALICE, TOKEN).ok();
    let daemon = bench.start();
    daemon.wait_log(&format!("telegram_id={ALICE}"));
    bench.wait_idle();
    assert_eq!(bench.db.link(1), Some(plain_link(1)));
    assert_eq!(status(&bench)["keys"]["in_use"]["k2"], 1);
    bench.write_keyring(&keyring_of_both("k1"));
    daemon.hup();
    bench.wait_link(1, &login_link(TOKEN, 1));
    bench.wait_idle();
    assert_eq!(status(&bench)["users"]["unusable"], 0);
    daemon.stop();
}

#[test]
fn a_key_that_is_added_while_nobody_runs_mends_what_waited_for_it() {
    let bench = installed(&[ALICE]);
    set(&elsewhere(&bench, &keyring_of_k2()), ALICE, TOKEN).ok();
    let daemon = bench.start();
    daemon.wait_log(&format!("telegram_id={ALICE}"));
    bench.wait_idle();
    daemon.stop();
    bench.write_keyring(&keyring_of_both("k1"));
    let daemon = bench.start();
    bench.wait_link(1, &login_link(TOKEN, 1));
    daemon.stop();
}

#[test]
fn an_unknown_key_makes_the_daemon_read_the_keyring_again_by_itself() {
    let bench = installed(&[ALICE]);
    let daemon = bench.start();
    bench.wait_idle();
    bench.write_keyring(&keyring_of_both("k2"));
    set(&elsewhere(&bench, &keyring_of_k2()), ALICE, TOKEN).ok();
    bench.wait_link(1, &login_link(TOKEN, 1));
    assert!(!daemon.log().contains(&format!("telegram_id={ALICE}")), "{}", daemon.log());
    // A broken file is reported, and the old ring stays in force.
    bench.write_keyring("primary = \"nonsense");
    daemon.hup();
    daemon.wait_log("keyring");
    bench.db.set_token(ALICE, Some(OTHER));
    bench.wait_link(1, &login_link(OTHER, 1));
    daemon.stop();
}

#[test]
fn a_token_that_another_holds_is_refused_by_every_way_in() {
    let bench = installed(&[ALICE, BOB]);
    set(&bench, ALICE, TOKEN).ok();
    // Without a daemon, with one, under another key, and as a plaintext that nobody has seen yet.
    set(&bench, BOB, TOKEN).exits(1);
    set(&elsewhere(&bench, &keyring_of_both("k2")), BOB, TOKEN).exits(1);
    bench.db.set_token(ALICE, Some(OTHER));
    set(&bench, BOB, OTHER).exits(1);
    let daemon = bench.start();
    bench.wait_link(1, &login_link(OTHER, 1));
    bench.wait_idle();
    let refused = set(&bench, BOB, OTHER).exits(1);
    assert!(refused.stderr.contains("another user"), "{}", refused.stderr);
    bench.drop_token("theft.toml", BOB, OTHER);
    assert!(bench.wait_rejected("theft.toml").starts_with("2:9: "));
    // One's own is one's own, and what is given up may be taken at once.
    set(&bench, ALICE, OTHER).ok();
    set(&bench, BOB, TOKEN).ok();
    bench.run(["token", "remove", &ALICE.to_string()]).ok();
    set(&bench, BOB, OTHER).ok();
    bench.wait_link(2, &login_link(OTHER, 2));
    bench.wait_link(1, &plain_link(1));
    bench.db.execute(&format!("delete from users where telegram_id = {BOB}"));
    set(&bench, ALICE, OTHER).ok();
    assert_eq!(status(&bench)["users"]["duplicated"], serde_json::json!([]));
    daemon.stop();
    bench.assert_no_leak(&[TOKEN, OTHER]);
}

#[test]
fn a_token_under_a_retired_key_is_held_too() {
    let bench = installed(&[ALICE, BOB]);
    set(&bench, ALICE, TOKEN).ok();
    let k1 = KEYRING.split_once("[keys]\n").unwrap().1;
    bench.write_keyring(&format!("{}\n[retired]\n{k1}", keyring_of_k2()));
    assert_eq!(revealed(&bench, ALICE), TOKEN);
    set(&bench, BOB, TOKEN).exits(1);
    let daemon = bench.start();
    bench.wait_link(1, &login_link(TOKEN, 1));
    bench.wait_idle();
    set(&bench, BOB, TOKEN).exits(1);
    // Marks of before the new key are made good, so that a ring without the old one knows.
    daemon.stop();
    let marks =
        format!("select count(*) from relinkd.fingerprint where telegram_id = {ALICE} and key_id = 'k2'");
    assert_eq!(bench.db.number(&marks), 1);
}

#[test]
fn of_two_who_assign_the_same_token_at_the_same_moment_one_is_refused() {
    let bench = installed(&[ALICE, BOB]);
    let daemon = bench.start();
    for round in 0..15 {
        let token = format!("{round:04}-1111-2222-3333");
        let [alice, bob] = [ALICE, BOB]
            .map(|user| start_command(&bench, &["token", "set", &user.to_string(), "--no-wait"], &token));
        let codes = [alice, bob].map(ended);
        assert!(codes == [0, 1] || codes == [1, 0], "round {round}: {codes:?}");
    }
    // The spool against the command.
    for round in 0..10 {
        let token = format!("{round:04}-4444-5555-6666");
        let name = format!("{round}.toml");
        let alice = start_command(&bench, &["token", "set", &ALICE.to_string(), "--no-wait"], &token);
        bench.drop_token(&name, BOB, &token);
        let set = ended(alice) == 0;
        let receipt = bench.applied().join(format!("{name}.json"));
        let refusal = bench.rejected().join(format!("{name}.reason"));
        bench.wait_until("the file is judged", || receipt.exists() || refusal.exists());
        assert_ne!(set, receipt.exists(), "round {round}: both or none have the token");
    }
    bench.wait_idle();
    assert_eq!(status(&bench)["users"]["duplicated"], serde_json::json!([]));
    daemon.stop();
}

#[test]
fn an_assignment_waits_for_one_that_takes_long() {
    let bench = installed(&[ALICE]);
    let other = bench.db.connect_as(bench.db.role()).unwrap();
    other.execute("begin; select pg_advisory_xact_lock(1919249515, 2)");
    let set = start_command(&bench, &["token", "set", &ALICE.to_string(), "--no-wait"], TOKEN);
    bench.wait_until("it waits", || {
        bench.db.number(
            "select count(*) from pg_locks where locktype = 'advisory' and not granted
               and database = (select oid from pg_database where datname = current_database())",
        ) == 1
    });
    // Longer than relinkd waits for the bot's rows.
    other.execute("select pg_sleep(0.6); commit");
    assert_eq!(ended(set), 0);
}

fn ended(mut child: Child) -> i32 {
    child.wait().unwrap().code().unwrap()
}

#[test]
fn assignments_see_each_other_where_the_database_defaults_to_repeatable_read() {
    let bench = installed(&[ALICE, BOB]);
    let name = bench.db.name();
    bench
        .db
        .admin()
        .execute(&format!("alter database {name} set default_transaction_isolation = 'repeatable read'"));
    for round in 0..15 {
        let token = format!("{round:04}-1111-2222-3333");
        let [alice, bob] = [ALICE, BOB]
            .map(|user| start_command(&bench, &["token", "set", &user.to_string(), "--no-wait"], &token));
        let codes = [alice, bob].map(ended);
        assert!(codes == [0, 1] || codes == [1, 0], "round {round}: {codes:?}");
    }
}

#[test]
fn what_the_bot_gave_to_two_is_linked_for_both_and_reported() {
    let bench = installed(&[ALICE, BOB, CAROL]);
    let daemon = bench.start();
    bench.db.set_token(ALICE, Some(TOKEN));
    bench.db.set_token(CAROL, Some(OTHER));
    bench.wait_link(1, &login_link(TOKEN, 1));
    bench.wait_idle();
    bench.db.set_token(BOB, Some(TOKEN));
    bench.wait_link(2, &login_link(TOKEN, 2));
    bench.wait_link(1, &login_link(TOKEN, 1));
    bench.wait_idle();
    let log = daemon.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("same token")).collect();
    assert_eq!(lines.len(), 1, "{log}");
    assert!(lines[0].contains(&ALICE.to_string()) && lines[0].contains(&BOB.to_string()), "{log}");
    assert!(!lines[0].contains(&CAROL.to_string()), "{log}");
    assert_eq!(status(&bench)["users"]["duplicated"], serde_json::json!([ALICE, BOB]));
    let shown = bench.run(["status"]).ok();
    assert!(shown.contains(&ALICE.to_string()) && shown.contains(&BOB.to_string()), "{shown}");
    // A third cannot be given it, and one of the two may be given another.
    set(&bench, CAROL, TOKEN).exits(1);
    set(&bench, BOB, THIRD).ok();
    assert_eq!(status(&bench)["users"]["duplicated"], serde_json::json!([]));
    daemon.stop();
    bench.assert_no_leak(&[TOKEN, OTHER, THIRD]);
}

#[test]
fn both_of_one_statement_are_reported() {
    let bench = installed(&[ALICE, BOB]);
    let daemon = bench.start();
    bench.db.execute(&format!("update users set portal_token = '{TOKEN}'"));
    bench.wait_link(1, &login_link(TOKEN, 1));
    bench.wait_link(2, &login_link(TOKEN, 2));
    daemon.wait_log("same token");
    bench.wait_idle();
    assert_eq!(daemon.log().matches("same token").count(), 1, "{}", daemon.log());
    assert_eq!(status(&bench)["users"]["duplicated"], serde_json::json!([ALICE, BOB]));
    daemon.stop();
}

#[test]
fn set_show_list_and_remove() {
    let bench = installed(&[ALICE, BOB, CAROL]);
    bench.db.set_token(CAROL, Some("short"));
    assert!(bench.run(["token", "list"]).ok().contains(&CAROL.to_string()));
    let said = set(&bench, ALICE, &format!("{TOKEN}\n")).ok();
    assert!(said.contains("no daemon"), "{said}");
    assert_eq!(bench.db.link(1), Some(plain_link(1)));
    let daemon = bench.start();
    bench.wait_link(1, &login_link(TOKEN, 1));
    // It is in the links when the command returns.
    let said = set(&bench, BOB, OTHER).ok();
    assert!(said.contains("1 link"), "{said}");
    assert_eq!(bench.db.link(2), Some(login_link(OTHER, 2)));

    assert!(bench.run(["token", "show", &ALICE.to_string()]).ok().contains("7812…"));
    bench.wait_until("sealed", || is_sealed(&bench, CAROL));
    let shown = bench.run(["token", "show", &CAROL.to_string()]).ok();
    assert!(shown.contains('…') && !shown.contains("shor"), "{shown}");
    assert_eq!(revealed(&bench, ALICE), TOKEN);
    let list = bench.run(["token", "list", "--json"]).json();
    assert_eq!(list["version"], 1);
    let ids: Vec<i64> =
        list["users"].as_array().unwrap().iter().map(|u| u["telegram_id"].as_i64().unwrap()).collect();
    assert_eq!(ids, [CAROL, ALICE, BOB]);

    bench.run(["token", "remove", &ALICE.to_string()]).ok();
    assert_eq!(bench.db.link(1), Some(plain_link(1)));
    assert_eq!(bench.db.token_column(ALICE), None);
    assert!(bench.run(["token", "show", &ALICE.to_string()]).ok().contains("no token"));
    bench.run(["token", "remove", &ALICE.to_string()]).ok();
    daemon.stop();
    bench.assert_no_leak(&[TOKEN, OTHER, "short"]);
}

#[test]
fn what_token_set_refuses() {
    let bench = installed(&[ALICE]);
    for bad in ["", "\n", "two words", "таблица", "relinkd:v1:k1:abcd", &"x".repeat(129), "a\nb", "tab\tbed"]
    {
        let refused = set(&bench, ALICE, bad).exits(1);
        assert!(bad.trim().is_empty() || !refused.stderr.contains(bad.trim()), "{}", refused.stderr);
    }
    set(&bench, BOB, TOKEN).exits(1);
    bench.run(["token", "show", &BOB.to_string()]).exits(1);
    bench.run(["token", "remove", &BOB.to_string()]).exits(1);
    let quoted = format!("--token={TOKEN}");
    let dashed = format!("-{TOKEN}");
    for wrong in [
        &["token", "set", "413129274", TOKEN][..],
        &["token", "set", TOKEN],
        &["token", "set", "413129274", &quoted],
        &["token", "set", "413129274", &dashed],
        &["token", "set", "413129274", "x", TOKEN],
        &["token", TOKEN],
        &["sync", TOKEN],
        &["explain", "--user", TOKEN],
    ] {
        // Refused, and not said once more.
        let refused = bench.run(wrong).exits(2);
        assert!(!refused.stderr.is_empty());
    }
    assert_eq!(bench.db.token_column(ALICE), None);
    bench.assert_no_leak(&[TOKEN]);
}

#[test]
fn token_set_that_waits_in_vain_says_so_and_the_links_follow_on_their_own() {
    let bench = installed(&[ALICE]);
    let daemon = bench.start();
    bench.wait_idle();
    let holder = bench.db.connect_as("postgres").unwrap();
    holder.execute(&format!("begin; select pg_advisory_xact_lock(relinkd.user_key({ALICE}))"));
    set(&bench, ALICE, TOKEN).exits(7);
    bench.run_with_input(["token", "set", &ALICE.to_string(), "--no-wait"], OTHER).ok();
    holder.execute("rollback");
    bench.wait_link(1, &login_link(OTHER, 1));
    daemon.stop();
}
