//! From the file to the settings: which file it is, and what follows from its name and the process's surroundings.

use super::settings::{KeyringSettings, PortalSettings, SpoolSettings};
use super::{Database, Environment, FileSource, Settings, Tables, fault};
use crate::place::Place;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use std::{fs, io};
use thiserror::Error;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer, ValueDeserializer};
use zeroize::Zeroizing;

/// Where configurations are.
const DIRECTORY: &str = "/etc/relinkd";

/// The configuration file: the one on the command line, else the one `RELINKD_CONFIG` names, else
/// `/etc/relinkd/config.toml`.
pub(crate) fn path(command_line: Option<PathBuf>) -> PathBuf {
    choose(command_line, Environment::of_process().config)
}

pub(super) fn choose(command_line: Option<PathBuf>, environment: Option<PathBuf>) -> PathBuf {
    command_line.or(environment).unwrap_or_else(|| Path::new(DIRECTORY).join("config.toml"))
}

/// Whether this is the configuration that is used where none is named.
pub(crate) fn is_usual(path: &Path) -> bool {
    path == choose(None, None)
}

/// Reads a configuration file.
pub(crate) fn load(path: &Path) -> Result<Settings, ConfigError> {
    read(path, &Environment::of_process()).1
}

/// Reads as much of a configuration file as can be used: for `check`, which looks further than the first fault.
pub(crate) fn load_parts(path: &Path) -> (Parts, Option<ConfigError>) {
    let (parts, settings) = read(path, &Environment::of_process());
    (parts, settings.err())
}

/// The sections of a file that could be read; all of them, where it has no fault.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    pub database: Option<Database>,
    pub portal: Option<PortalSettings>,
    pub keyring: Option<KeyringSettings>,
    pub spool: Option<SpoolSettings>,
    pub tables: Option<Tables>,
}

pub(super) fn read(path: &Path, environment: &Environment) -> (Parts, Result<Settings, ConfigError>) {
    let failed = |error| (Parts::default(), Err(error));
    let wrong = |fault| ConfigError::Wrong { path: path.to_owned(), fault };
    let bytes = match fs::read(path) {
        Ok(bytes) => Zeroizing::new(bytes),
        Err(source) => return failed(ConfigError::Unreadable { path: path.to_owned(), source }),
    };
    let text = match std::str::from_utf8(&bytes) {
        Ok(text) => text,
        Err(fault) => {
            let valid = String::from_utf8_lossy(&bytes[..fault.valid_up_to()]);
            let place = Place::of(&valid, valid.len());
            return failed(wrong(fault::of_text(place, "not UTF-8 text from here on")));
        }
    };
    let (parts, settings) = Context { instance: instance(path), environment }.read(text);
    (parts, settings.map_err(wrong))
}

/// What the meaning of a file depends on, beside its text.
pub(super) struct Context<'e> {
    /// NAME of `/etc/relinkd/NAME.toml`, which configures `relinkd@NAME.service`.
    pub(super) instance: Option<String>,
    pub(super) environment: &'e Environment,
}

/// None for `config.toml`, and for files elsewhere.
pub(super) fn instance(path: &Path) -> Option<String> {
    let path = std::path::absolute(path).ok()?;
    if path.parent()? != Path::new(DIRECTORY) || path.extension()? != "toml" {
        return None;
    }
    let name = path.file_stem()?.to_str()?;
    (name != "config").then(|| name.to_owned())
}

/// The spool of a configuration at this place that names none.
pub(crate) fn usual_spool(path: &Path) -> PathBuf {
    spool_of(instance(path).as_deref()).into()
}

fn spool_of(instance: Option<&str>) -> String {
    let name = instance.map(|name| format!("/{name}")).unwrap_or_default();
    format!("/var/spool/relinkd{name}")
}

impl Context<'_> {
    pub(super) fn read(&self, text: &str) -> (Parts, Result<Settings, String>) {
        let mut document = match DeTable::parse(text) {
            Ok(document) => document,
            Err(error) => return (Parts::default(), Err(fault::not_toml(text, &error))),
        };
        if let Some(name) = &self.instance {
            assume(document.get_mut(), "keyring", "file", format!("{DIRECTORY}/{name}.keyring.toml"));
            assume(document.get_mut(), "spool", "directory", spool_of(Some(name)));
        }
        (self.parts(document.get_ref()), self.settings(text, &document))
    }

    fn settings(&self, text: &str, document: &Spanned<DeTable<'_>>) -> Result<Settings, String> {
        let table = document.get_ref();
        if let Some(fault) = fault::of_shape(text, table, &[]) {
            return Err(fault);
        }
        let mut settings: Settings = serde_path_to_error::deserialize(Deserializer::from(document.clone()))
            .map_err(|error| fault::of_document(text, table, &error))?;
        if let Some((key, what)) = settings.tables.clash() {
            return Err(fault::of_value(text, table, &key, what));
        }
        self.complete(&mut settings.keyring.file);
        settings.database = self
            .database(settings.database)
            .map_err(|fault| fault::of_value(text, table, &["database", "url"], &fault.to_string()))?;
        Ok(settings)
    }

    /// Each section by itself.
    fn parts(&self, document: &DeTable<'_>) -> Parts {
        Parts {
            database: part(document, "database").and_then(|database| self.database(database).ok()),
            portal: part(document, "portal"),
            keyring: part(document, "keyring").map(|mut keyring: KeyringSettings| {
                self.complete(&mut keyring.file);
                keyring
            }),
            spool: part(document, "spool"),
            tables: part(document, "tables").filter(|tables: &Tables| tables.clash().is_none()),
        }
    }

    fn database(&self, database: Database) -> Result<Database, super::DatabaseFault> {
        let mut database = database.in_environment(self.environment)?;
        if let Some(file) = &mut database.password_file {
            self.complete(file);
        }
        Ok(database)
    }

    /// Says whose credential it is.
    fn complete(&self, file: &mut FileSource) {
        if let FileSource::Credential { unit, .. } = file {
            let name = self.instance.as_ref().map(|name| format!("@{name}")).unwrap_or_default();
            *unit = format!("relinkd{name}.service");
        }
    }
}

/// Adds a key that the file leaves out.
fn assume<'d>(document: &mut DeTable<'d>, section: &'d str, key: &'d str, text: String) {
    let spanned = |value| Spanned::new(0..0, value);
    let table = document
        .entry(Spanned::new(0..0, section.into()))
        .or_insert_with(|| spanned(DeValue::Table(DeTable::new())));
    if let DeValue::Table(table) = table.get_mut() {
        table.entry(Spanned::new(0..0, key.into())).or_insert(spanned(DeValue::String(text.into())));
    }
}

/// A section by itself, if it is right.
fn part<T: DeserializeOwned>(document: &DeTable<'_>, section: &str) -> Option<T> {
    let value = document.get(section).cloned();
    let value = value.unwrap_or_else(|| Spanned::new(0..0, DeValue::Table(DeTable::new())));
    value.get_ref().is_table().then(|| T::deserialize(ValueDeserializer::from(value)).ok()).flatten()
}

/// Why there are no settings: the file cannot be read, or this is the first fault in it.
#[derive(Debug, Error)]
pub(crate) enum ConfigError {
    #[error("the configuration {} cannot be read: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{}:{fault}", path.display())]
    Wrong { path: PathBuf, fault: String },
}
