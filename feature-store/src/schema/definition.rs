//! What definitions hash to: one hash per aggregate, one per feature, one for the whole set.
//!
//! Not here: what they mean (`expand`, `computed`).

use std::sync::Arc;

use augur_domain::{ContentHash, Value, ValueType};
use augur_expression::Expression;

use super::{AggregateKind, AggregateSpec, Measure, Output, RingSpec, WindowStatistic};
use crate::bytes;

/// Changes whenever the same definitions come to mean other states or values, so that states are rebuilt.
const MEANING: u64 = 2;

/// What gives one feature of the set its value, in the bytes that the set's hash is made of. The features themselves
/// are in slot order.
pub(super) struct Canonical<'a> {
    pub(super) name: &'a str,
    /// Empty for computed features.
    pub(super) events: &'a [Arc<str>],
    pub(super) property: Option<&'a str>,
    /// `None` for computed features.
    pub(super) measure: Option<Measure>,
    pub(super) output: &'a Output,
    /// What the fields above cannot tell: the hash of the feature and, if it has one, of its aggregate. `None` for
    /// features that they tell in full.
    pub(super) more: Option<(ContentHash, Option<ContentHash>)>,
}

impl Canonical<'_> {
    /// Everything that gives the feature its value; not the description, comments or white space. As a name tells its
    /// declaration and every declaration has another, this also tells how a state is laid out.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        bytes::put_text(out, self.name);
        put_names(out, self.events);
        bytes::put_text(out, self.property.unwrap_or_default());
        let (tag, numbers) = self.measure.map_or((0, [0; 3]), measure_numbers);
        out.push(tag);
        let [_, first, second] = numbers;
        for number in [first, second, self.output.max_age_ms.unwrap_or(0)] {
            bytes::put_signed(out, number);
        }
        out.push(u8::from(self.output.default.is_some()));
        bytes::put_f64(out, self.output.default_number());
        if let Some((feature, aggregate)) = self.more {
            // No name is empty, so this cannot be the next feature.
            bytes::put_text(out, "");
            out.extend_from_slice(feature.as_bytes());
            out.extend_from_slice(aggregate.unwrap_or_default().as_bytes());
        }
    }
}

/// The hash of the whole set.
pub(super) fn of_set(canonical: &[u8]) -> ContentHash {
    ContentHash::of(&[b"augur feature definitions", &MEANING.to_le_bytes(), canonical])
}

/// The hash of everything that gives an aggregate its state.
pub(super) fn of_aggregate(spec: &AggregateSpec) -> ContentHash {
    let mut out = Vec::new();
    put_events_taken(&mut out, spec);
    put_kind(&mut out, &spec.kind);
    ContentHash::of(&[b"augur aggregate", &MEANING.to_le_bytes(), &out])
}

/// The hash of everything that gives a feature read from an aggregate its value. Other features of the same
/// aggregate are not part of it.
pub(super) fn of_measured(spec: &AggregateSpec, measure: Measure, output: &Output) -> ContentHash {
    let mut out = Vec::new();
    put_events_taken(&mut out, spec);
    let (tag, numbers) = measure_numbers(measure);
    out.push(tag);
    for number in numbers {
        bytes::put_signed(&mut out, number);
    }
    put_precision(&mut out, &spec.kind);
    put_output(&mut out, output);
    ContentHash::of(&[b"augur measured feature", &MEANING.to_le_bytes(), &out])
}

/// The hash of everything that gives a computed feature its value: `inputs` are the features and `context` the names
/// that it reads.
pub(super) fn of_computed<'a>(
    expression: &Expression,
    for_anyone: bool,
    inputs: impl Iterator<Item = (&'a str, ContentHash)>,
    context: impl Iterator<Item = &'a (Arc<str>, ValueType)>,
    output: &Output,
) -> ContentHash {
    let mut out = Vec::new();
    bytes::put_text(&mut out, expression.source());
    out.push(type_number(expression.value_type()));
    out.push(u8::from(for_anyone));
    for (name, definition) in inputs {
        bytes::put_text(&mut out, name);
        out.extend_from_slice(definition.as_bytes());
    }
    bytes::put_text(&mut out, "");
    for (name, value_type) in context {
        bytes::put_text(&mut out, name);
        out.push(type_number(*value_type));
    }
    bytes::put_text(&mut out, "");
    put_output(&mut out, output);
    ContentHash::of(&[b"augur computed feature", &MEANING.to_le_bytes(), &out])
}

fn put_names(out: &mut Vec<u8>, names: &[Arc<str>]) {
    bytes::put_unsigned(out, names.len() as u64);
    for name in names {
        bytes::put_text(out, name);
    }
}

/// Which events an aggregate takes in, and as what.
fn put_events_taken(out: &mut Vec<u8>, spec: &AggregateSpec) {
    put_names(out, &spec.events);
    bytes::put_text(out, spec.property.as_deref().unwrap_or_default());
    bytes::put_unsigned(out, spec.weights.len() as u64);
    for (name, weight) in &spec.weights {
        bytes::put_text(out, name);
        bytes::put_f64(out, *weight);
    }
    out.push(u8::from(spec.filter.is_some()));
    if let Some(filter) = &spec.filter {
        bytes::put_text(out, filter.source());
        for (name, value_type) in filter.reads() {
            bytes::put_text(out, name);
            out.push(type_number(*value_type));
        }
        bytes::put_text(out, "");
    }
    out.push(u8::from(spec.retractable));
}

fn put_kind(out: &mut Vec<u8>, kind: &AggregateKind) {
    match kind {
        AggregateKind::Decayed { half_lives_ms, .. } => {
            out.push(1);
            bytes::put_unsigned(out, half_lives_ms.len() as u64);
            for half_life_ms in half_lives_ms {
                bytes::put_signed(out, *half_life_ms);
            }
        }
        AggregateKind::Windowed { rings, statistic, .. } => {
            out.push(2);
            put_rings(out, rings);
            out.push(*statistic as u8);
        }
        AggregateKind::Recency => out.push(3),
        AggregateKind::Sessions { gap_ms } => {
            out.push(4);
            bytes::put_signed(out, *gap_ms);
        }
        AggregateKind::Total { .. } => out.push(5),
        AggregateKind::Edge { last, value_type } => {
            out.extend([6, u8::from(*last), type_number(*value_type)]);
        }
        AggregateKind::Distinct { rings, .. } => {
            out.push(7);
            put_rings(out, rings);
        }
        AggregateKind::TopK { .. } => out.push(8),
    }
    put_precision(out, kind);
}

fn put_rings(out: &mut Vec<u8>, rings: &[RingSpec]) {
    bytes::put_unsigned(out, rings.len() as u64);
    for ring in rings {
        bytes::put_signed(out, ring.hop_ms);
        bytes::put_signed(out, ring.longest_window_ms);
    }
}

/// How exactly an aggregate keeps what it keeps.
fn put_precision(out: &mut Vec<u8>, kind: &AggregateKind) {
    match *kind {
        AggregateKind::Decayed { exact, .. } | AggregateKind::Total { exact } => out.push(u8::from(exact)),
        AggregateKind::Windowed { exact_events, exact, .. } => {
            bytes::put_unsigned(out, exact_events.into());
            out.push(u8::from(exact));
        }
        AggregateKind::Distinct { exact_values, precision, .. } => {
            bytes::put_unsigned(out, exact_values.into());
            out.push(precision);
        }
        AggregateKind::TopK { k, capacity, half_life_ms, value_type } => {
            out.push(type_number(value_type));
            bytes::put_unsigned(out, k.into());
            bytes::put_unsigned(out, capacity.into());
            bytes::put_signed(out, half_life_ms.unwrap_or(0));
        }
        AggregateKind::Recency | AggregateKind::Edge { .. } | AggregateKind::Sessions { .. } => {}
    }
}

/// A number per measure, never reused, and what tells measures of one number apart: which statistic, and lengths.
fn measure_numbers(measure: Measure) -> (u8, [i64; 3]) {
    let what = |what| match what {
        WindowStatistic::Count | WindowStatistic::Sum => 0,
        WindowStatistic::Mean => 1,
        WindowStatistic::Min => 2,
        WindowStatistic::Max => 3,
        WindowStatistic::Variance => 4,
        WindowStatistic::StandardDeviation => 5,
    };
    match measure {
        Measure::Decayed { half_life_ms, .. } => (1, [0, half_life_ms, 0]),
        Measure::Window { window_ms, hop_ms, what: statistic, .. } => {
            (2, [what(statistic), window_ms, hop_ms])
        }
        Measure::SinceLast => (3, [0; 3]),
        Measure::SinceFirst => (4, [0; 3]),
        Measure::SessionCount { gap_ms } => (5, [0, gap_ms, 0]),
        Measure::CurrentEvents { gap_ms } => (6, [0, gap_ms, 0]),
        Measure::CurrentLength { gap_ms } => (7, [0, gap_ms, 0]),
        Measure::MeanLength { gap_ms } => (8, [0, gap_ms, 0]),
        Measure::Total => (9, [0; 3]),
        Measure::FirstValue => (10, [0; 3]),
        Measure::LastValue => (11, [0; 3]),
        Measure::CurrentPages { gap_ms } => (12, [0, gap_ms, 0]),
        Measure::BounceShare { gap_ms } => (13, [0, gap_ms, 0]),
        Measure::EventsPerSession { gap_ms } => (14, [0, gap_ms, 0]),
        Measure::Distinct => (15, [0; 3]),
        Measure::DistinctWindow { window_ms } => (16, [0, window_ms, 0]),
        Measure::TopValue { rank } => (17, [i64::from(rank), 0, 0]),
        Measure::TopShare { rank } => (18, [i64::from(rank), 0, 0]),
        Measure::TopCount { rank } => (19, [i64::from(rank), 0, 0]),
    }
}

fn put_output(out: &mut Vec<u8>, output: &Output) {
    bytes::put_signed(out, output.max_age_ms.unwrap_or(0));
    match &output.default {
        None => out.push(0),
        Some(Value::Boolean(value)) => out.extend([1, u8::from(*value)]),
        Some(Value::Number(number)) => {
            out.push(2);
            bytes::put_f64(out, number.get());
        }
        Some(Value::Text(text)) => {
            out.push(3);
            bytes::put_text(out, text);
        }
    }
    out.push(type_number(output.value_type));
}

/// Never renumber.
const fn type_number(value_type: ValueType) -> u8 {
    match value_type {
        ValueType::Boolean => 1,
        ValueType::Number => 2,
        ValueType::Text => 3,
        ValueType::Timestamp => 4,
        ValueType::Duration => 5,
    }
}
