//! The command line: what can be typed, and one file a command for what it means.
//!
//! Help, man pages and completions come from the definitions here.

mod check;
mod database;
mod diff;
mod explain;
mod install;
mod keys;
mod manual;
mod output;
mod progress;
mod prompt;
mod rekey;
mod run;
mod status;
mod sync;
mod table;
mod token;
mod uninstall;

pub use output::Exit;

use crate::telemetry;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, Parser, Subcommand};
use log::LevelFilter;
use std::path::PathBuf;

/// Keeps helpdesk links in Postgres in step with the portal tokens of their users.
#[derive(Debug, Parser)]
#[command(
    name = "relinkd",
    version,
    about,
    long_about = "Keeps helpdesk links in Postgres in step with the portal tokens of their users.\n\n\
        The daemon (`relinkd run`, started by systemd) listens for changes to tokens and issues and rewrites the \
        affected links in place; tokens are kept encrypted. The other commands set it up and look after it.",
    after_help = "Examples:\n  relinkd check\n  relinkd status",
    after_long_help = EXIT_STATUS,
    subcommand_required = true,
    arg_required_else_help = true,
    disable_help_subcommand = true
)]
pub struct Cli {
    /// The configuration file [default: /etc/relinkd/config.toml]
    #[arg(long, global = true, value_name = "FILE", env = "RELINKD_CONFIG", hide_env_values = true)]
    pub config: Option<PathBuf>,
    /// Say more; twice for everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Say only what is wrong
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_STATUS: &str = "Examples:\n  relinkd check\n  relinkd status\n\n\
    Exit status:\n  0  done\n  1  failed, or refused\n  2  wrong usage\n  3  --dry-run found changes\n  \
    4  configuration\n  5  database\n  6  key\n  7  done in part";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon in the foreground
    #[command(after_help = "Example:\n  relinkd run")]
    Run,
    /// Say what is right and what is not, each with the command that mends it
    #[command(
        long_about = "Says, line by line, what is right and what is not with the configuration, the keyring, the spool and \
            the database, each fault and warning with the command that mends it (of the shell, or SQL where it ends with \
            a semicolon). Changes nothing. Warnings do not change the exit status; of several faults the first group \
            decides: configuration 4, keyring 6, spool 1, database 5.",
        after_help = "Examples:\n  relinkd check\n  relinkd check --offline"
    )]
    Check(CheckArgs),
    /// Create or upgrade schema relinkd, its triggers and the daemon's grants
    #[command(
        long_about = "Creates or upgrades schema relinkd and the triggers, grants the daemon's role what it needs and \
            no more, queues all users once, and ends by saying what will change. Safe to repeat, on a live bot.",
        after_help = "Examples:\n  relinkd install\n  relinkd install --admin-url postgresql://postgres@/okdesk_bot --role relinkd\n  \
            relinkd install --print"
    )]
    Install(InstallArgs),
    /// Remove every trace from the database but the sealed tokens, the links and the role
    #[command(
        after_help = "Examples:\n  relinkd uninstall --unseal\n  relinkd uninstall --keep-sealed --admin-url postgresql://postgres@/okdesk_bot"
    )]
    Uninstall(UninstallArgs),
    /// Set, show, list and remove tokens
    #[command(subcommand, after_help = "Example:\n  relinkd token list")]
    Token(TokenCommand),
    /// Bring links into form now, in this process
    #[command(
        long_about = "Brings all links (or those of these users) into form now, in this process; works without the daemon.",
        after_help = "Examples:\n  relinkd sync --dry-run\n  relinkd sync 413129274"
    )]
    Sync(SyncArgs),
    /// Say why a link looks as it does, and what relinkd would write
    #[command(after_help = "Examples:\n  relinkd explain 17\n  relinkd explain --user 413129274")]
    Explain(ExplainArgs),
    /// Say how things stand: server, daemons, backlog, tokens, spool, audit
    #[command(after_help = "Examples:\n  relinkd status\n  relinkd status --json")]
    Status(StatusArgs),
    /// Make, list, promote and retire keys
    #[command(subcommand, after_help = "Example:\n  relinkd key list")]
    Key(KeyCommand),
    /// Seal every token anew under the primary key
    #[command(
        long_about = "Seals every token anew under the primary key, beside a running bot and daemon. Cut short, it goes on \
            where it was when it is run again.",
        after_help = "Example:\n  relinkd rekey"
    )]
    Rekey,
    /// Write the completions of a shell to standard output
    #[command(
        after_help = "Examples:\n  relinkd completions bash\n  relinkd completions zsh\n  relinkd completions fish"
    )]
    Completions {
        /// The shell
        #[arg(value_name = "SHELL")]
        shell: clap_complete::Shell,
    },
    /// Write the manual: relinkd(1) to standard output, or every page into a directory
    #[command(after_help = "Examples:\n  relinkd man\n  relinkd man --dir man")]
    Man(ManArgs),
}

/// Arguments of `man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Write relinkd(1), a page for each command, relinkd-config(5) and relinkd-assignment(5) into this directory
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// Arguments of `check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Leave the database out
    #[arg(long)]
    pub offline: bool,
}

/// Who speaks to the database, where that is not the daemon's role.
#[derive(Debug, Args)]
pub struct AdminArgs {
    /// Connect as the tables' owner, or a superuser, instead of with database.url
    #[arg(long, value_name = "URL")]
    pub admin_url: Option<String>,
}

/// Arguments of `install`.
#[derive(Debug, Args)]
pub struct InstallArgs {
    #[command(flatten)]
    /// The admin.
    pub admin: AdminArgs,
    /// The daemon's role [default: the user in database.url]
    #[arg(long, value_name = "NAME")]
    pub role: Option<String>,
    /// Write the SQL for a DBA to standard output instead
    #[arg(long)]
    pub print: bool,
}

/// Arguments of `uninstall`.
#[derive(Debug, Args)]
pub struct UninstallArgs {
    #[command(flatten)]
    /// The admin.
    pub admin: AdminArgs,
    /// Leave sealed tokens in the column; only the keyring opens them
    #[arg(long, conflicts_with = "unseal")]
    pub keep_sealed: bool,
    /// Write sealed tokens back in plaintext
    #[arg(long)]
    pub unseal: bool,
    /// Go on though a daemon is connected
    #[arg(long)]
    pub force: bool,
}

/// The `token` commands.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Set a user's token, read from standard input or a prompt
    #[command(
        long_about = "Sets a user's token. The token is read from standard input or, on a terminal, from a prompt without \
            echo; never from the arguments, which every user of the machine can read. Waits until the daemon has \
            rewritten the user's links.",
        after_help = "Examples:\n  relinkd token set 413129274\n  relinkd token set 413129274 < token.txt"
    )]
    Set {
        /// The user's `telegram_id`
        #[arg(value_name = "ID", allow_negative_numbers = true)]
        id: i64,
        /// Do not wait for the daemon
        #[arg(long)]
        no_wait: bool,
        /// Refused: a token in the arguments
        #[arg(value_name = "TOKEN", hide = true)]
        token: Option<String>,
    },
    /// Show a user's token, masked
    #[command(
        after_help = "Examples:\n  relinkd token show 413129274\n  relinkd token show 413129274 --reveal"
    )]
    Show {
        /// The user's `telegram_id`
        #[arg(value_name = "ID", allow_negative_numbers = true)]
        id: i64,
        /// Show all of it
        #[arg(long)]
        reveal: bool,
    },
    /// List users and the state of their tokens, masked
    #[command(after_help = "Examples:\n  relinkd token list\n  relinkd token list --json")]
    List {
        /// Write JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove a user's token; their links become plain
    #[command(after_help = "Example:\n  relinkd token remove 413129274")]
    Remove {
        /// The user's `telegram_id`
        #[arg(value_name = "ID", allow_negative_numbers = true)]
        id: i64,
        /// Do not wait for the daemon
        #[arg(long)]
        no_wait: bool,
    },
}

/// Arguments of `sync`.
#[derive(Debug, Args)]
pub struct SyncArgs {
    /// The users' `telegram_ids`; all users when there are none
    #[arg(value_name = "ID", allow_negative_numbers = true)]
    pub ids: Vec<i64>,
    /// Change nothing; show each link as it is and as it would be, tokens masked
    #[arg(long)]
    pub dry_run: bool,
    /// Write JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// The issue's id in the bot's table
    #[arg(
        value_name = "ISSUE",
        required_unless_present = "user",
        conflicts_with = "user",
        allow_negative_numbers = true
    )]
    pub issue: Option<i64>,
    /// A user's `telegram_id`
    #[arg(long, value_name = "ID", allow_negative_numbers = true)]
    pub user: Option<i64>,
}

/// Arguments of `status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Write JSON
    #[arg(long)]
    pub json: bool,
}

/// The `key` commands.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a new key; makes the keyring file when there is none
    #[command(after_help = "Examples:\n  relinkd key generate\n  relinkd key generate --id k2026b")]
    Generate {
        /// The key's id: 1 to 16 of a-z and 0-9 [default: k, the year, a letter]
        #[arg(long, value_name = "KID")]
        id: Option<String>,
    },
    /// List the keys, never the keys themselves
    #[command(after_help = "Example:\n  relinkd key list")]
    List,
    /// Make a key the one that seals
    #[command(after_help = "Example:\n  relinkd key promote k2026b")]
    Promote {
        /// The key's id
        #[arg(value_name = "KID")]
        id: String,
    },
    /// Move a key under the retired ones: it opens, and never seals
    #[command(after_help = "Examples:\n  relinkd key retire k2026a\n  relinkd key retire k2026a --destroy")]
    Retire {
        /// The key's id
        #[arg(value_name = "KID")]
        id: String,
        /// Remove the key for good; backups sealed with it can never be opened again
        #[arg(long)]
        destroy: bool,
    },
}

impl Cli {
    /// The arguments of this process. Ends it where they are wrong, or ask for help.
    #[must_use]
    pub fn of_process() -> Self {
        Self::try_parse().unwrap_or_else(|error| without_values(error).exit())
    }
}

/// The same complaint without what may be a token in the wrong place: whatever is no plain word or flag.
fn without_values(mut error: clap::Error) -> clap::Error {
    let value_is_free = error.kind() == ErrorKind::ValueValidation;
    let argument_is_known = error.kind() != ErrorKind::UnknownArgument;
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
            error.remove(ContextKind::Suggested);
        }
    }
    error
}

/// Does what was asked for; returns the exit status.
///
/// # Errors
/// With the exit status, the cause, and what to do next.
pub fn dispatch(cli: Cli) -> Result<Exit, output::Failure> {
    // The environment's is there for the next command, too.
    let named = cli.config.is_some() && std::env::var_os("RELINKD_CONFIG").map(PathBuf::from) != cli.config;
    let config = crate::config::path(cli.config);
    let usual = if matches!(cli.command, Command::Run) { LevelFilter::Info } else { LevelFilter::Warn };
    telemetry::init(match (cli.quiet, cli.verbose) {
        (true, _) => LevelFilter::Warn,
        (false, 0) => usual,
        (false, 1) => LevelFilter::Debug,
        (false, _) => LevelFilter::Trace,
    });
    let exit = match cli.command {
        Command::Check(args) => check::run(&config, &args, named, cli.quiet),
        Command::Run => run::run(&config),
        Command::Install(args) => install::run(&config, &args, cli.quiet),
        Command::Uninstall(args) => uninstall::run(&config, &args),
        Command::Token(command) => token::run(&config, command),
        Command::Sync(args) => sync::run(&config, &args),
        Command::Status(args) => status::run(&config, &args),
        Command::Key(command) => keys::run(&config, command),
        Command::Explain(args) => explain::run(&config, &args),
        Command::Rekey => rekey::run(&config),
        Command::Completions { shell } => Ok(manual::completions(shell)),
        Command::Man(args) => manual::man(&args),
    }?;
    output::finish(exit)
}
