//! Feature definitions, compiled: which event touches which aggregate, and how each feature is read from one.
//!
//! Not here: aggregates (`aggregate`), or a user's values (`state`).

mod compile;
mod complaints;
mod document;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use augur_domain::{Diagnostic, FeatureSet, Timestamp};

use complaints::Complaints;

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
    /// Aggregates that an event of this name touches, ascending.
    by_event: BTreeMap<Arc<str>, Vec<usize>>,
    /// Aggregates that any other event touches, ascending.
    every_event: Vec<usize>,
}

/// One aggregate and the events it takes in.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AggregateSpec {
    /// Sorted; empty means every event.
    pub(crate) events: Vec<Arc<str>>,
    /// The property to add up; `None` counts.
    pub(crate) property: Option<Arc<str>>,
    pub(crate) kind: AggregateKind,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum AggregateKind {
    Decayed { half_lives_ms: Vec<i64> },
    Windowed { rings: Vec<RingSpec> },
    Recency,
    Sessions { gap_ms: i64 },
}

/// Tiles of one length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RingSpec {
    pub(crate) hop_ms: i64,
    /// Tiles that no window of this length can reach any more are dropped.
    pub(crate) longest_window_ms: i64,
}

/// How a feature is read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Output {
    pub(crate) aggregate: usize,
    pub(crate) measure: Measure,
    pub(crate) max_age_ms: Option<i64>,
    pub(crate) default: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Measure {
    Decayed { index: usize, half_life_ms: i64 },
    Window { ring: usize, window_ms: i64, hop_ms: i64 },
    SinceLast,
    SinceFirst,
    SessionCount { gap_ms: i64 },
    CurrentEvents { gap_ms: i64 },
    CurrentLength { gap_ms: i64 },
    MeanLength { gap_ms: i64 },
}

impl FeatureSchema {
    /// Reads the text of a `features.toml`; `file` is only for complaints.
    ///
    /// # Errors
    /// Every complaint about the text (at most 100), in the order of their places.
    pub fn parse(file: &str, text: &str) -> Result<Self, Vec<Diagnostic>> {
        let mut complaints = Complaints::new(file, text);
        let declarations = document::read(text, &mut complaints);
        match compile::compile(declarations, &mut complaints) {
            Some(schema) => Ok(schema),
            None => Err(complaints.into_sorted()),
        }
    }

    /// The features as everyone else sees them, identified by the hash of their definitions. White space,
    /// comments and descriptions do not change the hash; the order of features does.
    pub const fn feature_set(&self) -> &Arc<FeatureSet> {
        &self.features
    }

    /// Where each feature's window really starts for a read at `now`, in slot order; `None` for features without
    /// a window. The window is `[start, now]`; its start is on a tile border, at most a twelfth of the window
    /// before the declared length.
    pub fn windows(&self, now: Timestamp) -> Vec<Option<Timestamp>> {
        let start = |output: &Output| match output.measure {
            Measure::Window { window_ms, hop_ms, .. } => {
                let declared_ms = now.plus_millis(-window_ms).unix_ms();
                Some(Timestamp::from_unix_ms(declared_ms.div_euclid(hop_ms) * hop_ms))
            }
            _ => None,
        };
        self.outputs.iter().map(start).collect()
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
