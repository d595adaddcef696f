//! What only a terminal shows: a prompt without echo, a progress bar. The terminal is `script`'s (util-linux).

use crate::support::cast::{ALICE, TOKEN};
use crate::support::{BASE, Bench, holds_soon};
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

/// Runs a command of relinkd's in a terminal; types `answer` once `question` is asked. What the terminal showed.
fn in_a_terminal(bench: &Bench, command: &str, question: &str, answer: &str) -> String {
    let line = format!("{} {command}", env!("CARGO_BIN_EXE_relinkd"));
    let mut script = Command::new("script")
        .args(["-qefc", &line, "/dev/null"])
        .env("RELINKD_CONFIG", bench.config_file())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script is part of Debian");
    let shown = Arc::new(Mutex::new(Vec::new()));
    let (mut output, seen) = (script.stdout.take().unwrap(), Arc::clone(&shown));
    let reader = std::thread::spawn(move || {
        let mut buffer = [0_u8; 4096];
        while let Ok(count @ 1..) = output.read(&mut buffer) {
            seen.lock().unwrap().extend_from_slice(&buffer[..count]);
        }
    });
    let text = || String::from_utf8_lossy(&shown.lock().unwrap()).into_owned();
    let mut keyboard = script.stdin.take().unwrap();
    if !question.is_empty() {
        assert!(holds_soon(|| text().contains(question)), "it does not ask: {}", text());
        keyboard.write_all(answer.as_bytes()).unwrap();
    }
    let status = script.wait().unwrap();
    drop(keyboard);
    reader.join().unwrap();
    assert!(status.success(), "{}", text());
    text()
}

#[test]
fn a_token_that_is_typed_is_not_shown() {
    let bench = Bench::new();
    bench.db.insert_user(ALICE, None);
    bench.install();
    let shown = in_a_terminal(&bench, &format!("token set {ALICE}"), "Token: ", &format!("{TOKEN}\n"));
    assert!(shown.contains("set; no daemon is running"), "{shown}");
    assert!(!shown.contains(&TOKEN[..6]), "{shown}");
    assert_eq!(bench.run_revealing(["token", "show", &ALICE.to_string(), "--reveal"]).ok().trim(), TOKEN);
}

#[test]
fn sync_shows_how_far_it_is_on_a_terminal_alone() {
    let bench = Bench::new();
    for user in 1..=200 {
        bench.db.insert_user(user, Some(&format!("1000-2000-3000-{user:04}")));
        bench.db.insert_issue(i32::try_from(user).unwrap(), user, Some(&format!("{BASE}/issues/{user}")));
    }
    bench.install();
    let shown = in_a_terminal(&bench, "sync", "", "");
    assert!(shown.contains("/200 users"), "{shown}");
    assert!(shown.contains("200 of 200 links of 200 users rewritten"), "{shown}");
    let plain = bench.run(["sync"]).exits(0);
    assert_eq!(plain.stderr, "");
    assert_eq!(plain.stdout, "0 of 200 links of 200 users rewritten\n");
}
