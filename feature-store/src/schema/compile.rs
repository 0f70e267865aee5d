//! From declarations to what `apply` and `read` run on, and to the hash that names it.
//!
//! Not here: reading TOML (`document`), what one declaration stands for (`expand`), expressions over features
//! (`derive`), or the aggregates themselves (`aggregate`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use augur_domain::feature::{FeatureInfo, NamedFeatures};
use augur_domain::{ContentHash, FeatureSet, Value, ValueType};

use super::complaints::Complaints;
use super::declaration::{Aggregated, Body, Declaration, SessionMeasure, Shape};
use super::definition::{self, Canonical};
use super::derive::{self, Wanted};
use super::document::Document;
use super::expand::expand;
use super::fields::{Located, Written};
use super::properties;
use super::resolved::ResolvedTypes;
use super::sets;
use super::{AggregateSpec, FeatureSchema, Filter, Output, Source, WindowStatistic};
use crate::taxonomy::Taxonomy;

/// Most features in a set, after expansion.
const MAX_FEATURES: usize = 512;

pub(super) fn compile(
    document: Document,
    taxonomy: &Taxonomy,
    complaints: &mut Complaints<'_>,
) -> Option<(FeatureSchema, ResolvedTypes)> {
    let mut compiler = Compiler::new(taxonomy, &document.resolved);
    for declaration in &document.declarations {
        compiler.declare(declaration, complaints);
    }
    if compiler.features.len() > MAX_FEATURES {
        let place = document.declarations.last().map_or(0, |declaration| declaration.name.place);
        let message = format!("{} features after expansion", compiler.features.len());
        complaints.add(place, message, format!("at most {MAX_FEATURES}"));
    }
    // Features that are missing for another reason would only be complained about once more.
    if !complaints.is_empty() {
        return None;
    }
    let computed = derive::compile(
        &compiler.wanted,
        &document.context,
        &mut compiler.features,
        &compiler.outputs,
        complaints,
    )?;
    let found = std::mem::take(&mut compiler.found);
    let named = sets::resolve(&document.sets, &compiler.features, complaints);
    let schema = compiler.finish(computed, document.context, named);
    complaints.is_empty().then_some((schema, found))
}

struct Compiler<'t> {
    taxonomy: &'t Taxonomy,
    resolved: &'t ResolvedTypes,
    /// Types of properties that conditions read and their declarations do not say.
    found: ResolvedTypes,
    features: Vec<FeatureInfo>,
    outputs: Vec<Output>,
    aggregates: Vec<AggregateSpec>,
    /// Whether what version 1 of the hash knows tells all of a feature, by slot.
    plain: Vec<bool>,
    /// Computed features, still to be compiled.
    wanted: Vec<Wanted>,
    /// Full names with the declared name behind them.
    names: BTreeMap<String, String>,
    /// Names as declared.
    declared: BTreeSet<String>,
}

impl<'t> Compiler<'t> {
    const fn new(taxonomy: &'t Taxonomy, resolved: &'t ResolvedTypes) -> Self {
        Self {
            taxonomy,
            resolved,
            found: BTreeMap::new(),
            features: Vec::new(),
            outputs: Vec::new(),
            aggregates: Vec::new(),
            plain: Vec::new(),
            wanted: Vec::new(),
            names: BTreeMap::new(),
            declared: BTreeSet::new(),
        }
    }

    fn declare(&mut self, declaration: &Declaration, complaints: &mut Complaints<'_>) {
        // Two of one name would look to the hash like one with both their lengths, whose state is laid out otherwise.
        let Located { place, value: name } = &declaration.name;
        if !self.declared.insert(name.clone()) {
            complaints.add_with_hint(
                *place,
                format!("`{name}` is declared twice"),
                "a name that no other declaration has",
                format!("rename one of them, or list the lengths of both in one declaration of `{name}`"),
            );
            return;
        }
        match &declaration.body {
            Body::Aggregated(aggregated) => self.declare_aggregated(declaration, aggregated, complaints),
            Body::Ratio(ratio) => {
                let (written, meaning) = derive::ratio(ratio);
                let named = [&ratio.numerator, &ratio.denominator].map(Clone::clone).into();
                self.declare_computed(declaration, ValueType::Number, meaning, complaints, |slot| Wanted {
                    slot,
                    written,
                    named,
                    for_anyone: false,
                });
            }
            Body::Expression { for_anyone, value_type, written } => {
                let written: Written = written.clone();
                let meaning = written.text.split_whitespace().collect::<Vec<_>>().join(" ");
                self.declare_computed(declaration, *value_type, meaning, complaints, |slot| Wanted {
                    slot,
                    written,
                    named: Vec::new(),
                    for_anyone: *for_anyone,
                });
            }
        }
    }

    fn declare_aggregated(
        &mut self,
        declaration: &Declaration,
        aggregated: &Aggregated,
        complaints: &mut Complaints<'_>,
    ) {
        let (kind, parts) = expand(&aggregated.shape);
        let property_type = property_type(&aggregated.shape, aggregated.property.is_some());
        properties::check(aggregated, property_type, self.taxonomy, complaints);
        let mut spec = AggregateSpec {
            events: aggregated.events.iter().map(|event| Arc::clone(&event.value)).collect(),
            property: aggregated.property.as_ref().map(|property| Arc::clone(&property.value)),
            weights: aggregated.weights.iter().map(|(name, it)| (Arc::clone(name), it.value)).collect(),
            filter: self.filter(declaration, aggregated, complaints),
            retractable: false,
            kind,
            definition: ContentHash::default(),
        };
        spec.retractable = check_retractable(declaration, aggregated, &spec, self.taxonomy, complaints);
        spec.definition = definition::of_aggregate(&spec);
        let types: Vec<ValueType> = parts.iter().map(|part| part.value_type).collect();
        check_default(declaration, &types, complaints);
        // Equal definitions make equal states: one is enough.
        let known = self.aggregates.iter().position(|known| known.definition == spec.definition);
        let index = known.unwrap_or(self.aggregates.len());
        for part in parts {
            let source = Source::Aggregate { index, measure: part.measure };
            let output = output(declaration, part.value_type, source);
            let definition = definition::of_measured(&spec, part.measure, &output);
            let name = format!("{}{}", declaration.name.value, part.suffix);
            let plain = is_plain(aggregated, &output);
            self.add(declaration, name, part.meaning, &spec.events, (output, definition, plain), complaints);
        }
        if known.is_none() {
            self.aggregates.push(spec);
        }
    }

    fn filter(
        &mut self,
        declaration: &Declaration,
        aggregated: &Aggregated,
        complaints: &mut Complaints<'_>,
    ) -> Option<Filter> {
        let written = aggregated.filter.as_ref()?;
        let name = &declaration.name.value;
        let types = properties::types(aggregated, self.taxonomy, self.resolved.get(name), complaints);
        let events: Vec<Arc<str>> = aggregated.events.iter().map(|event| Arc::clone(&event.value)).collect();
        match Filter::compile(&written.text, types, &events) {
            Ok(filter) => {
                let own = |name: &str| aggregated.property_types.iter().any(|(known, _)| &**known == name);
                let elsewhere = filter.reads().filter(|(property, _)| !own(property));
                let found: BTreeMap<_, _> = elsewhere.cloned().collect();
                if !found.is_empty() {
                    self.found.insert(name.clone(), found);
                }
                Some(filter)
            }
            Err(mut error) => {
                if error.hint.is_empty() && error.message.contains("`properties") {
                    "say its type, like `property_types = { category = \"text\" }`"
                        .clone_into(&mut error.hint);
                }
                written.complain(error, complaints);
                None
            }
        }
    }

    fn declare_computed(
        &mut self,
        declaration: &Declaration,
        value_type: ValueType,
        meaning: String,
        complaints: &mut Complaints<'_>,
        wanted: impl FnOnce(usize) -> Wanted,
    ) {
        check_default(declaration, &[value_type], complaints);
        self.wanted.push(wanted(self.features.len()));
        let output = output(declaration, value_type, Source::Computed);
        // Events and definition follow once the inputs are known.
        let made = (output, ContentHash::default(), false);
        self.add(declaration, declaration.name.value.clone(), meaning, &[], made, complaints);
    }

    fn add(
        &mut self,
        declaration: &Declaration,
        name: String,
        meaning: String,
        events: &[Arc<str>],
        (output, definition, plain): (Output, ContentHash, bool),
        complaints: &mut Complaints<'_>,
    ) {
        let declared = &declaration.name;
        if let Some(earlier) = self.names.insert(name.clone(), declared.value.clone()) {
            let message = format!("feature `{name}` is declared twice, here and by `{earlier}`");
            complaints.add(declared.place, message, "a full name that no other feature has");
            return;
        }
        let description = match declaration.description.as_str() {
            "" => meaning,
            text => format!("{text} ({meaning})"),
        };
        self.features.push(FeatureInfo {
            name: name.into(),
            value_type: output.value_type,
            description: description.into(),
            events: (!events.is_empty()).then(|| events.to_vec()),
            definition,
            unit: declaration.unit.as_str().into(),
        });
        self.outputs.push(output);
        self.plain.push(plain);
    }

    fn finish(
        self,
        computed: Vec<super::computed::Computed>,
        context: Vec<(Arc<str>, ValueType)>,
        named: Vec<NamedFeatures>,
    ) -> FeatureSchema {
        let hash = definition::of_set(&self.canonical());
        let (by_event, every_event) = routes(&self.aggregates);
        FeatureSchema {
            features: Arc::new(FeatureSet::new(hash, self.features).with_named(named)),
            aggregates: self.aggregates,
            outputs: self.outputs,
            computed,
            context,
            by_event,
            every_event,
            source: Arc::default(),
        }
    }

    fn canonical(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for ((feature, output), plain) in self.features.iter().zip(&self.outputs).zip(&self.plain) {
            let (measure, spec) = match output.source {
                Source::Aggregate { index, measure } => (Some(measure), self.aggregates.get(index)),
                Source::Computed => (None, None),
            };
            let canonical = Canonical {
                name: &feature.name,
                events: spec.map_or(&[], |spec| &spec.events),
                property: spec.and_then(|spec| spec.property.as_deref()),
                measure,
                output,
                more: (!plain).then(|| (feature.definition, spec.map(|spec| spec.definition))),
            };
            canonical.write(&mut out);
        }
        out
    }
}

fn output(declaration: &Declaration, value_type: ValueType, source: Source) -> Output {
    let default = declaration.default.as_ref().map(|default| default.value.clone());
    let default = default.filter(|default| default.value_type() == value_type);
    Output { source, value_type, max_age_ms: declaration.max_age_ms, default }
}

fn check_default(declaration: &Declaration, types: &[ValueType], complaints: &mut Complaints<'_>) {
    let Some(Located { place, value }) = &declaration.default else { return };
    let found = value.value_type();
    if types.contains(&found) {
        return;
    }
    let wanted = types.first().copied().unwrap_or(ValueType::Number);
    let example = match wanted {
        ValueType::Boolean => "false",
        ValueType::Text => "\"none\"",
        _ => "0.0",
    };
    let message = format!("default of `{}` is a {found}", declaration.name.value);
    complaints.add(*place, message, format!("a {wanted}, like `default = {example}`"));
}

/// The type that a property must have to count; `None` when there is none or any will do.
const fn property_type(shape: &Shape, has_property: bool) -> Option<ValueType> {
    match shape {
        Shape::Edge { value_type, .. } | Shape::TopK { value_type, .. } => Some(*value_type),

        Shape::Distinct { .. } => None,
        _ if has_property => Some(ValueType::Number),
        _ => None,
    }
}

/// Whether retractions take events out again: if declared, as declared; else where that is exact.
fn check_retractable(
    declaration: &Declaration,
    aggregated: &Aggregated,
    spec: &AggregateSpec,
    taxonomy: &Taxonomy,
    complaints: &mut Complaints<'_>,
) -> bool {
    const EXPECTED: &str = "windowed_count or total_count, or decayed_count, decayed_sum, windowed_sum, total_sum or \
                            engagement_score with `exact = true`; each without `exact_events`";
    let can = spec.can_retract();
    match &aggregated.retractable {
        Some(Located { place, value: true }) if !can => {
            complaints.add(*place, "events cannot be taken back out of this feature", EXPECTED);
        }
        None if !can => {
            if let Some(event) = properties::retractable_event(aggregated, taxonomy) {
                let name = &declaration.name.value;
                complaints.add_with_hint(
                    declaration.name.place,
                    format!("`{event}` can be retracted, but not taken back out of `{name}`"),
                    EXPECTED,
                    "or say `retractable = false` to go on counting what was retracted",
                );
            }
        }
        _ => {}
    }
    can && aggregated.retractable.as_ref().is_none_or(|wanted| wanted.value)
}

/// Whether a feature is one that the first version of the hash tells in full.
fn is_plain(aggregated: &Aggregated, output: &Output) -> bool {
    let Aggregated { filter, retractable, weights, .. } = aggregated;
    let shape = match &aggregated.shape {
        Shape::Decayed { exact, .. } => !exact,
        Shape::Windowed { what, exact_events, exact, .. } => {
            matches!(what, WindowStatistic::Count | WindowStatistic::Sum) && *exact_events == 0 && !exact
        }
        Shape::SinceLast | Shape::SinceFirst => true,
        Shape::Sessions { measures, .. } => measures.as_slice() == SessionMeasure::USUAL.as_slice(),
        Shape::Total { .. } | Shape::Edge { .. } | Shape::Distinct { .. } | Shape::TopK { .. } => false,
    };
    let number = matches!(output.default, None | Some(Value::Number(_)));
    shape && number && filter.is_none() && retractable.is_none() && weights.is_empty()
}

/// Which aggregates an event touches, by its name; and those that any other event touches.
fn routes(aggregates: &[AggregateSpec]) -> (BTreeMap<Arc<str>, Vec<usize>>, Vec<usize>) {
    let mut by_event: BTreeMap<Arc<str>, Vec<usize>> = BTreeMap::new();
    let mut every_event = Vec::new();
    for name in aggregates.iter().flat_map(|spec| &spec.events) {
        by_event.entry(Arc::clone(name)).or_default();
    }
    for (index, spec) in aggregates.iter().enumerate() {
        if spec.events.is_empty() {
            every_event.push(index);
        }
        for (name, indexes) in &mut by_event {
            if spec.events.is_empty() || spec.events.contains(name) {
                indexes.push(index);
            }
        }
    }
    (by_event, every_event)
}
