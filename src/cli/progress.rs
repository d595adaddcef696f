//! A progress bar on a terminal; nothing elsewhere, as indicatif has it.

use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use std::fmt::Write;

/// A bar that counts up to so many of these things, with rate and time left.
pub(super) fn bar(things: &'static str, total: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} {msg}, {rate}/s, {eta} left")
        .expect("the template is a valid one")
        .with_key("rate", |state: &ProgressState, out: &mut dyn Write| {
            let _ = write!(out, "{:.0}", state.per_sec());
        });
    ProgressBar::new(total as u64).with_style(style).with_message(things)
}
