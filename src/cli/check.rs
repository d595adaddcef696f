//! `relinkd check`: what is right and what is not, line by line, each with the command that mends it.
//!
//! Config and keyring are looked at as whoever runs the command; then root becomes the spool's owner, for spool and
//! database are to be seen as the daemon sees them.

use super::CheckArgs;
use super::database::{self, block_on};
use super::output::{self, Exit, Failure};
use crate::check::{self, Commands, Finding, Group, Report, Severity, Subject};
use crate::config::{self, Parts};
use crate::envelope::Keyring;
use crate::keyring_file::KeyringError;
use crate::telemetry;
use std::collections::BTreeMap;
use std::path::Path;

pub(super) fn run(config: &Path, args: &CheckArgs, quiet: bool) -> Result<Exit, Failure> {
    let commands = Commands::new(config);
    let (mut parts, fault) = config::load_parts(config);
    let mut screen = Screen {
        colour: output::has_colour(),
        journal: telemetry::journal_reads(std::io::stdout()),
        quiet,
        heading: None,
        decides: None,
    };

    let mut report = Report::new(Group::Config, &commands);
    check::config(&mut report, &commands, &parts, fault.as_ref());
    let keyring = files(&mut screen, report, &commands, &mut parts, args.offline)?;
    if let (false, Some(database)) = (args.offline, &parts.database) {
        let subject = Subject {
            commands: &commands,
            database,
            tables: parts.tables.as_ref(),
            keyring: keyring.as_ref().and_then(|keyring| keyring.as_ref().ok()),
            keyring_is_gone: matches!(keyring, Some(Err(KeyringError::Absent(_)))),
            keyring_source: parts.keyring.as_ref().map(|keyring| &keyring.file),
            rule: parts.portal.as_ref().map(|portal| &portal.token_pattern.rule),
        };
        let mut report = Report::new(Group::Database, &commands);
        block_on(async {
            subject.look(&mut report).await;
            Ok(())
        })?;
        screen.show(report);
    }
    Ok(screen.decides.map_or(Exit::Done, |group| match group {
        Group::Config => Exit::Configuration,
        Group::Keyring => Exit::Key,
        Group::Spool => Exit::Failed,
        Group::Database => Exit::Database,
    }))
}

/// The keyring and the spool; between the two this process becomes the daemon's user.
fn files(
    screen: &mut Screen,
    mut config: Report,
    commands: &Commands<'_>,
    parts: &mut Parts,
    offline: bool,
) -> Result<Option<Result<Keyring, KeyringError>>, Failure> {
    let directory = parts.spool.as_ref().map(|spool| spool.directory.clone());
    let owner = directory.as_deref().and_then(database::owner_for_root);
    let mut report = Report::new(Group::Keyring, commands);
    let source = parts.keyring.as_ref().map(|keyring| keyring.file.clone());
    let keyring = source.as_ref().map(|source| check::keyring(&mut report, source, owner));

    let mut spool = Report::new(Group::Spool, commands);
    if let Some(directory) = &directory {
        match database::become_owner(directory, parts.database.as_mut()) {
            Ok(Some((user, group))) => {
                if let (Some(source), Some(Ok(_))) = (&source, &keyring) {
                    check::readable(&mut report, source, &user, &group);
                }
                if let Some(source) = parts.database.as_ref().and_then(|it| it.password_file.as_ref()) {
                    check::readable(&mut config, source, &user, &group);
                }
            }
            Ok(None) => {}
            Err(failure) => spool.fault(failure.cause.as_str(), "relinkd check"),
        }
        check::spool(&mut spool, commands, directory);
    }
    if let (Some(source), Some(Err(error))) = (&source, &keyring) {
        let keys = if offline { None } else { keys_needed(parts, error)? };
        let keys: Option<Vec<&str>> = keys.as_ref().map(|keys| keys.keys().map(String::as_str).collect());
        check::no_keyring(&mut report, source, error, keys.as_deref());
    }
    screen.show(config);
    screen.show(report);
    screen.show(spool);
    Ok(keyring)
}

/// The keys that stored values name, where the keyring is gone.
fn keys_needed(parts: &Parts, error: &KeyringError) -> Result<Option<BTreeMap<String, u64>>, Failure> {
    match (error, &parts.database, &parts.tables) {
        (KeyringError::Absent(_), Some(database), Some(tables)) => database::keys_in_use(database, tables),
        _ => Ok(None),
    }
}

struct Screen {
    colour: bool,
    /// systemd runs this, before it reloads the daemon: what is wrong gets a priority (sd-daemon(3)).
    journal: bool,
    quiet: bool,
    heading: Option<Group>,
    /// The first group with a fault.
    decides: Option<Group>,
}

impl Screen {
    fn show(&mut self, report: Report) {
        for finding in report.into_findings() {
            if finding.severity == Severity::Fault {
                self.decides = self.decides.or(Some(finding.group));
            }
            if !self.quiet || finding.severity != Severity::Ok {
                self.line(&finding);
            }
        }
    }

    fn line(&mut self, finding: &Finding) {
        if self.heading != Some(finding.group) {
            self.heading = Some(finding.group);
            output::line(finding.group.name());
        }
        let (name, colour) = match finding.severity {
            Severity::Ok => ("ok", "\x1b[32m"),
            Severity::Warning => ("warning", "\x1b[33m"),
            Severity::Fault => ("fault", "\x1b[31m"),
        };
        let priority = if self.journal && finding.severity != Severity::Ok { "<4>" } else { "" };
        let word = (&*format!("{name:<7}"), self.colour.then_some(colour));
        output::coloured(&format!("{priority}  "), word, format!(" {}", finding.what), "");
        for more in &finding.more {
            output::line(format!("{priority}           {more}"));
        }
        if let Some(mend) = &finding.mend {
            output::line(format!("{priority}           mend: {}", config::typed(mend.as_str())));
        }
    }
}
