//! A progress bar on a terminal; nothing elsewhere.

use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use std::fmt::Write;
use std::io::IsTerminal;

/// A bar that counts up to a known number, with rate and time left.
pub(super) struct Progress(Option<ProgressBar>);

impl Progress {
    /// A bar for so many of these things.
    pub(super) fn new(things: &'static str, total: usize) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self(None);
        }
        let style = ProgressStyle::with_template("{bar:40} {pos}/{len} {msg}, {rate}/s, {eta} left")
            .expect("the template is a valid one")
            .with_key("rate", |state: &ProgressState, out: &mut dyn Write| {
                let _ = write!(out, "{:.0}", state.per_sec());
            });
        let bar = ProgressBar::new(total as u64).with_style(style).with_message(things);
        Self(Some(bar))
    }

    /// Counts on.
    pub(super) fn advance(&self, by: usize) {
        if let Some(bar) = &self.0 {
            bar.inc(by as u64);
        }
    }

    /// Takes the bar away.
    pub(super) fn finish(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
