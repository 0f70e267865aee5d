//! Which person an id stands for, remembered within a bound, whether or not it is linked.
//!
//! Two generations per part: what is asked for moves to the young one; when that is full it becomes the old one, and
//! the old one is forgotten. So memory is bounded, and what is in use stays. Not here: the store behind it.

use std::collections::HashMap;

use augur_domain::UserKey;
use parking_lot::Mutex;

use crate::exposure::spread;

/// Parts with a lock each, so that readers seldom wait for each other.
const PARTS: usize = 16;

/// A bounded map from ids to persons; `None` for an id that is not linked.
#[derive(Debug)]
pub(super) struct Cache {
    parts: Vec<Mutex<Part>>,
    /// Entries of a generation of one part.
    capacity: usize,
}

#[derive(Debug, Default)]
struct Part {
    /// Raised by every change, so that what was read from the store before it is not remembered after it.
    version: u64,
    young: HashMap<UserKey, Option<UserKey>>,
    old: HashMap<UserKey, Option<UserKey>>,
}

impl Cache {
    /// Room for about `entries` ids.
    pub(super) fn new(entries: usize) -> Self {
        let parts = (0..PARTS).map(|_| Mutex::default()).collect();
        Self { parts, capacity: (entries / PARTS / 2).max(1) }
    }

    /// What is known of the id, or what `read` says.
    pub(super) fn get_or<E>(
        &self,
        id: UserKey,
        read: impl FnOnce() -> Result<Option<UserKey>, E>,
    ) -> Result<Option<UserKey>, E> {
        let version = {
            let mut part = self.part(id).lock();
            if let Some(person) = part.get(id, self.capacity) {
                return Ok(person);
            }
            part.version
        };
        let person = read()?;
        let mut part = self.part(id).lock();
        if part.version == version {
            part.put(id, person, self.capacity);
        }
        Ok(person)
    }

    /// Takes note of a change that is stored already.
    pub(super) fn set(&self, id: UserKey, person: Option<UserKey>) {
        let mut part = self.part(id).lock();
        part.version += 1;
        part.put(id, person, self.capacity);
    }

    /// Looks again next time: nobody knows what is stored.
    pub(super) fn forget(&self, id: UserKey) {
        let mut part = self.part(id).lock();
        part.version += 1;
        part.young.remove(&id);
        part.old.remove(&id);
    }

    #[expect(clippy::indexing_slicing, reason = "the index is reduced modulo a length that is never 0")]
    fn part(&self, id: UserKey) -> &Mutex<Part> {
        // The writers' shards and the exposures' locks use the low bits.
        &self.parts[(spread(id) >> 32) as usize % self.parts.len()]
    }
}

impl Part {
    fn get(&mut self, id: UserKey, capacity: usize) -> Option<Option<UserKey>> {
        if let Some(person) = self.young.get(&id) {
            return Some(*person);
        }
        let person = self.old.remove(&id)?;
        self.put(id, person, capacity);
        Some(person)
    }

    fn put(&mut self, id: UserKey, person: Option<UserKey>, capacity: usize) {
        self.old.remove(&id);
        self.young.insert(id, person);
        if self.young.len() > capacity {
            self.old = std::mem::take(&mut self.young);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn id(number: u32) -> UserKey {
        let mut key = [0; 16];
        key[..4].copy_from_slice(&number.to_le_bytes());
        key[4..8].copy_from_slice(&number.to_le_bytes());
        UserKey::from_bytes(key)
    }

    #[test]
    fn it_is_bounded_and_keeps_what_is_in_use() {
        let cache = Cache::new(3_200);
        let mut reads = 0;
        for number in 0..100_000 {
            for asked in [0, number] {
                let read = || {
                    reads += u32::from(asked == 0);
                    Ok::<_, Infallible>(Some(id(asked + 1)))
                };
                assert_eq!(cache.get_or(id(asked), read).unwrap(), Some(id(asked + 1)));
            }
        }
        assert_eq!(reads, 1);
        let held = |part: &Mutex<Part>| {
            let part = part.lock();
            part.young.len() + part.old.len()
        };
        assert!(cache.parts.iter().map(held).sum::<usize>() <= 3_200 + 2 * PARTS);
    }

    #[test]
    fn what_changed_during_a_read_is_not_overwritten_by_it() {
        let cache = Cache::new(100);
        let late = cache.get_or(id(1), || {
            cache.set(id(1), Some(id(2)));
            Ok::<_, Infallible>(None)
        });
        assert_eq!(late.unwrap(), None);
        assert_eq!(cache.get_or(id(1), || Ok::<_, Infallible>(None)).unwrap(), Some(id(2)));
    }
}
