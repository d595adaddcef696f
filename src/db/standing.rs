//! How the work stands, in numbers.

use super::{DbError, Session};

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
