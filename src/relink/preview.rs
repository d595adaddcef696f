//! What would be written, page by page, for the audit, for a dry run and for the end of `install`. Takes no lock, so all
//! of it may be otherwise a moment later.

use super::{Due, Plan, RelinkError, Rules, Strip, plan, read_users};
use crate::db::issues::{self, IssueRow};
use crate::db::session::Purpose;
use crate::db::{Cursor, Session, Tx, changes};
use crate::link::{Portal, Shape};
use std::collections::{BTreeSet, HashMap, HashSet};

/// Issues a page.
const PAGE: usize = 2_000;

/// A pass over all issues, or over those of some users: what is still to be looked at.
pub(crate) enum Preview {
    /// Everybody's issues, in order of user and issue.
    OfEverybody(Cursor<(i64, i64)>),
    /// Those of these users, the last one first.
    OfUsers(Vec<(i64, Cursor<i64>)>),
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
        Self::OfEverybody(Cursor::with_pages_of(PAGE))
    }

    /// Over the issues of these users.
    pub(crate) fn of_users(users: &BTreeSet<i64>) -> Self {
        Self::OfUsers(users.iter().rev().map(|user| (*user, Cursor::with_pages_of(PAGE))).collect())
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
        match self {
            Self::OfEverybody(cursor) if cursor.more() => return Ok(issues::page_by_user(tx, cursor).await?),
            Self::OfEverybody(_) => {}
            Self::OfUsers(users) => {
                while let Some((user, cursor)) = users.last_mut() {
                    let issues = issues::page_of_user(tx, *user, cursor).await?;
                    if !cursor.more() {
                        users.pop();
                    }
                    if !issues.is_empty() {
                        return Ok(issues);
                    }
                }
            }
        }
        Ok(Vec::new())
    }
}

/// Links by what would become of them.
#[derive(Debug, Default)]
pub(crate) struct LinkCounts {
    /// All that were looked at.
    pub links: usize,
    /// Those that get a token.
    pub gets_token: usize,
    /// Login links that become plain.
    pub becomes_plain: usize,
    /// Login links that get another token, or the form that relinkd writes.
    pub stays_login: usize,
    /// Plain links that get the form that relinkd writes.
    pub stays_plain: usize,
    /// Those that are as they should be.
    pub right: usize,
    /// Left, for they lead to another host.
    pub another_host: usize,
    /// Left, for they lead to no issue.
    pub no_issue_link: usize,
    /// Issues without a link.
    pub null: usize,
}

impl LinkCounts {
    /// Counts all links.
    pub(crate) async fn gather(session: &mut Session, rules: &Rules) -> Result<Self, RelinkError> {
        let mut counts = Self::default();
        let mut preview = Preview::of_everybody();
        while let Some(page) = preview.next(session, rules).await? {
            counts.add(&rules.portal, &page);
        }
        Ok(counts)
    }

    /// Counts the links of a page.
    pub(crate) fn add(&mut self, portal: &Portal, page: &Page) {
        self.links += page.looked_at.len();
        let mut rewritten = HashSet::new();
        for rewrite in &page.plan.rewrites {
            rewritten.insert(rewrite.issue_id);
            let is_login =
                |written: &str| portal.read(written).is_some_and(|link| link.shape == Shape::Login);
            *match (is_login(&rewrite.old), is_login(&rewrite.new)) {
                (true, true) => &mut self.stays_login,
                (true, false) => &mut self.becomes_plain,
                (false, true) => &mut self.gets_token,
                (false, false) => &mut self.stays_plain,
            } += 1;
        }
        for issue in page.looked_at.iter().filter(|issue| !rewritten.contains(&issue.id)) {
            *match issue.url.as_deref() {
                None => &mut self.null,
                Some(url) if portal.read(url).is_some() => &mut self.right,
                Some(url) if portal.is_on(url) => &mut self.no_issue_link,
                Some(_) => &mut self.another_host,
            } += 1;
        }
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
