//! The settings as used: every value checked, every default filled in.
//!
//! How the file is written is not known here; whoever holds a [`Settings`] needs no further look at the file.

use std::{path::PathBuf, time::Duration};

use crate::{
    link::{Origin, Portal, Tokenless},
    token::TokenRule,
};

use super::{Database, FileSource, QualifiedName};

/// All that `/etc/relinkd/config.toml` decides.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `[database]`: how to reach the bot's database.
    pub database: Database,
    /// `[portal]`: which links are ours, and what becomes of them.
    pub portal: PortalSettings,
    /// `[keyring] file`.
    pub keyring: FileSource,
    /// `[spool]`.
    pub spool: SpoolSettings,
    /// `[seal] plaintext`: whether plaintext that others wrote into the column is sealed in place.
    pub seal_plaintext: bool,
    /// `[audit] interval`.
    pub audit_interval: Duration,
    /// `[tables]`: the bot's tables.
    pub tables: Tables,
}

/// Which links are ours, and what becomes of them.
#[derive(Debug, Clone)]
pub struct PortalSettings {
    /// `base_url` and `aliases`.
    pub portal: Portal,
    /// `aliases`, as they were written.
    pub aliases: Vec<Origin>,
    /// `tokenless`.
    pub tokenless: Tokenless,
    /// The fixed rules for tokens, and `token_pattern`.
    pub token_rule: TokenRule,
    /// `token_pattern`, as it was written.
    pub token_pattern: Option<String>,
}

/// Where operators drop files, and how often it is looked at without being told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolSettings {
    /// The directory above `incoming/`.
    pub directory: PathBuf,
    /// The time between two looks.
    pub rescan: Duration,
}

/// The bot's tables and their columns, named as they stand in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tables {
    /// Who has which token.
    pub users: UsersTable,
    /// Whose issue has which link.
    pub issues: IssuesTable,
}

/// The table of users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsersTable {
    /// The table.
    pub name: QualifiedName,
    /// The column that issues refer to.
    pub telegram_id: String,
    /// The column of the token.
    pub portal_token: String,
}

/// The table of issues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuesTable {
    /// The table.
    pub name: QualifiedName,
    /// The primary key's column.
    pub id: String,
    /// The column that names the user.
    pub telegram_id: String,
    /// The column of the link.
    pub url: String,
}

impl Settings {
    /// A text that changes exactly when something changes that decides links: then everyone must be looked at again.
    #[must_use]
    pub fn portal_fingerprint(&self) -> String {
        let mut aliases: Vec<String> = self.portal.aliases.iter().map(ToString::to_string).collect();
        aliases.sort_unstable();
        let tokenless = match self.portal.tokenless {
            Tokenless::Plain => "plain",
            Tokenless::Keep => "keep",
        };
        serde_json::json!({
            "base_url": self.portal.portal.base().to_string(),
            "aliases": aliases,
            "tokenless": tokenless,
            "token_pattern": self.portal.token_pattern,
            "seal_plaintext": self.seal_plaintext,
        })
        .to_string()
    }

    /// The same settings with those sections that a running daemon cannot change as they are in force.
    #[must_use]
    pub fn with_fixed_sections_of(self, in_force: &Self) -> Self {
        Self {
            database: in_force.database.clone(),
            spool: in_force.spool.clone(),
            tables: in_force.tables.clone(),
            ..self
        }
    }

    /// The sections in which `new` differs, of those that a running daemon cannot change.
    #[must_use]
    pub fn restart_needed(&self, new: &Self) -> Vec<&'static str> {
        [
            ("[database]", self.database != new.database),
            ("[spool]", self.spool != new.spool),
            ("[tables]", self.tables != new.tables),
        ]
        .into_iter()
        .filter_map(|(section, differs)| differs.then_some(section))
        .collect()
    }
}
