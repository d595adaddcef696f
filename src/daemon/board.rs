//! What the daemon is doing, in one line a room: for `STATUS=`, for SIGUSR1, and for the watchdog.
//!
//! Each loop says so when it starts something and each time round; a loop that has not been heard of for a while is
//! hung, and then the watchdog goes hungry.

use crate::systemd;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

/// The loops that must make progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// Changes to links.
    Links,
    /// Drop files to tokens.
    Spool,
}

/// How long a loop may be silent before it counts as hung: longer than any statement may take.
const SILENCE: Duration = Duration::from_secs(75);

struct Line {
    text: String,
    heard: Instant,
}

struct Lines {
    links: Line,
    spool: Line,
    written: u64,
    last_write: Option<SystemTime>,
}

/// The board; shared by all tasks.
pub(super) struct Board {
    lines: Mutex<Lines>,
}

impl Board {
    /// A board on which everything is starting.
    pub(super) fn new() -> Self {
        let starting = || Line { text: "starting".to_owned(), heard: Instant::now() };
        Self {
            lines: Mutex::new(Lines { links: starting(), spool: starting(), written: 0, last_write: None }),
        }
    }

    /// A loop says that it goes on.
    pub(super) fn beat(&self, room: Room) {
        self.with(|lines| lines.of(room).heard = Instant::now());
    }

    /// A loop says what it is doing now. When it is something else than before, systemd hears of it, and the answer
    /// is true.
    pub(super) fn say(&self, room: Room, text: &str) -> bool {
        let changed = self.with(|lines| {
            let line = lines.of(room);
            line.heard = Instant::now();
            let changed = line.text != text;
            if changed {
                text.clone_into(&mut line.text);
            }
            changed.then(|| lines.status())
        });
        if let Some(status) = &changed {
            systemd::status(status);
        }
        changed.is_some()
    }

    /// Counts links written.
    pub(super) fn wrote(&self, links: usize) {
        self.with(|lines| {
            lines.written += links as u64;
            if links > 0 {
                lines.last_write = Some(SystemTime::now());
            }
        });
    }

    /// Links written since the start.
    pub(super) fn written(&self) -> u64 {
        self.with(|lines| lines.written)
    }

    /// When a link was last written.
    pub(super) fn last_write(&self) -> Option<SystemTime> {
        self.with(|lines| lines.last_write)
    }

    /// The line for people.
    pub(super) fn status(&self) -> String {
        self.with(|lines| lines.status())
    }

    /// Whether all loops have been heard of lately.
    pub(super) fn healthy(&self) -> bool {
        self.with(|lines| lines.links.heard.elapsed() < SILENCE && lines.spool.heard.elapsed() < SILENCE)
    }

    fn with<T>(&self, act: impl FnOnce(&mut Lines) -> T) -> T {
        act(&mut self.lines.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

impl Lines {
    fn of(&mut self, room: Room) -> &mut Line {
        match room {
            Room::Links => &mut self.links,
            Room::Spool => &mut self.spool,
        }
    }

    fn status(&self) -> String {
        format!("links: {}; spool: {}", self.links.text, self.spool.text)
    }
}
