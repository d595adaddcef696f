//! The directories: made as they should be, left as they are, counted.

use super::super::{Counts, Spool, SpoolError, counts};
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
