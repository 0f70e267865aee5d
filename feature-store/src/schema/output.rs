//! How one feature is read: what it is measured from, how old it may be, what stands in for it.
//!
//! Not here: the measuring (`aggregate`, `computed`).

use std::sync::Arc;

use augur_domain::feature::FeatureValue;
use augur_domain::{FeatureStatus, FeatureVector, Timestamp, Value, ValueType};

use super::Measure;

/// How a feature is read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Output {
    pub(crate) source: Source,
    /// What its value holds.
    pub(crate) value_type: ValueType,
    pub(crate) max_age_ms: Option<i64>,
    /// Of `value_type`.
    pub(crate) default: Option<Value>,
}

/// Where a feature's value comes from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Source {
    Aggregate {
        index: usize,
        measure: Measure,
    },
    /// From other features and the context of the request, after them.
    Computed,
}

impl Output {
    /// The aggregate that it is measured from.
    pub(crate) const fn aggregate(&self) -> Option<usize> {
        match self.source {
            Source::Aggregate { index, .. } => Some(index),
            Source::Computed => None,
        }
    }

    pub(crate) fn is_of_same_aggregate(&self, other: &Self) -> bool {
        self.aggregate() == other.aggregate()
    }

    pub(crate) const fn measure(&self) -> Option<Measure> {
        match self.source {
            Source::Aggregate { measure, .. } => Some(measure),
            Source::Computed => None,
        }
    }

    /// The value with its status, given the number that was measured (of a text: 0) and the latest event behind it.
    pub(crate) fn settle(
        &self,
        measured: Option<f64>,
        event_time: Option<Timestamp>,
        now: Timestamp,
    ) -> FeatureValue {
        let too_old = match (event_time, self.max_age_ms) {
            (Some(latest), Some(max_age_ms)) => now.millis_since(latest) > max_age_ms,
            _ => false,
        };
        let (value, status) = match measured {
            Some(value) if !too_old => (value, FeatureStatus::Present),
            _ if self.default.is_some() => (self.default_number(), FeatureStatus::Defaulted),
            Some(value) => (value, FeatureStatus::OutsideMaxAge),
            None => (0.0, FeatureStatus::NullValue),
        };
        FeatureValue { value, status, event_time }
    }

    /// The text that goes with a status, given the one that was measured.
    pub(crate) fn settle_text(&self, status: FeatureStatus, measured: Option<Arc<str>>) -> Option<Arc<str>> {
        match (status, &self.default) {
            (FeatureStatus::Present | FeatureStatus::OutsideMaxAge, _) => measured,
            (FeatureStatus::Defaulted, Some(Value::Text(text))) => Some(Arc::clone(text)),
            _ => None,
        }
    }

    /// The default as vectors hold it beside a status.
    pub(super) fn default_number(&self) -> f64 {
        match self.default {
            Some(Value::Number(number)) => number.get(),
            Some(Value::Boolean(boolean)) => f64::from(u8::from(boolean)),
            Some(Value::Text(_)) | None => 0.0,
        }
    }
}

/// Puts a text into its place among the others.
pub(super) fn put_text(vector: &mut FeatureVector, slot: usize, text: Arc<str>) {
    let Ok(slot) = u32::try_from(slot) else { return };
    match vector.texts.binary_search_by_key(&slot, |(known, _)| *known) {
        Ok(place) => {
            if let Some(entry) = vector.texts.get_mut(place) {
                entry.1 = text;
            }
        }
        Err(place) => vector.texts.insert(place, (slot, text)),
    }
}
