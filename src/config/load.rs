//! From the file to the settings: which file it is, what each key means, and what is assumed where it is left out.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use thiserror::Error;
use toml::de::DeTable;
use zeroize::Zeroizing;

use super::{
    Database, Environment, FileSource, IssuesTable, PortalSettings, QualifiedName, Settings, SpoolSettings,
    Tables, UsersTable,
    complaint::Complaint,
    period,
    reader::{Reader, Section},
    table_name::{NameFault, identifier},
};
use crate::{
    link::{Origin, Portal, Tokenless},
    place::Place,
    token::TokenRule,
};

/// Where configurations are.
const DIRECTORY: &str = "/etc/relinkd";

/// The configuration file: the one on the command line, else the one `RELINKD_CONFIG` names, else
/// `/etc/relinkd/config.toml`.
#[must_use]
pub fn path(command_line: Option<PathBuf>) -> PathBuf {
    choose(command_line, Environment::of_process().config)
}

fn choose(command_line: Option<PathBuf>, environment: Option<PathBuf>) -> PathBuf {
    command_line.or(environment).unwrap_or_else(|| Path::new(DIRECTORY).join("config.toml"))
}

/// Reads a configuration file.
///
/// # Errors
/// The file cannot be read, or every fault there is in it.
pub fn load(path: &Path) -> Result<Settings, ConfigError> {
    load_in(path, &Environment::of_process())
}

/// As [`load`], in this environment.
///
/// # Errors
/// As [`load`].
pub fn load_in(path: &Path, environment: &Environment) -> Result<Settings, ConfigError> {
    let (parts, fault) = load_parts_in(path, environment);
    match fault {
        Some(fault) => Err(fault),
        None => Ok(parts.complete().expect("what is not there has been complained of")),
    }
}

/// Reads as much of a configuration file as can be used: for `check`, which looks further than the first fault.
#[must_use]
pub fn load_parts(path: &Path) -> (Parts, Option<ConfigError>) {
    load_parts_in(path, &Environment::of_process())
}

fn load_parts_in(path: &Path, environment: &Environment) -> (Parts, Option<ConfigError>) {
    let bytes = match fs::read(path) {
        Ok(bytes) => Zeroizing::new(bytes),
        Err(source) => {
            return (Parts::default(), Some(ConfigError::Unreadable { path: path.to_owned(), source }));
        }
    };
    let text = match std::str::from_utf8(&bytes) {
        Ok(text) => text,
        Err(fault) => {
            let valid = String::from_utf8_lossy(&bytes[..fault.valid_up_to()]);
            let place = Place::of(&valid, fault.valid_up_to());
            return (Parts::default(), Some(ConfigError::NotUtf8 { path: path.to_owned(), place }));
        }
    };
    let (parts, complaints) = read_parts(text, &Surroundings { instance: instance(path), environment });
    let fault =
        (!complaints.is_empty()).then(|| ConfigError::Faults(Faults { path: path.to_owned(), complaints }));
    (parts, fault)
}

/// The sections of a file that could be read; all of them, where it has no fault.
#[derive(Debug, Default)]
pub struct Parts {
    /// `[database]`.
    pub database: Option<Database>,
    /// `[portal]`.
    pub portal: Option<PortalSettings>,
    /// `[keyring] file`.
    pub keyring: Option<FileSource>,
    /// `[spool]`.
    pub spool: Option<SpoolSettings>,
    /// `[tables]`.
    pub tables: Option<Tables>,
    seal_plaintext: Option<bool>,
    audit_interval: Option<Duration>,
}

impl Parts {
    fn complete(self) -> Option<Settings> {
        Some(Settings {
            database: self.database?,
            portal: self.portal?,
            keyring: self.keyring?,
            spool: self.spool?,
            seal_plaintext: self.seal_plaintext?,
            audit_interval: self.audit_interval?,
            tables: self.tables?,
        })
    }
}

/// What the meaning of a file depends on, beside its text.
struct Surroundings<'e> {
    instance: Option<String>,
    environment: &'e Environment,
}

/// NAME of `/etc/relinkd/NAME.toml`, which configures `relinkd@NAME.service`; none for `config.toml` and files elsewhere.
fn instance(path: &Path) -> Option<String> {
    let path = std::path::absolute(path).ok()?;
    if path.parent()? != Path::new(DIRECTORY) || path.extension()? != "toml" {
        return None;
    }
    let name = path.file_stem()?.to_str()?;
    (name != "config").then(|| name.to_owned())
}

impl Surroundings<'_> {
    fn unit(&self) -> String {
        self.instance.as_ref().map_or("relinkd.service".to_owned(), |name| format!("relinkd@{name}.service"))
    }

    fn keyring(&self) -> String {
        let name = self.instance.as_ref().map(|name| format!("{name}.")).unwrap_or_default();
        format!("{DIRECTORY}/{name}keyring.toml")
    }

    fn spool(&self) -> String {
        let name = self.instance.as_ref().map(|name| format!("/{name}")).unwrap_or_default();
        format!("/var/spool/relinkd{name}")
    }
}

fn read_parts(text: &str, surroundings: &Surroundings<'_>) -> (Parts, Vec<Complaint>) {
    let (document, errors) = DeTable::parse_recoverable(text);
    let (mut reader, sections) = Reader::new(text, document.get_ref(), &errors);
    let section = |name| Section::of(&sections, name);
    let database = database(&mut reader, &section("database"), surroundings);
    let portal = portal(&mut reader, &section("portal"));
    let keyring = reader.text(&section("keyring"), "file", &surroundings.keyring(), |text| {
        FileSource::parse(text, &surroundings.unit())
    });
    let spool = spool(&mut reader, &section("spool"), surroundings);
    let seal_plaintext = reader.switch(&section("seal"), "plaintext", true);
    let audit_interval = reader.text(&section("audit"), "interval", "1h", period::parse);
    let users = users(&mut reader, &section("tables.users"));
    let issues = issues(&mut reader, &section("tables.issues"), users.as_ref());
    let tables = users.zip(issues).map(|(users, issues)| Tables { users, issues });
    (Parts { database, portal, keyring, spool, tables, seal_plaintext, audit_interval }, reader.finish())
}

fn database(
    reader: &mut Reader<'_>,
    section: &Section<'_>,
    surroundings: &Surroundings<'_>,
) -> Option<Database> {
    let example = "postgresql://relinkd@localhost/okdesk_bot";
    let database = reader
        .required_text(section, "url", example, |text| Database::parse_in(text, surroundings.environment));
    let password_file =
        reader.optional_text(section, "password_file", |text| FileSource::parse(text, &surroundings.unit()));
    let mut database = database?;
    database.password_file = password_file;
    Some(database)
}

fn portal(reader: &mut Reader<'_>, section: &Section<'_>) -> Option<PortalSettings> {
    let base = reader.required_text(section, "base_url", "https://yapomogu55.okdesk.ru", Origin::parse);
    let aliases = reader.texts(section, "aliases", Origin::parse);
    let tokenless = reader.text(section, "tokenless", "plain", |text| match text {
        "plain" => Ok(Tokenless::Plain),
        "keep" => Ok(Tokenless::Keep),
        _ => Err("must be \"plain\" or \"keep\""),
    });
    let pattern = reader.optional_text(section, "token_pattern", |text| {
        if text.is_empty() {
            return Err("is empty, and would admit no token: leave it out to admit every one".to_owned());
        }
        TokenRule::new(Some(text)).map(|rule| (rule, text.to_owned())).map_err(|fault| format!("is {fault}"))
    });
    let (aliases, (token_rule, token_pattern)) = (aliases?, pattern.unzip());
    Some(PortalSettings {
        portal: Portal::new(base?, aliases.clone()),
        aliases,
        tokenless: tokenless?,
        token_rule: token_rule.unwrap_or_default(),
        token_pattern,
    })
}

fn spool(
    reader: &mut Reader<'_>,
    section: &Section<'_>,
    surroundings: &Surroundings<'_>,
) -> Option<SpoolSettings> {
    let directory = reader.text(section, "directory", &surroundings.spool(), |text| {
        let absolute = Path::new(text).is_absolute() && !text.contains('\0');
        if absolute { Ok(PathBuf::from(text)) } else { Err("must be an absolute path") }
    });
    let rescan = reader.text(section, "rescan", "30s", period::parse);
    Some(SpoolSettings { directory: directory?, rescan: rescan? })
}

fn users(reader: &mut Reader<'_>, section: &Section<'_>) -> Option<UsersTable> {
    let name = reader.text(section, "name", "public.users", QualifiedName::parse);
    let telegram_id = reader.text(section, "telegram_id", "telegram_id", column);
    let portal_token = reader.text(section, "portal_token", "portal_token", other_column(&[&telegram_id]));
    Some(UsersTable { name: name?, telegram_id: telegram_id?, portal_token: portal_token? })
}

fn issues(reader: &mut Reader<'_>, section: &Section<'_>, users: Option<&UsersTable>) -> Option<IssuesTable> {
    let name = reader.text(section, "name", "public.issues", |text| {
        let name = QualifiedName::parse(text).map_err(|fault| fault.to_string())?;
        if users.is_some_and(|users| users.name == name) {
            return Err("must be another table than that of the users".to_owned());
        }
        Ok(name)
    });
    let id = reader.text(section, "id", "id", column);
    let telegram_id = reader.text(section, "telegram_id", "telegram_user_id", other_column(&[&id]));
    let url = reader.text(section, "url", "okdesk_url", other_column(&[&id, &telegram_id]));
    Some(IssuesTable { name: name?, id: id?, telegram_id: telegram_id?, url: url? })
}

/// A column's name, as it stands in the database.
fn column(text: &str) -> Result<String, NameFault> {
    identifier(text).map(|()| text.to_owned())
}

/// As [`column()`], and none of these, which have their own meaning.
fn other_column(others: &[&Option<String>]) -> impl Fn(&str) -> Result<String, String> {
    let others: Vec<String> = others.iter().filter_map(|other| (*other).clone()).collect();
    move |text| {
        if others.iter().any(|other| other == text) {
            return Err("names a column that is something else already".to_owned());
        }
        column(text).map_err(|fault| fault.to_string())
    }
}

/// Why there are no settings.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("the configuration {} cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is no text.
    #[error("{}:{place}: not UTF-8 text from here on", path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// The first byte that is none.
        place: Place,
    },
    /// The file says something else than it should.
    #[error(transparent)]
    Faults(Faults),
}

/// Every fault of a file, in its order. It prints as one line for each, with the file's own beneath where it can be shown.
#[derive(Debug, Error)]
pub struct Faults {
    /// The file.
    pub path: PathBuf,
    /// At least one.
    pub complaints: Vec<Complaint>,
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, complaint) in self.complaints.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            complaint.write(&self.path, f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
