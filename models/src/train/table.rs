//! The table that a model is fitted on: named columns, finite values or none, labels, and who and when.
//!
//! Not here: reading it from a file, or how columns are transformed.

use std::collections::BTreeSet;

use augur_domain::{ContentHash, Timestamp};

use crate::Error;
use crate::artifact::{MAX_INPUTS, MAX_NAME_BYTES};

/// Most rows of a table.
pub const MAX_ROWS: usize = 20_000_000;
/// Most columns of a table; Newton steps cost the square of it per row.
pub const MAX_COLUMNS: usize = MAX_INPUTS / 4;

/// Which part of the table a row belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// Fitted on.
    Train,
    /// Held back to the end: the latest in time.
    Test,
}

/// One labelled row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row<'a> {
    /// One per column; `None` is missing.
    pub values: &'a [Option<f64>],
    /// Whether it is of the positive class.
    pub label: bool,
    /// Whom it is about; rows of one group never part between folds.
    pub group: u64,
    /// The instant its values are as of.
    pub time: Timestamp,
    /// Fitted on or held back.
    pub split: Split,
}

/// Rows of values, row-major, with a mask for what is missing. Holds no NaN and no infinity.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingTable {
    columns: Vec<String>,
    values: Vec<f64>,
    missing: Vec<bool>,
    labels: Vec<bool>,
    groups: Vec<u64>,
    times: Vec<Timestamp>,
    splits: Vec<Split>,
}

impl TrainingTable {
    /// An empty table.
    ///
    /// # Errors
    /// [`Error::InvalidName`] for an empty, too long or repeated column; [`Error::TooLarge`] over
    /// [`MAX_COLUMNS`]; [`Error::NothingToLearn`] without columns.
    pub fn new(columns: Vec<String>) -> Result<Self, Error> {
        if columns.is_empty() {
            return Err(Error::NothingToLearn { columns: 0 });
        }
        if columns.len() > MAX_COLUMNS {
            let (found, limit) = (columns.len() as u64, MAX_COLUMNS as u64);
            return Err(Error::TooLarge { what: "number of training columns", found, limit });
        }
        let mut seen = BTreeSet::new();
        for column in &columns {
            if column.is_empty() || column.len() > MAX_NAME_BYTES || !seen.insert(column) {
                let found = column.chars().take(MAX_NAME_BYTES).collect();
                let expected = "1 to 256 bytes, each name once";
                return Err(Error::InvalidName { kind: "training column", found, expected });
            }
        }
        Ok(Self {
            columns,
            values: Vec::new(),
            missing: Vec::new(),
            labels: Vec::new(),
            groups: Vec::new(),
            times: Vec::new(),
            splits: Vec::new(),
        })
    }

    /// Adds a row; the table is unchanged when it is refused.
    ///
    /// # Errors
    /// [`Error::WrongWidth`], [`Error::NotFinite`] with row and column, [`Error::TooLarge`] over [`MAX_ROWS`].
    pub fn push(&mut self, row: &Row<'_>) -> Result<(), Error> {
        let index = self.labels.len();
        if index >= MAX_ROWS {
            let (found, limit) = (index as u64 + 1, MAX_ROWS as u64);
            return Err(Error::TooLarge { what: "number of training rows", found, limit });
        }
        if row.values.len() != self.columns.len() {
            let (found, expected) = (row.values.len(), self.columns.len());
            return Err(Error::WrongWidth { row: index, found, expected });
        }
        for (value, column) in row.values.iter().zip(&self.columns) {
            if let Some(value) = value.filter(|value| !value.is_finite()) {
                return Err(Error::NotFinite { row: index, column: column.clone(), value });
            }
        }
        self.values.extend(row.values.iter().map(|value| value.unwrap_or(0.0)));
        self.missing.extend(row.values.iter().map(Option::is_none));
        self.labels.push(row.label);
        self.groups.push(row.group);
        self.times.push(row.time);
        self.splits.push(row.split);
        Ok(())
    }

    /// Names of the columns.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Hash of all that the table holds, in row order.
    pub fn hash(&self) -> ContentHash {
        let mut hasher = blake3::Hasher::new();
        let mut bytes = Vec::with_capacity(self.columns.len() * 9 + 18);
        hasher.update(&(self.columns.len() as u64).to_le_bytes());
        for column in &self.columns {
            hasher.update(&(column.len() as u64).to_le_bytes());
            hasher.update(column.as_bytes());
        }
        for (row, split) in self.rows().zip(&self.splits) {
            bytes.clear();
            bytes.extend(row.values.iter().flat_map(|value| value.to_bits().to_le_bytes()));
            bytes.extend(row.missing.iter().map(|missing| u8::from(*missing)));
            bytes.extend(row.group.to_le_bytes());
            bytes.extend(row.time.unix_ms().to_le_bytes());
            bytes.extend([u8::from(row.label), u8::from(*split == Split::Test)]);
            hasher.update(&bytes);
        }
        ContentHash::from_bytes(*hasher.finalize().as_bytes())
    }

    /// The rows of one part, in table order.
    pub(super) fn part(&self, split: Split) -> impl Iterator<Item = StoredRow<'_>> + Clone {
        self.rows().zip(&self.splits).filter(move |(_, of)| **of == split).map(|(row, _)| row)
    }

    /// Where the rows of one part stand in the table.
    pub(super) fn places(&self, split: Split) -> impl Iterator<Item = usize> + '_ {
        self.splits.iter().enumerate().filter(move |(_, of)| **of == split).map(|(place, _)| place)
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = StoredRow<'_>> + Clone {
        let width = self.columns.len();
        let cells = self.values.chunks_exact(width).zip(self.missing.chunks_exact(width));
        let about = self.labels.iter().zip(&self.groups).zip(&self.times);
        cells.zip(about).map(|((values, missing), ((label, group), time))| StoredRow {
            values,
            missing,
            label: *label,
            group: *group,
            time: *time,
        })
    }
}

/// A row as the table holds it.
#[derive(Debug, Clone, Copy)]
pub(super) struct StoredRow<'a> {
    /// 0 where missing.
    pub(super) values: &'a [f64],
    pub(super) missing: &'a [bool],
    pub(super) label: bool,
    pub(super) group: u64,
    pub(super) time: Timestamp,
}

impl StoredRow<'_> {
    /// The value in `column`, if it is there.
    pub(super) fn value(&self, column: usize) -> Option<f64> {
        let missing = *self.missing.get(column)?;
        if missing { None } else { self.values.get(column).copied() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: &[Option<f64>]) -> Row<'_> {
        Row { values, label: true, group: 1, time: Timestamp::from_unix_ms(0), split: Split::Train }
    }

    #[test]
    fn what_is_not_a_number_is_refused_with_its_place() {
        let mut table = TrainingTable::new(vec!["a".to_owned(), "b".to_owned()]).unwrap();
        table.push(&row(&[Some(1.0), None])).unwrap();
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            match table.push(&row(&[None, Some(bad)])) {
                Err(Error::NotFinite { row: 1, column, .. }) => assert_eq!(column, "b"),
                other => panic!("{other:?}"),
            }
        }
        let error = table.push(&row(&[Some(1.0)])).unwrap_err();
        assert_eq!(error.to_string(), "row 1 has 1 values; expected one per column, 2");
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn columns_are_named_once() {
        assert!(matches!(TrainingTable::new(vec![]), Err(Error::NothingToLearn { columns: 0 })));
        let twice = TrainingTable::new(vec!["a".to_owned(), "a".to_owned()]);
        assert!(matches!(twice, Err(Error::InvalidName { kind: "training column", .. })));
        let many = (0..=MAX_COLUMNS).map(|index| index.to_string()).collect();
        assert!(matches!(TrainingTable::new(many), Err(Error::TooLarge { .. })));
    }

    #[test]
    fn the_hash_sees_values_presence_labels_and_parts() {
        let build = |value: Option<f64>, label: bool, split: Split| {
            let mut table = TrainingTable::new(vec!["a".to_owned()]).unwrap();
            table.push(&Row { label, split, ..row(&[value]) }).unwrap();
            table.hash()
        };
        let base = build(Some(0.0), true, Split::Train);
        assert_eq!(base, build(Some(0.0), true, Split::Train));
        assert_ne!(base, build(None, true, Split::Train));
        assert_ne!(base, build(Some(1.0), true, Split::Train));
        assert_ne!(base, build(Some(0.0), false, Split::Train));
        assert_ne!(base, build(Some(0.0), true, Split::Test));
    }
}
