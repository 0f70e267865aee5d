//! What holds for every storage engine, run on each.
//!
//! Not here: what only one engine promises, such as surviving a crash (`tests/durability.rs`).

use augur_domain::Timestamp;
use augur_domain::ids::{AnswerKey, MessageKey};

use super::*;
use crate::testing::user;

const FIRST: Generation = Generation::FIRST;

#[test]
fn memory_keeps_the_contract() {
    keeps_the_contract(&MemoryStore::new());
}

#[cfg(feature = "rocksdb")]
#[test]
fn rocksdb_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    let config = crate::Config::new(dir.path());
    let store = RocksStore::open(&config).unwrap();
    keeps_the_contract(&store);
    let before = everything(&store);
    drop(store);
    let store = RocksStore::open(&config).unwrap();
    assert_eq!(store.state_if_cached(FIRST, user(1)).unwrap(), Cached::NotCached);
    assert_eq!(everything(&store), before, "what was written before a start is there after it");
}

/// What a directory on its own must not have more of than of a tombstone.
#[cfg(feature = "rocksdb")]
#[test]
fn rocksdb_has_no_key_of_an_erased_user_in_any_table() {
    let dir = tempfile::tempdir().unwrap();
    let config = crate::Config::new(dir.path());
    let store = RocksStore::open(&config).unwrap();
    fill(&store, 1, 5);
    let (base, due) = (Some(b"base".to_vec()), vec![7]);
    let (events, marks, done) = (vec![1], Vec::new(), Vec::new());
    store.prune(&Pruning { user: user(1), events, marks, base, done, due }).unwrap();
    store.put_exposures(user(1), b"record").unwrap();
    store.put_profile(user(1), b"record").unwrap();
    let expires_at = Timestamp::from_unix_ms(1);
    let key = AnswerKey::from_bytes([9; 16]);
    let answer = NewAnswer { key, user: user(1), expires_at, record: b"record".to_vec() };
    store.answers().put_answer(&answer).unwrap();
    store.erase(&erasure(1)).unwrap();
    drop(store);
    let families = rocksdb::DB::list_cf(&rocksdb::Options::default(), dir.path()).unwrap();
    let db = rocksdb::DB::open_cf_for_read_only(&rocksdb::Options::default(), dir.path(), &families, false);
    let db = db.unwrap();
    for family in families.iter().filter(|family| *family != "tombstones") {
        let entries = db.iterator_cf(db.cf_handle(family).unwrap(), rocksdb::IteratorMode::Start);
        for entry in entries {
            let (key, _) = entry.unwrap();
            let names_user = key.windows(UserKey::LEN).any(|part| part == user(1).as_bytes());
            assert!(!names_user, "table {family} still has a key of the erased user");
        }
    }
}

fn keeps_the_contract<S: Store>(store: &S) {
    starts_empty(store);
    a_commit_is_all_there(store);
    events_come_back_in_order(store);
    states_can_be_replaced(store);
    many_are_read_like_one(store);
    generations_do_not_mix(store);
    the_record_of_generations_is_remembered(store);
    exposures_are_replaced_whole(store);
    profiles_are_replaced_whole(store);
    answers_are_kept_until_they_expire_or_their_user_goes(store);
    quarantine_is_bounded_and_newest_first(store);
    quarantine_may_lose_many_at_once(store);
    store.flush().unwrap();
    events_come_back_in_order(store);
    iterators_show_what_was_there_at_their_start(store);
    a_cursor_jumps_and_goes_on(store);
    writing_the_same_again_changes_nothing(store);
    snapshots_keep_showing_their_moment(store);
    what_was_just_read_is_known_without_the_disk(store);
    erasure_leaves_only_a_tombstone(store);
    erasure_of_many_events_leaves_the_neighbours(store);
    what_moves_between_users_moves_whole(store);
    what_was_kept_long_enough_goes_in_one_step(store);
    readers_see_whole_commits(store);
    let _ = store.usage();
}

/// All that can be read of users.
fn everything(store: &dyn Read) -> Vec<String> {
    let events = store.all_events().unwrap().map(|event| format!("{:?}", event.unwrap()));
    let users = store.users(FIRST, None).unwrap().map(|user| {
        let user = user.unwrap();
        let (state, exposures) = (store.state(FIRST, user).unwrap(), store.exposures(user).unwrap());
        let (profile, tombstone) = (store.profile(user).unwrap(), store.tombstone(user).unwrap());
        format!("{user}: {state:?}, {exposures:?}, {profile:?}, {tombstone:?}")
    });
    events.chain(users).collect()
}

fn message(number: u8) -> MessageKey {
    MessageKey::from_bytes([number; 16])
}

fn starts_empty(store: &impl Store) {
    assert_eq!(store.state(FIRST, user(1)).unwrap(), None);
    assert!(!store.contains_message(user(1), message(1)).unwrap());
    assert_eq!(store.events(user(1)).unwrap().count(), 0);
    assert_eq!(store.all_events().unwrap().count(), 0);
    assert_eq!(store.users(FIRST, None).unwrap().count(), 0);
    assert_eq!(store.generations().unwrap(), None);
    assert_eq!(store.counters().unwrap(), []);
    assert_eq!(store.exposures(user(1)).unwrap(), None);
    assert!(!store.has_profiles().unwrap());
    assert_eq!((store.quarantine_len(), store.quarantined(None, 9).unwrap().len()), (0, 0));
}

fn new_event(who: u8, sequence: u64, id: u8) -> NewEvent {
    NewEvent { user: user(who), sequence, message_key: message(id), record: vec![who, sequence as u8] }
}

fn a_commit_is_all_there(store: &impl Store) {
    let counters = Counters { events: 300, users: 2, erased_users: 0 };
    let first = (1..=299).map(|sequence| new_event(2, sequence, sequence.min(250) as u8));
    let events = first.chain([new_event(1, 1, 1)]).collect();
    let states = vec![(FIRST, user(2), b"two".to_vec()), (FIRST, user(1), b"one".to_vec())];
    store.commit(&Commit { shard: 3, events, states, counters, due: Vec::new() }).unwrap();
    assert_eq!(store.state(FIRST, user(1)).unwrap().as_deref(), Some(b"one".as_slice()));
    assert!(store.contains_message(user(1), message(1)).unwrap());
    assert!(!store.contains_message(user(1), message(2)).unwrap(), "messages are remembered per user");
    assert_eq!(store.message_sequence(user(2), message(251)).unwrap(), None);
    assert_eq!(store.message_sequence(user(2), message(77)).unwrap(), Some(77));
    assert_eq!(store.counters().unwrap(), [(3, counters)]);
}

fn events_come_back_in_order(store: &impl Store) {
    let sequences = |who| {
        let events = store.events(user(who)).unwrap().map(Result::unwrap);
        events.map(|event| (event.user, event.sequence, event.record)).collect::<Vec<_>>()
    };
    assert_eq!(sequences(1), [(user(1), 1, vec![1, 1])]);
    let later: Vec<_> =
        store.events_after(user(2), 297).unwrap().map(|event| event.unwrap().sequence).collect();
    assert_eq!(later, [298, 299]);
    assert_eq!(store.events_after(user(2), 299).unwrap().count(), 0);
    let of_two = sequences(2);
    assert_eq!(of_two.len(), 299);
    let last = |who| store.last_sequence(user(who)).unwrap();
    assert_eq!((last(0), last(1), last(2), last(255)), (0, 1, 299, 0));
    assert!(of_two.iter().zip(1..).all(|((_, found, _), expected)| *found == expected));
    let all: Vec<_> = store.all_events().unwrap().map(|event| event.unwrap().user).collect();
    assert_eq!((all.len(), all[0], all[1]), (300, user(1), user(2)));
    let users: Vec<_> = store.users(FIRST, None).unwrap().map(Result::unwrap).collect();
    assert_eq!(users, [user(1), user(2)]);
}

fn states_can_be_replaced(store: &impl Store) {
    store.replace_states(FIRST, &[(user(1), b"new".to_vec())]).unwrap();
    assert_eq!(store.state(FIRST, user(1)).unwrap().as_deref(), Some(b"new".as_slice()));
    assert_eq!(store.state(FIRST, user(2)).unwrap().as_deref(), Some(b"two".as_slice()));
}

fn many_are_read_like_one(store: &impl Store) {
    let users: Vec<_> = (0..8).map(user).collect();
    let single = users.iter().map(|user| store.state(FIRST, *user).unwrap());
    assert_eq!(store.states(FIRST, &users).unwrap(), single.collect::<Vec<_>>());
    assert!(store.states(FIRST, &users).unwrap().iter().any(Option::is_some));
    let keys = |who| store.marks(who).unwrap().into_iter().map(move |(key, _)| (who, key));
    let stored: Vec<_> = users.iter().copied().flat_map(keys).collect();
    let absent = stored.iter().map(|(user, _)| (*user, MessageKey::from_bytes([0xfe; 16])));
    let mut asked: Vec<_> = stored.iter().copied().chain(absent).collect();
    asked.sort_unstable();
    asked.dedup();
    let expected: Vec<_> = asked.iter().map(|message| stored.contains(message)).collect();
    assert!(expected.contains(&true) && expected.contains(&false));
    assert_eq!(store.contains_messages(&asked).unwrap(), expected);
    assert_eq!(store.states(FIRST, &[]).unwrap(), Vec::new());
    assert_eq!(store.contains_messages(&[]).unwrap(), Vec::new());
}

fn generations_do_not_mix(store: &impl Store) {
    let (second, third) = (Generation::new(2).unwrap(), Generation::new(3).unwrap());
    let keys = [0, 1, 2, u8::MAX].map(user);
    let states: Vec<_> = keys.iter().map(|user| (*user, b"second".to_vec())).collect();
    store.replace_states(second, &states).unwrap();
    let states = vec![(third, user(2), b"third".to_vec()), (second, user(2), b"newer".to_vec())];
    store.commit(&Commit { shard: 3, states, ..Commit::default() }).unwrap();
    let read = |generation| store.state(generation, user(2)).unwrap();
    assert_eq!(read(FIRST).as_deref(), Some(b"two".as_slice()));
    assert_eq!(read(second).as_deref(), Some(b"newer".as_slice()));
    let users =
        |generation, after| store.users(generation, after).unwrap().map(Result::unwrap).collect::<Vec<_>>();
    assert_eq!(users(second, None), keys);
    assert_eq!(users(second, Some(user(1))), keys[2..]);
    assert_eq!(users(second, Some(UserKey::from_bytes([1; 16]))), keys[2..]);
    let between = UserKey::from_bytes([1, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9]);
    assert_eq!(users(second, Some(between)), keys[2..]);
    assert_eq!(users(second, Some(user(u8::MAX))), []);
    store.drop_states(second).unwrap();
    assert_eq!((users(second, None), read(second)), (Vec::new(), None));
    assert_eq!((users(third, None), users(FIRST, None)), (vec![user(2)], vec![user(1), user(2)]));
    store.drop_states(third).unwrap();
}

fn the_record_of_generations_is_remembered(store: &impl Store) {
    for record in [b"one".as_slice(), b"another"] {
        store.put_generations(record).unwrap();
        assert_eq!(store.generations().unwrap().as_deref(), Some(record));
    }
}

fn answers_are_kept_until_they_expire_or_their_user_goes(store: &impl Store) {
    let answers = store.answers();
    let key = |number: u8| AnswerKey::from_bytes([number; 16]);
    let at = |ms| Timestamp::from_unix_ms(ms);
    let put = |number: u8, who: u8, expires_ms, record: &[u8]| {
        let (user, expires_at, record) = (user(who), at(expires_ms), record.to_vec());
        answers.put_answer(&NewAnswer { key: key(number), user, expires_at, record }).unwrap();
    };
    assert_eq!((answers.answer(key(1)).unwrap(), answers.answers_len()), (None, 0));
    put(1, 41, 100, b"first");
    put(2, 41, 300, b"second");
    put(3, 42, 200, b"third");
    put(1, 42, 150, b"again");
    assert_eq!(answers.answers_len(), 3);
    assert_eq!(answers.answer(key(1)).unwrap().as_deref(), Some(b"again".as_slice()));
    assert_eq!(answers.answer_if_cached(key(1)).unwrap(), Cached::Known(Some(b"again".to_vec())));
    assert_eq!(answers.remove_expired_answers(at(149), 9).unwrap(), 0);
    assert_eq!(answers.remove_expired_answers(at(200), 1).unwrap(), 1, "no more than asked for");
    assert_eq!((answers.answer(key(1)).unwrap(), answers.answers_len()), (None, 2));
    store.erase(&Erasure { due: Vec::new(), ..erasure(41) }).unwrap();
    store.remove_tombstone(user(41)).unwrap();
    assert_eq!((answers.answer(key(2)).unwrap(), answers.answers_len()), (None, 1));
    assert_eq!(answers.remove_expired_answers(at(1_000), 9).unwrap(), 1);
    assert_eq!(answers.answers_len(), 0);
}

fn profiles_are_replaced_whole(store: &impl Store) {
    store.put_profile(user(1), b"long record").unwrap();
    store.put_profile(user(1), b"short").unwrap();
    assert_eq!(store.profile(user(1)).unwrap().as_deref(), Some(b"short".as_slice()));
    assert_eq!((store.profile(user(2)).unwrap(), store.has_profiles().unwrap()), (None, true));
}

fn exposures_are_replaced_whole(store: &impl Store) {
    store.put_exposures(user(1), b"long record").unwrap();
    store.put_exposures(user(1), b"short").unwrap();
    assert_eq!(store.exposures(user(1)).unwrap().as_deref(), Some(b"short".as_slice()));
    assert_eq!(store.exposures(user(2)).unwrap(), None);
}

fn quarantine_is_bounded_and_newest_first(store: &impl Store) {
    let records: Vec<Vec<u8>> = (0..10_u8).map(|number| vec![number]).collect();
    assert_eq!(store.append_quarantine(&records, 1_000).unwrap(), 0);
    assert_eq!(store.quarantine_len(), 10);
    assert_eq!(store.append_quarantine(&[vec![10]], 4).unwrap(), 7);
    assert_eq!(store.quarantine_len(), 4);
    assert_eq!(newest(store, 2), [vec![10], vec![9]]);
    assert_eq!(newest(store, 99).len(), 4);
    let numbers: Vec<u64> = store.quarantined(None, 99).unwrap().iter().map(|entry| entry.number).collect();
    assert!(numbers.is_sorted_by(|left, right| left > right), "{numbers:?}");
    let older = store.quarantined(Some(numbers[1]), 1).unwrap();
    assert_eq!(older, [QuarantineRecord { number: numbers[2], record: vec![8] }]);
    assert_eq!(store.remove_quarantined(&[numbers[2], numbers[2], numbers[0], 0]).unwrap(), 2);
    assert_eq!((store.quarantine_len(), newest(store, 99)), (2, vec![vec![9], vec![7]]));
    store.append_quarantine(&[vec![11], vec![12]], 4).unwrap();
    assert!(store.quarantined(None, 1).unwrap()[0].number > numbers[0] + 1, "numbers are not given again");
    store.append_quarantine(&[vec![13]], 4).unwrap();
    assert_eq!(newest(store, 99), [vec![13], vec![12], vec![11], vec![9]]);
    store.append_quarantine(&[vec![1], vec![2], vec![3]], 2).unwrap();
    assert_eq!(newest(store, 99), [vec![3], vec![2]]);
}

fn newest(store: &impl Store, limit: usize) -> Vec<Vec<u8>> {
    store.quarantined(None, limit).unwrap().into_iter().map(|entry| entry.record).collect()
}

fn quarantine_may_lose_many_at_once(store: &impl Store) {
    let records: Vec<Vec<u8>> = (0..5_000_u32).map(|number| number.to_be_bytes().to_vec()).collect();
    store.append_quarantine(&records, 1_000_000).unwrap();
    assert_eq!(store.quarantine_len(), 5_002);
    store.append_quarantine(&[vec![1]], 3).unwrap();
    assert_eq!(store.quarantine_len(), 3);
    let kept = [vec![1], 4_999_u32.to_be_bytes().to_vec(), 4_998_u32.to_be_bytes().to_vec()];
    assert_eq!(newest(store, 99), kept);
}

fn iterators_show_what_was_there_at_their_start(store: &impl Store) {
    let (all, one) = (store.all_events().unwrap(), store.events(user(2)).unwrap());
    let events = vec![new_event(2, 300, 255), new_event(3, 1, 1)];
    store.commit(&Commit { shard: 3, events, ..Commit::default() }).unwrap();
    assert_eq!((all.count(), one.count()), (300, 299));
    assert_eq!(store.all_events().unwrap().count(), 302);
}

/// Stores events 1 to `count` of a user, and a state.
fn fill(store: &impl Store, who: u8, count: u64) {
    let events = (1..=count).map(|sequence| NewEvent {
        message_key: MessageKey::from_bytes(u128::from(sequence).to_be_bytes()),
        ..new_event(who, sequence, 0)
    });
    let states = vec![(FIRST, user(who), count.to_be_bytes().to_vec())];
    store.commit(&Commit { shard: 3, events: events.collect(), states, ..Commit::default() }).unwrap();
}

fn erasure(who: u8) -> Erasure {
    let counters = Counters { events: 7, users: 1, erased_users: 1 };
    Erasure {
        user: user(who),
        tombstone: b"gone".to_vec(),
        due: vec![7],
        profiles: Vec::new(),
        quarantined: Vec::new(),
        shard: 3,
        counters,
    }
}

fn writing_the_same_again_changes_nothing(store: &impl Store) {
    fill(store, 20, 3);
    let before = everything(store);
    fill(store, 20, 3);
    assert_eq!(everything(store), before);
}

fn snapshots_keep_showing_their_moment(store: &impl Store) {
    fill(store, 21, 4);
    store.put_exposures(user(21), b"before").unwrap();
    store.put_profile(user(21), b"before").unwrap();
    let (snapshot, before) = (store.snapshot().unwrap(), everything(store));
    fill(store, 21, 6);
    fill(store, 22, 1);
    store.put_exposures(user(21), b"after").unwrap();
    store.put_profile(user(21), b"after").unwrap();
    assert_eq!(everything(&*snapshot), before);
    store.erase(&erasure(21)).unwrap();
    store.flush().unwrap();
    assert_eq!(everything(&*snapshot), before);
    assert_eq!(snapshot.state(FIRST, user(21)).unwrap().unwrap(), 4_u64.to_be_bytes());
    assert_eq!(snapshot.exposures(user(21)).unwrap().as_deref(), Some(b"before".as_slice()));
    assert_eq!(snapshot.events(user(21)).unwrap().count(), 4);
    let fifth = MessageKey::from_bytes(5_u128.to_be_bytes());
    assert_eq!(snapshot.message_sequence(user(21), fifth).unwrap(), None);
    assert_eq!(
        (snapshot.state(FIRST, user(22)).unwrap(), snapshot.tombstone(user(21)).unwrap()),
        (None, None)
    );
    assert_ne!(everything(store), before);
}

fn what_was_just_read_is_known_without_the_disk(store: &impl Store) {
    fill(store, 23, 2);
    store.put_exposures(user(23), b"given").unwrap();
    store.put_profile(user(23), b"said").unwrap();
    store.flush().unwrap();
    let (state, exposures) = (store.state(FIRST, user(23)).unwrap(), store.exposures(user(23)).unwrap());
    assert_eq!(store.state_if_cached(FIRST, user(23)).unwrap(), Cached::Known(state));
    assert_eq!(store.exposures_if_cached(user(23)).unwrap(), Cached::Known(exposures));
    let profile = store.profile(user(23)).unwrap();
    assert_eq!(store.profile_if_cached(user(23)).unwrap(), Cached::Known(profile));
    assert_eq!(store.profile_if_cached(user(24)).unwrap(), Cached::Known(None));
}

fn erasure_leaves_only_a_tombstone(store: &impl Store) {
    fill(store, 30, 3);
    fill(store, 31, 3);
    fill(store, 32, 3);
    store.put_exposures(user(31), b"given").unwrap();
    store.put_profile(user(31), b"said").unwrap();
    store.put_profile(user(32), b"said").unwrap();
    for number in [2, 7] {
        let states = [31, 32].map(|who| (user(who), b"later".to_vec()));
        store.replace_states(Generation::new(number).unwrap(), &states).unwrap();
    }
    store.append_quarantine(&[b"of 31".to_vec(), b"of 32".to_vec()], 2).unwrap();
    let quarantined = vec![store.quarantined(None, 2).unwrap()[1].number];
    let profiles = vec![(user(33), b"opted out".to_vec())];
    let erased = store.erase(&Erasure { quarantined, profiles, ..erasure(31) }).unwrap();
    let expected =
        Erased { states: 3, events: 3, messages: 3, exposures: 1, profiles: 1, quarantined: 1, links: 0 };
    assert_eq!(erased, expected);
    let profiles = [31, 32, 33].map(|who| store.profile(user(who)).unwrap());
    assert_eq!(profiles, [None, Some(b"said".to_vec()), Some(b"opted out".to_vec())]);
    assert_eq!((newest(store, 9), store.quarantine_len()), (vec![b"of 32".to_vec()], 1));
    let first = MessageKey::from_bytes(1_u128.to_be_bytes());
    assert_eq!(store.state(FIRST, user(31)).unwrap(), None);
    assert_eq!(store.exposures(user(31)).unwrap(), None);
    assert_eq!(store.events(user(31)).unwrap().count(), 0);
    assert!(!store.contains_message(user(31), first).unwrap());
    assert!(store.users(FIRST, None).unwrap().all(|it| it.unwrap() != user(31)));
    assert!(store.all_events().unwrap().all(|event| event.unwrap().user != user(31)));
    assert_eq!(store.tombstone(user(31)).unwrap().as_deref(), Some(b"gone".as_slice()));
    assert_eq!(store.counters().unwrap(), [(3, erasure(31).counters)]);
    let seventh = Generation::new(7).unwrap();
    assert_eq!(store.users(seventh, None).unwrap().map(Result::unwrap).collect::<Vec<_>>(), [user(32)]);
    for neighbour in [30, 32] {
        assert_eq!(store.events(user(neighbour)).unwrap().count(), 3);
        assert!(store.contains_message(user(neighbour), first).unwrap());
    }
    assert_eq!(store.erase(&erasure(31)).unwrap(), Erased::default(), "again changes nothing");
    store.remove_tombstone(user(31)).unwrap();
    assert_eq!(store.tombstone(user(31)).unwrap(), None);
}

fn erasure_of_many_events_leaves_the_neighbours(store: &impl Store) {
    fill(store, 40, 2);
    fill(store, 41, 3_000);
    fill(store, 42, 2);
    let erased = store.erase(&erasure(41)).unwrap();
    assert_eq!((erased.events, erased.messages), (3_000, 3_000));
    assert_eq!(store.events(user(41)).unwrap().count(), 0);
    let first = MessageKey::from_bytes(1_u128.to_be_bytes());
    assert!(!store.contains_message(user(41), first).unwrap());
    for neighbour in [40, 42] {
        assert_eq!(store.events(user(neighbour)).unwrap().count(), 2);
        assert!(store.contains_message(user(neighbour), first).unwrap());
    }
}

/// Two users change together, and each state says how many events there are: no reader may see one without the other.
fn readers_see_whole_commits(store: &impl Store) {
    const ROUNDS: u64 = 200;
    let write = |round: u64| {
        let events = vec![new_event(50, round, round as u8), new_event(51, round, round as u8)];
        let states = [50, 51].map(|who| (FIRST, user(who), round.to_be_bytes().to_vec())).to_vec();
        store.commit(&Commit { shard: 3, events, states, ..Commit::default() }).unwrap();
    };
    let count = |state: Option<Vec<u8>>| u64::from_be_bytes(state.unwrap().try_into().unwrap());
    write(1);
    std::thread::scope(|threads| {
        for _ in 0..3 {
            threads.spawn(|| {
                let mut last = 0;
                while last < ROUNDS {
                    let snapshot = store.snapshot().unwrap();
                    let rounds = [50, 51].map(|who| count(snapshot.state(FIRST, user(who)).unwrap()));
                    let events = [50, 51].map(|who| snapshot.events(user(who)).unwrap().count() as u64);
                    assert_eq!((rounds, events), ([rounds[0]; 2], [rounds[0]; 2]));
                    assert!(rounds[0] >= last, "time goes on");
                    last = rounds[0];
                }
            });
        }
        (2..=ROUNDS).for_each(write);
    });
}

fn a_cursor_jumps_and_goes_on(store: &impl Store) {
    let all: Vec<_> = store.all_events().unwrap().map(Result::unwrap).collect();
    let mut cursor = store.event_cursor().unwrap();
    let rest = |cursor: &mut dyn EventCursor| {
        std::iter::from_fn(|| cursor.next_record().unwrap()).collect::<Vec<_>>()
    };
    store.commit(&Commit { shard: 3, events: vec![new_event(2, 301, 254)], ..Commit::default() }).unwrap();
    assert_eq!(rest(&mut *cursor), all);
    assert_eq!(cursor.next_record().unwrap(), None);
    for (user, sequence) in [(user(2), 299), (user(2), 9_999), (user(0), 0), (user(3), 1), (user(200), 1)] {
        cursor.seek(user, sequence).unwrap();
        let expected = all.iter().filter(|record| (record.user, record.sequence) >= (user, sequence));
        assert_eq!(rest(&mut *cursor), expected.cloned().collect::<Vec<_>>());
    }
}

/// On users of its own: 81, linked to 82, and 83, linked to 82 as well.
fn what_moves_between_users_moves_whole(store: &impl Store) {
    assert!(!store.has_links().unwrap());
    let before = store.counters().unwrap();
    let counters = Counters { events: 3, users: 2, erased_users: 0 };
    let events = vec![new_event(81, 1, 1), new_event(81, 2, 2), new_event(82, 1, 3)];
    let states = vec![(FIRST, user(81), b"from".to_vec()), (FIRST, user(82), b"to".to_vec())];
    store.commit(&Commit { shard: 8, events, states, counters, due: Vec::new() }).unwrap();
    store.put_exposures(user(81), b"shown").unwrap();
    store.put_profile(user(81), b"one").unwrap();

    let counters = Counters { events: 3, users: 1, erased_users: 0 };
    let events = vec![new_event(82, 2, 1), new_event(82, 3, 2)];
    let commit = Commit {
        shard: 8,
        events,
        states: vec![(FIRST, user(82), b"both".to_vec())],
        counters,
        due: Vec::new(),
    };
    let link =
        |id, record: &[u8]| NewLink { id: user(id), before: None, after: Some((user(82), record.to_vec())) };
    let relocation = Relocation {
        events: vec![(user(81), 1, message(1)), (user(81), 2, message(2))],
        marks: vec![MovedMark { from: user(81), to: user(82), message_key: message(9), sequence: 9 }],
        bases: vec![(user(81), None), (user(82), Some(b"base".to_vec()))],
        users: vec![user(81)],
        exposures: vec![(user(81), None), (user(82), Some(b"shown".to_vec()))],
        profiles: vec![(user(81), None), (user(82), Some(b"both".to_vec()))],
        links: vec![link(83, b"later"), link(81, b"link")],
    };
    // Twice: the same again changes nothing.
    for _ in 0..2 {
        store.relocate(&commit, &relocation).unwrap();
        assert_eq!(store.events(user(81)).unwrap().count(), 0);
        assert!(!store.contains_message(user(81), message(1)).unwrap());
        assert_eq!((store.state(FIRST, user(81)).unwrap(), store.exposures(user(81)).unwrap()), (None, None));
        let moved: Vec<u64> = store.events(user(82)).unwrap().map(|event| event.unwrap().sequence).collect();
        assert_eq!(moved, [1, 2, 3]);
        assert_eq!(store.message_sequence(user(82), message(2)).unwrap(), Some(3));
        assert_eq!(store.message_sequence(user(82), message(9)).unwrap(), Some(9));
        assert_eq!(store.base(user(82)).unwrap().as_deref(), Some(b"base".as_slice()));
        assert_eq!(store.exposures(user(82)).unwrap().as_deref(), Some(b"shown".as_slice()));
        assert_eq!(store.profile(user(81)).unwrap(), None);
        assert_eq!(store.profile(user(82)).unwrap().as_deref(), Some(b"both".as_slice()));
        assert_eq!(store.link(user(81)).unwrap().as_deref(), Some(b"link".as_slice()));
        assert_eq!(store.linked_ids(user(82)).unwrap(), [user(81), user(83)]);
        assert!(store.has_links().unwrap());
    }
    let view = store.snapshot().unwrap();

    // A record may be removed and written again in one step, and a link may go elsewhere.
    let relocation = Relocation {
        events: vec![(user(82), 2, message(1)), (user(82), 3, message(2))],
        links: vec![
            NewLink { id: user(81), before: Some(user(82)), after: None },
            NewLink { id: user(83), before: Some(user(82)), after: Some((user(81), b"moved".to_vec())) },
        ],
        ..Relocation::default()
    };
    let events = vec![new_event(82, 2, 2), new_event(81, 1, 1)];
    let states = vec![(FIRST, user(81), b"from".to_vec())];
    store.relocate(&Commit { shard: 8, events, states, counters, due: Vec::new() }, &relocation).unwrap();
    assert_eq!(store.events(user(82)).unwrap().count(), 2);
    assert_eq!(store.message_sequence(user(82), message(2)).unwrap(), Some(2));
    assert_eq!(store.message_sequence(user(82), message(1)).unwrap(), None);
    assert_eq!((store.link(user(81)).unwrap(), store.linked_ids(user(82)).unwrap()), (None, Vec::new()));
    assert_eq!(store.linked_ids(user(81)).unwrap(), [user(83)]);
    assert_eq!(view.linked_ids(user(82)).unwrap(), [user(81), user(83)]);
    drop(view);

    // An erased person's ids point nowhere.
    store.erase(&erasure(81)).unwrap();
    assert_eq!((store.link(user(83)).unwrap(), store.linked_ids(user(81)).unwrap()), (None, Vec::new()));
    assert!(!store.has_links().unwrap());
    store.erase(&erasure(82)).unwrap();
    store.remove_tombstone(user(81)).unwrap();
    store.remove_tombstone(user(82)).unwrap();
    assert!(store.counters().unwrap().len() > before.len());
}

fn what_was_kept_long_enough_goes_in_one_step(store: &impl Store) {
    fill(store, 90, 3);
    let due = |day, who| Due { day, user: user(who) };
    let days = vec![due(9, 90), due(5, 91), due(7, 90), due(5, 90)];
    store.commit(&Commit { shard: 3, due: days, ..Commit::default() }).unwrap();
    assert_eq!(store.due(7, 9).unwrap(), [due(5, 90), due(5, 91), due(7, 90)]);
    assert_eq!((store.due(7, 1).unwrap(), store.due(4, 9).unwrap()), (vec![due(5, 90)], Vec::new()));
    let first = MessageKey::from_bytes(1_u128.to_be_bytes());
    let pruning = Pruning {
        user: user(90),
        events: vec![1, 2],
        marks: vec![first],
        base: Some(b"base".to_vec()),
        done: vec![5, 7],
        due: vec![8],
    };
    // Twice: the same again changes nothing.
    for _ in 0..2 {
        store.prune(&pruning).unwrap();
        let left: Vec<u64> = store.events(user(90)).unwrap().map(|event| event.unwrap().sequence).collect();
        assert_eq!((left, store.last_sequence(user(90)).unwrap()), (vec![3], 3));
        assert_eq!(store.base(user(90)).unwrap().as_deref(), Some(b"base".as_slice()));
        assert_eq!(store.marks(user(90)).unwrap().len(), 2);
        assert!(!store.contains_message(user(90), first).unwrap());
        assert_eq!(store.due(9, 9).unwrap(), [due(5, 91), due(8, 90), due(9, 90)]);
    }
    store.replace_bases(&[(user(90), b"other".to_vec())]).unwrap();
    let view = store.snapshot().unwrap();
    assert_eq!(view.base(user(90)).unwrap().as_deref(), Some(b"other".as_slice()));
    store.put_retention(b"progress").unwrap();
    assert_eq!(store.retention().unwrap().as_deref(), Some(b"progress".as_slice()));
    store.erase(&Erasure { due: vec![8, 9], ..erasure(90) }).unwrap();
    assert_eq!((store.base(user(90)).unwrap(), store.due(9, 9).unwrap()), (None, vec![due(5, 91)]));
    assert_eq!(view.base(user(90)).unwrap().as_deref(), Some(b"other".as_slice()));
    store.erase(&Erasure { due: vec![5], ..erasure(91) }).unwrap();
    store.remove_tombstone(user(90)).unwrap();
    store.remove_tombstone(user(91)).unwrap();
}
