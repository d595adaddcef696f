//! Wiping what TOML makes of a text with tokens in it.

use std::borrow::Cow;
use toml::de::{DeString, DeValue};
use zeroize::Zeroize as _;

/// Wipes the copies that TOML makes of strings with escapes; the others are borrowed from the caller's buffer.
pub(super) fn wipe(value: DeValue<'_>) {
    match value {
        DeValue::String(text) => wipe_text(text),
        DeValue::Array(items) => items.into_iter().for_each(|item| wipe(item.into_inner())),
        DeValue::Table(table) => {
            for (key, value) in table {
                wipe_text(key.into_inner());
                wipe(value.into_inner());
            }
        }
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {}
    }
}

fn wipe_text(text: DeString<'_>) {
    if let Cow::Owned(mut text) = text {
        text.zeroize();
    }
}
