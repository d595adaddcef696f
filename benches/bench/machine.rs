//! The machine that figures belong to.

use crate::lab::Lab;
use serde::{Deserialize, Serialize};
use std::fs;
use std::process::Command;

/// What a reader needs to know of the machine.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) memory_mib: u64,
    pub(crate) kernel: String,
    pub(crate) file_system: String,
    pub(crate) postgres: String,
    pub(crate) date: String,
    /// The load average of the last minute at the start: what else was running.
    pub(crate) load_before: String,
}

impl Machine {
    pub(crate) fn here(lab: &Lab) -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let line = |text: &str, name: &str| {
            let found = text.lines().find(|line| line.starts_with(name));
            found.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned())
        };
        let memory = line(&read("/proc/meminfo"), "MemTotal").unwrap_or_default();
        let memory: u64 = memory.trim_end_matches(" kB").parse().unwrap_or(0);
        let file_system = Command::new("stat").args(["-f", "-c", "%T"]).arg(lab.cluster.socket()).output();
        Self {
            cpu: line(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| "unknown".to_owned()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_mib: memory / 1024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            file_system: String::from_utf8_lossy(&file_system.unwrap().stdout).trim().to_owned(),
            postgres: lab.admin().text("show server_version"),
            date: lab.admin().text("select (now() at time zone 'UTC')::date"),
            load_before: read("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned(),
        }
    }
}
