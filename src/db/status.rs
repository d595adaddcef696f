//! What `status` reads of the database: the work in numbers, what is set aside, triggers, and who has rows locked.

use super::params::params;
use super::{DbError, Session, Tx, as_i64};
use std::fmt;
use std::time::SystemTime;
use tokio_postgres::Row;

/// How many who are set aside are named.
const NAMED: i64 = 100;

/// What waits, what is set aside, whether triggers are there, and when the last audit was.
#[derive(Debug)]
pub(crate) struct WorkStatus {
    /// The server's version, as it calls itself.
    pub server_version: String,
    /// Changes that are not yet wholly in links, users being walked included.
    pub changes: i64,
    /// How long the oldest of them has waited.
    pub oldest_seconds: Option<f64>,
    /// How many changes are set aside.
    pub set_aside_count: i64,
    /// The first of them.
    pub set_aside: Vec<SetAside>,
    /// The last audit; none before the first.
    pub audit: Option<Audit>,
    /// The triggers.
    pub triggers: Triggers,
}

/// An audit that came to its end.
#[derive(Debug)]
pub(crate) struct Audit {
    /// When, RFC 3339.
    pub finished_at: String,
    /// The same for a computer.
    pub finished: SystemTime,
    /// How long ago.
    pub age_seconds: f64,
    /// What it found.
    pub found: i64,
}

/// A user or an issue whose links could not be written.
#[derive(Debug, serde::Serialize)]
pub(crate) struct SetAside {
    /// The user.
    pub telegram_id: Option<i64>,
    /// The issue; none where it is the user's token.
    pub issue_id: Option<i64>,
    /// Failures in a row.
    pub attempts: i32,
    /// The last error.
    pub reason: String,
}

/// The triggers that should be there.
#[derive(Debug)]
pub(crate) struct Triggers {
    /// How many there should be.
    pub wanted: i64,
    /// Those that are missing, disabled, or not as they should be.
    pub unsound: Vec<String>,
}

impl Triggers {
    /// How many are in order.
    pub(crate) fn sound(&self) -> i64 {
        self.wanted - as_i64(self.unsound.len())
    }
}

/// Reads it.
pub(crate) async fn read(session: &Session) -> Result<WorkStatus, DbError> {
    let sql = "select current_setting('server_version'),
                      (select count(*) from relinkd.change),
                      greatest(extract(epoch from now() - (select min(c.at) from relinkd.change c)), 0)::float8,
                      (select count(*) from relinkd.change c where c.attempts > 0),
                      to_char(m.audit_finished_at at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'),
                      m.audit_finished_at, greatest(extract(epoch from now() - m.audit_finished_at), 0)::float8,
                      coalesce(m.audit_found, 0), (select count(*) from relinkd.wanted_trigger),
                      array(select w.name::text from relinkd.wanted_trigger w
                             where not exists (select from relinkd.sound_trigger s where s.name = w.name and s.table_id = w.table_id)
                             order by w.name)
                 from relinkd.meta m";
    let row = session.query_one(sql, &[]).await?;
    let finished: Option<SystemTime> = row.get(5);
    let audit = finished.map(|finished| Audit {
        finished_at: row.get(4),
        finished,
        age_seconds: row.get(6),
        found: row.get(7),
    });
    Ok(WorkStatus {
        server_version: row.get(0),
        changes: row.get(1),
        oldest_seconds: row.get(2),
        set_aside_count: row.get(3),
        set_aside: set_aside(session).await?,
        audit,
        triggers: Triggers { wanted: row.get(8), unsound: row.get(9) },
    })
}

async fn set_aside(session: &Session) -> Result<Vec<SetAside>, DbError> {
    let sql = "select c.telegram_id, c.issue_id, c.attempts, coalesce(c.last_error, '') as reason from relinkd.change c
                where c.attempts > 0 order by c.telegram_id, c.issue_id limit $1";
    let one = |row: &Row| from_row!(row, SetAside { telegram_id, issue_id, attempts, reason });
    session.query_map(sql, params![NAMED], one).await
}

/// A session of somebody else's whose transaction has locked rows of the bot's tables.
#[derive(Debug)]
pub(crate) struct LockHolder {
    /// The backend.
    pub pid: i32,
    /// Its role.
    pub(crate) user: String,
    /// How old its transaction is; none where relinkd may not see that.
    pub seconds: Option<f64>,
}

/// Who may be holding rows that relinkd waits for, the oldest transactions first; those of a moment are left out.
pub(crate) async fn lock_holders(session: &Session, limit: i64) -> Result<Vec<LockHolder>, DbError> {
    let sql = "select a.pid, coalesce(a.usename::text, '?'), extract(epoch from now() - a.xact_start)::float8
                 from pg_stat_activity a
                where a.datname = current_database() and a.pid <> pg_backend_pid()
                  and coalesce(a.application_name, '') not like 'relinkd %'
                  and coalesce(a.xact_start < now() - interval '5 s', true)
                  and exists (select from pg_locks l
                               where l.pid = a.pid and l.granted and l.locktype = 'relation'
                                 and l.mode in ('RowShareLock', 'RowExclusiveLock')
                                 and l.relation in (select b.table_id from relinkd.bound b))
                order by 3 desc nulls last, 1 limit $1";
    let holder = |row: &Row| LockHolder { pid: row.get(0), user: row.get(1), seconds: row.get(2) };
    session.query_map(sql, params![limit], holder).await
}

/// What waits for a user.
#[derive(Debug, Default, serde::Serialize)]
pub(crate) struct Waiting {
    /// Changes of single issues (of the one asked for, where one was), and of the user.
    pub changes: i64,
    /// Whether the user's issues are being walked.
    pub walking: bool,
    /// Why the user is set aside.
    pub set_aside: Option<String>,
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.set_aside, self.changes, self.walking) {
            (Some(reason), _, _) => write!(f, "set aside after an error, tried again later: {reason}"),
            (None, 0, false) => f.write_str("nothing"),
            (None, 0, true) => f.write_str("the user's links are being rewritten"),
            (None, 1, _) => f.write_str("1 change not yet in links"),
            (None, changes, _) => write!(f, "{changes} changes not yet in links"),
        }
    }
}

/// What waits for a user, or for one issue of theirs.
pub(crate) async fn waiting(tx: &Tx<'_>, telegram_id: i64, issue: Option<i64>) -> Result<Waiting, DbError> {
    let sql = "select count(*), coalesce(bool_or(c.cursor is not null), false), max(c.last_error) filter (where c.attempts > 0)
                 from relinkd.change c
                where (c.telegram_id = $1 and ($2::int8 is null or c.issue_id is null or c.issue_id = $2)) or c.telegram_id is null";
    let row = tx.query_one(sql, params![telegram_id, issue]).await?;
    Ok(Waiting { changes: row.get(0), walking: row.get(1), set_aside: row.get(2) })
}
