//! What can be wrong with a drop file: a place, and a rule in one sentence.
//!
//! No kind holds a value of the file, not even the name of an unknown key, since a token may stand anywhere in a file
//! that is wrong.

use thiserror::Error;

use crate::{place::Place, token::TokenFault};

/// One fault of a drop file. It prints as `line:column: sentence`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{place}: {kind}")]
pub struct Fault {
    /// Where.
    pub place: Place,
    /// What.
    pub kind: FaultKind,
}

impl Fault {
    /// A fault at a place.
    #[must_use]
    pub fn new(place: Place, kind: FaultKind) -> Self {
        Self { place, kind }
    }
}

/// The rule that is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum FaultKind {
    /// Larger than [`super::MAX_BYTES`].
    #[error("the file is larger than 1 MiB")]
    TooLarge,
    /// A byte that is no UTF-8.
    #[error("the file is not UTF-8 text from here on")]
    NotUtf8,
    /// Not TOML, a key that stands twice in one table included.
    #[error("not TOML: is a quote, a bracket or `=` missing, or does a key stand twice?")]
    NotToml,
    /// A key that a drop file does not have.
    #[error("unknown key: an assignment has `telegram_id` and either `token` or `remove`")]
    UnknownKey,
    /// A value of another type.
    #[error("`{key}` must be {right}")]
    WrongType {
        /// The key, one of ours.
        key: &'static str,
        /// What its value must be.
        right: &'static str,
    },
    /// A `telegram_id` that is no 64-bit number.
    #[error("`telegram_id` is out of range: it must fit a 64-bit integer")]
    OutOfRange,
    /// An assignment without `telegram_id`.
    #[error("`telegram_id` is missing")]
    NoUser,
    /// Neither `token` nor `remove`.
    #[error("neither `token` nor `remove = true` says what to do for this user")]
    NoChange,
    /// Both `token` and `remove`.
    #[error("`remove` stands beside `token`: leave one of them out")]
    BothChanges,
    /// `remove = false`.
    #[error("`remove` can only be `true`: leave the assignment out to change nothing")]
    RemoveFalse,
    /// Keys of a single assignment at the top level beside `[[assignment]]`.
    #[error("a single assignment at the top level cannot stand beside [[assignment]]")]
    MixedForms,
    /// Not a single assignment.
    #[error("no assignment at all")]
    NoAssignment,
    /// A text that is no token.
    #[error("the token {0}")]
    BadToken(TokenFault),
    /// A user who was there before.
    #[error("the same `telegram_id` stands at {first} already")]
    UserTwice {
        /// Where it stands first.
        first: Place,
    },
    /// A token that was there before.
    #[error("the same token stands at {first} already")]
    TokenTwice {
        /// Where it stands first.
        first: Place,
    },
    /// From the database: nobody has this `telegram_id`.
    #[error("no user has this `telegram_id`")]
    UnknownUser,
    /// From the database: somebody else would hold the same token after the whole file.
    #[error("another user holds this token")]
    TokenHeld,
}

impl FaultKind {
    /// Whether it complains of something that is not there, which a damaged line may have swallowed.
    pub(super) fn is_absence(self) -> bool {
        matches!(self, Self::NoUser | Self::NoChange | Self::NoAssignment)
    }
}
