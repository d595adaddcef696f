//! `relinkd status`: how things stand, for people, as JSON, or as metrics.
//!
//! What is local comes first and waits for nobody. Where the database does not answer, or the keyring cannot be used,
//! the rest is shown all the same, and the exit status says what is amiss.

mod json;
mod screen;
mod watch;

use self::screen::Screen;
use super::output::{self, Exit, Failure};
use super::{StatusArgs, database};
use crate::config::{self, Settings};
use crate::db::connect::SessionKind;
use crate::db::{Connector, DbError, Session, schema, users};
use crate::envelope::Keyring;
use crate::keyring_file::KeyringError;
use crate::metrics::Metrics;
use crate::status::{self, Local, Remote};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// How long the database may take for all of it.
pub(super) const WITHIN: Duration = Duration::from_secs(60);

pub(super) fn run(config: &Path, args: &StatusArgs) -> Result<Exit, Failure> {
    let mut place = Place::open(config)?;
    database::block_on(async {
        if args.watch {
            return watch::watch(&mut place).await;
        }
        let local = status::local(&place.settings.spool.directory);
        if !args.json && !args.prometheus {
            Screen { place: &place, end: "" }.local(&local);
        }
        let remote = place.ask(WITHIN).await;
        if args.json {
            output::json(json::document(&place, &local, &remote));
        } else if args.prometheus {
            output::script(place.metrics(&local, &remote).to_string().trim_end());
        } else {
            Screen { place: &place, end: "" }.remote(&remote);
            // Why the database's part is missing stands there.
            if remote.is_err() && place.keyring.is_ok() {
                return Ok(Exit::Database);
            }
        }
        place.end(&remote)
    })?
}

/// What there is to look at, as whom.
pub(super) struct Place<'a> {
    pub(super) config: &'a Path,
    pub(super) settings: Settings,
    pub(super) keyring: Result<Keyring, KeyringError>,
    session: Option<Session>,
}

/// What the database told, or why it did not.
pub(super) type Answer = Result<Remote, Silence>;

/// Whether the server answered, and refused: then relinkd was never installed there, or not for this role.
pub(super) fn refuses(error: &DbError) -> bool {
    let schema =
        matches!(error, DbError::NoSchema | DbError::WrongVersion { .. } | DbError::OtherTables { .. });
    schema || error.code().is_some()
}

/// Why the database's part is missing.
pub(super) struct Silence {
    pub(super) error: DbError,
    /// What the stored values name, where that much could be seen.
    pub(super) keys: Option<BTreeMap<String, u64>>,
}

impl From<DbError> for Silence {
    fn from(error: DbError) -> Self {
        Self { error, keys: None }
    }
}

impl<'a> Place<'a> {
    /// Reads what there is to read as whoever runs the command, then becomes the spool's owner.
    pub(super) fn open(config: &'a Path) -> Result<Self, Failure> {
        let mut settings = config::load(config)?;
        let keyring = database::keyring(&settings);
        database::become_spool_owner(&mut settings)?;
        Ok(Self { config, settings, keyring, session: None })
    }

    /// Asks the database, within this time; over the same session as the last time, if there is one.
    pub(super) async fn ask(&mut self, within: Duration) -> Answer {
        database::within(within, self.try_ask()).await
    }

    async fn try_ask(&mut self) -> Answer {
        let mut session = match self.session.take() {
            Some(session) if !session.is_closed() => session,
            _ => Connector::new(&self.settings.database)?.connect(SessionKind::Command).await?,
        };
        if let Err(error) = schema::verify(&session, &self.settings.tables).await {
            let keys = users::keys_in_use(&mut session, &self.settings.tables.users).await.ok().flatten();
            return Err(Silence { error, keys });
        }
        let rule = &self.settings.portal.token_pattern.rule;
        let remote = status::remote(&mut session, self.keyring.as_ref().ok(), rule).await?;
        self.session = Some(session);
        Ok(remote)
    }

    pub(super) fn metrics(&self, local: &Local, remote: &Answer) -> Metrics {
        let told = remote.as_ref().map_or_else(|_| Metrics::default(), Remote::metrics);
        let up = told.up || local.daemon.is_some();
        let counts = local.counts.as_ref().ok().copied();
        Metrics { up, ..told }.with_local(&self.settings, self.config, counts)
    }

    /// The end of the command: the keyring's trouble, else the database's.
    fn end(&self, remote: &Answer) -> Result<Exit, Failure> {
        match (&self.keyring, remote) {
            (Err(error), _) => Err(database::keyring_failure(error, keys_in_use(remote))),
            (_, Err(silence)) => Err(Failure::from_database(&silence.error)),
            (Ok(_), Ok(_)) => Ok(Exit::Done),
        }
    }
}

/// The keys that the stored values name, where that could be seen.
fn keys_in_use(answer: &Answer) -> Option<&BTreeMap<String, u64>> {
    match answer {
        Ok(remote) => Some(&remote.token_stats.keys),
        Err(silence) => silence.keys.as_ref(),
    }
}
