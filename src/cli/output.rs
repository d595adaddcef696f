//! How commands speak: results on standard output, failures on standard error, and the exit statuses of the contract.

use crate::assign::AssignError;
use crate::config::ConfigError;
use crate::db::DbError;
use crate::envelope::SealFault;
use crate::policy;
use crate::relinker::RelinkError;
use std::fmt::Display;
use std::io::Write as _;
use std::sync::OnceLock;

/// Exit statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
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

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command failed: one line for the cause, one for what to do next.
#[derive(Debug)]
pub struct Failure {
    /// The exit status.
    pub exit: Exit,
    /// What went wrong; more than one line only where a file's line is shown.
    pub cause: String,
    /// What to do next.
    pub next: String,
}

impl Failure {
    /// A failure with its exit status, and what to do next.
    pub fn new(exit: Exit, cause: impl Display, next: impl Display) -> Self {
        Self { exit, cause: cause.to_string(), next: next.to_string() }
    }

    /// Something refused or failed: exit status 1.
    pub fn refused(cause: impl Display, next: impl Display) -> Self {
        Self::new(Exit::Failed, cause, next)
    }

    /// Says better what to do next.
    #[must_use]
    pub fn next(self, next: impl Display) -> Self {
        Self { next: next.to_string(), ..self }
    }

    /// Writes both lines to standard error.
    pub fn report(&self) {
        let mut stderr = std::io::stderr().lock();
        // Nobody is left to be told when standard error is closed.
        let _ = writeln!(stderr, "relinkd: {}\n  next: {}", self.cause, self.next);
    }
}

impl From<DbError> for Failure {
    fn from(error: DbError) -> Self {
        let next = policy::advice(&error)
            .unwrap_or("try again; if it stays so, `relinkd check` says whether the database is in order");
        Self::new(Exit::Database, &error, next)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::new(Exit::Configuration, error, "correct it, then try `relinkd check --offline`")
    }
}

impl From<RelinkError> for Failure {
    fn from(error: RelinkError) -> Self {
        match error {
            RelinkError::Database(error) => error.into(),
            RelinkError::UnknownKey(_) => {
                Self::new(Exit::Key, error, "add that key to the keyring again, from a copy of the file")
            }
            RelinkError::Seal(error) => error.into(),
        }
    }
}

impl From<SealFault> for Failure {
    fn from(error: SealFault) -> Self {
        Self::new(Exit::Key, error, "see to the system's random numbers (getrandom(2)), and try again")
    }
}

impl From<AssignError> for Failure {
    fn from(error: AssignError) -> Self {
        match error {
            AssignError::Database(error) => error.into(),
            AssignError::Seal(error) => error.into(),
            AssignError::NoRoom { .. } => {
                Self::new(Exit::Database, error, "`relinkd check` shows the command that widens the column")
            }
        }
    }
}

/// Why a result could not be written: the first time counts.
static UNWRITTEN: OnceLock<std::io::Error> = OnceLock::new();

/// Writes a line of a result. What keeps it from being written is told by [`finish`].
pub(super) fn line(text: impl Display) {
    note(writeln!(std::io::stdout().lock(), "{text}"));
}

/// Writes a result that is whole as it is.
pub(super) fn bytes(result: &[u8]) {
    note(std::io::stdout().lock().write_all(result));
}

/// A reader that has gone (a closed pipe) is no failure.
fn note(written: std::io::Result<()>) {
    if let Err(error) = written
        && error.kind() != std::io::ErrorKind::BrokenPipe
    {
        UNWRITTEN.get_or_init(|| error);
    }
}

/// The end of a command: its exit status stands if all that it had to say was written.
///
/// # Errors
/// The result is not where it should go, on a full disk for one.
pub(super) fn finish(exit: Exit) -> Result<Exit, Failure> {
    note(std::io::stdout().lock().flush());
    match UNWRITTEN.get() {
        None => Ok(exit),
        Some(error) => Err(Failure::refused(
            format!("the result cannot be written: {error}"),
            "what was asked for is done, but for its words: see to where standard output goes",
        )),
    }
}

/// Writes a line of what is amiss, without failing, to standard error.
pub(super) fn warning(text: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "relinkd: warning: {text}");
}

/// A number with its thousands apart.
pub(super) fn count(number: impl TryInto<i128>) -> String {
    let digits = number.try_into().unwrap_or_default().to_string();
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits.as_str()), |rest| ("-", rest));
    let groups: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(|group| std::str::from_utf8(group).expect("digits are ASCII"))
        .collect();
    format!("{sign}{}", groups.join(","))
}

/// Leaves a line in the system's log (syslog(3), facility authpriv), for who looks at secrets.
pub(super) fn audit_line(text: &str) {
    let sent = std::os::unix::net::UnixDatagram::unbound().and_then(|socket| {
        socket.send_to(format!("<85>relinkd[{}]: {text}", std::process::id()).as_bytes(), "/dev/log")
    });
    if sent.is_err() {
        // No log here: whoever reads standard error sees it at least.
        let _ = writeln!(std::io::stderr().lock(), "{text}");
    }
}

/// A number of things: `1 link`, `2,000 links`.
pub(super) fn things(number: impl TryInto<i128> + Copy, thing: &str) -> String {
    let plural = if number.try_into().unwrap_or_default() == 1 { "" } else { "s" };
    format!("{} {thing}{plural}", count(number))
}
