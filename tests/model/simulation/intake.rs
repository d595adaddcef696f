//! The intake of drop files, as a state machine: `src/spool/claim.rs`, `src/intake`, `src/tokens/assign`. The disk keeps what
//! was done on it (losing power is another test's business); what the process knows dies with it.

use super::postgres::{DAEMONS, Postgres, Row, Token, USERS};
use super::{Rules, Variant};

/// Files that are taken together.
const TOGETHER: usize = 2;

/// One assignment; token 0 removes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct File {
    pub(crate) number: usize,
    pub(crate) user: usize,
    pub(crate) token: Token,
}

/// A directory under `claimed/`, and the file in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim {
    id: usize,
    file: Option<File>,
}

#[derive(Default)]
pub(crate) struct Spool {
    pub(crate) incoming: Vec<File>,
    pub(crate) claimed: Vec<Claim>,
    pub(crate) applied: Vec<File>,
    pub(crate) rejected: Vec<File>,
    next_id: usize,
}

impl Spool {
    pub(crate) fn of(daemon: usize) -> Self {
        Self { next_id: daemon, ..Self::default() }
    }

    /// Never the same twice, in any spool.
    fn new_id(&mut self) -> usize {
        self.next_id += DAEMONS;
        self.next_id
    }

    fn remove(&mut self, file: File) {
        self.incoming.retain(|other| *other != file);
        for claim in &mut self.claimed {
            claim.file = claim.file.filter(|other| *other != file);
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum At {
    Claiming,
    AskingLedger,
    Locking,
    LockingRows,
    ReadingHolders,
    Writing,
    Committing,
    Ending,
    Rejecting,
    Removing,
    Forgetting,
    Closing,
}

pub(crate) struct Intake {
    session: usize,
    at: At,
    claims: Vec<Claim>,
    /// Users whose row another transaction holds, or whose earlier file waits.
    held: Vec<usize>,
    holders: [Token; USERS],
    accepted: Vec<Claim>,
    refused: Vec<Claim>,
}

impl Intake {
    pub(crate) fn new(session: usize) -> Self {
        Self {
            session,
            at: At::Claiming,
            claims: Vec::new(),
            held: Vec::new(),
            holders: [0; USERS],
            accepted: Vec::new(),
            refused: Vec::new(),
        }
    }

    pub(crate) fn state(&self) -> String {
        let Self { at, accepted, refused, .. } = self;
        let files = |claims: &[Claim]| claims.iter().filter_map(|claim| claim.file).collect::<Vec<_>>();
        format!("{at:?}, accepted {:?}, refused {:?}", files(accepted), files(refused))
    }

    /// The files that the transaction in hand puts in force.
    pub(crate) fn committing(&self) -> impl Iterator<Item = File> {
        let files = (self.at == At::Committing).then_some(&self.accepted);
        files.into_iter().flatten().filter_map(|claim| claim.file)
    }

    pub(crate) fn step(&mut self, pg: &mut Postgres, spool: &mut Spool, rules: &Rules) -> bool {
        match self.at {
            At::Claiming => return self.claim(spool, rules),
            At::AskingLedger => self.ask_ledger(pg),
            At::Locking => {
                if rules.variant != Variant::NoAssignLock && !pg.try_assign_lock(self.session) {
                    return false;
                }
                self.at = At::LockingRows;
            }
            At::LockingRows => self.lock_rows(pg),
            At::ReadingHolders => {
                self.holders = pg.tokens();
                self.at = At::Writing;
            }
            At::Writing => self.write(pg, rules),
            At::Committing => {
                pg.commit(self.session);
                self.at = At::Ending;
            }
            At::Ending => {
                pg.end(self.session);
                self.at = At::Rejecting;
            }
            At::Rejecting => self.reject(spool, rules),
            At::Removing => self.remove(spool, rules),
            At::Forgetting => {
                pg.ledger.retain(|id| !self.accepted.iter().any(|claim| claim.id == *id));
                let early = rules.variant == Variant::ForgetBeforeRemove;
                self.at = if early { At::Removing } else { At::Closing };
            }
            At::Closing => {
                spool.claimed.retain(|claim| claim.file.is_some());
                self.at = At::Claiming;
            }
        }
        true
    }

    /// Renames files into directories of their own, one a step; then takes all that are there, in their order.
    fn claim(&mut self, spool: &mut Spool, rules: &Rules) -> bool {
        let early = rules.variant == Variant::ClaimBeforeRename;
        if !early && !spool.incoming.is_empty() && spool.claimed.len() < TOGETHER {
            let file = Some(spool.incoming.remove(0));
            let id = spool.new_id();
            spool.claimed.push(Claim { id, file });
            return true;
        }
        self.claims.clear();
        self.claims.extend(&spool.claimed);
        if early {
            // As it must not be: the claim is good before the file has left `incoming/`.
            for file in spool.incoming.clone().into_iter().take(TOGETHER) {
                self.claims.push(Claim { id: spool.new_id(), file: Some(file) });
            }
        }
        self.at = At::AskingLedger;
        !self.claims.is_empty() || self.rest()
    }

    fn rest(&mut self) -> bool {
        self.at = At::Claiming;
        false
    }

    /// What the ledger knows is in force already: only the clearing away is left to do.
    fn ask_ledger(&mut self, pg: &Postgres) {
        let known = |claim: &Claim| pg.ledger.contains(&claim.id);
        self.accepted.clear();
        self.accepted.extend(self.claims.iter().copied().filter(known));
        self.refused.clear();
        self.claims.retain(|claim| claim.file.is_some());
        self.at = match (self.accepted.is_empty(), self.claims.is_empty()) {
            (false, _) => At::Rejecting,
            (true, true) => At::Closing,
            (true, false) => At::Locking,
        };
    }

    /// Rows that somebody else holds are passed over, not waited for.
    fn lock_rows(&mut self, pg: &mut Postgres) {
        self.held.clear();
        for file in self.claims.iter().filter_map(|claim| claim.file) {
            if !pg.lock(self.session, Row::User(file.user)) {
                self.held.push(file.user);
            }
        }
        self.at = At::ReadingHolders;
    }

    /// Judges one after the other on what the ones before leave behind. What would be accepted after one that is refused
    /// is left for the next transaction.
    fn write(&mut self, pg: &mut Postgres, rules: &Rules) {
        for claim in &self.claims {
            let Some(file) = claim.file else { continue };
            let has_it = |user: &usize| file.token != 0 && self.holders[*user] == file.token;
            let holder = (0..USERS).find(|user| *user != file.user && has_it(user));
            if self.held.contains(&file.user) || holder.is_some_and(|user| self.held.contains(&user)) {
                self.held.push(file.user);
            } else if holder.is_some() {
                self.refused.push(*claim);
            } else if !self.refused.is_empty() && rules.variant != Variant::AcceptAfterRefusal {
                break;
            } else {
                pg.write_token(self.session, file.user, file.token);
                pg.enter_in_ledger(self.session, claim.id);
                self.holders[file.user] = file.token;
                self.accepted.push(*claim);
            }
        }
        self.at = if self.accepted.is_empty() { At::Ending } else { At::Committing };
    }

    /// A file is refused only after the transaction: it was judged on what the files before it leave behind.
    fn reject(&mut self, spool: &mut Spool, rules: &Rules) {
        if let Some(file) = self.refused.pop().and_then(|claim| claim.file) {
            spool.remove(file);
            spool.rejected.push(file);
            return;
        }
        self.at = match rules.variant {
            _ if self.accepted.is_empty() => At::Closing,
            Variant::ForgetBeforeRemove => At::Forgetting,
            _ => At::Removing,
        };
    }

    fn remove(&mut self, spool: &mut Spool, rules: &Rules) {
        let next = self.accepted.iter_mut().find_map(|claim| claim.file.take());
        if let Some(file) = next {
            spool.remove(file);
            spool.applied.push(file);
            return;
        }
        let early = rules.variant == Variant::ForgetBeforeRemove;
        self.at = if early { At::Closing } else { At::Forgetting };
    }
}
