//! The settings: each declared once, as a field of the structs in `settings`, with its type, default and meaning.
//!
//! Also how to reach the database, and where its password is. A file that cannot be read is an error, never a default;
//! an unknown key is an error; a fault shows its line, unless that is one of `[database]`.

mod database;
mod environment;
mod fault;
mod file_source;
mod load;
mod password;
mod period;
mod section;
mod settings;
mod table_name;
mod typed;

#[cfg(test)]
mod tests;

pub(crate) use database::{Database, DatabaseFault, Endpoint, Host, PasswordError, RootCert, Tls, TlsMode};
pub(crate) use environment::Environment;
pub(crate) use file_source::{FileSource, NoCredential};
pub(crate) use load::{ConfigError, Parts, is_usual, load, load_parts, path, usual_spool};
pub(crate) use password::Password;
pub(crate) use period::parse as period;
pub(crate) use settings::{Settings, Tables, UsersTable};
pub(crate) use table_name::QualifiedName;
pub(crate) use typed::{set_typed, typed, unit};

/// What is wrong with a configuration of this text.
#[cfg(any(test, fuzzing))]
pub(crate) fn fault_of(text: &str) -> Option<String> {
    let environment = Environment { os_user: Some("tester".to_owned()), ..Environment::default() };
    let (_, settings) = load::Context { instance: None, environment: &environment }.read(text);
    settings.err()
}
