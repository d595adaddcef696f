//! Signals: SIGTERM and SIGINT stop, SIGHUP reads the configuration again, SIGUSR1 says how things stand.

use super::Shared;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;
use std::sync::Arc;

/// Starts listening, on a thread of its own that lives as long as the process.
pub(super) fn listen(shared: Arc<Shared>) -> std::io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR1])?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            match signal {
                SIGHUP => shared.reload(),
                SIGUSR1 => log::info!("{}", shared.progress.status()),
                _ => {
                    log::info!("told to stop");
                    shared.stop.set();
                }
            }
        }
    })?;
    Ok(())
}
