//! The event log's record.

use augur_domain::Event;

/// An event with its place among the events of its user.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredEvent {
    /// Counted from 1 per user, without gaps, in the order of arrival.
    pub sequence: u64,
    /// The event as it was accepted, with every property.
    pub event: Event,
}
