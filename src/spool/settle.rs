//! Settling: a claim ends as a receipt in `applied/`, or as the file with its reason in `rejected/`.
//!
//! Every step can be the last before a crash: what is left is a claim that the next run takes through the same steps
//! again, and those that are done find nothing to do.

use super::claim::move_to;
use super::{Claim, Spool, SpoolError, failed, flush, layout};
use std::ffi::{OsStr, OsString};
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The longest name of a file, in bytes.
const NAME_MAX: usize = 255;
/// Room for the longest ending, `.reason`, after a number.
const ENDING_MAX: usize = 16;

impl Spool {
    /// Ends a claim that took effect: the file goes, the receipt comes. The file is gone for good when this returns;
    /// the claim stays, empty, until it is [closed](Spool::close).
    ///
    /// # Errors
    /// The operating system's; calling again goes on where it stopped.
    pub fn settle_applied(&self, claim: &Claim, receipt: &[u8]) -> Result<(), SpoolError> {
        let applied = self.root.join("applied");
        if !claim.name().is_empty() {
            let draft = claim.directory.join(ended(&shortened(claim.name()), ".json"));
            let has_file = fs::symlink_metadata(claim.file()).is_ok();
            if has_file {
                // A refusal that was under way before a crash is overtaken.
                drop_drafts(claim)?;
                write(&draft, receipt, 0o640)?;
                flush(&claim.directory)?;
                remove(&claim.file())?;
                flush(&claim.directory)?;
            }
            // Without a draft the receipt is in its place already.
            if fs::symlink_metadata(&draft).is_ok() {
                place(&draft, |number| applied.join(ended(&numbered(claim.name(), number), ".json")))?;
                flush(&applied)?;
            }
        }
        Ok(())
    }

    /// Forgets a claim that has nothing left in it. Last of all: as long as it is there, the next run comes back to it.
    ///
    /// # Errors
    /// The operating system's.
    pub fn close(&self, claim: &Claim) -> Result<(), SpoolError> {
        match fs::remove_dir(&claim.directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(failed(&claim.directory, "cannot be removed")(error))
            }
            _ => flush(&self.root.join("claimed")),
        }
    }

    /// Ends a claim of something that is no file to take: back with it, under its own name if that is still free.
    ///
    /// # Errors
    /// The operating system's.
    pub fn put_back(&self, claim: &Claim) -> Result<(), SpoolError> {
        let incoming = self.root.join("incoming");
        // Our own move says nothing about whether it is complete.
        self.watch.distrust(claim.name());
        place(&claim.file(), |number| match number {
            0 => incoming.join(claim.name()),
            _ => incoming.join(numbered_within(claim.name(), number)),
        })?;
        self.close(claim)
    }

    /// Ends a claim that is refused: the file, unchanged, lies in `rejected/` with its reason beside it.
    ///
    /// # Errors
    /// The operating system's; calling again goes on where it stopped.
    pub fn settle_rejected(&self, claim: &Claim, reason: &str) -> Result<(), SpoolError> {
        let rejected = self.root.join("rejected");
        drop_drafts(claim)?;
        let file = claim.file();
        // An operator's file is not ours to change; the directory keeps others out all the same.
        if let Ok(metadata) = fs::symlink_metadata(&file) {
            let _ = fs::set_permissions(&file, Permissions::from_mode(metadata.mode() & 0o640));
        }
        for number in 0.. {
            let name = numbered(claim.name(), number);
            let (target, beside) = (rejected.join(&name), rejected.join(ended(&name, ".reason")));
            if exists(&target)? || exists(&beside)? {
                continue;
            }
            let draft = claim.directory.join(ended(&name, ".reason"));
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
        self.close(claim)
    }

    /// Ends a leftover whose file is gone: a reason or receipt that did not reach its place does now.
    ///
    /// # Errors
    /// The operating system's.
    pub fn settle_gone(&self, claim: &Claim) -> Result<(), SpoolError> {
        let (applied, rejected) = (self.root.join("applied"), self.root.join("rejected"));
        for draft in layout::entries(&claim.directory)? {
            match (draft.extension().and_then(OsStr::to_str), draft.file_name(), draft.file_stem()) {
                // Its file took the same name. Who takes the reason's now must not hold up the files that wait.
                (Some("reason"), Some(name), Some(stem)) => place(&draft, |number| match number {
                    0 => rejected.join(name),
                    _ => rejected.join(ended(&numbered(stem, number), ".reason")),
                })?,
                // The file went because it was in force, whatever a database says that was restored from before.
                (Some("json"), Some(_), Some(stem)) => {
                    place(&draft, |number| applied.join(ended(&numbered(stem, number), ".json")))?;
                }
                _ => remove(&draft)?,
            }
        }
        flush(&applied)?;
        flush(&rejected)?;
        self.close(claim)
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

fn write(path: &Path, content: &[u8], mode: u32) -> Result<(), SpoolError> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(path)
        .and_then(|mut file| {
            file.write_all(content)?;
            file.sync_all()
        })
        .map_err(failed(path, "cannot be written"))
}

fn remove(path: &Path) -> Result<(), SpoolError> {
    match fs::remove_file(path) {
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
fn numbered_within(name: &OsStr, number: u32) -> OsString {
    let stem = name.as_bytes().strip_suffix(b".toml").unwrap_or(name.as_bytes());
    ended(&numbered(OsStr::from_bytes(stem), number), ".toml")
}

fn ended(name: &OsStr, ending: &str) -> OsString {
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
