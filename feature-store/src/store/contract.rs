//! What holds for every storage engine, run on each.
//!
//! Not here: what only one engine promises, such as surviving a crash (`tests/durability.rs`).

use augur_domain::ContentHash;
use augur_domain::ids::MessageKey;

use super::*;
use crate::testing::user;

#[test]
fn memory_keeps_the_contract() {
    keeps_the_contract(&MemoryStore::new());
}

#[cfg(feature = "rocksdb")]
#[test]
fn rocksdb_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    let config = crate::Config::new(dir.path());
    keeps_the_contract(&RocksStore::open(&config).unwrap());
}

fn keeps_the_contract<S: Store>(store: &S) {
    starts_empty(store);
    a_commit_is_all_there(store);
    events_come_back_in_order(store);
    states_can_be_replaced(store);
    definitions_are_remembered(store);
    exposures_are_replaced_whole(store);
    quarantine_is_bounded_and_newest_first(store);
    quarantine_may_lose_many_at_once(store);
    store.flush().unwrap();
    events_come_back_in_order(store);
    iterators_show_what_was_there_at_their_start(store);
    let _ = store.usage();
}

fn message(number: u8) -> MessageKey {
    MessageKey::from_bytes([number; 16])
}

fn starts_empty(store: &impl Store) {
    assert_eq!(store.state(user(1)).unwrap(), None);
    assert!(!store.contains_message(user(1), message(1)).unwrap());
    assert_eq!(store.events(user(1)).unwrap().count(), 0);
    assert_eq!(store.all_events().unwrap().count(), 0);
    assert_eq!(store.users().unwrap().count(), 0);
    assert_eq!(store.feature_set().unwrap(), None);
    assert_eq!(store.counters().unwrap(), []);
    assert_eq!(store.exposures(user(1)).unwrap(), None);
    assert_eq!((store.quarantine_len(), store.newest_quarantined(9).unwrap().len()), (0, 0));
}

fn new_event(who: u8, sequence: u64, id: u8) -> NewEvent {
    NewEvent { user: user(who), sequence, message_key: message(id), record: vec![who, sequence as u8] }
}

fn a_commit_is_all_there(store: &impl Store) {
    let counters = Counters { events: 300, users: 2 };
    let first = (1..=299).map(|sequence| new_event(2, sequence, (sequence % 250) as u8));
    let events = first.chain([new_event(1, 1, 1)]).collect();
    let states = vec![(user(2), b"two".to_vec()), (user(1), b"one".to_vec())];
    store.commit(&Commit { shard: 3, events, states, counters }).unwrap();
    assert_eq!(store.state(user(1)).unwrap().as_deref(), Some(b"one".as_slice()));
    assert!(store.contains_message(user(1), message(1)).unwrap());
    assert!(!store.contains_message(user(1), message(2)).unwrap(), "messages are remembered per user");
    assert_eq!(store.counters().unwrap(), [(3, counters)]);
}

fn events_come_back_in_order(store: &impl Store) {
    let sequences = |who| {
        let events = store.events(user(who)).unwrap().map(Result::unwrap);
        events.map(|event| (event.user, event.sequence, event.record)).collect::<Vec<_>>()
    };
    assert_eq!(sequences(1), [(user(1), 1, vec![1, 1])]);
    let of_two = sequences(2);
    assert_eq!(of_two.len(), 299);
    assert!(of_two.iter().zip(1..).all(|((_, found, _), expected)| *found == expected));
    let all: Vec<_> = store.all_events().unwrap().map(|event| event.unwrap().user).collect();
    assert_eq!((all.len(), all[0], all[1]), (300, user(1), user(2)));
    let users: Vec<_> = store.users().unwrap().map(Result::unwrap).collect();
    assert_eq!(users, [user(1), user(2)]);
}

fn states_can_be_replaced(store: &impl Store) {
    store.replace_states(&[(user(1), b"new".to_vec())]).unwrap();
    assert_eq!(store.state(user(1)).unwrap().as_deref(), Some(b"new".as_slice()));
    assert_eq!(store.state(user(2)).unwrap().as_deref(), Some(b"two".as_slice()));
}

fn definitions_are_remembered(store: &impl Store) {
    let hash = ContentHash::from_bytes([5; 32]);
    store.set_feature_set(Some(hash)).unwrap();
    assert_eq!(store.feature_set().unwrap(), Some(hash));
    store.set_feature_set(None).unwrap();
    assert_eq!(store.feature_set().unwrap(), None);
}

fn exposures_are_replaced_whole(store: &impl Store) {
    store.put_exposures(user(1), b"long record").unwrap();
    store.put_exposures(user(1), b"short").unwrap();
    assert_eq!(store.exposures(user(1)).unwrap().as_deref(), Some(b"short".as_slice()));
    assert_eq!(store.exposures(user(2)).unwrap(), None);
}

fn quarantine_is_bounded_and_newest_first(store: &impl Store) {
    let records: Vec<Vec<u8>> = (0..10_u8).map(|number| vec![number]).collect();
    store.append_quarantine(&records, 1_000).unwrap();
    assert_eq!(store.quarantine_len(), 10);
    store.append_quarantine(&[vec![10]], 4).unwrap();
    assert_eq!(store.quarantine_len(), 4);
    assert_eq!(store.newest_quarantined(2).unwrap(), [vec![10], vec![9]]);
    assert_eq!(store.newest_quarantined(99).unwrap().len(), 4);
}

fn quarantine_may_lose_many_at_once(store: &impl Store) {
    let records: Vec<Vec<u8>> = (0..5_000_u32).map(|number| number.to_be_bytes().to_vec()).collect();
    store.append_quarantine(&records, 1_000_000).unwrap();
    assert_eq!(store.quarantine_len(), 5_004);
    store.append_quarantine(&[vec![1]], 3).unwrap();
    assert_eq!(store.quarantine_len(), 3);
    let kept = [vec![1], 4_999_u32.to_be_bytes().to_vec(), 4_998_u32.to_be_bytes().to_vec()];
    assert_eq!(store.newest_quarantined(99).unwrap(), kept);
}

fn iterators_show_what_was_there_at_their_start(store: &impl Store) {
    let (all, one) = (store.all_events().unwrap(), store.events(user(2)).unwrap());
    let events = vec![new_event(2, 300, 255), new_event(3, 1, 1)];
    store.commit(&Commit { shard: 3, events, ..Commit::default() }).unwrap();
    assert_eq!((all.count(), one.count()), (300, 299));
    assert_eq!(store.all_events().unwrap().count(), 302);
}
