//! Who assigned and removed tokens: rows of `relinkd.history`, never a token.

use super::params::{each, params};
use super::session::Purpose;
use super::{Cursor, DbError, Session, Tx, as_i64};
use std::time::{Duration, SystemTime};
use tokio_postgres::Row;

named! {
    /// What was done.
    Action {
        /// A token was set.
        Set = "set",
        /// A token was removed.
        Removed = "removed",
        /// A token that the bot wrote in plaintext was sealed.
        Sealed = "sealed",
        /// A token was shown to somebody.
        Revealed = "revealed",
    }
}

named! {
    /// By which way.
    Via {
        /// A command.
        Cli = "cli",
        /// A drop file.
        Spool = "spool",
        /// The bot, or whoever else wrote the column.
        Bot = "bot",
    }
}

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Whose token.
    pub telegram_id: i64,
    /// What was done.
    pub action: Action,
    /// How.
    pub via: Via,
    /// By whom, where that is known: the login user, or the owner of the file.
    pub by: Option<String>,
    /// The drop file's name.
    pub file: Option<String>,
}

impl Entry {
    /// One of which only that much is known.
    pub(crate) fn new(telegram_id: i64, action: Action, via: Via) -> Self {
        Self { telegram_id, action, via, by: None, file: None }
    }
}

/// Records these.
pub(crate) async fn record(tx: &Tx<'_>, entries: &[Entry]) -> Result<(), DbError> {
    if entries.is_empty() {
        return Ok(());
    }
    let sql = "insert into relinkd.history (telegram_id, action, via, by, file)
               select * from unnest($1, $2, $3, $4, $5)";
    tx.execute(
        sql,
        params![
            each(entries, |entry| entry.telegram_id),
            each(entries, |entry| entry.action.name()),
            each(entries, |entry| entry.via.name()),
            each(entries, |entry| entry.by.as_deref()),
            each(entries, |entry| entry.file.as_deref()),
        ],
    )
    .await
}

/// Forgets what is older than this.
pub(crate) async fn forget_older_than(session: &Session, keep: Duration) -> Result<(), DbError> {
    let sql = "delete from relinkd.history where at < now() - $1 * interval '1 s'";
    session.execute(sql, params![as_i64(keep.as_secs())]).await
}

/// A row as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Shown {
    /// Later rows have greater ones.
    #[serde(skip)]
    pub id: i64,
    /// When, by RFC 3339 in the zone asked for.
    pub at: String,
    /// Whose token.
    pub telegram_id: i64,
    /// What was done.
    pub action: String,
    /// How.
    pub via: String,
    /// By whom.
    pub by: Option<String>,
    /// The drop file's name.
    pub file: Option<String>,
}

/// Which rows are wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// This user's; none: everybody's.
    pub telegram_id: Option<i64>,
    /// From this moment on.
    pub since: Option<SystemTime>,
    /// The time zone of what is shown, by a name that the server knows.
    pub zone: &'a str,
}

macro_rules! page {
    ($of:literal) => {
        concat!(
            "select id, to_char(at, 'YYYY-MM-DD\"T\"HH24:MI:SSTZH:TZM') as at, telegram_id, action, via, by, file
               from relinkd.history
              where ",
            $of,
            " and id > $1 and ($2 is null or at >= $2) order by id limit $3"
        )
    };
}

/// The next rows, the oldest first.
pub(crate) async fn page(
    session: &mut Session,
    wanted: &Wanted<'_>,
    cursor: &mut Cursor<i64>,
) -> Result<Vec<Shown>, DbError> {
    // One statement for each, for a plan that is made once takes the index of one only.
    let sql = if wanted.telegram_id.is_some() { page!("telegram_id = $4") } else { page!("$4 is null") };
    let tx = in_zone(session, wanted.zone).await?;
    let after = cursor.after().unwrap_or(i64::MIN);
    let limit = as_i64(cursor.limit());
    let values = params![after, wanted.since, limit, wanted.telegram_id];
    let shown = |row: &Row| from_row!(row, Shown { id, at, telegram_id, action, via, by, file });
    let page = tx.query_map(sql, values, shown).await?;
    tx.commit().await?;
    Ok(cursor.pass(page, |row: &Shown| row.id))
}

/// The moment that lies so far back.
pub(crate) async fn ago(session: &Session, period: Duration) -> Result<SystemTime, DbError> {
    let sql = "select now() - $1 * interval '1 s'";
    session.query_value(sql, params![period.as_secs_f64()]).await
}

/// The moment that a date, or a date and a time, means in this zone where it names none itself.
pub(crate) async fn moment(session: &mut Session, text: &str, zone: &str) -> Result<SystemTime, DbError> {
    let tx = in_zone(session, zone).await?;
    let moment = tx.query_value("select $1::timestamptz", params![text]).await?;
    tx.commit().await?;
    Ok(moment)
}

/// Whether the server knows a time zone by this name.
pub(crate) async fn knows_zone(session: &Session, name: &str) -> Result<bool, DbError> {
    let sql = "select exists (select from pg_timezone_names where name = $1)";
    session.query_value(sql, params![name]).await
}

async fn in_zone<'s>(session: &'s mut Session, zone: &str) -> Result<Tx<'s>, DbError> {
    let tx = session.begin(Purpose::Read);
    tx.execute("select set_config('TimeZone', $1, true)", params![zone]).await?;
    Ok(tx)
}
