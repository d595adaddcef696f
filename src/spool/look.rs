//! Looking through `incoming/`: what is ready, what is still being written, what is no file to take.

use super::{SpoolError, failed, open_dropped};
use nix::errno::Errno;
use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// How long a file must look the same, where nobody said that it is closed; also the grace for a second hard link.
pub(super) const STILL: Duration = Duration::from_secs(2);

/// A file to be claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Arrival {
    /// Its name in `incoming/`.
    pub name: OsString,
    /// When it arrived: its ctime, seconds and nanoseconds.
    pub arrived: (i64, i64),
    /// How it looked then.
    look: Look,
}

impl Arrival {
    /// How large it was then, in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.look.size
    }

    /// Whether the file at this path is the one that was found, with nothing written to it since. A rename changes
    /// only its ctime.
    pub(super) fn is_still(&self, path: &Path) -> bool {
        fs::symlink_metadata(path).is_ok_and(|metadata| Look::from(&metadata) == self.look)
    }
}

/// Why something in `incoming/` is no file to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Reason {
    /// It is something else than a regular file.
    #[error("it is a {0}, not a regular file")]
    NoFile(&'static str),
    /// Somebody can still change it.
    #[error("it has a second hard link")]
    HardLink,
    /// This user may not read it.
    #[error("relinkd may not read it (chmod g+r)")]
    Unreadable,
    /// The rename is refused.
    #[error("it cannot be moved: is it immutable (lsattr), or is something mounted on it?")]
    Immovable,
}

/// Something that is not taken; told once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NotTaken {
    /// Its name.
    pub name: OsString,
    /// Why.
    pub reason: Reason,
}

/// What a look found.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// Files that are complete, in order of arrival.
    pub ready: Vec<Arrival>,
    /// Files that wait for their second look.
    pub(super) pending: Vec<((i64, i64), OsString)>,
    /// When files that may not be complete are worth another look.
    pub look_again_in: Option<Duration>,
    /// What will not be taken, as far as it was not told before.
    pub not_taken: Vec<NotTaken>,
}

/// A file as it looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Look {
    inode: (u64, u64),
    size: u64,
    modified: (i64, i64),
}

impl From<&Metadata> for Look {
    fn from(metadata: &Metadata) -> Self {
        Self {
            inode: (metadata.dev(), metadata.ino()),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

/// What earlier looks saw of a file.
#[derive(Clone, Copy)]
struct Seen {
    look: Look,
    since: SystemTime,
    /// It has been seen to change: somebody is writing it.
    changing: bool,
}

/// What earlier looks saw.
#[derive(Default)]
pub(super) struct Looks {
    seen: HashMap<OsString, Seen>,
    told: HashMap<OsString, (u64, Reason)>,
}

impl Looks {
    pub(super) fn scan(
        &mut self,
        incoming: &Path,
        now: SystemTime,
        closed: &HashSet<OsString>,
    ) -> Result<Scan, SpoolError> {
        let mut scan = Scan::default();
        let mut present = HashSet::new();
        for entry in fs::read_dir(incoming).map_err(failed(incoming, "cannot be read"))? {
            let path = entry.map_err(failed(incoming, "cannot be read"))?.path();
            let (true, Some(name)) = (is_named_for_us(&path), path.file_name()) else { continue };
            present.insert(name.to_owned());
            self.look(&path, name, now, closed.contains(name), &mut scan);
        }
        self.seen.retain(|name, _| present.contains(name));
        self.told.retain(|name, _| present.contains(name));
        scan.ready.sort_by(|a, b| (a.arrived, &a.name).cmp(&(b.arrived, &b.name)));
        // What came before and only waits for its second look is not overtaken; what is being written is.
        if let Some(first) = scan.pending.iter().min() {
            scan.ready.retain(|arrival| (arrival.arrived, &arrival.name) < (first.0, &first.1));
        }
        Ok(scan)
    }

    /// What there is to tell of a file that is not taken: once for each file and reason.
    pub(super) fn tell(&mut self, arrival: &Arrival, reason: Reason) -> Option<NotTaken> {
        self.news(&arrival.name, arrival.look.inode.1, reason)
    }

    fn news(&mut self, name: &OsStr, inode: u64, reason: Reason) -> Option<NotTaken> {
        let told = self.told.insert(name.to_owned(), (inode, reason));
        (told != Some((inode, reason))).then(|| NotTaken { name: name.to_owned(), reason })
    }

    fn look(&mut self, path: &Path, name: &OsStr, now: SystemTime, closed: bool, scan: &mut Scan) {
        let Ok(metadata) = fs::symlink_metadata(path) else { return };
        let look = Look::from(&metadata);
        let seen = match self.seen.get(name) {
            Some(before) if before.look == look && before.since <= now => *before,
            Some(before) => Seen { look, since: now, changing: before.look.inode == look.inode },
            None => Seen { look, since: now, changing: false },
        };
        self.seen.insert(name.to_owned(), seen);
        let still_for = now.duration_since(seen.since).unwrap_or_default();
        let arrived = (metadata.ctime(), metadata.ctime_nsec());

        match judge_as(path, &metadata) {
            Ok(()) if closed || still_for >= STILL => {
                scan.ready.push(Arrival { name: name.to_owned(), arrived, look });
            }
            Err(reason) if reason != Reason::HardLink || still_for >= STILL => {
                scan.not_taken.extend(self.news(name, metadata.ino(), reason));
            }
            Ok(()) | Err(_) => {
                if !seen.changing {
                    scan.pending.push((arrived, name.to_owned()));
                }
                let left = STILL.saturating_sub(still_for);
                scan.look_again_in = Some(scan.look_again_in.map_or(left, |soon| soon.min(left)));
            }
        }
    }
}

/// Whether a name is one that is picked up: it ends in `.toml` and does not begin with a dot.
pub(super) fn is_named_for_us(path: &Path) -> bool {
    path.file_name().is_some_and(|name| {
        let name = name.as_bytes();
        name.ends_with(b".toml") && !name.starts_with(b".")
    })
}

/// Whether this is a file to take.
pub(super) fn judge(path: &Path) -> Result<(), Reason> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => judge_as(path, &metadata),
        // Gone since it was listed, or in a directory that may not be searched.
        Err(_) => Err(Reason::Unreadable),
    }
}

/// Whether this is a regular file that nobody else has under another name.
pub(super) fn judge_kind(metadata: &Metadata) -> Result<(), Reason> {
    let kind = metadata.file_type();
    if kind.is_file() {
        return if metadata.nlink() > 1 { Err(Reason::HardLink) } else { Ok(()) };
    }
    let others = [
        (kind.is_symlink(), "symbolic link"),
        (kind.is_dir(), "directory"),
        (kind.is_fifo(), "FIFO"),
        (kind.is_socket(), "socket"),
    ];
    let what = others.iter().find(|(is_one, _)| *is_one).map_or("device", |(_, what)| *what);
    Err(Reason::NoFile(what))
}

/// Only what is known to be a regular file is opened, and even then without following or waiting.
fn judge_as(path: &Path, metadata: &Metadata) -> Result<(), Reason> {
    judge_kind(metadata)?;
    match open_dropped(path) {
        Err(Errno::EACCES | Errno::EPERM) => Err(Reason::Unreadable),
        Ok(_) | Err(_) => Ok(()),
    }
}
