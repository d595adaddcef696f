//! Whether a file can be trusted with keys: judged on the open descriptor, so that what was judged is what is read.
//!
//! Refused: what is not a regular file (a symbolic link included); a file that belongs to a third user, that others may
//! read, or that group or others may write; and a directory above it in which somebody else could put another file in
//! its place: one that belongs to a third user, or that group or others may write. A sticky directory of root's (`/tmp`)
//! is fine: nobody can rename or remove there what is not theirs.

use super::KeyringError;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::Uid;
use std::fs::{self, File, Metadata};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Opens a file that can be trusted.
pub(super) fn open(path: &Path, accept_owner: Option<u32>) -> Result<(File, Metadata), KeyringError> {
    let path = &settled(path)?;
    // O_NONBLOCK: opening a FIFO must not wait for somebody to write into it.
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let file =
        File::options().read(true).custom_flags(flags.bits()).open(path).map_err(|error| {
            match error.raw_os_error().map(Errno::from_raw) {
                Some(Errno::ELOOP) => Distrust::NotRegular("a symbolic link").of(path),
                Some(Errno::ENOENT) => KeyringError::Absent(path.clone()),
                _ => KeyringError::system(path, "cannot be opened")(error),
            }
        })?;
    let metadata = file.metadata().map_err(KeyringError::system(path, "cannot be looked at"))?;
    judge(&metadata, accept_owner).map_err(|why| why.of(path))?;
    directories(path, accept_owner)?;
    Ok((file, metadata))
}

/// The file's path, with all links in the directories above it followed.
pub(super) fn settled(path: &Path) -> Result<PathBuf, KeyringError> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Distrust::NotRegular("a directory").of(path));
    };
    let directory = fs::canonicalize(directory)
        .map_err(KeyringError::system(path, "its directory cannot be looked up"))?;
    Ok(directory.join(name))
}

/// The owner, if that is somebody else than root, the user relinkd runs as, and who is accepted beside them.
fn stranger(metadata: &Metadata, accept_owner: Option<u32>) -> Option<u32> {
    let owner = metadata.uid();
    let trusted = owner == 0 || owner == Uid::effective().as_raw() || Some(owner) == accept_owner;
    (!trusted).then_some(owner)
}

fn judge(metadata: &Metadata, accept_owner: Option<u32>) -> Result<(), Distrust> {
    let mode = metadata.mode() & 0o7777;
    match stranger(metadata, accept_owner) {
        _ if metadata.is_dir() => Err(Distrust::NotRegular("a directory")),
        _ if !metadata.is_file() => Err(Distrust::NotRegular("a device, a pipe or a socket")),
        Some(owner) => Err(Distrust::Owner(owner)),
        None if mode & 0o026 != 0 => Err(Distrust::Mode(mode)),
        None => Ok(()),
    }
}

/// Judges every directory above a settled path.
pub(super) fn directories(path: &Path, accept_owner: Option<u32>) -> Result<(), KeyringError> {
    for directory in path.ancestors().skip(1) {
        let metadata = fs::metadata(directory)
            .map_err(KeyringError::system(path, "a directory above it cannot be looked at"))?;
        if let Some(owner) = stranger(&metadata, accept_owner) {
            return Err(Distrust::DirectoryOwner(directory.to_owned(), owner).of(path));
        }
        let mode = metadata.mode() & 0o7777;
        let sticky = mode & 0o1000 != 0 && metadata.uid() == 0;
        if mode & 0o022 != 0 && !sticky {
            return Err(Distrust::DirectoryMode(directory.to_owned(), mode).of(path));
        }
    }
    Ok(())
}

/// Why a file is not trusted; it completes the file's name.
#[derive(Debug, Error)]
pub(crate) enum Distrust {
    /// What it is instead of a file.
    #[error("is {0}: it must be a regular file")]
    NotRegular(&'static str),
    #[error("belongs to user {0}, who is neither root nor the user relinkd runs as")]
    Owner(u32),
    #[error("may be {how} (mode {0:04o})", how = openness(*.0))]
    Mode(u32),
    /// Somebody else owns a directory above it.
    #[error("could be replaced, since {directory} belongs to user {1}, who is neither root nor the user relinkd runs as", directory = .0.display())]
    DirectoryOwner(PathBuf, u32),
    /// Others may write a directory above it.
    #[error("could be replaced, since group or others may write to {directory} (mode {1:04o})", directory = .0.display())]
    DirectoryMode(PathBuf, u32),
}

fn openness(mode: u32) -> &'static str {
    match (mode & 0o004 != 0, mode & 0o022 != 0) {
        (true, true) => "read by others and written by group or others",
        (true, false) => "read by others",
        _ => "written by group or others",
    }
}

impl Distrust {
    fn of(self, path: &Path) -> KeyringError {
        KeyringError::Distrusted { path: path.to_owned(), why: self }
    }

    /// The command that mends it, for a shell; none where it depends on what is there.
    pub(super) fn mend(&self, path: &Path) -> Option<String> {
        let (command, path) = match self {
            Self::NotRegular(_) => return None,
            Self::Owner(_) => ("chown root", path),
            Self::Mode(_) => ("chmod g-w,o-rw", path),
            Self::DirectoryOwner(directory, _) => ("chown root", directory.as_path()),
            Self::DirectoryMode(directory, _) => ("chmod go-w", directory.as_path()),
        };
        Some(format!("{command} {}", shell_word(&path.to_string_lossy())))
    }
}

/// A text as one word of a shell's (POSIX, Shell Command Language, 2.2.2): in quotes, unless it is plain.
pub(crate) fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-@+:".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}
