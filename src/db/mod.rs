//! Everything that speaks to Postgres: connecting, listening, the schema, and one function a query.
//!
//! Knows nothing of files dropped or commands typed. Bind parameters always have a type, so that no statement has to be
//! prepared where a pooler may stand in between ([`params`], [`session`]). Queries name relinkd's own views; the names of
//! the bot's tables reach the server as values alone, and are quoted there.

/// A row as a struct whose fields are named as its columns.
macro_rules! from_row {
    ($row:ident, $of:ident { $($field:ident),* }) => {
        $of { $($field: $row.get(stringify!($field))),* }
    };
}

/// Kinds, each with the name that the database has for it.
macro_rules! named {
    ($(#[$of_meta:meta])* $of:ident { $($(#[$meta:meta])* $kind:ident = $name:literal,)* }) => {
        $(#[$of_meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum $of {
            $($(#[$meta])* $kind,)*
        }

        impl $of {
            /// As the database has it.
            pub(crate) fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)*
                }
            }
        }
    };
}

pub(crate) mod assigning;
pub(crate) mod changes;
pub(crate) mod connect;
mod cursor;
pub(crate) mod doorbell;
mod error;
pub(crate) mod findings;
pub(crate) mod fingerprints;
pub(crate) mod history;
pub(crate) mod issues;
pub(crate) mod low_water;
mod params;
pub(crate) mod presence;
pub(crate) mod retry;
pub(crate) mod roles;
pub(crate) mod schema;
pub(crate) mod session;
pub(crate) mod setup;
pub(crate) mod status;
mod text;
mod tls;
mod trips;
pub(crate) mod users;

pub(crate) use connect::Connector;
pub(crate) use cursor::Cursor;
pub(crate) use error::{DbError, NoConnection};
pub(crate) use session::{Session, Tx};

use std::time::Duration;

/// A number as the database has them, or the greatest there is.
fn as_i64(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

fn as_millis(pause: Duration) -> i64 {
    as_i64(pause.as_millis())
}
