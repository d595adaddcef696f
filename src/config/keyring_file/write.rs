//! Writing the keyring file: whole or not at all, over any crash, one writer at a time.
//!
//! The new content goes into a file beside the old one, is flushed, takes the old one's place in one step, and the
//! directory is flushed. A lock on the directory keeps two commands from losing each other's key.

use std::{
    fs::{self, File, Permissions},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown},
    path::{Path, PathBuf},
};

use nix::{
    fcntl::{Flock, FlockArg},
    unistd::{Group, Uid},
};

use super::{KeyringError, grammar, read, trust};
use crate::envelope::Keyring;

/// The group that the daemon runs in.
const GROUP: &str = "relinkd";

/// Who may use a file.
#[derive(Debug, Clone, Copy)]
struct Access {
    owner: Option<(u32, u32)>,
    mode: u32,
}

impl Access {
    /// What the daemon can read, and nobody else: `root:relinkd` 0640 where root makes it and there is the group, else 0600.
    fn for_daemon() -> Self {
        let group = Uid::effective().is_root().then(|| Group::from_name(GROUP).ok().flatten()).flatten();
        match group {
            Some(group) => Self { owner: Some((0, group.gid.as_raw())), mode: 0o640 },
            None => Self { owner: None, mode: 0o600 },
        }
    }
}

/// Makes the file, so that the daemon can read it. Never overwrites one.
///
/// # Errors
/// There is a file already, its directory is open to others, or the system refuses.
pub fn create(path: &Path, keyring: &Keyring) -> Result<(), KeyringError> {
    let path = &trust::settled(path)?;
    trust::directories(path)?;
    let _lock = lock(path)?;
    let draft = Draft::write(path, keyring, Access::for_daemon())?;
    // A link, since a rename would overwrite.
    fs::hard_link(&draft.path, path).map_err(|error| {
        if error.kind() == io::ErrorKind::AlreadyExists {
            return KeyringError::Present(path.clone());
        }
        KeyringError::system(path, "cannot be made")(error)
    })?;
    drop(draft);
    flush_directory(path)
}

/// Changes the file; owner and mode stay. What `change` refuses leaves it as it is.
///
/// # Errors
/// As [`super::load_keyring`], those of `change`, or the system refuses.
pub fn edit<E: From<KeyringError>>(
    path: &Path,
    accept_owner: Option<u32>,
    change: impl FnOnce(&Keyring) -> Result<Keyring, E>,
) -> Result<Keyring, E> {
    let path = &trust::settled(path)?;
    let _lock = lock(path)?;
    let (old, metadata) = read(path, accept_owner)?;
    let new = change(&old)?;
    let access = Access { owner: Some((metadata.uid(), metadata.gid())), mode: metadata.mode() & 0o777 };
    replace(path, &new, access)?;
    Ok(new)
}

fn replace(path: &Path, keyring: &Keyring, access: Access) -> Result<(), KeyringError> {
    let draft = Draft::write(path, keyring, access)?;
    fs::rename(&draft.path, path).map_err(KeyringError::system(path, "cannot be replaced"))?;
    flush_directory(path)
}

/// Waits until no other command works in the file's directory, and keeps them out while the result lives.
fn lock(path: &Path) -> Result<Flock<File>, KeyringError> {
    let directory =
        File::open(directory(path)).map_err(KeyringError::system(path, "its directory cannot be opened"))?;
    Flock::lock(directory, FlockArg::LockExclusive)
        .map_err(|(_, errno)| KeyringError::system(path, "its directory cannot be locked")(errno.into()))
}

fn flush_directory(path: &Path) -> Result<(), KeyringError> {
    File::open(directory(path))
        .and_then(|directory| directory.sync_all())
        .map_err(KeyringError::system(path, "its directory cannot be flushed"))
}

/// The directory of a settled path.
fn directory(path: &Path) -> &Path {
    path.parent().expect("a settled path is a directory's and a name")
}

/// The new content in a file of its own, which is gone when this is dropped (unless it was renamed).
struct Draft {
    path: PathBuf,
}

impl Draft {
    fn write(target: &Path, keyring: &Keyring, access: Access) -> Result<Self, KeyringError> {
        let name = target.file_name().expect("a settled path has a name").to_string_lossy();
        let path = directory(target).join(format!(".{name}.{}.tmp", std::process::id()));
        // The lock is ours: a draft of this name is what a command of the same id left when it was killed.
        let _ = fs::remove_file(&path);
        let failed = KeyringError::system(target, "cannot be written");
        let mut file =
            File::options().write(true).create_new(true).mode(0o600).open(&path).map_err(&failed)?;
        let draft = Self { path };
        let mut written = || -> io::Result<()> {
            if let Some((uid, gid)) = access.owner {
                let new = file.metadata()?;
                let (uid, gid) = ((new.uid() != uid).then_some(uid), (new.gid() != gid).then_some(gid));
                fchown(&file, uid, gid)?;
            }
            file.set_permissions(Permissions::from_mode(access.mode))?;
            file.write_all(grammar::write(keyring).as_bytes())?;
            file.sync_all()
        };
        written().map_err(&failed)?;
        Ok(draft)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Absent after a rename; else what is left of it is only in the way.
        let _ = fs::remove_file(&self.path);
    }
}
