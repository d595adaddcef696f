//! From a claimed file to what it asks for, and from its faults to its reason.

use crate::drop_file::{self, DropFile, Fault, FaultKind, Faulty};
use crate::printable::Printable;
use crate::spool::{Claim, Content, SpoolError};
use crate::token::TokenRule;
use std::fmt::Write as _;

/// How many faults a reason lists; a file of noise could have half a million.
const FAULTS_SHOWN: usize = 1_000;

/// A claimed file that was read.
pub(super) enum Read {
    /// In order, as far as the file tells.
    Ready { file: DropFile, owner: String },
    /// Not in order.
    Faulty(Faulty),
    /// It cannot be read at this moment.
    Unreadable(std::io::Error),
    /// There is nothing to read any more.
    Gone,
    /// It is no regular file.
    NoFile,
}

pub(super) fn read(claim: &Claim, token_rule: &TokenRule) -> Result<Read, SpoolError> {
    Ok(match claim.read(drop_file::MAX_BYTES)? {
        Content::Gone => Read::Gone,
        Content::NoFile => Read::NoFile,
        Content::Unreadable(error) => Read::Unreadable(error),
        Content::TooLarge => Read::Faulty(Faulty::wholly(Fault::of_file(FaultKind::TooLarge))),
        Content::Bytes { bytes, owner } => match drop_file::parse(&bytes, token_rule) {
            Ok(file) => Read::Ready { file, owner: user_name(owner) },
            Err(faulty) => Read::Faulty(faulty),
        },
    })
}

/// The name of a user, or its number where it has none.
fn user_name(uid: u32) -> String {
    let user = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(uid)).ok().flatten();
    user.map_or_else(|| uid.to_string(), |user| user.name)
}

/// What stands in `NAME.reason`: each fault in English and, beneath, in Russian.
pub(super) fn reason(faults: &[Fault]) -> String {
    let mut reason = String::new();
    for fault in faults.iter().take(FAULTS_SHOWN) {
        for line in Printable::lines(&fault.in_two_languages()) {
            let _ = writeln!(reason, "{line}");
        }
    }
    if faults.len() > FAULTS_SHOWN {
        let more = faults.len() - FAULTS_SHOWN;
        let _ = writeln!(reason, "and {more} faults more\n    и ещё ошибок: {more}");
    }
    reason
}
