//! A portal token: a type that cannot be printed, and the rules a text must pass to become one.
//!
//! Whoever holds a [`Token`] holds the key to somebody's portal. It has no `Display` and no `Serialize`, its `Debug`
//! is silent and its memory is wiped; the one way to the text is [`Token::expose`], so that every use can be found.
//! Refused here: what is no token by the fixed rules, and what the operator's pattern excludes. Who may hold a
//! token is not judged here.

use regex_lite::Regex;
use std::fmt;
use thiserror::Error;
use zeroize::Zeroizing;

/// The longest token, in characters (all of them ASCII).
pub(crate) const MAX_LEN: usize = 128;

/// What the sealed form begins with, and a token therefore must not.
pub(crate) const RESERVED_PREFIX: &str = "relinkd:";

/// The fewest characters a token must have for [`Token::masked`] to show the first ones.
const MASK_FROM: usize = 12;

/// A personal portal token: 1 to 128 visible ASCII characters, not beginning with `relinkd:`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Token(Zeroizing<String>);

impl Token {
    /// Takes a copy of `text` when it keeps the fixed rules.
    ///
    /// # Errors
    /// The first rule that is broken; never [`TokenFault::Pattern`], which only a [`TokenRule`] knows.
    pub(crate) fn parse(text: &str) -> Result<Self, TokenFault> {
        if text.is_empty() {
            return Err(TokenFault::Empty);
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TokenFault::NotVisibleAscii);
        }
        if text.len() > MAX_LEN {
            return Err(TokenFault::TooLong);
        }
        if text.starts_with(RESERVED_PREFIX) {
            return Err(TokenFault::ReservedPrefix);
        }
        Ok(Self(Zeroizing::new(text.to_owned())))
    }

    /// The token itself, for a link, a seal or a person who asked with `--reveal`.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// What a person may see to tell tokens apart: the first four characters and `…` of a token of 12 or more
    /// characters, else `…` alone.
    pub(crate) fn masked(&self) -> String {
        let shown = if self.0.len() >= MASK_FROM { &self.0[..4] } else { "" };
        format!("{shown}…")
    }
}

impl std::hash::Hash for Token {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.expose().hash(state);
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Why a text is no token. The messages name the rule, never the text, and complete "the token …".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum TokenFault {
    /// Nothing is there.
    #[error("is empty")]
    Empty,
    /// More than [`MAX_LEN`] characters.
    #[error("is longer than 128 characters")]
    TooLong,
    /// A space, a control character or anything outside ASCII.
    #[error("holds a character that is not visible ASCII")]
    NotVisibleAscii,
    /// It looks like the sealed form.
    #[error("begins with `relinkd:`, which marks sealed tokens")]
    ReservedPrefix,
    /// The operator's pattern does not match the whole of it.
    #[error("does not match portal.token_pattern")]
    Pattern,
}

/// The rules a new or plaintext token must pass: the fixed ones and the operator's pattern, if any.
#[derive(Debug, Clone, Default)]
pub(crate) struct TokenRule {
    whole: Option<Regex>,
}

impl TokenRule {
    /// The rule with `pattern` (the syntax of the `regex` crate, ASCII classes) for the whole token; `None` adds nothing.
    ///
    /// # Errors
    /// `pattern` is no regular expression, or none that can stand inside a group.
    pub(crate) fn new(pattern: Option<&str>) -> Result<Self, PatternFault> {
        let Some(pattern) = pattern else { return Ok(Self::default()) };
        // By itself first: `a)|(?:b` is only valid inside the group, where it would escape both anchors.
        Regex::new(pattern).map_err(PatternFault)?;
        let whole = Regex::new(&format!(r"\A(?:{pattern})\z")).map_err(PatternFault)?;
        Ok(Self { whole: Some(whole) })
    }

    /// Makes `text` a token when it passes all rules.
    ///
    /// # Errors
    /// The first rule that is broken, the fixed ones before the pattern.
    pub(crate) fn admit(&self, text: &str) -> Result<Token, TokenFault> {
        let token = Token::parse(text)?;
        match &self.whole {
            Some(whole) if !whole.is_match(text) => Err(TokenFault::Pattern),
            _ => Ok(token),
        }
    }
}

/// Two rules are the same when their patterns are written alike: what a reload of the settings must know.
impl PartialEq for TokenRule {
    fn eq(&self, other: &Self) -> bool {
        self.whole.as_ref().map(Regex::as_str) == other.whole.as_ref().map(Regex::as_str)
    }
}

impl Eq for TokenRule {}

/// A `portal.token_pattern` that is no regular expression; the message says what is wrong with it.
#[derive(Debug, Clone, Error)]
#[error("not a regular expression for a whole token: {0}")]
pub(crate) struct PatternFault(regex_lite::Error);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_one_to_128_visible_ascii_characters() {
        for text in ["7812-5733-8392-7092", "x", "!~", "Relinkd:x", "relinkd", "a:relinkd:", &"t".repeat(128)]
        {
            assert_eq!(Token::parse(text).map(|token| token.expose().to_owned()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn names_the_rule_that_is_broken() {
        let long = "t".repeat(129);
        let cases = [
            ("", TokenFault::Empty),
            (long.as_str(), TokenFault::TooLong),
            ("two words", TokenFault::NotVisibleAscii),
            (" 7812", TokenFault::NotVisibleAscii),
            ("7812\n", TokenFault::NotVisibleAscii),
            ("7812\u{7f}", TokenFault::NotVisibleAscii),
            ("7812\0", TokenFault::NotVisibleAscii),
            ("tokén", TokenFault::NotVisibleAscii),
            ("relinkd:", TokenFault::ReservedPrefix),
            ("relinkd:v1:k:AAAA", TokenFault::ReservedPrefix),
        ];
        for (text, fault) in cases {
            assert_eq!(Token::parse(text), Err(fault), "{text:?}");
        }
    }

    #[test]
    fn shows_four_characters_of_twelve_or_more() {
        let masked = |text: &str| Token::parse(text).unwrap().masked();
        assert_eq!(masked("7812-5733-8392-7092"), "7812…");
        assert_eq!(masked("abcdefghijkl"), "abcd…");
        assert_eq!(masked("abcdefghijk"), "…");
        assert_eq!(masked("a"), "…");
    }

    #[test]
    fn debug_is_silent() {
        assert_eq!(format!("{:?}", Some(Token::parse("7812-5733").unwrap())), "Some(Token(…))");
    }

    #[test]
    fn no_pattern_admits_every_token() {
        assert!(TokenRule::default().admit("x").is_ok());
        assert_eq!(TokenRule::new(None).unwrap(), TokenRule::default());
        assert_eq!(TokenRule::default().admit(""), Err(TokenFault::Empty));
    }

    #[test]
    fn the_pattern_is_for_the_whole_token() {
        let rule = TokenRule::new(Some(r"\d{4}(-\d{4}){3}")).unwrap();
        assert!(rule.admit("7812-5733-8392-7092").is_ok());
        for text in ["7812-5733-8392-70921", "x7812-5733-8392-7092", "7812"] {
            assert_eq!(rule.admit(text), Err(TokenFault::Pattern), "{text}");
        }
        let either = TokenRule::new(Some("a|bc")).unwrap();
        assert!(either.admit("bc").is_ok());
        for text in ["ab", "abc", "xbc", "ax"] {
            assert_eq!(either.admit(text), Err(TokenFault::Pattern), "{text}");
        }
        // A prefix that matches must not win over an alternative that matches the whole.
        assert!(TokenRule::new(Some("a|ab")).unwrap().admit("ab").is_ok());
        // Anchors and flags of the operator's own change nothing; `$` under (?m) does not let a tail through.
        assert!(TokenRule::new(Some("^(?i)ABC$")).unwrap().admit("abc").is_ok());
        assert_eq!(TokenRule::new(Some("(?m)^a$")).unwrap().admit("ab"), Err(TokenFault::Pattern));
    }

    #[test]
    fn the_fixed_rules_stand_before_any_pattern() {
        let rule = TokenRule::new(Some("(?s).*")).unwrap();
        assert_eq!(rule.admit("two words"), Err(TokenFault::NotVisibleAscii));
        assert_eq!(rule.admit("relinkd:x"), Err(TokenFault::ReservedPrefix));
    }

    #[test]
    fn refuses_a_pattern_that_leaves_its_group() {
        for pattern in ["a)|(?:b", "(", "[z-a]", "a{2,1}", r"\", "(?x)a # no end"] {
            assert!(TokenRule::new(Some(pattern)).is_err(), "{pattern}");
        }
    }

    #[test]
    fn rules_compare_by_their_pattern() {
        let rule = |pattern| TokenRule::new(Some(pattern)).unwrap();
        assert_eq!(rule("a"), rule("a"));
        assert_ne!(rule("a"), rule("b"));
        assert_ne!(rule(""), TokenRule::default());
    }
}
