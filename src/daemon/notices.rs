//! What the work found, as log lines: ids and counts, never values.

use crate::relinker::Notice;

/// Logs notices.
pub(super) fn log(notices: &[Notice]) {
    for notice in notices {
        match notice {
            Notice::Unusable { telegram_id, reason } => {
                log::warn!(telegram_id, reason = reason.as_str();
                    "the stored token of a user is unusable: it is left as it is and changes no link");
            }
            Notice::Shared { telegram_ids } => {
                let ids: Vec<String> = telegram_ids.iter().map(ToString::to_string).collect();
                log::warn!(telegram_ids = ids.join(",").as_str();
                    "these users hold the same token, each of them opens the portal of the same person");
            }
            Notice::NoRoomToSeal { telegram_id, limit } => {
                log::warn!(telegram_id, limit;
                    "a sealed token does not fit its column: widen it to 255 characters (`relinkd check` shows how)");
            }
            Notice::NoRoomForLink { issue_id, limit } => {
                log::warn!(issue_id, limit; "the link of an issue would not fit its column: it is left as it is");
            }
        }
    }
}
