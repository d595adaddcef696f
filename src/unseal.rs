//! Sealed tokens back to plaintext: the way out that `uninstall --unseal` takes.

use crate::db::session::Purpose;
use crate::db::work::{self, Sealing};
use crate::db::{DbError, Session};
use crate::envelope::{Keyring, Reason, Stored};
use crate::token::{RESERVED_PREFIX, TokenRule};
use std::time::Duration;

/// Users a page.
const PAGE: i64 = 1_000;
/// How often rows that the bot holds are tried again, and how long between.
const ATTEMPTS: usize = 100;
const BETWEEN: Duration = Duration::from_millis(100);

/// How many values are sealed.
///
/// # Errors
/// The database's.
pub async fn count(session: &Session) -> Result<i64, DbError> {
    work::count_with_prefix(session, RESERVED_PREFIX).await
}

/// The users whose sealed token does not open.
///
/// # Errors
/// The database's.
pub async fn closed(session: &mut Session, keyring: &Keyring) -> Result<Vec<i64>, DbError> {
    let any = TokenRule::default();
    let mut closed = Vec::new();
    let mut after = None;
    loop {
        let tx = session.begin(Purpose::Read).await?;
        let rows = work::users_with_value_after(&tx, after, PAGE).await?;
        tx.commit().await?;
        let Some((last, _)) = rows.last() else { return Ok(closed) };
        after = Some(*last);
        closed.extend(rows.iter().filter_map(|(id, value)| {
            let stored = keyring.read(Some(value), *id, &any);
            matches!(stored, Stored::Unusable(Reason::Sealed(_))).then_some(*id)
        }));
    }
}

/// Writes every sealed token back in plaintext, none over a value that has changed meanwhile. Returns how many.
///
/// # Errors
/// The database's; also when a row stays locked.
pub async fn unseal(session: &mut Session, keyring: &Keyring) -> Result<usize, DbError> {
    let mut total = 0;
    for _ in 0..ATTEMPTS {
        let (done, left) = pass(session, keyring).await?;
        total += done;
        if left == 0 {
            return Ok(total);
        }
        tokio::time::sleep(BETWEEN).await;
    }
    Err(DbError::Silent(BETWEEN * u32::try_from(ATTEMPTS).unwrap_or(u32::MAX)))
}

async fn pass(session: &mut Session, keyring: &Keyring) -> Result<(usize, usize), DbError> {
    let any = TokenRule::default();
    let (mut done, mut left) = (0, 0);
    let mut after = None;
    loop {
        let tx = session.begin(Purpose::Relink).await?;
        let rows = work::users_after(&tx, after, PAGE, keyring.primary().as_str()).await?;
        let Some(last) = rows.last() else { return Ok((done, left)) };
        after = Some(last.telegram_id);
        let sealings: Vec<Sealing> = rows
            .into_iter()
            .filter_map(|row| {
                let stored = keyring.read(row.stored.as_ref().map(|s| s.as_str()), row.telegram_id, &any);
                let Stored::Sealed { token, .. } = stored else { return None };
                Some(Sealing {
                    telegram_id: row.telegram_id,
                    version: row.version?,
                    value: token.expose().to_owned(),
                })
            })
            .collect();
        if !sealings.is_empty() {
            let written = work::unseal(&tx, &sealings).await?;
            done += written;
            left += sealings.len() - written;
        }
        tx.commit().await?;
    }
}
