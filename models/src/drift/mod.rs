//! Drift: whether what a model reads and says now is distributed as in training, by the reference in its artifact.
//!
//! Everything is counted into the reference's own bins, so that what is kept stays small however much comes. Each
//! measure has a band that two samples of one distribution stay within, and a size that matters; drift is what leaves
//! both. Rows must be of different people: a person who comes often is no evidence for many. Not here: where rows come
//! from, or labels.

mod bands;

use augur_domain::math;
use serde::{Deserialize, Deserializer, Serialize};

pub use bands::{chi_square_quantile, ks_band, normal_quantile, psi_band, share_band};

use crate::artifact::{InputReference, Reference, SCORE_BINS};

/// Score bins are pooled until the reference has at least this share in each: a bin that is nearly empty says little.
const LEAST_POOLED_SHARE: f64 = 0.05;

/// From where on a shift counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds {
    /// Least PSI that matters.
    pub psi: f64,
    /// Least Kolmogorov-Smirnov distance that matters.
    pub ks: f64,
    /// Least change of a share of missing values that matters.
    pub missing: f64,
    /// Probability that any measure of one comparison leaves its band though nothing has changed, at most: the bands
    /// share it out (Bonferroni).
    pub false_alarm: f64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self { psi: 0.1, ks: 0.1, missing: 0.05, false_alarm: 0.01 }
    }
}

/// What was seen, in the bins of one reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    rows: u64,
    inputs: Vec<InputCounts>,
    scores: [u64; SCORE_BINS],
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct InputCounts {
    bins: Vec<u64>,
    missing: u64,
}

impl InputReference {
    /// The bin of a value; `None` for what is no number.
    pub fn bin(&self, value: f64) -> Option<usize> {
        value.is_finite().then(|| self.edges.partition_point(|edge| *edge < value))
    }
}

/// The bin of a calibrated probability.
pub fn score_bin(probability: f64) -> usize {
    // Truncation is meant; what is no probability goes to the nearest end.
    ((probability * SCORE_BINS as f64) as usize).min(SCORE_BINS - 1)
}

impl Observed {
    /// Nothing yet, in the bins of `reference`.
    pub fn new(reference: &Reference) -> Self {
        let of_input = |input: &InputReference| InputCounts { bins: vec![0; input.shares.len()], missing: 0 };
        Self { rows: 0, inputs: reference.inputs.iter().map(of_input).collect(), scores: [0; SCORE_BINS] }
    }

    /// Rows counted.
    pub const fn rows(&self) -> u64 {
        self.rows
    }

    /// Counts one row by its bins: per input of the model, in its order, the bin or nothing when it is missing.
    pub fn count(&mut self, bins: impl IntoIterator<Item = Option<usize>>, probability: f64) {
        self.rows += 1;
        for (input, bin) in self.inputs.iter_mut().zip(bins) {
            match bin.and_then(|bin| input.bins.get_mut(bin)) {
                Some(count) => *count += 1,
                None => input.missing += 1,
            }
        }
        if let Some(count) = self.scores.get_mut(score_bin(probability)) {
            *count += 1;
        }
    }
}

/// JSON has no infinity, and writes null.
fn bound_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::INFINITY))
}

/// How far one distribution has shifted.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Shift {
    /// Population stability index over the reference's bins, missing values in a bin of their own.
    pub psi: f64,
    /// What chance alone keeps it below; without rows there is no such bound, and null in JSON.
    #[serde(deserialize_with = "bound_or_none")]
    pub psi_band: f64,
    /// Largest distance of the cumulative shares at the bins' borders, of values that are there.
    pub ks: f64,
    /// What chance alone keeps it below, as above.
    #[serde(deserialize_with = "bound_or_none")]
    pub ks_band: f64,
    /// Whether either is out of its band, and large enough to matter.
    pub drifted: bool,
}

/// How far one input has shifted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InputDrift {
    /// Name of the feature.
    pub feature: String,
    /// Its values.
    pub shift: Shift,
    /// Share of rows without a value now.
    pub missing_share: f64,
    /// The same in training.
    pub reference_missing_share: f64,
    /// What chance alone keeps their difference below, as above.
    #[serde(deserialize_with = "bound_or_none")]
    pub missing_band: f64,
    /// Whether the shift or the change of the missing share counts.
    pub drifted: bool,
    /// Whether its values shift by themselves as time goes by, so that their shift is told and does not count.
    #[serde(default)]
    pub grows: bool,
}

/// What a comparison with the reference found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    /// Rows seen.
    pub rows: u64,
    /// Rows of the reference.
    pub reference_rows: u64,
    /// The calibrated probabilities.
    pub scores: Shift,
    /// The inputs, in the model's order.
    pub inputs: Vec<InputDrift>,
    /// Whether anything drifted.
    pub drifted: bool,
}

impl Drift {
    /// Compares what was seen with the reference. `features` names the inputs, in the model's order.
    pub fn between<'a>(
        reference: &Reference,
        observed: &Observed,
        features: impl IntoIterator<Item = &'a str>,
        thresholds: &Thresholds,
    ) -> Self {
        // Per input PSI, distance and missing share; of the scores the first two.
        let measures = 3 * reference.inputs.len() + 2;
        let alpha = thresholds.false_alarm / measures as f64;
        let test = Test { rows: observed.rows, reference_rows: reference.rows, alpha, thresholds };
        let inputs: Vec<InputDrift> = reference
            .inputs
            .iter()
            .zip(&observed.inputs)
            .zip(features)
            .map(|((reference, counts), feature)| test.input(feature, reference, counts))
            .collect();
        let scores = test.scores(&reference.scores, &observed.scores);
        let drifted = scores.drifted || inputs.iter().any(|input| input.drifted);
        Self { rows: observed.rows, reference_rows: reference.rows, scores, inputs, drifted }
    }

    /// Lets the shift of inputs that grow by themselves not count; what is missing of them counts as before.
    #[must_use]
    pub fn excusing(mut self, thresholds: &Thresholds, grows: impl Fn(&str) -> bool) -> Self {
        for input in self.inputs.iter_mut().filter(|input| grows(&input.feature)) {
            let change = (input.missing_share - input.reference_missing_share).abs();
            input.grows = true;
            input.drifted = change > input.missing_band.max(thresholds.missing);
        }
        self.drifted = self.scores.drifted || self.inputs.iter().any(|input| input.drifted);
        self
    }
}

/// What the measures of one comparison share.
struct Test<'a> {
    rows: u64,
    reference_rows: u64,
    alpha: f64,
    thresholds: &'a Thresholds,
}

impl Test<'_> {
    fn input(&self, feature: &str, reference: &InputReference, counts: &InputCounts) -> InputDrift {
        let present = 1.0 - reference.missing_share;
        let mut shares: Vec<f64> = reference.shares.iter().map(|share| share * present).collect();
        shares.push(reference.missing_share);
        let mut seen = counts.bins.clone();
        seen.push(counts.missing);
        let mut shift = self.shift(&shares, &seen);
        // The distance is of values that are there; so are its samples.
        let seen_present: u64 = counts.bins.iter().sum();
        let reference_present = rounded(self.reference_rows as f64 * present);
        shift.ks = distance(&reference.shares, &counts.bins);
        shift.ks_band = ks_band(seen_present, reference_present, self.alpha);
        shift.drifted = self.matters(&shift);
        let missing_share = if self.rows == 0 { 0.0 } else { counts.missing as f64 / self.rows as f64 };
        let missing_band =
            share_band(missing_share, self.rows, reference.missing_share, self.reference_rows, self.alpha);
        let change = (missing_share - reference.missing_share).abs();
        let drifted = shift.drifted || change > missing_band.max(self.thresholds.missing);
        InputDrift {
            feature: feature.to_owned(),
            shift,
            missing_share,
            reference_missing_share: reference.missing_share,
            missing_band,
            drifted,
            grows: false,
        }
    }

    fn scores(&self, shares: &[f64], counts: &[u64]) -> Shift {
        let (shares, counts) = pool(shares, counts);
        self.shift(&shares, &counts)
    }

    fn shift(&self, shares: &[f64], counts: &[u64]) -> Shift {
        // A bin that neither has is none.
        let bins = shares.iter().zip(counts).filter(|(share, count)| **share > 0.0 || **count > 0).count();
        let mut shift = Shift {
            psi: stability_index(shares, self.reference_rows, counts),
            psi_band: psi_band(self.rows, self.reference_rows, bins, self.alpha),
            ks: distance(shares, counts),
            ks_band: ks_band(self.rows, self.reference_rows, self.alpha),
            drifted: false,
        };
        shift.drifted = self.matters(&shift);
        shift
    }

    fn matters(&self, shift: &Shift) -> bool {
        shift.psi > shift.psi_band.max(self.thresholds.psi)
            || shift.ks > shift.ks_band.max(self.thresholds.ks)
    }
}

/// The population stability index, `sum (q - p) ln(q / p)`, with half a row added to every bin that either sample has,
/// so that an empty bin is finite. 0 when nothing was seen.
pub fn stability_index(shares: &[f64], reference_rows: u64, counts: &[u64]) -> f64 {
    let seen: u64 = counts.iter().sum();
    if seen == 0 || reference_rows == 0 {
        return 0.0;
    }
    let both = || shares.iter().zip(counts).filter(|(share, count)| **share > 0.0 || **count > 0);
    let half = 0.5 * both().count() as f64;
    let (n, m) = (seen as f64, reference_rows as f64);
    let term = |(share, count): (&f64, &u64)| {
        let p = (share * m + 0.5) / (m + half);
        let q = (*count as f64 + 0.5) / (n + half);
        (q - p) * math::ln(q / p)
    };
    both().map(term).sum()
}

/// The largest distance between the cumulative shares, at the borders of bins. 0 when nothing was seen.
pub fn distance(shares: &[f64], counts: &[u64]) -> f64 {
    let seen: u64 = counts.iter().sum();
    let known: f64 = shares.iter().sum();
    if seen == 0 || known <= 0.0 {
        return 0.0;
    }
    let (mut below, mut below_known, mut largest) = (0_u64, 0.0, 0.0_f64);
    for (share, count) in shares.iter().zip(counts) {
        below += count;
        below_known += share;
        largest = largest.max((below as f64 / seen as f64 - below_known / known).abs());
    }
    largest
}

/// Neighbouring bins together, until the reference has enough in each.
fn pool(shares: &[f64], counts: &[u64]) -> (Vec<f64>, Vec<u64>) {
    let (mut pooled, mut pooled_counts): (Vec<f64>, Vec<u64>) = (Vec::new(), Vec::new());
    let (mut share, mut count) = (0.0, 0);
    for (of_bin, seen) in shares.iter().zip(counts) {
        share += of_bin;
        count += seen;
        if share >= LEAST_POOLED_SHARE {
            pooled.push(share);
            pooled_counts.push(count);
            (share, count) = (0.0, 0);
        }
    }
    match (pooled.last_mut(), pooled_counts.last_mut()) {
        (Some(last), Some(last_count)) => {
            *last += share;
            *last_count += count;
        }
        _ => {
            pooled.push(share);
            pooled_counts.push(count);
        }
    }
    (pooled, pooled_counts)
}

fn rounded(rows: f64) -> u64 {
    // Truncation is meant, after half a row.
    (rows + 0.5) as u64
}

#[cfg(test)]
mod tests;
