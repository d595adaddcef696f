//! What the `key` commands do to a keyring, in memory. Each makes a new ring, which cannot be wrong.

use crate::envelope::{Key, KeyId, Keyring, KeyringFault};
use std::collections::BTreeMap;
use thiserror::Error;

/// The ring with one more active key.
pub(crate) fn add(ring: &Keyring, id: KeyId, key: Key) -> Result<Keyring, EditFault> {
    if ring.contains(&id) {
        return Err(EditFault::Taken(id));
    }
    let mut keys = ring.active().clone();
    keys.insert(id, key);
    rebuilt(ring, ring.primary().clone(), keys, ring.retired().clone())
}

/// The ring with this active key as the one that seals.
pub(crate) fn promote(ring: &Keyring, id: &KeyId) -> Result<Keyring, EditFault> {
    active(ring, id)?;
    rebuilt(ring, id.clone(), ring.active().clone(), ring.retired().clone())
}

/// The ring with this active key as a retired one. Whether it still seals a token somewhere is not known here.
pub(crate) fn retire(ring: &Keyring, id: &KeyId) -> Result<Keyring, EditFault> {
    let key = active(ring, id)?;
    not_primary(ring, id)?;
    let (mut keys, mut retired) = (ring.active().clone(), ring.retired().clone());
    keys.remove(id);
    retired.insert(id.clone(), key.clone());
    rebuilt(ring, ring.primary().clone(), keys, retired)
}

/// The ring without this key, active or retired: what it has sealed can never be opened again. What recognises its
/// fingerprints stays: a link may still carry a token that was removed in its time.
pub(crate) fn destroy(ring: &Keyring, id: &KeyId) -> Result<Keyring, EditFault> {
    not_primary(ring, id)?;
    let (mut keys, mut retired) = (ring.active().clone(), ring.retired().clone());
    let key = keys.remove(id).or_else(|| retired.remove(id)).ok_or_else(|| EditFault::Unknown(id.clone()))?;
    let left = ring.fingerprint_keys().iter().cloned().chain([key.for_fingerprints()]).collect();
    Ok(rebuilt(ring, ring.primary().clone(), keys, retired)?.with_fingerprint_keys(left))
}

/// An id for a new key: `k`, the year, and the first letters that are free, as in `k2026a`.
pub(crate) fn next_id(
    ring: Option<&Keyring>,
    is_taken: impl Fn(&KeyId) -> bool,
    year: u32,
) -> Result<KeyId, EditFault> {
    (0_u32..)
        .map_while(|index| KeyId::parse(&format!("k{year}{}", letters(index))).ok())
        .find(|id| !is_taken(id) && !ring.is_some_and(|ring| ring.contains(id)))
        .ok_or(EditFault::NoId)
}

/// `a` to `z`, then `aa`, `ab` and so on.
fn letters(mut index: u32) -> String {
    let mut letters = Vec::new();
    loop {
        letters.push(char::from(b'a' + u8::try_from(index % 26).unwrap_or_default()));
        if index < 26 {
            return letters.into_iter().rev().collect();
        }
        index = index / 26 - 1;
    }
}

fn active<'r>(ring: &'r Keyring, id: &KeyId) -> Result<&'r Key, EditFault> {
    if ring.is_retired(id) {
        return Err(EditFault::Retired(id.clone()));
    }
    ring.active().get(id).ok_or_else(|| EditFault::Unknown(id.clone()))
}

fn not_primary(ring: &Keyring, id: &KeyId) -> Result<(), EditFault> {
    if ring.primary() == id { Err(EditFault::Primary(id.clone())) } else { Ok(()) }
}

fn rebuilt(
    ring: &Keyring,
    primary: KeyId,
    keys: BTreeMap<KeyId, Key>,
    retired: BTreeMap<KeyId, Key>,
) -> Result<Keyring, EditFault> {
    Ok(Keyring::new(primary, keys, retired)?.with_fingerprint_keys(ring.fingerprint_keys().to_vec()))
}

/// Why a keyring is not changed, with what to do instead.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum EditFault {
    /// The id is another key's.
    #[error("there is a key `{0}` already: choose another id")]
    Taken(KeyId),
    /// No such key.
    #[error("there is no key `{0}`: `relinkd key list` shows those there are")]
    Unknown(KeyId),
    /// A retired key neither seals nor retires again.
    #[error("the key `{0}` is retired: it opens, and never seals again")]
    Retired(KeyId),
    /// The primary key stays.
    #[error("the key `{0}` is the primary one: make another one primary first, with `relinkd key promote`")]
    Primary(KeyId),
    /// No id is left.
    #[error("no id is left for a new key of this year: choose one with --id")]
    NoId,
    /// What is left makes no ring.
    #[error(transparent)]
    Ring(#[from] KeyringFault),
}
