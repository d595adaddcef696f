//! When audits run: one interval after the start, then one interval after each, by one daemon at a time.

use super::Shared;
use crate::audit;
use crate::db::connect::Role;
use crate::db::{DbError, schema};
use crate::policy;
use crate::relinker::RelinkError;
use std::sync::Arc;

/// Runs until it is aborted.
pub(super) async fn run(shared: Arc<Shared>) {
    loop {
        let interval = shared.settings().audit_interval;
        shared.pause(interval).await;
        if shared.stop.is_set() {
            return;
        }
        match once(&shared).await {
            Ok(Some(found)) if found == audit::Found::default() => {
                log::debug!("the audit found all in order");
            }
            Ok(Some(found)) => {
                log::info!(links = found.links, users = found.users; "the audit found changes that no trigger saw");
            }
            Ok(None) => log::debug!("another daemon is at the audit"),
            Err(error) => {
                let next = policy::advice(&error).unwrap_or("the next audit tries again");
                log::warn!("the audit did not come to its end: {error}; {next}");
            }
        }
    }
}

/// One audit; none where another daemon is at it.
async fn once(shared: &Shared) -> Result<Option<audit::Found>, DbError> {
    let mut session = shared.connector.connect(Role::Audit).await?;
    let facts = schema::verify(&session, &shared.tables).await?;
    if !schema::try_audit(&session).await? {
        return Ok(None);
    }
    match audit::audit(&mut session, &shared.rules(&facts)).await {
        Ok(found) => Ok(Some(found)),
        Err(RelinkError::Database(error)) => Err(error),
        Err(RelinkError::UnknownKey(_) | RelinkError::Seal(_)) => {
            unreachable!("an audit takes unknown keys for missing and seals nothing")
        }
    }
}
