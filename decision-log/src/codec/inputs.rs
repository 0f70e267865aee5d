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
//!
//! In versions 9 and 10 `texts` may be empty, and behind it follows `time_left_us u64`.
//!
//! From version 5 on may follow, unless all of it is empty: `time_zone optional text | traits | consents | suppressed |
//! budgets | peek u8 | exposures_more`, where
//! - `traits` is a list as `context` is;
//! - `consents` is a list of (purpose text, granted u8), `suppressed` a list of texts;
//! - `budgets` is a list of (action text, spent u64);
//! - `exposures_more` is a list of (category text, decision [16], optional `holds_until`), one for each exposure, or empty
//!   when no exposure has any of it.

use std::sync::Arc;

use augur_domain::decision::{Availability, Exposure, Person};
use augur_domain::feature::FeatureValue;
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
    if !inputs.features.texts.is_empty() || inputs.time_left_us.is_some() {
        out.put_count(inputs.features.texts.len());
        for (slot, text) in &inputs.features.texts {
            out.put_u32(*slot);
            out.put_text(text);
        }
    }
    if let Some(time_left_us) = inputs.time_left_us {
        out.put_u64(time_left_us);
    }
    if has_more(inputs) {
        encode_more(inputs, out);
    }
}

/// Whether versions before 5 cannot hold it.
pub(super) fn has_more(inputs: &DecisionInputs) -> bool {
    !inputs.person.is_unknown()
        || !inputs.budgets.is_empty()
        || inputs.exposures.iter().any(|exposure| !exposure.is_plain())
        || inputs.peek
}

fn encode_more(inputs: &DecisionInputs, out: &mut Vec<u8>) {
    let Person { availability, time_zone, traits, consents, suppressed } = &inputs.person;
    out.put_u8(*availability as u8);
    out.put_option(time_zone.as_deref(), Put::put_text);
    out.put_count(traits.len());
    for (name, value) in traits {
        out.put_text(name);
        encode_value(value, out);
    }
    out.put_count(consents.len());
    for (purpose, granted) in consents {
        out.put_text(purpose);
        out.put_u8(u8::from(*granted));
    }
    out.put_count(suppressed.len());
    for channel in suppressed {
        out.put_text(channel);
    }
    out.put_count(inputs.budgets.len());
    for (action, spent) in &inputs.budgets {
        out.put_text(action);
        out.put_u64(*spent);
    }
    out.put_u8(u8::from(inputs.peek));
    encode_exposures_more(&inputs.exposures, out);
}

fn encode_exposures_more(exposures: &[Exposure], out: &mut Vec<u8>) {
    if exposures.iter().all(Exposure::is_plain) {
        out.put_count(0);
        return;
    }
    out.put_count(exposures.len());
    for exposure in exposures {
        out.put_text(&exposure.category);
        out.put_bytes(exposure.decision.as_bytes());
        out.put_option(exposure.holds_until, |out, until| out.put_i64(until.unix_ms()));
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

pub(super) fn decode(cursor: &mut Cursor<'_>, version: u16) -> Result<DecisionInputs, Error> {
    let mut inputs = decode_without_texts(cursor)?;
    let is_timed = super::is_timed(version);
    if is_timed || super::has_texts(version) {
        inputs.features.texts = decode_texts(cursor, inputs.features.values.len(), is_timed)?;
    }
    if is_timed {
        inputs.time_left_us = Some(cursor.u64("inputs.time_left_us")?);
    }
    if super::may_have_more(version) && !cursor.is_at_end() {
        let offset = cursor.offset();
        decode_more(cursor, &mut inputs)?;
        if !has_more(&inputs) {
            let reason = "all of it is empty; expected nothing then".to_owned();
            return Err(malformed("inputs.person", offset, reason));
        }
    }
    Ok(inputs)
}

fn decode_more(cursor: &mut Cursor<'_>, inputs: &mut DecisionInputs) -> Result<(), Error> {
    inputs.person = Person {
        availability: availability(cursor, "inputs.person.availability")?,
        time_zone: cursor
            .option("inputs.person.time_zone", |cursor| cursor.text("inputs.person.time_zone"))?,
        traits: decode_values(cursor, "inputs.person.traits")?,
        consents: cursor.list("inputs.person.consents", 5, |cursor| {
            let purpose = cursor.text("inputs.person.consents.purpose")?;
            Ok((purpose, cursor.boolean("inputs.person.consents.granted")?))
        })?,
        suppressed: cursor
            .list("inputs.person.suppressed", 4, |cursor| cursor.text("inputs.person.suppressed"))?,
    };
    inputs.budgets = cursor.list("inputs.budgets", 12, |cursor| {
        let action = cursor.text("inputs.budgets.action")?;
        Ok((action, cursor.u64("inputs.budgets.spent")?))
    })?;
    inputs.peek = cursor.boolean("inputs.peek")?;
    decode_exposures_more(cursor, &mut inputs.exposures)
}

fn decode_exposures_more(cursor: &mut Cursor<'_>, exposures: &mut [Exposure]) -> Result<(), Error> {
    let field = "inputs.exposures_more";
    let offset = cursor.offset();
    let more = cursor.list(field, 21, |cursor| {
        let category = cursor.text("inputs.exposures_more.category")?;
        let decision = DecisionId::from_bytes(cursor.array("inputs.exposures_more.decision")?);
        let until = |cursor: &mut Cursor<'_>| cursor.timestamp("inputs.exposures_more.holds_until");
        Ok((category, decision, cursor.option("inputs.exposures_more.holds_until", until)?))
    })?;
    if more.is_empty() {
        return Ok(());
    }
    if more.len() != exposures.len() {
        let reason = format!("{} items; expected none or one for each of {}", more.len(), exposures.len());
        return Err(malformed(field, offset, reason));
    }
    for (exposure, (category, decision, holds_until)) in exposures.iter_mut().zip(more) {
        (exposure.category, exposure.decision, exposure.holds_until) = (category, decision, holds_until);
    }
    if exposures.iter().all(Exposure::is_plain) {
        let reason = "all of it is empty; expected no items then".to_owned();
        return Err(malformed(field, offset, reason));
    }
    Ok(())
}

fn decode_without_texts(cursor: &mut Cursor<'_>) -> Result<DecisionInputs, Error> {
    Ok(DecisionInputs {
        decision_id: DecisionId::from_bytes(cursor.array("inputs.decision_id")?),
        now: cursor.timestamp("inputs.now")?,
        seed: cursor.u64("inputs.seed")?,
        decision_point: cursor.text("inputs.decision_point")?,
        user: UserKey::from_bytes(cursor.array("inputs.user")?),
        context: decode_values(cursor, "inputs.context")?,
        features_availability: availability(cursor, "inputs.features_availability")?,
        features: decode_features(cursor)?,
        models: cursor.list("inputs.models", 5, |cursor| {
            let alias = cursor.text("inputs.models.alias")?;
            Ok((alias, availability(cursor, "inputs.models.availability")?))
        })?,
        exposures: cursor.list("inputs.exposures", 16, |cursor| {
            let action = cursor.text("inputs.exposures.action")?;
            let channel = cursor.text("inputs.exposures.channel")?;
            Ok(Exposure::new(action, channel, cursor.timestamp("inputs.exposures.at")?))
        })?,
        person: Person::default(),
        budgets: Vec::new(),
        peek: false,
        time_left_us: None,
    })
}

fn availability(cursor: &mut Cursor<'_>, field: &'static str) -> Result<Availability, Error> {
    cursor.number(field, "an availability from 1 to 5", Availability::from_u8)
}

/// A list of named values; complaints name the list.
fn decode_values(cursor: &mut Cursor<'_>, field: &'static str) -> Result<Vec<(Arc<str>, Value)>, Error> {
    cursor.list(field, 6, |cursor| {
        let name = cursor.text(field)?;
        let kind = cursor.number(field, "a type: 1, 2 or 3", |kind| {
            matches!(kind, BOOLEAN | NUMBER | TEXT).then_some(kind)
        })?;
        let value = match kind {
            BOOLEAN => Value::Boolean(cursor.boolean(field)?),
            NUMBER => Value::Number(cursor.finite(field)?),
            _ => Value::Text(cursor.text(field)?),
        };
        Ok((name, value))
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

/// Texts, each of a slot there is, in ascending order; at least one unless there `may_be_none`.
fn decode_texts(
    cursor: &mut Cursor<'_>,
    slots: usize,
    may_be_none: bool,
) -> Result<Vec<(u32, Arc<str>)>, Error> {
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
    if texts.is_empty() && !may_be_none {
        let reason = "an empty list; expected at least one text in this version".to_owned();
        return Err(malformed("inputs.texts", offset, reason));
    }
    Ok(texts)
}
