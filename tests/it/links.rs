//! Links, end to end: what the bot finds in its rows, byte for byte, after whatever happened to tokens, users and issues.
//!
//! The rules themselves are tested beside `link`; here they go through triggers, queue and daemon.

use crate::support::cast::{ALICE, BOB, CAROL, OTHER, THIRD, TOKEN, appended, bench_of, status};
use crate::support::{BASE, Bench, login_link, plain_link};

/// A shape of link as found, and what the plain form and the redirect of the login form are to say of it.
struct Shape {
    found: &'static str,
    plain: &'static str,
    redirect: &'static str,
}

/// `~` stands for the base URL.
const OURS: &[Shape] = &[
    Shape { found: "~/issues/123", plain: "123", redirect: "123" },
    Shape { found: "~/issues/00123", plain: "00123", redirect: "00123" },
    Shape { found: "~/issues/123/", plain: "123", redirect: "123" },
    Shape {
        found: "~/issues/123?tab=files#comment-5",
        plain: "123?tab=files#comment-5",
        redirect: "123?tab=files%23comment-5",
    },
    Shape { found: "~/issues/9#a&b", plain: "9#a&b", redirect: "9%23a%26b" },
    Shape { found: "~/issues/9?a=1&b=2+3", plain: "9?a=1&b=2+3", redirect: "9?a=1%26b=2%2B3" },
    Shape { found: "~/issues/9?a=1;b=2#c;d", plain: "9?a=1;b=2#c;d", redirect: "9?a=1%3Bb=2%23c%3Bd" },
    Shape {
        found: "~/login?token=OLD&redirect=/issues/9?a=1;b=2",
        plain: "9?a=1;b=2",
        redirect: "9?a=1%3Bb=2",
    },
    Shape { found: "~/issues/9?q=%D0%B0%2F", plain: "9?q=%D0%B0%2F", redirect: "9?q=%25D0%25B0%252F" },
    Shape { found: "~/issues/9?redirect=/x", plain: "9?redirect=/x", redirect: "9?redirect=/x" },
    Shape { found: "~/api/v1/issues/123", plain: "123", redirect: "123" },
    Shape { found: "~/api/v1/issues/123?api_token=sEcReT", plain: "123", redirect: "123" },
    Shape { found: "~/login?token=OLD&redirect=/issues/123", plain: "123", redirect: "123" },
    Shape { found: "~/login?redirect=/issues/123&token=OLD", plain: "123", redirect: "123" },
    Shape { found: "~/login?redirect=/issues/123", plain: "123", redirect: "123" },
    Shape { found: "~/login?a=1&token=OLD&b=2&redirect=/issues/123&c", plain: "123", redirect: "123" },
    Shape { found: "~/login?token=&redirect=/issues/123", plain: "123", redirect: "123" },
    Shape { found: "~/login?token=OLD&redirect=issues/123", plain: "123", redirect: "123" },
    Shape { found: "~/login?token=OLD&redirect=%2Fissues%2F123", plain: "123", redirect: "123" },
    Shape { found: "~/login?token=OLD&redirect=/api/v1/issues/5", plain: "5", redirect: "5" },
    Shape { found: "~/login?token=OLD&redirect=~/issues/7", plain: "7", redirect: "7" },
    Shape {
        found: "~/login?token=OLD&redirect=https%3A%2F%2Fyapomogu55.okdesk.ru%2Fissues%2F7",
        plain: "7",
        redirect: "7",
    },
    Shape {
        found: "~/login?token=OLD&redirect=/issues/7?tab=files%26x=1%23end",
        plain: "7?tab=files&x=1#end",
        redirect: "7?tab=files%26x=1%23end",
    },
    Shape { found: "http://yapomogu55.okdesk.ru/issues/1", plain: "1", redirect: "1" },
    Shape { found: "http://yapomogu55.okdesk.ru:80/issues/1", plain: "1", redirect: "1" },
    Shape { found: "https://yapomogu55.okdesk.ru:443/issues/1", plain: "1", redirect: "1" },
    Shape { found: "HTTPS://YaPomogu55.OKDESK.ru/issues/1", plain: "1", redirect: "1" },
    Shape { found: "https://old.example:8443/issues/1", plain: "1", redirect: "1" },
    Shape { found: "https://old.example:8443/login?token=OLD&redirect=/issues/1", plain: "1", redirect: "1" },
];

/// What is nobody's business.
const NOT_OURS: &[&str] = &[
    "",
    "~",
    "~/",
    "~/issues",
    "~/issues/",
    "~/issues/new",
    "~/issues/1/edit",
    "~/issues/1//",
    "~/issues/-1",
    "~/issues/1a",
    "~/issues/%31",
    "~/issues/١",
    "~/Issues/1",
    "~/api/v2/issues/1",
    "~/login",
    "~/login?token=OLD",
    "~/login?token=OLD&redirect=/issues/1&redirect=/issues/2",
    "~/login?token=OLD&redirect=//evil.example/issues/1",
    "~/login?token=OLD&redirect=/\\evil.example/issues/1",
    "~/login?token=OLD&redirect=https://evil.example/issues/1",
    "~/login?token=OLD&redirect=/issues/1/edit",
    "~/login?token=OLD&redirect=/issues/../issues/1",
    "~/login/?token=OLD&redirect=/issues/1",
    "~/./issues/1",
    "~/issues/../issues/1",
    "~/x/../issues/1",
    " ~/issues/1",
    "~/issues/1 ",
    "~/issues/1?a b",
    "~/issues/1\n",
    "~/iss\tues/1",
    "~/issues/1#\u{7f}",
    "~\\issues\\1",
    "~/issues/1?a=\\",
    "https://yapomogu55.okdesk.ru.evil.example/issues/1",
    "https://evil.example/issues/1",
    "https://evil.example/login?token=OLD&redirect=~/issues/1",
    "https://evil.example/?https://yapomogu55.okdesk.ru/issues/1",
    "https://yapomogu55.okdesk.ru:8443/issues/1",
    "https://yapomogu55.okdesk.ru:80/issues/1",
    "http://yapomogu55.okdesk.ru:443/issues/1",
    "https://old.example/issues/1",
    "https://user@yapomogu55.okdesk.ru/issues/1",
    "https://user:word@yapomogu55.okdesk.ru/issues/1",
    "https://@yapomogu55.okdesk.ru/issues/1",
    "ftp://yapomogu55.okdesk.ru/issues/1",
    "//yapomogu55.okdesk.ru/issues/1",
    "yapomogu55.okdesk.ru/issues/1",
    "/issues/1",
    "https:/yapomogu55.okdesk.ru/issues/1",
    "https:yapomogu55.okdesk.ru/issues/1",
    "https://yapomogu55.okdesk.ru./issues/1",
    "не ссылка",
];

fn spelled(text: &str) -> String {
    text.replace('~', BASE)
}

/// A bench with an alias, and an issue of Alice's for each of these links, written in one statement.
fn with_links(links: &[Option<String>]) -> Bench {
    let bench = bench_of(&[ALICE]);
    bench.set("portal.aliases", "[\"https://old.example:8443\"]");
    bench.db.bot().execute_with(
        "insert into issues (id, telegram_user_id, okdesk_issue_id, status, okdesk_url)
         select n, $1, n, 'opened', u from unnest($2::text[]) with ordinality l(u, n)",
        &[&ALICE, &links],
    );
    bench
}

fn all_links(bench: &Bench) -> Vec<Option<String>> {
    bench
        .db
        .rows("select okdesk_url from issues order by id")
        .into_iter()
        .map(|mut row| row.remove(0))
        .collect()
}

#[track_caller]
fn wait_links(bench: &Bench, wanted: &[Option<String>]) {
    bench.wait_idle();
    let found = all_links(bench);
    for (at, (found, wanted)) in found.iter().zip(wanted).enumerate() {
        assert_eq!(found, wanted, "link {}", at + 1);
    }
    assert_eq!(found.len(), wanted.len());
}

fn found() -> Vec<Option<String>> {
    OURS.iter().map(|shape| Some(spelled(shape.found))).collect()
}

fn plain() -> Vec<Option<String>> {
    OURS.iter().map(|shape| Some(format!("{BASE}/issues/{}", shape.plain))).collect()
}

fn login(token: &str) -> Vec<Option<String>> {
    OURS.iter()
        .map(|shape| Some(format!("{BASE}/login?token={token}&redirect=/issues/{}", shape.redirect)))
        .collect()
}

#[test]
fn every_shape_follows_the_token_in_both_directions() {
    let bench = with_links(&found());
    bench.install();
    let daemon = bench.start();
    wait_links(&bench, &plain());
    for token in [TOKEN, OTHER] {
        bench.db.set_token(ALICE, Some(token));
        wait_links(&bench, &login(token));
    }
    bench.db.set_token(ALICE, None);
    wait_links(&bench, &plain());
    // An empty text is no token either.
    bench.db.set_token(ALICE, Some(TOKEN));
    wait_links(&bench, &login(TOKEN));
    bench.db.set_token(ALICE, Some(""));
    wait_links(&bench, &plain());
    daemon.stop();
}

#[test]
fn every_shape_is_right_at_once_for_a_user_with_a_token() {
    let bench = with_links(&[]);
    bench.install();
    bench.db.set_token(ALICE, Some(TOKEN));
    let daemon = bench.start();
    bench.wait_idle();
    // Issue by issue, as the bot creates them, and overwritten in place, as it may.
    for (at, link) in found().into_iter().enumerate() {
        bench.db.insert_issue(i32::try_from(at).unwrap() + 1, ALICE, link.as_deref());
    }
    wait_links(&bench, &login(TOKEN));
    for (at, link) in found().into_iter().enumerate() {
        let id = i32::try_from(at).unwrap() + 1;
        bench.db.bot().execute_with("update issues set okdesk_url = $2 where id = $1", &[&id, &link]);
    }
    wait_links(&bench, &login(TOKEN));
    daemon.stop();
}

#[test]
fn what_is_not_ours_stays_as_it_is_to_the_byte() {
    let mut links: Vec<Option<String>> = NOT_OURS.iter().map(|link| Some(spelled(link))).collect();
    links.push(None);
    let bench = with_links(&links);
    bench.install();
    let daemon = bench.start();
    wait_links(&bench, &links);
    for token in [Some(TOKEN), Some(OTHER), None] {
        bench.db.set_token(ALICE, token);
        wait_links(&bench, &links);
    }
    daemon.stop();
    bench.run(["sync", "--dry-run"]).exits(0);
    let untouched = bench.db.number("select count(distinct xmin::text) from issues");
    assert_eq!(untouched, 1, "not even written as they were");
}

#[test]
fn a_right_link_is_not_written_again() {
    let bench = with_links(&login(TOKEN));
    bench.db.set_token(ALICE, Some(TOKEN));
    bench.install();
    let daemon = bench.start();
    wait_links(&bench, &login(TOKEN));
    bench.run(["sync"]).ok();
    daemon.stop();
    assert_eq!(bench.db.number("select count(distinct xmin::text) from issues"), 1);
}

#[test]
fn a_token_with_odd_characters_is_percent_encoded_and_comes_out_again() {
    let odd = r#"a+b/c=d&e%f#g?h "'<>\^`{|}~-._:;@!$()*,["#.replace(' ', "");
    let encoded =
        "a%2Bb%2Fc%3Dd%26e%25f%23g%3Fh%22%27%3C%3E%5C%5E%60%7B%7C%7D~-._%3A%3B%40%21%24%28%29%2A%2C%5B";
    let bench = bench_of(&[ALICE]);
    bench.db.insert_issue(1, ALICE, Some(&plain_link(1)));
    bench.install();
    let daemon = bench.start();
    bench.db.set_token(ALICE, Some(&odd));
    bench.wait_link(1, &login_link(encoded, 1));
    bench.db.set_token(ALICE, Some(TOKEN));
    bench.wait_link(1, &login_link(TOKEN, 1));
    bench.db.set_token(ALICE, None);
    bench.wait_link(1, &plain_link(1));
    daemon.stop();
}

#[test]
fn users_come_and_go_by_every_way_there_is() {
    let bench = bench_of(&[]);
    bench.db.insert_issue(1, ALICE, Some(&login_link(THIRD, 1)));
    bench.db.insert_issue(2, BOB, Some(&plain_link(2)));
    bench.install();
    let daemon = bench.start();
    // Nobody's row: no token.
    bench.wait_link(1, &plain_link(1));
    bench.db.insert_user(ALICE, Some(TOKEN));
    bench.wait_link(1, &login_link(TOKEN, 1));
    // Another telegram_id and a token of that user's in one statement.
    bench.db.execute(&format!(
        "update users set telegram_id = {BOB}, portal_token = '{OTHER}' where telegram_id = {ALICE}"
    ));
    bench.wait_link(1, &plain_link(1));
    bench.wait_link(2, &login_link(OTHER, 2));
    bench.db.execute("delete from users");
    bench.wait_link(2, &plain_link(2));
    bench.db.execute(&format!(
        "insert into users (telegram_id, user_type, portal_token) values ({ALICE}, 'client', '{TOKEN}'), ({BOB}, 'client', '{OTHER}')"
    ));
    bench.wait_link(1, &login_link(TOKEN, 1));
    bench.wait_link(2, &login_link(OTHER, 2));
    bench.db.execute("truncate users");
    bench.wait_link(1, &plain_link(1));
    bench.wait_link(2, &plain_link(2));
    bench.wait_idle();
    daemon.stop();
}

#[test]
fn a_sealed_token_does_not_move_with_its_row_to_another_telegram_id() {
    let bench = bench_of(&[ALICE]);
    bench.db.insert_issue(1, ALICE, Some(&plain_link(1)));
    bench.db.insert_issue(2, BOB, Some(&plain_link(2)));
    bench.install();
    let daemon = bench.start();
    bench.run_with_input(["token", "set", &ALICE.to_string()], TOKEN).ok();
    bench.wait_link(1, &login_link(TOKEN, 1));
    bench.db.execute(&format!("update users set telegram_id = {BOB}"));
    bench.wait_link(1, &plain_link(1));
    daemon.wait_log(&format!("telegram_id={BOB}"));
    bench.wait_idle();
    assert_eq!(bench.db.link(2), Some(plain_link(2)));
    assert_eq!(status(&bench)["users"]["unusable"], 1);
    daemon.stop();
}

#[test]
fn issues_change_hands_one_by_one_and_in_one_statement() {
    let bench = bench_of(&[ALICE, BOB, CAROL]);
    for id in 1..=40 {
        bench.db.insert_issue(id, ALICE, Some(&plain_link(i64::from(id))));
    }
    bench.install();
    let daemon = bench.start();
    bench.db.set_token(ALICE, Some(TOKEN));
    bench.db.set_token(BOB, Some(OTHER));
    for (user, token) in
        [(BOB, Some(OTHER)), (CAROL, None), (ALICE, Some(TOKEN)), (999, None), (BOB, Some(OTHER))]
    {
        bench.db.execute(&format!("update issues set telegram_user_id = {user}"));
        let wanted: Vec<Option<String>> = (1..=40)
            .map(|id| Some(token.map_or_else(|| plain_link(id), |token| login_link(token, id))))
            .collect();
        wait_links(&bench, &wanted);
    }
    // Faster than anybody looks.
    for user in [ALICE, CAROL, ALICE, BOB, CAROL, ALICE] {
        for id in 1..=40 {
            bench.db.execute(&format!("update issues set telegram_user_id = {user} where id = {id}"));
        }
    }
    wait_links(&bench, &(1..=40).map(|id| Some(login_link(TOKEN, id))).collect::<Vec<_>>());
    daemon.stop();
}

/// A bench under `tokenless = "keep"` with Alice's token in her links 1 and 2, and the daemon stopped.
pub(crate) fn keeping() -> Bench {
    let bench = bench_of(&[ALICE, BOB]);
    bench.set("portal.tokenless", "\"keep\"");
    bench.db.insert_issue(1, ALICE, Some(&plain_link(1)));
    bench.db.insert_issue(2, ALICE, Some(&format!("{BASE}/api/v1/issues/2")));
    bench.install();
    let daemon = bench.start();
    bench.db.set_token(ALICE, Some(TOKEN));
    bench.wait_link(1, &login_link(TOKEN, 1));
    bench.wait_link(2, &login_link(TOKEN, 2));
    bench.wait_idle();
    daemon.stop();
    bench
}

/// A login link as the bot has them from the portal's own call.
pub(crate) fn of_the_bot(issue: i64) -> String {
    format!("{BASE}/login?token=bot30days0000000000000000&redirect=issues/{issue}")
}

#[test]
fn keep_leaves_every_link_of_users_without_a_token() {
    let bench = bench_of(&[BOB]);
    bench.set("portal.tokenless", "\"keep\"");
    let api = format!("{BASE}/api/v1/issues/2");
    bench.db.insert_issue(1, BOB, Some(&of_the_bot(1)));
    bench.db.insert_issue(2, BOB, Some(&api));
    bench.db.insert_issue(3, 999, Some(&of_the_bot(3)));
    bench.install();
    let daemon = bench.start();
    bench.db.insert_issue(4, BOB, Some(&of_the_bot(4)));
    bench.db.execute("update issues set okdesk_url = okdesk_url || '&x=1' where id = 1");
    bench.wait_idle();
    bench.run(["sync"]).ok();
    bench.run(["sync", "--dry-run"]).exits(0);
    assert_eq!(bench.db.link(1), Some(of_the_bot(1) + "&x=1"));
    assert_eq!(bench.db.link(2), Some(api));
    assert_eq!(bench.db.link(3), Some(of_the_bot(3)));
    assert_eq!(bench.db.link(4), Some(of_the_bot(4)));
    // A token of their own replaces the bot's; it was a link of the bot's, so nothing brings that back.
    bench.db.set_token(BOB, Some(OTHER));
    bench.wait_link(4, &login_link(OTHER, 4));
    bench.db.set_token(BOB, None);
    bench.wait_link(4, &plain_link(4));
    bench.wait_idle();
    assert_eq!(bench.db.link(3), Some(of_the_bot(3)));
    daemon.stop();
}

#[test]
fn keep_takes_a_removed_token_out_and_leaves_what_the_bot_writes_after_that() {
    for remove in [
        format!("update users set portal_token = null where telegram_id = {ALICE}"),
        format!("update users set portal_token = '' where telegram_id = {ALICE}"),
        format!("delete from users where telegram_id = {ALICE}"),
        "truncate users".to_owned(),
    ] {
        let bench = keeping();
        // While nobody is there, and new issues with login links of the bot's own after it.
        bench.db.execute(&remove);
        bench.db.insert_issue(7, ALICE, Some(&of_the_bot(7)));
        let daemon = bench.start();
        bench.wait_link(1, &plain_link(1));
        bench.wait_link(2, &plain_link(2));
        bench.db.insert_issue(8, ALICE, Some(&of_the_bot(8)));
        bench.wait_idle();
        assert_eq!(bench.db.link(7), Some(of_the_bot(7)), "after {remove}");
        assert_eq!(bench.db.link(8), Some(of_the_bot(8)), "after {remove}");
        daemon.stop();
    }
}

#[test]
fn keep_takes_the_former_users_token_out_of_an_issue_that_changes_hands() {
    let bench = keeping();
    bench.db.insert_issue(3, BOB, Some(&of_the_bot(3)));
    bench.db.execute(&format!("update issues set telegram_user_id = {BOB} where id = 1"));
    let daemon = bench.start();
    bench.wait_link(1, &plain_link(1));
    bench.db.execute("update issues set telegram_user_id = 999 where id = 2");
    bench.wait_link(2, &plain_link(2));
    // The bot's own login link was the former user's as well.
    bench.db.execute("update issues set telegram_user_id = 999 where id = 3");
    bench.wait_link(3, &plain_link(3));
    bench.wait_idle();
    daemon.stop();
}

#[test]
fn keep_by_sync_takes_out_what_waits_to_be_taken_out() {
    let bench = keeping();
    bench.db.set_token(ALICE, None);
    bench.db.insert_issue(7, ALICE, Some(&of_the_bot(7)));
    bench.run(["sync", "--dry-run"]).exits(3);
    bench.run(["sync"]).ok();
    assert_eq!(bench.db.link(1), Some(plain_link(1)));
    assert_eq!(bench.db.link(2), Some(plain_link(2)));
    assert_eq!(bench.db.link(7), Some(of_the_bot(7)));
    bench.run(["sync", "--dry-run"]).exits(0);
}

#[test]
fn keep_by_sync_takes_out_the_token_of_who_gave_the_issue_away() {
    let bench = keeping();
    bench.db.execute(&format!("update issues set telegram_user_id = {BOB} where id = 1"));
    bench.run(["sync", &BOB.to_string()]).ok();
    assert_eq!(bench.db.link(1), Some(plain_link(1)));
    assert_eq!(bench.db.link(2), Some(login_link(TOKEN, 2)));
}

#[test]
fn keep_takes_out_a_token_that_came_and_went_where_no_trigger_saw_it() {
    let bench = keeping();
    let daemon = bench.start();
    bench.db.execute("alter table users disable trigger user");
    bench.db.set_token(ALICE, Some(OTHER));
    // Of her token nothing is queued: a link of hers gets it all the same.
    bench.db.insert_issue(3, ALICE, Some(&plain_link(3)));
    bench.wait_link(3, &login_link(OTHER, 3));
    bench.db.execute(&format!("delete from users where telegram_id = {ALICE}"));
    bench.wait_idle();
    bench.run(["sync"]).ok();
    for issue in 1..=3 {
        assert_eq!(bench.db.link(issue), Some(plain_link(i64::from(issue))));
    }
    daemon.stop();
}

#[test]
fn keep_takes_out_a_token_that_a_link_got_before_its_user_was_looked_at() {
    let bench = keeping();
    bench.db.set_token(ALICE, Some(OTHER));
    bench.db.insert_issue(3, ALICE, Some(&plain_link(3)));
    // What is queued of the user herself has not its turn yet, as where many changes stand before it.
    let admin = bench.db.admin();
    admin.execute("begin; select from relinkd.change where issue_id is null for update");
    let daemon = bench.start();
    bench.wait_link(3, &login_link(OTHER, 3));
    daemon.stop();
    admin.execute("rollback");
    // The next token goes before the links have got it.
    bench.run_with_input(["token", "set", &ALICE.to_string()], THIRD).ok();
    bench.db.set_token(ALICE, None);
    let daemon = bench.start();
    bench.wait_idle();
    for issue in 1..=3 {
        assert_eq!(bench.db.link(issue), Some(plain_link(i64::from(issue))));
    }
    daemon.stop();
}

#[test]
fn fingerprints_that_another_session_holds_hold_up_the_links_of_their_user_alone() {
    let bench = keeping();
    bench.db.set_token(ALICE, Some(OTHER));
    bench.db.insert_issue(3, ALICE, Some(&plain_link(3)));
    let admin = bench.db.admin();
    admin.execute("begin; select from relinkd.change where issue_id is null for update");
    admin.execute("select from relinkd.fingerprint for update");
    let daemon = bench.start();
    bench.wait_until("she is set aside", || status(&bench)["set_aside"][0]["telegram_id"] == ALICE);
    bench.db.set_token(BOB, Some(THIRD));
    bench.db.insert_issue(4, BOB, Some(&plain_link(4)));
    bench.wait_link(4, &login_link(THIRD, 4));
    assert_eq!(bench.db.link(3), Some(plain_link(3)));
    admin.execute("rollback");
    bench.wait_link(3, &login_link(OTHER, 3));
    bench.wait_idle();
    assert_eq!(daemon.log().matches("connected server=").count(), 1, "{}", daemon.log());
    daemon.stop();
}

#[test]
fn an_unusable_token_changes_no_link_but_a_former_users_token_goes() {
    let bench = keeping();
    let daemon = bench.start();
    bench.db.insert_issue(3, BOB, Some(&of_the_bot(3)));
    bench.db.set_token(BOB, Some("relinkd:v1:k1:nonsense"));
    bench.db.execute(&format!("update issues set telegram_user_id = {BOB} where id = 1"));
    bench.wait_link(1, &plain_link(1));
    bench.wait_idle();
    assert_eq!(bench.db.link(3), Some(of_the_bot(3)));
    daemon.stop();
}

#[test]
fn a_link_that_does_not_fit_is_left_and_reported_and_the_others_are_written() {
    let bench = Bench::new();
    let room = login_link(TOKEN, 1).len();
    bench.db.execute(&format!("alter table issues alter okdesk_url type varchar({room})"));
    bench.db.insert_user(ALICE, None);
    bench.db.insert_issue(1, ALICE, Some(&plain_link(1)));
    bench.db.insert_issue(22, ALICE, Some(&plain_link(22)));
    bench.db.insert_issue(3, ALICE, Some(&plain_link(3)));
    bench.install();
    let daemon = bench.start();
    bench.db.set_token(ALICE, Some(TOKEN));
    bench.wait_link(1, &login_link(TOKEN, 1));
    bench.wait_link(3, &login_link(TOKEN, 3));
    daemon.wait_log("issue_id=22");
    bench.wait_idle();
    assert_eq!(bench.db.link(22), Some(plain_link(22)));
    assert!(
        !daemon.log().contains("issue_id=1 ") && !daemon.log().contains("issue_id=3 "),
        "{}",
        daemon.log()
    );
    // Of two at work it is whoever met it that says so.
    daemon.stop();
    let said = bench.run(["sync"]).exits(0);
    assert!(said.stderr.contains("issue 22"), "{}", said.stderr);
    let daemon = bench.start();
    // A shorter one fits.
    bench.db.set_token(ALICE, Some("7812-5733"));
    bench.wait_link(22, &login_link("7812-5733", 22));
    daemon.stop();
    bench.assert_no_leak(&[TOKEN]);
}

#[test]
fn a_change_of_the_portal_reaches_every_link() {
    let bench = with_links(&found());
    bench.install();
    bench.db.set_token(ALICE, Some(TOKEN));
    let daemon = bench.start();
    wait_links(&bench, &login(TOKEN));
    bench.set("portal.base_url", "\"https://new.example\"");
    bench.set("portal.aliases", &format!("[\"{BASE}\"]"));
    daemon.hup();
    bench.wait_until("the links move", || {
        all_links(&bench).iter().flatten().all(|link| link.starts_with("https://new.example/login?"))
    });
    // And while the daemon is down.
    daemon.stop();
    bench.set("portal.base_url", &format!("\"{BASE}\""));
    bench.set("portal.aliases", "[\"https://new.example\"]");
    let daemon = bench.start();
    bench.wait_until("the links move back", || all_links(&bench) == login(TOKEN));
    daemon.stop();
}

#[test]
fn sync_brings_links_into_form_without_the_daemon() {
    let bench = with_links(&found());
    bench.install();
    bench.db.set_token(ALICE, Some(TOKEN));
    let said = bench.run(["sync", "--dry-run"]).exits(3);
    assert!(said.stdout.contains("token=7812…&redirect=/issues/123"), "{}", said.stdout);
    assert!(!said.stdout.contains("sEcReT"), "what an API link carries is no less secret:\n{}", said.stdout);
    assert_eq!(all_links(&bench), found(), "a dry run changes nothing");
    assert_eq!(bench.db.token_column(ALICE).as_deref(), Some(TOKEN));
    let changes = bench.run(["sync", "--dry-run", "--json"]).exits(3).stdout;
    let changes: Vec<serde_json::Value> =
        changes.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(changes.iter().all(|change| change["version"] == 1));
    assert_eq!(changes.len(), OURS.len() + 1, "an object a line for each change, and one with the sums");
    assert_eq!(changes.last().unwrap()["changes"], OURS.len());

    let counted = bench.run(["sync", "--dry-run", "--summary"]).exits(3).stdout;
    assert!(counted.contains("gets a token") && counted.contains("left: another host"), "{counted}");
    let sums = bench.run(["sync", "--dry-run", "--summary", "--json"]).exits(3).stdout;
    let sums: serde_json::Value = serde_json::from_str(&sums).unwrap();
    assert_eq!((&sums["changes"], &sums["links"]), (&OURS.len().into(), &found().len().into()));

    let done = bench.run(["sync", "--json"]).json();
    assert_eq!((&done["version"], &done["rewritten"]), (&1.into(), &OURS.len().into()));
    assert_eq!(all_links(&bench), login(TOKEN));
    assert_eq!(bench.db.number("select count(*) from relinkd.change"), 0, "sync leaves no change behind");
    bench.run(["sync", "--dry-run"]).exits(0);
    assert_eq!(bench.run(["sync", "--json"]).json()["rewritten"], 0);
    bench.assert_no_leak(&[TOKEN]);
}

#[test]
fn sync_of_one_user_leaves_the_others() {
    let bench = bench_of(&[ALICE, BOB]);
    bench.db.insert_issue(1, ALICE, Some(&plain_link(1)));
    bench.db.insert_issue(2, BOB, Some(&plain_link(2)));
    bench.db.insert_issue(3, -5, Some(&login_link(THIRD, 3)));
    bench.install();
    bench.db.set_token(ALICE, Some(TOKEN));
    bench.db.set_token(BOB, Some(OTHER));
    bench.run(["sync", &ALICE.to_string(), "--dry-run"]).exits(3);
    bench.run(["sync", &ALICE.to_string()]).ok();
    assert_eq!(bench.db.link(1), Some(login_link(TOKEN, 1)));
    assert_eq!(bench.db.link(2), Some(plain_link(2)));
    bench.run(["sync", &ALICE.to_string(), "--dry-run"]).exits(0);
    bench.run(["sync", &BOB.to_string(), "--dry-run"]).exits(3);
    bench.run(["sync", &BOB.to_string(), "-5"]).ok();
    assert_eq!(bench.db.link(2), Some(login_link(OTHER, 2)));
    assert_eq!(bench.db.link(3), Some(plain_link(3)));
    // Nobody has such an id.
    bench.run(["sync", "424242"]).exits(1);
}

#[test]
fn sync_beside_the_daemon_and_a_bot_that_writes() {
    let bench = bench_of(&[ALICE]);
    for id in 1..=200 {
        bench.db.insert_issue(id, ALICE, Some(&plain_link(i64::from(id))));
    }
    bench.install();
    let daemon = bench.start();
    for round in 0..10 {
        let token = format!("{round:04}-5733-8392-7092");
        bench.db.set_token(ALICE, Some(&token));
        bench.run(["sync"]).ok();
        assert_eq!(bench.db.link(200), Some(login_link(&token, 200)));
    }
    bench.wait_idle();
    // A few changes a round, and one more for each walk that took more than a step; links alone would be 2,000.
    assert!(appended(&bench) < 500, "own writes come back: {}", appended(&bench));
    daemon.stop();
}

#[test]
fn sync_of_nobody_says_so() {
    let bench = Bench::installed();
    bench.db.insert_user(1, None);
    bench.db.insert_issue(1, 2, Some(&plain_link(1)));
    for arguments in [&["sync", "98", "99"][..], &["sync", "98", "99", "--dry-run"]] {
        let refused = bench.run(arguments).exits(1);
        assert!(refused.stderr.contains("the bot has no user 98, 99"), "{}", refused.stderr);
    }
    let in_part = bench.run(["sync", "1", "99"]).exits(0);
    assert!(in_part.stderr.contains("warning: the bot has no user 99"), "{}", in_part.stderr);
    // Somebody whose issues are there, and whose row is not.
    assert_eq!(bench.run(["sync", "2"]).exits(0).stderr, "");
}
