//! What the machine's Postgres needs before a cluster can start: its programs, an account that it accepts,
//! a data directory, certificates. Knows nothing of running servers.

use super::cluster::SUPERUSER;
use super::scratch;
use nix::unistd::{User, geteuid};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use tempfile::TempDir;

/// The account to run Postgres as where we are root; `None` is ourselves.
fn account() -> Option<User> {
    if !geteuid().is_root() {
        return None;
    }
    let named = |name| User::from_name(name).unwrap();
    let account = named("postgres").or_else(|| named("nobody"));
    Some(account.expect("Postgres refuses to run as root, and there is no account `postgres` or `nobody`"))
}

/// A command of Postgres', run as the account it accepts.
pub(crate) fn as_postgres(program: &Path, directory: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(directory).env_remove("PGDATA").env_remove("PGOPTIONS");
    if let Some(account) = account() {
        command.uid(account.uid.as_raw()).gid(account.gid.as_raw());
    }
    command
}

/// Makes the account that runs Postgres the owner.
pub(crate) fn give_to_postgres(path: &Path) {
    if let Some(account) = account() {
        nix::unistd::chown(path, Some(account.uid), Some(account.gid)).unwrap();
    }
}

/// Copies a data directory that is made once: `initdb` takes seconds, a copy does not.
pub(crate) fn copy_template(binaries: &Path, data: &Path) {
    static TEMPLATE: OnceLock<TempDir> = OnceLock::new();
    let template = TEMPLATE.get_or_init(|| {
        let directory = scratch::directory();
        give_to_postgres(directory.path());
        let mut initdb = as_postgres(&binaries.join("initdb"), directory.path());
        initdb.args([
            "--username",
            SUPERUSER,
            "--auth",
            "trust",
            "--encoding",
            "UTF8",
            "--locale",
            "C.UTF-8",
        ]);
        let output = initdb.args(["--no-sync", "--no-instructions", "-D", "data"]).output().unwrap();
        assert!(output.status.success(), "initdb failed: {}", String::from_utf8_lossy(&output.stderr));
        directory
    });
    let copied = Command::new("cp").arg("-a").arg(template.path().join("data")).arg(data).status().unwrap();
    assert!(copied.success(), "cp -a failed");
}

/// `PG_BIN`, else the newest of Debian's versions that relinkd knows.
pub(crate) fn find_binaries() -> PathBuf {
    if let Some(directory) = std::env::var_os("PG_BIN") {
        let directory = PathBuf::from(directory);
        assert!(directory.join("initdb").exists(), "PG_BIN={}: no initdb there", directory.display());
        return directory;
    }
    let installed =
        (14..=18).rev().map(|version| PathBuf::from(format!("/usr/lib/postgresql/{version}/bin")));
    installed.into_iter().find(|directory| directory.join("initdb").exists()).expect(
        "no Postgres 14 to 18 in /usr/lib/postgresql: install it (apt-get install postgresql), or set PG_BIN \
         to the directory of its initdb",
    )
}

/// A TCP port of 127.0.0.1 that nobody listens on just now.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// An authority of its own and a server certificate signed by it, by the openssl command.
pub(crate) fn make_certificates(directory: &Path) {
    let script = "
        set -e; umask 077
        openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority \
            -addext basicConstraints=critical,CA:true -keyout authority.key -out authority.crt
        openssl req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout server.key -out server.csr
        printf 'subjectAltName=DNS:localhost,IP:127.0.0.1' > server.ext
        openssl x509 -req -in server.csr -CA authority.crt -CAkey authority.key -CAcreateserial \
            -days 2 -extfile server.ext -out server.crt
        chmod 644 authority.crt server.crt";
    let output = Command::new("sh").args(["-c", script]).current_dir(directory).output().unwrap();
    assert!(output.status.success(), "openssl: {}", String::from_utf8_lossy(&output.stderr));
    give_to_postgres(&directory.join("server.key"));
}
