//! What has changed and is not yet in the links: rows of `relinkd.change`, as triggers recorded them or daemons put them
//! back.

use super::params::{each, params};
use super::text::Lossy;
use super::{DbError, Session, Tx, as_i64, as_millis};
use std::collections::HashSet;
use std::time::Duration;
use tokio_postgres::Row;

/// Whether a change is due. A time to come that is farther off than any pause means that the clock was set back.
macro_rules! due {
    () => {
        "(c.due <= now() or c.due > now() + interval '10 min')"
    };
}

/// What [`change`] reads of a row.
macro_rules! columns {
    () => {
        "c.id, c.telegram_id, true, c.issue_id, c.cursor, c.strip, array_to_string(c.former, ','), coalesce(c.assigned, false),
         (extract(epoch from c.at) * 1000000)::int8, c.attempts, c.last_error,
         (extract(epoch from clock_timestamp() - c.at) * 1000)::int8"
    };
}

/// A change that this transaction has claimed: its row is gone, unless the transaction is rolled back or puts it back.
#[derive(Debug, Clone, Default)]
pub(crate) struct Change {
    /// Its place in the queue; none for one that goes to the end.
    pub id: Option<i64>,
    /// The place of the last of those that were claimed as one.
    pub last: Option<i64>,
    /// The user whose links are due; none for everybody.
    pub telegram_id: Option<i64>,
    /// The issue, or none for all issues of the user.
    pub issue_id: Option<i64>,
    /// Issues up to this id are done; for everybody: users.
    pub cursor: Option<i64>,
    /// See `relinkd.change.strip`.
    pub strip: Option<bool>,
    /// Sealed tokens that the user no longer has.
    pub former: Vec<String>,
    /// relinkd made the change that this is about, not the bot.
    pub assigned: bool,
    /// When it was recorded, in microseconds since 1970; none for now.
    pub at: Option<i64>,
    /// Failures in a row.
    pub attempts: i32,
    /// The last of them.
    pub last_error: Option<String>,
    /// How long it has waited when it was claimed.
    pub age: Duration,
    /// Not to be claimed before, counted from now.
    pub pause: Duration,
}

impl Change {
    /// All issues of a user.
    pub(crate) fn of_user(telegram_id: i64) -> Self {
        Self { telegram_id: Some(telegram_id), ..Self::default() }
    }

    /// One issue.
    pub(crate) fn of_issue(telegram_id: i64, issue_id: i64) -> Self {
        Self { telegram_id: Some(telegram_id), issue_id: Some(issue_id), ..Self::default() }
    }

    /// Whether it was tried in vain.
    pub(crate) fn is_set_aside(&self) -> bool {
        self.attempts > 0
    }
}

/// Which changes to claim.
#[derive(Debug, Clone)]
pub(crate) struct Claiming<'a> {
    /// At most so many that were not tried in vain. Where there is none of these, one that was.
    pub limit: usize,
    /// So many users of whom all issues are to be looked at, each with all that is due of that kind.
    pub users: usize,
    /// Only those behind this place in the queue: what is before was looked at already. Dead rows are not passed again.
    pub above: i64,
    /// Users who were found locked a moment ago.
    pub busy: &'a [i64],
    /// One of so many shares of all users, and which: for sessions that work side by side.
    pub share: (i64, i64),
    /// These users alone.
    pub only: Option<&'a [i64]>,
}

/// What was claimed.
#[derive(Debug, Default)]
pub(crate) struct Claimed {
    /// Changes whose user's lock this transaction now holds, oldest first.
    pub ours: Vec<Change>,
    /// Users of changes that are due, whom another session is working on.
    pub contended: HashSet<i64>,
    /// The first and the last place of what was met, claimed or not.
    pub met: Option<(i64, i64)>,
}

/// What may be claimed: due, in the part of the queue that was asked for, and of nobody who was found locked.
macro_rules! claimable {
    () => {
        concat!(
            "c.id > $3 and ($7::int8[] is null or c.telegram_id = any ($7))
             and coalesce(c.telegram_id <> all ($4) and abs(c.telegram_id % $5) = $6, $6 = 0) and ",
            due!()
        )
    };
}

/// Of what is due, the first that were never tried; where there is none, one that was set aside. Of whole users the first
/// few, each with all that was found of theirs. Then the users' locks are tried for, and the rows of those whose lock came
/// go out of the queue.
const CLAIM: &str = concat!(
    "with fresh as materialized (
         select c.id, c.telegram_id, c.issue_id, c.ctid as place from relinkd.change c
          where c.attempts <= 0 and ", claimable!(), "
          order by c.id limit $1 for update skip locked),
     again as materialized (
         select c.id, c.telegram_id, c.issue_id, c.ctid as place from relinkd.change c
          where not exists (select from fresh) and c.attempts > 0 and ", claimable!(), "
          order by c.id limit 1 for update skip locked),
     found as (
         select f.*, min(f.id) over (partition by f.issue_id is null, f.telegram_id) as first_of_user
           from (select * from fresh union all select * from again) f),
     numbered as (
         select f.*, dense_rank() over (partition by f.issue_id is null order by f.first_of_user) as user_number from found f),
     locked as materialized (
         select n.id, n.telegram_id, n.place,
                coalesce(pg_try_advisory_xact_lock(relinkd.user_key(n.telegram_id)), true) as ours
           from numbered n where n.issue_id is not null or n.user_number <= $2),
     taken as (
         delete from relinkd.change c using locked l where c.ctid = l.place and l.ours returning c.*)
     select ", columns!(), " from taken c
      union all
     select l.id, l.telegram_id, false, null, null, null, null, null, null, null, null, null from locked l where not l.ours
      order by 1"
);

/// Finds changes that are due, tries for their users' locks, and takes those it got out of the queue. Never waits. What was
/// set aside comes last and alone: whatever it does again, nobody else is part of it.
pub(crate) async fn claim(tx: &Tx<'_>, claiming: &Claiming<'_>) -> Result<Claimed, DbError> {
    let Claiming { limit, users, above, busy, share: (shares, share), only } = *claiming;
    let (limit, users) = (as_i64(limit), as_i64(users));
    let rows = tx.query(CLAIM, params![limit, users, above, busy, shares, share, only]).await?;
    let mut claimed = Claimed::default();
    for row in &rows {
        let place: i64 = row.get(0);
        claimed.met = claimed.met.map_or(Some((place, place)), |(first, _)| Some((first, place)));
        if row.get(2) {
            claimed.ours.push(change(row));
        } else {
            claimed.contended.extend(row.get::<_, Option<i64>>(1));
        }
    }
    Ok(claimed)
}

fn change(row: &Row) -> Change {
    Change {
        id: row.get(0),
        last: row.get(0),
        telegram_id: row.get(1),
        issue_id: row.get(3),
        cursor: row.get(4),
        strip: row.get(5),
        former: row.get::<_, Option<Lossy>>(6).map(former).unwrap_or_default(),
        assigned: row.get(7),
        at: row.get(8),
        attempts: row.get(9),
        last_error: row.get(10),
        age: Duration::from_millis(u64::try_from(row.get::<_, i64>(11)).unwrap_or(0)),
        pause: Duration::ZERO,
    }
}

/// Sealed tokens have neither spaces nor commas in them. Whoever may append may append any array.
fn former(text: Lossy) -> Vec<String> {
    text.0.split(',').filter(|one| !one.is_empty()).map(str::to_owned).collect()
}

/// Puts changes into the queue: at their place where they have one, else at its end.
pub(crate) async fn put(tx: &Tx<'_>, changes: &[Change]) -> Result<(), DbError> {
    if changes.is_empty() {
        return Ok(());
    }
    let sql = "with put as materialized (
                   select n.id, n.telegram_id, n.issue_id, n.cursor, n.strip, string_to_array(n.former, ',') as former, n.assigned,
                          coalesce(to_timestamp(n.at / 1000000.0), clock_timestamp()) as at,
                          case when n.pause = 0 then '-infinity' else clock_timestamp() + n.pause * interval '1 ms' end as due,
                          n.attempts, n.last_error
                     from unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
                          n(id, telegram_id, issue_id, cursor, strip, former, assigned, at, pause, attempts, last_error)),
               placed as (
                   insert into relinkd.change (id, telegram_id, issue_id, cursor, strip, former, assigned, at, due, attempts, last_error)
                   select p.* from put p where p.id is not null on conflict (id) do nothing)
               insert into relinkd.change (telegram_id, issue_id, cursor, strip, former, assigned, at, due, attempts, last_error)
               select p.telegram_id, p.issue_id, p.cursor, p.strip, p.former, p.assigned, p.at, p.due, p.attempts, p.last_error
                 from put p where p.id is null";
    tx.execute(
        sql,
        params![
            each(changes, |c| c.id),
            each(changes, |c| c.telegram_id),
            each(changes, |c| c.issue_id),
            each(changes, |c| c.cursor),
            each(changes, |c| c.strip),
            each(changes, |c| (!c.former.is_empty()).then(|| c.former.join(","))),
            each(changes, |c| c.assigned),
            each(changes, |c| c.at),
            each(changes, |c| as_millis(c.pause)),
            each(changes, |c| c.attempts),
            each(changes, |c| c.last_error.as_deref()),
        ],
    )
    .await
}

/// The next users after this one that either table knows, in order: for a change of everybody.
pub(crate) async fn everybody_after(
    tx: &Tx<'_>,
    after: Option<i64>,
    limit: usize,
) -> Result<Vec<i64>, DbError> {
    // Over the issues by leaps from user to user: one with a million of them costs one look.
    let sql = "with recursive owner(telegram_id) as (
                   (select i.telegram_id::int8 from relinkd.bot_issue i
                     where i.telegram_id >= $1 and ($3 or i.telegram_id > $1) order by i.telegram_id limit 1)
                   union all
                   select (select i.telegram_id::int8 from relinkd.bot_issue i where i.telegram_id > o.telegram_id
                            order by i.telegram_id limit 1)
                     from owner o where o.telegram_id is not null)
               (select o.telegram_id from owner o where o.telegram_id is not null limit $2)
               union
               (select u.telegram_id::int8 from relinkd.bot_user u
                 where u.telegram_id >= $1 and ($3 or u.telegram_id > $1) order by u.telegram_id limit $2)
               order by 1 limit $2";
    tx.query_map(sql, params![after.unwrap_or(i64::MIN), as_i64(limit), after.is_none()], |row| row.get(0))
        .await
}

/// Takes one change out of the queue; false where it is not there any more, or another session has it.
pub(crate) async fn take(tx: &Tx<'_>, id: i64) -> Result<bool, DbError> {
    let sql =
        "with one as materialized (select c.ctid as place from relinkd.change c where c.id = $1 for update skip locked)
               delete from relinkd.change c using one o where c.ctid = o.place returning c.id";
    let rows = tx.query(sql, params![id]).await?;
    Ok(!rows.is_empty())
}

/// These issues' links got another token at this place in the queue: what was to be stripped before is gone. Up to `mark`
/// nothing is in the queue. Says whether there was anything to ask.
pub(crate) async fn cancel_strips(tx: &Tx<'_>, issues: &[(i64, i64)], mark: i64) -> Result<bool, DbError> {
    if issues.is_empty() {
        return Ok(false);
    }
    let (ids, places): (Vec<i64>, Vec<i64>) = issues.iter().copied().unzip();
    // One pass over what is before the last of them, however many they are.
    let sql = "with stripping as materialized (
                   select c.id, c.issue_id, c.ctid as place from relinkd.change c
                    where c.id > $3 and c.id < (select max(p) from unnest($2) p) and c.strip)
               update relinkd.change c set strip = null
                 from stripping s join unnest($1, $2) w(issue_id, place) on s.issue_id = w.issue_id and s.id < w.place
                where c.ctid = s.place";
    tx.execute(sql, params![ids, places, mark]).await?;
    Ok(true)
}

/// Queues everybody, where that is not to be done already.
pub(crate) async fn queue_everybody(tx: &Tx<'_>) -> Result<(), DbError> {
    let sql = "insert into relinkd.change (telegram_id)
               select null::int8 where not exists (select from relinkd.change c where c.telegram_id is null and c.cursor is null)";
    tx.execute(sql, &[]).await
}

/// Lets everything that was set aside be tried again now: the cause may be gone.
pub(crate) async fn try_set_aside_again(session: &Session) -> Result<(), DbError> {
    let sql = "update relinkd.change set due = '-infinity' where attempts > 0 and due > now()";
    session.execute(sql, &[]).await
}

/// What of these users (none: of anybody) is in the queue.
#[derive(Debug, Default)]
pub(crate) struct Rest {
    /// Users with changes that were not tried in vain.
    pub waiting: HashSet<i64>,
    /// How many changes these are, and the last place of one: where this differs, somebody is at work.
    pub state: (i64, i64),
    /// Whether a change of everybody waits.
    pub everybody: bool,
    /// Changes that are set aside: user, issue, reason.
    pub set_aside: Vec<(i64, Option<i64>, String)>,
}

/// The server's time, in microseconds since 1970.
pub(crate) async fn now(session: &Session) -> Result<i64, DbError> {
    let sql = "select (extract(epoch from clock_timestamp()) * 1000000)::int8";
    session.query_value(sql, &[]).await
}

/// Looks what is left in the queue of these users (none: of anybody) that was recorded before this time, in microseconds
/// since 1970.
pub(crate) async fn rest(session: &Session, users: Option<&[i64]>, before: i64) -> Result<Rest, DbError> {
    let sql = "select c.telegram_id, case when c.attempts > 0 then c.issue_id end as issue_id, c.attempts > 0 as set_aside,
                      case when c.attempts > 0 then c.last_error end as reason, count(*), max(c.id)
                 from relinkd.change c
                where ($1::int8[] is null or c.telegram_id is null or c.telegram_id = any ($1))
                  and (c.at <= to_timestamp($2 / 1000000.0) or c.attempts > 0)
                group by 1, 2, 3, 4";
    let rows = session.query(sql, params![users, before]).await?;
    let mut rest = Rest::default();
    for row in &rows {
        match (row.get::<_, Option<i64>>(0), row.get::<_, bool>(2)) {
            (None, _) => rest.everybody = true,
            (Some(user), false) => {
                rest.waiting.insert(user);
                rest.state = (rest.state.0 + row.get::<_, i64>(4), rest.state.1.max(row.get(5)));
            }
            (Some(user), true) => {
                rest.set_aside.push((user, row.get(1), row.get::<_, Option<String>>(3).unwrap_or_default()));
            }
        }
    }
    Ok(rest)
}

/// Whether anything of this user's is waiting.
pub(crate) async fn is_waiting(session: &Session, telegram_id: i64) -> Result<bool, DbError> {
    let sql =
        "select exists (select from relinkd.change c where c.telegram_id = $1 or c.telegram_id is null)";
    session.query_value(sql, params![telegram_id]).await
}

/// The waiting changes of these users that say something about tokens to be stripped; they stay where they are.
pub(crate) async fn stripping(tx: &Tx<'_>, users: &[i64]) -> Result<Vec<Change>, DbError> {
    let sql = concat!(
        "select ",
        columns!(),
        " from relinkd.change c
           where c.telegram_id = any ($1) and (c.strip is not null or c.former is not null) order by c.id"
    );
    tx.query_map(sql, params![users], change).await
}

/// What waits for these users: of them as a whole, from the first issue on, or of an issue of theirs.
pub(crate) async fn waiting(tx: &Tx<'_>, users: &[i64]) -> Result<HashSet<(i64, Option<i64>)>, DbError> {
    let sql = "select c.telegram_id, c.issue_id from relinkd.change c
                where c.telegram_id = any ($1) and (c.issue_id is not null or c.cursor is null)";
    tx.query_map(sql, params![users], |row| (row.get(0), row.get(1))).await
}

/// The place of the first change behind this one that is due, of anybody but these.
pub(crate) async fn first_due(session: &Session, above: i64, but: &[i64]) -> Result<Option<i64>, DbError> {
    let sql = concat!(
        "select (select c.id from relinkd.change c
                  where c.id > $1 and coalesce(c.telegram_id <> all ($2), true) and ",
        due!(),
        " order by c.id limit 1)"
    );
    session.query_value(sql, params![above, but]).await
}

/// When the next change behind this place is due, of anybody but these: none when there is none, zero when one is due now.
pub(crate) async fn next_due(
    session: &Session,
    above: i64,
    but: &[i64],
) -> Result<Option<Duration>, DbError> {
    let sql = concat!(
        "select min(case when ",
        due!(),
        " then 0 else 1000 * extract(epoch from c.due - now()) end)::float8
           from relinkd.change c where c.id > $1 and coalesce(c.telegram_id <> all ($2), true)"
    );
    let millis: Option<f64> = session.query_value(sql, params![above, but]).await?;
    Ok(millis.map(|millis| Duration::from_secs_f64(millis.max(0.0) / 1000.0)))
}
