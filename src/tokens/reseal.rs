//! Every token of the column written anew: sealed under the primary key, or in plaintext, beside a running bot.
//!
//! A page is a transaction; a value is replaced only where it still is what was read, so no token is unreadable for a
//! moment, and a run that was cut short is taken up by the next one: what has its form already is passed over.

use crate::db::retry::{self, while_locked};
use crate::db::session::Purpose;
use crate::db::users::{self, Replacement, UserRow};
use crate::db::{Cursor, DbError, Session, Tx, fingerprints};
use crate::envelope::{Keyring, TokenState};
use crate::relink::{RelinkError, Rules};
use crate::token::{Token, TokenRule};
use std::collections::BTreeMap;

/// Users a page.
const PAGE: usize = 500;

/// What came of sealing anew.
#[derive(Debug, Default)]
pub(crate) struct Resealed {
    /// Tokens sealed anew.
    pub sealed: usize,
    /// Users whose value could not be: why, in words.
    pub left: BTreeMap<i64, String>,
}

/// Seals everything anew under the primary key; `seen` hears how many users have been looked at, page by page.
///
/// # Errors
/// The database's, or no randomness; what is done until then stays done.
pub(crate) async fn rekey(
    session: &mut Session,
    rules: &Rules,
    seen: impl Fn(usize),
) -> Result<Resealed, RelinkError> {
    let mut resealed = Resealed::default();
    let mut first = true;
    let locked = while_locked(async || {
        let seen = |count| {
            if first {
                seen(count);
            }
        };
        let locked = pass(session, Form::Sealed(rules), &mut resealed, seen).await;
        first = false;
        locked
    })
    .await?;
    let reason = "the bot holds the row; run `relinkd rekey` again";
    resealed.left.extend(locked.into_iter().map(|user| (user, reason.to_owned())));
    Ok(resealed)
}

/// Writes every sealed token back in plaintext. Returns how many.
///
/// # Errors
/// The database's; also when a row stays locked.
pub(crate) async fn unseal(session: &mut Session, keyring: &Keyring) -> Result<usize, RelinkError> {
    let mut resealed = Resealed::default();
    let locked =
        while_locked(async || pass(session, Form::Plaintext(keyring), &mut resealed, |_| {}).await).await?;
    if locked.is_empty() { Ok(resealed.sealed) } else { Err(DbError::Locked(retry::PATIENCE).into()) }
}

/// What the values should become.
#[derive(Clone, Copy)]
enum Form<'a> {
    /// Sealed under the primary key.
    Sealed(&'a Rules),
    /// Plaintext, on the way out.
    Plaintext(&'a Keyring),
}

impl Form<'_> {
    fn purpose(self) -> Purpose {
        match self {
            Self::Sealed(_) => Purpose::Assign,
            Self::Plaintext(_) => Purpose::Relink,
        }
    }

    fn state(self, row: &UserRow) -> TokenState {
        match self {
            Self::Sealed(rules) => row.state(&rules.keyring, &rules.token_rule),
            Self::Plaintext(keyring) => row.state(keyring, &TokenRule::default()),
        }
    }

    /// Whether a token that stands in this state is to be written anew.
    fn wants(self, state: &TokenState) -> bool {
        match (self, state) {
            (Self::Sealed(rules), TokenState::Sealed { key, .. }) => key != rules.keyring.primary(),
            (Self::Sealed(rules), TokenState::Plaintext(_)) => rules.seal_plaintext,
            (Self::Plaintext(_), TokenState::Sealed { .. }) => true,
            (Self::Plaintext(_), TokenState::Plaintext(_))
            | (_, TokenState::None | TokenState::Unusable(_)) => false,
        }
    }

    fn value(self, token: &Token, telegram_id: i64) -> Result<String, RelinkError> {
        match self {
            Self::Sealed(rules) => Ok(rules.keyring.seal(token, telegram_id)?),
            Self::Plaintext(_) => Ok(token.expose().to_owned()),
        }
    }

    /// Writes a page, with the fingerprints that go with it. Returns the users whose row was locked or has changed.
    async fn write(
        self,
        tx: &Tx<'_>,
        replacements: &[Replacement],
        tokens: &BTreeMap<i64, Token>,
    ) -> Result<Vec<i64>, DbError> {
        let Self::Sealed(rules) = self else { return users::replace_by_copy(tx, replacements).await };
        let locked = users::replace(tx, replacements).await?;
        let sealed = tokens.iter().filter(|(user, _)| !locked.contains(user));
        let prints: Vec<_> = sealed.map(|(user, token)| (*user, rules.keyring.fingerprints(token))).collect();
        fingerprints::put(tx, &prints).await?;
        Ok(locked)
    }
}

/// Once over all users who have a value. Returns those whose row was locked or has changed meanwhile.
async fn pass(
    session: &mut Session,
    form: Form<'_>,
    resealed: &mut Resealed,
    seen: impl Fn(usize),
) -> Result<Vec<i64>, RelinkError> {
    let mut all_locked = Vec::new();
    let mut cursor = Cursor::with_pages_of(PAGE);
    while cursor.more() {
        let tx = session.begin(form.purpose());
        let rows = users::page_with_value(&tx, &mut cursor).await?;
        seen(rows.len());
        let (mut replacements, mut tokens) = (Vec::new(), BTreeMap::new());
        for row in rows {
            let (telegram_id, state) = (row.telegram_id, form.state(&row));
            if let TokenState::Unusable(reason) = &state {
                resealed.left.insert(telegram_id, reason.to_string());
            }
            let (Some(token), Some(place), true) = (state.token(), row.place, form.wants(&state)) else {
                continue;
            };
            let value = form.value(token, telegram_id)?.into();
            replacements.push(Replacement { telegram_id, place, value });
            tokens.insert(telegram_id, token.clone());
        }
        if replacements.is_empty() {
            tx.commit().await?;
            continue;
        }
        let masked = |error: DbError| error.without(tokens.values().map(Token::expose));
        let locked = form.write(&tx, &replacements, &tokens).await.map_err(masked)?;
        tx.commit().await.map_err(masked)?;
        resealed.sealed += tokens.keys().filter(|user| !locked.contains(user)).count();
        all_locked.extend(locked);
    }
    Ok(all_locked)
}
