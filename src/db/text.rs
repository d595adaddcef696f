//! Text of the bot's, which may be anything.
//!
//! Of values longer than any that can be right only the length is looked at, or the head: one of hundreds of megabytes
//! must not hold up the others. In a database of encoding `SQL_ASCII` text may hold any bytes (Postgres manual, 24.3.1).

use std::error::Error;
use tokio_postgres::types::{FromSql, Type};

/// A link as it is read: none of more than 64 KiB, which is left alone like everything that is no link.
macro_rules! link_column {
    ($of:literal) => {
        concat!("case when octet_length(", $of, ".url::text) <= 65536 then ", $of, ".url::text end")
    };
}

/// A stored token as it is read: of a value that is far too long its head, which is as little a token.
macro_rules! token_column {
    ($of:literal) => {
        concat!(
            "case when octet_length(",
            $of,
            ".portal_token::text) <= 4096 then ",
            $of,
            ".portal_token::text else left(",
            $of,
            ".portal_token::text, 256) end"
        )
    };
}

pub(super) use link_column;
pub(super) use token_column;

/// Text in which a replacement character stands for bytes that are none: no token has one.
pub(super) struct Lossy(pub String);

impl<'a> FromSql<'a> for Lossy {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(String::from_utf8_lossy(raw).into_owned()))
    }

    fn accepts(of: &Type) -> bool {
        *of == Type::TEXT
    }
}
