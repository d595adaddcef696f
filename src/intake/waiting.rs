//! Claimed files that could not be taken, and when they are tried again.
//!
//! Each waits by itself, with growing pauses, and holds up no other file but those that name a user of its own. What is
//! known of a file here is forgotten with the process: the next run tries it at once.

use super::Fate;
use crate::backoff::Backoff;
use crate::spool::Claim;
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

/// How often a file is tried whose trouble is its own, before it is rejected; with the pauses between them about 15 s.
const TRIES: u32 = 5;

/// What is known of a file that waits.
struct Wait {
    manner: Manner,
    tries: u32,
    /// When it is tried again; none for a file that waits for an earlier one.
    due: Option<Instant>,
    backoff: Backoff,
    /// The users it names, as far as that is known.
    users: Vec<i64>,
    reason: String,
}

/// The files that wait, by their claims.
#[derive(Default)]
pub(super) struct WaitingFiles {
    files: HashMap<String, Wait>,
}

/// How a file waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// For something that will pass.
    Patiently,
    /// For a fault of its own to go, and not for ever.
    Tried,
    /// For the file before it.
    Behind,
}

impl WaitingFiles {
    /// Of these claims, in their order, those that are to be taken now.
    pub(super) fn due(&mut self, claims: Vec<Claim>, now: Instant) -> Vec<Claim> {
        let present: HashSet<&str> = claims.iter().map(Claim::id).collect();
        self.files.retain(|id, _| present.contains(id.as_str()));
        let is_due = |claim: &Claim| match self.files.get(claim.id()) {
            None => Some(true),
            Some(wait) => wait.due.map(|due| due <= now),
        };
        let has_front =
            claims.iter().any(|claim| self.files.get(claim.id()).is_some_and(|w| w.due.is_some()));
        let moves = !has_front || claims.iter().any(|claim| is_due(claim) == Some(true));
        claims.into_iter().filter(|claim| is_due(claim).unwrap_or(moves)).collect()
    }

    /// When the next file is to be tried again.
    pub(super) fn next_due(&self, now: Instant) -> Option<Duration> {
        let due = self.files.values().filter_map(|wait| wait.due).min()?;
        Some(due.saturating_duration_since(now))
    }

    /// Why files wait, in one sentence.
    pub(super) fn reason(&self) -> Option<String> {
        let front = |wait: &&Wait| wait.due.is_some();
        let (_, first) = self
            .files
            .iter()
            .filter(|(_, wait)| front(wait))
            .min_by_key(|(id, _)| *id)
            .or_else(|| self.files.iter().min_by_key(|(id, _)| *id))?;
        Some(match self.files.len() {
            1 => first.reason.clone(),
            count => format!("{}; {count} files in all", first.reason),
        })
    }

    /// The users whom files name that wait before these claims. Those behind them wait for these: each for the other would
    /// be for ever.
    pub(super) fn users_before(&self, claims: &[Claim]) -> HashSet<i64> {
        let ids: HashSet<&str> = claims.iter().map(Claim::id).collect();
        let last = ids.iter().max().copied().unwrap_or_default();
        let others = self.files.iter().filter(|(id, _)| !ids.contains(id.as_str()) && id.as_str() < last);
        others.flat_map(|(_, wait)| wait.users.iter().copied()).collect()
    }

    /// The users that this file names, if it waits.
    pub(super) fn users_of(&self, claim: &Claim) -> &[i64] {
        self.files.get(claim.id()).map_or(&[], |wait| &wait.users)
    }

    /// A file has to wait; none where it was tried often enough, and is to be rejected.
    pub(super) fn put(
        &mut self,
        claim: &Claim,
        manner: Manner,
        users: Vec<i64>,
        reason: String,
        now: Instant,
    ) -> Option<Fate> {
        let (first, limit) = match manner {
            Manner::Tried => (Duration::from_secs(1), Duration::from_secs(8)),
            Manner::Patiently | Manner::Behind => (Duration::from_millis(50), Duration::from_secs(5)),
        };
        let fresh = || Backoff::new(first, limit);
        let wait = self.files.entry(claim.id().to_owned()).or_insert_with(|| Wait {
            manner,
            tries: 0,
            due: None,
            backoff: fresh(),
            users: Vec::new(),
            reason: String::new(),
        });
        if std::mem::replace(&mut wait.manner, manner) != manner {
            wait.backoff = fresh();
        }
        wait.tries += u32::from(manner == Manner::Tried);
        if wait.tries >= TRIES {
            return None;
        }
        let is_news = wait.reason != reason;
        wait.due = (manner != Manner::Behind).then(|| now + wait.backoff.next(1.0));
        wait.reason.clone_from(&reason);
        if !users.is_empty() {
            wait.users = users;
        }
        Some(if is_news { Fate::Waits(reason) } else { Fate::StillWaits })
    }

    /// A file waits no more.
    pub(super) fn remove(&mut self, claim: &Claim) {
        self.files.remove(claim.id());
    }
}
