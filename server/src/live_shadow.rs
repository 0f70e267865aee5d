//! Live shadow: candidates decide again what was answered, off the request path, into a log of their own.
//!
//! Handing a decision over costs a hash, a few counters and a `try_send`; what comes after it, however it goes, nobody who
//! asks for decisions waits for. Not here: deciding (`augur_decision`), or what the records come to (`augur_shadow_harness`).

mod candidate;
mod queue;
mod turn;
mod workers;

use std::sync::Arc;
use std::time::Duration;

use augur_decision_log::{Config as LogConfig, Retention, ShadowLog};
use augur_domain::DecisionRecord;
use augur_domain::live_shadow::ShadowStatus;

use crate::active::Active;
use crate::app::log_clock;
use crate::breakers::Breakers;
use crate::clock::Clock;
use crate::config;
use crate::decider::Decider;
use crate::files::Layout;
use crate::metrics::{self, Metrics};
use crate::{App, Error};

use queue::Queue;
use workers::Workers;

/// Bytes of a segment: about 50 000 records.
const SEGMENT_BYTES: u64 = 16 << 20;
/// Bytes of records that may wait for the disk; beyond, they are lost and counted.
const LOG_QUEUE_BYTES: usize = 4 << 20;
/// A power cut may take the records of so long.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);

/// A decision that candidates are to make again.
pub(crate) struct Job {
    record: DecisionRecord,
    /// Probability with which it was kept.
    kept: f64,
    /// What decided, or what decides since.
    active: Arc<Active>,
    decider: Arc<dyn Decider>,
    /// Of the queue, as it was counted.
    bytes: usize,
}

/// Live shadow as configured; nothing at all without candidates.
pub(crate) struct LiveShadow {
    running: Option<Running>,
}

struct Running {
    queue: Queue,
    workers: Workers,
}

impl LiveShadow {
    /// Opens the log and starts the threads, if there are candidates. Blocks.
    pub(crate) fn start(
        settings: &config::Shadow,
        layout: &Layout,
        breakers: &Breakers,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        if settings.candidates.is_empty() {
            return Ok(Self { running: None });
        }
        let config = LogConfig {
            segment_bytes: SEGMENT_BYTES,
            queue_bytes: LOG_QUEUE_BYTES,
            sync_interval: SYNC_INTERVAL,
            retention: Retention { age: None, bytes: Some(settings.keep_bytes) },
            clock: log_clock(clock),
            ..LogConfig::new(layout.shadow())
        };
        let (log, _) = ShadowLog::open(config).map_err(Error::ShadowLog)?;
        let (queue, waiting) = Queue::new(settings.share, settings.queue_bytes);
        let workers = Workers::start(settings, layout, breakers, clock, log, waiting, queue.tallies())?;
        Ok(Self { running: Some(Running { queue, workers }) })
    }

    /// Ends the threads that end by themselves, then closes the log. What waits is dropped. Blocks for a second at most
    /// beside the log.
    pub(crate) fn close(self) -> Result<(), Error> {
        let Some(Running { queue, workers }) = self.running else { return Ok(()) };
        drop(queue);
        workers.close()
    }

    /// Brings the metrics up to date.
    pub(crate) fn tell(&self, metrics: &Metrics) {
        let Some(Running { queue, workers }) = &self.running else { return };
        let tallies = queue.tallies();
        for (name, value) in [
            (metrics::SHADOW_OFFERED, tallies.offered()),
            (metrics::SHADOW_THINNED, tallies.thinned()),
            (metrics::SHADOW_FULL, tallies.full()),
            (metrics::SHADOW_QUEUED_BYTES, tallies.queued_bytes() as u64),
            (metrics::SHADOW_UNWRITTEN, workers.unwritten()),
        ] {
            metrics.set(name, value as f64);
        }
        for standing in workers.standings() {
            let candidate = ("candidate", &*standing.name);
            for (status, count) in ShadowStatus::ALL.iter().zip(standing.by_status) {
                let labels = [candidate, ("status", status.as_str())];
                metrics.set_labelled(metrics::SHADOW_DECISIONS, &labels, count as f64);
            }
            for (name, value) in [
                (metrics::SHADOW_REFUSED, standing.refused),
                (metrics::SHADOW_ABANDONED, standing.abandoned),
                (metrics::SHADOW_UNUSABLE, u64::from(standing.unusable)),
            ] {
                metrics.set_labelled(name, &[candidate], value as f64);
            }
        }
    }
}

impl App {
    /// Offers a decision that is answered to the candidates of live shadow, and gives it back if they do not take it.
    /// Never waits and never fails.
    pub fn offer_to_shadow(&self, record: DecisionRecord) -> Option<DecisionRecord> {
        let Some(Running { queue, .. }) = &self.live_shadow.running else { return Some(record) };
        queue.offer(record, || (self.active(), Arc::clone(&self.decider)))
    }
}
