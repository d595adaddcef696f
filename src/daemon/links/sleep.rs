//! Nothing to do: asleep with the sleeper's lock, behind the doorbell, until somebody rings or something is due.

use super::{Links, in_time};
use crate::daemon::progress::Loop;
use crate::db::doorbell::{self, Lock, Rings};
use crate::db::presence::{self, Mode};
use crate::db::{DbError, changes};
use crate::relink::RelinkError;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Pauses between looks while a writer that did not ring is still at it.
const WRITER: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(20));
/// The look behind the doorbell: between this and 1.25 times this.
const POLL: Duration = Duration::from_secs(1);
/// The pause before another look at what is due and was not found: another session holds it.
const HELD: Duration = Duration::from_millis(100);
/// How often the listening session speaks, and how long it may take to answer. The server ends it after 30 s of silence.
const HEARTBEAT: Duration = Duration::from_secs(10);
const ANSWER: Duration = Duration::from_secs(2);

impl Links<'_> {
    /// Falls asleep as soon as every writer that did not ring can be seen, and sleeps until there is something to do.
    pub(super) async fn sleep(&self) -> Result<(), RelinkError> {
        let mut pause = WRITER.0;
        while !self.interrupted() {
            let lock = match self.mode {
                Mode::Listen if self.is_locked() => Lock::Ours,
                Mode::Listen => in_time(doorbell::try_lock(&self.listener, self.backend)).await?,
                Mode::Poll => Lock::Anothers,
            };
            self.locked.store(lock == Lock::Ours, Ordering::Relaxed);
            // This look is sent after the lock's answer came: that is what the protocol rests on.
            let worked = self.look().await?;
            if worked {
                self.unlock().await?;
                pause = WRITER.0;
            }
            if lock != Lock::NotYet {
                return if worked { Ok(()) } else { self.doze().await };
            }
            tokio::select! {
                () = self.rung.notified() => {}
                () = self.shared.pause(pause) => {}
            }
            pause = (pause * 2).min(WRITER.1);
        }
        Ok(())
    }

    /// Whether this daemon has the sleeper's lock.
    pub(super) fn is_locked(&self) -> bool {
        self.locked.load(Ordering::Relaxed)
    }

    /// Lets go of it, where this daemon has it: writers ring no longer.
    pub(super) async fn unlock(&self) -> Result<(), DbError> {
        if self.locked.swap(false, Ordering::Relaxed) {
            in_time(doorbell::unlock(&self.listener)).await
        } else {
            Ok(())
        }
    }

    /// Asleep: until a ring, something due, or the end. The poll only asks.
    async fn doze(&self) -> Result<(), RelinkError> {
        // There was work for two, perhaps; a session that is not needed is not kept.
        self.workers[1].lock().await.take();
        let (busy, next_try) = self.busy().await;
        self.raise_low_water().await?;
        let mark = self.low_water().mark();
        let due = in_time(changes::next_due(&self.listener, mark, &busy)).await?;
        let due = due.map(|due| if due.is_zero() { HELD } else { due });
        let due = due.into_iter().chain(next_try).min().map(|due| tokio::time::Instant::now() + due);
        while !self.interrupted() {
            self.shared.progress.beat(Loop::Links);
            let poll = tokio::time::Instant::now() + POLL.mul_f64(1.0 + 0.25 * crate::daemon::jitter());
            let wake = due.map_or(poll, |due| due.min(poll));
            tokio::select! {
                () = self.rung.notified() => return Ok(()),
                () = self.shared.stop.wait() => return Ok(()),
                () = self.shared.reloaded.wait() => return Ok(()),
                () = tokio::time::sleep_until(wake) => {}
            }
            if due.is_some_and(|due| due <= tokio::time::Instant::now()) {
                return Ok(());
            }
            if self.mode == Mode::Poll {
                // The pooler may have lent another session when the trial ended; sooner or later this one is met.
                in_time(doorbell::unlisten(&self.listener)).await?;
            }
            if self.is_due(&busy).await? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Passes rings on to whoever waits.
    pub(super) async fn hear(&self, rings: &mut Rings) -> Result<(), DbError> {
        loop {
            rings.next().await?;
            self.rung.notify_one();
        }
    }

    /// Speaks on the listening session now and then: it must answer, and the server must not take it for dead.
    pub(super) async fn heartbeat(&self) -> Result<(), DbError> {
        loop {
            let beat = presence::beat(&self.listener, &self.shared.id, self.shared.report());
            tokio::time::timeout(ANSWER, beat).await.map_err(|_| DbError::Silent(ANSWER))??;
            tokio::time::sleep(HEARTBEAT).await;
        }
    }
}
