//! Tokens as a whole: assignments into the column, every value sealed anew or opened for good, and counts of them all.

pub(crate) mod assign;
pub(crate) mod reseal;
mod stats;

pub(crate) use stats::TokenStats;
