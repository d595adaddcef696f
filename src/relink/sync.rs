//! Brings links into form now, in this process: queues a change for each user, and works on the queue until they are done.
//! It has no way of its own to move links, so a daemon may work beside it.

use super::{Part, RelinkError, Rules, Step, Warning, Worker};
use crate::db::changes::{self, Change};
use crate::db::session::Purpose;
use crate::db::{Session, issues, schema};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long users or rows that somebody else holds are tried.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it is seen whether all is done, while there is something to do.
const ASK: Duration = Duration::from_secs(1);
/// The longest pause between two looks.
const LOOK: Duration = Duration::from_millis(100);

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Synced {
    /// Links looked at.
    pub looked_at: usize,
    /// Links written.
    pub written: usize,
    /// What to say.
    pub warnings: Vec<Warning>,
    /// Users not done, and why.
    pub left: BTreeMap<i64, String>,
}

/// About how many links there are, for a progress bar.
pub(crate) async fn about_how_many_links(session: &mut Session) -> Result<usize, RelinkError> {
    let tx = session.begin(Purpose::Read);
    let links = issues::about_how_many(&tx).await?;
    tx.commit().await?;
    Ok(links)
}

/// Brings all links, or those of these users, into form. `heard` is told of each step.
pub(crate) async fn sync(
    session: &mut Session,
    rules: &Rules,
    users: Option<&[i64]>,
    heard: impl Fn(&Step),
) -> Result<Synced, RelinkError> {
    schema::put_portal_in_force(session, &rules.portal_fingerprint).await?;
    let tx = session.begin(Purpose::Relink);
    match users {
        None => changes::queue_everybody(&tx).await?,
        Some(ids) => {
            let put: Vec<Change> =
                ids.iter().map(|user| Change { assigned: true, ..Change::of_user(*user) }).collect();
            changes::put(&tx, &put).await?;
        }
    }
    tx.commit().await?;
    // A bot that goes on writing is no part of it.
    let started = changes::now(session).await?;
    let mut worker = Worker::default();
    worker.measure(session).await?;
    let mut synced = Synced::default();
    let (mut progress, mut asked) = (Instant::now(), Instant::now());
    let part = Part { only: users, ..Part::WHOLE };
    let mut state = None;
    loop {
        let step = worker.turn(session, rules, part).await?;
        heard(&step);
        synced.looked_at += step.looked_at;
        synced.written += step.written;
        let idle = step.is_idle() || (step.deferred > 0 && step.written == 0);
        synced.warnings.extend(step.warnings);
        if !idle {
            progress = Instant::now();
        }
        // Beside a bot that never pauses there is always something to do.
        if !idle && asked.elapsed() < ASK {
            continue;
        }
        asked = Instant::now();
        let rest = changes::rest(session, users, started).await?;
        // A daemon beside this may have the users' locks all the time, and be at work on what is asked for here.
        if state.replace(rest.state) != Some(rest.state) {
            progress = Instant::now();
        }
        let done = !rest.everybody && rest.waiting.is_empty();
        if done || progress.elapsed() > PATIENCE {
            let held = "another session holds the user or a row of theirs".to_owned();
            synced.left.extend(rest.set_aside.into_iter().map(|(user, _, reason)| (user, reason)));
            synced.left.extend(rest.waiting.into_iter().map(|user| (user, held.clone())));
            return Ok(synced);
        }
        if !idle {
            continue;
        }
        tokio::time::sleep(worker.next_try().unwrap_or(LOOK).min(LOOK)).await;
    }
}
