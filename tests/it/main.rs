//! Behaviour tests: the real binary against a real Postgres, each test in a database of its own.
//!
//! One test binary, so that all of them share one private cluster. A missing Postgres fails them.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod bench;
mod changes;
mod checking;
mod documents;
mod doorbell_model;
mod dropping;
mod errors;
mod explaining;
mod giants;
mod house;
mod installing;
mod links;
mod manual;
mod rotation;
mod secrecy;
mod spooling;
mod story;
mod support;
mod terminal;
mod tokens;
