//! inotify and what it does not tell: files that are complete at once, directories that come and go, the owner.

use super::super::{Scan, Spool, SpoolError};
use super::{Bench, ready};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant, SystemTime};

/// How long an event is waited for. Generous: it only costs where something is broken.
const PATIENCE: Duration = Duration::from_secs(20);

fn watched() -> (Bench, Receiver<()>) {
    let mut bench = Bench::new();
    let (sender, receiver) = channel();
    bench.spool.watch(move || {
        let _ = sender.send(());
    });
    look(&mut bench);
    (bench, receiver)
}

/// Every look at the same moment: nothing is ready because time has passed.
fn look(bench: &mut Bench) -> Scan {
    bench.spool.scan(SystemTime::UNIX_EPOCH).unwrap()
}

/// Looks until what is missing has been made.
fn make_anew(bench: &mut Bench) {
    for now in [SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH + Duration::from_secs(2)] {
        bench.spool.scan(now).unwrap();
    }
}

/// Looks at each event until this file is ready.
#[track_caller]
fn wait_ready(bench: &mut Bench, bell: &Receiver<()>, name: &str) {
    while !ready(&look(bench)).contains(&OsStr::new(name)) {
        bell.recv_timeout(PATIENCE).expect("no event, and the file is not ready");
    }
}

#[test]
fn a_file_that_was_closed_or_moved_in_is_ready_at_once() {
    let (mut bench, bell) = watched();
    fs::write(bench.incoming("written.toml"), "x").unwrap();
    wait_ready(&mut bench, &bell, "written.toml");
    fs::write(bench.incoming(".draft"), "x").unwrap();
    fs::rename(bench.incoming(".draft"), bench.incoming("renamed.toml")).unwrap();
    wait_ready(&mut bench, &bell, "renamed.toml");
    fs::write(bench.outside("draft"), "x").unwrap();
    fs::rename(bench.outside("draft"), bench.incoming("moved.toml")).unwrap();
    wait_ready(&mut bench, &bell, "moved.toml");
}

#[test]
fn a_file_that_is_still_open_is_not_ready() {
    let (mut bench, bell) = watched();
    let mut file = File::create(bench.incoming("open.toml")).unwrap();
    file.write_all(b"half").unwrap();
    file.sync_all().unwrap();
    bell.recv_timeout(PATIENCE).unwrap();
    let scan = look(&mut bench);
    assert_eq!(ready(&scan), Vec::<&OsStr>::new());
    assert!(scan.look_again_in.is_some());
    drop(file);
    wait_ready(&mut bench, &bell, "open.toml");
}

/// That a file was closed is no word about the next one of its name.
#[test]
fn a_new_file_of_an_old_name_is_judged_anew() {
    let (mut bench, bell) = watched();
    for claimed in [false, true] {
        fs::write(bench.incoming("a.toml"), "x").unwrap();
        wait_ready(&mut bench, &bell, "a.toml");
        if claimed {
            // A close that is heard of only after the claim: what it was about is gone.
            drop(File::options().append(true).open(bench.incoming("a.toml")).unwrap());
            let arrival = look(&mut bench).ready.remove(0);
            bench.take(&arrival).unwrap();
        } else {
            fs::remove_file(bench.incoming("a.toml")).unwrap();
        }
        let open = File::create(bench.incoming("a.toml")).unwrap();
        while bell.recv_timeout(Duration::from_millis(200)).is_ok() {}
        assert_eq!(ready(&look(&mut bench)), Vec::<&OsStr>::new(), "claimed: {claimed}");
        drop(open);
        wait_ready(&mut bench, &bell, "a.toml");
        fs::remove_file(bench.incoming("a.toml")).unwrap();
    }
}

#[test]
fn looking_and_claiming_wake_nobody_for_ever() {
    let (mut bench, bell) = watched();
    fs::write(bench.incoming("a.toml"), "x").unwrap();
    wait_ready(&mut bench, &bell, "a.toml");
    // What is still on its way from the file's own events, and then no more of it.
    let quiet = Duration::from_millis(200);
    while bell.recv_timeout(quiet).is_ok() {}
    for _ in 0..3 {
        look(&mut bench);
        fs::read(bench.incoming("a.toml")).unwrap();
    }
    assert!(bell.recv_timeout(quiet).is_err(), "opening a file is an event that wakes");
}

#[test]
fn a_directory_that_was_replaced_is_watched() {
    let (mut bench, bell) = watched();
    let incoming = bench.root().join("incoming");
    for round in 0..3 {
        fs::rename(&incoming, bench.outside(&format!("aside-{round}"))).unwrap();
        fs::create_dir(&incoming).unwrap();
        look(&mut bench);
        while bell.try_recv().is_ok() {}
        let name = format!("{round}.toml");
        fs::write(bench.incoming(&name), "x").unwrap();
        wait_ready(&mut bench, &bell, &name);
        // The old place is nobody's business any more.
        fs::write(bench.outside(&format!("aside-{round}")).join("old.toml"), "x").unwrap();
        assert!(!ready(&look(&mut bench)).contains(&OsStr::new("old.toml")));
    }
}

/// An operator moves it aside and puts another in its place; one made in between would be in their way (`mkdir` fails,
/// `mv` moves into it).
#[test]
fn a_directory_that_is_gone_is_made_after_two_seconds() {
    for gone in ["incoming", ""] {
        let mut bench = Bench::new();
        let path = bench.root().join(gone);
        let now = SystemTime::now();
        fs::rename(&path, bench.outside("aside")).unwrap();
        let scan = bench.spool.scan(now).unwrap();
        assert_eq!(scan.look_again_in, Some(Duration::from_secs(2)), "{gone:?}");
        let scan = bench.spool.scan(now + Duration::from_millis(1_500)).unwrap();
        assert_eq!(scan.look_again_in, Some(Duration::from_millis(500)), "{gone:?}");
        assert!(!path.exists(), "{gone:?}");
        bench.spool.scan(now + Duration::from_secs(2)).unwrap();
        assert!(bench.incoming("").is_dir(), "{gone:?}");
        // The next time it is given two seconds again.
        fs::remove_dir_all(&path).unwrap();
        bench.spool.scan(now + Duration::from_secs(9)).unwrap();
        assert!(!path.exists(), "{gone:?}");
    }
}

/// The new directory may well get the inode of the old one.
#[test]
fn a_directory_that_was_removed_and_made_again_is_watched() {
    let (mut bench, bell) = watched();
    let incoming = bench.root().join("incoming");
    for round in 0..10 {
        fs::remove_dir_all(&incoming).unwrap();
        if round % 2 == 0 {
            fs::create_dir(&incoming).unwrap();
        } else {
            make_anew(&mut bench);
        }
        // The removal is an event, and is told when it is told: until then the dead watch is not known to be dead.
        let name = format!("{round}.toml");
        let deadline = Instant::now() + PATIENCE;
        while !ready(&look(&mut bench)).contains(&OsStr::new(&name)) {
            assert!(Instant::now() < deadline, "nobody hears of files in the new directory");
            fs::write(bench.incoming(&name), "x").unwrap();
            let _ = bell.recv_timeout(Duration::from_millis(50));
        }
    }
}

#[test]
fn a_spool_that_was_replaced_is_made_and_owned_anew() {
    let (mut bench, bell) = watched();
    fs::write(bench.incoming("old.toml"), "x").unwrap();
    wait_ready(&mut bench, &bell, "old.toml");
    fs::rename(bench.root(), bench.outside("aside")).unwrap();
    make_anew(&mut bench);
    assert_eq!(ready(&look(&mut bench)), Vec::<&OsStr>::new());
    assert!(matches!(Spool::open(&bench.root()), Err(SpoolError::Owned { .. })));
    assert!(Spool::open(&bench.outside("aside")).is_ok(), "the old one is free");
    fs::write(bench.incoming("new.toml"), "x").unwrap();
    wait_ready(&mut bench, &bell, "new.toml");
}

#[test]
fn a_spool_that_another_owns_is_refused_until_it_is_free() {
    let bench = Bench::new();
    for _ in 0..2 {
        assert!(
            matches!(Spool::open(&bench.root()), Err(SpoolError::Owned { path, .. }) if path == bench.root())
        );
    }
    let (root, Bench { directory, spool }) = (bench.root(), bench);
    drop(spool);
    assert!(Spool::open(&root).is_ok());
    drop(directory);
}

#[test]
fn a_replacement_that_another_owns_is_not_taken_over() {
    let mut bench = Bench::new();
    let other = Spool::open(&bench.outside("other")).unwrap();
    fs::rename(bench.root(), bench.outside("aside")).unwrap();
    fs::rename(bench.outside("other"), bench.root()).unwrap();
    fs::write(bench.incoming("a.toml"), "x").unwrap();
    assert!(matches!(bench.spool.scan(SystemTime::now()), Err(SpoolError::Owned { .. })));
    drop(other);
    assert_eq!(ready(&bench.settled_scan()), ["a.toml"]);
}
