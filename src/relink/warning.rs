//! What the work found that an operator should hear of, as data: the daemon logs it, `sync` prints it.

use std::fmt;

/// Something an operator should hear of, once the transaction is kept.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Warning {
    /// A stored value is no usable token.
    Unusable {
        /// Whose.
        telegram_id: i64,
        /// Why, in words.
        reason: String,
    },
    /// Several users have the same token.
    Shared {
        /// Who.
        telegram_ids: Vec<i64>,
    },
    /// A sealed token would not fit the column.
    NoRoomToSeal {
        /// Whose.
        telegram_id: i64,
        /// What the column holds, in characters.
        limit: usize,
    },
    /// A link would not fit its column.
    NoRoomForLink {
        /// Which.
        issue_id: i64,
        /// What the column holds, in characters.
        limit: usize,
    },
    /// The links of a user, or one of them, could not be written; they are tried again later.
    SetAside {
        /// Whose.
        telegram_id: i64,
        /// Which; none for the user as a whole.
        issue_id: Option<i64>,
        /// Failures in a row.
        attempts: i32,
        /// The last one.
        reason: String,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unusable { telegram_id, reason } => {
                write!(f, "the stored token of user {telegram_id} changes no link: {reason}")
            }
            Self::Shared { telegram_ids } => {
                let ids: Vec<String> = telegram_ids.iter().map(ToString::to_string).collect();
                write!(f, "these users have the same token: {}", ids.join(", "))
            }
            Self::NoRoomToSeal { telegram_id, limit } => {
                write!(
                    f,
                    "the token of user {telegram_id} cannot be sealed: the column holds {limit} characters only"
                )
            }
            Self::NoRoomForLink { issue_id, limit } => {
                write!(
                    f,
                    "the new link of issue {issue_id} would not fit: the column holds {limit} characters only"
                )
            }
            Self::SetAside { telegram_id, issue_id: Some(issue), attempts, reason } => {
                write!(
                    f,
                    "the link of issue {issue} of user {telegram_id} could not be written ({attempts} times): {reason}"
                )
            }
            Self::SetAside { telegram_id, issue_id: None, attempts, reason } => {
                write!(
                    f,
                    "user {telegram_id} could not be looked at, or the token not sealed ({attempts} times): {reason}"
                )
            }
        }
    }
}
