//! What the work found, as log lines: ids and counts, never values.

use crate::relink::Warning;

/// Logs warnings.
pub(super) fn log(warnings: &[Warning]) {
    for warning in warnings {
        match warning {
            Warning::Unusable { telegram_id, reason } => {
                log::warn!(telegram_id, reason = reason.as_str();
                    "the stored token of a user is unusable: it is left as it is and changes no link");
            }
            Warning::Shared { telegram_ids } => {
                let ids: Vec<String> = telegram_ids.iter().map(ToString::to_string).collect();
                log::warn!(telegram_ids = ids.join(",").as_str();
                    "these users have the same token, each of them opens the portal of the same person");
            }
            Warning::NoRoomToSeal { telegram_id, limit } => {
                log::warn!(telegram_id, limit;
                    "a sealed token does not fit its column: widen it to 255 characters (`relinkd check` shows how)");
            }
            Warning::NoRoomForLink { issue_id, limit } => {
                log::warn!(issue_id, limit; "the link of an issue would not fit its column: it is left as it is");
            }
            Warning::SetAside { telegram_id, issue_id: Some(issue_id), attempts: 1, reason } => {
                log::warn!(telegram_id, issue_id, reason = reason.as_str();
                    "cannot be written: set aside, and tried again later (`relinkd status` lists what is set aside)");
            }
            Warning::SetAside { telegram_id, issue_id: None, attempts: 1, reason } => {
                log::warn!(telegram_id, reason = reason.as_str();
                    "the token or the links of a user: set aside, and tried again later (`relinkd status` lists what is set aside)");
            }
            Warning::SetAside { telegram_id, attempts, .. } => {
                log::debug!(telegram_id, attempts; "still set aside");
            }
        }
    }
}
