//! Reads made again beside what they are by definition, and each reason for other events by itself.
//!
//! Not here: a running server (`cli/tests/recompute.rs`).

use augur_domain::event::EventKind;
use augur_domain::ids::MessageKey;
use augur_domain::time::{DAY_MS, HOUR_MS};
use augur_domain::{Event, FeatureVector};
use proptest::prelude::*;

use super::*;
use crate::store::{Commit, MemoryStore, NewEvent, NewLink, Relocation, Store};
use crate::testing::{START_MS, event, history, schema, user};
use crate::{NoContext, event_record};

/// An event, and from when it is visible, counted from its time.
type Entry = (Event, Option<i64>);

fn at(at_ms: i64) -> Timestamp {
    Timestamp::from_unix_ms(START_MS + at_ms)
}

fn stored(entries: &[Entry]) -> MemoryStore {
    let store = MemoryStore::new();
    for (index, (event, later_ms)) in entries.iter().enumerate() {
        put(&store, index as u64 + 1, event, None, *later_ms);
    }
    store
}

fn put(store: &MemoryStore, sequence: u64, event: &Event, origin: Option<UserKey>, later_ms: Option<i64>) {
    let visible_from = later_ms.map(|later_ms| event.event_time.plus_millis(later_ms));
    let mut record = Vec::new();
    event_record::encode(event, origin, visible_from, &mut record);
    let new = NewEvent { user: event.user, sequence, message_key: event.message_key, record };
    store.commit(&Commit { events: vec![new], ..Commit::default() }).unwrap();
}

fn read(now_ms: i64, watermark: u64) -> PastRead {
    PastRead { now: at(now_ms), watermark, context: Vec::new() }
}

/// Parsed once: these tests read more often than anything else does.
static SCHEMA: std::sync::LazyLock<FeatureSchema> = std::sync::LazyLock::new(schema);

fn recomputed(store: &MemoryStore, who: u8, reads: &[PastRead]) -> Vec<Recomputed> {
    let made = Recomputer::open(store, 1 << 20).unwrap().recompute(user(who), &SCHEMA, reads).unwrap();
    made.into_iter().map(Option::unwrap).collect()
}

fn applied<'a>(events: impl Iterator<Item = &'a Event>, now: Timestamp) -> FeatureVector {
    let mut state = UserState::new(&SCHEMA);
    events.for_each(|event| state.take_in(event, &SCHEMA));
    state.read(now, &SCHEMA, &NoContext)
}

fn why(made: &Recomputed) -> Vec<Unseen> {
    made.differing.iter().map(|differing| differing.why).collect()
}

#[test]
fn a_log_in_order_gives_both_reads_the_same_bits() {
    let entries: Vec<Entry> =
        (0..50).map(|id| (event(1, id, "purchase", id as i64 * HOUR_MS, 0.1), None)).collect();
    let reads: Vec<PastRead> = (0..50).map(|id| read(id * HOUR_MS + 1, id as u64 + 1)).collect();
    for (made, read) in recomputed(&stored(&entries), 1, &reads).iter().zip(&reads) {
        let seen = entries.iter().take(read.watermark as usize).map(|(event, _)| event);
        assert_eq!(made.as_received, applied(seen, read.now));
        assert_eq!((&made.as_of, made.differing.len()), (&None, 0));
    }
}

#[test]
fn each_reason_for_other_events_is_told() {
    let plain = (event(1, 1, "purchase", 0, 5.0), None);
    let late = (event(1, 2, "view_item", HOUR_MS, 1.0), None);
    let retraction = (
        Event { kind: EventKind::Retract, message_key: MessageKey::from_bytes([9; 16]), ..plain.0.clone() },
        Some(HOUR_MS),
    );
    let store = stored(&[plain.clone(), late.clone(), retraction]);
    // The second came after the first read, the third after the second; at the third all were there.
    let reads = [read(2 * HOUR_MS, 1), read(2 * HOUR_MS + 1, 2), read(2 * HOUR_MS + 2, 3)];
    let made = recomputed(&store, 1, &reads);
    assert_eq!(why(&made[0]), [Unseen::LateEvent, Unseen::Retraction]);
    assert_eq!(made[0].differing[0].event.as_deref(), Some("view_item"));
    assert_eq!(why(&made[1]), [Unseen::Retraction]);
    assert!(made[2].differing.is_empty() && made[2].as_of.is_none());
    assert_eq!(made[0].as_received, applied([&plain.0].into_iter(), reads[0].now));
    // One that says it happens later is seen by the read, and by no training set.
    let ahead = recomputed(
        &stored(&[plain, (event(1, 3, "purchase", 5 * HOUR_MS, 1.0), None)]),
        1,
        &[read(4 * HOUR_MS, 2)],
    );
    assert_eq!(why(&ahead[0]), [Unseen::Ahead]);
    assert_eq!(ahead[0].as_of.as_ref().unwrap().watermark, 1);
}

#[test]
fn a_log_that_was_longer_then_is_told_by_the_watermark() {
    let store = stored(&[(event(1, 1, "purchase", 0, 5.0), None)]);
    assert_eq!(recomputed(&store, 1, &[read(HOUR_MS, 4)])[0].as_received.watermark, 1);
    let nobody = &recomputed(&store, 2, &[read(HOUR_MS, 0)])[0];
    assert_eq!(nobody.as_received, FeatureVector::not_found(SCHEMA.feature_set()));
}

#[test]
fn reads_that_saw_removed_events_stand_on_the_base_or_are_given_up() {
    let entries: Vec<Entry> =
        (0..5).map(|id| (event(1, id, "purchase", id as i64 * HOUR_MS, 0.1), None)).collect();
    let store = stored(&entries);
    let mut state = UserState::new(&SCHEMA);
    entries.iter().take(3).for_each(|(event, _)| state.take_in(event, &SCHEMA));
    let states = vec![(crate::store::Generation::FIRST, rebuild::encoded(&state, &SCHEMA))];
    let base = Base { sequence: 3, removed: 3, visible_at: at(2 * HOUR_MS), states, ..Base::default() };
    store.replace_bases(&[(user(1), base.encoded())]).unwrap();
    let reads = [read(2 * HOUR_MS, 2), read(3 * HOUR_MS + 1, 4)];
    let made = Recomputer::open(&store, 1 << 20).unwrap().recompute(user(1), &SCHEMA, &reads).unwrap();
    assert!(made[0].is_none());
    let expected = applied(entries.iter().take(4).map(|(event, _)| event), reads[1].now);
    assert_eq!(made[1].as_ref().unwrap().as_received, expected);
    let other = FeatureSchema::parse("f", "version = 1\n[[feature]]\nname = \"n\"\nkind = \"total_count\"\n")
        .unwrap();
    let made = Recomputer::open(&store, 1 << 20).unwrap().recompute(user(1), &other, &reads).unwrap();
    assert_eq!(made, [None, None], "no state under these definitions was kept");
}

#[test]
fn a_linked_id_is_read_from_its_own_events_before_the_link_and_from_the_persons_behind_it() {
    let store = stored(&[(event(1, 1, "purchase", 0, 5.0), None)]);
    let own = event(2, 2, "purchase", HOUR_MS, 3.0);
    let moved = Event { user: user(1), ..own.clone() };
    put(&store, 2, &moved, Some(user(2)), Some(DAY_MS));
    let since = own.event_time.plus_millis(DAY_MS);
    let link = crate::Link {
        id: user(2),
        person: user(1),
        linked_to: user(1),
        since,
        by: augur_domain::event::ClaimedBy::Device,
        former: Vec::new(),
    };
    let links = vec![NewLink { id: user(2), before: None, after: Some((user(1), link.encoded())) }];
    store.relocate(&Commit::default(), &Relocation { links, ..Relocation::default() }).unwrap();
    let recomputer = Recomputer::open(&store, 1 << 20).unwrap();
    assert_eq!(recomputer.standing(user(2)).unwrap(), Standing::Linked { person: user(1), since });
    assert_eq!(recomputer.standing(user(1)).unwrap(), Standing::Own);
    let reads = [read(2 * HOUR_MS, 1), read(3 * DAY_MS, 2)];
    let made = recomputed(&store, 2, &reads);
    assert_eq!(made[0].as_received, applied([&own].into_iter(), reads[0].now));
    assert_eq!(made[1].as_received.watermark, 2);
    assert!(made.iter().all(|made| made.differing.is_empty()));
    // The person's own read of before, which a training set must not let know of the device.
    let persons = recomputed(&store, 1, &[read(2 * HOUR_MS, 1)]);
    assert!(persons[0].differing.is_empty());
    // The link was claimed before this read, and stored after it.
    assert_eq!(why(&recomputed(&store, 1, &[read(3 * DAY_MS, 1)])[0]), [Unseen::Link]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, ..ProptestConfig::default() })]

    /// In whatever order events came, however long they were not visible, for reads at any time.
    #[test]
    fn both_reads_are_what_they_are_by_definition(
        events in history(1, 50),
        later in prop::collection::vec(prop::option::weighted(0.3, 0..3 * DAY_MS), 50),
        reads in prop::collection::vec((0..14 * DAY_MS, 0..60_u64), 1..30),
        in_order: bool,
    ) {
        let entries: Vec<Entry> = events.into_iter().zip(later).collect();
        let mut reads: Vec<PastRead> =
            reads.into_iter().map(|(now_ms, seen)| read(now_ms, seen.min(entries.len() as u64))).collect();
        reads.sort_by_key(|read| read.now);
        if in_order {
            let mut watermarks: Vec<u64> = reads.iter().map(|read| read.watermark).collect();
            watermarks.sort_unstable();
            reads.iter_mut().zip(watermarks).for_each(|(read, watermark)| read.watermark = watermark);
        }
        let made = recomputed(&stored(&entries), 0, &reads);
        prop_assert_eq!(made.len(), reads.len());
        let visible_at = |(event, later_ms): &Entry| event.event_time.plus_millis(later_ms.unwrap_or(0));
        for (made, read) in made.iter().zip(&reads) {
            let seen = read.watermark as usize;
            let received = applied(entries.iter().take(seen).map(|(event, _)| event), read.now);
            prop_assert_eq!(&made.as_received, &received);
            let visible = entries.iter().filter(|entry| visible_at(entry) < read.now).map(|(event, _)| event);
            let as_of = applied(visible, read.now);
            prop_assert_eq!(made.as_of.as_ref().unwrap_or(&received), &as_of);
            let (before, behind) = entries.split_at(seen);
            let ahead = before.iter().any(|entry| visible_at(entry) >= read.now);
            let late = behind.iter().any(|entry| visible_at(entry) < read.now);
            prop_assert_eq!(why(made).contains(&Unseen::Ahead), ahead);
            prop_assert_eq!(why(made).contains(&Unseen::LateEvent), late);
        }
    }
}
