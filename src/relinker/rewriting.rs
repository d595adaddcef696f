//! From links as read to the rewrites they need. Reads marks where a rule asks whose token a link carries; writes nothing.

use super::{Holding, Notice, RelinkError, Rules, holders};
use crate::db::session::Purpose;
use crate::db::work::{self, IssueRow, Rewrite};
use crate::db::{DbError, Session, Tx, marks};
use crate::envelope::Mark;
use crate::link::{self, Holder, Link, Tokenless, Verdict};
use crate::token::Token;
use std::collections::{BTreeSet, HashMap};

/// An issue to look at, and whether its link loses a token whatever the setting.
pub struct Due {
    /// The issue as read.
    pub issue: IssueRow,
    /// Whether a token goes from it.
    pub strip: bool,
}

/// What is to be written, and what is to be said.
#[derive(Default)]
pub struct Plan {
    /// Links to write.
    pub rewrites: Vec<Rewrite>,
    /// What does not fit.
    pub notices: Vec<Notice>,
}

/// What would be written if these were done now. Takes no lock, so all of it may be otherwise a moment later.
///
/// # Errors
/// The database's; [`RelinkError::UnknownKey`].
pub async fn foresee(tx: &Tx<'_>, rules: &Rules, due: Vec<Due>) -> Result<Plan, RelinkError> {
    let users: BTreeSet<i64> = due.iter().map(|due| due.issue.telegram_id).collect();
    let users: Vec<i64> = users.into_iter().collect();
    let holdings = holders::read(tx, rules, &users).await?;
    Ok(plan(tx, rules, &holdings, due).await?)
}

/// The same for a page of all issues, in a transaction of its own: those after (user, issue), which is moved on. None
/// at the end.
///
/// # Errors
/// The database's; [`RelinkError::UnknownKey`].
pub async fn foresee_page(
    session: &mut Session,
    rules: &Rules,
    after: &mut (i64, i64),
    limit: i64,
) -> Result<Option<Plan>, RelinkError> {
    let tx = session.begin(Purpose::Read).await?;
    let issues = work::issues_after(&tx, *after, limit).await?;
    let Some(last) = issues.last() else { return Ok(None) };
    *after = (last.telegram_id, last.id);
    let due = issues.into_iter().map(|issue| Due { issue, strip: false }).collect();
    let plan = foresee(&tx, rules, due).await?;
    tx.commit().await?;
    Ok(Some(plan))
}

/// Decides for each issue. An issue whose user is not among `holdings` is somebody else's by now: left alone.
///
/// # Errors
/// The database's.
pub async fn plan(
    tx: &Tx<'_>,
    rules: &Rules,
    holdings: &HashMap<i64, Holding>,
    mut due: Vec<Due>,
) -> Result<Plan, DbError> {
    strip_foreign_tokens(tx, rules, holdings, &mut due).await?;
    let mut plan = Plan::default();
    for Due { issue, strip } in due {
        let (Some(old), Some(holding)) = (issue.url, holdings.get(&issue.telegram_id)) else { continue };
        match link::decide(&rules.portal, &old, &holding.holder(), rules.tokenless, strip) {
            Verdict::Leave => {}
            Verdict::Write(new) => match rules.url_limit {
                Some(limit) if new.chars().count() > limit => {
                    plan.notices.push(Notice::NoRoomForLink { issue_id: issue.id, limit });
                }
                _ => plan.rewrites.push(Rewrite {
                    issue_id: issue.id,
                    telegram_id: issue.telegram_id,
                    old,
                    new,
                }),
            },
        }
    }
    Ok(plan)
}

/// Where the rules leave links alone (`tokenless = "keep"`, or an unusable token), a link that carries a token which
/// relinkd knows to be another user's, or one this user no longer has, loses it all the same: such a link is a change
/// that no trigger saw.
async fn strip_foreign_tokens(
    tx: &Tx<'_>,
    rules: &Rules,
    holdings: &HashMap<i64, Holding>,
    due: &mut [Due],
) -> Result<(), DbError> {
    let mut suspects: Vec<(usize, Vec<Mark>)> = Vec::new();
    for (index, Due { issue, strip }) in due.iter().enumerate() {
        let (Some(url), Some(holding)) = (&issue.url, holdings.get(&issue.telegram_id)) else { continue };
        let left_alone = match holding.holder() {
            Holder::Token(_) => false,
            Holder::None => rules.tokenless == Tokenless::Keep,
            Holder::Unusable => true,
        };
        if !left_alone || *strip {
            continue;
        }
        let carried = rules.portal.read(url).and_then(|link: Link| link.carried_token());
        if let Some(token) = carried.and_then(|text| Token::parse(&text).ok()) {
            suspects.push((index, rules.keyring.marks(&token).into_iter().map(|(_, mark)| mark).collect()));
        }
    }
    if suspects.is_empty() {
        return Ok(());
    }
    let all: Vec<Mark> = suspects.iter().flat_map(|(_, marks)| marks.iter().copied()).collect();
    let known = marks::holders(tx, &all).await?;
    for (index, marks) in suspects {
        let user = due[index].issue.telegram_id;
        let holders: BTreeSet<i64> =
            marks.iter().filter_map(|mark| known.get(&mark[..])).flatten().copied().collect();
        due[index].strip = match holdings[&user].holder() {
            Holder::Unusable => !holders.is_empty() && !holders.contains(&user),
            Holder::None | Holder::Token(_) => !holders.is_empty(),
        };
    }
    Ok(())
}
