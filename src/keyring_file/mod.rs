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
//! Whoever can write the file, or put another in its place, can have every new token sealed for himself; whoever can
//! read it can open them all. So the file is judged before it is read (`trust`), and no message shows what it holds.

mod edit;
mod grammar;
mod trust;
mod write;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::{fs, io};
use thiserror::Error;

pub(crate) use edit::{EditFault, add, destroy, next_id, promote, retire};
pub(crate) use trust::shell_word;
pub(crate) use write::{create, edit};

use self::trust::Distrust;
use crate::config::{Environment, FileSource, NoCredential, typed};
use crate::envelope::Keyring;
use crate::place::Place;

/// Reads the keyring of this source, found by this process's environment. Trusted owners are root, the effective
/// user, and `accept_owner`, which for a command run by root is the spool's owner.
pub(crate) fn load(source: &FileSource, accept_owner: Option<u32>) -> Result<Keyring, KeyringError> {
    read(&source.path(&Environment::of_process())?, accept_owner).map(|(keyring, _)| keyring)
}

/// The keyring in this file, and what the system says of the file.
fn read(path: &Path, accept_owner: Option<u32>) -> Result<(Keyring, fs::Metadata), KeyringError> {
    let (mut file, metadata) = trust::open(path, accept_owner)?;
    Ok((grammar::read(&mut file, path)?, metadata))
}

/// The keyring in a file of this text, or what is wrong with it.
#[cfg(any(test, fuzzing))]
pub(crate) fn read_text(text: &str) -> Result<Keyring, String> {
    grammar::parse(text).map_err(|(_, what)| what)
}

/// The text of a file with this keyring.
#[cfg(any(test, fuzzing))]
pub(crate) fn write_text(keyring: &Keyring) -> zeroize::Zeroizing<String> {
    grammar::write(keyring)
}

/// Why there is no keyring. The message is the cause alone; [`KeyringError::mend`] has the command that mends it.
#[derive(Debug, Error)]
pub(crate) enum KeyringError {
    /// A credential of another process.
    #[error("keyring: {0}")]
    Credential(#[from] NoCredential),
    #[error("there is no keyring {}", .0.display())]
    Absent(PathBuf),
    /// There is a file where one was to be made.
    #[error("the keyring {} is there already, and is not overwritten", .0.display())]
    Present(PathBuf),
    /// The operating system refuses what was tried.
    #[error("keyring {}: {what}: {source}", path.display())]
    System { path: PathBuf, what: &'static str, source: io::Error },
    /// The file, or a directory above it, is open to others.
    #[error("the keyring {} {why}", path.display())]
    Distrusted { path: PathBuf, why: Distrust },
    /// The file holds no keyring. What is wrong there repeats nothing of the file but key ids.
    #[error("{}:{place}: {what}", path.display())]
    Content { path: PathBuf, place: Place, what: String },
}

impl KeyringError {
    /// The command that mends it, for a shell; none where it depends on what is there.
    pub(crate) fn mend(&self) -> Option<String> {
        match self {
            Self::Absent(path) => Some(format!(
                "cp -p COPY {} # bring the copy of the keyring back; only where there never was one: relinkd key generate",
                shell_word(&path.to_string_lossy())
            )),
            Self::Distrusted { path, why } => why.mend(path),
            Self::Credential(_) | Self::Present(_) | Self::System { .. } | Self::Content { .. } => None,
        }
    }

    /// The cause and the command that mends it, in one line for a log.
    pub(crate) fn with_mend(&self) -> String {
        self.mend().map_or_else(|| self.to_string(), |mend| format!("{self}: {}", typed(&mend)))
    }

    fn system<'p>(path: &'p Path, what: &'static str) -> impl Fn(io::Error) -> Self + use<'p> {
        move |source| Self::System { path: path.to_owned(), what, source }
    }
}
