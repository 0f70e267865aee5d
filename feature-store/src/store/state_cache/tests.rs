//! The cache by itself, against a map; then under an engine whose writers and readers are at it at the same time. What
//! every kind of write does to it is in `feature_store/cache_tests.rs`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;

use super::*;
use crate::Config;
use crate::store::{Commit, Read, RocksStore, Store};
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
    let usage = cache.usage();
    assert!((BYTES / 4..=BYTES).contains(&usage.bytes), "{} bytes", usage.bytes);
    assert_eq!((usage.hits, usage.misses), (59_998, 0));
    assert_eq!(cache.get(FIRST, numbered(2)), None);
    cache.put(FIRST, numbered(3), &vec![7; 2 * BYTES]);
    assert_eq!(cache.get(FIRST, numbered(3)), None);
    assert_eq!(cache.usage().misses, 2);
}

#[test]
fn what_is_forgotten_is_gone_and_generations_do_not_mix() {
    let (cache, second) = (StateCache::new(1 << 20), Generation::new(2).unwrap());
    cache.put(FIRST, user(1), b"one");
    cache.put(second, user(1), b"two");
    cache.forget(FIRST, user(1));
    assert_eq!((cache.get(FIRST, user(1)), cache.get(second, user(1))), (None, Some(b"two".to_vec())));
    cache.clear();
    assert_eq!((cache.get(second, user(1)), cache.usage().bytes), (None, 0));
    assert_eq!((cache.usage().hits, cache.usage().misses), (1, 2), "counted over what was cleared");
}

#[test]
fn without_bytes_it_keeps_nothing() {
    let cache = StateCache::new(0);
    cache.put(FIRST, user(1), b"");
    assert_eq!(cache.get(FIRST, user(1)), None);
    assert_eq!(cache.usage(), Use::default());
}

/// A user, a generation, and what becomes of the record: a put of so many bytes, a look, a removal.
fn uses() -> impl Strategy<Value = Vec<(u64, u32, Option<Option<usize>>)>> {
    let put = prop_oneof![8 => 0..300_usize, 1 => 300..3_000_usize];
    let kind = prop_oneof![4 => put.prop_map(|len| Some(Some(len))), 4 => Just(Some(None)), 1 => Just(None)];
    prop::collection::vec((0..40_u64, 1..4_u32, kind), 1..400)
}

proptest! {
    #[test]
    fn it_gives_what_was_put_last_or_nothing_and_keeps_within_its_bytes(
        uses in uses(), bytes in 0..200_000_usize,
    ) {
        let (cache, mut last) = (StateCache::new(bytes), BTreeMap::new());
        for (number, (who, generation, kind)) in uses.into_iter().enumerate() {
            let (user, generation) = (numbered(who), Generation::new(generation).unwrap());
            match kind {
                Some(Some(len)) => {
                    let record = vec![number as u8; len];
                    cache.put(generation, user, &record);
                    last.insert((user, generation), record);
                }
                Some(None) => {
                    let found = cache.get(generation, user);
                    prop_assert!(found.is_none() || found.as_ref() == last.get(&(user, generation)));
                }
                None => {
                    cache.forget(generation, user);
                    last.remove(&(user, generation));
                    prop_assert_eq!(cache.get(generation, user), None);
                }
            }
            prop_assert!(cache.usage().bytes <= bytes);
            for part in &cache.parts {
                let part = part.lock();
                for records in [&part.young, &part.old] {
                    let held = records.records.values().map(|record| record.len() + ENTRY_BYTES);
                    prop_assert_eq!(records.bytes, held.sum::<usize>());
                }
            }
        }
    }
}

/// A read that begins after another sees nothing older, however commits, other writes and evictions fall in between.
#[test]
fn readers_never_see_an_older_state_than_before() {
    const USERS: u8 = 8;
    const WRITES: u64 = 400;
    let users: Vec<UserKey> = (0..USERS).map(user).collect();
    let number = |record: Option<Vec<u8>>| {
        record.map_or(0, |record| u64::from_be_bytes(*record.first_chunk().unwrap()))
    };
    // Of one record per part and generation, and of all.
    for bytes in [2 * PARTS * (100 + ENTRY_BYTES), 1 << 20] {
        let dir = tempfile::tempdir().unwrap();
        let config = Config { sync: false, state_cache_bytes: bytes, ..Config::new(dir.path()) };
        let (store, over) = (RocksStore::open(&config).unwrap(), AtomicBool::new(false));
        let (store, over, users) = (&store, &over, &users);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(move || {
                    let mut seen = vec![0; users.len()];
                    while !over.load(Ordering::Acquire) {
                        for (user, seen) in users.iter().zip(&mut seen) {
                            let found = number(store.state(FIRST, *user).unwrap());
                            assert!(found >= *seen, "{found} after {seen}");
                            *seen = found;
                        }
                        let all = store.states(FIRST, users).unwrap();
                        for (record, seen) in all.into_iter().zip(&mut seen) {
                            let found = number(record);
                            assert!(found >= *seen, "{found} after {seen}");
                            *seen = found;
                        }
                    }
                });
            }
            let writers: Vec<_> = users
                .chunks(users.len() / 2)
                .map(|own| {
                    scope.spawn(move || {
                        for write in 1..=WRITES {
                            let record = [write.to_be_bytes().as_slice(), &[0; 92]].concat();
                            let states = own.iter().map(|user| (FIRST, *user, record.clone()));
                            if write % 5 == 0 {
                                let states: Vec<_> = states.map(|(_, user, record)| (user, record)).collect();
                                store.replace_states(FIRST, &states).unwrap();
                            } else {
                                store
                                    .commit(&Commit { states: states.collect(), ..Commit::default() })
                                    .unwrap();
                            }
                            for user in own {
                                assert_eq!(number(store.state(FIRST, *user).unwrap()), write);
                            }
                        }
                    })
                })
                .collect();
            let ended: Vec<bool> = writers.into_iter().map(|writer| writer.join().is_ok()).collect();
            over.store(true, Ordering::Release);
            assert_eq!(ended, [true, true]);
        });
        let usage = store.usage();
        assert!(usage.state_cache_bytes <= bytes as u64 && usage.state_cache_hits > 0, "{usage:?}");
    }
}
