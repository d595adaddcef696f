//! What may be typed: commands, arguments, and what their help says.

use super::health::HealthArgs;
use super::output::EXIT_STATUSES;
use super::{explain, import, manual};
use crate::envelope::KeyId;
use clap::{Args, Parser, Subcommand, ValueHint};
use std::ffi::OsString;
use std::path::PathBuf;

/// What stands beneath a command's help, each as it is typed after `relinkd`.
macro_rules! examples {
    ($typed:literal) => { concat!("Example:\n  relinkd ", $typed) };
    ($($typed:literal),+) => { concat!("Examples:", $("\n  relinkd ", $typed),+) };
}

/// Keeps helpdesk links in Postgres in step with the portal tokens of their users.
#[derive(Debug, Parser)]
#[command(
    name = "relinkd",
    version,
    about,
    long_about = "Keeps helpdesk links in Postgres in step with the portal tokens of their users.\n\n\
        The daemon (`relinkd run`, started by systemd) listens for changes to tokens and issues and rewrites the \
        affected links in place; tokens are kept encrypted. The other commands set it up and look after it.",
    after_help = examples!("check", "status"),
    after_long_help = exit_status_help(),
    subcommand_required = true,
    arg_required_else_help = true,
    disable_help_subcommand = true
)]
pub struct Cli {
    /// The configuration [default: the file that `RELINKD_CONFIG` names, else /etc/relinkd/config.toml]
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "FILE", value_hint = ValueHint::FilePath)]
    #[arg(env = "RELINKD_CONFIG", hide_env = true)]
    pub(crate) config: Option<PathBuf>,
    /// Say more; twice for everything
    #[arg(short, long, global = true, help_heading = GLOBAL, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Say only what is wrong
    #[arg(short, long, global = true, help_heading = GLOBAL, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// What to do
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Above the options that every command has.
const GLOBAL: &str = "Global options";

fn exit_status_help() -> String {
    let lines = (0..).zip(EXIT_STATUSES).map(|(status, meaning)| format!("\n  {status}  {meaning}"));
    format!("{}\n\nExit status:{}", examples!("check", "status"), lines.collect::<String>())
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the daemon in the foreground
    #[command(after_help = examples!("run"))]
    Run,
    /// Say what is right and what is not, each with the command that mends it
    #[command(
        long_about = "Says, line by line, what is right and what is not with the configuration, the keyring, the spool and \
            the database, each fault and warning with the command that mends it (of the shell, or SQL where it ends with \
            a semicolon). Changes nothing. Warnings do not change the exit status; of several faults the first group \
            decides: configuration 4, keyring 6, spool 1, database 5.",
        after_help = examples!("check", "check --offline")
    )]
    Check {
        /// Leave the database out
        #[arg(long)]
        offline: bool,
    },
    /// Create or upgrade schema relinkd, its triggers and the daemon's grants
    #[command(
        long_about = "Creates or upgrades schema relinkd and the triggers, grants the daemon's role what it needs and \
            no more, queues all users once, and ends by saying what will change. Safe to repeat, on a live bot.",
        after_help = examples!("install", "install --admin-url postgresql://postgres@/okdesk_bot --role relinkd", "install --print")
    )]
    Install(InstallArgs),
    /// Remove every trace from the database but the sealed tokens, the links and the role
    #[command(
        after_help = examples!("uninstall --unseal", "uninstall --keep-sealed --admin-url postgresql://postgres@/okdesk_bot")
    )]
    Uninstall(UninstallArgs),
    /// Set, show, list and remove tokens
    #[command(subcommand, after_help = examples!("token list"))]
    Token(TokenCommand),
    /// Say who set, removed and looked at tokens, and when
    #[command(
        long_about = "Says who set, removed and looked at tokens: when, whose, what was done (set, removed, sealed, revealed), by \
            which way (cli, spool, bot), by whom and with which file, the newest last. `by` is who logged in, behind su and \
            sudo, or the owner of the drop file; of what the bot wrote it is not known. A token is never in it. Rows older \
            than history.keep are gone.",
        after_help = examples!("history", "history 413129274 --since 24h", "history --since 2026-11-01 --json")
    )]
    History(HistoryArgs),
    /// Bring links into form now, in this process
    #[command(
        long_about = "Brings all links (or those of these users) into form now, in this process; works without the daemon.",
        after_help = examples!("sync --dry-run", "sync --dry-run --summary", "sync 413129274")
    )]
    Sync(SyncArgs),
    /// Say why a link looks as it does, and what relinkd would write
    #[command(
        long_about = "Says why a link looks as it does: its shape, the user and their token's state, what waits, and what \
            relinkd would write; where the link is none of the portal's issue links, by which rule. Tokens are masked.",
        after_help = examples!("explain 17", "explain --number 4711", "explain --link < link.txt", "explain --user 413129274 --json")
    )]
    Explain(explain::ExplainArgs),
    /// Say how things stand: daemon, spool, server, backlog, triggers, tokens, keys, audit
    #[command(
        long_about = "Says how things stand: first what is local (the daemon on this machine, the spool, the keyring), then what \
            the database tells, or why it does not (exit status 5). Beneath what is not as it should be stand the cause and \
            what mends it; of no list are more than five shown, but with --json.",
        after_help = examples!("status", "status --json", "status --prometheus")
    )]
    Status(StatusArgs),
    /// Say in one line whether all is well, for Nagios, Icinga and their kin
    #[command(
        long_about = "Says in one line whether all is well, with performance data, for Nagios, Icinga and their kin. The exit \
            status is 0 for OK, 1 for WARNING, 2 for CRITICAL and 3 for UNKNOWN. A limit is exceeded by what is above it. \
            Needs what `relinkd status` needs: run it as root, by sudo for one.",
        after_help = examples!("health", "health --backlog-warning 5m --backlog-critical 1h --rejected-critical 20")
    )]
    Health(HealthArgs),
    /// Say what waits in the spool and what was rejected; move it back, or away
    #[command(
        long_about = "Says what waits in the spool, what was rejected and why, and what is not taken; moves rejected files \
            back to incoming/, or deletes them. Works without the database, also for members of the operators' group. \
            What a file says is never shown.",
        after_help = examples!("spool", "spool show tokens.toml", "spool retry tokens.toml")
    )]
    Spool(SpoolArgs),
    /// Make, list, promote and retire keys
    #[command(subcommand, after_help = examples!("key list"))]
    Key(KeyCommand),
    /// Seal every token anew under the primary key
    #[command(
        long_about = "Seals every token anew under the primary key, beside a running bot and daemon. Cut short, it goes on \
            where it was when it is run again.",
        after_help = examples!("rekey")
    )]
    Rekey,
    /// Write the completions of a shell to standard output
    #[command(after_help = examples!("completions bash", "completions zsh", "completions fish"))]
    Completions {
        /// The shell
        #[arg(value_name = "SHELL")]
        shell: manual::completions::Shell,
    },
    /// Write the manual: relinkd(1) to standard output, or every page into a directory
    #[command(after_help = examples!("man", "man --dir man"))]
    Man {
        /// Write relinkd(1), a page for each command and those of the formats into this directory
        #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
        dir: Option<PathBuf>,
    },
}

/// Who speaks to the database, where that is not the daemon's role.
#[derive(Debug, Args)]
pub(crate) struct AdminArgs {
    /// Connect as the tables' owner, or a superuser, instead of with database.url
    #[arg(long, value_name = "URL")]
    pub admin_url: Option<String>,
}

/// Arguments of `install`.
#[derive(Debug, Args)]
pub(crate) struct InstallArgs {
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
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(crate) struct UninstallArgs {
    #[command(flatten)]
    /// The admin.
    pub admin: AdminArgs,
    /// Leave sealed tokens in the column; only the keyring opens them
    #[arg(long, conflicts_with = "unseal")]
    pub keep_sealed: bool,
    /// Write sealed tokens back in plaintext
    #[arg(long)]
    pub unseal: bool,
    /// Make every link plain first
    #[arg(long)]
    pub plain_links: bool,
    /// Go on though a daemon is connected
    #[arg(long)]
    pub force: bool,
}

/// Whose token.
#[derive(Debug, Args)]
pub(crate) struct IdArg {
    /// The user's `telegram_id`
    #[arg(value_name = "ID", value_hint = ValueHint::Other, allow_negative_numbers = true)]
    pub id: i64,
}

/// The `token` commands.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Set a user's token, read from standard input or a prompt
    #[command(
        long_about = "Sets a user's token. The token is read from standard input or, on a terminal, from a prompt without \
            echo; never from the arguments, which every user of the machine can read. Waits until the daemon has \
            rewritten the user's links.",
        after_help = examples!("token set 413129274", "token set 413129274 < token.txt")
    )]
    Set {
        #[command(flatten)]
        id: IdArg,
        /// Do not wait for the daemon
        #[arg(long)]
        no_wait: bool,
        /// Refused: a token in the arguments
        #[arg(value_name = "TOKEN", hide = true)]
        token: Option<String>,
    },
    /// Show a user's token, masked
    #[command(after_help = examples!("token show 413129274", "token show 413129274 --reveal"))]
    Show {
        #[command(flatten)]
        id: IdArg,
        /// Show all of it
        #[arg(long)]
        reveal: bool,
    },
    /// List users and the state of their tokens, masked
    #[command(after_help = examples!("token list", "token list --json"))]
    List {
        /// Write JSON
        #[arg(long)]
        json: bool,
    },
    /// Set many tokens at once, from a spreadsheet's table
    #[command(
        long_about = "Sets many users' tokens at once, from a table that a spreadsheet saved as CSV (or as Unicode text). \
            Separator, quotes, encoding and header are recognised; the columns are those called telegram_id and token, or \
            the two there are, or those that --columns names or numbers. The table is judged like a drop file: all of it \
            is put in force or nothing, and each fault is shown with its line and column. Users who have the token already \
            keep it. Exit status 3: --dry-run found changes.",
        after_help = examples!("token import tokens.csv --dry-run", "token import tokens.csv", "token import tokens.csv --columns 1,3", "token import - < tokens.csv")
    )]
    Import(import::ImportArgs),
    /// Remove a user's token; their links become plain
    #[command(after_help = examples!("token remove 413129274"))]
    Remove {
        #[command(flatten)]
        id: IdArg,
        /// Do not wait for the daemon
        #[arg(long)]
        no_wait: bool,
    },
}

/// Arguments of `history`.
#[derive(Debug, Args)]
pub(crate) struct HistoryArgs {
    /// The user's `telegram_id`; all users when there is none
    #[arg(value_name = "ID", value_hint = ValueHint::Other, allow_negative_numbers = true)]
    pub id: Option<i64>,
    /// From this moment on: so far back (`24h`, `400d`), or a date, with or without a time (RFC 3339)
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Write JSON, one object a line
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `sync`.
#[derive(Debug, Args)]
pub(crate) struct SyncArgs {
    /// The users' `telegram_ids`; all users when there are none
    #[arg(value_name = "ID", value_hint = ValueHint::Other, allow_negative_numbers = true)]
    pub ids: Vec<i64>,
    /// Change nothing; show each link as it is and as it would be, tokens masked
    #[arg(long)]
    pub dry_run: bool,
    /// With --dry-run: only count, by kind
    #[arg(long, requires = "dry_run")]
    pub summary: bool,
    /// Write JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `status`.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Write JSON
    #[arg(long, conflicts_with_all = ["prometheus", "watch"])]
    pub json: bool,
    /// Write metrics in Prometheus' text format
    #[arg(long, conflicts_with = "watch")]
    pub prometheus: bool,
    /// Show it again every two seconds, in place, until Ctrl-C
    #[arg(long)]
    pub watch: bool,
}

/// Arguments of `spool`.
#[derive(Debug, Args)]
pub(crate) struct SpoolArgs {
    /// The spool's directory [default: the configuration's]
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub directory: Option<PathBuf>,
    /// Write JSON
    #[arg(long)]
    pub json: bool,
    /// What to do; `list` where nothing is said
    #[command(subcommand)]
    pub(crate) command: Option<SpoolCommand>,
}

/// The `spool` commands.
#[derive(Debug, Subcommand)]
pub(crate) enum SpoolCommand {
    /// List what waits, was rejected, or is not taken
    #[command(after_help = examples!("spool list", "spool list --json"))]
    List {
        /// Write JSON
        #[arg(long)]
        json: bool,
    },
    /// Say how it stands with a file, and why it was rejected
    #[command(after_help = examples!("spool show tokens.toml"))]
    Show {
        /// The file's name, as `list` shows it
        #[arg(value_name = "NAME")]
        name: OsString,
    },
    /// Move rejected files back to incoming/, to be taken again
    #[command(
        long_about = "Moves rejected files back to incoming/, to be taken again, and deletes their reasons. A name that is \
            taken there gets a number; nothing is overwritten.",
        after_help = examples!("spool retry tokens.toml")
    )]
    Retry {
        /// The files' names in rejected/
        #[arg(value_name = "NAME", required = true)]
        names: Vec<OsString>,
    },
    /// Delete rejected files and their reasons
    #[command(after_help = examples!("spool discard tokens.toml"))]
    Discard {
        /// The files' names in rejected/
        #[arg(value_name = "NAME", required = true)]
        names: Vec<OsString>,
    },
}

/// Whether the daemon is told of a key.
#[derive(Debug, Args)]
pub(crate) struct ReloadArg {
    /// Have a running daemon read the keyring again: systemctl reload
    #[arg(long)]
    pub reload: bool,
}

/// The `key` commands.
#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a new key; makes the keyring file when there is none
    #[command(
        long_about = "Makes a new key, and the keyring file when there is none. No id is used that a stored token names, for \
            the new key would not open it: the database is looked into first.",
        after_help = examples!("key generate", "key generate --id k2026b")
    )]
    Generate {
        /// The key's id: 1 to 16 of a-z and 0-9 [default: k, the year, a letter]
        #[arg(long, value_name = "KID", value_hint = ValueHint::Other, value_parser = KeyId::parse)]
        id: Option<KeyId>,
        /// Do not look into the database
        #[arg(long)]
        offline: bool,
        #[command(flatten)]
        reload: ReloadArg,
    },
    /// List the keys, never the keys themselves
    #[command(after_help = examples!("key list"))]
    List,
    /// Make a key the one that seals
    #[command(after_help = examples!("key promote k2026b --reload"))]
    Promote {
        /// The key's id
        #[arg(value_name = "KID", value_hint = ValueHint::Other, value_parser = KeyId::parse)]
        id: KeyId,
        #[command(flatten)]
        reload: ReloadArg,
    },
    /// Move a key under the retired ones: it opens, and never seals
    #[command(after_help = examples!("key retire k2026a", "key retire k2026a --destroy"))]
    Retire {
        /// The key's id
        #[arg(value_name = "KID", value_hint = ValueHint::Other, value_parser = KeyId::parse)]
        id: KeyId,
        /// Remove the key for good; backups sealed with it can never be opened again
        #[arg(long)]
        destroy: bool,
        #[command(flatten)]
        reload: ReloadArg,
    },
}
