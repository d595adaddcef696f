//! `metrics.file`: what Prometheus is to know, written anew every 15 s, in one piece, where a textfile collector reads it.
//!
//! It has a thread of its own, for its work is waiting for the disk and counting tokens, and a session of its own while
//! there is such a file. Where the database is away, what only it knows is left out.

use super::{Shared, on_a_thread};
use crate::db::connect::SessionKind;
use crate::db::{DbError, Session};
use crate::metrics::Metrics;
use crate::printable::Printable;
use crate::{spool, status};
use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often the file is written.
const EVERY: Duration = Duration::from_secs(15);
/// How long the database may take.
const WITHIN: Duration = Duration::from_secs(60);
/// The share of the time that may go into counting tokens: where there are many, they are counted less often.
const SHARE: u32 = 50;

/// Starts the thread. It ends with the daemon, and takes its file away.
pub(super) fn start(shared: Arc<Shared>) -> io::Result<JoinHandle<()>> {
    on_a_thread("metrics", async move || {
        Writer { shared: &shared, file: None, session: None, counted: None, told: None }.run().await;
    })
}

struct Writer<'a> {
    shared: &'a Shared,
    /// The file that was written last.
    file: Option<PathBuf>,
    session: Option<Session>,
    /// What the database told last, and when it is to be asked again.
    counted: Option<(Metrics, Instant)>,
    /// Why the file cannot be written, as it was told last.
    told: Option<String>,
}

impl Writer<'_> {
    async fn run(&mut self) {
        let shared = self.shared;
        tokio::select! {
            () = self.write_on() => {}
            () = shared.stop.wait() => {}
        }
        // A daemon that is gone has no metrics; those that it left would be taken for news.
        remove(self.file.as_deref());
    }

    async fn write_on(&mut self) {
        let shared = self.shared;
        // Before the first try to connect there is nothing to tell.
        shared.tried_to_connect.wait().await;
        let mut current = shared.current.subscribe();
        loop {
            let wanted = current.borrow_and_update().settings.metrics.file.clone();
            if wanted != self.file {
                remove(self.file.as_deref());
                self.file.clone_from(&wanted);
            }
            if let Some(path) = &wanted {
                let text = self.metrics().await.to_string();
                self.tell(path, write(path, &text));
            } else {
                self.session = None;
            }
            tokio::select! {
                () = tokio::time::sleep(EVERY), if wanted.is_some() => {}
                _ = current.changed() => {}
            }
        }
    }

    async fn metrics(&mut self) -> Metrics {
        let connected = self.shared.progress.with(|state| state.connected);
        let mut told = None;
        if connected {
            let silent = |_| Err(DbError::Silent(WITHIN));
            match tokio::time::timeout(WITHIN, self.ask()).await.unwrap_or_else(silent) {
                Ok(metrics) => told = Some(metrics),
                Err(error) => log::debug!("metrics: {error}"),
            }
        }
        if told.is_none() {
            (self.session, self.counted) = (None, None);
        }
        let report = self.shared.report();
        let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let settings = self.shared.settings();
        let counts = spool::counts(&settings.spool.directory).ok();
        Metrics {
            up: true,
            start_time_seconds: Some(status::seconds(self.shared.running_since)),
            database_connected: connected,
            reconnects_total: Some(count(report.reconnects)),
            links_written_total: Some(count(report.links_written)),
            last_write_timestamp_seconds: Some(report.last_write_at.map_or(0.0, status::seconds)),
            ..told.unwrap_or_default()
        }
        .with_local(&settings, &self.shared.config, counts)
    }

    /// What only the database knows. Users and their tokens are counted as often as the time that it takes allows.
    async fn ask(&mut self) -> Result<Metrics, DbError> {
        let mut session = match self.session.take() {
            Some(session) if !session.is_closed() => session,
            _ => self.shared.connector.connect(SessionKind::Metrics).await?,
        };
        let metrics = match self.counted.take() {
            Some((counted, until)) if Instant::now() < until => {
                let now = status::work(&session).await?;
                self.counted = Some((counted.clone(), until));
                Metrics { users_with_token: counted.users_with_token, users: counted.users, ..now }
            }
            _ => {
                let begun = Instant::now();
                self.shared.verify(&session).await?;
                let (keyring, rule) = {
                    let current = self.shared.current.borrow();
                    (Arc::clone(&current.keyring), current.settings.portal.token_pattern.rule.clone())
                };
                let metrics = status::remote(&mut session, Some(&keyring), &rule).await?.metrics();
                self.counted = Some((metrics.clone(), Instant::now() + begun.elapsed() * SHARE));
                metrics
            }
        };
        self.session = Some(session);
        Ok(metrics)
    }

    /// Says why the file cannot be written, and that it can be again, each once.
    fn tell(&mut self, path: &Path, written: io::Result<()>) {
        let shown = Printable::name(path);
        let reason = written.err().map(|error| error.to_string());
        if reason == self.told {
            return;
        }
        match &reason {
            Some(reason) => log::warn!(file = shown.as_str(), reason = reason.as_str();
                "the metrics cannot be written: relinkd needs a directory that it may write (docs/monitoring.md)"),
            None => log::info!(file = shown.as_str(); "the metrics are written again"),
        }
        self.told = reason;
    }
}

/// Puts the text in the file's place in one go. A collector that runs as somebody else may read it.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let (directory, name) = (path.parent().unwrap_or(path), draft(path));
    // One that a crash has left, or that somebody has put there.
    let _ = fs::remove_file(directory.join(&name));
    let mut draft = tempfile::Builder::new().prefix(&name).rand_bytes(0).tempfile_in(directory)?;
    draft.write_all(text.as_bytes())?;
    draft.as_file().set_permissions(Permissions::from_mode(0o644))?;
    Ok(draft.persist(path).map(drop)?)
}

/// A name in the same directory that no collector reads.
fn draft(path: &Path) -> OsString {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".tmp");
    name
}

fn remove(path: Option<&Path>) {
    if let Some(path) = path {
        // It may never have been written.
        let _ = fs::remove_file(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn a_file_is_replaced_in_one_go_and_can_be_read_by_all() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("relinkd.prom");
        fs::write(directory.path().join(".relinkd.prom.tmp"), "left").unwrap();
        write(&path, "a 1\n").unwrap();
        let old = File::open(&path).unwrap();
        write(&path, "a 2\n").unwrap();
        assert_eq!(io::read_to_string(old).unwrap(), "a 1\n", "whoever reads has the old one, whole");
        assert_eq!(fs::read_to_string(&path).unwrap(), "a 2\n");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_link_in_the_drafts_place_is_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let (path, other) = (directory.path().join("relinkd.prom"), directory.path().join("other"));
        fs::write(&other, "kept").unwrap();
        std::os::unix::fs::symlink(&other, directory.path().join(draft(&path))).unwrap();
        write(&path, "a 1\n").unwrap();
        assert_eq!(fs::read_to_string(other).unwrap(), "kept");
    }
}
