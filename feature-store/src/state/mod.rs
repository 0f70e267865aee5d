//! One user's aggregates, and the function that carries an event into them.
//!
//! Not here: clocks, storage, reads (`read`) or bytes (`codec`). [`apply`] is the only way into a state, whether events come
//! from the network, from the event log after a change of definitions, or for a training set.

mod carry;
mod codec;
mod packed;
mod read;
#[cfg(test)]
mod tests;

use augur_domain::event::EventKind;
use augur_domain::{Event, Timestamp};

pub(crate) use codec::FORMAT;
pub(crate) use packed::PackedState;
pub use read::{Accuracy, read_record, read_record_in_full};

use crate::aggregate::{Aggregate, Input};
use crate::schema::{AggregateSpec, FeatureSchema};

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
/// The order of events does not matter to whole numbers, times, extremes, values and sessions (the latter among the 32
/// latest; beyond them ascending and descending order are exact and others approximate), nor to top values until one was
/// displaced; sums of doubles and decayed values agree to rounding. Whoever needs equal bits applies events in the order
/// of their sequence, as everything in this crate does.
pub fn apply(state: &UserState, event: &Event, schema: &FeatureSchema) -> Changes {
    let at = event.event_time;
    let (first, last) = state.span.unwrap_or((at, at));
    let specs = schema.aggregates();
    let mut aggregates = Vec::new();
    for &index in schema.touched_by(&event.name) {
        let (Some(spec), Some(aggregate)) = (specs.get(index), state.aggregates.get(index)) else { continue };
        if let Some(input) = counted(event, spec) {
            let mut aggregate = aggregate.clone();
            carry(&mut aggregate, event, &input, spec);
            aggregates.push((index, aggregate));
        }
    }
    Changes { watermark: state.watermark.saturating_add(1), span: (first.min(at), last.max(at)), aggregates }
}

/// What of the event counts here, if it does.
fn counted<'a>(event: &'a Event, spec: &AggregateSpec) -> Option<Input<'a>> {
    let passes = spec.filter.as_ref().is_none_or(|filter| filter.holds(event));
    let stays = event.kind == EventKind::Retract && !spec.retractable;
    if passes && !stays { input(event, spec) } else { None }
}

fn carry(aggregate: &mut Aggregate, event: &Event, input: &Input<'_>, spec: &AggregateSpec) {
    if event.kind == EventKind::Retract {
        aggregate.retract(input, spec);
    } else {
        aggregate.add(input, spec);
    }
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

    /// [`apply`] and [`Self::commit`] in one, in place: the same state, without copies of what the event touches.
    pub fn take_in(&mut self, event: &Event, schema: &FeatureSchema) {
        let at = event.event_time;
        for &index in schema.touched_by(&event.name) {
            let (Some(spec), Some(aggregate)) =
                (schema.aggregates().get(index), self.aggregates.get_mut(index))
            else {
                continue;
            };
            if let Some(input) = counted(event, spec) {
                carry(aggregate, event, &input, spec);
            }
        }
        let (first, last) = self.span.unwrap_or((at, at));
        self.span = Some((first.min(at), last.max(at)));
        self.watermark = self.watermark.saturating_add(1);
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

    /// Counts as applied what is not there any more, up to this place in the log.
    pub(crate) fn stand_at(&mut self, sequence: u64) {
        self.watermark = self.watermark.max(sequence);
        // The record of a state with events has a span; nobody knows the times of those that are gone.
        if self.watermark > 0 && self.span.is_none() {
            self.span = Some((Timestamp::from_unix_ms(0), Timestamp::from_unix_ms(0)));
        }
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
