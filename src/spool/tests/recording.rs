//! Notes the calls that concern one spool, in their order. A flush is noted instead of waiting for the disk.

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
pub(in crate::spool) fn note(path: &Path, step: impl FnOnce(PathBuf) -> Step) -> bool {
    let recordings = RECORDINGS.lock().unwrap();
    let found = recordings.iter().find_map(|(root, notes)| Some((notes, path.strip_prefix(root).ok()?)));
    if let Some((notes, path)) = found {
        notes.lock().unwrap().push(step(path.to_owned()));
    }
    found.is_some()
}

/// Both places are in the spool: nothing is moved out of it.
pub(in crate::spool) fn note_move(from: &Path, to: &Path) {
    let recordings = RECORDINGS.lock().unwrap();
    for (root, notes) in recordings.iter() {
        if let (Ok(from), Ok(to)) = (from.strip_prefix(root), to.strip_prefix(root)) {
            notes.lock().unwrap().push(Step::Move(from.to_owned(), to.to_owned()));
        }
    }
}
