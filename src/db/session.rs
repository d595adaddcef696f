//! One session with a server, and transactions in it.
//!
//! Two ways to talk. As long as nobody knows whether a pooler stands in between, every statement is unnamed and runs in a
//! transaction that sets its own limits and search path, so that nothing is left in a session that others use next. A
//! session that is known to be ours alone ([`Session::dedicate_to`]) is set up once and prepares its statements.
//!
//! What is sent before it is awaited travels together: `begin` with the first statement, the last one with `commit`.

use super::DbError;
use super::params::Param;
use super::trips::Trips;
use postgres_openssl::MakeTlsConnector;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::pin::{Pin, pin};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::{FromSqlOwned, ToSql, Type};
use tokio_postgres::{Client, Error, Row, Statement};

/// The path by which names in our statements are resolved: Postgres' own objects, whoever planted others.
macro_rules! our_path {
    () => {
        "search_path = pg_catalog, pg_temp"
    };
}

const OUR_PATH: &str = concat!("set local ", our_path!());
/// First in the transaction of a single statement, whatever the role or the database would set.
const ALONE: &str = concat!(
    "begin; set local ",
    our_path!(),
    "; set local statement_timeout = '60s'; set local lock_timeout = '5s'; \
     set local idle_in_transaction_session_timeout = '60s'"
);
/// Assignments last as soon as they are committed, whatever the database's default: at least `on`.
const FLUSHED: &str = "; select set_config('synchronous_commit',
    case when current_setting('synchronous_commit') in ('off', 'local') then 'on'
         else current_setting('synchronous_commit') end, true)";
/// The role's own path, under which the bot's triggers and constraints run when a row of the bot's is written.
const BOTS_PATH: &str = "set local search_path to default";
/// The bot, which may wait for one of these rows, looks for a deadlock after a second (`deadlock_timeout`), and would be its
/// victim: until then they are free again.
const WRITE_SOON: &str = "set local search_path to default; set local statement_timeout = '900ms'";

/// A connection that somebody drives; ends when it is dropped.
pub(crate) struct Session {
    client: Client,
    /// Rung once for each notification; closed when the connection is.
    pub(super) rings: mpsc::Receiver<()>,
    /// Host and port, or the socket directory, for people.
    pub endpoint: String,
    connection: JoinHandle<()>,
    tls: MakeTlsConnector,
    /// What the session was set up for, and its statements; none where a pooler may stand in between.
    own: Option<Own>,
    trips: Trips,
}

struct Own {
    purpose: Purpose,
    statements: Mutex<HashMap<String, Statement>>,
}

/// What a transaction is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// relinkd's own writes to links: no trigger of its own hears them, and a crash of the server may lose the last
    /// few together with the forgetting of their changes, which does no harm and saves a flush each.
    Relink,
    /// Writes that others must hear of and that must last: tokens.
    Assign,
    /// Looking only.
    Read,
    /// Listening, and holding the sleeper's lock.
    Listen,
}

impl Purpose {
    /// Settings of the session or transaction (Postgres manual, chapter 20).
    fn settings(self) -> impl Iterator<Item = &'static str> {
        // A plan that is made without the parameters quotes none of them where somebody logs plans, and is made once. What
        // may not be scanned costs ten thousand millions to the planner: it would compile each such query (`jit`).
        let always = [our_path!(), "plan_cache_mode = force_generic_plan", "jit = off"];
        let own: &[&str] = match self {
            // Every access is by key and in the key's order, however stale the statistics are: no scan of a whole table. A
            // bitmap would pass all of a queue, and leave its dead entries for the next to pass. Limits are short, for the
            // bot waits for rows that such a transaction has written.
            Self::Relink => &[
                "enable_seqscan = off",
                "enable_bitmapscan = off",
                "enable_hashjoin = off",
                "enable_mergejoin = off",
                "relinkd.applying = 'on'",
                "synchronous_commit = off",
                "statement_timeout = '1500ms'",
                "lock_timeout = '20ms'",
                "idle_in_transaction_session_timeout = '2500ms'",
                "idle_session_timeout = 0",
                "client_connection_check_interval = '2s'",
            ],
            Self::Assign => &[
                "relinkd.assigning = 'on'",
                "statement_timeout = '40s'",
                "lock_timeout = '200ms'",
                "idle_in_transaction_session_timeout = '2500ms'",
                "client_connection_check_interval = '2s'",
            ],
            Self::Read => &[
                "transaction_read_only = on",
                "statement_timeout = '60s'",
                "lock_timeout = '1s'",
                "idle_in_transaction_session_timeout = '60s'",
            ],
            Self::Listen => &[
                "enable_seqscan = off",
                "enable_bitmapscan = off",
                // What it writes is where it is: that waits for no standby.
                "synchronous_commit = off",
                "statement_timeout = '5s'",
                "lock_timeout = '1s'",
                "idle_session_timeout = '30s'",
            ],
        };
        always.into_iter().chain(own.iter().copied())
    }

    /// The beginning of a transaction, in a session that is set up for it or in another one.
    fn begin(self, is_set_up: bool) -> String {
        // Whatever the database's default: who waits for a lock and then looks must see what was done under it.
        let mut sql = String::from("begin isolation level read committed read write");
        for setting in self.settings().filter(|_| !is_set_up) {
            let _ = write!(sql, "; set local {setting}");
        }
        if self == Self::Assign {
            sql.push_str(FLUSHED);
        }
        sql
    }
}

impl Session {
    pub(super) fn new(
        client: Client,
        rings: mpsc::Receiver<()>,
        endpoint: String,
        connection: JoinHandle<()>,
        tls: MakeTlsConnector,
    ) -> Self {
        Self { client, rings, endpoint, connection, tls, own: None, trips: Trips::default() }
    }

    /// Whether the connection is known to be gone.
    pub(crate) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Trips to the server and back, so far.
    pub(crate) fn trips(&self) -> u32 {
        self.trips.made()
    }

    /// Sets the session up for one purpose, once and for good. Only for a session that is known to be ours alone: behind
    /// a pooler the settings would reach others.
    pub(crate) async fn dedicate_to(&mut self, purpose: Purpose) -> Result<(), DbError> {
        let mut sql = String::new();
        for setting in purpose.settings() {
            let _ = write!(sql, "set {setting}; ");
        }
        self.client.batch_execute(&sql).await?;
        self.own = Some(Own { purpose, statements: Mutex::default() });
        Ok(())
    }

    /// Cancels what the server does for this session, and closes the connection without a word: for one that does not
    /// answer. Returns at once.
    pub(crate) fn abandon(self) {
        let cancel = self.client.cancel_token();
        let tls = self.tls.clone();
        self.connection.abort();
        tokio::spawn(async move {
            // Where that does not come through either, the server notices by its own means.
            let _ = tokio::time::timeout(Duration::from_secs(3), cancel.cancel_query(tls)).await;
        });
    }

    /// Begins a transaction; dropping it unfinished rolls it back. `begin` travels with the first statement.
    pub(crate) fn begin(&mut self, purpose: Purpose) -> Tx<'_> {
        let sql = purpose.begin(self.own.as_ref().is_some_and(|own| own.purpose == purpose));
        let client = &self.client;
        let opening: Opening<'_> = Box::pin(async move { client.batch_execute(&sql).await });
        Tx { session: self, opening: Mutex::new(Some(opening)), open: true }
    }

    /// Runs a statement of its own and returns its rows.
    pub(crate) async fn query(&self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, DbError> {
        if self.own.is_some() {
            return Ok(self.run(sql, params).await?);
        }
        self.between(ALONE, sql, params, "commit").await
    }

    /// Runs a statement between two others that travel with it. It must be prepared, or not to be prepared: what travels
    /// together must not wait for anything in between, or the last one would overtake it.
    async fn between(
        &self,
        first: &str,
        sql: &str,
        params: &[Param<'_>],
        last: &str,
    ) -> Result<Vec<Row>, DbError> {
        let (first, rows, last) = tokio::join!(
            self.client.batch_execute(first),
            self.run(sql, params),
            self.client.batch_execute(last)
        );
        first?;
        let rows = rows?;
        last?;
        Ok(rows)
    }

    /// Runs several statements without parameters, as they are.
    pub(crate) async fn batch(&self, sql: &str) -> Result<(), DbError> {
        Ok(self.client.batch_execute(sql).await?)
    }

    async fn run(&self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, Error> {
        let _trip = self.trips.begin();
        match self.statement(sql, params).await? {
            None => self.client.query_typed(sql, params).await,
            Some(statement) => {
                let values: Vec<&(dyn ToSql + Sync)> = params.iter().map(|(value, _)| *value).collect();
                self.client.query(&statement, &values).await
            }
        }
    }

    /// The prepared statement, prepared now where it is new; none where nothing is prepared.
    async fn statement(&self, sql: &str, params: &[Param<'_>]) -> Result<Option<Statement>, Error> {
        let Some(own) = &self.own else { return Ok(None) };
        let known = own.statements.lock().unwrap_or_else(PoisonError::into_inner).get(sql).cloned();
        if known.is_some() {
            return Ok(known);
        }
        let types: Vec<Type> = params.iter().map(|(_, of)| of.clone()).collect();
        let statement = self.client.prepare_typed(sql, &types).await?;
        let mut statements = own.statements.lock().unwrap_or_else(PoisonError::into_inner);
        statements.insert(sql.to_owned(), statement.clone());
        Ok(Some(statement))
    }
}

type Opening<'a> = Pin<Box<dyn Future<Output = Result<(), Error>> + Send + 'a>>;

/// A transaction.
pub(crate) struct Tx<'a> {
    session: &'a Session,
    /// `begin`, not yet sent.
    opening: Mutex<Option<Opening<'a>>>,
    open: bool,
}

impl Tx<'_> {
    /// Runs a statement and returns its rows.
    pub(crate) async fn query(&self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, DbError> {
        let Some(opening) = self.opening().take() else { return Ok(self.session.run(sql, params).await?) };
        let (begun, rows) = tokio::join!(opening, self.session.run(sql, params));
        begun?;
        Ok(rows?)
    }

    /// Runs a statement that writes rows of the bot's: under the path that the bot's triggers and constraints know. In
    /// `sql` every operator, function, type and table must be qualified.
    pub(crate) async fn write(&self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, DbError> {
        self.opened().await?;
        self.session.statement(sql, params).await?;
        self.session.between(BOTS_PATH, sql, params, OUR_PATH).await
    }

    /// As [`Tx::write`], as the transaction's last statement: it is committed with it.
    pub(crate) async fn write_and_commit(
        mut self,
        sql: &str,
        params: &[Param<'_>],
    ) -> Result<Vec<Row>, DbError> {
        self.opened().await?;
        self.session.statement(sql, params).await?;
        self.open = false;
        self.session.between(WRITE_SOON, sql, params, "commit").await
    }

    /// Copies rows in with `copy … from stdin binary` (Postgres manual, COPY): unlike parameters, they are in nobody's
    /// log.
    pub(crate) async fn copy_in(&self, sql: &str, types: &[Type]) -> Result<BinaryCopyInWriter, DbError> {
        self.opened().await?;
        Ok(BinaryCopyInWriter::new(self.session.client.copy_in(sql).await?, types))
    }

    /// Runs several statements without parameters.
    pub(crate) async fn batch(&self, sql: &str) -> Result<(), DbError> {
        self.opened().await?;
        Ok(self.session.client.batch_execute(sql).await?)
    }

    /// Ends the transaction and keeps it. After an error it is not known whether it took effect.
    pub(crate) async fn commit(mut self) -> Result<(), DbError> {
        self.open = false;
        if self.opening().take().is_some() {
            return Ok(());
        }
        let _trip = self.session.trips.begin();
        Ok(self.session.client.batch_execute("commit").await?)
    }

    async fn opened(&self) -> Result<(), DbError> {
        let opening = self.opening().take();
        if let Some(opening) = opening {
            opening.await?;
        }
        Ok(())
    }
}

impl<'a> Tx<'a> {
    fn opening(&self) -> MutexGuard<'_, Option<Opening<'a>>> {
        self.opening.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a session and a transaction alike make of the rows that `query` returns.
macro_rules! queries {
    ($of:ty) => {
        impl $of {
            /// Runs a statement that returns no rows.
            pub(crate) async fn execute(&self, sql: &str, params: &[Param<'_>]) -> Result<(), DbError> {
                self.query(sql, params).await.map(drop)
            }

            /// Runs a statement and returns its one row.
            pub(crate) async fn query_one(&self, sql: &str, params: &[Param<'_>]) -> Result<Row, DbError> {
                self.query(sql, params).await?.into_iter().next().ok_or(DbError::NoRow)
            }

            /// Runs a statement and returns the first column of its one row.
            pub(crate) async fn query_value<V: FromSqlOwned>(
                &self,
                sql: &str,
                params: &[Param<'_>],
            ) -> Result<V, DbError> {
                Ok(self.query_one(sql, params).await?.get(0))
            }

            /// Runs a statement and returns what is made of each of its rows.
            pub(crate) async fn query_map<V, C: FromIterator<V>>(
                &self,
                sql: &str,
                params: &[Param<'_>],
                of: impl Fn(&Row) -> V,
            ) -> Result<C, DbError> {
                Ok(self.query(sql, params).await?.iter().map(of).collect())
            }
        }
    };
}

queries!(Session);
queries!(Tx<'_>);

impl Drop for Tx<'_> {
    /// Sends `rollback` where the transaction was begun; what follows on the session comes after it.
    fn drop(&mut self) {
        if self.open && self.opening().is_none() {
            // The first poll puts the message into the queue; nobody waits for the answer.
            let rollback = pin!(self.session.client.batch_execute("rollback"));
            let _ = rollback.poll(&mut Context::from_waker(Waker::noop()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On a busy machine even what travels together may arrive in pieces, with a pause between them.
    #[test]
    fn no_transaction_has_the_limits_of_the_database() {
        let purposes = [Purpose::Relink, Purpose::Assign, Purpose::Read];
        for begin in purposes.map(|purpose| purpose.begin(false)).iter().map(String::as_str).chain([ALONE]) {
            for limit in ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"] {
                assert!(begin.contains(&format!("; set local {limit} = ")), "{limit}: {begin}");
            }
        }
    }
}
