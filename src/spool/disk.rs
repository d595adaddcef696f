//! The calls that change the spool's disk, and those that make a change last. They stand in one place for the tests to
//! watch: `recording` notes them in their order, and a model of the disk says what power loss leaves of them.
//!
//! Three things are asked of a file system, and ext4, XFS, Btrfs and F2FS do them. A rename is all or nothing. Flushing a
//! directory keeps what was done in it, and the directory itself. Flushing a file keeps its content, not its name.

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

#[cfg(test)]
use super::tests::recording;

/// Makes an empty directory.
pub(super) fn make_directory(path: &Path) -> io::Result<()> {
    fs::create_dir(path)?;
    #[cfg(test)]
    recording::note(path, recording::Step::MakeDirectory);
    Ok(())
}

/// Writes a file; its content may tear until it is flushed.
pub(super) fn write(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path)?;
    file.write_all(content)?;
    #[cfg(test)]
    recording::note(path, |path| recording::Step::Write(path, content.to_owned()));
    Ok(())
}

/// Moves a file, never over another (`renameat2(2)`, `RENAME_NOREPLACE`).
pub(super) fn move_to(from: &Path, to: &Path) -> io::Result<()> {
    renameat2(AT_FDCWD, from, AT_FDCWD, to, RenameFlags::RENAME_NOREPLACE)?;
    #[cfg(test)]
    recording::note_move(from, to);
    Ok(())
}

/// Removes a file.
pub(super) fn remove_file(path: &Path) -> io::Result<()> {
    fs::remove_file(path)?;
    #[cfg(test)]
    recording::note(path, recording::Step::Remove);
    Ok(())
}

/// Removes an empty directory.
pub(super) fn remove_directory(path: &Path) -> io::Result<()> {
    fs::remove_dir(path)?;
    #[cfg(test)]
    recording::note(path, recording::Step::Remove);
    Ok(())
}

/// Makes what was done in a directory, or written to a file, last (fsync(2)).
pub(super) fn flush(file: &File, path: &Path) -> io::Result<()> {
    #[cfg(test)]
    if recording::note(path, recording::Step::Flush) {
        return Ok(());
    }
    let _ = path;
    file.sync_all()
}

/// All flushes of several, this file's among them, are done.
pub(super) fn flushed(path: &Path) {
    #[cfg(test)]
    recording::note(path, |_| recording::Step::Flushed);
    let _ = path;
}
