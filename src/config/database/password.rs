//! Where the password is: in `database.url`, in `database.password_file`, in `PGPASSWORD`, or in a password file.
//!
//! Looked up for each connection, so that a password that changes in a file is found.

use super::{DEFAULT_SOCKET_DIRECTORY, Database, Endpoint, Host, passfile};
use crate::config::{Environment, NoCredential, Password};
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use thiserror::Error;
use zeroize::Zeroizing;

/// The longest password, in bytes, that a file may hold.
const MAX_BYTES: u64 = 64 << 10;

impl Database {
    /// The password for a connection to `endpoint`: of `database.url`, else of `database.password_file`, else of
    /// `PGPASSWORD`, else of the password file in `PGPASSFILE`, else of `~/.pgpass`. One that is there and is ignored is
    /// told in the log.
    pub(crate) fn password_for(
        &self,
        endpoint: &Endpoint,
        environment: &Environment,
    ) -> Result<Option<Password>, PasswordError> {
        let configured = self.configured_password(environment)?;
        if let Some(password) = configured.or_else(|| environment.pg_password.clone()) {
            return Ok(Some(password));
        }
        let home = || environment.home.as_ref().map(|home| home.join(".pgpass"));
        let Some(path) = environment.pg_passfile.clone().or_else(home) else {
            return Ok(None);
        };
        let (host, port) = (endpoint.passfile_host(), endpoint.port.to_string());
        let wanted = [&host, &port, &self.dbname, &self.user].map(String::as_str);
        Ok(passfile::look(&path, wanted).unwrap_or_else(|notice| {
            log::warn!("{notice}");
            None
        }))
    }

    /// The password that the configuration itself has, in `database.url` or `database.password_file`.
    pub(crate) fn configured_password(
        &self,
        environment: &Environment,
    ) -> Result<Option<Password>, PasswordError> {
        match &self.password_file {
            Some(source) if self.password.is_none() => read(&source.path(environment)?).map(Some),
            _ => Ok(self.password.clone()),
        }
    }
}

impl Endpoint {
    /// What a password file calls this host.
    fn passfile_host(&self) -> String {
        match &self.host {
            Host::Name(name) => name.clone(),
            // `/var/run` is `/run` on Debian.
            Host::Socket(directory) => match directory.to_str() {
                Some(DEFAULT_SOCKET_DIRECTORY | "/run/postgresql") => "localhost".to_owned(),
                _ => directory.to_string_lossy().into_owned(),
            },
        }
    }
}

/// The password in a file of its own; one line end after it does not belong to it.
fn read(path: &Path) -> Result<Password, PasswordError> {
    let failed = |source| PasswordError::Unreadable { path: path.to_owned(), source };
    let file = fs::File::open(path).map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(PasswordError::NoPassword { path: path.to_owned() });
    }
    // As long as it can get: growing would leave copies behind.
    let mut text = Zeroizing::new(String::with_capacity(usize::try_from(MAX_BYTES).unwrap_or_default() + 1));
    file.take(MAX_BYTES).read_to_string(&mut text).map_err(failed)?;
    let password = text.strip_suffix('\n').unwrap_or(&text);
    let password = password.strip_suffix('\r').unwrap_or(password);
    if password.is_empty() || password.contains(['\n', '\0']) {
        return Err(PasswordError::NoPassword { path: path.to_owned() });
    }
    Ok(Password::new(password.to_owned()))
}

/// Why `database.password_file` gives no password.
#[derive(Debug, Error)]
pub(crate) enum PasswordError {
    #[error("database.password_file: {0}")]
    Credential(#[from] NoCredential),
    #[error("database.password_file {} cannot be read: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("database.password_file {} must hold the password on a single line, and nothing else", path.display())]
    NoPassword { path: PathBuf },
}
