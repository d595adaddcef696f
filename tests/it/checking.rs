//! `relinkd check`: every fault and warning is produced for real, named, and mended by the command beside it.

use crate::support::cluster::BOT;
use crate::support::pooler::Pooler;
use crate::support::relinkd::{KEYRING, quoted};
use crate::support::{Bench, Cluster, ClusterOptions, Database, TokenColumn, login_link, plain_link};
use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

/// One line of `check` and its mending command.
#[derive(Debug)]
struct Line {
    severity: String,
    what: String,
    mend: Option<String>,
}

/// What a run of `check` said.
struct Said {
    code: i32,
    lines: Vec<Line>,
    whole: String,
}

fn check(bench: &Bench, arguments: &[&str]) -> Said {
    let output = bench.run(["check"].iter().chain(arguments));
    read(output.code.expect("an exit status"), output.stdout)
}

fn read(code: i32, whole: String) -> Said {
    let mut lines: Vec<Line> = Vec::new();
    for text in whole.lines() {
        let words = text.trim_start();
        let severity = ["ok ", "warning ", "fault "].into_iter().find(|word| words.starts_with(word));
        if let (Some(severity), true) = (severity, text.starts_with("  ") && !text.starts_with("   ")) {
            let what = words[severity.len()..].trim_start().to_owned();
            lines.push(Line { severity: severity.trim_end().to_owned(), what, mend: None });
        } else if let Some(mend) = words.strip_prefix("mend: ") {
            lines.last_mut().expect("a mend follows a finding").mend = Some(mend.to_owned());
        }
    }
    Said { code, lines, whole }
}

impl Said {
    /// The one finding with this text.
    #[track_caller]
    fn finding(&self, severity: &str, text: &str) -> &Line {
        let found: Vec<&Line> =
            self.lines.iter().filter(|line| line.severity == severity && line.what.contains(text)).collect();
        assert_eq!(found.len(), 1, "one {severity} about {text:?} in:\n{}", self.whole);
        found[0]
    }

    /// The command that mends that finding.
    #[track_caller]
    fn mend(&self, severity: &str, text: &str) -> String {
        self.finding(severity, text).mend.clone().expect("a mending command")
    }

    #[track_caller]
    fn silent_about(&self, text: &str) {
        let found = self.lines.iter().find(|line| line.severity != "ok" && line.what.contains(text));
        assert!(found.is_none(), "{text:?} is still there:\n{}", self.whole);
    }

    #[track_caller]
    fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}", self.whole);
        self
    }
}

/// Runs a mending command as an operator would: SQL as the superuser, relinkd's and the shell's by the shell.
#[track_caller]
fn apply(bench: &Bench, command: &str) {
    if command.contains(';') && !command.starts_with("ch") {
        return bench.db.admin().execute(command);
    }
    let path = format!(
        "{}:{}",
        Path::new(env!("CARGO_BIN_EXE_relinkd")).parent().unwrap().display(),
        std::env::var("PATH").unwrap()
    );
    let output = Command::new("sh")
        .args(["-c", command])
        .env("PATH", path)
        .env("RELINKD_CONFIG", bench.config_file())
        .output()
        .unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Finds it, mends it by the command given, and sees that it is gone.
#[track_caller]
fn found_and_mended(bench: &Bench, code: i32, severity: &str, text: &str, mend: &str) {
    let said = check(bench, &[]).exits(code);
    let command = said.mend(severity, text);
    assert!(command.contains(mend), "{command}");
    apply(bench, &command);
    // A server counts some things late.
    bench.wait_until("it is mended", || !check(bench, &[]).whole.contains(text));
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// A bench of which nothing is to be said but that it is right: a session of this test's stands for the daemon.
fn sound() -> Bench {
    made_sound(Bench::installed())
}

/// What `check` misses after `install`.
fn made_sound(bench: Bench) -> Bench {
    chmod(&bench.incoming(), 0o3770);
    bench.db.admin().execute(
        "insert into relinkd.daemon (id, mode, backend_pid, backend_start)
         select 'this test', 'listen', pid, backend_start from pg_stat_activity where pid = pg_backend_pid()",
    );
    bench
}

#[test]
fn a_sound_installation_has_nothing_but_ok() {
    let bench = sound();
    let said = check(&bench, &[]).exits(0);
    assert!(said.lines.iter().all(|line| line.severity == "ok" && line.mend.is_none()), "{}", said.whole);
    for group in ["config", "keyring", "spool", "database"] {
        assert!(said.whole.lines().any(|line| line == group), "{}", said.whole);
    }
    for right in ["reachable and writable", "triggers 6/6", "index", "notifications arrive", "inotify"] {
        said.finding("ok", right);
    }
    assert!(!said.whole.contains('\x1b'), "no colours but on a terminal");
    let offline = check(&bench, &["--offline"]).exits(0);
    assert!(!offline.whole.contains("database\n"), "{}", offline.whole);
    assert_eq!(bench.run(["-q", "check"]).ok(), "");
}

#[test]
fn before_install_it_leads_to_install() {
    let bench = Bench::new();
    chmod(&bench.incoming(), 0o3770);
    bench.run(["check"]).exits(5);
    let said = check(&bench, &[]);
    // The role does not exist yet.
    assert!(said.whole.contains("install --admin-url"), "{}", said.whole);
    bench.db.admin().execute(&format!("create role {} login", bench.db.role()));
    let install = check(&bench, &[]).exits(5).mend("fault", "schema relinkd is missing");
    assert!(install.starts_with("relinkd install --admin-url "), "{install}");
    assert!(install.contains(BOT), "the owner of the tables may install: {install}");
    apply(&bench, &install);
    let said = check(&bench, &[]).exits(0);
    said.finding("warning", "log_parameter_max_length");
    assert_eq!(said.mend("warning", "no daemon is at work"), "systemctl start relinkd");
}

#[test]
fn config_faults_have_a_place_and_a_caret_and_the_rest_is_looked_at_all_the_same() {
    let bench = sound();
    bench.set("portal.tokenless", "\"perhaps\"");
    bench.write_keyring("primary = \"k2\"\n");
    let said = check(&bench, &[]).exits(4);
    assert!(said.finding("fault", "tokenless").what.contains("config.toml:"), "{}", said.whole);
    assert!(said.whole.contains('^'), "{}", said.whole);
    assert!(said.mend("fault", "tokenless").starts_with("editor "));
    said.finding("fault", "keyring.toml:1:");
    said.finding("ok", "reachable and writable");
    fs::remove_file(bench.config_file()).unwrap();
    let said = check(&bench, &[]).exits(4);
    assert_eq!(said.lines.len(), 1, "{}", said.whole);
    assert!(said.mend("fault", "cannot be read").contains("config.toml.example"));
}

#[test]
fn a_config_that_everybody_reads_must_hold_no_password_and_nobody_else_writes_it() {
    let bench = sound();
    let url = format!(
        "host={} user={} dbname={} password=opensesame",
        bench.db.cluster().socket().display(),
        bench.db.role(),
        bench.db.name()
    );
    bench.set("database.url", &quoted(&url));
    chmod(&bench.config_file(), 0o644);
    let said = check(&bench, &["--offline"]).exits(0);
    assert!(!said.whole.contains("opensesame"));
    assert!(said.mend("warning", "holds a password").contains("chmod o= "));
    chmod(&bench.config_file(), 0o640);
    check(&bench, &["--offline"]).silent_about("holds a password");
    chmod(&bench.config_file(), 0o642);
    let said = check(&bench, &["--offline"]).exits(4);
    apply(&bench, &said.mend("fault", "every user may change"));
    check(&bench, &["--offline"]).exits(0);
}

#[test]
fn tcp_beyond_loopback_wants_verify_full() {
    let bench = sound();
    for (url, warned) in [
        ("host=db.example.net user=r dbname=d sslmode=require", true),
        ("host=10.0.0.7 user=r dbname=d", true),
        ("host=localhost,db.example.net user=r dbname=d", true),
        ("host=localhost hostaddr=10.0.0.7 user=r dbname=d", true),
        ("host=db.example.net user=r dbname=d sslmode=verify-full", false),
        ("host=127.0.0.1 user=r dbname=d", false),
        ("host=::1 user=r dbname=d", false),
        ("host=/run/postgresql user=r dbname=d", false),
    ] {
        bench.set("database.url", &quoted(url));
        let said = check(&bench, &["--offline"]).exits(0);
        if warned {
            assert!(said.mend("warning", "verify-full").contains("sslmode=verify-full"), "{url}");
        } else {
            said.silent_about("verify-full");
        }
    }
}

#[test]
fn keyring_faults_are_named_and_mended() {
    let bench = sound();
    let keyring = bench.keyring_file();
    chmod(&keyring, 0o644);
    found_and_mended(&bench, 6, "fault", "read by others", "chmod g-w,o-rw ");
    chmod(&keyring, 0o660);
    found_and_mended(&bench, 6, "fault", "written by group", "chmod g-w,o-rw ");
    chmod(keyring.parent().unwrap(), 0o775);
    found_and_mended(&bench, 6, "fault", "could be replaced", "chmod go-w ");
    if nix::unistd::geteuid().is_root() {
        nix::unistd::chown(&keyring, Some(4242.into()), None).unwrap();
        found_and_mended(&bench, 6, "fault", "belongs to user 4242", "chown root ");
    }
    fs::remove_file(&keyring).unwrap();
    found_and_mended(&bench, 6, "fault", "there is no keyring", "relinkd key generate");
    fs::remove_file(&keyring).unwrap();
    fs::create_dir(&keyring).unwrap();
    check(&bench, &[]).exits(6).finding("fault", "must be a regular file");
}

/// A test that this machine cannot run says so; where changes are judged (`CI=true`) it fails.
#[expect(clippy::print_stderr, reason = "whoever reads the test's output is to see it")]
fn not_tried(why: &str) {
    eprintln!("SKIPPED: {why}");
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{why}");
}

#[test]
fn a_password_file_is_looked_at() {
    let bench = sound();
    let path = bench.path("password");
    bench.set("database.password_file", &quoted(&path.display().to_string()));
    let said = check(&bench, &["--offline"]).exits(4);
    let create = said.mend("fault", "cannot be read: No such file");
    assert!(
        create.starts_with("install -m 0640 -g relinkd /dev/stdin "),
        "a missing file is created: {create}"
    );
    fs::write(&path, "open\nsesame\n").unwrap();
    let said = check(&bench, &["--offline"]).exits(4);
    assert!(said.mend("fault", "must hold the password on a single line").starts_with("editor "));
    fs::write(&path, "opensesame\n").unwrap();
    chmod(&path, 0o644);
    let said = check(&bench, &["--offline"]).exits(0);
    assert!(said.mend("warning", "every user may read it").contains("chmod o= "));
    chmod(&path, 0o640);
    let said = check(&bench, &["--offline"]).exits(0);
    said.silent_about("password");
    assert!(!said.whole.contains("sesame"), "{}", said.whole);
}

#[test]
fn a_keyring_that_the_spools_owner_cannot_read_is_a_fault_for_root() {
    if !nix::unistd::geteuid().is_root() {
        return not_tried("this test needs root");
    }
    let bench = sound();
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    for directory in [bench.spool(), bench.incoming()] {
        nix::unistd::chown(&directory, Some(nobody.uid), Some(nobody.gid)).unwrap();
    }
    chmod(&bench.incoming(), 0o3770);
    found_and_mended(&bench, 6, "fault", "cannot be read by nobody", "chmod 0640 ");
    check(&bench, &[]).exits(0);
    let path = bench.path("password");
    fs::write(&path, "opensesame\n").unwrap();
    chmod(&path, 0o600);
    bench.set("database.password_file", &quoted(&path.display().to_string()));
    found_and_mended(&bench, 4, "fault", "cannot be read by nobody", "chmod 0640 ");
    check(&bench, &[]).exits(0);
}

#[test]
fn spool_faults_are_named_and_mended() {
    let bench = sound();
    let incoming = bench.incoming();
    chmod(&incoming, 0o3775);
    found_and_mended(&bench, 0, "warning", "open to others", "chmod 3770 ");
    chmod(&incoming, 0o3777);
    found_and_mended(&bench, 1, "fault", "open to others", "chmod 3770 ");
    fs::create_dir(bench.rejected()).unwrap();
    chmod(&bench.rejected(), 0o755);
    found_and_mended(&bench, 1, "fault", "rejected: is open to others", "chmod 0770 ");
    chmod(&bench.spool(), 0o777);
    found_and_mended(&bench, 1, "fault", "may be written by group or others", "chmod go-w ");

    let elsewhere = tempfile::tempdir_in("/dev/shm").unwrap();
    fs::remove_dir(&incoming).unwrap();
    symlink(elsewhere.path(), &incoming).unwrap();
    found_and_mended(&bench, 1, "fault", "is a symbolic link", "rm ");

    fs::write(bench.applied(), "").unwrap();
    found_and_mended(&bench, 1, "fault", "applied: is no directory", "mkdir ");

    fs::remove_dir_all(bench.spool()).unwrap();
    let said = check(&bench, &[]).exits(1);
    assert!(said.mend("fault", "spool: is missing").starts_with("install -d "));
}

#[test]
fn a_spool_that_its_owner_cannot_write_is_a_fault() {
    let bench = sound();
    if nix::unistd::geteuid().is_root() {
        let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
        chmod(&bench.keyring_file(), 0o640);
        nix::unistd::chown(&bench.keyring_file(), None, Some(nobody.gid)).unwrap();
        nix::unistd::chown(&bench.spool(), Some(nobody.uid), Some(nobody.gid)).unwrap();
        chmod(&bench.incoming(), 0o3770);
    } else {
        chmod(&bench.incoming(), 0o3570);
    }
    found_and_mended(&bench, 1, "fault", "cannot be written by user", "chown ");
}

#[test]
fn without_inotify_it_warns() {
    let bench = sound();
    let script = "echo 0 > /proc/sys/user/max_inotify_instances && exec \"$0\" check --offline";
    let mut unshare = bench.command(["check"]);
    unshare = {
        let mut command = Command::new("unshare");
        command.args(["-Ur", "sh", "-c", script]).arg(unshare.get_program());
        command.env("RELINKD_CONFIG", bench.config_file());
        command
    };
    let output = unshare.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    if stderr.contains("unshare") || stderr.contains("max_inotify_instances") {
        return not_tried("this test needs user namespaces");
    }
    let said = read(output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap()).exits(0);
    assert!(said.mend("warning", "inotify is not available").contains("max_user_instances"));
}

#[test]
fn a_server_that_is_not_there_read_only_or_refuses_is_a_fault() {
    let bench = sound();
    bench.set("database.url", "\"host=/nonexistent user=r dbname=d\"");
    assert!(
        check(&bench, &[]).exits(5).mend("fault", "cannot connect").contains("systemctl start postgresql")
    );
    bench.set("database.url", &quoted(&bench.db.url("nobody_here")));
    assert!(check(&bench, &[]).exits(5).mend("fault", "does not exist").contains("relinkd install"));
    bench.set("database.url", &quoted(&bench.db.url(bench.db.role()).replace(bench.db.name(), "no_such_db")));
    assert!(check(&bench, &[]).exits(5).mend("fault", "no_such_db").contains("editor"));
    bench.set("database.url", &quoted(&bench.db.url(bench.db.role())));
    bench
        .db
        .admin()
        .execute(&format!("alter database {} set default_transaction_read_only = on", bench.db.name()));
    check(&bench, &[]).exits(5).finding("fault", "is read-only");
}

#[test]
fn a_server_without_the_tls_that_is_asked_for_need_not_be_started() {
    let bench = sound();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            client.read_exact(&mut [0; 8]).unwrap();
            client.write_all(b"N").unwrap();
        }
    });
    bench
        .set("database.url", &quoted(&format!("host=127.0.0.1 port={port} user=r dbname=d sslmode=require")));
    let said = check(&bench, &[]).exits(5);
    let mend = said.mend("fault", "cannot connect");
    assert!(mend.contains("editor") && mend.contains("see sslmode"), "{mend}");
    assert!(!mend.contains("systemctl"), "{mend}");
}

#[test]
fn the_bots_tables_are_judged_before_install() {
    let bench = Bench::new();
    chmod(&bench.incoming(), 0o3770);
    let role = bench.db.role().to_owned();
    bench.db.admin().execute(&format!("create role {role} login"));
    for (harm, text, mend) in [
        (
            "alter table users alter column portal_token type varchar(64)",
            "holds 64 characters",
            "alter table public.users alter column portal_token type varchar(255);",
        ),
        (
            "alter table users alter column telegram_id type text",
            "telegram_id in public.users is text",
            "type bigint using telegram_id::bigint;",
        ),
        (
            "alter table issues alter column okdesk_url type char(90)",
            "okdesk_url in public.issues is character(90)",
            "type varchar using",
        ),
        ("alter table issues alter column id type numeric", "id in public.issues is numeric", "type bigint"),
    ] {
        bench.db.execute(harm);
        found_and_mended(&bench, 5, "fault", text, mend);
    }
    bench.db.execute("drop index ix_users_telegram_id");
    found_and_mended(
        &bench,
        5,
        "warning",
        "telegram_id in public.users is not unique",
        "create unique index concurrently",
    );
    bench.set("tables.users.portal_token", "\"tokne\"");
    assert!(check(&bench, &[]).mend("fault", "no column tokne").starts_with("editor"));
    bench.set("tables.users.name", "\"people\"");
    check(&bench, &[]).finding("fault", "there is no table public.people");
    bench.db.execute(
        "create table parts (id int, telegram_user_id bigint, okdesk_url text) partition by range (id)",
    );
    bench.set("tables.issues.name", "\"parts\"");
    check(&bench, &[]).finding("fault", "partitioned");
    bench.db.execute("create view looks as select * from issues");
    bench.set("tables.issues.name", "\"looks\"");
    check(&bench, &[]).finding("fault", "is a view");
}

#[test]
fn a_column_is_altered_by_the_step_given_and_the_daemon_keeps_its_rights() {
    let bench = Bench::new();
    chmod(&bench.incoming(), 0o3770);
    bench.db.execute("alter table users alter column portal_token type varchar(64)");
    bench.install();
    found_and_mended(
        &bench,
        5,
        "fault",
        "holds 64 characters",
        "begin; select relinkd.detach(); alter table",
    );
    let said = check(&bench, &[]).exits(0);
    said.finding("ok", "may do what relinkd needs");
    said.finding("ok", "triggers 6/6");
}

#[test]
fn a_narrow_token_column_is_widened_under_a_running_daemon() {
    let bench = Bench::new();
    chmod(&bench.incoming(), 0o3770);
    bench.db.execute("alter table users alter column portal_token type varchar(64)");
    bench.install();
    bench.db.insert_user(1, Some("1111-2222-3333-4444"));
    bench.db.insert_issue(1, 1, Some(&plain_link(1)));
    let daemon = bench.start();
    bench.wait_link(1, &login_link("1111-2222-3333-4444", 1));
    found_and_mended(&bench, 5, "fault", "holds 64 characters", "select relinkd.attach();");
    check(&bench, &[]).exits(0);
    bench.wait_until("the token is sealed", || {
        bench.db.token_column(1).is_some_and(|value| value.starts_with("relinkd:v1:"))
    });
    daemon.stop();
    bench.install();
    check(&bench, &[]).exits(0);
}

#[test]
fn triggers_missing_disabled_different_or_stray_are_faults_that_install_mends() {
    let bench = sound();
    for (harm, text) in [
        (
            "drop trigger relinkd_2_issue_inserted on issues",
            "relinkd_2_issue_inserted on public.issues is missing",
        ),
        (
            "alter table users disable trigger relinkd_2_user_updated",
            "relinkd_2_user_updated on public.users is disabled",
        ),
        (
            "alter table users enable replica trigger relinkd_2_user_deleted",
            "relinkd_2_user_deleted on public.users is disabled",
        ),
        (
            "drop trigger relinkd_2_issue_updated on issues; create trigger relinkd_2_issue_updated \
             after update of title on issues for each row when (true) execute function relinkd.issue_updated()",
            "relinkd_2_issue_updated on public.issues does not watch",
        ),
        (
            "drop trigger relinkd_2_issue_inserted on issues; create trigger relinkd_2_issue_inserted \
             after insert on issues referencing new table as inserted for each statement when (false) \
             execute function relinkd.issue_inserted()",
            "relinkd_2_issue_inserted on public.issues has another condition",
        ),
        (
            "create trigger relinkd_0_old after insert on comments for each row execute function relinkd.issue_updated()",
            "relinkd_0_old on public.comments does not belong",
        ),
    ] {
        bench.db.admin().execute(harm);
        found_and_mended(&bench, 5, "fault", text, "relinkd install --admin-url ");
        check(&bench, &[]).exits(0);
    }
    bench.db.admin().execute("update relinkd.meta set schema_version = 7");
    check(&bench, &[]).exits(5).finding("fault", "schema relinkd has version 7");
    bench.db.admin().execute("update relinkd.meta set schema_version = 1");
    found_and_mended(&bench, 5, "fault", "schema relinkd has version 1", "relinkd install");
}

#[test]
fn what_others_put_on_the_tables_is_warned_of() {
    let bench = sound();
    bench.db.execute(
        "create function public.meddle() returns trigger language plpgsql as 'begin return new; end';
         create trigger meddler before update on issues for each row execute function public.meddle();
         create trigger harmless after update on issues for each row execute function public.meddle()",
    );
    check(&bench, &[]).silent_about("harmless");
    found_and_mended(&bench, 0, "warning", "meddler", "disable trigger meddler;");

    bench.db.execute("alter table users enable row level security");
    found_and_mended(&bench, 0, "warning", "row-level security is on", "disable row level security;");
}

#[test]
fn forced_row_security_blinds_relinkd() {
    let bench = Bench::new();
    chmod(&bench.incoming(), 0o3770);
    bench.db.admin().execute(&format!("create role {} login", bench.db.role()));
    bench.run(["install", "--admin-url", &bench.db.url(BOT)]).ok();
    bench
        .db
        .execute("alter table issues enable row level security; alter table issues force row level security");
    found_and_mended(
        &bench,
        5,
        "fault",
        "row-level security is forced on public.issues",
        "no force row level security;",
    );
}

#[test]
fn settings_of_relinkd_applying_are_faults() {
    // A cluster of its own: a role's settings are those of all databases, and `check` looks at every role's.
    let cluster = Cluster::start(&ClusterOptions::default());
    let bench = Bench::over(Arc::new(Database::on(&cluster, TokenColumn::Varchar)));
    bench.install();
    let bench = made_sound(bench);
    let (name, role) = (bench.db.name().to_owned(), bench.db.role().to_owned());
    for harm in [
        format!("alter role {role} set relinkd.applying = 'on'"),
        format!("alter database {name} set relinkd.applying = 'on'"),
        format!("alter role {role} in database {name} set relinkd.applying = 'on'"),
    ] {
        bench.db.admin().execute(&harm);
        found_and_mended(&bench, 5, "fault", "relinkd.applying", "reset relinkd.applying;");
        check(&bench, &[]).exits(0);
    }
}

#[test]
fn prepared_transactions_and_whoever_holds_dead_rows_are_warned_of() {
    let cluster = Cluster::start(&ClusterOptions::default().setting("max_prepared_transactions", "5"));
    let bench = Bench::over(Arc::new(Database::on(&cluster, TokenColumn::Varchar)));
    bench.install();
    let mend = check(&bench, &[]).exits(0).mend("warning", "prepared transactions are on");
    assert!(mend.starts_with("alter system set max_prepared_transactions = 0;"), "{mend}");

    let reader = bench.db.another_bot();
    reader.execute("begin isolation level repeatable read; select from users");
    bench.db.admin().execute("select pg_create_physical_replication_slot('gone')");
    bench.db.another_bot().execute(
        "begin; insert into comments (issue_id, telegram_user_id) values (1, 1); prepare transaction 'late'",
    );
    check(&bench, &[]).exits(0).silent_about("dead rows");
    // As many transactions as the threshold.
    bench.db.admin().execute("set synchronous_commit = off");
    bench
        .db
        .admin()
        .execute("do $$ begin for i in 1..50001 loop perform pg_current_xact_id(); commit; end loop; end $$");
    found_and_mended(
        &bench,
        0,
        "warning",
        "the prepared transaction 'late' of role okdesk_user",
        "rollback prepared 'late';",
    );
    found_and_mended(&bench, 0, "warning", "of role okdesk_user (bot", "select pg_terminate_backend(");
    check(&bench, &[]).exits(0).silent_about("dead rows");
}

#[test]
fn dead_rows_in_relinkds_tables_are_warned_of() {
    let bench = sound();
    let admin = bench.db.admin();
    admin.execute("alter table relinkd.unusable set (autovacuum_enabled = off)");
    admin.execute("insert into relinkd.unusable select n, '' from generate_series(1, 60000) n");
    admin.execute("delete from relinkd.unusable");
    bench.wait_until("the server has counted them", || {
        bench
            .db
            .number("select n_dead_tup from pg_stat_all_tables where relid = 'relinkd.unusable'::regclass")
            == 60_000
    });
    found_and_mended(
        &bench,
        0,
        "warning",
        "relinkd.unusable has 60000 dead rows",
        "vacuum relinkd.unusable;",
    );
}

#[test]
fn a_log_that_would_show_tokens_is_warned_of() {
    let bench = sound();
    for setting in ["log_parameter_max_length", "log_parameter_max_length_on_error"] {
        bench.db.admin().execute(&format!("alter role {} reset {setting}", bench.db.role()));
    }
    let said = check(&bench, &[]).exits(0);
    assert!(
        said.finding("warning", "log_parameter_max_length").what.contains("would, once"),
        "{}",
        said.whole
    );
    bench.db.log_every_statement();
    let said = check(&bench, &[]).exits(0);
    assert!(
        said.finding("warning", "log_parameter_max_length").what.contains("log shows tokens:"),
        "{}",
        said.whole
    );
    found_and_mended(&bench, 0, "warning", "log_parameter_max_length", "set log_parameter_max_length = 0;");
}

#[test]
fn too_few_privileges_are_a_fault_and_too_many_a_warning() {
    let bench = sound();
    let role = bench.db.role().to_owned();
    for harm in [
        format!("revoke update (url) on relinkd.bot_issue from {role}"),
        format!("revoke delete on relinkd.change from {role}"),
        format!("revoke execute on function relinkd.user_key(bigint) from {role}"),
        format!("revoke usage on schema relinkd from {role}"),
    ] {
        bench.db.admin().execute(&harm);
        found_and_mended(&bench, 5, "fault", "lacks", "relinkd install --admin-url ");
    }
    for (harm, text, mend) in [
        (
            format!("grant delete on users to {role}"),
            "delete on public.users",
            format!("revoke all on public.users from {role};"),
        ),
        (
            format!("grant select (phone) on users to {role}"),
            "select (phone) on public.users",
            format!("revoke all on public.users from {role};"),
        ),
        (
            "grant select on issues to public".to_owned(),
            "as everybody may",
            "revoke all on public.issues from public;".to_owned(),
        ),
        (format!("grant {BOT} to {role}"), "is a member of", format!("revoke {BOT} from {role};")),
        (format!("alter role {role} superuser"), "is a superuser", format!("alter role {role} nosuperuser;")),
    ] {
        bench.db.admin().execute(&harm);
        found_and_mended(&bench, 0, "warning", text, &mend);
    }
    bench.set("database.url", &quoted(&bench.db.url(BOT)));
    assert!(check(&bench, &[]).mend("warning", "owns the bot's tables").contains("--role relinkd"));
}

#[test]
fn an_index_that_is_missing_or_invalid_is_warned_of() {
    let bench = sound();
    bench.db.admin().execute("drop index relinkd_issue_walk");
    found_and_mended(&bench, 0, "warning", "has no index", "relinkd install");
    bench
        .db
        .admin()
        .execute("update pg_index set indisvalid = false where indexrelid = 'relinkd_issue_walk'::regclass");
    found_and_mended(&bench, 0, "warning", "is invalid", "relinkd install");
}

#[test]
fn tokens_that_cannot_be_opened_or_are_shared_are_named() {
    let bench = sound();
    bench.db.insert_user(1, None);
    bench.run_with_input(["token", "set", "1", "--no-wait"], "1111-2222-3333-4444").ok();
    bench.write_keyring(&KEYRING.replace("k1", "k9"));
    let said = check(&bench, &[]).exits(5);
    assert!(said.mend("fault", "sealed under the key k1").contains("[retired]"));
    bench.write_keyring(KEYRING);
    check(&bench, &[]).exits(0);
    bench.db.insert_user(2, Some("1111-2222-3333-4444"));
    assert!(
        check(&bench, &[])
            .exits(0)
            .mend("warning", "share their token with another: 1, 2")
            .contains("token set 2")
    );
    bench.db.set_token(2, Some("relinkd:v1:nonsense"));
    assert_eq!(check(&bench, &[]).exits(0).mend("warning", "no usable token"), "relinkd token set 2");
    bench.db.execute("drop index ix_users_telegram_id");
    bench.db.insert_user(2, Some("9999-2222-3333-4444"));
    check(&bench, &[]).exits(5).finding("fault", "more than one row: 2");
    bench.assert_no_leak(&["1111-2222-3333-4444", "9999-2222-3333-4444"]);
}

#[test]
fn a_connection_that_swallows_notifications_is_warned_of() {
    let bench = sound();
    let directory = bench.path("pooler");
    fs::create_dir(&directory).unwrap();
    let listener = UnixListener::bind(directory.join(".s.PGSQL.5432")).unwrap();
    chmod(&directory.join(".s.PGSQL.5432"), 0o777);
    let server = bench.db.cluster().socket().join(format!(".s.PGSQL.{}", bench.db.cluster().port()));
    std::thread::spawn(move || {
        for client in listener.incoming() {
            swallow_notifications(client.unwrap(), UnixStream::connect(&server).unwrap());
        }
    });
    let url = format!(
        "host={} user={} dbname={} sslmode=disable",
        directory.display(),
        bench.db.role(),
        bench.db.name()
    );
    bench.set("database.url", &quoted(&url));
    let said = check(&bench, &[]).exits(0);
    assert!(said.mend("warning", "LISTEN does not deliver").contains("editor"));
}

/// Passes everything on but notifications, as a pooler that hands out server connections by transaction loses them
/// (message format: Postgres manual, 55.7).
fn swallow_notifications(client: UnixStream, server: UnixStream) {
    let (mut from_client, mut to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from_client, &mut to_server);
        let _ = to_server.shutdown(std::net::Shutdown::Both);
    });
    std::thread::spawn(move || {
        let (mut server, mut client) = (server, client);
        let mut head = [0; 5];
        while server.read_exact(&mut head).is_ok() {
            let length = u32::from_be_bytes(head[1..].try_into().unwrap()) as usize;
            let mut body = vec![0; length - 4];
            if server.read_exact(&mut body).is_err() {
                break;
            }
            if head[0] != b'A' && client.write_all(&[&head[..], &body].concat()).is_err() {
                break;
            }
        }
    });
}

#[test]
fn a_column_or_table_that_was_renamed_is_followed_and_the_step_is_named() {
    let bench = sound();
    bench.db.execute(
        "alter table users rename to \"user\"; alter table issues rename column okdesk_url to \"the link\"",
    );
    let said = check(&bench, &[]).exits(0);
    let table = said.mend("warning", "public.users is called public.\"user\" now");
    assert!(table.contains("# tables.users.name = 'public.\"user\"'; then relinkd install"), "{table}");
    let column = said.mend("warning", "okdesk_url in public.issues is called \"the link\" now");
    assert!(column.contains("# tables.issues.url = \"the link\"; then relinkd install"), "{column}");
    said.finding("ok", "triggers 6/6");
    bench.set("tables.users.name", r#"'public."user"'"#);
    bench.set("tables.issues.url", "\"the link\"");
    check(&bench, &[]).exits(0).silent_about("called");
    bench.install();
    check(&bench, &[]).exits(0).silent_about("called");
}

#[test]
fn a_table_or_column_that_was_rebuilt_under_its_name_is_a_fault_that_install_mends() {
    let bench = sound();
    bench.db.execute(
        "create table issues_new (like issues including all); alter table issues rename to issues_old;
         alter table issues_new rename to issues",
    );
    found_and_mended(
        &bench,
        5,
        "fault",
        "is bound to, which is public.issues_old: it was rebuilt",
        "relinkd install",
    );
    bench.db.execute(
        "alter table users rename column portal_token to old_token; alter table users add column portal_token varchar(255)",
    );
    found_and_mended(
        &bench,
        5,
        "fault",
        "is bound to, which is old_token: it was rebuilt",
        "relinkd install",
    );
    check(&bench, &[]).exits(0);
    bench.db.admin().execute("select relinkd.detach()");
    found_and_mended(
        &bench,
        5,
        "fault",
        "relinkd.detach() was left without relinkd.attach()",
        "relinkd install",
    );
    check(&bench, &[]).exits(0);
    bench.db.admin().execute("alter table issues drop column okdesk_url cascade");
    bench.db.execute("alter table issues add column okdesk_url varchar");
    found_and_mended(&bench, 5, "fault", "not whole, relinkd.bot_issue is missing", "relinkd install");
    check(&bench, &[]).exits(0);
}

/// The same that `install` refuses, so that a superuser's session runs nothing of others.
#[test]
fn what_others_own_or_may_make_in_schema_relinkd_is_a_fault_and_is_not_read() {
    let bench = sound();
    let role = bench.db.role().to_owned();
    for (harm, text, mend) in [
        (
            format!("alter function relinkd.alive(relinkd.daemon) owner to {BOT}"),
            format!("function relinkd.alive(relinkd.daemon) belongs to role {BOT}"),
            "drop function relinkd.alive(relinkd.daemon) cascade;",
        ),
        (
            format!("grant create on schema relinkd to {role}"),
            format!("role {role} has the right CREATE on schema relinkd"),
            "revoke create on schema relinkd from",
        ),
        (
            "grant trigger on relinkd.change to public".to_owned(),
            "role public has the right TRIGGER on relinkd.change".to_owned(),
            "revoke trigger on relinkd.change from public;",
        ),
    ] {
        bench.db.admin().execute(&harm);
        let refusal = bench.run(["install", "--admin-url", &bench.db.admin_url()]);
        assert!(refusal.stderr.contains(&text), "install refuses the same: {}", refusal.stderr);
        let said = check(&bench, &[]).exits(5);
        assert!(said.lines.iter().all(|line| !line.what.contains("triggers 6/6")), "{}", said.whole);
        found_and_mended(&bench, 5, "fault", &text, mend);
        bench.install();
    }
}

#[test]
fn a_schema_that_somebody_else_made_beforehand_is_a_fault() {
    let bench = Bench::new();
    let role = bench.db.role().to_owned();
    bench
        .db
        .admin()
        .execute(&format!("create role {role} login; create schema relinkd authorization {role}"));
    let said = check(&bench, &[]).exits(5);
    let mend = said.mend("fault", &format!("schema relinkd belongs to role {role}"));
    assert!(mend.starts_with("drop schema relinkd cascade; -- as a superuser"), "{mend}");
    let refusal = bench.run(["install", "--admin-url", &bench.db.admin_url()]);
    assert!(refusal.stderr.contains("belongs to role"), "install refuses the same: {}", refusal.stderr);
}

/// A superuser's session that so much as plans a query over the bot's tables runs the bot's functions with all rights.
#[test]
fn a_superusers_check_runs_no_code_of_the_bots() {
    let bench = sound();
    let role = bench.db.role().to_owned();
    bench.db.insert_user(1, Some("1111-2222-3333-4444"));
    bench.db.execute(
        "create function public.plant(text) returns boolean immutable language plpgsql as $$ begin
             if (select rolsuper from pg_roles where rolname = current_user) then raise exception 'planted'; end if;
             return true; end $$;
         create index planted on users (telegram_id) where public.plant('')",
    );
    bench.db.admin().execute(&format!("alter role {role} superuser"));
    let said = check(&bench, &[]).exits(0);
    said.finding("warning", "is a superuser");
    assert!(!said.whole.contains("planted"), "{}", said.whole);
}

#[test]
fn the_daemon_is_looked_at() {
    let bench = sound();
    let admin = bench.db.admin();
    check(&bench, &[]).exits(0).finding("ok", "daemons at work: 1 (listen)");
    admin.execute("update relinkd.daemon set other_portal = true, files_wait = 'no space'");
    let said = check(&bench, &[]).exits(0);
    assert_eq!(said.mend("warning", "another [portal]"), "systemctl reload relinkd");
    assert_eq!(said.mend("warning", "drop files wait: no space"), "relinkd status");
    admin.execute("delete from relinkd.daemon");
    assert_eq!(
        check(&bench, &[]).exits(0).mend("warning", "no daemon is at work"),
        "systemctl start relinkd"
    );
}

#[test]
fn auto_explain_and_pgaudit_are_found() {
    let bench = sound();
    let (name, role) = (bench.db.name().to_owned(), bench.db.role().to_owned());
    let admin = bench.db.admin();
    admin.execute(&format!("alter database {name} set session_preload_libraries = 'auto_explain'"));
    check(&bench, &[]).exits(0).silent_about("auto_explain");
    admin.execute(&format!(
        "alter database {name} set auto_explain.log_min_duration = 0; alter database {name} set auto_explain.log_verbose = on"
    ));
    found_and_mended(
        &bench,
        0,
        "warning",
        "auto_explain.log_verbose = on",
        "set auto_explain.log_min_duration = -1;",
    );
    check(&bench, &[]).exits(0).finding("ok", "the server's log gets no tokens");

    // Its settings alone, for the extension is not on every machine.
    admin.execute(&format!("alter role {role} set pgaudit.log = 'write'"));
    check(&bench, &[]).exits(0).silent_about("pgaudit");
    admin.execute(&format!("alter role {role} set pgaudit.log_parameter = on"));
    found_and_mended(&bench, 0, "warning", "pgaudit.log_parameter = on", "set pgaudit.log_parameter = off;");
}

/// With plans made anew for each parameter, `auto_explain` would quote them: in conditions, in a function's call.
#[test]
fn plans_in_the_servers_log_hold_no_token() {
    let bench = Bench::installed();
    let name = bench.db.name().to_owned();
    for setting in [
        "session_preload_libraries = 'auto_explain'",
        "auto_explain.log_min_duration = 0",
        "auto_explain.log_verbose = on",
        "auto_explain.log_analyze = on",
        "auto_explain.log_nested_statements = on",
    ] {
        bench.db.admin().execute(&format!("alter database {name} set {setting}"));
    }
    let tokens = ["1111-2222-3333-4444", "5555-6666-7777-8888", "9999-0000-1111-2222"];
    let daemon = bench.start();
    for user in 1..=3 {
        bench.db.insert_user(user, None);
        bench.db.insert_issue(i32::try_from(user).unwrap(), user, Some(&plain_link(user)));
    }
    bench.db.set_token(1, Some(tokens[0]));
    bench.drop_token("a.toml", 2, tokens[1]);
    bench.run_with_input(["token", "set", "3"], tokens[2]).ok();
    for (issue, token) in (1..).zip(tokens) {
        bench.wait_link(issue, &login_link(token, i64::from(issue)));
    }
    bench.db.execute("update issues set telegram_user_id = 2 where id = 1");
    bench.wait_link(1, &login_link(tokens[1], 1));
    for command in [&["sync"][..], &["status"], &["check"], &["explain", "1"], &["token", "list"], &["rekey"]]
    {
        bench.run(command);
    }
    bench.run(["token", "remove", "3"]).ok();
    bench.wait_link(3, &plain_link(3));
    daemon.stop();
    let log = bench.db.server_log();
    assert!(log.contains("Query Text:"), "plans are logged: {log}");
    bench.assert_no_leak(&tokens);
}

#[test]
fn a_password_that_is_missing_is_not_a_server_that_is_stopped() {
    let cluster = Cluster::start(&ClusterOptions::default().tcp().host_method("scram-sha-256"));
    let bench = Bench::over(Arc::new(Database::on(&cluster, TokenColumn::Varchar)));
    let role = bench.db.role().to_owned();
    bench.db.admin().execute(&format!("create role {role} login password 'opensesame'"));
    let url = format!("postgresql://{role}@127.0.0.1:{}/{}", cluster.port(), bench.db.name());
    bench.set("database.url", &quoted(&url));
    let said = check(&bench, &[]).exits(5);
    let mend = said.mend("fault", "password");
    assert!(mend.starts_with("editor ") && mend.contains("database.password_file"), "{mend}");
    bench.set("database.url", &quoted(&url.replace('@', ":guessed@")));
    let said = check(&bench, &[]).exits(5);
    assert!(
        said.mend("fault", "password authentication failed").contains("the password is wrong"),
        "{}",
        said.whole
    );
    assert!(!said.whole.contains("guessed"), "{}", said.whole);
}

#[test]
fn too_few_sessions_for_the_daemon_are_a_fault() {
    let bench = sound();
    bench.db.admin().execute("delete from relinkd.daemon");
    bench.db.admin().execute(&format!("alter role {} connection limit 5", bench.db.role()));
    let mend = check(&bench, &[]).exits(5).mend("fault", "needs 4 sessions at once, and only 3 came about");
    assert!(mend.contains("connection limit"), "{mend}");
    bench.db.admin().execute(&format!("alter role {} connection limit 6", bench.db.role()));
    check(&bench, &[]).exits(0).silent_about("sessions at once");
}

#[test]
fn a_pooler_that_cannot_serve_the_daemon_is_called_so() {
    let bench = sound();
    bench.db.admin().execute("delete from relinkd.daemon");
    let pooler = Pooler::start(&bench, "session", 2);
    let said = check(&bench, &[]).exits(5);
    said.finding("ok", "notifications arrive");
    let mend = said.mend("fault", "needs 4 sessions at once, and only 0 came about: no answer within 5s");
    assert!(mend.contains("raise the pooler's pool_size"), "{mend}");
    drop(pooler);

    let pooler = Pooler::start(&bench, "transaction", 2);
    let said = check(&bench, &[]).exits(0);
    said.finding("warning", "LISTEN does not deliver");
    said.finding("warning", "needs 4 sessions at once, and only 2 came about");
    drop(pooler);

    let pooler = Pooler::start(&bench, "statement", 20);
    let said = check(&bench, &[]).exits(5);
    let mend = said.mend("fault", "statement pooling mode");
    assert!(mend.contains("let database.url name the server itself"), "{mend}");
    drop(pooler);
}

/// The whole of what `check` prints, without what differs from run to run.
fn printed(bench: &Bench, said: &Said) -> String {
    let cluster = bench.db.cluster();
    let server = bench.db.admin().value("select current_setting('server_version')").unwrap();
    said.whole
        .replace(&cluster.socket().display().to_string(), "/run/postgresql")
        .replace(&bench.path("").display().to_string(), "/etc/relinkd/")
        .replace(&server, "VERSION")
        .replace(bench.db.name(), "okdesk_bot")
        .replace(&format!("{}_", bench.db.role()), &format!("{ROLE_AS_PREFIX}_"))
        .replace(bench.db.role(), "relinkd")
        .replace(ROLE_AS_PREFIX, bench.db.role())
}

/// Where the role's name is the beginning of a longer one, as of a trigger, it stays.
const ROLE_AS_PREFIX: &str = "(longer)";

#[test]
fn the_whole_of_a_healthy_system_reads_well() {
    let bench = sound();
    bench.db.insert_user(1, Some("1111-2222-3333-4444"));
    let said = check(&bench, &[]).exits(0);
    insta::assert_snapshot!("healthy", printed(&bench, &said));
}

#[test]
fn the_whole_of_a_sick_system_reads_well() {
    let bench = sound();
    let (admin, role) = (bench.db.admin(), bench.db.role().to_owned());
    bench.db.insert_user(1, Some("1111-2222-3333-4444"));
    bench.db.insert_user(2, Some("1111-2222-3333-4444"));
    bench.db.insert_user(3, Some("relinkd:v1:nonsense"));
    bench.db.execute(
        "alter table users disable trigger relinkd_2_user_updated; alter table issues rename to tickets",
    );
    admin.execute("drop index relinkd_issue_walk; delete from relinkd.daemon");
    admin.execute(&format!("alter role {role} reset log_error_verbosity; grant select on users to {role}"));
    chmod(&bench.incoming(), 0o3777);
    bench.set("audit.interval", "\"soon\"");
    let said = check(&bench, &[]).exits(4);
    insta::assert_snapshot!("sick", printed(&bench, &said));
}

#[test]
fn of_several_faults_the_first_group_decides() {
    let bench = sound();
    bench.db.admin().execute("drop trigger relinkd_2_issue_inserted on issues");
    check(&bench, &[]).exits(5);
    chmod(&bench.incoming(), 0o3777);
    check(&bench, &[]).exits(1);
    chmod(&bench.keyring_file(), 0o644);
    check(&bench, &[]).exits(6);
    bench.set("audit.interval", "\"soon\"");
    check(&bench, &[]).exits(4);
}
