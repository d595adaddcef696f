//! Changes → right links.
//!
//! A step is one short transaction that claims what is due, brings its links into form and forgets it; a crash is a
//! rollback. Whoever writes a user's links holds the user's lock first and reads token and links after, each in a
//! statement of its own: otherwise a token that is being removed can be written back.

mod holders;
mod rewriting;
mod step;
mod walk;

pub use holders::{Holding, Notice, read as read_holders};
pub use rewriting::{Plan, plan};
pub use step::{Load, Step, step};
pub use walk::{Walked, walk_users};

use crate::db::DbError;
use crate::envelope::{KeyId, Keyring};
use crate::link::{Portal, Tokenless};
use crate::token::TokenRule;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Everything that decides what a link should be.
#[derive(Clone)]
pub struct Rules {
    /// Which links are ours, and where they lead.
    pub portal: Portal,
    /// What becomes of links of users without a token.
    pub tokenless: Tokenless,
    /// Which tokens are admitted.
    pub token_rule: TokenRule,
    /// Whether plaintext that the bot wrote is sealed in place.
    pub seal_plaintext: bool,
    /// The keys.
    pub keyring: Arc<Keyring>,
    /// How long a link may be, in characters, where its column is bounded.
    pub url_limit: Option<usize>,
    /// How long a stored token may be.
    pub token_limit: Option<usize>,
    /// Unknown keys that are to be taken for missing; none: all of them.
    pub missing_keys: Option<BTreeSet<KeyId>>,
}

/// Why work stopped.
#[derive(Debug, thiserror::Error)]
pub enum RelinkError {
    /// The database's.
    #[error(transparent)]
    Database(#[from] DbError),
    /// A value names a key that the ring does not have: read the keyring file again, then repeat.
    #[error("a stored token is sealed with key {0}, which the keyring does not have")]
    UnknownKey(KeyId),
}
