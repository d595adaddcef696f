//! `relinkd run`: the daemon.

use super::database;
use super::output::{Exit, Failure};
use crate::daemon::{self, DaemonError};
use std::path::Path;

pub(super) fn run(config: &Path) -> Result<Exit, Failure> {
    let settings = database::settings(config)?;
    let keyring = database::keyring(&settings)?;
    daemon::run(config, settings, keyring).map_err(|error| match error {
        DaemonError::Database(error) => Failure::from(error),
        DaemonError::Spool(_) => {
            Failure::refused(error, "`relinkd check --offline` says what is wrong with the spool")
        }
        DaemonError::System { .. } => {
            Failure::refused(error, "see to what the system is short of (ulimit -a), and start it again")
        }
    })?;
    Ok(Exit::Done)
}
