//! The audit: finds what no trigger saw, a page at a time, and queues it as a change like any other.
//!
//! It only reads; the mending is a worker's, under the user's lock. A page that is misread because something moves
//! meanwhile costs a change too many, never a wrong link. It rests after each page, so that it takes a small part of a
//! core, and still ends well within its interval.

use super::token_states::open_remembered;
use super::{Preview, RelinkError, Rules, about_how_many_links};
use crate::db::changes::{self, Change};
use crate::db::session::Purpose;
use crate::db::{Cursor, Session, fingerprints, schema, users};
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
    let set_aside = changes::rest(session, None, changes::now(session).await?).await?.set_aside;
    let known = set_aside.into_iter().map(|(user, issue, _)| (user, issue)).collect();
    // Statistics may be missing or old: twice as many pages as they say, and ten at the least, cost nothing.
    let pages = 2 * about_how_many_links(session).await? / PAGE;
    let pauses = Pauses::of(interval, u32::try_from(pages).unwrap_or(u32::MAX).max(10));
    let mut audit = Audit { session: &mut *session, rules, known, pauses };
    let (users, links) = (audit.users().await?, audit.links().await?);
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

/// An audit under way.
struct Audit<'a> {
    session: &'a mut Session,
    rules: &'a Rules,
    /// What is set aside: users, and single issues of theirs.
    known: HashSet<(i64, Option<i64>)>,
    pauses: Pauses,
}

impl Audit<'_> {
    async fn users(&mut self) -> Result<usize, RelinkError> {
        let mut found = 0;
        let mut cursor = Cursor::with_pages_of(PAGE);
        while cursor.more() {
            let tx = self.session.begin(Purpose::Read);
            let rows = users::page_remembered(&tx, &mut cursor, self.rules.keyring.primary()).await?;
            tx.commit().await?;
            let (users, remembered) = open_remembered(rows, self.rules)?;
            let stale = users.iter().filter(|(id, user)| {
                remembered.get(id).is_some_and(|remembered| user.is_stale(self.rules, remembered))
            });
            found += self.queue(stale.map(|(id, _)| (*id, None)).collect()).await?;
        }
        Ok(found)
    }

    async fn links(&mut self) -> Result<usize, RelinkError> {
        let mut found = 0;
        let mut preview = Preview::of_everybody();
        while let Some(page) = preview.next(self.session, self.rules).await? {
            let wrong = page.plan.rewrites.iter();
            let wrong = wrong.filter_map(|rewrite| Some((rewrite.telegram_id?, Some(rewrite.issue_id))));
            found += self.queue(wrong.collect()).await?;
        }
        Ok(found)
    }

    /// Queues what is neither set aside nor waits already, for a lock that somebody holds, and rests. Returns how many
    /// that were.
    async fn queue(&mut self, mut wrong: Vec<(i64, Option<i64>)>) -> Result<usize, RelinkError> {
        wrong.retain(|one| !self.known.contains(one));
        if !wrong.is_empty() {
            let tx = self.session.begin(Purpose::Relink);
            let users: Vec<i64> = wrong.iter().map(|(user, _)| *user).collect();
            let waiting = changes::waiting(&tx, &users).await?;
            wrong.retain(|one| !waiting.contains(&(one.0, None)) && !waiting.contains(one));
            let change = |(user, issue_id): &_| Change { issue_id: *issue_id, ..Change::of_user(*user) };
            changes::put(&tx, &wrong.iter().map(change).collect::<Vec<_>>()).await?;
            tx.commit().await?;
        }
        self.pauses.take().await;
        Ok(wrong.len())
    }
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
