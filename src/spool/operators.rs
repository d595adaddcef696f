//! What operators do with a spool that is not theirs: see what lies there, move a rejected file back, throw it away.
//!
//! Done with the rights of whoever asks; the modes of the directories let the operators' group do the same with `mv`
//! and `rm`. No link is followed, nothing is overwritten, and the content of a file is nobody's business here.

use super::disk::move_to;
use super::layout::entries;
use super::look::{Reason, is_named_for_us, judge_kind};
use super::settle::numbered_within;
use super::{NotTaken, SpoolError, failed, looked_at, open_dropped};
use std::ffi::{OsStr, OsString};
use std::fs::{self, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The most of a reason that is read.
const REASON_MAX: u64 = 1 << 20;

/// What lies in a spool, each by name.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// Files that will be taken.
    pub waiting: Vec<OsString>,
    /// Things that will not be taken.
    pub not_taken: Vec<NotTaken>,
    /// Files that are being taken; none where this user may not look.
    pub claimed: Option<usize>,
    /// Files that were rejected.
    pub rejected: Vec<Rejected>,
}

/// A file in `rejected/`, or what is left of one.
#[derive(Debug)]
pub(crate) struct Rejected {
    /// Its name there.
    pub name: OsString,
    /// How it is; none where only the reason is left.
    pub file: Option<Metadata>,
    /// What its `.reason` says; none where there is none to read.
    pub reason: Option<String>,
}

impl Rejected {
    /// For how long it has been lying there.
    pub(crate) fn age(&self) -> Option<Duration> {
        let ctime = u64::try_from(self.file.as_ref()?.ctime()).ok()?;
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH + Duration::from_secs(ctime)).ok()
    }

    /// The lines of its reason without their translations.
    pub(crate) fn faults(&self) -> impl Iterator<Item = &str> {
        let lines = self.reason.as_deref().unwrap_or_default().lines();
        lines.filter(|line| !line.starts_with(' ') && !line.is_empty())
    }
}

/// Why nothing was done with a file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OperateError {
    /// The name has a slash in it, or is none.
    #[error("this is no name of a file in rejected/")]
    NoName,
    /// There is nothing of this name.
    #[error("there is no such file in rejected/")]
    Absent,
    /// It is something that relinkd would not take.
    #[error("{0}")]
    NoFile(Reason),
    /// The operating system refuses.
    #[error(transparent)]
    Spool(#[from] SpoolError),
}

/// Looks through a spool.
pub(crate) fn list(root: &Path) -> Result<Listing, SpoolError> {
    let mut listing = Listing {
        claimed: entries(&root.join("claimed")).ok().map(|claims| claims.len()),
        ..Listing::default()
    };
    let owner = looked_at(root)?.uid();
    for path in entries(&root.join("incoming"))? {
        let (Some(name), true) = (path.file_name(), is_named_for_us(&path)) else { continue };
        // Gone since it was listed.
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        match judge_kind(&metadata).and_then(|()| readable_by(owner, &metadata)) {
            Ok(()) => listing.waiting.push(name.to_owned()),
            Err(reason) => listing.not_taken.push(NotTaken { name: name.to_owned(), reason }),
        }
    }
    let mut names: Vec<OsString> = entries(&root.join("rejected"))?
        .iter()
        .filter_map(|path| path.file_name())
        .map(|name| name.as_bytes().strip_suffix(b".reason").map_or(name, OsStr::from_bytes).to_owned())
        .collect();
    names.dedup();
    listing.rejected = names.into_iter().filter_map(|name| rejected(root, name).ok()).collect();
    Ok(listing)
}

/// One file in `rejected/`.
pub(crate) fn rejected(root: &Path, name: OsString) -> Result<Rejected, OperateError> {
    let path = in_rejected(root, &name)?;
    let file = fs::symlink_metadata(&path).ok();
    let beside = reason_of(&path);
    if file.is_none() && fs::symlink_metadata(&beside).is_err() {
        return Err(OperateError::Absent);
    }
    Ok(Rejected { name, file, reason: read_reason(&beside).ok() })
}

/// Moves a rejected file back to `incoming/`, and its reason away. Returns the name that it has there: its own, where
/// that is free.
pub(crate) fn retry(root: &Path, name: &OsStr) -> Result<OsString, OperateError> {
    let path = in_rejected(root, name)?;
    let metadata = fs::symlink_metadata(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => OperateError::Absent,
        _ => failed(&path, "cannot be looked at")(error).into(),
    })?;
    judge_kind(&metadata).map_err(OperateError::NoFile)?;
    let dropped = dropped_as(name);
    for number in 0.. {
        let target = match number {
            0 => dropped.clone(),
            _ => numbered_within(&dropped, number),
        };
        match move_to(&path, &root.join("incoming").join(&target)) {
            Ok(()) => {
                remove(&reason_of(&path))?;
                return Ok(target);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(&path, "cannot be moved to incoming/")(error).into()),
        }
    }
    unreachable!("numbers do not end")
}

/// Deletes a rejected file and its reason.
pub(crate) fn discard(root: &Path, name: &OsStr) -> Result<(), OperateError> {
    let path = in_rejected(root, name)?;
    let (file, reason) = (remove(&path)?, remove(&reason_of(&path))?);
    if file || reason { Ok(()) } else { Err(OperateError::Absent) }
}

/// The name under which a file is taken: `a.toml` of `a.toml.1`, and of a name that was shortened too.
fn dropped_as(name: &OsStr) -> OsString {
    let bytes = name.as_bytes();
    let digits = bytes.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let stem = bytes[..bytes.len() - digits].strip_suffix(b".").filter(|_| digits > 0).unwrap_or(bytes);
    let ending: &[u8] = if stem.ends_with(b".toml") { b"" } else { b".toml" };
    OsString::from_vec([stem, ending].concat())
}

fn in_rejected(root: &Path, name: &OsStr) -> Result<PathBuf, OperateError> {
    let bytes = name.as_bytes();
    if bytes.contains(&b'/') || [&b""[..], b".", b".."].contains(&bytes) {
        return Err(OperateError::NoName);
    }
    Ok(root.join("rejected").join(name))
}

fn reason_of(path: &Path) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(".reason");
    path.into()
}

/// Only a regular file is read, and none that a link leads to: anybody of the group may have put it there.
fn read_reason(path: &Path) -> io::Result<String> {
    let file = open_dropped(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut bytes = Vec::new();
    file.take(REASON_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Whether the spool's owner may read a file, by its mode. They are in the group of the operators.
fn readable_by(owner: u32, metadata: &Metadata) -> Result<(), Reason> {
    let readable = metadata.mode() & 0o044 != 0
        || owner == 0
        || (metadata.uid() == owner && metadata.mode() & 0o400 != 0);
    if readable { Ok(()) } else { Err(Reason::Unreadable) }
}

/// Removes a file; false where there is none.
fn remove(path: &Path) -> Result<bool, SpoolError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(failed(path, "cannot be removed")(error)),
    }
}
