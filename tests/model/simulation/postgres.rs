//! Postgres, as far as relinkd relies on it: read committed, locks of rows and advisory locks until the transaction's
//! end, a queue that triggers append to, a ledger, and the doorbell's lock. A commit makes everything visible first; locks
//! go, and the ring is delivered, in a step of its own afterwards. A transaction that is rolled back leaves nothing.

pub(crate) const USERS: usize = 3;
pub(crate) const ISSUES: usize = 5;
pub(crate) const DAEMONS: usize = 2;
const SESSIONS: usize = 7;

/// 0 is none.
pub(crate) type Token = usize;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Row {
    User(usize),
    Issue(usize),
}

/// An issue: whose it is, and the token that its link carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Issue {
    pub(crate) user: usize,
    pub(crate) carries: Token,
}

/// What a change is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum About {
    Issue(usize),
    /// All issues of the user from this one on.
    Walk(usize),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Change {
    pub(crate) place: usize,
    pub(crate) user: usize,
    pub(crate) about: About,
    pub(crate) deferred: bool,
}

#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "four facts, each by itself")]
struct Transaction {
    rows: Vec<Row>,
    tokens: Vec<(usize, Token)>,
    issues: Vec<(usize, Issue)>,
    taken: Vec<usize>,
    put: Vec<Change>,
    ledger: Vec<usize>,
    user_locks: Vec<usize>,
    assigns: bool,
    shares_bell: bool,
    rings: bool,
    committed: bool,
}

impl Transaction {
    fn clear(&mut self) {
        self.rows.clear();
        self.tokens.clear();
        self.issues.clear();
        self.taken.clear();
        self.put.clear();
        self.ledger.clear();
        self.user_locks.clear();
        (self.assigns, self.shares_bell, self.rings, self.committed) = (false, false, false, false);
    }
}

#[derive(Default)]
pub(crate) struct Postgres {
    tokens: [Token; USERS],
    issues: [Option<Issue>; ISSUES],
    pub(crate) queue: Vec<Change>,
    pub(crate) ledger: Vec<usize>,
    transactions: [Transaction; SESSIONS],
    /// Which daemons' listening sessions have the sleeper's lock.
    sleepers: [bool; DAEMONS],
    rung: [bool; DAEMONS],
    last_place: usize,
}

/// What stands in the tables, as any new statement sees it.
impl Postgres {
    pub(crate) fn tokens(&self) -> [Token; USERS] {
        self.tokens
    }

    pub(crate) fn issue(&self, id: usize) -> Option<Issue> {
        self.issues[id]
    }

    /// The next changes that are due and that nobody is taking, in their order.
    pub(crate) fn due(&self) -> impl Iterator<Item = Change> {
        let taken = |place| self.transactions.iter().any(|it| !it.committed && it.taken.contains(&place));
        self.queue.iter().copied().filter(move |change| !change.deferred && !taken(change.place))
    }
}

/// What the bot's statements do, triggers included (`sql/attach.sql`).
impl Postgres {
    /// Locks a row, unless another transaction has it.
    pub(crate) fn lock(&mut self, session: usize, row: Row) -> bool {
        let other = |(other, it): (usize, &Transaction)| other != session && it.rows.contains(&row);
        if self.transactions.iter().enumerate().any(other) {
            return false;
        }
        self.transactions[session].rows.push(row);
        true
    }

    /// Writes the token of a user whose row is locked.
    pub(crate) fn write_token(&mut self, session: usize, user: usize, token: Token) {
        let old = self.own_token(session, user);
        self.transactions[session].tokens.push((user, token));
        if old != 0 || token != 0 {
            self.append(session, user, About::Walk(0));
        }
    }

    /// Inserts an issue, or writes one whose row is locked.
    pub(crate) fn write_issue(&mut self, session: usize, id: usize, issue: Issue) {
        self.transactions[session].issues.push((id, issue));
        self.append(session, issue.user, About::Issue(id));
    }

    /// The same as relinkd does it: no trigger appends anything.
    pub(crate) fn write_link(&mut self, session: usize, id: usize, issue: Issue) {
        self.transactions[session].issues.push((id, issue));
    }

    fn append(&mut self, session: usize, user: usize, about: About) {
        self.put(session, Change { place: 0, user, about, deferred: false });
        self.ring(session);
    }

    pub(crate) fn own_token(&self, session: usize, user: usize) -> Token {
        let own = self.transactions[session].tokens.iter().rev().find(|(of, _)| *of == user);
        own.map_or(self.tokens[user], |(_, token)| *token)
    }

    pub(crate) fn own_issue(&self, session: usize, id: usize) -> Option<Issue> {
        let own = self.transactions[session].issues.iter().rev().find(|(of, _)| *of == id);
        own.map_or(self.issues[id], |(_, issue)| Some(*issue))
    }
}

/// What relinkd's statements do.
impl Postgres {
    /// Puts a change into the queue: at its place, or where it has none at the end.
    pub(crate) fn put(&mut self, session: usize, mut change: Change) {
        if change.place == 0 {
            self.last_place += 1;
            change.place = self.last_place;
        }
        self.transactions[session].put.push(change);
    }

    /// Takes a change out of the queue.
    pub(crate) fn take(&mut self, session: usize, change: Change) {
        self.transactions[session].taken.push(change.place);
    }

    /// The user's lock (`relinkd.user_key`), if nobody else has it.
    pub(crate) fn try_user_lock(&mut self, session: usize, user: usize) -> bool {
        let other = |(other, it): (usize, &Transaction)| other != session && it.user_locks.contains(&user);
        let free = !self.transactions.iter().enumerate().any(other);
        if free {
            self.transactions[session].user_locks.push(user);
        }
        free
    }

    /// The lock under which assignments go one at a time.
    pub(crate) fn try_assign_lock(&mut self, session: usize) -> bool {
        let free = !self.transactions.iter().any(|it| it.assigns);
        self.transactions[session].assigns |= free;
        free
    }

    pub(crate) fn enter_in_ledger(&mut self, session: usize, claim: usize) {
        self.transactions[session].ledger.push(claim);
    }

    pub(crate) fn commit(&mut self, session: usize) {
        let it = &mut self.transactions[session];
        it.committed = true;
        for (user, token) in &it.tokens {
            self.tokens[*user] = *token;
        }
        for (id, issue) in &it.issues {
            self.issues[*id] = Some(*issue);
        }
        self.queue.retain(|change| !it.taken.contains(&change.place));
        self.queue.extend(&it.put);
        self.queue.sort_unstable_by_key(|change| change.place);
        self.ledger.extend(&it.ledger);
    }

    /// The end of a transaction: rolled back, unless it was committed.
    pub(crate) fn end(&mut self, session: usize) {
        let it = &mut self.transactions[session];
        if it.committed && it.rings {
            self.rung = [true; DAEMONS];
        }
        it.clear();
    }
}

/// The doorbell (`src/db/doorbell.rs`).
impl Postgres {
    /// What a writer does: shares the lock, or rings when it is committed.
    pub(crate) fn ring(&mut self, session: usize) {
        let it = &mut self.transactions[session];
        it.shares_bell |= !self.sleepers.contains(&true);
        it.rings |= !it.shares_bell;
    }

    /// Tries to be the one who sleeps. Says whether writers ring from now on, for this daemon or for another.
    pub(crate) fn try_sleep(&mut self, daemon: usize) -> bool {
        let shared = self.transactions.iter().any(|it| it.shares_bell);
        if !shared && !self.sleepers.contains(&true) {
            self.sleepers[daemon] = true;
        }
        self.sleepers.contains(&true)
    }

    pub(crate) fn holds_bell(&self, daemon: usize) -> bool {
        self.sleepers[daemon]
    }

    pub(crate) fn unlock_bell(&mut self, daemon: usize) {
        self.sleepers[daemon] = false;
    }

    /// Whether it was rung for this daemon.
    pub(crate) fn hears(&mut self, daemon: usize) -> bool {
        std::mem::take(&mut self.rung[daemon])
    }
}
