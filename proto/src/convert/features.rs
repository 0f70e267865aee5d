//! Feature vectors to the wire.
//!
//! Not here: which features a caller asked for (`server` selects).

use augur_domain::feature::{FeatureInfo, FeatureStatus, FeatureValue};
use augur_domain::{FeatureSet, Timestamp};

use super::timestamp_to_wire;
use crate::v1;

/// The wire form of one feature's value.
pub fn feature_to_wire(
    info: &FeatureInfo,
    value: &FeatureValue,
    window_start: Option<Timestamp>,
) -> v1::FeatureValue {
    let told = value.status.is_usable() || value.status == FeatureStatus::OutsideMaxAge;
    v1::FeatureValue {
        name: info.name.to_string(),
        value: told.then_some(value.value),
        // Domain and wire share their numbers.
        status: i32::from(value.status as u8),
        event_time: value.event_time.map(timestamp_to_wire),
        window_start: window_start.map(timestamp_to_wire),
    }
}

/// The wire form of the definitions.
pub fn feature_set_to_wire(feature_set: &FeatureSet) -> v1::DescribeFeaturesResponse {
    v1::DescribeFeaturesResponse {
        feature_set: feature_set.hash().to_string(),
        features: feature_set
            .features()
            .iter()
            .map(|info| v1::FeatureDefinition {
                name: info.name.to_string(),
                value_type: info.value_type.to_string(),
                description: info.description.to_string(),
                events: info.events.iter().map(ToString::to_string).collect(),
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_share_their_numbers() {
        for (domain, wire) in [
            (FeatureStatus::Present, v1::FeatureStatus::Present),
            (FeatureStatus::NullValue, v1::FeatureStatus::NullValue),
            (FeatureStatus::NotFound, v1::FeatureStatus::NotFound),
            (FeatureStatus::OutsideMaxAge, v1::FeatureStatus::OutsideMaxAge),
            (FeatureStatus::Defaulted, v1::FeatureStatus::Defaulted),
        ] {
            assert_eq!(i32::from(domain as u8), wire as i32);
        }
    }
}
