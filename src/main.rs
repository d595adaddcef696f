//! Parses, calls, reports.

use clap::Parser;
use relinkd::cli::{self, Cli};
use std::process::ExitCode;

fn main() -> ExitCode {
    relinkd::process::harden();
    match cli::dispatch(Cli::parse()) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            failure.report();
            failure.exit.into()
        }
    }
}
