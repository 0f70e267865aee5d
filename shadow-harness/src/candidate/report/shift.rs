//! How far the candidate moved the scores of one alias: distances with what chance alone would make of them, and both
//! distributions.
//!
//! Not here: whether the scores got better (`quality`), or drift from training (`augur_models::drift`).
//!
//! **What chance makes of it.** A user's decisions have two scores each. If it made no difference which model scored a
//! user, swapping both for every other user would change nothing: 200 seeded draws swap them for each user by a coin, and
//! the bands are the largest distances but 1 % of them. Users go as one, as their decisions resemble each other.

use augur_domain::rng::{Purpose, Rng};
use augur_models::drift::stability_index;
use serde::Serialize;

/// Bins of the stability index, by tenths of the logged scores.
const INDEX_BINS: usize = 10;
/// Bins of both scores together, in which draws look for the largest distance.
const FINE_BINS: usize = 200;
/// Bars of the histogram.
const BARS: usize = 24;
/// Draws behind the bands.
const DRAWS: usize = 200;
/// Of the draws.
const SEED: u64 = 1;
/// The place of the band among sorted draws: all but 1 % are below.
const BAND_PLACE: usize = DRAWS - DRAWS / 100 - 1;
/// Distances below these do not matter, however sure they are.
const LEAST_INDEX: f64 = 0.1;
const LEAST_KS: f64 = 0.1;
/// Shares of decisions whose scores are told.
const QUANTILES: [f64; 9] = [0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99];

/// One decision with both scores.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::candidate) struct Scored {
    /// Calibrated, as logged.
    pub(in crate::candidate) logged: f64,
    /// Calibrated, by the candidate.
    pub(in crate::candidate) candidate: f64,
    /// The user.
    pub(in crate::candidate) group: u64,
}

/// What the scores of one alias did, over decisions where both have one.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct ScoreShift {
    /// Decisions where both have a score.
    pub scored: u64,
    /// Of them with another score, bit by bit.
    pub changed: u64,
    /// Mean calibrated score as logged.
    pub logged_mean: f64,
    /// By the candidate.
    pub candidate_mean: f64,
    /// Largest difference.
    pub largest: f64,
    /// Both distributions; `None` where nothing changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distribution: Option<Distribution>,
}

impl ScoreShift {
    pub(crate) fn take(&mut self, logged: f64, candidate: f64) {
        self.scored += 1;
        self.changed += u64::from(logged.to_bits() != candidate.to_bits());
        self.logged_mean += logged;
        self.candidate_mean += candidate;
        self.largest = self.largest.max((candidate - logged).abs());
    }

    /// Makes means of sums.
    pub(crate) fn settle(&mut self) {
        self.logged_mean /= self.scored as f64;
        self.candidate_mean /= self.scored as f64;
    }

    /// Compares the distributions, if anything changed.
    pub(super) fn measure(&mut self, sample: &[Scored]) {
        if self.changed > 0 {
            self.distribution = Distribution::of(sample);
        }
    }
}

/// Two distributions of scores beside each other.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Distribution {
    /// Decisions measured: all, or an even sample of at most 131 072.
    pub rows: u64,
    /// Users among them.
    pub users: u64,
    /// Population stability index, in tenths of the logged scores.
    pub psi: f64,
    /// What chance alone would reach in 1 of 100 logs.
    pub psi_band: f64,
    /// Kolmogorov-Smirnov: the largest distance between both distribution functions.
    pub ks: f64,
    /// Likewise.
    pub ks_band: f64,
    /// Mean distance between scores of equal rank (Wasserstein's, of order 1).
    pub wasserstein: f64,
    /// Spearman's: whether the candidate ranks as the log did; 1 is the same order.
    pub rank_correlation: Option<f64>,
    /// Whether either distance is beyond chance and at least 0.1.
    pub shifted: bool,
    /// Histogram of both.
    pub bars: Vec<Bar>,
    /// Scores below which a share of decisions lies.
    pub quantiles: Vec<Quantile>,
}

/// One bar of a histogram.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Bar {
    /// From this score.
    pub from: f64,
    /// To this.
    pub to: f64,
    /// Decisions as logged.
    pub logged: u64,
    /// By the candidate.
    pub candidate: u64,
}

/// The scores below which a share of decisions lies.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Quantile {
    /// The share.
    pub share: f64,
    /// As logged.
    pub logged: f64,
    /// By the candidate.
    pub candidate: f64,
}

impl Distribution {
    /// `None` of nothing.
    pub(in crate::candidate) fn of(rows: &[Scored]) -> Option<Self> {
        let sorted = |of: fn(&Scored) -> f64| {
            let mut scores: Vec<f64> = rows.iter().map(of).collect();
            scores.sort_by(f64::total_cmp);
            scores
        };
        let (logged, candidate) = (sorted(|row| row.logged), sorted(|row| row.candidate));
        let (least, most) =
            (logged.first()?.min(*candidate.first()?), logged.last()?.max(*candidate.last()?));
        let quantile_edges = edges(&logged, INDEX_BINS);
        let mut pooled = [logged.as_slice(), candidate.as_slice()].concat();
        pooled.sort_by(f64::total_cmp);
        let fine_edges = edges(&pooled, FINE_BINS);
        let people = People::of(rows, &quantile_edges, &fine_edges);
        let (psi_band, ks_band) = people.bands();
        let psi = people.index.index();
        let ks = largest_distance(&logged, &candidate);
        let gaps = logged.iter().zip(&candidate).map(|(logged, candidate)| (logged - candidate).abs());
        let at = |scores: &[f64], share: f64| {
            scores.get((share * (scores.len() - 1) as f64).round() as usize).copied().unwrap_or(0.0)
        };
        let quantiles = QUANTILES.iter().map(|share| Quantile {
            share: *share,
            logged: at(&logged, *share),
            candidate: at(&candidate, *share),
        });
        Some(Self {
            rows: rows.len() as u64,
            users: people.ends.len() as u64,
            psi,
            psi_band,
            ks,
            ks_band,
            wasserstein: gaps.sum::<f64>() / rows.len() as f64,
            rank_correlation: rank_correlation(rows),
            shifted: psi > psi_band.max(LEAST_INDEX) || ks > ks_band.max(LEAST_KS),
            bars: bars(rows, least, most),
            quantiles: quantiles.collect(),
        })
    }
}

/// Borders that part sorted scores into bins of as many each; equal ones are one border.
fn edges(sorted: &[f64], bins: usize) -> Vec<f64> {
    let place = |bin: usize| (bin * sorted.len() / bins).saturating_sub(1);
    let mut edges: Vec<f64> = (1..bins).filter_map(|bin| sorted.get(place(bin)).copied()).collect();
    edges.dedup();
    edges
}

fn bin(edges: &[f64], score: f64) -> usize {
    edges.partition_point(|edge| *edge < score)
}

/// Counts of both, by bin.
#[derive(Debug, Clone)]
struct Counts {
    logged: Vec<u64>,
    candidate: Vec<u64>,
}

impl Counts {
    fn new(bins: usize) -> Self {
        Self { logged: vec![0; bins], candidate: vec![0; bins] }
    }

    fn clear(&mut self) {
        self.logged.fill(0);
        self.candidate.fill(0);
    }

    fn add(&mut self, logged: usize, candidate: usize) {
        if let Some(count) = self.logged.get_mut(logged) {
            *count += 1;
        }
        if let Some(count) = self.candidate.get_mut(candidate) {
            *count += 1;
        }
    }

    fn index(&self) -> f64 {
        let rows: u64 = self.logged.iter().sum();
        let shares: Vec<f64> = self.logged.iter().map(|count| *count as f64 / rows.max(1) as f64).collect();
        stability_index(&shares, rows, &self.candidate)
    }

    fn distance(&self) -> f64 {
        let rows: u64 = self.logged.iter().sum();
        let (mut apart, mut most) = (0_i64, 0_i64);
        for (logged, candidate) in self.logged.iter().zip(&self.candidate) {
            apart += *logged as i64 - *candidate as i64;
            most = most.max(apart.abs());
        }
        most as f64 / rows.max(1) as f64
    }
}

/// Rows by user, each as its bins.
struct People {
    /// Logged and candidate, in coarse and in fine bins; sorted by user.
    rows: Vec<[u8; 4]>,
    /// One past each user's last row.
    ends: Vec<usize>,
    index: Counts,
    fine: Counts,
}

impl People {
    fn of(rows: &[Scored], coarse: &[f64], fine: &[f64]) -> Self {
        let mut order: Vec<&Scored> = rows.iter().collect();
        order.sort_by_key(|row| row.group);
        let (mut index, mut all) = (Counts::new(coarse.len() + 1), Counts::new(fine.len() + 1));
        let mut ends = Vec::new();
        let mut binned = Vec::with_capacity(rows.len());
        for (place, row) in order.iter().enumerate() {
            let of = |edges: &[f64]| (bin(edges, row.logged), bin(edges, row.candidate));
            let (in_coarse, in_fine) = (of(coarse), of(fine));
            index.add(in_coarse.0, in_coarse.1);
            all.add(in_fine.0, in_fine.1);
            // There are at most 200 bins.
            binned.push([in_coarse.0 as u8, in_coarse.1 as u8, in_fine.0 as u8, in_fine.1 as u8]);
            if order.get(place + 1).is_none_or(|next| next.group != row.group) {
                ends.push(place + 1);
            }
        }
        Self { rows: binned, ends, index, fine: all }
    }

    /// What the index and the distance would be, but in 1 % of draws.
    fn bands(&self) -> (f64, f64) {
        let mut rng = Rng::new(SEED, Purpose::Bootstrap);
        let (mut index, mut fine) = (self.index.clone(), self.fine.clone());
        let (mut indices, mut distances) = (Vec::with_capacity(DRAWS), Vec::with_capacity(DRAWS));
        for _ in 0..DRAWS {
            index.clear();
            fine.clear();
            let mut start = 0;
            for end in &self.ends {
                let swap = rng.next_u64() & 1 == 1;
                for [logged, candidate, fine_logged, fine_candidate] in
                    self.rows.get(start..*end).unwrap_or_default()
                {
                    let pair = |one: &u8, other: &u8| {
                        if swap { (*other as usize, *one as usize) } else { (*one as usize, *other as usize) }
                    };
                    let (of_index, of_fine) = (pair(logged, candidate), pair(fine_logged, fine_candidate));
                    index.add(of_index.0, of_index.1);
                    fine.add(of_fine.0, of_fine.1);
                }
                start = *end;
            }
            indices.push(index.index());
            distances.push(fine.distance());
        }
        let band = |values: &mut Vec<f64>| {
            values.sort_by(f64::total_cmp);
            values.get(BAND_PLACE).copied().unwrap_or(f64::INFINITY)
        };
        (band(&mut indices), band(&mut distances))
    }
}

/// Of two sorted samples of one size.
fn largest_distance(one: &[f64], other: &[f64]) -> f64 {
    let (mut first, mut second, mut most) = (0_usize, 0_usize, 0_usize);
    while let (Some(a), Some(b)) = (one.get(first), other.get(second)) {
        let at = a.min(*b);
        while one.get(first).is_some_and(|score| *score <= at) {
            first += 1;
        }
        while other.get(second).is_some_and(|score| *score <= at) {
            second += 1;
        }
        most = most.max(first.abs_diff(second));
    }
    most as f64 / one.len().max(1) as f64
}

/// Spearman's: the correlation of ranks, equal scores sharing theirs.
fn rank_correlation(rows: &[Scored]) -> Option<f64> {
    let ranks = |of: fn(&Scored) -> f64| {
        let mut order: Vec<(f64, usize)> = rows.iter().map(of).zip(0..).collect();
        order.sort_by(|one, other| one.0.total_cmp(&other.0));
        let mut ranks = vec![0.0; rows.len()];
        for tied in order.chunk_by(|one, other| one.0.to_bits() == other.0.to_bits()) {
            let first = order.partition_point(|row| tied.first().is_some_and(|of| row.0 < of.0));
            for (_, place) in tied {
                if let Some(rank) = ranks.get_mut(*place) {
                    *rank = first as f64 + (tied.len() - 1) as f64 / 2.0;
                }
            }
        }
        ranks
    };
    let (logged, candidate) = (ranks(|row| row.logged), ranks(|row| row.candidate));
    let middle = (rows.len() as f64 - 1.0) / 2.0;
    let (mut both, mut of_logged, mut of_candidate) = (0.0, 0.0, 0.0);
    for (logged, candidate) in logged.iter().zip(&candidate) {
        both += (logged - middle) * (candidate - middle);
        of_logged += (logged - middle) * (logged - middle);
        of_candidate += (candidate - middle) * (candidate - middle);
    }
    let scale = augur_domain::math::sqrt(of_logged * of_candidate);
    (scale > 0.0).then(|| (both / scale).clamp(-1.0, 1.0))
}

fn bars(rows: &[Scored], least: f64, most: f64) -> Vec<Bar> {
    let width = (most - least) / BARS as f64;
    let edge = |bar: usize| if bar == BARS { most } else { least + bar as f64 * width };
    let mut bars: Vec<Bar> =
        (0..BARS).map(|bar| Bar { from: edge(bar), to: edge(bar + 1), logged: 0, candidate: 0 }).collect();
    let place = |score: f64| {
        if width > 0.0 { (((score - least) / width) as usize).min(BARS - 1) } else { 0 }
    };
    for row in rows {
        if let Some(bar) = bars.get_mut(place(row.logged)) {
            bar.logged += 1;
        }
        if let Some(bar) = bars.get_mut(place(row.candidate)) {
            bar.candidate += 1;
        }
    }
    bars
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(pairs: impl IntoIterator<Item = (f64, f64)>) -> Vec<Scored> {
        let row = |((logged, candidate), group)| Scored { logged, candidate, group };
        pairs.into_iter().zip(0..).map(row).collect()
    }

    #[test]
    fn distances_match_scipy() {
        let logged = [0.05, 0.1, 0.1, 0.2, 0.35, 0.4, 0.55, 0.7];
        let candidate = [0.1, 0.2, 0.3, 0.3, 0.6, 0.65, 0.8, 0.9];
        let found = Distribution::of(&rows(logged.into_iter().zip(candidate))).unwrap();
        assert!((found.ks - 0.375).abs() < 1e-12);
        assert!((found.wasserstein - 0.175).abs() < 1e-12, "{}", found.wasserstein);
        // scipy.stats.spearmanr of the same pairs.
        assert!((found.rank_correlation.unwrap() - 0.981_927_710_843_373_5).abs() < 1e-12);
        assert_eq!(found.bars.iter().map(|bar| bar.logged).sum::<u64>(), 8);
        assert_eq!(found.bars.iter().map(|bar| bar.candidate).sum::<u64>(), 8);
    }

    /// Both scores of a row are drawn from one distribution: which is which is chance.
    #[test]
    fn chance_stays_inside_its_bands_and_a_shift_does_not() {
        let mut rng = Rng::new(5, Purpose::Simulation);
        let mut outside = 0;
        for _ in 0..60 {
            let pairs: Vec<(f64, f64)> = (0..300).map(|_| (rng.next_f64(), rng.next_f64())).collect();
            let found = Distribution::of(&rows(pairs)).unwrap();
            outside += u32::from(found.psi > found.psi_band || found.ks > found.ks_band);
        }
        assert!(outside <= 5, "{outside} of 60");
        let moved: Vec<(f64, f64)> =
            (0..300).map(|_| rng.next_f64()).map(|score| (score, score * score)).collect();
        let found = Distribution::of(&rows(moved)).unwrap();
        assert!(found.shifted && found.psi > found.psi_band && found.ks > found.ks_band, "{found:?}");
        assert!(found.rank_correlation.unwrap() > 1.0 - 1e-9, "a square keeps the order");
    }

    #[test]
    fn odd_samples_are_measured_too() {
        assert_eq!(Distribution::of(&[]), None);
        let one = Distribution::of(&rows([(0.3, 0.3)])).unwrap();
        assert_eq!((one.ks, one.rank_correlation, one.shifted), (0.0, None, false));
        let equal = Distribution::of(&rows([(0.3, 0.3); 50])).unwrap();
        assert_eq!((equal.ks, equal.psi, equal.shifted), (0.0, 0.0, false));
    }
}
