//! Sealed tokens back to plaintext: the way out that `uninstall --unseal` takes.

use crate::db::session::Purpose;
use crate::db::users::{self, Sealing};
use crate::db::{Cursor, DbError, Session};
use crate::envelope::{Keyring, Reason, Stored};
use crate::token::{RESERVED_PREFIX, TokenRule};
use std::time::Duration;

/// Users a page.
const PAGE: usize = 1_000;
/// How often rows that the bot holds are tried again, and how long between.
const ATTEMPTS: usize = 100;
const BETWEEN: Duration = Duration::from_millis(100);

/// How many values are sealed.
pub(crate) async fn count(session: &Session) -> Result<i64, DbError> {
    users::count_with_prefix(session, RESERVED_PREFIX).await
}

/// The users whose sealed token does not open.
pub(crate) async fn closed(session: &mut Session, keyring: &Keyring) -> Result<Vec<i64>, DbError> {
    let any = TokenRule::default();
    let mut closed = Vec::new();
    let mut cursor = Cursor::start();
    while cursor.more() {
        let tx = session.begin(Purpose::Read);
        let rows = users::with_value_after(&tx, cursor.after(), PAGE).await?;
        tx.commit().await?;
        cursor.pass(&rows, PAGE, |(id, _)| *id);
        closed.extend(rows.iter().filter_map(|(id, value)| {
            let stored = keyring.read(Some(value), *id, &any);
            matches!(stored, Stored::Unusable(Reason::Sealed(_))).then_some(*id)
        }));
    }
    Ok(closed)
}

/// Writes every sealed token back in plaintext, none over a value that has changed meanwhile. Returns how many; fails also
/// when a row stays locked.
pub(crate) async fn unseal(session: &mut Session, keyring: &Keyring) -> Result<usize, DbError> {
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
    let mut cursor = Cursor::start();
    while cursor.more() {
        let tx = session.begin(Purpose::Relink);
        let rows = users::after(&tx, cursor.after(), PAGE).await?;
        cursor.pass(&rows, PAGE, |row| row.telegram_id);
        let sealings: Vec<Sealing> = rows
            .into_iter()
            .filter_map(|row| {
                let stored = keyring.read(row.stored.as_ref().map(|s| s.as_str()), row.telegram_id, &any);
                let Stored::Sealed { token, .. } = stored else { return None };
                Some(Sealing {
                    telegram_id: row.telegram_id,
                    place: row.place?,
                    value: token.expose().to_owned().into(),
                })
            })
            .collect();
        let masked = |error: DbError| error.without(sealings.iter().map(|sealing| sealing.value.as_str()));
        if !sealings.is_empty() {
            let written = users::unseal(&tx, &sealings).await.map_err(masked)?;
            done += written;
            left += sealings.len() - written;
        }
        tx.commit().await.map_err(masked)?;
    }
    Ok((done, left))
}
