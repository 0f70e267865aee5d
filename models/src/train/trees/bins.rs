//! Columns cut into at most 254 bins, so that a split is found by adding up bins and not by sorting rows.
//!
//! Not here: the search for splits (`grow`).

use crate::train::table::{Split, TrainingTable};

/// Bins of present values; one more is for missing ones.
pub(in crate::train) const MAX_BINS: usize = 254;
/// The bin of a missing value.
pub(in crate::train) const MISSING: u8 = 255;

/// A table's training rows by column, each value as the number of its bin.
pub(in crate::train) struct Binned {
    pub(in crate::train) columns: Vec<Column>,
}

/// One column that varies.
pub(in crate::train) struct Column {
    /// Its place in the table.
    pub(in crate::train) index: usize,
    /// Per row.
    pub(in crate::train) bins: Vec<u8>,
    /// Between each bin and the next: the greatest value that still belongs to the lower one.
    pub(in crate::train) thresholds: Vec<f64>,
}

impl Binned {
    /// Cuts every column that varies, in value or presence.
    pub(in crate::train) fn new(table: &TrainingTable) -> Self {
        let columns = (0..table.columns().len()).filter_map(|index| Column::new(table, index)).collect();
        Self { columns }
    }
}

impl Column {
    fn new(table: &TrainingTable, index: usize) -> Option<Self> {
        let mut present: Vec<f64> = table.part(Split::Train).filter_map(|row| row.value(index)).collect();
        let some_missing = table.part(Split::Train).any(|row| row.value(index).is_none());
        present.sort_unstable_by(f64::total_cmp);
        let thresholds = thresholds(&present);
        let absence_varies = some_missing && !present.is_empty();
        if thresholds.is_empty() && !absence_varies {
            return None;
        }
        let bin = |value: Option<f64>| match value {
            None => MISSING,
            Some(value) => thresholds.partition_point(|threshold| *threshold < value) as u8,
        };
        let bins = table.part(Split::Train).map(|row| bin(row.value(index))).collect();
        Some(Self { index, bins, thresholds })
    }
}

/// Borders between distinct values, half way; where there are more than [`MAX_BINS`] of them, those that leave about as
/// many rows in every bin.
fn thresholds(sorted: &[f64]) -> Vec<f64> {
    let mut groups: Vec<(f64, usize)> = Vec::new();
    for &value in sorted {
        match groups.last_mut() {
            Some((last, rows)) if *last >= value => *rows += 1,
            _ => groups.push((value, 1)),
        }
    }
    let share = if groups.len() <= MAX_BINS { 0.0 } else { sorted.len() as f64 / MAX_BINS as f64 };
    let mut borders = Vec::new();
    let (mut rows, mut next_border) = (0_usize, share);
    for pair in groups.windows(2) {
        let [(lower, count), (upper, _)] = pair else { continue };
        rows += count;
        if rows as f64 >= next_border && borders.len() + 1 < MAX_BINS {
            let middle = lower / 2.0 + upper / 2.0;
            // Rounding must not put the border onto the upper value.
            borders.push(if middle < *upper { middle } else { *lower });
            next_border = (rows as f64 + share).max(next_border);
        }
    }
    borders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_values_get_a_bin_each_and_many_about_as_many_rows_each() {
        assert_eq!(thresholds(&[1.0, 1.0, 2.0, 4.0]), [1.5, 3.0]);
        assert!(thresholds(&[3.0, 3.0]).is_empty());
        assert_eq!(thresholds(&[1.0, 1.0_f64.next_up()]), [1.0]);
        let many: Vec<f64> = (0..100_000).map(f64::from).collect();
        let borders = thresholds(&many);
        assert!((240..MAX_BINS).contains(&borders.len()), "{}", borders.len());
        let widest = borders.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max);
        assert!(widest < 800.0, "{widest}");
    }
}
