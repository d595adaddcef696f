//! What only a terminal shows: a prompt without echo, a progress bar. The terminal is `script`'s (util-linux).

use crate::support::cast::{ALICE, TOKEN};
use crate::support::{BASE, Bench, holds_soon};
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

/// Runs a command of relinkd's in a terminal; types `answer` once `question` is asked. What the terminal showed.
fn in_a_terminal(bench: &Bench, command: &str, question: &str, answer: &str) -> String {
    // Ctrl-C reaches a shell that waits for the command, too: then it would be the shell's end that counts.
    let line = format!("exec {} {command}", env!("CARGO_BIN_EXE_relinkd"));
    let mut script = Command::new("script")
        .args(["-qefc", &line, "/dev/null"])
        .envs([("SHELL", "/bin/sh"), ("TERM", "xterm")])
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
    assert!(status.success(), "{status}: {}", text());
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
    assert!(shown.contains("/200 links"), "{shown}");
    assert!(shown.contains("200 of 200 links rewritten"), "{shown}");
    let plain = bench.run(["sync"]).exits(0);
    assert_eq!(plain.stderr, "");
    assert_eq!(plain.stdout, "0 of 200 links rewritten\n");
}

#[test]
fn check_has_colours_on_a_terminal_alone() {
    let bench = Bench::installed();
    let shown = in_a_terminal(&bench, "check", "", "");
    assert!(shown.contains("  \x1b[32mok     \x1b[0m  "), "{shown}");
    let plain = bench.run(["check"]).ok();
    assert!(plain.contains("  ok       ") && !plain.contains('\x1b'), "{plain}");
}

#[test]
fn status_has_colours_on_a_terminal_alone_and_is_redrawn_in_place() {
    let bench = Bench::installed();
    let shown = in_a_terminal(&bench, "status", "", "");
    assert!(shown.contains("\x1b[33mdaemon      \x1b[0m none is running here"), "{shown}");
    assert!(shown.contains("\x1b[32mtriggers    \x1b[0m 6/6"), "{shown}");
    let plain = bench.run(["status"]).ok();
    assert!(plain.contains("triggers     6/6") && !plain.contains('\x1b'), "{plain}");

    // The second time it is drawn over the first; Ctrl-C ends it, in peace.
    let shown = in_a_terminal(&bench, "status --watch", "\x1b[J\x1b[H", "\x03");
    assert!(shown.matches("none is running here").count() >= 2, "{shown}");
    assert!(shown.trim_end().ends_with("\x1b[?25h"), "the cursor is there again: {shown:?}");
}
