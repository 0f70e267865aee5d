//! One walk over one user's log for a run of reads: ascending by instant and by watermark.
//!
//! Not here: which log it is (`recompute`).

use std::sync::Arc;

use augur_domain::event::EventKind;
use augur_domain::{Event, FeatureVector, Timestamp};

use super::{Differing, MAX_DIFFERING, PastRead, Recomputed, Unseen};
use crate::state::UserState;
use crate::training::{EventLog, Label, NumberedLabel, Past, Place, UserLog};
use crate::{Error, FeatureSchema, StoredEvent};

/// An event of a log of its own that is part of another one now.
#[derive(Debug)]
pub(super) struct Seen {
    sequence: u64,
    visible_at: Timestamp,
    event: Event,
}

impl Seen {
    /// From when its own log showed it is not kept: an event from when it happened, a retraction from when it came.
    pub(super) fn under_its_own_id(stored: StoredEvent, sequence: u64) -> Self {
        let event = stored.event;
        let visible_at = if event.kind == EventKind::Retract { event.received_at } else { event.event_time };
        Self { sequence, visible_at, event }
    }
}

/// The reads of a run, on their way.
pub(super) struct Walk<'a> {
    reads: &'a [PastRead],
    /// Those answered, in order.
    made: Vec<Recomputed>,
    /// Of each read, by which events it differs from a training set.
    differing: Vec<Vec<Differing>>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(reads: &'a [PastRead]) -> Self {
        Self { reads, made: Vec::with_capacity(reads.len()), differing: vec![Vec::new(); reads.len()] }
    }

    /// From a log in the store, beginning with what the events before it made.
    pub(super) fn of_log(
        mut self,
        mut log: UserLog,
        events: &mut EventLog<'_>,
        beginning: UserState,
        schema: &FeatureSchema,
        state_bytes: usize,
    ) -> Result<Vec<Recomputed>, Error> {
        let last = self.reads.last().map_or(Timestamp::MIN, |read| read.now);
        let (mut state, mut place) = (beginning.clone(), Place::default());
        // What no read can see any more, by either rule, is not looked at.
        while self.made.len() < self.reads.len() || log.visible_from(place) < last {
            let Some(stored) = log.next(events, &mut place)? else { break };
            self.pass(stored.sequence, &state, schema);
            self.note(stored.sequence, stored.visible_at(), stored.into(), &stored.event.name);
            state.take_in(&stored.event, schema);
        }
        self.pass(u64::MAX, &state, schema);
        let differ: Vec<usize> = (0..self.reads.len()).filter(|index| self.differs(*index)).collect();
        let labels: Vec<NumberedLabel> =
            differ.iter().filter_map(|index| Some(label(*index, self.reads.get(*index)?))).collect();
        if !labels.is_empty() {
            let mut past = Past::open(log, beginning);
            let mut rest = &*labels;
            while !rest.is_empty() {
                let read = past.read(events, rest, 0, schema, state_bytes)?;
                let (now, later) = rest.split_at(read.len().min(rest.len()));
                for (label, vector) in now.iter().zip(read) {
                    self.set_as_of(label.index, vector);
                }
                if now.is_empty() {
                    break;
                }
                rest = later;
            }
        }
        Ok(self.finish())
    }

    /// From events in memory.
    pub(super) fn of_events(mut self, events: &[Seen], schema: &FeatureSchema) -> Vec<Recomputed> {
        let mut state = UserState::new(schema);
        for seen in events {
            let why = match seen.event.kind {
                EventKind::Retract => Unseen::Retraction,
                _ => Unseen::LateEvent,
            };
            self.pass(seen.sequence, &state, schema);
            self.note(seen.sequence, seen.visible_at, why, &seen.event.name);
            state.take_in(&seen.event, schema);
        }
        self.pass(u64::MAX, &state, schema);
        for index in 0..self.reads.len() {
            let Some(read) = self.reads.get(index).filter(|_| self.differs(index)) else { continue };
            let mut state = UserState::new(schema);
            for seen in events.iter().filter(|seen| seen.visible_at < read.now) {
                state.take_in(&seen.event, schema);
            }
            self.set_as_of(index as u64, state.read(read.now, schema, &read.context));
        }
        self.finish()
    }

    /// Answers the reads that came before the event with this sequence.
    fn pass(&mut self, sequence: u64, state: &UserState, schema: &FeatureSchema) {
        while let Some(read) = self.reads.get(self.made.len()).filter(|read| read.watermark < sequence) {
            let as_received = state.read(read.now, schema, &read.context);
            self.made.push(Recomputed { as_received, as_of: None, differing: Vec::new() });
        }
    }

    /// Notes an event with the reads for which having come and being visible are not the same.
    fn note(&mut self, sequence: u64, visible_at: Timestamp, why: Unseen, name: &Arc<str>) {
        let visible = self.reads.partition_point(|read| read.now <= visible_at);
        let received = self.reads.partition_point(|read| read.watermark < sequence);
        let why = if visible < received { why } else { Unseen::Ahead };
        let range = visible.min(received)..visible.max(received);
        for differing in self.differing.get_mut(range).into_iter().flatten() {
            let named = Differing { why, event: Some(Arc::clone(name)) };
            if differing.contains(&named) {
                continue;
            }
            let any = Differing { why, event: None };
            if differing.len() < MAX_DIFFERING {
                differing.push(named);
            } else if !differing.contains(&any) {
                differing.push(any);
            }
        }
    }

    fn differs(&self, index: usize) -> bool {
        self.differing.get(index).is_some_and(|differing| !differing.is_empty())
    }

    fn set_as_of(&mut self, index: u64, vector: FeatureVector) {
        let place = usize::try_from(index).ok().and_then(|index| self.made.get_mut(index));
        if let Some(made) = place {
            made.as_of = Some(vector);
        }
    }

    fn finish(self) -> Vec<Recomputed> {
        let told = self.made.into_iter().zip(self.differing);
        told.map(|(made, differing)| Recomputed { differing, ..made }).collect()
    }
}

fn label(index: usize, read: &PastRead) -> NumberedLabel {
    let label = Label { user: augur_domain::UserKey::default(), at: read.now, outcome: None };
    NumberedLabel { index: index as u64, label, context: read.context.clone() }
}
