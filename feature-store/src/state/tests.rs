//! Properties of `apply` and `read`, checked against the plain definition: a list of events and a loop over it.

use augur_domain::time::{DAY_MS, HOUR_MS, MINUTE_MS};
use augur_domain::{FeatureStatus, math};
use proptest::prelude::*;

use super::*;
use crate::NoContext;
use crate::error::DecodeError;
use crate::testing::{START_MS, event, history, schema};

fn state_of<'a>(events: impl IntoIterator<Item = &'a Event>, schema: &FeatureSchema) -> UserState {
    let mut state = UserState::new(schema);
    for event in events {
        let changes = apply(&state, event, schema);
        state.commit(changes);
    }
    state
}

fn bytes_of(state: &UserState, schema: &FeatureSchema) -> Vec<u8> {
    let mut out = Vec::new();
    state.encode(schema, &mut out);
    out
}

/// The plain definition of every feature of `testing::DEFINITIONS`, in slot order, with the sum of absolute
/// parts that a rounding error is relative to.
fn plain(events: &[Event], now: Timestamp, schema: &FeatureSchema) -> Vec<(Option<f64>, f64)> {
    let starts = schema.windows(now);
    let purchases: Vec<&Event> = events.iter().filter(|event| &*event.name == "purchase").collect();
    let value = |event: &Event| event.property("value").unwrap().as_number().unwrap();
    let decayed = |amount: &dyn Fn(&Event) -> f64, half_life_ms| {
        let parts = purchases
            .iter()
            .map(|event| amount(event) * math::decay(now.millis_since(event.event_time), half_life_ms));
        let parts: Vec<f64> = parts.collect();
        (Some(parts.iter().sum()), parts.iter().map(|part| part.abs()).sum())
    };
    let windowed = |slot: usize, among: &mut dyn Iterator<Item = (&Event, f64)>| {
        let parts: Vec<f64> = among
            .filter(|(event, _)| event.event_time >= starts[slot].unwrap())
            .map(|(_, part)| part)
            .collect();
        (Some(parts.iter().sum()), parts.iter().map(|part| part.abs()).sum())
    };
    let mut out = vec![decayed(&|_| 1.0, HOUR_MS), decayed(&|_| 1.0, 7 * DAY_MS), decayed(&value, DAY_MS)];
    for slot in 3..7 {
        out.push(windowed(slot, &mut events.iter().map(|event| (event, 1.0))));
    }
    for slot in 7..9 {
        out.push(windowed(slot, &mut purchases.iter().map(|event| (*event, value(event)))));
    }
    let age = |time: Option<Timestamp>| (time.map(|time| now.millis_since(time) as f64 / 1_000.0), 0.0);
    out.push(age(purchases.iter().map(|event| event.event_time).max()));
    out.push(age(events.iter().map(|event| event.event_time).min()));
    out.extend(plain_sessions(events, now).map(|value| (Some(value), value.abs())));
    out
}

fn plain_sessions(events: &[Event], now: Timestamp) -> [f64; 4] {
    let mut times: Vec<Timestamp> = events.iter().map(|event| event.event_time).collect();
    times.sort();
    let mut sessions: Vec<Vec<Timestamp>> = Vec::new();
    for time in times {
        match sessions.last_mut() {
            Some(open) if time.millis_since(*open.last().unwrap()) <= 30 * MINUTE_MS => open.push(time),
            _ => sessions.push(vec![time]),
        }
    }
    let open = sessions.last().filter(|open| now.millis_since(*open.last().unwrap()) <= 30 * MINUTE_MS);
    let total_ms: i64 = sessions.iter().map(|one| one.last().unwrap().millis_since(one[0])).sum();
    [
        sessions.len() as f64,
        open.map_or(0.0, |open| open.len() as f64),
        open.map_or(0.0, |open| now.millis_since(open[0]) as f64 / 1_000.0),
        total_ms as f64 / sessions.len() as f64 / 1_000.0,
    ]
}

/// Slots whose values are whole numbers or times, equal to the bit in any order.
fn is_exact(slot: usize) -> bool {
    (3..7).contains(&slot) || slot >= 9
}

fn assert_close(slot: usize, found: f64, expected: f64, magnitude: f64) {
    // Beyond a thousand half-lives a weight is 0 by definition, which depends on what it is reckoned from.
    let bound = if is_exact(slot) { 0.0 } else { 1e-12 * magnitude + 1e-290 };
    assert!((found - expected).abs() <= bound, "slot {slot}: {found} is not {expected}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn reads_agree_with_the_plain_definition(events in history(1, 30), later_ms in 0..40 * DAY_MS) {
        let schema = schema();
        let state = state_of(&events, &schema);
        let now = state.last_event_time().unwrap().plus_millis(later_ms);
        let vector = state.read(now, &schema, &NoContext);
        for (slot, (expected, magnitude)) in plain(&events, now, &schema).into_iter().enumerate() {
            let found = vector.values[slot];
            match expected {
                Some(expected) => {
                    prop_assert_eq!(found.status, FeatureStatus::Present);
                    assert_close(slot, found.value, expected, magnitude);
                }
                None => prop_assert_eq!(found.status, FeatureStatus::NullValue),
            }
        }
    }

    /// Whatever is unpacked and whatever stays packed, over any number of writes.
    #[test]
    fn packed_states_become_the_same_bytes(events in history(1, 30), group in 1..6_usize, ahead: bool) {
        let schema = schema();
        let (mut state, mut record) = (UserState::new(&schema), bytes_of(&UserState::new(&schema), &schema));
        for events in events.chunks(group) {
            let mut packed = PackedState::open(std::mem::take(&mut record), &schema).unwrap();
            for event in events {
                if ahead {
                    packed.unpack_for(&event.name, &schema).unwrap();
                }
                packed.take_in(event, &schema).unwrap();
                state.take_in(event, &schema);
            }
            packed.encode(&schema, &mut record);
            prop_assert_eq!(packed.watermark(), state.watermark());
            prop_assert_eq!(&record, &bytes_of(&state, &schema));
        }
        let whole = |mut packed: PackedState| {
            packed.unpack_all(&schema).unwrap();
            let mut out = Vec::new();
            packed.encode(&schema, &mut out);
            out
        };
        prop_assert_eq!(&whole(PackedState::open(record.clone(), &schema).unwrap()), &record);
        prop_assert_eq!(&whole(PackedState::of(state)), &record);
    }

    #[test]
    fn packed_states_of_any_bytes_never_panic(body: Vec<u8>) {
        let (schema, mut record) = (schema(), Vec::new());
        crate::bytes::seal(&mut record, b'S', 3, |out| {
            out.extend_from_slice(&schema.fingerprint());
            out.extend_from_slice(&body);
        });
        if let Ok(mut packed) = PackedState::open(record, &schema) {
            let _ = packed.unpack_all(&schema);
        }
    }

    #[test]
    fn order_does_not_matter(
        (events, shuffled) in history(1, 30).prop_flat_map(|events| (Just(events.clone()), Just(events).prop_shuffle())),
    ) {
        let schema = schema();
        let (straight, mixed) = (state_of(&events, &schema), state_of(&shuffled, &schema));
        let now = straight.last_event_time().unwrap();
        let magnitudes = plain(&events, now, &schema);
        let (straight, mixed) = (straight.read(now, &schema, &NoContext), mixed.read(now, &schema, &NoContext));
        for (slot, (left, right)) in straight.values.iter().zip(&mixed.values).enumerate() {
            assert_close(slot, left.value, right.value, magnitudes[slot].1);
            prop_assert_eq!((left.status, left.event_time), (right.status, right.event_time));
        }
    }

    #[test]
    fn states_round_trip_and_equal_states_have_equal_bytes(events in history(1, 60)) {
        let schema = schema();
        let state = state_of(&events, &schema);
        let bytes = bytes_of(&state, &schema);
        let back = UserState::decode(&bytes, &schema).unwrap();
        prop_assert_eq!(&back, &state);
        prop_assert_eq!(bytes_of(&back, &schema), bytes);
    }

    #[test]
    fn every_way_of_applying_and_reading_is_the_same(events in history(1, 40), later_ms in 0..40 * DAY_MS) {
        let schema = schema();
        let state = state_of(&events, &schema);
        let mut in_place = UserState::new(&schema);
        events.iter().for_each(|event| in_place.take_in(event, &schema));
        prop_assert_eq!(&in_place, &state);
        let now = state.last_event_time().unwrap().plus_millis(later_ms);
        let (expected, record) = (state.read(now, &schema, &NoContext), bytes_of(&state, &schema));
        prop_assert_eq!(read_record(&record, now, &schema, &NoContext), Ok(expected.clone()));
        let (vector, accuracies) = read_record_in_full(&record, now, &schema, &NoContext).unwrap();
        prop_assert_eq!(vector, expected);
        for (accuracy, start) in accuracies.iter().zip(schema.windows(now)) {
            prop_assert_eq!((accuracy.window_start, accuracy.approximation_error), (start, None));
        }
    }

    #[test]
    fn arbitrary_bodies_never_panic(tail: Vec<u8>, watermark in 0..3_u64) {
        let schema = schema();
        let mut record = Vec::new();
        crate::bytes::seal(&mut record, b'S', 3, |out| {
            out.extend_from_slice(&schema.fingerprint());
            crate::bytes::put_unsigned(out, watermark);
            out.extend_from_slice(&tail);
        });
        if let Ok(vector) = read_record(&record, Timestamp::from_unix_ms(START_MS), &schema, &NoContext) {
            prop_assert!(vector.values.iter().all(|value| value.value.is_finite()));
        }
        if let Ok(state) = UserState::decode(&record, &schema) {
            let vector = state.read(Timestamp::from_unix_ms(START_MS), &schema, &NoContext);
            prop_assert!(vector.values.iter().all(|value| value.value.is_finite()));
            let changes = apply(&state, &event(1, 1, "purchase", 0, 1.0), &schema);
            let mut state = state;
            state.commit(changes);
        }
        let _ = UserState::decode(&tail, &schema);
    }
}

#[test]
fn golden_bytes() {
    let schema = schema();
    let events = [
        event(1, 1, "purchase", 0, 12.5),
        event(1, 2, "page_view", HOUR_MS, 0.0),
        event(1, 3, "purchase", 30_000, 1.0),
    ];
    let hex: String =
        bytes_of(&state_of(&events, &schema), &schema).iter().map(|byte| format!("{byte:02x}")).collect();
    const GOLDEN: &str = "530388741dc66bc2d2e10380a0d5edee6680dddb0116e0f4d8edee664e858aa568e8ff3fece8baf2dbffff3f0ee0\
         f4d8edee6646a545b975fe2a401680da8cf1ee660200020400020c0404000201040200061ae0f4d8edee66090000\
         00000000002b4009000000000000002b4009e0f4d8edee66b0ea010a80da8cf1ee6680dddb011c80da8cf1ee6602\
         b0ea010301010200000101d0f2d901b0ea01020000691a082e";
    assert_eq!(hex, GOLDEN, "stored states depend on these bytes");
}

#[test]
fn statuses_tell_apart_zero_never_too_old_and_defaulted() {
    let text = "version = 1
[[feature]]
name = 'count'
kind = 'windowed_count'
events = ['purchase']
windows = ['1h']
[[feature]]
name = 'age'
kind = 'time_since_last'
events = ['purchase']
max_age = '2d'
[[feature]]
name = 'age_or'
kind = 'time_since_last'
events = ['purchase']
max_age = '2d'
default = 99.5
[[feature]]
name = 'sessions'
kind = 'sessions'
events = ['purchase']
gap = '30m'
";
    let schema = FeatureSchema::parse("features.toml", text).unwrap();
    let read = |events: &[Event], now_ms: i64| {
        let vector =
            state_of(events, &schema).read(Timestamp::from_unix_ms(START_MS + now_ms), &schema, &NoContext);
        let values: Vec<_> = vector.values.iter().map(|value| (value.value, value.status)).collect();
        (values[0], values[1], values[2], values[6])
    };
    use FeatureStatus::{Defaulted, NotFound, NullValue, OutsideMaxAge, Present};
    let unknown = (0.0, NotFound);
    assert_eq!(read(&[], 0), (unknown, unknown, unknown, unknown));
    let other = [event(1, 1, "page_view", 0, 0.0)];
    assert_eq!(read(&other, 0), ((0.0, Present), (0.0, NullValue), (99.5, Defaulted), (0.0, NullValue)));
    let bought = [event(1, 1, "purchase", 0, 0.0)];
    assert_eq!(read(&bought, 1_500), ((1.0, Present), (1.5, Present), (1.5, Present), (0.0, Present)));
    let (count, age, age_or, _) = read(&bought, 2 * DAY_MS + 1);
    assert_eq!((count, age, age_or), ((0.0, Present), (172_800.001, OutsideMaxAge), (99.5, Defaulted)));
}

#[test]
fn an_event_without_the_property_does_not_touch_a_sum() {
    let schema = schema();
    let mut bare = event(1, 1, "purchase", 0, 0.0);
    bare.properties.clear();
    let vector = state_of([&bare], &schema).read(bare.event_time, &schema, &NoContext);
    let slot = schema.feature_set().slot("spend_1d").unwrap();
    assert_eq!((vector.values[slot].value, vector.values[slot].event_time), (0.0, None));
    let slot = schema.feature_set().slot("purchases_1h").unwrap();
    assert_eq!((vector.values[slot].value, vector.values[slot].event_time), (1.0, Some(bare.event_time)));
}

#[test]
fn records_of_other_definitions_are_refused() {
    let (ours, theirs) = (
        schema(),
        FeatureSchema::parse("f", "version = 1\n[[feature]]\nname = 'a'\nkind = 'time_since_last'").unwrap(),
    );
    let bytes = bytes_of(&UserState::new(&ours), &ours);
    assert_eq!(UserState::decode(&bytes, &theirs), Err(DecodeError::OtherDefinitions));
    let body = &bytes[2..bytes.len() - 4];
    for earlier in [1, 2] {
        let mut record = Vec::new();
        crate::bytes::seal(&mut record, b'S', earlier, |out| out.extend_from_slice(body));
        assert_eq!(UserState::decode(&record, &ours), Err(DecodeError::OtherDefinitions));
    }
}

#[test]
fn windows_that_keep_single_events_start_where_declared_even_when_empty() {
    let text = "version = 1
[[feature]]
name = 'tiles'
kind = 'windowed_count'
events = ['purchase']
windows = ['1h']
[[feature]]
name = 'exact'
kind = 'windowed_count'
events = ['purchase']
windows = ['1h']
exact_events = 4
[[feature]]
name = 'exact_mean'
kind = 'windowed_mean'
events = ['purchase']
property = 'value'
windows = ['1h']
exact_events = 4
[[feature]]
name = 'different'
kind = 'distinct_count'
events = ['purchase']
property = 'value'
windows = ['1h']
";
    let schema = FeatureSchema::parse("features.toml", text).unwrap();
    let now = Timestamp::from_unix_ms(START_MS + HOUR_MS + 1);
    let (declared, border) = (now.plus_millis(-HOUR_MS), Timestamp::from_unix_ms(START_MS));
    let expected = [border, declared, declared, declared].map(Some);
    assert_eq!(schema.windows(now), expected);
    // Before any purchase, and with one that has left the window.
    for name in ["page_view", "purchase"] {
        let record = bytes_of(&state_of(&[event(1, 1, name, -HOUR_MS, 1.0)], &schema), &schema);
        let (vector, accuracies) = read_record_in_full(&record, now, &schema, &NoContext).unwrap();
        assert_eq!(vector.values[2].status, FeatureStatus::NullValue);
        for (slot, accuracy) in accuracies.iter().enumerate().filter(|(slot, _)| *slot != 2) {
            assert_eq!(accuracy.window_start, expected[slot], "{name} {slot}");
        }
    }
}
