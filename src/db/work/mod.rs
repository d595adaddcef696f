//! The queries of the relinker: what is due, whose it is, and the guarded writes.
//!
//! One function a query, each over a transaction that its caller opened. All of them go through the views of schema
//! `relinkd`; none waits for a row or a user that somebody else holds.

mod changes;
mod issues;
mod users;

pub use changes::{
    Change, Picked, Walk, append_changes, changes_of, defer_changes, forget_changes, forget_walks,
    is_waiting, next_due, pick_changes, pick_walks, put_walks, set_aside, walks_of,
};
pub use issues::{IssueRow, Rewrite, issues, issues_after, issues_of, write_links};
pub use users::{
    Sealing, UserRow, count_with_prefix, everyone, seal, token_limit, try_users, unseal, users, users_after,
    users_with_value_after,
};
