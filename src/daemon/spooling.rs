//! The spool's thread: scan, claim, take, settle; a file at a time, in order of arrival.
//!
//! It waits for disks and for the database on a runtime of its own, so that no slow disk delays a link.

use super::board::Room;
use super::{Flag, Shared, in_time};
use crate::assign::AssignError;
use crate::backoff::Backoff;
use crate::db::connect::Role;
use crate::db::{Session, schema};
use crate::intake::{self, Fate, IntakeError};
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
    let mut backoff = Backoff::default();
    while !shared.stop.is_set() {
        let pause = match round(shared, &mut spool, scanned).await {
            Ok(pause) => {
                backoff.reset();
                shared.board.say(Room::Spool, "nothing waits");
                pause
            }
            Err(error) => {
                trouble(shared, &error);
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

/// Looks through the spool and takes what there is. Returns when to look again.
async fn round(shared: &Shared, spool: &mut Spool, scanned: &Flag) -> Result<Duration, IntakeError> {
    let rescan = shared.settings().spool.rescan;
    let scan = spool.scan(std::time::SystemTime::now())?;
    for refused in &scan.not_taken {
        log::warn!(file = refused.name.to_string_lossy().as_ref(), reason = refused.reason.to_string().as_str();
            "a file in incoming/ is not taken");
    }
    scanned.set();
    let leftovers = spool.leftovers()?;
    if leftovers.is_empty() && scan.ready.is_empty() {
        return Ok(scan.look_again_in.map_or(rescan, |soon| soon.min(rescan)));
    }

    let mut session = shared.connector.connect(Role::Intake).await?;
    let facts = in_time(schema::verify(&session, &shared.tables)).await?;
    for claim in leftovers {
        take(shared, spool, &mut session, &facts, &claim).await?;
    }
    for arrival in &scan.ready {
        if shared.stop.is_set() {
            break;
        }
        if let Some(claim) = spool.claim(arrival)? {
            take(shared, spool, &mut session, &facts, &claim).await?;
        }
    }
    // More may have come meanwhile.
    Ok(Duration::ZERO)
}

async fn take(
    shared: &Shared,
    spool: &Spool,
    session: &mut Session,
    facts: &schema::Facts,
    claim: &Claim,
) -> Result<(), IntakeError> {
    let name = claim.name().to_string_lossy();
    let file = name.as_ref();
    shared.board.say(Room::Spool, "taking a file");
    match in_time(intake::take(session, &shared.rules(facts), spool, claim)).await? {
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

/// Says why files wait; the log hears it once.
fn trouble(shared: &Shared, error: &IntakeError) {
    match error {
        IntakeError::Assign(AssignError::Database(error)) => shared.trouble(Room::Spool, error),
        IntakeError::Assign(_) | IntakeError::Spool(_) => {
            if shared.board.say(Room::Spool, &format!("files wait: {error}")) {
                log::warn!("files in the spool wait: {error}");
            }
        }
    }
}
