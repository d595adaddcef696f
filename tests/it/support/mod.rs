//! What the behaviour tests stand on: a private Postgres cluster, a database per test with the bot's
//! tables, and a home (config, keyring, spool) to run the real binary in.
//!
//! Everything lives in one scratch directory per test process, which a guardian removes, servers and
//! daemons first, however that process ends.
#![allow(dead_code, reason = "a tool for every test; a test that needs one may come later than the tool")]
#![allow(unused_imports, reason = "likewise")]

pub(crate) mod cast;
pub(crate) mod cluster;
pub(crate) mod daemon;
pub(crate) mod database;
pub(crate) mod leaks;
pub(crate) mod pooler;
pub(crate) mod postgres;
pub(crate) mod proxy;
pub(crate) mod relinkd;
pub(crate) mod scratch;
pub(crate) mod session;
pub(crate) mod standby;

use std::thread::sleep;
use std::time::{Duration, Instant};

pub(crate) use cluster::{Cluster, ClusterOptions, Stop};
pub(crate) use daemon::Daemon;
pub(crate) use database::{Database, TokenColumn};
pub(crate) use leaks::assert_no_leak;
pub(crate) use relinkd::{Bench, Output};
pub(crate) use session::Session;

/// The portal of every test: `portal.base_url` in the config a [`Bench`] writes.
pub(crate) const BASE: &str = "https://yapomogu55.okdesk.ru";

/// How long a test waits for what must happen. Generous: it only costs where something is broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The link of a user without a token.
pub(crate) fn plain_link(issue: i64) -> String {
    format!("{BASE}/issues/{issue}")
}

/// The link of a user with this token (one that needs no percent-encoding).
pub(crate) fn login_link(token: &str, issue: i64) -> String {
    format!("{BASE}/login?token={token}&redirect=/issues/{issue}")
}

/// Looks until it holds, for at most [`PATIENCE`]; whether it came to hold. It looks often at first, and then every 20 ms:
/// what is looked at is mostly a query, and many tests wait at a time.
pub(crate) fn holds_soon(mut holds: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + PATIENCE;
    let mut pause = Duration::from_millis(2);
    loop {
        if holds() {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
        sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// Waits until it holds. [`Bench::wait_until`] does the same, and shows the daemons' logs when it does not.
pub(crate) fn wait_until(what: &str, holds: impl FnMut() -> bool) {
    assert!(holds_soon(holds), "not within {PATIENCE:?}: {what}");
}
