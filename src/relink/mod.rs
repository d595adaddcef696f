//! Changes → right links.
//!
//! A step is one short transaction that claims what is due, brings its links into form and forgets it. A worker goes from
//! step to step; the daemon, `sync` and whatever else moves links use the same one.

pub(crate) mod audit;
mod batch;
mod load;
mod plan;
mod preview;
mod step;
mod sync;
mod token_states;
mod verdict;
mod warning;
mod worker;

pub(crate) use plan::{Due, Plan, Strip, plan};
pub(crate) use preview::{LinkCounts, Page, Preview, preview};
pub(crate) use step::Step;
pub(crate) use sync::{Synced, about_how_many_links, sync};
pub(crate) use token_states::{User, Users, read as read_users};
pub(crate) use warning::Warning;
pub(crate) use worker::{Part, Worker};

use crate::config::Settings;
use crate::db::DbError;
use crate::db::schema::Facts;
use crate::db::users::UserRow;
use crate::envelope::{KeyId, Keyring, SealFault, TokenState};
use crate::link::{Portal, Tokenless};
use crate::policy;
use crate::token::TokenRule;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Everything that decides what a link should be.
#[derive(Clone)]
pub(crate) struct Rules {
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
    /// What decides links, in short: compared with what the database remembers of it.
    pub portal_fingerprint: String,
    /// Unknown keys that are to be taken for missing; none: all of them.
    pub missing_keys: Option<BTreeSet<KeyId>>,
}

/// Why work on links or tokens stopped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RelinkError {
    /// The database's.
    #[error(transparent)]
    Database(#[from] DbError),
    /// A value names a key that the ring does not have: read the keyring file again, then repeat.
    #[error("a stored token is sealed with key {0}, which the keyring does not have")]
    UnknownKey(KeyId),
    /// Links follow other `[portal]` settings than these: another daemon, or a command, has brought newer ones.
    #[error("links follow another [portal] configuration than this one")]
    OtherPortal,
    /// The operating system gave no randomness.
    #[error(transparent)]
    Seal(#[from] SealFault),
    /// The database took the write of tokens and left rows as they were.
    #[error("a trigger of the bot's keeps the row of a user as it is")]
    NotWritten,
}

impl RelinkError {
    /// What happened, and the next step where there is one for an operator.
    pub(crate) fn with_advice(&self) -> String {
        match self {
            Self::Database(error) => policy::with_advice(error),
            other => other.to_string(),
        }
    }

    /// As [`DbError::without`].
    pub(crate) fn without<'s>(self, secrets: impl IntoIterator<Item = &'s str>) -> Self {
        match self {
            Self::Database(error) => Self::Database(error.without(secrets)),
            other => other,
        }
    }
}

impl Rules {
    /// The state of a user's token, judged by `rule`. Fails with the key that it needs where the ring does not have that
    /// key, nor is it known to be missing: the keyring file should be read again.
    pub(crate) fn state(&self, row: &UserRow, rule: &TokenRule) -> Result<TokenState, KeyId> {
        let state = row.state(&self.keyring, rule);
        if let (TokenState::Unusable(reason), Some(missing)) = (&state, &self.missing_keys)
            && let Some(key) = reason.unknown_key()
            && !missing.contains(key)
        {
            return Err(key.clone());
        }
        Ok(state)
    }

    /// The rules that follow from the settings, a keyring, and what the database's columns hold. Unknown keys are
    /// taken for missing.
    pub(crate) fn new(settings: &Settings, keyring: Arc<Keyring>, facts: &Facts) -> Self {
        Self {
            portal: settings.portal.portal(),
            tokenless: settings.portal.tokenless,
            token_rule: settings.portal.token_pattern.rule.clone(),
            seal_plaintext: settings.seal.plaintext,
            keyring,
            url_limit: facts.url_limit,
            token_limit: facts.token_limit,
            portal_fingerprint: settings.portal_fingerprint(),
            missing_keys: None,
        }
    }
}
