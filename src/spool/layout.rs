//! The directories of a spool: made where they are missing, counted for `status`.

use super::look::judge;
use super::{SpoolError, failed, looked_at};
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Each directory and its mode. `incoming/` is for a group of operators: they drop, and touch only what is theirs.
/// What lies in `rejected/` holds tokens; the same group moves it back or deletes it, whoever dropped it.
pub(crate) const DIRECTORIES: [(&str, u32); 4] =
    [("incoming", 0o3770), ("claimed", 0o700), ("applied", 0o750), ("rejected", 0o770)];

/// The bit that hands a directory's group on to what is made in it.
const SETGID: u32 = 0o2000;

/// Whether the directory and its `incoming/` are there, as far as can be seen.
pub(super) fn is_there(root: &Path) -> bool {
    // A root that is gone takes its `incoming/` along.
    !fs::metadata(root.join("incoming")).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// Makes what is missing. What is there keeps its mode and owner.
pub(super) fn prepare(root: &Path) -> Result<(), SpoolError> {
    make(root, 0o755)?;
    let device = looked_at(root)?.dev();
    for (name, mode) in DIRECTORIES {
        let path = root.join(name);
        make(&path, mode)?;
        // Never followed: a link leads to wherever its maker likes.
        let metadata = fs::symlink_metadata(&path).map_err(failed(&path, "cannot be looked at"))?;
        if metadata.is_symlink() {
            return Err(SpoolError::Link(path));
        }
        if metadata.dev() != device {
            return Err(SpoolError::OtherFileSystem(path));
        }
    }
    Ok(())
}

/// Makes a directory of this mode, unless it is there. The operators' group, which a parent with the set-group-id bit
/// hands down, is handed on. A unit with `RestrictSUIDSGID=` may not set that bit itself: the parent's has to do.
fn make(path: &Path, mode: u32) -> Result<(), SpoolError> {
    match DirBuilder::new().mode(mode & !SETGID).create(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        Err(error) => return Err(failed(path, "cannot be made")(error)),
    }
    let given = looked_at(path)?.mode() & 0o7777;
    let wanted = mode | (given & SETGID);
    if given == wanted {
        return Ok(());
    }
    match fs::set_permissions(path, Permissions::from_mode(wanted)) {
        Err(error) if error.kind() != io::ErrorKind::PermissionDenied => {
            Err(failed(path, "its mode cannot be set")(error))
        }
        _ => Ok(()),
    }
}

/// How many files lie where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Files that will be taken, or are being taken.
    pub waiting: usize,
    /// Files in `rejected/`.
    pub rejected: usize,
    /// Things in `incoming/` that are named like a file to take and are none.
    pub not_taken: usize,
}

/// Counts the files of a spool, whoever owns it.
pub(crate) fn counts(root: &Path) -> Result<Counts, SpoolError> {
    let mut counts = Counts::default();
    for path in entries(&root.join("incoming"))? {
        if !super::look::is_named_for_us(&path) {
            continue;
        }
        match judge(&path) {
            Ok(()) => counts.waiting += 1,
            Err(_) => counts.not_taken += 1,
        }
    }
    counts.waiting += entries(&root.join("claimed"))?.len();
    counts.rejected = entries(&root.join("rejected"))?
        .iter()
        .filter(|path| path.extension().is_none_or(|extension| extension != "reason"))
        .count();
    Ok(counts)
}

/// What lies in a directory, in order of name.
pub(super) fn entries(directory: &Path) -> Result<Vec<PathBuf>, SpoolError> {
    let listing = match fs::read_dir(directory) {
        // Not made yet, or being replaced: nothing lies there.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listing => listing,
    };
    let paths = listing.and_then(|listing| listing.map(|entry| Ok(entry?.path())).collect());
    let mut paths: Vec<PathBuf> = paths.map_err(failed(directory, "cannot be read"))?;
    paths.sort();
    Ok(paths)
}
