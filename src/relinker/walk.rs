//! A chunk of the walks of some users, within a transaction that holds their locks. Everybody who relinks users goes
//! through here: the daemon's steps and the `sync` command.

use super::rewriting::Due;
use super::{Holding, Notice, RelinkError, Rules, holders, plan};
use crate::db::work::{self, IssueRow, Walk};
use crate::db::{Tx, marks};
use std::collections::{HashMap, HashSet};

/// How many links one transaction should look at: about 20 ms of work.
pub(super) const CHUNK: usize = 2048;

/// What a chunk did.
#[derive(Default)]
pub(super) struct Walked {
    /// Walks that are not at their end, with their new cursors.
    pub unfinished: Vec<Walk>,
    /// Users whose walk is at its end.
    pub finished: Vec<i64>,
    /// Links looked at.
    pub looked_at: usize,
    /// Links written.
    pub written: Vec<(i64, i64)>,
    /// What could not be done because a row was locked or has changed, as changes to come back to.
    pub again: Vec<(i64, Option<i64>, Option<i64>)>,
    /// What to say once the transaction is kept.
    pub notices: Vec<Notice>,
}

/// Walks a chunk of each user's issues; `singles` are issues of theirs to look at besides. The
/// transaction must hold the locks of all these users, taken in an earlier statement.
///
/// # Errors
/// The database's; [`RelinkError::UnknownKey`].
pub(super) async fn walk_users(
    tx: &Tx<'_>,
    rules: &Rules,
    walks: Vec<Walk>,
    singles: &Singles,
) -> Result<Walked, RelinkError> {
    let mut users: HashSet<i64> = walks.iter().map(|walk| walk.telegram_id).collect();
    users.extend(singles.keys().map(|(_, user)| *user));
    let users: Vec<i64> = users.into_iter().collect();

    let holdings = holders::read(tx, rules, &users).await?;
    let (notices, unsealed) = holders::settle(tx, rules, &holdings).await?;
    let mut walked = Walked {
        notices,
        again: unsealed.into_iter().map(|user| (user, None, None)).collect(),
        ..Walked::default()
    };

    let mut due = due_of_walks(tx, walks, &mut walked).await?;
    let places: HashMap<i64, usize> = due.iter().enumerate().map(|(at, d)| (d.issue.id, at)).collect();
    for single in due_of_singles(tx, singles).await? {
        match places.get(&single.issue.id) {
            Some(at) => due[*at].strip |= single.strip,
            None => due.push(single),
        }
    }
    walked.looked_at = due.len();
    let strips: HashMap<i64, bool> = due.iter().map(|d| (d.issue.id, d.strip)).collect();

    let plan = plan(tx, rules, &holdings, due).await?;
    walked.notices.extend(plan.notices);
    if !plan.rewrites.is_empty() {
        let done = work::write_links(tx, &plan.rewrites).await?;
        for rewrite in &plan.rewrites {
            if done.contains(&rewrite.issue_id) {
                walked.written.push((rewrite.telegram_id, rewrite.issue_id));
            } else {
                let strip = strips.get(&rewrite.issue_id).is_some_and(|s| *s).then_some(rewrite.issue_id);
                walked.again.push((rewrite.telegram_id, Some(rewrite.issue_id), strip));
            }
        }
    }
    forget_marks_of_the_tokenless(tx, &holdings, &walked).await?;
    Ok(walked)
}

/// Issues to look at besides the walks, each with the user it was found under, and whether its link loses a token
/// whatever the setting. An issue may stand there under several users: it is done under the one whose it is by now.
pub(super) type Singles = HashMap<(i64, i64), bool>;

async fn due_of_walks(tx: &Tx<'_>, walks: Vec<Walk>, walked: &mut Walked) -> Result<Vec<Due>, RelinkError> {
    if walks.is_empty() {
        return Ok(Vec::new());
    }
    let limit = (CHUNK / walks.len()).max(16);
    let issues = work::issues_of(tx, &walks, i64::try_from(limit).expect("a chunk is small")).await?;
    let mut by_user: HashMap<i64, Vec<IssueRow>> = HashMap::new();
    for issue in issues {
        by_user.entry(issue.telegram_id).or_default().push(issue);
    }
    let mut due = Vec::new();
    for mut walk in walks {
        let issues = by_user.remove(&walk.telegram_id).unwrap_or_default();
        let more = issues.len() == limit;
        let strip_upto = walk.strip_upto;
        if let Some(last) = issues.iter().map(|issue| issue.id).max() {
            walk.cursor = last;
        }
        due.extend(issues.into_iter().map(|issue| {
            let strip = strip_upto.is_some_and(|upto| issue.id <= upto);
            Due { issue, strip }
        }));
        if more {
            walked.unfinished.push(walk);
        } else {
            walked.finished.push(walk.telegram_id);
        }
    }
    Ok(due)
}

/// Issues by id, as far as they still are the user's under whom they were found: another's change is its own.
async fn due_of_singles(tx: &Tx<'_>, singles: &Singles) -> Result<Vec<Due>, RelinkError> {
    if singles.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<i64> = singles.keys().map(|(issue, _)| *issue).collect();
    let issues = work::issues(tx, &ids).await?;
    Ok(issues
        .into_iter()
        .filter_map(|issue| {
            let strip = *singles.get(&(issue.id, issue.telegram_id))?;
            Some(Due { issue, strip })
        })
        .collect())
}

/// A user's mark outlives the token until no link of theirs carries it any more.
async fn forget_marks_of_the_tokenless(
    tx: &Tx<'_>,
    holdings: &HashMap<i64, Holding>,
    walked: &Walked,
) -> Result<(), RelinkError> {
    let busy: HashSet<i64> = walked.again.iter().map(|(user, _, _)| *user).collect();
    let gone: Vec<i64> = walked
        .finished
        .iter()
        .copied()
        .filter(|user| !busy.contains(user))
        .filter(|user| {
            holdings
                .get(user)
                .is_some_and(|h| h.row.mark.is_some() && matches!(h.stored, crate::envelope::Stored::None))
        })
        .collect();
    if !gone.is_empty() {
        marks::forget(tx, &gone).await?;
    }
    Ok(())
}
