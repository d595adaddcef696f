//! The audit: finds what no trigger saw, a page at a time, and queues it as a change like any other.
//!
//! It only reads; the mending is a worker's, under the user's lock. A page that is misread because something moves
//! meanwhile costs a change too many, never a wrong link. It rests after each page, so that it takes a small part of a
//! core, and still ends well within its interval.

use super::token_states::open_remembered;
use super::{Preview, RelinkError, Rules};
use crate::db::changes::{self, Change};
use crate::db::session::Purpose;
use crate::db::{Cursor, Session, fingerprints, issues, schema, users};
use std::collections::HashSet;
use std::time::{Duration, Instant};

/// Users a page.
const PAGE: usize = 2_000;
/// For each moment of work so many of rest: 5 % of a core.
const REST: u32 = 19;

/// What an audit found.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Discrepancies {
    /// Links that are not as they should be.
    pub links: usize,
    /// Users whose value is to be sealed, fingerprinted or reported.
    pub(crate) users: usize,
}

/// Looks at every user and every issue, and queues what is not in order; what is set aside is known already. It takes
/// half of `interval` at the most, whatever its rests.
pub(crate) async fn audit(
    session: &mut Session,
    rules: &Rules,
    interval: Duration,
) -> Result<Discrepancies, RelinkError> {
    let known: HashSet<(i64, Option<i64>)> = changes::rest(session, None, changes::now(session).await?)
        .await?
        .set_aside
        .into_iter()
        .map(|(user, issue, _)| (user, issue))
        .collect();
    let mut pauses = Pauses::of(interval, pages(session).await?);
    let users = audit_users(session, rules, &known, &mut pauses).await?;
    let links = audit_links(session, rules, &known, &mut pauses).await?;
    let found = Discrepancies { links, users };
    fingerprints::forget_expired(session).await?;
    schema::audit_finished(session, found.links + found.users).await?;
    Ok(found)
}

/// The pauses between pages.
struct Pauses {
    longest: Duration,
    since: Instant,
}

impl Pauses {
    fn of(interval: Duration, pages: u32) -> Self {
        Self { longest: interval / 2 / pages.max(1), since: Instant::now() }
    }

    async fn take(&mut self) {
        tokio::time::sleep(self.after(self.since.elapsed())).await;
        self.since = Instant::now();
    }

    /// The pause after a page that took this time.
    fn after(&self, work: Duration) -> Duration {
        (work * REST).min(self.longest)
    }
}

async fn pages(session: &mut Session) -> Result<u32, RelinkError> {
    let tx = session.begin(Purpose::Read);
    let rows = issues::about_how_many(&tx).await?;
    tx.commit().await?;
    // Statistics may be missing or old: twice as many pages as they say, and ten at the least, cost nothing.
    Ok(u32::try_from(2 * rows / PAGE).unwrap_or(u32::MAX).max(10))
}

async fn audit_users(
    session: &mut Session,
    rules: &Rules,
    known: &HashSet<(i64, Option<i64>)>,
    pauses: &mut Pauses,
) -> Result<usize, RelinkError> {
    let mut found = 0;
    let mut cursor = Cursor::with_pages_of(PAGE);
    while cursor.more() {
        let tx = session.begin(Purpose::Read);
        let rows = users::page_remembered(&tx, &mut cursor, rules.keyring.primary()).await?;
        tx.commit().await?;
        let (users, remembered) = open_remembered(rows, rules)?;
        let stale: Vec<Change> = users
            .iter()
            .filter(|(id, user)| {
                remembered.get(id).is_some_and(|remembered| user.is_stale(rules, remembered))
            })
            .filter(|(id, _)| !known.contains(&(**id, None)))
            .map(|(id, _)| Change::of_user(*id))
            .collect();
        found += queue(session, stale).await?;
        pauses.take().await;
    }
    Ok(found)
}

async fn audit_links(
    session: &mut Session,
    rules: &Rules,
    known: &HashSet<(i64, Option<i64>)>,
    pauses: &mut Pauses,
) -> Result<usize, RelinkError> {
    let mut found = 0;
    let mut preview = Preview::of_everybody();
    while let Some(page) = preview.next(session, rules).await? {
        let wrong: Vec<Change> = page
            .plan
            .rewrites
            .iter()
            .filter_map(|rewrite| Some((rewrite.telegram_id?, rewrite.issue_id)))
            .filter(|(user, issue)| !known.contains(&(*user, Some(*issue))))
            .map(|(user, issue)| Change::of_issue(user, issue))
            .collect();
        found += queue(session, wrong).await?;
        pauses.take().await;
    }
    Ok(found)
}

/// Queues what does not wait already, for a lock that somebody holds. Returns how many that were.
async fn queue(session: &mut Session, mut changes: Vec<Change>) -> Result<usize, RelinkError> {
    if !changes.is_empty() {
        let tx = session.begin(Purpose::Relink);
        let users: Vec<i64> = changes.iter().filter_map(|change| change.telegram_id).collect();
        let waiting = changes::waiting(&tx, &users).await?;
        changes.retain(|change| {
            change.telegram_id.is_none_or(|user| {
                !waiting.contains(&(user, None)) && !waiting.contains(&(user, change.issue_id))
            })
        });
        changes::put(&tx, &changes).await?;
        tx.commit().await?;
    }
    Ok(changes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_audit_works_a_twentieth_of_the_time_and_still_ends_within_its_interval() {
        let page = Duration::from_millis(20);
        let easy = Pauses::of(Duration::from_secs(3_600), 1_000);
        assert_eq!(easy.after(page), page * 19);
        // 5 million links within an hour, whatever a page takes.
        for took in [page, Duration::from_secs(1)] {
            let many = Pauses::of(Duration::from_secs(3_600), 5_000);
            assert!(many.after(took) * 5_000 <= Duration::from_secs(1_800));
        }
    }
}
