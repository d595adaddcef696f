//! Connecting: one endpoint after another until one is writable, everything under a time limit and with a name.

use super::error::NoConnection;
use super::{DbError, Session, setup, tls};
use crate::config::{Database, Endpoint, Environment, Host, Password, TlsMode};
use postgres_openssl::MakeTlsConnector;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_postgres::config::SslMode;
use tokio_postgres::{AsyncMessage, Config};

/// How long a whole connect may take, per endpoint, where the configuration does not say.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// How long an endpoint may be silent before the next is tried beside it.
const EARLY: Duration = Duration::from_secs(1);
/// Keepalives, where the configuration does not say: a dead peer is noticed after some 20 s.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(3);
const KEEPALIVE_RETRIES: u32 = 3;
/// How long written data may stay unacknowledged (tcp(7), `TCP_USER_TIMEOUT`).
const USER_TIMEOUT: Duration = Duration::from_secs(10);

named! {
    /// What a session is for; named by its `application_name`.
    SessionKind {
        /// The daemon's ear: it listens and does nothing else.
        Listener = "relinkd listener",
        /// The daemon's hand on links.
        Worker = "relinkd worker",
        /// The daemon's hand on drop files.
        Intake = "relinkd intake",
        /// The daemon's audit.
        Audit = "relinkd audit",
        /// The daemon's count for its metrics.
        Metrics = "relinkd metrics",
        /// A command.
        Command = "relinkd command",
        /// A command with an admin's rights.
        Admin = "relinkd admin",
    }
}

/// Opens sessions with one database.
pub(crate) struct Connector {
    database: Database,
    tls: MakeTlsConnector,
    /// The endpoint that was writable last time.
    writable: AtomicUsize,
}

type Connecting<'a> = Pin<Box<dyn Future<Output = Result<(usize, Session), DbError>> + Send + 'a>>;

impl Connector {
    /// For this database. Certificates are read now, passwords at each connect.
    pub(crate) fn new(database: &Database) -> Result<Self, DbError> {
        Ok(Self {
            tls: tls::connector(&database.tls)?,
            database: database.clone(),
            writable: AtomicUsize::new(0),
        })
    }

    /// The same with a password that somebody typed.
    pub(crate) fn with_password(mut self, password: String) -> Self {
        self.database.password = Some(Password::new(password));
        self
    }

    /// Connects to an endpoint that is there and writable: relinkd has no use for another. The one that was it last time
    /// is tried first; whichever is silent is not waited for before the next is tried.
    ///
    /// # Errors
    /// That of an endpoint which was there, if any was.
    pub(crate) async fn connect(&self, kind: SessionKind) -> Result<Session, DbError> {
        let mut order: Vec<usize> = (0..self.database.hosts.len()).collect();
        order.rotate_left(self.writable.load(Ordering::Relaxed));
        let (index, session) = self.connect_to(&order, kind).await?;
        self.writable.store(index, Ordering::Relaxed);
        Ok(session)
    }

    fn connect_to<'a>(&'a self, order: &'a [usize], kind: SessionKind) -> Connecting<'a> {
        Box::pin(async move {
            let [index, others @ ..] = order else { return Err(DbError::Standby(self.endpoints())) };
            let endpoint = &self.database.hosts[*index];
            let mut one = pin!(async { Ok((*index, self.try_endpoint(endpoint, kind).await?)) });
            if others.is_empty() {
                return one.await;
            }
            let mut next = self.connect_to(others, kind);
            let beside_a_silent_one = async {
                tokio::time::sleep(EARLY).await;
                next.as_mut().await
            };
            tokio::select! {
                done = &mut one => match done {
                    Ok(connected) => Ok(connected),
                    Err(error) => next.await.map_err(|other| self.telling(error, other)),
                },
                done = beside_a_silent_one => match done {
                    Ok(connected) => Ok(connected),
                    Err(other) => one.await.map_err(|error| self.telling(error, other)),
                },
            }
        })
    }

    /// Of two endpoints' errors the one that says more.
    fn telling(&self, one: DbError, other: DbError) -> DbError {
        match (one, other) {
            (DbError::Standby(_), _) | (_, DbError::Standby(_)) => DbError::Standby(self.endpoints()),
            (error @ DbError::ReadOnly(_), _) => error,
            (error, DbError::Connect { cause, .. }) if !matches!(cause, NoConnection::Refused { .. }) => {
                error
            }
            (_, error) => error,
        }
    }

    fn endpoints(&self) -> String {
        self.database.hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }

    async fn try_endpoint(&self, endpoint: &Endpoint, kind: SessionKind) -> Result<Session, DbError> {
        let limit = self.database.connect_timeout.unwrap_or(CONNECT_WITHIN);
        let late = DbError::Connect { endpoint: endpoint.to_string(), cause: NoConnection::Silence(limit) };
        tokio::time::timeout(limit, self.open_writable(endpoint, kind)).await.unwrap_or(Err(late))
    }

    async fn open_writable(&self, endpoint: &Endpoint, kind: SessionKind) -> Result<Session, DbError> {
        let session = self.open(&self.config(endpoint, kind)?, endpoint).await?;
        if kind == SessionKind::Admin {
            // Before anything that the database's settings could turn to another meaning.
            session.batch(setup::OURSELVES).await?;
        }
        let sql =
            "select pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('transaction_read_only')";
        let state = session.query_one(sql, &[]).await?;
        match (state.get(0), state.get(1)) {
            (true, _) => Err(DbError::Standby(endpoint.to_string())),
            (false, "on") => Err(DbError::ReadOnly(endpoint.to_string())),
            (false, _) => Ok(session),
        }
    }

    async fn open(&self, config: &Config, endpoint: &Endpoint) -> Result<Session, DbError> {
        let tls = tls::Watched::new(self.tls.clone());
        let (client, mut connection) = config.connect(tls.clone()).await.map_err(|error| {
            let without_tls = config.get_ssl_mode() == SslMode::Require && !tls.agreed();
            let cause = NoConnection::of(error, without_tls, config.get_password().is_none());
            DbError::Connect { endpoint: endpoint.to_string(), cause }
        })?;
        let without_encoding = connection.parameter("server_encoding") == Some("SQL_ASCII");
        let (ring, rings) = mpsc::channel(1);
        // Ends when the client is dropped or the connection breaks; then the channel closes.
        let driver = tokio::spawn(async move {
            while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
                if matches!(message, AsyncMessage::Notification(_)) {
                    // A ring that finds another waiting says nothing new.
                    let _ = ring.try_send(());
                }
            }
        });
        let session = Session::new(client, rings, endpoint.to_string(), driver, self.tls.clone());
        if without_encoding {
            // The server would refuse to send what is no UTF-8, and with it everything else. Poolers keep this apart.
            session.batch("set client_encoding = 'SQL_ASCII'").await?;
        }
        Ok(session)
    }

    fn config(&self, endpoint: &Endpoint, kind: SessionKind) -> Result<Config, DbError> {
        let database = &self.database;
        let mut config = Config::new();
        match &endpoint.host {
            Host::Name(name) => config.host(name),
            Host::Socket(directory) => config.host_path(directory),
        };
        if let Some(address) = endpoint.hostaddr {
            config.hostaddr(address);
        }
        config
            .port(endpoint.port)
            .user(&database.user)
            .dbname(&database.dbname)
            .application_name(database.application_name.as_deref().unwrap_or(kind.name()))
            .keepalives(database.keepalives.enabled.unwrap_or(true))
            .keepalives_idle(database.keepalives.idle.unwrap_or(KEEPALIVE_IDLE))
            .keepalives_interval(database.keepalives.interval.unwrap_or(KEEPALIVE_INTERVAL))
            .keepalives_retries(database.keepalives.count.unwrap_or(KEEPALIVE_RETRIES))
            .tcp_user_timeout(USER_TIMEOUT)
            .ssl_mode(match database.tls.mode {
                TlsMode::Disable => SslMode::Disable,
                TlsMode::Allow | TlsMode::Prefer => SslMode::Prefer,
                TlsMode::Require | TlsMode::VerifyCa | TlsMode::VerifyFull => SslMode::Require,
            });
        if let Some(options) = &database.options {
            config.options(options);
        }
        if let Some(password) = database.password_for(endpoint, &Environment::of_process())? {
            config.password(password.expose());
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};

    /// Why a server that answers with these bytes, each after one message, lets nobody in.
    async fn refusal(parameters: &str, answers: &'static [&'static [u8]]) -> NoConnection {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            let mut client: TcpStream = listener.accept().unwrap().0;
            for answer in answers {
                let _ = client.read(&mut [0; 1024]).unwrap();
                client.write_all(answer).unwrap();
            }
            client.read(&mut [0; 1024]).map(drop)
        });
        let text = format!("host=127.0.0.1 port={port} user=u dbname=d {parameters}");
        let connector = Connector::new(&Database::parse(&text).unwrap()).unwrap();
        let config = connector.config(&connector.database.hosts[0], SessionKind::Command).unwrap();
        let Err(error) = connector.open(&config, &connector.database.hosts[0]).await else {
            panic!("let in")
        };
        let _ = server.join().unwrap();
        match error {
            DbError::Connect { cause, .. } => cause,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn the_cause_of_a_refusal_is_known_by_its_kind() {
        const NO_TLS: &[u8] = b"N";
        const TLS: &[u8] = b"S";
        const PASSWORD: &[u8] = b"R\0\0\0\x08\0\0\0\x03";
        const KERBEROS: &[u8] = b"R\0\0\0\x08\0\0\0\x02";
        const UNKNOWN_ROLE: &[u8] = b"E\0\0\0\x23SFATAL\0VFATAL\0C28000\0Mno role\0\0";
        let asked = refusal("sslmode=disable", &[PASSWORD]).await;
        assert!(matches!(asked, NoConnection::NoPassword(_)), "{asked:?}");
        assert_eq!(asked.to_string(), "invalid configuration: password missing");
        let plain = refusal("sslmode=require", &[NO_TLS]).await;
        assert!(matches!(plain, NoConnection::Tls(_)), "{plain:?}");
        let garbled = refusal("sslmode=prefer", &[TLS, b"no handshake"]).await;
        assert!(matches!(garbled, NoConnection::Tls(_)), "{garbled:?}");
        let asked = refusal("sslmode=prefer", &[NO_TLS, PASSWORD]).await;
        assert!(matches!(asked, NoConnection::NoPassword(_)), "{asked:?}");
        let foreign = refusal("sslmode=disable password=p", &[KERBEROS]).await;
        assert!(matches!(foreign, NoConnection::Network(_)), "{foreign:?}");
        let unknown = refusal("sslmode=disable", &[UNKNOWN_ROLE]).await;
        assert!(
            matches!(unknown, NoConnection::Refused { ref code, .. } if code.code() == "28000"),
            "{unknown:?}"
        );
    }
}
