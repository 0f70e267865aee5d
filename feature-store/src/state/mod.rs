//! One user's aggregates, the function that carries an event into them, and the read.
//!
//! Not here: clocks, storage, or bytes (`codec`). [`apply`] is the only way into a state, whether events come
//! from the network, from the event log after a change of definitions, or for a training set.

mod carry;
mod codec;
#[cfg(test)]
mod tests;

use augur_domain::event::EventKind;
use augur_domain::feature::FeatureValue;
use augur_domain::{Event, FeatureStatus, FeatureVector, Timestamp};

pub(crate) use codec::FORMAT;

use crate::aggregate::Aggregate;
use crate::schema::{AggregateSpec, Context, FeatureSchema, Output, Source};

/// All aggregates of one user. Belongs to the [`FeatureSchema`] that it was made with.
#[derive(Debug, Clone, PartialEq)]
pub struct UserState {
    /// Events applied.
    watermark: u64,
    /// First and last event time, once there is one.
    span: Option<(Timestamp, Timestamp)>,
    /// In the order of the schema's aggregates.
    aggregates: Vec<Aggregate>,
}

/// What one event changes in a state: only the aggregates that it touches, as they are afterwards.
#[derive(Debug, Clone, PartialEq)]
#[must_use = "changes do nothing until they are committed"]
pub struct Changes {
    watermark: u64,
    span: (Timestamp, Timestamp),
    aggregates: Vec<(usize, Aggregate)>,
}

/// Carries one event into a user's state: pure, without a clock, the same wherever it runs.
///
/// The order of events does not matter to counts, windows, times and sessions (the latter among the 32 latest; beyond
/// them ascending and descending order are exact and others approximate); sums of floats and decayed values agree to rounding. Whoever needs equal bits applies events in the
/// order of their sequence, as everything in this crate does.
pub fn apply(state: &UserState, event: &Event, schema: &FeatureSchema) -> Changes {
    let at = event.event_time;
    let (first, last) = state.span.unwrap_or((at, at));
    let specs = schema.aggregates();
    let mut aggregates = Vec::new();
    for &index in schema.touched_by(&event.name) {
        let (Some(spec), Some(aggregate)) = (specs.get(index), state.aggregates.get(index)) else { continue };
        if spec.filter.as_ref().is_some_and(|filter| !filter.holds(event)) {
            continue;
        }
        let Some(mut amount) = amount(event, spec) else { continue };
        if event.kind == EventKind::Retract {
            if !spec.retractable {
                continue;
            }
            amount = -amount;
        }
        let mut aggregate = aggregate.clone();
        aggregate.add(at, amount, spec);
        aggregates.push((index, aggregate));
    }
    Changes { watermark: state.watermark.saturating_add(1), span: (first.min(at), last.max(at)), aggregates }
}

/// What the event adds: 1 or its declared weight for counts; the property for sums, or nothing at all when it has no
/// such number.
fn amount(event: &Event, spec: &AggregateSpec) -> Option<f64> {
    match &spec.property {
        None if spec.weights.is_empty() => Some(1.0),
        None => {
            let place = spec.weights.binary_search_by(|(name, _)| (**name).cmp(&event.name)).ok()?;
            spec.weights.get(place).map(|(_, weight)| *weight)
        }
        Some(property) => event.property(property)?.as_number(),
    }
}

impl UserState {
    /// The state of a user without events.
    pub fn new(schema: &FeatureSchema) -> Self {
        Self { watermark: 0, span: None, aggregates: vec![Aggregate::Empty; schema.aggregates().len()] }
    }

    /// Takes over what [`apply`] computed from this very state.
    pub fn commit(&mut self, changes: Changes) {
        self.watermark = changes.watermark;
        self.span = Some(changes.span);
        for (index, aggregate) in changes.aggregates {
            if let Some(slot) = self.aggregates.get_mut(index) {
                *slot = aggregate;
            }
        }
    }

    /// The features at `now`, in slot order; all `NOT_FOUND` before the first event.
    ///
    /// `now` is meant to be at or after the latest event. Read a little earlier, events ahead count as if they
    /// happened at `now`, except that windows leave out tiles that lie wholly ahead. A read of the past is built
    /// from the events before it instead: see [`crate::FeatureStore::training_rows`].
    /// What is computed from `context` has a value for a user without events, too.
    pub fn read(&self, now: Timestamp, schema: &FeatureSchema, context: &dyn Context) -> FeatureVector {
        let mut vector = if self.watermark == 0 {
            FeatureVector::not_found(schema.feature_set())
        } else {
            let values = schema.outputs().iter().map(|output| self.value(output, now)).collect();
            let (feature_set, watermark) = (schema.feature_set().hash(), self.watermark);
            FeatureVector { feature_set, watermark, values, texts: Vec::new() }
        };
        schema.compute(&mut vector, now, context);
        vector
    }

    fn value(&self, output: &Output, now: Timestamp) -> FeatureValue {
        let Source::Aggregate { index, measure } = output.source else {
            return FeatureValue { value: 0.0, status: FeatureStatus::NullValue, event_time: None };
        };
        let aggregate = self.aggregates.get(index).unwrap_or(&Aggregate::Empty);
        output.settle(aggregate.measure(measure, now), aggregate.latest(), now)
    }

    /// How many of the user's events have been applied; also the sequence of the last one.
    pub const fn watermark(&self) -> u64 {
        self.watermark
    }

    /// The earliest event time, `None` before the first event.
    pub fn first_event_time(&self) -> Option<Timestamp> {
        self.span.map(|(first, _)| first)
    }

    /// The latest event time, `None` before the first event.
    pub fn last_event_time(&self) -> Option<Timestamp> {
        self.span.map(|(_, last)| last)
    }
}
