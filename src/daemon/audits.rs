//! When audits run: one interval after the start, then one interval after each. Several daemons audit each for itself:
//! an audit only reads, and a lock that lasts longer than a transaction would stay behind in a pooler.

use super::Shared;
use crate::audit::{self, Found};
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
            Ok(found) if found == Found::default() => log::debug!("the audit found all in order"),
            Ok(found) => {
                log::info!(links = found.links, users = found.users; "the audit found changes that no trigger saw");
            }
            Err(error) => {
                let next = policy::advice(&error).unwrap_or("the next audit tries again");
                log::warn!("the audit did not come to its end: {error}; {next}");
            }
        }
    }
}

async fn once(shared: &Shared) -> Result<Found, DbError> {
    let mut session = shared.connector.connect(Role::Audit).await?;
    let facts = schema::verify(&session, &shared.tables).await?;
    match audit::audit(&mut session, &shared.rules(&facts)).await {
        Ok(found) => Ok(found),
        Err(RelinkError::Database(error)) => Err(error),
        Err(RelinkError::UnknownKey(_) | RelinkError::Seal(_)) => {
            unreachable!("an audit takes unknown keys for missing and seals nothing")
        }
    }
}
