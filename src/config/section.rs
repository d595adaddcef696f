//! How sections are declared: a struct for serde, and beside it the shape of each key, which faults are found by.
//!
//! serde refuses what is not known and what is of another type as well, but in the order in which it reads, so that a key
//! that is missing hides one that is misspelt; and it takes a list for a section.

use serde::{Deserializer, de};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Declares a section: each key with its meaning, its type and its default; or without defaults, where not all keys have one.
macro_rules! section {
    ($(#[$meta:meta])* $section:ident { $($(#[$key_meta:meta])* $key:ident: $type:ty,)* }) => {
        #[derive(Debug, Clone, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        $(#[$meta])*
        pub(crate) struct $section {
            $($(#[$key_meta])* pub $key: $type,)*
        }

        impl $crate::config::section::Shaped for $section {
            const SHAPE: $crate::config::section::Shape = $crate::config::section::Shape::Section(
                &[$((stringify!($key), <$type as $crate::config::section::Shaped>::SHAPE)),*]
            );
        }
    };
    ($(#[$meta:meta])* $section:ident { $($(#[$key_meta:meta])* $key:ident: $type:ty = $default:expr,)* }) => {
        section! {
            $(#[$meta])*
            #[derive(PartialEq, Eq)]
            #[serde(default)]
            $section { $($(#[$key_meta])* $key: $type,)* }
        }

        impl Default for $section {
            fn default() -> Self {
                Self { $($key: $default,)* }
            }
        }
    };
}

/// Declares types that are text in quotes, each with what reads it.
macro_rules! from_text {
    ($($type:ty: $parse:expr;)*) => {$(
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::config::section::text(deserializer, $parse)
            }
        }

        impl $crate::config::section::Shaped for $type {}
    )*};
}

pub(super) use from_text;
pub(super) use section;

/// What may stand under a key.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    /// A section with these keys.
    Section(&'static [(&'static str, Shape)]),
    Text,
    Switch,
    List,
}

/// A type of settings, whose shape faults tell of; it is text where nothing else is said.
pub(super) trait Shaped {
    const SHAPE: Shape = Shape::Text;
}

impl Shaped for Duration {}
impl Shaped for PathBuf {}
impl Shaped for String {}

impl Shaped for bool {
    const SHAPE: Shape = Shape::Switch;
}

impl<T> Shaped for Vec<T> {
    const SHAPE: Shape = Shape::List;
}

impl<T: Shaped> Shaped for Option<T> {
    const SHAPE: Shape = T::SHAPE;
}

/// Reads text in quotes as `parse` understands it, without a copy of it: it may be a secret.
pub(super) fn text<'de, D: Deserializer<'de>, T, F: fmt::Display>(
    deserializer: D,
    parse: impl FnOnce(&str) -> Result<T, F>,
) -> Result<T, D::Error> {
    struct Text<P>(P);
    impl<T, F: fmt::Display, P: FnOnce(&str) -> Result<T, F>> de::Visitor<'_> for Text<P> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("text in quotes")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
            (self.0)(text).map_err(E::custom)
        }
    }
    deserializer.deserialize_str(Text(parse))
}
