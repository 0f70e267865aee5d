//! Quality and fairness by segment: the same measures for every group of rows, and how far each is from the whole.
//!
//! Not here: a verdict. Which difference is unfair is for people to say.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::metrics::Counts;
use crate::metrics::interval::{Interval, wilson};
use crate::metrics::ranking::{self, Threshold};
use crate::metrics::reliability::{self, Binning};
use crate::metrics::{LOG_LOSS_CLIP, Metrics};

/// Most segments told about, by rows; those beyond are put together.
pub const MAX_SEGMENTS: usize = 20;
/// Most distinct values of a column of segments; rows of later ones are put together.
pub const MAX_VALUES: usize = 10_000;
/// A segment with fewer rows is marked as small.
pub const SMALL_ROWS: u64 = 100;
/// A segment with fewer positives or negatives is marked as small.
pub const SMALL_CLASS: u64 = 10;
/// Bins of equal mass for a segment's calibration error.
const BINS: usize = 10;
/// Numbers with at most so many distinct values are segments as they are; others are cut into quarters.
const MOST_DISTINCT_NUMBERS: usize = 12;
/// Longest name of a segment, in characters.
const MAX_NAME_CHARS: usize = 64;
/// The name of rows without a value.
const MISSING: &str = "(missing)";
/// The name of everything that is not told about on its own.
const OTHER: &str = "(other)";

/// To which segment each row of a table belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segmentation {
    column: String,
    names: Vec<String>,
    places: BTreeMap<String, u32>,
    of_row: Vec<u32>,
}

impl Segmentation {
    /// No rows yet, segmented by `column`.
    pub fn new(column: &str) -> Self {
        Self { column: column.to_owned(), names: Vec::new(), places: BTreeMap::new(), of_row: Vec::new() }
    }

    /// The next row has `value`; an empty text is a missing one, and a long one is cut to 64 characters.
    pub fn push(&mut self, value: &str) {
        let trimmed = value.trim();
        let name: String = if trimmed.is_empty() {
            MISSING.to_owned()
        } else {
            trimmed.chars().take(MAX_NAME_CHARS).collect()
        };
        let full = self.names.len() >= MAX_VALUES && !self.places.contains_key(&name);
        let name = if full { OTHER.to_owned() } else { name };
        let next = self.names.len() as u32;
        let names = &mut self.names;
        let place = *self.places.entry(name).or_insert_with_key(|name| {
            names.push(name.clone());
            next
        });
        self.of_row.push(place);
    }

    /// Segments of a column of numbers: its values when they are few, else its quarters.
    pub fn of_numbers(column: &str, values: &[Option<f64>]) -> Self {
        let mut sorted: Vec<f64> = values.iter().flatten().copied().collect();
        sorted.sort_by(f64::total_cmp);
        let mut distinct = sorted.clone();
        distinct.dedup();
        let mut segmentation = Self::new(column);
        let border = |quarter: usize| sorted.get(sorted.len() * quarter / 4).copied();
        let borders: Vec<f64> = (1..4).filter_map(border).collect();
        for value in values {
            let name = match value {
                None => String::new(),
                Some(value) if distinct.len() <= MOST_DISTINCT_NUMBERS => value.to_string(),
                Some(value) => quarter(*value, &borders),
            };
            segmentation.push(&name);
        }
        segmentation
    }

    /// The column.
    pub fn column(&self) -> &str {
        &self.column
    }

    /// Rows so far.
    pub fn len(&self) -> usize {
        self.of_row.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.of_row.is_empty()
    }

    /// The segment of a row.
    pub fn name(&self, row: usize) -> &str {
        let place = self.of_row.get(row).and_then(|place| self.names.get(*place as usize));
        place.map_or(MISSING, String::as_str)
    }
}

fn quarter(value: f64, borders: &[f64]) -> String {
    let above = borders.partition_point(|border| *border <= value);
    let from = above.checked_sub(1).and_then(|below| borders.get(below));
    match (from, borders.get(above)) {
        (Some(from), Some(to)) => format!("{from} to below {to}"),
        (Some(from), None) => format!("{from} and more"),
        (None, Some(to)) => format!("below {to}"),
        (None, None) => "all".to_owned(),
    }
}

/// What was found by segment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Segments {
    /// The column that names them.
    pub column: String,
    /// Rows with at least this probability count as selected.
    pub threshold: f64,
    /// Where the threshold comes from: `given`, or `base_rate` of the rows fitted on.
    pub threshold_from: String,
    /// All rows together.
    pub whole: Segment,
    /// Each segment, most rows first.
    pub segments: Vec<Segment>,
    /// Values that were too many to tell about and are put together in the last segment.
    pub lumped: usize,
}

/// One group of rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Segment {
    /// Its value in the column.
    pub name: String,
    /// Whether it has too few rows, positives or negatives for its figures to say much.
    pub small: bool,
    /// Rows.
    pub rows: u64,
    /// Of them positive.
    pub positives: u64,
    /// Share of positives.
    pub base_rate: f64,
    /// Where that share truly lies, by Wilson's 95 % interval.
    pub base_rate_interval: Interval,
    /// Mean probability; less the base rate it is the bias.
    pub mean_probability: f64,
    /// Share of rows selected.
    pub selection_rate: f64,
    /// Selection rate over that of the whole.
    pub selection_ratio: Option<f64>,
    /// Share of positives selected: equal opportunity.
    pub true_positive_rate: Option<f64>,
    /// Less that of the whole.
    pub true_positive_difference: Option<f64>,
    /// Share of negatives selected.
    pub false_positive_rate: Option<f64>,
    /// Less that of the whole.
    pub false_positive_difference: Option<f64>,
    /// Share of the selected that are positive.
    pub precision: Option<f64>,
    /// Less that of the whole.
    pub precision_difference: Option<f64>,
    /// Area under the ROC curve among the segment's own rows.
    pub roc_auc: Option<f64>,
    /// Log loss.
    pub log_loss: f64,
    /// Calibration error over ten bins of equal mass.
    pub ece: f64,
    /// What it would be by chance alone if every probability were true.
    pub ece_by_chance: f64,
}

impl Segments {
    /// Measures rows by segment: `pairs` are calibrated probability and label, `rows` their places in the segmentation.
    /// `None` without rows.
    pub fn of(
        segmentation: &Segmentation,
        pairs: &[(f64, bool)],
        rows: &[usize],
        threshold: f64,
        threshold_from: &str,
    ) -> Option<Self> {
        let mut by_name: BTreeMap<&str, Vec<(f64, bool)>> = BTreeMap::new();
        for (pair, row) in pairs.iter().zip(rows) {
            by_name.entry(segmentation.name(*row)).or_default().push(*pair);
        }
        let mut ordered: Vec<(&str, Vec<(f64, bool)>)> = by_name.into_iter().collect();
        // Names in order among equals, as the sort is stable.
        ordered.sort_by_key(|(_, pairs)| std::cmp::Reverse(pairs.len()));
        let mut lumped = 0;
        if ordered.len() > MAX_SEGMENTS {
            let rest = ordered.split_off(MAX_SEGMENTS - 1);
            lumped = rest.len();
            ordered.push((OTHER, rest.into_iter().flat_map(|(_, pairs)| pairs).collect()));
        }
        let whole = Segment::of("all", pairs, threshold, None)?;
        let segment =
            |(name, pairs): &(&str, Vec<(f64, bool)>)| Segment::of(name, pairs, threshold, Some(&whole));
        let segments = ordered.iter().filter_map(segment).collect();
        Some(Self {
            column: segmentation.column.clone(),
            threshold,
            threshold_from: threshold_from.to_owned(),
            whole,
            segments,
            lumped,
        })
    }
}

impl Segment {
    fn of(name: &str, pairs: &[(f64, bool)], threshold: f64, whole: Option<&Self>) -> Option<Self> {
        let counts = Counts::of(pairs);
        let metrics = Metrics::of(&counts)?;
        let (positives, negatives) = (counts.positives(), counts.negatives());
        let Threshold {
            selected,
            true_positives,
            selected_share,
            recall,
            precision,
            false_positive_rate,
            ..
        } = ranking::threshold(&counts, threshold);
        let when = |there: bool, value: f64| there.then_some(value);
        let recall = when(positives > 0, recall);
        let false_positive_rate = when(negatives > 0, false_positive_rate);
        let precision = when(selected > 0, precision).filter(|_| true_positives <= selected);
        let less = |own: Option<f64>, of: fn(&Self) -> Option<f64>| Some(own? - of(whole?)?);
        let ratio =
            |whole: &Self| (whole.selection_rate > 0.0).then(|| selected_share / whole.selection_rate);
        Some(Self {
            name: name.to_owned(),
            small: counts.rows() < SMALL_ROWS || positives.min(negatives) < SMALL_CLASS,
            rows: counts.rows(),
            positives,
            base_rate: metrics.base_rate,
            base_rate_interval: wilson(positives, counts.rows()),
            mean_probability: metrics.mean_probability,
            selection_rate: selected_share,
            selection_ratio: whole.and_then(ratio),
            true_positive_rate: recall,
            true_positive_difference: less(recall, |whole| whole.true_positive_rate),
            false_positive_rate,
            false_positive_difference: less(false_positive_rate, |whole| whole.false_positive_rate),
            precision,
            precision_difference: less(precision, |whole| whole.precision),
            roc_auc: metrics.roc_auc,
            log_loss: reliability::log_loss(&counts, LOG_LOSS_CLIP)?,
            ece: reliability::expected_calibration_error(&counts, Binning::EqualMass, BINS)?,
            ece_by_chance: reliability::calibration_error_by_chance(&counts, Binning::EqualMass, BINS)?,
        })
    }
}
