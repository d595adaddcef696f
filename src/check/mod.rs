//! What `relinkd check` finds, group by group: what is right and what is not, each with the command that mends it.
//!
//! Looks and changes nothing. How findings are shown, and as whom the process looks, is the command's.

mod database;
mod files;
mod tokens;

pub(crate) use database::Subject;
pub(crate) use files::{config, keyring, no_keyring, readable, spool};

use crate::config::{Database, Endpoint, Host};
use crate::keyring_file::shell_word;
use crate::printable::Printable;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The groups, in the order in which they are shown and decide the exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Group {
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
    pub(crate) fn name(self) -> &'static str {
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
pub(crate) enum Severity {
    /// As it should be.
    Ok,
    /// relinkd works, but something should be otherwise.
    Warning,
    /// relinkd does not work, or gives something away.
    Fault,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// Where it belongs.
    pub group: Group,
    /// How grave it is.
    pub severity: Severity,
    /// What there is.
    pub what: Printable,
    /// More lines of it, where lines of a file are shown.
    pub more: Vec<Printable>,
    /// The command that mends it: of a shell, or SQL where it ends with a semicolon.
    pub mend: Option<Printable>,
}

/// The findings of one group, as they come.
#[derive(Debug)]
pub(crate) struct Report {
    group: Group,
    /// Whoever reads this needs root for what is outside relinkd and the database.
    root_needed: bool,
    findings: Vec<Finding>,
}

impl Report {
    /// An empty one.
    pub(crate) fn new(group: Group, commands: &Commands<'_>) -> Self {
        Self { group, root_needed: commands.root_needed, findings: Vec::new() }
    }

    /// The findings.
    pub(crate) fn into_findings(self) -> Vec<Finding> {
        self.findings
    }

    /// Something is as it should be.
    pub(crate) fn ok(&mut self, what: impl Into<String>) {
        self.add(Severity::Ok, &what.into(), None);
    }

    /// Something should be otherwise.
    pub(crate) fn warning(&mut self, what: impl Into<String>, mend: impl Into<String>) {
        self.add(Severity::Warning, &what.into(), Some(&mend.into()));
    }

    /// Something is wrong.
    pub(crate) fn fault(&mut self, what: impl Into<String>, mend: impl Into<String>) {
        self.add(Severity::Fault, &what.into(), Some(&mend.into()));
    }

    /// Something is wrong in a file, and its lines are shown.
    pub(crate) fn fault_in_lines(&mut self, what: &str, mend: impl Into<String>) {
        let mut lines = Printable::lines(what).into_iter();
        let what = lines.next().unwrap_or_default();
        self.fault(what.as_str(), mend);
        if let Some(finding) = self.findings.last_mut() {
            finding.more = lines.collect();
        }
    }

    fn add(&mut self, severity: Severity, what: &str, mend: Option<&str>) {
        let mend = mend.map(|mend| if self.root_needed { as_root(mend.to_owned()) } else { mend.to_owned() });
        let (what, mend) = (Printable::text(what), mend.as_deref().map(Printable::text));
        self.findings.push(Finding { group: self.group, severity, what, more: Vec::new(), mend });
    }
}

/// Says that a step is root's, where it is: SQL is not, nor are relinkd's own commands but those that write its files.
fn as_root(mend: String) -> String {
    let sql = mend.ends_with(';') || mend.contains("; -- ");
    let own = mend.starts_with("relinkd ") && !mend.contains(" key ");
    if sql || own || mend.contains("as root") {
        mend
    } else if let Some((command, note)) = mend.split_once(" # ") {
        format!("{command} # as root: {note}")
    } else {
        mend + " # as root"
    }
}

/// The steps that depend on the configuration and on who takes them. Those of relinkd's are named plainly, as in every
/// message ([`crate::config::typed`]).
#[derive(Debug)]
pub(crate) struct Commands<'a> {
    /// The configuration.
    pub config: &'a Path,
    /// Whether this is neither root nor the owner of the configuration.
    pub root_needed: bool,
}

impl<'a> Commands<'a> {
    /// For this configuration, typed by whoever runs this process.
    pub(crate) fn new(config: &'a Path) -> Self {
        let user = nix::unistd::geteuid();
        let owner = fs::metadata(config).map_or(0, |metadata| metadata.uid());
        Self { config, root_needed: !user.is_root() && user.as_raw() != owner }
    }

    /// Changing the configuration, and seeing whether that was right.
    pub(crate) fn edit(&self) -> String {
        format!("editor {} && relinkd check", shell_word(&self.config.to_string_lossy()))
    }
}

/// `install`, by this role: the owner of the tables, or a superuser.
pub(crate) fn install(database: &Database, admin: &str) -> String {
    if admin == database.user {
        return "relinkd install".to_owned();
    }
    let url =
        database.hosts.first().map_or_else(String::new, |endpoint| url(endpoint, admin, &database.dbname));
    format!("relinkd install --admin-url {}", shell_word(&url))
}

/// A database as a URI (Postgres manual, 34.1.1.2).
fn url(endpoint: &Endpoint, user: &str, dbname: &str) -> String {
    let (user, dbname) = (escaped(user), escaped(dbname));
    match &endpoint.host {
        Host::Name(_) => format!("postgresql://{user}@{endpoint}/{dbname}"),
        Host::Socket(directory) => {
            let directory = directory.to_string_lossy();
            format!("postgresql://{user}@/{dbname}?host={}&port={}", escaped(&directory), endpoint.port)
        }
    }
}

/// Percent-encoded, but for what any part of a URI may hold.
fn escaped(text: &str) -> PercentEncode<'_> {
    const HELD: &AsciiSet =
        &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');
    utf8_percent_encode(text, HELD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_not_root_is_told_what_only_root_may_do() {
        let commands = Commands { config: Path::new("/etc/relinkd/config.toml"), root_needed: true };
        let mut report = Report::new(Group::Database, &commands);
        for mend in [
            "chmod o= /a; chgrp relinkd /a",
            "editor /a # set it",
            "relinkd key generate",
            "relinkd status",
            "revoke a from b; -- as a superuser",
        ] {
            report.fault("", mend);
        }
        let mends: Vec<String> = report
            .into_findings()
            .into_iter()
            .filter_map(|finding| finding.mend)
            .map(|m| m.to_string())
            .collect();
        assert_eq!(
            mends,
            [
                "chmod o= /a; chgrp relinkd /a # as root",
                "editor /a # as root: set it",
                "relinkd key generate # as root",
                "relinkd status",
                "revoke a from b; -- as a superuser",
            ]
        );
    }

    #[test]
    fn the_install_command_names_the_server_and_the_admin() {
        let install = |url: &str, admin: &str| super::install(&Database::parse(url).unwrap(), admin);
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
}
