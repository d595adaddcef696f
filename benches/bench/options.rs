//! What can be asked of the bench, and how large each row is.

use clap::Parser;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Measures relinkd on this machine.
#[derive(Debug, Parser)]
#[command(name = "scripts/bench")]
#[expect(clippy::struct_excessive_bools, reason = "flags of a command")]
pub(crate) struct Options {
    /// The program to measure
    #[arg(long, value_name = "PATH", default_value = "target/release/relinkd")]
    pub(crate) binary: PathBuf,
    /// Another version of it, measured in the same rounds and shown in a column of its own
    #[arg(long, value_name = "PATH")]
    pub(crate) baseline: Option<PathBuf>,
    /// Run this row alone; may be repeated
    #[arg(long, value_name = "NAME")]
    pub(crate) only: Vec<String>,
    /// Show the rows
    #[arg(long)]
    pub(crate) list: bool,
    /// Small sizes and one round: shows that every row runs, its figures mean nothing
    #[arg(long)]
    pub(crate) quick: bool,
    /// Interleaved rounds; figures are medians of them
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// How long pgbench runs each time
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// Samples of a latency, over all rounds
    #[arg(long, value_name = "N")]
    samples: Option<usize>,
    /// Links in the rows about bulk
    #[arg(long, value_name = "N")]
    links: Option<i64>,
    /// Issues in the large table of row `size`; the small one has a hundredth of it
    #[arg(long, value_name = "N")]
    big: Option<i64>,
    /// Changes that go through in row `churn`
    #[arg(long, value_name = "N")]
    changes: Option<i64>,
    /// Seconds for which row `pin` leaves a snapshot open
    #[arg(long, value_name = "SECONDS")]
    pin: Option<u64>,
    /// Lay each user's issues side by side, instead of scattered over the table as they come in over the years
    #[arg(long)]
    pub(crate) grouped: bool,
    /// A setting of the private cluster, NAME=VALUE; may be repeated
    #[arg(long, value_name = "SETTING")]
    pub(crate) setting: Vec<String>,
    /// Where results.json and the plots go
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    output: PathBuf,
    /// Measure nothing: write docs/performance.md, its plots and the README's figures from this results.json; may be
    /// repeated, and rows of a later file take the place of the same ones of an earlier
    #[arg(long, value_name = "FILE")]
    pub(crate) document: Vec<PathBuf>,
    /// Measure nothing: be the listener that relinkd is compared with
    #[arg(long, hide = true, value_name = "TARGET")]
    pub(crate) blind_listener: Option<String>,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// How large each row is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Sizes {
    pub(crate) rounds: usize,
    pub(crate) seconds: u64,
    pub(crate) samples: usize,
    pub(crate) links: i64,
    pub(crate) big: i64,
    pub(crate) changes: i64,
    pub(crate) pin_seconds: u64,
    pub(crate) import: i64,
    pub(crate) files: i64,
    pub(crate) idle_seconds: u64,
}

impl Options {
    /// The sizes asked for; those of a smoke run with `--quick`, where not said otherwise.
    pub(crate) fn sizes(&self) -> Sizes {
        let quick = self.quick;
        Sizes {
            rounds: self.rounds.unwrap_or(if quick { 1 } else { 5 }).max(1),
            seconds: self.seconds.unwrap_or(if quick { 2 } else { 5 }).max(1),
            samples: self.samples.unwrap_or(if quick { 10 } else { 1000 }),
            links: self.links.unwrap_or(if quick { 5_000 } else { 1_000_000 }),
            big: self.big.unwrap_or(if quick { 100_000 } else { 10_000_000 }),
            changes: self.changes.unwrap_or(if quick { 10_000 } else { 10_000_000 }),
            pin_seconds: self.pin.unwrap_or(if quick { 3 } else { 300 }),
            import: if quick { 2_000 } else { 200_000 },
            files: if quick { 50 } else { 9_000 },
            idle_seconds: if quick { 3 } else { 30 },
        }
    }

    /// Where results go.
    pub(crate) fn output(&self) -> PathBuf {
        self.output.clone()
    }
}
