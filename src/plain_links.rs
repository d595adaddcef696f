//! Every link back to its plain form: the way out that `uninstall --plain-links` takes.

use crate::db::issues::{self, Back, Rewrite};
use crate::db::session::Purpose;
use crate::db::{Cursor, DbError, Session};
use crate::link::Portal;
use std::time::Duration;

/// Issues a page: the bot waits for rows that such a transaction has written.
const PAGE: usize = 500;
/// How often rows that the bot holds are tried again, and how long between.
const ATTEMPTS: usize = 100;
const BETWEEN: Duration = Duration::from_millis(100);

/// Writes the plain form over every link of ours that has another, none over one that has changed meanwhile. One whose
/// plain form is longer than `limit` stays. Returns how many.
pub(crate) async fn plain_links(
    session: &mut Session,
    portal: &Portal,
    limit: Option<usize>,
) -> Result<usize, DbError> {
    let mut total = 0;
    for _ in 0..ATTEMPTS {
        let (done, left) = pass(session, portal, limit).await?;
        total += done;
        if left == 0 {
            return Ok(total);
        }
        tokio::time::sleep(BETWEEN).await;
    }
    Err(DbError::Silent(BETWEEN * u32::try_from(ATTEMPTS).unwrap_or(u32::MAX)))
}

async fn pass(
    session: &mut Session,
    portal: &Portal,
    limit: Option<usize>,
) -> Result<(usize, usize), DbError> {
    let (mut done, mut left) = (0, 0);
    let mut cursor = Cursor::start();
    while cursor.more() {
        let tx = session.begin(Purpose::Relink);
        let rows = issues::after_id(&tx, cursor.after(), PAGE).await?;
        cursor.pass(&rows, PAGE, |row| row.id);
        let rewrites: Vec<Rewrite> = rows
            .into_iter()
            .filter_map(|row| {
                let old = row.url?;
                let new = portal.plain(&portal.read(&old)?);
                let fits = limit.is_none_or(|limit| new.chars().count() <= limit);
                let back = Back { user: row.telegram_id.unwrap_or_default(), ..Back::default() };
                (fits && new != old).then_some(Rewrite {
                    issue_id: row.id,
                    telegram_id: row.telegram_id,
                    place: row.place,
                    old,
                    new,
                    back,
                })
            })
            .collect();
        if rewrites.is_empty() {
            tx.commit().await?;
            continue;
        }
        // Those that were not written are queued, for nobody: the queue goes with the schema.
        let tokens: Vec<_> = rewrites.iter().filter_map(|rewrite| portal.carried(&rewrite.old)).collect();
        let missed = issues::write_and_commit(tx, &rewrites, true)
            .await
            .map_err(|error| error.without(tokens.iter().map(|token| token.as_str())))?
            .len();
        done += rewrites.len() - missed;
        left += missed;
    }
    Ok((done, left))
}
