//! `relinkd sync --dry-run`: what would change, tokens masked. Reads only, takes no lock.

use super::SyncArgs;
use super::database::Workplace;
use super::output::{self, Exit, Failure};
use crate::db::session::Purpose;
use crate::db::work::{self, IssueRow, Walk};
use crate::db::{DbError, Tx};
use crate::link;
use crate::relinker::{self, Due};
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};

/// Issues a page.
const PAGE: i64 = 2_000;

/// Shows the changes; exit status 3 when there are any.
pub(super) async fn run(workplace: &mut Workplace, args: &SyncArgs) -> Result<Exit, Failure> {
    let rules = workplace.rules();
    let mut users: Vec<i64> = args.ids.clone();
    users.sort_unstable();
    users.dedup();
    let mut walks: Vec<Walk> = users.iter().map(|user| Walk::from_start(*user, None)).collect();
    let mut after = (i64::MIN, i64::MIN);
    let mut looked_at = 0;
    let mut changes: Vec<Value> = Vec::new();
    let mut found = 0_usize;
    loop {
        let tx = workplace.session.begin(Purpose::Read).await?;
        let issues = page(&tx, args, &mut walks, &mut after).await?;
        if issues.is_empty() {
            break;
        }
        looked_at += issues.len();
        let due = due(&tx, issues).await?;
        let mut rewrites = relinker::foresee(&tx, &rules, due).await?.rewrites;
        rewrites.sort_by_key(|rewrite| rewrite.issue_id);
        tx.commit().await?;
        found += rewrites.len();
        for rewrite in rewrites {
            let (old, new) = (link::mask(&rewrite.old), link::mask(&rewrite.new));
            if args.json {
                changes.push(json!({
                    "issue": rewrite.issue_id, "telegram_id": rewrite.telegram_id, "old": old, "new": new,
                }));
            } else {
                output::line(format!("issue {} of user {}", rewrite.issue_id, rewrite.telegram_id));
                output::line(format!("  - {old}\n  + {new}"));
            }
        }
    }
    if args.json {
        output::line(json!({"version": 1, "links": looked_at, "changes": changes}));
    } else {
        output::line(format!(
            "{} of {} would be rewritten",
            output::count(found),
            output::things(looked_at, "link")
        ));
    }
    Ok(if found == 0 { Exit::Done } else { Exit::Changes })
}

/// The next page: over everything, or over the users named.
async fn page(
    tx: &Tx<'_>,
    args: &SyncArgs,
    walks: &mut Vec<Walk>,
    after: &mut (i64, i64),
) -> Result<Vec<IssueRow>, DbError> {
    if args.ids.is_empty() {
        let issues = work::issues_after(tx, *after, PAGE).await?;
        if let Some(last) = issues.last() {
            *after = (last.telegram_id, last.id);
        }
        return Ok(issues);
    }
    while let Some(mut walk) = walks.pop() {
        let issues = work::issues_of(tx, std::slice::from_ref(&walk), PAGE).await?;
        if let Some(last) = issues.last() {
            walk.cursor = last.id;
            walks.push(walk);
            return Ok(issues);
        }
    }
    Ok(Vec::new())
}

/// Issues with what the changes that wait would strip from them.
async fn due(tx: &Tx<'_>, issues: Vec<IssueRow>) -> Result<Vec<Due>, DbError> {
    let users: BTreeSet<i64> = issues.iter().map(|issue| issue.telegram_id).collect();
    let users: Vec<i64> = users.into_iter().collect();
    let mut whole: HashMap<i64, i64> = HashMap::new();
    let mut single: BTreeSet<i64> = BTreeSet::new();
    let waiting = work::changes_of(tx, &users).await?;
    for change in waiting {
        let Some(upto) = change.strip_upto else { continue };
        if let Some(issue) = change.issue_id {
            single.insert(issue);
        } else {
            let entry = whole.entry(change.telegram_id).or_insert(upto);
            *entry = upto.max(*entry);
        }
    }
    Ok(issues
        .into_iter()
        .map(|issue| {
            let strip = single.contains(&issue.id)
                || whole.get(&issue.telegram_id).is_some_and(|upto| issue.id <= *upto);
            Due { issue, strip }
        })
        .collect())
}
