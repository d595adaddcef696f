//! Where the queue begins. As long as somebody holds an old snapshot the server cannot clear away rows that were taken out
//! of `relinkd.change`, and whoever looks from the beginning passes all of them. So a daemon remembers a place up to which
//! nothing is in the queue, nor ever will be.
//!
//! Places are given in order, and commits come in any. But whoever appends has a transaction id before it has a place: its
//! trigger follows a row that was written. So once a place was seen, and then every transaction ended whose id had been
//! given by then, all that was ever appended up to that place can be seen. It does not come back when it is gone: what is
//! put back at its place was taken in the same transaction.
//!
//! `tests/model/low_water.rs` walks every interleaving. For an append that is its transaction's first (by hand, or `sync`'s),
//! and for a sequence that was reset, daemons look from the very beginning now and then; what they meet there lowers the
//! mark.

use super::params::params;
use super::{DbError, Session};
use std::time::{Duration, Instant};

/// How often it is asked whether the mark can be raised, while there is something to do.
const ASK: Duration = Duration::from_millis(200);
/// How often a look goes from the very beginning.
const BEGINNING: Duration = Duration::from_secs(10);

/// What one daemon knows of the beginning of the queue, on one connection.
#[derive(Debug)]
pub(crate) struct LowWater {
    mark: i64,
    /// The highest place that was seen.
    seen: i64,
    horizon: Option<Horizon>,
    asked: Instant,
    began: Instant,
}

/// A place that was seen, and the transaction id that was the next to be given at a moment after.
#[derive(Debug, Clone, Copy)]
struct Horizon {
    seen: i64,
    next_id: i64,
}

/// What is to be asked: made before the question is sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question {
    mark: i64,
    seen: i64,
    horizon: Option<Horizon>,
}

/// What the server says to it.
#[derive(Debug)]
pub(crate) struct Answer {
    question: Question,
    mark: Option<i64>,
    next_id: i64,
}

impl Default for LowWater {
    fn default() -> Self {
        let now = Instant::now();
        Self { mark: i64::MIN, seen: i64::MIN, horizon: None, asked: now, began: now }
    }
}

impl LowWater {
    /// Up to this place nothing is in the queue.
    pub(crate) fn mark(&self) -> i64 {
        self.mark
    }

    /// Where a look before sleep begins: behind the mark, and now and then at the very beginning.
    pub(crate) fn beginning(&mut self) -> i64 {
        if self.began.elapsed() < BEGINNING {
            return self.mark;
        }
        self.began = Instant::now();
        i64::MIN
    }

    /// Places of what is in the queue, from the first to the last that a look met.
    pub(crate) fn met(&mut self, first: i64, last: i64) {
        self.seen = self.seen.max(last);
        if first <= self.mark {
            *self = Self::default();
        }
    }

    /// What is to be asked, where it is time.
    pub(crate) fn question(&mut self) -> Option<Question> {
        if self.asked.elapsed() < ASK {
            return None;
        }
        self.asked = Instant::now();
        Some(Question { mark: self.mark, seen: self.seen, horizon: self.horizon })
    }

    /// Raises the mark, where the answer allows it.
    pub(crate) fn learn(&mut self, answer: &Answer) {
        let Question { mark, seen, horizon } = answer.question;
        // Something was met below meanwhile, and it is all to be learned anew.
        if self.mark != mark {
            return;
        }
        self.mark = answer.mark.map_or(mark, |answer| answer.max(mark));
        if horizon.is_none() || answer.mark.is_some() {
            self.horizon = Some(Horizon { seen, next_id: answer.next_id });
        }
    }
}

/// Asks. One statement: what it says is of one moment.
pub(crate) async fn ask(session: &Session, question: Question) -> Result<Answer, DbError> {
    let (seen, next_id) = question.horizon.map_or((i64::MIN, i64::MAX), |it| (it.seen, it.next_id));
    let sql = "select case when pg_snapshot_xmin(s)::text::int8 >= $3
                           then least($2, (select min(c.id) - 1 from relinkd.change c where c.id > $1)) end,
                      pg_snapshot_xmax(s)::text::int8
                 from pg_current_snapshot() s";
    let row = session.query_one(sql, params![question.mark, seen, next_id]).await?;
    Ok(Answer { question, mark: row.get(0), next_id: row.get(1) })
}
