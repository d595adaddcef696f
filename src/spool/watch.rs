//! inotify on `incoming/`, as a hint: the scan decides.
//!
//! Opening a file is an event too: a watcher that woke for every event would wake itself for ever. After the directory
//! is replaced the old watch goes on reporting from the old place: a new one is built. Where inotify cannot be had the
//! rescan alone serves.

use notify::event::{AccessKind, AccessMode, ModifyKind, RenameMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use std::collections::HashSet;
use std::ffi::OsString;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

type Wake = Arc<dyn Fn() + Send + Sync>;
type Names = Arc<Mutex<HashSet<OsString>>>;

/// A watch that can move to another directory.
#[derive(Default)]
pub(super) struct Watch {
    wake: Option<Wake>,
    watched: Option<(RecommendedWatcher, (u64, u64))>,
    /// Files that were closed after writing, or moved in whole.
    closed: Names,
    told: bool,
}

impl Watch {
    pub(super) fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self { wake: Some(Arc::new(wake)), ..Self::default() }
    }

    /// Watches this directory from now on, if it is another than before.
    pub(super) fn follow(&mut self, directory: &Path, identity: (u64, u64)) {
        let Some(wake) = &self.wake else { return };
        if self.watched.as_ref().is_some_and(|(_, watched)| *watched == identity) {
            return;
        }
        self.closed = Names::default();
        self.watched = match start(directory, Arc::clone(wake), Arc::clone(&self.closed)) {
            Ok(watcher) => Some((watcher, identity)),
            Err(error) => {
                if !std::mem::replace(&mut self.told, true) {
                    log::warn!("inotify cannot be had, files are found at each rescan: {error}");
                }
                None
            }
        };
    }

    /// The files that are known to be complete.
    pub(super) fn closed(&self) -> HashSet<OsString> {
        self.closed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Forgets a file that is no longer there.
    pub(super) fn forget(&self, name: &OsString) {
        self.closed.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }
}

fn start(directory: &Path, wake: Wake, closed: Names) -> notify::Result<RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        if note(event, &closed) {
            wake();
        }
    })?;
    watcher.watch(directory, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

/// Takes note of an event; returns whether it is worth a look.
fn note(event: notify::Result<Event>, closed: &Names) -> bool {
    // An error may stand for events that were lost.
    let Ok(event) = event else { return true };
    let mut closed = closed.lock().unwrap_or_else(PoisonError::into_inner);
    let names = event.paths.iter().filter_map(|path| path.file_name());
    if event.need_rescan() {
        return true;
    }
    match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write))
        | EventKind::Modify(ModifyKind::Name(RenameMode::To)) => {
            closed.extend(names.map(ToOwned::to_owned));
            true
        }
        EventKind::Modify(ModifyKind::Data(_)) => {
            for name in names {
                closed.remove(name);
            }
            false
        }
        EventKind::Access(_) => false,
        EventKind::Any
        | EventKind::Create(_)
        | EventKind::Modify(_)
        | EventKind::Remove(_)
        | EventKind::Other => true,
    }
}
