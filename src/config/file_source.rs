//! Where a file with a secret is: a path, or a systemd credential.
//!
//! A credential is a name; systemd puts the file into a directory of the unit's. What is neither an absolute path nor
//! a credential's name is refused, since a daemon's working directory is nobody's choice.

use super::Environment;
use std::path::{Path, PathBuf};
use thiserror::Error;

const RELATIVE: &str = "must be an absolute path, or \"credential:NAME\"";
const CREDENTIAL_NAME: &str =
    "must name a systemd credential after \"credential:\": a file name without `/` or spaces";

/// Where a file with a secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FileSource {
    /// An absolute path.
    Path(PathBuf),
    /// A systemd credential (systemd.exec(5), `LoadCredential=`), and the unit that has it.
    Credential { name: String, unit: String },
}

impl FileSource {
    /// Reads `/absolute/path` or `credential:NAME`; whose credential it is, the configuration's name decides.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let Some(name) = text.strip_prefix("credential:") else {
            return absolute(text).map(Self::Path).ok_or(RELATIVE);
        };
        let dots = matches!(name, "" | "." | "..");
        if dots || name.len() > 255 || !name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/') {
            return Err(CREDENTIAL_NAME);
        }
        Ok(Self::Credential { name: name.to_owned(), unit: String::new() })
    }

    /// The file's path, as this process sees it. A credential has none outside of its unit, for anybody but root.
    pub(crate) fn path(&self, environment: &Environment) -> Result<PathBuf, NoCredential> {
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
    pub(crate) fn is_credential(&self) -> bool {
        matches!(self, Self::Credential { .. })
    }
}

/// An absolute path: a daemon has no working directory worth the name.
pub(super) fn absolute(text: &str) -> Option<PathBuf> {
    Some(PathBuf::from(text)).filter(|path| path.is_absolute() && !text.contains('\0'))
}

/// A credential that this process cannot reach.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the credential `{name}` is there for {unit} alone: run the command as root, while the unit runs")]
pub(crate) struct NoCredential {
    name: String,
    unit: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_absolute_paths_and_credentials() {
        assert_eq!(FileSource::parse("/etc/k.toml"), Ok(FileSource::Path("/etc/k.toml".into())));
        let credential = FileSource::parse("credential:keyring").unwrap();
        assert!(credential.is_credential());
        for text in ["", "keyring.toml", "./k", "~/k", "Credential:k", "/a\0b"] {
            assert_eq!(FileSource::parse(text), Err(RELATIVE), "{text:?}");
        }
        for text in ["credential:", "credential:..", "credential:a/b", "credential:a b", "credential:/etc/k"]
        {
            assert_eq!(FileSource::parse(text), Err(CREDENTIAL_NAME), "{text:?}");
        }
    }

    #[test]
    fn finds_a_credential_inside_and_outside_the_unit() {
        let credential =
            FileSource::Credential { name: "keyring".into(), unit: "relinkd@shop.service".into() };
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
