//! Packed states of users who had events lately, as their last commit stored them: the next commit, and whoever reads
//! their features, need not search the engine's buffers and files for them.
//!
//! Only commits put records in, after they are stored, and every write of a state takes the old record out before it
//! begins, so what is found here is what is stored: a user has one writer at a time, and a read never puts back what it
//! has read. Bounded in bytes, with two generations per part: what is asked for moves to the young one; when that is full
//! it becomes the old one, and the old one is forgotten. Not here: which writes there are (`rocks`).

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
    hits: u64,
    misses: u64,
}

/// How much it holds, and how often a state that was asked for was there, since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Use {
    pub(super) bytes: usize,
    pub(super) hits: u64,
    pub(super) misses: u64,
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
    /// Holds up to `bytes`.
    pub(super) fn new(bytes: usize) -> Self {
        let parts = (0..PARTS).map(|_| Mutex::default()).collect();
        Self { parts, part_bytes: bytes / PARTS / 2 }
    }

    pub(super) fn get(&self, generation: Generation, user: UserKey) -> Option<Vec<u8>> {
        if self.part_bytes == 0 {
            return None;
        }
        self.part(user).lock().get((user, generation), self.part_bytes)
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
            let mut part = part.lock();
            (part.young, part.old) = Default::default();
        }
    }

    /// Without any bytes nothing is counted.
    pub(super) fn usage(&self) -> Use {
        let mut usage = Use::default();
        for part in &self.parts {
            let part = part.lock();
            usage.bytes += part.young.bytes + part.old.bytes;
            usage.hits += part.hits;
            usage.misses += part.misses;
        }
        usage
    }

    #[expect(clippy::indexing_slicing, reason = "the index is reduced modulo a length that is never 0")]
    fn part(&self, user: UserKey) -> &Mutex<Part> {
        // The writers' shards use the low bits.
        &self.parts[(spread(user) >> 32) as usize % self.parts.len()]
    }
}

impl Part {
    fn get(&mut self, key: Key, part_bytes: usize) -> Option<Vec<u8>> {
        let found = match self.young.records.get(&key) {
            Some(record) => Some(record.to_vec()),
            None => self.old.take(&key).map(|record| {
                let copy = record.to_vec();
                self.put(key, record, part_bytes);
                copy
            }),
        };
        *(if found.is_some() { &mut self.hits } else { &mut self.misses }) += 1;
        found
    }

    /// Neither generation ever holds more than its bytes; what alone is larger is not kept.
    fn put(&mut self, key: Key, record: Box<[u8]>, part_bytes: usize) {
        self.old.take(&key);
        self.young.take(&key);
        let bytes = record.len() + ENTRY_BYTES;
        if bytes > part_bytes {
            return;
        }
        if self.young.bytes + bytes > part_bytes {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.bytes += bytes;
        self.young.records.insert(key, record);
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
mod tests;
