//! The sealed form of a token, as it stands in the bot's own column, and the keys in memory that open it.
//!
//! ```text
//! relinkd:v1:KID:PAYLOAD
//! ```
//!
//! - `KID`: the id of the key, `[a-z0-9]{1,16}`.
//! - `PAYLOAD`: base64url (RFC 4648 §5) without padding of nonce (12 bytes, from the operating system) ‖ ciphertext ‖
//!   tag (16 bytes). Read strictly: one token and one nonce have exactly one spelling.
//! - Cipher: AES-256-GCM (NIST SP 800-38D; `AEAD_AES_256_GCM` of RFC 5116 §5.2). Associated data: the ASCII bytes of
//!   `relinkd:v1:KID:TELEGRAM_ID` in decimal, so that a value copied to another user's row, or relabelled with
//!   another key id, does not open.
//! - At most [`MAX_SEALED_LEN`] characters, since the column may be a `varchar(255)`.
//!
//! With random nonces SP 800-38D §8.3 allows 2³² seals under one key; a bot has some thousands of users.
//!
//! Sealed values cannot be compared, so equal tokens are found by their *fingerprints* instead: HMAC-SHA-256 (RFC 2104) of the
//! token under a subkey that HKDF-SHA-256 (RFC 5869, no salt, info `relinkd:v1:token-mark`) derives from a key of the
//! ring. An unkeyed hash would not do: sixteen digits can be guessed from it.
//!
//! The keyring *file* is not read here; nothing here knows of files.

mod fingerprints;
mod key;
mod keyring;
mod seal;
mod token_state;

#[cfg(test)]
mod vectors;

pub(crate) use fingerprints::Fingerprint;
pub(crate) use key::{Key, KeyId};
pub(crate) use keyring::{Keyring, KeyringFault};
pub(crate) use seal::{MAX_SEALED_LEN, OpenFault, SealFault};
pub(crate) use token_state::{TokenState, UnusableReason, key_named_by};

/// Seals any bytes, always with the same nonce.
#[cfg(any(test, fuzzing))]
pub(crate) fn seal_anything(ring: &Keyring, bytes: &[u8], telegram_id: i64) -> String {
    seal::seal_with(ring.primary_key(), ring.primary(), [7; 12], bytes, telegram_id)
}
