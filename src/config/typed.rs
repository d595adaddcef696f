//! Commands that messages name, as they are typed for the configuration in use: with `--config`, and with its unit's name.
//!
//! Messages name them plainly (`relinkd install`, `systemctl reload relinkd`); what shows a message passes it through
//! [`typed`]. Set once at start.

use super::load::instance;
use regex_lite::{Captures, Regex};
use std::borrow::Cow;
use std::path::Path;
use std::sync::OnceLock;

/// The unit of the configuration that is usual.
const UNIT: &str = "relinkd";

/// How commands are typed here.
struct Here {
    /// The configuration as a word of the shell; none where it need not be named.
    config: Option<String>,
    unit: String,
    /// Commands of relinkd's.
    commands: Vec<String>,
}

static HERE: OnceLock<Here> = OnceLock::new();

/// Remembers how commands are typed: `config` is named where it was on the command line.
pub(crate) fn set_typed(config: &Path, named: Option<String>, commands: Vec<String>) {
    let _ = HERE.set(Here { config: named, unit: unit(config), commands });
}

/// The unit that runs with this configuration, as `systemctl` takes it.
pub(crate) fn unit(config: &Path) -> String {
    instance(config).map_or_else(|| UNIT.to_owned(), |name| format!("{UNIT}@{name}"))
}

/// A message, its commands as they are typed here.
pub(crate) fn typed(text: &str) -> Cow<'_, str> {
    match HERE.get() {
        Some(here) if here.config.is_some() || here.unit != UNIT => Cow::Owned(here.typed(text)),
        _ => Cow::Borrowed(text),
    }
}

impl Here {
    fn typed(&self, text: &str) -> String {
        // A word of `systemctl`'s is the unit, unless it goes on.
        let unit = Regex::new(r#"(systemctl (?:[^`";:(]*? )?)relinkd($|[^@./-])"#).expect("a constant");
        let text = unit.replace_all(text, |it: &Captures<'_>| [&it[1], &self.unit, &it[2]].concat());
        let Some(config) = &self.config else { return text.into_owned() };
        let command = Regex::new(&format!(r"(^|[^\w/.@-])relinkd ({})\b", self.commands.join("|")))
            .expect("the commands are words");
        let command = command.replace_all(&text, |it: &Captures<'_>| {
            format!("{}relinkd --config {config} {}", &it[1], &it[2])
        });
        command.into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_typed_for_the_configuration_in_use() {
        let here = Here {
            config: Some("/etc/relinkd/shop.toml".to_owned()),
            unit: "relinkd@shop".to_owned(),
            commands: vec!["install".to_owned(), "key".to_owned()],
        };
        for (text, typed) in [
            ("run `relinkd install`", "run `relinkd --config /etc/relinkd/shop.toml install`"),
            ("see: relinkd key list", "see: relinkd --config /etc/relinkd/shop.toml key list"),
            ("run `systemctl reload relinkd`", "run `systemctl reload relinkd@shop`"),
            ("then: systemctl start relinkd", "then: systemctl start relinkd@shop"),
            ("this relinkd needs version 2", "this relinkd needs version 2"),
            ("another relinkd owns /var/spool/relinkd", "another relinkd owns /var/spool/relinkd"),
            ("/usr/share/relinkd install", "/usr/share/relinkd install"),
            ("relinkd --config x install", "relinkd --config x install"),
            ("the systemctl of old; relinkd is", "the systemctl of old; relinkd is"),
        ] {
            assert_eq!(here.typed(text), typed);
        }
    }

    #[test]
    fn the_unit_follows_from_the_configuration() {
        for (config, wanted) in [
            ("/etc/relinkd/config.toml", "relinkd"),
            ("/etc/relinkd/shop.toml", "relinkd@shop"),
            ("/home/anna/shop.toml", "relinkd"),
        ] {
            assert_eq!(unit(Path::new(config)), wanted, "{config}");
        }
    }
}
