//! Sealing and opening: token and `telegram_id` to sealed text, and back. The format is in the parent module.
//!
//! Reading is strict. What could be spelt in two ways, is of another version, or is longer than anything we write is
//! malformed; nothing is trimmed, padded or folded to lower case.

use super::Keyring;
use super::key::{Key, KeyId};
use crate::token::{Token, TokenFault};
use aes_gcm::aead::{Aead as _, Payload};
use aes_gcm::{Aes256Gcm, KeyInit as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use thiserror::Error;
use zeroize::Zeroizing;

/// The most characters a sealed token has, whichever key and token.
pub(crate) const MAX_SEALED_LEN: usize = 255;

const VERSION_PREFIX: &str = "relinkd:v1:";
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;

impl Keyring {
    /// Seals `token` for the row of `telegram_id` under the primary key, with a nonce that is never used again.
    ///
    /// # Errors
    /// The operating system has no random bytes for the nonce.
    pub(crate) fn seal(&self, token: &Token, telegram_id: i64) -> Result<String, SealFault> {
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(SealFault)?;
        Ok(seal_with(self.primary_key(), self.primary(), nonce, token.expose().as_bytes(), telegram_id))
    }

    /// Opens what stands in the row of `telegram_id` with the key it names, active or retired; says also which it was.
    ///
    /// # Errors
    /// See [`OpenFault`]; whatever is wrong, nothing of what is inside comes out.
    pub(crate) fn open(&self, sealed: &str, telegram_id: i64) -> Result<(Token, KeyId), OpenFault> {
        let (id, payload) = split(sealed).ok_or(OpenFault::Malformed)?;
        let Some(key) = self.key(&id) else { return Err(OpenFault::UnknownKey(id)) };
        let (nonce, ciphertext) = payload.split_first_chunk::<NONCE_BYTES>().ok_or(OpenFault::Malformed)?;
        let aad = associated_data(&id, telegram_id);
        let opened = cipher(key)
            .decrypt(&(*nonce).into(), Payload { msg: ciphertext, aad: aad.as_bytes() })
            .map_err(|_| OpenFault::DoesNotOpen)?;
        let opened = Zeroizing::new(opened);
        let text =
            std::str::from_utf8(&opened).map_err(|_| OpenFault::BadToken(TokenFault::NotVisibleAscii))?;
        let token = Token::parse(text).map_err(OpenFault::BadToken)?;
        Ok((token, id))
    }
}

/// Seals any bytes with a nonce that the caller answers for: it must never be used twice under one key.
pub(super) fn seal_with(
    key: &Key,
    id: &KeyId,
    nonce: [u8; NONCE_BYTES],
    plaintext: &[u8],
    telegram_id: i64,
) -> String {
    let aad = associated_data(id, telegram_id);
    let ciphertext = cipher(key)
        .encrypt(&nonce.into(), Payload { msg: plaintext, aad: aad.as_bytes() })
        .expect("a token is far below the 64 GiB that GCM takes");
    let payload = [&nonce[..], &ciphertext].concat();
    format!("{VERSION_PREFIX}{id}:{}", URL_SAFE_NO_PAD.encode(payload))
}

/// The key id and the payload of a sealed text, or nothing when it is not written as we write it.
fn split(sealed: &str) -> Option<(KeyId, Vec<u8>)> {
    if sealed.len() > MAX_SEALED_LEN {
        return None;
    }
    let (id, payload) = sealed.strip_prefix(VERSION_PREFIX)?.split_once(':')?;
    let id = KeyId::parse(id).ok()?;
    // This engine refuses padding, the standard alphabet and trailing bits that are not zero.
    let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
    (payload.len() >= NONCE_BYTES + TAG_BYTES).then_some((id, payload))
}

/// What binds a sealed token to its row and its key id.
fn associated_data(id: &KeyId, telegram_id: i64) -> String {
    format!("{VERSION_PREFIX}{id}:{telegram_id}")
}

fn cipher(key: &Key) -> Aes256Gcm {
    Aes256Gcm::new_from_slice(key.bytes()).expect("a key is 32 bytes")
}

/// A token could not be sealed: the operating system gave no random bytes.
#[derive(Debug, Error)]
#[error("the operating system gave no random bytes for a nonce")]
pub(crate) struct SealFault(#[source] getrandom::Error);

/// Why a sealed text gave no token.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum OpenFault {
    /// Not the sealed form, or not spelt the one way it is.
    #[error("damaged: not a sealed token of a version known here")]
    Malformed,
    /// It names a key that is not in the ring.
    #[error("sealed with the key `{0}`, which the keyring does not hold")]
    UnknownKey(KeyId),
    /// The tag does not fit: another row's value, another key's, or damaged.
    #[error("does not open: it is another row's, another key's, or damaged")]
    DoesNotOpen,
    /// It opens, and what is inside is no token.
    #[error("opens, but the token inside {0}")]
    BadToken(TokenFault),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ring(primary: &str) -> Keyring {
        let id = KeyId::parse(primary).unwrap();
        let keys = [(id.clone(), Key::generate().unwrap())].into();
        Keyring::new(id, keys, [].into()).unwrap()
    }

    fn token(text: &str) -> Token {
        Token::parse(text).unwrap()
    }

    #[test]
    fn the_longest_sealed_token_fits_its_column() {
        let ring = ring("abcdefghijklmnop");
        let longest = token(&"~".repeat(crate::token::MAX_LEN));
        let sealed = ring.seal(&longest, i64::MIN).unwrap();
        assert!(sealed.len() <= MAX_SEALED_LEN, "{}", sealed.len());
        assert_eq!(ring.open(&sealed, i64::MIN), Ok((longest, ring.primary().clone())));
    }

    #[test]
    fn two_seals_of_one_token_differ() {
        let ring = ring("k");
        assert_ne!(ring.seal(&token("x"), 1).unwrap(), ring.seal(&token("x"), 1).unwrap());
    }

    #[test]
    fn a_retired_key_opens() {
        let old = ring("old");
        let sealed = old.seal(&token("7812"), 7).unwrap();
        let new = KeyId::parse("new").unwrap();
        let ring = Keyring::new(new.clone(), [(new, Key::generate().unwrap())].into(), old.active().clone())
            .unwrap();
        assert_eq!(ring.open(&sealed, 7), Ok((token("7812"), old.primary().clone())));
        assert!(ring.seal(&token("7812"), 7).unwrap().starts_with("relinkd:v1:new:"));
    }

    #[test]
    fn the_same_id_with_another_key_does_not_open() {
        let sealed = ring("k").seal(&token("7812"), 7).unwrap();
        assert_eq!(ring("k").open(&sealed, 7), Err(OpenFault::DoesNotOpen));
    }

    #[test]
    fn what_is_longer_than_we_write_is_malformed() {
        let ring = ring("k");
        let sealed = |length| {
            seal_with(ring.primary_key(), ring.primary(), [1; 12], &"x".repeat(length).into_bytes(), 7)
        };
        assert_eq!((sealed(153).len(), sealed(154).len()), (MAX_SEALED_LEN, MAX_SEALED_LEN + 1));
        assert_eq!(ring.open(&sealed(153), 7), Err(OpenFault::BadToken(TokenFault::TooLong)));
        assert_eq!(ring.open(&sealed(154), 7), Err(OpenFault::Malformed));
    }

    proptest! {
        #[test]
        fn opens_what_it_sealed(text in "[!-~]{1,128}", id in any::<i64>(), kid in "[a-z0-9]{1,16}") {
            prop_assume!(!text.starts_with("relinkd:"));
            let ring = ring(&kid);
            let sealed = ring.seal(&token(&text), id).unwrap();
            prop_assert!(sealed.len() <= MAX_SEALED_LEN);
            prop_assert_eq!(ring.open(&sealed, id), Ok((token(&text), ring.primary().clone())));
        }

        #[test]
        fn any_other_character_anywhere_spoils_it(at in any::<prop::sample::Index>(), other in "[ -~]") {
            let ring = ring("k2026a");
            let sealed = ring.seal(&token("7812-5733-8392-7092"), 7).unwrap();
            let at = at.index(sealed.len());
            prop_assume!(sealed[at..=at] != other);
            let mut spoilt = sealed;
            spoilt.replace_range(at..=at, &other);
            prop_assert!(ring.open(&spoilt, 7).is_err());
        }

        #[test]
        fn another_row_does_not_open_it(a in any::<i64>(), b in any::<i64>()) {
            prop_assume!(a != b);
            let ring = ring("k");
            let sealed = ring.seal(&token("7812"), a).unwrap();
            prop_assert_eq!(ring.open(&sealed, b), Err(OpenFault::DoesNotOpen));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC*", tail in "(relinkd:v1:k:)?[A-Za-z0-9_-]{0,80}") {
            let ring = ring("k");
            prop_assert!(ring.open(&text, 7).is_err());
            prop_assert!(ring.open(&tail, 7).is_err());
        }
    }
}
