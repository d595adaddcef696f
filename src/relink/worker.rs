//! Step after step on one session, with one rule for failures: what is not about the connection halves the load, down to
//! a single issue; what fails alone is set aside alone, with its own pauses; everything else goes on.

use super::load::Load;
use super::step::{Failed, Stage, Step, Task, step};
use super::verdict::{Doing, HowFar, Verdict};
use super::{RelinkError, Rules, Warning};
use crate::db::changes::{self, Change, Claiming};
use crate::db::session::Purpose;
use crate::db::{DbError, Session};
use crate::policy::{Trouble, trouble};
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

/// How long a user who was found locked is left alone, at first and at the most. Many such users at the head of the queue
/// have to be left alone for longer than it takes to meet them all, on a busy machine too.
const BUSY_FIRST: Duration = Duration::from_millis(4);
const BUSY_MOST: Duration = Duration::from_secs(2);
/// Pauses before what was set aside is tried again: 1 s, doubled each time, to this.
const ASIDE_MOST: Duration = Duration::from_secs(300);
/// The pause before a token that could not be sealed is tried again: its links are right meanwhile.
const SEALING: Duration = Duration::from_secs(60);

/// So many new changes in a row whose rows cannot be read are not about these rows: then the session is given up.
const UNREADABLE: usize = 16;

/// What one session knows between its steps.
#[derive(Default)]
pub(crate) struct Worker {
    load: Load,
    careful: bool,
    /// Users who were found locked: until when they are left alone, and for how long that was.
    busy: HashMap<i64, (Instant, Duration)>,
    /// Users whose token could not be sealed, and why: until the change that says so is in the queue.
    unsealable: HashMap<i64, String>,
    /// New changes in a row whose rows could not be read.
    unreadable: usize,
    /// What was being written, alone, when the session ended, and how it ended: perhaps by it.
    suspect: Option<(Stage, String)>,
    /// What the step under way is writing, where that is one thing.
    at_hand: Option<Stage>,
    /// The time that travel alone takes.
    round_trip: Duration,
}

/// Which part of the queue a worker is to look at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part<'a> {
    /// Places behind this one.
    pub above: i64,
    /// Up to this place nothing is in the queue.
    pub mark: i64,
    /// One of so many shares of all users, and which.
    pub share: (i64, i64),
    /// These users alone.
    pub only: Option<&'a [i64]>,
    /// Of what was set aside one that is due, and nothing else.
    pub set_aside: bool,
}

impl Part<'_> {
    /// The whole queue, of which nothing is known.
    pub(crate) const WHOLE: Self =
        Self { above: i64::MIN, mark: i64::MIN, share: (1, 0), only: None, set_aside: false };

    /// The whole queue, where nothing is up to this place.
    pub(crate) fn behind(mark: i64) -> Self {
        Self { above: mark, mark, ..Self::WHOLE }
    }
}

impl Worker {
    /// One that goes on where another's session ended.
    pub(crate) fn after(ended: Self) -> Self {
        Self { load: ended.load, suspect: ended.suspect, ..Self::default() }
    }

    /// A step did not come to its end in time, and was given up: perhaps for the one thing that it was writing.
    pub(crate) fn given_up(&mut self) {
        if let Some(at) = self.at_hand.take()
            && (self.load.is_one() || at.is_again())
        {
            self.suspect = Some((at, "it did not come to its end in time".to_owned()));
        }
        self.load.lost();
    }

    /// Measures the way to the server, so that it is not taken for work.
    pub(crate) async fn measure(&mut self, session: &Session) -> Result<(), DbError> {
        let mut shortest = Duration::MAX;
        for _ in 0..3 {
            let start = Instant::now();
            session.batch("select 1").await?;
            shortest = shortest.min(start.elapsed());
        }
        self.round_trip = shortest;
        Ok(())
    }

    /// The time that a question takes on its way to the server and back.
    pub(crate) fn round_trip(&self) -> Duration {
        self.round_trip
    }

    /// Does one step, or finds out a little more of what fails. Fails itself with what is about the connection or the
    /// server as a whole, and with [`RelinkError::UnknownKey`] and [`RelinkError::OtherPortal`].
    pub(crate) async fn turn(
        &mut self,
        session: &mut Session,
        rules: &Rules,
        part: Part<'_>,
    ) -> Result<Step, RelinkError> {
        if self.suspect.is_some() {
            return self.set_suspect_aside(session).await;
        }
        let (start, trips) = (Instant::now(), session.trips());
        let busy = self.busy();
        let unsealable: HashSet<i64> = self.unsealable.keys().copied().collect();
        let task = Task {
            claiming: Claiming {
                limit: if part.set_aside { 0 } else { self.load.changes() },
                users: self.load.users(),
                above: part.above,
                busy: &busy,
                share: part.share,
                only: part.only,
            },
            mark: part.mark,
            round_trip: self.round_trip,
            load: self.load,
            careful: self.careful,
            unsealable: &unsealable,
        };
        self.at_hand = None;
        match Box::pin(step(session, rules, &task, &mut self.at_hand)).await {
            Ok(mut step) => {
                if step.claimed > 0 {
                    self.careful = false;
                    self.unreadable = 0;
                    let travel = self.round_trip * session.trips().wrapping_sub(trips);
                    let took = start.elapsed().saturating_sub(travel + step.finding);
                    self.load.worked(self.is_full(&step), took);
                    self.load.walked(step.walks);
                    step.full = self.is_full(&step);
                    self.queue_unsealable(session, &step.reconciled).await?;
                }
                self.note_busy(&step.contended);
                Ok(step)
            }
            Err(failed) => self.recover(session, failed).await,
        }
    }

    fn is_full(&self, step: &Step) -> bool {
        step.full || step.claimed >= self.load.changes()
    }

    /// Users who were found locked a moment ago.
    pub(crate) fn busy(&self) -> Vec<i64> {
        let now = Instant::now();
        self.busy.iter().filter(|(_, (until, _))| *until > now).map(|(user, _)| *user).collect()
    }

    /// When the first of the users who were found locked may be tried again.
    pub(crate) fn next_try(&self) -> Option<Duration> {
        let now = Instant::now();
        self.busy.values().filter(|(until, _)| *until > now).map(|(until, _)| *until - now).min()
    }

    fn note_busy(&mut self, contended: &HashSet<i64>) {
        let now = Instant::now();
        // Whoever was not met again for a while is forgotten.
        self.busy.retain(|user, (until, _)| contended.contains(user) || now < *until + BUSY_MOST);
        for user in contended {
            let pause = self.busy.get(user).map_or(BUSY_FIRST, |(_, pause)| (*pause * 2).min(BUSY_MOST));
            self.busy.insert(*user, (now + pause, pause));
        }
    }

    async fn recover(&mut self, session: &mut Session, failed: Failed) -> Result<Step, RelinkError> {
        let RelinkError::Database(error) = failed.error else { return Err(failed.error) };
        let kind = trouble(&error);
        let how_far = HowFar {
            doing: match failed.at {
                Stage::Looking => Doing::Looking,
                Stage::Reading(_) => Doing::Reading,
                Stage::Sealing(_) | Stage::Writing(_) => Doing::Writing,
            },
            alone: self.load.is_one() || failed.at.is_one(),
            ended: error.code().is_none() || session.is_closed(),
        };
        match how_far.verdict(kind, self.careful) {
            Verdict::GoRound => {
                self.careful = true;
                Ok(Step::again())
            }
            Verdict::Suspect => {
                if self.load.is_one() || failed.at.is_again() {
                    self.suspect = Some((failed.at, error.to_string()));
                }
                self.load.lost();
                Err(error.into())
            }
            Verdict::GiveUp => Err(error.into()),
            Verdict::Halve | Verdict::SetAside
                if how_far.doing == Doing::Reading && self.unreadable >= UNREADABLE =>
            {
                self.unreadable = 0;
                Err(error.into())
            }
            Verdict::Halve => {
                self.load.failed();
                Ok(Step::again())
            }
            Verdict::SetAside => {
                if let Stage::Reading(changes) = &failed.at {
                    self.unreadable += usize::from(changes.iter().any(|change| !change.is_set_aside()));
                }
                let reason = match kind {
                    Trouble::Held => "another session holds a row, or keeps a trigger waiting".to_owned(),
                    _ => error.to_string(),
                };
                self.suspect = Some((failed.at, reason));
                self.set_suspect_aside(session).await
            }
        }
    }

    /// Sets aside what a step was about, and that alone. It is remembered until that is done: the session may have ended.
    async fn set_suspect_aside(&mut self, session: &mut Session) -> Result<Step, RelinkError> {
        let mut step = Step::again();
        let Some((at, reason)) = self.suspect.clone() else { return Ok(step) };
        match at {
            Stage::Looking => {}
            Stage::Reading(changes) => {
                for change in changes {
                    step.warnings.extend(set_aside(session, change, None, &reason).await?);
                }
            }
            Stage::Sealing(users) => {
                step.warnings.extend(users.iter().map(|user| Warning::SetAside {
                    telegram_id: *user,
                    issue_id: None,
                    attempts: 1,
                    reason: reason.clone(),
                }));
                self.unsealable.extend(users.into_iter().map(|user| (user, reason.clone())));
            }
            Stage::Writing(about) => {
                for (change, issue_id) in about {
                    step.warnings.extend(set_aside(session, change, Some(issue_id), &reason).await?);
                }
            }
        }
        self.suspect = None;
        Ok(step)
    }

    /// A user whose links are written, but whose token could not be sealed, is looked at again later.
    async fn queue_unsealable(
        &mut self,
        session: &mut Session,
        reconciled: &[i64],
    ) -> Result<(), RelinkError> {
        let done: Vec<(i64, String)> =
            reconciled.iter().filter_map(|user| self.unsealable.remove_entry(user)).collect();
        if done.is_empty() {
            return Ok(());
        }
        let tx = session.begin(Purpose::Relink);
        let put: Vec<Change> = done
            .into_iter()
            .map(|(user, reason)| Change {
                attempts: 1,
                last_error: Some(reason),
                pause: SEALING,
                assigned: true,
                ..Change::of_user(user)
            })
            .collect();
        changes::put(&tx, &put).await?;
        Ok(tx.commit().await?)
    }
}

fn pause(attempts: i32) -> Duration {
    Duration::from_secs(1 << u32::try_from(attempts - 1).unwrap_or(0).min(9)).min(ASIDE_MOST)
}

/// Puts off, with the reason, what failed: the change or, where it is of a whole user, that one issue; the walk goes on
/// behind it. None where the change is not there any more, or another session has it.
async fn set_aside(
    session: &mut Session,
    change: Change,
    issue_id: Option<i64>,
    reason: &str,
) -> Result<Option<Warning>, RelinkError> {
    let (Some(id), Some(telegram_id)) = (change.id, change.telegram_id) else { return Ok(None) };
    let (failed, rest) = match issue_id.filter(|_| change.issue_id.is_none()) {
        None => (change, None),
        Some(issue_id) => {
            let everything = change.strip == Some(true) || !change.former.is_empty();
            let (strip, at) = (everything.then_some(true), change.at);
            let issue = Change { strip, at, ..Change::of_issue(telegram_id, issue_id) };
            (issue, Some(Change { id: None, cursor: Some(issue_id), ..change }))
        }
    };
    let (issue_id, attempts, reason) = (failed.issue_id, failed.attempts + 1, reason.to_owned());
    let failed = Change { attempts, last_error: Some(reason.clone()), pause: pause(attempts), ..failed };
    let tx = session.begin(Purpose::Relink);
    if !changes::take(&tx, id).await? {
        return Ok(None);
    }
    changes::put(&tx, &[failed].into_iter().chain(rest).collect::<Vec<_>>()).await?;
    tx.commit().await?;
    Ok(Some(Warning::SetAside { telegram_id, issue_id, attempts, reason }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_five_minutes() {
        let seconds: Vec<u64> = [1, 2, 3, 9, 10, 1_000].map(|attempts| pause(attempts).as_secs()).into();
        assert_eq!(seconds, [1, 2, 4, 256, 300, 300]);
    }
}
