//! inotify on `incoming/`, as a hint: the scan decides.
//!
//! Opening a file is an event too: a watcher that woke for every event would wake itself for ever. After the directory
//! is replaced the old watch goes on reporting from the old place: a new one is built. So it is after the directory is
//! removed, for a new one may well get the old one's inode. Where inotify cannot be had the rescan alone serves.

use notify::event::{AccessKind, AccessMode, ModifyKind, RenameMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

type Wake = Arc<dyn Fn() + Send + Sync>;

/// What events have told.
#[derive(Default)]
struct Told {
    /// Files that were closed after writing, or moved in whole.
    closed: HashSet<OsString>,
    /// Files that relinkd itself is putting back: that they are moved in says nothing.
    returning: HashSet<OsString>,
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

    /// Does not take the next move to this name for a delivery.
    pub(super) fn distrust(&self, name: &OsStr) {
        if self.watched.is_some() {
            self.ear.told().returning.insert(name.to_owned());
        }
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
    // Where events were lost, an error or an overflow, one may have said that a closed file is being written anew.
    let Some(event) = event.ok().filter(|event| !event.need_rescan()) else {
        told.closed.clear();
        return true;
    };
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
            let moved = matches!(event.kind, EventKind::Modify(_));
            for name in names {
                if !(moved && told.returning.remove(name)) {
                    told.closed.insert(name.to_owned());
                }
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use notify::event::Flag;

    fn told_after(events: Vec<notify::Result<Event>>) -> Told {
        let mut told = Told::default();
        for event in events {
            note(event, Path::new("/incoming"), &mut told);
        }
        told
    }

    fn event(kind: EventKind) -> Event {
        Event::new(kind).add_path("/incoming/a.toml".into())
    }

    const CLOSED: EventKind = EventKind::Access(AccessKind::Close(AccessMode::Write));
    const MOVED_IN: EventKind = EventKind::Modify(ModifyKind::Name(RenameMode::To));

    #[test]
    fn what_relinkd_puts_back_is_not_taken_for_a_delivery() {
        let mut told = Told { returning: HashSet::from(["a.toml".into()]), ..Told::default() };
        for complete in [false, true] {
            assert!(note(Ok(event(MOVED_IN)), Path::new("/incoming"), &mut told));
            assert_eq!(
                told.closed.contains(OsStr::new("a.toml")),
                complete,
                "only the first move is relinkd's"
            );
        }
    }

    /// Among the events that were lost may be the one that said that the file is being written anew.
    #[test]
    fn lost_events_take_back_what_was_told() {
        assert_eq!(told_after(vec![Ok(event(CLOSED))]).closed.len(), 1);
        for lost in [
            Ok(Event::new(EventKind::Other).set_flag(Flag::Rescan)),
            Err(notify::Error::generic("read failed")),
        ] {
            assert!(told_after(vec![Ok(event(CLOSED)), lost]).closed.is_empty());
        }
    }
}
