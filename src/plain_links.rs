//! Every link back to its plain form: the way out that `uninstall --plain-links` takes.

use crate::db::issues::{self, Back, Rewrite};
use crate::db::retry::{self, while_locked};
use crate::db::session::Purpose;
use crate::db::{Cursor, DbError, Session};
use crate::link::Portal;

/// Issues a page: the bot waits for rows that such a transaction has written.
const PAGE: usize = 500;

/// Writes the plain form over every link of ours that has another, none over one that has changed meanwhile. One whose
/// plain form is longer than `limit` stays. Returns how many.
pub(crate) async fn plain_links(
    session: &mut Session,
    portal: &Portal,
    limit: Option<usize>,
) -> Result<usize, DbError> {
    let mut written = 0;
    let locked = while_locked(async || pass(session, portal, limit, &mut written).await).await?;
    if locked.is_empty() { Ok(written) } else { Err(DbError::Locked(retry::PATIENCE)) }
}

/// Once over all issues. Returns those that were locked or have changed meanwhile.
async fn pass(
    session: &mut Session,
    portal: &Portal,
    limit: Option<usize>,
    written: &mut usize,
) -> Result<Vec<i64>, DbError> {
    let mut all_locked = Vec::new();
    let mut cursor = Cursor::with_pages_of(PAGE);
    while cursor.more() {
        let tx = session.begin(Purpose::Relink);
        let rows = issues::page(&tx, &mut cursor).await?;
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
        let locked = issues::write_and_commit(tx, &rewrites, true)
            .await
            .map_err(|error| error.without(tokens.iter().map(|token| token.as_str())))?;
        *written += rewrites.len() - locked.len();
        all_locked.extend(locked);
    }
    Ok(all_locked)
}
