//! Claiming: a file moves from `incoming/` into a directory of its own under `claimed/`, named by a random id.

use super::look::{Arrival, judge};
use super::{Spool, SpoolError, failed, flush, layout};
use nix::errno::Errno;
use nix::fcntl::{OFlag, RenameFlags, open, renameat2};
use nix::sys::stat::Mode;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// A file that is being worked on, by nobody else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    pub(super) directory: PathBuf,
    id: String,
    name: OsString,
}

/// What a claimed file holds.
pub enum Content {
    /// More than the limit.
    TooLarge,
    /// All of it.
    Bytes(Zeroizing<Vec<u8>>),
    /// Nothing: it is no regular file, and was not opened as one; or somebody has a second hard link to it.
    NoFile,
    /// Nothing to read: the file is gone, only clearing away is left to do.
    Gone,
}

impl Claim {
    /// The claim's id: 32 hexadecimal digits, never the same twice.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The name under which the file was dropped.
    #[must_use]
    pub fn name(&self) -> &OsStr {
        &self.name
    }

    pub(super) fn file(&self) -> PathBuf {
        self.directory.join(&self.name)
    }
}

/// Moves a file, never over another (`renameat2(2)`, `RENAME_NOREPLACE`).
pub(super) fn move_to(from: &Path, to: &Path) -> io::Result<()> {
    let here = nix::fcntl::AT_FDCWD;
    renameat2(here, from, here, to, RenameFlags::RENAME_NOREPLACE).map_err(io::Error::from)
}

impl Spool {
    /// Claims a file. None where it is gone, is no file to take any more, or has changed since it was found: it may be
    /// half written again, and the next look judges it anew.
    ///
    /// # Errors
    /// The operating system's; the file is then still in `incoming/`, or a leftover.
    pub fn claim(&self, arrival: &Arrival) -> Result<Option<Claim>, SpoolError> {
        let (incoming, claimed) = (self.root.join("incoming"), self.root.join("claimed"));
        let id = random_id().map_err(failed(&claimed, "no randomness for a claim's id"))?;
        let claim = Claim { directory: claimed.join(&id), id, name: arrival.name.clone() };
        let from = incoming.join(&arrival.name);
        if !arrival.is_still(&from) {
            return Ok(None);
        }
        fs::create_dir(&claim.directory).map_err(failed(&claim.directory, "cannot be made"))?;
        self.watch.forget(&arrival.name);
        match move_to(&from, &claim.file()) {
            Ok(()) if arrival.is_still(&claim.file()) && judge(&claim.file()).is_ok() => {}
            Ok(()) => {
                // It changed in the very moment of the claim.
                self.put_back(&claim)?;
                return Ok(None);
            }
            Err(error) => {
                self.close(&claim)?;
                return match error.kind() {
                    io::ErrorKind::NotFound => Ok(None),
                    _ => Err(failed(&from, "cannot be claimed")(error)),
                };
            }
        }
        // Before anything follows from the claim: power loss must not bring the file back under its old name.
        flush(&claim.directory)?;
        flush(&claimed)?;
        flush(&incoming)?;
        Ok(Some(claim))
    }

    /// Claims that an earlier run has not settled, oldest first.
    ///
    /// # Errors
    /// The operating system's.
    pub fn leftovers(&self) -> Result<Vec<Claim>, SpoolError> {
        let mut leftovers = Vec::new();
        for directory in layout::entries(&self.root.join("claimed"))? {
            let Some(id) = directory.file_name().and_then(OsStr::to_str).map(str::to_owned) else { continue };
            let metadata = fs::metadata(&directory).map_err(failed(&directory, "cannot be looked at"))?;
            if !metadata.is_dir() {
                continue;
            }
            let name = dropped_name(&directory)?;
            leftovers.push(((metadata.mtime(), metadata.mtime_nsec()), Claim { directory, id, name }));
        }
        leftovers.sort_by(|(a, claim_a), (b, claim_b)| (a, &claim_a.id).cmp(&(b, &claim_b.id)));
        Ok(leftovers.into_iter().map(|(_, claim)| claim).collect())
    }

    /// Reads a claimed file whole, if it is not longer than `limit` bytes.
    ///
    /// # Errors
    /// The operating system's.
    pub fn read(&self, claim: &Claim, limit: usize) -> Result<Content, SpoolError> {
        let path = claim.file();
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = match open(&path, flags, Mode::empty()) {
            Ok(descriptor) => File::from(descriptor),
            Err(Errno::ENOENT) => return Ok(Content::Gone),
            // A symbolic link; a socket.
            Err(Errno::ELOOP | Errno::ENXIO) => return Ok(Content::NoFile),
            Err(errno) => return Err(failed(&path, "cannot be opened")(errno.into())),
        };
        let metadata = file.metadata().map_err(failed(&path, "cannot be looked at"))?;
        if claim.name().is_empty() {
            return Ok(Content::Gone);
        }
        if !metadata.is_file() || metadata.nlink() > 1 {
            return Ok(Content::NoFile);
        }
        // As long as it may get, at once: growing would leave copies behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(limit + 1));
        file.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(failed(&path, "cannot be read"))?;
        Ok(if bytes.len() > limit { Content::TooLarge } else { Content::Bytes(bytes) })
    }
}

/// The name under which a claim's file was dropped: the file's, or what its receipt or reason was made from.
fn dropped_name(directory: &Path) -> Result<OsString, SpoolError> {
    let names: Vec<OsString> = layout::entries(directory)?
        .iter()
        .filter_map(|path| path.file_name().map(ToOwned::to_owned))
        .collect();
    let file = names.iter().find(|name| name.as_bytes().ends_with(b".toml"));
    let other = names.iter().find_map(|name| {
        let name = name.as_bytes();
        name.strip_suffix(b".json")
            .or(name.strip_suffix(b".reason"))
            .map(|stem| OsStr::from_bytes(stem).to_owned())
    });
    Ok(file.cloned().or(other).unwrap_or_default())
}

fn random_id() -> io::Result<String> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
