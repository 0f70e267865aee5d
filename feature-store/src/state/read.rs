//! The read: from a user's state, or from its record without unpacking it, to the features at an instant.
//!
//! Both ways give the same bits. Not here: features of features and of the request (`schema::computed`).

use std::sync::Arc;

use augur_domain::feature::FeatureValue;
use augur_domain::{FeatureStatus, FeatureVector, Timestamp};

use super::UserState;
use super::codec::{self, Header};
use crate::aggregate::{Measured, MeasuredValue, measure_body};
use crate::bytes::Reader;
use crate::error::DecodeError;
use crate::schema::{Context, FeatureSchema, Output, Source};

/// How exact one value is.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Accuracy {
    /// Where the window really starts: at its declared start where single events answer, else on the border of a tile
    /// before it. `None` without a window, or without a value.
    pub window_start: Option<Timestamp>,
    /// The relative standard error of an estimate, or the relative bound of a count that has a bound. `None` when exact.
    pub approximation_error: Option<f64>,
}

impl UserState {
    /// The features at `now`, in slot order; all `NOT_FOUND` before the first event.
    ///
    /// `now` is meant to be at or after the latest event. Read a little earlier, events ahead count as if they
    /// happened at `now`, except that windows leave out tiles that lie wholly ahead. A read of the past is built
    /// from the events before it instead: see [`crate::FeatureStore::training_rows`].
    /// What is computed from `context` has a value for a user without events, too.
    pub fn read(&self, now: Timestamp, schema: &FeatureSchema, context: &dyn Context) -> FeatureVector {
        let mut reading = Reading::of(self.watermark, schema);
        for output in schema.outputs() {
            let Source::Aggregate { index, measure } = output.source else {
                reading.leave_open();
                continue;
            };
            let kept = self.aggregates.get(index).zip(schema.aggregates().get(index));
            let measured = kept.and_then(|(aggregate, spec)| aggregate.measure(measure, now, spec));
            let latest = kept.and_then(|(aggregate, _)| aggregate.latest());
            reading.put(output, (measured, latest), now);
        }
        reading.finish(now, schema, context)
    }
}

/// [`UserState::read`] of the state that was encoded to `record`, straight from its bytes.
///
/// # Errors
/// [`DecodeError::OtherDefinitions`] when the record was made for other definitions, another one for damaged bytes, though
/// not all that [`UserState::decode`] would notice behind an intact checksum.
pub fn read_record(
    record: &[u8],
    now: Timestamp,
    schema: &FeatureSchema,
    context: &dyn Context,
) -> Result<FeatureVector, DecodeError> {
    read_bodies(record, now, schema, context, |_| ())
}

/// [`read_record`], and per slot how exact the value is.
///
/// # Errors
/// As [`read_record`].
pub fn read_record_in_full(
    record: &[u8],
    now: Timestamp,
    schema: &FeatureSchema,
    context: &dyn Context,
) -> Result<(FeatureVector, Vec<Accuracy>), DecodeError> {
    let mut accuracies = Vec::with_capacity(schema.outputs().len());
    let vector = read_bodies(record, now, schema, context, |accuracy| accuracies.push(accuracy))?;
    accuracies.resize(schema.outputs().len(), Accuracy::default());
    Ok((vector, accuracies))
}

fn read_bodies(
    record: &[u8],
    now: Timestamp,
    schema: &FeatureSchema,
    context: &dyn Context,
    mut note: impl FnMut(Accuracy),
) -> Result<FeatureVector, DecodeError> {
    let Header { watermark, bodies, .. } = codec::open(record, schema)?;
    let mut reading = Reading::of(watermark, schema);
    if watermark == 0 {
        return Ok(reading.finish(now, schema, context));
    }
    let mut bodies = Bodies::new(bodies);
    for outputs in schema.outputs().chunk_by(Output::is_of_same_aggregate) {
        let aggregate = outputs.first().and_then(Output::aggregate);
        let Some((index, spec)) = aggregate.and_then(|index| Some((index, schema.aggregates().get(index)?)))
        else {
            for _ in outputs {
                reading.leave_open();
                note(Accuracy::default());
            }
            continue;
        };
        let mut next = outputs.iter();
        let measures = outputs.iter().filter_map(Output::measure);
        measure_body(bodies.at(index)?, measures, now, spec, |measured, latest| {
            note(accuracy(measured.as_ref()));
            if let Some(output) = next.next() {
                reading.put(output, (measured, latest), now);
            }
        })?;
    }
    Ok(reading.finish(now, schema, context))
}

fn accuracy(measured: Option<&Measured>) -> Accuracy {
    measured.map_or(Accuracy::default(), |measured| Accuracy {
        window_start: measured.window_start,
        approximation_error: measured.approximation_error,
    })
}

/// The bodies of a record's aggregates, one after another; features of one aggregate are neighbours.
struct Bodies<'a> {
    all: Reader<'a>,
    rest: Reader<'a>,
    /// Index of the next body in `rest`.
    next: usize,
    current: &'a [u8],
}

impl<'a> Bodies<'a> {
    fn new(all: Reader<'a>) -> Self {
        Self { rest: all.clone(), all, next: 0, current: &[] }
    }

    fn at(&mut self, index: usize) -> Result<&'a [u8], DecodeError> {
        if index.saturating_add(1) < self.next {
            *self = Self::new(self.all.clone());
        }
        while self.next <= index {
            self.current = self.rest.bytes("aggregate")?;
            self.next += 1;
        }
        Ok(self.current)
    }
}

/// A vector in the making.
struct Reading {
    vector: FeatureVector,
    /// Whether the user has no events, so that the vector is complete but for what the request tells.
    is_unknown: bool,
}

impl Reading {
    fn of(watermark: u64, schema: &FeatureSchema) -> Self {
        let is_unknown = watermark == 0;
        let vector = if is_unknown {
            FeatureVector::not_found(schema.feature_set())
        } else {
            let values = Vec::with_capacity(schema.outputs().len());
            FeatureVector { feature_set: schema.feature_set().hash(), watermark, values, texts: Vec::new() }
        };
        Self { vector, is_unknown }
    }

    /// A place for what is computed last.
    fn leave_open(&mut self) {
        if !self.is_unknown {
            let open = FeatureValue { value: 0.0, status: FeatureStatus::NullValue, event_time: None };
            self.vector.values.push(open);
        }
    }

    /// The value of the next slot.
    fn put(
        &mut self,
        output: &Output,
        (measured, latest): (Option<Measured>, Option<Timestamp>),
        now: Timestamp,
    ) {
        if self.is_unknown {
            return;
        }
        let (number, text): (_, Option<Arc<str>>) = match measured.map(|measured| measured.value) {
            Some(MeasuredValue::Number(number)) => (Some(number), None),
            Some(MeasuredValue::Text(text)) => (Some(0.0), Some(text)),
            None => (None, None),
        };
        let value = output.settle(number, latest, now);
        let text = output.settle_text(value.status, text);
        let slot = self.vector.values.len() as u32;
        self.vector.texts.extend(text.map(|text| (slot, text)));
        self.vector.values.push(value);
    }

    fn finish(mut self, now: Timestamp, schema: &FeatureSchema, context: &dyn Context) -> FeatureVector {
        schema.compute(&mut self.vector, now, context);
        self.vector
    }
}
