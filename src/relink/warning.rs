//! What the work found that an operator should hear of, as data: the daemon logs it, `sync` prints it.

/// Something an operator should hear of, once the transaction is kept.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Warning {
    /// A stored value is no usable token.
    #[error("the stored token of user {telegram_id} changes no link: {reason}")]
    Unusable {
        /// Whose.
        telegram_id: i64,
        /// Why, in words.
        reason: String,
    },
    /// Several users have the same token.
    #[error("these users have the same token: {}", listed(.telegram_ids))]
    Shared {
        /// Who.
        telegram_ids: Vec<i64>,
    },
    /// A sealed token would not fit the column.
    #[error("the token of user {telegram_id} cannot be sealed: the column holds {limit} characters only")]
    NoRoomToSeal {
        /// Whose.
        telegram_id: i64,
        /// What the column holds, in characters.
        limit: usize,
    },
    /// A link would not fit its column.
    #[error("the new link of issue {issue_id} would not fit: the column holds {limit} characters only")]
    NoRoomForLink {
        /// Which.
        issue_id: i64,
        /// What the column holds, in characters.
        limit: usize,
    },
    /// The links of a user, or one of them, could not be written; they are tried again later.
    #[error("{} ({attempts} times): {reason}", failed(*.telegram_id, *.issue_id))]
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

fn listed(users: &[i64]) -> String {
    users.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn failed(user: i64, issue: Option<i64>) -> String {
    match issue {
        Some(issue) => format!("the link of issue {issue} of user {user} could not be written"),
        None => format!("user {user} could not be looked at, or the token not sealed"),
    }
}
