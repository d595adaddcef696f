//! `relinkd run`: the daemon.

use super::database;
use super::output::{Exit, Failure};
use crate::config;
use crate::daemon::{self, DaemonError};
use crate::keyring_file::KeyringError;
use crate::spool::SpoolError;
use std::path::Path;

pub(super) fn run(config: &Path) -> Result<Exit, Failure> {
    let settings = config::load(config)?;
    let keyring = match database::keyring(&settings) {
        Ok(keyring) => keyring,
        Err(error @ KeyringError::Absent(_)) => {
            // Whoever has lost it must not be told to make a new one.
            let keys = database::keys_in_use(&settings.database, &settings.tables)?;
            return Err(database::keyring_failure(&error, keys.as_ref()));
        }
        Err(error) => return Err(error.into()),
    };
    daemon::run(config, settings, keyring).map_err(|error| {
        let next = match error {
            DaemonError::Database(error) => return Failure::from(error),
            DaemonError::Spool(SpoolError::Owned { .. }) => {
                "stop that one (systemctl stop relinkd), or let this one have a spool of its own: spool.directory"
            }
            DaemonError::Spool(_) => "`relinkd check --offline` says what is wrong with the spool",
            DaemonError::System { .. } => "see to what the system is short of (ulimit -a), and start it again",
        };
        Failure::refused(error, next)
    })?;
    Ok(Exit::Done)
}
