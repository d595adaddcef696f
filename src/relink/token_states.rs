//! Users as they stand: the state of each one's token, and the records that follow from it.
//!
//! Reading decides nothing about links. Settling seals plaintext in place, keeps the fingerprints and the list of unusable
//! values true, and says what an operator should hear of.

use super::{RelinkError, Rules};
use crate::db::history::{self, Action, Entry, Via};
use crate::db::issues::Place;
use crate::db::users::{self, Remembered, Sealing, UserRow};
use crate::db::{Tx, fingerprints};
use crate::envelope::{KeyId, MAX_SEALED_LEN, Reason, Stored};
use crate::link::Holder;
use crate::token::Token;
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use zeroize::Zeroizing;

/// A user, read and opened.
pub(crate) struct User {
    /// Whether the bot has such a user.
    pub known: bool,
    /// The state of their token. Where the bot has several rows of one `telegram_id`: of the first usable one.
    pub stored: Stored,
    /// The rows with a token in plaintext.
    plaintext: Vec<(Place, Token)>,
}

/// Users by `telegram_id`.
pub(crate) type Users = BTreeMap<i64, User>;

impl User {
    /// As the link rules want it.
    pub(crate) fn holder(&self) -> Holder<'_> {
        match &self.stored {
            Stored::None => Holder::None,
            Stored::Sealed { token, .. } | Stored::Plaintext(token) => Holder::Token(token),
            Stored::Unusable(_) => Holder::Unusable,
        }
    }

    /// Whether what relinkd keeps beside the row disagrees with it: a value to seal, a fingerprint, a report.
    pub(crate) fn unsettled(&self, rules: &Rules, remembered: &Remembered) -> bool {
        !self.to_seal(rules).is_empty()
            || self.fingerprint_differs(rules, remembered)
            || self.report_differs(remembered)
    }

    fn to_seal(&self, rules: &Rules) -> &[(Place, Token)] {
        if rules.seal_plaintext { &self.plaintext } else { &[] }
    }

    fn fingerprint_differs(&self, rules: &Rules, remembered: &Remembered) -> bool {
        self.stored.token().is_some_and(|token| {
            remembered.fingerprints != [rules.keyring.fingerprint_under_primary(token).1.to_vec()]
        })
    }

    fn report_differs(&self, remembered: &Remembered) -> bool {
        remembered.unusable.as_deref() != self.reason().map(Reason::code)
    }

    fn reason(&self) -> Option<&Reason> {
        match &self.stored {
            Stored::Unusable(reason) => Some(reason),
            Stored::None | Stored::Sealed { .. } | Stored::Plaintext(_) => None,
        }
    }
}

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

/// Reads users by `telegram_id`; there is an entry for each that is asked for. The caller has their locks, if it means to
/// write.
pub(crate) async fn read(tx: &Tx<'_>, rules: &Rules, ids: &[i64]) -> Result<Users, RelinkError> {
    open(users::by_id(tx, ids).await?, rules)
}

/// Opens rows that were read. Fails with [`RelinkError::UnknownKey`] for a key that is not yet known to be missing.
pub(crate) fn open(rows: Vec<UserRow>, rules: &Rules) -> Result<Users, RelinkError> {
    let mut all = Users::new();
    for row in rows {
        let stored =
            rules.keyring.read(row.stored.as_ref().map(|s| s.as_str()), row.telegram_id, &rules.token_rule);
        if let Stored::Unusable(reason) = &stored
            && let Some(key) = reason.unknown_key()
            && rules.is_not_known_to_be_missing(key)
        {
            return Err(RelinkError::UnknownKey(key.clone()));
        }
        let user = all.entry(row.telegram_id).or_insert_with(|| User {
            known: row.place.is_some(),
            stored: Stored::None,
            plaintext: Vec::new(),
        });
        if let (Stored::Plaintext(token), Some(place)) = (&stored, row.place) {
            user.plaintext.push((place, token.clone()));
        }
        let better = match (&user.stored, &stored) {
            (Stored::None, _) => true,
            (Stored::Unusable(_), found) => found.token().is_some(),
            (Stored::Sealed { .. } | Stored::Plaintext(_), _) => false,
        };
        if better {
            user.stored = stored;
        }
    }
    Ok(all)
}

/// What settling some users came to.
#[derive(Default)]
pub(super) struct Settled {
    pub warnings: Vec<Warning>,
    /// Users whose row was locked or has changed: they must be looked at again.
    pub again: Vec<i64>,
    /// For history: who sealed what.
    pub entries: Vec<Entry>,
}

/// Brings sealing, fingerprints and reports of these users into line, but for the sealing of `unsealable` ones.
pub(super) async fn settle(
    tx: &Tx<'_>,
    rules: &Rules,
    users: &Users,
    ids: &[i64],
    unsealable: &HashSet<i64>,
) -> Result<Settled, RelinkError> {
    let mut settled = Settled::default();
    let remembered = users::remembered(tx, ids, rules.keyring.primary().as_str()).await?;
    let unsettled: Vec<(i64, &User, Remembered)> = remembered
        .into_iter()
        .filter_map(|(id, remembered)| Some((id, users.get(&id)?, remembered)))
        .filter(|(_, user, remembered)| user.unsettled(rules, remembered))
        .collect();
    if unsettled.is_empty() {
        return Ok(settled);
    }
    seal(tx, rules, &unsettled, unsealable, &mut settled).await?;
    fingerprint(tx, rules, &unsettled, &mut settled).await?;
    for (telegram_id, user, _) in unsettled.iter().filter(|(_, user, r)| user.report_differs(r)) {
        match user.reason() {
            Some(reason) => {
                let key = reason.unknown_key().map(KeyId::as_str);
                fingerprints::put_unusable(tx, *telegram_id, reason.code(), key).await?;
                settled
                    .warnings
                    .push(Warning::Unusable { telegram_id: *telegram_id, reason: reason.to_string() });
            }
            None => fingerprints::clear_unusable(tx, *telegram_id).await?,
        }
    }
    history::record(tx, &settled.entries).await?;
    Ok(settled)
}

async fn seal(
    tx: &Tx<'_>,
    rules: &Rules,
    unsettled: &[(i64, &User, Remembered)],
    unsealable: &HashSet<i64>,
    settled: &mut Settled,
) -> Result<(), RelinkError> {
    let to_seal: Vec<(i64, &Place, &Token)> = unsettled
        .iter()
        .filter(|(id, _, _)| !unsealable.contains(id))
        .flat_map(|(id, user, _)| user.to_seal(rules).iter().map(|(place, token)| (*id, place, token)))
        .collect();
    let mut limit = rules.token_limit;
    if !to_seal.is_empty() && limit.is_some_and(|limit| limit < MAX_SEALED_LEN) {
        // Somebody may have widened the column since (`check` tells how), in the very transaction that queued this.
        limit = users::token_limit(tx).await?;
    }
    let mut sealings = Vec::new();
    for (telegram_id, place, token) in to_seal {
        let sealed = rules.keyring.seal(token, telegram_id)?;
        match limit {
            Some(limit) if sealed.len() > limit => {
                settled.warnings.push(Warning::NoRoomToSeal { telegram_id, limit });
            }
            _ => sealings.push(Sealing { telegram_id, place: *place, value: Zeroizing::new(sealed) }),
        }
    }
    if sealings.is_empty() {
        return Ok(());
    }
    settled.again = users::seal(tx, &sealings).await?;
    settled.entries.extend(
        sealings
            .iter()
            .map(|sealing| sealing.telegram_id)
            .filter(|id| !settled.again.contains(id))
            .map(|telegram_id| Entry::new(telegram_id, Action::Sealed, Via::Bot)),
    );
    Ok(())
}

async fn fingerprint(
    tx: &Tx<'_>,
    rules: &Rules,
    unsettled: &[(i64, &User, Remembered)],
    settled: &mut Settled,
) -> Result<(), RelinkError> {
    let new: Vec<(i64, &User)> = unsettled
        .iter()
        .filter(|(_, user, remembered)| user.fingerprint_differs(rules, remembered))
        .map(|(id, user, _)| (*id, *user))
        .collect();
    if new.is_empty() {
        return Ok(());
    }
    let put: Vec<_> = new
        .iter()
        .filter_map(|(id, user)| Some((*id, rules.keyring.fingerprints(user.stored.token()?))))
        .collect();
    fingerprints::put(tx, &put).await?;
    let ids: Vec<i64> = new.iter().map(|(id, _)| *id).collect();
    let shared = fingerprints::shared_with(tx, &ids).await?;
    settled.warnings.extend(shared.into_iter().map(|telegram_ids| Warning::Shared { telegram_ids }));
    // Plaintext that stays: that the bot set it is known from nothing else.
    settled.entries.extend(
        new.iter()
            .filter(|(_, user)| matches!(user.stored, Stored::Plaintext(_)) && !rules.seal_plaintext)
            .map(|(id, _)| Entry::new(*id, Action::Set, Via::Bot)),
    );
    Ok(())
}
