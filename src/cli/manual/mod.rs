//! `relinkd man` and `relinkd completions`: made from the same definitions as `--help`.
//!
//! What is no command's (environment, files, signals) and the formats have pages, and parts of pages, written by hand:
//! `docs/man`.

pub(super) mod completions;
mod page;

use super::Cli;
use super::output::{self, Exit, Failure, OrFail as _};
use clap::{Command, CommandFactory};
use std::fs;
use std::path::Path;

/// The pages of section 5.
const FORMATS: [(&str, &str); 3] = [
    ("relinkd-config.5", include_str!("../../../docs/man/relinkd-config.5")),
    ("relinkd-keyring.5", include_str!("../../../docs/man/relinkd-keyring.5")),
    ("relinkd-assignment.5", include_str!("../../../docs/man/relinkd-assignment.5")),
];

/// Writes relinkd(1) to standard output, or every page into a directory.
pub(super) fn man(directory: Option<&Path>) -> Result<Exit, Failure> {
    let mut root = Cli::command();
    root.build();
    let Some(directory) = directory else {
        output::script(page::page(&root, &[]).trim_end());
        return Ok(Exit::Done);
    };
    written(directory, fs::create_dir_all(directory))?;
    write_all(&root, &[], directory)?;
    for (name, page) in FORMATS {
        write(&directory.join(name), page)?;
    }
    output::line(format!("the manual pages are in {}", directory.display()));
    Ok(Exit::Done)
}

/// The page of a command, and those of the commands below it.
fn write_all(command: &Command, above: &[&Command], directory: &Path) -> Result<(), Failure> {
    let file = format!("{}.1", page::name(command));
    write(&directory.join(file), &page::page(command, above))?;
    let above: Vec<&Command> = above.iter().copied().chain([command]).collect();
    command.get_subcommands().try_for_each(|inner| write_all(inner, &above, directory))
}

fn write(path: &Path, page: &str) -> Result<(), Failure> {
    written(path, fs::write(path, page))
}

fn written(path: &Path, done: std::io::Result<()>) -> Result<(), Failure> {
    let what = format_args!("{} cannot be written", path.display());
    done.or_fail(Exit::Failed, what, "name a directory that you may write to: relinkd man --dir DIR")
}
