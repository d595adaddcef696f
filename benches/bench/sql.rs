//! One blocking session with Postgres, driven by the thread that asks: no other thread wakes between a reply and the clock.

use std::time::{SystemTime, UNIX_EPOCH};
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, Error, NoTls, SimpleQueryMessage, Statement};

/// A connected session; dropping it ends it.
pub(crate) struct Sql {
    runtime: Runtime,
    client: Client,
}

impl Sql {
    /// Connects without TLS.
    pub(crate) fn connect(target: &Config) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let (client, connection) = runtime.block_on(target.connect(NoTls)).unwrap();
        runtime.spawn(connection);
        Self { runtime, client }
    }

    /// One or more statements without parameters.
    pub(crate) fn run(&self, sql: &str) {
        self.try_run(sql).unwrap_or_else(|error| panic!("{error:?}\nin: {sql}"));
    }

    /// The same, for statements that may be refused.
    pub(crate) fn try_run(&self, sql: &str) -> Result<(), Error> {
        self.runtime.block_on(self.client.batch_execute(sql))
    }

    /// The rows of a query, every value as text; null is empty.
    pub(crate) fn rows(&self, sql: &str) -> Vec<Vec<String>> {
        let found = self.runtime.block_on(self.client.simple_query(sql));
        let messages = found.unwrap_or_else(|error| panic!("{error:?}\nin: {sql}"));
        let mut rows = Vec::new();
        for message in messages {
            if let SimpleQueryMessage::Row(row) = message {
                rows.push((0..row.len()).map(|i| row.get(i).unwrap_or_default().to_owned()).collect());
            }
        }
        rows
    }

    /// The single value of a query.
    pub(crate) fn text(&self, sql: &str) -> String {
        self.rows(sql).swap_remove(0).swap_remove(0)
    }

    /// The same as a number; null is 0.
    pub(crate) fn number(&self, sql: &str) -> i64 {
        let text = self.text(sql);
        if text.is_empty() {
            0
        } else {
            text.parse().unwrap_or_else(|_| panic!("{text:?} is no number: {sql}"))
        }
    }

    /// Prepares a statement.
    pub(crate) fn prepare(&self, sql: &str) -> Statement {
        self.runtime.block_on(self.client.prepare(sql)).unwrap_or_else(|error| panic!("{error:?}\nin: {sql}"))
    }

    /// Runs a prepared statement; returns when its reply was there.
    pub(crate) fn execute(&self, statement: &Statement, parameters: &[&(dyn ToSql + Sync)]) -> Moment {
        self.runtime.block_on(self.client.execute(statement, parameters)).unwrap();
        now()
    }
}

/// Microseconds since 1970, comparable with what the server on this machine says.
pub(crate) type Moment = i64;

/// The moment it is.
pub(crate) fn now() -> Moment {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros()).unwrap()
}

/// Milliseconds between two moments.
#[expect(clippy::cast_precision_loss, reason = "a span of a bench fits")]
pub(crate) fn milliseconds(from: Moment, to: Moment) -> f64 {
    (to - from) as f64 / 1000.0
}

/// SQL for the moment at which the transaction that wrote a row was committed. The cluster notes it for each transaction
/// (`track_commit_timestamp`), so nobody has to watch the table while relinkd works.
pub(crate) const COMMITTED: &str = "(extract(epoch from pg_xact_commit_timestamp(xmin)) * 1000000)::bigint";
