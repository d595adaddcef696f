//! Users: the state of each one's token, and the records that follow from it.
//!
//! Reading decides nothing about links. Reconciling seals plaintext in place, keeps the fingerprints and the list of
//! unusable values true, and says what an operator should hear of.

use super::{RelinkError, Rules, Warning};
use crate::db::history::{self, Action, Entry, Via};
use crate::db::issues::RowPlace;
use crate::db::users::{self, Remembered, Replacement, UserRow};
use crate::db::{Tx, fingerprints};
use crate::envelope::{KeyId, MAX_SEALED_LEN, TokenState, UnusableReason};
use crate::token::Token;
use std::collections::{BTreeMap, HashSet};
use zeroize::Zeroizing;

/// A user, read and opened.
pub(crate) struct User {
    /// Whether the bot has such a user.
    pub known: bool,
    /// The state of their token. Where the bot has several rows of one `telegram_id`: of the first usable one.
    pub state: TokenState,
    /// The rows with a token in plaintext.
    plaintext: Vec<(RowPlace, Token)>,
}

/// Users by `telegram_id`.
pub(crate) type Users = BTreeMap<i64, User>;

/// What is remembered of users, by `telegram_id`.
pub(super) type AllRemembered = BTreeMap<i64, Remembered>;

impl User {
    /// Whether what relinkd keeps beside the row disagrees with it: a value to seal, a fingerprint, a report.
    pub(crate) fn is_stale(&self, rules: &Rules, remembered: &Remembered) -> bool {
        !self.to_seal(rules).is_empty()
            || self.fingerprint_differs(rules, remembered)
            || self.report_differs(remembered)
    }

    fn to_seal(&self, rules: &Rules) -> &[(RowPlace, Token)] {
        if rules.seal_plaintext { &self.plaintext } else { &[] }
    }

    fn fingerprint_differs(&self, rules: &Rules, remembered: &Remembered) -> bool {
        self.state.token().is_some_and(|token| {
            remembered.fingerprints != [rules.keyring.fingerprint_under_primary(token).1.to_vec()]
        })
    }

    fn report_differs(&self, remembered: &Remembered) -> bool {
        remembered.unusable.as_deref() != self.reason().map(UnusableReason::code)
    }

    fn reason(&self) -> Option<&UnusableReason> {
        match &self.state {
            TokenState::Unusable(reason) => Some(reason),
            TokenState::None | TokenState::Sealed { .. } | TokenState::Plaintext(_) => None,
        }
    }
}

/// Reads users by `telegram_id`; there is an entry for each that is asked for. The caller has their locks, if it means to
/// write.
pub(crate) async fn read(tx: &Tx<'_>, rules: &Rules, ids: &[i64]) -> Result<Users, RelinkError> {
    open(users::by_id(tx, ids).await?, rules)
}

/// As [`read`], with what is remembered of each.
pub(super) async fn read_remembered(
    tx: &Tx<'_>,
    rules: &Rules,
    ids: &[i64],
) -> Result<(Users, AllRemembered), RelinkError> {
    open_remembered(users::by_id_remembered(tx, ids, rules.keyring.primary()).await?, rules)
}

/// As [`open`], with what is remembered of each.
pub(super) fn open_remembered(
    rows: Vec<(UserRow, Remembered)>,
    rules: &Rules,
) -> Result<(Users, AllRemembered), RelinkError> {
    let (rows, remembered) = rows
        .into_iter()
        .map(|(row, remembered)| {
            let user = row.telegram_id;
            (row, (user, remembered))
        })
        .unzip::<_, _, Vec<_>, _>();
    Ok((open(rows, rules)?, remembered))
}

/// Opens rows that were read. Fails with [`RelinkError::UnknownKey`] for a key that is not yet known to be missing.
pub(crate) fn open(rows: Vec<UserRow>, rules: &Rules) -> Result<Users, RelinkError> {
    let mut all = Users::new();
    for row in rows {
        let state = rules.state(&row, &rules.token_rule).map_err(RelinkError::UnknownKey)?;
        let user = all.entry(row.telegram_id).or_insert_with(|| User {
            known: row.place.is_some(),
            state: TokenState::None,
            plaintext: Vec::new(),
        });
        if let (TokenState::Plaintext(token), Some(place)) = (&state, row.place) {
            user.plaintext.push((place, token.clone()));
        }
        let better = match (&user.state, &state) {
            (TokenState::None, _) => true,
            (TokenState::Unusable(_), found) => found.token().is_some(),
            (TokenState::Sealed { .. } | TokenState::Plaintext(_), _) => false,
        };
        if better {
            user.state = state;
        }
    }
    Ok(all)
}

/// What reconciling some users came to.
#[derive(Default)]
pub(super) struct Reconciled {
    pub warnings: Vec<Warning>,
    /// Users whose row was locked or has changed: they must be looked at again.
    pub again: Vec<i64>,
    /// For history: who sealed what.
    pub entries: Vec<Entry>,
}

/// What relinkd remembers of users, each with the user as they are.
type Seen<'a> = (i64, &'a User, &'a Remembered);

fn seen<'a>(users: &'a Users, remembered: &'a AllRemembered) -> impl Iterator<Item = Seen<'a>> {
    remembered.iter().filter_map(|(id, remembered)| Some((*id, users.get(id)?, remembered)))
}

/// Brings sealing, fingerprints and reports of the remembered users into line, but for the sealing of `unsealable` ones.
pub(super) async fn reconcile(
    tx: &Tx<'_>,
    rules: &Rules,
    users: &Users,
    remembered: &AllRemembered,
    unsealable: &HashSet<i64>,
) -> Result<Reconciled, RelinkError> {
    let mut reconciled = Reconciled::default();
    let stale: Vec<Seen<'_>> =
        seen(users, remembered).filter(|(_, user, remembered)| user.is_stale(rules, remembered)).collect();
    if stale.is_empty() {
        return Ok(reconciled);
    }
    seal(tx, rules, &stale, unsealable, &mut reconciled).await?;
    fingerprint(tx, rules, &stale, &mut reconciled).await?;
    for (telegram_id, user, _) in stale.iter().filter(|(_, user, r)| user.report_differs(r)) {
        match user.reason() {
            Some(reason) => {
                let key = reason.unknown_key().map(KeyId::as_str);
                fingerprints::put_unusable(tx, *telegram_id, reason.code(), key).await?;
                reconciled
                    .warnings
                    .push(Warning::Unusable { telegram_id: *telegram_id, reason: reason.to_string() });
            }
            None => fingerprints::clear_unusable(tx, *telegram_id).await?,
        }
    }
    history::record(tx, &reconciled.entries).await?;
    Ok(reconciled)
}

/// Brings the fingerprints alone into line, for users of whom nothing but an issue is at hand: a link must carry no token
/// that relinkd would not know again, for the token may go before the user's own change has its turn.
pub(super) async fn fingerprint_before_links(
    tx: &Tx<'_>,
    rules: &Rules,
    users: &Users,
    remembered: &AllRemembered,
) -> Result<Reconciled, RelinkError> {
    let mut reconciled = Reconciled::default();
    let seen: Vec<Seen<'_>> = seen(users, remembered).collect();
    fingerprint(tx, rules, &seen, &mut reconciled).await?;
    history::record(tx, &reconciled.entries).await?;
    Ok(reconciled)
}

async fn seal(
    tx: &Tx<'_>,
    rules: &Rules,
    stale: &[Seen<'_>],
    unsealable: &HashSet<i64>,
    reconciled: &mut Reconciled,
) -> Result<(), RelinkError> {
    let to_seal: Vec<(i64, &RowPlace, &Token)> = stale
        .iter()
        .filter(|(id, _, _)| !unsealable.contains(id))
        .flat_map(|(id, user, _)| user.to_seal(rules).iter().map(|(place, token)| (*id, place, token)))
        .collect();
    let mut limit = rules.token_limit;
    if !to_seal.is_empty() && limit.is_some_and(|limit| limit < MAX_SEALED_LEN) {
        // Somebody may have widened the column since (`check` tells how), in the very transaction that queued this.
        limit = users::token_limit(tx).await?;
    }
    let mut replacements = Vec::new();
    for (telegram_id, place, token) in to_seal {
        let sealed = rules.keyring.seal(token, telegram_id)?;
        match limit {
            Some(limit) if sealed.len() > limit => {
                reconciled.warnings.push(Warning::NoRoomToSeal { telegram_id, limit });
            }
            _ => replacements.push(Replacement { telegram_id, place: *place, value: Zeroizing::new(sealed) }),
        }
    }
    if replacements.is_empty() {
        return Ok(());
    }
    reconciled.again = users::replace(tx, &replacements).await?;
    reconciled.entries.extend(
        replacements
            .iter()
            .map(|replacement| replacement.telegram_id)
            .filter(|id| !reconciled.again.contains(id))
            .map(|telegram_id| Entry::new(telegram_id, Action::Sealed, Via::Bot)),
    );
    Ok(())
}

async fn fingerprint(
    tx: &Tx<'_>,
    rules: &Rules,
    stale: &[Seen<'_>],
    reconciled: &mut Reconciled,
) -> Result<(), RelinkError> {
    let new: Vec<(i64, &User)> = stale
        .iter()
        .filter(|(_, user, remembered)| user.fingerprint_differs(rules, remembered))
        .map(|(id, user, _)| (*id, *user))
        .collect();
    if new.is_empty() {
        return Ok(());
    }
    let put: Vec<_> = new
        .iter()
        .filter_map(|(id, user)| Some((*id, rules.keyring.fingerprints(user.state.token()?))))
        .collect();
    fingerprints::put(tx, &put).await?;
    let ids: Vec<i64> = new.iter().map(|(id, _)| *id).collect();
    let shared = fingerprints::shared_with(tx, &ids).await?;
    reconciled.warnings.extend(shared.into_iter().map(|telegram_ids| Warning::Shared { telegram_ids }));
    // Plaintext that stays: that the bot set it is known from nothing else.
    reconciled.entries.extend(
        new.iter()
            .filter(|(_, user)| matches!(user.state, TokenState::Plaintext(_)) && !rules.seal_plaintext)
            .map(|(id, _)| Entry::new(*id, Action::Set, Via::Bot)),
    );
    Ok(())
}
