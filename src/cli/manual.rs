//! `relinkd completions` and `relinkd man`: made from the same definitions as `--help`.
//!
//! The two formats have pages of their own, written by hand: `docs/man/*.5`.

use super::output::{self, Exit, Failure};
use super::{Cli, ManArgs};
use clap::CommandFactory;
use clap_complete::Shell;
use std::fs;
use std::path::Path;

/// The pages of section 5.
const FORMATS: [(&str, &str); 2] = [
    ("relinkd-config.5", include_str!("../../docs/man/relinkd-config.5")),
    ("relinkd-assignment.5", include_str!("../../docs/man/relinkd-assignment.5")),
];

/// Writes the completions of a shell to standard output.
pub(super) fn completions(shell: Shell) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "relinkd", &mut script);
    output::bytes(&script);
    Exit::Done
}

/// Writes relinkd(1) to standard output, or every page into a directory.
pub(super) fn man(args: &ManArgs) -> Result<Exit, Failure> {
    let Some(directory) = &args.dir else {
        let mut page = Vec::new();
        clap_mangen::Man::new(Cli::command())
            .render(&mut page)
            .map_err(|error| failed(Path::new("-"), &error))?;
        output::bytes(&page);
        return Ok(Exit::Done);
    };
    fs::create_dir_all(directory).map_err(|error| failed(directory, &error))?;
    clap_mangen::generate_to(Cli::command(), directory).map_err(|error| failed(directory, &error))?;
    for (name, page) in FORMATS {
        let path = directory.join(name);
        fs::write(&path, page).map_err(|error| failed(&path, &error))?;
    }
    output::line(format!("the manual pages are in {}", directory.display()));
    Ok(Exit::Done)
}

fn failed(path: &Path, error: &std::io::Error) -> Failure {
    Failure::refused(
        format!("{} cannot be written: {error}", path.display()),
        "name a directory that you may write to: relinkd man --dir DIR",
    )
}
