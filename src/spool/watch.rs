//! inotify on `incoming/`, as a hint: the scan decides.
//!
//! Opening a file is an event too: a watcher that woke for every event would wake itself for ever. After the directory
//! is replaced the old watch goes on reporting from the old place: a new one is built. So it is after the directory is
//! removed, for a new one may well get the old one's inode. Where inotify cannot be had the rescan alone serves.

use notify::event::{AccessKind, AccessMode, ModifyKind, RenameMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use std::collections::HashSet;
use std::ffi::OsString;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

type Wake = Arc<dyn Fn() + Send + Sync>;

/// What events have told.
#[derive(Default)]
struct Told {
    /// Files that were closed after writing, or moved in whole.
    closed: HashSet<OsString>,
    /// The directory itself was removed or renamed: its watch is dead, or elsewhere.
    lost: bool,
}

#[derive(Clone, Default)]
struct Ear(Arc<Mutex<Told>>);

impl Ear {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A watch that can move to another directory.
#[derive(Default)]
pub(super) struct Watch {
    wake: Option<Wake>,
    watched: Option<(RecommendedWatcher, (u64, u64))>,
    ear: Ear,
    warned: bool,
}

impl Watch {
    pub(super) fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self { wake: Some(Arc::new(wake)), ..Self::default() }
    }

    /// Watches this directory from now on, if it is another than before.
    pub(super) fn follow(&mut self, directory: &Path, identity: (u64, u64)) {
        let Some(wake) = &self.wake else { return };
        if self.watched.as_ref().is_some_and(|(_, watched)| *watched == identity) && !self.ear.told().lost {
            return;
        }
        self.ear = Ear::default();
        self.watched = match start(directory, Arc::clone(wake), self.ear.clone()) {
            Ok(watcher) => Some((watcher, identity)),
            Err(error) => {
                if !std::mem::replace(&mut self.warned, true) {
                    log::warn!("inotify cannot be had, files are found at each rescan: {error}");
                }
                None
            }
        };
    }

    /// The files that are known to be complete.
    pub(super) fn closed(&self) -> HashSet<OsString> {
        self.ear.told().closed.clone()
    }

    /// Forgets a file that is no longer there.
    pub(super) fn forget(&self, name: &OsString) {
        self.ear.told().closed.remove(name);
    }
}

fn start(directory: &Path, wake: Wake, ear: Ear) -> notify::Result<RecommendedWatcher> {
    let own = directory.to_owned();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        if note(event, &own, &mut ear.told()) {
            wake();
        }
    })?;
    watcher.watch(directory, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

/// Takes note of an event; returns whether it is worth a look.
fn note(event: notify::Result<Event>, directory: &Path, told: &mut Told) -> bool {
    // An error may stand for events that were lost.
    let Ok(event) = event else { return true };
    if event.need_rescan() {
        return true;
    }
    let names = event.paths.iter().filter_map(|path| path.file_name());
    match event.kind {
        EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_))
            if event.paths.iter().any(|path| path == directory) =>
        {
            told.lost = true;
            true
        }
        EventKind::Access(AccessKind::Close(AccessMode::Write))
        | EventKind::Modify(ModifyKind::Name(RenameMode::To)) => {
            told.closed.extend(names.map(ToOwned::to_owned));
            true
        }
        // A new file of an old name, one that goes, one that is written to: what was told of the name is over.
        EventKind::Create(_)
        | EventKind::Remove(_)
        | EventKind::Modify(ModifyKind::Name(RenameMode::From) | ModifyKind::Data(_)) => {
            for name in names {
                told.closed.remove(name);
            }
            !matches!(event.kind, EventKind::Modify(ModifyKind::Data(_)))
        }
        EventKind::Access(_) => false,
        EventKind::Any | EventKind::Modify(_) | EventKind::Other => true,
    }
}
