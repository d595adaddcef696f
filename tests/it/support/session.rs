//! A session with Postgres for tests that are plain functions: every call blocks.
//!
//! A thread of its own drives the connection, so that a server that goes away is noticed between calls.

use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, Error, NoTls, SimpleQueryMessage};

/// A connected session. Dropping it ends the session.
pub(crate) struct Session {
    client: Client,
    calls: Runtime,
}

impl Session {
    /// Connects without TLS, giving up after 5 s.
    pub(crate) fn connect(target: &Config) -> Result<Self, Error> {
        let mut target = target.clone();
        target.connect_timeout(Duration::from_secs(5));
        let traffic = Builder::new_current_thread().enable_all().build().unwrap();
        let (client, connection) = traffic.block_on(target.connect(NoTls))?;
        std::thread::spawn(move || traffic.block_on(connection));
        Ok(Self { client, calls: Builder::new_current_thread().build().unwrap() })
    }

    /// Whether the connection is gone.
    pub(crate) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// One or more statements without parameters, as `psql -c` runs them (in one transaction unless they say otherwise).
    pub(crate) fn execute(&self, sql: &str) {
        self.try_execute(sql).unwrap_or_else(|error| panic!("{}\nin: {sql}", describe(&error)));
    }

    /// The same, for statements that may be refused.
    pub(crate) fn try_execute(&self, sql: &str) -> Result<(), Error> {
        self.calls.block_on(self.client.batch_execute(sql))
    }

    /// One statement with parameters; how many rows it changed.
    pub(crate) fn execute_with(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> u64 {
        self.calls
            .block_on(self.client.execute(sql, parameters))
            .unwrap_or_else(|error| panic!("{}\nin: {sql}", describe(&error)))
    }

    /// The rows of a query, every value as Postgres prints it.
    pub(crate) fn rows(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        let messages = self
            .calls
            .block_on(self.client.simple_query(sql))
            .unwrap_or_else(|error| panic!("{}\nin: {sql}", describe(&error)));
        let mut rows = Vec::new();
        for message in messages {
            if let SimpleQueryMessage::Row(row) = message {
                rows.push((0..row.len()).map(|column| row.get(column).map(str::to_owned)).collect());
            }
        }
        rows
    }

    /// The single value of a query that yields one row of one column; `None` is null.
    pub(crate) fn value(&self, sql: &str) -> Option<String> {
        let mut rows = self.rows(sql);
        assert_eq!(rows.len(), 1, "one row expected from: {sql}");
        rows.remove(0).remove(0)
    }

    /// A single number, as [`Session::value`].
    pub(crate) fn number(&self, sql: &str) -> i64 {
        self.value(sql).expect("a number, not null").parse().expect("a number")
    }
}

/// The SQLSTATE of a refusal, or an empty text where the server sent none.
pub(crate) fn sqlstate(error: &Error) -> &str {
    error.code().map_or("", tokio_postgres::error::SqlState::code)
}

fn describe(error: &Error) -> String {
    match error.as_db_error() {
        Some(database) => format!("{}: {}", database.code().code(), database.message()),
        None => error.to_string(),
    }
}
