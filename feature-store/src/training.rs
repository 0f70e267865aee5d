//! Point-in-time-correct rows for training.

use augur_domain::{FeatureVector, Timestamp, UserKey};

use crate::Error;

/// A point of a user's life for which features are wanted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Label {
    /// Whose features.
    pub user: UserKey,
    /// As of when: only events with `event_time` strictly before it are seen.
    pub at: Timestamp,
    /// What came to pass, carried into the row; `None` when only features are wanted.
    pub outcome: Option<f64>,
}

/// The features of one label.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingRow {
    /// Index into the labels asked for.
    pub label: usize,
    /// Whose features.
    pub user: UserKey,
    /// As of when.
    pub at: Timestamp,
    /// The label's outcome.
    pub outcome: Option<f64>,
    /// What a read at `at` would have said.
    pub features: FeatureVector,
}

/// Rows grouped by user, ascending in time within a user.
pub struct TrainingRows<'a> {
    _store: std::marker::PhantomData<&'a ()>,
}

impl Iterator for TrainingRows<'_> {
    type Item = Result<TrainingRow, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        None
    }
}
