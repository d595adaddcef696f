//! What would be written, page by page, for the audit, for a dry run and for the end of `install`. Takes no lock, so all
//! of it may be otherwise a moment later.

use super::{Due, Plan, RelinkError, Rules, Strip, plan, read_users};
use crate::db::issues::{self, IssueRow, Stretch};
use crate::db::session::Purpose;
use crate::db::{Cursor, Session, Tx, changes};
use std::collections::{BTreeSet, HashMap};

/// Issues a page.
const PAGE: usize = 2_000;

/// A pass over all issues, or over those of some users.
pub(crate) struct Preview {
    left: Left,
}

/// What is still to be looked at.
enum Left {
    /// Everybody's issues, in order of user and issue.
    OfEverybody(Cursor<(i64, i64)>),
    /// Those of these users, each with how far it is done.
    Of(Vec<Stretch>),
}

/// What one page came to.
pub(crate) struct Page {
    /// Issues looked at.
    pub looked_at: Vec<IssueRow>,
    /// What would be written.
    pub plan: Plan,
}

impl Preview {
    /// Over everybody's issues.
    pub(crate) fn of_everybody() -> Self {
        Self { left: Left::OfEverybody(Cursor::start()) }
    }

    /// Over the issues of these users.
    pub(crate) fn of_users(users: &BTreeSet<i64>) -> Self {
        let stretches = users.iter().rev().map(|user| Stretch { telegram_id: *user, after: None }).collect();
        Self { left: Left::Of(stretches) }
    }

    /// The next page; none at the end.
    pub(crate) async fn next(
        &mut self,
        session: &mut Session,
        rules: &Rules,
    ) -> Result<Option<Page>, RelinkError> {
        let tx = session.begin(Purpose::Read);
        let looked_at = self.page(&tx).await?;
        if looked_at.is_empty() {
            return Ok(None);
        }
        let plan = preview(&tx, rules, looked_at.clone()).await?;
        tx.commit().await?;
        Ok(Some(Page { looked_at, plan }))
    }

    async fn page(&mut self, tx: &Tx<'_>) -> Result<Vec<IssueRow>, RelinkError> {
        let stretches = match &mut self.left {
            Left::Of(stretches) => stretches,
            Left::OfEverybody(cursor) if cursor.more() => {
                let issues = issues::after(tx, cursor.after(), PAGE).await?;
                cursor.pass(&issues, PAGE, |issue| (issue.telegram_id.unwrap_or(i64::MIN), issue.id));
                return Ok(issues);
            }
            Left::OfEverybody(_) => return Ok(Vec::new()),
        };
        while let Some(stretch) = stretches.pop() {
            let issues = issues::of_users(tx, &[stretch], PAGE).await?;
            if let Some(last) = issues.last() {
                if issues.len() == PAGE {
                    stretches.push(Stretch { after: Some(last.id), ..stretch });
                }
                return Ok(issues);
            }
        }
        Ok(Vec::new())
    }
}

/// What would be written if these issues were done now.
pub(crate) async fn preview(tx: &Tx<'_>, rules: &Rules, issues: Vec<IssueRow>) -> Result<Plan, RelinkError> {
    let users: BTreeSet<i64> = issues.iter().filter_map(|issue| issue.telegram_id).collect();
    let users: Vec<i64> = users.into_iter().collect();
    let states = read_users(tx, rules, &users).await?;
    let due = due(tx, rules, &users, issues).await?;
    plan(tx, rules, &states, due).await
}

/// Issues with what the changes that wait would strip from them.
async fn due(
    tx: &Tx<'_>,
    rules: &Rules,
    users: &[i64],
    issues: Vec<IssueRow>,
) -> Result<Vec<Due>, RelinkError> {
    let (mut of_user, mut of_issue) = (HashMap::new(), HashMap::new());
    for change in changes::stripping(tx, users).await? {
        let Some(user) = change.telegram_id else { continue };
        match (change.issue_id, change.strip) {
            (Some(issue), Some(strip)) => {
                of_issue.insert(issue, strip);
            }
            (None, strip) => {
                let strip = Strip::of_change(rules, user, strip == Some(true), &change.former);
                if !matches!(strip, Strip::Nothing) {
                    of_user.insert(user, strip);
                }
            }
            (Some(_), None) => {}
        }
    }
    Ok(issues
        .into_iter()
        .map(|issue| {
            let strip = match of_issue.get(&issue.id) {
                Some(true) => Strip::Everything,
                _ => issue.telegram_id.and_then(|user| of_user.get(&user)).cloned().unwrap_or_default(),
            };
            Due { strip, ..Due::as_it_stands(issue) }
        })
        .collect())
}
