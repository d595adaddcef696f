//! The spool's thread: scan, claim, take, settle; files in order of arrival, several at a time.
//!
//! It waits for disks and for the database on a runtime of its own, so that no slow disk delays a link.

use super::progress::Loop;
use super::{Current, Flag, Shared, in_time, on_a_thread};
use crate::backoff::Backoff;
use crate::db::connect::SessionKind;
use crate::db::{DbError, Session, presence, schema};
use crate::intake::{Fate, Intake, IntakeError};
use crate::printable::Printable;
use crate::relink::RelinkError;
use crate::spool::{Arrival, Claim, NotTaken, Spool};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};

/// The loop is heard of this often, however long the rescan's interval.
const ROUND: Duration = Duration::from_secs(10);

/// Starts the thread. The flag is set once the spool has been scanned.
pub(super) fn start(shared: Arc<Shared>, spool: Spool) -> std::io::Result<(Flag, JoinHandle<()>)> {
    let scanned = Flag::new();
    let flag = scanned.clone();
    let thread = on_a_thread("spool", async move || run(&shared, spool, &flag).await)?;
    Ok((scanned, thread))
}

async fn run(shared: &Shared, mut spool: Spool, scanned: &Flag) {
    let woken = Arc::new(Notify::new());
    let bell = Arc::clone(&woken);
    spool.watch(move || bell.notify_one());
    let mut keeper = Keeper { shared, spool, intake: Intake::default(), session: None, told: None };
    let mut backoff = Backoff::default();
    let mut current = shared.current.subscribe();
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
        wait(shared, &woken, &mut current, pause).await;
    }
}

/// Waits for the time to pass, for something to happen in the spool, for a reload, or for the end.
async fn wait(shared: &Shared, woken: &Notify, current: &mut watch::Receiver<Current>, pause: Duration) {
    let end = Instant::now() + pause;
    loop {
        shared.progress.beat(Loop::Spool);
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() || shared.stop.is_set() {
            return;
        }
        tokio::select! {
            () = woken.notified() => return,
            _ = current.changed() => return,
            () = shared.pause(left.min(ROUND)) => {}
        }
    }
}

/// The most files of a batch; its transaction locks their users' rows, and the bot may want one.
const BATCH_FILES: usize = 128;
/// The most bytes of a batch, so that memory and transaction stay small; one file may be as large by itself.
const BATCH_BYTES: u64 = 1 << 20;
/// How long a session is kept for the next files.
const SESSION_KEPT: Duration = Duration::from_secs(20);

/// The spool, its files that wait, and the session for the next ones.
struct Keeper<'a> {
    shared: &'a Shared,
    spool: Spool,
    intake: Intake,
    session: Option<(Session, Instant)>,
    /// Why files wait, as it was told last.
    told: Option<String>,
}

impl Keeper<'_> {
    /// Looks through the spool and takes what there is. Returns when to look again.
    async fn round(&mut self, scanned: &Flag) -> Result<Duration, IntakeError> {
        let rescan = self.shared.settings().spool.rescan;
        let scan = self.spool.scan(std::time::SystemTime::now())?;
        tell_not_taken(&scan.not_taken);
        scanned.set();
        let leftovers = self.intake.due(self.spool.leftovers()?);
        let mut moved = false;
        if !leftovers.is_empty() || !scan.ready.is_empty() {
            if self.told.is_none() {
                self.shared.progress.say(Loop::Spool, "taking files");
            }
            let mut session = self.session().await?;
            let facts = in_time(self.shared.verify(&session)).await?;
            for claims in batches(&leftovers, Claim::size) {
                if self.shared.stop.is_set() {
                    break;
                }
                moved |= self.take(&mut session, &facts, claims).await?;
            }
            for arrivals in batches(&scan.ready, Arrival::size) {
                if self.shared.stop.is_set() {
                    break;
                }
                let claims = self.spool.claim(arrivals)?;
                tell_not_taken(&claims.not_taken);
                moved |= self.take(&mut session, &facts, &claims.taken).await?;
            }
            self.session = Some((session, Instant::now()));
        }
        if moved {
            // More may have come meanwhile.
            return Ok(Duration::ZERO);
        }
        let soonest = scan.look_again_in.into_iter().chain(self.intake.next_due());
        Ok(soonest.fold(rescan, Duration::min))
    }

    /// The session of the last files, or a new one.
    async fn session(&mut self) -> Result<Session, DbError> {
        match self.session.take() {
            Some((session, used)) if !session.is_closed() && used.elapsed() < SESSION_KEPT => Ok(session),
            _ => self.shared.connector.connect(SessionKind::Intake).await,
        }
    }

    /// Takes claimed files together. True where one of them came to its end.
    async fn take(
        &mut self,
        session: &mut Session,
        facts: &schema::Facts,
        claims: &[Claim],
    ) -> Result<bool, IntakeError> {
        if claims.is_empty() {
            return Ok(false);
        }
        self.shared.progress.beat(Loop::Spool);
        let fates = loop {
            let rules = self.shared.rules_for_work(facts);
            match in_time(self.intake.take(session, &rules, &self.spool, claims)).await {
                Err(IntakeError::Assign(RelinkError::UnknownKey(key))) => {
                    self.shared.look_for(key);
                }
                done => break done?,
            }
        };
        let mut ended = false;
        for (claim, fate) in claims.iter().zip(fates) {
            let name = Printable::name(claim.name());
            let file = name.as_str();
            ended |= !matches!(fate, Fate::Waits(_) | Fate::StillWaits);
            match fate {
                Fate::Applied => log::info!(file; "applied"),
                Fate::AppliedBefore => log::info!(file; "was applied before; cleared away"),
                Fate::Cleared => log::info!(file; "was settled before; cleared away"),
                Fate::PutBack => log::warn!(file; "was no file to take when it was claimed; put back"),
                Fate::Rejected(faults) => {
                    log::warn!(file, faults; "rejected; `relinkd spool show` says why");
                }
                Fate::Waits(reason) => log::warn!(file, reason = reason.as_str(); "waits, the others go on"),
                Fate::StillWaits => {}
            }
        }
        Ok(ended)
    }

    /// Says why all files wait: in the status line, in the database for `relinkd status`, and once in the log.
    async fn trouble(&mut self, error: &IntakeError) {
        let reason = match error {
            IntakeError::Assign(error) => error.with_advice(),
            IntakeError::Spool(error) => error.to_string(),
        };
        if matches!(error, IntakeError::Assign(RelinkError::Database(_))) {
            self.shared.tried_to_connect.set();
        }
        self.shared.progress.say(Loop::Spool, &format!("files wait: {reason}"));
        if self.told.as_ref() != Some(&reason) {
            log::warn!("files in the spool wait: {reason}");
        }
        // A database that is away is told of nothing.
        let _ = self.tell(Some(&reason)).await;
        self.told = Some(reason);
    }

    /// Says what single files wait for, or that none does: in the status line, and in the database.
    async fn untroubled(&mut self) {
        let reason = self.intake.why_files_wait();
        let text =
            reason.as_ref().map_or("nothing waits".to_owned(), |reason| format!("files wait: {reason}"));
        self.shared.progress.say(Loop::Spool, &text);
        if self.told != reason && self.tell(reason.as_deref()).await.is_ok() {
            self.told = reason;
        }
    }

    async fn tell(&self, reason: Option<&str>) -> Result<(), DbError> {
        let session = self.shared.connector.connect(SessionKind::Intake).await?;
        in_time(presence::files_wait(&session, &self.shared.id, reason)).await
    }
}

fn tell_not_taken(files: &[NotTaken]) {
    for refused in files {
        log::warn!(file = Printable::name(&refused.name).as_str(), reason = refused.reason.to_string().as_str();
            "a file in incoming/ is not taken");
    }
}

/// Cuts files into batches, in their order.
fn batches<T>(files: &[T], size: impl Fn(&T) -> u64) -> impl Iterator<Item = &[T]> {
    let mut rest = files;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let mut fits = |file: &T| {
            bytes += size(file);
            bytes <= BATCH_BYTES
        };
        let count = rest.iter().take(BATCH_FILES).take_while(|file| fits(file)).count();
        let (batch, others) = rest.split_at(count.max(1).min(rest.len()));
        rest = others;
        (!batch.is_empty()).then_some(batch)
    })
}
