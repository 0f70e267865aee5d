//! What is left to each of very many keys, in memory that never grows.
//!
//! Sets of eight places, chosen by the key's hash. A key whose queue has drained carries no information, so its place is
//! free; when all eight still drain, the one that drains first makes room, and its key begins anew: an error in the
//! caller's favour that is counted. 16 bytes a key; a lock per set, held for some tens of nanoseconds. Not here: rates
//! (`rate`), or what keys are made of (the parent).

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::rate::{Rate, Taken};

/// Places of one set.
const WAYS: usize = 8;

#[derive(Debug, Clone, Copy, Default)]
struct Place {
    /// 0 is nobody.
    key: u64,
    drained_at_ns: u64,
}

/// Keys and when the queue of each drains.
#[derive(Debug)]
pub(super) struct Table {
    sets: Box<[Mutex<[Place; WAYS]>]>,
    evicted: AtomicU64,
}

impl Table {
    /// Room for at least `keys` at once, up to how evenly they fall.
    pub(super) fn new(keys: usize) -> Self {
        let sets = keys.div_ceil(WAYS).max(1);
        Self { sets: (0..sets).map(|_| Mutex::default()).collect(), evicted: AtomicU64::new(0) }
    }

    /// Takes one call of `key`, a hash that callers cannot choose.
    pub(super) fn take(&self, key: u64, rate: Rate, now_ns: u64) -> Taken {
        self.change(key, now_ns, |drained_at_ns| rate.take(drained_at_ns, now_ns))
    }

    /// Gives back one call of `key`.
    pub(super) fn give_back(&self, key: u64, rate: Rate, now_ns: u64) {
        self.change(key, now_ns, |drained_at_ns| (rate.give_back(drained_at_ns), ()));
    }

    /// Keys that began anew because others needed their place, since the start.
    pub(super) fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    fn change<T>(&self, key: u64, now_ns: u64, change: impl FnOnce(u64) -> (u64, T)) -> T {
        let key = key.max(1);
        // The high half of the product: even over any number of sets.
        let set = (u128::from(key) * self.sets.len() as u128) >> 64;
        let set = usize::try_from(set).ok().and_then(|set| self.sets.get(set));
        let Some(set) = set else { return change(now_ns).1 };
        let mut places = set.lock();
        let (drained_at_ns, changed) = match places.iter_mut().find(|place| place.key == key) {
            Some(place) => {
                let (drained_at_ns, changed) = change(place.drained_at_ns);
                place.drained_at_ns = drained_at_ns;
                return changed;
            }
            None => change(now_ns),
        };
        if let Some(place) = places.iter_mut().min_by_key(|place| place.drained_at_ns) {
            if place.key != 0 && place.drained_at_ns > now_ns {
                self.evicted.fetch_add(1, Ordering::Relaxed);
            }
            *place = Place { key, drained_at_ns };
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(number: u64) -> u64 {
        // Splitmix64: any even spread will do.
        let mut hash = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        hash ^ (hash >> 31)
    }

    #[test]
    fn each_key_has_its_own_allowance() {
        let (table, rate) = (Table::new(1_000), Rate::parse("2 per 1s").unwrap());
        for key in 0..100 {
            assert_eq!(table.take(hash(key), rate, 5), Taken::Granted { remaining: 1 });
            assert_eq!(table.take(hash(key), rate, 5), Taken::Granted { remaining: 0 });
            assert!(matches!(table.take(hash(key), rate, 5), Taken::Refused { .. }));
            table.give_back(hash(key), rate, 5);
            assert_eq!(table.take(hash(key), rate, 5), Taken::Granted { remaining: 0 });
        }
        assert_eq!(table.evicted(), 0);
    }

    #[test]
    fn a_million_keys_take_no_more_memory_than_was_set_aside() {
        let (table, rate) = (Table::new(100_000), Rate::parse("2 per 1s").unwrap());
        let bytes = size_of_val(&*table.sets);
        assert!(bytes <= 100_000 * 17, "{bytes}");
        for key in 0..1_000_000 {
            assert!(matches!(table.take(hash(key), rate, 5), Taken::Granted { .. }));
        }
        let evicted = table.evicted();
        assert!((900_000..=910_000).contains(&evicted), "{evicted}");
        // The set's other keys have drained by then, so nobody is evicted any more.
        let later = 2_000_000_000;
        for key in 0..10_000 {
            table.take(hash(key), rate, later);
        }
        assert_eq!(table.evicted(), evicted);
    }

    #[test]
    fn who_is_at_the_limit_stays_there_while_newcomers_come() {
        // A thousand a second for the greedy, whose queue is the fullest of its set, against half a million strangers.
        let (table, rate) = (Table::new(8), Rate::parse("1000 per 1s").unwrap());
        while let Taken::Granted { .. } = table.take(77, rate, 5) {}
        for key in 0..500_000 {
            table.take(hash(key), rate, 5);
        }
        assert!(matches!(table.take(77, rate, 5), Taken::Refused { .. }));
    }
}
