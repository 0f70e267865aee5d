//! Features that are computed at the read: from other features, and from the context of the request.
//!
//! Not here: how their expressions are declared and checked (`document`, `compile`), or what they stand on (`state`).

use std::sync::Arc;

use augur_domain::{FeatureSet, FeatureVector, Timestamp, Value, ValueType};
use augur_expression::{Evaluated, Expression, Operand, Row, Slot};

use super::output::put_text;
use super::{Context, FeatureSchema};

#[cfg(test)]
mod tests;

/// Slots of an expression below this are features, from it on declared context.
pub(super) const CONTEXT_SLOTS: u32 = 1 << 16;
/// The instant of the read.
pub(super) const NOW_SLOT: Slot = Slot(u32::MAX);

/// One computed feature.
#[derive(Debug, Clone)]
pub(crate) struct Computed {
    /// Its own slot.
    pub(crate) slot: usize,
    pub(crate) expression: Expression,
    /// Slots of the features that it reads.
    pub(crate) inputs: Vec<usize>,
    /// Whether it may have a value for a user without events.
    pub(crate) for_anyone: bool,
}

/// Equal sources over equal feature sets are equal expressions.
impl PartialEq for Computed {
    fn eq(&self, other: &Self) -> bool {
        self.slot == other.slot && self.expression.source() == other.expression.source()
    }
}

impl FeatureSchema {
    /// Fills in what is computed from the rest of `vector`, in an order in which inputs come first.
    pub(crate) fn compute(&self, vector: &mut FeatureVector, now: Timestamp, context: &dyn Context) {
        for computed in &self.computed {
            let Some(output) = self.outputs.get(computed.slot) else { continue };
            let known_user = vector.watermark > 0;
            if !known_user && !computed.for_anyone {
                continue;
            }
            let times = computed.inputs.iter().filter_map(|&input| vector.values.get(input)?.event_time);
            let event_time = times.max();
            let row = ReadRow { features: &self.features, declared: &self.context, vector, now, context };
            let (number, text) = match computed.expression.evaluate(&row) {
                Evaluated::Known(Operand::Number(number)) => (Some(number), None),
                Evaluated::Known(Operand::Boolean(boolean)) => (Some(f64::from(u8::from(boolean))), None),
                Evaluated::Known(Operand::Text(text)) => (Some(0.0), Some(Arc::from(text))),
                _ => (None, None),
            };
            // Nothing is known of the user, so nothing is known of what is made of their features.
            if number.is_none() && !known_user && !computed.inputs.is_empty() {
                continue;
            }
            let value = output.settle(number, event_time, now);
            let text = output.settle_text(value.status, text);
            if let Some(slot) = vector.values.get_mut(computed.slot) {
                *slot = value;
            }
            if let Some(text) = text {
                put_text(vector, computed.slot, text);
            }
        }
    }
}

/// What an expression may read; what cannot be used is missing.
struct ReadRow<'a> {
    features: &'a FeatureSet,
    declared: &'a [(Arc<str>, ValueType)],
    vector: &'a FeatureVector,
    now: Timestamp,
    context: &'a dyn Context,
}

impl Row for ReadRow<'_> {
    fn operand(&self, slot: Slot) -> Option<Operand<'_>> {
        if slot == NOW_SLOT {
            return Some(Operand::Timestamp(self.now.unix_ms()));
        }
        if let Some(index) = slot.0.checked_sub(CONTEXT_SLOTS) {
            let (name, value_type) = self.declared.get(usize::try_from(index).ok()?)?;
            return operand_of(self.context.value(name)?, *value_type);
        }
        let index = usize::try_from(slot.0).ok()?;
        match self.features.features().get(index)?.value_type {
            ValueType::Number => self.vector.usable(index).map(Operand::Number),
            ValueType::Boolean => self.vector.usable(index).map(|number| Operand::Boolean(number != 0.0)),
            ValueType::Text => self.vector.usable_text(index).map(|text| Operand::Text(text)),
            ValueType::Timestamp | ValueType::Duration => None,
        }
    }
}

/// The value as an operand of the declared type; of any other type it is missing.
pub(super) fn operand_of(value: &Value, declared: ValueType) -> Option<Operand<'_>> {
    match (value, declared) {
        (Value::Number(number), ValueType::Number) => Some(Operand::Number(number.get())),
        (Value::Boolean(boolean), ValueType::Boolean) => Some(Operand::Boolean(*boolean)),
        (Value::Text(text), ValueType::Text) => Some(Operand::Text(text)),
        _ => None,
    }
}
