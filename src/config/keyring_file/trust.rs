//! Whether a file can be trusted with keys: judged on the open descriptor, so that what was judged is what is read.
//!
//! Refused: what is not a regular file (a symbolic link included), an owner who is neither root nor the user who reads,
//! a file that others may read or that group or others may write, and a directory above it in which group or others could
//! put another file in its place. A sticky directory of root's (`/tmp`) is fine: there they could not.

use std::{
    fs::{self, File, Metadata},
    io,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use nix::{errno::Errno, fcntl::OFlag, unistd::Uid};
use thiserror::Error;

use super::KeyringError;

/// Opens a file that can be trusted.
pub(super) fn open(path: &Path, accept_owner: Option<u32>) -> Result<(File, Metadata), KeyringError> {
    let path = &settled(path)?;
    // O_NONBLOCK: opening a FIFO must not wait for somebody to write into it.
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let file =
        File::options().read(true).custom_flags(flags.bits()).open(path).map_err(|error| {
            match error.raw_os_error() {
                Some(code) if Errno::from_raw(code) == Errno::ELOOP => {
                    Distrust::NotRegular { path: path.clone(), found: "a symbolic link" }.into()
                }
                _ if error.kind() == io::ErrorKind::NotFound => KeyringError::Absent(path.clone()),
                _ => KeyringError::system(path, "cannot be opened")(error),
            }
        })?;
    let metadata = file.metadata().map_err(KeyringError::system(path, "cannot be looked at"))?;
    judge(path, &metadata, accept_owner)?;
    directories(path)?;
    Ok((file, metadata))
}

/// The file's path, with all links in the directories above it followed.
pub(super) fn settled(path: &Path) -> Result<PathBuf, KeyringError> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Distrust::NotRegular { path: path.to_owned(), found: "a directory" }.into());
    };
    match fs::canonicalize(directory) {
        Ok(directory) => Ok(directory.join(name)),
        Err(error) => Err(KeyringError::system(path, "its directory cannot be looked up")(error)),
    }
}

fn judge(path: &Path, metadata: &Metadata, accept_owner: Option<u32>) -> Result<(), Distrust> {
    let path = || path.to_owned();
    if !metadata.is_file() {
        let found = if metadata.is_dir() { "a directory" } else { "a device, a pipe or a socket" };
        return Err(Distrust::NotRegular { path: path(), found });
    }
    let owner = metadata.uid();
    if owner != 0 && owner != Uid::effective().as_raw() && Some(owner) != accept_owner {
        return Err(Distrust::Owner { path: path(), owner });
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o026 != 0 {
        return Err(Distrust::Mode { path: path(), mode });
    }
    Ok(())
}

/// Judges every directory above a settled path.
pub(super) fn directories(path: &Path) -> Result<(), KeyringError> {
    for directory in path.ancestors().skip(1) {
        let metadata = fs::metadata(directory)
            .map_err(KeyringError::system(path, "a directory above it cannot be looked at"))?;
        let mode = metadata.mode();
        let sticky = mode & 0o1000 != 0 && metadata.uid() == 0;
        if mode & 0o022 != 0 && !sticky {
            return Err(Distrust::Directory {
                path: path.to_owned(),
                directory: directory.to_owned(),
                mode: mode & 0o7777,
            }
            .into());
        }
    }
    Ok(())
}

/// Why a file is not trusted, and the command that mends it.
#[derive(Debug, Error)]
pub enum Distrust {
    /// It is something else than a file.
    #[error("the keyring {} is {found}: it must be a regular file", path.display())]
    NotRegular {
        /// The file.
        path: PathBuf,
        /// What it is.
        found: &'static str,
    },
    /// It is somebody else's.
    #[error("the keyring {} belongs to user {owner}, who is neither root nor the user relinkd runs as: chown root {}", path.display(), shell(path))]
    Owner {
        /// The file.
        path: PathBuf,
        /// The owner's id.
        owner: u32,
    },
    /// It is open to others.
    #[error("the keyring {} may be {} (mode {mode:04o}): chmod g-w,o-rw {}", path.display(), openness(*mode), shell(path))]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Others could replace it.
    #[error("the keyring {} could be replaced, since group or others may write to {} (mode {mode:04o}): chmod go-w {}", path.display(), directory.display(), shell(directory))]
    Directory {
        /// The file.
        path: PathBuf,
        /// The directory above it.
        directory: PathBuf,
        /// The directory's mode.
        mode: u32,
    },
}

fn openness(mode: u32) -> &'static str {
    match (mode & 0o004 != 0, mode & 0o022 != 0) {
        (true, true) => "read by others and written by group or others",
        (true, false) => "read by others",
        _ => "written by group or others",
    }
}

impl Distrust {
    /// The command that mends it, for a shell; the message ends with it. None where it depends on what is there.
    pub(super) fn mend(&self) -> Option<String> {
        match self {
            Self::NotRegular { .. } => None,
            Self::Owner { path, .. } => Some(format!("chown root {}", shell(path))),
            Self::Mode { path, .. } => Some(format!("chmod g-w,o-rw {}", shell(path))),
            Self::Directory { directory, .. } => Some(format!("chmod go-w {}", shell(directory))),
        }
    }
}

/// The path as a shell takes it.
fn shell(path: &Path) -> String {
    shell_word(&path.to_string_lossy())
}

/// A text as one word of a shell's (POSIX, Shell Command Language, 2.2.2): in quotes, unless it is plain.
#[must_use]
pub fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-@+:".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}
