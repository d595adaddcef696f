//! Parses, calls, reports.

fn main() {}
