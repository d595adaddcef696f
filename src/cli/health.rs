//! `relinkd health`: one line for Nagios and its kin, with performance data (Monitoring Plugins, "Plugin Output").
//!
//! Whatever happens, there is one line on standard output and an exit status of its own kind: what reads it knows no
//! other.

use super::database;
use super::output::{self, Failure, count, rough_seconds, things};
use super::status::Place;
use crate::check::Severity;
use crate::config;
use crate::printable::Printable;
use crate::status::{self, Local, Remote};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

/// Arguments of `health`.
#[derive(Debug, clap::Args)]
pub(crate) struct HealthArgs {
    /// Warn where a change has waited for longer
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = period)]
    pub backlog_warning: Duration,
    /// Critical where a change has waited for longer
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = period)]
    pub backlog_critical: Duration,
    /// Warn of more unusable tokens
    #[arg(long, value_name = "N", default_value = "0")]
    pub unusable_warning: u64,
    /// Critical with more unusable tokens [default: never]
    #[arg(long, value_name = "N")]
    pub unusable_critical: Option<u64>,
    /// Warn of more rejected files
    #[arg(long, value_name = "N", default_value = "0")]
    pub rejected_warning: u64,
    /// Critical with more rejected files [default: never]
    #[arg(long, value_name = "N")]
    pub rejected_critical: Option<u64>,
    /// Warn where the last audit is older [default: two of its intervals and ten minutes]
    #[arg(long, value_name = "TIME", value_parser = period)]
    pub audit_warning: Option<Duration>,
    /// Critical where the last audit is older [default: twice as much]
    #[arg(long, value_name = "TIME", value_parser = period)]
    pub audit_critical: Option<Duration>,
    /// Give up on the database after this time: critical
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = period)]
    pub timeout: Duration,
}

/// Says it, and returns the exit status (Monitoring Plugins, "Plugin Return Codes").
pub(super) fn run(config: &Path, args: &HealthArgs) -> u8 {
    let (status, line) = match look(config, args) {
        Ok(verdict) => verdict.line(),
        Err(failure) => (UNKNOWN, sentence(UNKNOWN, &format!("{}; {}", failure.cause, failure.next))),
    };
    output::line(line);
    status
}

/// The exit status of what cannot be known; what can be has that of its [`Severity`].
const UNKNOWN: u8 = 3;

/// A length of time as the configuration writes it, or a number of seconds.
pub(super) fn period(text: &str) -> Result<Duration, &'static str> {
    match text.parse::<u32>() {
        Ok(seconds) => Ok(Duration::from_secs(u64::from(seconds))),
        Err(_) => config::period(text),
    }
}

/// Whether these arguments, wrong as they are, ask for `health`.
pub(super) fn is_asked_for(arguments: impl Iterator<Item = OsString>) -> bool {
    let mut arguments = arguments.skip(1);
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("--config") => drop(arguments.next()),
            Some(flag) if flag.starts_with('-') => {}
            word => return word == Some("health"),
        }
    }
    false
}

/// Says what is wrong with the arguments as a plugin says it, and ends the process.
#[expect(clippy::exit, reason = "as clap ends it")]
pub(super) fn wrong_usage(error: &clap::Error) -> ! {
    let text = error.to_string();
    let cause = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
    output::line(sentence(UNKNOWN, &format!("{cause}; see relinkd health --help")));
    std::process::exit(UNKNOWN.into());
}

fn look(config: &Path, args: &HealthArgs) -> Result<Verdict, Failure> {
    let mut place = Place::open(config)?;
    let local = status::local(&place.settings.spool.directory);
    let answer = database::block_on(async { place.ask(args.timeout).await })?;
    let mut verdict = Verdict::default();
    if let Err(error) = &place.keyring {
        verdict.say(Severity::Fault, error.to_string());
    }
    match &answer {
        Ok(remote) => {
            verdict.daemons(remote);
            verdict.backlog(remote, args);
            verdict.triggers(remote);
            verdict.tokens(remote, args);
            verdict.audit(remote, args, place.settings.audit.late_after());
        }
        Err(silence) => {
            let failure = Failure::from_database(&silence.error);
            verdict.say(Severity::Fault, format!("{}; {}", failure.cause, failure.next));
        }
    }
    verdict.files(&local, args);
    Ok(verdict)
}

/// What was found, and how well each of it is, and the performance data.
#[derive(Default)]
struct Verdict {
    said: Vec<(Severity, String)>,
    data: Vec<String>,
}

impl Verdict {
    fn say(&mut self, severity: Severity, text: impl Into<String>) {
        self.said.push((severity, text.into()));
    }

    fn daemons(&mut self, remote: &Remote) {
        let running = remote.daemons.len();
        self.data.push(format!("daemons={running};;1:;0"));
        match remote.mode() {
            None => self.say(Severity::Fault, "no daemon is running"),
            Some(mode) => self.say(Severity::Ok, format!("{}, mode {mode}", things(running, "daemon"))),
        }
        if remote.daemons.iter().any(|daemon| daemon.other_portal) {
            self.say(Severity::Warning, "a daemon waits for a reload: its [portal] is another");
        }
    }

    fn backlog(&mut self, remote: &Remote, args: &HealthArgs) {
        let work = &remote.work;
        let age = work.oldest_seconds.filter(|_| work.changes > 0).unwrap_or(0.0);
        let (warning, critical) = (args.backlog_warning.as_secs_f64(), args.backlog_critical.as_secs_f64());
        self.data.push(format!("backlog={};;;0", work.changes));
        self.data.push(format!("backlog_age={age:.0}s;{warning};{critical};0"));
        let text = format!("{} waiting", things(work.changes, "change"));
        match severity(age, warning, Some(critical)) {
            Severity::Ok => self.say(Severity::Ok, text),
            severity => self.say(severity, format!("{text}, the oldest for {}", rough_seconds(age))),
        }
        self.data.push(format!("set_aside={};;;0", work.set_aside_count));
    }

    fn triggers(&mut self, remote: &Remote) {
        let triggers = &remote.work.triggers;
        let (sound, wanted) = (triggers.sound(), triggers.wanted);
        self.data.push(format!("triggers={sound};;{wanted}:;0;{wanted}"));
        let severity = if triggers.unsound.is_empty() { Severity::Ok } else { Severity::Fault };
        self.say(severity, format!("triggers {sound}/{wanted}"));
    }

    fn tokens(&mut self, remote: &Remote, args: &HealthArgs) {
        let stats = &remote.token_stats;
        let unusable = stats.unusable.len() as u64;
        self.data.push(format!("with_token={};;;0", stats.with_token));
        let missing = &stats.missing_keys;
        let why = if missing.is_empty() {
            String::new()
        } else {
            format!(", and {}", database::sealed_under(missing))
        };
        let limits = (args.unusable_warning, args.unusable_critical);
        self.counted(unusable, ("token", "unusable"), limits, &why);
    }

    fn files(&mut self, local: &Local, args: &HealthArgs) {
        match &local.counts {
            Ok(counts) => {
                let limits = (args.rejected_warning, args.rejected_critical);
                self.counted(counts.rejected as u64, ("file", "rejected"), limits, "");
                self.data.push(format!("waiting={};;;0", counts.waiting));
                self.data.push(format!("not_taken={};;;0", counts.not_taken));
            }
            Err(error) => self.say(Severity::Warning, error.to_string()),
        }
    }

    /// The audit's age; before the first it is the daemon's.
    fn audit(&mut self, remote: &Remote, args: &HealthArgs, late_after: Duration) {
        let warning = args.audit_warning.unwrap_or(late_after).as_secs_f64();
        let critical = args.audit_critical.map_or(warning * 2.0, |limit| limit.as_secs_f64());
        let running = remote.daemons.iter().filter_map(|daemon| daemon.running_seconds).reduce(f64::max);
        let last = remote.work.audit.as_ref().map(|audit| audit.age_seconds);
        let Some(age) = last.or(running) else {
            return self.data.push(format!("audit_age=U;{warning};{critical};0"));
        };
        self.data.push(format!("audit_age={age:.0}s;{warning};{critical};0"));
        let (severity, age) = (severity(age, warning, Some(critical)), rough_seconds(age));
        let text = match (severity, last) {
            (Severity::Ok, None) => "no audit yet".to_owned(),
            (Severity::Ok, Some(_)) => format!("audit {age} ago"),
            (_, None) => format!("no audit in {age}"),
            (_, Some(_)) => format!("the last audit was {age} ago"),
        };
        self.say(severity, text);
    }

    /// So many of these things are so, and why, where that is too many.
    fn counted(
        &mut self,
        number: u64,
        (thing, so): (&str, &str),
        (warning, critical): (u64, Option<u64>),
        why: &str,
    ) {
        let limit = critical.map_or_else(String::new, |limit| limit.to_string());
        self.data.push(format!("{so}={number};{warning};{limit};0"));
        match severity(number, warning, critical) {
            Severity::Ok => self.say(Severity::Ok, format!("{} {so}", count(number))),
            severity => self.say(severity, format!("{} {so}{why}", things(number, thing))),
        }
    }

    /// The exit status, and the line: what is wrong, the worst first, else what is fine.
    fn line(mut self) -> (u8, String) {
        self.said.sort_by_key(|(severity, _)| std::cmp::Reverse(*severity));
        let severity = self.said.first().map_or(Severity::Ok, |(severity, _)| *severity);
        let all_is_well = severity == Severity::Ok;
        let said = self.said.into_iter().filter(|(severity, _)| all_is_well || *severity != Severity::Ok);
        let said: Vec<String> = said.map(|(_, text)| text).collect();
        let mut line = sentence(severity as u8, &said.join(if all_is_well { ", " } else { "; " }));
        if !self.data.is_empty() {
            let _ = write!(line, " | {}", self.data.join(" "));
        }
        (severity as u8, line)
    }
}

/// The line without performance data; a bar in the text would begin them.
fn sentence(status: u8, text: &str) -> String {
    let name = ["OK", "WARNING", "CRITICAL", "UNKNOWN"][usize::from(status)];
    format!("RELINKD {name} - {}", Printable::text(text).as_str().replace('|', "/"))
}

fn severity<T: PartialOrd>(value: T, warning: T, critical: Option<T>) -> Severity {
    match critical {
        Some(critical) if value > critical => Severity::Fault,
        _ if value > warning => Severity::Warning,
        _ => Severity::Ok,
    }
}
