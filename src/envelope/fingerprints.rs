//! The fingerprints by which equal tokens are found among sealed ones: keyed, so that a table of them tells nothing.

use super::Keyring;
use super::key::{Key, KeyId};
use crate::token::Token;
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// A token's fingerprint under one key: HMAC-SHA-256.
pub(crate) type Fingerprint = [u8; 32];

/// Keeps the subkey apart from every other use of the key (RFC 5869 §3.2).
const LABEL: &[u8] = b"relinkd:v1:token-mark";

impl Keyring {
    /// The fingerprints of `token` under every key of the ring, active ones first: what to look for when somebody might
    /// already hold it.
    pub(crate) fn fingerprints(&self, token: &Token) -> Vec<(KeyId, Fingerprint)> {
        self.all().map(|(id, key)| (id.clone(), fingerprint(key, token))).collect()
    }

    /// The same, and those under keys that were destroyed: what to look for when somebody might have had it.
    pub(crate) fn fingerprints_ever(&self, token: &Token) -> Vec<Fingerprint> {
        let of_the_ring = self.fingerprints(token).into_iter().map(|(_, one)| one);
        of_the_ring.chain(self.fingerprint_keys().iter().map(|subkey| under(subkey, token))).collect()
    }

    /// The fingerprint to store beside what [`Keyring::seal`] writes now.
    pub(crate) fn fingerprint_under_primary(&self, token: &Token) -> (KeyId, Fingerprint) {
        (self.primary().clone(), fingerprint(self.primary_key(), token))
    }
}

impl Key {
    /// The subkey of this key's fingerprints.
    pub(crate) fn for_fingerprints(&self) -> Self {
        let mut subkey = Self::zeroed();
        Hkdf::<Sha256>::new(None, self.bytes())
            .expand(LABEL, subkey.bytes_mut())
            .expect("HKDF-SHA-256 gives up to 8,160 bytes");
        subkey
    }
}

fn fingerprint(key: &Key, token: &Token) -> Fingerprint {
    under(&key.for_fingerprints(), token)
}

fn under(subkey: &Key, token: &Token) -> Fingerprint {
    let mut hmac = Hmac::<Sha256>::new_from_slice(subkey.bytes()).expect("HMAC takes a key of any length");
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

    #[test]
    fn a_key_that_is_gone_is_recognised_by_its_subkey() {
        let [a, b] = ["a", "b"].map(|id| (KeyId::parse(id).unwrap(), Key::generate().unwrap()));
        let subkey = a.1.for_fingerprints();
        let token = Token::parse("7812-5733-8392-7092").unwrap();
        let both = Keyring::new(b.0.clone(), [a, b.clone()].into(), [].into()).unwrap();
        let left =
            Keyring::new(b.0.clone(), [b].into(), [].into()).unwrap().with_fingerprint_keys(vec![subkey]);
        let [a, b] = both.fingerprints(&token).try_into().unwrap();
        assert_eq!(both.fingerprints_ever(&token), [a.1, b.1]);
        let mut wanted = both.fingerprints_ever(&token);
        let mut found = left.fingerprints_ever(&token);
        wanted.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, wanted);
        assert_eq!(left.fingerprints(&token).len(), 1, "nothing new is stored under it");
    }
}
