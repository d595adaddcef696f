//! A question whose answer is not shown: on the terminal, or on standard input where that is none.

use super::output::{Exit, Failure, OrFail as _};
use crate::printable::Printable;
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use zeroize::Zeroizing;

/// Asks, and reads a line without echo. The echo is off before the question is there, so that not even an answer that
/// comes at once is shown.
pub(super) fn secret(question: &str) -> io::Result<Zeroizing<String>> {
    let terminal = File::options().read(true).write(true).open("/dev/tty")?;
    let _silence = Silence::of(&terminal)?;
    rpassword::prompt_password(Printable::text(question)).map(Zeroizing::new)
}

/// What is asked for by its name on a terminal; else what stands on standard input, of which no more than `limit` bytes
/// are read. `next` is what to do where it cannot be read.
pub(super) fn secret_or_input(what: &str, limit: usize, next: &str) -> Result<Zeroizing<String>, Failure> {
    let read = if io::stdin().is_terminal() {
        secret(&format!("{what}: "))
    } else {
        let mut text = Zeroizing::new(String::with_capacity(limit));
        io::stdin().lock().take(limit as u64).read_to_string(&mut text).map(|_| text)
    };
    read.or_fail(Exit::Failed, format_args!("the {} cannot be read", what.to_lowercase()), next)
}

/// A terminal without echo; it is as before when this goes.
struct Silence<'t> {
    terminal: &'t File,
    before: Termios,
}

impl<'t> Silence<'t> {
    fn of(terminal: &'t File) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut silent = before.clone();
        silent.local_flags.remove(LocalFlags::ECHO);
        tcsetattr(terminal, SetArg::TCSANOW, &silent)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Silence<'_> {
    fn drop(&mut self) {
        // A terminal that has gone needs nothing any more.
        let _ = tcsetattr(self.terminal, SetArg::TCSANOW, &self.before);
    }
}
