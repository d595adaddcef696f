//! Counts over the tokens of all users: what `status`, `health`, `check` and the end of `install` say about them.

use crate::db::session::Purpose;
use crate::db::{Cursor, DbError, Session, users};
use crate::envelope::{Fingerprint, Keyring, TokenState, UnusableReason, key_named_by};
use crate::token::TokenRule;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Rows a page.
const PAGE: usize = 5_000;

/// How many users have a token in which state.
#[derive(Debug, Default)]
pub(crate) struct TokenStats {
    /// Users with a usable token.
    pub with_token: u64,
    /// Of these, sealed.
    pub sealed: u64,
    /// Of these, in plaintext.
    pub plaintext: u64,
    /// Users whose value is no usable token, and why.
    pub unusable: BTreeMap<i64, UnusableReason>,
    /// Users who share their token with another.
    pub duplicated: BTreeSet<i64>,
    /// Sealed values, usable or not, by the key they name.
    pub keys: BTreeMap<String, u64>,
    /// Of these, the keys that are not in the keyring, for values that are whole but for that.
    pub missing_keys: BTreeMap<String, u64>,
}

impl TokenStats {
    /// Looks at every user's token. Without a keyring none that is sealed is usable.
    pub(crate) async fn gather(
        session: &mut Session,
        keyring: Option<&Keyring>,
        rule: &TokenRule,
    ) -> Result<Self, DbError> {
        let mut all = Self::default();
        let mut users_of: HashMap<Fingerprint, Vec<i64>> = HashMap::new();
        let mut cursor = Cursor::with_pages_of(PAGE);
        while cursor.more() {
            let tx = session.begin(Purpose::Read);
            let rows = users::page_with_value(&tx, &mut cursor).await?;
            tx.commit().await?;
            for row in &rows {
                let value = row.value.as_ref().map(|value| value.as_str());
                if let Some(key) = value.and_then(key_named_by) {
                    *all.keys.entry(key.to_string()).or_default() += 1;
                }
                let state = match keyring {
                    Some(keyring) => row.state(keyring, rule),
                    None => TokenState::without_keyring(value, rule),
                };
                if let (Some(keyring), Some(token)) = (keyring, state.token()) {
                    let (_, fingerprint) = keyring.fingerprint_under_primary(token);
                    users_of.entry(fingerprint).or_default().push(row.telegram_id);
                }
                all.count(row.telegram_id, state);
            }
        }
        all.duplicated = users_of.into_values().filter(|ids| ids.len() > 1).flatten().collect();
        Ok(all)
    }

    fn count(&mut self, telegram_id: i64, state: TokenState) {
        self.with_token += u64::from(state.token().is_some());
        match state {
            TokenState::None => {}
            TokenState::Sealed { .. } => self.sealed += 1,
            TokenState::Plaintext(_) => self.plaintext += 1,
            TokenState::Unusable(reason) => {
                if let Some(key) = reason.unknown_key() {
                    *self.missing_keys.entry(key.to_string()).or_default() += 1;
                }
                self.unusable.insert(telegram_id, reason);
            }
        }
    }
}
