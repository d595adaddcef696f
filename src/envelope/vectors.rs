//! Runs `tests/vectors/envelope.json`, sealed by Python's `cryptography`, through the keyring.

use super::seal::seal_with;
use super::{Key, KeyId, Keyring, TokenState, UnusableReason};
use crate::token::{Token, TokenRule};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

type Texts = std::collections::BTreeMap<String, String>;

#[derive(Deserialize)]
struct Vectors {
    primary: String,
    keys: Texts,
    retired: Texts,
    opens: Vec<Opens>,
    fails: Vec<Fails>,
    fingerprints: Vec<Marked>,
}

#[derive(Deserialize)]
struct Opens {
    name: String,
    telegram_id: i64,
    token: String,
    sealed: String,
}

#[derive(Deserialize)]
struct Fails {
    name: String,
    telegram_id: i64,
    code: String,
    sealed: String,
}

#[derive(Deserialize)]
struct Marked {
    key: String,
    token: String,
    fingerprint: String,
}

fn vectors() -> (Keyring, Vectors) {
    let vectors: Vectors = serde_json::from_str(include_str!("../../tests/vectors/envelope.json")).unwrap();
    let keys =
        |texts: &Texts| texts.iter().map(|(id, key)| (kid(id), Key::parse(key).unwrap())).collect::<Vec<_>>();
    let (active, retired) = (keys(&vectors.keys), keys(&vectors.retired));
    let ring =
        Keyring::new(kid(&vectors.primary), active.into_iter().collect(), retired.into_iter().collect())
            .unwrap();
    (ring, vectors)
}

fn kid(text: &str) -> KeyId {
    KeyId::parse(text).unwrap()
}

#[test]
fn opens_what_python_sealed_and_seals_the_same_bytes() {
    let (ring, vectors) = vectors();
    assert!(vectors.opens.len() >= 10);
    for Opens { name, telegram_id, token, sealed } in vectors.opens {
        let key = kid(sealed.split(':').nth(2).unwrap());
        let payload = URL_SAFE_NO_PAD.decode(sealed.rsplit(':').next().unwrap()).unwrap();
        let nonce = *payload.first_chunk().unwrap();
        let again = seal_with(ring.key(&key).unwrap(), &key, nonce, token.as_bytes(), telegram_id);
        assert_eq!(again, sealed, "{name}");
        let expected = TokenState::Sealed { token: Token::parse(&token).unwrap(), key };
        assert_eq!(ring.read(Some(&sealed), telegram_id, &TokenRule::default()), expected, "{name}");
    }
}

#[test]
fn refuses_what_must_not_open() {
    let (ring, vectors) = vectors();
    assert!(vectors.fails.len() >= 30);
    for Fails { name, telegram_id, code, sealed } in vectors.fails {
        let fault = ring.open(&sealed, telegram_id).expect_err(&name);
        assert_eq!(UnusableReason::Sealed(fault).code(), code, "{name}");
    }
}

#[test]
fn fingerprints_as_python_does() {
    let (ring, vectors) = vectors();
    for Marked { key, token, fingerprint } in &vectors.fingerprints {
        let fingerprints = ring.fingerprints(&Token::parse(token).unwrap());
        let (_, ours) = fingerprints.iter().find(|(id, _)| id.as_str() == key).unwrap();
        assert_eq!(&URL_SAFE_NO_PAD.encode(ours), fingerprint, "{key}");
    }
    assert_eq!(vectors.fingerprints.len(), ring.ids().count());
}
