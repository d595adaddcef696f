//! x
pub mod assignment;
pub mod backoff;
pub mod envelope;
pub mod link;
pub mod place;
pub mod token;
