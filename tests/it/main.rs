//! Behaviour tests: the real binary against a real Postgres, each test in a database of its own.
//!
//! One test binary, so that all of them share one private cluster. A missing Postgres fails them.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod advice;
mod bench;
mod changes;
mod checking;
mod defects;
mod documents;
mod dropping;
mod errors;
mod explaining;
mod failover;
mod foreign_text;
mod giants;
mod health;
mod history;
mod importing;
mod inherited;
mod installing;
mod layers;
mod limits;
mod links;
mod manual;
mod migrations;
mod monitoring;
mod operators;
mod poolers;
mod rotation;
mod secrecy;
mod soak;
mod spooling;
mod status;
mod story;
mod support;
mod takeovers;
mod terminal;
mod tokens;
