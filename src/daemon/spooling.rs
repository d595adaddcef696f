//! The spool's thread: scan, claim, take, settle; a file at a time, in order of arrival.
//!
//! It waits for disks and for the database on a runtime of its own, so that no slow disk delays a link.

use super::board::Room;
use super::{Flag, Shared, in_time};
use crate::assign::AssignError;
use crate::backoff::Backoff;
use crate::db::connect::Role;
use crate::db::{DbError, Session, presence, schema};
use crate::intake::{self, Fate, IntakeError};
use crate::policy;
use crate::spool::{Claim, Spool};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// The loop is heard of this often, however long the rescan's interval.
const ROUND: Duration = Duration::from_secs(10);

/// Starts the thread. The flag is set once the spool has been scanned.
pub(super) fn start(shared: Arc<Shared>, spool: Spool) -> std::io::Result<(Flag, JoinHandle<()>)> {
    let scanned = Flag::new();
    let flag = scanned.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let thread = std::thread::Builder::new()
        .name("spool".to_owned())
        .spawn(move || runtime.block_on(run(&shared, spool, &flag)))?;
    Ok((scanned, thread))
}

async fn run(shared: &Shared, mut spool: Spool, scanned: &Flag) {
    let woken = Arc::new(Notify::new());
    let bell = Arc::clone(&woken);
    spool.watch(move || bell.notify_one());
    let mut keeper = Keeper { shared, spool, troubled: None };
    let mut backoff = Backoff::default();
    while !shared.stop.is_set() {
        let pause = match keeper.round(scanned).await {
            Ok(pause) => {
                backoff.reset();
                keeper.untroubled().await;
                pause
            }
            Err(error) => {
                keeper.trouble(&error).await;
                backoff.next(super::jitter())
            }
        };
        scanned.set();
        wait(shared, &woken, pause).await;
    }
}

/// Waits for the time to pass, for something to happen in the spool, or for the end.
async fn wait(shared: &Shared, woken: &Notify, pause: Duration) {
    let end = Instant::now() + pause;
    loop {
        shared.board.beat(Room::Spool);
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() || shared.stop.is_set() {
            return;
        }
        tokio::select! {
            () = woken.notified() => return,
            () = shared.pause(left.min(ROUND)) => {}
        }
    }
}

/// The spool, and what keeps its files waiting.
struct Keeper<'a> {
    shared: &'a Shared,
    spool: Spool,
    /// The reason, as it was told last.
    troubled: Option<String>,
}

impl Keeper<'_> {
    /// Looks through the spool and takes what there is. Returns when to look again.
    async fn round(&mut self, scanned: &Flag) -> Result<Duration, IntakeError> {
        let rescan = self.shared.settings().spool.rescan;
        let scan = self.spool.scan(std::time::SystemTime::now())?;
        for refused in &scan.not_taken {
            log::warn!(file = refused.name.to_string_lossy().as_ref(), reason = refused.reason.to_string().as_str();
                "a file in incoming/ is not taken");
        }
        scanned.set();
        let leftovers = self.spool.leftovers()?;
        if leftovers.is_empty() && scan.ready.is_empty() {
            return Ok(scan.look_again_in.map_or(rescan, |soon| soon.min(rescan)));
        }

        if self.troubled.is_none() {
            self.shared.board.say(Room::Spool, "taking files");
        }
        let mut session = self.shared.connector.connect(Role::Intake).await?;
        let facts = in_time(schema::verify(&session, &self.shared.tables)).await?;
        for claim in leftovers {
            self.take(&mut session, &facts, &claim).await?;
        }
        for arrival in &scan.ready {
            if self.shared.stop.is_set() {
                break;
            }
            if let Some(claim) = self.spool.claim(arrival)? {
                self.take(&mut session, &facts, &claim).await?;
            }
        }
        // More may have come meanwhile.
        Ok(Duration::ZERO)
    }

    async fn take(
        &self,
        session: &mut Session,
        facts: &schema::Facts,
        claim: &Claim,
    ) -> Result<(), IntakeError> {
        let name = claim.name().to_string_lossy();
        let file = name.as_ref();
        self.shared.board.beat(Room::Spool);
        match in_time(intake::take(session, &self.shared.rules(facts), &self.spool, claim)).await? {
            Fate::Applied => log::info!(file; "applied"),
            Fate::AppliedBefore => log::info!(file; "was applied before; cleared away"),
            Fate::Cleared => log::info!(file; "was settled before; cleared away"),
            Fate::PutBack => log::warn!(file; "was no file to take when it was claimed; put back"),
            Fate::Rejected(faults) => {
                log::warn!(file, faults; "rejected; see the .reason beside it in rejected/");
            }
        }
        Ok(())
    }

    /// Says why files wait: in the status line, in the database for `relinkd status`, and once in the log.
    async fn trouble(&mut self, error: &IntakeError) {
        let reason = match error {
            IntakeError::Assign(AssignError::Database(error)) => {
                self.shared.connected_once.set();
                policy::with_advice(error)
            }
            IntakeError::Assign(_) | IntakeError::Spool(_) => error.to_string(),
        };
        self.shared.board.say(Room::Spool, &format!("files wait: {reason}"));
        if self.troubled.as_ref() != Some(&reason) {
            log::warn!("files in the spool wait: {reason}");
        }
        // A database that is away is told of nothing.
        let _ = self.tell(Some(&reason)).await;
        self.troubled = Some(reason);
    }

    async fn untroubled(&mut self) {
        self.shared.board.say(Room::Spool, "nothing waits");
        if self.troubled.is_some() && self.tell(None).await.is_ok() {
            self.troubled = None;
        }
    }

    async fn tell(&self, reason: Option<&str>) -> Result<(), DbError> {
        let session = self.shared.connector.connect(Role::Intake).await?;
        in_time(presence::files_wait(&session, &self.shared.id, reason)).await
    }
}
