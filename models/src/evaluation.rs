//! What a report tells about rows that the fit has not seen: intervals, curves, deciles, thresholds, reliability before
//! and after calibration, the scores of each class, and the same by segment.
//!
//! Bounded: whatever the number of rows, it is some hundred numbers. Not here: the measures ([`crate::metrics`]), or
//! how it looks ([`crate::card`]).

pub mod segments;

use serde::{Deserialize, Serialize};

use crate::metrics::counts::Counts;
use crate::metrics::interval::{self, Intervals};
use crate::metrics::ranking::{self, CurvePoint, Decile, Threshold};
use crate::metrics::reliability::{self, Bin, Binning, BrierParts};
pub use segments::{Segmentation, Segments};

/// Bins of the reliability tables, of as many rows each as ties allow.
pub const RELIABILITY_BINS: usize = 10;
/// Bins of the histogram of scores, of equal width between the least and the largest.
pub const SCORE_BINS: usize = 20;

/// Rows that were scored, in one order.
#[derive(Debug, Clone, Copy)]
pub struct Scored<'a> {
    /// Calibrated probability and label.
    pub calibrated: &'a [(f64, bool)],
    /// Uncalibrated probability and label.
    pub raw: &'a [(f64, bool)],
    /// Whom each row is about.
    pub groups: &'a [u64],
}

/// One part of a table, looked at closely.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Which rows: `out_of_time`, or `out_of_fold` when none were held back.
    pub part: String,
    /// 95 % intervals; absent when none were asked for.
    pub intervals: Option<Intervals>,
    /// From choosing few rows to choosing all; empty with one class.
    pub curve: Vec<CurvePoint>,
    /// Tenths of the rows, highest scores first; empty with few rows.
    pub deciles: Vec<Decile>,
    /// What thresholds would choose.
    pub thresholds: Vec<Threshold>,
    /// Reliability before calibration, in bins of equal mass.
    pub reliability_before: Vec<Bin>,
    /// Reliability after calibration, in bins of equal mass.
    pub reliability: Vec<Bin>,
    /// The Brier score over the same bins, in Murphy's parts.
    pub brier_parts: Option<BrierParts>,
    /// How the scores of each class are spread.
    pub scores: Vec<ScoreBin>,
    /// The same by segment, when a column names them.
    #[serde(default)]
    pub segments: Option<Segments>,
}

/// Rows whose scores lie close together.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ScoreBin {
    /// From this score.
    pub from: f64,
    /// To this one; it belongs to the next bin, unless this is the last.
    pub to: f64,
    /// Positive rows.
    pub positives: u64,
    /// Negative rows.
    pub negatives: u64,
}

impl Evaluation {
    /// Looks at scored rows, drawing `resamples` times for intervals; `None` without rows.
    pub fn of(part: &str, scored: Scored<'_>, resamples: usize, seed: u64) -> Option<Self> {
        let (before, after) = (Counts::of(scored.raw), Counts::of(scored.calibrated));
        let bins = |counts| reliability::table(counts, Binning::EqualMass, RELIABILITY_BINS);
        (after.rows() > 0).then(|| Self {
            part: part.to_owned(),
            intervals: interval::bootstrap(scored.calibrated, Some(scored.groups), resamples, seed),
            curve: ranking::curve(&after),
            deciles: ranking::deciles(&after),
            thresholds: ranking::thresholds(&after),
            reliability_before: bins(&before),
            reliability: bins(&after),
            brier_parts: reliability::brier_parts(&after, Some(RELIABILITY_BINS)),
            scores: score_bins(&after),
            segments: None,
        })
    }
}

fn score_bins(counts: &Counts) -> Vec<ScoreBin> {
    let (Some(highest), Some(lowest)) = (counts.groups().first(), counts.groups().last()) else {
        return Vec::new();
    };
    let (low, width) = (lowest.score, (highest.score - lowest.score) / SCORE_BINS as f64);
    let number = if width > 0.0 { SCORE_BINS } else { 1 };
    let empty = |place: usize| ScoreBin {
        from: low + place as f64 * width,
        to: low + (place + 1) as f64 * width,
        positives: 0,
        negatives: 0,
    };
    let mut bins: Vec<ScoreBin> = (0..number).map(empty).collect();
    for group in counts.groups() {
        let place = if width > 0.0 { ((group.score - low) / width) as usize } else { 0 };
        if let Some(bin) = bins.get_mut(place.min(number - 1)) {
            bin.positives += group.positives;
            bin.negatives += group.negatives();
        }
    }
    bins
}

#[cfg(test)]
mod tests;
