//! Drop files, from claim to receipt or reason.
//!
//! Several claims are taken together, in their order. Exactly once, whatever the moment of a crash:
//!
//! 1. Each file lies in a claim of its own, and that is flushed. Before that nothing follows from it.
//! 2. One transaction writes the tokens of all files that are accepted, and enters their claims in the ledger. It is
//!    there as a whole or not at all; so for each file tokens and ledger agree, and a claim that the ledger does not
//!    know has done nothing. It is judged anew, in its old place in the order.
//! 3. A claim that the ledger knows is never judged again. Its file is removed, and only when that is flushed, and the
//!    receipt in its place, is it forgotten in the ledger; only then its empty directory goes.
//! 4. A file is refused only after the transaction: it was judged on what the files before it leave behind. And nothing
//!    that came after it is put in force before: a crash in between would have it judged anew, and accepted perhaps, over
//!    what is newer. So a transaction ends where a file would be accepted after one that is refused.
//!
//! What several files share is the flushes and the transaction, never their fate: a file that is faulty is rejected
//! alone, and one that cannot be read or written now waits alone (`waiting`).

mod database;
#[cfg(test)]
mod tests;
mod waiting;

use crate::db::history::Via;
use crate::db::{DbError, Session};
use crate::drop_file::{self, DropFile, Fault, FaultKind, Faulty, Named};
use crate::policy::{self, Trouble};
use crate::printable::Printable;
use crate::process::user_name;
use crate::relink::{RelinkError, Rules};
use crate::spool::{Claim, Content, Spool, SpoolError};
use crate::token::TokenRule;
use crate::tokens::assign::{Author, Obstacle, Outcome, Request};
use database::{Database, Postgres};
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};
use waiting::{Manner, WaitingFiles};

/// What became of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is in force.
    Applied,
    /// It was in force already; only the clearing away was left to do.
    AppliedBefore,
    /// It had been settled already, but for clearing away.
    Cleared,
    /// It is no file to take; it is back in `incoming/`.
    PutBack,
    /// It lies in `rejected/`, with this many faults.
    Rejected(usize),
    /// It waits, and was not said to wait for this reason before.
    Waits(String),
    /// It waits as before.
    StillWaits,
}

/// Why all files have to wait; their claims stay.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IntakeError {
    /// The database, or what it holds.
    #[error(transparent)]
    Assign(#[from] RelinkError),
    /// The disk.
    #[error(transparent)]
    Spool(#[from] SpoolError),
}

impl From<DbError> for IntakeError {
    fn from(error: DbError) -> Self {
        Self::Assign(error.into())
    }
}

/// Takes files, and remembers those that wait.
#[derive(Default)]
pub(crate) struct Intake {
    waiting_files: WaitingFiles,
    /// A session ended over several files: perhaps one of them ended it, and each is taken alone until one went through.
    one_by_one: bool,
}

impl Intake {
    /// Which of these claims are to be taken now, in their order. They must be all that there are: of a file that is not
    /// among them nothing is remembered.
    pub(crate) fn due(&mut self, claims: Vec<Claim>) -> Vec<Claim> {
        self.waiting_files.due(claims, Instant::now())
    }

    /// When a file that waits is to be tried again.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        self.waiting_files.next_due(Instant::now())
    }

    /// Why files wait that do.
    pub(crate) fn why_files_wait(&self) -> Option<String> {
        self.waiting_files.reason()
    }

    /// Takes claimed files, in this order, each to its end or to where it waits. Returns their fates.
    ///
    /// # Errors
    /// Whatever is the fault of none of the files. The same claims may be taken again at any time.
    pub(crate) async fn take(
        &mut self,
        session: &mut Session,
        rules: &Rules,
        spool: &Spool,
        claims: &[Claim],
    ) -> Result<Vec<Fate>, IntakeError> {
        self.take_with(Postgres { session, rules }, &rules.token_rule, spool, claims).await
    }

    async fn take_with(
        &mut self,
        mut database: impl Database,
        token_rule: &TokenRule,
        spool: &Spool,
        claims: &[Claim],
    ) -> Result<Vec<Fate>, IntakeError> {
        let ids: Vec<&str> = claims.iter().map(Claim::id).collect();
        let mut receipts = database.receipts(&ids).await?;
        let (mut before, mut others) = (Vec::new(), Vec::new());
        for claim in claims {
            match receipts.remove(claim.id()) {
                Some(receipt) => before.push((claim, receipt)),
                None => others.push(claim),
            }
        }
        let mut batch = FileBatch { database, spool, intake: self, fates: HashMap::new() };
        batch.settle(before, &Fate::AppliedBefore).await?;

        let (mut ready, mut faulty) = (Vec::new(), Vec::new());
        for claim in others {
            match claim.read(drop_file::MAX_BYTES)? {
                Content::Bytes { bytes, owner } => match drop_file::parse(&bytes, token_rule) {
                    Ok(file) => ready.push(Ready { claim, file, owner: user_name(owner) }),
                    Err(found) => faulty.push((claim, found)),
                },
                Content::Unreadable(error) => {
                    let reason = format!("it cannot be read: {error}");
                    batch.try_again(claim, Vec::new(), reason, FaultKind::Unreadable);
                }
                Content::Gone => {
                    batch.unless_failed(claim, Vec::new(), spool.settle_gone(claim), Fate::Cleared);
                }
                Content::NoFile => {
                    batch.unless_failed(claim, Vec::new(), spool.put_back(claim), Fate::PutBack);
                }
            }
        }
        batch.assign(&ready, claims).await?;
        for (claim, found) in faulty {
            batch.refuse_faulty(claim, found).await?;
        }
        Ok(claims.iter().filter_map(|claim| batch.fates.remove(claim.id())).collect())
    }
}

/// A file that is in order, as far as the file tells.
struct Ready<'c> {
    claim: &'c Claim,
    file: DropFile,
    owner: String,
}

impl Ready<'_> {
    fn users(&self) -> Vec<i64> {
        self.file.assignments.iter().map(|assignment| assignment.telegram_id).collect()
    }
}

/// Files that are taken together.
struct FileBatch<'c, D> {
    database: D,
    spool: &'c Spool,
    intake: &'c mut Intake,
    /// What became of each, by its claim.
    fates: HashMap<&'c str, Fate>,
}

impl<'c, D: Database> FileBatch<'c, D> {
    /// Assigns what the files say, as many together as may be; where the database refuses one of them, each by itself.
    /// Files wait behind those that wait already, `claims` left out.
    async fn assign(&mut self, mut files: &[Ready<'c>], claims: &[Claim]) -> Result<(), IntakeError> {
        let mut together = if self.intake.one_by_one { 1 } else { files.len() };
        let mut waiting_users = self.intake.waiting_files.users_before(claims);
        while !files.is_empty() {
            let some = &files[..together.min(files.len())];
            let ended = match self.request(some, &waiting_users).await {
                Ok(outcomes) => {
                    self.intake.one_by_one = false;
                    self.end(some, outcomes).await?
                }
                Err(error) if ended_the_session(&error) => {
                    // It may have taken effect all the same, so that it is not refused however often that happens.
                    if let [file] = some {
                        self.wait(file.claim, Manner::Patiently, file.users(), error.to_string());
                    }
                    self.intake.one_by_one = true;
                    return Err(error.into());
                }
                Err(error) if !is_of_one_file(&error) => return Err(error.into()),
                Err(_) if some.len() > 1 => {
                    together = 1;
                    continue;
                }
                Err(error) => {
                    let (file, reason) = (&some[0], error.with_advice());
                    self.try_again(file.claim, file.users(), reason, FaultKind::WriteRefused);
                    1
                }
            };
            let (done, rest) = files.split_at(ended);
            waiting_users.extend(done.iter().flat_map(|file| self.intake.waiting_files.users_of(file.claim)));
            files = rest;
        }
        Ok(())
    }

    async fn request(
        &mut self,
        files: &[Ready<'_>],
        waiting_users: &HashSet<i64>,
    ) -> Result<Vec<Outcome>, RelinkError> {
        let names: Vec<_> = files.iter().map(|file| Printable::name(file.claim.name())).collect();
        let request = |(file, name)| {
            let file: &Ready<'_> = file;
            let name: &Printable = name;
            Request {
                assignments: &file.file.assignments,
                author: Author { via: Via::Spool, by: &file.owner, file: Some(name.as_str()) },
                claim: Some(file.claim.id()),
            }
        };
        let requests: Vec<Request<'_>> = files.iter().zip(&names).map(request).collect();
        self.database.assign(&requests, waiting_users).await
    }

    /// Brings files to the end that the database gave them, as many as there are outcomes. Returns how many.
    async fn end(&mut self, files: &[Ready<'c>], outcomes: Vec<Outcome>) -> Result<usize, IntakeError> {
        let ended = outcomes.len();
        let mut applied = Vec::new();
        for (file, outcome) in files.iter().zip(outcomes) {
            match outcome {
                Outcome::Applied(receipt) => applied.push((file.claim, receipt)),
                Outcome::Refused(refusals) => {
                    let faults = file.file.named.faults(Vec::new(), &refusals);
                    self.reject(file.claim, file.users(), &faults);
                }
                Outcome::Waits(obstacle) => {
                    let manner =
                        if obstacle == Obstacle::Behind { Manner::Behind } else { Manner::Patiently };
                    self.wait(file.claim, manner, file.users(), obstacle.to_string());
                }
            }
        }
        self.settle(applied, &Fate::Applied).await?;
        Ok(ended)
    }

    /// Clears away files that are in force: together or, where the disk refuses one of them, each by itself.
    async fn settle(&mut self, applied: Vec<(&'c Claim, String)>, fate: &Fate) -> Result<(), IntakeError> {
        if applied.is_empty() {
            return Ok(());
        }
        let all: Vec<(&Claim, &[u8])> =
            applied.iter().map(|(claim, receipt)| (*claim, receipt.as_bytes())).collect();
        let mut done: Vec<&'c Claim> = Vec::new();
        if self.spool.settle_applied(&all).is_ok() {
            done.extend(applied.iter().map(|(claim, _)| *claim));
        } else {
            for (claim, receipt) in &applied {
                match self.spool.settle_applied(&[(claim, receipt.as_bytes())]) {
                    Ok(()) => done.push(claim),
                    Err(error) => self.wait(claim, Manner::Patiently, Vec::new(), error.to_string()),
                }
            }
        }
        let ids: Vec<&str> = done.iter().map(|claim| claim.id()).collect();
        self.database.forget(&ids).await?;
        // Only now: an empty claim without its row does nothing, a row without its claim would stay for ever.
        self.spool.close(&done)?;
        for claim in done {
            self.end_as(claim, fate.clone());
        }
        Ok(())
    }

    /// A file has come to its end.
    fn end_as(&mut self, claim: &'c Claim, fate: Fate) {
        self.intake.waiting_files.remove(claim);
        self.fates.insert(claim.id(), fate);
    }

    /// Refuses a file for its own faults, and for those that only the database knows of.
    async fn refuse_faulty(&mut self, claim: &'c Claim, found: Faulty) -> Result<(), IntakeError> {
        let Faulty { mut faults, named } = found;
        if named != Named::default() {
            let refusals = self.database.objections(&named).await?;
            faults = named.faults(faults, &refusals);
        }
        self.reject(claim, named.users.into_keys().collect(), &faults);
        Ok(())
    }

    fn reject(&mut self, claim: &'c Claim, users: Vec<i64>, faults: &[Fault]) {
        let done = self.spool.settle_rejected(claim, &drop_file::reason(faults));
        self.unless_failed(claim, users, done, Fate::Rejected(faults.len()));
    }

    /// The fate of a file, unless the disk refused: then the file waits.
    fn unless_failed(&mut self, claim: &'c Claim, users: Vec<i64>, done: Result<(), SpoolError>, fate: Fate) {
        match done {
            Ok(()) => self.end_as(claim, fate),
            Err(error) => self.wait(claim, Manner::Patiently, users, error.to_string()),
        }
    }

    fn wait(&mut self, claim: &'c Claim, manner: Manner, users: Vec<i64>, reason: String) {
        let fate = self.intake.waiting_files.put(claim, manner, users, reason, Instant::now());
        self.fates.insert(claim.id(), fate.unwrap_or(Fate::StillWaits));
    }

    /// A file whose trouble is its own: it waits, and after some tries it is rejected for this fault.
    fn try_again(&mut self, claim: &'c Claim, users: Vec<i64>, reason: String, fault: FaultKind) {
        let waiting_files = &mut self.intake.waiting_files;
        match waiting_files.put(claim, Manner::Tried, users.clone(), reason, Instant::now()) {
            Some(fate) => {
                self.fates.insert(claim.id(), fate);
            }
            None => self.reject(claim, users, &[Fault::of_file(fault)]),
        }
    }
}

fn ended_the_session(error: &RelinkError) -> bool {
    matches!(error, RelinkError::Database(error) if policy::trouble(error) == Trouble::Connection)
}

/// Whether the database may have refused because of what one file asks for.
fn is_of_one_file(error: &RelinkError) -> bool {
    match error {
        RelinkError::Database(error) => policy::trouble(error) == Trouble::Work,
        RelinkError::NotWritten => true,
        RelinkError::Seal(_) | RelinkError::UnknownKey(_) | RelinkError::OtherPortal => false,
    }
}
