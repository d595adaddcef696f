//! Text that others wrote acts on nothing: not on systemd, not on a terminal, not on the journal. Each test is an attack.

use crate::support::cast::{ALICE, BOB, OTHER, TOKEN};
use crate::support::{BASE, Bench, Daemon, Database, Output, login_link, plain_link};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

/// What a message of others may hold: fields of systemd's protocol, a priority of the journal's, escape sequences of
/// seven and eight bits, a backspace, an override of direction, and what the journal takes for binary.
const NASTY: &str =
    "x\nWATCHDOG=trigger\nMAINPID=1\nFDSTORE=1\n<0>y\r\u{1b}[2J\u{9b}31m\u{8}\u{202e}z\u{2066}\u{fffe}";
/// The same made harmless.
const SHOWN: &str =
    r"x\nWATCHDOG=trigger\nMAINPID=1\nFDSTORE=1\n<0>y\r\x1b[2J\u{9b}31m\x08\u{202e}z\u{2066}\u{fffe}";
/// The same in an SQL string.
const NASTY_SQL: &str =
    r"E'x\nWATCHDOG=trigger\nMAINPID=1\nFDSTORE=1\n<0>y\r\x1b[2J\u009b31m\b\u202ez\u2066\ufffe'";

/// Fails where a text holds anything that acts.
#[track_caller]
fn harmless(text: &[u8]) {
    let text = std::str::from_utf8(text).expect("the journal shows nothing that is not UTF-8");
    let acts = |c: char| (c.is_control() && c != '\n') || "\u{202e}\u{2066}\u{fffe}\u{fffd}".contains(c);
    assert!(!text.contains(acts), "{text:?}");
}

#[track_caller]
fn harmless_output(output: &Output) {
    harmless(output.stdout.as_bytes());
    harmless(output.stderr.as_bytes());
}

/// Fails where the daemon told systemd anything but what it has to tell.
#[track_caller]
fn speaks_for_itself(daemon: &Daemon) {
    for line in daemon.notices() {
        let ours = ["READY=1", "STOPPING=1"].contains(&line.as_str()) || line.starts_with("STATUS=links: ");
        assert!(ours, "systemd heard {line:?}");
    }
    let log = daemon.log();
    harmless(log.as_bytes());
    for line in log.lines() {
        assert!(["error ", "warn ", "info ", "debug "].iter().any(|level| line.starts_with(level)), "{log}");
    }
}

#[test]
fn a_file_name_adds_no_field_to_systemds_protocol() {
    let bench = Bench::installed();
    let mut daemon = bench.spawn();
    daemon.wait_ready();
    // What cannot be settled is told in the status line, by name.
    fs::remove_dir(bench.rejected()).unwrap();
    fs::write(bench.rejected(), "").unwrap();
    bench.drop_file(&format!("{NASTY}.toml"), "no TOML");
    daemon.wait_notice(&format!("{SHOWN}.toml"));
    speaks_for_itself(&daemon);
    fs::remove_file(bench.rejected()).unwrap();
    fs::create_dir(bench.rejected()).unwrap();
    bench.wait_rejected(&format!("{NASTY}.toml"));
    daemon.stop();
}

#[test]
fn what_a_trigger_raises_adds_no_field_to_systemds_protocol_and_no_line_to_the_log() {
    let bench = Bench::new();
    bench.db.insert_user(ALICE, None);
    bench.db.insert_issue(1, ALICE, Some(&plain_link(1)));
    bench.install();
    let daemon = bench.start();
    bench.wait_idle();
    // Whatever class of errors the trigger's belongs to, it is this issue's alone.
    for code in ["P0001", "57P01", "53100", "42501"] {
        bench.db.execute(&format!(
            "create function theirs() returns trigger language plpgsql as
             $$ begin raise exception using message = {NASTY_SQL} || ' ' || new.okdesk_url, errcode = '{code}',
                    table = 'nobody' || chr(27) || '[31m'; end $$;
             create trigger theirs before update on issues for each row execute function theirs()"
        ));
        bench.db.set_token(ALICE, Some(TOKEN));
        bench.wait_until("the issue is set aside", || {
            let status = bench.run(["status", "--json"]).json();
            status["set_aside"][0]["reason"].as_str().is_some_and(|reason| reason.contains(SHOWN))
        });
        daemon.wait_log("cannot be written");
        daemon.wait_log(SHOWN);
        speaks_for_itself(&daemon);
        harmless_output(&bench.run(["status"]).exits(0));
        harmless_output(&bench.run(["sync"]));
        bench.db.execute("drop trigger theirs on issues; drop function theirs()");
        bench.wait_link(1, &login_link(TOKEN, 1));
        bench.db.set_token(ALICE, None);
        bench.wait_link(1, &plain_link(1));
    }
    // A file that waits for the same reason is in the status line.
    refuse_tokens(&bench, NASTY_SQL);
    bench.drop_token("a.toml", ALICE, TOKEN);
    daemon.wait_notice(SHOWN);
    speaks_for_itself(&daemon);
    // What that trigger wrote into the server's own log is its author's.
    assert!(!daemon.log().contains(TOKEN), "{}", daemon.log());
    daemon.stop();
}

/// A trigger that refuses every sealed token, with this message.
fn refuse_tokens(bench: &Bench, message: &str) {
    bench.db.execute(&format!(
        "create function refuses() returns trigger language plpgsql as
         $$ begin raise exception using message = {message}; end $$;
         create trigger refuses before update on users for each row
         when (new.portal_token like 'relinkd:%') execute function refuses()"
    ));
}

#[test]
fn a_message_without_end_does_not_flood_the_log() {
    let bench = Bench::new();
    bench.db.insert_user(ALICE, None);
    bench.db.insert_issue(1, ALICE, Some(&plain_link(1)));
    bench.install();
    let daemon = bench.start();
    refuse_tokens(&bench, "'frozen ' || repeat('я', 1000000)");
    bench.drop_token("a.toml", ALICE, TOKEN);
    daemon.wait_notice("frozen я");
    daemon.wait_log("frozen я");
    let longest = daemon.log().lines().chain(daemon.notices().iter().map(String::as_str)).map(str::len).max();
    assert!(longest < Some(4_096), "{longest:?} bytes in a line");
    daemon.stop();
}

#[test]
fn names_of_files_act_on_no_terminal_and_a_program_gets_them_back() {
    let bench = Bench::new();
    bench.db.insert_user(ALICE, None);
    bench.db.insert_user(BOB, None);
    bench.install();
    let daemon = bench.start();
    let names: [(&[u8], &str); 3] =
        [(NASTY.as_bytes(), SHOWN), (b"a\xff\xe2\x80\xae", r"a\xff\u{202e}"), (br"a\xff", r"a\\xff")];
    for (name, shown) in names {
        let name_with = |ending: &str| {
            let mut name = name.to_owned();
            name.extend(ending.as_bytes());
            name
        };
        let drop = |content: &str| {
            let draft = bench.incoming().join(".draft");
            fs::write(&draft, content).unwrap();
            fs::rename(draft, bench.incoming().join(OsStr::from_bytes(&name_with(".toml")))).unwrap();
        };
        drop("no TOML");
        let reason = bench.rejected().join(OsStr::from_bytes(&name_with(".toml.reason")));
        bench.wait_until("it is rejected", || reason.exists());
        harmless(&fs::read(&reason).unwrap());

        drop(&format!("telegram_id = {ALICE}\ntoken = \"{TOKEN}\"\n"));
        let receipt = bench.applied().join(OsStr::from_bytes(&name_with(".toml.json")));
        bench.wait_until("it is applied", || receipt.exists());
        let receipt = fs::read(&receipt).unwrap();
        harmless(&receipt);
        let receipt: serde_json::Value = serde_json::from_slice(&receipt).unwrap();
        assert_eq!(receipt["file"], format!("{shown}.toml"));

        fs::create_dir(bench.incoming().join(OsStr::from_bytes(&name_with(".toml")))).unwrap();
        let file = format!("{shown}.toml");
        let told = |line: &str| line.contains(&file) && line.contains("it is a directory");
        bench.wait_until("it is told of", || daemon.log().lines().any(told));
    }
    harmless_output(&bench.run(["status"]));
    speaks_for_itself(&daemon);
    daemon.stop();
}

#[test]
fn names_from_the_catalog_act_on_no_terminal() {
    let bench = Bench::new();
    bench.db.insert_user(ALICE, None);
    bench.db.insert_issue(1, ALICE, Some(&plain_link(1)));
    let name = "U&\"no\\001b[31m\\202elogin\\000aok\"";
    bench.db.execute(&format!(
        "alter table issues add constraint {name} check (okdesk_url not like '%login%');
         create function theirs() returns trigger language plpgsql as $$ begin return new; end $$;
         create trigger {name} before update on issues for each row execute function theirs()"
    ));
    let shown = r"no\x1b[31m\u{202e}login\nok";
    bench.install();
    bench.db.set_token(ALICE, Some(TOKEN));
    let said = bench.run(["sync"]).exits(7);
    assert!(said.stderr.contains(shown), "{}", said.stderr);
    harmless_output(&said);
    harmless_output(&bench.run(["check"]));

    let role = "role\u{1b}[31m\u{202e}\n  ok       all is well";
    let said = bench.run(["install", "--admin-url", &bench.db.admin_url(), "--role", role]).exits(0);
    bench.db.admin().execute(&format!("drop owned by \"{role}\"; drop role \"{role}\""));
    harmless_output(&said);
    assert!(said.stdout.contains(r"role\x1b[31m\u{202e}\n  ok"), "{}", said.stdout);

    let url = bench.db.url(bench.db.role());
    bench.set(
        "database.url",
        &crate::support::relinkd::quoted(&url.replace(bench.db.role(), "nobody%1B%5B31m%0Aok%E2%80%AE")),
    );
    let said = bench.run(["status"]).exits(5);
    harmless_output(&said);
    assert_eq!(
        said.stdout.lines().filter(|line| line.starts_with("database ")).count(),
        1,
        "{}",
        said.stdout
    );
    assert_eq!(said.stderr, "");
    harmless_output(&bench.run(["check"]));
    bench.assert_no_leak(&[TOKEN]);
}

#[test]
fn links_act_on_no_terminal() {
    let bench = Bench::new();
    bench.db.insert_user(ALICE, Some(TOKEN));
    let ours = format!("{BASE}/issues/1?q=\u{202e}\u{9b}31m\u{fffe}");
    let theirs = format!("https://evil.example/{NASTY}");
    bench.db.insert_issue(1, ALICE, Some(&ours));
    bench.db.insert_issue(2, ALICE, Some(&theirs));
    bench.install();
    let shown = r"q=\u{202e}\u{9b}31m\u{fffe}";
    for arguments in [&["explain", "1"] as &[_], &["sync", "--dry-run"], &["sync", "--dry-run", "--json"]] {
        let said = bench.run(arguments);
        harmless_output(&said);
        let first = said.stdout.lines().next().unwrap_or_default();
        let json = serde_json::from_str::<serde_json::Value>(first);
        let old = json.map_or(said.stdout, |json| json["old"].to_string().replace(r"\\", "\\"));
        assert!(old.contains(shown), "{old}");
    }
    for arguments in [["explain", "2"], ["explain", "--user"]] {
        let user = ALICE.to_string();
        let more = (arguments[1] == "--user").then_some(user.as_str());
        let said = bench.run(arguments.into_iter().chain(more));
        harmless_output(&said);
        assert!(said.stdout.contains(&format!("https://evil.example/{SHOWN}\n")), "{}", said.stdout);
    }
}

#[test]
fn a_link_and_a_token_of_hundreds_of_megabytes_hold_up_nobody() {
    let bench = Bench::new();
    bench.db.insert_user(ALICE, None);
    bench.db.insert_user(BOB, None);
    bench.db.insert_issue(2, BOB, Some(&plain_link(2)));
    bench.db.execute(&format!(
        "insert into issues (id, telegram_user_id, okdesk_issue_id, status, okdesk_url)
         values (1, {ALICE}, 1, 'opened', '{BASE}/issues/1?x=' || repeat('x', 250000000));
         update users set portal_token = 'relinkd:v1:k1:' || repeat('x', 250000000) where telegram_id = {ALICE}"
    ));
    bench.install();
    let daemon = bench.start();
    bench.drop_token("b.toml", BOB, TOKEN);
    bench.wait_link(2, &login_link(TOKEN, 2));
    // What goes is such a value, too: every token has to leave the user's links.
    bench.db.insert_issue(3, ALICE, Some(&login_link(OTHER, 3)));
    bench.db.set_token(ALICE, None);
    bench.wait_link(3, &plain_link(3));
    bench.wait_idle();
    let kept = bench.db.number("select octet_length(okdesk_url) from issues where id = 1");
    assert!(kept > 250_000_000, "{kept}");
    bench.run(["sync", "--dry-run"]).exits(0);
    daemon.stop();
}

#[test]
fn bytes_that_are_no_text_hold_up_nobody_in_a_database_without_an_encoding() {
    let bench = Bench::over(Arc::new(Database::without_encoding()));
    bench.db.insert_user(ALICE, None);
    bench.db.insert_user(BOB, None);
    bench.db.insert_issue(2, BOB, Some(&plain_link(2)));
    bench.db.execute(&format!(
        "insert into issues (id, telegram_user_id, okdesk_issue_id, status, okdesk_url)
         values (1, {ALICE}, 1, 'opened', E'{BASE}/issues/1?x=\\377');
         update users set portal_token = E'12\\377' where telegram_id = {ALICE};
         create function speak() returns trigger language plpgsql as $$ begin raise exception E'n\\377'; end $$;
         create trigger speak before update on issues for each row when (new.id = 4) execute function speak()"
    ));
    bench.install();
    let daemon = bench.start();
    bench.drop_token("b.toml", BOB, TOKEN);
    bench.wait_link(2, &login_link(TOKEN, 2));
    bench.db.insert_issue(4, BOB, Some(&plain_link(4)));
    daemon.wait_log("is set aside");
    bench
        .db
        .execute(&format!("update users set portal_token = E'relinkd:\\377' where telegram_id = {ALICE}"));
    bench.db.set_token(ALICE, None);
    bench.db.insert_issue(5, BOB, Some(&plain_link(5)));
    bench.wait_link(5, &login_link(TOKEN, 5));
    bench.run(["status"]).ok();
    bench.run(["explain", "1"]).exits(0);
    bench.run(["sync", "--dry-run"]).exits(3);
    bench.run(["check"]).exits(0);
    daemon.stop();
}

#[test]
fn a_secret_in_a_tail_is_masked_wherever_links_are_shown() {
    let bench = Bench::new();
    bench.db.insert_user(ALICE, Some(TOKEN));
    let once = format!("https%3A%2F%2Fx%2Flogin%3Ftoken%3D{OTHER}%26a%3D1");
    for (issue, tail) in [
        (1, format!("next={once}")),
        (2, format!("next={}", once.replace('%', "%25"))),
        (3, format!("next={}", once.replace('%', "%2525"))),
        (4, format!("token[]={OTHER}")),
        (5, format!("API_KEY={OTHER}#Access_Token={OTHER}")),
        (6, format!("code={OTHER};Password={OTHER}")),
        (7, format!("next=https://user:{OTHER}@x/")),
    ] {
        bench.db.insert_issue(issue, ALICE, Some(&format!("{BASE}/issues/{issue}?{tail}")));
    }
    bench.install();
    for issue in 1..=7 {
        bench.run(["explain", &issue.to_string()]).exits(0);
    }
    bench.run(["explain", "--user", &ALICE.to_string()]).exits(0);
    bench.run(["sync", "--dry-run"]).exits(3);
    bench.run(["sync", "--dry-run", "--json"]).exits(3);
    bench.assert_no_leak(&[TOKEN, OTHER]);
}
