//! One step: claim changes, bring their links into form, forget the changes, in one short transaction. A crash is a
//! rollback.
//!
//! Whoever writes a user's links has the user's lock first and reads token and links after, each in a statement of its
//! own: otherwise a token that is being removed could be written back.

use super::batch::Batch;
use super::load::{Load, Walks};
use super::token_states::{self, AllRemembered};
use super::{Plan, RelinkError, Rules, Users, Warning, plan};
use crate::db::changes::{self, Change, Claiming};
use crate::db::history::{self, Action, Entry, Via};
use crate::db::issues::{self, IssueRow};
use crate::db::session::Purpose;
use crate::db::{DbError, Session, Tx, fingerprints, schema};
use crate::envelope::TokenState;
use crate::link::Portal;
use crate::telemetry;
use crate::token::Token;
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

/// Users that a change of everybody becomes in one transaction.
const EVERYBODY: usize = 1_000;

/// What a step is to do, and how.
pub(super) struct Task<'a> {
    pub claiming: Claiming<'a>,
    /// Up to this place nothing is in the queue.
    pub mark: i64,
    pub load: Load,
    /// The time that a question travels.
    pub round_trip: Duration,
    /// Pass over rows that others hold, instead of waiting for a moment.
    pub careful: bool,
    /// Users whose token could not be sealed a moment ago: their links are written all the same.
    pub unsealable: &'a HashSet<i64>,
}

/// What a step did.
#[derive(Debug, Default)]
pub(crate) struct Step {
    /// Changes claimed.
    pub claimed: usize,
    /// Users of changes that are due, whom another session is working on.
    pub contended: HashSet<i64>,
    /// The first and the last place in the queue of what was met, claimed or not.
    pub met: Option<(i64, i64)>,
    /// How long it took to find what is due, in a long queue for one: no row of the bot's is held meanwhile.
    pub finding: Duration,
    /// Links looked at.
    pub looked_at: usize,
    /// Links written.
    pub written: usize,
    /// Links that were locked or had changed: back in the queue.
    pub deferred: usize,
    /// Users whose tokens were looked at and reconciled.
    pub reconciled: Vec<i64>,
    /// It took all that it could, or has not come to the end of what it began: there may be more.
    pub full: bool,
    /// Nothing is done, but a little more is known of what fails.
    pub again: bool,
    /// The walks among them.
    pub walks: Walks,
    /// A change of everybody was among them.
    pub everybody: bool,
    /// What to say.
    pub warnings: Vec<Warning>,
}

impl Step {
    /// To be tried again, in another way.
    pub(super) fn again() -> Self {
        Self { again: true, ..Self::default() }
    }

    /// Whether nothing was due, or all of it is in other hands.
    pub(crate) fn is_idle(&self) -> bool {
        self.claimed == 0 && !self.again
    }
}

/// A step that failed; nothing of it is done.
pub(super) struct Failed {
    pub error: RelinkError,
    pub at: Stage,
}

/// How far a step had come.
#[derive(Debug, Clone)]
pub(super) enum Stage {
    /// Nothing but relinkd's own tables was involved.
    Looking,
    /// Reading the tokens and links that these changes are about, and recording which tokens the links are to carry.
    Reading(Vec<Change>),
    /// Sealing these users' tokens.
    Sealing(Vec<i64>),
    /// Writing the links of these changes: the change that was claimed, and the issue that it was about to write.
    Writing(Vec<(Change, i64)>),
}

impl Stage {
    /// Whether it was about one thing, which failed for itself.
    pub(super) fn is_one(&self) -> bool {
        match self {
            Self::Looking => false,
            Self::Reading(changes) => {
                matches!(changes.as_slice(), [change] if change.issue_id.is_some() || change.is_set_aside())
            }
            Self::Sealing(users) => users.len() == 1,
            Self::Writing(about) => about.len() == 1,
        }
    }

    /// Whether it was about something that has failed before.
    pub(super) fn is_again(&self) -> bool {
        match self {
            Self::Looking | Self::Sealing(_) => false,
            Self::Reading(changes) => changes.iter().any(Change::is_set_aside),
            Self::Writing(about) => about.iter().any(|(change, _)| change.is_set_aside()),
        }
    }
}

impl From<RelinkError> for Failed {
    fn from(error: RelinkError) -> Self {
        Self { error, at: Stage::Looking }
    }
}

impl From<DbError> for Failed {
    fn from(error: DbError) -> Self {
        RelinkError::from(error).into()
    }
}

/// Does one step. What it is writing is noted in `at_hand` where that is one thing: for whoever gives the step up.
pub(super) async fn step(
    session: &mut Session,
    rules: &Rules,
    task: &Task<'_>,
    at_hand: &mut Option<Stage>,
) -> Result<Step, Failed> {
    let tx = session.begin(Purpose::Relink);
    let start = Instant::now();
    let (claimed, portal) = tokio::join!(changes::claim(&tx, &task.claiming), schema::portal_in_force(&tx));
    let (claimed, portal) = (claimed?, portal?);
    let mut step = Step {
        claimed: claimed.ours.len(),
        contended: claimed.contended,
        met: claimed.met,
        finding: start.elapsed().saturating_sub(task.round_trip),
        ..Step::default()
    };
    if claimed.ours.is_empty() {
        return Ok(step);
    }
    if portal.is_some_and(|portal| portal != rules.portal_fingerprint) {
        return Err(RelinkError::OtherPortal.into());
    }
    let load = if claimed.ours.iter().any(Change::is_set_aside) { Load::ONE } else { task.load };
    let batch = Batch::of(claimed.ours);
    let start = Instant::now();
    if changes::cancel_strips(&tx, &batch.written_afresh(), task.mark).await? {
        step.finding += start.elapsed().saturating_sub(task.round_trip);
    }
    step.everybody = !batch.everybody.is_empty();
    let mut put = expand(&tx, &batch.everybody).await?;

    // The locks are held: from here on what is read stays true. All travels together, the tokens first.
    let (ids, chunk) = (batch.users(), chunk(&batch, load));
    let (users, links) =
        tokio::join!(token_states::read_remembered(&tx, rules, &ids), read_links(&tx, &batch, chunk),);
    let reading = |error| Failed { error, at: Stage::Reading(batch.claimed()) };
    let ((users, remembered), (singles, walked)) = (users.map_err(reading)?, links.map_err(reading)?);
    let (finished, unfinished) = advance(&batch, &walked, chunk);
    step.walks = Walks {
        users: batch.walks.len() + batch.everybody.len(),
        unfinished: unfinished.len(),
        links: walked.len(),
    };
    step.full = !unfinished.is_empty() || !batch.again.is_empty() || step.walks.users >= task.load.users();
    let due = batch.due(rules, singles, walked);
    step.looked_at = due.len();

    let (own, met): (AllRemembered, AllRemembered) =
        remembered.into_iter().partition(|(id, _)| is_to_be_reconciled(&batch, &users, *id));
    let to_reconcile: Vec<i64> = own.keys().copied().collect();
    let mut entries = Vec::new();
    if !to_reconcile.is_empty() {
        *at_hand = (to_reconcile.len() == 1).then(|| Stage::Sealing(to_reconcile.clone()));
        let reconciled =
            token_states::reconcile(&tx, rules, &users, &own, task.unsealable).await.map_err(|error| {
                Failed { error: error.without(tokens(&users)), at: Stage::Sealing(to_reconcile.clone()) }
            })?;
        step.reconciled = to_reconcile;
        step.warnings.extend(reconciled.warnings);
        put.extend(look_again(&reconciled.again, &unfinished));
        entries.extend(reconciled.entries);
        entries.extend(note_removals(&tx, &batch, &users, &finished).await?);
    }
    let fingerprinted =
        token_states::fingerprint_before_links(&tx, rules, &users, &met).await.map_err(reading)?;
    step.warnings.extend(fingerprinted.warnings);
    entries.extend(fingerprinted.entries);
    put.extend(unfinished);
    put.extend(batch.again.values().map(|change| Change { id: None, ..change.clone() }));
    let plan = plan(&tx, rules, &users, due).await?;
    changes::put(&tx, &put).await?;
    // A row that was locked a moment ago may still be: to wait for it would leave a line in the server's log each time.
    let careful = task.careful || batch.was_deferred();
    *at_hand = (plan.rewrites.len() == 1).then(|| about(&batch, &plan));
    finish(tx, &rules.portal, &batch, plan, careful, &mut step).await.map_err(|failed| {
        let error = failed.error.without(tokens(&users));
        Failed { error, ..failed }
    })?;
    telemetry::tell(&entries);
    Ok(step)
}

/// A user's own change is when the user is looked at; a value that is no token is reported whenever it is met.
fn is_to_be_reconciled(batch: &Batch, users: &Users, id: i64) -> bool {
    batch.walks.contains_key(&id)
        || users.get(&id).is_some_and(|user| matches!(user.state, TokenState::Unusable(_)))
}

/// Users whose row was not free. A walk that goes on tries again by itself; behind its end only the token is left to look
/// at.
fn look_again(users: &[i64], unfinished: &[Change]) -> impl Iterator<Item = Change> {
    let walked = |user: i64| unfinished.iter().any(|walk| walk.telegram_id == Some(user));
    users.iter().filter(move |user| !walked(**user)).map(|user| Change {
        cursor: Some(i64::MAX),
        pause: Duration::from_secs(1),
        ..Change::of_user(*user)
    })
}

/// What must stand in no message, whatever code of the bot's makes of it.
fn tokens(users: &Users) -> impl Iterator<Item = &str> {
    users.values().filter_map(|user| user.state.token()).map(Token::expose)
}

/// What is written, each with the change that it is about.
fn about(batch: &Batch, plan: &Plan) -> Stage {
    let about = plan.rewrites.iter().filter_map(|rewrite| {
        let change = batch
            .issues
            .get(&(rewrite.issue_id, rewrite.back.user))
            .or_else(|| batch.walks.get(&rewrite.back.user))?;
        Some((change.clone(), rewrite.issue_id))
    });
    Stage::Writing(about.collect())
}

/// Writes, and commits.
async fn finish(
    tx: Tx<'_>,
    portal: &Portal,
    batch: &Batch,
    mut plan: Plan,
    careful: bool,
    step: &mut Step,
) -> Result<(), Failed> {
    step.warnings.append(&mut plan.warnings);
    if plan.rewrites.is_empty() {
        return Ok(tx.commit().await?);
    }
    let deferred = issues::write_and_commit(tx, &plan.rewrites, careful).await.map_err(|error| {
        let former: Vec<_> =
            plan.rewrites.iter().filter_map(|rewrite| portal.carried(&rewrite.old)).collect();
        let error = error.without(former.iter().map(|token| token.as_str()));
        Failed { error: error.into(), at: about(batch, &plan) }
    })?;
    step.deferred = deferred.len();
    step.written = plan.rewrites.len() - deferred.len();
    Ok(())
}

/// A change of everybody becomes a change for each user, a page at a time.
async fn expand(tx: &Tx<'_>, everybody: &[Change]) -> Result<Vec<Change>, Failed> {
    let mut put = Vec::new();
    for change in everybody {
        let users = changes::everybody_after(tx, change.cursor, EVERYBODY).await?;
        if users.len() == EVERYBODY {
            put.push(Change { id: None, cursor: users.last().copied(), ..change.clone() });
        }
        put.extend(users.into_iter().map(|user| Change {
            strip: change.strip,
            at: change.at,
            assigned: true,
            ..Change::of_user(user)
        }));
    }
    Ok(put)
}

/// Issues of each walk that fit into the transaction.
fn chunk(batch: &Batch, load: Load) -> usize {
    (load.links() / batch.walks.len().max(1)).max(1)
}

async fn read_links(
    tx: &Tx<'_>,
    batch: &Batch,
    chunk: usize,
) -> Result<(Vec<IssueRow>, Vec<IssueRow>), RelinkError> {
    let ids: Vec<i64> = batch.issues.keys().map(|(issue, _)| *issue).collect();
    let stretches = batch.stretches();
    let (singles, walked) = tokio::join!(
        async { if ids.is_empty() { Ok(Vec::new()) } else { issues::by_id(tx, &ids).await } },
        async {
            if stretches.is_empty() { Ok(Vec::new()) } else { issues::of_users(tx, &stretches, chunk).await }
        },
    );
    Ok((singles?, walked?))
}

/// Which walks are at their end and the user's last, and how the others go on: at the end of the line.
fn advance(batch: &Batch, walked: &[IssueRow], chunk: usize) -> (HashSet<i64>, Vec<Change>) {
    let mut read: HashMap<i64, (usize, i64)> = HashMap::new();
    for issue in walked {
        let (count, last) = read.entry(issue.telegram_id.unwrap_or_default()).or_insert((0, issue.id));
        (*count, *last) = (*count + 1, issue.id.max(*last));
    }
    let (mut finished, mut unfinished) = (HashSet::new(), Vec::new());
    for (user, walk) in &batch.walks {
        match read.get(user) {
            Some((count, last)) if *count >= chunk => {
                let cursor = Some(*last);
                unfinished.push(Change { id: None, cursor, attempts: 0, last_error: None, ..walk.clone() });
            }
            _ if batch.again.contains_key(user) => {}
            _ => {
                finished.insert(*user);
            }
        }
    }
    (finished, unfinished)
}

/// Users without a token, whose walk is at its end: no link carries their former one any more. Where the bot removed it,
/// that goes into the history.
async fn note_removals(
    tx: &Tx<'_>,
    batch: &Batch,
    users: &Users,
    finished: &HashSet<i64>,
) -> Result<Vec<Entry>, Failed> {
    let without: Vec<i64> = batch
        .walks
        .keys()
        .copied()
        .filter(|id| {
            finished.contains(id) && users.get(id).is_some_and(|user| matches!(user.state, TokenState::None))
        })
        .collect();
    if without.is_empty() {
        return Ok(Vec::new());
    }
    fingerprints::expire(tx, &without).await?;
    let entries: Vec<Entry> = without
        .iter()
        .filter(|id| {
            batch
                .walks
                .get(id)
                .is_some_and(|walk| !walk.assigned && (walk.strip == Some(true) || !walk.former.is_empty()))
        })
        .map(|id| Entry::new(*id, Action::Removed, Via::Bot))
        .collect();
    history::record(tx, &entries).await?;
    Ok(entries)
}
