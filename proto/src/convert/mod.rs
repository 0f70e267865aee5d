//! Wire to domain and back, one file per service.
//!
//! Each failure names the field by its path in the request, the bad value and what was expected.

pub mod decisions;
pub mod event_ids;
pub mod events;
pub mod features;
pub mod outcomes;
pub mod value;

use augur_domain::Timestamp;

/// A field of a request that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}; expected {expected}")]
pub struct FieldError {
    /// Path in the request, e.g. `context.cart_value`.
    pub field: String,
    /// What is wrong, with the bad value where it is not personal.
    pub problem: String,
    /// What would have been right.
    pub expected: String,
}

impl FieldError {
    /// A complaint about `field`.
    pub fn new(field: impl Into<String>, problem: impl Into<String>, expected: impl Into<String>) -> Self {
        Self { field: field.into(), problem: problem.into(), expected: expected.into() }
    }
}

/// Milliseconds are the finest step kept; finer digits are cut off.
///
/// # Errors
/// When the timestamp is not a valid `google.protobuf.Timestamp` (years 1 to 9999).
pub fn timestamp_from_wire(wire: &prost_types::Timestamp, field: &str) -> Result<Timestamp, FieldError> {
    let out_of_range = || {
        FieldError::new(
            field,
            format!("seconds={} nanos={} is not an instant", wire.seconds, wire.nanos),
            "a time between the years 1 and 9999 with 0..=999999999 nanoseconds",
        )
    };
    if !(0..1_000_000_000).contains(&wire.nanos) {
        return Err(out_of_range());
    }
    let unix_ms = wire
        .seconds
        .checked_mul(1_000)
        .and_then(|ms| ms.checked_add(i64::from(wire.nanos / 1_000_000)))
        .ok_or_else(out_of_range)?;
    let timestamp = Timestamp::from_unix_ms(unix_ms);
    if timestamp.unix_ms() == unix_ms { Ok(timestamp) } else { Err(out_of_range()) }
}

/// The wire form of an instant.
pub fn timestamp_to_wire(timestamp: Timestamp) -> prost_types::Timestamp {
    let unix_ms = timestamp.unix_ms();
    prost_types::Timestamp {
        seconds: unix_ms.div_euclid(1_000),
        nanos: i32::try_from(unix_ms.rem_euclid(1_000) * 1_000_000).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_round_trip_and_reject() {
        for unix_ms in [0, -1, 1_795_366_965_123, Timestamp::MIN.unix_ms(), Timestamp::MAX.unix_ms()] {
            let timestamp = Timestamp::from_unix_ms(unix_ms);
            assert_eq!(timestamp_from_wire(&timestamp_to_wire(timestamp), "t"), Ok(timestamp));
        }
        for (seconds, nanos) in [(i64::MAX, 0), (0, -1), (0, 1_000_000_000), (253_402_300_800, 0)] {
            let wire = prost_types::Timestamp { seconds, nanos };
            let error = timestamp_from_wire(&wire, "events[3].timestamp").unwrap_err();
            assert!(error.to_string().starts_with("events[3].timestamp: seconds="), "{error}");
        }
    }
}
