//! The spool's thread: scan, claim, take, settle; a file at a time, in order of arrival.
//!
//! It waits for disks and for the database on a runtime of its own, so that no slow disk delays a link.

use super::board::Room;
use super::{Flag, Shared};
use crate::backoff::Backoff;
use crate::db::connect::Role;
use crate::db::schema;
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
    spool.wake_with(move || bell.notify_one());
    let mut backoff = Backoff::default();
    while !shared.stop.is_set() {
        let pause = match round(shared, &mut spool, scanned).await {
            Ok(pause) => {
                backoff.reset();
                pause
            }
            Err(error) => {
                trouble(shared, &error);
                backoff.next(super::jitter())
            }
        };
        scanned.set();
        shared.board.beat(Room::Spool);
        tokio::select! {
            () = woken.notified() => {}
            () = shared.pause(pause.min(ROUND)) => {}
        }
    }
}
