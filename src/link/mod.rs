//! Reads and writes links: for now only the names that the settings need.

use std::fmt;

use thiserror::Error;

/// Scheme, host and port of a portal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(String);

impl Origin {
    /// Reads an origin as the configuration has it.
    ///
    /// # Errors
    /// It is no origin.
    pub fn parse(text: &str) -> Result<Self, OriginFault> {
        let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).ok_or(OriginFault)?;
        if host.is_empty() || host.contains(['/', '@', '?', '#']) {
            return Err(OriginFault);
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is no origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("must be scheme and host, as in https://portal.example")]
pub struct OriginFault;

/// The origins whose links are ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Portal {
    base: Origin,
    aliases: Vec<Origin>,
}

impl Portal {
    /// A portal that writes links on `base` and also knows those on `aliases`.
    #[must_use]
    pub fn new(base: Origin, aliases: Vec<Origin>) -> Self {
        Self { base, aliases }
    }

    /// Where links are written to.
    #[must_use]
    pub fn base(&self) -> &Origin {
        &self.base
    }

    /// The other origins.
    #[must_use]
    pub fn aliases(&self) -> &[Origin] {
        &self.aliases
    }
}

/// What becomes of the links of users without a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tokenless {
    /// They get the plain form.
    #[default]
    Plain,
    /// They are left alone.
    Keep,
}
