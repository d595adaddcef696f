//! The loop that keeps links right: connect, listen, drain, sleep; and again from the start when the connection goes.
//!
//! Every connection begins with a drain: a gap in listening is a gap in hints.

use super::board::Room;
use super::{Shared, in_time, notices};
use crate::backoff::Backoff;
use crate::db::doorbell::{self, Release};
use crate::db::presence::{self, Mode};
use crate::db::{DbError, Session, connect::Role, marks, schema, work};
use crate::envelope::KeyId;
use crate::policy::{Policy, advice, policy};
use crate::relinker::{self, Load, RelinkError, Rules};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// Pauses between looks while still awake after the last change: a burst costs no ring.
const LINGER: [Duration; 4] = [
    Duration::from_millis(4),
    Duration::from_millis(8),
    Duration::from_millis(16),
    Duration::from_millis(32),
];
/// The longest pause between looks while older transactions run.
const SETTLE_MAX: Duration = Duration::from_secs(1);
/// The longest pause while all that is due belongs to users whom another session is working on.
const CONTENDED_MAX: Duration = Duration::from_millis(100);
/// The poll behind the doorbell.
const POLL: Duration = Duration::from_secs(1);
/// How often the listening session is tried, and how long it may take to answer.
const HEARTBEAT: Duration = Duration::from_secs(10);
const ANSWER: Duration = Duration::from_secs(5);
/// How many pieces of work are tried one by one after a failure.
const ONE_BY_ONE: usize = 64;

/// Runs until the daemon stops.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut backoff = Backoff::default();
    while !shared.stop.is_set() {
        let Err(error) = connected(&shared, &mut backoff).await else { break };
        shared.trouble(Room::Links, &error);
        shared.pause(backoff.next(super::jitter())).await;
    }
}

/// One connection's life. Returns when the daemon stops.
async fn connected(shared: &Shared, backoff: &mut Backoff) -> Result<(), DbError> {
    shared.board.beat(Room::Links);
    let (mut listener, mut work) = in_time(prepare(shared)).await?;
    shared.connected();
    backoff.reset();
    let (rung, mode) = (Arc::clone(&work.rung), work.mode);
    tokio::select! {
        end = work.run() => end?,
        end = heartbeat(&mut listener, &rung, shared, mode) => end?,
    }
    presence::leave(&listener, &shared.id).await
}

/// Two sessions, one that listens and one that works, and all that is to be done before the first drain.
async fn prepare(shared: &Shared) -> Result<(Session, Work<'_>), DbError> {
    let mut listener = shared.connector.connect(Role::Listener).await?;
    let worker = shared.connector.connect(Role::Worker).await?;
    let facts = schema::verify(&worker, &shared.tables).await?;
    doorbell::listen(&listener).await?;
    let mode = if doorbell::delivers(&mut listener, &worker).await? { Mode::Listen } else { Mode::Poll };
    if mode == Mode::Poll && shared.first_time_polling() {
        log::warn!(
            "notifications do not come through: a pooler seems to stand between relinkd and Postgres; \
             looking once a second instead (give relinkd a direct connection)"
        );
    }
    presence::enter(&listener, &shared.id, mode).await?;
    let mut work =
        Work { shared, worker, rung: Arc::new(Notify::new()), mode, facts, missing: BTreeSet::new() };
    work.catch_up().await?;
    log::info!(server = work.worker.endpoint.as_str(), mode = mode.name(); "connected");
    Ok((listener, work))
}

/// Listens and answers for the listening session.
async fn heartbeat(
    listener: &mut Session,
    rung: &Notify,
    shared: &Shared,
    mode: Mode,
) -> Result<(), DbError> {
    loop {
        tokio::select! {
            heard = doorbell::rung(listener) => { heard?; rung.notify_one(); }
            () = tokio::time::sleep(HEARTBEAT) => {
                tokio::time::timeout(ANSWER, presence::beat(listener, &shared.id, mode))
                    .await
                    .map_err(|_| DbError::Silent(ANSWER))??;
            }
        }
    }
}

struct Work<'a> {
    shared: &'a Shared,
    worker: Session,
    rung: Arc<Notify>,
    mode: Mode,
    facts: schema::Facts,
    /// Keys that were looked for in the keyring file and are not there.
    missing: BTreeSet<KeyId>,
}

impl Work<'_> {
    /// Awake, asleep, awake, until the daemon stops.
    async fn run(&mut self) -> Result<(), DbError> {
        while !self.shared.stop.is_set() {
            if self.shared.reloaded.take() {
                self.missing.clear();
                self.catch_up().await?;
            }
            let awake = self.mode == Mode::Listen && doorbell::wake(&self.worker).await?;
            self.linger().await?;
            self.say_up_to_date();
            if awake {
                let release = doorbell::release(&self.worker).await?;
                self.settle(&release).await?;
            }
            self.sleep().await?;
        }
        Ok(())
    }

    /// Queues what follows from a configuration or keyring that is new since somebody last looked.
    async fn catch_up(&mut self) -> Result<(), DbError> {
        let settings = self.shared.settings();
        if schema::portal_changed(&self.worker, &settings.portal_fingerprint()).await? {
            log::info!("the configuration of the portal has changed: all links are looked at");
        }
        let rules = self.shared.rules(&self.facts);
        let keys: Vec<&str> = rules.keyring.ids().map(KeyId::as_str).collect();
        marks::queue_waiting_for(&self.worker, &keys).await?;
        Ok(())
    }

    /// Drains, and goes on looking for a moment: changes come in bursts.
    async fn linger(&mut self) -> Result<(), DbError> {
        self.drain().await?;
        let mut looks = LINGER.iter();
        while let Some(pause) = looks.next() {
            self.shared.pause(*pause).await;
            if self.drain().await? {
                looks = LINGER.iter();
            }
            if self.shared.stop.is_set() {
                break;
            }
        }
        Ok(())
    }

    /// Goes on looking until every writer that may have seen this daemon awake is done.
    async fn settle(&mut self, release: &Release) -> Result<(), DbError> {
        let mut pause = Duration::from_millis(1);
        while !self.shared.stop.is_set() && !self.shared.reloaded.is_set() {
            let settled = doorbell::settled(&self.worker, release).await?;
            self.drain().await?;
            if settled {
                break;
            }
            tokio::select! {
                () = self.rung.notified() => {}
                () = self.shared.pause(pause) => {}
            }
            pause = (pause * 2).min(SETTLE_MAX);
        }
        Ok(())
    }

    fn say_up_to_date(&self) {
        let mut line = format!("up to date, {} links written since the start", self.shared.board.written());
        if self.mode == Mode::Poll {
            line.push_str(" (polling)");
        }
        self.shared.board.say(Room::Links, &line);
    }

    /// Sleeps until a ring, the poll, or the next thing put off.
    async fn sleep(&mut self) -> Result<(), DbError> {
        loop {
            let poll = POLL.mul_f64(0.75 + 0.5 * super::jitter());
            let nap = work::next_due(&self.worker).await?.map_or(poll, |due| due.min(poll));
            if nap.is_zero() || self.shared.stop.is_set() || self.shared.reloaded.is_set() {
                return Ok(());
            }
            tokio::select! {
                () = self.rung.notified() => return Ok(()),
                () = self.shared.reloaded.wait() => return Ok(()),
                () = self.shared.pause(nap) => {}
            }
            self.shared.board.beat(Room::Links);
        }
    }

    /// Works until nothing is due. Returns whether there was anything.
    async fn drain(&mut self) -> Result<bool, DbError> {
        let mut worked = false;
        let mut contended = Duration::from_millis(5);
        while !self.shared.stop.is_set() {
            self.shared.board.beat(Room::Links);
            let step = self.step(Load::FULL).await;
            match step {
                Ok(step) if step.claimed > 0 => {
                    worked = true;
                    contended = Duration::from_millis(5);
                    self.shared.board.say(Room::Links, "relinking");
                }
                Ok(step) if step.contended > 0 => {
                    self.shared.pause(contended).await;
                    contended = (contended * 2).min(CONTENDED_MAX);
                }
                Ok(_) => break,
                Err(error) => self.recover(error).await?,
            }
        }
        Ok(worked)
    }

    /// A step under the rules of this moment; a key that is not known is looked for in the file first, once.
    async fn step(&mut self, load: Load) -> Result<relinker::Step, DbError> {
        loop {
            let mut rules: Rules = self.shared.rules(&self.facts);
            rules.missing_keys = Some(self.missing.clone());
            match relinker::step(&mut self.worker, &rules, load).await {
                Ok(step) => {
                    self.shared.board.wrote(step.written);
                    notices::log(&step.notices);
                    if step.written > 0 {
                        log::debug!(changes = step.claimed, links = step.written; "links written");
                    }
                    return Ok(step);
                }
                Err(RelinkError::UnknownKey(key)) => {
                    self.shared.reread_keyring(&key);
                    self.missing.insert(key);
                }
                Err(RelinkError::Database(error)) => return Err(error),
                Err(RelinkError::Seal(error)) => return Err(DbError::Lost(error.to_string())),
            }
        }
    }

    /// After a failure: what fails for the moment is tried again, what fails for itself is found and set aside.
    async fn recover(&mut self, error: DbError) -> Result<(), DbError> {
        match policy(&error) {
            Policy::Reconnect => Err(error),
            Policy::Retry => {
                self.shared.trouble(Room::Links, &error);
                self.shared.pause(Duration::from_millis(200)).await;
                Ok(())
            }
            Policy::SetAside => self.one_by_one().await,
        }
    }

    async fn one_by_one(&mut self) -> Result<(), DbError> {
        for load in [Load::ONE_CHANGE, Load::ONE_WALK] {
            for _ in 0..ONE_BY_ONE {
                match self.step(load).await {
                    Ok(step) if step.claimed > 0 => {}
                    Ok(_) => break,
                    Err(error) if policy(&error) == Policy::SetAside => self.set_aside(load, &error).await?,
                    Err(error) => return Err(error),
                }
                self.shared.board.beat(Room::Links);
            }
        }
        Ok(())
    }

    async fn set_aside(&mut self, load: Load, error: &DbError) -> Result<(), DbError> {
        let reason = error.to_string();
        let pause = |attempts: i32| Duration::from_secs(1 << attempts.clamp(0, 9));
        if let Some((telegram_id, attempts)) =
            relinker::set_aside(&mut self.worker, load, pause, &reason).await?
        {
            let next = advice(error).unwrap_or("the user's links are tried again later");
            log::warn!(telegram_id, attempts, reason = reason.as_str(); "the links of a user cannot be written; {next}");
        }
        Ok(())
    }
}
