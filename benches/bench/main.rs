//! Measures relinkd on this machine: prints figures beside their goals, and writes JSON, plots and docs/performance.md.
//!
//! Run by `scripts/bench`, which says how. The program under test is a release binary, driven over what it promises its
//! users: commands, the bot's tables, the spool and `status --json`; so an older binary is measured by the same code.
//! Nothing here is a test: no figure ever fails the test suite.
#![allow(clippy::unwrap_used, reason = "a bench fails by panicking; main turns that into a failed row")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for a terminal")]

mod blind;
mod daemon;
mod data;
mod figure;
mod lab;
mod machine;
mod options;
mod pgbench;
mod prober;
mod proxy;
mod racer;
#[allow(clippy::format_push_string, reason = "a report is built from lines, once a run")]
mod report;
mod rows;
mod site;
mod sql;
#[path = "../../tests/it/support/mod.rs"]
mod support;

use clap::Parser;
use figure::{Results, Sheet};
use lab::Lab;
use options::Options;

fn main() {
    let options = Options::parse();
    if let Some(target) = &options.blind_listener {
        blind::listen(target);
    } else if options.list {
        for row in &rows::ALL {
            println!("{:<14} {}", row.name, row.about);
        }
    } else if let Some((first, later)) = options.document.split_first() {
        let mut results = Results::read(first);
        for file in later {
            results.renew(Results::read(file));
        }
        report::document(&results);
    } else {
        measure(options);
    }
}

fn measure(options: Options) {
    let wanted = rows::wanted(&options.only);
    let lab = Lab::open(options);
    let mut results = Results::new(&lab);
    for row in wanted {
        eprintln!("== {}: {}", row.name, row.about);
        let mut sheet = Sheet::new(row.name);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| (row.run)(&lab, &mut sheet)));
        results.add(sheet, outcome.is_err());
        results.write(&lab.options.output());
    }
    print!("{}", report::table(&results));
    report::plots(&results, &lab.options.output());
    eprintln!("written to {}", lab.options.output().display());
}
