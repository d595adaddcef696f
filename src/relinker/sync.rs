//! Walks some users from end to end in one call: what `sync` does, beside a running daemon or without one.
//!
//! Each chunk is a transaction of its own; interrupted between two, every link is either old or new. Changes of these
//! users that were waiting when their walk began are in the links at its end, and are forgotten with it.

use super::walk::{Singles, walk_users};
use super::{Notice, RelinkError, Rules};
use crate::db::session::Purpose;
use crate::db::work::{self, Walk};
use crate::db::{DbError, Session};
use crate::policy::{Policy, policy};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::AddAssign;
use std::time::Duration;

/// How often users or rows that somebody else holds are tried again, and how long between.
const ATTEMPTS: usize = 100;
const BETWEEN: Duration = Duration::from_millis(100);

/// What came of it.
#[derive(Debug, Default)]
pub struct Synced {
    /// Links looked at.
    pub looked_at: usize,
    /// Links written.
    pub written: usize,
    /// What to say.
    pub notices: Vec<Notice>,
    /// Users not done, and why.
    pub left: BTreeMap<i64, String>,
}

impl AddAssign for Synced {
    fn add_assign(&mut self, other: Self) {
        self.looked_at += other.looked_at;
        self.written += other.written;
        self.notices.extend(other.notices);
        self.left.extend(other.left);
    }
}

/// Walks these users. When something about them fails, each is tried alone and those that fail are left.
///
/// # Errors
/// What concerns all of the work, not a user of it: the connection, a privilege.
pub async fn sync_users(session: &mut Session, rules: &Rules, users: &[i64]) -> Result<Synced, RelinkError> {
    match together(session, rules, users).await {
        Err(RelinkError::Database(error)) if policy(&error) == Policy::SetAside => {}
        done => return done,
    }
    let mut total = Synced::default();
    for user in users {
        match together(session, rules, &[*user]).await {
            Ok(synced) => total += synced,
            Err(RelinkError::Database(error)) if policy(&error) == Policy::SetAside => {
                total.left.insert(*user, error.to_string());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(total)
}

/// What is left to do for some users.
struct Rest {
    walks: HashMap<i64, Walk>,
    issues: Singles,
    /// Changes that were waiting when a user's walk began, by user.
    waiting: HashMap<i64, Vec<i64>>,
}

async fn together(session: &mut Session, rules: &Rules, users: &[i64]) -> Result<Synced, RelinkError> {
    let mut rest = Rest {
        walks: users.iter().map(|user| (*user, Walk::from_start(*user, None))).collect(),
        issues: Singles::new(),
        waiting: HashMap::new(),
    };
    let mut total = Synced::default();
    let mut attempts = 0;
    while !rest.is_empty() {
        if !chunk(session, rules, &mut rest, &mut total).await? {
            attempts += 1;
            if attempts > ATTEMPTS {
                break;
            }
            tokio::time::sleep(BETWEEN).await;
        }
    }
    for user in rest.users() {
        total.left.insert(user, "somebody else holds the user or a row of theirs".to_owned());
    }
    Ok(total)
}

/// One transaction. Returns whether something was done, rather than only met with locks.
async fn chunk(
    session: &mut Session,
    rules: &Rules,
    rest: &mut Rest,
    total: &mut Synced,
) -> Result<bool, RelinkError> {
    let tx = session.begin(Purpose::Relink).await?;
    let wanted: Vec<i64> = rest.users().into_iter().collect();
    let ours = work::try_users(&tx, &wanted).await?;
    rest.note_waiting(&tx, ours.iter().copied().collect()).await?;
    let walks: Vec<Walk> = rest.walks.values().filter(|w| ours.contains(&w.telegram_id)).cloned().collect();
    let (issues, locked) = std::mem::take(&mut rest.issues)
        .into_iter()
        .partition::<Singles, _>(|((_, user), _)| ours.contains(user));
    rest.issues = locked;

    let walked = walk_users(&tx, rules, walks, &issues).await?;
    let moved = !walked.unfinished.is_empty()
        || !walked.finished.is_empty()
        || walked.written.iter().any(|(user, issue)| issues.contains_key(&(*issue, *user)));
    for user in &walked.finished {
        rest.walks.remove(user);
    }
    rest.walks.extend(walked.unfinished.into_iter().map(|walk| (walk.telegram_id, walk)));
    let unsealed: BTreeSet<i64> =
        walked.again.iter().filter(|(_, issue, _)| issue.is_none()).map(|(user, _, _)| *user).collect();
    for (telegram_id, issue, strip) in walked.again {
        match issue {
            Some(issue) => {
                rest.issues.insert((issue, telegram_id), strip.is_some());
            }
            None => {
                rest.walks.insert(telegram_id, Walk::from_start(telegram_id, None));
            }
        }
    }
    rest.forget_waiting(&tx, &wanted).await?;
    tx.commit().await?;
    total.looked_at += walked.looked_at;
    total.written += walked.written.len();
    total.notices.extend(walked.notices);
    Ok(moved && unsealed.is_empty())
}

impl Rest {
    fn is_empty(&self) -> bool {
        self.walks.is_empty() && self.issues.is_empty()
    }

    fn users(&self) -> BTreeSet<i64> {
        self.walks.keys().copied().chain(self.issues.keys().map(|(_, user)| *user)).collect()
    }

    /// Looks, once for each user, at what is waiting for them; what it strips, this walk strips.
    async fn note_waiting(&mut self, tx: &crate::db::Tx<'_>, ours: Vec<i64>) -> Result<(), DbError> {
        let new: Vec<i64> = ours.into_iter().filter(|user| !self.waiting.contains_key(user)).collect();
        if new.is_empty() {
            return Ok(());
        }
        for walk in work::walks_of(tx, &new).await? {
            if let Some(mine) = self.walks.get_mut(&walk.telegram_id) {
                mine.strip_upto = mine.strip_upto.max(walk.strip_upto);
            }
        }
        for change in work::changes_of(tx, &new).await? {
            if let Some(mine) = self.walks.get_mut(&change.telegram_id) {
                // An issue-sized strip concerns that issue alone; it is left for the daemon.
                if change.issue_id.is_none() {
                    mine.strip_upto = mine.strip_upto.max(change.strip_upto);
                } else if change.strip_upto.is_some() {
                    continue;
                }
            }
            self.waiting.entry(change.telegram_id).or_default().push(change.id);
        }
        for user in new {
            self.waiting.entry(user).or_default();
        }
        Ok(())
    }

    /// Forgets what was waiting for users who are wholly done.
    async fn forget_waiting(&mut self, tx: &crate::db::Tx<'_>, users: &[i64]) -> Result<(), DbError> {
        let busy = self.users();
        let done: Vec<i64> =
            users.iter().copied().filter(|u| !busy.contains(u) && self.waiting.contains_key(u)).collect();
        let changes: Vec<i64> = done.iter().filter_map(|user| self.waiting.remove(user)).flatten().collect();
        if !changes.is_empty() {
            work::forget_changes(tx, &changes).await?;
        }
        if !done.is_empty() {
            work::forget_walks(tx, &done).await?;
        }
        Ok(())
    }
}
