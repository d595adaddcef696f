//! When audits run: one interval after the start, then one interval after each. Several daemons audit each for itself:
//! an audit only reads, and a lock that lasts longer than a transaction would stay behind in a pooler.

use super::Shared;
use crate::db::connect::SessionKind;
use crate::db::history;
use crate::policy;
use crate::relink::RelinkError;
use crate::relink::audit::{self, Discrepancies};
use std::sync::Arc;
use std::time::Instant;

/// Runs until it is aborted.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut current = shared.current.subscribe();
    loop {
        let last = Instant::now();
        loop {
            let next = last + current.borrow_and_update().settings.audit.interval;
            shared.progress.with(|state| state.next_audit = Some(next));
            tokio::select! {
                () = tokio::time::sleep_until(next.into()) => break,
                _ = current.changed() => {}
                () = shared.stop.wait() => return,
            }
        }
        match once(&shared).await {
            Ok(found) if found == Discrepancies::default() => log::debug!("the audit found all in order"),
            Ok(found) => {
                log::info!(links = found.links, users = found.users; "the audit found changes that no trigger saw");
            }
            Err(RelinkError::Database(error)) => {
                let next = policy::advice(&error).unwrap_or("the next audit tries again");
                log::warn!("the audit did not come to its end: {error}; {next}");
            }
            Err(error) => log::warn!("the audit did not come to its end: {error}"),
        }
    }
}

async fn once(shared: &Shared) -> Result<Discrepancies, RelinkError> {
    let mut session = shared.connector.connect(SessionKind::Audit).await?;
    let facts = shared.verify(&session).await?;
    let settings = shared.settings();
    history::forget_older_than(&session, settings.history.keep).await?;
    audit::audit(&mut session, &shared.rules(&facts), settings.audit.interval).await
}
