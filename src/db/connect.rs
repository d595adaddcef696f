//! Connecting: one endpoint after another until one is writable, everything under a time limit and with a name.

use super::error::chain;
use super::{DbError, Session, tls};
use crate::config::{Database, Endpoint, Environment, Host, Password, TlsMode};
use postgres_openssl::MakeTlsConnector;
use std::future::poll_fn;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_postgres::{AsyncMessage, Config};

/// How long a whole connect may take, per endpoint, where the configuration does not say.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// Keepalives, where the configuration does not say: a dead peer is noticed after some 20 s.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(3);
const KEEPALIVE_RETRIES: u32 = 3;
/// How long written data may stay unacknowledged (tcp(7), `TCP_USER_TIMEOUT`).
const USER_TIMEOUT: Duration = Duration::from_secs(10);

/// What a session is for; shown as its `application_name`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The daemon's ear: it listens and does nothing else.
    Listener,
    /// The daemon's hand on links.
    Worker,
    /// The daemon's hand on drop files.
    Intake,
    /// The daemon's audit.
    Audit,
    /// A command.
    Command,
    /// A command with an admin's rights.
    Admin,
}

impl Role {
    fn application_name(self) -> &'static str {
        match self {
            Self::Listener => "relinkd listener",
            Self::Worker => "relinkd worker",
            Self::Intake => "relinkd intake",
            Self::Audit => "relinkd audit",
            Self::Command => "relinkd command",
            Self::Admin => "relinkd admin",
        }
    }
}

/// Opens sessions with one database.
pub struct Connector {
    database: Database,
    tls: MakeTlsConnector,
    typed_password: Option<Password>,
}

impl Connector {
    /// For this database. Certificates are read now, passwords at each connect.
    ///
    /// # Errors
    /// [`DbError::Tls`].
    pub fn new(database: &Database) -> Result<Self, DbError> {
        Ok(Self { tls: tls::connector(&database.tls)?, database: database.clone(), typed_password: None })
    }

    /// The same with a password that somebody typed.
    #[must_use]
    pub fn with_password(mut self, password: String) -> Self {
        self.typed_password = Some(Password::new(password));
        self
    }

    /// Connects to the first endpoint that is there and writable: relinkd has no use for another.
    ///
    /// # Errors
    /// The last endpoint's, or [`DbError::ReadOnly`] when some were there and none was writable.
    pub async fn connect(&self, role: Role) -> Result<Session, DbError> {
        let mut last = DbError::ReadOnly(self.endpoints());
        let mut read_only = false;
        for endpoint in &self.database.hosts {
            match self.try_endpoint(endpoint, role).await {
                Ok(Some(session)) => return Ok(session),
                Ok(None) => read_only = true,
                Err(error) => last = error,
            }
        }
        Err(if read_only { DbError::ReadOnly(self.endpoints()) } else { last })
    }

    fn endpoints(&self) -> String {
        self.database.hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }

    /// None where the server is there but not writable.
    async fn try_endpoint(&self, endpoint: &Endpoint, role: Role) -> Result<Option<Session>, DbError> {
        let limit = self.database.connect_timeout.unwrap_or(CONNECT_WITHIN);
        let late = |_| DbError::Connect {
            endpoint: endpoint.to_string(),
            reason: format!("no answer within {limit:?}"),
            code: None,
        };
        let config = self.config(endpoint, role)?;
        let session = tokio::time::timeout(limit, self.open(&config, endpoint)).await.map_err(late)??;
        let writable = session.query_one(
            "select not pg_is_in_recovery() and current_setting('transaction_read_only') = 'off'",
            &[],
        );
        let writable: bool = tokio::time::timeout(limit, writable).await.map_err(late)??.get(0);
        Ok(writable.then_some(session))
    }

    async fn open(&self, config: &Config, endpoint: &Endpoint) -> Result<Session, DbError> {
        let (client, mut connection) =
            config.connect(self.tls.clone()).await.map_err(|error| DbError::Connect {
                endpoint: endpoint.to_string(),
                reason: chain(&error),
                code: error.code().cloned(),
            })?;
        let (ring, rings) = mpsc::channel(1);
        // Ends when the client is dropped or the connection breaks; then the channel closes.
        tokio::spawn(async move {
            while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
                if matches!(message, AsyncMessage::Notification(_)) {
                    // A ring that finds another waiting says nothing new.
                    let _ = ring.try_send(());
                }
            }
        });
        Ok(Session::new(client, rings, endpoint.to_string()))
    }

    fn config(&self, endpoint: &Endpoint, role: Role) -> Result<Config, DbError> {
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
            .application_name(database.application_name.as_deref().unwrap_or(role.application_name()))
            .connect_timeout(database.connect_timeout.unwrap_or(CONNECT_WITHIN))
            .keepalives(database.keepalives.enabled.unwrap_or(true))
            .keepalives_idle(database.keepalives.idle.unwrap_or(KEEPALIVE_IDLE))
            .keepalives_interval(database.keepalives.interval.unwrap_or(KEEPALIVE_INTERVAL))
            .keepalives_retries(database.keepalives.count.unwrap_or(KEEPALIVE_RETRIES))
            .tcp_user_timeout(USER_TIMEOUT)
            .ssl_mode(match database.tls.mode {
                TlsMode::Disable => tokio_postgres::config::SslMode::Disable,
                TlsMode::Allow | TlsMode::Prefer => tokio_postgres::config::SslMode::Prefer,
                TlsMode::Require | TlsMode::VerifyCa | TlsMode::VerifyFull => {
                    tokio_postgres::config::SslMode::Require
                }
            });
        if let Some(options) = &database.options {
            config.options(options);
        }
        if let Some(password) = self.password(endpoint)? {
            config.password(password.expose());
        }
        Ok(config)
    }

    fn password(&self, endpoint: &Endpoint) -> Result<Option<Password>, DbError> {
        if self.typed_password.is_some() {
            return Ok(self.typed_password.clone());
        }
        let found = self
            .database
            .password_for(endpoint, &Environment::of_process())
            .map_err(|error| DbError::Password(error.to_string()))?;
        if let Some(notice) = found.notice {
            log::warn!("{notice}");
        }
        Ok(found.password)
    }
}
