//! How many decisions came out otherwise: in all, and by segment with a test of whether a segment stands out.
//!
//! Not here: why they did (`cause`), or what became what (`report`).

use std::collections::BTreeMap;

use augur_domain::value::Value;
use augur_domain::{Decision, DecisionRecord, FeatureSet};
use augur_models::metrics::interval::wilson;
use serde::Serialize;

use crate::experiment::interval::Share;

/// Segments of one kind that are told apart; what comes later is counted together.
const MAX_SEGMENTS: usize = 100;
/// Where those are counted.
const OTHERS: &str = "(others)";
/// Where decisions are counted that have nothing to go by.
const MISSING: &str = "(missing)";
/// Decisions that a segment must have before it is tested.
const LEAST_TESTED: u64 = 30;
/// Chance that any segment at all is said to stand out where none does.
const FALSE_ALARM: f64 = 0.01;

/// How many decisions came out otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Flips {
    /// Decisions compared.
    pub decisions: u64,
    /// Of them with another action.
    pub flipped: u64,
    /// Their share.
    pub share: f64,
    /// Wilson's 95 % interval of it.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

impl Flips {
    pub(super) fn count(&mut self, flipped: bool) {
        self.decisions += 1;
        self.flipped += u64::from(flipped);
    }

    pub(in crate::candidate) fn settle(&mut self) {
        if self.decisions > 0 {
            self.share = self.flipped as f64 / self.decisions as f64;
            let interval = wilson(self.flipped, self.decisions);
            (self.low, self.high) = (interval.low, interval.high);
        }
    }
}

/// Flips in one segment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SegmentFlips {
    /// What decisions are told apart by, such as `context.country`.
    pub by: String,
    /// The value.
    pub segment: String,
    /// How many.
    #[serde(flatten)]
    pub flips: Flips,
    /// Its share over the share in all; `None` where nothing flipped.
    pub lift: Option<f64>,
    /// Two-sided p-value of the pooled z test against all other decisions; `None` of fewer than 30, or nothing to test.
    pub p_value: Option<f64>,
    /// Whether that is too small to be chance, among as many segments as were tested (Holm 1979, at 1 %).
    pub stands_out: bool,
}

/// What decisions may be told apart by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SegmentBy {
    /// A value of the request: `context.NAME`.
    Context(String),
    /// A trait of the person: `user.NAME`.
    Trait(String),
    /// A feature: `features.NAME`.
    Feature(String),
    /// What was given: `action`.
    Action,
    /// The calibrated score that was logged, in tenths: `scores.NAME`.
    Score(String),
}

impl std::str::FromStr for SegmentBy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = |name: &str| (!name.is_empty()).then(|| name.to_owned());
        let found = match text.split_once('.') {
            Some(("context", name)) => named(name).map(Self::Context),
            Some(("user", name)) => named(name).map(Self::Trait),
            Some(("features", name)) => named(name).map(Self::Feature),
            Some(("scores", name)) => named(name).map(Self::Score),
            None if text == "action" => Some(Self::Action),
            _ => None,
        };
        found.ok_or_else(|| {
            "expected context.NAME, user.NAME, features.NAME, scores.NAME or action".to_owned()
        })
    }
}

impl std::fmt::Display for SegmentBy {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Context(name) => write!(formatter, "context.{name}"),
            Self::Trait(name) => write!(formatter, "user.{name}"),
            Self::Feature(name) => write!(formatter, "features.{name}"),
            Self::Score(name) => write!(formatter, "scores.{name}"),
            Self::Action => formatter.write_str("action"),
        }
    }
}

impl SegmentBy {
    /// The segment of a decision, as logged. Numbers go into bands that end at 1, 2 or 5 times a power of ten.
    fn of(&self, record: &DecisionRecord, features: &FeatureSet) -> String {
        let value = |values: &[(std::sync::Arc<str>, Value)], name: &str| {
            values.iter().find(|(known, _)| &**known == name).map(|(_, value)| match value {
                Value::Text(text) => text.to_string(),
                Value::Boolean(is) => is.to_string(),
                Value::Number(number) => band(number.get()),
            })
        };
        let inputs = &record.inputs;
        let found = match self {
            Self::Context(name) => value(&inputs.context, name),
            Self::Trait(name) => value(&inputs.person.traits, name),
            Self::Feature(name) => features.slot(name).and_then(|slot| {
                let text = inputs.features.usable_text(slot).map(|text| text.to_string());
                text.or_else(|| inputs.features.usable(slot).map(band))
            }),
            Self::Action => Some(record.decision.action.to_string()),
            Self::Score(name) => score(&record.decision, name).map(tenth),
        };
        found.unwrap_or_else(|| MISSING.to_owned())
    }
}

fn score(decision: &Decision, alias: &str) -> Option<f64> {
    decision.scores.iter().find(|score| &*score.alias == alias)?.score.map(|score| score.calibrated)
}

fn tenth(score: f64) -> String {
    let place = (score * 10.0).floor().clamp(0.0, 9.0);
    format!("{:.1} to {:.1}", place / 10.0, (place + 1.0) / 10.0)
}

/// The band of a number: `0`, or from a border (excluded) to the next (included).
fn band(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let (sign, magnitude) = if value < 0.0 { ("-", -value) } else { ("", value) };
    let mut power = 1e-6_f64;
    while power < 1e15 {
        for (step, below) in [(1.0, 0.5), (2.0, 1.0), (5.0, 2.0)] {
            if magnitude <= step * power {
                let from = if step * power <= 1e-6 { 0.0 } else { below * power };
                return format!("{sign}{from} to {sign}{}", step * power);
            }
        }
        power *= 10.0;
    }
    format!("{sign}above 1e15")
}

/// Flips by segment on their way.
#[derive(Debug, Default)]
pub(super) struct Segments {
    by: Vec<(SegmentBy, BTreeMap<String, Flips>)>,
}

impl Segments {
    pub(super) fn new(asked: &[SegmentBy]) -> Self {
        Self { by: asked.iter().map(|by| (by.clone(), BTreeMap::new())).collect() }
    }

    pub(super) fn count(&mut self, record: &DecisionRecord, features: &FeatureSet, flipped: bool) {
        for (by, counts) in &mut self.by {
            let segment = by.of(record, features);
            let known = counts.len() < MAX_SEGMENTS || counts.contains_key(&segment);
            counts.entry(if known { segment } else { OTHERS.to_owned() }).or_default().count(flipped);
        }
    }

    /// All segments, by what they are told apart.
    pub(super) fn finish(self, all: Flips) -> Vec<SegmentFlips> {
        let mut found = Vec::new();
        for (by, counts) in self.by {
            let start = found.len();
            for (segment, mut flips) in counts {
                flips.settle();
                found.push(SegmentFlips {
                    by: by.to_string(),
                    segment,
                    flips,
                    lift: (all.share > 0.0).then(|| flips.share / all.share),
                    p_value: against_the_rest(flips, all),
                    stands_out: false,
                });
            }
            if let Some(of_this) = found.get_mut(start..) {
                sort(of_this);
            }
        }
        mark(&mut found);
        found
    }
}

/// Bands in their order, others with the larger share first.
fn sort(segments: &mut [SegmentFlips]) {
    let start = |of: &SegmentFlips| of.segment.split(' ').next().and_then(|word| word.parse::<f64>().ok());
    let are_bands =
        segments.iter().all(|of| start(of).is_some() || [MISSING, OTHERS].contains(&&*of.segment));
    if are_bands {
        let key = |of: &SegmentFlips| start(of).unwrap_or(f64::INFINITY);
        segments.sort_by(|one, other| key(one).total_cmp(&key(other)));
    } else {
        segments.sort_by(|one, other| other.flips.share.total_cmp(&one.flips.share));
    }
}

fn against_the_rest(flips: Flips, all: Flips) -> Option<f64> {
    let rest = Share {
        hits: all.flipped.checked_sub(flips.flipped)?,
        of: all.decisions.checked_sub(flips.decisions)?,
    };
    let segment = Share { hits: flips.flipped, of: flips.decisions };
    (segment.of >= LEAST_TESTED && rest.of >= LEAST_TESTED).then(|| segment.p_value(rest)).flatten()
}

/// Holm's procedure: the smallest p-value is held to the level over all tests, the next to the level over one fewer.
fn mark(segments: &mut [SegmentFlips]) {
    let mut tested: Vec<(f64, usize)> =
        segments.iter().enumerate().filter_map(|(place, of)| Some((of.p_value?, place))).collect();
    tested.sort_by(|one, other| one.0.total_cmp(&other.0));
    let tests = tested.len();
    for (rank, (p_value, place)) in tested.into_iter().enumerate() {
        if p_value > FALSE_ALARM / (tests - rank) as f64 {
            break;
        }
        if let Some(segment) = segments.get_mut(place) {
            segment.stands_out = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_fall_into_bands_that_read_well() {
        for (value, expected) in [
            (0.0, "0"),
            (1.0, "0.5 to 1"),
            (1.5, "1 to 2"),
            (2.0, "1 to 2"),
            (3.0, "2 to 5"),
            (47.0, "20 to 50"),
            (-3.0, "-2 to -5"),
            (1e300, "above 1e15"),
        ] {
            assert_eq!(band(value), expected, "{value}");
        }
        assert_eq!((tenth(0.0), tenth(0.25), tenth(1.0)).1, "0.2 to 0.3");
        assert_eq!(tenth(1.0), "0.9 to 1.0");
    }

    #[test]
    fn what_is_told_apart_by_is_spelled_as_in_policies() {
        for text in ["context.country", "user.tier", "features.purchases_30d", "scores.churn", "action"] {
            assert_eq!(text.parse::<SegmentBy>().map(|by| by.to_string()), Ok(text.to_owned()));
        }
        for text in ["context.", "country", "contxt.country", ""] {
            assert!(text.parse::<SegmentBy>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_segment_stands_out_only_beyond_chance() {
        let all = Flips { decisions: 10_000, flipped: 500, share: 0.05, ..Flips::default() };
        let segments = |counts: &[(u64, u64)]| {
            let mut segments = Segments::new(&[SegmentBy::Action]);
            for (place, (decisions, flipped)) in counts.iter().enumerate() {
                let flips = Flips { decisions: *decisions, flipped: *flipped, ..Flips::default() };
                segments.by[0].1.insert(format!("s{place}"), flips);
            }
            segments.finish(all)
        };
        let found = segments(&[(1_000, 51), (1_000, 150), (29, 29)]);
        let told: Vec<(&str, bool)> = found.iter().map(|of| (of.segment.as_str(), of.stands_out)).collect();
        assert_eq!(told, [("s2", false), ("s1", true), ("s0", false)], "too few, too many, as all");
        assert_eq!(found[0].p_value, None);
        assert!((found[1].lift.unwrap_or(0.0) - 3.0).abs() < 1e-12);
    }
}
