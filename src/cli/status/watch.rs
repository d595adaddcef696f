//! `status --watch`: the same screen again and again, in place, until Ctrl-C.

use super::screen::Screen;
use super::{Place, WITHIN};
use crate::cli::database;
use crate::cli::output::{self, Exit, Failure, OrFail as _};
use crate::keyring_file::KeyringError;
use crate::status;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// How often it is drawn.
const EVERY: Duration = Duration::from_secs(2);

// ECMA-48 and xterm's control sequences.
/// Clear the screen; let long lines end at its edge, and hide the cursor.
const BEGIN: &str = "\x1b[2J\x1b[?7l\x1b[?25l";
const HOME: &str = "\x1b[H";
const CLEAR_BELOW: &str = "\x1b[J";
const END: &str = "\x1b[?7h\x1b[?25h";

/// Draws until it is told to stop.
pub(super) async fn watch(place: &mut Place<'_>) -> Result<Exit, Failure> {
    let stop = stop().or_fail(Exit::Failed, "cannot listen for signals", output::SHORT_OF)?;
    let terminal = std::io::stdout().is_terminal();
    if terminal {
        output::control(BEGIN);
    }
    let screens = async {
        loop {
            draw(place, terminal).await;
            if output::nobody_reads() {
                break;
            }
            tokio::time::sleep(EVERY).await;
        }
    };
    tokio::select! {
        () = screens => {}
        () = stop.notified() => {}
    }
    if terminal {
        output::control(END);
    }
    Ok(Exit::Done)
}

async fn draw(place: &mut Place<'_>, terminal: bool) {
    match database::keyring(&place.settings) {
        // Root could read one that the spool's owner may not.
        Err(error) if !matches!(error, KeyringError::Absent(_)) => {}
        changed => place.keyring = changed,
    }
    let local = status::local(&place.settings.spool.directory);
    let answer = place.ask(WITHIN).await;
    if terminal {
        output::control(HOME);
    }
    // Clear what is left of the old line (ECMA-48, 8.3.41).
    let screen = Screen { place, end: if terminal { "\x1b[K" } else { "" } };
    screen.local(&local);
    screen.remote(&answer);
    if terminal {
        output::control(CLEAR_BELOW);
    } else {
        output::line("");
    }
}

/// Notified when the user or the system wants an end.
fn stop() -> std::io::Result<Arc<Notify>> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let stop = Arc::new(Notify::new());
    let told = Arc::clone(&stop);
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        if signals.forever().next().is_some() {
            told.notify_one();
        }
    })?;
    Ok(stop)
}
