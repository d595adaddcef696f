//! Users as they stand: whether each has a token that opens, and the records that follow from it.
//!
//! Reading decides nothing about links. Settling seals plaintext in place, keeps the marks and the list of unusable
//! values true, and says what an operator should hear of.

use super::{RelinkError, Rules};
use crate::db::work::{Sealing, UserRow};
use crate::db::{Tx, marks, work};
use crate::envelope::{KeyId, MAX_SEALED_LEN, Reason, Stored};
use crate::link::Holder;
use std::collections::HashMap;
use std::fmt;

/// A user's row, read and opened.
pub struct Holding {
    /// The row as read.
    pub row: UserRow,
    /// What its value is.
    pub stored: Stored,
}

impl Holding {
    /// As the link rules want it.
    #[must_use]
    pub fn holder(&self) -> Holder<'_> {
        match &self.stored {
            Stored::None => Holder::None,
            Stored::Sealed { token, .. } | Stored::Plaintext(token) => Holder::Token(token),
            Stored::Unusable(_) => Holder::Unusable,
        }
    }

    /// Whether what relinkd keeps beside the row disagrees with it: a value to seal, a mark, a report.
    #[must_use]
    pub fn unsettled(&self, rules: &Rules) -> bool {
        self.to_seal(rules) || self.mark_differs(rules) || self.report_differs()
    }

    fn to_seal(&self, rules: &Rules) -> bool {
        rules.seal_plaintext && matches!(self.stored, Stored::Plaintext(_))
    }

    fn mark_differs(&self, rules: &Rules) -> bool {
        match &self.stored {
            Stored::Sealed { token, .. } | Stored::Plaintext(token) => {
                self.row.mark.as_deref() != Some(&rules.keyring.mark_under_primary(token).1[..])
            }
            Stored::None | Stored::Unusable(_) => false,
        }
    }

    fn report_differs(&self) -> bool {
        self.row.unusable.as_deref() != self.reason().map(Reason::code)
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
pub enum Notice {
    /// A stored value is no usable token.
    Unusable {
        /// Whose.
        telegram_id: i64,
        /// Why, in words.
        reason: String,
    },
    /// Several users hold the same token.
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
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unusable { telegram_id, reason } => {
                write!(f, "the stored token of user {telegram_id} changes no link: {reason}")
            }
            Self::Shared { telegram_ids } => {
                let ids: Vec<String> = telegram_ids.iter().map(ToString::to_string).collect();
                write!(f, "these users hold the same token: {}", ids.join(", "))
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
        }
    }
}

/// Reads users by `telegram_id`. The caller holds their locks, if it means to write.
///
/// # Errors
/// The database's; [`RelinkError::UnknownKey`] for a key that is not yet known to be missing.
pub async fn read(tx: &Tx<'_>, rules: &Rules, users: &[i64]) -> Result<HashMap<i64, Holding>, RelinkError> {
    let rows = work::users(tx, users, rules.keyring.primary().as_str()).await?;
    open(rows, rules)
}

/// Opens rows that were read.
///
/// # Errors
/// [`RelinkError::UnknownKey`] for a key that is not yet known to be missing.
pub fn open(rows: Vec<UserRow>, rules: &Rules) -> Result<HashMap<i64, Holding>, RelinkError> {
    let mut holdings = HashMap::with_capacity(rows.len());
    for row in rows {
        let stored =
            rules.keyring.read(row.stored.as_ref().map(|s| s.as_str()), row.telegram_id, &rules.token_rule);
        if let Stored::Unusable(reason) = &stored
            && let Some(key) = reason.unknown_key()
            && rules.missing_keys.as_ref().is_some_and(|missing| !missing.contains(key))
        {
            return Err(RelinkError::UnknownKey(key.clone()));
        }
        holdings.insert(row.telegram_id, Holding { row, stored });
    }
    Ok(holdings)
}

/// Brings marks, reports and sealing of these users into line. Returns what to say, and the users whose row was
/// locked or has changed: they must be looked at again.
pub(super) async fn settle(
    tx: &Tx<'_>,
    rules: &Rules,
    holdings: &HashMap<i64, Holding>,
) -> Result<(Vec<Notice>, Vec<i64>), RelinkError> {
    let mut notices = Vec::new();
    let again = seal(tx, rules, holdings, &mut notices).await?;

    let differing = holdings.values().filter(|holding| holding.mark_differs(rules));
    let marks: Vec<_> = differing
        .filter_map(|holding| match holding.holder() {
            Holder::Token(token) => Some((holding.row.telegram_id, rules.keyring.marks(token))),
            Holder::None | Holder::Unusable => None,
        })
        .collect();
    if !marks.is_empty() {
        marks::put(tx, &marks).await?;
        let marked: Vec<i64> = marks.iter().map(|(user, _)| *user).collect();
        let shared = marks::shared_with(tx, &marked).await?;
        notices.extend(shared.into_iter().map(|telegram_ids| Notice::Shared { telegram_ids }));
    }

    for holding in holdings.values().filter(|h| h.report_differs()) {
        let telegram_id = holding.row.telegram_id;
        match holding.reason() {
            Some(reason) => {
                let key = reason.unknown_key().map(KeyId::as_str);
                marks::put_unusable(tx, telegram_id, reason.code(), key).await?;
                notices.push(Notice::Unusable { telegram_id, reason: reason.to_string() });
            }
            None => marks::clear_unusable(tx, telegram_id).await?,
        }
    }
    Ok((notices, again))
}

async fn seal(
    tx: &Tx<'_>,
    rules: &Rules,
    holdings: &HashMap<i64, Holding>,
    notices: &mut Vec<Notice>,
) -> Result<Vec<i64>, RelinkError> {
    let mut sealings = Vec::new();
    let to_seal: Vec<&Holding> = holdings.values().filter(|h| h.to_seal(rules)).collect();
    let mut limit = rules.token_limit;
    if !to_seal.is_empty() && limit.is_some_and(|limit| limit < MAX_SEALED_LEN) {
        // Somebody may have widened the column since (`check` tells how), in the very transaction that queued this.
        limit = work::token_limit(tx).await?;
    }
    for holding in to_seal {
        let (Holder::Token(token), Some(version)) = (holding.holder(), &holding.row.version) else {
            continue;
        };
        let telegram_id = holding.row.telegram_id;
        let sealed = rules.keyring.seal(token, telegram_id)?;
        match limit {
            Some(limit) if sealed.len() > limit => notices.push(Notice::NoRoomToSeal { telegram_id, limit }),
            _ => sealings.push(Sealing { telegram_id, version: version.clone(), value: sealed }),
        }
    }
    if sealings.is_empty() {
        return Ok(Vec::new());
    }
    let done = work::seal(tx, &sealings).await?;
    Ok(sealings.iter().map(|s| s.telegram_id).filter(|id| !done.contains(id)).collect())
}
