//! From the written holdouts and experiments to those of the snapshot and of each decision point.
//!
//! Not here: whether they fit together (`check_experiments`), or how their conditions are compiled (`compile`).

use std::sync::Arc;

use augur_domain::assignment::{Purpose, Sorter};
use augur_domain::feature::FeatureInfo;
use augur_domain::{FeatureSet, ValueType};

use crate::arbitrate::EvidenceSource;
use crate::experiment::{
    Arm, ArmChanges, ArmPayload, Experiment, Experiments, HELD_OUT, Holdout, NO_ARM, REACHED,
};
use crate::file::{ArmEntry, Complaints, ExperimentEntry, Located, Policy, suggestion};
use crate::names::{Input, Inputs};
use crate::question::Question;
use crate::snapshot::Point;
use augur_expression::Slot;

/// Adds to `complaints` what `pre` of an experiment names and cannot be taken off: only numbers can.
pub(crate) fn check_pre(policy: &Policy, features: &FeatureSet, complaints: &mut Complaints<'_>) {
    let is_number = |feature: &&FeatureInfo| feature.value_type == ValueType::Number;
    for pre in policy.experiments.iter().filter_map(|entry| entry.pre.as_ref()) {
        let slot = features.slot(&pre.value).and_then(|slot| features.features().get(slot));
        if slot.filter(is_number).is_none() {
            let numbers = features.features().iter().filter(is_number);
            let hint = suggestion(&pre.value, numbers.map(|feature| &*feature.name));
            let message = format!("there is no feature `{}` that is a number", pre.value);
            complaints.add(pre.offset, message, "the name of a declared feature that is a number", hint);
        }
    }
}

/// Everything that sorts users, in file order.
pub(crate) fn experiments(policy: &Policy, features: &FeatureSet) -> Experiments {
    let holdouts = policy.holdouts.iter().map(|entry| Holdout {
        name: entry.name.value.as_str().into(),
        sorter: Sorter::new(Purpose::Holdout, &entry.salt.value),
        below: entry.below,
        validity: entry.validity,
        arms: [HELD_OUT.into(), REACHED.into()],
    });
    let experiments = policy.experiments.iter().map(|entry| Experiment {
        name: entry.name.value.as_str().into(),
        sorter: sorter(entry, policy),
        ranges: entry.ranges.iter().map(|range| range.value).collect(),
        arms: entry.arms.iter().map(|arm| named(entry, arm)).collect(),
        validity: entry.validity,
        owner: entry.owner.as_deref().map(Into::into),
        has_condition: entry.when.is_some(),
        pre: entry.pre.as_ref().and_then(|pre| features.slot(&pre.value)),
    });
    Experiments { holdouts: holdouts.collect(), experiments: experiments.collect() }
}

fn sorter(entry: &ExperimentEntry, policy: &Policy) -> Sorter {
    let wanted = |name: &Located<String>| policy.layers.iter().find(|layer| layer.name.value == name.value);
    match entry.layer.as_ref().and_then(wanted) {
        Some(layer) => Sorter::new(Purpose::Layer, &layer.salt.value),
        None => Sorter::new(Purpose::Experiment, &entry.salt.value),
    }
}

fn named(entry: &ExperimentEntry, arm: &ArmEntry) -> Arm {
    Arm::new(&entry.name.value, &entry.salt.value, &arm.name.value, arm.weight)
}

/// Whether something that names these points, or none for all, holds at `point`.
pub(crate) fn holds_at(points: Option<&[Located<String>]>, point: &str) -> bool {
    points.is_none_or(|points| points.iter().any(|name| name.value == point))
}

/// The places of the holdouts that hold at the decision point called `point`.
pub(crate) fn holdouts_at(policy: &Policy, point: &str) -> Vec<usize> {
    let holdouts = policy.holdouts.iter().enumerate();
    let here = holdouts.filter(|(_, entry)| holds_at(entry.points.as_deref(), point));
    here.map(|(index, _)| index).collect()
}

impl Point {
    /// Puts the arms' changes in once the candidates and rules are there.
    pub(crate) fn settle_experiments(&mut self, policy: &Policy, inputs: &Inputs) {
        let mut experiments = std::mem::take(&mut self.experiments);
        for local in &mut experiments {
            let entry = policy.experiments.get(local.experiment);
            local.changes = entry.iter().flat_map(|entry| &entry.arms).map(|arm| self.changes(arm)).collect();
            let read = |slot: &Slot| inputs.get(*slot) == Some(&Input::Experiment(local.experiment));
            local.is_read = self.questions().any(|question| question.slots().iter().any(read));
        }
        self.experiments = experiments;
    }

    /// Every expression that a decision here may ask, but for conditions of experiments and rules on trial.
    pub(crate) fn questions(&self) -> impl Iterator<Item = &Arc<Question>> {
        let Self { deny, allow, boost, force, set, .. } = self;
        let rules = [deny, allow, boost, force, set].into_iter().flatten().map(|rule| &rule.when);
        let of_actions =
            self.candidates.iter().flat_map(|candidate| [&candidate.value, &candidate.eligible_when]);
        let evidence = self.candidates.iter().filter_map(|candidate| candidate.evidence.as_ref());
        let rows = self.tables.iter().filter(|table| !table.shadow).flat_map(|table| &table.rows);
        let rules = rules.chain(rows.map(|row| &row.when));
        of_actions.flatten().chain(rules).chain(evidence.flat_map(EvidenceSource::questions))
    }

    fn changes(&self, arm: &ArmEntry) -> ArmChanges {
        let place = |name: &str| self.candidates.iter().position(|candidate| *candidate.action.name == *name);
        let payloads = arm.payloads.iter().filter_map(|payload| {
            let fields = payload.fields.iter();
            let fields = fields.map(|(key, value)| (key.as_str().into(), value.as_str().into())).collect();
            Some((place(&payload.action.value)?, ArmPayload { json: payload.json.as_str().into(), fields }))
        });
        let factors =
            arm.factors.iter().filter_map(|(action, factor)| Some((place(&action.value)?, *factor)));
        ArmChanges { payloads: payloads.collect(), factors: factors.collect() }
    }
}

/// Each experiment's name with what `experiments.<name>` can be, in file order.
pub(crate) fn arm_names(policy: &Policy) -> Vec<(Arc<str>, Vec<String>)> {
    let names = policy.experiments.iter().map(|entry| {
        let mut arms: Vec<String> = entry.arms.iter().map(|arm| arm.name.value.clone()).collect();
        arms.push(NO_ARM.to_owned());
        (Arc::from(entry.name.value.as_str()), arms)
    });
    names.collect()
}
