//! What waits for candidates: bounded by bytes, and thinned with a known probability before it is full.
//!
//! Dropping when a queue is full keeps what comes in quiet moments, and nobody can say how much of that is chance. So less
//! and less is drawn as the queue fills, by a hash of the decision, and what is kept says with which probability. Not here:
//! who takes from the queue (`workers`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use augur_domain::feature::FeatureValue;
use augur_domain::live_shadow::place_of;
use augur_domain::{Decision, DecisionRecord};

use super::Job;
use crate::active::Active;
use crate::decider::Decider;

/// Decisions that wait at most, whatever their size.
const MAX_WAITING: usize = 8_192;
/// Up to this fill of the queue, in parts of the whole, so much of the share is drawn.
const THINNING: [(f64, f64); 5] = [(0.5, 1.0), (0.75, 0.5), (0.875, 0.25), (0.9375, 0.125), (1.0, 0.0625)];
/// What an item of a list takes beside its texts, which are shared, in bytes.
const ITEM_BYTES: usize = 64;

/// Counts that both ends keep.
#[derive(Debug, Default)]
pub(super) struct Tallies {
    offered: AtomicU64,
    thinned: AtomicU64,
    full: AtomicU64,
    queued_bytes: AtomicUsize,
    waiting: AtomicUsize,
}

impl Tallies {
    pub(super) fn offered(&self) -> u64 {
        self.offered.load(Ordering::Relaxed)
    }

    pub(super) fn thinned(&self) -> u64 {
        self.thinned.load(Ordering::Relaxed)
    }

    pub(super) fn full(&self) -> u64 {
        self.full.load(Ordering::Relaxed)
    }

    pub(super) fn queued_bytes(&self) -> usize {
        self.queued_bytes.load(Ordering::Relaxed)
    }

    /// Gives back the room of a decision that nobody waits with any more.
    pub(super) fn release(&self, bytes: usize) {
        self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The end of the queue that serving threads put decisions into.
pub(super) struct Queue {
    jobs: SyncSender<Box<Job>>,
    tallies: Arc<Tallies>,
    share: f64,
    limit_bytes: usize,
}

impl Queue {
    pub(super) fn new(share: f64, limit_bytes: usize) -> (Self, Receiver<Box<Job>>) {
        let (jobs, waiting) = sync_channel(MAX_WAITING);
        (Self { jobs, tallies: Arc::default(), share, limit_bytes }, waiting)
    }

    pub(super) fn tallies(&self) -> Arc<Tallies> {
        Arc::clone(&self.tallies)
    }

    /// Puts `record` into the queue if it is drawn and there is room, else gives it back; `with` gives what goes with it.
    pub(super) fn offer(
        &self,
        record: DecisionRecord,
        with: impl FnOnce() -> (Arc<Active>, Arc<dyn Decider>),
    ) -> Option<DecisionRecord> {
        let tallies = &*self.tallies;
        tallies.offered.fetch_add(1, Ordering::Relaxed);
        let kept = self.share * self.left();
        if place_of(record.inputs.decision_id) >= kept {
            tallies.thinned.fetch_add(1, Ordering::Relaxed);
            return Some(record);
        }
        let bytes = bytes_of(&record);
        let before = tallies.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        tallies.waiting.fetch_add(1, Ordering::Relaxed);
        let refused = if before + bytes <= self.limit_bytes {
            let (active, decider) = with();
            let job = Box::new(Job { record, kept, active, decider, bytes });
            match self.jobs.try_send(job) {
                Ok(()) => return None,
                Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) => job.record,
            }
        } else {
            record
        };
        tallies.release(bytes);
        tallies.full.fetch_add(1, Ordering::Relaxed);
        Some(refused)
    }

    /// How much of the share is drawn as the queue stands.
    fn left(&self) -> f64 {
        let bytes = self.tallies.queued_bytes() as f64 / self.limit_bytes as f64;
        let waiting = self.tallies.waiting.load(Ordering::Relaxed) as f64 / MAX_WAITING as f64;
        left_at(bytes.max(waiting))
    }
}

fn left_at(fill: f64) -> f64 {
    THINNING.iter().find(|(up_to, _)| fill < *up_to).map_or(0.0625, |(_, left)| *left)
}

/// About what a record takes in memory.
fn bytes_of(record: &DecisionRecord) -> usize {
    let DecisionRecord { request, inputs, decision, models, .. } = record;
    let Decision { scores, candidates, reasons, assignments, shadow, .. } = decision;
    let items = inputs.context.len()
        + inputs.models.len()
        + inputs.exposures.len()
        + inputs.person.traits.len()
        + inputs.person.consents.len()
        + inputs.budgets.len()
        + inputs.features.texts.len()
        + models.len()
        + scores.len()
        + 2 * candidates.len()
        + reasons.len()
        + assignments.len()
        + shadow.len();
    size_of::<DecisionRecord>()
        + request.len()
        + inputs.features.values.len() * size_of::<FeatureValue>()
        + items * ITEM_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn less_is_drawn_the_fuller_it_is_and_never_nothing() {
        assert_eq!(
            [0.0, 0.49, 0.5, 0.8, 0.9, 0.99, 1.0, 7.0].map(left_at),
            [1.0, 1.0, 0.5, 0.25, 0.125, 0.0625, 0.0625, 0.0625]
        );
    }
}
