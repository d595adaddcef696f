//! Everything that speaks to Postgres: connecting, listening, the schema, and one function a query.
//!
//! Knows nothing of files dropped or commands typed. Bind parameters are always typed and statements unnamed, so that
//! the same code works behind a pooler; table names of the bot appear nowhere but in `sql/schema.sql`.

pub mod assigning;
pub mod connect;
pub mod doorbell;
mod error;
pub mod inspect;
pub mod marks;
pub mod presence;
pub mod roles;
pub mod schema;
pub mod session;
pub mod setup;
pub mod standing;
mod tls;
pub mod work;

pub use connect::Connector;
pub use error::DbError;
pub use session::{Session, Tx};
