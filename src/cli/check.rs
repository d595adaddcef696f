//! `relinkd check`: what is right and what is not, line by line, each with the command that mends it.
//!
//! Config and keyring are looked at as whoever runs the command; then root becomes the spool's owner, for spool and
//! database are to be seen as the daemon sees them.

use super::database::{self, block_on};
use super::output::{self, Exit, Failure};
use crate::check::{self, Finding, Group, Report, Severity, Subject};
use crate::config::{self, Parts};
use crate::envelope::Keyring;
use crate::keyring_file::KeyringError;
use crate::telemetry;
use std::path::Path;

pub(super) fn run(config: &Path, offline: bool, quiet: bool) -> Result<Exit, Failure> {
    let (mut parts, fault) = config::load_parts(config);
    let mut report = Report::new(config);
    check::config(&mut report, &parts, fault.as_ref());
    let keyring = files(&mut report, &mut parts, offline)?;
    let mut decides = show(&report.take(), quiet);
    if let (false, Some(database)) = (offline, &parts.database) {
        let subject = Subject { database, parts: &parts, keyring: keyring.as_ref() };
        block_on(async { subject.look(&mut report).await })?;
        decides = decides.or(show(&report.take(), quiet));
    }
    Ok(decides.map_or(Exit::Done, |group| heading_and_exit(group).1))
}

/// What stands above a group, and the exit status where the group decides.
fn heading_and_exit(group: Group) -> (&'static str, Exit) {
    match group {
        Group::Config => ("config", Exit::Configuration),
        Group::Keyring => ("keyring", Exit::Key),
        Group::Spool => ("spool", Exit::Failed),
        Group::Database => ("database", Exit::Database),
    }
}

/// The keyring and the spool; between the two this process becomes the daemon's user.
fn files(
    report: &mut Report<'_>,
    parts: &mut Parts,
    offline: bool,
) -> Result<Option<Result<Keyring, KeyringError>>, Failure> {
    let directory = parts.spool.as_ref().map(|spool| spool.directory.clone());
    let owner = directory.as_deref().and_then(database::owner_for_root);
    let source = parts.keyring.as_ref().map(|keyring| keyring.file.clone());
    let keyring = source.as_ref().map(|source| check::keyring(report, source, owner));

    if let Some(directory) = &directory {
        match database::become_owner(directory, parts.database.as_mut()) {
            Ok(true) => {
                if let (Some(source), Some(Ok(_))) = (&source, &keyring) {
                    check::readable(report, Group::Keyring, source);
                }
                if let Some(source) = parts.database.as_ref().and_then(|it| it.password_file.as_ref()) {
                    check::readable(report, Group::Config, source);
                }
            }
            Ok(false) => {}
            Err(failure) => {
                report.group = Group::Spool;
                report.fault(failure.cause.as_str(), "relinkd check");
            }
        }
        check::spool(report, directory);
    }
    if let (Some(source), Some(Err(error))) = (&source, &keyring) {
        // The keys that stored values name, where the keyring is gone.
        let keys = match (error, &parts.database, &parts.tables) {
            (KeyringError::Absent(_), Some(database), Some(tables)) if !offline => {
                database::keys_in_use(database, tables)?
            }
            _ => None,
        };
        check::no_keyring(report, source, error, keys.as_ref());
    }
    Ok(keyring)
}

/// Shows these, the groups in order. Returns the first group with a fault.
fn show(findings: &[Finding], quiet: bool) -> Option<Group> {
    // systemd runs this, before it reloads the daemon: what is wrong gets a priority (sd-daemon(3)).
    let journal = telemetry::journal_reads(std::io::stdout());
    let mut heading = None;
    for finding in findings.iter().filter(|it| !quiet || it.severity != Severity::Ok) {
        if heading.replace(finding.group) != Some(finding.group) {
            output::line(heading_and_exit(finding.group).0);
        }
        let word = match finding.severity {
            Severity::Ok => "ok     ",
            Severity::Warning => "warning",
            Severity::Fault => "fault  ",
        };
        let priority = if journal && finding.severity != Severity::Ok { "<4>" } else { "" };
        let word = (word, Some(finding.severity));
        output::coloured(&format!("{priority}  "), word, format!(" {}", finding.what), "");
        for more in &finding.more {
            output::line(format!("{priority}           {more}"));
        }
        if let Some(mend) = &finding.mend {
            output::line(format!("{priority}           mend: {mend}"));
        }
    }
    findings.iter().find(|it| it.severity == Severity::Fault).map(|it| it.group)
}
