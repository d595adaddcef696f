//! How long after the commit of an issue its link is committed.
//!
//! The start is the moment at which the bot has the reply to its commit. The end is the moment that the server noted for
//! the transaction that wrote the link (`track_commit_timestamp`), read when all is over: so nobody polls, no trigger is
//! added, and nothing is disturbed. Both moments are of this machine's clock.

use crate::site::{Plain, wait_links};
use crate::sql::{COMMITTED, Moment, Sql, milliseconds};
use crate::support::BASE;
use std::thread::sleep;
use std::time::{Duration, Instant};
use tokio_postgres::Statement;

/// A bot that inserts issues for users with a token, and remembers when.
pub(crate) struct Racer<'a> {
    pub(crate) name: &'a str,
    plain: &'a Plain,
    bot: Sql,
    insert: Statement,
    first: i64,
    users: i64,
    committed: Vec<Moment>,
}

/// Where the ids of a racer's issues begin: other issues in the table lie below.
const FIRST_ID: i64 = 1_000_000_000;

impl<'a> Racer<'a> {
    /// One for users numbered from `first`.
    pub(crate) fn new(name: &'a str, plain: &'a Plain, first: i64, users: i64) -> Self {
        let bot = plain.another_bot();
        let insert = bot.prepare(&format!(
            "insert into issues (id, telegram_user_id, okdesk_issue_id, title, status, okdesk_url, created_at)
             values ($1, $2, $1, 'Printer', 'opened', '{BASE}/issues/' || $1::int, now())"
        ));
        Self { name, plain, bot, insert, first, users, committed: Vec::new() }
    }

    /// Inserts one issue.
    pub(crate) fn insert(&mut self) {
        let number = i64::try_from(self.committed.len()).unwrap();
        let id = i32::try_from(FIRST_ID + number).unwrap();
        let at = self.bot.execute(&self.insert, &[&id, &(self.first + number % self.users)]);
        self.committed.push(at);
    }

    /// Waits for all links, takes the issues away, and returns the milliseconds from commit to link.
    pub(crate) fn finish(&mut self) -> Vec<f64> {
        let part = format!("id >= {FIRST_ID}");
        wait_links(&self.plain.admin, BASE, &part, Duration::from_millis(100));
        let written =
            self.plain.admin.rows(&format!("select {COMMITTED} from issues where {part} order by id"));
        let written = written.into_iter().map(|row| row[0].parse::<Moment>().unwrap());
        let took = self.committed.drain(..).zip(written).map(|(from, to)| milliseconds(from, to)).collect();
        self.plain.admin.run(&format!("delete from issues where {part}"));
        took
    }
}

/// Lets racers insert so many issues each, in turn, each of them at this pace.
pub(crate) fn race(racers: &mut [Racer], samples: usize, pace: Duration) {
    let step = pace / u32::try_from(racers.len()).unwrap();
    let mut next = Instant::now();
    for _ in 0..samples {
        for racer in &mut *racers {
            sleep(next.saturating_duration_since(Instant::now()));
            racer.insert();
            next += step;
        }
    }
}
