//! `relinkd key`: make, list, promote and retire keys. The daemon reads the file again when it is told to.

use super::KeyCommand;
use super::database;
use super::output::{self, Exit, Failure};
use super::table::Table;
use crate::config::keyring_file;
use crate::config::{EditFault, Environment, KeyringError, Settings};
use crate::envelope::{Key, KeyId, Keyring};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

impl From<KeyringError> for Failure {
    fn from(error: KeyringError) -> Self {
        let (cause, mend) = error.cause_and_mend();
        Self::new(Exit::Key, cause, mend.as_deref().unwrap_or("see `relinkd check --offline`"))
    }
}

/// What keeps a change of the keyring from being made.
enum Refusal {
    File(KeyringError),
    Edit(EditFault),
}

impl From<KeyringError> for Refusal {
    fn from(error: KeyringError) -> Self {
        Self::File(error)
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::File(error) => error.into(),
            Refusal::Edit(fault) => Self::refused(fault, "see which keys there are: relinkd key list"),
        }
    }
}

pub(super) fn run(config: &Path, command: KeyCommand) -> Result<Exit, Failure> {
    let settings = database::settings(config)?;
    match command {
        KeyCommand::List => list(&settings),
        KeyCommand::Generate { id } => generate(&settings, id.as_deref()),
        KeyCommand::Promote { id } => {
            let id = key_id(&id)?;
            change(&settings, |ring| keyring_file::promote(ring, &id))?;
            output::line(format!("{id} seals from now on"));
            reload();
            output::line("then seal what is there anew: relinkd rekey");
            Ok(Exit::Done)
        }
        KeyCommand::Retire { id, destroy } => retire(config, &settings, &key_id(&id)?, destroy),
    }
}

fn key_id(text: &str) -> Result<KeyId, Failure> {
    KeyId::parse(text)
        .map_err(|fault| Failure::new(Exit::Usage, fault, "see which keys there are: relinkd key list"))
}

fn reload() {
    output::line("a running daemon must be told: systemctl reload relinkd");
}

/// The keyring's own file, where it is not a credential.
fn file(settings: &Settings) -> Result<PathBuf, Failure> {
    if settings.keyring.is_credential() {
        return Err(Failure::refused(
            "the keyring is a systemd credential: it is not relinkd's to change",
            "change the file that the unit's LoadCredential= names, then restart the unit",
        ));
    }
    settings
        .keyring
        .path(&Environment::of_process())
        .map_err(|error| Failure::new(Exit::Key, error, "see `relinkd check --offline`"))
}

fn change(
    settings: &Settings,
    edit: impl FnOnce(&Keyring) -> Result<Keyring, EditFault>,
) -> Result<(), Failure> {
    let path = file(settings)?;
    keyring_file::edit(&path, database::spool_owner_for_root(settings), |ring| {
        edit(ring).map_err(Refusal::Edit)
    })?;
    Ok(())
}

fn generate(settings: &Settings, id: Option<&str>) -> Result<Exit, Failure> {
    let path = file(settings)?;
    let id = id.map(key_id).transpose()?;
    let key = Key::generate().map_err(|error| {
        Failure::new(
            Exit::Key,
            format!("no randomness for a key: {error}"),
            "see to the system's random numbers (getrandom(2)), and try again",
        )
    })?;
    if !path.exists() {
        let id = id.map_or_else(|| keyring_file::next_id(None, year()), Ok).map_err(Refusal::Edit)?;
        let ring = Keyring::new(id.clone(), BTreeMap::from([(id.clone(), key)]), BTreeMap::new()).map_err(
            |fault| Failure::new(Exit::Key, fault, "name it otherwise: relinkd key generate --id KID"),
        )?;
        keyring_file::create(&path, &ring)?;
        output::line(format!("made {} with the key {id}", path.display()));
        output::line("keep a copy of it elsewhere: without it no sealed token opens again");
        return Ok(Exit::Done);
    }
    let mut added = None;
    change(settings, |ring| {
        let id = id.map_or_else(|| keyring_file::next_id(Some(ring), year()), Ok)?;
        added = Some(id.clone());
        keyring_file::add(ring, id, key)
    })?;
    if let Some(id) = added {
        output::line(format!(
            "added the key {id}; it opens, and seals once it is promoted: relinkd key promote {id}"
        ));
    }
    reload();
    Ok(Exit::Done)
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
        table.row([id.to_string(), state.to_owned()]);
    }
    table.print();
    Ok(Exit::Done)
}

fn retire(config: &Path, settings: &Settings, id: &KeyId, destroy: bool) -> Result<Exit, Failure> {
    file(settings)?;
    let sealed = in_use(config)?.get(id.as_str()).and_then(serde_json::Value::as_u64).unwrap_or(0);
    if sealed > 0 {
        return Err(Failure::refused(
            format!("the key {id} seals {} here", output::things(sealed, "token")),
            "make another key the primary one and seal them anew: relinkd key promote KID, then relinkd rekey",
        ));
    }
    if destroy {
        change(settings, |ring| keyring_file::destroy(ring, id))?;
        output::line(format!(
            "the key {id} is gone; backups that were sealed with it can only be read with an older keyring"
        ));
    } else {
        change(settings, |ring| keyring_file::retire(ring, id))?;
        output::line(format!("the key {id} is retired: it opens, and never seals"));
    }
    reload();
    Ok(Exit::Done)
}

/// How many values each key seals, as `status` counts them: a process of its own, for `status` becomes the spool's
/// owner and this command stays who it is.
fn in_use(config: &Path) -> Result<serde_json::Map<String, serde_json::Value>, Failure> {
    let unknown = |reason: String| {
        Failure::new(
            Exit::Database,
            format!("it cannot be seen whether the key still seals a token: {reason}"),
            "`relinkd status` must work first",
        )
    };
    let program = std::env::current_exe().map_err(|error| unknown(error.to_string()))?;
    let output = Command::new(program)
        .arg("--config")
        .arg(config)
        .args(["status", "--json"])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| unknown(error.to_string()))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        let cause = text.lines().next().unwrap_or_default();
        return Err(unknown(cause.trim_start_matches("relinkd: ").to_owned()));
    }
    let status: serde_json::Value =
        serde_json::from_slice(&output.stdout).map_err(|error| unknown(error.to_string()))?;
    Ok(status["keys"]["in_use"].as_object().cloned().unwrap_or_default())
}
