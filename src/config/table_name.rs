//! The name of a table: schema and table, as they stand in the database.
//!
//! Written `table` (of schema `public`) or `schema.table`. A name is taken as it is, like a column's: nothing is folded
//! to lower case. Quotes are needed around a name that holds a dot or a quote, and allowed around any.

use std::fmt;

/// The longest identifier, in bytes: Postgres' `NAMEDATALEN` less one.
const MAX_BYTES: usize = 63;
const PARTS: &str = "must be `table` or `schema.table`; put a name that holds a dot in double quotes";
const QUOTE: &str = "must be `table` or `schema.table`; a name in double quotes has them around all of it";

/// A table and its schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct QualifiedName {
    pub schema: String,
    pub table: String,
}

impl QualifiedName {
    pub(super) fn public(table: &str) -> Self {
        Self { schema: "public".to_owned(), table: table.to_owned() }
    }

    /// Reads `table` or `schema.table`.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let name = match part(text)? {
            (table, None) => Self::public(&table),
            (schema, Some(rest)) => match part(rest)? {
                (table, None) => Self { schema, table },
                (_, Some(_)) => return Err(PARTS),
            },
        };
        identifier(&name.schema).and(identifier(&name.table)).and(Ok(name))
    }
}

/// The first part of `text`, and what follows its dot.
fn part(text: &str) -> Result<(String, Option<&str>), &'static str> {
    let Some(mut rest) = text.strip_prefix('"') else {
        let (name, rest) = text.split_once('.').map_or((text, None), |(name, rest)| (name, Some(rest)));
        let plain = !name.contains('"') && name.trim() == name;
        return if plain { Ok((name.to_owned(), rest)) } else { Err(QUOTE) };
    };
    let mut name = String::new();
    loop {
        let (before, after) = rest.split_once('"').ok_or(QUOTE)?;
        name.push_str(before);
        match after.strip_prefix('"') {
            Some(after) => {
                name.push('"');
                rest = after;
            }
            None if after.is_empty() => return Ok((name, None)),
            None => return Ok((name, Some(after.strip_prefix('.').ok_or(QUOTE)?))),
        }
    }
}

/// Judges what shall name a schema, a table or a column.
pub(super) fn identifier(name: &str) -> Result<(), &'static str> {
    match name {
        "" => Err("must not be empty, and neither may a part of it"),
        _ if name.len() > MAX_BYTES => Err("must not have a name longer than 63 bytes, Postgres' limit"),
        _ if name.chars().any(char::is_control) => Err("must not hold control characters"),
        _ => Ok(()),
    }
}

/// As it stands in the database, for people. SQL takes the two names, and quotes them itself.
impl fmt::Display for QualifiedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_tables_with_and_without_a_schema() {
        let cases = [
            ("users", "public", "users"),
            ("bot.users", "bot", "users"),
            ("bot.Users", "bot", "Users"),
            ("public.user", "public", "user"),
            (r#""My Schema"."Users""#, "My Schema", "Users"),
            (r#""a.b".c"#, "a.b", "c"),
            (r#"a."b.c""#, "a", "b.c"),
            (r#""x""y""#, "public", "x\"y"),
            ("2024.users", "2024", "users"),
            ("my-bot.таблица", "my-bot", "таблица"),
        ];
        for (text, schema, table) in cases {
            let name = QualifiedName::parse(text).unwrap();
            assert_eq!((name.schema.as_str(), name.table.as_str()), (schema, table), "{text}");
        }
    }

    #[test]
    fn refuses_what_names_no_table() {
        let long = "x".repeat(64);
        let cases = [
            ("", "must not be empty, and neither may a part of it"),
            (".users", "must not be empty, and neither may a part of it"),
            ("public.", "must not be empty, and neither may a part of it"),
            ("\"\".users", "must not be empty, and neither may a part of it"),
            ("a.b.c", PARTS),
            ("\"a\".\"b\".\"c\"", PARTS),
            ("\"users", QUOTE),
            ("us\"ers", QUOTE),
            ("\"a\"b", QUOTE),
            ("public. users", QUOTE),
            ("users ", QUOTE),
            ("a\tb", "must not hold control characters"),
            (&long, "must not have a name longer than 63 bytes, Postgres' limit"),
        ];
        for (text, fault) in cases {
            assert_eq!(QualifiedName::parse(text), Err(fault), "{text:?}");
        }
        assert!(QualifiedName::parse(&"x".repeat(63)).is_ok());
    }
}
