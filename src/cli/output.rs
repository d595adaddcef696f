//! How commands speak: results on standard output, failures on standard error, and the exit statuses of the contract.
//!
//! Whatever is written here is made harmless here ([`Printable`]); layout is made of lines, not of line breaks in them.

use crate::check::Severity;
use crate::config::{self, ConfigError};
use crate::db::DbError;
use crate::envelope::SealFault;
use crate::keyring_file::shell_word;
use crate::policy;
use crate::printable::{self, Printable};
use crate::relink::RelinkError;
use crate::tokens::assign::Obstacle;
use indicatif::HumanCount;
use serde::Serialize;
use std::fmt::Display;
use std::io::{ErrorKind, IsTerminal, Write as _};
use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::Duration;

/// The example of a configuration, as the package has it.
pub(super) const EXAMPLE: &str = "/usr/share/doc/relinkd/examples/config.toml.example";
/// The next step of somebody who may not read a file.
pub(super) const AS_ROOT: &str = "run it as root";
/// The next step where a stored token names a key that the keyring does not have.
const ADD_KEY: &str = "add that key to the keyring again, from a copy of the file";
/// The next step where the operating system refuses what every program may ask for.
pub(super) const SHORT_OF: &str = "see to what the system is short of (ulimit -a), and try again";
/// The next step where the operating system gave no randomness.
pub(super) const NO_RANDOMNESS: &str = "see to the system's random numbers (getrandom(2)), and try again";

/// Exit statuses of commands; `health` has its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Done = 0,
    /// Failed, or refused.
    Failed = 1,
    /// Wrong usage.
    Usage = 2,
    /// `--dry-run` found changes.
    Changes = 3,
    /// The configuration.
    Configuration = 4,
    /// The database.
    Database = 5,
    /// A key.
    Key = 6,
    /// Done in part.
    Partly = 7,
}

/// What the manual says of each exit status, from 0 on.
pub(super) const EXIT_STATUSES: [&str; 8] = [
    "done",
    "failed, or refused",
    "wrong usage",
    "--dry-run found changes",
    "configuration",
    "database",
    "key",
    "done in part",
];

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command failed: one line for the cause, one for what to do next.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The exit status.
    pub exit: Exit,
    /// What went wrong.
    pub cause: Printable,
    /// More lines of the cause, where lines of a file are shown.
    more: Vec<Printable>,
    /// What to do next.
    pub next: Printable,
}

impl Failure {
    /// A failure with its exit status, and what to do next.
    pub(crate) fn new(exit: Exit, cause: impl Display, next: impl Display) -> Self {
        Self { exit, cause: Printable::of(cause), more: Vec::new(), next: Printable::of(next) }
    }

    /// Something refused or failed: exit status 1.
    pub(crate) fn refused(cause: impl Display, next: impl Display) -> Self {
        Self::new(Exit::Failed, cause, next)
    }

    /// What the database has against it.
    pub(crate) fn from_database(error: &DbError) -> Self {
        let next = policy::advice(error)
            .unwrap_or("try again; if it stays so, `relinkd check` says whether the database is in order");
        Self::new(Exit::Database, error, next)
    }

    /// Shows these lines below the cause.
    pub(super) fn with_lines(self, lines: impl IntoIterator<Item = impl Display>) -> Self {
        Self { more: lines.into_iter().map(Printable::of).collect(), ..self }
    }

    /// Says better what to do next.
    pub(crate) fn next(self, next: impl Display) -> Self {
        Self { next: Printable::of(next), ..self }
    }

    /// Writes cause and next step to standard error.
    pub(crate) fn report(&self) {
        let mut stderr = std::io::stderr().lock();
        // Nobody is left to be told when standard error is closed.
        let _ = writeln!(stderr, "relinkd: {}", self.cause);
        for line in &self.more {
            let _ = writeln!(stderr, "{line}");
        }
        let _ = writeln!(stderr, "  next: {}", config::typed(self.next.as_str()));
    }
}

/// What could not be done, and why.
pub(super) trait OrFail<T> {
    /// Fails with `what` and the error behind it, and with what to do next.
    fn or_fail(self, exit: Exit, what: impl Display, next: impl Display) -> Result<T, Failure>;
}

impl<T, E: Display> OrFail<T> for Result<T, E> {
    fn or_fail(self, exit: Exit, what: impl Display, next: impl Display) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(exit, format_args!("{what}: {error}"), next))
    }
}

impl From<DbError> for Failure {
    fn from(error: DbError) -> Self {
        Self::from_database(&error)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let mut lines = Printable::lines(&error.to_string()).into_iter();
        let cause = lines.next().unwrap_or_default();
        Self { more: lines.collect(), ..Self::new(Exit::Configuration, cause, next(&error)) }
    }
}

/// What to do about a configuration that cannot be used.
fn next(error: &ConfigError) -> String {
    match error {
        ConfigError::Unreadable { path, source } => {
            let word = shell_word(&path.to_string_lossy());
            match source.kind() {
                ErrorKind::NotFound => format!(
                    "make it from the example: install -D -m 0640 -g relinkd {EXAMPLE} {word}; or name another: --config FILE"
                ),
                ErrorKind::PermissionDenied => AS_ROOT.to_owned(),
                _ => format!("see what it is: ls -ld {word}"),
            }
        }
        ConfigError::Wrong { path, .. } => {
            let word = shell_word(&path.to_string_lossy());
            format!("correct it: editor {word}, then `relinkd check --offline`")
        }
    }
}

impl From<RelinkError> for Failure {
    fn from(error: RelinkError) -> Self {
        match error {
            RelinkError::Database(error) => error.into(),
            RelinkError::UnknownKey(_) => Self::new(Exit::Key, error, ADD_KEY),
            RelinkError::OtherPortal => Self::refused(
                error,
                "somebody brought other [portal] settings meanwhile: compare the configuration files, then try again",
            ),
            RelinkError::Seal(error) => error.into(),
            RelinkError::NotWritten => {
                let next = "look at the triggers of the users' table: one of them cancels the update";
                Self::new(Exit::Database, error, next)
            }
        }
    }
}

impl From<SealFault> for Failure {
    fn from(error: SealFault) -> Self {
        Self::new(Exit::Key, error, NO_RANDOMNESS)
    }
}

impl From<Obstacle> for Failure {
    fn from(obstacle: Obstacle) -> Self {
        let next = match obstacle {
            Obstacle::RowLocked | Obstacle::Behind => {
                "try again when that transaction is over; pg_stat_activity names sessions that are idle in one"
            }
            Obstacle::NoRoom { .. } => "`relinkd check` shows the command that widens the column",
        };
        Self::new(Exit::Database, obstacle, next)
    }
}

/// Why a result could not be written: the first time counts.
static UNWRITTEN: OnceLock<std::io::Error> = OnceLock::new();

/// Writes a line of a result. What keeps it from being written is told by [`finish`].
pub(super) fn line(text: impl Display) {
    note(writeln!(std::io::stdout().lock(), "{}", config::typed(Printable::of(text).as_str())));
}

/// Writes a line that begins with a word of ours, in the colour of how grave it is (ECMA-48, 8.3.117): on a terminal,
/// unless `NO_COLOR` is set (no-color.org). `before` and `end` may be what a terminal obeys.
pub(super) fn coloured(
    before: &str,
    (word, severity): (&str, Option<Severity>),
    text: impl Display,
    end: &'static str,
) {
    let mut stdout = std::io::stdout().lock();
    let colours = stdout.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let (on, off) = match severity.filter(|_| colours) {
        None => ("", ""),
        Some(Severity::Ok) => ("\x1b[32m", "\x1b[0m"),
        Some(Severity::Warning) => ("\x1b[33m", "\x1b[0m"),
        Some(Severity::Fault) => ("\x1b[31m", "\x1b[0m"),
    };
    let text = Printable::of(text);
    note(writeln!(stdout, "{before}{on}{word}{off} {}{end}", config::typed(text.as_str())));
}

/// Tells a terminal what to do, by a control sequence of ours.
pub(super) fn control(sequence: &'static str) {
    let mut stdout = std::io::stdout().lock();
    note(stdout.write_all(sequence.as_bytes()).and_then(|()| stdout.flush()));
}

/// Writes a JSON document with its version, on a line, its keys in order.
pub(super) fn json(document: impl Serialize) {
    let mut document = serde_json::to_value(document).expect("its keys are strings");
    document["version"] = 1.into();
    note(writeln!(std::io::stdout().lock(), "{}", printable::json(&document.to_string())));
}

/// Writes lines of a script as they are: it must say what it says to the program that reads it.
pub(super) fn script(lines: impl Display) {
    note(writeln!(std::io::stdout().lock(), "{lines}"));
}

/// Keeps why something could not be written.
fn note(written: std::io::Result<()>) {
    if let Err(error) = written {
        UNWRITTEN.get_or_init(|| error);
    }
}

/// Whether writing more is of no use.
pub(super) fn nobody_reads() -> bool {
    UNWRITTEN.get().is_some()
}

/// The end of a command: its exit status stands if all that it had to say was written.
pub(super) fn finish(exit: impl Into<ExitCode>) -> Result<ExitCode, Failure> {
    note(std::io::stdout().lock().flush());
    match UNWRITTEN.get() {
        None => Ok(exit.into()),
        // A reader that has gone (a closed pipe) is no failure.
        Some(error) if error.kind() == ErrorKind::BrokenPipe => Ok(exit.into()),
        Some(error) => Err(Failure::refused(
            format!("the result cannot be written: {error}"),
            "what was asked for is done, but for its words: see to where standard output goes",
        )),
    }
}

/// Writes a line of what is amiss, without failing, to standard error.
pub(super) fn warning(text: impl Display) {
    let text = Printable::of(text);
    let _ = writeln!(std::io::stderr().lock(), "relinkd: warning: {}", config::typed(text.as_str()));
}

/// Writes a command that mends what was warned of.
pub(super) fn mend(command: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "  {}", Printable::of(command));
}

/// A number with its thousands apart.
pub(super) fn count(number: impl TryInto<u64>) -> String {
    HumanCount(number.try_into().unwrap_or_default()).to_string()
}

/// Leaves a line in the system's log (syslog(3), facility authpriv), for who looks at secrets.
pub(super) fn audit_line(text: impl Display) {
    let text = Printable::of(text);
    let sent = std::os::unix::net::UnixDatagram::unbound().and_then(|socket| {
        socket.send_to(format!("<85>relinkd[{}]: {text}", std::process::id()).as_bytes(), "/dev/log")
    });
    if sent.is_err() {
        // No log here: whoever reads standard error sees it at least.
        let _ = writeln!(std::io::stderr().lock(), "{text}");
    }
}

/// A number of things: `1 link`, `2,000 links`.
pub(super) fn things(number: impl TryInto<u64>, thing: &str) -> String {
    let number = count(number);
    let plural = if number == "1" { "" } else { "s" };
    format!("{number} {thing}{plural}")
}

/// Some ids, or whatever else is named, with commas between.
pub(super) fn listed(all: impl IntoIterator<Item = impl Display>) -> String {
    all.into_iter().map(|one| one.to_string()).collect::<Vec<_>>().join(", ")
}

/// Seconds in their largest unit.
pub(super) fn rough_seconds(seconds: f64) -> String {
    rough(Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX))
}

/// A time in its largest unit.
pub(super) fn rough(time: Duration) -> String {
    match time.as_secs() {
        seconds @ ..=119 => format!("{seconds} s"),
        seconds @ ..=7_199 => format!("{} min", seconds / 60),
        seconds @ ..=172_799 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(kind: ErrorKind) -> String {
        let error = ConfigError::Unreadable { path: "/etc/relinkd/a b.toml".into(), source: kind.into() };
        Failure::from(error).next.as_str().to_owned()
    }

    #[test]
    fn who_may_not_read_the_configuration_is_told_as_root() {
        assert_eq!(next(ErrorKind::PermissionDenied), "run it as root");
        assert!(next(ErrorKind::NotFound).contains("config.toml.example '/etc/relinkd/a b.toml'"));
        assert_eq!(next(ErrorKind::IsADirectory), "see what it is: ls -ld '/etc/relinkd/a b.toml'");
    }
}
