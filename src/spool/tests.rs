//! The contract's rules for the spool, each on real files in a directory of its own.

mod claiming;
mod laying;
mod looking;
mod settling;
mod watching;

use super::{Claim, Content, Scan, Spool};
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
        self.spool.claim(&arrival.unwrap()).unwrap().unwrap()
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

    fn read(&self, claim: &Claim) -> String {
        match self.spool.read(claim, 1 << 20).unwrap() {
            Content::Bytes(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
            Content::TooLarge => panic!("too large"),
            Content::Gone => panic!("gone"),
            Content::NoFile => panic!("no file"),
        }
    }

    #[track_caller]
    fn assert_nothing_claimed(&self) {
        assert_eq!(names(&self.root().join("claimed")), Vec::<OsString>::new());
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
