//! Judges requests one after the other: who is unknown, which token another has, what has to wait.

use super::Obstacle;
use crate::db::assigning::{self, Write};
use crate::db::{Tx, fingerprints, users};
use crate::drop_file::{Assignment, Refusal};
use crate::envelope::{Fingerprint, KeyId, Keyring, SealFault};
use crate::relink::{RelinkError, Rules};
use crate::token::{Token, TokenRule};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// What is to be written for a user, and the fingerprints of a new token.
pub(super) type UserWrite = (Write, Option<Prints>);

pub(super) enum Judgement {
    Accepted(Vec<UserWrite>),
    Refused(Vec<Refusal>),
    Waits(Obstacle),
}

/// The fingerprints of one user's new token, for [`fingerprints::put`].
pub(super) type Prints = (i64, Vec<(KeyId, Fingerprint)>);

/// Judges requests one after the other, and knows what those that it accepted leave behind.
pub(super) struct Judge<'k> {
    pub(super) keyring: &'k Keyring,
    pub(super) token_limit: Option<usize>,
    pub(super) holders: Holders,
    pub(super) rows: assigning::Rows,
    /// Users of requests that wait.
    pub(super) waiting_users: HashSet<i64>,
    /// The last write for each user.
    pub(super) writes: BTreeMap<i64, UserWrite>,
}

impl Judge<'_> {
    pub(super) fn judge(&mut self, assignments: &[Assignment]) -> Result<Judgement, SealFault> {
        let judgement = self.judgement(assignments)?;
        if matches!(judgement, Judgement::Waits(_)) {
            self.waiting_users.extend(assignments.iter().map(|assignment| assignment.telegram_id));
        }
        Ok(judgement)
    }

    fn judgement(&mut self, assignments: &[Assignment]) -> Result<Judgement, SealFault> {
        let users: HashSet<i64> = assignments.iter().map(|assignment| assignment.telegram_id).collect();
        if users.iter().any(|user| self.waiting_users.contains(user)) {
            return Ok(Judgement::Waits(Obstacle::Behind));
        }
        let mut refusals = Vec::new();
        for assignment in assignments {
            if self.rows.is_unknown(assignment.telegram_id) {
                refusals.push(Refusal::UnknownUser(assignment.telegram_id));
            }
            // A holder who loses it by the same request is none.
            let held = assignment.token.as_ref().and_then(|token| self.holders.refusal(token, &users));
            if let Some(Refusal::TokenHeld(token, _)) = &held
                && self.holders.has_any_of(token, &self.waiting_users)
            {
                // The request that waits may take the token from its holder.
                return Ok(Judgement::Waits(Obstacle::Behind));
            }
            refusals.extend(held);
        }
        if !refusals.is_empty() {
            return Ok(Judgement::Refused(refusals));
        }
        if users.iter().any(|user| self.rows.is_locked(*user)) {
            return Ok(Judgement::Waits(Obstacle::RowLocked));
        }
        let mut writes = Vec::with_capacity(assignments.len());
        for assignment in assignments {
            let write = self.write(assignment)?;
            if let (Some(sealed), Some(limit)) = (&write.0.sealed, self.token_limit)
                && sealed.len() > limit
            {
                return Ok(Judgement::Waits(Obstacle::NoRoom { limit, needed: sealed.len() }));
            }
            writes.push(write);
        }
        Ok(Judgement::Accepted(writes))
    }

    pub(super) fn accept(&mut self, assignments: &[Assignment], writes: Vec<UserWrite>) {
        self.writes.extend(writes.into_iter().map(|write| (write.0.telegram_id, write)));
        self.holders.assign(assignments);
    }

    fn write(&self, assignment: &Assignment) -> Result<UserWrite, SealFault> {
        let telegram_id = assignment.telegram_id;
        let Some(token) = &assignment.token else { return Ok((Write { telegram_id, sealed: None }, None)) };
        let sealed = Some(self.keyring.seal(token, telegram_id)?);
        Ok((Write { telegram_id, sealed }, Some((telegram_id, self.keyring.fingerprints(token)))))
    }
}

/// Who holds which token, as far as anybody asks for it.
#[derive(Default)]
pub(super) struct Holders {
    of_token: HashMap<Token, HashSet<i64>>,
}

impl Holders {
    /// The holders of these tokens in the database.
    pub(super) async fn of<'t>(
        tx: &Tx<'_>,
        rules: &Rules,
        tokens: impl Iterator<Item = &'t Token>,
    ) -> Result<Self, RelinkError> {
        let keyring = &rules.keyring;
        let mut of_token: HashMap<Token, HashSet<i64>> =
            tokens.map(|token| (token.clone(), HashSet::new())).collect();
        if of_token.is_empty() {
            return Ok(Self::default());
        }
        let prints: Vec<Fingerprint> =
            of_token.keys().flat_map(|token| keyring.fingerprints(token)).map(|(_, one)| one).collect();
        let mut suspects: BTreeSet<i64> =
            fingerprints::holders(tx, &prints).await?.into_values().flatten().collect();
        suspects.extend(assigning::users_with_changes(tx).await?);
        let any_token = TokenRule::default();
        for chunk in suspects.into_iter().collect::<Vec<_>>().chunks(10_000) {
            for row in users::by_id(tx, chunk).await? {
                let state = rules.state(&row, &any_token).map_err(RelinkError::UnknownKey)?;
                if let Some(holders) = state.token().and_then(|token| of_token.get_mut(token)) {
                    holders.insert(row.telegram_id);
                }
            }
        }
        Ok(Self { of_token })
    }

    /// Refuses a token that anybody but these users holds.
    pub(super) fn refusal(&self, token: &Token, users: &HashSet<i64>) -> Option<Refusal> {
        let others: BTreeSet<i64> = self.of_token.get(token)?.difference(users).copied().collect();
        (!others.is_empty()).then(|| Refusal::TokenHeld(token.clone(), others.into_iter().collect()))
    }

    /// Whether one of these users holds the token.
    fn has_any_of(&self, token: &Token, users: &HashSet<i64>) -> bool {
        self.of_token.get(token).is_some_and(|holders| holders.iter().any(|holder| users.contains(holder)))
    }

    /// These assignments are in force.
    fn assign(&mut self, assignments: &[Assignment]) {
        let users: HashSet<i64> = assignments.iter().map(|assignment| assignment.telegram_id).collect();
        for holders in self.of_token.values_mut() {
            holders.retain(|holder| !users.contains(holder));
        }
        for (assignment, token) in assignments.iter().filter_map(|it| Some((it, it.token.as_ref()?))) {
            self.of_token.entry(token.clone()).or_default().insert(assignment.telegram_id);
        }
    }
}
