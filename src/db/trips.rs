//! Counts a session's trips to the server and back: the time that they take is travel, and no measure of the work.

use std::sync::atomic::{AtomicU32, Ordering};

/// Trips of one session. What is sent while an answer is awaited travels with it.
#[derive(Default)]
pub(super) struct Trips {
    under_way: AtomicU32,
    made: AtomicU32,
}

impl Trips {
    /// A trip, until it is dropped.
    pub(super) fn begin(&self) -> Trip<'_> {
        if self.under_way.fetch_add(1, Ordering::Relaxed) == 0 {
            self.made.fetch_add(1, Ordering::Relaxed);
        }
        Trip(self)
    }

    /// How many were made so far.
    pub(super) fn made(&self) -> u32 {
        self.made.load(Ordering::Relaxed)
    }
}

/// A trip under way.
pub(super) struct Trip<'a>(&'a Trips);

impl Drop for Trip<'_> {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}
