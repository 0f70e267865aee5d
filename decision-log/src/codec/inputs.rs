//! The `inputs` section of a record.
//!
//! Not here: primitives (`read`, `write`).
//!
//! `decision_id [16] | now | seed u64 | decision_point text | user [16] | context | features_availability u8 |
//! features | models | exposures`, where
//! - `context` is a list of (name text, type u8, value): 1 boolean u8, 2 number f64, 3 text;
//! - `features` is `feature_set [32] | watermark u64 | count u32`, then one byte per feature (its status, plus 128
//!   when it has an event time), then one f64 per feature, then the event times of those that have one;
//! - `models` is a list of (alias text, availability u8);
//! - `exposures` is a list of (action text, channel text, at).
//!
//! From version 2 on follows `texts`, a list of (slot u32, text) in ascending order that is not empty: the values of
//! text features.

use std::sync::Arc;

use augur_domain::decision::{Availability, Exposure};
use augur_domain::feature::FeatureValue;
use augur_domain::value::Finite;
use augur_domain::{
    ContentHash, DecisionId, DecisionInputs, FeatureStatus, FeatureVector, Timestamp, UserKey, Value,
};

use super::read::{Cursor, malformed};
use super::write::Put;
use crate::error::Error;

const BOOLEAN: u8 = 1;
const NUMBER: u8 = 2;
const TEXT: u8 = 3;
/// Set in a feature's status byte when an event time is stored for it.
const HAS_EVENT_TIME: u8 = 0x80;

pub(super) fn encode(inputs: &DecisionInputs, out: &mut Vec<u8>) {
    out.put_bytes(inputs.decision_id.as_bytes());
    out.put_i64(inputs.now.unix_ms());
    out.put_u64(inputs.seed);
    out.put_text(&inputs.decision_point);
    out.put_bytes(inputs.user.as_bytes());
    out.put_count(inputs.context.len());
    for (name, value) in &inputs.context {
        out.put_text(name);
        encode_value(value, out);
    }
    out.put_u8(inputs.features_availability as u8);
    encode_features(&inputs.features, out);
    out.put_count(inputs.models.len());
    for (alias, availability) in &inputs.models {
        out.put_text(alias);
        out.put_u8(*availability as u8);
    }
    out.put_count(inputs.exposures.len());
    for exposure in &inputs.exposures {
        out.put_text(&exposure.action);
        out.put_text(&exposure.channel);
        out.put_i64(exposure.at.unix_ms());
    }
    if !inputs.features.texts.is_empty() {
        out.put_count(inputs.features.texts.len());
        for (slot, text) in &inputs.features.texts {
            out.put_u32(*slot);
            out.put_text(text);
        }
    }
}

fn encode_value(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Boolean(boolean) => {
            out.put_u8(BOOLEAN);
            out.put_u8(u8::from(*boolean));
        }
        Value::Number(number) => {
            out.put_u8(NUMBER);
            out.put_f64(number.get());
        }
        Value::Text(text) => {
            out.put_u8(TEXT);
            out.put_text(text);
        }
    }
}

fn encode_features(features: &FeatureVector, out: &mut Vec<u8>) {
    out.put_bytes(features.feature_set.as_bytes());
    out.put_u64(features.watermark);
    out.put_count(features.values.len());
    out.extend(features.values.iter().map(|feature| {
        let flag = if feature.event_time.is_some() { HAS_EVENT_TIME } else { 0 };
        feature.status as u8 | flag
    }));
    for feature in &features.values {
        out.put_f64(feature.value);
    }
    for event_time in features.values.iter().filter_map(|feature| feature.event_time) {
        out.put_i64(event_time.unix_ms());
    }
}

pub(super) fn decode(cursor: &mut Cursor<'_>, with_texts: bool) -> Result<DecisionInputs, Error> {
    let mut inputs = decode_without_texts(cursor)?;
    if with_texts {
        inputs.features.texts = decode_texts(cursor, inputs.features.values.len())?;
    }
    Ok(inputs)
}

fn decode_without_texts(cursor: &mut Cursor<'_>) -> Result<DecisionInputs, Error> {
    Ok(DecisionInputs {
        decision_id: DecisionId::from_bytes(cursor.array("inputs.decision_id")?),
        now: cursor.timestamp("inputs.now")?,
        seed: cursor.u64("inputs.seed")?,
        decision_point: cursor.text("inputs.decision_point")?,
        user: UserKey::from_bytes(cursor.array("inputs.user")?),
        context: decode_context(cursor)?,
        features_availability: availability(cursor, "inputs.features_availability")?,
        features: decode_features(cursor)?,
        models: cursor.list("inputs.models", 5, |cursor| {
            let alias = cursor.text("inputs.models.alias")?;
            Ok((alias, availability(cursor, "inputs.models.availability")?))
        })?,
        exposures: cursor.list("inputs.exposures", 16, |cursor| {
            Ok(Exposure {
                action: cursor.text("inputs.exposures.action")?,
                channel: cursor.text("inputs.exposures.channel")?,
                at: cursor.timestamp("inputs.exposures.at")?,
            })
        })?,
    })
}

fn availability(cursor: &mut Cursor<'_>, field: &'static str) -> Result<Availability, Error> {
    cursor.number(field, "an availability from 1 to 5", Availability::from_u8)
}

fn decode_context(cursor: &mut Cursor<'_>) -> Result<Vec<(Arc<str>, Value)>, Error> {
    cursor.list("inputs.context", 6, |cursor| {
        let name = cursor.text("inputs.context.name")?;
        let kind = cursor.number("inputs.context.type", "1, 2 or 3", |kind| {
            matches!(kind, BOOLEAN | NUMBER | TEXT).then_some(kind)
        })?;
        let value = match kind {
            BOOLEAN => Value::Boolean(cursor.boolean("inputs.context.value")?),
            NUMBER => Value::Number(finite(cursor)?),
            _ => Value::Text(cursor.text("inputs.context.value")?),
        };
        Ok((name, value))
    })
}

/// A number that is finite, and has the bits that [`Finite`] would give it.
fn finite(cursor: &mut Cursor<'_>) -> Result<Finite, Error> {
    let offset = cursor.offset();
    let number = cursor.f64("inputs.context.value")?;
    Finite::new(number).filter(|finite| finite.get().to_bits() == number.to_bits()).ok_or_else(|| {
        let reason = format!("{number} is not allowed; expected a finite number other than negative zero");
        malformed("inputs.context.value", offset, reason)
    })
}

fn decode_features(cursor: &mut Cursor<'_>) -> Result<FeatureVector, Error> {
    let feature_set = ContentHash::from_bytes(cursor.array("inputs.features.feature_set")?);
    let watermark = cursor.u64("inputs.features.watermark")?;
    let count = cursor.count("inputs.features", 9)?;
    let mut statuses = cursor.fork("inputs.features.status", count)?;
    let mut numbers = cursor.fork("inputs.features.value", count * 8)?;
    let mut values = Vec::with_capacity(count);
    for _ in 0..count {
        let (status, timed) = statuses.number("inputs.features.status", "a status from 1 to 5", |byte| {
            FeatureStatus::from_u8(byte & !HAS_EVENT_TIME).map(|status| (status, byte & HAS_EVENT_TIME != 0))
        })?;
        let value = numbers.f64("inputs.features.value")?;
        let event_time: Option<Timestamp> =
            timed.then(|| cursor.timestamp("inputs.features.event_time")).transpose()?;
        values.push(FeatureValue { value, status, event_time });
    }
    Ok(FeatureVector { feature_set, watermark, values, texts: Vec::new() })
}

/// At least one text, each of a slot there is, in ascending order.
fn decode_texts(cursor: &mut Cursor<'_>, slots: usize) -> Result<Vec<(u32, Arc<str>)>, Error> {
    let offset = cursor.offset();
    let mut free_from = 0;
    let texts = cursor.list("inputs.texts", 8, |cursor| {
        let offset = cursor.offset();
        let slot = cursor.u32("inputs.texts.slot")?;
        if slot < free_from || slot as usize >= slots {
            let reason = format!("slot {slot} is out of place; expected {free_from} to below {slots}");
            return Err(malformed("inputs.texts.slot", offset, reason));
        }
        free_from = slot.saturating_add(1);
        Ok((slot, cursor.text("inputs.texts.text")?))
    })?;
    if texts.is_empty() {
        let reason = "an empty list; expected at least one text in this version".to_owned();
        return Err(malformed("inputs.texts", offset, reason));
    }
    Ok(texts)
}
