//! Every kind of aggregate as the properties try it, and the events they try it on.
//!
//! Not here: what holds for them.

use augur_domain::ids::MessageKey;
use augur_domain::time::MINUTE_MS;
use augur_domain::{Timestamp, Value, ValueType};

use crate::aggregate::Input;
use crate::aggregate::testing::spec;
use crate::schema::{AggregateKind, AggregateSpec, Measure, RingSpec, Statistic, WindowStatistic};

pub(super) const GAP_MS: i64 = 20 * MINUTE_MS;
pub(super) const HALF_LIVES_MS: [i64; 2] = [7 * MINUTE_MS, 60_000];
/// Windows of an hour on tiles of five minutes and of a quarter of an hour on one.
pub(super) const RINGS: [RingSpec; 2] = [
    RingSpec { hop_ms: MINUTE_MS, longest_window_ms: 15 * MINUTE_MS },
    RingSpec { hop_ms: 5 * MINUTE_MS, longest_window_ms: 60 * MINUTE_MS },
];

/// One kind under test.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) spec: AggregateSpec,
    pub(super) measures: Vec<Measure>,
    /// Whether states are equal to the bit; otherwise reads agree to this part of the sum of absolute parts.
    pub(super) rounding: Option<f64>,
}

#[derive(Debug, Clone)]
pub(super) struct Happened {
    pub(super) at: Timestamp,
    pub(super) message_key: MessageKey,
    pub(super) is_page: bool,
    pub(super) weight: f64,
    pub(super) value: Value,
}

impl Happened {
    pub(super) fn input(&self, case: &Case) -> Input<'_> {
        let weight = if case.spec.counts() { 1.0 } else { self.weight };
        let Self { at, message_key, is_page, ref value, .. } = *self;
        Input { at, message_key, is_page, weight, value: Some(value) }
    }
}

pub(super) fn windows(what: &[WindowStatistic]) -> Vec<Measure> {
    let rings = RINGS.iter().enumerate();
    rings
        .flat_map(|(ring, &RingSpec { hop_ms, longest_window_ms: window_ms })| {
            what.iter().map(move |&what| Measure::Window { ring, window_ms, hop_ms, what })
        })
        .collect()
}

pub(super) fn cases() -> Vec<Case> {
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
