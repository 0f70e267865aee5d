//! One user's aggregates, the function that carries an event into them, and the read.
//!
//! Not here: clocks, storage, or bytes (`codec`). [`apply`] is the only way into a state, whether events come
//! from the network, from the event log after a change of definitions, or for a training set.

mod carry;
mod codec;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use augur_domain::event::EventKind;
use augur_domain::feature::FeatureValue;
use augur_domain::{Event, FeatureStatus, FeatureVector, Timestamp};

pub(crate) use codec::FORMAT;

use crate::aggregate::{Aggregate, Input, MeasuredValue};
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
        let takes_back = event.kind == EventKind::Retract;
        if takes_back && !spec.retractable {
            continue;
        }
        let Some(input) = input(event, spec) else { continue };
        let mut aggregate = aggregate.clone();
        if takes_back {
            aggregate.retract(&input, spec);
        } else {
            aggregate.add(&input, spec);
        }
        aggregates.push((index, aggregate));
    }
    Changes { watermark: state.watermark.saturating_add(1), span: (first.min(at), last.max(at)), aggregates }
}

/// The event as the aggregate sees it; `None` when the event lacks what it is about: the property, or a declared weight.
fn input<'a>(event: &'a Event, spec: &AggregateSpec) -> Option<Input<'a>> {
    let value = match &spec.property {
        None => None,
        Some(property) => Some(event.property(property)?),
    };
    let weight = match value {
        Some(value) if spec.needs_number() => value.as_number()?,
        None if !spec.weights.is_empty() => {
            let place = spec.weights.binary_search_by(|(name, _)| (**name).cmp(&event.name)).ok()?;
            spec.weights.get(place)?.1
        }
        _ => 1.0,
    };
    let is_page = matches!(&*event.name, "page_view" | "screen_view");
    Some(Input { at: event.event_time, message_key: event.message_key, is_page, weight, value })
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

    /// Takes in what another state under the same definitions took in: afterwards this is the state of the events of
    /// both, as [`apply`] would have made it in any order, within what is said there about orders.
    pub fn merge(&mut self, other: &Self, schema: &FeatureSchema) {
        self.watermark = self.watermark.saturating_add(other.watermark);
        self.span = match (self.span, other.span) {
            (Some(one), Some(two)) => Some((one.0.min(two.0), one.1.max(two.1))),
            (one, two) => one.or(two),
        };
        for ((own, other), spec) in self.aggregates.iter_mut().zip(&other.aggregates).zip(schema.aggregates())
        {
            own.merge(other, spec);
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
            self.measure(now, schema)
        };
        schema.compute(&mut vector, now, context);
        vector
    }

    fn measure(&self, now: Timestamp, schema: &FeatureSchema) -> FeatureVector {
        let (feature_set, watermark) = (schema.feature_set().hash(), self.watermark);
        let (mut values, mut texts) = (Vec::with_capacity(schema.outputs().len()), Vec::new());
        for (slot, output) in schema.outputs().iter().enumerate() {
            let (value, text) = self.value(output, now, schema);
            values.push(value);
            texts.extend(text.map(|text| (slot as u32, text)));
        }
        FeatureVector { feature_set, watermark, values, texts }
    }

    fn value(
        &self,
        output: &Output,
        now: Timestamp,
        schema: &FeatureSchema,
    ) -> (FeatureValue, Option<Arc<str>>) {
        let Source::Aggregate { index, measure } = output.source else {
            let value = FeatureValue { value: 0.0, status: FeatureStatus::NullValue, event_time: None };
            return (value, None);
        };
        let (Some(aggregate), Some(spec)) = (self.aggregates.get(index), schema.aggregates().get(index))
        else {
            return (output.settle(None, None, now), None);
        };
        let measured = aggregate.measure(measure, now, spec).map(|measured| measured.value);
        let (number, text) = match measured {
            Some(MeasuredValue::Number(number)) => (Some(number), None),
            Some(MeasuredValue::Text(text)) => (Some(0.0), Some(text)),
            None => (None, None),
        };
        let value = output.settle(number, aggregate.latest(), now);
        (value, output.settle_text(value.status, text))
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
