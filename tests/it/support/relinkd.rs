//! A home for relinkd: config, keyring and spool in a directory of the test's own, over a database of
//! its own, and the real binary run in it. What the binary says is kept, to be searched for tokens.

use super::daemon::Daemon;
use super::database::Database;
use super::{BASE, PATIENCE, assert_no_leak, holds_soon, scratch};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The keyring a bench starts with: one key, the same in every test.
pub(crate) const KEYRING: &str =
    "primary = \"k1\"\n\n[keys]\nk1 = \"dpLDrTVAu4A8Ags67mbNiIcSMjTqDG5xQ8Ct1z_0Me0\"\n";

/// No command of a test takes this long, unless it hangs.
const COMMAND_LIMIT: Duration = Duration::from_secs(60);

/// What a command did.
#[derive(Debug)]
pub(crate) struct Output {
    /// The exit status; `None` where a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Output {
    /// Fails unless the exit status is this one.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Fails unless the command succeeded; what it printed.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        self.exits(0).stdout
    }

    /// Standard output as JSON, of a command that succeeded.
    #[track_caller]
    pub(crate) fn json(self) -> serde_json::Value {
        serde_json::from_str(&self.ok()).expect("JSON on standard output")
    }
}

/// A database, and a config, a keyring and a spool for it.
pub(crate) struct Bench {
    pub(crate) db: Arc<Database>,
    directory: TempDir,
    settings: Mutex<BTreeMap<String, BTreeMap<String, String>>>,
    said: Mutex<Vec<(String, String)>>,
    daemon_logs: Mutex<Vec<PathBuf>>,
    next: AtomicU32,
}

impl Bench {
    /// Over a new database in the shared cluster; nothing is installed yet.
    pub(crate) fn new() -> Self {
        Self::over(Arc::new(Database::new()))
    }

    /// Over this database. Several benches may share one: several hosts with a daemon each.
    pub(crate) fn over(db: Arc<Database>) -> Self {
        let bench = Self {
            directory: scratch::directory(),
            settings: Mutex::default(),
            said: Mutex::default(),
            daemon_logs: Mutex::default(),
            next: AtomicU32::new(1),
            db,
        };
        fs::create_dir_all(bench.incoming()).unwrap();
        bench.write_keyring(KEYRING);
        bench.set("database.url", &quoted(&bench.db.url(bench.db.role())));
        bench.set("portal.base_url", &quoted(BASE));
        bench.set("keyring.file", &quoted(&bench.keyring_file().display().to_string()));
        bench.set("spool.directory", &quoted(&bench.spool().display().to_string()));
        bench
    }

    /// Over a new database, with relinkd installed in it.
    pub(crate) fn installed() -> Self {
        let bench = Self::new();
        bench.install();
        bench
    }

    /// Sets a key of the config, named as `portal.tokenless`, to a TOML literal; the file is written anew.
    pub(crate) fn set(&self, key: &str, literal: &str) {
        let (section, key) = key.rsplit_once('.').expect("section.key");
        let mut settings = self.settings.lock().unwrap();
        settings.entry(section.to_owned()).or_default().insert(key.to_owned(), literal.to_owned());
        let mut text = String::new();
        for (section, keys) in &*settings {
            writeln!(text, "[{section}]").unwrap();
            for (key, literal) in keys {
                writeln!(text, "{key} = {literal}").unwrap();
            }
        }
        fs::write(self.config_file(), text).unwrap();
    }

    /// Runs `relinkd` with these arguments to its end, nothing on its standard input.
    pub(crate) fn run(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Output {
        self.run_with_input(arguments, "")
    }

    /// The same with something on its standard input.
    pub(crate) fn run_with_input(
        &self,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
        input: &str,
    ) -> Output {
        let mut command = self.command(arguments);
        let output = self.finish(&mut command, input);
        let what = format!("{:?}", command.get_args().collect::<Vec<_>>());
        let mut said = self.said.lock().unwrap();
        said.push((format!("stdout of {what}"), output.stdout.clone()));
        said.push((format!("stderr of {what}"), output.stderr.clone()));
        output
    }

    /// Runs a command that is to show tokens (`--reveal`), and so is not searched for them.
    pub(crate) fn run_revealing(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Output {
        self.finish(&mut self.command(arguments), "")
    }

    /// `relinkd install` as the superuser; what it printed.
    pub(crate) fn install(&self) -> String {
        self.run(["install", "--admin-url", &self.db.admin_url()]).ok()
    }

    /// Starts the daemon and waits until it is ready.
    pub(crate) fn start(&self) -> Daemon {
        let mut daemon = self.spawn();
        daemon.wait_ready();
        daemon
    }

    /// Starts the daemon without waiting.
    pub(crate) fn spawn(&self) -> Daemon {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let log = self.path(&format!("daemon-{number}.log"));
        self.daemon_logs.lock().unwrap().push(log.clone());
        Daemon::spawn(self.command(["run"]), log, &self.path(&format!("notify-{number}")))
    }

    /// The command as a test may change it (environment, standard streams) before it runs it.
    pub(crate) fn command(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_relinkd"));
        command.args(arguments).current_dir(self.directory.path()).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.directory.path()).env("RELINKD_CONFIG", self.config_file());
        command.env("RUST_BACKTRACE", "1");
        // Where scripts/coverage wants to hear which lines it ran.
        if let Some(file) = std::env::var_os("LLVM_PROFILE_FILE") {
            command.env("LLVM_PROFILE_FILE", file);
        }
        command
    }

    /// Drops a file into `incoming/` as a careful producer does: written under another name, then renamed.
    pub(crate) fn drop_file(&self, name: &str, content: impl AsRef<[u8]>) {
        let draft = self.incoming().join(".draft.tmp");
        fs::write(&draft, content).unwrap();
        fs::rename(draft, self.incoming().join(name)).unwrap();
    }

    /// Drops a file that assigns one token.
    pub(crate) fn drop_token(&self, name: &str, telegram_id: i64, token: &str) {
        self.drop_file(name, format!("telegram_id = {telegram_id}\ntoken = {}\n", quoted(token)));
    }

    /// Drops a file that removes one user's token.
    pub(crate) fn drop_removal(&self, name: &str, telegram_id: i64) {
        self.drop_file(name, format!("telegram_id = {telegram_id}\nremove = true\n"));
    }

    /// Waits for `applied/NAME.json`, and reads it.
    pub(crate) fn wait_applied(&self, name: &str) -> serde_json::Value {
        let receipt = self.applied().join(format!("{name}.json"));
        self.wait_until(&format!("{name} is applied"), || receipt.exists());
        serde_json::from_slice(&fs::read(receipt).unwrap()).expect("a receipt is JSON")
    }

    /// Waits for `rejected/NAME.reason`, and reads it.
    pub(crate) fn wait_rejected(&self, name: &str) -> String {
        let reason = self.rejected().join(format!("{name}.reason"));
        self.wait_until(&format!("{name} is rejected"), || reason.exists());
        fs::read_to_string(reason).unwrap()
    }

    /// Waits until an issue's link is this one.
    pub(crate) fn wait_link(&self, issue: i32, link: &str) {
        let right = holds_soon(|| self.db.link(issue).as_deref() == Some(link));
        assert!(
            right,
            "not within {PATIENCE:?}: the link of {issue} is {:?}, not {link}{}",
            self.db.link(issue),
            self.circumstances()
        );
    }

    /// Waits until no change waits, as `status` counts them.
    pub(crate) fn wait_idle(&self) {
        self.wait_until("no change waits", || {
            self.run(["status", "--json"]).json()["backlog"]["changes"] == serde_json::json!(0)
        });
    }

    /// Waits until it holds, and shows the daemons' logs when it does not.
    pub(crate) fn wait_until(&self, what: &str, holds: impl FnMut() -> bool) {
        assert!(holds_soon(holds), "not within {PATIENCE:?}: {what}{}", self.circumstances());
    }

    /// Fails where one of these tokens stands in anything relinkd said: commands, daemons' logs, receipts,
    /// reasons, and what the server logged of its sessions.
    pub(crate) fn assert_no_leak(&self, tokens: &[&str]) {
        let mut texts = self.said.lock().unwrap().clone();
        texts.push(("the daemons' logs".to_owned(), self.daemon_words()));
        texts.push(("the server's log".to_owned(), self.db.server_log()));
        let receipts = files_in(&self.applied());
        let reasons =
            files_in(&self.rejected()).into_iter().filter(|file| file.extension() == Some("reason".as_ref()));
        for file in receipts.into_iter().chain(reasons) {
            texts.push((file.display().to_string(), fs::read_to_string(&file).unwrap()));
        }
        assert_no_leak(tokens, texts.iter().map(|(what, text)| (what.as_str(), text.as_str())));
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn config_file(&self) -> PathBuf {
        self.path("config.toml")
    }

    pub(crate) fn keyring_file(&self) -> PathBuf {
        self.path("keyring.toml")
    }

    /// Replaces the keyring file, mode 0600.
    pub(crate) fn write_keyring(&self, text: &str) {
        let draft = self.path("keyring.draft");
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&draft).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        fs::rename(draft, self.keyring_file()).unwrap();
    }

    pub(crate) fn spool(&self) -> PathBuf {
        self.path("spool")
    }

    pub(crate) fn incoming(&self) -> PathBuf {
        self.spool().join("incoming")
    }

    pub(crate) fn claimed(&self) -> PathBuf {
        self.spool().join("claimed")
    }

    pub(crate) fn applied(&self) -> PathBuf {
        self.spool().join("applied")
    }

    pub(crate) fn rejected(&self) -> PathBuf {
        self.spool().join("rejected")
    }

    fn finish(&self, command: &mut Command, input: &str) -> Output {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (out, err) = (self.path(&format!("stdout-{number}")), self.path(&format!("stderr-{number}")));
        command.stdin(Stdio::piped()).stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap());
        let mut child = command.spawn().unwrap();
        // A command that does not read its input closes it early; that is its right.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let deadline = Instant::now() + COMMAND_LIMIT;
        let exit = loop {
            if let Some(exit) = child.try_wait().unwrap() {
                break exit;
            }
            if Instant::now() > deadline {
                child.kill().unwrap();
                child.wait().unwrap();
                panic!("{command:?} hangs; its stderr:\n{}", fs::read_to_string(&err).unwrap());
            }
            sleep(Duration::from_millis(2));
        };
        let text = |file: &Path| String::from_utf8_lossy(&fs::read(file).unwrap()).into_owned();
        Output { code: exit.code(), stdout: text(&out), stderr: text(&err) }
    }

    /// What there is to see when something did not happen: the daemons' logs, the queue, and the server's sessions.
    fn circumstances(&self) -> String {
        let queue = "select clock_timestamp(), c.* from relinkd.change c order by c.id limit 20";
        let sessions =
            "select a.application_name, a.state, a.wait_event, clock_timestamp() - a.query_start, a.query
                          from pg_stat_activity a where a.datname = current_database()";
        let rows = |sql| match self.db.rows("select to_regclass('relinkd.change')").concat().first() {
            Some(Some(_)) => self.db.rows(sql),
            _ => Vec::new(),
        };
        let mut words = self.daemon_words();
        for (what, sql) in [("queue", queue), ("sessions", sessions)] {
            write!(words, "\n--- {what}").unwrap();
            for row in rows(sql) {
                let cells: Vec<&str> = row.iter().map(|cell| cell.as_deref().unwrap_or("null")).collect();
                write!(words, "\n{}", cells.join(" | ")).unwrap();
            }
        }
        words
    }

    /// What all daemons of this bench logged, each under its file's name.
    fn daemon_words(&self) -> String {
        let mut words = String::new();
        for log in &*self.daemon_logs.lock().unwrap() {
            let text = fs::read(log).unwrap_or_default();
            write!(words, "\n--- {}\n{}", log.display(), String::from_utf8_lossy(&text)).unwrap();
        }
        words
    }
}

/// A TOML string.
pub(crate) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn files_in(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().path()).collect()
}
