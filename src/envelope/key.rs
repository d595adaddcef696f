//! A key and the name it goes by.
//!
//! A [`Key`] has no `Display` and no `Serialize`, its `Debug` is silent, its memory is wiped, and it stays where it was
//! allocated when it is moved. Ids are no secret: they stand in every sealed value.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::fmt;
use thiserror::Error;
use zeroize::Zeroizing;

/// The bytes of an AES-256 key.
const KEY_BYTES: usize = 32;

/// What [`KEY_BYTES`] are in base64url without padding.
const KEY_CHARS: usize = 43;

/// The id of a key: `[a-z0-9]{1,16}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct KeyId(String);

impl KeyId {
    /// Takes `text` when it has the form of an id.
    ///
    /// # Errors
    /// It is empty, longer than 16 characters, or holds anything but `a`–`z` and `0`–`9`.
    pub(crate) fn parse(text: &str) -> Result<Self, KeyIdFault> {
        let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        if matches!(text.len(), 1..=16) && text.bytes().all(known) {
            Ok(Self(text.to_owned()))
        } else {
            Err(KeyIdFault)
        }
    }

    /// The id as it was written.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that cannot name a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a key id is 1 to 16 of the characters a-z and 0-9")]
pub(crate) struct KeyIdFault;

/// A key of the ring: 32 bytes, not all of them zero.
// Boxed, so that moving a key leaves no copy of it on the stack.
#[derive(Clone)]
pub(crate) struct Key(Box<Zeroizing<[u8; KEY_BYTES]>>);

impl Key {
    /// Reads a key as the keyring file has it: 43 characters, base64url (RFC 4648 §5) without padding.
    ///
    /// # Errors
    /// Another length, another alphabet, bits beyond the 32nd byte, or nothing but zeros. The fault does not repeat
    /// the text.
    pub(crate) fn parse(text: &str) -> Result<Self, KeyFault> {
        if text.len() != KEY_CHARS {
            return Err(KeyFault::Length);
        }
        let mut key = Self::zeroed();
        let written = URL_SAFE_NO_PAD.decode_slice(text, &mut key.0[..]).map_err(|_| KeyFault::Alphabet)?;
        debug_assert_eq!(written, KEY_BYTES, "43 characters are 32 bytes");
        if key.0.iter().all(|byte| *byte == 0) {
            return Err(KeyFault::Zeros);
        }
        Ok(key)
    }

    /// Draws a new key from the operating system.
    ///
    /// # Errors
    /// The system has no random bytes to give.
    pub(crate) fn generate() -> Result<Self, getrandom::Error> {
        let mut key = Self::zeroed();
        getrandom::fill(&mut key.0[..])?;
        Ok(key)
    }

    /// The key as [`Key::parse`] reads it, for the keyring file alone.
    pub(crate) fn encode(&self) -> Zeroizing<String> {
        let mut text = vec![0; KEY_CHARS];
        URL_SAFE_NO_PAD.encode_slice(&self.0[..], &mut text).expect("32 bytes are 43 characters");
        Zeroizing::new(String::from_utf8(text).expect("base64 is ASCII"))
    }

    /// The bytes, for the ciphers of this module.
    pub(super) fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8; KEY_BYTES] {
        &mut self.0
    }

    pub(super) fn zeroed() -> Self {
        Self(Box::new(Zeroizing::new([0; KEY_BYTES])))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// Why a text is no key; never the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum KeyFault {
    /// Not 43 characters long.
    #[error("a key is 43 characters long")]
    Length,
    /// A character that is not base64url, or a last one that carries bits beyond the key.
    #[error("a key is base64url, without padding, of 32 bytes")]
    Alphabet,
    /// Nothing but zeros.
    #[error("a key of nothing but zeros is no key")]
    Zeros,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_short_and_lower_case() {
        for id in ["k", "0", "k2026a", "abcdefghijklmnop"] {
            assert_eq!(KeyId::parse(id).unwrap().to_string(), id);
        }
        for text in ["", "K", "k_1", "k-1", "k 1", "ключ", "abcdefghijklmnopq", "k\n"] {
            assert_eq!(KeyId::parse(text), Err(KeyIdFault), "{text:?}");
        }
    }

    #[test]
    fn a_key_survives_its_text() {
        let key = Key::generate().unwrap();
        assert_eq!(Key::parse(&key.encode()).unwrap().bytes(), key.bytes());
        assert_eq!(key.encode().len(), 43);
        assert_ne!(Key::generate().unwrap().bytes(), key.bytes());
    }

    #[test]
    fn reads_the_url_alphabet() {
        let text = format!("{}8", "-_".repeat(21));
        assert_eq!(*Key::parse(&text).unwrap().encode(), text);
    }

    #[test]
    fn refuses_what_is_no_key() {
        let a42 = "A".repeat(42);
        let cases = [
            (String::new(), KeyFault::Length),
            (format!("{a42}8="), KeyFault::Length),
            ("A".repeat(44), KeyFault::Length),
            (format!("{a42}="), KeyFault::Alphabet),
            (format!("{}+A8", "A".repeat(40)), KeyFault::Alphabet),
            (format!("{}/A8", "A".repeat(40)), KeyFault::Alphabet),
            (format!("{} A8", "A".repeat(40)), KeyFault::Alphabet),
            // The last character may only be one of the sixteen whose two low bits are clear.
            (format!("{a42}B"), KeyFault::Alphabet),
            ("A".repeat(43), KeyFault::Zeros),
        ];
        for (text, fault) in cases {
            assert_eq!(Key::parse(&text).err(), Some(fault), "{text}");
        }
    }

    #[test]
    fn debug_is_silent() {
        assert_eq!(format!("{:?}", Key::generate().unwrap()), "Key(…)");
    }
}
