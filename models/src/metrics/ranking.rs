//! How well scores rank: ROC, precision and recall, Kolmogorov-Smirnov, gain and lift, thresholds. None of it changes
//! when all scores are moved by one increasing function.
//!
//! Not here: whether the scores are probabilities ([`super::reliability`]).

use serde::{Deserialize, Serialize};

use super::counts::{Counts, TieGroup};

/// Most points of a curve.
pub const MAX_CURVE_POINTS: usize = 202;
/// Shares of rows, highest scores first, that [`thresholds`] tells about.
const SELECTED_SHARES: [f64; 10] = [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75];

/// What choosing every row from some score upwards gives.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// The least score chosen.
    pub threshold: f64,
    /// Share of the negatives that are chosen.
    pub false_positive_rate: f64,
    /// Share of the positives that are chosen: recall.
    pub true_positive_rate: f64,
    /// Share of the chosen that are positive.
    pub precision: f64,
}

/// A tenth of the rows, by score.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Decile {
    /// 1 has the highest scores.
    pub decile: u8,
    /// Rows in it.
    pub rows: u64,
    /// Of them positive; ties cut by a border count with their own share, so this need not be whole.
    pub positives: f64,
    /// Mean score.
    pub mean_score: f64,
    /// Share of positives over the share in all rows.
    pub lift: f64,
    /// Share of all positives in this and the deciles above it: the gain.
    pub gain: f64,
    /// Lift of this and the deciles above it.
    pub cumulative_lift: f64,
}

/// What a threshold chooses.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Threshold {
    /// The least score chosen.
    pub threshold: f64,
    /// Rows chosen, over all rows.
    pub selected_share: f64,
    /// Rows chosen.
    pub selected: u64,
    /// Of them positive.
    pub true_positives: u64,
    /// Share of the chosen that are positive.
    pub precision: f64,
    /// Share of the positives that are chosen.
    pub recall: f64,
    /// Share of the negatives that are chosen.
    pub false_positive_rate: f64,
    /// Harmonic mean of precision and recall.
    pub f1: f64,
}

/// Probability that a positive scores above a negative, ties counting half; `None` with one class.
pub fn roc_auc(counts: &Counts) -> Option<f64> {
    // Twice the number of pairs won, in integers: exact whatever the number of rows.
    let (mut won_twice, mut negatives_below) = (0_u128, 0_u128);
    for group in counts.groups().iter().rev() {
        won_twice += u128::from(group.positives) * (2 * negatives_below + u128::from(group.negatives()));
        negatives_below += u128::from(group.negatives());
    }
    let all_twice = 2 * u128::from(counts.positives()) * negatives_below;
    (all_twice > 0).then(|| won_twice as f64 / all_twice as f64)
}

/// Average precision: precision at each distinct score, weighted by the recall gained there; `None` without
/// positives.
pub fn average_precision(counts: &Counts) -> Option<f64> {
    let mut area = 0.0;
    for (group, chosen, hits) in cumulated(counts) {
        if group.positives > 0 {
            area += group.positives as f64 * (hits as f64 / chosen as f64);
        }
    }
    (counts.positives() > 0).then(|| area / counts.positives() as f64)
}

/// Kolmogorov-Smirnov: the largest distance between the shares of positives and of negatives from any score upwards;
/// `None` with one class.
pub fn kolmogorov_smirnov(counts: &Counts) -> Option<f64> {
    let (positives, negatives) = (counts.positives() as f64, counts.negatives() as f64);
    let distances = cumulated(counts)
        .map(|(_, chosen, hits)| hits as f64 / positives - (chosen - hits) as f64 / negatives);
    (positives > 0.0 && negatives > 0.0)
        .then(|| distances.fold(0.0, |most, distance| f64::max(most, distance.abs())))
}

/// Share of positives among the top tenth of rows (rounded up) by score, over the base rate; a group of ties cut by the
/// border counts with its own share. `None` without positives.
pub fn top_decile_lift(counts: &Counts) -> Option<f64> {
    let top = counts.rows().div_ceil(10);
    let positives = Cut::of(counts, top).positives;
    (counts.positives() > 0)
        .then(|| positives / top as f64 / (counts.positives() as f64 / counts.rows() as f64))
}

/// The ten tenths of the rows, highest scores first; empty with fewer than ten rows or without positives.
pub fn deciles(counts: &Counts) -> Vec<Decile> {
    let rows = counts.rows();
    if rows < 10 || counts.positives() == 0 {
        return Vec::new();
    }
    let (all, base_rate) = (counts.positives() as f64, counts.positives() as f64 / rows as f64);
    let mut before = Cut::default();
    let decile = |number: u8| {
        let upto = (u128::from(rows) * u128::from(number)).div_ceil(10) as u64;
        let cut = Cut::of(counts, upto);
        let (inside, positives) = (cut.rows - before.rows, cut.positives - before.positives);
        let decile = Decile {
            decile: number,
            rows: inside,
            positives,
            mean_score: (cut.scores - before.scores) / inside.max(1) as f64,
            lift: positives / inside.max(1) as f64 / base_rate,
            gain: cut.positives / all,
            cumulative_lift: cut.positives / cut.rows as f64 / base_rate,
        };
        before = cut;
        decile
    };
    (1..=10).map(decile).collect()
}

/// What thresholds that choose stated shares of the rows would do, and what one half would. Ties are never cut, so a
/// share may be larger than asked for; thresholds that choose the same are told once.
pub fn thresholds(counts: &Counts) -> Vec<Threshold> {
    let groups = counts.groups();
    let share_at = |share: f64| {
        let wanted = share * counts.rows() as f64;
        let found = cumulated(counts).find(|(_, chosen, _)| *chosen as f64 >= wanted);
        found.map(|(group, _, _)| group.score)
    };
    let mut wanted: Vec<f64> = SELECTED_SHARES.into_iter().filter_map(share_at).collect();
    if groups.first().is_some_and(|group| group.score >= 0.5) {
        wanted.push(0.5);
    }
    wanted.sort_by(|a, b| b.total_cmp(a));
    let mut told: Vec<Threshold> = wanted.into_iter().map(|score| threshold(counts, score)).collect();
    told.dedup_by_key(|threshold| threshold.selected);
    told
}

/// What choosing every row with at least `score` gives.
pub fn threshold(counts: &Counts, score: f64) -> Threshold {
    let chosen = counts.groups().iter().take_while(|group| group.score >= score);
    let (selected, hits) =
        chosen.fold((0, 0), |(rows, hits), group| (rows + group.rows, hits + group.positives));
    let share = |part: u64, whole: u64| if whole > 0 { part as f64 / whole as f64 } else { 0.0 };
    Threshold {
        threshold: score,
        selected_share: share(selected, counts.rows()),
        selected,
        true_positives: hits,
        precision: share(hits, selected),
        recall: share(hits, counts.positives()),
        false_positive_rate: share(selected - hits, counts.negatives()),
        f1: share(2 * hits, selected + counts.positives()),
    }
}

/// The curve from choosing few rows to choosing all, thinned to at most [`MAX_CURVE_POINTS`]; empty with one class. It
/// begins after the point where nothing is chosen.
pub fn curve(counts: &Counts) -> Vec<CurvePoint> {
    let (positives, negatives) = (counts.positives() as f64, counts.negatives() as f64);
    if positives == 0.0 || negatives == 0.0 {
        return Vec::new();
    }
    let mut points: Vec<CurvePoint> = Vec::new();
    // The curve is two long, from (0, 0) to (1, 1) by way of right angles.
    let step = 2.0 / (MAX_CURVE_POINTS - 2) as f64;
    let mut walked = f64::NEG_INFINITY;
    for (group, chosen, hits) in cumulated(counts) {
        let point = CurvePoint {
            threshold: group.score,
            false_positive_rate: (chosen - hits) as f64 / negatives,
            true_positive_rate: hits as f64 / positives,
            precision: hits as f64 / chosen.max(1) as f64,
        };
        let at = point.false_positive_rate + point.true_positive_rate;
        if at - walked >= step || chosen == counts.rows() {
            points.push(point);
            walked = at;
        }
    }
    points
}

/// Every group with the rows and the positives from the highest score down to it.
fn cumulated(counts: &Counts) -> impl Iterator<Item = (&TieGroup, u64, u64)> {
    counts.groups().iter().filter(|group| group.rows > 0).scan((0, 0), |(chosen, hits), group| {
        *chosen += group.rows;
        *hits += group.positives;
        Some((group, *chosen, *hits))
    })
}

/// The rows with the highest scores up to some number, ties at the border counted by their share.
#[derive(Default)]
struct Cut {
    rows: u64,
    positives: f64,
    /// Sum of their scores.
    scores: f64,
}

impl Cut {
    fn of(counts: &Counts, rows: u64) -> Self {
        let mut cut = Self::default();
        for group in counts.groups().iter().filter(|group| group.rows > 0) {
            let taken = group.rows.min(rows - cut.rows);
            cut.rows += taken;
            cut.positives += taken as f64 * (group.positives as f64 / group.rows as f64);
            cut.scores += taken as f64 * group.score;
        }
        cut
    }
}
