//! Changes → right links.
//!
//! A step is one short transaction that claims what is due, brings its links into form and forgets it; a crash is a
//! rollback. Whoever writes a user's links holds the user's lock first and reads token and links after, each in a
//! statement of its own: otherwise a token that is being removed can be written back.

mod holders;
mod rewriting;
mod step;
mod sync;
mod walk;

pub use holders::{Holding, Notice, open as open_holders, read as read_holders};
pub use rewriting::{Due, Plan, foresee, foresee_page, plan};
pub use step::{Load, Step, set_aside, step};
pub use sync::{Synced, sync_users};

use crate::config::Settings;
use crate::db::DbError;
use crate::db::schema::Facts;
use crate::envelope::{KeyId, Keyring, SealFault};
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
    /// The operating system gave no randomness.
    #[error(transparent)]
    Seal(#[from] SealFault),
}

impl Rules {
    /// The rules that follow from the settings, a keyring, and what the database's columns hold. Unknown keys are
    /// taken for missing.
    #[must_use]
    pub fn new(settings: &Settings, keyring: Arc<Keyring>, facts: &Facts) -> Self {
        Self {
            portal: settings.portal.portal.clone(),
            tokenless: settings.portal.tokenless,
            token_rule: settings.portal.token_rule.clone(),
            seal_plaintext: settings.seal_plaintext,
            keyring,
            url_limit: facts.url_limit,
            token_limit: facts.token_limit,
            missing_keys: None,
        }
    }
}
