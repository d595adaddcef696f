//! The keys relinkd holds while it runs: the one that seals, those that also open, and the retired ones.
//!
//! A keyring cannot be wrong once it is built: its primary is among its active keys, and no id stands twice.

use super::key::{Key, KeyId};
use std::collections::BTreeMap;
use thiserror::Error;

/// Every key by its id. It seals with the primary one and opens with whichever key a value names.
#[derive(Debug, Clone)]
pub(crate) struct Keyring {
    primary: KeyId,
    keys: BTreeMap<KeyId, Key>,
    retired: BTreeMap<KeyId, Key>,
    /// Of keys that were destroyed.
    fingerprint_keys: Vec<Key>,
}

impl Keyring {
    /// Puts a ring together. `keys` are the active ones, the primary among them; `retired` ones open and never seal.
    ///
    /// # Errors
    /// The primary is not among `keys`, or an id stands in both maps.
    pub(crate) fn new(
        primary: KeyId,
        keys: BTreeMap<KeyId, Key>,
        retired: BTreeMap<KeyId, Key>,
    ) -> Result<Self, KeyringFault> {
        if let Some(twice) = keys.keys().find(|id| retired.contains_key(id)) {
            return Err(KeyringFault::DuplicateId(twice.clone()));
        }
        if retired.contains_key(&primary) {
            return Err(KeyringFault::RetiredPrimary(primary));
        }
        if !keys.contains_key(&primary) {
            return Err(KeyringFault::NoPrimary(primary));
        }
        Ok(Self { primary, keys, retired, fingerprint_keys: Vec::new() })
    }

    /// The same ring, with what is left of keys that were destroyed: their fingerprints' subkeys. They open nothing, and
    /// recognise, in a link, a token that somebody had in their time.
    pub(crate) fn with_fingerprint_keys(self, fingerprint_keys: Vec<Key>) -> Self {
        Self { fingerprint_keys, ..self }
    }

    /// What is left of keys that were destroyed.
    pub(crate) fn fingerprint_keys(&self) -> &[Key] {
        &self.fingerprint_keys
    }

    /// The id of the key that seals.
    pub(crate) fn primary(&self) -> &KeyId {
        &self.primary
    }

    /// The active keys, the primary among them.
    pub(crate) fn active(&self) -> &BTreeMap<KeyId, Key> {
        &self.keys
    }

    /// The keys that only open.
    pub(crate) fn retired(&self) -> &BTreeMap<KeyId, Key> {
        &self.retired
    }

    /// All ids, the active ones first.
    pub(crate) fn ids(&self) -> impl Iterator<Item = &KeyId> {
        self.all().map(|(id, _)| id)
    }

    /// Whether the ring holds this key, active or retired.
    pub(crate) fn contains(&self, id: &KeyId) -> bool {
        self.key(id).is_some()
    }

    /// Whether the ring holds this key as a retired one.
    pub(crate) fn is_retired(&self, id: &KeyId) -> bool {
        self.retired.contains_key(id)
    }

    pub(super) fn key(&self, id: &KeyId) -> Option<&Key> {
        self.keys.get(id).or_else(|| self.retired.get(id))
    }

    pub(super) fn primary_key(&self) -> &Key {
        self.keys.get(&self.primary).expect("the primary key is in the ring: `new` looked")
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&KeyId, &Key)> {
        self.keys.iter().chain(&self.retired)
    }
}

/// Why keys do not make a ring. Ids are named, keys never.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum KeyringFault {
    /// The primary key is not there.
    #[error("the primary key `{0}` is not under [keys]")]
    NoPrimary(KeyId),
    /// The primary key is a retired one, which never seals.
    #[error("the primary key `{0}` is retired: a retired key never seals")]
    RetiredPrimary(KeyId),
    /// One id for two keys.
    #[error("the key id `{0}` stands under [keys] and under [retired]")]
    DuplicateId(KeyId),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> KeyId {
        KeyId::parse(text).unwrap()
    }

    fn ring(primary: &str, keys: &[&str], retired: &[&str]) -> Result<Keyring, KeyringFault> {
        let map = |ids: &[&str]| ids.iter().map(|text| (id(text), Key::generate().unwrap())).collect();
        Keyring::new(id(primary), map(keys), map(retired))
    }

    #[test]
    fn knows_its_keys() {
        let ring = ring("b", &["c", "b"], &["a"]).unwrap();
        assert_eq!(ring.primary(), &id("b"));
        assert_eq!(ring.ids().map(KeyId::as_str).collect::<Vec<_>>(), ["b", "c", "a"]);
        assert!(ring.contains(&id("a")) && ring.contains(&id("c")) && !ring.contains(&id("d")));
        assert!(ring.is_retired(&id("a")) && !ring.is_retired(&id("b")) && !ring.is_retired(&id("d")));
        assert_eq!((ring.active().len(), ring.retired().len()), (2, 1));
    }

    #[test]
    fn refuses_a_ring_that_cannot_work() {
        assert_eq!(ring("x", &["a"], &["b"]).err(), Some(KeyringFault::NoPrimary(id("x"))));
        assert_eq!(ring("a", &[], &[]).err(), Some(KeyringFault::NoPrimary(id("a"))));
        assert_eq!(ring("b", &["a"], &["b"]).err(), Some(KeyringFault::RetiredPrimary(id("b"))));
        assert_eq!(ring("a", &["a", "b"], &["b"]).err(), Some(KeyringFault::DuplicateId(id("b"))));
    }

    #[test]
    fn debug_shows_ids_and_no_key() {
        let ring = ring("a", &["a"], &[]).unwrap();
        let shown = format!("{ring:?}");
        assert!(shown.contains("Key(…)"), "{shown}");
        assert!(!shown.contains(ring.primary_key().encode().as_str()), "{shown}");
    }
}
