//! Keeps helpdesk links in Postgres in step with the portal tokens of their users.
//!
//! Which module may know which is in `docs/architecture.md`.

mod backoff;
mod check;
mod cli;
mod config;
mod daemon;
mod db;
mod drop_file;
mod envelope;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod intake;
mod keyring_file;
mod link;
mod metrics;
mod place;
mod plain_links;
mod policy;
mod printable;
mod process;
mod relink;
mod spool;
mod status;
mod systemd;
mod telemetry;
mod token;
mod tokens;

pub use cli::Cli;

/// The program: parses what was typed, does it, and reports.
#[must_use]
pub fn run() -> std::process::ExitCode {
    process::harden();
    cli::dispatch(Cli::of_process()).unwrap_or_else(|failure| {
        failure.report();
        failure.exit.into()
    })
}
