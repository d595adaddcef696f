//! A spool's directories looked over, by the user that relinkd runs as. Changes nothing, and follows no symbolic link but
//! one of root's own in place of the whole spool: what a link leads to is not the spool's, and no command that is printed
//! here may touch it.

use super::{Group, Report, Severity};
use crate::keyring_file::shell_word;
use crate::process::user_name;
use crate::spool::DIRECTORIES;
use nix::sys::inotify::{InitFlags, Inotify};
use nix::unistd::{AccessFlags, access};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// How a directory is, in words; or what is to be said against it.
type State = Result<String, Objection>;

/// What should be otherwise, with the command that mends it, for a shell.
#[derive(Debug)]
struct Objection {
    severity: Severity,
    what: String,
    mend: String,
}

/// The spool, as this process sees it.
pub(crate) fn spool(report: &mut Report<'_>, directory: &Path) {
    report.group = Group::Spool;
    if fs::symlink_metadata(directory).is_ok_and(|it| !it.is_symlink() && !it.is_dir()) {
        let (what, mend) =
            (format!("{} is no directory (spool.directory)", directory.display()), report.edit());
        return report.fault(what, mend);
    }
    for (path, state) in look(directory) {
        let path = path.display();
        match state {
            Ok(how) => report.ok(format!("{path}: {how}")),
            Err(it) => report.add(it.severity, &format!("{path}: {}", it.what), Some(it.mend)),
        }
    }
}

/// Looks over the directories, and whether the system reports new files.
fn look(root: &Path) -> Vec<(PathBuf, State)> {
    if is_foreign_link(root) {
        return vec![(root.to_owned(), Err(link(root)))];
    }
    let owner = fs::metadata(root).ok();
    let mut found = vec![(root.to_owned(), root_state(root, owner.as_ref()))];
    let Some(owner) = owner.filter(Metadata::is_dir) else { return found };
    for (name, mode) in DIRECTORIES {
        let path = root.join(name);
        let state = state(&path, mode, &owner);
        found.push((path, state));
    }
    found.push((root.join("incoming"), inotify()));
    found
}

/// Whether this is a symbolic link that somebody else than root has made.
fn is_foreign_link(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|it| it.is_symlink() && it.uid() != 0)
}

/// A symbolic link. The daemon makes the directory that belongs there.
fn link(path: &Path) -> Objection {
    fault("is a symbolic link, which relinkd does not follow", format!("rm {}", word(path)))
}

fn root_state(root: &Path, metadata: Option<&Metadata>) -> State {
    match metadata {
        None => Err(fault("is missing", format!("install -d -o relinkd -g relinkd -m 0755 {}", word(root)))),
        Some(metadata) if !metadata.is_dir() => Err(not_a_directory(root)),
        Some(metadata) if metadata.mode() & 0o022 != 0 && metadata.mode() & 0o1000 == 0 => {
            let what = format!("may be written by group or others ({})", mode_of(metadata));
            Err(fault(what, format!("chmod go-w {}", word(root))))
        }
        Some(metadata) => writable(root, metadata).map(|()| "can be written".to_owned()),
    }
}

fn state(path: &Path, mode: u32, root: &Metadata) -> State {
    let word = word(path);
    let metadata = match fs::symlink_metadata(path) {
        // The daemon makes what is missing when it starts.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok("is made when the daemon starts".to_owned());
        }
        Err(error) => {
            let mend = format!("chown -h {} {word}", user_name(root.uid()));
            return Err(fault(format!("cannot be looked at: {error}"), mend));
        }
        Ok(metadata) if metadata.is_symlink() => return Err(link(path)),
        Ok(metadata) if !metadata.is_dir() => return Err(not_a_directory(path)),
        Ok(metadata) => metadata,
    };
    if metadata.dev() != root.dev() {
        // A file is claimed by a rename, which does not lead to another file system.
        return Err(fault("is on another file system than the spool", format!("umount {word}")));
    }
    let open = metadata.mode() & 0o007;
    if open != 0 {
        let tokens_stay = !(path.ends_with("incoming") || path.ends_with("applied"));
        let object = if open & 0o002 != 0 || tokens_stay { fault } else { warning };
        let what = format!("is open to others ({})", mode_of(&metadata));
        return Err(object(what, format!("chmod {mode:04o} {word}")));
    }
    writable(path, root)?;
    let shown = mode_of(&metadata);
    // The bit that hands the group on says that the spool has a group of operators.
    if path.ends_with("rejected") && metadata.mode() & 0o2020 == 0o2000 {
        let what = format!("its group may neither move nor delete what lies there ({shown})");
        return Err(warning(what, format!("chmod g+w {word}")));
    }
    Ok(shown)
}

fn not_a_directory(path: &Path) -> Objection {
    let word = word(path);
    fault("is no directory", format!("mv {word} {word}.moved && mkdir {word}"))
}

fn writable(path: &Path, root: &Metadata) -> Result<(), Objection> {
    if access(path, AccessFlags::R_OK | AccessFlags::W_OK | AccessFlags::X_OK).is_ok() {
        return Ok(());
    }
    let user = nix::unistd::Uid::effective().as_raw();
    let owner = if user == root.uid() { user_name(user) } else { "relinkd:relinkd".to_owned() };
    let mend = format!("chown -h {owner} {word} && chmod u+rwx {word}", word = word(path));
    Err(fault(format!("cannot be written by user {}", user_name(user)), mend))
}

fn inotify() -> State {
    match Inotify::init(InitFlags::IN_CLOEXEC) {
        Ok(_) => Ok("new files are reported by inotify".to_owned()),
        Err(error) => Err(warning(
            format!("new files are found at each rescan only: inotify is not available ({error})"),
            "sysctl -w fs.inotify.max_user_instances=1024".to_owned(),
        )),
    }
}

fn fault(what: impl Into<String>, mend: String) -> Objection {
    Objection { severity: Severity::Fault, what: what.into(), mend }
}

fn warning(what: impl Into<String>, mend: String) -> Objection {
    Objection { severity: Severity::Warning, what: what.into(), mend }
}

fn mode_of(metadata: &Metadata) -> String {
    format!("mode {:04o}", metadata.mode() & 0o7777)
}

fn word(path: &Path) -> String {
    shell_word(&path.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::Spool;
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use tempfile::TempDir;

    /// A spool as the daemon makes it, in a directory of its own.
    fn sound() -> (TempDir, PathBuf) {
        let directory = TempDir::new().unwrap();
        let root = directory.path().join("spool");
        drop(Spool::open(&root).unwrap());
        (directory, root)
    }

    #[test]
    fn a_sound_spool_is_called_sound_and_a_fault_has_a_command() {
        let (_directory, root) = sound();
        let findings = look(&root);
        assert!(findings.iter().all(|(_, state)| state.is_ok()), "{findings:?}");
        fs::set_permissions(root.join("rejected"), Permissions::from_mode(0o755)).unwrap();
        fs::remove_dir(root.join("applied")).unwrap();
        fs::write(root.join("applied"), "").unwrap();
        let faults: Vec<_> = look(&root)
            .into_iter()
            .filter_map(|(path, state)| {
                Some((path, state.err().filter(|it| it.severity == Severity::Fault)?))
            })
            .collect();
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert!(
            faults.iter().all(|(path, fault)| fault.mend.contains(&path.display().to_string())),
            "{faults:?}"
        );
    }

    /// Root may run `check` in a spool whose owner, or whoever has their rights, put links into it: nothing is followed, and
    /// no command is printed that would touch what a link leads to.
    #[test]
    fn the_check_follows_no_link_in_the_spool() {
        for name in ["incoming", "claimed", "applied", "rejected"] {
            let (directory, root) = sound();
            let (path, target) = (root.join(name), directory.path().join("target"));
            fs::remove_dir(&path).unwrap();
            fs::create_dir(&target).unwrap();
            fs::set_permissions(&target, Permissions::from_mode(0o777)).unwrap();
            symlink(&target, &path).unwrap();
            let findings = look(&root);
            let found = findings.iter().find(|(at, _)| *at == path);
            let Some((_, Err(fault))) = found else { panic!("{found:?}") };
            assert!(fault.severity == Severity::Fault && fault.what.contains("symbolic link"), "{fault:?}");
            assert_eq!(fault.mend, format!("rm {}", path.display()));
        }
    }

    /// The root of a spool may be a link of root's own, and nobody else's.
    #[test]
    fn the_check_does_not_follow_a_link_of_somebody_elses_to_a_spool() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let (directory, root) = sound();
        let link = directory.path().join("link");
        symlink(&root, &link).unwrap();
        assert_eq!(look(&link).len(), 6);
        std::os::unix::fs::lchown(&link, Some(65_534), None).unwrap();
        let findings = look(&link);
        assert!(
            matches!(&findings[..], [(_, Err(only))] if only.severity == Severity::Fault),
            "{findings:?}"
        );
    }

    #[test]
    fn the_check_says_where_the_group_cannot_clear_away_what_was_rejected() {
        let (_directory, root) = sound();
        fs::set_permissions(root.join("rejected"), Permissions::from_mode(0o2750)).unwrap();
        let warnings: Vec<_> = look(&root).into_iter().filter_map(|(_, state)| state.err()).collect();
        let only = |it: &Objection| it.severity == Severity::Warning && it.mend.starts_with("chmod g+w ");
        assert!(matches!(&warnings[..], [it] if only(it)), "{warnings:?}");
    }
}
