//! Claims: a file of one's own, whole or not at all, and what an earlier run has left.

use super::super::{Content, SpoolError};
use super::{Bench, content, names, ready};
use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::{Duration, SystemTime};

#[test]
fn a_claim_moves_the_file_whatever_its_name() {
    let mut bench = Bench::new();
    let latin = OsString::from_vec(b"\xe9.toml".to_vec());
    let longest = OsString::from(format!("{}.toml", "x".repeat(250)));
    let mut ids = std::collections::HashSet::new();
    for name in [OsString::from("a.toml"), latin, longest, OsString::from("a.toml")] {
        let claim = bench.claim(&name, "content");
        assert_eq!(claim.name(), name);
        assert!(
            claim.id().len() == 32 && claim.id().bytes().all(|b| b.is_ascii_hexdigit()),
            "{}",
            claim.id()
        );
        assert!(!bench.incoming(&name).exists());
        assert_eq!(fs::read_to_string(bench.claimed(claim.id()).join(&name)).unwrap(), "content");
        assert_eq!(content(&claim), "content");
        assert!(ids.insert(claim.id().to_owned()), "an id is never the same twice");
    }
}

#[test]
fn a_file_that_is_gone_or_no_file_any_more_is_not_claimed() {
    let mut bench = Bench::new();
    fs::write(bench.incoming("a.toml"), "").unwrap();
    let arrival = bench.settled_scan().ready.remove(0);
    fs::remove_file(bench.incoming("a.toml")).unwrap();
    assert_eq!(bench.take(&arrival), None);
    bench.assert_nothing_claimed();

    fs::write(bench.outside("target"), "x").unwrap();
    symlink(bench.outside("target"), bench.incoming("a.toml")).unwrap();
    assert_eq!(bench.take(&arrival), None);
    assert!(bench.incoming("a.toml").is_symlink(), "it is back where it was");
    fs::remove_file(bench.incoming("a.toml")).unwrap();

    fs::hard_link(bench.outside("target"), bench.incoming("a.toml")).unwrap();
    assert_eq!(bench.take(&arrival), None);
    assert!(bench.incoming("a.toml").exists());
    bench.assert_nothing_claimed();
}

/// Files before it may take seconds; meanwhile somebody begins to write it anew.
#[test]
fn a_file_that_changed_since_the_look_is_not_claimed() {
    let mut bench = Bench::new();
    let path = bench.incoming("a.toml");
    let replaced = bench.outside("other");
    let changes: [(&str, &dyn Fn()); 3] = [
        ("written to", &|| fs::write(&path, "half").unwrap()),
        ("touched", &|| {
            File::options().write(true).open(&path).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
        }),
        ("replaced", &|| {
            fs::copy(&path, &replaced).unwrap();
            let modified = fs::metadata(&path).unwrap().modified().unwrap();
            File::options().write(true).open(&replaced).unwrap().set_modified(modified).unwrap();
            fs::rename(&replaced, &path).unwrap();
        }),
    ];
    for (what, change) in changes {
        fs::write(&path, "the whole file").unwrap();
        let arrival = bench.settled_scan().ready.remove(0);
        change();
        assert_eq!(bench.take(&arrival), None, "{what}");
        assert!(path.exists(), "{what}: it stays where it is");
        bench.assert_nothing_claimed();
    }
    assert_eq!(ready(&bench.settled_scan()), ["a.toml"], "and is looked at again");
}

#[test]
fn a_leftover_with_a_second_link_is_not_read() {
    let bench = Bench::new();
    let claim = bench.leftover(&[("a.toml", "x")]);
    fs::hard_link(bench.claimed(claim.id()).join("a.toml"), bench.outside("mine")).unwrap();
    assert!(matches!(claim.read(10).unwrap(), Content::NoFile));
    fs::remove_file(bench.outside("mine")).unwrap();
    assert_eq!(content(&claim), "x");
}

#[test]
fn a_file_is_read_whole_up_to_the_limit_and_a_byte_beyond_it() {
    let mut bench = Bench::new();
    let claim = bench.claim("a.toml", "123456");
    for (limit, read) in [(4, "12345"), (5, "123456"), (6, "123456"), (7, "123456")] {
        let Content::Bytes { bytes, .. } = claim.read(limit).unwrap() else { panic!("it is there") };
        assert_eq!(**bytes, *read.as_bytes(), "limit {limit}");
    }
    let empty = bench.claim("b.toml", "");
    assert_eq!(content(&empty), "");
}

/// Whatever became of a claim since, and whatever the clock said.
#[test]
fn leftovers_come_in_the_order_of_their_claims() {
    let mut bench = Bench::new();
    for name in ["c.toml", "a.toml", "b.toml"] {
        bench.claim(name, "");
    }
    fs::write(bench.claimed("stray"), "").unwrap();
    let first = bench.spool.leftovers().unwrap().remove(0);
    // A reason was being written when the run died, and a clock went wrong.
    fs::write(bench.claimed(first.id()).join("c.toml.reason"), "").unwrap();
    let then = SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000);
    File::open(bench.claimed(first.id())).unwrap().set_modified(then).unwrap();
    let order = |bench: &Bench| {
        let leftovers = bench.spool.leftovers().unwrap();
        leftovers.iter().map(|claim| claim.name().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(order(&bench), ["c.toml", "a.toml", "b.toml"]);

    // The next run goes on behind them, though its clock is before theirs.
    let ahead = bench.claimed("efffffffffffffff0000000000000000");
    fs::create_dir(&ahead).unwrap();
    fs::write(ahead.join("ahead.toml"), "").unwrap();
    order(&bench);
    bench.claim("d.toml", "");
    assert_eq!(order(&bench), ["c.toml", "a.toml", "b.toml", "ahead.toml", "d.toml"]);
}

#[test]
fn files_that_are_claimed_together_keep_their_order() {
    let mut bench = Bench::new();
    for number in 0..100 {
        File::create(bench.incoming(format!("{number:03}.toml"))).unwrap();
    }
    let found = bench.settled_scan().ready;
    // One has gone meanwhile, one is being written again.
    fs::remove_file(bench.incoming("050.toml")).unwrap();
    fs::write(bench.incoming("070.toml"), "half").unwrap();
    let taken = bench.spool.claim(&found).unwrap().taken;
    let expected: Vec<_> = found
        .iter()
        .map(|arrival| arrival.name.clone())
        .filter(|name| name != "050.toml" && name != "070.toml")
        .collect();
    assert_eq!(taken.iter().map(|claim| claim.name().to_owned()).collect::<Vec<_>>(), expected);
    assert_eq!(bench.spool.leftovers().unwrap(), taken);
    assert_eq!(names(&bench.root().join("incoming")), ["070.toml"]);
}

/// `chmod 0` through a descriptor that was opened before the claim.
#[test]
fn a_claimed_file_that_lost_its_mode_is_its_own_trouble() {
    let mut bench = Bench::new();
    let claim = bench.claim("a.toml", "x");
    for path in [bench.directory.path().to_owned(), bench.root().join("claimed"), bench.claimed(claim.id())] {
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    }
    let path = bench.claimed(claim.id()).join("a.toml");
    fs::set_permissions(&path, Permissions::from_mode(0o000)).unwrap();
    let read = super::as_nobody(|| claim.read(10));
    assert!(
        matches!(&read, Ok(Content::Unreadable(error)) if error.kind() == std::io::ErrorKind::PermissionDenied)
    );
    fs::set_permissions(&path, Permissions::from_mode(0o444)).unwrap();
    assert!(matches!(super::as_nobody(|| claim.read(10)), Ok(Content::Bytes { .. })));
}

#[test]
fn a_claimed_file_under_a_write_lease_is_its_own_trouble_and_is_not_waited_for() {
    let mut bench = Bench::new();
    let claim = bench.claim("a.toml", "x");
    let lease = super::Lease::on(&bench.claimed(claim.id()).join("a.toml"));
    let read = claim.read(10).unwrap();
    assert!(matches!(&read, Content::Unreadable(error) if error.kind() == std::io::ErrorKind::WouldBlock));
    // The file moves to rejected/ without being opened.
    bench.spool.settle_rejected(&claim, "1:1: no").unwrap();
    assert!(bench.rejected("a.toml").exists());
    drop(lease);
}

#[test]
fn a_file_that_grows_after_it_was_claimed_is_not_taken_half() {
    let mut bench = Bench::new();
    let claim = bench.claim("a.toml", "12345");
    let Content::Bytes { owner, .. } = claim.read(10).unwrap() else { panic!("it is there") };
    assert_eq!(owner, nix::unistd::geteuid().as_raw());
    fs::write(bench.claimed(claim.id()).join("a.toml"), "123456").unwrap();
    assert_eq!(content(&claim), "123456");
}

/// A run died between the move and the look at what it had moved; somebody had swapped the file for something else.
#[test]
fn a_leftover_that_is_no_file_is_put_back_and_holds_nothing_up() {
    let bench = Bench::new();
    fs::write(bench.outside("target"), "x").unwrap();
    for (id, name) in [("aa", "link.toml"), ("bb", "fifo.toml"), ("cc", "directory.toml")] {
        fs::create_dir(bench.claimed(id)).unwrap();
        let path = bench.claimed(id).join(name);
        match id {
            "aa" => symlink(bench.outside("target"), path).unwrap(),
            "bb" => nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap(),
            _ => fs::create_dir(path).unwrap(),
        }
    }
    // One of the names is taken again by now: nothing is overwritten, and what is put back is still seen.
    fs::write(bench.incoming("link.toml"), "mine").unwrap();
    for claim in bench.spool.leftovers().unwrap() {
        assert!(matches!(claim.read(10).unwrap(), Content::NoFile), "{claim:?}");
        bench.spool.put_back(&claim).unwrap();
    }
    bench.assert_nothing_claimed();
    assert_eq!(
        names(&bench.root().join("incoming")),
        ["directory.toml", "fifo.toml", "link.1.toml", "link.toml"]
    );
    assert_eq!(fs::read_to_string(bench.incoming("link.toml")).unwrap(), "mine");
    assert!(bench.incoming("link.1.toml").is_symlink());
}

#[test]
fn a_claim_whose_file_is_gone_says_so() {
    let mut bench = Bench::new();
    let claim = bench.claim("a.toml", "");
    fs::remove_file(bench.claimed(claim.id()).join("a.toml")).unwrap();
    assert!(matches!(claim.read(10).unwrap(), Content::Gone));
    let empty = bench.spool.leftovers().unwrap().remove(0);
    assert_eq!(empty.name(), "");
    assert!(matches!(empty.read(10).unwrap(), Content::Gone));
}

/// Whoever makes such a link says where relinkd writes.
#[test]
fn a_directory_of_the_spool_that_is_a_symbolic_link_is_refused() {
    for name in ["incoming", "claimed", "applied", "rejected"] {
        let mut bench = Bench::new();
        let path = bench.root().join(name);
        fs::remove_dir(&path).unwrap();
        fs::create_dir(bench.outside("target")).unwrap();
        symlink(bench.outside("target"), &path).unwrap();
        let refused = bench.spool.scan(SystemTime::now()).unwrap_err();
        assert!(matches!(&refused, SpoolError::Link(at) if *at == path), "{name}: {refused}");
    }
}
