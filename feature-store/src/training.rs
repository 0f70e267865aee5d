//! Point-in-time-correct rows for training: for each (user, instant) the features as a read at that instant would
//! have given them, by the same `apply` and `read`.
//!
//! The rule: only events visible strictly before the instant are seen, in the order of their arrival. So the event
//! that made the label, at the very instant, cannot leak into it. An event is visible from its event time on,
//! although a live read could not have known a late one so early; one that came from a linked id, from the time of
//! the link on; a retraction, from when it was made ([`StoredEvent::visible_at`]). Not here: files (`export`).

use augur_domain::{FeatureVector, Timestamp, UserKey};

use crate::rebuild;
use crate::state::{UserState, apply};
use crate::store::Store;
use crate::{Error, FeatureSchema, StoredEvent};

/// A point of a user's life for which features are wanted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Label {
    /// Whose features.
    pub user: UserKey,
    /// As of when: only events visible strictly before it are seen.
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
    /// What a read at `at` would have said; all `NOT_FOUND` before the user's first event.
    pub features: FeatureVector,
}

/// Rows grouped by user in key order, ascending in time within a user. Holds one user's events at a time.
pub struct TrainingRows<'a> {
    store: &'a dyn Store,
    schema: &'a FeatureSchema,
    labels: &'a [Label],
    /// Indexes of labels in the order of the rows.
    order: std::vec::IntoIter<usize>,
    past: Option<Past>,
}

impl std::fmt::Debug for TrainingRows<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("TrainingRows").field("rows_left", &self.order.len()).finish_non_exhaustive()
    }
}

impl<'a> TrainingRows<'a> {
    pub(crate) fn new(
        store: &'a dyn Store,
        schema: &'a FeatureSchema,
        labels: &'a [Label],
    ) -> Result<Self, Error> {
        if let Some(label) = labels.iter().position(|label| label.outcome.is_some_and(|it| !it.is_finite())) {
            return Err(Error::InvalidLabel { label });
        }
        let mut order: Vec<usize> = (0..labels.len()).collect();
        order.sort_by_key(|&index| labels.get(index).map(|label| (label.user, label.at)));
        Ok(Self { store, schema, labels, order: order.into_iter(), past: None })
    }

    fn features(&mut self, label: &Label) -> Result<FeatureVector, Error> {
        let past = match self.past.take() {
            Some(past) if past.user == label.user => past,
            _ => Past::load(self.store, self.schema, label.user)?,
        };
        let past = self.past.insert(past);
        past.advance(label.at, self.schema);
        Ok(past.state.read(label.at, self.schema))
    }
}

impl Iterator for TrainingRows<'_> {
    type Item = Result<TrainingRow, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let index = self.order.next()?;
        let label = self.labels.get(index)?;
        let features = self.features(label);
        let Label { user, at, outcome } = *label;
        Some(features.map(|features| TrainingRow { label: index, user, at, outcome, features }))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.order.size_hint()
    }
}

/// One user's life, walked through in ascending time.
struct Past {
    user: UserKey,
    /// In the order of their sequence.
    events: Vec<StoredEvent>,
    /// Events visible before `until`, in the order of their sequence, are in it.
    state: UserState,
    until: Timestamp,
    /// The highest sequence in `state`.
    last_sequence: u64,
}

impl Past {
    fn load(store: &dyn Store, schema: &FeatureSchema, user: UserKey) -> Result<Self, Error> {
        let events = store.events(user)?.map(|record| rebuild::decode(record?)).collect::<Result<_, _>>()?;
        let state = UserState::new(schema);
        Ok(Self { user, events, state, until: Timestamp::MIN, last_sequence: 0 })
    }

    fn advance(&mut self, at: Timestamp, schema: &FeatureSchema) {
        let until = self.until;
        let is_new = |stored: &&StoredEvent| (until..at).contains(&stored.visible_at());
        // Sums are added in the order of arrival. Events that came late, before some that are in the state
        // already, mean starting over, so that the bits are those of a state that grew up in that order.
        let first_new = self.events.iter().find(is_new).map(|stored| stored.sequence);
        let start_over = first_new.is_some_and(|sequence| sequence < self.last_sequence);
        if start_over {
            self.state = UserState::new(schema);
        }
        for stored in &self.events {
            let visible_at = stored.visible_at();
            if visible_at < at && (start_over || visible_at >= until) {
                let changes = apply(&self.state, &stored.event, schema);
                self.state.commit(changes);
                self.last_sequence = self.last_sequence.max(stored.sequence);
            }
        }
        self.until = self.until.max(at);
    }
}

#[cfg(test)]
mod tests;
