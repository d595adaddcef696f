//! The marks by which equal tokens are found among sealed ones: keyed, so that a table of them tells nothing.

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::{
    Keyring,
    key::{Key, KeyId},
};
use crate::token::Token;

/// A token's mark under one key: HMAC-SHA-256.
pub type Mark = [u8; 32];

/// Keeps the subkey apart from every other use of the key (RFC 5869 §3.2).
const LABEL: &[u8] = b"relinkd:v1:token-mark";

impl Keyring {
    /// The marks of `token` under every key of the ring, active ones first: what to look for when somebody might
    /// already hold it.
    #[must_use]
    pub fn marks(&self, token: &Token) -> Vec<(KeyId, Mark)> {
        self.all().map(|(id, key)| (id.clone(), mark(key, token))).collect()
    }

    /// The mark to store beside what [`Keyring::seal`] writes now.
    #[must_use]
    pub fn mark_under_primary(&self, token: &Token) -> (KeyId, Mark) {
        (self.primary().clone(), mark(self.primary_key(), token))
    }
}

fn mark(key: &Key, token: &Token) -> Mark {
    let mut subkey = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(None, key.bytes())
        .expand(LABEL, &mut subkey[..])
        .expect("HKDF-SHA-256 gives up to 8,160 bytes");
    let mut hmac = Hmac::<Sha256>::new_from_slice(&subkey[..]).expect("HMAC takes a key of any length");
    hmac.update(token.expose().as_bytes());
    hmac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_depends_on_token_and_key_alone() {
        let [a, b, r] = ["a", "b", "r"].map(|id| (KeyId::parse(id).unwrap(), Key::generate().unwrap()));
        let ring = Keyring::new(b.0.clone(), [a, b].into(), [r].into()).unwrap();
        let one = Token::parse("7812-5733-8392-7092").unwrap();
        let marks = ring.marks(&one);
        assert_eq!(marks.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["a", "b", "r"]);
        assert_eq!(marks, ring.marks(&one.clone()));
        assert_eq!(marks[1], ring.mark_under_primary(&one));
        assert!(marks[0].1 != marks[1].1 && marks[1].1 != marks[2].1);
        assert_ne!(ring.mark_under_primary(&one), ring.mark_under_primary(&Token::parse("other").unwrap()));
    }
}
