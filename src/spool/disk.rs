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

/// Notes the calls that concern one spool, in their order. A flush is noted instead of waiting for the disk.
#[cfg(test)]
pub(crate) mod recording {
    use std::path::{Path, PathBuf};
    use std::sync::{Arc, Mutex};

    /// A call that succeeded; paths are below the spool's directory.
    #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
    pub(crate) enum Step {
        /// An empty directory.
        MakeDirectory(PathBuf),
        /// A file and its content.
        Write(PathBuf, Vec<u8>),
        /// From here to there.
        Move(PathBuf, PathBuf),
        /// A file or an empty directory.
        Remove(PathBuf),
        /// A file or a directory.
        Flush(PathBuf),
        /// The flushes before this one are done; those up to the one before it went on at the same time.
        Flushed,
        /// The server committed; nothing that the disk does.
        Commit,
    }

    type Notes = Arc<Mutex<Vec<Step>>>;

    /// By spool: flushes come from threads of their own.
    static RECORDINGS: Mutex<Vec<(PathBuf, Notes)>> = Mutex::new(Vec::new());

    /// A recording that goes on until it is dropped.
    pub(crate) struct Recording {
        root: PathBuf,
        notes: Notes,
    }

    impl Recording {
        /// Records what is done below this directory.
        pub(crate) fn of(root: &Path) -> Self {
            let notes = Notes::default();
            RECORDINGS.lock().unwrap().push((root.to_owned(), Arc::clone(&notes)));
            Self { root: root.to_owned(), notes }
        }

        /// What was done so far.
        pub(crate) fn steps(&self) -> Vec<Step> {
            self.notes.lock().unwrap().clone()
        }

        /// Notes a commit of the server.
        pub(crate) fn commit(&self) {
            self.notes.lock().unwrap().push(Step::Commit);
        }
    }

    impl Drop for Recording {
        fn drop(&mut self) {
            RECORDINGS.lock().unwrap().retain(|(root, _)| *root != self.root);
        }
    }

    /// Whether somebody records there.
    pub(super) fn note(path: &Path, step: impl FnOnce(PathBuf) -> Step) -> bool {
        let recordings = RECORDINGS.lock().unwrap();
        let found = recordings.iter().find_map(|(root, notes)| Some((notes, path.strip_prefix(root).ok()?)));
        if let Some((notes, path)) = found {
            notes.lock().unwrap().push(step(path.to_owned()));
        }
        found.is_some()
    }

    /// Both places are in the spool: nothing is moved out of it.
    pub(super) fn note_move(from: &Path, to: &Path) {
        let recordings = RECORDINGS.lock().unwrap();
        for (root, notes) in recordings.iter() {
            if let (Ok(from), Ok(to)) = (from.strip_prefix(root), to.strip_prefix(root)) {
                notes.lock().unwrap().push(Step::Move(from.to_owned(), to.to_owned()));
            }
        }
    }
}
