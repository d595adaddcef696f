//! What `relinkd check` finds, group by group: what is right and what is not, each with the command that mends it.
//!
//! Looks and changes nothing. How findings are shown, and as whom the process looks, is the command's.

mod database;
mod files;
mod privileges;
mod tables;
mod tokens;

pub use database::Subject;
pub use files::{config, keyring, readable, spool};

use crate::config::{Database, Endpoint, Host, shell_word};
use std::path::Path;

/// The groups, in the order in which they are shown and decide the exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// The configuration.
    Config,
    /// The keyring.
    Keyring,
    /// The spool.
    Spool,
    /// The database.
    Database,
}

impl Group {
    /// Its heading.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Keyring => "keyring",
            Self::Spool => "spool",
            Self::Database => "database",
        }
    }
}

/// How grave a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// As it should be.
    Ok,
    /// relinkd works, but something should be otherwise.
    Warning,
    /// relinkd does not work, or gives something away.
    Fault,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Where it belongs.
    pub group: Group,
    /// How grave it is.
    pub severity: Severity,
    /// What there is, in a line; more than one only where a file's line is shown.
    pub what: String,
    /// The command that mends it: of a shell, or SQL where it ends with a semicolon.
    pub mend: Option<String>,
}

/// The findings of one group, as they come.
#[derive(Debug)]
pub struct Report {
    group: Group,
    findings: Vec<Finding>,
}

impl Report {
    /// An empty one.
    #[must_use]
    pub fn new(group: Group) -> Self {
        Self { group, findings: Vec::new() }
    }

    /// The findings.
    #[must_use]
    pub fn into_findings(self) -> Vec<Finding> {
        self.findings
    }

    /// Something is as it should be.
    pub fn ok(&mut self, what: impl Into<String>) {
        self.add(Severity::Ok, what.into(), None);
    }

    /// Something should be otherwise.
    pub fn warning(&mut self, what: impl Into<String>, mend: impl Into<String>) {
        self.add(Severity::Warning, what.into(), Some(mend.into()));
    }

    /// Something is wrong.
    pub fn fault(&mut self, what: impl Into<String>, mend: impl Into<String>) {
        self.add(Severity::Fault, what.into(), Some(mend.into()));
    }

    fn add(&mut self, severity: Severity, what: String, mend: Option<String>) {
        self.findings.push(Finding { group: self.group, severity, what, mend });
    }
}

/// How commands are typed here: those of relinkd for this configuration.
#[derive(Debug)]
pub struct Commands<'a> {
    /// The configuration.
    pub config: &'a Path,
    /// Whether it has to be named: it was, on the command line.
    pub named: bool,
}

impl Commands<'_> {
    /// A command of relinkd's.
    #[must_use]
    pub fn relinkd(&self, command: &str) -> String {
        if self.named {
            format!("relinkd --config {} {command}", self.config_word())
        } else {
            format!("relinkd {command}")
        }
    }

    /// Changing the configuration, and seeing whether that was right.
    #[must_use]
    pub fn edit(&self) -> String {
        format!("sudoedit {} && {}", self.config_word(), self.relinkd("check"))
    }

    /// `install`, by this role: the owner of the tables, or a superuser.
    #[must_use]
    pub fn install(&self, database: &Database, admin: &str) -> String {
        if admin == database.user {
            return self.relinkd("install");
        }
        let url = database
            .hosts
            .first()
            .map_or_else(String::new, |endpoint| url(endpoint, admin, &database.dbname));
        self.relinkd(&format!("install --admin-url {}", shell_word(&url)))
    }

    fn config_word(&self) -> String {
        shell_word(&self.config.to_string_lossy())
    }
}

/// A database as a URI (Postgres manual, 34.1.1.2).
fn url(endpoint: &Endpoint, user: &str, dbname: &str) -> String {
    let port = endpoint.port;
    let (user, dbname) = (escaped(user), escaped(dbname));
    match &endpoint.host {
        Host::Name(name) if name.contains(':') => format!("postgresql://{user}@[{name}]:{port}/{dbname}"),
        Host::Name(name) => format!("postgresql://{user}@{name}:{port}/{dbname}"),
        Host::Socket(directory) => {
            format!(
                "postgresql://{user}@/{dbname}?host={}&port={port}",
                escaped(&directory.to_string_lossy())
            )
        }
    }
}

/// Percent-encoded, but for what any part of a URI may hold.
fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_install_command_names_the_server_and_the_admin() {
        let commands = Commands { config: Path::new("/etc/relinkd/config.toml"), named: false };
        let install = |url: &str, admin: &str| commands.install(&Database::parse(url).unwrap(), admin);
        assert_eq!(install("postgresql://relinkd@localhost:5433/bot", "relinkd"), "relinkd install");
        assert_eq!(
            install("postgresql://relinkd@localhost:5433/bot", "okdesk_user"),
            "relinkd install --admin-url postgresql://okdesk_user@localhost:5433/bot"
        );
        assert_eq!(
            install("host=/run/postgresql user=relinkd dbname='my bot'", "the owner"),
            "relinkd install --admin-url 'postgresql://the%20owner@/my%20bot?host=/run/postgresql&port=5432'"
        );
    }

    #[test]
    fn a_configuration_that_was_named_is_named_again() {
        let commands = Commands { config: Path::new("/srv/my bot.toml"), named: true };
        assert_eq!(commands.relinkd("install"), "relinkd --config '/srv/my bot.toml' install");
    }
}
