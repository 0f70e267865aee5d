//! What holds for every kind of aggregate, tried on each: any order of arrival, any split and merge, and any taking-back
//! give the state of the same set of events; reads agree with the plain definition; records come back.
//!
//! Not here: examples; those stand beside each kind.

mod cases;
mod plain;

use augur_domain::ids::MessageKey;
use augur_domain::time::MINUTE_MS;
use augur_domain::value::Finite;
use augur_domain::{Timestamp, Value};
use proptest::prelude::*;

use super::testing::at;
use super::{Aggregate, Measured, MeasuredValue, measure_body};
use crate::bytes::Reader;
use crate::error::DecodeError;
use crate::schema::{AggregateKind, AggregateSpec, Measure, WindowStatistic};

use cases::{Case, GAP_MS, Happened, RINGS, cases};
use plain::plain;

fn state_of<'a>(events: impl IntoIterator<Item = &'a Happened>, case: &Case) -> Aggregate {
    let mut state = Aggregate::Empty;
    events.into_iter().for_each(|event| state.add(&event.input(case), &case.spec));
    state
}

fn bytes_of(state: &Aggregate, case: &Case) -> Vec<u8> {
    let mut out = Vec::new();
    state.encode(&case.spec, &mut out);
    out
}

/// The same bits, or where the kind rounds, the same values to rounding.
fn assert_same(one: &Aggregate, two: &Aggregate, events: &[Happened], case: &Case) {
    let Some(rounding) = case.rounding else {
        assert_eq!(one, two, "{}", case.name);
        assert_eq!(bytes_of(one, case), bytes_of(two, case), "{}", case.name);
        return;
    };
    assert_eq!(one.latest(), two.latest(), "{}", case.name);
    for now in instants(events) {
        for &measure in &case.measures {
            let read = |state: &Aggregate| state.measure(measure, now, &case.spec);
            let scale = scale(measure, events);
            match (read(one), read(two)) {
                (None, None) => {}
                (Some(one), Some(two)) => {
                    let (one, two) = (number(&one), number(&two));
                    assert!((one - two).abs() <= rounding * scale, "{} {measure:?}: {one}, {two}", case.name);
                }
                (one, two) => panic!("{} {measure:?}: {one:?}, {two:?}", case.name),
            }
        }
    }
}

/// Instants to read at, on and beside borders, none before the latest event.
fn instants(events: &[Happened]) -> Vec<Timestamp> {
    let Some(latest) = events.iter().map(|event| event.at).max() else { return vec![at(0)] };
    let border = at((latest.unix_ms().div_euclid(5 * MINUTE_MS) + 1) * 5 * MINUTE_MS);
    let ahead = [0, 1, GAP_MS, 15 * MINUTE_MS, 61 * MINUTE_MS].map(|ahead_ms| latest.plus_millis(ahead_ms));
    ahead
        .into_iter()
        .chain([border, border.plus_millis(-1), border.plus_millis(1)])
        .filter(|now| *now >= latest)
        .collect()
}

/// What a rounding error is relative to.
fn scale(measure: Measure, events: &[Happened]) -> f64 {
    let absolute: f64 = events.iter().map(|event| event.weight.abs()).sum();
    match measure {
        Measure::Window { what: WindowStatistic::Variance, .. } => 1.0 + absolute * absolute,
        // The root of a rounding error of the variance, where that is next to nothing.
        Measure::Window { what: WindowStatistic::StandardDeviation, .. } => 1e5 * (1.0 + absolute),
        _ => 1.0 + absolute + events.len() as f64,
    }
}

fn number(measured: &Measured) -> f64 {
    match measured.value {
        MeasuredValue::Number(number) => number,
        MeasuredValue::Text(_) => panic!("a text"),
    }
}

/// How far a read may be from the plain definition.
fn tolerance(measured: &Measured, measure: Measure, expected: f64, events: &[Happened], case: &Case) -> f64 {
    if measured.approximation_error.is_some() {
        // So few values hardly ever share one of 4096 registers.
        return 0.02 * expected + 1e-9;
    }
    let fixed = matches!(
        case.spec.kind,
        AggregateKind::Decayed { exact: true, .. }
            | AggregateKind::Windowed { exact: true, .. }
            | AggregateKind::Total { exact: true }
    );
    let rounding = if fixed { 1e-9 } else { case.rounding.unwrap_or(1e-12) };
    rounding * scale(measure, events)
}

fn check_reads(state: &Aggregate, events: &[Happened], case: &Case) {
    for now in instants(events) {
        for &measure in &case.measures {
            let measured = state.measure(measure, now, &case.spec);
            let start = measured.as_ref().and_then(|measured| measured.window_start);
            if let Measure::FirstValue | Measure::LastValue | Measure::TopValue { .. } = measure {
                check_value(measured.as_ref(), measure, events, case);
                continue;
            }
            // A window of nothing does not tell where it starts.
            let start = start.or_else(|| measured.is_none().then(|| declared_start(measure, now)).flatten());
            let expected = plain(measure, events, now, start, case);
            match (&measured, expected) {
                (None, None) => {}
                (Some(measured), Some(expected)) => {
                    let found = number(measured);
                    let tolerance = tolerance(measured, measure, expected, events, case);
                    assert!(
                        (found - expected).abs() <= tolerance,
                        "{} {measure:?}: {found} is not {expected}",
                        case.name
                    );
                }
                _ => panic!("{} {measure:?}: {measured:?} is not {expected:?}", case.name),
            }
            check_start(start, measure, now);
        }
    }
}

fn declared_start(measure: Measure, now: Timestamp) -> Option<Timestamp> {
    if let Measure::Window { window_ms, .. } = measure { Some(now.plus_millis(-window_ms)) } else { None }
}

/// A window reaches too far back by less than a tile.
fn check_start(start: Option<Timestamp>, measure: Measure, now: Timestamp) {
    let (window_ms, hop_ms) = match measure {
        Measure::Window { window_ms, hop_ms, .. } => (window_ms, hop_ms),
        Measure::DistinctWindow { window_ms } => (window_ms, RINGS[0].hop_ms),
        _ => return assert_eq!(start, None),
    };
    let too_far_ms = now.plus_millis(-window_ms).millis_since(start.unwrap());
    assert!((0..hop_ms).contains(&too_far_ms), "{measure:?} starts {too_far_ms} ms too early");
}

fn check_value(measured: Option<&Measured>, measure: Measure, events: &[Happened], case: &Case) {
    let key = |event: &&Happened| (event.at, event.message_key);
    let expected = match measure {
        Measure::FirstValue => events.iter().min_by_key(key).map(|event| event.value.clone()),
        Measure::LastValue => events.iter().max_by_key(key).map(|event| event.value.clone()),
        Measure::TopValue { rank } => {
            let of = |value: &Value| events.iter().filter(|event| event.value == *value).count();
            let mut values: Vec<&Value> = events.iter().map(|event| &event.value).collect();
            values.sort_by_key(|value| (std::cmp::Reverse(of(value)), value.as_text()));
            values.dedup();
            values.get(rank as usize).copied().cloned()
        }
        _ => None,
    };
    let expected = expected.as_ref().map(Measured::value);
    assert_eq!(measured, expected.as_ref(), "{} {measure:?}", case.name);
}

/// Up to thirty events in three hours, many on borders of tiles and at the same millisecond.
fn histories() -> impl Strategy<Value = Vec<Happened>> {
    let time = prop_oneof![
        0..180 * MINUTE_MS,
        (0..36_i64, -1..=1_i64).prop_map(|(tile, beside)| tile * 5 * MINUTE_MS + beside),
    ];
    let event = (time, 0..3_u8, any::<bool>(), -1_000_i32..10_000, 0..10_u8);
    prop::collection::vec(event, 1..30).prop_map(|events| {
        let numbered = events.into_iter().enumerate();
        let happened = numbered.map(|(index, (unix_ms, key, is_page, cents, value))| Happened {
            at: at(1_767_225_600_000 + unix_ms),
            message_key: MessageKey::from_bytes([key, index as u8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            is_page,
            weight: Finite::new(f64::from(cents) / 100.0).unwrap().get(),
            value: Value::Text(value.to_string().into()),
        });
        happened.collect()
    })
}

fn shuffled() -> impl Strategy<Value = (Vec<Happened>, Vec<Happened>)> {
    histories().prop_flat_map(|events| (Just(events.clone()), Just(events).prop_shuffle()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn reads_agree_with_the_plain_definition(events in histories()) {
        for case in cases() {
            check_reads(&state_of(&events, &case), &events, &case);
        }
    }

    #[test]
    fn the_order_of_arrival_leaves_no_trace((events, mixed) in shuffled()) {
        for case in cases() {
            assert_same(&state_of(&events, &case), &state_of(&mixed, &case), &events, &case);
        }
    }

    #[test]
    fn states_of_any_split_merge_into_one((events, mixed) in shuffled(), cuts: [prop::sample::Index; 2]) {
        for case in cases() {
            let mut cuts = cuts.map(|cut| cut.index(mixed.len() + 1));
            cuts.sort_unstable();
            let parts = [&mixed[..cuts[0]], &mixed[cuts[0]..cuts[1]], &mixed[cuts[1]..]];
            let [one, two, three] = parts.map(|part| state_of(part, &case));
            let merged = |states: [&Aggregate; 3]| {
                let mut merged = states[0].clone();
                states[1..].iter().for_each(|state| merged.merge(state, &case.spec));
                merged
            };
            let whole = state_of(&events, &case);
            for order in [[&one, &two, &three], [&three, &two, &one], [&two, &three, &one]] {
                assert_same(&merged(order), &whole, &events, &case);
            }
            let mut right = two.clone();
            right.merge(&three, &case.spec);
            assert_same(&merged([&one, &right, &Aggregate::Empty]), &whole, &events, &case);
        }
    }

    /// Also what expired before it was taken back, and what is taken back before it comes.
    #[test]
    fn taking_back_leaves_the_state_of_the_others(
        (events, mixed) in shuffled(),
        taken in prop::collection::vec(any::<bool>(), 30),
        places in prop::collection::vec(any::<prop::sample::Index>(), 30),
        cut in any::<prop::sample::Index>(),
    ) {
        // The latest stays: its time is what remains of an event taken back.
        let latest = events.iter().map(|event| event.at).max().unwrap();
        let is_taken = |event: &Happened| {
            event.at < latest && taken[usize::from(event.message_key.as_bytes()[1])]
        };
        let mut steps: Vec<(&Happened, bool)> = mixed.iter().map(|event| (event, false)).collect();
        for event in mixed.iter().filter(|event| is_taken(event)) {
            let place = places[usize::from(event.message_key.as_bytes()[1])].index(steps.len() + 1);
            steps.insert(place, (event, true));
        }
        for case in cases().iter().filter(|case| case.spec.can_retract()) {
            let run = |steps: &[(&Happened, bool)]| {
                let mut state = Aggregate::Empty;
                for (event, takes_back) in steps {
                    if *takes_back {
                        state.retract(&event.input(case), &case.spec);
                    } else {
                        state.add(&event.input(case), &case.spec);
                    }
                }
                state
            };
            let others = state_of(events.iter().filter(|event| !is_taken(event)), case);
            prop_assert_eq!(&run(&steps), &others, "{}", case.name);
            let (left, right) = steps.split_at(cut.index(steps.len() + 1));
            let (mut left, right) = (run(left), run(right));
            left.merge(&right, &case.spec);
            prop_assert_eq!(&left, &others, "{} merged", case.name);
        }
    }

    #[test]
    fn records_come_back(events in histories()) {
        for case in cases() {
            let state = state_of(&events, &case);
            let bytes = bytes_of(&state, &case);
            let mut reader = Reader::of(&bytes);
            let back = Aggregate::decode(&mut reader, &case.spec);
            prop_assert_eq!(back.as_ref(), Ok(&state), "{}", case.name);
            prop_assert!(reader.finish().is_ok());
            let body = Reader::of(&bytes).bytes("body").unwrap();
            for now in instants(&events).into_iter().chain([events[0].at]) {
                // In any order, and all of them twice.
                let measures: Vec<Measure> =
                    case.measures.iter().chain(case.measures.iter().rev()).copied().collect();
                let found = measured_in(body, &measures, now, &case.spec).unwrap();
                prop_assert_eq!(found.len(), measures.len());
                for (measure, found) in measures.into_iter().zip(found) {
                    let expected = (state.measure(measure, now, &case.spec), state.latest());
                    prop_assert_eq!(found, expected, "{} {:?}", case.name, measure);
                }
            }
        }
    }

    /// Damaged bodies are refused, or are states that can be read, written and added to.
    #[test]
    fn damaged_records_never_panic(
        events in histories(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<prop::sample::Index>(),
        junk: Vec<u8>,
    ) {
        for case in cases() {
            let mut damaged = bytes_of(&state_of(&events, &case), &case);
            for (place, byte) in &damage {
                let place = place.index(damaged.len());
                damaged[place] = *byte;
            }
            let mut prefixed = Vec::new();
            crate::bytes::put_bytes(&mut prefixed, &junk);
            for record in [&damaged, &damaged[..cut.index(damaged.len())].to_vec(), &junk, &prefixed] {
                let found = measured_in(record, &case.measures, events[0].at, &case.spec).unwrap_or_default();
                for measured in found.into_iter().filter_map(|(measured, _)| measured) {
                    if let MeasuredValue::Number(number) = measured.value {
                        prop_assert!(number.is_finite(), "{}", case.name);
                    }
                }
                let Ok(mut state) = Aggregate::decode(&mut Reader::of(record), &case.spec) else { continue };
                state.add(&events[0].input(&case), &case.spec);
                let other = state.clone();
                state.merge(&other, &case.spec);
                for &measure in &case.measures {
                    let measured = state.measure(measure, events[0].at, &case.spec);
                    if let Some(MeasuredValue::Number(number)) = measured.map(|measured| measured.value) {
                        prop_assert!(number.is_finite(), "{} {:?}", case.name, measure);
                    }
                }
            }
        }
    }
}

/// What is told of a body, and the latest event behind it.
type Told = Vec<(Option<Measured>, Option<Timestamp>)>;

fn measured_in(
    body: &[u8],
    measures: &[Measure],
    now: Timestamp,
    spec: &AggregateSpec,
) -> Result<Told, DecodeError> {
    let mut told = Vec::new();
    let tell = |measured, latest| told.push((measured, latest));
    measure_body(body, measures.iter().copied(), now, spec, tell)?;
    Ok(told)
}

/// Six events in three quarters of an hour, out of order.
fn golden_history() -> Vec<Happened> {
    let events = [
        (0, 19.99, "a"),
        (2_400, 5.0, "b"),
        (60, 0.1, "a"),
        (1_500, -3.5, "c"),
        (2_700, 7.25, "d"),
        (30, 2.0, "e"),
    ];
    let numbered = events.into_iter().enumerate();
    let happened = numbered.map(|(index, (at_secs, weight, value))| Happened {
        at: at(1_767_225_600_000 + at_secs * 1_000),
        message_key: MessageKey::from_bytes([index as u8; 16]),
        is_page: index % 2 == 0,
        weight,
        value: Value::Text(value.into()),
    });
    happened.collect()
}

#[test]
fn golden_bytes() {
    let events = golden_history();
    let found: Vec<(&str, String)> = cases()
        .iter()
        .map(|case| {
            let bytes = bytes_of(&state_of(&events, case), case);
            (case.name, bytes.iter().map(|byte| format!("{byte:02x}")).collect())
        })
        .collect();
    let golden: Vec<(&str, String)> = include_str!("properties/golden_bytes.txt")
        .lines()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, hex)| (name, hex.to_owned()))
        .collect();
    assert_eq!(found, golden, "stored states depend on these bytes");
}
