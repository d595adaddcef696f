//! One directory for all a test process makes, and the guardian that removes it.
//!
//! Destructors do not run for statics, nor when a test run is killed; a pipe closes in every case. So a
//! shell outside our process group waits for that, stops the servers and daemons and removes the directory.

use nix::sys::signal::Signal;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{LazyLock, Mutex};
use tempfile::TempDir;

struct Scratch {
    directory: PathBuf,
    guardian: Mutex<Child>,
}

static SCRATCH: LazyLock<Scratch> = LazyLock::new(|| {
    let directory = new_directory(&std::env::temp_dir()).keep();
    let guardian = Command::new("sh")
        .args(["-c", include_str!("guardian.sh"), "guardian"])
        .arg(&directory)
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    Scratch { directory, guardian: Mutex::new(guardian) }
});

/// A new directory inside the scratch directory, passable for the account that runs Postgres, removed on drop.
pub(crate) fn directory() -> TempDir {
    new_directory(&SCRATCH.directory)
}

fn new_directory(parent: &Path) -> TempDir {
    let directory = tempfile::Builder::new().prefix("relinkd-").rand_bytes(4).tempdir_in(parent).unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    directory
}

/// A process that is sent its signal should this process end without having stopped it.
pub(crate) struct Watch {
    entry: String,
}

impl Watch {
    pub(crate) fn over(pid: u32, signal: Signal) -> Self {
        let entry = format!("{}:{pid}", signal.as_str().trim_start_matches("SIG"));
        tell(&format!("watch {entry}"));
        Self { entry }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        tell(&format!("forget {}", self.entry));
    }
}

fn tell(line: &str) {
    let mut guardian = SCRATCH.guardian.lock().unwrap();
    writeln!(guardian.stdin.as_mut().expect("piped above"), "{line}").unwrap();
}
