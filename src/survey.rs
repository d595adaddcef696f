//! A count of all stored tokens: what `status`, `check` and the end of `install` have to say about them.

use crate::db::session::Purpose;
use crate::db::{Cursor, DbError, Session, users};
use crate::envelope::{Fingerprint, Keyring, Stored, key_named_by};
use crate::token::TokenRule;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Rows a page.
const PAGE: usize = 5_000;

/// How tokens stand.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    /// Users with a usable token.
    pub with_token: u64,
    /// Of these, sealed.
    pub sealed: u64,
    /// Of these, in plaintext.
    pub plaintext: u64,
    /// Users whose value is no usable token, with the reason in a word.
    pub unusable: BTreeMap<i64, &'static str>,
    /// Users who share their token with another.
    pub duplicated: BTreeSet<i64>,
    /// Sealed values, usable or not, by the key they name.
    pub keys: BTreeMap<String, u64>,
    /// Of these, the keys that are not in the keyring, for values that are whole but for that.
    pub missing_keys: BTreeMap<String, u64>,
}

/// Looks at every user's token. Without a keyring none that is sealed is usable.
pub(crate) async fn survey(
    session: &mut Session,
    keyring: Option<&Keyring>,
    rule: &TokenRule,
) -> Result<Survey, DbError> {
    let mut survey = Survey::default();
    let mut holders: HashMap<Fingerprint, Vec<i64>> = HashMap::new();
    let mut cursor = Cursor::start();
    while cursor.more() {
        let tx = session.begin(Purpose::Read);
        let rows = users::with_value_after(&tx, cursor.after(), PAGE).await?;
        tx.commit().await?;
        cursor.pass(&rows, PAGE, |(id, _)| *id);
        for (telegram_id, value) in &rows {
            survey.count(*telegram_id, value, keyring, rule, &mut holders);
        }
    }
    survey.duplicated = holders.into_values().filter(|ids| ids.len() > 1).flatten().collect();
    Ok(survey)
}

impl Survey {
    fn count(
        &mut self,
        telegram_id: i64,
        value: &str,
        keyring: Option<&Keyring>,
        rule: &TokenRule,
        holders: &mut HashMap<Fingerprint, Vec<i64>>,
    ) {
        if let Some(named) = key_named_by(value) {
            *self.keys.entry(named.to_string()).or_default() += 1;
        }
        let stored = match keyring {
            Some(keyring) => keyring.read(Some(value), telegram_id, rule),
            None => Stored::without_keyring(Some(value), rule),
        };
        if let Some(token) = stored.token() {
            self.with_token += 1;
            if let Some(keyring) = keyring {
                holders.entry(keyring.fingerprint_under_primary(token).1).or_default().push(telegram_id);
            }
        }
        match &stored {
            Stored::Plaintext(_) => self.plaintext += 1,
            Stored::Unusable(reason) => {
                if let Some(key) = reason.unknown_key() {
                    *self.missing_keys.entry(key.to_string()).or_default() += 1;
                }
                self.unusable.insert(telegram_id, reason.code());
            }
            Stored::Sealed { .. } => self.sealed += 1,
            Stored::None => {}
        }
    }
}
