//! The audit: finds what no trigger saw, a page at a time, and queues it as a change like any other.
//!
//! It only reads; the mending is the relinker's, under the user's lock. A page that is misread because something moves
//! meanwhile costs a change too many, never a wrong link.

use crate::db::session::Purpose;
use crate::db::{Session, schema, work};
use crate::relinker::{self, RelinkError, Rules};
use std::time::Duration;

/// Rows a page.
const PAGE: i64 = 2_000;
/// The breath between pages: the audit is in no hurry.
const BREATH: Duration = Duration::from_millis(20);

/// What an audit found.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Links that are not as they should be.
    pub links: usize,
    /// Users whose value is to be sealed, marked or reported.
    pub users: usize,
}

/// Looks at every user and every issue, and queues what is not in order.
///
/// # Errors
/// The database's.
pub async fn audit(session: &mut Session, rules: &Rules) -> Result<Found, RelinkError> {
    let users = users(session, rules).await?;
    let links = links(session, rules).await?;
    let found = Found { links, users };
    schema::audit_finished(session, found.links + found.users).await?;
    Ok(found)
}

async fn users(session: &mut Session, rules: &Rules) -> Result<usize, RelinkError> {
    let mut found = 0;
    let mut after = None;
    loop {
        let tx = session.begin(Purpose::Read).await?;
        let rows = work::users_after(&tx, after, PAGE, rules.keyring.primary().as_str()).await?;
        tx.commit().await?;
        let Some(last) = rows.last().map(|row| row.telegram_id) else { return Ok(found) };
        after = Some(last);
        let holdings = relinker::open_holders(rows, rules)?;
        let unsettled: Vec<(i64, Option<i64>, Option<i64>)> = holdings
            .values()
            .filter(|holding| holding.unsettled(rules))
            .map(|holding| (holding.row.telegram_id, None, None))
            .collect();
        found += unsettled.len();
        queue(session, &unsettled).await?;
        tokio::time::sleep(BREATH).await;
    }
}

async fn links(session: &mut Session, rules: &Rules) -> Result<usize, RelinkError> {
    let mut found = 0;
    let mut after = (i64::MIN, i64::MIN);
    while let Some(plan) = relinker::foresee_page(session, rules, &mut after, PAGE).await? {
        let wrong: Vec<(i64, Option<i64>, Option<i64>)> =
            plan.rewrites.iter().map(|r| (r.telegram_id, Some(r.issue_id), None)).collect();
        found += wrong.len();
        queue(session, &wrong).await?;
        tokio::time::sleep(BREATH).await;
    }
    Ok(found)
}

async fn queue(
    session: &mut Session,
    changes: &[(i64, Option<i64>, Option<i64>)],
) -> Result<(), RelinkError> {
    if !changes.is_empty() {
        let tx = session.begin(Purpose::Relink).await?;
        work::append_changes(&tx, changes).await?;
        tx.commit().await?;
    }
    Ok(())
}
