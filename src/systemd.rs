//! What systemd wants to be told (`sd_notify(3))`: ready, status, reloading, stopping, and that the watchdog may rest.
//!
//! Without `NOTIFY_SOCKET` every call does nothing.

use sd_notify::NotifyState;
use std::time::Duration;

/// Tells systemd that the service is up.
pub fn ready() {
    notify(&[NotifyState::Ready]);
}

/// Tells systemd what the daemon is doing, in one line.
pub fn status(text: &str) {
    notify(&[NotifyState::Status(text)]);
}

/// Tells systemd that the daemon is on its way out.
pub fn stopping() {
    notify(&[NotifyState::Stopping]);
}

/// Feeds the watchdog.
pub fn alive() {
    notify(&[NotifyState::Watchdog]);
}

/// How often systemd wants to be fed, if the unit has a watchdog: half its `WatchdogSec=`.
#[must_use]
pub fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|timeout| timeout / 2)
}

fn notify(states: &[NotifyState]) {
    if let Err(error) = sd_notify::notify(states) {
        log::debug!("systemd cannot be notified: {error}");
    }
}
