//! From one declaration to the aggregate behind it and the features read from that.
//!
//! Not here: names, hashes and what several declarations have in common (`compile`).

use std::collections::BTreeMap;

use augur_domain::ValueType;
use augur_domain::time::{DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, format_duration_ms};

use super::declaration::{SessionMeasure, Shape, TopMeasure};
use super::{AggregateKind, Measure, RingSpec, Statistic, WindowStatistic};

/// Tile lengths, longest first; each divides the one before it, so tiles of all rings share borders.
const HOPS_MS: [i64; 8] =
    [DAY_MS, 6 * HOUR_MS, HOUR_MS, 15 * MINUTE_MS, 5 * MINUTE_MS, MINUTE_MS, 15 * SECOND_MS, 5 * SECOND_MS];
/// A tile is at most this part of its window, so the window reaches at most 8.4 % too far back.
const TILES_PER_WINDOW: i64 = 12;

/// One feature of a declaration.
#[derive(Debug)]
pub(super) struct Part {
    /// What its name adds to the declared one.
    pub(super) suffix: String,
    pub(super) meaning: String,
    pub(super) value_type: ValueType,
    pub(super) measure: Measure,
}

impl Part {
    fn number(suffix: impl Into<String>, meaning: impl Into<String>, measure: Measure) -> Self {
        Self { suffix: suffix.into(), meaning: meaning.into(), value_type: ValueType::Number, measure }
    }
}

/// The longest tile that is fine enough for a window.
fn hop_ms(window_ms: i64) -> i64 {
    HOPS_MS.into_iter().find(|hop_ms| hop_ms * TILES_PER_WINDOW <= window_ms).unwrap_or(5 * SECOND_MS)
}

/// The aggregate behind a declaration and its features in order.
pub(super) fn expand(shape: &Shape) -> (AggregateKind, Vec<Part>) {
    match shape {
        Shape::Decayed { half_lives_ms, exact } => {
            let kind = AggregateKind::Decayed { half_lives_ms: half_lives_ms.clone(), exact: *exact };
            (kind, decayed_parts(half_lives_ms))
        }
        &Shape::Windowed { ref windows_ms, what, exact_events, exact } => {
            let rings = rings(windows_ms);
            let parts = window_parts(windows_ms, |window_ms, hop_ms| {
                let ring = rings.iter().position(|ring| ring.hop_ms == hop_ms).unwrap_or(0);
                Measure::Window { ring, window_ms, hop_ms, what }
            });
            let statistic = match what {
                WindowStatistic::Count | WindowStatistic::Sum => Statistic::Sum,
                WindowStatistic::Min | WindowStatistic::Max => Statistic::Extremes,
                WindowStatistic::Mean | WindowStatistic::Variance | WindowStatistic::StandardDeviation => {
                    Statistic::Moments
                }
            };
            (AggregateKind::Windowed { rings, statistic, exact_events, exact }, parts)
        }
        &Shape::Total { exact } => {
            let parts = vec![Part::number("", "since ever", Measure::Total)];
            (AggregateKind::Total { exact }, parts)
        }
        Shape::SinceLast => {
            let meaning = "seconds since the last such event";
            (AggregateKind::Recency, vec![Part::number("", meaning, Measure::SinceLast)])
        }
        Shape::SinceFirst => {
            let meaning = "seconds since the first such event";
            (AggregateKind::Recency, vec![Part::number("", meaning, Measure::SinceFirst)])
        }
        &Shape::Edge { last, value_type } => {
            let (measure, meaning) = if last {
                (Measure::LastValue, "the last value of the property")
            } else {
                (Measure::FirstValue, "the first value of the property")
            };
            (
                AggregateKind::Edge { last, value_type },
                vec![Part { value_type, ..Part::number("", meaning, measure) }],
            )
        }
        Shape::Sessions { gap_ms, measures } => {
            let parts = measures.iter().map(|measure| session_part(*measure, *gap_ms)).collect();
            (AggregateKind::Sessions { gap_ms: *gap_ms }, parts)
        }
        &Shape::Distinct { ref windows_ms, exact_values, precision } => {
            let kind = AggregateKind::Distinct { rings: rings(windows_ms), exact_values, precision };
            (kind, distinct_parts(windows_ms))
        }
        &Shape::TopK { k, capacity, half_life_ms, value_type, ref measures } => {
            let ranks = (0..k).flat_map(|rank| measures.iter().map(move |measure| (rank, *measure)));
            let parts = ranks.map(|(rank, measure)| top_part(rank, measure, value_type)).collect();
            (AggregateKind::TopK { k, capacity, half_life_ms, value_type }, parts)
        }
    }
}

fn decayed_parts(half_lives_ms: &[i64]) -> Vec<Part> {
    let parts = half_lives_ms.iter().enumerate().map(|(index, &half_life_ms)| {
        let length = format_duration_ms(half_life_ms);
        let meaning = format!("decayed with a half-life of {length}");
        Part::number(format!("_{length}"), meaning, Measure::Decayed { index, half_life_ms })
    });
    parts.collect()
}

fn session_part(measure: SessionMeasure, gap_ms: i64) -> Part {
    let (meaning, read) = match measure {
        SessionMeasure::Count => ("sessions so far", Measure::SessionCount { gap_ms }),
        SessionMeasure::CurrentEvents => ("events in the open session", Measure::CurrentEvents { gap_ms }),
        SessionMeasure::CurrentLength => {
            ("seconds since the open session began", Measure::CurrentLength { gap_ms })
        }
        SessionMeasure::MeanLength => {
            ("mean seconds from first to last event of a session", Measure::MeanLength { gap_ms })
        }
        SessionMeasure::CurrentPages => {
            ("pages and screens seen in the open session", Measure::CurrentPages { gap_ms })
        }
        SessionMeasure::BounceShare => {
            ("share of sessions with a single event", Measure::BounceShare { gap_ms })
        }
        SessionMeasure::EventsPerSession => {
            ("mean number of events in a session", Measure::EventsPerSession { gap_ms })
        }
    };
    Part::number(format!("_{}", measure.word()), meaning, read)
}

fn distinct_parts(windows_ms: &[i64]) -> Vec<Part> {
    if windows_ms.is_empty() {
        return vec![Part::number("", "different values since ever", Measure::Distinct)];
    }
    let parts = windows_ms.iter().map(|&window_ms| {
        let length = format_duration_ms(window_ms);
        let meaning = format!("different values over the last {length}");
        Part::number(format!("_{length}"), meaning, Measure::DistinctWindow { window_ms })
    });
    parts.collect()
}

/// `rank` counts from 0, names from 1.
fn top_part(rank: u32, measure: TopMeasure, value_type: ValueType) -> Part {
    let place = rank + 1;
    match measure {
        TopMeasure::Value => {
            let meaning = format!("the value of rank {place} by frequency");
            let part = Part::number(format!("_{place}"), meaning, Measure::TopValue { rank });
            Part { value_type, ..part }
        }
        TopMeasure::Share => {
            let meaning = format!("share of the value of rank {place} by frequency");
            Part::number(format!("_{place}_share"), meaning, Measure::TopShare { rank })
        }
        TopMeasure::Count => {
            let meaning = format!("occurrences of the value of rank {place} by frequency");
            Part::number(format!("_{place}_count"), meaning, Measure::TopCount { rank })
        }
    }
}

/// Windows whose tiles have the same length share one ring, which keeps what the longest of them needs.
fn rings(windows_ms: &[i64]) -> Vec<RingSpec> {
    let mut longest: BTreeMap<i64, i64> = BTreeMap::new();
    for &window_ms in windows_ms {
        let entry = longest.entry(hop_ms(window_ms)).or_insert(window_ms);
        *entry = (*entry).max(window_ms);
    }
    let rings = longest.into_iter();
    rings.map(|(hop_ms, longest_window_ms)| RingSpec { hop_ms, longest_window_ms }).collect()
}

fn window_parts(windows_ms: &[i64], measure: impl Fn(i64, i64) -> Measure) -> Vec<Part> {
    let parts = windows_ms.iter().map(|&window_ms| {
        let hop_ms = hop_ms(window_ms);
        let (length, hop) = (format_duration_ms(window_ms), format_duration_ms(hop_ms));
        let meaning = format!("over the last {length}, begun on a border of {hop}");
        Part::number(format!("_{length}"), meaning, measure(window_ms, hop_ms))
    });
    parts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_are_fine_enough_and_nest() {
        for pair in HOPS_MS.windows(2) {
            assert_eq!(pair[0] % pair[1], 0);
        }
        for (window_ms, expected_ms) in [
            (MINUTE_MS, 5 * SECOND_MS),
            (HOUR_MS, 5 * MINUTE_MS),
            (DAY_MS, HOUR_MS),
            (7 * DAY_MS, 6 * HOUR_MS),
            (30 * DAY_MS, DAY_MS),
            (400 * DAY_MS, DAY_MS),
        ] {
            assert_eq!(hop_ms(window_ms), expected_ms, "{window_ms}");
        }
    }
}
