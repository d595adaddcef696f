//! Claiming: a file moves from `incoming/` into a directory of its own under `claimed/`. The directory's name is the
//! claim's id, and sorts by the order in which the files were claimed.

use super::look::{Arrival, NotTaken, Reason, judge};
use super::{Dirty, Spool, SpoolError, disk, failed, flush, flush_all, layout, open_dropped};
use nix::errno::Errno;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};
use zeroize::Zeroizing;

/// A file that is being worked on, by nobody else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(super) directory: PathBuf,
    id: String,
    name: OsString,
}

/// What a claimed file holds.
pub(crate) enum Content {
    /// All of it.
    Bytes {
        /// What it says; of a file that is longer than the limit, one byte more than that.
        bytes: Zeroizing<Vec<u8>>,
        /// Whose file it is, as the open file tells (fstat(2)).
        owner: u32,
    },
    /// It is there, and this user cannot read it: by its mode, by a lease of another process (fcntl(2)), or by a bad
    /// disk.
    Unreadable(io::Error),
    /// Nothing: it is no regular file, and was not opened as one; or somebody has a second hard link to it.
    NoFile,
    /// Nothing to read: the file is gone, only clearing away is left to do.
    Gone,
}

impl Claim {
    /// The claim's id: 32 hexadecimal digits, never the same twice. A later claim has a greater one.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// The name under which the file was dropped.
    pub(crate) fn name(&self) -> &OsStr {
        &self.name
    }

    /// How large the file is, in bytes; 0 where it is gone.
    pub(crate) fn size(&self) -> u64 {
        fs::symlink_metadata(self.file()).map_or(0, |metadata| metadata.len())
    }

    pub(super) fn file(&self) -> PathBuf {
        self.directory.join(&self.name)
    }

    /// Reads the file whole, or as much of it as shows that it is longer than `limit` bytes.
    ///
    /// # Errors
    /// The system is short of descriptors or memory; every other trouble is the file's.
    pub(crate) fn read(&self, limit: usize) -> Result<Content, SpoolError> {
        let path = self.file();
        let file = match open_dropped(&path) {
            Ok(file) => file,
            Err(Errno::ENOENT) => return Ok(Content::Gone),
            // A symbolic link; a socket.
            Err(Errno::ELOOP | Errno::ENXIO) => return Ok(Content::NoFile),
            Err(errno @ (Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM)) => {
                return Err(failed(&path, "cannot be opened")(errno.into()));
            }
            Err(errno) => return Ok(Content::Unreadable(errno.into())),
        };
        let metadata = file.metadata().map_err(failed(&path, "cannot be looked at"))?;
        if self.name().is_empty() {
            return Ok(Content::Gone);
        }
        if !metadata.is_file() || metadata.nlink() > 1 {
            return Ok(Content::NoFile);
        }
        // As long as it may get, at once: growing would leave copies behind.
        let room = usize::try_from(metadata.len()).map_or(limit, |size| size.min(limit)) + 1;
        let mut bytes = Zeroizing::new(Vec::with_capacity(room));
        if let Err(error) = file.take(room as u64).read_to_end(&mut bytes) {
            return Ok(Content::Unreadable(error));
        }
        // It grew after it was claimed: somebody is writing to it.
        if bytes.len() == room && room <= limit {
            return Ok(Content::Unreadable(io::ErrorKind::ResourceBusy.into()));
        }
        Ok(Content::Bytes { bytes, owner: metadata.uid() })
    }
}

/// What became of files that were to be claimed.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    /// The files claimed, in the order of their arrivals.
    pub taken: Vec<Claim>,
    /// Files that cannot be moved, as far as it was not told before.
    pub not_taken: Vec<NotTaken>,
}

impl Spool {
    /// Claims files, in this order. Left out are those that are gone, are no files to take any more, cannot be moved, or
    /// have changed since they were found: they may be half written again, and the next look judges them anew.
    pub(crate) fn claim(&mut self, arrivals: &[Arrival]) -> Result<Claims, SpoolError> {
        let mut claims = Claims::default();
        for arrival in arrivals {
            match self.claim_one(arrival)? {
                Ok(claim) => claims.taken.extend(claim),
                Err(reason) => claims.not_taken.extend(self.looks.tell(arrival, reason)),
            }
        }
        self.flush_claims(&claims.taken)?;
        Ok(claims)
    }

    /// Moves one file; nothing is flushed yet.
    fn claim_one(&self, arrival: &Arrival) -> Result<Result<Option<Claim>, Reason>, SpoolError> {
        let (incoming, claimed) = (self.root.join("incoming"), self.root.join("claimed"));
        let id = self.new_id(&claimed)?;
        let claim = Claim { directory: claimed.join(&id), id, name: arrival.name.clone() };
        let from = incoming.join(&arrival.name);
        if !arrival.is_still(&from) {
            return Ok(Ok(None));
        }
        disk::make_directory(&claim.directory).map_err(failed(&claim.directory, "cannot be made"))?;
        self.watch.forget(&arrival.name);
        match disk::move_to(&from, &claim.file()) {
            Ok(()) if arrival.is_still(&claim.file()) && judge(&claim.file()).is_ok() => Ok(Ok(Some(claim))),
            Ok(()) => {
                // It changed in the very moment of the claim.
                self.put_back(&claim)?;
                Ok(Ok(None))
            }
            Err(error) => {
                self.close(&[&claim])?;
                match error.kind() {
                    io::ErrorKind::NotFound => Ok(Ok(None)),
                    io::ErrorKind::StorageFull
                    | io::ErrorKind::QuotaExceeded
                    | io::ErrorKind::ReadOnlyFilesystem => Err(failed(&from, "cannot be claimed")(error)),
                    // An immutable file, one that something is mounted on: its own trouble, and nobody else's.
                    _ => Ok(Err(Reason::Immovable)),
                }
            }
        }
    }

    /// Before anything follows from a claim: power loss must not bring the file back under its old name, nor tear a
    /// content that was judged whole. `incoming/` comes first: it keeps all claims in the same moment, so that none is
    /// there without the ones before it.
    fn flush_claims(&self, claims: &[Claim]) -> Result<(), SpoolError> {
        if claims.is_empty() {
            return Ok(());
        }
        flush(&self.root.join("incoming"))?;
        let claimed = self.root.join("claimed");
        let directories = claims.iter().map(|claim| &*claim.directory).chain([&*claimed]);
        flush_all(directories.map(Dirty::Ours).chain(claims.iter().map(|claim| Dirty::Dropped(claim.file()))))
    }

    /// An id that is greater than that of every claim there is, whatever the clock says; its second half is random.
    fn new_id(&self, claimed: &Path) -> Result<String, SpoolError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let now = u64::try_from(now).unwrap_or(u64::MAX);
        let random = getrandom::u64()
            .map_err(|error| io::Error::other(error.to_string()))
            .map_err(failed(claimed, "no randomness for a claim's id"))?;
        let number = self.last_number.load(Ordering::Relaxed).saturating_add(1).max(now);
        self.last_number.store(number, Ordering::Relaxed);
        Ok(format!("{number:016x}{random:016x}"))
    }

    /// Claims that an earlier run, or an earlier round, has not settled, in the order in which they were claimed.
    pub(crate) fn leftovers(&self) -> Result<Vec<Claim>, SpoolError> {
        let mut leftovers = Vec::new();
        for directory in layout::entries(&self.root.join("claimed"))? {
            let Some(id) = directory.file_name().and_then(OsStr::to_str).map(str::to_owned) else { continue };
            let metadata =
                fs::symlink_metadata(&directory).map_err(failed(&directory, "cannot be looked at"))?;
            if !metadata.is_dir() {
                continue;
            }
            let name = dropped_name(&directory)?;
            leftovers.push(Claim { directory, id, name });
        }
        let numbers = leftovers.iter().filter_map(|claim| u64::from_str_radix(claim.id.get(..16)?, 16).ok());
        self.last_number.fetch_max(numbers.max().unwrap_or_default(), Ordering::Relaxed);
        // A run that was killed may have moved them without a flush.
        self.flush_claims(&leftovers)?;
        Ok(leftovers)
    }
}

/// The name under which a claim's file was dropped: the file's, or what its receipt or reason was made from.
fn dropped_name(directory: &Path) -> Result<OsString, SpoolError> {
    let paths = layout::entries(directory)?;
    let with = |ending: &str| paths.iter().find(|path| path.extension().is_some_and(|it| it == ending));
    let file = with("toml").and_then(|path| path.file_name());
    let other = || with("json").or_else(|| with("reason")).and_then(|path| path.file_stem());
    Ok(file.or_else(other).unwrap_or_default().to_owned())
}
