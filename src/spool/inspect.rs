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
    fault("is a symbolic link, which relinkd does not follow", format!("rm {}", word(path)))
}

fn root_state(root: &Path, metadata: Option<&Metadata>) -> State {
    match metadata {
        None => fault("is missing", format!("install -d -o relinkd -g relinkd -m 0755 {}", word(root))),
        Some(metadata) if !metadata.is_dir() => not_a_directory(root),
        Some(metadata) if metadata.mode() & 0o022 != 0 && metadata.mode() & 0o1000 == 0 => {
            let what = format!("may be written by group or others ({})", mode_of(metadata));
            fault(what, format!("chmod go-w {}", word(root)))
        }
        Some(metadata) => {
            writable(root, metadata).unwrap_or_else(|| State::Sound("can be written".to_owned()))
        }
    }
}

fn state(path: &Path, mode: u32, root: &Metadata) -> State {
    let word = word(path);
    let metadata = match fs::symlink_metadata(path) {
        // The daemon makes what is missing when it starts.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return State::Sound("is made when the daemon starts".to_owned());
        }
        Err(error) => {
            let mend = format!("chown -h {} {word}", user_name(root.uid()));
            return fault(format!("cannot be looked at: {error}"), mend);
        }
        Ok(metadata) if metadata.is_symlink() => return link(path),
        Ok(metadata) if !metadata.is_dir() => return not_a_directory(path),
        Ok(metadata) => metadata,
    };
    if metadata.dev() != root.dev() {
        // A file is claimed by a rename, which does not lead to another file system.
        return fault("is on another file system than the spool", format!("umount {word}"));
    }
    let open = metadata.mode() & 0o007;
    if open != 0 {
        let tokens_stay = !(path.ends_with("incoming") || path.ends_with("applied"));
        let state = if open & 0o002 != 0 || tokens_stay { State::Fault } else { State::Warning };
        return state(
            format!("is open to others ({})", mode_of(&metadata)),
            format!("chmod {mode:04o} {word}"),
        );
    }
    writable(path, root).unwrap_or_else(|| {
        let shown = mode_of(&metadata);
        // The bit that hands the group on says that the spool has a group of operators.
        if path.ends_with("rejected") && metadata.mode() & 0o2020 == 0o2000 {
            let what = format!("its group may neither move nor delete what lies there ({shown})");
            return State::Warning(what, format!("chmod g+w {word}"));
        }
        State::Sound(shown)
    })
}

fn not_a_directory(path: &Path) -> State {
    let word = word(path);
    fault("is no directory", format!("mv {word} {word}.moved && mkdir {word}"))
}

fn writable(path: &Path, root: &Metadata) -> Option<State> {
    let all = AccessFlags::R_OK | AccessFlags::W_OK | AccessFlags::X_OK;
    access(path, all).err()?;
    let user = nix::unistd::Uid::effective().as_raw();
    let owner = if user == root.uid() { user_name(user) } else { "relinkd:relinkd".to_owned() };
    let mend = format!("chown -h {owner} {word} && chmod u+rwx {word}", word = word(path));
    Some(fault(format!("cannot be written by user {}", user_name(user)), mend))
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

fn fault(what: impl Into<String>, mend: String) -> State {
    State::Fault(what.into(), mend)
}

fn mode_of(metadata: &Metadata) -> String {
    format!("mode {:04o}", metadata.mode() & 0o7777)
}

fn word(path: &Path) -> String {
    shell_word(&path.to_string_lossy())
}
