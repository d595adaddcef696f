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
use std::io::IsTerminal;
use std::path::Path;

pub(super) fn run(config: &Path, args: &CheckArgs, named: bool, quiet: bool) -> Result<Exit, Failure> {
    let commands = Commands { config, named };
    let (mut parts, fault) = config::load_parts(config);
    let mut screen = Screen { colour: colour(), quiet, heading: None, decides: None };

    let mut report = Report::new(Group::Config);
    check::config(&mut report, &commands, &parts, fault.as_ref());
    let keyring = files(&mut screen, report, &commands, &mut parts);
    if let (false, Some(database)) = (args.offline, &parts.database) {
        let subject = Subject {
            commands: &commands,
            database,
            tables: parts.tables.as_ref(),
            keyring: keyring.as_ref(),
            keyring_source: parts.keyring.as_ref(),
            rule: parts.portal.as_ref().map(|portal| &portal.token_rule),
        };
        let mut report = Report::new(Group::Database);
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
) -> Option<Keyring> {
    let directory = parts.spool.as_ref().map(|spool| spool.directory.clone());
    let owner = directory.as_deref().and_then(database::owner_for_root);
    let mut report = Report::new(Group::Keyring);
    let keyring =
        parts.keyring.as_ref().and_then(|source| check::keyring(&mut report, commands, source, owner));

    let mut spool = Report::new(Group::Spool);
    if let Some(directory) = &directory {
        match database::become_owner(directory, parts.database.as_mut()) {
            Ok(Some((user, group))) => {
                if let (Some(source), Some(_)) = (&parts.keyring, &keyring) {
                    check::readable(&mut report, source, &user, &group);
                }
                if let Some(source) = parts.database.as_ref().and_then(|it| it.password_file.as_ref()) {
                    check::readable(&mut config, source, &user, &group);
                }
            }
            Ok(None) => {}
            Err(failure) => spool.fault(failure.cause, commands.relinkd("check")),
        }
        check::spool(&mut spool, commands, directory);
    }
    screen.show(config);
    screen.show(report);
    screen.show(spool);
    keyring
}

fn colour() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

struct Screen {
    colour: bool,
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
        // Colours: ECMA-48, 8.3.117.
        let (name, colour) = match finding.severity {
            Severity::Ok => ("ok", "\x1b[32m"),
            Severity::Warning => ("warning", "\x1b[33m"),
            Severity::Fault => ("fault", "\x1b[31m"),
        };
        let (on, off) = if self.colour { (colour, "\x1b[0m") } else { ("", "") };
        let mut lines = finding.what.lines();
        output::line(format!("  {on}{name:<7}{off}  {}", lines.next().unwrap_or_default()));
        for more in lines {
            output::line(format!("           {more}"));
        }
        if let Some(mend) = &finding.mend {
            output::line(format!("           mend: {mend}"));
        }
    }
}
