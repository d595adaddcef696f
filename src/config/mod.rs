//! The settings: TOML as it is written → settings as they are used, or every fault there is, each with its place.
//!
//! Also how to reach the database, where its password is, and the keyring file. A file that cannot be read is an error,
//! never a default; an unknown key is an error; a fault shows its line, unless the line may hold a secret.

mod complaint;
mod database;
mod environment;
mod file_source;
pub mod keyring_file;
mod load;
mod nearest;
mod password;
mod period;
mod reader;
mod schema;
mod settings;
mod table_name;

pub use complaint::Complaint;
pub use database::{
    ClientCert, DEFAULT_PORT, DEFAULT_SOCKET_DIRECTORY, Database, DatabaseFault, Endpoint, FoundPassword,
    Host, Keepalives, PasswordError, RootCert, Target, Tls, TlsMode,
};
pub use environment::Environment;
pub use file_source::{FileSource, FileSourceFault, NoCredential};
pub use keyring_file::{ContentFault, Distrust, EditFault, KeyringError, load_keyring, shell_word};
pub use load::{ConfigError, Faults, Parts, load, load_in, load_parts, path};
pub use password::Password;
pub use settings::{IssuesTable, PortalSettings, Settings, SpoolSettings, Tables, UsersTable};
pub use table_name::{NameFault, QualifiedName};
