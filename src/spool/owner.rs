//! Which process owns a spool, without a try at its lock: that would keep a daemon that starts just then from it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

/// Clock ticks a second in `/proc` (proc(5)); Linux has shown no other number for decades.
const TICKS: u64 = 100;

/// The daemon that works on a spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner {
    /// Its process.
    pub pid: u32,
    /// For how long it has been running.
    pub uptime: Duration,
}

/// The daemon on this machine that holds the spool's lock; none where there is none, or none that can be seen.
pub(crate) fn owner(root: &Path) -> Option<Owner> {
    let inode = fs::metadata(root).ok()?.ino();
    let locks = fs::read_to_string("/proc/locks").ok()?;
    let pid = holders(&locks, inode).find(|pid| {
        // An inode's number is only its file system's; and a lock's device is not always the one that stat(2) tells.
        fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim_end() == "relinkd")
    })?;
    let since_boot = fs::read_to_string("/proc/uptime").ok()?;
    let since_boot: f64 = since_boot.split(' ').next()?.parse().ok()?;
    let started = started(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?;
    Some(Owner { pid, uptime: Duration::from_secs_f64(since_boot.max(0.0)).saturating_sub(started) })
}

/// The processes that hold a lock by flock(2) on this inode, of the lines of `/proc/locks`, as in
/// `1: FLOCK  ADVISORY  WRITE 812 08:01:1234 0 EOF`.
fn holders(locks: &str, inode: u64) -> impl Iterator<Item = u32> {
    locks.lines().filter_map(move |line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        // A process that waits for the lock stands in a line with `->`.
        let [_, "FLOCK", _, "WRITE", pid, place, ..] = fields[..] else { return None };
        let its = place.rsplit(':').next()?.parse::<u64>().ok()?;
        (its == inode).then(|| pid.parse().ok()).flatten()
    })
}

/// When a process started, since boot, of its `/proc/PID/stat`; the name in it may hold anything.
fn started(stat: &str) -> Option<Duration> {
    let ticks: u64 = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
    Some(Duration::from_millis(ticks.saturating_mul(1000 / TICKS)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_on_this_inode_is_found_and_no_other() {
        let locks = "1: POSIX  ADVISORY  WRITE 7 08:01:77 0 EOF\n2: FLOCK  ADVISORY  READ 8 08:01:77 0 EOF\n\
            3: FLOCK  ADVISORY  WRITE 9 08:01:78 0 EOF\n4: FLOCK  ADVISORY  WRITE 812 00:2a:77 0 EOF\n\
            4: -> FLOCK  ADVISORY  WRITE 10 00:2a:77 0 EOF\n";
        assert_eq!(holders(locks, 77).collect::<Vec<_>>(), [812]);
        assert_eq!(holders(locks, 79).count(), 0);
    }

    #[test]
    fn a_name_with_brackets_and_blanks_moves_no_field() {
        let stat = "812 (re) 1 (x) S 1 812 812 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 4 0 123456 1 2";
        assert_eq!(started(stat), Some(Duration::from_millis(1_234_560)));
    }
}
