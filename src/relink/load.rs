//! How much a step takes on. It follows the time that steps take, so that the bot never waits long for a row that one of
//! them has written; and after a failure it is halved, down to a single link, until what fails is found.

use std::time::Duration;

/// The most that a step takes on: links looked at.
const MOST: usize = 4_096;
/// With so much a session begins.
const FIRST: usize = 256;
/// A step that took less than this was too small, one that took more too large: what is aimed at is 20 ms.
const SHORT: Duration = Duration::from_millis(12);
const LONG: Duration = Duration::from_millis(30);
/// What the bot must never wait.
const MUCH_TOO_LONG: Duration = Duration::from_millis(200);

/// Links that a step looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load(usize);

impl Default for Load {
    fn default() -> Self {
        Self(FIRST)
    }
}

impl Load {
    /// One thing at a time: what fails then fails for itself.
    pub(super) const ONE: Self = Self(1);

    /// Links to look at, in all.
    pub(super) fn links(self) -> usize {
        self.0
    }

    /// Changes to claim.
    pub(super) fn changes(self) -> usize {
        self.0.min(1_024)
    }

    /// Of these, changes of whole users.
    pub(super) fn users(self) -> usize {
        (self.0 / 16).clamp(1, 256)
    }

    /// Whether it can be no less.
    pub(super) fn is_one(self) -> bool {
        self == Self::ONE
    }

    /// After a step that took this time, and whether it took on all that it could.
    pub(super) fn worked(&mut self, full: bool, took: Duration) {
        if took > LONG {
            // A machine that is busy takes long for little; then smaller steps would not be shorter ones.
            let least = if took > MUCH_TOO_LONG { 8 } else { 64 };
            self.0 = (self.0 / 2).max(least).min(self.0);
        } else if took < SHORT && (full || self.0 < FIRST) {
            self.0 = (self.0 * 2).min(MOST);
        }
    }

    /// After a step in which the session ended: to find what ended it may not take many of them.
    pub(super) fn lost(&mut self) {
        self.0 = (self.0 / 16).max(1);
    }

    /// After a step that failed.
    pub(super) fn failed(&mut self) {
        self.0 = (self.0 / 2).max(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_while_steps_are_short_and_full() {
        let mut load = Load::default();
        for _ in 0..20 {
            load.worked(true, Duration::from_millis(1));
        }
        assert_eq!(load.links(), MOST);
        load.worked(false, Duration::from_millis(1));
        assert_eq!(load.links(), MOST, "a step with little to do says nothing");
    }

    #[test]
    fn shrinks_when_steps_take_long_but_not_to_nothing() {
        let mut load = Load::default();
        for _ in 0..20 {
            load.worked(true, Duration::from_secs(1));
        }
        assert_eq!(load.links(), 8);
    }

    #[test]
    fn failures_halve_it_down_to_one_and_success_brings_it_back() {
        let mut load = Load::default();
        for _ in 0..8 {
            load.failed();
        }
        assert!(load.is_one() && load.changes() == 1 && load.users() == 1);
        load.worked(false, Duration::ZERO);
        assert!(!load.is_one());
    }
}
