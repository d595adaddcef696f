//! Writing the keyring file: whole or not at all, over any crash, one writer at a time.
//!
//! The new content goes into a file beside the old one, is flushed, takes the old one's place in one step, and the
//! directory is flushed. A lock on the directory keeps two commands from losing each other's key.

use super::{KeyringError, grammar, read, trust};
use crate::envelope::Keyring;
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::{Group, Uid};
use std::fs::{File, Metadata, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};
use std::path::Path;
use tempfile::NamedTempFile;

/// The group that the daemon runs in.
const GROUP: &str = "relinkd";

/// Who may use a file: owner, group and mode.
#[derive(Debug, Clone, Copy)]
struct Access {
    uid: u32,
    gid: u32,
    mode: u32,
}

impl Access {
    fn of(metadata: &Metadata) -> Self {
        Self { uid: metadata.uid(), gid: metadata.gid(), mode: metadata.mode() & 0o777 }
    }

    /// `root:relinkd` 0640, so that the daemon can read what root makes; none where that cannot be, for then it is 0600.
    fn for_daemon() -> Option<Self> {
        let group = Uid::effective().is_root().then(|| Group::from_name(GROUP).ok().flatten()).flatten()?;
        Some(Self { uid: 0, gid: group.gid.as_raw(), mode: 0o640 })
    }
}

/// Makes the file, so that the daemon can read it. Never overwrites one. `accept_owner` is as in [`super::load`].
pub(crate) fn create(path: &Path, keyring: &Keyring, accept_owner: Option<u32>) -> Result<(), KeyringError> {
    let path = &trust::settled(path)?;
    trust::directories(path, accept_owner)?;
    let directory = lock(path)?;
    draft(path, keyring, Access::for_daemon())?.persist_noclobber(path).map_err(|refused| {
        match refused.error.kind() {
            io::ErrorKind::AlreadyExists => KeyringError::Present(path.clone()),
            _ => KeyringError::system(path, "cannot be made")(refused.error),
        }
    })?;
    flush(path, &directory)
}

/// Changes the file; owner and mode stay. What `change` refuses leaves it as it is.
pub(crate) fn edit<E: From<KeyringError>>(
    path: &Path,
    accept_owner: Option<u32>,
    change: impl FnOnce(&Keyring) -> Result<Keyring, E>,
) -> Result<Keyring, E> {
    let path = &trust::settled(path)?;
    let directory = lock(path)?;
    let (old, metadata) = read(path, accept_owner)?;
    let new = change(&old)?;
    draft(path, &new, Some(Access::of(&metadata)))?
        .persist(path)
        .map_err(|refused| KeyringError::system(path, "cannot be replaced")(refused.error))?;
    flush(path, &directory)?;
    Ok(new)
}

/// Waits until no other command works in the file's directory, and keeps them out while the result lives.
fn lock(path: &Path) -> Result<Flock<File>, KeyringError> {
    let directory =
        File::open(directory(path)).map_err(KeyringError::system(path, "its directory cannot be opened"))?;
    Flock::lock(directory, FlockArg::LockExclusive)
        .map_err(|(_, errno)| KeyringError::system(path, "its directory cannot be locked")(errno.into()))
}

fn flush(path: &Path, directory: &File) -> Result<(), KeyringError> {
    directory.sync_all().map_err(KeyringError::system(path, "its directory cannot be flushed"))
}

/// The directory of a settled path.
fn directory(path: &Path) -> &Path {
    path.parent().expect("a settled path is a directory's and a name")
}

/// The new content, flushed, in a file of its own that is gone when this is dropped. Without `access` it is 0600.
fn draft(path: &Path, keyring: &Keyring, access: Option<Access>) -> Result<NamedTempFile, KeyringError> {
    let write = || -> io::Result<NamedTempFile> {
        let mut draft = tempfile::Builder::new().prefix(".keyring.").tempfile_in(directory(path))?;
        let file = draft.as_file_mut();
        if let Some(Access { uid, gid, mode }) = access {
            let new = file.metadata()?;
            fchown(&*file, (new.uid() != uid).then_some(uid), (new.gid() != gid).then_some(gid))?;
            file.set_permissions(Permissions::from_mode(mode))?;
        }
        file.write_all(grammar::write(keyring).as_bytes())?;
        file.sync_all()?;
        Ok(draft)
    };
    write().map_err(KeyringError::system(path, "cannot be written"))
}
