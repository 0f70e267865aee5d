//! From one declaration to the aggregate behind it and the features read from that.
//!
//! Not here: names, hashes and what several declarations have in common (`compile`).

use std::collections::BTreeMap;

use augur_domain::ValueType;
use augur_domain::time::{DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, format_duration_ms};

use super::declaration::Shape;
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
pub(super) fn expand(shape: &Shape, counts: bool) -> (AggregateKind, Vec<Part>) {
    match shape {
        Shape::Decayed { half_lives_ms } => {
            let parts = half_lives_ms.iter().enumerate().map(|(index, &half_life_ms)| {
                let length = format_duration_ms(half_life_ms);
                let meaning = format!("decayed with a half-life of {length}");
                Part::number(format!("_{length}"), meaning, Measure::Decayed { index, half_life_ms })
            });
            let parts = parts.collect();
            (AggregateKind::Decayed { half_lives_ms: half_lives_ms.clone(), exact: false }, parts)
        }
        Shape::Windowed { windows_ms } => {
            let what = if counts { WindowStatistic::Count } else { WindowStatistic::Sum };
            let (rings, parts) = expand_windows(windows_ms, |ring, window_ms, hop_ms| Measure::Window {
                ring,
                window_ms,
                hop_ms,
                what,
            });
            let kind =
                AggregateKind::Windowed { rings, statistic: Statistic::Sum, exact_events: 0, exact: false };
            (kind, parts)
        }
        Shape::SinceLast => {
            let meaning = "seconds since the last such event";
            (AggregateKind::Recency, vec![Part::number("", meaning, Measure::SinceLast)])
        }
        Shape::SinceFirst => {
            let meaning = "seconds since the first such event";
            (AggregateKind::Recency, vec![Part::number("", meaning, Measure::SinceFirst)])
        }
        &Shape::Sessions { gap_ms } => (AggregateKind::Sessions { gap_ms }, session_parts(gap_ms)),
    }
}

fn session_parts(gap_ms: i64) -> Vec<Part> {
    vec![
        Part::number("_count", "sessions so far", Measure::SessionCount { gap_ms }),
        Part::number("_current_events", "events in the open session", Measure::CurrentEvents { gap_ms }),
        Part::number(
            "_current_length_secs",
            "seconds since the open session began",
            Measure::CurrentLength { gap_ms },
        ),
        Part::number(
            "_mean_length_secs",
            "mean seconds from first to last event of a session",
            Measure::MeanLength { gap_ms },
        ),
    ]
}

/// Windows whose tiles have the same length share one ring, which keeps what the longest of them needs.
fn expand_windows(
    windows_ms: &[i64],
    measure: impl Fn(usize, i64, i64) -> Measure,
) -> (Vec<RingSpec>, Vec<Part>) {
    let mut longest: BTreeMap<i64, i64> = BTreeMap::new();
    for &window_ms in windows_ms {
        let entry = longest.entry(hop_ms(window_ms)).or_insert(window_ms);
        *entry = (*entry).max(window_ms);
    }
    let rings: Vec<RingSpec> = longest
        .into_iter()
        .map(|(hop_ms, longest_window_ms)| RingSpec { hop_ms, longest_window_ms })
        .collect();
    let parts = windows_ms.iter().map(|&window_ms| {
        let hop_ms = hop_ms(window_ms);
        let ring = rings.iter().position(|ring| ring.hop_ms == hop_ms).unwrap_or(0);
        let (length, hop) = (format_duration_ms(window_ms), format_duration_ms(hop_ms));
        let meaning = format!("over the last {length}, begun on a border of {hop}");
        Part::number(format!("_{length}"), meaning, measure(ring, window_ms, hop_ms))
    });
    let parts = parts.collect();
    (rings, parts)
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
