//! What holds for every kind of aggregate, tried on each: any order of arrival, any split and merge, and any taking-back
//! give the state of the same set of events; reads agree with the plain definition; records come back.
//!
//! Not here: examples; those stand beside each kind.

use augur_domain::ids::MessageKey;
use augur_domain::time::MINUTE_MS;
use augur_domain::value::Finite;
use augur_domain::{Timestamp, Value, ValueType, math};
use proptest::prelude::*;

use super::testing::{at, spec};
use super::{Aggregate, Input, Measured, MeasuredValue, measure_body};
use crate::bytes::Reader;
use crate::schema::{AggregateKind, AggregateSpec, Measure, RingSpec, Statistic, WindowStatistic};

const GAP_MS: i64 = 20 * MINUTE_MS;
const HALF_LIVES_MS: [i64; 2] = [7 * MINUTE_MS, 60_000];
/// Windows of an hour on tiles of five minutes and of a quarter of an hour on one.
const RINGS: [RingSpec; 2] = [
    RingSpec { hop_ms: MINUTE_MS, longest_window_ms: 15 * MINUTE_MS },
    RingSpec { hop_ms: 5 * MINUTE_MS, longest_window_ms: 60 * MINUTE_MS },
];

/// One kind under test.
struct Case {
    name: &'static str,
    spec: AggregateSpec,
    measures: Vec<Measure>,
    /// Whether states are equal to the bit; otherwise reads agree to this part of the sum of absolute parts.
    rounding: Option<f64>,
}

#[derive(Debug, Clone)]
struct Happened {
    at: Timestamp,
    message_key: MessageKey,
    is_page: bool,
    weight: f64,
    value: Value,
}

impl Happened {
    fn input(&self, case: &Case) -> Input<'_> {
        let weight = if case.spec.counts() { 1.0 } else { self.weight };
        let Self { at, message_key, is_page, ref value, .. } = *self;
        Input { at, message_key, is_page, weight, value: Some(value) }
    }
}

fn windows(what: &[WindowStatistic]) -> Vec<Measure> {
    let rings = RINGS.iter().enumerate();
    rings
        .flat_map(|(ring, &RingSpec { hop_ms, longest_window_ms: window_ms })| {
            what.iter().map(move |&what| Measure::Window { ring, window_ms, hop_ms, what })
        })
        .collect()
}

fn cases() -> Vec<Case> {
    use WindowStatistic::{Count, Max, Mean, Min, StandardDeviation, Sum, Variance};
    let case = |name, kind, counts, measures: Vec<Measure>, rounding| Case {
        name,
        spec: spec(kind, counts),
        measures,
        rounding,
    };
    let windowed = |statistic, exact_events, exact| AggregateKind::Windowed {
        rings: RINGS.to_vec(),
        statistic,
        exact_events,
        exact,
    };
    let decayed = |exact| AggregateKind::Decayed { half_lives_ms: HALF_LIVES_MS.to_vec(), exact };
    let decays: Vec<Measure> = HALF_LIVES_MS
        .iter()
        .enumerate()
        .map(|(index, &half_life_ms)| Measure::Decayed { index, half_life_ms })
        .collect();
    let distinct = |rings: &[RingSpec], exact_values| AggregateKind::Distinct {
        rings: rings.to_vec(),
        exact_values,
        precision: 12,
    };
    let distinct_windows = || {
        let measures = RINGS.iter().map(|ring| Measure::DistinctWindow { window_ms: ring.longest_window_ms });
        measures.collect::<Vec<_>>()
    };
    let edge = |last| AggregateKind::Edge { last, value_type: ValueType::Text };
    let top =
        |half_life_ms| AggregateKind::TopK { k: 3, capacity: 12, half_life_ms, value_type: ValueType::Text };
    let tops = |rank| [Measure::TopValue { rank }, Measure::TopCount { rank }, Measure::TopShare { rank }];
    let gap_ms = GAP_MS;
    let sessions = vec![
        Measure::SessionCount { gap_ms },
        Measure::CurrentEvents { gap_ms },
        Measure::CurrentLength { gap_ms },
        Measure::CurrentPages { gap_ms },
        Measure::MeanLength { gap_ms },
        Measure::BounceShare { gap_ms },
        Measure::EventsPerSession { gap_ms },
    ];
    let (moments, deviations) = (vec![Count, Sum, Mean], vec![Variance, StandardDeviation]);
    vec![
        case("decayed counts", decayed(false), true, decays.clone(), Some(1e-12)),
        case("decayed sums", decayed(false), false, decays.clone(), Some(1e-12)),
        case("decayed counts in cells", decayed(true), true, decays.clone(), None),
        case("decayed sums in cells", decayed(true), false, decays, None),
        case("windowed counts", windowed(Statistic::Sum, 0, false), true, windows(&[Count]), None),
        case("windowed sums", windowed(Statistic::Sum, 0, false), false, windows(&[Sum]), Some(1e-12)),
        case("windowed fixed sums", windowed(Statistic::Sum, 0, true), false, windows(&[Sum]), None),
        case("kept counts", windowed(Statistic::Sum, 5, false), true, windows(&[Count]), None),
        case("kept fixed sums", windowed(Statistic::Sum, 5, true), false, windows(&[Sum]), None),
        case("windowed means", windowed(Statistic::Moments, 0, false), false, windows(&moments), Some(1e-11)),
        case("deviations", windowed(Statistic::Moments, 4, false), false, windows(&deviations), Some(1e-10)),
        case("extremes", windowed(Statistic::Extremes, 0, false), false, windows(&[Min, Max]), None),
        case("kept extremes", windowed(Statistic::Extremes, 3, false), false, windows(&[Min, Max]), None),
        case("total count", AggregateKind::Total { exact: false }, true, vec![Measure::Total], None),
        case("total sum", AggregateKind::Total { exact: false }, false, vec![Measure::Total], Some(1e-12)),
        case("total fixed sum", AggregateKind::Total { exact: true }, false, vec![Measure::Total], None),
        case("recency", AggregateKind::Recency, true, vec![Measure::SinceLast, Measure::SinceFirst], None),
        case("first value", edge(false), false, vec![Measure::FirstValue], None),
        case("last value", edge(true), false, vec![Measure::LastValue], None),
        case("sessions", AggregateKind::Sessions { gap_ms }, true, sessions, None),
        case("few distinct values", distinct(&[], 64), false, vec![Measure::Distinct], None),
        case("distinct values", distinct(&[], 4), false, vec![Measure::Distinct], None),
        case("few distinct in windows", distinct(&RINGS, 64), false, distinct_windows(), None),
        case("distinct in windows", distinct(&RINGS, 3), false, distinct_windows(), None),
        case("distinct, sketch only", distinct(&RINGS, 0), false, distinct_windows(), None),
        case("top values", top(None), false, [tops(0), tops(2)].concat(), None),
        case("decayed top values", top(Some(30 * MINUTE_MS)), false, tops(0)[1..].to_vec(), Some(1e-12)),
    ]
}

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

/// The plain definition: a loop over all events. `None` where there is no value.
fn plain(
    measure: Measure,
    events: &[Happened],
    now: Timestamp,
    start: Option<Timestamp>,
    case: &Case,
) -> Option<f64> {
    let weight = |event: &Happened| event.input(case).weight;
    let inside: Vec<&Happened> =
        events.iter().filter(|event| start.is_none_or(|start| event.at >= start)).collect();
    let weights = || inside.iter().map(|event| weight(event));
    let (count, sum) = (inside.len() as f64, weights().sum::<f64>());
    let since = |time: Option<Timestamp>| time.map(|time| now.millis_since(time) as f64 / 1_000.0);
    let by_value = || {
        let mut texts: Vec<&str> = inside.iter().filter_map(|event| event.value.as_text()).collect();
        texts.sort_unstable();
        texts.dedup();
        texts
    };
    match measure {
        Measure::Decayed { half_life_ms, .. } => {
            let parts = events.iter().map(|event| {
                let age_ms = now.millis_since(event.at);
                weight(event) * math::exp2(-(age_ms as f64) / half_life_ms as f64)
            });
            Some(parts.sum())
        }
        Measure::Total => Some(sum),
        Measure::Window { what, .. } => match what {
            WindowStatistic::Count => Some(count),
            WindowStatistic::Sum => Some(sum),
            _ if inside.is_empty() => None,
            WindowStatistic::Mean => Some(sum / count),
            WindowStatistic::Min => weights().min_by(f64::total_cmp),
            WindowStatistic::Max => weights().max_by(f64::total_cmp),
            WindowStatistic::Variance | WindowStatistic::StandardDeviation => {
                let mean = sum / count;
                let variance = weights().map(|weight| (weight - mean) * (weight - mean)).sum::<f64>() / count;
                let deviation = what == WindowStatistic::StandardDeviation;
                Some(if deviation { math::sqrt(variance) } else { variance })
            }
        },
        Measure::SinceLast => since(events.iter().map(|event| event.at).max()),
        Measure::SinceFirst => since(events.iter().map(|event| event.at).min()),
        Measure::Distinct | Measure::DistinctWindow { .. } => Some(by_value().len() as f64),
        Measure::TopCount { rank } | Measure::TopShare { rank } => {
            let AggregateKind::TopK { half_life_ms, .. } = case.spec.kind else { return None };
            let weigh = |event: &Happened| {
                half_life_ms.map_or(1.0, |half_life_ms| math::decay(now.millis_since(event.at), half_life_ms))
            };
            let of = |text: &str| {
                let those = events.iter().filter(|event| event.value.as_text() == Some(text));
                those.map(weigh).sum::<f64>()
            };
            let mut counts: Vec<f64> = by_value().into_iter().map(of).collect();
            counts.sort_by(|one, two| two.total_cmp(one));
            let total: f64 = events.iter().map(weigh).sum();
            let share = matches!(measure, Measure::TopShare { .. });
            counts.get(rank as usize).map(|count| if share { count / total } else { *count })
        }
        _ => plain_sessions(measure, events, now),
    }
}

fn plain_sessions(measure: Measure, events: &[Happened], now: Timestamp) -> Option<f64> {
    let mut sorted: Vec<&Happened> = events.iter().collect();
    sorted.sort_by_key(|event| event.at);
    let mut sessions: Vec<Vec<&Happened>> = Vec::new();
    for event in sorted {
        match sessions.last_mut() {
            Some(open) if event.at.millis_since(open[open.len() - 1].at) <= GAP_MS => open.push(event),
            _ => sessions.push(vec![event]),
        }
    }
    let last = |session: &Vec<&Happened>| session[session.len() - 1].at;
    let count = sessions.len() as f64;
    let length_ms: i64 = sessions.iter().map(|session| last(session).millis_since(session[0].at)).sum();
    let open = sessions.last().filter(|session| now.millis_since(last(session)) <= GAP_MS);
    match measure {
        Measure::SessionCount { .. } => Some(count),
        Measure::MeanLength { .. } => Some(length_ms as f64 / count / 1_000.0),
        Measure::BounceShare { .. } => {
            Some(sessions.iter().filter(|session| session.len() == 1).count() as f64 / count)
        }
        Measure::EventsPerSession { .. } => Some(events.len() as f64 / count),
        Measure::CurrentEvents { .. } => Some(open.map_or(0.0, |open| open.len() as f64)),
        Measure::CurrentPages { .. } => {
            Some(open.map_or(0.0, |open| open.iter().filter(|event| event.is_page).count() as f64))
        }
        Measure::CurrentLength { .. } => {
            Some(open.map_or(0.0, |open| now.millis_since(open[0].at) as f64 / 1_000.0))
        }
        _ => None,
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
                for &measure in &case.measures {
                    let expected = (state.measure(measure, now, &case.spec), state.latest());
                    let found = measure_body(body, measure, now, &case.spec).unwrap();
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
                for &measure in &case.measures {
                    if let Ok((Some(measured), _)) = measure_body(record, measure, events[0].at, &case.spec)
                        && let MeasuredValue::Number(number) = measured.value
                    {
                        prop_assert!(number.is_finite(), "{} {:?}", case.name, measure);
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
