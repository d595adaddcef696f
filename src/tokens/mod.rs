//! Tokens as a whole: assignments into the column, every value sealed anew or opened for good, and counts of them all.

pub(crate) mod assign;
pub(crate) mod rekey;
mod stats;
pub(crate) mod unseal;

pub use stats::TokenStats;
