//! One step: claim, relink, forget, in one transaction.

use super::walk::{Singles, Walked, walk_users};
use super::{Notice, RelinkError, Rules};
use crate::db::work::{self, Change, Walk};
use crate::db::{DbError, Session, Tx, session::Purpose};
use std::collections::{HashMap, HashSet};

/// How much a step may claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Changes, of either size.
    pub changes: usize,
    /// Of these, changes of whole users.
    pub users: usize,
    /// Walks that go on.
    pub walks: usize,
}

impl Load {
    /// A step as usual.
    pub const FULL: Self = Self { changes: 512, users: 64, walks: 16 };
    /// A single change: to find out which one fails.
    pub const ONE_CHANGE: Self = Self { changes: 1, users: 1, walks: 0 };
    /// A single walk: likewise.
    pub const ONE_WALK: Self = Self { changes: 0, users: 0, walks: 1 };
}

/// What a step did.
#[derive(Debug, Default)]
pub struct Step {
    /// Changes and walks claimed.
    pub claimed: usize,
    /// Changes and walks that are due, but whose user another session is working on.
    pub contended: usize,
    /// Links written.
    pub written: usize,
    /// What to say.
    pub notices: Vec<Notice>,
}

/// Claims what is due, brings its links into form, forgets it. Nothing is done when it fails.
///
/// # Errors
/// The database's; [`RelinkError::UnknownKey`].
pub async fn step(session: &mut Session, rules: &Rules, load: Load) -> Result<Step, RelinkError> {
    let tx = session.begin(Purpose::Relink).await?;
    let claim = claim(&tx, load).await?;
    let claimed = claim.changes.len() + claim.walks.len();
    if claimed == 0 {
        return Ok(Step { contended: claim.contended, ..Step::default() });
    }

    let Claim { changes, walks, contended } = claim;
    let walked = walk_users(&tx, rules, walks, &issue_sized(&changes)).await?;
    forget(&tx, &changes, &walked).await?;
    tx.commit().await?;
    Ok(Step { claimed, contended, written: walked.written.len(), notices: walked.notices })
}

/// After a failure of a step of one: takes that one change or walk out of the way for `pause`, with the reason.
/// Returns the user set aside, and how often they have failed.
///
/// # Errors
/// The database's.
pub async fn set_aside(
    session: &mut Session,
    load: Load,
    pause: impl Fn(i32) -> std::time::Duration,
    reason: &str,
) -> Result<Option<(i64, i32)>, DbError> {
    let tx = session.begin(Purpose::Relink).await?;
    let Claim { changes, walks, .. } = claim(&tx, load).await?;
    let change_walk = changes.first().map(|change| Walk::from_start(change.telegram_id, change.strip_upto));
    let Some(mut walk) = walks.into_iter().next().or(change_walk) else { return Ok(None) };
    walk.attempts += 1;
    let pause_ms = i64::try_from(pause(walk.attempts).as_millis()).unwrap_or(i64::MAX);
    work::set_aside(&tx, &walk, pause_ms, reason).await?;
    let ids: Vec<i64> = changes.iter().map(|change| change.id).collect();
    work::forget_changes(&tx, &ids).await?;
    tx.commit().await?;
    Ok(Some((walk.telegram_id, walk.attempts)))
}

/// What a transaction has claimed: changes picked, and the walks to take a chunk of.
struct Claim {
    changes: Vec<Change>,
    walks: Vec<Walk>,
    contended: usize,
}

/// Picks changes and walks and merges them: a user-sized change starts the user's walk, anew where one is under way.
async fn claim(tx: &Tx<'_>, load: Load) -> Result<Claim, DbError> {
    let mut contended = 0;
    let mut changes = Vec::new();
    if load.changes > 0 {
        let picked = work::pick_changes(tx, i64::try_from(load.changes).expect("a load is small")).await?;
        contended += picked.contended;
        let mut users = HashSet::new();
        changes = picked.ours;
        changes.retain(|change| {
            change.issue_id.is_some()
                || users.contains(&change.telegram_id)
                || (users.len() < load.users && users.insert(change.telegram_id))
        });
    }
    let mut walks: HashMap<i64, Walk> = HashMap::new();
    if load.walks > 0 {
        let picked = work::pick_walks(tx, i64::try_from(load.walks).expect("a load is small")).await?;
        contended += picked.contended;
        walks.extend(picked.ours.into_iter().map(|walk| (walk.telegram_id, walk)));
    }
    let starting: Vec<&Change> = changes.iter().filter(|change| change.issue_id.is_none()).collect();
    if !starting.is_empty() {
        let users: Vec<i64> = starting.iter().map(|change| change.telegram_id).collect();
        for walk in work::walks_of(tx, &users).await? {
            walks.insert(walk.telegram_id, walk);
        }
        for change in starting {
            let walk =
                walks.entry(change.telegram_id).or_insert_with(|| Walk::from_start(change.telegram_id, None));
            walk.cursor = i64::MIN;
            walk.strip_upto = walk.strip_upto.max(change.strip_upto);
        }
    }
    Ok(Claim { changes, walks: walks.into_values().collect(), contended })
}

fn issue_sized(changes: &[Change]) -> Singles {
    let mut singles = Singles::new();
    for change in changes {
        let Some(issue_id) = change.issue_id else { continue };
        let strip = change.strip_upto.is_some_and(|upto| issue_id <= upto);
        // What an older change strips stays stripped.
        *singles.entry((issue_id, change.telegram_id)).or_default() |= strip;
    }
    singles
}

/// Forgets what is done and keeps what is not: walks go to the end of the line, issues that were locked are put off.
async fn forget(tx: &Tx<'_>, changes: &[Change], walked: &Walked) -> Result<(), DbError> {
    let held: HashSet<(i64, i64)> =
        walked.again.iter().filter_map(|(user, issue, _)| issue.map(|issue| (*user, issue))).collect();
    let (put_off, done): (Vec<&Change>, Vec<&Change>) = changes
        .iter()
        .partition(|change| change.issue_id.is_some_and(|issue| held.contains(&(change.telegram_id, issue))));
    let put_off_issues: HashSet<(i64, i64)> =
        put_off.iter().filter_map(|c| c.issue_id.map(|issue| (c.telegram_id, issue))).collect();
    let new: Vec<(i64, Option<i64>, Option<i64>)> = walked
        .again
        .iter()
        .copied()
        .filter(|(user, issue, _)| issue.is_none_or(|issue| !put_off_issues.contains(&(*user, issue))))
        .collect();

    if !done.is_empty() {
        work::forget_changes(tx, &done.iter().map(|change| change.id).collect::<Vec<_>>()).await?;
    }
    if !put_off.is_empty() {
        work::defer_changes(tx, &put_off.iter().map(|change| change.id).collect::<Vec<_>>()).await?;
    }
    if !new.is_empty() {
        work::append_changes(tx, &new).await?;
    }
    if !walked.finished.is_empty() {
        work::forget_walks(tx, &walked.finished).await?;
    }
    if !walked.unfinished.is_empty() {
        work::put_walks(tx, &walked.unfinished).await?;
    }
    Ok(())
}
