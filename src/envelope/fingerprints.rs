//! The fingerprints by which equal tokens are found among sealed ones: keyed, so that a table of them tells nothing.

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
pub type Fingerprint = [u8; 32];

/// Keeps the subkey apart from every other use of the key (RFC 5869 §3.2).
const LABEL: &[u8] = b"relinkd:v1:token-mark";

impl Keyring {
    /// The fingerprints of `token` under every key of the ring, active ones first: what to look for when somebody might
    /// already hold it.
    #[must_use]
    pub fn fingerprints(&self, token: &Token) -> Vec<(KeyId, Fingerprint)> {
        self.all().map(|(id, key)| (id.clone(), fingerprint(key, token))).collect()
    }

    /// The mark to store beside what [`Keyring::seal`] writes now.
    #[must_use]
    pub fn fingerprint_under_primary(&self, token: &Token) -> (KeyId, Fingerprint) {
        (self.primary().clone(), fingerprint(self.primary_key(), token))
    }
}

fn fingerprint(key: &Key, token: &Token) -> Fingerprint {
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
    fn a_fingerprint_depends_on_token_and_key_alone() {
        let [a, b, r] = ["a", "b", "r"].map(|id| (KeyId::parse(id).unwrap(), Key::generate().unwrap()));
        let ring = Keyring::new(b.0.clone(), [a, b].into(), [r].into()).unwrap();
        let one = Token::parse("7812-5733-8392-7092").unwrap();
        let fingerprints = ring.fingerprints(&one);
        assert_eq!(fingerprints.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["a", "b", "r"]);
        assert_eq!(fingerprints, ring.fingerprints(&one.clone()));
        assert_eq!(fingerprints[1], ring.fingerprint_under_primary(&one));
        assert!(fingerprints[0].1 != fingerprints[1].1 && fingerprints[1].1 != fingerprints[2].1);
        assert_ne!(
            ring.fingerprint_under_primary(&one),
            ring.fingerprint_under_primary(&Token::parse("other").unwrap())
        );
    }
}
