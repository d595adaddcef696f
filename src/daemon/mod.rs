//! The daemon: its tasks, what they share, the signals, and the way out.
//!
//! Links and audit run on the main thread's runtime; the spool and the metrics, whose work is waiting for disks, on
//! threads of their own. Tasks share settings, rules and their progress, and stop when `Shared::stop` is set.

mod audits;
mod links;
mod metrics;
mod progress;
mod signals;
mod spooling;
mod warnings;

use crate::config::{self, Settings, Tables};
use crate::db::presence::Report;
use crate::db::{Connector, DbError, Session, schema};
use crate::envelope::{KeyId, Keyring};
use crate::relink::{RelinkError, Rules, Worker};
use crate::spool::Spool;
use crate::{keyring_file, systemd};
use progress::{Loop, Progress};
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// How long the way out may take: half of it for links, then half for the spool.
const STOP_WITHIN: Duration = Duration::from_secs(4);
/// How long a piece of work may take in all: connecting, a batch of files, a statement of the listening session. Then the
/// database counts as silent. It is less than the watchdog waits for, and more than the server allows a statement that
/// assigns (40 s) or listens (5 s); one that only looks, which the server allows 60 s, is given up here first.
const ANSWER_WITHIN: Duration = Duration::from_secs(45);

/// Why the daemon could not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DaemonError {
    /// The spool.
    #[error(transparent)]
    Spool(#[from] crate::spool::SpoolError),
    /// The operating system.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// The database's settings.
    #[error(transparent)]
    Database(#[from] DbError),
}

/// A switch that is set once, or set and taken; waiting for it is possible.
#[derive(Clone)]
pub(crate) struct Flag(watch::Sender<bool>);

impl Flag {
    fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    fn raised() -> Self {
        Self(watch::Sender::new(true))
    }

    fn set(&self) {
        self.0.send_replace(true);
    }

    fn is_set(&self) -> bool {
        *self.0.borrow()
    }

    /// Whether it was set; it is not any more.
    fn take(&self) -> bool {
        self.0.send_replace(false)
    }

    async fn wait(&self) {
        let mut seen = self.0.subscribe();
        // The sender lives in `self`: it cannot be gone.
        let _ = seen.wait_for(|set| *set).await;
    }
}

/// What the settings and the keyring file say at this moment.
struct Current {
    settings: Arc<Settings>,
    keyring: Arc<Keyring>,
}

/// What the tasks share.
pub(crate) struct Shared {
    config: PathBuf,
    current: watch::Sender<Current>,
    connector: Connector,
    tables: Tables,
    progress: Progress,
    /// Names this daemon in `relinkd.daemon`.
    id: String,
    stop: Flag,
    reloaded: Flag,
    tried_to_connect: Flag,
    /// Warnings that the log hears once.
    told: Mutex<BTreeSet<String>>,
    /// Keys that were looked for in the keyring file and are not there.
    missing_keys: Mutex<BTreeSet<KeyId>>,
    worker: Mutex<Worker>,
    running_since: SystemTime,
}

impl Shared {
    fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.current.borrow().settings)
    }

    /// The rules of this moment, with what the database's columns can hold.
    fn rules(&self, facts: &schema::Facts) -> Rules {
        let current = self.current.borrow();
        Rules::new(&current.settings, Arc::clone(&current.keyring), facts)
    }

    /// The same, for what follows a token under a key that is not known: that is looked for first.
    fn rules_for_work(&self, facts: &schema::Facts) -> Rules {
        Rules { missing_keys: Some(self.missing_keys().clone()), ..self.rules(facts) }
    }

    /// Looks for a key in the keyring file, once.
    fn look_for(&self, key: KeyId) {
        self.reread_keyring(&key);
        self.missing_keys().insert(key);
    }

    fn missing_keys(&self) -> MutexGuard<'_, BTreeSet<KeyId>> {
        locked(&self.missing_keys)
    }

    /// Sleeps, unless the daemon stops meanwhile.
    async fn pause(&self, time: Duration) {
        tokio::select! {
            () = tokio::time::sleep(time) => {}
            () = self.stop.wait() => {}
        }
    }

    /// Warns of something, the first time.
    fn warn_once(&self, text: &str) {
        if locked(&self.told).insert(text.to_owned()) {
            log::warn!("{text}");
        }
    }

    /// Whether the schema fits. What was renamed in the database is followed, and the log hears of it, each once.
    async fn verify(&self, session: &Session) -> Result<schema::Facts, DbError> {
        let verified = schema::verify(session, &self.tables).await?;
        for warning in verified.warnings {
            self.warn_once(&format!("{warning} in the configuration, and restart"));
        }
        Ok(verified.facts)
    }

    /// Says, once each time, whether links follow other `[portal]` settings than this daemon's.
    fn other_portal(&self, other: bool) {
        if self.progress.with(|state| std::mem::replace(&mut state.other_portal, other)) == other {
            return;
        }
        if other {
            let text = "another daemon or a command has brought other [portal] settings: \
                        this one writes no links until `systemctl reload relinkd` brings it the same";
            self.progress.say(Loop::Links, text);
            log::warn!("{text}");
        } else {
            log::info!("the [portal] settings are those that links follow");
        }
    }

    /// Keeps the worker of a session that ended, for the next connection.
    fn keep(&self, worker: Worker) {
        *locked(&self.worker) = worker;
    }

    fn kept(&self) -> Worker {
        std::mem::take(&mut *locked(&self.worker))
    }

    fn connected(&self) {
        self.progress.with(|state| {
            state.connected = true;
            state.connections += 1;
        });
        self.tried_to_connect.set();
        self.missing_keys().clear();
    }

    /// What it tells of itself.
    fn report(&self) -> Report {
        let seals_with = self.current.borrow().keyring.primary().to_string();
        let seconds_to = |at: Instant| at.saturating_duration_since(Instant::now()).as_secs();
        self.progress.with(|state| Report {
            seals_with,
            links_written: state.written,
            last_write_at: state.last_write,
            reconnects: state.connections.saturating_sub(1),
            next_audit_in: state.next_audit.map(seconds_to),
            other_portal: state.other_portal,
        })
    }

    /// Says what is wrong, with the next step, in the log and in the status line; the log hears it once.
    fn trouble(&self, which: Loop, error: &RelinkError) {
        let text = error.with_advice();
        if self.progress.say(which, &format!("retrying: {text}")) {
            log::warn!("{text}");
        }
        self.tried_to_connect.set();
    }

    /// Reads the keyring file again, for a key that is not in memory.
    fn reread_keyring(&self, key: &KeyId) {
        let settings = self.settings();
        match keyring_file::load(&settings.keyring.file, None) {
            Ok(keyring) => {
                if keyring.contains(key) {
                    log::info!(key = key.as_str(); "found a new key in the keyring file");
                } else {
                    log::error!(key = key.as_str();
                        "stored tokens are sealed under a key that is not in the keyring: bring it back from the copy of \
                         the keyring; make no new key, it opens none of them");
                }
                self.current.send_modify(|current| current.keyring = Arc::new(keyring));
            }
            Err(error) => {
                let error = error.with_mend();
                log::error!("the keyring file cannot be read again, the old one stays in force: {error}");
            }
        }
    }

    /// Reads configuration and keyring again; bad ones leave the old ones in force.
    fn reload(&self) {
        let loaded = config::load(&self.config).map_err(|error| error.to_string()).and_then(|settings| {
            let keyring =
                keyring_file::load(&settings.keyring.file, None).map_err(|error| error.with_mend())?;
            Ok((settings, keyring))
        });
        match loaded {
            Err(error) => {
                for line in error.lines() {
                    log::error!("{line}");
                }
                log::error!("not reloaded: the configuration that was in force stays in force");
            }
            Ok((settings, keyring)) => {
                let former = self.settings();
                for section in former.restart_needed(&settings) {
                    log::warn!("{section} has changed: this needs `systemctl restart`");
                }
                let settings = Arc::new(settings.with_fixed_sections_of(&former));
                self.current.send_replace(Current { settings, keyring: Arc::new(keyring) });
                self.missing_keys().clear();
                log::info!("configuration and keyring read again");
                self.reloaded.set();
            }
        }
    }
}

/// Runs the daemon until it is told to stop.
///
/// # Errors
/// What keeps it from starting; afterwards nothing does.
pub(crate) fn run(config: &Path, settings: Settings, keyring: Keyring) -> Result<(), DaemonError> {
    let system = |what| move |source| DaemonError::System { what, source };
    let spool = Spool::open(&settings.spool.directory)?;
    let runtime = runtime().map_err(system("cannot start the runtime"))?;
    let shared = Arc::new(Shared {
        config: config.to_owned(),
        connector: Connector::new(&settings.database)?,
        tables: settings.tables.clone(),
        current: watch::Sender::new(Current { settings: Arc::new(settings), keyring: Arc::new(keyring) }),
        progress: Progress::new(),
        id: name(),
        stop: Flag::new(),
        reloaded: Flag::raised(),
        tried_to_connect: Flag::new(),
        told: Mutex::default(),
        missing_keys: Mutex::default(),
        worker: Mutex::default(),
        running_since: SystemTime::now(),
    });
    signals::listen(Arc::clone(&shared)).map_err(system("cannot listen for signals"))?;
    let (scanned, spool_thread) =
        spooling::start(Arc::clone(&shared), spool).map_err(system("cannot start the spool's thread"))?;
    let metrics =
        metrics::start(Arc::clone(&shared)).map_err(system("cannot start the thread of the metrics"))?;
    log::info!(version = env!("CARGO_PKG_VERSION"); "relinkd starts");
    runtime.block_on(supervise(&shared, scanned));
    systemd::stopping();
    let told = Instant::now();
    while !(spool_thread.is_finished() && metrics.is_finished()) && told.elapsed() < STOP_WITHIN / 2 {
        std::thread::sleep(Duration::from_millis(5));
    }
    log::info!("relinkd has stopped");
    Ok(())
}

/// A runtime for one thread.
fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// Starts work on a thread and a runtime of its own.
fn on_a_thread(name: &str, work: impl AsyncFnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    let runtime = runtime()?;
    std::thread::Builder::new().name(name.to_owned()).spawn(move || runtime.block_on(work()))
}

/// Starts the tasks, says when the daemon is ready, and waits for the end.
async fn supervise(shared: &Arc<Shared>, scanned: Flag) {
    let links = tokio::spawn(links::run(Arc::clone(shared)));
    let audits = tokio::spawn(audits::run(Arc::clone(shared)));
    let feeding = tokio::spawn(feed_watchdog(Arc::clone(shared)));
    tokio::select! {
        () = async { shared.tried_to_connect.wait().await; scanned.wait().await } => {
            systemd::ready();
            systemd::status(&shared.progress.status());
        }
        () = shared.stop.wait() => {}
    }
    shared.stop.wait().await;
    feeding.abort();
    audits.abort();
    if tokio::time::timeout(STOP_WITHIN / 2, links).await.is_err() {
        log::warn!("the transaction in hand did not end in time: the server rolls it back");
    }
}

/// Feeds systemd's watchdog while all loops make progress.
async fn feed_watchdog(shared: Arc<Shared>) {
    let Some(interval) = systemd::watchdog_interval() else { return };
    loop {
        if shared.progress.healthy() {
            systemd::alive();
        }
        tokio::time::sleep(interval).await;
    }
}

/// Work with a database that answers in time, or an error that says it did not.
async fn in_time<T, E: From<DbError>>(work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    match tokio::time::timeout(ANSWER_WITHIN, work).await {
        Ok(done) => done,
        Err(_) => Err(DbError::Silent(ANSWER_WITHIN).into()),
    }
}

/// What a lock guards; a panic ends the process before anybody could meet half of a change.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A name for this daemon that no other has.
fn name() -> String {
    getrandom::u64().map_or_else(|_| format!("pid-{}", std::process::id()), |random| format!("{random:016x}"))
}

/// A number in 0..1 for spreading pauses; any will do.
pub(crate) fn jitter() -> f64 {
    getrandom::u32().map_or(0.5, |n| f64::from(n) / f64::from(u32::MAX))
}
