//! Where a file with a secret is: a path, or a systemd credential.
//!
//! A credential is a name; systemd puts the file into a directory of the unit's. What is neither an absolute path nor
//! a credential's name is refused, since a daemon's working directory is nobody's choice.

use std::path::{Path, PathBuf};

use thiserror::Error;

use super::Environment;

/// What a credential's setting begins with.
const PREFIX: &str = "credential:";

/// Where a file with a secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileSource {
    /// An absolute path.
    Path(PathBuf),
    /// A systemd credential (systemd.exec(5), `LoadCredential=`).
    Credential {
        /// The credential's name.
        name: String,
        /// The unit that has it, for commands that run outside of it.
        unit: String,
    },
}

impl FileSource {
    /// Reads `/absolute/path` or `credential:NAME`, the latter of `unit`.
    ///
    /// # Errors
    /// It is neither.
    pub fn parse(text: &str, unit: &str) -> Result<Self, FileSourceFault> {
        if let Some(name) = text.strip_prefix(PREFIX) {
            let dots = matches!(name, "" | "." | "..");
            if dots || name.len() > 255 || !name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/') {
                return Err(FileSourceFault::CredentialName);
            }
            return Ok(Self::Credential { name: name.to_owned(), unit: unit.to_owned() });
        }
        let path = Path::new(text);
        if !path.is_absolute() || text.contains('\0') {
            return Err(FileSourceFault::Relative);
        }
        Ok(Self::Path(path.to_owned()))
    }

    /// The file's path, as this process sees it.
    ///
    /// # Errors
    /// A credential, outside of its unit, for anybody but root.
    pub fn path(&self, environment: &Environment) -> Result<PathBuf, NoCredential> {
        match self {
            Self::Path(path) => Ok(path.clone()),
            Self::Credential { name, unit } => match &environment.credentials_directory {
                Some(directory) => Ok(directory.join(name)),
                None if environment.root => Ok(Path::new("/run/credentials").join(unit).join(name)),
                None => Err(NoCredential { name: name.clone(), unit: unit.clone() }),
            },
        }
    }

    /// Whether systemd provides the file, which then is not ours to change.
    #[must_use]
    pub fn is_credential(&self) -> bool {
        matches!(self, Self::Credential { .. })
    }
}

/// Why a text names no file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum FileSourceFault {
    /// Not absolute.
    #[error("must be an absolute path, or \"credential:NAME\"")]
    Relative,
    /// What no credential can be called.
    #[error("must name a systemd credential after \"credential:\": a file name without `/` or spaces")]
    CredentialName,
}

/// A credential that this process cannot reach.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the credential `{name}` is there for {unit} alone: run the command as root, while the unit runs")]
pub struct NoCredential {
    name: String,
    unit: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: &str = "relinkd@shop.service";

    #[test]
    fn takes_absolute_paths_and_credentials() {
        assert_eq!(FileSource::parse("/etc/k.toml", UNIT), Ok(FileSource::Path("/etc/k.toml".into())));
        let credential = FileSource::parse("credential:keyring", UNIT).unwrap();
        assert!(credential.is_credential());
        for text in ["", "keyring.toml", "./k", "~/k", "Credential:k", "/a\0b"] {
            assert_eq!(FileSource::parse(text, UNIT), Err(FileSourceFault::Relative), "{text:?}");
        }
        for text in ["credential:", "credential:..", "credential:a/b", "credential:a b", "credential:/etc/k"]
        {
            assert_eq!(FileSource::parse(text, UNIT), Err(FileSourceFault::CredentialName), "{text:?}");
        }
    }

    #[test]
    fn finds_a_credential_inside_and_outside_the_unit() {
        let credential = FileSource::parse("credential:keyring", UNIT).unwrap();
        let inside = Environment { credentials_directory: Some("/run/c".into()), ..Environment::default() };
        assert_eq!(credential.path(&inside).unwrap(), Path::new("/run/c/keyring"));
        let root = Environment { root: true, ..Environment::default() };
        assert_eq!(
            credential.path(&root).unwrap(),
            Path::new("/run/credentials/relinkd@shop.service/keyring")
        );
        assert_eq!(
            credential.path(&Environment::default()).unwrap_err().to_string(),
            "the credential `keyring` is there for relinkd@shop.service alone: run the command as root, while the \
             unit runs"
        );
    }
}
