//! One session with a server, and transactions in it.
//!
//! Statements go out unnamed with typed parameters (no prepared statement is left in the server), and every
//! transaction sets its own time limits, so that nothing is assumed of the session a pooler hands out.

use super::DbError;
use tokio::sync::mpsc;
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, IsolationLevel, Row};

/// A bind parameter and its type.
pub type Param<'a> = (&'a (dyn ToSql + Sync), Type);

/// A connection that somebody drives; ends when it is dropped.
pub struct Session {
    client: Client,
    /// Rung once for each notification; closed when the connection is.
    pub(super) rings: mpsc::Receiver<()>,
    /// Host and port, or the socket directory, for people.
    pub endpoint: String,
}

/// What a transaction is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// relinkd's own writes to links: no trigger of its own hears them, and a crash of the server may lose the last
    /// few together with the forgetting of their changes, which does no harm and saves a flush each.
    Relink,
    /// Writes that others must hear of and that must last: tokens.
    Assign,
    /// Looking only.
    Read,
}

impl Session {
    pub(super) fn new(client: Client, rings: mpsc::Receiver<()>, endpoint: String) -> Self {
        Self { client, rings, endpoint }
    }

    /// Whether the connection is known to be gone.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Begins a transaction; dropping it unfinished rolls it back.
    ///
    /// # Errors
    /// The database's.
    pub async fn begin(&mut self, purpose: Purpose) -> Result<Tx<'_>, DbError> {
        // Whatever the database's default: who waits for a lock and then looks must see what was done under it.
        let inner =
            self.client.build_transaction().isolation_level(IsolationLevel::ReadCommitted).start().await?;
        inner
            .batch_execute(match purpose {
                Purpose::Relink => {
                    // Every access is by key, however stale the statistics are: no scan of a whole table.
                    "set local enable_seqscan = off; set local enable_hashjoin = off;
                     set local enable_mergejoin = off; set local jit = off;
                     set local relinkd.applying = 'on'; set local synchronous_commit = off;
                     set local statement_timeout = '30s'; set local lock_timeout = '1s';
                     set local idle_in_transaction_session_timeout = '30s'"
                }
                Purpose::Assign => {
                    "set local statement_timeout = '40s'; set local lock_timeout = '5s';
                     set local idle_in_transaction_session_timeout = '30s'"
                }
                Purpose::Read => {
                    "set transaction read only; set local statement_timeout = '60s';
                     set local lock_timeout = '1s'; set local idle_in_transaction_session_timeout = '60s'"
                }
            })
            .await?;
        Ok(Tx { inner })
    }

    /// Runs a statement of its own and returns its rows.
    ///
    /// # Errors
    /// The database's.
    pub async fn query(&self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, DbError> {
        Ok(self.client.query_typed(sql, params).await?)
    }

    /// As [`Session::query`], for exactly one row.
    ///
    /// # Errors
    /// The database's.
    pub async fn query_one(&self, sql: &str, params: &[Param<'_>]) -> Result<Row, DbError> {
        Ok(self.client.query_typed_one(sql, params).await?)
    }

    /// As [`Session::query`], for one row or none.
    ///
    /// # Errors
    /// The database's.
    pub async fn query_opt(&self, sql: &str, params: &[Param<'_>]) -> Result<Option<Row>, DbError> {
        Ok(self.client.query_typed_opt(sql, params).await?)
    }

    /// Runs a statement of its own; returns the number of rows it touched.
    ///
    /// # Errors
    /// The database's.
    pub async fn execute(&self, sql: &str, params: &[Param<'_>]) -> Result<u64, DbError> {
        Ok(self.client.execute_typed(sql, params).await?)
    }

    /// Runs several statements without parameters.
    ///
    /// # Errors
    /// The database's.
    pub async fn batch(&self, sql: &str) -> Result<(), DbError> {
        Ok(self.client.batch_execute(sql).await?)
    }
}

/// A transaction.
pub struct Tx<'a> {
    inner: tokio_postgres::Transaction<'a>,
}

impl Tx<'_> {
    /// Copies rows in with `copy … from stdin binary` (Postgres manual, COPY): unlike parameters, they are in nobody's
    /// log.
    ///
    /// # Errors
    /// The database's.
    pub async fn copy(
        &self,
        sql: &str,
        types: &[Type],
        rows: &[Vec<&(dyn ToSql + Sync)>],
    ) -> Result<(), DbError> {
        let writer = BinaryCopyInWriter::new(self.inner.copy_in(sql).await?, types);
        let mut writer = std::pin::pin!(writer);
        for row in rows {
            writer.as_mut().write(row).await?;
        }
        writer.finish().await?;
        Ok(())
    }

    /// Runs a statement and returns its rows.
    ///
    /// # Errors
    /// The database's.
    pub async fn query(&self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, DbError> {
        Ok(self.inner.query_typed(sql, params).await?)
    }

    /// Runs a statement and returns its one row.
    ///
    /// # Errors
    /// The database's.
    pub async fn query_one(&self, sql: &str, params: &[Param<'_>]) -> Result<Row, DbError> {
        Ok(self.inner.query_typed_one(sql, params).await?)
    }

    /// Runs a statement; returns the number of rows it touched.
    ///
    /// # Errors
    /// The database's.
    pub async fn execute(&self, sql: &str, params: &[Param<'_>]) -> Result<u64, DbError> {
        Ok(self.inner.execute_typed(sql, params).await?)
    }

    /// Runs several statements without parameters.
    ///
    /// # Errors
    /// The database's.
    pub async fn batch(&self, sql: &str) -> Result<(), DbError> {
        Ok(self.inner.batch_execute(sql).await?)
    }

    /// Ends the transaction and keeps it.
    ///
    /// # Errors
    /// The database's; whether the transaction took effect is then not known.
    pub async fn commit(self) -> Result<(), DbError> {
        Ok(self.inner.commit().await?)
    }
}
