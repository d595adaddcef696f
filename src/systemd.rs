//! What systemd wants to be told (`sd_notify(3))`: ready, status, reloading, stopping, and that the watchdog may rest.
//!
//! Without `NOTIFY_SOCKET` every call does nothing.

use crate::printable::Printable;
use sd_notify::NotifyState;
use std::time::Duration;

/// Tells systemd that the service is up.
pub(crate) fn ready() {
    notify(&[NotifyState::Ready]);
}

/// Systemd throws away what is longer than 4,096 bytes, and a character has at most four.
const STATUS_MAX: usize = 1_000;

/// Tells systemd what the daemon is doing, in one line: a line break would begin another field of the protocol.
pub(crate) fn status(text: &str) {
    notify(&[NotifyState::Status(Printable::text(text).shortened(STATUS_MAX).as_str())]);
}

/// Tells systemd that the daemon is on its way out.
pub(crate) fn stopping() {
    notify(&[NotifyState::Stopping]);
}

/// Feeds the watchdog.
pub(crate) fn alive() {
    notify(&[NotifyState::Watchdog]);
}

/// How often systemd wants to be fed, if the unit has a watchdog: half its `WatchdogSec=`.
pub(crate) fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|timeout| timeout / 2)
}

fn notify(states: &[NotifyState]) {
    if let Err(error) = sd_notify::notify(states) {
        log::debug!("systemd cannot be notified: {error}");
    }
}
