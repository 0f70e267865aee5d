//! How far a figure may be off: Wilson's interval of a share, and the bootstrap by person of everything else.
//!
//! Not here: tests of a difference between two models on the same decisions (`shadow-harness`).

use augur_domain::rng::{Purpose, Rng};
use serde::{Deserialize, Serialize};

use super::Metrics;
use super::counts::Counts;

/// How often rows are drawn again unless told otherwise.
pub const RESAMPLES: usize = 200;
/// Most row visits of all resamples; with more rows there are fewer resamples, but never fewer than
/// [`MIN_RESAMPLES`].
const MAX_VISITS: usize = 40_000_000;
/// Fewer would not tell the tails.
pub const MIN_RESAMPLES: usize = 40;
/// Two-sided 95 % of a normal.
const Z_95: f64 = 1.959_963_984_540_054;

/// From where to where.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

/// 95 % intervals of the measures, by drawing groups of rows with replacement.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Intervals {
    /// How often rows were drawn.
    pub resamples: usize,
    /// Groups (people) to draw from.
    pub groups: usize,
    /// Of the base rate.
    pub base_rate: Option<Interval>,
    /// Of the area under the ROC curve.
    pub roc_auc: Option<Interval>,
    /// Of average precision.
    pub pr_auc: Option<Interval>,
    /// Of the log loss.
    pub log_loss: Option<Interval>,
    /// Of the Brier score.
    pub brier: Option<Interval>,
    /// Of the calibration error over bins of equal width. A resample is noisier than the rows it is drawn from, which
    /// alone makes its error larger; that bias is taken off, here and in the next two.
    pub ece: Option<Interval>,
    /// The same over bins of equal mass.
    pub ece_equal_mass: Option<Interval>,
    /// Of the Kolmogorov-Smirnov distance.
    pub ks: Option<Interval>,
    /// Of the lift of the top tenth.
    pub top_decile_lift: Option<Interval>,
}

/// Wilson's 95 % interval of a share ("Probable inference, the law of succession, and statistical inference", 1927);
/// from 0 to 1 without rows.
pub fn wilson(positives: u64, rows: u64) -> Interval {
    if rows == 0 {
        return Interval { low: 0.0, high: 1.0 };
    }
    let (n, z2) = (rows as f64, Z_95 * Z_95);
    let share = positives as f64 / n;
    let middle = share + z2 / (2.0 * n);
    let reach = Z_95 * (share * (1.0 - share) / n + z2 / (4.0 * n * n)).sqrt();
    let end = |value: f64| (value / (1.0 + z2 / n)).clamp(0.0, 1.0);
    // Rounding must not leave the share itself outside.
    Interval { low: end(middle - reach).min(share), high: end(middle + reach).max(share) }
}

/// Measures `resamples` draws of as many groups with replacement and gives the middle 95 % of each measure. Without
/// `groups`, which name whom each pair is about, every row stands for itself. Deterministic in the seed. `None`
/// without rows or resamples.
///
/// A draw costs as many steps as there are rows; with more than 200 000 rows there are fewer draws than asked for,
/// but at least [`MIN_RESAMPLES`] (or what was asked for, if that is less).
pub fn bootstrap(
    pairs: &[(f64, bool)],
    groups: Option<&[u64]>,
    resamples: usize,
    seed: u64,
) -> Option<Intervals> {
    let people = People::of(pairs, groups);
    let affordable = (MAX_VISITS / pairs.len().max(1)).max(MIN_RESAMPLES);
    let resamples = resamples.min(affordable);
    if pairs.is_empty() || resamples == 0 {
        return None;
    }
    let observed = Metrics::of(&people.all)?;
    let mut counts = people.all.clone();
    let mut rng = Rng::new(seed, Purpose::Training);
    let mut drawn: Vec<Metrics> = Vec::with_capacity(resamples);
    for _ in 0..resamples {
        people.draw(&mut rng, &mut counts);
        drawn.extend(Metrics::of(&counts));
    }
    let middle = |figure: fn(&Metrics) -> Option<f64>| percentiles(drawn.iter().filter_map(figure).collect());
    let unbiased =
        |figure: fn(&Metrics) -> Option<f64>| without_bias(middle(figure)?, &drawn, &observed, figure);
    Some(Intervals {
        resamples,
        groups: people.number(),
        base_rate: middle(|metrics| Some(metrics.base_rate)),
        roc_auc: middle(|metrics| metrics.roc_auc),
        pr_auc: middle(|metrics| metrics.pr_auc),
        log_loss: middle(|metrics| Some(metrics.log_loss)),
        brier: middle(|metrics| Some(metrics.brier)),
        ece: unbiased(|metrics| Some(metrics.ece)),
        ece_equal_mass: unbiased(|metrics| metrics.ece_equal_mass),
        ks: unbiased(|metrics| metrics.ks),
        top_decile_lift: middle(|metrics| metrics.top_decile_lift),
    })
}

/// Draws of [`differences`]: 95 % percentiles of the second's measure less the first's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Differences {
    /// Resamples drawn.
    pub resamples: usize,
    /// Groups drawn from.
    pub groups: usize,
    /// Of [`Metrics::roc_auc`].
    pub roc_auc: Option<Interval>,
    /// Of [`Metrics::pr_auc`].
    pub pr_auc: Option<Interval>,
    /// Of [`Metrics::log_loss`].
    pub log_loss: Option<Interval>,
    /// Of [`Metrics::brier`].
    pub brier: Option<Interval>,
}

/// Compares two scores of the same rows, `(first, second, label)`: both are measured on the same draws of groups, so what
/// a draw does to both of them cancels. `None` of no rows. Bounded as [`bootstrap`].
pub fn differences(
    rows: &[(f64, f64, bool)],
    groups: &[u64],
    resamples: usize,
    seed: u64,
) -> Option<Differences> {
    let pairs = |of: fn(&(f64, f64, bool)) -> f64| -> Vec<(f64, bool)> {
        rows.iter().map(|row| (of(row), row.2)).collect()
    };
    let first = People::of(&pairs(|row| row.0), Some(groups));
    let second = People::of(&pairs(|row| row.1), Some(groups));
    let affordable = (MAX_VISITS / (2 * rows.len()).max(1)).max(MIN_RESAMPLES);
    let resamples = resamples.min(affordable);
    if rows.is_empty() || resamples == 0 {
        return None;
    }
    // People are in the order of their groups in both, so equal streams draw the same ones.
    let mut streams = (Rng::new(seed, Purpose::Bootstrap), Rng::new(seed, Purpose::Bootstrap));
    let mut counts = (first.all.clone(), second.all.clone());
    let mut drawn: Vec<(Metrics, Metrics)> = Vec::with_capacity(resamples);
    for _ in 0..resamples {
        first.draw(&mut streams.0, &mut counts.0);
        second.draw(&mut streams.1, &mut counts.1);
        drawn.extend(Metrics::of(&counts.0).zip(Metrics::of(&counts.1)));
    }
    let between = |figure: fn(&Metrics) -> Option<f64>| {
        percentiles(
            drawn.iter().filter_map(|(first, second)| Some(figure(second)? - figure(first)?)).collect(),
        )
    };
    Some(Differences {
        resamples,
        groups: first.number(),
        roc_auc: between(|metrics| metrics.roc_auc),
        pr_auc: between(|metrics| metrics.pr_auc),
        log_loss: between(|metrics| Some(metrics.log_loss)),
        brier: between(|metrics| Some(metrics.brier)),
    })
}

/// The middle 95 % by linear interpolation between order statistics; `None` of nothing.
fn percentiles(mut values: Vec<f64>) -> Option<Interval> {
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    let at = |share: f64| {
        let place = share * last as f64;
        let (low, high) = (values.get(place as usize)?, values.get((place as usize + 1).min(last))?);
        Some(low + (high - low) * place.fract())
    };
    Some(Interval { low: at(0.025)?, high: at(0.975)? })
}

/// Moves an interval down by what resampling alone adds to a measure that is never negative.
fn without_bias(
    interval: Interval,
    drawn: &[Metrics],
    observed: &Metrics,
    figure: fn(&Metrics) -> Option<f64>,
) -> Option<Interval> {
    let values: Vec<f64> = drawn.iter().filter_map(figure).collect();
    let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
    let bias = (mean - figure(observed)?).max(0.0);
    Some(Interval { low: (interval.low - bias).max(0.0), high: (interval.high - bias).max(0.0) })
}

/// Rows by whom they are about, as counts at places of the distinct scores.
struct People {
    all: Counts,
    /// (place, rows, positives), person after person.
    cells: Vec<(u32, u32, u32)>,
    /// Where each person's cells end.
    ends: Vec<usize>,
}

impl People {
    fn of(pairs: &[(f64, bool)], groups: Option<&[u64]>) -> Self {
        let all = Counts::of(pairs);
        let mut rows: Vec<(u64, u32, bool)> = Vec::with_capacity(pairs.len());
        for (index, (score, label)) in pairs.iter().enumerate() {
            let own = index as u64;
            let group = groups.map_or(own, |groups| groups.get(index).copied().unwrap_or(own));
            rows.push((group, all.place(*score) as u32, *label));
        }
        rows.sort_unstable();
        let (mut cells, mut ends): (Vec<(u32, u32, u32)>, Vec<usize>) = (Vec::new(), Vec::new());
        let mut person = None;
        for (group, place, label) in rows {
            if person.is_some_and(|person| person != group) {
                ends.push(cells.len());
            }
            let start = ends.last().copied().unwrap_or(0);
            match cells.get_mut(start..).and_then(<[_]>::last_mut) {
                Some(last) if last.0 == place => (last.1, last.2) = (last.1 + 1, last.2 + u32::from(label)),
                _ => cells.push((place, 1, u32::from(label))),
            }
            person = Some(group);
        }
        if person.is_some() {
            ends.push(cells.len());
        }
        Self { all, cells, ends }
    }

    fn number(&self) -> usize {
        self.ends.len()
    }

    /// As many people as there are, drawn with replacement, into `counts`.
    fn draw(&self, rng: &mut Rng, counts: &mut Counts) {
        counts.clear();
        for _ in 0..self.ends.len() {
            let person = rng.below(self.ends.len() as u64) as usize;
            let start = person.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
            let end = self.ends.get(person).copied().unwrap_or(start);
            for (place, rows, positives) in self.cells.get(start..end).unwrap_or_default() {
                counts.add(*place as usize, u64::from(*rows), u64::from(*positives));
            }
        }
    }
}
