//! Point-in-time-correct training sets, in memory for a fit and as Parquet for everybody else.
//!
//! Not here: which rows there are (`labels`) or the values at an instant (`augur_feature_store`).

use std::path::Path;
use std::sync::Arc;

use augur_domain::{ContentHash, Timestamp, UserKey, ValueType};
use augur_feature_store::{
    ExportOptions, Exported, Label, LabelSorter, SortedLabels, TrainingOptions, TrainingRow, export_parquet,
};

use crate::{App, Error};

/// Rows with their labels, as plain columns: `augur_models::train` takes them from here.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingSet {
    /// The definitions behind the columns.
    pub feature_set: ContentHash,
    /// Names of the columns, in slot order. Features that hold text are none: models read numbers.
    pub columns: Vec<String>,
    /// Per column, the hash of the feature's own definition.
    pub definitions: Vec<ContentHash>,
    /// Row-major; `None` where rules and models could not have used the value.
    pub values: Vec<Option<f64>>,
    /// Per row, whether it is positive.
    pub labels: Vec<bool>,
    /// Per row, whose it is. Rows of a user stand together, ascending in time.
    pub users: Vec<UserKey>,
    /// Per row, the instant that its values are as of.
    pub times: Vec<Timestamp>,
}

impl TrainingSet {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The same without these columns.
    #[must_use]
    pub fn without(mut self, excluded: &[Arc<str>]) -> Self {
        let kept: Vec<bool> =
            self.columns.iter().map(|name| !excluded.iter().any(|other| **other == **name)).collect();
        let mut at = 0..self.values.len();
        self.values.retain(|_| {
            let column = at.next().unwrap_or(0).checked_rem(kept.len()).unwrap_or(0);
            kept.get(column).copied().unwrap_or(true)
        });
        let mut column = kept.iter();
        self.columns.retain(|_| *column.next().unwrap_or(&true));
        let mut column = kept.iter();
        self.definitions.retain(|_| *column.next().unwrap_or(&true));
        self
    }

    /// The same without the rows of instants that `keep` says no to.
    #[must_use]
    pub fn at_instants(mut self, keep: impl Fn(Timestamp) -> bool) -> Self {
        let columns = self.columns.len().max(1);
        let kept: Vec<bool> = self.times.iter().map(|time| keep(*time)).collect();
        let of_row = |row: usize| kept.get(row).copied().unwrap_or(false);
        let mut value = 0..self.values.len();
        self.values.retain(|_| of_row(value.next().unwrap_or(0) / columns));
        let mut row = kept.iter();
        self.labels.retain(|_| *row.next().unwrap_or(&false));
        let mut row = kept.iter();
        self.users.retain(|_| *row.next().unwrap_or(&false));
        self.times.retain(|time| keep(*time));
        self
    }

    /// The rows: values, label, group (rows of one user share it) and instant.
    pub fn rows(&self) -> impl Iterator<Item = (&[Option<f64>], bool, u64, Timestamp)> {
        let values = self.values.chunks(self.columns.len().max(1));
        let told = self.labels.iter().zip(&self.users).zip(&self.times);
        values.zip(told).map(|(values, ((label, user), time))| (values, *label, group(*user), *time))
    }
}

/// A number for a user. Keys are hashes: two users of one table share a number once in billions.
fn group(user: UserKey) -> u64 {
    let mut bytes = [0; 8];
    for (to, from) in bytes.iter_mut().zip(user.as_bytes()) {
        *to = *from;
    }
    u64::from_le_bytes(bytes)
}

impl App {
    /// The features of every label that has an outcome, as of its instant. Blocks.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn training_set(&self, labels: &[Label]) -> Result<TrainingSet, Error> {
        self.collected(self.store.training_rows(labels)?, labels.len())
    }

    /// [`Self::training_set`] of labels that were sorted before, in any number: the set itself is in memory. Blocks.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn training_set_of(
        &self,
        labels: SortedLabels,
        options: TrainingOptions,
    ) -> Result<TrainingSet, Error> {
        self.collected(self.store.training_rows_of(labels, options)?, 0)
    }

    fn collected(
        &self,
        rows: impl Iterator<Item = Result<TrainingRow, augur_feature_store::Error>>,
        expected_rows: usize,
    ) -> Result<TrainingSet, Error> {
        let features = self.feature_set();
        let described = features.features();
        let is_number =
            |slot: &usize| described.get(*slot).is_some_and(|info| info.value_type != ValueType::Text);
        let slots: Vec<usize> = (0..described.len()).filter(is_number).collect();
        let columns = || slots.iter().filter_map(|slot| described.get(*slot));
        let mut set = TrainingSet {
            feature_set: features.hash(),
            columns: columns().map(|feature| feature.name.to_string()).collect(),
            definitions: columns().map(|feature| feature.definition).collect(),
            values: Vec::with_capacity(expected_rows.saturating_mul(slots.len())),
            labels: Vec::with_capacity(expected_rows),
            users: Vec::with_capacity(expected_rows),
            times: Vec::with_capacity(expected_rows),
        };
        for row in rows {
            let TrainingRow { user, at, outcome, features, .. } = row?;
            let Some(outcome) = outcome else { continue };
            set.values.extend(slots.iter().map(|slot| features.usable(*slot)));
            set.labels.push(outcome > 0.5);
            set.users.push(user);
            set.times.push(at);
        }
        Ok(set)
    }

    /// Takes labels in any number, to be sorted through files in `dir` as far as they do not fit into memory.
    ///
    /// # Errors
    /// [`Error::Store`] for too little memory.
    pub fn label_sorter(&self, dir: &Path, options: TrainingOptions) -> Result<LabelSorter<'_>, Error> {
        Ok(self.store.label_sorter(dir, options)?)
    }

    /// Writes the features of every label, as of its instant, to a Parquet file; replaces the file only when all
    /// went well. The file names the definitions, the version of this program and how many events were stored.
    /// `progress` is told the number of rows now and then. Blocks.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn export_features(
        &self,
        path: &Path,
        labels: SortedLabels,
        mut options: ExportOptions,
        progress: impl FnMut(u64),
    ) -> Result<Exported, Error> {
        options.metadata.extend([
            ("augur.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
            ("augur.events_stored".to_owned(), self.store.stats().events_total.to_string()),
        ]);
        let rows = self.store.training_rows_of(labels, options.rows)?;
        Ok(export_parquet(path, &self.feature_set(), rows, &options, progress)?)
    }

    /// A label without outcome for every user at `at`: for exports of what is known about everybody. Blocks.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn label_everybody(&self, at: Timestamp, labels: &mut LabelSorter<'_>) -> Result<(), Error> {
        for user in self.store.users()? {
            labels.push(&Label { user: user?, at, outcome: None })?;
        }
        Ok(())
    }
}
