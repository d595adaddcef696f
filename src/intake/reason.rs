//! From a file's faults to its reason.

use crate::drop_file::Fault;
use crate::printable::Printable;
use std::fmt::Write as _;

/// How many faults a reason lists; a file of noise could have half a million.
const FAULTS_SHOWN: usize = 1_000;

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
