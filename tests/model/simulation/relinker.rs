//! The relink step and the sleep around it, as a state machine: `src/relink/step.rs`, `batch.rs`, and
//! `src/daemon/links`. A command that moves links (`src/relink/sync.rs`) is the same machine, without a bed.

use super::postgres::{About, Change, ISSUES, Issue, Postgres, Row, Token};
use super::{Rules, Variant};

/// Changes that a step claims at most.
const LIMIT: usize = 2;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum At {
    Looking,
    /// The look before sleep, and whether it may sleep if it finds nothing.
    LastLook(bool),
    ReadingTokens,
    LockingLate,
    ReadingLinks,
    Writing,
    Committing,
    Ending,
    FallingAsleep,
    Dozing,
    Asleep,
    Done,
}

/// What somebody awake does about the sleeper's lock, where they have it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lock {
    /// Nothing.
    Left,
    /// Was woken, and keeps it for one step.
    Kept,
    /// Its unlock is on its way.
    GoingBack,
}

pub(crate) struct Relinker {
    session: usize,
    /// None for a command.
    daemon: Option<usize>,
    at: At,
    lock: Lock,
    /// Something will be due, by the clock.
    timer: bool,
    changes: Vec<Change>,
    contended: bool,
    tokens: Vec<(usize, Token)>,
    plan: Vec<(usize, Issue, Token, Change)>,
    finished: Vec<usize>,
}

impl Relinker {
    pub(crate) fn new(session: usize, daemon: Option<usize>) -> Self {
        Self {
            session,
            daemon,
            at: At::Looking,
            lock: Lock::Left,
            timer: false,
            changes: Vec::new(),
            contended: false,
            tokens: Vec::new(),
            plan: Vec::new(),
            finished: Vec::new(),
        }
    }

    pub(crate) fn rests(&self) -> bool {
        matches!(self.at, At::Asleep | At::Done)
    }

    pub(crate) fn state(&self) -> String {
        format!("{:?}", self.at)
    }

    /// One step; false where there is none to take.
    pub(crate) fn step(&mut self, pg: &mut Postgres, rules: &Rules, unlock_first: bool) -> bool {
        if self.lock == Lock::GoingBack && (unlock_first || self.at == At::FallingAsleep) {
            self.lock = Lock::Left;
            self.daemon.into_iter().for_each(|daemon| pg.unlock_bell(daemon));
            return true;
        }
        match self.at {
            At::Done => return false,
            At::Looking | At::LastLook(_) => self.look(pg, rules),
            At::ReadingTokens => self.read_tokens(pg, rules),
            At::LockingLate => self.lock_late(pg),
            At::ReadingLinks => self.read_links(pg, rules),
            At::Writing => self.write(pg, rules),
            At::Committing => {
                pg.commit(self.session);
                self.at = At::Ending;
            }
            At::Ending => {
                pg.end(self.session);
                self.go_on(pg);
            }
            At::FallingAsleep => {
                let daemon = self.daemon.unwrap_or_default();
                let may_sleep = pg.try_sleep(daemon);
                let no_look = rules.variant == Variant::NoLastLook && may_sleep;
                self.at = if no_look { At::Dozing } else { At::LastLook(may_sleep) };
            }
            At::Dozing => {
                // What is due is somebody else's, or will be: it is looked for again. That would be a last look, if late.
                let looks = rules.variant != Variant::NoLastLook;
                self.timer = self.contended || pg.queue.iter().any(|change| looks || change.deferred);
                self.at = At::Asleep;
            }
            At::Asleep => return self.sleep(pg, rules),
        }
        true
    }

    fn sleep(&mut self, pg: &mut Postgres, rules: &Rules) -> bool {
        if self.daemon.is_some_and(|daemon| pg.hears(daemon)) || self.timer {
            self.at = At::Looking;
            self.lock = if self.has_lock(pg) { Lock::Kept } else { Lock::Left };
            return true;
        }
        // The poll looks without waking.
        let polls = rules.poll && !pg.queue.is_empty();
        if polls {
            self.at = At::LastLook(true);
        }
        polls
    }

    /// After a step. Where it was a small one, the lock is kept, and the last look follows; else writers shall not ring.
    fn go_on(&mut self, pg: &Postgres) {
        let little = self.lock == Lock::Kept && self.changes.len() < LIMIT;
        self.at = if little { At::LastLook(true) } else { At::Looking };
        self.lock = if !little && self.has_lock(pg) { Lock::GoingBack } else { Lock::Left };
    }

    fn has_lock(&self, pg: &Postgres) -> bool {
        self.daemon.is_some_and(|daemon| pg.holds_bell(daemon))
    }

    /// One statement: changes that are due, their users' locks, and out of the queue with those whose lock it got.
    fn look(&mut self, pg: &mut Postgres, rules: &Rules) {
        self.changes.clear();
        self.contended = false;
        let late = rules.variant == Variant::LockAfterRead;
        let due: Vec<Change> = pg.due().take(LIMIT).collect();
        for change in due {
            if late || pg.try_user_lock(self.session, change.user) {
                pg.take(self.session, change);
                self.changes.push(change);
            } else {
                self.contended = true;
            }
        }
        if !self.changes.is_empty() {
            self.at = At::ReadingTokens;
            return;
        }
        pg.end(self.session);
        let kept = self.lock == Lock::Kept;
        if kept {
            self.lock = Lock::Left;
        }
        self.at = match self.at {
            At::LastLook(true) => At::Dozing,
            _ if kept => At::LastLook(true),
            _ if self.daemon.is_some() => At::FallingAsleep,
            _ if pg.queue.is_empty() => At::Done,
            _ => At::Looking,
        };
    }

    fn read_tokens(&mut self, pg: &Postgres, rules: &Rules) {
        self.tokens.clear();
        for change in &self.changes {
            self.tokens.push((change.user, pg.tokens()[change.user]));
        }
        let late = rules.variant == Variant::LockAfterRead;
        self.at = if late { At::LockingLate } else { At::ReadingLinks };
    }

    /// As it must not be: the locks come after what they protect was read.
    fn lock_late(&mut self, pg: &mut Postgres) {
        let got = self.changes.iter().all(|change| pg.try_user_lock(self.session, change.user));
        if got {
            self.at = At::ReadingLinks;
        } else {
            pg.end(self.session);
            self.go_on(pg);
        }
    }

    fn read_links(&mut self, pg: &mut Postgres, rules: &Rules) {
        self.plan.clear();
        self.finished.clear();
        for change in std::mem::take(&mut self.changes) {
            match change.about {
                About::Issue(id) => self.plan(pg, id, change),
                About::Walk(from) => {
                    let of_user = |id: &usize| pg.issue(*id).is_some_and(|issue| issue.user == change.user);
                    let chunk: Vec<usize> = (from..ISSUES).filter(of_user).take(rules.chunk).collect();
                    for id in &chunk {
                        let single = Change { place: 0, about: About::Issue(*id), ..change };
                        self.plan(pg, *id, single);
                    }
                    match chunk.last() {
                        Some(last) if chunk.len() == rules.chunk => {
                            // On it goes, at the end of the line.
                            let rest = Change { place: 0, about: About::Walk(last + 1), ..change };
                            pg.put(self.session, rest);
                        }
                        _ => self.finished.push(change.user),
                    }
                }
            }
        }
        self.at = At::Writing;
    }

    /// An issue whose user's lock this transaction has not is somebody else's by now: their change is in the queue.
    fn plan(&mut self, pg: &Postgres, id: usize, back: Change) {
        let Some(issue) = pg.issue(id) else { return };
        let Some((_, token)) = self.tokens.iter().find(|(user, _)| *user == issue.user) else { return };
        let planned = self.plan.iter().any(|(other, ..)| *other == id);
        if *token != issue.carries && !planned {
            self.plan.push((id, issue, *token, Change { user: issue.user, deferred: true, ..back }));
        }
    }

    /// Writes over what was read alone. What is locked or has changed goes back into the queue.
    fn write(&mut self, pg: &mut Postgres, rules: &Rules) {
        for (id, read, token, back) in std::mem::take(&mut self.plan) {
            let now = pg.issue(id).unwrap_or(read);
            let unchanged = now == read || rules.variant == Variant::BlindWrite;
            if unchanged && pg.lock(self.session, Row::Issue(id)) {
                pg.write_link(self.session, id, Issue { carries: token, ..now });
            } else if rules.variant != Variant::ForgetHeld {
                pg.put(self.session, back);
            }
        }
        if rules.variant == Variant::TwoEngines && self.daemon.is_none() {
            // As it must not be: a command that has walked a user takes all that is in the queue of them for done.
            let done: Vec<Change> = pg.due().filter(|change| self.finished.contains(&change.user)).collect();
            for change in done {
                pg.take(self.session, change);
            }
        }
        self.at = At::Committing;
    }
}
