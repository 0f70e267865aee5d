//! One user's aggregates.

use augur_domain::{Event, FeatureVector, Timestamp};

use crate::error::DecodeError;
use crate::schema::FeatureSchema;

/// All aggregates of one user.
#[derive(Debug, Clone, PartialEq)]
pub struct UserState {}

/// What one event changes in a state.
#[derive(Debug, Clone, PartialEq)]
#[must_use = "changes do nothing until they are committed"]
pub struct Changes {}

/// The one function that turns events into features.
pub fn apply(_state: &UserState, _event: &Event, _schema: &FeatureSchema) -> Changes {
    Changes {}
}

impl UserState {
    /// The state of a user without events.
    pub fn new(_schema: &FeatureSchema) -> Self {
        Self {}
    }

    /// Takes over what [`apply`] computed from this very state.
    pub fn commit(&mut self, _changes: Changes) {}

    /// The features at `now`, which should not be before the latest event.
    pub fn read(&self, _now: Timestamp, schema: &FeatureSchema) -> FeatureVector {
        FeatureVector::not_found(schema.feature_set())
    }

    /// How many events have been applied.
    pub fn watermark(&self) -> u64 {
        0
    }

    /// Appends the packed record.
    pub fn encode(&self, _schema: &FeatureSchema, _out: &mut Vec<u8>) {}

    /// Reads a packed record.
    ///
    /// # Errors
    /// [`DecodeError`] for bytes that [`Self::encode`] with these definitions never makes.
    pub fn decode(_bytes: &[u8], schema: &FeatureSchema) -> Result<Self, DecodeError> {
        Ok(Self::new(schema))
    }
}
