//! The name of a table: schema and table, as they stand in the database.
//!
//! Written `table` (of schema `public`) or `schema.table`. A name is taken as it is, like a column's: nothing is folded
//! to lower case. Quotes are needed around a name that holds a dot or a quote, and allowed around any.

use std::fmt;

use thiserror::Error;

/// The longest identifier, in bytes: Postgres' `NAMEDATALEN` less one.
const MAX_BYTES: usize = 63;

/// A table and its schema. It prints as SQL that names the table, quoted where that is needed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct QualifiedName {
    /// The schema.
    pub schema: String,
    /// The table.
    pub table: String,
}

impl QualifiedName {
    /// Reads `table` or `schema.table`.
    ///
    /// # Errors
    /// Too many parts, an open quote, or a part that cannot be a name.
    pub fn parse(text: &str) -> Result<Self, NameFault> {
        let (first, rest) = part(text)?;
        let name = match rest {
            None => Self { schema: "public".to_owned(), table: first },
            Some(rest) => match part(rest)? {
                (table, None) => Self { schema: first, table },
                (_, Some(_)) => return Err(NameFault::Parts),
            },
        };
        identifier(&name.schema)?;
        identifier(&name.table)?;
        Ok(name)
    }
}

/// The first part of `text`, and what follows its dot.
fn part(text: &str) -> Result<(String, Option<&str>), NameFault> {
    let Some(quoted) = text.strip_prefix('"') else {
        let (name, rest) = match text.split_once('.') {
            Some((name, rest)) => (name, Some(rest)),
            None => (text, None),
        };
        return if name.contains('"') || name.trim() != name {
            Err(NameFault::Quote)
        } else {
            Ok((name.to_owned(), rest))
        };
    };
    let mut name = String::new();
    let mut rest = quoted;
    loop {
        let (before, after) = rest.split_once('"').ok_or(NameFault::Quote)?;
        name.push_str(before);
        match after.strip_prefix('"') {
            Some(after) => {
                name.push('"');
                rest = after;
            }
            None if after.is_empty() => return Ok((name, None)),
            None => return Ok((name, Some(after.strip_prefix('.').ok_or(NameFault::Quote)?))),
        }
    }
}

/// Judges what shall name a schema, a table or a column.
///
/// # Errors
/// It is empty, longer than 63 bytes, or holds a control character.
pub(super) fn identifier(name: &str) -> Result<(), NameFault> {
    if name.is_empty() {
        return Err(NameFault::Empty);
    }
    if name.len() > MAX_BYTES {
        return Err(NameFault::TooLong);
    }
    if name.chars().any(char::is_control) {
        return Err(NameFault::Control);
    }
    Ok(())
}

impl fmt::Display for QualifiedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", Quoted(&self.schema), Quoted(&self.table))
    }
}

/// An identifier as SQL, with quotes where it could be read as anything else.
struct Quoted<'n>(&'n str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if self.0.bytes().all(plain) && !self.0.starts_with(|first: char| first.is_ascii_digit()) {
            f.write_str(self.0)
        } else {
            write!(f, "\"{}\"", self.0.replace('"', "\"\""))
        }
    }
}

/// Why a text names no table or column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NameFault {
    /// Nothing there.
    #[error("must not be empty, and neither may a part of it")]
    Empty,
    /// Beyond Postgres' limit.
    #[error("must not have a name longer than 63 bytes, Postgres' limit")]
    TooLong,
    /// A line end or the like.
    #[error("must not hold control characters")]
    Control,
    /// Three parts or more.
    #[error("must be `table` or `schema.table`; put a name that holds a dot in double quotes")]
    Parts,
    /// A quote out of place, or a blank at an end.
    #[error("must be `table` or `schema.table`; a name in double quotes has them around all of it")]
    Quote,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_tables_with_and_without_a_schema() {
        let cases = [
            ("users", "public", "users", "public.users"),
            ("bot.users", "bot", "users", "bot.users"),
            ("bot.Users", "bot", "Users", "bot.\"Users\""),
            (r#""My Schema"."Users""#, "My Schema", "Users", r#""My Schema"."Users""#),
            (r#""a.b".c"#, "a.b", "c", r#""a.b".c"#),
            (r#"a."b.c""#, "a", "b.c", r#"a."b.c""#),
            (r#""x""y""#, "public", "x\"y", r#"public."x""y""#),
            ("2024.users", "2024", "users", "\"2024\".users"),
            ("my-bot.таблица", "my-bot", "таблица", "\"my-bot\".\"таблица\""),
        ];
        for (text, schema, table, sql) in cases {
            let name = QualifiedName::parse(text).unwrap();
            assert_eq!((name.schema.as_str(), name.table.as_str()), (schema, table), "{text}");
            assert_eq!(name.to_string(), sql);
            assert_eq!(QualifiedName::parse(sql), Ok(name), "what it prints is what it reads");
        }
    }

    #[test]
    fn refuses_what_names_no_table() {
        let long = "x".repeat(64);
        let cases = [
            ("", NameFault::Empty),
            (".users", NameFault::Empty),
            ("public.", NameFault::Empty),
            ("\"\".users", NameFault::Empty),
            ("a.b.c", NameFault::Parts),
            ("\"a\".\"b\".\"c\"", NameFault::Parts),
            ("\"users", NameFault::Quote),
            ("us\"ers", NameFault::Quote),
            ("\"a\"b", NameFault::Quote),
            ("public. users", NameFault::Quote),
            ("users ", NameFault::Quote),
            ("a\tb", NameFault::Control),
            (&long, NameFault::TooLong),
        ];
        for (text, fault) in cases {
            assert_eq!(QualifiedName::parse(text), Err(fault), "{text:?}");
        }
        assert!(QualifiedName::parse(&"x".repeat(63)).is_ok());
    }
}
