//! One ingest, sorted by writer: the events of each, and between them what a change of links asks of it.
//!
//! A change stands in the queues of both writers whose users it concerns. One carries it out; the other one has stored
//! all that came before, and waits meanwhile, so that nobody else writes to either user. Changes are put into queues
//! one after another, so each writer meets them in the same order, and no two wait for each other. Not here: which
//! events and changes there are.

use crossbeam_channel::{Receiver, Sender, bounded};

use super::request::{Queued, Share};
use super::shard_of;
use crate::identity::Operation;

/// What one writer is to do, in order.
#[derive(Debug, Default)]
pub(super) struct Lane {
    pub(super) steps: Vec<Step>,
    pub(super) events: usize,
    /// Approximately.
    pub(super) bytes: usize,
}

/// Something for a writer to do.
#[derive(Debug)]
pub(super) enum Step {
    Events(Share),
    Change(ChangeStep),
}

/// A writer's part in a change of links.
#[derive(Debug)]
pub(super) enum ChangeStep {
    /// Tell the performer that all before is stored, and wait until it is done.
    Meet { here: Sender<()>, done: Receiver<()> },
    /// Carry out a change once the other writer is here, then let go of it.
    Perform { operation: Operation, meet: Option<(Receiver<()>, Sender<()>)> },
}

/// The lanes of all writers.
#[derive(Debug)]
pub(super) struct Lanes(pub(super) Vec<Lane>);

impl Lanes {
    pub(super) fn new(shards: usize) -> Self {
        Self((0..shards).map(|_| Lane::default()).collect())
    }

    /// Behind everything else of its shard.
    pub(super) fn event(&mut self, index: usize, event: Queued) {
        let shard = shard_of(event.event.user, self.0.len());
        let Some(lane) = self.0.get_mut(shard) else { return };
        if !matches!(lane.steps.last(), Some(Step::Events(_))) {
            lane.steps.push(Step::Events(Share::default()));
        }
        if let Some(Step::Events(share)) = lane.steps.last_mut() {
            let before = share.bytes;
            share.push(index, event);
            lane.events += 1;
            lane.bytes = lane.bytes.saturating_add(share.bytes - before);
        }
    }

    /// Behind everything else of the shards that it concerns.
    pub(super) fn change(&mut self, operation: Operation) {
        let performer = shard_of(operation.performer(), self.0.len());
        let other = shard_of(operation.other(), self.0.len());
        let mut meet = None;
        if other != performer {
            let ((here, reached), (let_go, done)) = (bounded(1), bounded(1));
            self.push(other, ChangeStep::Meet { here, done });
            meet = Some((reached, let_go));
        }
        self.push(performer, ChangeStep::Perform { operation, meet });
    }

    fn push(&mut self, shard: usize, step: ChangeStep) {
        if let Some(lane) = self.0.get_mut(shard) {
            lane.steps.push(Step::Change(step));
        }
    }

    /// How many parts of events there are.
    pub(super) fn parts(&self) -> usize {
        let steps = self.0.iter().flat_map(|lane| &lane.steps);
        steps.filter(|step| matches!(step, Step::Events(_))).count()
    }
}
