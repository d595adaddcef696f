//! A cluster that follows another one, and takes over from it.

use super::cluster::{Cluster, SUPERUSER};
use super::session::Session;
use super::{Stop, wait_until};
use std::fs;
use std::process::Command;

impl Cluster {
    /// Throws away what this cluster holds, and lets it follow a primary from here on. Both are stopped for a moment.
    pub(crate) fn follow(&self, primary: &Self) {
        self.stop(Stop::Immediate);
        primary.stop(Stop::Fast);
        fs::remove_dir_all(self.data()).unwrap();
        let copied = Command::new("cp").arg("-a").arg(primary.data()).arg(self.data()).status().unwrap();
        assert!(copied.success(), "cp -a failed");
        let settings = self.data().join("postgresql.conf");
        // The last line counts.
        let text = format!(
            "{}unix_socket_directories = '{}'\nport = {}\n\
             primary_conninfo = 'host={} port={} user={SUPERUSER}'\n",
            fs::read_to_string(&settings).unwrap(),
            self.socket().display(),
            self.port(),
            primary.socket().display(),
            primary.port(),
        );
        fs::write(&settings, text).unwrap();
        fs::write(self.data().join("standby.signal"), "").unwrap();
        primary.resume();
        self.resume();
    }

    /// Waits until a standby has all that this primary has committed so far.
    pub(crate) fn wait_followed_by(&self, standby: &Self) {
        let ask = |cluster: &Self, sql: &str| {
            Session::connect(&cluster.target(SUPERUSER, "postgres")).unwrap().value(sql)
        };
        let end = ask(self, "select pg_current_wal_lsn()").unwrap();
        wait_until("the standby has it", || {
            let there = format!("select coalesce(pg_last_wal_replay_lsn() >= '{end}', false)");
            ask(standby, &there).as_deref() == Some("t")
        });
    }

    /// Makes a primary of this standby.
    pub(crate) fn promote(&self) {
        let admin = Session::connect(&self.target(SUPERUSER, "postgres")).unwrap();
        assert_eq!(admin.value("select pg_promote()").as_deref(), Some("t"));
    }
}
