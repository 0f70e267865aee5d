//! Feature definitions, compiled: which event touches which aggregate, and how each feature is read from one.
//!
//! Not here: aggregates (`aggregate`), or a user's values (`state`).

mod compile;
pub(crate) mod complaints;
mod computed;
mod context;
mod declaration;
mod definition;
mod derive;
mod document;
mod expand;
mod explain;
mod fields;
mod filter;
mod kind;
mod output;
mod possible;
mod properties;
mod resolved;
mod restrict;
mod sets;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use augur_domain::{ContentHash, Diagnostic, FeatureSet, Timestamp, ValueType};

pub use context::{Context, NoContext};
pub use explain::Explanation;
pub(crate) use filter::Filter;
pub(crate) use output::{Output, Source};
pub use possible::PossibleValues;

use complaints::Complaints;
use computed::Computed;

use crate::aggregate;
use crate::taxonomy::Taxonomy;

/// Feature definitions, compiled and immutable.
///
/// A file looks like this; unknown keys are refused, lengths of time are `250ms`, `30s`, `15m`, `12h` or `7d`,
/// at most `400d`:
///
/// ```toml
/// version = 1
///
/// [[feature]]
/// name = "purchases"             # gives purchases_1d and purchases_7d
/// kind = "decayed_count"         # or decayed_sum, with `property`
/// events = ["purchase"]          # absent: every event
/// half_lives = ["1d", "7d"]      # 1s at least
/// max_age = "90d"                # a value whose latest event is older reads OUTSIDE_MAX_AGE
/// default = 0.0                  # stands in, as DEFAULTED, when there is no value or it is too old
///
/// [[feature]]
/// name = "spend"                 # gives spend_1d: names take the shortest spelling of a length
/// kind = "windowed_sum"          # or windowed_count, without `property`
/// events = ["purchase"]
/// property = "value"
/// windows = ["24h"]              # 1m at least
///
/// [[feature]]
/// name = "seconds_since_last_purchase"   # named as declared
/// kind = "time_since_last"       # or time_since_first
/// events = ["purchase"]
///
/// [[feature]]
/// name = "sessions"              # gives sessions_count, sessions_current_events,
/// kind = "sessions"              # sessions_current_length_secs and sessions_mean_length_secs
/// gap = "30m"                    # a longer silence starts a new session
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct FeatureSchema {
    features: Arc<FeatureSet>,
    aggregates: Vec<AggregateSpec>,
    /// How to read each slot.
    outputs: Vec<Output>,
    /// What is computed from other slots, inputs first.
    computed: Vec<Computed>,
    /// What a request may tell, by name.
    context: Vec<(Arc<str>, ValueType)>,
    /// Aggregates that an event of this name touches, ascending.
    by_event: BTreeMap<Arc<str>, Vec<usize>>,
    /// Aggregates that any other event touches, ascending.
    every_event: Vec<usize>,
    /// The text that it was read from.
    source: Arc<str>,
}

/// One aggregate and the events it takes in.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AggregateSpec {
    /// Sorted; empty means every event.
    pub(crate) events: Vec<Arc<str>>,
    /// The property to add up; `None` counts.
    pub(crate) property: Option<Arc<str>>,
    /// What an event of each name weighs, ascending by name; empty means 1 each.
    pub(crate) weights: Vec<(Arc<str>, f64)>,
    /// Only events for which this holds are taken in.
    pub(crate) filter: Option<Filter>,
    /// Whether a retraction takes its event out again.
    pub(crate) retractable: bool,
    pub(crate) kind: AggregateKind,
    /// Hash of all of the above. States of equal definitions are made of the same events in the same way, so they
    /// can be carried over from one version of the definitions to the next.
    pub(crate) definition: ContentHash,
}

/// What an aggregate keeps of its events.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum AggregateKind {
    /// Sums that halve with every half-life.
    Decayed {
        half_lives_ms: Vec<i64>,
        /// In fixed-point cells: the same bits in any order, and events can be taken back.
        exact: bool,
    },
    /// Tiles of one or more lengths.
    Windowed {
        rings: Vec<RingSpec>,
        statistic: Statistic,
        /// The latest so many events are kept one by one, so that windows that hold no more are exact; 0 keeps tiles only.
        exact_events: u32,
        /// Sums in fixed point: the same bits in any order, and events can be taken back.
        exact: bool,
    },
    /// Since ever.
    Total {
        /// In fixed point, as above.
        exact: bool,
    },
    /// First and last time.
    Recency,
    /// The first or the last value of the property; values of another type do not count.
    Edge { last: bool, value_type: ValueType },
    /// Runs of events with no silence longer than the gap.
    Sessions { gap_ms: i64 },
    /// Different values of the property.
    Distinct {
        /// Empty means since ever.
        rings: Vec<RingSpec>,
        /// So many values are kept one by one; beyond them the count is an estimate.
        exact_values: u32,
        /// 2^precision registers of a sketch stand for the rest.
        precision: u8,
    },
    /// The most frequent values of the property.
    TopK {
        k: u32,
        /// So many values are counted; beyond them counts are upper bounds.
        capacity: u32,
        /// Older occurrences weigh less, if given.
        half_life_ms: Option<i64>,
        /// Values of another type do not count.
        value_type: ValueType,
    },
}

/// What a tile holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Statistic {
    /// The sum, or the count where there is no property.
    Sum,
    /// Count, mean and sum of squared deviations.
    Moments,
    /// Least and greatest.
    Extremes,
}

/// Tiles of one length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RingSpec {
    pub(crate) hop_ms: i64,
    /// Tiles that no window of this length can reach any more are dropped.
    pub(crate) longest_window_ms: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Measure {
    Decayed {
        index: usize,
        half_life_ms: i64,
    },
    Window {
        ring: usize,
        window_ms: i64,
        hop_ms: i64,
        what: WindowStatistic,
    },
    Total,
    SinceLast,
    SinceFirst,
    FirstValue,
    LastValue,
    SessionCount {
        gap_ms: i64,
    },
    CurrentEvents {
        gap_ms: i64,
    },
    CurrentLength {
        gap_ms: i64,
    },
    CurrentPages {
        gap_ms: i64,
    },
    MeanLength {
        gap_ms: i64,
    },
    BounceShare {
        gap_ms: i64,
    },
    EventsPerSession {
        gap_ms: i64,
    },
    Distinct,
    /// Starts on a border of the shortest tile of its declaration.
    DistinctWindow {
        window_ms: i64,
    },
    TopValue {
        rank: u32,
    },
    TopShare {
        rank: u32,
    },
    TopCount {
        rank: u32,
    },
}

/// What is read of a window. Which ones there are depends on the [`Statistic`] kept: `Sum` gives counts (without a
/// property) or sums, `Moments` all but the extremes, `Extremes` these two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WindowStatistic {
    Count,
    Sum,
    /// `None` of no event, as the four below.
    Mean,
    Min,
    Max,
    /// Of the events in the window, divided by their number.
    Variance,
    StandardDeviation,
}

impl AggregateKind {
    /// Whether an event can be taken back exactly. Counts in windows and since ever can also without `exact`: see
    /// [`AggregateSpec::can_retract`].
    pub(crate) const fn retractable(&self) -> bool {
        match *self {
            Self::Decayed { exact, .. } | Self::Total { exact } => exact,
            Self::Windowed { statistic: Statistic::Sum, exact_events: 0, exact, .. } => exact,
            _ => false,
        }
    }
}

impl AggregateSpec {
    /// Whether every event adds 1.
    pub(crate) const fn counts(&self) -> bool {
        self.property.is_none() && self.weights.is_empty()
    }

    /// Whether the property is added up, so that it must be a number.
    pub(crate) const fn needs_number(&self) -> bool {
        !matches!(
            self.kind,
            AggregateKind::Edge { .. } | AggregateKind::Distinct { .. } | AggregateKind::TopK { .. }
        )
    }

    /// Whether an event can be taken back exactly.
    pub(crate) const fn can_retract(&self) -> bool {
        let whole = matches!(
            self.kind,
            AggregateKind::Total { .. }
                | AggregateKind::Windowed { statistic: Statistic::Sum, exact_events: 0, .. }
        );
        self.kind.retractable() || (whole && self.counts())
    }
}

impl FeatureSchema {
    /// Reads the text of a `features.toml`; `file` is only for complaints.
    ///
    /// # Errors
    /// Every complaint about the text (at most 100), in the order of their places.
    pub fn parse(file: &str, text: &str) -> Result<Self, Vec<Diagnostic>> {
        let mut complaints = Complaints::new(file, text);
        let document = document::read(text, &mut complaints);
        Self::compiled(text, document, &Taxonomy::untyped(), complaints)
    }

    /// [`Self::parse`] of what a person wrote, over events of a taxonomy: conditions may read the properties that it
    /// declares, and what can never come as a feature wants it is refused, names of events that are never stored
    /// under that spelling among it.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn parse_with(file: &str, text: &str, taxonomy: &Taxonomy) -> Result<Self, Vec<Diagnostic>> {
        let mut complaints = Complaints::new(file, text);
        let document = document::read(text, &mut complaints);
        for declaration in &document.declarations {
            properties::check_spelling(declaration, taxonomy, &mut complaints);
        }
        Self::compiled(text, document, taxonomy, complaints)
    }

    fn compiled(
        text: &str,
        document: document::Document,
        taxonomy: &Taxonomy,
        mut complaints: Complaints<'_>,
    ) -> Result<Self, Vec<Diagnostic>> {
        match compile::compile(document, taxonomy, &mut complaints) {
            Some((schema, resolved)) => {
                Ok(Self { source: resolved::self_contained(text, &resolved).into(), ..schema })
            }
            None => Err(complaints.into_sorted()),
        }
    }

    /// What a request may tell about itself, by name: the declared `[context]`.
    pub fn context(&self) -> &[(Arc<str>, ValueType)] {
        &self.context
    }

    /// The features as everyone else sees them, identified by the hash of their definitions. White space,
    /// comments and descriptions do not change the hash; the order of features does.
    pub const fn feature_set(&self) -> &Arc<FeatureSet> {
        &self.features
    }

    /// Where each feature's window starts for a read at `now` while no event is in it, in slot order; `None` for features
    /// without a window. The window is `[start, now]`; its start is the declared one where events or values are kept
    /// one by one, else on a tile border, at most a twelfth of the window before the declared one.
    pub fn windows(&self, now: Timestamp) -> Vec<Option<Timestamp>> {
        let start = |output: &Output| {
            let Source::Aggregate { index, measure } = output.source else { return None };
            aggregate::start_of_nothing(measure, now, self.aggregates.get(index)?)
        };
        self.outputs.iter().map(start).collect()
    }

    /// Whether the feature in `slot` never forgets, so that its values shift as time goes by though people stay as they
    /// are: the time since a first event, and totals, sessions and distinct values of all time.
    pub fn accumulates(&self, slot: usize) -> bool {
        let Some(Source::Aggregate { measure, .. }) = self.outputs.get(slot).map(|output| output.source)
        else {
            return false;
        };
        matches!(
            measure,
            Measure::SinceFirst | Measure::Total | Measure::SessionCount { .. } | Measure::Distinct
        )
    }

    /// The text that it was read from.
    pub fn source(&self) -> &str {
        &self.source
    }

    pub(crate) fn aggregates(&self) -> &[AggregateSpec] {
        &self.aggregates
    }

    pub(crate) fn outputs(&self) -> &[Output] {
        &self.outputs
    }

    /// Aggregates that take in events called `name`.
    pub(crate) fn touched_by(&self, name: &str) -> &[usize] {
        self.by_event.get(name).unwrap_or(&self.every_event)
    }

    /// The part of the definitions' hash that every state record carries.
    pub(crate) fn fingerprint(&self) -> [u8; 8] {
        let mut fingerprint = [0; 8];
        for (to, from) in fingerprint.iter_mut().zip(self.features.hash().as_bytes()) {
            *to = *from;
        }
        fingerprint
    }
}
