//! What stands in a user's token column, judged once: nothing, a sealed token, a plaintext one, or neither. This one type
//! goes from the column to every decision about links, statistics and assignments.
//!
//! The operator's pattern applies to plaintext only: a token that was sealed under an older pattern stays in force.

use super::{KeyId, Keyring, OpenFault};
use crate::token::{RESERVED_PREFIX, Token, TokenFault, TokenRule};

/// The state of a user's token: what one value of the token column means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TokenState {
    /// Null or an empty text: the user has no token.
    None,
    /// A sealed token, and the key that sealed it.
    Sealed {
        /// What was inside.
        token: Token,
        /// The key the value names.
        key: KeyId,
    },
    /// A token somebody wrote in plaintext.
    Plaintext(Token),
    /// No usable token. The value is left as it is and changes no link.
    Unusable(UnusableReason),
}

impl TokenState {
    /// The token to use for this user's links, if there is a usable one.
    pub(crate) fn token(&self) -> Option<&Token> {
        match self {
            Self::Sealed { token, .. } | Self::Plaintext(token) => Some(token),
            Self::None | Self::Unusable(_) => None,
        }
    }
}

/// Why a value is unusable: one short text for the operator, never the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UnusableReason {
    /// It begins as a sealed token and does not open.
    #[error("the sealed value is unusable: {0}")]
    Sealed(OpenFault),
    /// It is plaintext against the rules.
    #[error("the plaintext token {0}")]
    Plaintext(TokenFault),
}

impl UnusableReason {
    /// The reason as one stable word, for `--json` and structured log fields.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Sealed(OpenFault::Malformed) => "malformed",
            Self::Sealed(OpenFault::UnknownKey(_)) => "unknown_key",
            Self::Sealed(OpenFault::DoesNotOpen) => "does_not_open",
            Self::Sealed(OpenFault::BadToken(_)) => "bad_sealed_token",
            Self::Plaintext(TokenFault::Pattern) => "pattern",
            Self::Plaintext(
                TokenFault::Empty
                | TokenFault::TooLong
                | TokenFault::NotVisibleAscii
                | TokenFault::ReservedPrefix,
            ) => "bad_plaintext",
        }
    }

    /// The key that is missing, where that is the reason.
    pub(crate) fn unknown_key(&self) -> Option<&KeyId> {
        match self {
            Self::Sealed(OpenFault::UnknownKey(key)) => Some(key),
            Self::Sealed(_) | Self::Plaintext(_) => None,
        }
    }
}

impl Keyring {
    /// Judges what stands in the token column of `telegram_id`. Whatever begins with `relinkd:` is taken for sealed;
    /// all else is plaintext and must pass `rule`.
    pub(crate) fn read(&self, value: Option<&str>, telegram_id: i64, rule: &TokenRule) -> TokenState {
        TokenState::of(value, rule, |sealed| self.open(sealed, telegram_id))
    }
}

impl TokenState {
    /// As [`Keyring::read`], where there is no keyring: no sealed value opens, and each names the key that it needs.
    pub(crate) fn without_keyring(value: Option<&str>, rule: &TokenRule) -> Self {
        Self::of(value, rule, |sealed| {
            Err(key_named_by(sealed).map_or(OpenFault::Malformed, OpenFault::UnknownKey))
        })
    }

    fn of(
        value: Option<&str>,
        rule: &TokenRule,
        open: impl FnOnce(&str) -> Result<(Token, KeyId), OpenFault>,
    ) -> Self {
        match value {
            None | Some("") => Self::None,
            Some(sealed) if sealed.starts_with(RESERVED_PREFIX) => match open(sealed) {
                Ok((token, key)) => Self::Sealed { token, key },
                Err(fault) => Self::Unusable(UnusableReason::Sealed(fault)),
            },
            Some(plaintext) => match rule.admit(plaintext) {
                Ok(token) => Self::Plaintext(token),
                Err(fault) => Self::Unusable(UnusableReason::Plaintext(fault)),
            },
        }
    }
}

/// The key that a sealed value names, whether or not the rest of it is sound.
pub(crate) fn key_named_by(value: &str) -> Option<KeyId> {
    let (id, _) = value.strip_prefix("relinkd:v1:")?.split_once(':')?;
    KeyId::parse(id).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::Key;

    fn ring(primary: &str) -> Keyring {
        let id = KeyId::parse(primary).unwrap();
        Keyring::new(id.clone(), [(id, Key::generate().unwrap())].into(), [].into()).unwrap()
    }

    #[test]
    fn null_and_empty_are_no_token() {
        let (ring, rule) = (ring("k"), TokenRule::default());
        assert_eq!(ring.read(None, 7, &rule), TokenState::None);
        assert_eq!(ring.read(Some(""), 7, &rule), TokenState::None);
        assert_eq!(TokenState::None.token(), None);
    }

    #[test]
    fn the_pattern_narrows_plaintext_and_not_what_is_sealed() {
        let ring = ring("k");
        let digits = TokenRule::new(Some(r"\d+")).unwrap();
        let word = Token::parse("word").unwrap();
        let sealed = ring.seal(&word, 7).unwrap();
        let read = ring.read(Some(&sealed), 7, &digits);
        assert_eq!(read, TokenState::Sealed { token: word.clone(), key: KeyId::parse("k").unwrap() });
        assert_eq!(read.token(), Some(&word));
        let refused = TokenState::Unusable(UnusableReason::Plaintext(TokenFault::Pattern));
        assert_eq!(ring.read(Some("word"), 7, &digits), refused);
        assert_eq!(ring.read(Some("word"), 7, &TokenRule::default()), TokenState::Plaintext(word));
    }

    #[test]
    fn a_sealed_value_names_its_key_however_broken_the_rest_is() {
        assert_eq!(key_named_by("relinkd:v1:k1:no base64").unwrap().as_str(), "k1");
        for none in ["relinkd:v1:k1", "relinkd:v1:k 1:", "relinkd:v2:k1:", "7812-5733"] {
            assert_eq!(key_named_by(none), None);
        }
    }

    #[test]
    fn every_reason_has_a_code_and_hides_the_value() {
        let (ring, rule) = (ring("k"), TokenRule::new(Some("[a-z ]+")).unwrap());
        let good = ring.seal(&Token::parse("secret").unwrap(), 7).unwrap();
        let cases = [
            ("relinkd:secret".to_owned(), "malformed"),
            (good.replace(":v1:", ":v2:"), "malformed"),
            (good.replace(":k:", ":other:"), "unknown_key"),
            (ring.seal(&Token::parse("secret").unwrap(), 8).unwrap(), "does_not_open"),
            ("secret words".to_owned(), "bad_plaintext"),
            ("secret1".to_owned(), "pattern"),
        ];
        for (value, code) in cases {
            let TokenState::Unusable(reason) = ring.read(Some(&value), 7, &rule) else { panic!("{code}") };
            assert_eq!(reason.code(), code);
            let missing = (code == "unknown_key").then(|| KeyId::parse("other").unwrap());
            assert_eq!(reason.unknown_key(), missing.as_ref());
            assert!(!format!("{reason} {reason:?}").contains("secret"), "{reason}");
        }
    }
}
