//! The loop that keeps links right: connect, listen, work, sleep; and again from the start when the connection goes.
//!
//! Every connection begins with a look through the whole queue: a gap in listening is a gap in hints.

mod side_by_side;
mod sleep;

use super::progress::Loop;
use super::{Shared, in_time, warnings};
use crate::backoff::Backoff;
use crate::db::connect::SessionKind;
use crate::db::doorbell::{self, Rings};
use crate::db::low_water::{self, LowWater};
use crate::db::presence::{self, Mode};
use crate::db::session::Purpose;
use crate::db::{DbError, Session, changes, fingerprints, schema};
use crate::envelope::KeyId;
use crate::relink::{Part, RelinkError, Rules, Step, Worker};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, Notify};

/// A step that found so many changes of a bot which never pauses lets some gather before the next: each costs less then.
const GATHERED: usize = 8;
const GATHER: Duration = Duration::from_millis(10);
/// How often a daemon that always has something to do looks through the whole queue.
const WHOLE_QUEUE: Duration = Duration::from_millis(200);
/// How long a step may take beyond the travel: the server itself ends its statements sooner.
const STEP: Duration = Duration::from_secs(2);
/// Trips to the server and back that a step makes at the most.
const TRIPS: u32 = 12;
/// How often a daemon whose `[portal]` is not the one in force looks whether it is by now.
const OTHER_PORTAL: Duration = Duration::from_secs(5);

/// Runs until the daemon stops.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut backoff = Backoff::default();
    while !shared.stop.is_set() {
        let Err(error) = Box::pin(connected(&shared, &mut backoff)).await else { break };
        shared.progress.with(|state| state.connected = false);
        shared.trouble(Loop::Links, &error);
        shared.pause(backoff.next(super::jitter())).await;
    }
}

/// One connection's life. Returns when the daemon stops.
async fn connected(shared: &Shared, backoff: &mut Backoff) -> Result<(), RelinkError> {
    shared.progress.beat(Loop::Links);
    let (links, mut rings) = in_time(prepare(shared)).await?;
    shared.connected();
    let end = tokio::select! {
        end = links.run(backoff) => end,
        end = links.hear(&mut rings) => end.map_err(RelinkError::from),
        end = links.heartbeat() => end.map_err(RelinkError::from),
    };
    match end {
        Ok(()) => Ok(presence::leave(&links.listener, &shared.id).await?),
        Err(error) => {
            links.abandon();
            Err(error)
        }
    }
}

/// Two sessions, one that listens and one that works, and all that is to be done before the first look.
async fn prepare(shared: &Shared) -> Result<(Links<'_>, Rings), DbError> {
    let mut listener = shared.connector.connect(SessionKind::Listener).await?;
    let mut session = shared.connector.connect(SessionKind::Worker).await?;
    let facts = shared.verify(&session).await?;
    let backend = doorbell::listen(&listener).await?;
    let mode = if doorbell::delivers(&mut listener, &session).await? { Mode::Listen } else { Mode::Poll };
    match mode {
        Mode::Listen => {
            // It holds the sleeper's lock: the server ends it when a daemon that is frozen or cut off says nothing.
            listener.dedicate_to(Purpose::Listen).await?;
            session.dedicate_to(Purpose::Relink).await?;
        }
        Mode::Poll => shared.warn_once(
            "notifications do not come through: a pooler seems to stand between relinkd and Postgres; \
             looking once a second instead (give relinkd a direct connection)",
        ),
    }
    presence::enter(&listener, &shared.id, mode, shared.running_since, &shared.report().seals_with).await?;
    if schema::portal_now(&session).await?.is_none() {
        // Nobody's is in force, after `install`: this one's is put in force as after a reload.
        shared.reloaded.set();
    }
    let mut worker = Worker::after(shared.kept());
    worker.measure(&session).await?;
    if shared.progress.with(|state| state.connections) == 0 {
        changes::try_set_aside_again(&session).await?;
    }
    let rings = Rings::of(&mut listener);
    let links = Links {
        shared,
        listener,
        backend,
        mode,
        told: AtomicBool::new(false),
        rung: Notify::new(),
        locked: AtomicBool::new(false),
        workers: [Mutex::new(Some((session, worker))), Mutex::new(None)],
        low_water: std::sync::Mutex::default(),
        looked_up_to: AtomicI64::new(i64::MIN),
        facts: std::sync::Mutex::new(facts),
        seat: std::sync::Mutex::new((0, 1)),
    };
    Ok((links, rings))
}

struct Links<'a> {
    shared: &'a Shared,
    listener: Session,
    /// The listening session's backend.
    backend: i32,
    mode: Mode,
    /// The log has heard of this connection.
    told: AtomicBool,
    rung: Notify,
    /// This daemon has the sleeper's lock.
    locked: AtomicBool,
    /// The second is there once there was work for two.
    workers: [Mutex<Option<(Session, Worker)>>; 2],
    low_water: std::sync::Mutex<LowWater>,
    /// The place in the queue up to which nothing is due that was not met.
    looked_up_to: AtomicI64,
    facts: std::sync::Mutex<schema::Facts>,
    /// Which of how many daemons this is.
    seat: std::sync::Mutex<(i64, i64)>,
}

impl Links<'_> {
    /// Awake, asleep, awake, until the daemon stops.
    async fn run(&self, backoff: &mut Backoff) -> Result<(), RelinkError> {
        while !self.shared.stop.is_set() {
            match self.round(backoff).await {
                Ok(()) => {}
                Err(RelinkError::OtherPortal) => self.wait_for_portal().await?,
                Err(RelinkError::UnknownKey(key)) => self.shared.look_for(key),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn round(&self, backoff: &mut Backoff) -> Result<(), RelinkError> {
        if self.shared.reloaded.take() {
            self.catch_up().await?;
        }
        self.work(backoff).await?;
        backoff.reset();
        self.say_up_to_date();
        self.sleep().await
    }

    /// Whether the daemon stops, or has read its configuration again.
    fn interrupted(&self) -> bool {
        self.shared.stop.is_set() || self.shared.reloaded.is_set()
    }

    /// What follows from a configuration and a keyring that were read just now.
    async fn catch_up(&self) -> Result<(), RelinkError> {
        let rules = self.rules();
        // A command that destroys a key must see whether this daemon still seals with it.
        presence::beat(&self.listener, &self.shared.id, self.shared.report()).await?;
        let worker = self.workers[0].lock().await;
        let Some((session, _)) = worker.as_ref() else { return Ok(()) };
        if schema::put_portal_in_force(session, &rules.portal_fingerprint).await? {
            log::info!("the configuration of the portal has changed: all links are looked at");
        }
        let keys: Vec<&str> = rules.keyring.ids().map(KeyId::as_str).collect();
        fingerprints::queue_waiting_for(session, &keys).await?;
        let facts = self.shared.verify(session).await?;
        *self.facts() = facts;
        Ok(())
    }

    /// Links follow other settings than ours: to write would be to fight with whoever brought them.
    async fn wait_for_portal(&self) -> Result<(), DbError> {
        if self.shared.reloaded.is_set() {
            return Ok(());
        }
        // Awake or not, this one follows no ring.
        self.unlock().await?;
        self.shared.other_portal(true);
        let mine = self.rules().portal_fingerprint;
        while !self.interrupted() {
            self.shared.progress.beat(Loop::Links);
            if schema::portal_now(&self.listener).await?.is_none_or(|portal| portal == mine) {
                break;
            }
            tokio::select! {
                () = self.shared.reloaded.wait() => {}
                () = self.shared.pause(OTHER_PORTAL) => {}
            }
        }
        self.shared.other_portal(false);
        Ok(())
    }

    /// Works until nothing is due behind the place up to which all was looked at, and now and then through the whole
    /// queue: what committed late, or was put back, must not wait for a bot that never pauses.
    ///
    /// Whoever was woken keeps the sleeper's lock for one step, for mostly that is all there is; where there is more, they
    /// let go of it, and writers ring no longer.
    async fn work(&self, backoff: &mut Backoff) -> Result<(), RelinkError> {
        let mut whole = Instant::now();
        while !self.interrupted() {
            let part = if is_time(&mut whole) {
                self.look_at_what_is_set_aside().await?;
                self.whole()
            } else {
                self.behind(self.looked_up_to.load(Ordering::Relaxed))
            };
            let step = self.turn(0, part).await?;
            if step.looked_at > 0 {
                backoff.reset();
            }
            if self.is_locked() {
                if !step.full && step.contended.is_empty() && step.claimed < GATHERED {
                    break;
                }
                self.unlock().await?;
            }
            if step.full {
                self.work_side_by_side().await?;
            } else if step.is_idle() && step.contended.is_empty() {
                // Whoever was met just now is left alone for a moment, and hides nobody behind them.
                break;
            } else if step.claimed >= GATHERED {
                self.shared.pause(GATHER).await;
            }
        }
        Ok(())
    }

    /// Tries again something that was set aside: else it would wait until the bot pauses.
    async fn look_at_what_is_set_aside(&self) -> Result<(), RelinkError> {
        self.raise_low_water().await?;
        self.turn(0, Part { set_aside: true, ..self.whole() }).await?;
        Ok(())
    }

    /// The whole queue: all that is behind the low-water mark.
    fn whole(&self) -> Part<'static> {
        Part::behind(self.low_water().mark())
    }

    /// What is behind this place.
    fn behind(&self, place: i64) -> Part<'static> {
        let whole = self.whole();
        Part { above: place.max(whole.mark), ..whole }
    }

    async fn raise_low_water(&self) -> Result<(), DbError> {
        let question = self.low_water().question();
        if let Some(question) = question {
            let answer = in_time(low_water::ask(&self.listener, question)).await?;
            self.low_water().learn(&answer);
        }
        Ok(())
    }

    /// One look through the whole queue. Says whether there was anything; then there may be more.
    async fn look(&self) -> Result<bool, RelinkError> {
        let above = self.low_water().beginning();
        let step = self.turn(0, Part { above, ..self.whole() }).await?;
        if !step.is_idle() {
            self.looked_up_to.store(i64::MIN, Ordering::Relaxed);
        }
        Ok(!step.is_idle())
    }

    /// One step of a worker.
    async fn turn(&self, index: usize, part: Part<'_>) -> Result<Step, RelinkError> {
        let mut place = self.workers[index].lock().await;
        let Some((session, worker)) = place.as_mut() else { return Ok(Step::default()) };
        self.shared.progress.beat(Loop::Links);
        let rules = self.rules();
        let limit = time_for(worker);
        let Ok(step) = tokio::time::timeout(limit, worker.turn(session, &rules, part)).await else {
            // Perhaps it was too much at once: the next connection begins with less.
            worker.given_up();
            self.shared.keep(std::mem::take(worker));
            return Err(DbError::Silent(limit).into());
        };
        let step = match step {
            Ok(step) => step,
            Err(error) => {
                // After anything else this session goes on, and so does its worker.
                if matches!(error, RelinkError::Database(_)) {
                    self.shared.keep(std::mem::take(worker));
                }
                return Err(error);
            }
        };
        if !self.told.swap(true, Ordering::Relaxed) {
            // Not sooner: connections that lead to no work would fill the log.
            log::info!(server = session.endpoint.as_str(), mode = self.mode.name(); "connected");
        }
        if let Some((first, last)) = step.met {
            self.low_water().met(first, last);
            if !part.set_aside && part.share == Part::WHOLE.share && step.contended.is_empty() && !step.full {
                self.looked_up_to.fetch_max(last, Ordering::Relaxed);
            }
        }
        if !step.is_idle() {
            self.shared.progress.say(Loop::Links, "relinking");
            self.shared.progress.wrote(step.written);
            warnings::log(&step.warnings);
        }
        if step.everybody {
            // Somebody installed, or a column has another width: what is known of the columns may be old.
            let facts = self.shared.verify(session).await?;
            *self.facts() = facts;
            changes::try_set_aside_again(session).await?;
        }
        if step.written > 0 {
            log::debug!(changes = step.claimed, links = step.written; "links written");
        }
        Ok(step)
    }

    /// Whether something is due for others than these users: one question, and no transaction.
    async fn is_due(&self, busy: &[i64]) -> Result<bool, DbError> {
        let place = self.workers[0].lock().await;
        let Some((session, worker)) = place.as_ref() else { return Ok(false) };
        let limit = time_for(worker);
        let above = self.low_water().beginning();
        let asked = tokio::time::timeout(limit, changes::first_due(session, above, busy)).await;
        let first = asked.unwrap_or(Err(DbError::Silent(limit)))?;
        if let Some(first) = first {
            self.low_water().met(first, first);
        }
        Ok(first.is_some())
    }

    /// Users who were found locked, and when the first of them may be tried again.
    async fn busy(&self) -> (Vec<i64>, Option<Duration>) {
        let place = self.workers[0].lock().await;
        place.as_ref().map_or_else(Default::default, |(_, worker)| (worker.busy(), worker.next_try()))
    }

    /// The rules of this moment.
    fn rules(&self) -> Rules {
        self.shared.rules_for_work(&self.facts())
    }

    fn low_water(&self) -> std::sync::MutexGuard<'_, LowWater> {
        self.low_water.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn facts(&self) -> std::sync::MutexGuard<'_, schema::Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn say_up_to_date(&self) {
        let mut line = format!(
            "up to date, {} links written since the start",
            self.shared.progress.with(|state| state.written)
        );
        if self.mode == Mode::Poll {
            line.push_str(" (polling)");
        }
        self.shared.progress.say(Loop::Links, &line);
    }

    /// Closes all sessions, whether they answer or not.
    fn abandon(self) {
        self.listener.abandon();
        for worker in self.workers {
            if let Some((session, _)) = worker.into_inner() {
                session.abandon();
            }
        }
    }
}

/// How long a step may take on the way that this worker measured.
fn time_for(worker: &Worker) -> Duration {
    STEP + worker.round_trip() * TRIPS
}

/// Whether it was that long ago that the whole queue was looked through; then it is now.
fn is_time(last: &mut Instant) -> bool {
    let is_time = last.elapsed() > WHOLE_QUEUE;
    if is_time {
        *last = Instant::now();
    }
    is_time
}
