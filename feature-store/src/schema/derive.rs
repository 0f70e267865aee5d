//! Compiles the expressions of computed features: names, types, and an order in which inputs come first.
//!
//! Not here: evaluating them (`computed`), or their keys in the file (`declaration`).

use std::collections::BTreeMap;
use std::sync::Arc;

use augur_domain::ValueType;
use augur_domain::feature::FeatureInfo;
use augur_expression::{Expression, Names, Slot};

use super::Output;
use super::complaints::{Complaints, did_you_mean};
use super::computed::{CONTEXT_SLOTS, Computed, NOW_SLOT};
use super::declaration::Ratio;
use super::definition;
use super::fields::{Located, Written};

const FEATURES: &str = "features.";
const CONTEXT: &str = "context.";

/// A computed feature as declared.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) slot: usize,
    pub(super) written: Written,
    /// Features named by keys of their own.
    pub(super) named: Vec<Located<String>>,
    /// Whether it may read the context of the request, and have a value for a user without events.
    pub(super) for_anyone: bool,
}

/// The expression that a ratio stands for, with its meaning in words.
pub(super) fn ratio(ratio: &Ratio) -> (Written, String) {
    let (numerator, denominator) = (&ratio.numerator.value, &ratio.denominator.value);
    let place = ratio.numerator.place;
    match ratio.smoothing {
        None => (
            Written::made_for(place, format!("features.{numerator} / features.{denominator}")),
            format!("{numerator} / {denominator}"),
        ),
        Some((prior, weight)) => (
            Written::made_for(
                place,
                format!(
                    "(features.{numerator} + {:?}) / (features.{denominator} + {weight:?})",
                    prior * weight
                ),
            ),
            format!("{numerator} / {denominator}, smoothed towards {prior} with the weight of {weight}"),
        ),
    }
}

/// The computed features, inputs first; completes what `features` says of them. `None` after a complaint.
pub(super) fn compile(
    wanted: &[Wanted],
    context: &[(Arc<str>, ValueType)],
    features: &mut [FeatureInfo],
    outputs: &[Output],
    complaints: &mut Complaints<'_>,
) -> Option<Vec<Computed>> {
    let mut compiled = BTreeMap::new();
    {
        let names = ReadNames::new(features, context);
        for wanted in wanted {
            if let Some(computed) = compile_one(wanted, &names, outputs, complaints) {
                compiled.insert(wanted.slot, computed);
            }
        }
    }
    let order = in_order(&compiled, wanted, features, complaints);
    if !complaints.is_empty() {
        return None;
    }
    let mut computed = Vec::with_capacity(order.len());
    for slot in order {
        let Some(next) = compiled.remove(&slot) else { continue };
        complete(&next, context, features, outputs);
        computed.push(next);
    }
    Some(computed)
}

fn compile_one(
    wanted: &Wanted,
    names: &ReadNames<'_>,
    outputs: &[Output],
    complaints: &mut Complaints<'_>,
) -> Option<Computed> {
    for Located { place, value: name } in &wanted.named {
        match names.features.get(name.as_str()) {
            Some((_, ValueType::Number)) => {}
            Some((_, other)) => {
                complaints.add(*place, format!("`{name}` is a {other}"), "a feature that is a number");
                return None;
            }
            None => {
                let hint = did_you_mean(name, names.features.keys().copied());
                let expected = "the full name of a feature in this file";
                complaints.add_with_hint(*place, format!("there is no feature `{name}`"), expected, hint);
                return None;
            }
        }
    }
    let value_type = outputs.get(wanted.slot)?.value_type;
    let names = ScopedNames { names, for_anyone: wanted.for_anyone };
    match Expression::compile(&wanted.written.text, &names, value_type) {
        Ok(expression) => {
            let slots = expression.slots().iter().filter(|slot| slot.0 < CONTEXT_SLOTS);
            let inputs = slots.filter_map(|slot| usize::try_from(slot.0).ok()).collect();
            Some(Computed { slot: wanted.slot, expression, inputs, for_anyone: wanted.for_anyone })
        }
        Err(mut error) => {
            if error.message.starts_with("`context") {
                let hint = if wanted.for_anyone {
                    "declare it in `[context]`, like `cart_value = \"number\"`"
                } else {
                    "only kind request reads the context of a request"
                };
                hint.clone_into(&mut error.hint);
            }
            wanted.written.complain(error, complaints);
            None
        }
    }
}

/// Slots of computed features such that every one comes after those that it reads; complains about cycles.
fn in_order(
    compiled: &BTreeMap<usize, Computed>,
    wanted: &[Wanted],
    features: &[FeatureInfo],
    complaints: &mut Complaints<'_>,
) -> Vec<usize> {
    let mut visit = Visit { compiled, order: Vec::new(), path: Vec::new(), cycles: Vec::new() };
    for slot in compiled.keys() {
        visit.slot(*slot);
    }
    let Visit { order, cycles, .. } = visit;
    for cycle in cycles {
        let place = wanted.iter().find(|wanted| Some(&wanted.slot) == cycle.first());
        let place = place.map_or(0, |wanted| wanted.written.place);
        let names = cycle.iter().chain(cycle.first());
        let names = names.filter_map(|slot| features.get(*slot)).map(|feature| format!("`{}`", feature.name));
        let path = names.collect::<Vec<_>>().join(" needs ");
        complaints.add(place, format!("{path}, in a circle"), "features that do not need each other");
    }
    order
}

/// A walk from features to their inputs; as deep as the longest chain of them.
struct Visit<'a> {
    compiled: &'a BTreeMap<usize, Computed>,
    order: Vec<usize>,
    path: Vec<usize>,
    cycles: Vec<Vec<usize>>,
}

impl Visit<'_> {
    fn slot(&mut self, slot: usize) {
        let Some(computed) = self.compiled.get(&slot) else { return };
        if self.order.contains(&slot) {
            return;
        }
        if let Some(start) = self.path.iter().position(|earlier| *earlier == slot) {
            let mut cycle: Vec<usize> = self.path.iter().skip(start).copied().collect();
            // Told once, from whichever feature it was found.
            let least = cycle.iter().enumerate().min_by_key(|(_, slot)| **slot).map_or(0, |(at, _)| at);
            cycle.rotate_left(least);
            if !self.cycles.contains(&cycle) {
                self.cycles.push(cycle);
            }
            return;
        }
        self.path.push(slot);
        for input in &computed.inputs {
            self.slot(*input);
        }
        self.path.pop();
        self.order.push(slot);
    }
}

/// What is known of a computed feature once all is known of its inputs: its events and its definition.
fn complete(
    computed: &Computed,
    context: &[(Arc<str>, ValueType)],
    features: &mut [FeatureInfo],
    outputs: &[Output],
) {
    let inputs = || computed.inputs.iter().filter_map(|input| features.get(*input));
    // One that changes with every event makes the whole change with every event.
    let of_inputs: Option<Vec<&Vec<Arc<str>>>> = inputs().map(|input| input.events.as_ref()).collect();
    let events = of_inputs.map(|events| {
        let mut events: Vec<Arc<str>> = events.into_iter().flatten().cloned().collect();
        events.sort_unstable();
        events.dedup();
        events
    });
    let Some(output) = outputs.get(computed.slot) else { return };
    let read = computed
        .expression
        .slots()
        .iter()
        .filter_map(|slot| context.get(usize::try_from(slot.0.checked_sub(CONTEXT_SLOTS)?).ok()?));
    let definition = definition::of_computed(
        &computed.expression,
        computed.for_anyone,
        inputs().map(|input| (&*input.name, input.definition)),
        read,
        output,
    );
    if let Some(feature) = features.get_mut(computed.slot) {
        feature.events = events;
        feature.definition = definition;
    }
}

/// All features and the declared context.
struct ReadNames<'a> {
    features: BTreeMap<&'a str, (usize, ValueType)>,
    context: &'a [(Arc<str>, ValueType)],
}

impl<'a> ReadNames<'a> {
    fn new(features: &'a [FeatureInfo], context: &'a [(Arc<str>, ValueType)]) -> Self {
        let slots = features.iter().enumerate();
        let features = slots.map(|(slot, feature)| (&*feature.name, (slot, feature.value_type))).collect();
        Self { features, context }
    }
}

/// What one expression may read of them.
struct ScopedNames<'a> {
    names: &'a ReadNames<'a>,
    for_anyone: bool,
}

impl Names for ScopedNames<'_> {
    fn lookup(&self, path: &str) -> Option<(Slot, ValueType)> {
        if let Some(name) = path.strip_prefix(FEATURES) {
            let (slot, value_type) = self.names.features.get(name)?;
            return Some((Slot(u32::try_from(*slot).ok()?), *value_type));
        }
        if !self.for_anyone {
            return None;
        }
        if path == "now" {
            return Some((NOW_SLOT, ValueType::Timestamp));
        }
        let name = path.strip_prefix(CONTEXT)?;
        let place = self.names.context.binary_search_by(|(known, _)| (**known).cmp(name)).ok()?;
        let (_, value_type) = self.names.context.get(place)?;
        Some((Slot(CONTEXT_SLOTS.checked_add(u32::try_from(place).ok()?)?), *value_type))
    }

    fn known(&self) -> Vec<String> {
        let features = self.names.features.keys().map(|name| format!("{FEATURES}{name}"));
        let context = self.names.context.iter().map(|(name, _)| format!("{CONTEXT}{name}"));
        features.chain(context.filter(|_| self.for_anyone)).collect()
    }
}
