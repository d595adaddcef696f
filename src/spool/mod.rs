//! The spool: files that operators drop, found, claimed and settled so that each takes effect exactly once.
//!
//! `incoming/` is theirs, `claimed/` ours: a claim is a directory of its own with the file in it, so that a name of any
//! length keeps. A file is never followed, never opened before it is known to be one, never overwritten. What a file
//! says is not known here, nor what becomes of it in the database.

mod claim;
mod disk;
mod layout;
mod look;
mod operators;
mod owner;
mod settle;
#[cfg(test)]
mod tests;
mod watch;

pub(crate) use claim::{Claim, Content};
pub(crate) use layout::{Counts, DIRECTORIES, counts};
pub(crate) use look::{Arrival, NotTaken, Scan};
pub(crate) use operators::{Listing, OperateError, Rejected, discard, list, rejected, retry};
pub(crate) use owner::{Owner, owner};
#[cfg(test)]
pub(crate) use tests::recording;

use nix::fcntl::{Flock, FlockArg, OFlag, open};
use nix::sys::stat::Mode;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime};

/// What keeps the spool from working. The files in it stay where they are.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpoolError {
    /// Another daemon works here.
    #[error("another relinkd owns the spool {}{}", path.display(), of_process(*process))]
    Owned {
        /// The spool.
        path: PathBuf,
        /// Its process, where that can be seen.
        process: Option<u32>,
    },
    /// A file cannot be moved from one to the other in one go.
    #[error("{} is on another file system than the spool: bring both onto one", .0.display())]
    OtherFileSystem(PathBuf),
    /// A directory of the spool is a symbolic link.
    #[error("{} is a symbolic link, which relinkd does not follow: put a directory in its place", .0.display())]
    Link(PathBuf),
    /// The operating system refuses.
    #[error("{}: {what}: {source}{}", path.display(), mend(source))]
    System {
        /// Where.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

fn of_process(process: Option<u32>) -> String {
    process.map_or_else(String::new, |process| format!(": process {process}"))
}

/// What an operator can do about it, where that is plain.
fn mend(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "; free some space there",
        io::ErrorKind::ReadOnlyFilesystem => {
            "; mount it writable, or, where the directory was replaced under a running service, restart relinkd"
        }
        io::ErrorKind::PermissionDenied => "; give it to the user that relinkd runs as (chown)",
        _ => "",
    }
}

/// For `map_err`: an operating system's error, with where and what.
fn failed<'a>(path: &'a Path, what: &'static str) -> impl FnOnce(io::Error) -> SpoolError + use<'a> {
    move |source| SpoolError::System { path: path.to_owned(), what, source }
}

/// A spool, owned by this process as long as the value lives.
pub(crate) struct Spool {
    root: PathBuf,
    lock: Flock<File>,
    watch: watch::Watch,
    looks: look::Looks,
    /// Since when `incoming/` is gone.
    gone_since: Option<SystemTime>,
    /// The number that the last claim's id begins with.
    last_number: AtomicU64,
}

impl Spool {
    /// Takes ownership of the spool in this directory, and makes what is missing in it.
    ///
    /// # Errors
    /// [`SpoolError::Owned`] where another daemon has it; the operating system's.
    pub(crate) fn open(root: &Path) -> Result<Self, SpoolError> {
        layout::prepare(root)?;
        Ok(Self {
            lock: own(root)?,
            root: root.to_owned(),
            watch: watch::Watch::default(),
            looks: look::Looks::default(),
            gone_since: None,
            last_number: AtomicU64::new(0),
        })
    }

    /// From now on calls `wake` whenever something happens in `incoming/`.
    pub(crate) fn watch(&mut self, wake: impl Fn() + Send + Sync + 'static) {
        self.watch = watch::Watch::new(wake);
    }

    /// Looks through `incoming/`. The directory may have been replaced since the last look: then the new one is
    /// watched. One that is gone is made after 2 s; before that it would stand in the way of whoever is about to put
    /// another in its place.
    ///
    /// # Errors
    /// The operating system's; [`SpoolError::Owned`] where the new directory has an owner.
    pub(crate) fn scan(&mut self, now: SystemTime) -> Result<Scan, SpoolError> {
        if let Some(left) = self.grace(now) {
            return Ok(Scan { look_again_in: Some(left), ..Scan::default() });
        }
        layout::prepare(&self.root)?;
        self.gone_since = None;
        let locked = self.lock.metadata().map_err(failed(&self.root, "cannot be looked at"))?;
        if identity(&looked_at(&self.root)?) != identity(&locked) {
            self.lock = own(&self.root)?;
        }
        let incoming = self.root.join("incoming");
        self.watch.follow(&incoming, identity(&looked_at(&incoming)?));
        self.looks.scan(&incoming, now, &self.watch.closed())
    }

    /// How long a directory that is gone is still waited for. None where it is there, or has been waited for.
    fn grace(&mut self, now: SystemTime) -> Option<Duration> {
        if layout::is_there(&self.root) {
            return None;
        }
        let since = *self.gone_since.get_or_insert(now);
        // A clock that went back does not prolong it.
        let waited = now.duration_since(since).unwrap_or(look::STILL);
        look::STILL.checked_sub(waited).filter(|left| !left.is_zero())
    }
}

/// Device and inode.
fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// What the system says of this path.
fn looked_at(path: &Path) -> Result<Metadata, SpoolError> {
    std::fs::metadata(path).map_err(failed(path, "cannot be looked at"))
}

/// The lock of a spool is on the directory itself (flock(2)).
fn own(root: &Path) -> Result<Flock<File>, SpoolError> {
    let directory = File::open(root).map_err(failed(root, "cannot be opened"))?;
    Flock::lock(directory, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
        nix::errno::Errno::EWOULDBLOCK => {
            SpoolError::Owned { path: root.to_owned(), process: owner(root).map(|owner| owner.pid) }
        }
        other => failed(root, "cannot be locked")(other.into()),
    })
}

/// Makes what was done in a directory, or written to a file, last (fsync(2)).
fn flush(path: &Path) -> Result<(), SpoolError> {
    flush_all(std::iter::once(Dirty::Ours(path)))
}

/// How many flushes wait for the disk at the same time.
const FLUSHES_AT_ONCE: usize = 32;

/// What is to be flushed.
enum Dirty<'p> {
    /// A directory or a file of the spool's own.
    Ours(&'p Path),
    /// The content of a dropped file. One that cannot be opened or flushed is in trouble of its own, which shows when
    /// it is read.
    Dropped(PathBuf),
}

impl Dirty<'_> {
    fn path(&self) -> &Path {
        match self {
            Self::Ours(path) => path,
            Self::Dropped(path) => path,
        }
    }

    fn flush(&self) -> Result<(), SpoolError> {
        match self {
            Self::Ours(path) => File::open(path)
                .and_then(|file| disk::flush(&file, path))
                .map_err(failed(path, "cannot be flushed")),
            Self::Dropped(path) => {
                let _ = open_dropped(path).map(|file| disk::flush(&file, path));
                Ok(())
            }
        }
    }
}

/// Opens what was dropped: never through a link, and without waiting for a writer or for a lease to end.
fn open_dropped(path: &Path) -> nix::Result<File> {
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    open(path, flags, Mode::empty()).map(File::from)
}

/// Flushes several, side by side: a disk that takes 5 ms for one takes hardly longer for many.
fn flush_all<'p>(dirty: impl Iterator<Item = Dirty<'p>>) -> Result<(), SpoolError> {
    let dirty: Vec<Dirty<'p>> = dirty.collect();
    let Some((last, others)) = dirty.split_last() else { return Ok(()) };
    let share = dirty.len().div_ceil(FLUSHES_AT_ONCE);
    let flush_each = |dirty: &[Dirty<'_>]| dirty.iter().try_for_each(Dirty::flush);
    std::thread::scope(|scope| {
        let helpers: Vec<_> = others
            .chunks(share)
            .map(|share| {
                std::thread::Builder::new()
                    .name("flush".to_owned())
                    .spawn_scoped(scope, move || flush_each(share))
                    .map_err(|_| share)
            })
            .collect();
        let mut done = last.flush();
        for helper in helpers {
            let result = match helper {
                Ok(helper) => helper.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
                // No thread is to be had: this one does it.
                Err(share) => flush_each(share),
            };
            done = done.and(result);
        }
        done
    })?;
    disk::flushed(last.path());
    Ok(())
}
