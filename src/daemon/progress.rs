//! What the loops are doing: for `STATUS=`, for SIGUSR1, for the watchdog, and for what the daemon tells of itself.
//!
//! Each loop says so when it starts something and each time round; a loop that has not been heard of for a while is
//! hung, and then the watchdog goes hungry.

use crate::systemd;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

/// The loops that must make progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loop {
    /// Changes to links.
    Links,
    /// Drop files to tokens.
    Spool,
}

/// How long a loop may be silent before it counts as hung: longer than any statement may take.
const SILENCE: Duration = Duration::from_secs(75);

struct Spoken {
    text: String,
    heard: Instant,
}

/// How things stand at this moment.
pub(super) struct State {
    /// Of each [`Loop`].
    spoken: [Spoken; 2],
    /// Links written since the start.
    pub written: u64,
    /// When a link was last written.
    pub last_write: Option<SystemTime>,
    /// Whether the links have a connection.
    pub connected: bool,
    /// How often it came about.
    pub connections: u64,
    /// When the next audit begins.
    pub next_audit: Option<Instant>,
    /// The daemon's `[portal]` is not the one that links follow.
    pub other_portal: bool,
}

/// Shared by all tasks.
pub(super) struct Progress {
    state: Mutex<State>,
}

impl Progress {
    /// Every loop is starting.
    pub(super) fn new() -> Self {
        let starting = || Spoken { text: "starting".to_owned(), heard: Instant::now() };
        Self {
            state: Mutex::new(State {
                spoken: [starting(), starting()],
                written: 0,
                last_write: None,
                connected: false,
                connections: 0,
                next_audit: None,
                other_portal: false,
            }),
        }
    }

    /// A loop says that it goes on.
    pub(super) fn beat(&self, which: Loop) {
        self.with(|state| state.spoken[which as usize].heard = Instant::now());
    }

    /// A loop says what it is doing now. When it is something else than before, systemd hears of it, and the answer
    /// is true.
    pub(super) fn say(&self, which: Loop, text: &str) -> bool {
        let changed = self.with(|state| {
            let spoken = &mut state.spoken[which as usize];
            spoken.heard = Instant::now();
            let changed = spoken.text != text;
            if changed {
                text.clone_into(&mut spoken.text);
            }
            changed.then(|| state.status())
        });
        if let Some(status) = &changed {
            systemd::status(status);
        }
        changed.is_some()
    }

    /// Counts links written.
    pub(super) fn wrote(&self, links: usize) {
        self.with(|state| {
            state.written += links as u64;
            if links > 0 {
                state.last_write = Some(SystemTime::now());
            }
        });
    }

    /// The line for people.
    pub(super) fn status(&self) -> String {
        self.with(|state| state.status())
    }

    /// Whether all loops have been heard of lately.
    pub(super) fn healthy(&self) -> bool {
        self.with(|state| state.spoken.iter().all(|spoken| spoken.heard.elapsed() < SILENCE))
    }

    /// Looks at how things stand, or notes what has changed.
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut super::locked(&self.state))
    }
}

impl State {
    fn status(&self) -> String {
        let [links, spool] = &self.spoken;
        format!("links: {}; spool: {}", links.text, spool.text)
    }
}
