//! `relinkd spool`: what operators see of the spool and do with what was rejected, without a database.

use crate::support::cast::{ALICE, BOB, TOKEN, installed};
use crate::support::{Bench, Output};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

/// A spool as a daemon leaves it, and a database that is away.
fn spool() -> Bench {
    let bench = Bench::new();
    bench.set("database.url", "\"postgresql://relinkd@127.0.0.1:1/nowhere\"");
    for directory in [bench.rejected(), bench.applied(), bench.claimed()] {
        fs::create_dir(directory).unwrap();
    }
    bench
}

fn reject(bench: &Bench, name: &str, reason: &str) {
    fs::write(bench.rejected().join(name), format!("telegram_id = 1\ntoken = '{TOKEN}'\n")).unwrap();
    fs::write(bench.rejected().join(format!("{name}.reason")), reason).unwrap();
}

fn run(bench: &Bench, arguments: &[&str]) -> Output {
    bench.run(["spool"].iter().chain(arguments))
}

#[test]
fn what_waits_was_rejected_or_is_not_taken_is_listed() {
    let bench = spool();
    assert_eq!(run(&bench, &[]).ok(), "nothing waits, nothing was rejected\n");
    bench.drop_file("new.toml", "x");
    bench.drop_file("note.txt", "x");
    symlink("/etc/passwd", bench.incoming().join("link.toml")).unwrap();
    reject(&bench, "bad.toml", "2:9: the token is empty\n    токен пуст\n4:1: unknown key\n    ключ\n");
    fs::write(bench.rejected().join("left.toml.reason"), "1:1: x\n").unwrap();
    insta::assert_snapshot!(run(&bench, &[]).ok(), @"
    STATE      NAME       WHY
    waiting    new.toml
    not taken  link.toml  it is a symbolic link, not a regular file
    rejected   bad.toml   2:9: the token is empty (and 1 more)
    rejected   left.toml  the file is gone, only its reason is left
    ");
    assert_eq!(run(&bench, &["list"]).ok(), run(&bench, &[]).ok());
    for arguments in [&["--json"][..], &["list", "--json"]] {
        let json = run(&bench, arguments).json();
        assert_eq!(json["version"], 1);
        assert_eq!(json["waiting"], serde_json::json!([{"name": "new.toml"}]));
        assert_eq!(json["not_taken"][0]["name"], "link.toml");
        assert_eq!(json["rejected"][0]["name"], "bad.toml");
        assert_eq!(
            json["rejected"][0]["reason"],
            serde_json::json!(["2:9: the token is empty", "4:1: unknown key"])
        );
    }
    let shown = run(&bench, &["show", "bad.toml"]).ok();
    assert!(shown.contains("  2:9: the token is empty\n      токен пуст\n"), "{shown}");
    assert!(run(&bench, &["show", "new.toml"]).ok().contains("waiting"));
    assert!(run(&bench, &["show", "link.toml"]).ok().contains("symbolic link"));
    run(&bench, &["show", "none.toml"]).exits(1);
    bench.assert_no_leak(&[TOKEN]);
}

#[test]
fn a_rejected_file_goes_back_and_is_taken() {
    let bench = installed(&[ALICE, BOB]);
    let daemon = bench.start();
    bench.drop_token("a.toml", 77, TOKEN);
    bench.wait_rejected("a.toml");
    bench.db.insert_user(77, None);
    let said = run(&bench, &["retry", "a.toml"]).ok();
    assert_eq!(said, "a.toml: moved back, as incoming/a.toml\n");
    bench.wait_applied("a.toml");
    assert_eq!(fs::read_dir(bench.rejected()).unwrap().count(), 0);
    daemon.stop();
    bench.assert_no_leak(&[TOKEN]);
}

/// The numbers that a taken name got, and the ending that a long one lost, would keep a file from being taken.
#[test]
fn what_goes_back_has_a_name_that_is_taken_and_overwrites_nothing() {
    let bench = spool();
    bench.drop_file("a.toml", "mine");
    let long = format!("{}.2", "x".repeat(239));
    for name in ["a.toml", "a.toml.1", "b.toml.12", &long] {
        reject(&bench, name, "1:1: x\n");
    }
    run(&bench, &["retry", "a.toml", "a.toml.1", "b.toml.12", &long]).ok();
    let mut names: Vec<String> = fs::read_dir(bench.incoming())
        .unwrap()
        .map(|it| it.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let long = format!("{}.toml", "x".repeat(239));
    assert_eq!(names, ["a.1.toml", "a.2.toml", "a.toml", "b.toml", &long]);
    assert_eq!(fs::read_to_string(bench.incoming().join("a.toml")).unwrap(), "mine");
    assert_eq!(fs::read_dir(bench.rejected()).unwrap().count(), 0, "their reasons are gone");
}

#[test]
fn what_is_discarded_is_gone_and_one_that_fails_keeps_no_other() {
    let bench = spool();
    reject(&bench, "a.toml", "1:1: x\n");
    reject(&bench, "b.toml", "1:1: x\n");
    fs::write(bench.rejected().join("c.toml.reason"), "1:1: x\n").unwrap();
    let said =
        run(&bench, &["discard", "a.toml", "none.toml", "../../config.toml", "b.toml", "c.toml"]).exits(7);
    assert!(said.stderr.contains("none.toml: there is no such file"), "{}", said.stderr);
    assert!(said.stderr.contains("config.toml: this is no name"), "{}", said.stderr);
    assert_eq!(said.stdout.lines().count(), 3);
    assert_eq!(fs::read_dir(bench.rejected()).unwrap().count(), 0);
    run(&bench, &["discard", "none.toml"]).exits(1);
    run(&bench, &["retry", "none.toml"]).exits(1);
    run(&bench, &["retry"]).exits(2);
}

/// Anybody of the group may put something into rejected/.
#[test]
fn nothing_in_rejected_is_followed_or_printed_raw() {
    let bench = spool();
    fs::write(bench.path("secret"), "a secret of root's").unwrap();
    symlink(bench.path("secret"), bench.rejected().join("x.toml.reason")).unwrap();
    symlink(bench.path("secret"), bench.rejected().join("y.toml")).unwrap();
    fs::write(bench.rejected().join("y.toml.reason"), "1:1: \u{1b}]0;x\u{7}\u{202e}evil \"and\" 'so'\n")
        .unwrap();
    fs::write(bench.rejected().join("z\u{1b}[2J\n.toml"), "").unwrap();
    nix::unistd::mkfifo(&bench.rejected().join("f.toml.reason"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let said = run(&bench, &[]).ok()
        + &run(&bench, &["show", "x.toml"]).ok()
        + &run(&bench, &["show", "y.toml"]).ok();
    assert!(!said.contains("secret of root"), "{said}");
    assert!(said.chars().all(|c| c == '\n' || !c.is_control() && c != '\u{202e}'), "{said:?}");
    assert!(said.contains("evil \"and\" 'so'"), "{said}");
    let refused = run(&bench, &["retry", "y.toml"]).exits(1);
    assert!(refused.stderr.contains("symbolic link"), "{}", refused.stderr);
    run(&bench, &["discard", "x.toml", "y.toml"]).ok();
    assert!(bench.path("secret").exists());
}

/// As an operator has it, who may read neither configuration nor keyring.
#[test]
fn another_directory_can_be_named() {
    let bench = spool();
    reject(&bench, "a.toml", "1:1: x\n");
    let directory = bench.spool().display().to_string();
    fs::write(bench.config_file(), "not toml").unwrap();
    run(&bench, &[]).exits(4);
    assert!(run(&bench, &["--directory", &directory]).ok().contains("a.toml"));
    fs::remove_file(bench.config_file()).unwrap();
    run(&bench, &["discard", "a.toml", "--directory", &directory]).ok();
    fs::set_permissions(bench.spool(), fs::Permissions::from_mode(0o755)).unwrap();
    let none = run(&bench, &["--directory", "/no/such/place"]).exits(1);
    assert!(none.stderr.contains("--directory DIR"), "{}", none.stderr);
}
