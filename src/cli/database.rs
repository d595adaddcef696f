//! What every command does before it can speak to the database: read the configuration, become the spool's owner,
//! read the keyring, connect.

use super::output::{self, Exit, Failure, OrFail as _};
use crate::config::{self, Database, Environment, FileSource, Settings, Tables};
use crate::db::connect::SessionKind;
use crate::db::{Connector, DbError, Session, schema, users};
use crate::envelope::Keyring;
use crate::keyring_file::{self, KeyringError};
use crate::relink::Rules;
use std::collections::BTreeMap;
use std::future::Future;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The keyring. A command that root runs accepts one that the spool's owner owns.
pub(super) fn keyring(settings: &Settings) -> Result<Keyring, KeyringError> {
    keyring_file::load(&settings.keyring.file, spool_owner_for_root(settings))
}

/// What to say of a keyring that cannot be used: of one that is lost, which keys the stored values name, so that nobody
/// makes a new one for them. `keys` is what they name, where that could be seen.
pub(super) fn keyring_failure(error: &KeyringError, keys: Option<&BTreeMap<String, u64>>) -> Failure {
    let mut cause = error.to_string();
    let next = match (error, keys) {
        (KeyringError::Absent(path), Some(keys)) if !keys.is_empty() => {
            cause = format!("{cause}, and {}", sealed_under(keys));
            &bring_back(path)
        }
        (KeyringError::Absent(_), Some(_)) => "relinkd key generate",
        (KeyringError::Absent(_), None) => {
            "bring the copy of the keyring back; only where there never was one: relinkd key generate"
        }
        (KeyringError::System { source, .. }, _) if source.kind() == ErrorKind::PermissionDenied => {
            output::AS_ROOT
        }
        _ => &error.mend().unwrap_or_else(|| "see `relinkd check --offline`".to_owned()),
    };
    Failure::new(Exit::Key, cause, next)
}

/// `3 tokens are sealed under the keys k2025a, k2026a`.
pub(super) fn sealed_under(keys: &BTreeMap<String, u64>) -> String {
    let values = keys.values().fold(0_u64, |sum, values| sum.saturating_add(*values));
    let named = output::listed(keys.keys().take(KEYS_NAMED));
    let more = if keys.len() > KEYS_NAMED { " and others" } else { "" };
    let keys = if keys.len() == 1 { "key" } else { "keys" };
    format!("{} under the {keys} {named}{more}", sealed(values))
}

/// `3 tokens are sealed`.
pub(super) fn sealed(values: u64) -> String {
    format!("{} {} sealed", output::things(values, "token"), if values == 1 { "is" } else { "are" })
}

/// How many keys are named before "and others".
const KEYS_NAMED: usize = 5;

/// The step after the keyring was lost.
pub(super) fn bring_back(path: &Path) -> String {
    let path = path.display();
    format!("bring the copy of the keyring back to {path}; make no new key: it opens none of them")
}

/// The step after a key was lost that stored values name.
pub(super) fn bring_back_key(settings: &Settings) -> String {
    let place = match &settings.keyring.file {
        FileSource::Path(path) => path.display().to_string(),
        FileSource::Credential { name, .. } => format!("the file of the credential {name}"),
    };
    format!("bring the key back from the copy of the keyring, under [retired] in {place}; make no new key")
}

/// How many stored values name which key; none where the database cannot be looked into.
pub(super) fn keys_in_use(
    database: &Database,
    tables: &Tables,
) -> Result<Option<BTreeMap<String, u64>>, Failure> {
    let look = async {
        let mut session = Connector::new(database).ok()?.connect(SessionKind::Command).await.ok()?;
        users::keys_in_use(&mut session, &tables.users).await.ok().flatten()
    };
    block_on(async { tokio::time::timeout(LOOK_WITHIN, look).await.ok().flatten() })
}

/// How long a look into the database may take that is only to say something better.
const LOOK_WITHIN: Duration = Duration::from_secs(5);

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
    // A link that somebody else has made in place of the spool is their own, whatever it leads to.
    let link = std::fs::symlink_metadata(directory).ok()?;
    if link.is_symlink() && link.uid() != 0 {
        return Some(link.uid());
    }
    std::fs::metadata(directory).ok().map(|metadata| metadata.uid())
}

/// Root becomes the owner of the spool, so that peer authentication sees the daemon's user, and nothing that a
/// command does can be done to root.
pub(super) fn become_spool_owner(settings: &mut Settings) -> Result<(), Failure> {
    become_owner(&settings.spool.directory, Some(&mut settings.database)).map(drop)
}

/// As [`become_spool_owner`], with the owner of this directory. Returns whether this process is somebody else now.
pub(super) fn become_owner(directory: &Path, mut database: Option<&mut Database>) -> Result<bool, Failure> {
    use nix::unistd::{Gid, Uid, User, setgid, setgroups, setuid};
    let Some(uid) = owner_for_root(directory).filter(|uid| *uid != 0) else { return Ok(false) };
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
    let what = format_args!("cannot become the spool's owner (uid {uid})");
    let became = setgroups(&[gid]).and_then(|()| setgid(gid)).and_then(|()| setuid(Uid::from_raw(uid)));
    became.or_fail(Exit::Failed, what, "run it as that user, or as root with its capabilities")?;
    crate::process::harden();
    if let (Some(user), Some(database)) = (user, database) {
        *database = database.clone().with_os_user(&user.name);
    }
    Ok(true)
}

/// Everything a command that works on tokens and links needs.
pub(super) struct Workplace {
    pub(super) session: Session,
    /// A key that is missing is missing: a command has read the file just now.
    pub(super) rules: Rules,
}

impl Workplace {
    /// Reads what there is to read as whoever runs the command, then becomes the spool's owner and connects; works there.
    pub(super) fn open<T>(
        config: &Path,
        work: impl AsyncFnOnce(&mut Self) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut settings = config::load(config)?;
        let keyring = Arc::new(keyring(&settings)?);
        block_on(async {
            let (session, facts) = connect(&mut settings).await?;
            work(&mut Self { session, rules: Rules::new(&settings, keyring, &facts) }).await
        })?
    }
}

/// Becomes the spool's owner, and connects to a database whose schema fits.
pub(super) async fn connect(settings: &mut Settings) -> Result<(Session, schema::Facts), Failure> {
    become_spool_owner(settings)?;
    let session = Connector::new(&settings.database)?.connect(SessionKind::Command).await?;
    let schema::Verified { facts, warnings } = schema::verify(&session, &settings.tables).await?;
    warnings.iter().for_each(output::warning);
    Ok((session, facts))
}

/// Runs a command's asynchronous part.
pub(super) fn block_on<T>(work: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.or_fail(Exit::Failed, "cannot start the runtime", output::SHORT_OF)?;
    Ok(runtime.block_on(work))
}

/// Waits for an answer of the database, for so long.
pub(super) async fn within<T, E: From<DbError>>(
    limit: Duration,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Err(DbError::Silent(limit).into()))
}
