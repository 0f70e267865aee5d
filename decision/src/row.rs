//! The values of one decision, as expressions see them.
//!
//! Not here: what a slot stands for (`names`).

use std::sync::Arc;

use augur_domain::decision::{DecisionInputs, Rung, ScoreOutcome};
use augur_domain::{Value, ValueType};
use augur_expression::{Operand, Row, Slot};

use crate::declared::Declared;
use crate::experiment::{NO_ARM, Sorted};
use crate::names::Input;
use crate::snapshot::{Model, Point, PolicySnapshot};

/// One decision's inputs and scores. Whatever is not finite or not of the declared type reads as missing.
#[derive(Clone, Copy)]
pub(crate) struct DecisionRow<'a> {
    pub(crate) policy: &'a PolicySnapshot,
    pub(crate) point: &'a Point,
    pub(crate) inputs: &'a DecisionInputs,
    /// Whether the feature vector may be read at all.
    pub(crate) features_usable: bool,
    /// In the order of the point's models.
    pub(crate) scores: &'a [ScoreOutcome],
    /// The step of the ladder that each score stands on.
    pub(crate) score_rungs: &'a [Rung],
    /// In the order of the point's segments.
    pub(crate) segments: &'a [SegmentOutcome<'a>],
    /// How the user is sorted.
    pub(crate) sorted: &'a Sorted<'a>,
}

/// What a model of segments says of the user.
pub(crate) struct SegmentOutcome<'a> {
    pub(crate) model: &'a Model,
    /// `None` when it could not be asked.
    pub(crate) name: Option<&'a Arc<str>>,
    /// The step of the ladder that it stands on.
    pub(crate) rung: Rung,
}

impl<'a> DecisionRow<'a> {
    #[inline]
    fn feature(&self, slot: usize, value_type: ValueType) -> Option<Operand<'_>> {
        if !self.features_usable {
            return None;
        }
        let features = &self.inputs.features;
        let number = || features.usable(slot).filter(|value| value.is_finite());
        match value_type {
            ValueType::Number => number().map(Operand::Number),
            ValueType::Boolean => number().map(|value| Operand::Boolean(value != 0.0)),
            ValueType::Duration => number().map(|value| Operand::Duration(value as i64)),
            ValueType::Text => features.usable_text(slot).map(|text| Operand::Text(text)),
            ValueType::Timestamp => None,
        }
    }

    fn score(&self, model: usize) -> Option<Operand<'_>> {
        let position = self.point.models.iter().position(|index| *index == model)?;
        let score = self.scores.get(position)?.score?;
        Some(Operand::Number(score.calibrated))
    }

    fn segment(&self, model: usize) -> Option<Operand<'_>> {
        let position = self.point.segments.iter().position(|index| *index == model)?;
        self.segments.get(position)?.name.map(|name| Operand::Text(name))
    }

    /// Whoever is in no arm has a value too, so that a rule about an arm is false of them and not without an answer.
    fn arm(&self, experiment: usize) -> Operand<'_> {
        let position = self.point.experiments.iter().position(|local| local.experiment == experiment);
        let index = position.and_then(|position| *self.sorted.arms.get(position)?);
        let experiment = self.policy.experiments.experiments.get(experiment);
        let arm = experiment.zip(index).and_then(|(experiment, index)| experiment.arms.get(index));
        Operand::Text(arm.map_or(NO_ARM, |arm| &arm.name))
    }

    fn declared(&self, declared: &Declared, carried: &'a [(Arc<str>, Value)]) -> Option<Operand<'a>> {
        let place = carried.binary_search_by(|(known, _)| (**known).cmp(&declared.name)).ok()?;
        declared.operand(&carried.get(place)?.1)
    }
}

impl Row for DecisionRow<'_> {
    #[inline]
    fn operand(&self, slot: Slot) -> Option<Operand<'_>> {
        match self.policy.inputs.get(slot)? {
            Input::Feature(index, value_type) => self.feature(*index, *value_type),
            Input::Score(model) => self.score(*model),
            Input::Segment(model) => self.segment(*model),
            Input::Context(declared) => self.declared(declared, &self.inputs.context),
            Input::Trait(declared) => self.declared(declared, &self.inputs.person.traits),
            Input::TimeZone => self.inputs.person.time_zone.as_deref().map(Operand::Text),
            Input::Experiment(index) => Some(self.arm(*index)),
            Input::Now => Some(Operand::Timestamp(self.inputs.now.unix_ms())),
        }
    }
}
