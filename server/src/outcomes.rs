//! What came of decisions: checked, told apart from repetitions, kept and synced before it is answered.
//!
//! Not here: shapes (`augur_proto::convert::outcomes`), the log's bytes (`augur_decision_log`), or reckoning with
//! outcomes (`augur_shadow_harness::experiment`), which joins them to decisions and leaves repetitions out for good.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use augur_decision_log::{Config as LogConfig, Durability, OutcomeLog, OutcomeReader};
use augur_domain::ids::OutcomeKey;
use augur_domain::{OutcomeKind, OutcomeRecord};
use augur_proto::convert::FieldError;
use augur_proto::convert::outcomes::outcome_from_wire;
use augur_proto::v1;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::app::{log_clock, retention_of};
use crate::clock::Clock;
use crate::files::Layout;
use crate::recent::Memory;
use crate::{App, Error};

/// Most outcomes of one call.
const MAX_OUTCOMES: usize = 1_000;
/// Outcomes whose repetition is noticed at once; about 50 bytes each.
const MAX_SEEN: usize = 131_072;
/// Bytes of a segment: about 240 000 outcomes.
const SEGMENT_BYTES: u64 = 16 << 20;
/// Bytes of outcomes that may wait for the disk.
const QUEUE_BYTES: usize = 4 << 20;

/// What became of one report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reported {
    /// Kept and synced.
    Accepted,
    /// Kept before.
    Duplicate,
    /// Kept and synced, though no decision of this server.
    UnknownDecision,
    /// Not kept.
    Rejected(FieldError),
}

impl Reported {
    /// The word used on the wire and in metrics.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Accepted => "ACCEPTED",
            Self::Duplicate => "DUPLICATE",
            Self::UnknownDecision => "UNKNOWN_DECISION",
            Self::Rejected(_) => "REJECTED",
        }
    }
}

/// The log of outcomes and what is remembered of it.
pub(crate) struct Outcomes {
    log: OutcomeLog,
    seen: Mutex<Seen>,
}

/// The latest outcomes.
#[derive(Debug, Default)]
struct Seen {
    keys: HashSet<OutcomeKey>,
    order: VecDeque<OutcomeKey>,
}

impl Seen {
    fn remember(&mut self, key: OutcomeKey) {
        if !self.keys.insert(key) {
            return;
        }
        self.order.push_back(key);
        if self.order.len() > MAX_SEEN
            && let Some(oldest) = self.order.pop_front()
        {
            self.keys.remove(&oldest);
        }
    }
}

/// A report on its way to the disk.
struct Waiting {
    record: OutcomeRecord,
    written: oneshot::Receiver<Result<u64, augur_decision_log::Error>>,
}

impl Outcomes {
    /// Opens the log and remembers the last of what it holds. Blocks.
    pub(crate) fn open(
        layout: &Layout,
        settings: &crate::config::DecisionLog,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        let dir = layout.outcomes();
        let config = LogConfig {
            segment_bytes: SEGMENT_BYTES,
            segment_age: Some(settings.segment_age),
            retention: retention_of(settings.keep_outcomes),
            clock: log_clock(clock),
            queue_bytes: QUEUE_BYTES,
            durability: Durability::Synced,
            ..LogConfig::new(&dir)
        };
        let (log, recovery) = OutcomeLog::open(config).map_err(Error::OutcomeLog)?;
        let mut seen = Seen::default();
        let from = recovery.next_sequence.saturating_sub(MAX_SEEN as u64);
        for found in OutcomeReader::open_from(&dir, from).map_err(Error::OutcomeLog)? {
            seen.remember(found.map_err(Error::OutcomeLog)?.1.outcome);
        }
        Ok(Self { log, seen: Mutex::new(seen) })
    }

    /// Where the log stands.
    pub(crate) fn stats(&self) -> augur_decision_log::Stats {
        self.log.stats()
    }

    pub(crate) fn close(self) -> Result<(), Error> {
        self.log.close().map_err(Error::OutcomeLog)
    }

    fn is_known(&self, key: OutcomeKey) -> bool {
        self.seen.lock().keys.contains(&key)
    }
}

impl App {
    /// Keeps outcomes; returns what became of each, in order, once all that are kept are synced. After an error some
    /// may be kept: sent again, they count once.
    ///
    /// # Errors
    /// [`Error::InvalidField`] for none or too many, [`Error::OutcomeLog`] when they cannot be written,
    /// [`Error::Store`] when what they settle cannot be.
    pub async fn report_outcomes(&self, outcomes: &[v1::Outcome]) -> Result<Vec<Reported>, Error> {
        if outcomes.is_empty() || outcomes.len() > MAX_OUTCOMES {
            let problem = format!("{} outcomes", outcomes.len());
            return Err(Error::field("outcomes", problem, format!("1 to {MAX_OUTCOMES}")));
        }
        let received_at = self.clock.now();
        let mut answers = Vec::with_capacity(outcomes.len());
        let mut records = Vec::new();
        let mut of_this_batch = HashSet::new();
        for wire in outcomes {
            let read = outcome_from_wire(wire, received_at, &self.pseudonymiser);
            answers.push(match read {
                Err(fault) => Reported::Rejected(fault),
                Ok(record)
                    if self.outcomes.is_known(record.outcome) || !of_this_batch.insert(record.outcome) =>
                {
                    Reported::Duplicate
                }
                Ok(record) => {
                    let answer = match self.recent.look(record.decision) {
                        Memory::NotMade => Reported::UnknownDecision,
                        Memory::Made(_) | Memory::TooOld => Reported::Accepted,
                    };
                    records.push(record);
                    answer
                }
            });
        }
        self.settle_exposures(records.iter().map(|record| (record.decision, record.kind)).collect()).await?;
        let waiting =
            records.into_iter().map(|record| self.write_outcome(record)).collect::<Result<_, _>>()?;
        self.kept(waiting).await?;
        for (wire, answer) in outcomes.iter().zip(&answers) {
            let kind = u8::try_from(wire.kind).ok().and_then(OutcomeKind::from_u8);
            self.metrics.count_outcome(kind.map_or("UNKNOWN", OutcomeKind::as_str), answer.as_str());
        }
        Ok(answers)
    }

    /// Whether outcomes can be kept; once they cannot, not before the next start.
    pub(crate) fn keeps_outcomes(&self) -> bool {
        !self.outcomes.stats().failed
    }

    fn write_outcome(&self, record: OutcomeRecord) -> Result<Waiting, Error> {
        let (told, written) = oneshot::channel();
        let append = self.outcomes.log.append(&record, move |outcome| {
            // Nobody may be waiting any more; the outcome is written all the same.
            let _ = told.send(outcome);
        });
        append.map_err(Error::OutcomeLog)?;
        Ok(Waiting { record, written })
    }

    /// Waits until everything is synced. A report is remembered only then, so that a repetition that comes while it
    /// waits is not told of something that may yet be lost.
    async fn kept(&self, waiting: Vec<Waiting>) -> Result<(), Error> {
        for Waiting { record, written } in waiting {
            let written = written.await.unwrap_or(Err(augur_decision_log::Error::Closed));
            written.map_err(Error::OutcomeLog)?;
            self.outcomes.seen.lock().remember(record.outcome);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_seen_is_bounded() {
        let mut seen = Seen::default();
        let key = |n: usize| {
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&(n as u64).to_le_bytes());
            OutcomeKey::from_bytes(bytes)
        };
        for n in 0..=MAX_SEEN {
            seen.remember(key(n));
            seen.remember(key(n));
        }
        assert!(!seen.keys.contains(&key(0)) && seen.keys.contains(&key(1)));
        assert_eq!((seen.keys.len(), seen.order.len()), (MAX_SEEN, MAX_SEEN));
    }

    #[test]
    fn words_are_those_of_the_wire() {
        let fault = FieldError::new("a", "b", "c");
        for (number, answer) in (1..).zip([
            Reported::Accepted,
            Reported::Duplicate,
            Reported::UnknownDecision,
            Reported::Rejected(fault),
        ]) {
            let wire = v1::OutcomeStatus::try_from(number).unwrap();
            assert_eq!(wire.as_str_name(), format!("OUTCOME_STATUS_{}", answer.as_str()));
        }
    }
}
