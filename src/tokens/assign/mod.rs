//! Assignments → tokens in the column. Several requests share a transaction; each is all or nothing by itself, and
//! takes effect at most once a claim.
//!
//! No token is ever given to a user while another holds it. Fingerprints say who may hold it, the column itself who does;
//! users whose change still waits are looked at too, for their fingerprint may not be written yet. Requests are judged one
//! after the other, each on what the ones before it leave behind, and only the outcome is written: a request that is
//! refused or has to wait leaves no trace. Transactions go one at a time, under one advisory lock, so that two at the
//! same moment see each other.
//!
//! The bot never waits for long: the rows of all users are locked before anything is written, and a row that somebody
//! else holds is not waited for. The request that names it waits, with the later ones that name a user of its own.

mod judge;

use self::judge::{Holders, Judge, Judgement};
use crate::db::history::{self, Action, Entry, Via};
use crate::db::session::Purpose;
use crate::db::{Session, Tx, assigning, fingerprints};
use crate::drop_file::{Assignment, Named, Refusal};
use crate::relink::{RelinkError, Rules};
use crate::{printable, telemetry};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// Who assigns, and by which way: for receipts, and for whoever asks later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Author<'a> {
    /// The way.
    pub(crate) via: Via,
    /// Who logged in at the command line, whoever they became since; or the owner of the drop file. The user's name, or
    /// its number where it has none.
    pub(crate) by: &'a str,
    /// The drop file's name.
    pub(crate) file: Option<&'a str>,
}

/// Assignments that take effect together or not at all. No user and no token stands in two of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request<'a> {
    /// What is to be done.
    pub assignments: &'a [Assignment],
    /// Who wants it.
    pub author: Author<'a>,
    /// The claim under which it is entered in the ledger, whose key lets no claim in twice.
    pub claim: Option<&'a str>,
}

/// What became of a request.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It is in force; the receipt says what was done.
    Applied(String),
    /// It is not in force, for what the database holds against it.
    Refused(Vec<Refusal>),
    /// It is not in force, and may be tried again later.
    Waits(Obstacle),
}

/// What keeps a request waiting, by no fault of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Obstacle {
    /// Somebody's transaction holds the row of a user.
    #[error("another session holds the row of a user")]
    RowLocked,
    /// A request before it that names the same user waits.
    #[error("an earlier one for the same user waits")]
    Behind,
    /// The column is too narrow for a sealed token.
    #[error("the column for tokens holds {limit} characters, a sealed token needs {needed}")]
    NoRoom {
        /// What fits.
        limit: usize,
        /// What is needed.
        needed: usize,
    },
}

/// The receipt of a file that went through.
#[derive(Serialize)]
struct Receipt<'a> {
    version: u32,
    file: &'a str,
    owner: &'a str,
    via: &'a str,
    applied_at: &'a str,
    set: Vec<i64>,
    removed: Vec<i64>,
}

impl<'a> Receipt<'a> {
    fn of(request: &Request<'a>, applied_at: &'a str) -> Self {
        let users = |removed: bool| {
            let of_kind = request.assignments.iter().filter(|it| it.token.is_none() == removed);
            of_kind.map(|assignment| assignment.telegram_id).collect()
        };
        Self {
            version: 1,
            file: request.author.file.unwrap_or_default(),
            owner: request.author.by,
            via: request.author.via.name(),
            applied_at,
            set: users(false),
            removed: users(true),
        }
    }
}

/// Puts requests in force, in this order, in one transaction. `waiting_users` are those of earlier requests that wait:
/// requests for them wait behind those. Should an earlier attempt with the same claim still be committing, this one waits for it and
/// fails.
///
/// Returns the outcomes of the first of them, one at least: what would be accepted after one that is refused is left for
/// another call. Where it fails nothing of any request is in force, and trying again later is right.
pub(crate) async fn assign(
    session: &mut Session,
    rules: &Rules,
    requests: &[Request<'_>],
    waiting_users: &HashSet<i64>,
) -> Result<Vec<Outcome>, RelinkError> {
    let tx = session.begin(Purpose::Assign);
    assigning::lock(&tx).await?;
    let users: BTreeSet<i64> =
        requests.iter().flat_map(|request| request.assignments).map(|it| it.telegram_id).collect();
    let rows = assigning::lock_users(&tx, &users.into_iter().collect::<Vec<_>>()).await?;
    let tokens = requests.iter().flat_map(|request| request.assignments).filter_map(|it| it.token.as_ref());
    let mut judge = Judge {
        keyring: &rules.keyring,
        token_limit: rules.token_limit,
        holders: Holders::of(&tx, rules, tokens).await?,
        rows,
        waiting_users: waiting_users.clone(),
        writes: BTreeMap::new(),
    };
    let at = assigning::now(&tx).await?;
    let mut outcomes = Vec::with_capacity(requests.len());
    let mut accepted = Vec::new();
    for request in requests {
        let outcome = match judge.judge(request.assignments)? {
            Judgement::Accepted(_) if outcomes.iter().any(|it| matches!(it, Outcome::Refused(_))) => break,
            Judgement::Accepted(writes) => {
                judge.accept(request.assignments, writes);
                let receipt = serde_json::to_string_pretty(&Receipt::of(request, &at))
                    .expect("numbers and texts make JSON");
                let receipt = printable::json(&receipt);
                accepted.push((request, receipt.clone()));
                Outcome::Applied(receipt)
            }
            Judgement::Refused(refusals) => Outcome::Refused(refusals),
            Judgement::Waits(obstacle) => Outcome::Waits(obstacle),
        };
        outcomes.push(outcome);
    }
    if !judge.writes.is_empty() {
        put_in_force(tx, judge, &accepted).await?;
    }
    Ok(outcomes)
}

/// Writes what the judge accepted, with fingerprints, history and ledger, and commits.
async fn put_in_force(
    tx: Tx<'_>,
    judge: Judge<'_>,
    accepted: &[(&Request<'_>, String)],
) -> Result<(), RelinkError> {
    let rows = judge.rows;
    let (writes, prints): (Vec<_>, Vec<_>) = judge.writes.into_values().unzip();
    let written = assigning::write(&tx, &writes).await.map_err(|error| error.without(rows.values()))?;
    if written.len() < writes.len() {
        return Err(RelinkError::NotWritten);
    }
    fingerprints::put(&tx, &prints.into_iter().flatten().collect::<Vec<_>>()).await?;
    let done: Vec<Entry> = accepted.iter().flat_map(|(request, _)| entries(request)).collect();
    history::record(&tx, &done).await?;
    let claims: Vec<_> =
        accepted.iter().filter_map(|(request, receipt)| Some((request.claim?, receipt.as_str()))).collect();
    assigning::enter(&tx, &claims).await?;
    tx.commit().await.map_err(|error| error.without(rows.values()))?;
    telemetry::tell(&done);
    Ok(())
}

/// What the database would hold, at this moment, against a file that names this.
pub(crate) async fn objections(
    session: &mut Session,
    rules: &Rules,
    named: &Named,
) -> Result<Vec<Refusal>, RelinkError> {
    let tx = session.begin(Purpose::Read);
    let users: HashSet<i64> = named.users.keys().copied().collect();
    let known = assigning::known(&tx, &users.iter().copied().collect::<Vec<_>>()).await?;
    let holders = Holders::of(&tx, rules, named.tokens.keys()).await?;
    let unknown = users.iter().filter(|user| !known.contains(user)).map(|user| Refusal::UnknownUser(*user));
    let held = named.tokens.keys().filter_map(|token| holders.refusal(token, &users));
    Ok(unknown.chain(held).collect())
}

/// For the history.
fn entries<'r>(request: &'r Request<'_>) -> impl Iterator<Item = Entry> + use<'r> {
    let Author { via, by, file } = request.author;
    request.assignments.iter().map(move |assignment| Entry {
        telegram_id: assignment.telegram_id,
        action: if assignment.token.is_some() { Action::Set } else { Action::Removed },
        via,
        by: Some(by.to_owned()),
        file: file.map(str::to_owned),
    })
}
