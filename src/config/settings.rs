//! Every setting, declared once: a field is a key of the file, with its type, its default and its meaning.
//!
//! Unknown keys are refused by serde, bad values by the types. `config.toml.example` and relinkd-config(5) are tested
//! against these structs, so a new key is a new field and a line in both.

use super::section::{from_text, section, text};
use super::{Database, FileSource, QualifiedName, file_source, period, table_name};
use crate::link::{Origin, Portal, Tokenless};
use crate::token::TokenRule;
use serde::{Deserializer, de};
use std::path::PathBuf;
use std::time::Duration;

section! {
    /// All that `/etc/relinkd/config.toml` decides.
    Settings {
        /// How to reach the bot's database.
        database: Database,
        /// Which links are ours, and what becomes of them.
        portal: PortalSettings,
        /// Where the keys are.
        #[serde(default)] keyring: KeyringSettings,
        /// Where operators drop files.
        #[serde(default)] spool: SpoolSettings,
        /// What is sealed.
        #[serde(default)] seal: SealSettings,
        /// When all users are looked at.
        #[serde(default)] audit: AuditSettings,
        /// How long it is known who changed what.
        #[serde(default)] history: HistorySettings,
        /// Where metrics go.
        #[serde(default)] metrics: MetricsSettings,
        /// The bot's tables.
        #[serde(default)] tables: Tables,
    }
}

section! {
    /// `[portal]`
    PortalSettings {
        /// Where links lead.
        base_url: Origin,
        /// Other addresses of the same portal.
        #[serde(default)] aliases: Vec<Origin>,
        /// What becomes of the links of users without a token.
        #[serde(default = "plain")] tokenless: Tokenless,
        /// What a token must look like, beside the fixed rules.
        #[serde(default)] token_pattern: TokenPattern,
    }
}

fn plain() -> Tokenless {
    Tokenless::Plain
}

impl PortalSettings {
    /// What decides which links are ours.
    pub(crate) fn portal(&self) -> Portal {
        Portal::new(self.base_url.clone(), self.aliases.clone())
    }
}

/// A regular expression for the whole token, as it was written and as it is used.
#[derive(Debug, Clone, Default)]
pub(crate) struct TokenPattern {
    /// As it was written; none where nothing was.
    pub text: Option<String>,
    /// The fixed rules for tokens, and the pattern.
    pub rule: TokenRule,
}

section! {
    /// `[keyring]`
    KeyringSettings {
        /// The keyring file. An instance `relinkd@NAME` has a default of its own.
        file: FileSource = FileSource::Path("/etc/relinkd/keyring.toml".into()),
    }
}

section! {
    /// `[spool]`
    SpoolSettings {
        /// The directory above `incoming/`. An instance `relinkd@NAME` has a default of its own.
        #[serde(deserialize_with = "absolute")] directory: PathBuf = "/var/spool/relinkd".into(),
        /// The time between two looks that nothing asked for.
        #[serde(deserialize_with = "time")] rescan: Duration = Duration::from_secs(30),
    }
}

section! {
    /// `[seal]`
    SealSettings {
        /// Whether plaintext that others wrote into the column is sealed in place.
        plaintext: bool = true,
    }
}

section! {
    /// `[audit]`
    AuditSettings {
        /// The time between two audits.
        #[serde(deserialize_with = "time")] interval: Duration = Duration::from_secs(60 * 60),
    }
}

impl AuditSettings {
    /// An audit that is older than this is late: one was left out, or does not come to its end.
    pub(crate) fn late_after(&self) -> Duration {
        self.interval * 2 + Duration::from_secs(600)
    }
}

section! {
    /// `[history]`
    HistorySettings {
        /// How long a row of the history stays.
        #[serde(deserialize_with = "time")] keep: Duration = Duration::from_secs(400 * 24 * 60 * 60),
    }
}

section! {
    /// `[metrics]`
    MetricsSettings {
        /// The file for Prometheus; without it there are no metrics.
        #[serde(deserialize_with = "absolute_file")] file: Option<PathBuf> = None,
    }
}

section! {
    /// `[tables]`: the bot's tables and their columns, named as they stand in the database.
    Tables {
        /// Who has which token.
        users: UsersTable = UsersTable::default(),
        /// Whose issue has which link.
        issues: IssuesTable = IssuesTable::default(),
    }
}

section! {
    /// `[tables.users]`
    UsersTable {
        /// The table.
        name: QualifiedName = QualifiedName::public("users"),
        /// The column that issues refer to.
        #[serde(deserialize_with = "column")] telegram_id: String = "telegram_id".into(),
        /// The column of the token.
        #[serde(deserialize_with = "column")] portal_token: String = "portal_token".into(),
    }
}

section! {
    /// `[tables.issues]`
    IssuesTable {
        /// The table.
        name: QualifiedName = QualifiedName::public("issues"),
        /// The primary key's column.
        #[serde(deserialize_with = "column")] id: String = "id".into(),
        /// The column that names the user.
        #[serde(deserialize_with = "column")] telegram_id: String = "telegram_user_id".into(),
        /// The column of the link.
        #[serde(deserialize_with = "column")] url: String = "okdesk_url".into(),
    }
}

impl Tables {
    /// The key, and what is wrong with it, where two names that must differ do not.
    pub(super) fn clash(&self) -> Option<([&'static str; 3], &'static str)> {
        const COLUMN: &str = "names a column that is something else already";
        let Self { users, issues } = self;
        let url_is_other = issues.url == issues.id || issues.url == issues.telegram_id;
        [
            (users.portal_token == users.telegram_id, "users", "portal_token", COLUMN),
            (issues.name == users.name, "issues", "name", "must be another table than that of the users"),
            (issues.telegram_id == issues.id, "issues", "telegram_id", COLUMN),
            (url_is_other, "issues", "url", COLUMN),
        ]
        .into_iter()
        .find_map(|(clash, table, key, what)| clash.then_some((["tables", table, key], what)))
    }
}

impl Settings {
    /// A text that changes exactly when something changes that decides links: then everyone must be looked at again.
    pub(crate) fn portal_fingerprint(&self) -> String {
        let mut aliases: Vec<String> = self.portal.aliases.iter().map(ToString::to_string).collect();
        aliases.sort_unstable();
        let tokenless = match self.portal.tokenless {
            Tokenless::Plain => "plain",
            Tokenless::Keep => "keep",
        };
        serde_json::json!({
            "base_url": self.portal.base_url.to_string(),
            "aliases": aliases,
            "tokenless": tokenless,
            "token_pattern": self.portal.token_pattern.text,
            "seal_plaintext": self.seal.plaintext,
        })
        .to_string()
    }

    /// The same settings with those sections that a running daemon cannot change as they are in force.
    pub(crate) fn with_fixed_sections_of(self, in_force: &Self) -> Self {
        Self {
            database: in_force.database.clone(),
            spool: in_force.spool.clone(),
            tables: in_force.tables.clone(),
            ..self
        }
    }

    /// The sections in which `new` differs, of those that a running daemon cannot change.
    pub(crate) fn restart_needed(&self, new: &Self) -> Vec<&'static str> {
        let mut sections = Vec::new();
        sections.extend((self.database != new.database).then_some("[database]"));
        sections.extend((self.spool != new.spool).then_some("[spool]"));
        sections.extend((self.tables != new.tables).then_some("[tables]"));
        sections
    }
}

from_text! {
    Origin: Self::parse;
    FileSource: Self::parse;
    QualifiedName: Self::parse;
    Tokenless: |text| match text {
        "plain" => Ok(Self::Plain),
        "keep" => Ok(Self::Keep),
        _ => Err("must be \"plain\" or \"keep\""),
    };
    TokenPattern: |text| match text {
        "" => Err("is empty, and would admit no token: leave it out to admit every one".to_owned()),
        _ => TokenRule::new(Some(text))
            .map(|rule| Self { text: Some(text.to_owned()), rule })
            .map_err(|fault| format!("is {fault}")),
    };
}

fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    text(deserializer, period::parse)
}

fn column<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    text(deserializer, |text| table_name::identifier(text).map(|()| text.to_owned()))
}

fn absolute<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    text(deserializer, |text| file_source::absolute(text).ok_or("must be an absolute path"))
}

fn absolute_file<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    let path = absolute(deserializer)?;
    if path.file_name().is_none() || path.as_os_str().as_encoded_bytes().ends_with(b"/") {
        return Err(de::Error::custom("must be the absolute path of a file, not of a directory"));
    }
    Ok(Some(path))
}
