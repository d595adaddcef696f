//! A spool's directories looked over for `check`, by the user that relinkd runs as. Changes nothing, and follows no
//! symbolic link but one of root's own in place of the whole spool: what a link leads to is not the spool's, and no
//! command that is printed here may touch it.

use super::layout::DIRECTORIES;
use crate::keyring_file::shell_word;
use crate::process::user_name;
use nix::sys::inotify::{InitFlags, Inotify};
use nix::unistd::{AccessFlags, access};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What there is to say about a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PathState {
    /// The directory.
    pub path: PathBuf,
    /// How it is.
    pub state: State,
}

/// How a directory is; with the command that mends it, for a shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// As it should be, in words.
    Sound(String),
    /// relinkd works, but it should not stay so.
    Warning(String, String),
    /// relinkd cannot work, or gives tokens away.
    Fault(String, String),
}

/// Looks over a spool's directories, and whether the system reports new files.
pub(crate) fn inspect(root: &Path) -> Vec<PathState> {
    if is_foreign_link(root) {
        return vec![PathState { path: root.to_owned(), state: link(root) }];
    }
    let owner = fs::metadata(root).ok();
    let mut findings = vec![PathState { path: root.to_owned(), state: root_state(root, owner.as_ref()) }];
    let Some(owner) = owner.filter(Metadata::is_dir) else { return findings };
    for (name, mode) in DIRECTORIES {
        let path = root.join(name);
        let state = state(&path, mode, &owner);
        findings.push(PathState { path, state });
    }
    findings.push(PathState { path: root.join("incoming"), state: inotify() });
    findings
}

/// Whether this is a symbolic link that somebody else than root has made.
fn is_foreign_link(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|it| it.is_symlink() && it.uid() != 0)
}

/// A symbolic link. The daemon makes the directory that belongs there.
fn link(path: &Path) -> State {
    let word = shell_word(&path.to_string_lossy());
    State::Fault("is a symbolic link, which relinkd does not follow".to_owned(), format!("rm {word}"))
}

fn root_state(root: &Path, metadata: Option<&Metadata>) -> State {
    let word = shell_word(&root.to_string_lossy());
    match metadata {
        None => {
            State::Fault("is missing".to_owned(), format!("install -d -o relinkd -g relinkd -m 0755 {word}"))
        }
        Some(metadata) if !metadata.is_dir() => not_a_directory(root),
        Some(metadata) if metadata.mode() & 0o022 != 0 && metadata.mode() & 0o1000 == 0 => State::Fault(
            format!("may be written by group or others ({})", mode_of(metadata)),
            format!("chmod go-w {word}"),
        ),
        Some(metadata) => {
            writable(root, metadata).unwrap_or_else(|| State::Sound("can be written".to_owned()))
        }
    }
}

fn state(path: &Path, mode: u32, root: &Metadata) -> State {
    let word = shell_word(&path.to_string_lossy());
    let metadata = match fs::symlink_metadata(path) {
        // The daemon makes what is missing when it starts.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return State::Sound("is made when the daemon starts".to_owned());
        }
        Err(error) => {
            return State::Fault(
                format!("cannot be looked at: {error}"),
                format!("chown -h {} {word}", owner(root)),
            );
        }
        Ok(metadata) if metadata.is_symlink() => return link(path),
        Ok(metadata) => metadata,
    };
    if !metadata.is_dir() {
        return not_a_directory(path);
    }
    if metadata.dev() != root.dev() {
        return State::Fault(
            // A file is claimed by a rename, which does not lead to another file system.
            "is on another file system than the spool".to_owned(),
            format!("umount {word}"),
        );
    }
    let open = metadata.mode() & 0o007;
    let tokens_stay =
        !matches!(path.file_name().and_then(|name| name.to_str()), Some("incoming" | "applied"));
    if open != 0 {
        let what = format!("is open to others ({})", mode_of(&metadata));
        let mend = format!("chmod {mode:04o} {word}");
        return if open & 0o002 != 0 || tokens_stay {
            State::Fault(what, mend)
        } else {
            State::Warning(what, mend)
        };
    }
    writable(path, root).unwrap_or_else(|| {
        // The bit that hands the group on says that the spool has a group of operators.
        if path.ends_with("rejected") && metadata.mode() & 0o2020 == 0o2000 {
            return State::Warning(
                format!("its group may neither move nor delete what lies there ({})", mode_of(&metadata)),
                format!("chmod g+w {word}"),
            );
        }
        State::Sound(mode_of(&metadata))
    })
}

fn not_a_directory(path: &Path) -> State {
    let word = shell_word(&path.to_string_lossy());
    State::Fault("is no directory".to_owned(), format!("mv {word} {word}.moved && mkdir {word}"))
}

fn writable(path: &Path, root: &Metadata) -> Option<State> {
    let all = AccessFlags::R_OK | AccessFlags::W_OK | AccessFlags::X_OK;
    access(path, all).err().map(|_| {
        let word = shell_word(&path.to_string_lossy());
        let user = nix::unistd::Uid::effective();
        let owner = if user.as_raw() == root.uid() { owner(root) } else { "relinkd:relinkd".to_owned() };
        State::Fault(
            format!("cannot be written by user {}", user_name(user.as_raw())),
            format!("chown -h {owner} {word} && chmod u+rwx {word}"),
        )
    })
}

fn inotify() -> State {
    match Inotify::init(InitFlags::IN_CLOEXEC) {
        Ok(_) => State::Sound("new files are reported by inotify".to_owned()),
        Err(error) => State::Warning(
            format!("new files are found at each rescan only: inotify is not available ({error})"),
            "sysctl -w fs.inotify.max_user_instances=1024".to_owned(),
        ),
    }
}

fn mode_of(metadata: &Metadata) -> String {
    format!("mode {:04o}", metadata.mode() & 0o7777)
}

/// The spool's owner, as chown(1) takes it.
fn owner(root: &Metadata) -> String {
    user_name(root.uid())
}
