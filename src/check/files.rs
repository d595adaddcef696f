//! What can be seen without a database: the configuration, the keyring, the spool.

use super::tokens::bring_back;
use super::{Commands, Report};
use crate::config::{
    ConfigError, Database, Endpoint, Environment, FileSource, Host, Parts, PasswordError, TlsMode,
};
use crate::envelope::Keyring;
use crate::keyring_file::{self, KeyringError, shell_word};
use crate::spool::{self, State};
use std::fs::{self, File};
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The configuration: its faults, who may read it, and how far the connection it asks for can be trusted.
pub(crate) fn config(
    report: &mut Report,
    commands: &Commands<'_>,
    parts: &Parts,
    fault: Option<&ConfigError>,
) {
    match fault {
        None => report.ok(format!("{} is right", commands.config.display())),
        Some(error @ ConfigError::Unreadable { source, .. }) => {
            let path = shell_word(&commands.config.to_string_lossy());
            let mend = match source.kind() {
                io::ErrorKind::NotFound => {
                    format!("install -D -m 0640 /usr/share/doc/relinkd/examples/config.toml.example {path}")
                }
                io::ErrorKind::PermissionDenied => format!("chgrp relinkd {path} && chmod g+r {path}"),
                _ => format!("ls -ld {path}"),
            };
            report.fault(error.to_string(), mend);
        }
        Some(error @ ConfigError::Wrong { .. }) => report.fault_in_lines(&error.to_string(), commands.edit()),
    }
    let Some(database) = &parts.database else { return };
    exposed(report, commands.config, database.password.is_some());
    password_file(report, commands, database);
    let open: Vec<String> = database
        .hosts
        .iter()
        .filter(|endpoint| leaves_the_machine(endpoint))
        .map(ToString::to_string)
        .collect();
    if !open.is_empty() && database.tls.mode != TlsMode::VerifyFull {
        report.warning(
            format!(
                "database.url goes to {} without sslmode=verify-full: another server could pose as this one and read tokens",
                open.join(", ")
            ),
            format!("{} # add sslmode=verify-full to database.url", commands.edit()),
        );
    }
}

/// A password that every user of the machine can read, or a file that they can change.
fn exposed(report: &mut Report, path: &Path, holds_password: bool) {
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
fn password_file(report: &mut Report, commands: &Commands<'_>, database: &Database) {
    let Some(FileSource::Path(path)) = &database.password_file else { return };
    let word = shell_word(&path.to_string_lossy());
    match database.configured_password(&Environment::of_process()) {
        Ok(_) => exposed(report, path, true),
        Err(error @ PasswordError::Unreadable { .. }) if path.exists() => {
            report.fault(error.to_string(), format!("chown root:relinkd {word} && chmod 0640 {word}"));
        }
        Err(error @ PasswordError::NoPassword { .. }) => {
            report.fault(error.to_string(), format!("editor {word}"));
        }
        Err(error @ PasswordError::Unreadable { .. }) => report.fault(
            error.to_string(),
            format!(
                "install -m 0640 -g relinkd /dev/stdin {word} # then type the password, Enter and Ctrl-D"
            ),
        ),
        Err(error) => report.fault(error.to_string(), commands.edit()),
    }
}

/// Whether a connection goes over a network that others share.
fn leaves_the_machine(endpoint: &Endpoint) -> bool {
    let Host::Name(name) = &endpoint.host else { return false };
    let address = endpoint.hostaddr.or_else(|| name.parse::<IpAddr>().ok());
    match address {
        Some(address) => !address.is_loopback(),
        None => {
            !(name.eq_ignore_ascii_case("localhost") || name.to_ascii_lowercase().ends_with(".localhost"))
        }
    }
}

/// The keyring, judged as the daemon judges it. What cannot be used is told by [`no_keyring`].
pub(crate) fn keyring(
    report: &mut Report,
    source: &FileSource,
    accept_owner: Option<u32>,
) -> Result<Keyring, KeyringError> {
    let keyring = keyring_file::load(source, accept_owner)?;
    let (active, retired) = (keyring.active().len(), keyring.retired().len());
    report.ok(format!(
        "{}: {} seals; {active} active and {retired} retired",
        place(source),
        keyring.primary()
    ));
    Ok(keyring)
}

/// A keyring that cannot be used. Where it is gone and stored values name keys, no new one may be made: `keys_needed`
/// says which; none where nobody could look.
pub(crate) fn no_keyring(
    report: &mut Report,
    source: &FileSource,
    error: &KeyringError,
    keys_needed: Option<&[&str]>,
) {
    let mend = match (error, error.mend()) {
        _ if source.is_credential() => mend_keyring(error, source),
        (KeyringError::Absent(_), _) if keys_needed.is_some_and(<[_]>::is_empty) => {
            "relinkd key generate".to_owned()
        }
        (KeyringError::Absent(path), _) if keys_needed.is_some() => {
            bring_back(&shell_word(&path.to_string_lossy()))
        }
        (_, Some(mend)) => mend,
        (_, None) => mend_keyring(error, source),
    };
    match (error, keys_needed) {
        (KeyringError::Absent(_), Some(keys @ [_, ..])) => {
            let noun = if keys.len() == 1 { "key" } else { "keys" };
            report.fault(format!("{error}, and stored tokens need the {noun} {}", keys.join(", ")), mend);
        }
        _ => report.fault(error.to_string(), mend),
    }
}

fn mend_keyring(error: &KeyringError, source: &FileSource) -> String {
    let path = shell_word(&place(source));
    match error {
        KeyringError::Credential(_) => "relinkd check # as root".to_owned(),
        _ if source.is_credential() => "systemctl cat relinkd # see LoadCredential= there".to_owned(),
        KeyringError::Content { .. } => format!("editor {path}"),
        KeyringError::System { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
            format!("chown root:relinkd {path}; chmod 0640 {path}")
        }
        KeyringError::System { path: missing, source, .. } if source.kind() == io::ErrorKind::NotFound => {
            let directory = missing.parent().unwrap_or(Path::new("/"));
            format!("install -d -m 0750 {}", shell_word(&directory.to_string_lossy()))
        }
        KeyringError::Distrusted { .. } if Path::new(&place(source)).is_symlink() => {
            format!("cp -p --remove-destination \"$(readlink -f {path})\" {path}")
        }
        KeyringError::Distrusted { .. } => {
            format!("mv {path} {path}.moved # and put the keyring in its place")
        }
        KeyringError::Absent(_) | KeyringError::Present(_) | KeyringError::System { .. } => {
            format!("ls -ld {path}")
        }
    }
}

fn place(source: &FileSource) -> String {
    match source {
        FileSource::Path(path) => path.display().to_string(),
        FileSource::Credential { name, .. } => format!("credential {name}"),
    }
}

/// Whether this process, which is the daemon's user by now, can read the file; systemd sees to a credential.
pub(crate) fn readable(report: &mut Report, source: &FileSource, user: &str, group: &str) {
    let FileSource::Path(path) = source else { return };
    if let Err(error) = File::open(path) {
        let word = shell_word(&path.to_string_lossy());
        report.fault(
            format!("{} cannot be read by {user}, the spool's owner: {error}", path.display()),
            format!("chown root:{group} {word} && chmod 0640 {word}"),
        );
    }
}

/// The spool, as this process sees it.
pub(crate) fn spool(report: &mut Report, commands: &Commands<'_>, directory: &Path) {
    if fs::symlink_metadata(directory).is_ok_and(|it| !it.is_symlink() && !it.is_dir()) {
        let what = format!("{} is no directory (spool.directory)", directory.display());
        return report.fault(what, commands.edit());
    }
    for finding in spool::inspect(directory) {
        let path = finding.path.display();
        match finding.state {
            State::Sound(how) => report.ok(format!("{path}: {how}")),
            State::Warning(what, mend) => report.warning(format!("{path}: {what}"), mend),
            State::Fault(what, mend) => report.fault(format!("{path}: {what}"), mend),
        }
    }
}
