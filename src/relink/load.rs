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

/// Links of a user's walk that a step has room for: between these, following what the users of the last steps have.
const A_USER: (usize, usize) = (16, 256);
/// Whatever they have, so many users are walked side by side: one who has much must not keep everybody waiting.
const FEW: usize = 16;

/// What a step takes on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    links: usize,
    a_user: usize,
    /// The last step found more walks than it could take: to lock other changes would be in vain.
    crowded: bool,
}

/// The walks of a step.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Walks {
    /// Users whose issues are walked.
    pub users: usize,
    /// Users who have more issues than there was room for.
    pub unfinished: usize,
    /// Links that were read.
    pub links: usize,
}

impl Default for Load {
    fn default() -> Self {
        Self { links: FIRST, ..Self::ONE }
    }
}

impl Load {
    /// One thing at a time: what fails then fails for itself.
    pub(super) const ONE: Self = Self { links: 1, a_user: A_USER.0, crowded: false };

    /// Links to look at, in all.
    pub(super) fn links(self) -> usize {
        self.links
    }

    /// Changes to claim.
    pub(super) fn changes(self) -> usize {
        let most = self.links.min(1_024);
        if self.crowded { most.min(self.users() * 4) } else { most }
    }

    /// Users whose issues are walked.
    pub(super) fn users(self) -> usize {
        (self.links / self.a_user).clamp(self.links.div_ceil(A_USER.0).min(FEW), 256)
    }

    /// Whether it can be no less.
    pub(super) fn is_one(self) -> bool {
        self.links == 1
    }

    /// After a step that took this time, and whether it took on all that it could.
    pub(super) fn worked(&mut self, full: bool, took: Duration) {
        if took > LONG {
            // A machine that is busy takes long for little; then smaller steps would not be shorter ones.
            let least = if took > MUCH_TOO_LONG { 8 } else { 64 };
            self.links = (self.links / 2).max(least).min(self.links);
        } else if took < SHORT && (full || self.links < FIRST) {
            self.links = (self.links * 2).min(MOST);
        }
    }

    /// After a step with these walks.
    pub(super) fn walked(&mut self, walks: Walks) {
        self.crowded = walks.users >= self.users();
        if walks.users > 1 && walks.unfinished * 2 > walks.users {
            self.a_user = (self.a_user * 2).min(A_USER.1);
        } else if walks.links * 4 < walks.users * self.a_user {
            self.a_user = (self.a_user / 2).max(A_USER.0);
        }
    }

    /// After a step in which the session ended: to find what ended it may not take many of them.
    pub(super) fn lost(&mut self) {
        self.links = (self.links / 16).max(1);
    }

    /// After a step that failed.
    pub(super) fn failed(&mut self) {
        self.links = (self.links / 2).max(1);
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
    fn there_is_room_for_what_users_have() {
        let mut load = Load { links: MOST, ..Load::default() };
        let walks = |a_user: usize, load: Load| {
            let room = load.links() / load.users();
            let unfinished = if a_user < room { 0 } else { load.users() };
            Walks { users: load.users(), unfinished, links: load.users() * a_user.min(room) }
        };
        for _ in 0..10 {
            load.walked(walks(100, load));
        }
        assert_eq!((load.users(), load.changes()), (32, 128));
        for _ in 0..10 {
            load.walked(walks(1, load));
        }
        assert_eq!(load.users(), 256);
        load.walked(Walks::default());
        assert_eq!(load.changes(), 1_024, "nobody is crowded out any more");
        load.walked(Walks { users: 1, unfinished: 1, links: MOST });
        assert_eq!(load.users(), 256, "one who has many says nothing of others");
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
