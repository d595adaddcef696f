//! What the process's surroundings add to the settings: a handful of variables, the user, the home directory.
//!
//! Read once, at the edge, and passed on as a value, so that nothing else here depends on globals.

use super::Password;
use nix::unistd::{Uid, User};
use std::env;
use std::path::PathBuf;

/// The surroundings that settings and passwords may come from. Empty variables count as unset, as libpq has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Environment {
    /// `RELINKD_CONFIG`.
    pub(super) config: Option<PathBuf>,
    pub(super) pg_user: Option<String>,
    pub(super) pg_database: Option<String>,
    pub(super) pg_password: Option<Password>,
    pub(super) pg_passfile: Option<PathBuf>,
    /// `HOME`, else what the user database says.
    pub(super) home: Option<PathBuf>,
    /// `CREDENTIALS_DIRECTORY`, which systemd sets for a unit with credentials.
    pub(super) credentials_directory: Option<PathBuf>,
    /// The name of the effective user.
    pub(super) os_user: Option<String>,
    /// Whether the effective user is root.
    pub(super) root: bool,
}

impl Environment {
    /// The surroundings of this process, as they are now.
    pub(crate) fn of_process() -> Self {
        let uid = Uid::effective();
        let user = User::from_uid(uid).ok().flatten();
        let (os_user, home) = user.map(|user| (user.name, user.dir)).unzip();
        Self {
            config: path("RELINKD_CONFIG"),
            pg_user: text("PGUSER"),
            pg_database: text("PGDATABASE"),
            pg_password: text("PGPASSWORD").map(Password::new),
            pg_passfile: path("PGPASSFILE"),
            home: path("HOME").or(home),
            credentials_directory: path("CREDENTIALS_DIRECTORY"),
            os_user,
            root: uid.is_root(),
        }
    }
}

fn text(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

fn path(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}
