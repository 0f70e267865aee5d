//! Whether scores are probabilities: log loss, Brier and its parts, calibration error, the reliability table.
//!
//! Not here: ranking ([`super::ranking`]) or mending ([`crate::calibrate`]).

use augur_domain::math;
use serde::{Deserialize, Serialize};

use super::counts::{Counts, TieGroup};
use super::interval::{Interval, wilson};

/// How rows are put into bins by their probability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Binning {
    /// Bins of equal width between 0 and 1; a probability on a border belongs to the bin above it.
    EqualWidth,
    /// Bins of as equal a number of rows as ties allow: equal probabilities are never parted, and belong where the
    /// middle one of them lies.
    EqualMass,
}

/// Rows of similar probability.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Bin {
    /// The least probability in it.
    pub lowest: f64,
    /// The largest.
    pub highest: f64,
    /// Rows.
    pub rows: u64,
    /// Of them positive.
    pub positives: u64,
    /// Mean probability.
    pub mean_probability: f64,
    /// Share of positives.
    pub observed: f64,
    /// Where the true share lies, by Wilson's 95 % interval.
    pub observed_interval: Interval,
}

/// Brier's score in three parts (Murphy, "A new vector partition of the probability score", 1973), over groups of equal
/// probability: `reliability - resolution + uncertainty` is the score.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BrierParts {
    /// Mean squared distance of probability and observed share: 0 is perfectly calibrated.
    pub reliability: f64,
    /// Mean squared distance of observed share and base rate: larger tells more apart.
    pub resolution: f64,
    /// Variance of the label, which no model can change.
    pub uncertainty: f64,
}

/// Mean negative log-likelihood, where what happened is given a probability of at least `clip`; `None` without rows.
pub fn log_loss(counts: &Counts, clip: f64) -> Option<f64> {
    let most = -math::ln(clip);
    mean(counts, |group| {
        // What did not happen says nothing, and 0 times infinity would be no number.
        let of = |rows: u64, log_likelihood: f64| {
            if rows == 0 { 0.0 } else { rows as f64 * (-log_likelihood).min(most) }
        };
        of(group.positives, math::ln(group.score)) + of(group.negatives(), math::ln_1p(-group.score))
    })
}

/// Mean squared difference of probability and outcome; `None` without rows.
pub fn brier(counts: &Counts) -> Option<f64> {
    mean(counts, |group| {
        let (miss, hit) = (1.0 - group.score, group.score);
        group.positives as f64 * (miss * miss) + group.negatives() as f64 * (hit * hit)
    })
}

/// Brier's score in Murphy's parts over `bins` of equal mass, each standing at its mean probability; over every distinct
/// probability when `bins` is `None`, where the parts add up to the score exactly. `None` without rows.
pub fn brier_parts(counts: &Counts, bins: Option<usize>) -> Option<BrierParts> {
    let rows = counts.rows() as f64;
    let base_rate = (rows > 0.0).then(|| counts.positives() as f64 / rows)?;
    let cells: Vec<Cell> = match bins {
        Some(bins) => cells(counts, Binning::EqualMass, bins),
        None => counts.groups().iter().filter(|group| group.rows > 0).map(Cell::of).collect(),
    };
    let (mut reliability, mut resolution) = (0.0, 0.0);
    for cell in cells.iter().filter(|cell| cell.rows > 0) {
        let size = cell.rows as f64;
        let observed = cell.positives as f64 / size;
        let (off, apart) = (cell.scores / size - observed, observed - base_rate);
        reliability += size * (off * off);
        resolution += size * (apart * apart);
    }
    Some(BrierParts {
        reliability: reliability / rows,
        resolution: resolution / rows,
        uncertainty: base_rate * (1.0 - base_rate),
    })
}

/// Distance of mean probability and positive share, averaged over bins by their rows; `None` without rows or bins.
pub fn expected_calibration_error(counts: &Counts, binning: Binning, bins: usize) -> Option<f64> {
    let rows = counts.rows() as f64;
    let cells = cells(counts, binning, bins);
    let off = cells.iter().map(|cell| (cell.scores - cell.positives as f64).abs());
    (rows > 0.0 && bins > 0).then(|| off.sum::<f64>() / rows)
}

/// The calibration error that as many rows with these very probabilities would show by chance alone if every
/// probability were true: the mean absolute deviate of a normal of each bin's variance, `sqrt(2 v / pi)`.
pub fn calibration_error_by_chance(counts: &Counts, binning: Binning, bins: usize) -> Option<f64> {
    let rows = counts.rows() as f64;
    let cells = cells(counts, binning, bins);
    let by_chance = cells.iter().map(|cell| (cell.variance * std::f64::consts::FRAC_2_PI).sqrt());
    (rows > 0.0 && bins > 0).then(|| by_chance.sum::<f64>() / rows)
}

/// The reliability table: bins that have rows, by probability ascending.
pub fn table(counts: &Counts, binning: Binning, bins: usize) -> Vec<Bin> {
    let filled = cells(counts, binning, bins).into_iter().filter(|cell| cell.rows > 0);
    let bin = |cell: Cell| Bin {
        lowest: cell.lowest,
        highest: cell.highest,
        rows: cell.rows,
        positives: cell.positives,
        mean_probability: cell.scores / cell.rows as f64,
        observed: cell.positives as f64 / cell.rows as f64,
        observed_interval: wilson(cell.positives, cell.rows),
    };
    filled.map(bin).collect()
}

/// What a bin sums up.
#[derive(Clone, Copy)]
struct Cell {
    lowest: f64,
    highest: f64,
    rows: u64,
    positives: u64,
    /// Sum of the probabilities.
    scores: f64,
    /// Sum of `p (1 - p)`.
    variance: f64,
}

impl Cell {
    const EMPTY: Self = Self {
        lowest: f64::INFINITY,
        highest: f64::NEG_INFINITY,
        rows: 0,
        positives: 0,
        scores: 0.0,
        variance: 0.0,
    };

    fn of(group: &TieGroup) -> Self {
        let mut cell = Self::EMPTY;
        cell.take(group);
        cell
    }

    fn take(&mut self, group: &TieGroup) {
        self.lowest = self.lowest.min(group.score);
        self.highest = self.highest.max(group.score);
        self.rows += group.rows;
        self.positives += group.positives;
        let rows = group.rows as f64;
        self.scores += rows * group.score;
        self.variance += rows * (group.score * (1.0 - group.score));
    }
}

/// The bins by probability ascending, empty ones too.
fn cells(counts: &Counts, binning: Binning, bins: usize) -> Vec<Cell> {
    let mut cells = vec![Cell::EMPTY; bins];
    let Some(last) = bins.checked_sub(1) else { return cells };
    let mut below_twice = 0_u128;
    for group in counts.groups().iter().rev().filter(|group| group.rows > 0) {
        let place = match binning {
            Binning::EqualWidth => (group.score * bins as f64) as usize,
            Binning::EqualMass => {
                let middle_twice = below_twice + u128::from(group.rows);
                (middle_twice * bins as u128 / (2 * u128::from(counts.rows()))) as usize
            }
        };
        below_twice += 2 * u128::from(group.rows);
        if let Some(cell) = cells.get_mut(place.min(last)) {
            cell.take(group);
        }
    }
    cells
}

fn mean(counts: &Counts, term: impl Fn(&TieGroup) -> f64) -> Option<f64> {
    let sum = counts.groups().iter().fold(0.0, |sum, group| sum + term(group));
    (counts.rows() > 0).then(|| sum / counts.rows() as f64)
}
