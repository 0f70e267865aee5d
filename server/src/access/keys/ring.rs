//! The keys that a running server knows: asked on every call, read again when their file changes.
//!
//! Not here: the file (`file`), or what happens to a call whose key is refused (`gate`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use augur_domain::Timestamp;

use super::{ApiKey, KeyId, KeyState, hash, parts};
use crate::access::fault::Fault;
use crate::access::gate::Principal;

/// A last use is noted to this precision: every call of a busy key would write the same memory otherwise.
const USED_PRECISION_MS: i64 = 1_000;

/// One key in memory.
struct Held {
    key: ApiKey,
    principal: Arc<Principal>,
    /// Milliseconds since 1970; 0 for not yet.
    used_at_ms: AtomicI64,
}

/// All keys in memory; at most as many as the file may hold.
pub(crate) struct KeyRing {
    hashing: [u8; 32],
    keys: BTreeMap<KeyId, Held>,
}

impl KeyRing {
    /// `used` says when keys were used before, by id.
    pub(crate) fn new(hashing: [u8; 32], keys: Vec<ApiKey>, used: &BTreeMap<KeyId, Timestamp>) -> Self {
        let held = keys.into_iter().map(|key| {
            let used_at_ms = AtomicI64::new(used.get(&key.id).map_or(0, |at| at.unix_ms()));
            let principal = Arc::new(Principal::of_key(&key));
            (key.id, Held { key, principal, used_at_ms })
        });
        Self { hashing, keys: held.collect() }
    }

    /// How many would be let in at `now`.
    pub(crate) fn active(&self, now: Timestamp) -> usize {
        self.keys.values().filter(|held| held.key.state(now) == KeyState::Active).count()
    }

    /// Who `text` is. It takes as long for a key that exists as for one that does not.
    pub(crate) fn principal(&self, text: &str, now: Timestamp) -> Result<Arc<Principal>, Fault> {
        let (id, secret) = parts(text).ok_or(Fault::Malformed)?;
        let found = hash(&self.hashing, &id, &secret);
        let held = self.keys.get(&id).ok_or(Fault::UnknownKey)?;
        // Compares in constant time.
        if held.key.hash != found {
            return Err(Fault::UnknownKey);
        }
        match held.key.state(now) {
            KeyState::Active => {}
            KeyState::Expired => return Err(Fault::ExpiredKey),
            KeyState::Revoked => return Err(Fault::RevokedKey),
        }
        let before_ms = held.used_at_ms.load(Ordering::Relaxed);
        if now.unix_ms().saturating_sub(before_ms) >= USED_PRECISION_MS {
            held.used_at_ms.store(now.unix_ms(), Ordering::Relaxed);
        }
        Ok(Arc::clone(&held.principal))
    }

    /// When each key was used last; those that never were are left out.
    pub(crate) fn used(&self) -> BTreeMap<KeyId, Timestamp> {
        let used = self.keys.iter().map(|(id, held)| (*id, held.used_at_ms.load(Ordering::Relaxed)));
        used.filter(|(_, ms)| *ms != 0).map(|(id, ms)| (id, Timestamp::from_unix_ms(ms))).collect()
    }
}
