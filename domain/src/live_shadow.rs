//! Live shadow: what a candidate would have decided of a decision that was answered.
//!
//! Not here: who decides again and when (`server`), how records are stored (`decision-log`) or what they come to
//! (`shadow-harness`).

use std::sync::Arc;

use crate::decision::{DecisionRecord, Rung};
use crate::ids::{ContentHash, DecisionId};
use crate::model::ModelRef;
use crate::reason::Reason;
use crate::time::Timestamp;

/// What became of a candidate's turn. Numbers are stored: never renumber.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum ShadowStatus {
    /// It gave the action and payload that were answered.
    Same = 1,
    /// It gave another action or payload.
    Differs = 2,
    /// It panicked, or what it gave is no decision.
    Failed = 3,
    /// It took longer than it may.
    TimedOut = 4,
}

impl ShadowStatus {
    /// Every status, in numeric order.
    pub const ALL: [Self; 4] = [Self::Same, Self::Differs, Self::Failed, Self::TimedOut];

    /// The status with this stored number.
    pub const fn from_u8(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Same),
            2 => Some(Self::Differs),
            3 => Some(Self::Failed),
            4 => Some(Self::TimedOut),
            _ => None,
        }
    }

    /// The word used in metrics and reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Same => "SAME",
            Self::Differs => "DIFFERS",
            Self::Failed => "FAILED",
            Self::TimedOut => "TIMED_OUT",
        }
    }
}

/// What a candidate was offered since some instant, and what did not come of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ShadowCounts {
    /// Decisions answered.
    pub offered: u64,
    /// Not drawn: the share of traffic, and less of it while the queue fills. The probability of being kept tells of
    /// these.
    pub thinned: u64,
    /// Drawn, and dropped because there was no room. Nothing tells of these but this count.
    pub full: u64,
    /// Drawn, and not asked because the candidate is left alone.
    pub refused: u64,
}

/// One answer, the one that was given or a candidate's.
#[derive(Debug, Clone, PartialEq)]
pub struct ShadowAnswer {
    /// The policy that decided.
    pub policy: ContentHash,
    /// The exact model behind each alias.
    pub models: Vec<(Arc<str>, ModelRef)>,
    /// The chosen action.
    pub action: Arc<str>,
    /// How good an answer it is.
    pub rung: Rung,
    /// The value it was chosen by.
    pub value: f64,
    /// Probability that this action is chosen for these inputs, in (0, 1].
    pub propensity: f64,
    /// Per model asked its calibrated score, absent when it gave none.
    pub scores: Vec<(Arc<str>, Option<f64>)>,
    /// Why, most important first.
    pub reasons: Vec<Reason>,
    /// How long it took to decide, in microseconds.
    pub decide_us: u32,
}

impl ShadowAnswer {
    /// The answer that was given.
    pub fn served(record: &DecisionRecord) -> Self {
        let DecisionRecord { policy, models, decision, observed, .. } = record;
        Self::of(*policy, models, decision, observed.decide_us)
    }

    /// A decision by `policy` with `models`.
    pub fn of(
        policy: ContentHash,
        models: &[(Arc<str>, ModelRef)],
        decision: &crate::Decision,
        decide_us: u32,
    ) -> Self {
        let scores = decision.scores.iter();
        let scores = scores.map(|it| (Arc::clone(&it.alias), it.score.map(|score| score.calibrated)));
        Self {
            policy,
            models: models.to_vec(),
            action: Arc::clone(&decision.action),
            rung: decision.rung,
            value: decision.value,
            propensity: decision.propensity,
            scores: scores.collect(),
            reasons: decision.reasons.clone(),
            decide_us,
        }
    }
}

/// What one candidate made of one decision.
#[derive(Debug, Clone, PartialEq)]
pub struct ShadowRecord {
    /// Position in its log, counted from 1 without gaps.
    pub sequence: u64,
    /// The decision that was answered.
    pub decision: DecisionId,
    /// Its position in the decision log; 0 if it is not there.
    pub decision_sequence: u64,
    /// The instant of the decision.
    pub decided_at: Timestamp,
    /// The place that asked.
    pub decision_point: Arc<str>,
    /// The candidate, as the configuration names it.
    pub candidate: Arc<str>,
    /// What became of its turn.
    pub status: ShadowStatus,
    /// Probability with which this decision was kept for candidates, in (0, 1]: the share of traffic, times what was
    /// left of it as the queue stood. One over it is the record's weight in estimates over all traffic.
    pub kept: f64,
    /// What the candidate was offered up to this record, and what did not come of it.
    pub counts: ShadowCounts,
    /// From when on the counts count: the start of the server.
    pub counted_since: Timestamp,
    /// The answer that was given.
    pub served: ShadowAnswer,
    /// The candidate's, if it gave one.
    pub candidates: Option<ShadowAnswer>,
    /// What went wrong; empty if nothing did.
    pub problem: Arc<str>,
}

/// Where a decision stands in the order in which live shadow keeps decisions, in [0, 1): the first eight bytes,
/// little-endian, of the BLAKE3 hash of `augur shadow 1` and the decision's id, each with its length in front as eight
/// bytes, over 2^64. Pinned: a larger share keeps what a smaller one keeps.
pub fn place_of(decision: DecisionId) -> f64 {
    let hash = ContentHash::of(&[b"augur shadow 1", decision.as_bytes()]);
    let first = hash.as_bytes().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    // The upper 53 bits are exact in a float.
    (first >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_spread_evenly_and_do_not_move() {
        let id = |number: u32| {
            let mut unique = [0; 10];
            unique[..4].copy_from_slice(&number.to_le_bytes());
            DecisionId::new(Timestamp::from_unix_ms(1_795_366_965_123), unique)
        };
        let below = (0..10_000).filter(|number| place_of(id(*number)) < 0.25).count();
        assert!((2_350..2_650).contains(&below), "{below} of 10000 below 0.25");
        let pinned = [0, 1, 2].map(|number| (place_of(id(number)) * 1e9).floor());
        assert_eq!(pinned, PINNED, "a change here keeps other decisions than before");
    }

    const PINNED: [f64; 3] = [401_889_198.0, 939_314_105.0, 578_458_423.0];

    #[test]
    fn numbers_and_statuses_agree() {
        for status in ShadowStatus::ALL {
            assert_eq!(ShadowStatus::from_u8(status as u8), Some(status));
        }
        assert_eq!(ShadowStatus::from_u8(0), None);
    }
}
