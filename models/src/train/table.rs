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
        let names: Vec<u8> =
            self.columns.iter().flat_map(|name| name.bytes().chain(std::iter::once(0))).collect();
        let values: Vec<u8> = self.values.iter().flat_map(|value| value.to_bits().to_le_bytes()).collect();
        let missing: Vec<u8> = self.missing.iter().map(|missing| u8::from(*missing)).collect();
        let labels: Vec<u8> = self.labels.iter().map(|label| u8::from(*label)).collect();
        let groups: Vec<u8> = self.groups.iter().flat_map(|group| group.to_le_bytes()).collect();
        let times: Vec<u8> = self.times.iter().flat_map(|time| time.unix_ms().to_le_bytes()).collect();
        let splits: Vec<u8> = self.splits.iter().map(|split| u8::from(*split == Split::Test)).collect();
        ContentHash::of(&[&names, &values, &missing, &labels, &groups, &times, &splits])
    }
}
