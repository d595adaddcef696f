//! Next steps that fit: whoever reads one can take it, as it stands, for the configuration in use.

use crate::support::Bench;
use crate::support::cast::{ALICE, TOKEN, installed};
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt};

#[test]
fn hints_carry_the_configuration_that_was_named() {
    let bench = Bench::new();
    let other = bench.path("other.toml");
    fs::copy(bench.config_file(), &other).unwrap();
    let other = other.display().to_string();
    let named = bench.run(["--config", &other, "status"]).exits(5).stdout;
    assert!(named.contains(&format!("`relinkd --config {other} install`")), "{named}");
    // It comes from the environment, which is there for the next command.
    assert!(bench.run(["status"]).exits(5).stdout.contains("`relinkd install`"));
    // The unit's environment is not.
    let file = bench.config_file().display().to_string();
    let daemon = bench.spawn();
    daemon.wait_log(&format!("`relinkd --config {file} install`"));
    daemon.stop();
}

#[test]
fn a_configuration_that_is_missing_is_made_not_corrected() {
    let bench = Bench::new();
    let none = bench.path("none.toml").display().to_string();
    let said = bench.run(["--config", &none, "status"]).exits(4).stderr;
    assert!(said.contains(&format!("config.toml.example {none}")) && !said.contains("correct"), "{said}");
    fs::write(bench.config_file(), "[portal]\n").unwrap();
    let said = bench.run(["status"]).exits(4).stderr;
    assert!(said.contains(&format!("correct it: editor {}", bench.config_file().display())), "{said}");
}

#[test]
fn the_second_daemon_of_a_spool_is_told_whose_it_is() {
    let bench = Bench::installed();
    let daemon = bench.start();
    let refused = bench.run(["run"]).exits(1).stderr;
    assert!(
        refused.contains(&format!("owns the spool {}: process {}\n", bench.spool().display(), daemon.pid())),
        "{refused}"
    );
    assert!(refused.contains("stop that one (systemctl stop relinkd), or"), "{refused}");
    daemon.stop();
}

/// "canceling statement due to lock timeout" says nothing of what is to be done.
#[test]
fn a_row_that_somebody_holds_is_called_that() {
    let bench = installed(&[ALICE]);
    let other = bench.db.another_bot();
    other.execute("begin; lock table users in share mode");
    let refused = bench.run_with_input(["token", "set", &ALICE.to_string()], TOKEN).exits(5).stderr;
    assert!(refused.contains("another session holds the row or table (SQLSTATE 55P03)"), "{refused}");
    assert!(refused.contains("try again when its transaction is over"), "{refused}");
    bench.assert_no_leak(&[TOKEN]);
}

/// `ExecReload` runs it, and `journalctl -p warning` is to show why a reload failed.
#[test]
fn what_is_wrong_reaches_the_journal_as_a_warning() {
    let bench = Bench::new();
    bench.write_keyring("not a keyring");
    let path = bench.path("journal");
    let journal = File::create(&path).unwrap();
    let metadata = journal.metadata().unwrap();
    let status = bench
        .command(["check", "--offline"])
        .env("JOURNAL_STREAM", format!("{}:{}", metadata.dev(), metadata.ino()))
        .stdout(journal)
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(6));
    let said = fs::read_to_string(path).unwrap();
    let warnings: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("<4>")).collect();
    assert!(
        warnings[0].starts_with("  fault    ") && warnings[1].trim_start().starts_with("mend: editor"),
        "{said}"
    );
    assert!(said.contains("\n  ok       "), "{said}");
    assert!(!bench.run(["check", "--offline"]).exits(6).stdout.contains("<4>"));
}

#[test]
fn key_commands_reload_the_daemon_where_they_are_told_to() {
    let bench = Bench::installed();
    let (programs, calls) = (bench.path("bin"), bench.path("calls"));
    fs::create_dir(&programs).unwrap();
    let systemctl = programs.join("systemctl");
    fs::write(&systemctl, format!("#!/bin/sh\necho \"$*\" >> {}\n", calls.display())).unwrap();
    fs::set_permissions(&systemctl, fs::Permissions::from_mode(0o755)).unwrap();
    let run = |arguments: &[&str]| {
        let output = bench.command(arguments).env("PATH", &programs).output().unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap() + &String::from_utf8_lossy(&output.stderr),
        )
    };
    let (code, said) = run(&["key", "generate", "--id", "k2"]);
    assert!(code == Some(0) && said.contains("systemctl reload relinkd (--reload does it)"), "{said}");
    assert!(!calls.exists());
    let (code, said) = run(&["key", "promote", "k2", "--reload"]);
    assert!(code == Some(0) && said.contains("relinkd, where it runs, has read it again"), "{said}");
    assert_eq!(fs::read_to_string(&calls).unwrap(), "try-reload-or-restart relinkd\n");
    fs::write(&systemctl, "#!/bin/sh\necho it is masked >&2\nexit 1\n").unwrap();
    let (code, said) = run(&["key", "retire", "k1", "--reload"]);
    assert_eq!(code, Some(7), "{said}");
    assert!(said.contains("the keyring is changed, but relinkd was not reloaded: it is masked"), "{said}");
}
