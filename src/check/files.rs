//! What can be seen without a database: the configuration and the keyring.

use super::tokens::bring_back;
use super::{Group, Report};
use crate::config::{
    ConfigError, Database, Endpoint, Environment, FileSource, Host, Parts, PasswordError, TlsMode,
};
use crate::envelope::Keyring;
use crate::keyring_file::{self, KeyringError, shell_word};
use crate::process;
use nix::unistd;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The configuration: its faults, who may read it, and how far the connection it asks for can be trusted.
pub(crate) fn config(report: &mut Report<'_>, parts: &Parts, fault: Option<&ConfigError>) {
    report.group = Group::Config;
    match fault {
        None => report.ok(format!("{} is right", report.config.display())),
        Some(error @ ConfigError::Unreadable { source, .. }) => {
            let path = shell_word(&report.config.to_string_lossy());
            let mend = match source.kind() {
                io::ErrorKind::NotFound => {
                    format!("install -D -m 0640 /usr/share/doc/relinkd/examples/config.toml.example {path}")
                }
                io::ErrorKind::PermissionDenied => format!("chgrp relinkd {path} && chmod g+r {path}"),
                _ => format!("ls -ld {path}"),
            };
            report.fault(error.to_string(), mend);
        }
        Some(error @ ConfigError::Wrong { .. }) => report.fault_in_lines(&error.to_string(), report.edit()),
    }
    let Some(database) = &parts.database else { return };
    exposed(report, report.config, database.password.is_some());
    password_file(report, database);
    let open = database.hosts.iter().filter(|endpoint| leaves_the_machine(endpoint));
    let open: Vec<String> = open.map(ToString::to_string).collect();
    if !open.is_empty() && database.tls.mode != TlsMode::VerifyFull {
        report.warning(
            format!(
                "database.url goes to {} without sslmode=verify-full: another server could pose as this one and read tokens",
                open.join(", ")
            ),
            format!("{} # add sslmode=verify-full to database.url", report.edit()),
        );
    }
}

/// A password that every user of the machine can read, or a file that they can change.
fn exposed(report: &mut Report<'_>, path: &Path, holds_password: bool) {
    let Ok(metadata) = fs::metadata(path) else { return };
    let (mode, word) = (metadata.mode() & 0o7777, shell_word(&path.to_string_lossy()));
    if mode & 0o002 != 0 {
        report.fault(
            format!("every user may change {} (mode {mode:04o})", path.display()),
            format!("chmod o-w {word}"),
        );
    }
    if mode & 0o004 != 0 && holds_password {
        report.warning(
            format!("{} holds a password, and every user may read it (mode {mode:04o})", path.display()),
            format!("chgrp relinkd {word}; chmod o= {word}"),
        );
    }
}

/// The file with the database's password, if there is one; systemd sees to a credential.
fn password_file(report: &mut Report<'_>, database: &Database) {
    let Some(FileSource::Path(path)) = &database.password_file else { return };
    let word = shell_word(&path.to_string_lossy());
    let Err(error) = database.configured_password(&Environment::of_process()) else {
        return exposed(report, path, true);
    };
    let mend = match &error {
        PasswordError::Unreadable { .. } if path.exists() => {
            format!("chown root:relinkd {word} && chmod 0640 {word}")
        }
        PasswordError::Unreadable { .. } => {
            format!("install -m 0640 -g relinkd /dev/stdin {word} # then type the password, Enter and Ctrl-D")
        }
        PasswordError::NoPassword { .. } => format!("editor {word}"),
        PasswordError::Credential(_) => report.edit(),
    };
    report.fault(error.to_string(), mend);
}

/// Whether a connection goes over a network that others share.
fn leaves_the_machine(endpoint: &Endpoint) -> bool {
    let Host::Name(name) = &endpoint.host else { return false };
    let local = name.eq_ignore_ascii_case("localhost") || name.to_ascii_lowercase().ends_with(".localhost");
    let address = endpoint.hostaddr.or_else(|| name.parse().ok());
    address.map_or(!local, |address| !address.is_loopback())
}

/// The keyring, judged as the daemon judges it. What cannot be used is told by [`no_keyring`].
pub(crate) fn keyring(
    report: &mut Report<'_>,
    source: &FileSource,
    accept_owner: Option<u32>,
) -> Result<Keyring, KeyringError> {
    report.group = Group::Keyring;
    let keyring = keyring_file::load(source, accept_owner)?;
    let (active, retired) = (keyring.active().len(), keyring.retired().len());
    let (place, primary) = (place(source), keyring.primary());
    report.ok(format!("{place}: {primary} seals; {active} active and {retired} retired"));
    Ok(keyring)
}

/// A keyring that cannot be used. Where it is gone and stored values name keys, no new one may be made: `keys_needed`
/// says which; none where nobody could look.
pub(crate) fn no_keyring(
    report: &mut Report<'_>,
    source: &FileSource,
    error: &KeyringError,
    keys_needed: Option<&BTreeMap<String, u64>>,
) {
    report.group = Group::Keyring;
    let path = shell_word(&place(source));
    let mut what = error.to_string();
    let mend = match (error, keys_needed) {
        (KeyringError::Credential(_), _) => "relinkd check # as root".to_owned(),
        _ if source.is_credential() => "systemctl cat relinkd # see LoadCredential= there".to_owned(),
        (KeyringError::Absent(_), Some(keys)) if keys.is_empty() => "relinkd key generate".to_owned(),
        (KeyringError::Absent(_), Some(keys)) => {
            let noun = if keys.len() == 1 { "key" } else { "keys" };
            let keys: Vec<&str> = keys.keys().map(String::as_str).collect();
            what = format!("{what}, and stored tokens need the {noun} {}", keys.join(", "));
            bring_back(&path)
        }
        (KeyringError::Content { .. }, _) => format!("editor {path}"),
        (KeyringError::System { source, .. }, _) if source.kind() == io::ErrorKind::PermissionDenied => {
            format!("chown root:relinkd {path}; chmod 0640 {path}")
        }
        (KeyringError::System { path, source, .. }, _) if source.kind() == io::ErrorKind::NotFound => {
            let directory = path.parent().unwrap_or(Path::new("/"));
            format!("install -d -m 0750 {}", shell_word(&directory.to_string_lossy()))
        }
        (KeyringError::Distrusted { .. }, _) => error.mend().unwrap_or_else(|| {
            if Path::new(&place(source)).is_symlink() {
                format!("cp -p --remove-destination \"$(readlink -f {path})\" {path}")
            } else {
                format!("mv {path} {path}.moved # and put the keyring in its place")
            }
        }),
        (KeyringError::Absent(_) | KeyringError::Present(_) | KeyringError::System { .. }, _) => {
            error.mend().unwrap_or_else(|| format!("ls -ld {path}"))
        }
    };
    report.fault(what, mend);
}

fn place(source: &FileSource) -> String {
    match source {
        FileSource::Path(path) => path.display().to_string(),
        FileSource::Credential { name, .. } => format!("credential {name}"),
    }
}

/// Whether this process, which is the daemon's user by now, can read the file; systemd sees to a credential.
pub(crate) fn readable(report: &mut Report<'_>, part: Group, source: &FileSource) {
    let FileSource::Path(path) = source else { return };
    report.group = part;
    if let Err(error) = File::open(path) {
        let (user, gid) = (process::user_name(unistd::geteuid().as_raw()), unistd::getegid());
        let group = unistd::Group::from_gid(gid).ok().flatten().map_or_else(|| gid.to_string(), |it| it.name);
        let word = shell_word(&path.to_string_lossy());
        report.fault(
            format!("{} cannot be read by {user}, the spool's owner: {error}", path.display()),
            format!("chown root:{group} {word} && chmod 0640 {word}"),
        );
    }
}
