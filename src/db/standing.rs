//! How the work stands, in numbers.

use super::{DbError, Session, Tx};
use std::fmt;
use tokio_postgres::types::Type;

/// What waits, what is held up, and when the last audit was.
#[derive(Debug)]
pub struct Standing {
    /// The server's version, as it calls itself.
    pub server_version: String,
    /// Changes that are not yet wholly in links, users being walked included.
    pub changes: i64,
    /// How long the oldest of them has waited.
    pub oldest_seconds: Option<f64>,
    /// Users whose links failed.
    pub set_aside: Vec<SetAside>,
    /// When the last audit ended, RFC 3339.
    pub audit_finished_at: Option<String>,
    /// What it found.
    pub audit_found: Option<i64>,
}

/// A user whose links could not be written.
#[derive(Debug)]
pub struct SetAside {
    /// The user.
    pub telegram_id: i64,
    /// Failures in a row.
    pub attempts: i32,
    /// The last error.
    pub reason: String,
}

/// Reads it.
///
/// # Errors
/// The database's.
pub async fn read(session: &Session) -> Result<Standing, DbError> {
    let row = session
        .query_one(
            "select current_setting('server_version'),
                    (select count(*) from relinkd.change) + (select count(*) from relinkd.walk),
                    extract(epoch from now() - least((select min(at) from relinkd.change),
                                                     (select min(since) from relinkd.walk)))::float8,
                    to_char(m.audit_finished_at at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'),
                    m.audit_found
               from relinkd.meta m",
            &[],
        )
        .await?;
    let held = session
        .query(
            "select telegram_id, attempts, coalesce(last_error, '') from relinkd.walk
              where attempts > 0 order by telegram_id limit 100",
            &[],
        )
        .await?;
    Ok(Standing {
        server_version: row.get(0),
        changes: row.get(1),
        oldest_seconds: row.get(2),
        set_aside: held
            .iter()
            .map(|row| SetAside { telegram_id: row.get(0), attempts: row.get(1), reason: row.get(2) })
            .collect(),
        audit_finished_at: row.get(3),
        audit_found: row.get(4),
    })
}

/// What waits for a user.
#[derive(Debug, Default)]
pub struct Waiting {
    /// Changes of single issues (of the one asked for, where one was), and of the user.
    pub changes: i64,
    /// Whether the user's issues are being walked.
    pub walking: bool,
    /// Why the user is set aside.
    pub held_up: Option<String>,
    /// Whether what waits takes a token from links whatever the setting.
    pub strips: bool,
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.held_up, self.changes, self.walking) {
            (Some(reason), _, _) => write!(f, "set aside after an error, tried again later: {reason}"),
            (None, 0, false) => f.write_str("nothing"),
            (None, 0, true) => f.write_str("the user's links are being rewritten"),
            (None, 1, _) => f.write_str("1 change not yet in links"),
            (None, changes, _) => write!(f, "{changes} changes not yet in links"),
        }
    }
}

/// What waits for a user, or for one issue of theirs.
///
/// # Errors
/// The database's.
pub async fn waiting(tx: &Tx<'_>, telegram_id: i64, issue: Option<i64>) -> Result<Waiting, DbError> {
    let row = tx
        .query_one(
            "with c as (select strip_upto from relinkd.change
                         where telegram_id = $1 and ($2::int8 is null or issue_id is null or issue_id = $2)),
                  w as (select strip_upto, attempts, last_error from relinkd.walk where telegram_id = $1)
             select (select count(*) from c), exists (select from w),
                    (select last_error from w where attempts > 0),
                    exists (select from c where strip_upto is not null)
                 or exists (select from w where strip_upto is not null)",
            &[(&telegram_id, Type::INT8), (&issue, Type::INT8)],
        )
        .await?;
    Ok(Waiting { changes: row.get(0), walking: row.get(1), held_up: row.get(2), strips: row.get(3) })
}
