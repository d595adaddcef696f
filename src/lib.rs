//! Keeps helpdesk links in Postgres in step with the portal tokens of their users.
//!
//! The floors of the house, and which may know which, are in `docs/architecture.md`.

pub mod assign;
pub mod assignment;
pub mod audit;
pub mod backoff;
pub mod check;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod db;
pub mod envelope;
pub mod forecast;
pub mod intake;
pub mod link;
pub mod place;
pub mod policy;
pub mod process;
pub mod rekey;
pub mod relinker;
pub mod spool;
pub mod survey;
pub mod systemd;
pub mod telemetry;
pub mod token;
pub mod unseal;
