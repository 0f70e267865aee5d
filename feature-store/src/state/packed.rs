//! A user's state in a writer's hands: what the group's events touch is unpacked, the rest stays as it was stored. A user
//! with forty features is changed by an event in a handful of them.
//!
//! Gives the same bytes as unpacking all of it would. Not here: the layout (`codec`), or which state is whose
//! (`generation`).

use augur_domain::{Event, Timestamp};

use super::{UserState, carry, codec, counted};
use crate::aggregate::Aggregate;
use crate::bytes::{self, Reader};
use crate::error::DecodeError;
use crate::schema::FeatureSchema;

/// Belongs to the [`FeatureSchema`] that its record was made with.
#[derive(Debug)]
pub(crate) struct PackedState {
    record: Vec<u8>,
    watermark: u64,
    span: Option<(Timestamp, Timestamp)>,
    /// Where the first aggregate starts in the record.
    start: usize,
    /// Where each aggregate ends in the record; the next one starts there.
    ends: Vec<u32>,
    /// Those that are unpacked, by index, ascending.
    unpacked: Vec<(usize, Aggregate)>,
}

impl PackedState {
    /// The state that was encoded to `record`.
    ///
    /// # Errors
    /// As [`UserState::decode`]; what is inside an aggregate is looked at by [`Self::unpack`].
    pub(crate) fn open(record: Vec<u8>, schema: &FeatureSchema) -> Result<Self, DecodeError> {
        let codec::Header { watermark, span, mut bodies } = codec::open(&record, schema)?;
        let place = |bodies: &Reader<'_>| record.len() - bytes::CHECKSUM_BYTES - bodies.remaining();
        let start = place(&bodies);
        let mut ends = Vec::with_capacity(schema.aggregates().len());
        for _ in schema.aggregates() {
            bodies.bytes("aggregate")?;
            let end =
                u32::try_from(place(&bodies)).map_err(|_| DecodeError::Invalid { field: "aggregate" })?;
            ends.push(end);
        }
        bodies.finish()?;
        Ok(Self { watermark, span, start, ends, unpacked: Vec::new(), record })
    }

    /// The state of a user without events.
    pub(crate) fn new(schema: &FeatureSchema) -> Self {
        Self::of(UserState::new(schema))
    }

    /// The same state, all of it unpacked.
    pub(crate) fn of(state: UserState) -> Self {
        let UserState { watermark, span, aggregates } = state;
        let ends = vec![0; aggregates.len()];
        let unpacked = aggregates.into_iter().enumerate().collect();
        Self { record: Vec::new(), watermark, span, start: 0, ends, unpacked }
    }

    /// Unpacks what an event of this name may touch.
    ///
    /// # Errors
    /// As [`UserState::decode`]; nothing has changed then.
    pub(crate) fn unpack_for(&mut self, name: &str, schema: &FeatureSchema) -> Result<(), DecodeError> {
        schema.touched_by(name).iter().try_for_each(|&index| self.unpacked(index, schema).map(drop))
    }

    /// Unpacks all of it.
    ///
    /// # Errors
    /// As [`Self::unpack_for`].
    pub(crate) fn unpack_all(&mut self, schema: &FeatureSchema) -> Result<(), DecodeError> {
        (0..self.ends.len()).try_for_each(|index| self.unpacked(index, schema).map(drop))
    }

    /// [`super::apply`], in place.
    ///
    /// # Errors
    /// As [`Self::unpack_for`], and never after it; what is left then must not be stored.
    pub(crate) fn take_in(&mut self, event: &Event, schema: &FeatureSchema) -> Result<(), DecodeError> {
        for &index in schema.touched_by(&event.name) {
            let Some(spec) = schema.aggregates().get(index) else { continue };
            if let Some(input) = counted(event, spec)
                && let Some(aggregate) = self.unpacked(index, schema)?
            {
                carry(aggregate, event, &input, spec);
            }
        }
        let at = event.event_time;
        let (first, last) = self.span.unwrap_or((at, at));
        self.span = Some((first.min(at), last.max(at)));
        self.watermark = self.watermark.saturating_add(1);
        Ok(())
    }

    /// How many of the user's events have been applied.
    pub(crate) const fn watermark(&self) -> u64 {
        self.watermark
    }

    /// Appends the packed record to `out`: the bytes of [`UserState::encode`].
    pub(crate) fn encode(&self, schema: &FeatureSchema, out: &mut Vec<u8>) {
        codec::seal(schema, self.watermark, self.span, out, |out| {
            let mut copied = self.start;
            for (index, aggregate) in &self.unpacked {
                let (Some(place), Some(spec)) = (self.place(*index), schema.aggregates().get(*index)) else {
                    continue;
                };
                out.extend_from_slice(self.record.get(copied..place.start).unwrap_or_default());
                aggregate.encode(spec, out);
                copied = place.end;
            }
            let end = self.ends.last().map_or(copied, |end| *end as usize);
            out.extend_from_slice(self.record.get(copied..end).unwrap_or_default());
        });
    }

    /// Of an aggregate in the record, its length in front included.
    fn place(&self, index: usize) -> Option<std::ops::Range<usize>> {
        let end = *self.ends.get(index)? as usize;
        let before = index.checked_sub(1).and_then(|before| self.ends.get(before));
        Some(before.map_or(self.start, |end| *end as usize)..end)
    }

    /// The aggregate, unpacked now if it was not; `None` for one that the definitions do not have.
    fn unpacked(
        &mut self,
        index: usize,
        schema: &FeatureSchema,
    ) -> Result<Option<&mut Aggregate>, DecodeError> {
        let slot = match self.unpacked.binary_search_by_key(&index, |(index, _)| *index) {
            Ok(slot) => slot,
            Err(slot) => {
                let Some((place, spec)) = self.place(index).zip(schema.aggregates().get(index)) else {
                    return Ok(None);
                };
                let mut reader = Reader::of(self.record.get(place).unwrap_or_default());
                let aggregate = Aggregate::decode(&mut reader, spec)?;
                self.unpacked.insert(slot, (index, aggregate));
                slot
            }
        };
        Ok(self.unpacked.get_mut(slot).map(|(_, aggregate)| aggregate))
    }
}
