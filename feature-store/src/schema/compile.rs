//! From declarations to what `apply` and `read` run on, and to the hash that names it.
//!
//! Not here: reading TOML (`document`) or the aggregates themselves (`aggregate`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use augur_domain::feature::FeatureInfo;
use augur_domain::time::{DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, format_duration_ms};
use augur_domain::{ContentHash, FeatureSet, ValueType};

use super::complaints::Complaints;
use super::document::{Declaration, Kind};
use super::{
    AggregateKind, AggregateSpec, FeatureSchema, Measure, Output, RingSpec, Statistic, WindowStatistic,
};
use crate::bytes;

/// Most features in a set, after expansion.
const MAX_FEATURES: usize = 512;
/// Tile lengths, longest first; each divides the one before it, so tiles of all rings share borders.
const HOPS_MS: [i64; 8] =
    [DAY_MS, 6 * HOUR_MS, HOUR_MS, 15 * MINUTE_MS, 5 * MINUTE_MS, MINUTE_MS, 15 * SECOND_MS, 5 * SECOND_MS];
/// A tile is at most this part of its window, so the window reaches at most 8.4 % too far back.
const TILES_PER_WINDOW: i64 = 12;
/// Changes whenever the same definitions come to mean other states or values, so that states are rebuilt.
const MEANING: u64 = 2;

/// The longest tile that is fine enough for a window.
fn hop_ms(window_ms: i64) -> i64 {
    HOPS_MS.into_iter().find(|hop_ms| hop_ms * TILES_PER_WINDOW <= window_ms).unwrap_or(5 * SECOND_MS)
}

pub(super) fn compile(
    declarations: Vec<Declaration>,
    complaints: &mut Complaints<'_>,
) -> Option<FeatureSchema> {
    let mut compiler = Compiler::default();
    for declaration in &declarations {
        compiler.declare(declaration, complaints);
    }
    if compiler.features.len() > MAX_FEATURES {
        let place = declarations.last().map_or(0, |declaration| declaration.place);
        let message = format!("{} features after expansion", compiler.features.len());
        complaints.add(place, message, format!("at most {MAX_FEATURES}"));
    }
    complaints.is_empty().then(|| compiler.finish())
}

#[derive(Default)]
struct Compiler {
    features: Vec<FeatureInfo>,
    outputs: Vec<Output>,
    aggregates: Vec<AggregateSpec>,
    /// The meaning of everything so far, in bytes, for the hash.
    canonical: Vec<u8>,
    /// Full names with the declared name behind them.
    names: BTreeMap<String, String>,
    /// Names as declared.
    declared: BTreeSet<String>,
}

impl Compiler {
    fn declare(&mut self, declaration: &Declaration, complaints: &mut Complaints<'_>) {
        // Two of one name would look to the hash like one with both their lengths, whose state is laid out otherwise.
        if !self.declared.insert(declaration.name.clone()) {
            let name = &declaration.name;
            complaints.add_with_hint(
                declaration.place,
                format!("`{name}` is declared twice"),
                "a name that no other declaration has",
                format!("rename one of them, or list the lengths of both in one declaration of `{name}`"),
            );
            return;
        }
        let (kind, measures) = expand(declaration);
        let aggregate = self.aggregates.len();
        for (suffix, meaning, measure) in measures {
            let name = format!("{}{suffix}", declaration.name);
            if let Some(earlier) = self.names.insert(name.clone(), declaration.name.clone()) {
                let message = format!("feature `{name}` is declared twice, here and by `{earlier}`");
                complaints.add(declaration.place, message, "a full name that no other feature has");
                continue;
            }
            self.write_canonical(&name, declaration, &measure);
            let description = match declaration.description.as_str() {
                "" => meaning,
                text => format!("{text} ({meaning})"),
            };
            self.features.push(FeatureInfo {
                name: name.into(),
                value_type: ValueType::Number,
                description: description.into(),
                events: declaration.events.clone(),
            });
            let (max_age_ms, default) = (declaration.max_age_ms, declaration.default);
            self.outputs.push(Output { aggregate, measure, max_age_ms, default });
        }
        let (events, property) = (declaration.events.clone(), declaration.property.clone());
        self.aggregates.push(AggregateSpec { events, property, kind });
    }

    /// Everything that gives the feature its value; not the description, comments or white space. As a name tells its
    /// declaration and every declaration has another, this also tells how a state is laid out.
    fn write_canonical(&mut self, name: &str, declaration: &Declaration, measure: &Measure) {
        let out = &mut self.canonical;
        bytes::put_text(out, name);
        bytes::put_unsigned(out, declaration.events.len() as u64);
        for event in &declaration.events {
            bytes::put_text(out, event);
        }
        bytes::put_text(out, declaration.property.as_deref().unwrap_or_default());
        let (tag, first, second) = match *measure {
            Measure::Decayed { half_life_ms, .. } => (1, half_life_ms, 0),
            Measure::Window { window_ms, hop_ms, .. } => (2, window_ms, hop_ms),
            Measure::SinceLast => (3, 0, 0),
            Measure::SinceFirst => (4, 0, 0),
            Measure::SessionCount { gap_ms } => (5, gap_ms, 0),
            Measure::CurrentEvents { gap_ms } => (6, gap_ms, 0),
            Measure::CurrentLength { gap_ms } => (7, gap_ms, 0),
            Measure::MeanLength { gap_ms } => (8, gap_ms, 0),
            // Not declared by any kind of feature yet.
            _ => (0, 0, 0),
        };
        out.push(tag);
        for number in [first, second, declaration.max_age_ms.unwrap_or(0)] {
            bytes::put_signed(out, number);
        }
        out.push(u8::from(declaration.default.is_some()));
        bytes::put_f64(out, declaration.default.unwrap_or(0.0));
    }

    fn finish(self) -> FeatureSchema {
        let hash = ContentHash::of(&[
            b"augur feature definitions",
            &MEANING.to_le_bytes(),
            self.canonical.as_slice(),
        ]);
        let mut by_event: BTreeMap<Arc<str>, Vec<usize>> = BTreeMap::new();
        let mut every_event = Vec::new();
        let names = self.aggregates.iter().flat_map(|spec| spec.events.iter().cloned());
        for name in names {
            by_event.entry(name).or_default();
        }
        for (index, spec) in self.aggregates.iter().enumerate() {
            if spec.events.is_empty() {
                every_event.push(index);
            }
            for (name, indexes) in &mut by_event {
                if spec.events.is_empty() || spec.events.contains(name) {
                    indexes.push(index);
                }
            }
        }
        FeatureSchema {
            features: Arc::new(FeatureSet::new(hash, self.features)),
            aggregates: self.aggregates,
            outputs: self.outputs,
            by_event,
            every_event,
        }
    }
}

/// The aggregate behind a declaration and, per feature, the suffix of its name, its meaning and its measure.
fn expand(declaration: &Declaration) -> (AggregateKind, Vec<(String, String, Measure)>) {
    match declaration.kind {
        Kind::DecayedCount | Kind::DecayedSum => {
            let measures = declaration.lengths.iter().enumerate().map(|(index, &half_life_ms)| {
                let length = format_duration_ms(half_life_ms);
                let meaning = format!("decayed with a half-life of {length}");
                (format!("_{length}"), meaning, Measure::Decayed { index, half_life_ms })
            });
            let measures = measures.collect();
            (AggregateKind::Decayed { half_lives_ms: declaration.lengths.clone(), exact: false }, measures)
        }
        Kind::WindowedCount => expand_windows(&declaration.lengths, WindowStatistic::Count),
        Kind::WindowedSum => expand_windows(&declaration.lengths, WindowStatistic::Sum),
        Kind::TimeSinceLast => {
            let meaning = "seconds since the last such event".to_owned();
            (AggregateKind::Recency, vec![(String::new(), meaning, Measure::SinceLast)])
        }
        Kind::TimeSinceFirst => {
            let meaning = "seconds since the first such event".to_owned();
            (AggregateKind::Recency, vec![(String::new(), meaning, Measure::SinceFirst)])
        }
        Kind::Sessions => {
            let gap_ms = declaration.lengths.first().copied().unwrap_or(30 * MINUTE_MS);
            let measures = [
                ("_count", "sessions so far", Measure::SessionCount { gap_ms }),
                ("_current_events", "events in the open session", Measure::CurrentEvents { gap_ms }),
                (
                    "_current_length_secs",
                    "seconds since the open session began",
                    Measure::CurrentLength { gap_ms },
                ),
                (
                    "_mean_length_secs",
                    "mean seconds from first to last event of a session",
                    Measure::MeanLength { gap_ms },
                ),
            ];
            let measures = measures
                .map(|(suffix, meaning, measure)| (suffix.to_owned(), meaning.to_owned(), measure))
                .into();
            (AggregateKind::Sessions { gap_ms }, measures)
        }
    }
}

/// Windows whose tiles have the same length share one ring, which keeps what the longest of them needs.
fn expand_windows(
    windows_ms: &[i64],
    what: WindowStatistic,
) -> (AggregateKind, Vec<(String, String, Measure)>) {
    let mut longest: BTreeMap<i64, i64> = BTreeMap::new();
    for &window_ms in windows_ms {
        let entry = longest.entry(hop_ms(window_ms)).or_insert(window_ms);
        *entry = (*entry).max(window_ms);
    }
    let rings: Vec<RingSpec> = longest
        .into_iter()
        .map(|(hop_ms, longest_window_ms)| RingSpec { hop_ms, longest_window_ms })
        .collect();
    let measures = windows_ms.iter().map(|&window_ms| {
        let hop_ms = hop_ms(window_ms);
        let ring = rings.iter().position(|ring| ring.hop_ms == hop_ms).unwrap_or(0);
        let (length, hop) = (format_duration_ms(window_ms), format_duration_ms(hop_ms));
        let meaning = format!("over the last {length}, begun on a border of {hop}");
        (format!("_{length}"), meaning, Measure::Window { ring, window_ms, hop_ms, what })
    });
    let measures = measures.collect();
    let kind = AggregateKind::Windowed { rings, statistic: Statistic::Sum, exact_events: 0, exact: false };
    (kind, measures)
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
