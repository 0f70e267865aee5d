//! Packed states of users who had events lately, as their last commit stored them: the next commit, and whoever reads
//! their features, need not search the engine's buffers and files for them.
//!
//! Only commits put records in, after they are stored, and every write of a state takes the old record out before it
//! begins, so what is found here is what is stored: a user has one writer at a time. Bounded in bytes, with two
//! generations per part: what is asked for moves to the young one; when that is full it becomes the old one, and the old
//! one is forgotten. Not here: which writes there are (`rocks`).

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use augur_domain::UserKey;
use parking_lot::Mutex;

use super::Generation;
use crate::exposure::spread;

/// Parts with a lock each, so that writers and readers seldom wait for each other.
const PARTS: usize = 64;
/// Of an entry beside its record: key, pointers, free places of the map, rounding of the allocator.
const ENTRY_BYTES: usize = 128;

type Key = (UserKey, Generation);

pub(super) struct StateCache {
    parts: Vec<Mutex<Part>>,
    /// Of one generation of one part; 0 keeps nothing.
    part_bytes: usize,
}

#[derive(Default)]
struct Part {
    young: Records,
    old: Records,
}

#[derive(Default)]
struct Records {
    records: HashMap<Key, Box<[u8]>, BuildHasherDefault<Mixer>>,
    bytes: usize,
}

/// Mixes words. Users' keys are keyed hashes already, which nobody can choose.
#[derive(Default)]
struct Mixer(u64);

impl Hasher for Mixer {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.write_u64(u64::from_le_bytes(*word)));
        rest.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(u64::from(number));
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }

    fn write_u64(&mut self, number: u64) {
        // An odd number whose bits have no pattern: the golden ratio's.
        self.0 = (self.0.rotate_left(29) ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }
}

impl StateCache {
    /// Holds up to about `bytes`.
    pub(super) fn new(bytes: usize) -> Self {
        let parts = (0..PARTS).map(|_| Mutex::default()).collect();
        Self { parts, part_bytes: bytes / PARTS / 2 }
    }

    pub(super) fn get(&self, generation: Generation, user: UserKey) -> Option<Vec<u8>> {
        if self.part_bytes == 0 {
            return None;
        }
        let (key, mut part) = ((user, generation), self.part(user).lock());
        if let Some(record) = part.young.records.get(&key) {
            return Some(record.to_vec());
        }
        let record = part.old.take(&key)?;
        let copy = record.to_vec();
        part.put(key, record, self.part_bytes);
        Some(copy)
    }

    /// Takes note of what was stored.
    pub(super) fn put(&self, generation: Generation, user: UserKey, record: &[u8]) {
        if self.part_bytes > 0 {
            self.part(user).lock().put((user, generation), record.into(), self.part_bytes);
        }
    }

    /// Before another record is stored, or none.
    pub(super) fn forget(&self, generation: Generation, user: UserKey) {
        if self.part_bytes > 0 {
            let (key, mut part) = ((user, generation), self.part(user).lock());
            if part.young.take(&key).is_none() {
                part.old.take(&key);
            }
        }
    }

    pub(super) fn clear(&self) {
        for part in &self.parts {
            *part.lock() = Part::default();
        }
    }

    /// How much it holds.
    pub(super) fn bytes(&self) -> usize {
        let held = |part: &Mutex<Part>| {
            let part = part.lock();
            part.young.bytes + part.old.bytes
        };
        self.parts.iter().map(held).sum()
    }

    #[expect(clippy::indexing_slicing, reason = "the index is reduced modulo a length that is never 0")]
    fn part(&self, user: UserKey) -> &Mutex<Part> {
        // The writers' shards use the low bits.
        &self.parts[(spread(user) >> 32) as usize % self.parts.len()]
    }
}

impl Part {
    fn put(&mut self, key: Key, record: Box<[u8]>, part_bytes: usize) {
        self.old.take(&key);
        self.young.bytes += record.len() + ENTRY_BYTES;
        if let Some(before) = self.young.records.insert(key, record) {
            self.young.bytes -= before.len() + ENTRY_BYTES;
        }
        if self.young.bytes > part_bytes {
            self.old = std::mem::take(&mut self.young);
        }
        // One that alone is larger than a part may hold would stay for as long as no other comes.
        if self.old.bytes > 2 * part_bytes {
            self.old = Records::default();
        }
    }
}

impl Records {
    fn take(&mut self, key: &Key) -> Option<Box<[u8]>> {
        let record = self.records.remove(key)?;
        self.bytes -= record.len() + ENTRY_BYTES;
        Some(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::user;

    const FIRST: Generation = Generation::FIRST;

    fn numbered(number: u64) -> UserKey {
        let mut key = [0; 16];
        key[8..].copy_from_slice(&number.wrapping_mul(0xbf58_476d_1ce4_e5b9).to_le_bytes());
        UserKey::from_bytes(key)
    }

    #[test]
    fn it_is_bounded_and_keeps_what_is_in_use() {
        const BYTES: usize = 1 << 20;
        let cache = StateCache::new(BYTES);
        cache.put(FIRST, user(1), b"in use");
        for number in 2..60_000 {
            cache.put(FIRST, numbered(number), &[7; 100]);
            assert_eq!(cache.get(FIRST, user(1)).as_deref(), Some(b"in use".as_slice()));
        }
        assert!(cache.bytes() <= BYTES + PARTS * 2 * (100 + ENTRY_BYTES), "{} bytes", cache.bytes());
        assert!(cache.bytes() > BYTES / 4, "{} bytes", cache.bytes());
        assert_eq!(cache.get(FIRST, numbered(2)), None);
        cache.put(FIRST, numbered(3), &vec![7; 2 * BYTES]);
        assert_eq!(cache.get(FIRST, numbered(3)), None);
    }

    #[test]
    fn what_is_forgotten_is_gone_and_generations_do_not_mix() {
        let (cache, second) = (StateCache::new(1 << 20), Generation::new(2).unwrap());
        cache.put(FIRST, user(1), b"one");
        cache.put(second, user(1), b"two");
        cache.forget(FIRST, user(1));
        assert_eq!((cache.get(FIRST, user(1)), cache.get(second, user(1))), (None, Some(b"two".to_vec())));
        cache.clear();
        assert_eq!((cache.get(second, user(1)), cache.bytes()), (None, 0));
    }

    #[test]
    fn without_bytes_it_keeps_nothing() {
        let cache = StateCache::new(0);
        cache.put(FIRST, user(1), b"");
        assert_eq!(cache.get(FIRST, user(1)), None);
    }
}
