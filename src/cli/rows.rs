//! The session in which an admin's command reads and writes the bot's rows.
//!
//! Code of the tables' owner comes with every row: triggers, checks, predicates of indexes, which are evaluated to plan a
//! query already. It must not get an admin's rights. So rows are the admin's own session's only where the admin is that
//! owner; else they are the daemon's, which sees them anyway.

use super::database;
use super::output::Failure;
use crate::config::{Database, Host, Settings};
use crate::db::connect::SessionKind;
use crate::db::{Connector, DbError, Session, roles};
use nix::unistd::{Gid, Uid, User, setegid, seteuid};

/// The settings of the database as the daemon reads them: without a user in the URL it is the spool's owner.
pub(super) fn daemon(settings: &Settings) -> Database {
    let database = settings.database.clone();
    let owner = database::spool_owner_for_root(settings)
        .and_then(|uid| User::from_uid(Uid::from_raw(uid)).ok().flatten());
    match owner {
        Some(owner) if !owner.uid.is_root() => database.with_os_user(&owner.name),
        _ => database,
    }
}

/// A session of its own for the bot's rows; none where the admin's will do. Schema relinkd must be installed.
pub(super) async fn session(admin: &Session, settings: &Settings) -> Result<Option<Session>, Failure> {
    if roles::owns_rows(admin).await? {
        return Ok(None);
    }
    let session = connect(settings).await.map_err(of_daemon)?;
    match roles::superuser(&session).await.map_err(of_daemon)? {
        None => Ok(Some(session)),
        Some(role) => Err(Failure::refused(
            format!(
                "the user in database.url has the rights of {role}, a superuser, with which code of the bot's tables would run"
            ),
            "give relinkd a role of its own: see --role, and database.url",
        )),
    }
}

fn of_daemon(error: DbError) -> Failure {
    let failure = Failure::from(error);
    Failure::new(failure.exit, format!("as the daemon's role: {}", failure.cause), failure.next)
}

/// Connects as the daemon does. Peer authentication looks at who connects (`SO_PEERCRED`, unix(7)): root is the spool's
/// owner for that moment.
pub(super) async fn connect(settings: &Settings) -> Result<Session, DbError> {
    let connector = Connector::new(&daemon(settings))?;
    let over_socket = settings.database.hosts.iter().any(|endpoint| matches!(endpoint.host, Host::Socket(_)));
    let _guise =
        database::spool_owner_for_root(settings).filter(|uid| over_socket && *uid != 0).map(Guise::of);
    connector.connect(SessionKind::Command).await
}

/// Root as somebody else, until this goes.
struct Guise;

impl Guise {
    fn of(uid: u32) -> Self {
        let gid =
            User::from_uid(Uid::from_raw(uid)).ok().flatten().map_or(Gid::from_raw(uid), |user| user.gid);
        // Where that is refused, so is the connection.
        let _ = setegid(gid).and_then(|()| seteuid(Uid::from_raw(uid)));
        Self
    }
}

impl Drop for Guise {
    fn drop(&mut self) {
        let back = seteuid(Uid::from_raw(0)).and_then(|()| setegid(Gid::from_raw(0)));
        back.expect("who was root may be root again: only the effective ids had changed");
    }
}
