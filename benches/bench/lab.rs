//! What all rows share: one private cluster with Postgres' own settings, and the programs under test.

use crate::options::{Options, Sizes};
use crate::sql::Sql;
use crate::support::cluster::SUPERUSER;
use crate::support::{Cluster, ClusterOptions};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

/// A program under test.
pub(crate) struct Subject {
    pub(crate) name: &'static str,
    pub(crate) binary: PathBuf,
}

impl Subject {
    /// What it says of its version.
    pub(crate) fn version(&self) -> String {
        let output = Command::new(&self.binary).arg("--version").output();
        let output = output.unwrap_or_else(|error| panic!("{}: {error}", self.binary.display()));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

/// The cluster and the programs.
pub(crate) struct Lab {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) subjects: Vec<Subject>,
    pub(crate) sizes: Sizes,
    pub(crate) options: Options,
}

/// What is as the server has it by default, over the tests' own settings, which spare the disk.
const DEFAULTS: [(&str, &str); 3] =
    [("fsync", "on"), ("full_page_writes", "on"), ("shared_buffers", "128MB")];

/// Shown with every result, whether changed or not.
const SHOWN: [&str; 9] = [
    "autovacuum",
    "checkpoint_timeout",
    "fsync",
    "full_page_writes",
    "max_wal_size",
    "shared_buffers",
    "synchronous_commit",
    "track_commit_timestamp",
    "wal_level",
];

impl Lab {
    /// Starts the cluster. It is stopped and removed when the bench ends, however it ends.
    pub(crate) fn open(options: Options) -> Self {
        let mut cluster = ClusterOptions::default().tcp().setting("track_commit_timestamp", "on");
        for (name, value) in DEFAULTS {
            cluster = cluster.setting(name, value);
        }
        for setting in &options.setting {
            let (name, value) = setting.split_once('=').expect("--setting NAME=VALUE");
            cluster = cluster.setting(name, value);
        }
        let mut subjects = vec![subject("relinkd", &options.binary)];
        subjects.extend(options.baseline.as_ref().map(|path| subject("baseline", path)));
        Self { cluster: Cluster::start(&cluster), subjects, sizes: options.sizes(), options }
    }

    /// A session of the superuser's, in no database of the bot's.
    pub(crate) fn admin(&self) -> Sql {
        Sql::connect(&self.cluster.target(SUPERUSER, "postgres"))
    }

    /// The settings that matter and those that were asked for.
    pub(crate) fn settings(&self) -> BTreeMap<String, String> {
        let asked = self.options.setting.iter().filter_map(|setting| setting.split_once('='));
        let names = SHOWN.into_iter().chain(asked.map(|(name, _)| name));
        let admin = self.admin();
        names.map(|name| (name.to_owned(), admin.text(&format!("show {name}")))).collect()
    }

    /// Each round's number, told on the terminal.
    pub(crate) fn rounds(&self) -> impl Iterator<Item = usize> {
        let rounds = self.sizes.rounds;
        (1..=rounds).inspect(move |round| eprintln!("   round {round} of {rounds}"))
    }
}

fn subject(name: &'static str, binary: &std::path::Path) -> Subject {
    let binary = binary.canonicalize().unwrap_or_else(|error| panic!("{}: {error}", binary.display()));
    Subject { name, binary }
}
