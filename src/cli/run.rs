//! `relinkd run`: the daemon.

use super::database;
use super::output::{Exit, Failure};
use crate::daemon::{self, DaemonError};
use crate::telemetry;
use log::LevelFilter;
use std::path::Path;

pub(super) fn run(config: &Path, verbose: u8, quiet: bool) -> Result<Exit, Failure> {
    telemetry::init(match (quiet, verbose) {
        (true, _) => LevelFilter::Warn,
        (false, 0) => LevelFilter::Info,
        (false, 1) => LevelFilter::Debug,
        (false, _) => LevelFilter::Trace,
    });
    let settings = database::settings(config)?;
    let keyring = database::keyring(&settings)?;
    daemon::run(config, settings, keyring).map_err(|error| match error {
        DaemonError::Database(error) => Failure::from(error),
        DaemonError::Spool(_) => {
            Failure::refused(error).next("`relinkd check --offline` says what is wrong with the spool")
        }
        DaemonError::System { .. } => Failure::refused(error),
    })?;
    Ok(Exit::Done)
}
