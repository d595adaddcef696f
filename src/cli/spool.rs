//! `relinkd spool`: what waits, was rejected or is not taken; a rejected file back, or away.
//!
//! Needs no database and no keyring, and no configuration that it may not read: it is for the operators' group too. What
//! a file says is not shown.

use super::output::{self, Exit, Failure};
use super::table::Table;
use super::{SpoolArgs, SpoolCommand, database};
use crate::config::{self, ConfigError};
use crate::printable::Printable;
use crate::process;
use crate::spool::{self, Listing, NotTaken, OperateError, Rejected, SpoolError};
use serde_json::{Value, json};
use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

pub(super) fn run(config: &Path, args: SpoolArgs) -> Result<Exit, Failure> {
    let root = match args.directory {
        Some(directory) => directory,
        None => directory(config)?,
    };
    database::become_owner(&root, None)?;
    match args.command {
        None => list(&root, args.json),
        Some(SpoolCommand::List { json }) => list(&root, json),
        Some(SpoolCommand::Show { name }) => show(&root, name),
        Some(SpoolCommand::Retry { names }) => each(&names, |name| {
            let target = spool::retry(&root, name)?;
            Ok(format!("{}: moved back, as incoming/{}", Printable::name(name), Printable::name(&target)))
        }),
        Some(SpoolCommand::Discard { names }) => each(&names, |name| {
            spool::discard(&root, name)?;
            Ok(format!("{}: deleted, with its reason", Printable::name(name)))
        }),
    }
}

/// The spool that the configuration names; where this user may not read that, the usual one.
fn directory(config: &Path) -> Result<PathBuf, Failure> {
    let (parts, fault) = config::load_parts(config);
    match fault {
        Some(ConfigError::Unreadable { source, .. })
            if [io::ErrorKind::PermissionDenied, io::ErrorKind::NotFound].contains(&source.kind()) =>
        {
            Ok(config::usual_spool(config))
        }
        Some(fault) => Err(Failure::from(fault).next("correct it, or name the spool: --directory DIR")),
        None => Ok(parts.spool.map_or_else(|| config::usual_spool(config), |spool| spool.directory)),
    }
}

fn list(root: &Path, json: bool) -> Result<Exit, Failure> {
    let listing = spool::list(root).map_err(|error| failure(root, error))?;
    if json {
        output::json(json!({
            "directory": root.to_string_lossy(),
            "waiting": listing.waiting.iter().map(|name| json!({ "name": Printable::name(name) })).collect::<Vec<_>>(),
            "claimed": listing.claimed,
            "not_taken": not_taken_as_json(&listing),
            "rejected": rejected_as_json(&listing),
        }));
        return Ok(Exit::Done);
    }
    let mut table = Table::new(["STATE", "NAME", "WHY"]);
    for name in &listing.waiting {
        table.row([&"waiting", &Printable::name(name), &""]);
    }
    for other in &listing.not_taken {
        table.row([&"not taken", &Printable::name(&other.name), &other.reason]);
    }
    for rejected in &listing.rejected {
        table.row([&"rejected", &Printable::name(&rejected.name), &summary(rejected)]);
    }
    if let Some(claimed) = listing.claimed.filter(|claimed| *claimed > 0) {
        table.row([&"claimed", &output::things(claimed, "file"), &"relinkd is at it"]);
    }
    if table.is_empty() {
        output::line("nothing waits, nothing was rejected");
    } else {
        table.print();
    }
    Ok(Exit::Done)
}

pub(super) fn not_taken_as_json(listing: &Listing) -> Vec<Value> {
    let one = |it: &NotTaken| json!({ "name": Printable::name(&it.name), "reason": it.reason.to_string() });
    listing.not_taken.iter().map(one).collect()
}

pub(super) fn rejected_as_json(listing: &Listing) -> Vec<Value> {
    let one = |it: &Rejected| {
        let age = it.age().map(|age| age.as_secs());
        json!({ "name": Printable::name(&it.name), "age_seconds": age, "reason": it.faults().collect::<Vec<_>>() })
    };
    listing.rejected.iter().map(one).collect()
}

/// Why a file was rejected, in a line.
pub(super) fn summary(rejected: &Rejected) -> String {
    if rejected.file.is_none() {
        return "the file is gone, only its reason is left".to_owned();
    }
    let mut faults = rejected.faults();
    match (faults.next(), faults.count()) {
        (None, _) => "there is no reason that can be read".to_owned(),
        (Some(first), 0) => Printable::text(first).to_string(),
        (Some(first), more) => format!("{} (and {more} more)", Printable::text(first)),
    }
}

fn show(root: &Path, name: OsString) -> Result<Exit, Failure> {
    let row = |key: &str, value: &dyn Display| output::line(format!("{key:<9} {value}"));
    match spool::rejected(root, name.clone()) {
        Ok(rejected) => {
            let age = rejected.age().map_or_else(String::new, |age| format!(", {} ago", output::rough(age)));
            row("state", &format_args!("rejected{age}"));
            if let Some(file) = &rejected.file {
                row("owner", &process::user_name(file.uid()));
                row("size", &output::things(file.size(), "byte"));
            }
            match &rejected.reason {
                None => row("reason", &"cannot be read, or is not there"),
                Some(reason) => {
                    output::line("reason");
                    reason.lines().for_each(|line| output::line(format!("  {line}")));
                }
            }
        }
        Err(OperateError::Absent) => {
            let listing = spool::list(root).map_err(|error| failure(root, error))?;
            if listing.waiting.contains(&name) {
                row("state", &"waiting; if it stays so, `relinkd status` says why");
            } else if let Some(other) = listing.not_taken.iter().find(|other| other.name == name) {
                row("state", &format_args!("not taken: {}", other.reason));
            } else {
                return Err(Failure::refused(
                    format!("{}: there is no such file in incoming/ or rejected/", Printable::name(&name)),
                    "`relinkd spool` lists what there is; what was applied has a receipt in applied/",
                ));
            }
        }
        Err(error) => return Err(refusal(&name, &error)),
    }
    Ok(Exit::Done)
}

/// Does something with each file; those that fail keep no other from its turn.
fn each(names: &[OsString], act: impl Fn(&OsStr) -> Result<String, OperateError>) -> Result<Exit, Failure> {
    let mut failures = Vec::new();
    for name in names {
        match act(name) {
            Ok(done) => output::line(done),
            Err(error) => failures.push(refusal(name, &error)),
        }
    }
    let some_done = failures.len() < names.len();
    let Some(last) = failures.pop() else { return Ok(Exit::Done) };
    for failure in &failures {
        failure.report();
    }
    Err(if some_done { Failure::new(Exit::Partly, last.cause, last.next) } else { last })
}

fn refusal(name: &OsStr, error: &OperateError) -> Failure {
    let next = match error {
        OperateError::NoName => "give the name alone, as `relinkd spool` lists it",
        OperateError::Absent => "`relinkd spool` lists what there is",
        OperateError::NoFile(_) => "see what it is with `ls -l`, and delete it",
        OperateError::Spool(_) => FOR_OPERATORS,
    };
    Failure::refused(format!("{}: {}", Printable::name(name), error), next)
}

/// Who may do this.
const FOR_OPERATORS: &str =
    "this is for members of the group that owns the spool's directories (relinkd-ops), and for root";

fn failure(root: &Path, error: SpoolError) -> Failure {
    match error {
        error if !root.exists() => Failure::refused(error, "name the spool: --directory DIR"),
        // To give it to the daemon's user would not help whoever types this.
        SpoolError::System { path, what, source } if source.kind() == ErrorKind::PermissionDenied => {
            Failure::refused(format!("{}: {what}: {source}", path.display()), FOR_OPERATORS)
        }
        other => Failure::refused(other, FOR_OPERATORS),
    }
}
