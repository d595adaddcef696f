//! The directories: made as they should be, left as they are, counted, looked over.

use super::super::{Counts, Spool, SpoolError, State, counts, inspect};
use super::Bench;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use tempfile::TempDir;

fn mode(path: &std::path::Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn what_is_missing_is_made_and_what_is_there_keeps_its_mode() {
    let directory = TempDir::new().unwrap();
    let root = directory.path().join("spool");
    drop(Spool::open(&root).unwrap());
    for (name, wanted) in [("incoming", 0o3770), ("claimed", 0o700), ("applied", 0o750), ("rejected", 0o770)]
    {
        assert_eq!(mode(&root.join(name)), wanted, "{name}");
        fs::set_permissions(root.join(name), Permissions::from_mode(0o711)).unwrap();
    }
    drop(Spool::open(&root).unwrap());
    assert_eq!(mode(&root.join("rejected")), 0o711);
}

#[test]
fn a_spool_that_cannot_be_made_says_where() {
    let directory = TempDir::new().unwrap();
    let root = directory.path().join("no/such/parent");
    let Err(error) = Spool::open(&root) else { panic!("there is no parent") };
    assert!(error.to_string().starts_with(&root.display().to_string()), "{error}");
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(matches!(Spool::open(&file), Err(SpoolError::System { .. })));
}

#[test]
fn everything_is_counted_where_it_lies() {
    let mut bench = Bench::new();
    assert_eq!(counts(&bench.root()).unwrap(), Counts::default());
    for name in ["a.toml", "b.toml", ".hidden.toml", "note.txt"] {
        fs::write(bench.incoming(name), "").unwrap();
    }
    symlink("nowhere", bench.incoming("link.toml")).unwrap();
    fs::create_dir(bench.incoming("directory.toml")).unwrap();
    bench.claim("c.toml", "");
    for name in ["x.toml", "x.toml.reason", "x.toml.1", "x.toml.1.reason", "alone.toml"] {
        fs::write(bench.rejected(name), "").unwrap();
    }
    fs::write(bench.applied("y.toml.json"), "").unwrap();
    assert_eq!(counts(&bench.root()).unwrap(), Counts { waiting: 3, rejected: 3, not_taken: 2 });
}

#[test]
fn a_spool_that_is_not_there_holds_nothing() {
    let directory = TempDir::new().unwrap();
    assert_eq!(counts(&directory.path().join("spool")).unwrap(), Counts::default());
}

#[test]
fn a_sound_spool_is_called_sound_and_a_fault_has_a_command() {
    let bench = Bench::new();
    let findings = inspect(&bench.root());
    assert!(findings.iter().all(|finding| matches!(finding.state, State::Sound(_))), "{findings:?}");
    fs::set_permissions(bench.root().join("rejected"), Permissions::from_mode(0o755)).unwrap();
    fs::remove_dir(bench.root().join("applied")).unwrap();
    fs::write(bench.root().join("applied"), "").unwrap();
    let faults: Vec<_> = inspect(&bench.root())
        .into_iter()
        .filter_map(|finding| match finding.state {
            State::Fault(_, command) => Some((finding.path, command)),
            State::Sound(_) | State::Warning(..) => None,
        })
        .collect();
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert!(faults.iter().all(|(path, command)| command.contains(&path.display().to_string())), "{faults:?}");
}

/// Root may run `check` in a spool whose owner, or whoever has their rights, put links into it: nothing is followed, and
/// no command is printed that would touch what a link leads to.
#[test]
fn the_check_follows_no_link_in_the_spool() {
    for name in ["incoming", "claimed", "applied", "rejected"] {
        let bench = Bench::new();
        let (path, target) = (bench.root().join(name), bench.outside("target"));
        fs::remove_dir(&path).unwrap();
        fs::create_dir(&target).unwrap();
        fs::set_permissions(&target, Permissions::from_mode(0o777)).unwrap();
        symlink(&target, &path).unwrap();
        let findings = inspect(&bench.root());
        let found: Vec<_> = findings.iter().filter(|finding| finding.path == path).collect();
        let State::Fault(what, mend) = &found[0].state else { panic!("{found:?}") };
        assert!(what.contains("symbolic link"), "{what}");
        assert_eq!(*mend, format!("rm {}", path.display()));
    }
}

/// The root of a spool may be a link of root's own, and nobody else's.
#[test]
fn the_check_does_not_follow_a_link_of_somebody_elses_to_a_spool() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let bench = Bench::new();
    let link = bench.outside("link");
    symlink(bench.root(), &link).unwrap();
    assert_eq!(inspect(&link).len(), 6);
    std::os::unix::fs::lchown(&link, Some(65_534), None).unwrap();
    let findings = inspect(&link);
    assert!(matches!(&findings[..], [only] if matches!(&only.state, State::Fault(..))), "{findings:?}");
}

#[test]
fn the_check_says_where_the_group_cannot_clear_away_what_was_rejected() {
    let bench = Bench::new();
    fs::set_permissions(bench.root().join("rejected"), Permissions::from_mode(0o2750)).unwrap();
    let warned = inspect(&bench.root())
        .into_iter()
        .any(|finding| matches!(finding.state, State::Warning(_, mend) if mend.starts_with("chmod g+w ")));
    assert!(warned);
}

/// What keeps the spool from working is the disk's, and is told with what to do about it.
#[test]
fn an_error_names_the_place_and_the_mend() {
    for (errno, mend) in [
        (nix::errno::Errno::ENOSPC, "; free some space there"),
        (nix::errno::Errno::EROFS, "; mount it writable"),
        (nix::errno::Errno::EACCES, "; give it to the user that relinkd runs as (chown)"),
    ] {
        let error = SpoolError::System {
            path: "/spool/applied".into(),
            what: "cannot be written",
            source: errno.into(),
        };
        let said = error.to_string();
        assert!(said.starts_with("/spool/applied: cannot be written: ") && said.contains(mend), "{said}");
    }
}
