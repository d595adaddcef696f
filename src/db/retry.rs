//! Passes that leave out rows which somebody else has locked, repeated until none is left out.

use std::time::{Duration, Instant};

/// The pause between two passes.
const BETWEEN: Duration = Duration::from_millis(100);
/// For how long rows that the bot has locked are tried again.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Repeats a pass until it leaves out nothing, or for [`PATIENCE`]. A pass returns the ids of the rows that it left out;
/// those of the last one are returned.
pub(crate) async fn while_locked<E>(
    mut pass: impl AsyncFnMut() -> Result<Vec<i64>, E>,
) -> Result<Vec<i64>, E> {
    let end = Instant::now() + PATIENCE;
    loop {
        let locked = pass().await?;
        if locked.is_empty() || Instant::now() >= end {
            return Ok(locked);
        }
        tokio::time::sleep(BETWEEN).await;
    }
}
