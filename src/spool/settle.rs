//! Settling: a claim ends as a receipt in `applied/`, or as the file with its reason in `rejected/`.
//!
//! Every step can be the last before a crash: what is left is a claim that the next run takes through the same steps
//! again, and those that are done find nothing to do.

use super::disk::{self, move_to};
use super::{Claim, Dirty, Spool, SpoolError, failed, flush, flush_all, layout};
use std::ffi::{OsStr, OsString};
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The longest name of a file, in bytes.
const NAME_MAX: usize = 255;
/// Room for the longest ending, `.reason`, after a number.
const ENDING_MAX: usize = 16;

impl Spool {
    /// Ends claims that took effect, each with its receipt: the files go, the receipts come. The files are gone for good
    /// when this returns; the claims stay, empty, until they are [closed](Spool::close).
    ///
    /// Each claim goes through the same steps in the same order: the receipt is written beside the file and flushed, the
    /// file is removed and that is flushed, the receipt moves to its place. Several go through each step together, for
    /// their flushes to share the disk's time.
    ///
    /// # Errors
    /// The operating system's; calling again goes on where it stopped, with all of them or with one.
    pub(crate) fn settle_applied(&self, ended: &[(&Claim, &[u8])]) -> Result<(), SpoolError> {
        let applied = self.root.join("applied");
        let draft_of = |claim: &Claim| claim.directory.join(ended_with(&shortened(claim.name()), ".json"));
        let named = || ended.iter().filter(|(claim, _)| !claim.name().is_empty());
        let mut with_file = Vec::new();
        for (claim, receipt) in named() {
            if fs::symlink_metadata(claim.file()).is_ok() {
                // A refusal that was under way before a crash is overtaken.
                drop_drafts(claim)?;
                let draft = draft_of(claim);
                disk::write(&draft, receipt, 0o640).map_err(failed(&draft, "cannot be written"))?;
                with_file.push((*claim, draft));
            }
        }
        let directories = || with_file.iter().map(|(claim, _)| Dirty::Ours(&claim.directory));
        flush_all(directories().chain(with_file.iter().map(|(_, draft)| Dirty::Ours(draft))))?;
        for (claim, _) in &with_file {
            remove(&claim.file())?;
        }
        flush_all(directories())?;
        for (claim, _) in named() {
            // Without a draft the receipt is in its place already.
            let draft = draft_of(claim);
            if fs::symlink_metadata(&draft).is_ok() {
                place(&draft, |number| applied.join(ended_with(&numbered(claim.name(), number), ".json")))?;
            }
        }
        flush(&applied)
    }

    /// Forgets claims that have nothing left in them. Last of all: as long as one is there, the next run comes back to
    /// it.
    pub(crate) fn close(&self, claims: &[&Claim]) -> Result<(), SpoolError> {
        for claim in claims {
            match disk::remove_directory(&claim.directory) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(failed(&claim.directory, "cannot be removed")(error));
                }
                _ => {}
            }
        }
        flush(&self.root.join("claimed"))
    }

    /// Ends a claim of something that is no file to take: back with it, under its own name if that is still free.
    pub(crate) fn put_back(&self, claim: &Claim) -> Result<(), SpoolError> {
        let incoming = self.root.join("incoming");
        // Our own move says nothing about whether it is complete.
        self.watch.distrust(claim.name());
        place(&claim.file(), |number| match number {
            0 => incoming.join(claim.name()),
            _ => incoming.join(numbered_within(claim.name(), number)),
        })?;
        self.close(&[claim])
    }

    /// Ends a claim that is refused: the file, unchanged, lies in `rejected/` with its reason beside it.
    ///
    /// # Errors
    /// The operating system's; calling again goes on where it stopped.
    pub(crate) fn settle_rejected(&self, claim: &Claim, reason: &str) -> Result<(), SpoolError> {
        let rejected = self.root.join("rejected");
        drop_drafts(claim)?;
        let file = claim.file();
        // An operator's file is not ours to change; the directory keeps others out all the same.
        if let Ok(metadata) = fs::symlink_metadata(&file) {
            let _ = fs::set_permissions(&file, Permissions::from_mode(metadata.mode() & 0o640));
        }
        for number in 0.. {
            let name = numbered(claim.name(), number);
            let (target, beside) = (rejected.join(&name), rejected.join(ended_with(&name, ".reason")));
            if exists(&target)? || exists(&beside)? {
                continue;
            }
            let draft = claim.directory.join(ended_with(&name, ".reason"));
            write(&draft, reason.as_bytes(), 0o640)?;
            flush(&claim.directory)?;
            match move_to(&file, &target) {
                Ok(()) => {
                    move_to(&draft, &beside).map_err(failed(&beside, "cannot be put in its place"))?;
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => remove(&draft)?,
                Err(error) => return Err(failed(&target, "cannot be put in its place")(error)),
            }
        }
        flush(&rejected)?;
        self.close(&[claim])
    }

    /// Ends a leftover whose file is gone: a reason or receipt that did not reach its place does now.
    pub(crate) fn settle_gone(&self, claim: &Claim) -> Result<(), SpoolError> {
        let (applied, rejected) = (self.root.join("applied"), self.root.join("rejected"));
        for draft in layout::entries(&claim.directory)? {
            match (draft.extension().and_then(OsStr::to_str), draft.file_name(), draft.file_stem()) {
                // Its file took the same name. Who takes the reason's now must not hold up the files that wait.
                (Some("reason"), Some(name), Some(stem)) => place(&draft, |number| match number {
                    0 => rejected.join(name),
                    _ => rejected.join(ended_with(&numbered(stem, number), ".reason")),
                })?,
                // The file went because it was in force, whatever a database says that was restored from before.
                (Some("json"), Some(_), Some(stem)) => {
                    place(&draft, |number| applied.join(ended_with(&numbered(stem, number), ".json")))?;
                }
                _ => remove(&draft)?,
            }
        }
        flush(&applied)?;
        flush(&rejected)?;
        self.close(&[claim])
    }
}

/// Takes away what an attempt before a crash prepared and did not use.
fn drop_drafts(claim: &Claim) -> Result<(), SpoolError> {
    for path in layout::entries(&claim.directory)? {
        if path != claim.file() {
            remove(&path)?;
        }
    }
    Ok(())
}

/// Moves a draft to the first place that is free.
fn place(draft: &Path, target: impl Fn(u32) -> PathBuf) -> Result<(), SpoolError> {
    for number in 0.. {
        let target = target(number);
        match move_to(draft, &target) {
            Ok(()) => break,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(&target, "cannot be put in its place")(error)),
        }
    }
    Ok(())
}

fn exists(path: &Path) -> Result<bool, SpoolError> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(failed(path, "cannot be looked at")(error)),
    }
}

/// Writes a file, and flushes it.
fn write(path: &Path, content: &[u8], mode: u32) -> Result<(), SpoolError> {
    disk::write(path, content, mode).map_err(failed(path, "cannot be written"))?;
    flush(path)
}

fn remove(path: &Path) -> Result<(), SpoolError> {
    match disk::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(failed(path, "cannot be removed")(error))
        }
        _ => Ok(()),
    }
}

/// `NAME`, `NAME.1`, `NAME.2`, …, short enough for an ending.
fn numbered(name: &OsStr, number: u32) -> OsString {
    let mut name = shortened(name);
    if number > 0 {
        name.push(format!(".{number}"));
    }
    name
}

/// `STEM.1.toml`, `STEM.2.toml`, …: names that are looked at like the first one.
pub(super) fn numbered_within(name: &OsStr, number: u32) -> OsString {
    let stem = name.as_bytes().strip_suffix(b".toml").unwrap_or(name.as_bytes());
    ended_with(&numbered(OsStr::from_bytes(stem), number), ".toml")
}

fn ended_with(name: &OsStr, ending: &str) -> OsString {
    let mut name = name.to_owned();
    name.push(ending);
    name
}

/// The name, cut where it would be too long with a number and an ending; between characters, where it is UTF-8.
fn shortened(name: &OsStr) -> OsString {
    let bytes = name.as_bytes();
    let limit = NAME_MAX - ENDING_MAX;
    if bytes.len() <= limit {
        return name.to_owned();
    }
    let cut = match name.to_str() {
        Some(text) => (0..=limit).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(limit),
        None => limit,
    };
    OsString::from_vec(bytes[..cut].to_vec())
}
