//! The keyring file: read by the daemon and every command, written by the `key` commands.
//!
//! ```toml
//! primary = "k2026a"
//!
//! [keys]
//! k2026a = "43 characters: base64url, no padding, of 32 random bytes"
//!
//! [retired]
//! k2025a = "…"
//! ```
//!
//! Who can write the file, or put another in its place, can have every new token sealed for himself; who can read it
//! can open them all. So the file is judged before it is read (`trust`), and no message shows what it holds.

mod edit;
mod grammar;
mod trust;
mod write;

#[cfg(test)]
mod tests;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use thiserror::Error;

pub use edit::{EditFault, add, destroy, next_id, promote, retire};
pub use grammar::ContentFault;
pub use trust::{Distrust, shell_word};
pub use write::{create, edit};

use super::{Environment, FileSource, NoCredential};
use crate::{envelope::Keyring, place::Place};

/// Reads the keyring of this source, found by this process's environment. Owners that are trusted are root, the
/// effective user, and `accept_owner`, which for a command run by root is the spool's.
///
/// # Errors
/// There is no such file, it is not to be trusted, or it holds no keyring.
pub fn load_keyring(source: &FileSource, accept_owner: Option<u32>) -> Result<Keyring, KeyringError> {
    load_at(&source.path(&Environment::of_process())?, accept_owner)
}

/// As [`load_keyring`], of a file.
pub(super) fn load_at(path: &Path, accept_owner: Option<u32>) -> Result<Keyring, KeyringError> {
    read(path, accept_owner).map(|(keyring, _)| keyring)
}

/// The keyring in this file, and what the system says of the file.
fn read(path: &Path, accept_owner: Option<u32>) -> Result<(Keyring, fs::Metadata), KeyringError> {
    let (mut file, metadata) = trust::open(path, accept_owner)?;
    let keyring = grammar::read(&mut file, path)?;
    Ok((keyring, metadata))
}

/// Why there is no keyring, with the command that mends it where there is one.
#[derive(Debug, Error)]
pub enum KeyringError {
    /// A credential of another process.
    #[error("keyring: {0}")]
    Credential(#[from] NoCredential),
    /// There is no file.
    #[error("there is no keyring {}: make one with `relinkd key generate`", .0.display())]
    Absent(PathBuf),
    /// There is a file where one was to be made.
    #[error("the keyring {} is there already, and is not overwritten", .0.display())]
    Present(PathBuf),
    /// The operating system refuses.
    #[error("keyring {}: {what}: {source}", path.display())]
    System {
        /// The file.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// The file, or where it is, is open to others.
    #[error(transparent)]
    Distrusted(#[from] Distrust),
    /// The file holds no keyring.
    #[error("{}:{place}: {fault}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// Where.
        place: Place,
        /// What.
        fault: ContentFault,
    },
}

impl KeyringError {
    /// What is wrong, and the command that mends it, for a shell. Said together they are the message.
    #[must_use]
    pub fn cause_and_mend(&self) -> (String, Option<String>) {
        let whole = self.to_string();
        let (end, mend) = match self {
            Self::Absent(_) => {
                (": make one with `relinkd key generate`".to_owned(), Some("relinkd key generate".to_owned()))
            }
            Self::Distrusted(distrust) => {
                let mend = distrust.mend();
                (mend.as_ref().map(|mend| format!(": {mend}")).unwrap_or_default(), mend)
            }
            Self::Credential(_) | Self::Present(_) | Self::System { .. } | Self::Content { .. } => {
                (String::new(), None)
            }
        };
        let cause = whole.strip_suffix(&end).expect("the message ends with the command");
        (cause.to_owned(), mend)
    }

    fn system<'p>(path: &'p Path, what: &'static str) -> impl Fn(io::Error) -> Self + use<'p> {
        move |source| Self::System { path: path.to_owned(), what, source }
    }
}
