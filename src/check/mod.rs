//! What `relinkd check` finds, group by group: what is right and what is not, each with the command that mends it.
//!
//! Looks and changes nothing. How findings are shown, and as whom the process looks, is the command's.

mod database;
mod files;
mod spool;
mod tokens;

pub(crate) use database::Subject;
pub(crate) use files::{config, keyring, no_keyring, readable};
pub(crate) use spool::spool;

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

/// The findings as they come, and what their steps depend on. Commands of relinkd's are named plainly, as in every message
/// ([`crate::config::typed`]).
#[derive(Debug)]
pub(crate) struct Report<'a> {
    /// The configuration.
    pub config: &'a Path,
    /// Whether whoever reads this needs root for what is outside relinkd and the database.
    root_needed: bool,
    /// Where the next findings belong.
    pub group: Group,
    findings: Vec<Finding>,
}

impl<'a> Report<'a> {
    /// An empty one for this configuration, read by whoever runs this process.
    pub(crate) fn new(config: &'a Path) -> Self {
        let user = nix::unistd::geteuid();
        let owner = fs::metadata(config).map_or(0, |metadata| metadata.uid());
        let root_needed = !user.is_root() && user.as_raw() != owner;
        Self { config, root_needed, group: Group::Config, findings: Vec::new() }
    }

    /// The findings since the last time, group by group.
    pub(crate) fn take(&mut self) -> Vec<Finding> {
        self.findings.sort_by_key(|finding| finding.group);
        std::mem::take(&mut self.findings)
    }

    /// Changing the configuration, and seeing whether that was right.
    pub(crate) fn edit(&self) -> String {
        format!("editor {} && relinkd check", shell_word(&self.config.to_string_lossy()))
    }

    /// Something is as it should be.
    pub(crate) fn ok(&mut self, what: impl Into<String>) {
        self.add(Severity::Ok, &what.into(), None);
    }

    /// Something should be otherwise.
    pub(crate) fn warning(&mut self, what: impl Into<String>, mend: impl Into<String>) {
        self.add(Severity::Warning, &what.into(), Some(mend.into()));
    }

    /// Something is wrong.
    pub(crate) fn fault(&mut self, what: impl Into<String>, mend: impl Into<String>) {
        self.add(Severity::Fault, &what.into(), Some(mend.into()));
    }

    /// Something is wrong in a file, and its lines are shown.
    pub(crate) fn fault_in_lines(&mut self, what: &str, mend: impl Into<String>) {
        let mut lines = Printable::lines(what).into_iter();
        self.fault(lines.next().unwrap_or_default().as_str(), mend);
        if let Some(finding) = self.findings.last_mut() {
            finding.more = lines.collect();
        }
    }

    fn add(&mut self, severity: Severity, what: &str, mend: Option<String>) {
        let mend = mend.map(|mend| Printable::of(if self.root_needed { as_root(mend) } else { mend }));
        let (group, what) = (self.group, Printable::text(what));
        self.findings.push(Finding { group, severity, what, more: Vec::new(), mend });
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

/// `install`, by this role: the owner of the tables, else a superuser.
fn install(database: &Database, admin: Option<&str>) -> String {
    let admin = admin.unwrap_or("postgres");
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
        let mut report = Report::new(Path::new("/etc/relinkd/config.toml"));
        report.root_needed = true;
        for mend in [
            "chmod o= /a; chgrp relinkd /a",
            "editor /a # set it",
            "relinkd key generate",
            "relinkd status",
            "revoke a from b; -- as a superuser",
        ] {
            report.fault("", mend);
        }
        let mends: Vec<String> =
            report.take().into_iter().filter_map(|finding| finding.mend).map(|m| m.to_string()).collect();
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
        let install = |url: &str, admin: &str| super::install(&Database::parse(url).unwrap(), Some(admin));
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
