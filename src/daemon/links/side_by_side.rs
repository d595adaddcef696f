//! More than a step's worth: two sessions, or one and those of other daemons, share the queue by users.

use super::{Links, is_time};
use crate::db::DbError;
use crate::db::connect::SessionKind;
use crate::db::presence::{self, Mode};
use crate::db::session::Purpose;
use crate::relink::{Part, RelinkError, Worker};
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long a worker with nothing to do waits while another is at work.
const BESIDE: Duration = Duration::from_millis(3);

impl Links<'_> {
    /// Works until none of this daemon's sessions finds anything.
    pub(super) async fn work_side_by_side(&self) -> Result<(), RelinkError> {
        self.take_seat().await?;
        let idle = [false, false].map(AtomicBool::new);
        let (first, second) = (self.work_on_share(0, &idle), self.work_on_share(1, &idle));
        tokio::try_join!(first, second).map(drop)
    }

    async fn work_on_share(&self, index: usize, idle: &[AtomicBool; 2]) -> Result<(), RelinkError> {
        let mut whole = Instant::now();
        let mut place = i64::MIN;
        while let Some(share) = self.share(index)
            && !self.interrupted()
        {
            self.open_worker(index).await?;
            if is_time(&mut whole) {
                place = i64::MIN;
                if index == 0 {
                    self.look_at_what_is_set_aside().await?;
                    self.take_seat().await?;
                }
            }
            // Whoever is in the middle of a step is not idle: there will be more.
            idle[index].store(false, Ordering::Relaxed);
            let step = self.turn(index, Part { share, ..self.behind(place) }).await?;
            // What was taken leaves dead rows: they are not passed each time.
            if step.walks.users == 0 && step.contended.is_empty() {
                place = step.met.map_or(i64::MIN, |(_, last)| last);
            }
            if !step.is_idle() || !self.turn(index, self.whole()).await?.is_idle() {
                continue;
            }
            idle[index].store(true, Ordering::Relaxed);
            if idle[1 - index].load(Ordering::Relaxed) {
                break;
            }
            self.shared.pause(BESIDE).await;
        }
        idle[index].store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Looks which of how many daemons this is: each begins with users of its own, and none waits for another's locks.
    async fn take_seat(&self) -> Result<(), DbError> {
        let place = self.workers[0].lock().await;
        let Some((session, _)) = place.as_ref() else { return Ok(()) };
        let seat = presence::seat(session, &self.shared.id).await?;
        *self.seat.lock().unwrap_or_else(PoisonError::into_inner) = seat;
        Ok(())
    }

    /// A worker's part of all users: so many parts, and which. The second has none where other daemons are at work: a
    /// server has only so many processors.
    fn share(&self, worker: usize) -> Option<(i64, i64)> {
        match *self.seat.lock().unwrap_or_else(PoisonError::into_inner) {
            (_, ..=1) => Some((2, i64::from(worker == 1))),
            (index, daemons) => (worker == 0).then_some((daemons, index)),
        }
    }

    async fn open_worker(&self, index: usize) -> Result<(), DbError> {
        let mut place = self.workers[index].lock().await;
        if place.is_none() {
            let mut session = self.shared.connector.connect(SessionKind::Worker).await?;
            if self.mode == Mode::Listen {
                session.dedicate_to(Purpose::Relink).await?;
            }
            let mut worker = Worker::default();
            worker.measure(&session).await?;
            *place = Some((session, worker));
        }
        Ok(())
    }
}
