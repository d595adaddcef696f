//! Parses, calls, reports.

use relinkd::cli::{self, Cli};
use std::process::ExitCode;

fn main() -> ExitCode {
    relinkd::process::harden();
    match cli::dispatch(Cli::of_process()) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            failure.report();
            failure.exit.into()
        }
    }
}
