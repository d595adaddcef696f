//! Keeps helpdesk links in Postgres in step with the portal tokens of their users.
//!
//! The floors of the house, and which may know which, are in `docs/architecture.md`.

pub mod assignment;
pub mod backoff;
pub mod config;
pub mod envelope;
pub mod link;
pub mod place;
pub mod token;
