//! Assignments → tokens in the column: all of a batch or none of it, in one transaction, at most once a claim.
//!
//! No token is ever given to a user while another holds it. Marks say who may hold it, the column itself who does;
//! users whose change still waits are looked at too, for their mark may not be written yet. Assignments go one at a
//! time, under one advisory lock, so that two at the same moment see each other.

use crate::assignment::{Assignment, Change, Fault, FaultKind};
use crate::db::assigning::{self, Write};
use crate::db::session::Purpose;
use crate::db::{DbError, Session, Tx, marks, work};
use crate::envelope::{Keyring, Mark, SealFault};
use crate::token::{Token, TokenRule};
use serde::Serialize;
use std::collections::{BTreeSet, HashMap, HashSet};

/// What became of a batch.
#[derive(Debug)]
pub enum Outcome {
    /// It is in force; the receipt says what was done.
    Applied(String),
    /// It is not in force, for these faults.
    Refused(Vec<Fault>),
}

/// Why a batch had to wait; nothing of it is in force.
#[derive(Debug, thiserror::Error)]
pub enum AssignError {
    /// The database's.
    #[error(transparent)]
    Database(#[from] DbError),
    /// The operating system gave no randomness.
    #[error(transparent)]
    Seal(#[from] SealFault),
    /// The column is too narrow.
    #[error("the column for tokens holds {limit} characters, a sealed token needs {needed}")]
    NoRoom {
        /// What fits.
        limit: usize,
        /// What is needed.
        needed: usize,
    },
}

/// Where a batch comes from: its claim in the ledger, and the name for the receipt.
pub struct Origin<'a> {
    /// Key in the ledger.
    pub claim: &'a str,
    /// The file's name.
    pub file: &'a str,
}

/// The receipt of a file that went through.
#[derive(Serialize)]
struct Receipt<'a> {
    version: u32,
    file: &'a str,
    applied_at: &'a str,
    set: Vec<i64>,
    removed: Vec<i64>,
}

/// Puts a batch in force. With an origin it is entered in the ledger, whose key lets no claim in twice: should an
/// earlier attempt still be committing, this one waits for it and fails.
///
/// # Errors
/// Whatever is not the batch's own fault; trying again later is right.
pub async fn assign(
    session: &mut Session,
    keyring: &Keyring,
    token_limit: Option<usize>,
    batch: &[Assignment],
    origin: Option<Origin<'_>>,
) -> Result<Outcome, AssignError> {
    let tx = session.begin(Purpose::Assign).await?;
    assigning::lock(&tx).await?;
    let faults = faults(&tx, keyring, batch).await?;
    if !faults.is_empty() {
        return Ok(Outcome::Refused(faults));
    }
    let writes = writes(keyring, token_limit, batch)?;
    let done = assigning::write(&tx, &writes).await?;
    if done.len() < batch.len() {
        // A user went between the look and the write.
        return Ok(Outcome::Refused(unknown(batch, &done)));
    }
    let set = batch.iter().filter_map(|assignment| match &assignment.change {
        Change::Set(token) => Some((assignment.telegram_id, keyring.marks(token))),
        Change::Remove => None,
    });
    marks::put(&tx, &set.collect::<Vec<_>>()).await?;
    let at = assigning::now(&tx).await?;
    let receipt = serde_json::to_string_pretty(&Receipt {
        version: 1,
        file: origin.as_ref().map_or("", |o| o.file),
        applied_at: &at,
        set: batch.iter().filter(|a| matches!(a.change, Change::Set(_))).map(|a| a.telegram_id).collect(),
        removed: batch.iter().filter(|a| matches!(a.change, Change::Remove)).map(|a| a.telegram_id).collect(),
    })
    .expect("numbers and texts make JSON");
    if let Some(origin) = &origin {
        assigning::enter(&tx, origin.claim, &receipt).await?;
    }
    tx.commit().await?;
    Ok(Outcome::Applied(receipt))
}

/// What the database would hold against these at this moment, sorted by place.
///
/// # Errors
/// The database's.
pub async fn judge(
    session: &mut Session,
    keyring: &Keyring,
    batch: &[Assignment],
) -> Result<Vec<Fault>, AssignError> {
    let tx = session.begin(Purpose::Read).await?;
    Ok(faults(&tx, keyring, batch).await?)
}

fn writes(keyring: &Keyring, limit: Option<usize>, batch: &[Assignment]) -> Result<Vec<Write>, AssignError> {
    let mut writes = Vec::with_capacity(batch.len());
    for assignment in batch {
        let sealed = match &assignment.change {
            Change::Set(token) => Some(keyring.seal(token, assignment.telegram_id)?),
            Change::Remove => None,
        };
        if let (Some(sealed), Some(limit)) = (&sealed, limit)
            && sealed.len() > limit
        {
            return Err(AssignError::NoRoom { limit, needed: sealed.len() });
        }
        writes.push(Write { telegram_id: assignment.telegram_id, sealed });
    }
    writes.sort_by_key(|write| write.telegram_id);
    Ok(writes)
}

fn unknown(batch: &[Assignment], known: &HashSet<i64>) -> Vec<Fault> {
    batch
        .iter()
        .filter(|assignment| !known.contains(&assignment.telegram_id))
        .map(|assignment| Fault::new(assignment.id_place, FaultKind::UnknownUser))
        .collect()
}

/// What the database holds against a batch: users it does not know, tokens that others hold.
async fn faults(tx: &Tx<'_>, keyring: &Keyring, batch: &[Assignment]) -> Result<Vec<Fault>, DbError> {
    let ids: Vec<i64> = batch.iter().map(|assignment| assignment.telegram_id).collect();
    let known = assigning::known(tx, &ids).await?;
    let mut faults = unknown(batch, &known);

    let held = held(tx, keyring, batch, &ids).await?;
    faults.extend(batch.iter().filter_map(|assignment| match &assignment.change {
        Change::Set(token) if held.contains(token) => {
            Some(Fault::new(assignment.change_place, FaultKind::TokenHeld))
        }
        Change::Set(_) | Change::Remove => None,
    }));
    faults.sort_by_key(|fault| fault.place);
    Ok(faults)
}

/// Which of the batch's tokens are held by users outside it.
async fn held(
    tx: &Tx<'_>,
    keyring: &Keyring,
    batch: &[Assignment],
    ids: &[i64],
) -> Result<HashSet<Token>, DbError> {
    let wanted: HashMap<&str, Vec<Mark>> = batch
        .iter()
        .filter_map(|assignment| match &assignment.change {
            Change::Set(token) => Some(token),
            Change::Remove => None,
        })
        .map(|token: &Token| {
            (token.expose(), keyring.marks(token).into_iter().map(|(_, mark)| mark).collect())
        })
        .collect();
    if wanted.is_empty() {
        return Ok(HashSet::new());
    }
    let marks: Vec<Mark> = wanted.values().flatten().copied().collect();
    let marked = marks::holders(tx, &marks).await?;
    let mut suspects: BTreeSet<i64> = marked.into_values().flatten().collect();
    suspects.extend(assigning::waiting(tx).await?);
    for id in ids {
        suspects.remove(id);
    }

    let suspects: Vec<i64> = suspects.into_iter().collect();
    let any_token = TokenRule::default();
    let mut held = HashSet::new();
    for chunk in suspects.chunks(10_000) {
        for row in work::users(tx, chunk, keyring.primary().as_str()).await? {
            let stored = keyring.read(row.stored.as_ref().map(|s| s.as_str()), row.telegram_id, &any_token);
            if let Some(token) = stored.token()
                && wanted.contains_key(token.expose())
            {
                held.insert(token.clone());
            }
        }
    }
    Ok(held)
}
