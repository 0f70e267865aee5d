//! Point-in-time-correct rows for training: for each (user, instant) the features as a read at that instant would
//! have given them, by the same `apply` and `read`.
//!
//! The rule: only events visible strictly before the instant are seen, in the order of their arrival. An event is
//! visible from its event time on, or from later when it says so. So the event that made the label, at the very
//! instant, cannot leak into it. A late event counts from its
//! event time on, although a live read between the two could not have known it. Not here: files (`export`).

mod log;
mod past;
#[cfg(feature = "export")]
mod sorter;

use std::collections::VecDeque;
use std::iter::Peekable;
use std::sync::Arc;

use augur_domain::{FeatureVector, Timestamp, UserKey, Value};

use crate::retention::Base;
use crate::state::UserState;
use crate::store::Store;
use crate::{Definitions, Error, FeatureSchema, rebuild};
pub(crate) use log::{EventLog, Place, UserLog};
pub(crate) use past::Past;
#[cfg(feature = "export")]
pub use sorter::{LabelSorter, SortedLabels};

/// Most labels of a user that are worked on together.
const MAX_LABELS_AT_ONCE: usize = 4_096;
/// What a value takes in a row that waits to be taken.
const VALUE_BYTES: usize = 48;

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

/// A label with its place among those that were asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct NumberedLabel {
    /// Counted from 0.
    pub index: u64,
    /// The label.
    pub label: Label,
    /// What a request at that instant would have told: names, ascending, and values.
    pub context: Vec<(Arc<str>, Value)>,
}

impl NumberedLabel {
    /// About what the context takes in memory.
    fn context_bytes(&self) -> usize {
        let of_text = |value: &Value| value.as_text().map_or(0, str::len);
        self.context.iter().map(|(name, value)| VALUE_BYTES + name.len() + of_text(value)).sum()
    }
}

/// How rows are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrainingOptions {
    /// About as much memory as rows may take while they are made: events, states and finished rows of one user. The
    /// rows do not depend on it, the time they take may. At least [`Self::MIN_MEMORY_BYTES`].
    pub memory_bytes: usize,
    /// Whether events at the very instant are seen too: the features right after an event, at its time. Never for
    /// labels made from that event.
    pub inclusive: bool,
}

impl TrainingOptions {
    /// The least memory that makes sense.
    pub const MIN_MEMORY_BYTES: usize = 16 << 20;
    /// The memory taken unless another bound is given.
    pub const DEFAULT_MEMORY_BYTES: usize = 256 << 20;

    /// # Errors
    /// [`Error::InvalidConfig`] for too little memory.
    pub fn check(&self) -> Result<(), Error> {
        if self.memory_bytes < Self::MIN_MEMORY_BYTES {
            return Err(Error::InvalidConfig {
                name: "memory_bytes",
                found: self.memory_bytes.to_string(),
                expected: "at least 16777216 (16 MiB)",
            });
        }
        Ok(())
    }
}

impl Default for TrainingOptions {
    fn default() -> Self {
        Self { memory_bytes: Self::DEFAULT_MEMORY_BYTES, inclusive: false }
    }
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
    /// Whether the features lack events that are not kept any more: `at` lies before the user's history begins.
    pub before_history: bool,
}

/// Labels in the order of the rows: by user, ascending in time.
type Labels<'a> = Box<dyn Iterator<Item = Result<NumberedLabel, Error>> + 'a>;

/// Rows grouped by user in key order, ascending in time within a user. One pass over the event log, in which users
/// without labels are jumped over. Of a user with many events only some are in memory at a time.
pub struct TrainingRows<'a> {
    store: &'a dyn Store,
    definitions: Arc<Definitions>,
    schema: Arc<FeatureSchema>,
    labels: Peekable<Labels<'a>>,
    events: EventLog<'a>,
    options: TrainingOptions,
    /// The user being worked on.
    past: Option<PastOf>,
    /// Labels of that user that are taken, and not answered.
    waiting: VecDeque<NumberedLabel>,
    ready: VecDeque<TrainingRow>,
    failed: bool,
}

/// The user being worked on.
struct PastOf {
    user: UserKey,
    past: Past,
    /// Where the history begins of a user of whom events were removed; `None` once that is passed.
    from: Option<Timestamp>,
}

impl std::fmt::Debug for TrainingRows<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("TrainingRows").field("options", &self.options).finish_non_exhaustive()
    }
}

impl<'a> TrainingRows<'a> {
    /// Rows of labels that are sorted here, in memory.
    pub(crate) fn new(
        store: &'a dyn Store,
        definitions: Arc<Definitions>,
        labels: Vec<Label>,
    ) -> Result<Self, Error> {
        if let Some(label) = labels.iter().position(|label| label.outcome.is_some_and(|it| !it.is_finite())) {
            return Err(Error::InvalidLabel { label });
        }
        let mut order: Vec<usize> = (0..labels.len()).collect();
        order.sort_by_key(|&index| labels.get(index).map(|label| (label.user, label.at)));
        let numbered = order.into_iter().filter_map(move |index| {
            let label = *labels.get(index)?;
            Some(Ok(NumberedLabel { index: index as u64, label, context: Vec::new() }))
        });
        Self::of_sorted(store, definitions, Box::new(numbered), TrainingOptions::default())
    }

    /// Rows of labels that come in the order of the rows.
    pub(crate) fn of_sorted(
        store: &'a dyn Store,
        definitions: Arc<Definitions>,
        labels: Labels<'a>,
        options: TrainingOptions,
    ) -> Result<Self, Error> {
        options.check()?;
        Ok(Self {
            store,
            schema: Arc::clone(definitions.schema()),
            definitions,
            labels: labels.peekable(),
            events: EventLog::open(store, options.memory_bytes / 8)?,
            options,
            past: None,
            waiting: VecDeque::new(),
            ready: VecDeque::new(),
            failed: false,
        })
    }

    /// Takes the next labels of one user; false at the end of all.
    fn take_labels(&mut self) -> Result<bool, Error> {
        let row_bytes = self.schema.feature_set().features().len().saturating_mul(VALUE_BYTES).max(1);
        let most = (self.options.memory_bytes / 16 / row_bytes).clamp(1, MAX_LABELS_AT_ONCE);
        let mut user = self.waiting.front().map(|waiting| waiting.label.user);
        let mut context_bytes: usize = self.waiting.iter().map(NumberedLabel::context_bytes).sum();
        while self.waiting.len() < most && context_bytes <= self.options.memory_bytes / 16 {
            let of_user = |next: &Result<NumberedLabel, Error>| match next {
                Ok(next) => user.is_none_or(|user| user == next.label.user),
                Err(_) => true,
            };
            let Some(next) = self.labels.next_if(of_user).transpose()? else { break };
            user = Some(next.label.user);
            context_bytes = context_bytes.saturating_add(next.context_bytes());
            self.waiting.push_back(next);
        }
        Ok(!self.waiting.is_empty())
    }

    fn make_rows(&mut self) -> Result<(), Error> {
        let Some(user) = self.waiting.front().map(|waiting| waiting.label.user) else { return Ok(()) };
        if self.past.as_ref().is_none_or(|past| past.user != user) {
            // The events of the user before are given up before new ones are read.
            self.past = None;
            let from = Base::of(self.store, user)?.map(|base| base.visible_at);
            let log = UserLog::open(&mut self.events, user, 0)?;
            let past = Past::open(log, UserState::new(&self.schema));
            self.past = Some(PastOf { user, past, from });
        }
        let Some(PastOf { past, from, .. }) = &mut self.past else { return Ok(()) };
        let mut labels = &*self.waiting.make_contiguous();
        let (reach_ms, state_bytes) = (i64::from(self.options.inclusive), self.options.memory_bytes / 8);
        let mut before_history = false;
        if let Some(at) = *from {
            let early = labels.partition_point(|waiting| waiting.label.at.plus_millis(reach_ms) <= at);
            if early == 0 {
                // From here on all labels see all that is gone, so the log begins behind it.
                let (state, after) = rebuild::beginning(self.store, &self.definitions, user)?;
                *past = Past::open(UserLog::open(&mut self.events, user, after)?, state);
                *from = None;
            } else {
                labels = labels.get(..early).unwrap_or_default();
                before_history = true;
            }
        }
        let read = past.read(&mut self.events, labels, reach_ms, &self.schema, state_bytes)?;
        for features in read {
            let Some(NumberedLabel { index, label, .. }) = self.waiting.pop_front() else { break };
            let Label { user, at, outcome } = label;
            let label = usize::try_from(index).unwrap_or(usize::MAX);
            self.ready.push_back(TrainingRow { label, user, at, outcome, features, before_history });
        }
        Ok(())
    }
}

impl Iterator for TrainingRows<'_> {
    type Item = Result<TrainingRow, Error>;

    /// Ends behind the first error.
    fn next(&mut self) -> Option<Self::Item> {
        while self.ready.is_empty() && !self.failed {
            let made = self
                .take_labels()
                .and_then(|more| if more { self.make_rows().map(|()| true) } else { Ok(false) });
            match made {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => {
                    self.failed = true;
                    return Some(Err(error));
                }
            }
        }
        self.ready.pop_front().map(Ok)
    }
}

#[cfg(test)]
mod tests;
