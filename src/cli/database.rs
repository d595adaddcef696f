//! What every command does before it can speak to the database: read the configuration, become the spool's owner,
//! read the keyring, connect.

use super::output::{Exit, Failure};
use crate::config::{self, Database, Environment, FileSource, Settings};
use crate::db::connect::Role;
use crate::db::{Connector, Session, schema};
use crate::envelope::Keyring;
use crate::relinker::Rules;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;

/// The settings, with every fault shown.
pub(super) fn settings(config: &Path) -> Result<Settings, Failure> {
    config::load(config).map_err(|error| {
        Failure::from(error).next(format!("correct {}, then try `relinkd check --offline`", config.display()))
    })
}

/// The keyring. A command that root runs accepts one that the spool's owner owns.
pub(super) fn keyring(settings: &Settings) -> Result<Keyring, Failure> {
    Ok(config::load_keyring(&settings.keyring, spool_owner_for_root(settings))?)
}

/// The owner of the spool, if root asks.
pub(super) fn spool_owner_for_root(settings: &Settings) -> Option<u32> {
    owner_for_root(&settings.spool.directory)
}

/// The owner of this directory, if root asks.
pub(super) fn owner_for_root(directory: &Path) -> Option<u32> {
    use std::os::unix::fs::MetadataExt;
    if !nix::unistd::Uid::effective().is_root() {
        return None;
    }
    std::fs::metadata(directory).ok().map(|metadata| metadata.uid())
}

/// Root becomes the owner of the spool, so that peer authentication sees the daemon's user, and nothing that a
/// command does can be done to root.
pub(super) fn become_spool_owner(settings: &mut Settings) -> Result<(), Failure> {
    become_owner(&settings.spool.directory, Some(&mut settings.database)).map(drop)
}

/// As [`become_spool_owner`], with the owner of this directory. Returns the names of the user and of the group that
/// this process now has; none where it stays who it was.
pub(super) fn become_owner(
    directory: &Path,
    mut database: Option<&mut Database>,
) -> Result<Option<(String, String)>, Failure> {
    use nix::unistd::{Gid, Group, Uid, User, setgid, setgroups, setuid};
    let Some(uid) = owner_for_root(directory).filter(|uid| *uid != 0) else { return Ok(None) };
    // The unit's credentials are found by root alone; afterwards it would be too late.
    if let Some(database) =
        database.as_mut().filter(|it| it.password_file.as_ref().is_some_and(FileSource::is_credential))
    {
        database.password = database.configured_password(&Environment::of_process()).map_err(|error| {
            Failure::new(Exit::Configuration, error, "the unit must be running: systemctl start relinkd")
        })?;
    }
    let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
    let gid = user.as_ref().map_or(Gid::from_raw(uid), |user| user.gid);
    let group = Group::from_gid(gid).ok().flatten().map_or_else(|| gid.to_string(), |group| group.name);
    setgroups(&[gid]).and_then(|()| setgid(gid)).and_then(|()| setuid(Uid::from_raw(uid))).map_err(
        |error| {
            Failure::refused(
                format!("cannot become the spool's owner (uid {uid}): {error}"),
                "run it as that user, or as root with its capabilities",
            )
        },
    )?;
    crate::process::harden();
    let name = user.map(|user| user.name);
    if let (Some(name), Some(database)) = (&name, database) {
        *database = database.clone().with_os_user(name);
    }
    Ok(Some((name.unwrap_or_else(|| uid.to_string()), group)))
}

/// Everything a command that works on tokens and links needs.
pub(super) struct Workplace {
    pub(super) settings: Settings,
    pub(super) keyring: Arc<Keyring>,
    pub(super) session: Session,
    pub(super) facts: schema::Facts,
}

impl Workplace {
    /// Reads what there is to read as whoever runs the command, then becomes the spool's owner and connects.
    pub(super) async fn open(config: &Path) -> Result<Self, Failure> {
        let mut settings = settings(config)?;
        let keyring = Arc::new(keyring(&settings)?);
        become_spool_owner(&mut settings)?;
        let connector = Connector::new(&settings.database)?;
        let session = connector.connect(Role::Command).await?;
        let facts = schema::verify(&session, &settings.tables).await?;
        Ok(Self { settings, keyring, session, facts })
    }

    /// The rules of this moment. A key that is missing is missing: a command has read the file just now.
    pub(super) fn rules(&self) -> Rules {
        Rules::new(&self.settings, Arc::clone(&self.keyring), &self.facts)
    }
}

/// Runs a command's asynchronous part.
pub(super) fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| {
            Failure::refused(
                format!("cannot start the runtime: {error}"),
                "see to what the system is short of (ulimit -a), and try again",
            )
        })?
        .block_on(work)
}
