//! The directories of a spool: made where they are missing, looked over for `check`, counted for `status`.

use super::look::judge;
use super::{SpoolError, failed};
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Each directory and its mode. `incoming/` is for a group of operators: they drop, and touch only what is theirs.
/// What lies in `rejected/` holds tokens.
const DIRECTORIES: [(&str, u32); 4] =
    [("incoming", 0o3770), ("claimed", 0o700), ("applied", 0o750), ("rejected", 0o750)];

/// Makes what is missing. What is there keeps its mode and owner.
pub(super) fn prepare(root: &Path) -> Result<(), SpoolError> {
    make(root, 0o755)?;
    let device = fs::metadata(root).map_err(failed(root, "cannot be looked at"))?.dev();
    for (name, mode) in DIRECTORIES {
        let path = root.join(name);
        make(&path, mode)?;
        let metadata = fs::metadata(&path).map_err(failed(&path, "cannot be looked at"))?;
        if metadata.dev() != device && name != "incoming" {
            return Err(SpoolError::OtherFileSystem(path));
        }
    }
    let (incoming, claimed) = (root.join("incoming"), root.join("claimed"));
    let device =
        |path: &Path| fs::metadata(path).map(|m| m.dev()).map_err(failed(path, "cannot be looked at"));
    if device(&incoming)? != device(&claimed)? {
        return Err(SpoolError::OtherFileSystem(incoming));
    }
    Ok(())
}

fn make(path: &Path, mode: u32) -> Result<(), SpoolError> {
    match fs::create_dir(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        Err(error) => return Err(failed(path, "cannot be made")(error)),
    }
    let set = |mode| fs::set_permissions(path, Permissions::from_mode(mode));
    // Under RestrictSUIDSGID= the group's bit cannot be set: systemd-tmpfiles sets it then.
    set(mode).or_else(|_| set(mode & !0o2000)).map_err(failed(path, "its mode cannot be set"))
}

/// How many files lie where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Files that will be taken, or are being taken.
    pub waiting: usize,
    /// Files in `rejected/`.
    pub rejected: usize,
    /// Things in `incoming/` that are named like a file to take and are none.
    pub not_taken: usize,
}

/// Counts the files of a spool, whoever owns it.
///
/// # Errors
/// A directory that cannot be read.
pub fn counts(root: &Path) -> Result<Counts, SpoolError> {
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

pub(super) fn entries(directory: &Path) -> Result<Vec<PathBuf>, SpoolError> {
    let failed_here = || failed(directory, "cannot be read");
    let mut paths = Vec::new();
    let listing = match fs::read_dir(directory) {
        // Not made yet, or being replaced: nothing lies there.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(paths),
        listing => listing.map_err(failed_here())?,
    };
    for entry in listing {
        paths.push(entry.map_err(failed_here())?.path());
    }
    Ok(paths)
}

/// What `check` has to say about a spool's directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The directory.
    pub path: PathBuf,
    /// What is wrong with it, and what would be right; none where all is well.
    pub fault: Option<String>,
}

/// Looks over a spool's directories and changes nothing.
#[must_use]
pub fn inspect(root: &Path) -> Vec<Finding> {
    let mut findings = vec![finding(root, None, None)];
    let device = fs::metadata(root).map(|m| m.dev()).ok();
    findings.extend(DIRECTORIES.iter().map(|(name, mode)| finding(&root.join(name), Some(*mode), device)));
    if let Err(error) = nix::sys::inotify::Inotify::init(nix::sys::inotify::InitFlags::IN_CLOEXEC) {
        findings.push(Finding {
            path: root.to_owned(),
            fault: Some(format!(
                "inotify is not available ({error}): files are found at each rescan only; raise fs.inotify.max_user_instances"
            )),
        });
    }
    findings
}

fn finding(path: &Path, mode: Option<u32>, device: Option<u64>) -> Finding {
    let fault = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Some(format!(
            "is missing; `mkdir -p {0}` (the package makes it: systemd-tmpfiles --create)",
            path.display()
        )),
        Err(error) => Some(format!("cannot be looked at: {error}")),
        Ok(metadata) if !metadata.is_dir() => Some("is no directory".to_owned()),
        Ok(metadata) if device.is_some_and(|device| device != metadata.dev()) => {
            Some("is on another file system than the spool: bring both onto one".to_owned())
        }
        Ok(metadata) => {
            let open = metadata.mode() & 0o007;
            let others = mode.is_some() && open != 0;
            if others {
                Some(format!(
                    "is open to others (mode {:o}); chmod o= {}",
                    metadata.mode() & 0o7777,
                    path.display()
                ))
            } else if nix::unistd::access(path, nix::unistd::AccessFlags::W_OK).is_err() {
                Some(format!(
                    "cannot be written; chown it to the user that relinkd runs as: chown relinkd {}",
                    path.display()
                ))
            } else {
                None
            }
        }
    };
    Finding { path: path.to_owned(), fault }
}
