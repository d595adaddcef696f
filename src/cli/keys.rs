//! `relinkd key`: make, list, promote and retire keys. The daemon reads the file again when it is told to.

use super::output::{self, Exit, Failure, OrFail as _};
use super::table::Table;
use super::{KeyCommand, ReloadArg, database, rows, status};
use crate::config::{self, Environment, Settings};
use crate::db::{DbError, presence, schema, users};
use crate::envelope::{Key, KeyId, Keyring};
use crate::keyring_file::{self, EditFault, KeyringError};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

impl From<KeyringError> for Failure {
    fn from(error: KeyringError) -> Self {
        database::keyring_failure(&error, None)
    }
}

impl From<EditFault> for Failure {
    fn from(fault: EditFault) -> Self {
        Self::refused(fault, "see which keys there are: relinkd key list")
    }
}

pub(super) fn run(config: &Path, command: KeyCommand) -> Result<Exit, Failure> {
    let settings = config::load(config)?;
    database::block_on(async {
        match command {
            KeyCommand::List => list(&settings),
            KeyCommand::Generate { id, offline, reload: ReloadArg { reload } } => {
                let path = file(&settings)?;
                let named = if offline { Named::default() } else { named_for_generate(&settings).await? };
                let is_added = generate(&settings, &path, id, &named)?;
                if is_added { tell_daemon(config, reload) } else { Ok(Exit::Done) }
            }
            KeyCommand::Promote { id, reload: ReloadArg { reload } } => {
                change(&settings, |ring| keyring_file::promote(ring, &id))?;
                output::line(format!("{id} seals from now on"));
                let exit = tell_daemon(config, reload);
                output::line("then seal what is there anew: relinkd rekey");
                exit
            }
            KeyCommand::Retire { id, destroy, reload: ReloadArg { reload } } => {
                retire(config, &settings, &id, destroy).await?;
                tell_daemon(config, reload)
            }
        }
    })?
}

/// Tells the daemon of this configuration that the keyring has changed, or says how that is done. What was done to the
/// keyring stays done.
fn tell_daemon(config: &Path, reload: bool) -> Result<Exit, Failure> {
    if !reload {
        output::line("a running daemon must be told: systemctl reload relinkd (--reload does it)");
        return Ok(Exit::Done);
    }
    let unit = config::unit(config);
    let failed = |why: &str| {
        Failure::new(
            Exit::Partly,
            format!("the keyring is changed, but {unit} was not reloaded: {why}"),
            format!("as root: systemctl reload {unit}"),
        )
    };
    let systemctl =
        Command::new("systemctl").args(["try-reload-or-restart", &unit]).stdin(Stdio::null()).output();
    let output = systemctl.map_err(|error| failed(&format!("systemctl: {error}")))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(failed(said.lines().next().unwrap_or("systemctl says no more")));
    }
    output::line(format!("{unit}, where it runs, has read it again"));
    Ok(Exit::Done)
}

/// The keyring's own file, where it is not a credential.
fn file(settings: &Settings) -> Result<PathBuf, Failure> {
    if settings.keyring.file.is_credential() {
        return Err(Failure::refused(
            "the keyring is a systemd credential: it is not relinkd's to change",
            "change the file that the unit's LoadCredential= names, then restart the unit",
        ));
    }
    let path = settings.keyring.file.path(&Environment::of_process());
    path.map_err(|error| Failure::new(Exit::Key, error, "see `relinkd check --offline`"))
}

fn change(
    settings: &Settings,
    edit: impl FnOnce(&Keyring) -> Result<Keyring, EditFault>,
) -> Result<(), Failure> {
    keyring_file::edit(&file(settings)?, database::spool_owner_for_root(settings), |ring| Ok(edit(ring)?))
        .map(drop)
}

/// The keys that stored values name, and how many do.
type Named = BTreeMap<String, u64>;

/// The keys that stored values name, for a new key. A server that refuses has no relinkd yet, and that is when the first key is made.
async fn named_for_generate(settings: &Settings) -> Result<Named, Failure> {
    let next = "`relinkd status` must reach the database first; where there is none yet: relinkd key generate --offline";
    let what = "it cannot be seen whether stored tokens name the new key's id";
    match in_use(settings).await {
        Err(error) if status::refuses(&error) => {
            log::debug!("the database was not looked into: {error}");
            Ok(Named::new())
        }
        found => Ok(found.or_fail(Exit::Database, what, next)?.0),
    }
}

/// Adds a key, or makes the file. Returns whether there was one, which a daemon may have read.
fn generate(settings: &Settings, path: &Path, id: Option<KeyId>, named: &Named) -> Result<bool, Failure> {
    if let Some(id) = id.as_ref().filter(|id| named.contains_key(id.as_str())) {
        let values = BTreeMap::from([(id.to_string(), named[id.as_str()])]);
        return Err(Failure::refused(
            format!("{}: a new key of this id would open none of them", database::sealed_under(&values)),
            if path.exists() { database::bring_back_key(settings) } else { database::bring_back(path) },
        ));
    }
    let is_taken = |id: &KeyId| named.contains_key(id.as_str());
    let key = Key::generate().or_fail(Exit::Key, "no randomness for a key", output::NO_RANDOMNESS)?;
    if !path.exists() {
        let id = id.map_or_else(|| keyring_file::next_id(None, is_taken, year()), Ok)?;
        let ring = Keyring::new(id.clone(), BTreeMap::from([(id.clone(), key)]), BTreeMap::new())
            .expect("its only key is the primary one, and none is retired");
        keyring_file::create(path, &ring, database::spool_owner_for_root(settings))?;
        output::line(format!("made {} with the key {id}", path.display()));
        output::line("keep a copy of it elsewhere: without it no sealed token opens again");
        if !named.is_empty() {
            output::warning(format!("{}, which the new one does not open", database::sealed_under(named)));
            output::mend(database::bring_back_key(settings));
        }
        return Ok(false);
    }
    let mut added = None;
    change(settings, |ring| {
        let id = id.map_or_else(|| keyring_file::next_id(Some(ring), is_taken, year()), Ok)?;
        added = Some(id.clone());
        keyring_file::add(ring, id, key)
    })?;
    if let Some(id) = added {
        output::line(format!(
            "added the key {id}; it opens, and seals once it is promoted: relinkd key promote {id}"
        ));
    }
    Ok(true)
}

/// The year, for a new key's name.
fn year() -> u32 {
    let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    // The mean Gregorian year: right but for some hours around New Year.
    u32::try_from(1970 + since_1970.as_secs() / 31_556_952).unwrap_or(1970)
}

fn list(settings: &Settings) -> Result<Exit, Failure> {
    let ring = database::keyring(settings)?;
    let mut table = Table::new(["KEY", "STATE"]);
    for id in ring.ids() {
        let state = match (id == ring.primary(), ring.is_retired(id)) {
            (true, _) => "primary: seals and opens",
            (false, true) => "retired: opens",
            (false, false) => "opens",
        };
        table.row([id, &state]);
    }
    table.print();
    Ok(Exit::Done)
}

async fn retire(config: &Path, settings: &Settings, id: &KeyId, destroy: bool) -> Result<(), Failure> {
    file(settings)?;
    let what = "it cannot be seen whether the key still seals a token";
    let (named, sealing) =
        in_use(settings).await.or_fail(Exit::Database, what, "`relinkd status` must work first")?;
    let sealed = named.get(id.as_str()).copied().unwrap_or(0);
    if sealed > 0 {
        return Err(Failure::refused(
            format!("the key {id} seals {} here", output::things(sealed, "token")),
            if database::keyring(settings).is_ok_and(|ring| ring.primary() != id) {
                "seal them anew under the primary key: relinkd rekey"
            } else {
                "make another key the primary one and seal them anew: relinkd key promote KID, then relinkd rekey"
            },
        ));
    }
    if destroy {
        if sealing.iter().any(|key| key == id.as_str()) {
            return Err(Failure::refused(
                format!("a daemon that has not read the keyring again still seals with the key {id}"),
                format!("as root: systemctl reload {}, then this command again", config::unit(config)),
            ));
        }
        change(settings, |ring| keyring_file::destroy(ring, id))?;
        output::line(format!(
            "the key {id} is gone; backups that were sealed with it can only be read with an older keyring"
        ));
    } else {
        change(settings, |ring| keyring_file::retire(ring, id))?;
        output::line(format!("the key {id} is retired: it opens, and never seals"));
    }
    Ok(())
}

/// The keys that stored values name, with how many do, and the keys that daemons seal with, where all of relinkd is there:
/// as the daemon's role sees them, within the time that `status` has.
async fn in_use(settings: &Settings) -> Result<(Named, Vec<String>), DbError> {
    let look = async {
        let mut session = rows::connect(settings).await?;
        let named = users::keys_in_use(&mut session, &settings.tables.users).await;
        match (schema::verify(&session, &settings.tables).await, named) {
            (Ok(_), named) => {
                let daemons = presence::daemons(&session).await?;
                Ok((named?.unwrap_or_default(), daemons.into_iter().filter_map(|it| it.seals_with).collect()))
            }
            (Err(_), Ok(Some(named))) => Ok((named, Vec::new())),
            (Err(error), _) => Err(error),
        }
    };
    database::within(status::WITHIN, look).await
}
