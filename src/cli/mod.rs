//! The command line: what can be typed ([`args`]: help, man pages and completions come from there), and one file a command
//! for what it means.

mod args;
mod check;
mod database;
mod diff;
mod explain;
mod explained;
mod health;
mod history;
mod import;
mod install;
mod keys;
mod manual;
mod output;
mod progress;
mod prompt;
mod rekey;
mod rows;
mod run;
mod spool;
mod status;
mod sync;
mod table;
mod token;
mod uninstall;

pub use args::Cli;
pub(crate) use args::*;

use crate::telemetry;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser};
use log::LevelFilter;
use std::path::PathBuf;
use std::process::ExitCode;

impl Cli {
    /// The arguments of this process. Ends it where they are wrong, or ask for help.
    pub(crate) fn of_process() -> Self {
        Self::try_parse().unwrap_or_else(|error| {
            let error = without_values(error);
            if error.use_stderr() && health::is_asked_for(std::env::args_os()) {
                health::wrong_usage(&error);
            }
            error.exit()
        })
    }
}

/// The same complaint without what may be a token in the wrong place: whatever is no plain word or flag.
fn without_values(mut error: clap::Error) -> clap::Error {
    let value_is_free = error.kind() == ErrorKind::ValueValidation;
    let argument_is_known = error.kind() != ErrorKind::UnknownArgument;
    // "To pass it as a value, use --" helps nobody here.
    error.remove(ContextKind::Suggested);
    for kind in [ContextKind::InvalidValue, ContextKind::InvalidArg, ContextKind::InvalidSubcommand] {
        let Some(ContextValue::String(quoted)) = error.get(kind) else { continue };
        let word = quoted.chars().all(|c| c.is_ascii_lowercase() || c == '-');
        let shown = match kind {
            ContextKind::InvalidArg => word || argument_is_known,
            ContextKind::InvalidValue => word && !value_is_free,
            _ => word,
        };
        if !shown {
            error.insert(kind, ContextValue::String("…".to_owned()));
        }
    }
    error
}

/// Does what was asked for; returns the exit status.
pub(crate) fn dispatch(cli: Cli) -> Result<ExitCode, output::Failure> {
    // The environment's is there for the next command, too.
    let named = cli.config.is_some() && std::env::var_os("RELINKD_CONFIG").map(PathBuf::from) != cli.config;
    let config = crate::config::path(cli.config);
    // An operator has not the unit's environment.
    let in_hints = named || matches!(cli.command, Command::Run) && !crate::config::is_usual(&config);
    crate::config::set_typed(
        &config,
        in_hints.then(|| crate::keyring_file::shell_word(&config.to_string_lossy())),
        Cli::command().get_subcommands().map(|command| command.get_name().to_owned()).collect(),
    );
    let usual = if matches!(cli.command, Command::Run) { LevelFilter::Info } else { LevelFilter::Warn };
    telemetry::init(match (cli.quiet, cli.verbose) {
        (true, _) => LevelFilter::Warn,
        (false, 0) => usual,
        (false, 1) => LevelFilter::Debug,
        (false, _) => LevelFilter::Trace,
    });
    let exit = match cli.command {
        Command::Check { offline } => check::run(&config, offline, cli.quiet),
        Command::Run => run::run(&config),
        Command::Install(args) => install::run(&config, &args, cli.quiet),
        Command::Uninstall(args) => uninstall::run(&config, &args),
        Command::Token(command) => token::run(&config, command),
        Command::History(args) => history::run(&config, &args),
        Command::Sync(args) => sync::run(&config, &args),
        Command::Status(args) => status::run(&config, &args),
        Command::Health(args) => return output::finish(health::run(&config, &args)),
        Command::Spool(args) => spool::run(&config, args),
        Command::Key(command) => keys::run(&config, command),
        Command::Explain(args) => explain::run(&config, &args),
        Command::Rekey => rekey::run(&config),
        Command::Completions { shell } => Ok(manual::completions::run(shell)),
        Command::Man { dir } => manual::man(dir.as_deref()),
    }?;
    output::finish(exit)
}
