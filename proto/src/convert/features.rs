//! Feature vectors to the wire.
//!
//! Not here: which features a caller asked for (`server` selects).

use std::sync::Arc;

use augur_domain::feature::{FeatureDetail, FeatureStatus, NamedFeatures};
use augur_domain::{FeatureSet, FeatureVector, ValueType};

use super::timestamp_to_wire;
use crate::v1;

/// The wire form of the value in `slot`; `None` when the set or the vector has no such slot.
pub fn feature_to_wire(
    feature_set: &FeatureSet,
    vector: &FeatureVector,
    slot: usize,
    detail: FeatureDetail,
) -> Option<v1::FeatureValue> {
    let (info, value) = (feature_set.features().get(slot)?, vector.values.get(slot)?);
    let told = value.status.is_usable() || value.status == FeatureStatus::OutsideMaxAge;
    let number = told.then_some(value.value).filter(|_| info.value_type != ValueType::Text);
    Some(v1::FeatureValue {
        name: info.name.to_string(),
        value: number,
        text_value: vector.text(slot).filter(|_| told).map(ToString::to_string),
        bool_value: number.filter(|_| info.value_type == ValueType::Boolean).map(|number| number != 0.0),
        // Domain and wire share their numbers.
        status: i32::from(value.status as u8),
        event_time: value.event_time.map(timestamp_to_wire),
        window_start: detail.window_start.map(timestamp_to_wire),
        definition: info.definition.short(),
        approximation_error: detail
            .approximation_error
            .filter(|_| told && value.status != FeatureStatus::Defaulted),
        unit: info.unit.to_string(),
    })
}

/// The wire form of the definitions, with what a request may tell about itself.
pub fn feature_set_to_wire(
    feature_set: &FeatureSet,
    context: &[(Arc<str>, ValueType)],
) -> v1::DescribeFeaturesResponse {
    v1::DescribeFeaturesResponse {
        feature_set: feature_set.hash().to_string(),
        features: feature_set
            .features()
            .iter()
            .map(|info| v1::FeatureDefinition {
                name: info.name.to_string(),
                value_type: info.value_type.to_string(),
                description: info.description.to_string(),
                events: info.events.iter().flatten().map(ToString::to_string).collect(),
                definition: info.definition.short(),
                unit: info.unit.to_string(),
                of_request_alone: info.events.as_ref().is_some_and(Vec::is_empty),
            })
            .collect(),
        named_sets: feature_set.named().iter().map(|set| named_to_wire(feature_set, set)).collect(),
        context: context
            .iter()
            .map(|(name, value_type)| (name.to_string(), value_type.to_string()))
            .collect(),
    }
}

fn named_to_wire(feature_set: &FeatureSet, named: &NamedFeatures) -> v1::NamedFeatureSet {
    let members = named.slots.iter().filter_map(|slot| feature_set.features().get(*slot));
    v1::NamedFeatureSet {
        name: named.name.to_string(),
        description: named.description.to_string(),
        version: named.version.to_string(),
        features: members.map(|info| info.name.to_string()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use augur_domain::ContentHash;
    use augur_domain::feature::{FeatureInfo, FeatureValue};

    use super::*;

    #[test]
    fn values_are_told_by_their_type() {
        let info = |(name, value_type): (&str, ValueType)| FeatureInfo {
            name: name.into(),
            value_type,
            description: "".into(),
            events: None,
            definition: augur_domain::ContentHash::default(),
            unit: "".into(),
        };
        let typed = [("n", ValueType::Number), ("t", ValueType::Text), ("b", ValueType::Boolean)];
        let set = FeatureSet::new(ContentHash::default(), typed.map(info).to_vec());
        let told = |status, slot| {
            let value = FeatureValue { value: if slot == 1 { 0.0 } else { 1.0 }, status, event_time: None };
            let mut vector = FeatureVector::not_found(&set);
            vector.values = vec![value; 3];
            vector.texts = vec![(1, "garden".into())];
            let wire = feature_to_wire(&set, &vector, slot, FeatureDetail::default()).unwrap();
            (wire.value, wire.text_value, wire.bool_value)
        };
        for status in [FeatureStatus::Present, FeatureStatus::Defaulted, FeatureStatus::OutsideMaxAge] {
            assert_eq!(told(status, 0), (Some(1.0), None, None));
            assert_eq!(told(status, 1), (None, Some("garden".to_owned()), None));
            assert_eq!(told(status, 2), (Some(1.0), None, Some(true)));
        }
        for slot in 0..3 {
            assert_eq!(told(FeatureStatus::NullValue, slot), (None, None, None));
        }
        assert_eq!(feature_to_wire(&set, &FeatureVector::not_found(&set), 3, FeatureDetail::default()), None);
    }

    #[test]
    fn what_the_request_alone_says_is_told_from_what_every_event_changes() {
        let described = |events: Option<Vec<Arc<str>>>| {
            let info = FeatureInfo {
                name: "f".into(),
                value_type: ValueType::Number,
                description: "".into(),
                events,
                definition: ContentHash::default(),
                unit: "".into(),
            };
            let wire = feature_set_to_wire(&FeatureSet::new(ContentHash::default(), vec![info]), &[]);
            wire.features.into_iter().map(|told| (told.events, told.of_request_alone)).next().unwrap()
        };
        assert_eq!(described(None), (vec![], false));
        assert_eq!(described(Some(vec![])), (vec![], true));
        assert_eq!(described(Some(vec!["purchase".into()])), (vec!["purchase".to_owned()], false));
    }

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
