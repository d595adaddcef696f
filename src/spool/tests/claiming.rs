//! Claims: a file of one's own, whole or not at all, and what an earlier run has left.

use super::super::{Claim, Content, SpoolError};
use super::{Bench, names, ready};
use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::symlink;
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
        assert_eq!(bench.read(&claim), "content");
        assert!(ids.insert(claim.id().to_owned()), "an id is never the same twice");
    }
}

#[test]
fn a_file_that_is_gone_or_no_file_any_more_is_not_claimed() {
    let mut bench = Bench::new();
    fs::write(bench.incoming("a.toml"), "").unwrap();
    let arrival = bench.settled_scan().ready.remove(0);
    fs::remove_file(bench.incoming("a.toml")).unwrap();
    assert_eq!(bench.spool.claim(&arrival).unwrap(), None);
    bench.assert_nothing_claimed();

    fs::write(bench.outside("target"), "x").unwrap();
    symlink(bench.outside("target"), bench.incoming("a.toml")).unwrap();
    assert_eq!(bench.spool.claim(&arrival).unwrap(), None);
    assert!(bench.incoming("a.toml").is_symlink(), "it is back where it was");
    fs::remove_file(bench.incoming("a.toml")).unwrap();

    fs::hard_link(bench.outside("target"), bench.incoming("a.toml")).unwrap();
    assert_eq!(bench.spool.claim(&arrival).unwrap(), None);
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
        assert_eq!(bench.spool.claim(&arrival).unwrap(), None, "{what}");
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
    assert!(matches!(bench.spool.read(&claim, 10).unwrap(), Content::NoFile));
    fs::remove_file(bench.outside("mine")).unwrap();
    assert_eq!(bench.read(&claim), "x");
}

#[test]
fn a_file_is_read_whole_up_to_the_limit() {
    let mut bench = Bench::new();
    let claim = bench.claim("a.toml", "12345");
    for (limit, fits) in [(4, false), (5, true), (6, true)] {
        match bench.spool.read(&claim, limit).unwrap() {
            Content::Bytes(bytes) => assert!(fits && **bytes == *b"12345", "limit {limit}"),
            Content::TooLarge => assert!(!fits, "limit {limit}"),
            Content::Gone | Content::NoFile => panic!("it is there"),
        }
    }
    let empty = bench.claim("b.toml", "");
    assert_eq!(bench.read(&empty), "");
}

#[test]
fn leftovers_come_oldest_first() {
    let bench = Bench::new();
    for (id, age) in [("bb", 10), ("aa", 20), ("dd", 30), ("cc", 10)] {
        fs::create_dir(bench.claimed(id)).unwrap();
        fs::write(bench.claimed(id).join(format!("{id}.toml")), "").unwrap();
        let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 - age);
        File::open(bench.claimed(id)).unwrap().set_modified(then).unwrap();
    }
    fs::write(bench.claimed("stray"), "").unwrap();
    let leftovers = bench.spool.leftovers().unwrap();
    assert_eq!(leftovers.iter().map(Claim::id).collect::<Vec<_>>(), ["dd", "aa", "bb", "cc"]);
    assert_eq!(leftovers[0].name(), "dd.toml");
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
        assert!(matches!(bench.spool.read(&claim, 10).unwrap(), Content::NoFile), "{claim:?}");
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
    assert!(matches!(bench.spool.read(&claim, 10).unwrap(), Content::Gone));
    let empty = bench.spool.leftovers().unwrap().remove(0);
    assert_eq!(empty.name(), "");
    assert!(matches!(bench.spool.read(&empty, 10).unwrap(), Content::Gone));
}

#[test]
fn a_spool_on_two_file_systems_is_refused() {
    for name in ["incoming", "claimed", "applied", "rejected"] {
        let mut bench = Bench::new();
        let path = bench.root().join(name);
        fs::remove_dir(&path).unwrap();
        symlink("/proc", &path).unwrap();
        let refused = bench.spool.scan(SystemTime::now()).unwrap_err();
        assert!(matches!(&refused, SpoolError::OtherFileSystem(at) if *at == path), "{name}: {refused}");
    }
}
