//! One drop file, from claim to receipt or reason. Exactly once: the claim's id goes into the ledger in the transaction
//! that writes the tokens, and leaves it when the file is gone from the disk for good.

use crate::assign::{self, AssignError, Origin, Outcome};
use crate::assignment::{self, Fault, FaultKind, Faulty};
use crate::db::{DbError, Session, assigning};
use crate::place::Place;
use crate::relinker::Rules;
use crate::spool::{Claim, Content, Spool, SpoolError};
use std::fmt::Write as _;

/// How many faults a reason lists; a file of noise could have half a million.
const FAULTS_SHOWN: usize = 1_000;

/// What became of a file.
#[derive(Debug, PartialEq, Eq)]
pub enum Fate {
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
}

/// Why a file has to wait; its claim stays.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// The database, or what it holds.
    #[error(transparent)]
    Assign(#[from] AssignError),
    /// The disk.
    #[error(transparent)]
    Spool(#[from] SpoolError),
}

impl From<DbError> for IntakeError {
    fn from(error: DbError) -> Self {
        Self::Assign(error.into())
    }
}

/// Takes a claimed file to its end.
///
/// # Errors
/// Whatever is no fault of the file's. The same claim may be taken again at any time.
pub async fn take(
    session: &mut Session,
    rules: &Rules,
    spool: &Spool,
    claim: &Claim,
) -> Result<Fate, IntakeError> {
    if let Some(receipt) = assigning::receipt(session, claim.id()).await? {
        settle(session, spool, claim, &receipt).await?;
        return Ok(Fate::AppliedBefore);
    }
    let batch = match spool.read(claim, assignment::MAX_BYTES)? {
        Content::Gone => {
            spool.settle_gone(claim)?;
            return Ok(Fate::Cleared);
        }
        Content::NoFile => {
            spool.put_back(claim)?;
            return Ok(Fate::PutBack);
        }
        Content::TooLarge => return reject(spool, claim, &[Fault::new(Place::START, FaultKind::TooLarge)]),
        Content::Bytes(bytes) => match assignment::parse(&bytes, &rules.token_rule) {
            Ok(batch) => batch,
            Err(Faulty { mut faults, whole }) => {
                faults.extend(assign::judge(session, &rules.keyring, &whole).await?);
                faults.sort_by_key(|fault| fault.place);
                return reject(spool, claim, &faults);
            }
        },
    };
    let file = claim.name().to_string_lossy();
    let origin = Origin { claim: claim.id(), file: &file };
    match assign::assign(session, &rules.keyring, rules.token_limit, &batch, Some(origin)).await? {
        Outcome::Applied(receipt) => {
            settle(session, spool, claim, &receipt).await?;
            Ok(Fate::Applied)
        }
        Outcome::Refused(faults) => reject(spool, claim, &faults),
    }
}

async fn settle(session: &Session, spool: &Spool, claim: &Claim, receipt: &str) -> Result<(), IntakeError> {
    spool.settle_applied(claim, receipt.as_bytes())?;
    assigning::forget(session, claim.id()).await?;
    // Only now: an empty claim without its row does nothing, a row without its claim would stay for ever.
    Ok(spool.close(claim)?)
}

fn reject(spool: &Spool, claim: &Claim, faults: &[Fault]) -> Result<Fate, IntakeError> {
    let mut reason = String::new();
    for fault in faults.iter().take(FAULTS_SHOWN) {
        let _ = writeln!(reason, "{fault}");
    }
    if faults.len() > FAULTS_SHOWN {
        let _ = writeln!(reason, "and {} faults more", faults.len() - FAULTS_SHOWN);
    }
    spool.settle_rejected(claim, &reason)?;
    Ok(Fate::Rejected(faults.len()))
}
