//! Throughput of the bot, driven by Postgres' own pgbench.

use crate::lab::Lab;
use crate::site::Plain;
use crate::support::cluster::BOT;
use crate::support::postgres::find_binaries;
use std::process::Command;

/// A load: one statement, by so many clients.
pub(crate) struct Load<'a> {
    /// pgbench's script.
    pub(crate) script: &'a str,
    pub(crate) clients: usize,
    /// Whether a commit waits for the disk; without, what the processor does shows.
    pub(crate) flushed: bool,
}

/// Transactions a second. The simple protocol, for so the bot's driver (psycopg2) speaks.
pub(crate) fn run(lab: &Lab, plain: &Plain, load: &Load) -> f64 {
    let script = plain.database.cluster().socket().join("pgbench.sql");
    std::fs::write(&script, load.script).unwrap();
    let mut pgbench = Command::new(find_binaries().join("pgbench"));
    pgbench.args(["--no-vacuum", "--protocol=simple"]).arg(format!("--time={}", lab.sizes.seconds));
    pgbench.arg(format!("--client={}", load.clients)).arg(format!("--jobs={}", load.clients.min(2)));
    pgbench.arg("--file").arg(&script).arg("--host").arg(lab.cluster.socket());
    pgbench.arg(format!("--port={}", lab.cluster.port())).arg(format!("--username={BOT}"));
    pgbench.arg(plain.database.name());
    pgbench.env("PGOPTIONS", format!("-c synchronous_commit={}", if load.flushed { "on" } else { "off" }));
    let output = pgbench.output().expect("pgbench is installed with Postgres");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "pgbench: {}", String::from_utf8_lossy(&output.stderr));
    let tps = text.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
    tps.unwrap_or_else(|| panic!("pgbench says no tps:\n{text}"))
}
