//! Every token sealed anew under the primary key, beside a running bot and daemon.
//!
//! A page is a transaction; a value is replaced only where it still is what was read, so no token is unreadable for a
//! moment, and a run that was cut short is taken up by the next one: what is under the primary key is passed over.

use crate::db::session::Purpose;
use crate::db::users::{self, Sealing};
use crate::db::{Cursor, DbError, Session, fingerprints};
use crate::envelope::Stored;
use crate::relink::{RelinkError, Rules};
use crate::token::Token;
use std::collections::BTreeMap;
use std::time::Duration;

/// Users a page.
const PAGE: usize = 500;
/// How often rows that somebody holds are tried again, and how long between.
const ATTEMPTS: usize = 50;
const BETWEEN: Duration = Duration::from_millis(200);

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Rekeyed {
    /// Tokens sealed anew.
    pub sealed: usize,
    /// Users whose value could not be: why, in words.
    pub left: BTreeMap<i64, String>,
}

/// How many users have a value to look at, for a progress bar.
pub(crate) async fn users(session: &mut Session) -> Result<usize, RelinkError> {
    let count = users::count_with_prefix(session, "").await?;
    Ok(usize::try_from(count).unwrap_or(0))
}

/// Seals everything anew; `seen` hears how many users have been looked at, page by page.
///
/// # Errors
/// The database's, or no randomness; what is done until then stays done.
pub(crate) async fn rekey(
    session: &mut Session,
    rules: &Rules,
    seen: impl Fn(usize),
) -> Result<Rekeyed, RelinkError> {
    let mut rekeyed = Rekeyed::default();
    for attempt in 0..=ATTEMPTS {
        let locked = pass(session, rules, &mut rekeyed, |count| {
            if attempt == 0 {
                seen(count);
            }
        })
        .await?;
        if locked.is_empty() {
            break;
        }
        if attempt == ATTEMPTS {
            let reason = "the bot holds the row; run `relinkd rekey` again";
            rekeyed.left.extend(locked.into_iter().map(|user| (user, reason.to_owned())));
            break;
        }
        tokio::time::sleep(BETWEEN).await;
    }
    Ok(rekeyed)
}

/// Once over all users. Returns those whose row was locked or has changed meanwhile.
async fn pass(
    session: &mut Session,
    rules: &Rules,
    rekeyed: &mut Rekeyed,
    seen: impl Fn(usize),
) -> Result<Vec<i64>, RelinkError> {
    let primary = rules.keyring.primary();
    let mut locked = Vec::new();
    let mut cursor = Cursor::start();
    while cursor.more() {
        let tx = session.begin(Purpose::Assign);
        let rows = users::after(&tx, cursor.after(), PAGE).await?;
        cursor.pass(&rows, PAGE, |row| row.telegram_id);
        seen(rows.len());
        let (mut sealings, mut tokens) = (Vec::new(), BTreeMap::new());
        for row in rows {
            let stored = rules.keyring.read(
                row.stored.as_ref().map(|s| s.as_str()),
                row.telegram_id,
                &rules.token_rule,
            );
            let token = match stored {
                Stored::Sealed { token, key } if key != *primary => token,
                Stored::Plaintext(token) if rules.seal_plaintext => token,
                Stored::Unusable(reason) => {
                    rekeyed.left.insert(row.telegram_id, reason.to_string());
                    continue;
                }
                Stored::None | Stored::Sealed { .. } | Stored::Plaintext(_) => continue,
            };
            let Some(place) = row.place else { continue };
            let value = rules.keyring.seal(&token, row.telegram_id)?;
            sealings.push(Sealing { telegram_id: row.telegram_id, place, value: value.into() });
            tokens.insert(row.telegram_id, token);
        }
        let masked = |error: DbError| error.without(tokens.values().map(Token::expose));
        if !sealings.is_empty() {
            let left = users::seal(&tx, &sealings).await.map_err(masked)?;
            let (held, sealed): (Vec<_>, Vec<_>) = tokens.iter().partition(|(user, _)| left.contains(user));
            rekeyed.sealed += sealed.len();
            let prints = sealed.into_iter().map(|(user, token)| (*user, rules.keyring.fingerprints(token)));
            fingerprints::put(&tx, &prints.collect::<Vec<_>>()).await?;
            locked.extend(held.into_iter().map(|(user, _)| *user));
        }
        tx.commit().await.map_err(masked)?;
    }
    Ok(locked)
}
