//! What a look takes, in which order, what it leaves for another look, and what it will not take.

use super::super::look::{Looks, Reason};
use super::super::{NotTaken, Scan};
use super::{Bench, ready};
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, SystemTime};

const SECOND: Duration = Duration::from_secs(1);
/// The kernel's clock for files ticks every 10 ms at the slowest.
const TICK: Duration = Duration::from_millis(12);

fn told(scan: &Scan) -> Vec<(&OsStr, Reason)> {
    let mut told: Vec<_> = scan.not_taken.iter().map(|n| (n.name.as_os_str(), n.reason)).collect();
    told.sort_by_key(|(name, _)| *name);
    told
}

#[test]
fn files_come_in_order_of_arrival_and_not_of_name_or_age() {
    let mut bench = Bench::new();
    for (name, age) in [("c.toml", 0), ("a.toml", 500), ("b.toml", 100)] {
        let file = File::create(bench.incoming(name)).unwrap();
        file.set_modified(SystemTime::now() - age * SECOND).unwrap();
        thread::sleep(TICK);
    }
    // Written first, but it arrives only now.
    fs::write(bench.outside("z"), "").unwrap();
    thread::sleep(TICK);
    fs::write(bench.incoming("y.toml"), "").unwrap();
    thread::sleep(TICK);
    fs::rename(bench.outside("z"), bench.incoming("0.toml")).unwrap();
    let scan = bench.settled_scan();
    assert_eq!(ready(&scan), ["c.toml", "a.toml", "b.toml", "y.toml", "0.toml"]);
}

#[test]
fn files_of_one_moment_come_in_order_of_name() {
    let mut bench = Bench::new();
    for number in (0..200).rev() {
        File::create(bench.incoming(format!("{number:03}.toml"))).unwrap();
    }
    let mut expected: Vec<(i64, i64, OsString)> = super::names(&bench.root().join("incoming"))
        .into_iter()
        .map(|name| {
            let metadata = fs::metadata(bench.incoming(&name)).unwrap();
            (metadata.ctime(), metadata.ctime_nsec(), name)
        })
        .collect();
    expected.sort();
    let scan = bench.settled_scan();
    assert_eq!(ready(&scan), expected.iter().map(|(_, _, name)| name.as_os_str()).collect::<Vec<_>>());
}

#[test]
fn names_decide_what_is_picked_up() {
    let mut bench = Bench::new();
    let longest = format!("{}.toml", "x".repeat(250));
    let latin = OsString::from_vec(b"\xe9t\xe9.toml".to_vec());
    let taken: HashSet<&OsStr> = ["a.toml", "b.json.toml", "ключ.toml", " .toml", "-rf.toml", &longest]
        .into_iter()
        .map(OsStr::new)
        .chain([latin.as_os_str()])
        .collect();
    let ignored = [".toml", ".a.toml", "a.tml", "a.TOML", "a.toml.tmp", "a.toml~", "toml", "atoml"];
    for name in taken.iter().copied().chain(ignored.map(OsStr::new)) {
        fs::write(bench.incoming(name), "").unwrap();
    }
    symlink("nowhere", bench.incoming(".hidden.toml")).unwrap();
    let scan = bench.settled_scan();
    assert_eq!(ready(&scan).into_iter().collect::<HashSet<_>>(), taken);
    assert_eq!(scan.not_taken, []);
}

#[test]
fn what_is_no_file_is_told_once_and_never_opened() {
    let bench = Bench::new();
    fs::write(bench.outside("target"), "").unwrap();
    symlink(bench.outside("target"), bench.incoming("link.toml")).unwrap();
    symlink("nowhere", bench.incoming("dangling.toml")).unwrap();
    fs::create_dir(bench.incoming("directory.toml")).unwrap();
    nix::unistd::mkfifo(&bench.incoming("fifo.toml"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let _socket = UnixListener::bind(bench.incoming("socket.toml")).unwrap();

    // A FIFO that nobody writes to blocks whoever opens it as a file: on a thread, so that the test could fail.
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bench = bench;
        let scans = (bench.settled_scan(), bench.settled_scan());
        sender.send((bench, scans)).unwrap();
    });
    let (mut bench, (first, second)) =
        receiver.recv_timeout(20 * SECOND).expect("the scan hangs on something it should not open");
    let expected = [
        ("dangling.toml", "symbolic link"),
        ("directory.toml", "directory"),
        ("fifo.toml", "FIFO"),
        ("link.toml", "symbolic link"),
        ("socket.toml", "socket"),
    ];
    assert_eq!(told(&first), expected.map(|(name, what)| (OsStr::new(name), Reason::NoFile(what))));
    assert_eq!((ready(&first), ready(&second)), (vec![], vec![]));
    assert_eq!(second.not_taken, []);
    // Another thing under the same name is news.
    fs::remove_file(bench.incoming("link.toml")).unwrap();
    fs::create_dir(bench.incoming("link.toml")).unwrap();
    let news = NotTaken { name: "link.toml".into(), reason: Reason::NoFile("directory") };
    assert_eq!(bench.settled_scan().not_taken, [news]);
}

#[test]
fn a_second_hard_link_is_given_two_seconds() {
    let mut bench = Bench::new();
    fs::write(bench.outside("draft"), "").unwrap();
    fs::hard_link(bench.outside("draft"), bench.incoming("a.toml")).unwrap();
    let now = SystemTime::now();
    let at_once = bench.spool.scan(now).unwrap();
    assert_eq!((ready(&at_once), told(&at_once)), (vec![], vec![]));
    assert_eq!(at_once.look_again_in, Some(2 * SECOND));
    let still = bench.spool.scan(now + SECOND).unwrap();
    assert_eq!(still.look_again_in, Some(SECOND));
    assert_eq!(still.not_taken, []);
    let late = bench.spool.scan(now + 2 * SECOND).unwrap();
    assert_eq!(told(&late), [(OsStr::new("a.toml"), Reason::HardLink)]);
    assert_eq!(bench.spool.scan(now + 3 * SECOND).unwrap().not_taken, []);
    fs::remove_file(bench.outside("draft")).unwrap();
    assert_eq!(ready(&bench.spool.scan(now + 4 * SECOND).unwrap()), ["a.toml"]);
}

#[test]
fn a_file_is_left_until_two_looks_show_the_same() {
    let mut bench = Bench::new();
    let path = bench.incoming("a.toml");
    let mut file = File::create(&path).unwrap();
    let mut now = SystemTime::now();
    let mut look = |bench: &mut Bench, after: Duration| {
        now += after;
        bench.spool.scan(now).unwrap()
    };
    assert_eq!(look(&mut bench, Duration::ZERO).look_again_in, Some(2 * SECOND));
    assert_eq!(look(&mut bench, SECOND).look_again_in, Some(SECOND));
    file.write_all(b"more").unwrap();
    assert_eq!(look(&mut bench, 3 * SECOND).look_again_in, Some(2 * SECOND), "another size");
    file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!(look(&mut bench, 3 * SECOND).look_again_in, Some(2 * SECOND), "another mtime");
    fs::write(bench.outside("other"), "more").unwrap();
    File::open(bench.outside("other")).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
    fs::rename(bench.outside("other"), &path).unwrap();
    assert_eq!(look(&mut bench, 3 * SECOND).look_again_in, Some(2 * SECOND), "another inode");
    let early = look(&mut bench, Duration::from_millis(1_999));
    assert_eq!(ready(&early), Vec::<&OsStr>::new());
    assert_eq!(ready(&look(&mut bench, Duration::from_millis(1))), ["a.toml"]);
}

#[test]
fn a_clock_that_goes_back_costs_two_seconds_and_not_for_ever() {
    let mut bench = Bench::new();
    fs::write(bench.incoming("a.toml"), "").unwrap();
    let now = SystemTime::now();
    bench.spool.scan(now + 10_000 * SECOND).unwrap();
    assert_eq!(bench.spool.scan(now).unwrap().look_again_in, Some(2 * SECOND));
    assert_eq!(ready(&bench.spool.scan(now + 2 * SECOND).unwrap()), ["a.toml"]);
}

/// Later files wait for an earlier one that only waits for its second look, and for none that is being written.
#[test]
fn a_waiting_file_is_not_overtaken_and_one_being_written_is() {
    let bench = Bench::new();
    let incoming = bench.root().join("incoming");
    let mut early = File::create(bench.incoming("early.toml")).unwrap();
    thread::sleep(TICK);
    fs::write(bench.incoming("late.toml"), "").unwrap();
    let closed = HashSet::from([OsString::from("late.toml")]);
    let mut looks = Looks::default();
    let now = SystemTime::now();
    assert_eq!(ready(&looks.scan(&incoming, now, &closed).unwrap()), Vec::<&OsStr>::new());
    let patient = looks.scan(&incoming, now + 2 * SECOND, &closed).unwrap();
    assert_eq!(ready(&patient), ["early.toml", "late.toml"]);

    early.write_all(b"more").unwrap();
    // The write moved its ctime: as if it had been there before, by a clock that stood still.
    let scan = looks.scan(&incoming, now + 3 * SECOND, &closed).unwrap();
    assert_eq!(ready(&scan), ["late.toml"]);
    assert_eq!(scan.look_again_in, Some(2 * SECOND));
}

#[test]
fn a_file_that_may_not_be_read_is_told_once_and_taken_when_it_may() {
    let mut bench = Bench::new();
    fs::set_permissions(bench.directory.path(), Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(bench.root().join("incoming"), Permissions::from_mode(0o755)).unwrap();
    let path = bench.incoming("secret.toml");
    fs::write(&path, "").unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o000)).unwrap();
    let as_nobody = |bench: &mut Bench| super::as_nobody(|| bench.settled_scan());
    let scan = as_nobody(&mut bench);
    assert_eq!(told(&scan), [(OsStr::new("secret.toml"), Reason::Unreadable)]);
    assert_eq!(ready(&scan), Vec::<&OsStr>::new());
    assert_eq!(as_nobody(&mut bench).not_taken, []);
    fs::set_permissions(&path, Permissions::from_mode(0o444)).unwrap();
    assert_eq!(ready(&as_nobody(&mut bench)), ["secret.toml"]);
}

#[test]
fn the_reasons_say_what_it_is() {
    assert_eq!(Reason::NoFile("FIFO").to_string(), "it is a FIFO, not a regular file");
    assert!(Reason::Unreadable.to_string().contains("chmod"));
    assert!(OsStr::from_bytes(b"\xff").to_str().is_none(), "the names above are not all UTF-8");
}
