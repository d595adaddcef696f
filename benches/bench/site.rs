//! A database with the bot's tables, with relinkd installed by one of the programs under test, or without.

use crate::daemon::Daemon;
use crate::lab::{Lab, Subject};
use crate::sql::Sql;
use crate::support::cluster::{BOT, SUPERUSER};
use crate::support::relinkd::quoted;
use crate::support::{Bench, Database, TokenColumn};
use nix::sys::signal::Signal;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long relinkd may take for work that a row gave it, before the row counts as failed.
const PATIENCE: Duration = Duration::from_secs(1800);

/// A database with the bot's empty tables, dropped at the end of its row.
pub(crate) struct Plain {
    pub(crate) database: Arc<Database>,
    pub(crate) admin: Sql,
    pub(crate) bot: Sql,
}

impl Plain {
    pub(crate) fn new(lab: &Lab) -> Self {
        let database = Arc::new(Database::on(&lab.cluster, TokenColumn::Varchar));
        let connect = |role| Sql::connect(&lab.cluster.target(role, database.name()));
        Self { admin: connect(SUPERUSER), bot: connect(BOT), database }
    }

    /// Another session of the bot's.
    pub(crate) fn another_bot(&self) -> Sql {
        Sql::connect(&self.database.cluster().target(BOT, self.database.name()))
    }
}

/// Such a database with a home for relinkd.
pub(crate) struct Site {
    pub(crate) plain: Plain,
    pub(crate) home: Bench,
    pub(crate) name: &'static str,
    binary: PathBuf,
    next: AtomicU32,
}

impl Site {
    /// With relinkd installed, which finds what `fill` has put into the tables.
    pub(crate) fn new(lab: &Lab, subject: &Subject, fill: impl FnOnce(&Plain)) -> Self {
        let plain = Plain::new(lab);
        fill(&plain);
        let home = Bench::over(Arc::clone(&plain.database));
        let (name, binary) = (subject.name, subject.binary.clone());
        let site = Self { plain, home, name, binary, next: AtomicU32::new(1) };
        site.say(&["install", "--admin-url", &site.plain.database.admin_url()]);
        site
    }

    /// One for each program under test.
    pub(crate) fn each(lab: &Lab, fill: impl Fn(&Plain)) -> Vec<Self> {
        lab.subjects.iter().map(|subject| Self::new(lab, subject, &fill)).collect()
    }

    /// The same, settled: links and tokens are in form, no daemon runs.
    pub(crate) fn each_settled(lab: &Lab, fill: impl Fn(&Plain)) -> Vec<Self> {
        let sites = Self::each(lab, fill);
        sites.iter().for_each(Self::settle);
        sites
    }

    /// Lets a daemon do all that waits.
    pub(crate) fn settle(&self) {
        let daemon = self.start();
        self.drain();
        daemon.stop();
    }

    /// Starts a daemon, and returns once it is ready.
    pub(crate) fn start(&self) -> Daemon {
        self.start_in(&self.home).0
    }

    /// The same in another home on the same database, and how long it took.
    pub(crate) fn start_in(&self, home: &Bench) -> (Daemon, Duration) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (log, socket) = (home.path(&format!("log-{number}")), home.path(&format!("notify-{number}")));
        Daemon::start(self.command(home, &["run"]), log, &socket)
    }

    /// Another home on the same database, as another host has it.
    pub(crate) fn another_home(&self) -> Bench {
        Bench::over(Arc::clone(&self.plain.database))
    }

    /// Waits until `status` counts no change.
    pub(crate) fn drain(&self) {
        self.wait("the backlog is done", Duration::from_millis(50), || {
            let status: serde_json::Value = serde_json::from_str(&self.say(&["status", "--json"])).unwrap();
            status["backlog"]["changes"] == serde_json::json!(0)
        });
    }

    /// Moves the portal to another address: every link has to be written anew.
    pub(crate) fn move_portal(&self, daemon: &Daemon, from: &str, to: &str) {
        self.set_portal(from, to);
        daemon.signal(Signal::SIGHUP);
    }

    /// The address of the portal in the config, and its former one.
    pub(crate) fn set_portal(&self, from: &str, to: &str) {
        self.home.set("portal.base_url", &quoted(to));
        self.home.set("portal.aliases", &format!("[{}]", quoted(from)));
    }

    /// Waits until every link in this part of the table is a login link on this address.
    pub(crate) fn wait_links(&self, base: &str, part: &str, pause: Duration) {
        wait_links(&self.plain.admin, base, part, pause);
    }

    /// Looks, at this pace, until it holds.
    pub(crate) fn wait(&self, what: &str, pause: Duration, holds: impl FnMut() -> bool) {
        wait(&format!("{}: {what}", self.name), pause, holds);
    }

    /// Runs a command to its end; what it printed.
    fn say(&self, arguments: &[&str]) -> String {
        let output = self.command(&self.home, arguments).output().unwrap();
        let (stdout, stderr) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{arguments:?}: {}\n{stdout}\n{stderr}", output.status);
        stdout.into_owned()
    }

    fn command(&self, home: &Bench, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(arguments).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command
            .env("HOME", home.path("."))
            .env("RELINKD_CONFIG", home.config_file())
            .current_dir(home.path("."));
        command
    }
}

/// Waits until every link in this part of the table is a login link on this address. Looks at few rows until those are
/// right, so that the wait itself costs little.
pub(crate) fn wait_links(admin: &Sql, base: &str, part: &str, pause: Duration) {
    let right = format!("coalesce(okdesk_url like '{base}/login?token=%', false)");
    let edges = format!(
        "select (select min(id) from issues where {part}), (select max(id) from issues where {part})"
    );
    let row = admin.rows(&edges);
    let few =
        format!("select count(*) from issues where id in ({}, {}) and not {right}", row[0][0], row[0][1]);
    let all = format!("select count(*) from issues where {part} and not {right}");
    wait("the links are right", pause, || admin.number(&few) == 0 && admin.number(&all) == 0);
}

/// Waits until it holds, for a limited time.
pub(crate) fn wait(what: &str, pause: Duration, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        sleep(pause);
    }
}
