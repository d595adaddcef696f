//! Links to the portal: whether one is ours, what it says, and the two forms that relinkd writes.
//!
//! A link is judged byte for byte as it is written. The `url` crate mends what it reads, so it serves only to check
//! the configuration's origins ([`Origin`]); a link that needs mending is not ours and is left alone.

mod mask;
mod origin;
mod percent;
mod read;
#[cfg(test)]
mod tests;

pub(crate) use mask::{mask, mask_text};
pub(crate) use origin::Origin;
pub(crate) use read::NotOurs;

use crate::envelope::TokenState;
use crate::token::Token;
use zeroize::Zeroizing;

/// The portal: one origin to write, others to recognise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Portal {
    base: Origin,
    aliases: Vec<Origin>,
}

/// How an issue link is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// `BASE/issues/123`
    Plain,
    /// `BASE/api/v1/issues/123`
    Api,
    /// `BASE/login?…&redirect=/issues/123`
    Login,
}

/// What an issue link of ours says.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Link {
    /// How it is written.
    pub shape: Shape,
    /// The number, as written.
    pub number: String,
    /// Query and fragment of the plain form, as written, with their `?` and `#`.
    tail: String,
    /// The token in it, percent-decoded; none where there is none or an empty one.
    pub token: Option<Zeroizing<String>>,
}

/// What becomes of links of users without a token (`portal.tokenless`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tokenless {
    /// They get the plain form.
    Plain,
    /// They are left alone.
    Keep,
}

impl Portal {
    /// A portal with the origin that is written, and others that are recognised.
    pub(crate) fn new(base: Origin, aliases: Vec<Origin>) -> Self {
        Self { base, aliases }
    }

    /// The token in `written`, percent-decoded, if it is a login link of ours.
    pub(crate) fn carried(&self, written: &str) -> Option<Zeroizing<String>> {
        self.read(written)?.token
    }

    /// What `written` says, if it is an issue link of ours.
    pub(crate) fn read(&self, written: &str) -> Option<Link> {
        self.judge(written).ok()
    }

    /// What `written` says, or why it is no issue link of ours.
    pub(crate) fn judge(&self, written: &str) -> Result<Link, NotOurs> {
        read::link(self, written)
    }

    /// Whether `written` is a link to one of our origins at all, be it an issue link or not.
    pub(crate) fn is_on(&self, written: &str) -> bool {
        read::after_origin(self, written).is_ok()
    }

    /// The form without a token.
    pub(crate) fn plain(&self, link: &Link) -> String {
        format!("{}/issues/{}{}", self.base, link.number, link.tail)
    }

    /// The form that logs the user in.
    pub(crate) fn login(&self, link: &Link, token: &Token) -> String {
        format!(
            "{}/login?token={}&redirect=/issues/{}{}",
            self.base,
            percent::encode(token.expose(), b""),
            link.number,
            percent::encode(&link.tail, percent::REDIRECT),
        )
    }

    fn is_ours(&self, scheme: &str, host: &str, port: Option<u16>) -> bool {
        self.origins().any(|origin| origin.has(scheme, host, port))
    }

    fn has_host(&self, host: &str) -> bool {
        self.origins().any(|origin| origin.has_host(host))
    }

    fn origins(&self) -> impl Iterator<Item = &Origin> {
        std::iter::once(&self.base).chain(&self.aliases)
    }
}

/// What is to be written over the link `written` of a user whose token is in this state; none where it is left as it
/// is. `strip`: the link loses a token whatever the setting, for the issue has changed hands or the user's token was
/// removed.
pub(crate) fn decide(
    portal: &Portal,
    written: &str,
    state: &TokenState,
    tokenless: Tokenless,
    strip: bool,
) -> Option<String> {
    let link = portal.read(written)?;
    let strip = strip && link.token.is_some();
    let right = match (state, tokenless) {
        (TokenState::Sealed { token, .. } | TokenState::Plaintext(token), _) => portal.login(&link, token),
        (TokenState::None, Tokenless::Plain) => portal.plain(&link),
        (TokenState::None | TokenState::Unusable(_), _) if strip => portal.plain(&link),
        (TokenState::None, Tokenless::Keep) | (TokenState::Unusable(_), _) => return None,
    };
    (right != written).then_some(right)
}
