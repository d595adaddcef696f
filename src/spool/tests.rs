//! The contract's rules for the spool, each on real files in a directory of its own.

mod claiming;
mod laying;
mod looking;
pub(crate) mod recording;
mod settling;
mod watching;

use super::{Arrival, Claim, Content, Scan, Spool};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

/// A spool in a directory of its own.
struct Bench {
    directory: TempDir,
    spool: Spool,
}

impl Bench {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let spool = Spool::open(&directory.path().join("spool")).unwrap();
        Self { directory, spool }
    }

    /// A place outside the spool, on the same file system.
    fn outside(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn root(&self) -> PathBuf {
        self.outside("spool")
    }

    fn incoming(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.root().join("incoming").join(name.as_ref())
    }

    fn claimed(&self, name: &str) -> PathBuf {
        self.root().join("claimed").join(name)
    }

    fn applied(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.root().join("applied").join(name.as_ref())
    }

    fn rejected(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.root().join("rejected").join(name.as_ref())
    }

    /// Two looks so far apart that nothing counts as being written any more.
    fn settled_scan(&mut self) -> Scan {
        let now = SystemTime::now();
        let first = self.spool.scan(now).unwrap();
        let mut second = self.spool.scan(now + Duration::from_secs(3)).unwrap();
        second.not_taken.splice(..0, first.not_taken);
        second
    }

    /// Drops a file and claims it.
    fn claim(&mut self, name: impl AsRef<OsStr>, content: &str) -> Claim {
        fs::write(self.incoming(&name), content).unwrap();
        let arrival = self.settled_scan().ready.into_iter().find(|arrival| arrival.name == name.as_ref());
        self.take(&arrival.unwrap()).unwrap()
    }

    /// Claims a file that was found.
    fn take(&mut self, arrival: &Arrival) -> Option<Claim> {
        let mut claims = self.spool.claim(std::slice::from_ref(arrival)).unwrap();
        assert_eq!(claims.not_taken, []);
        claims.taken.pop()
    }

    /// Constructs what a run that died has left of a claim.
    fn leftover(&self, files: &[(&str, &str)]) -> Claim {
        let directory = self.claimed("00112233445566778899aabbccddeeff");
        fs::create_dir(&directory).unwrap();
        for (name, content) in files {
            fs::write(directory.join(name), content).unwrap();
        }
        let mut leftovers = self.spool.leftovers().unwrap();
        assert_eq!(leftovers.len(), 1);
        leftovers.remove(0)
    }

    #[track_caller]
    fn assert_nothing_claimed(&self) {
        assert_eq!(names(&self.root().join("claimed")), Vec::<OsString>::new());
    }
}

/// What a claimed file says.
fn content(claim: &Claim) -> String {
    match claim.read(1 << 20).unwrap() {
        Content::Bytes { bytes, .. } => String::from_utf8(bytes.to_vec()).unwrap(),
        Content::Gone => panic!("gone"),
        Content::NoFile => panic!("no file"),
        Content::Unreadable(error) => panic!("unreadable: {error}"),
    }
}

/// The names of what is in a directory, sorted.
fn names(directory: &Path) -> Vec<OsString> {
    let mut names: Vec<OsString> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names
}

fn ready(scan: &Scan) -> Vec<&OsStr> {
    scan.ready.iter().map(|arrival| arrival.name.as_os_str()).collect()
}

/// Does it with the rights of a user who is not root: root may read everything (setfsuid(2) is for one thread).
fn as_nobody<T: Send>(act: impl FnOnce() -> T + Send) -> T {
    let nobody = nix::unistd::Uid::from_raw(65_534);
    let is_root = nix::unistd::Uid::effective().is_root();
    std::thread::scope(|scope| {
        let acting = scope.spawn(|| {
            if is_root {
                nix::unistd::setfsuid(nobody);
                assert_eq!(nix::unistd::setfsuid(nobody), nobody, "the thread has nobody's rights");
            }
            act()
        });
        acting.join().unwrap()
    })
}

/// A process that holds a write lease on a file (`F_SETLEASE`, fcntl(2)) and does not give it up, until it is dropped.
struct Lease(std::process::Child);

impl Lease {
    fn on(path: &Path) -> Self {
        // 1024 is F_SETLEASE, 1 is F_WRLCK: Perl's Fcntl has no names for them.
        let script = r#"$SIG{IO} = "IGNORE"; open(my $f, "+<", $ARGV[0]) or die; fcntl($f, 1024, 1) or die "no lease: $!";
            $| = 1; print "held\n"; sleep 600"#;
        let mut child = std::process::Command::new("perl")
            .args(["-e", script])
            .arg(path)
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut said)
            .unwrap();
        assert_eq!(said, "held\n");
        Self(child)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}
