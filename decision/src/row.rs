//! The values of one decision, as expressions see them.
//!
//! Not here: what a slot stands for (`names`).

use std::sync::Arc;

use augur_domain::ValueType;
use augur_domain::decision::{DecisionInputs, Rung, ScoreOutcome};
use augur_expression::{Operand, Row, Slot};

use crate::declared::Declared;
use crate::experiment::{Holdout, NO_ARM};
use crate::names::Input;
use crate::snapshot::{Point, PolicySnapshot};

/// One decision's inputs and scores. Whatever is not finite or not of the declared type reads as missing.
#[derive(Clone, Copy)]
pub(crate) struct DecisionRow<'a> {
    pub(crate) policy: &'a PolicySnapshot,
    pub(crate) point: &'a Point,
    pub(crate) inputs: &'a DecisionInputs,
    /// Whether the feature vector may be read at all.
    pub(crate) features_usable: bool,
    /// Where the request's values for the point's declared context lie, in the order of the declaration.
    pub(crate) context: &'a [Option<u16>],
    /// In the order of the point's models.
    pub(crate) scores: &'a [ScoreOutcome],
    /// The step of the ladder that each score stands on.
    pub(crate) score_rungs: &'a [Rung],
    /// In the order of the point's segments.
    pub(crate) segments: &'a [SegmentOutcome],
    /// The first holdout that holds the user out.
    pub(crate) held_out: Option<&'a Holdout>,
    /// The user's arm, per experiment of the point; empty without experiments and for who is held out.
    pub(crate) arms: &'a [Option<usize>],
}

/// What a model of segments says of the user.
#[derive(Debug)]
pub(crate) struct SegmentOutcome {
    /// `None` when it could not be asked.
    pub(crate) name: Option<Arc<str>>,
    /// The step of the ladder that it stands on.
    pub(crate) rung: Rung,
}

/// Finds the request's values for the point's declared context; both are ordered by name.
pub(crate) fn find_context(point: &Point, inputs: &DecisionInputs, places: &mut Vec<Option<u16>>) {
    places.clear();
    let mut carried = (0_u16..).zip(&inputs.context).peekable();
    for declared in &point.declared {
        while carried.next_if(|(_, (name, _))| **name < *declared.name).is_some() {}
        let found = carried.next_if(|(_, (name, _))| **name == *declared.name);
        places.push(found.map(|(place, _)| place));
    }
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
        self.segments.get(position)?.name.as_ref().map(|name| Operand::Text(name))
    }

    /// Whoever is in no arm has a value too, so that a rule about an arm is false of them and not without an answer.
    fn arm(&self, experiment: usize) -> Operand<'_> {
        let position = self.point.experiments.iter().position(|local| local.experiment == experiment);
        let index = position.and_then(|position| *self.arms.get(position)?);
        let experiment = self.policy.experiments.experiments.get(experiment);
        let arm = experiment.zip(index).and_then(|(experiment, index)| experiment.arms.get(index));
        Operand::Text(arm.map_or(NO_ARM, |arm| &arm.name))
    }

    #[inline]
    fn context(&self, slot: Slot, declared: &Declared) -> Option<Operand<'_>> {
        let place = self.point.context_places.get(self.policy.inputs.nth_context(slot)?)?;
        let place = (*self.context.get(usize::from((*place)?))?)?;
        let (_, value) = self.inputs.context.get(usize::from(place))?;
        declared.operand(value)
    }

    fn person_trait(&self, declared: &Declared) -> Option<Operand<'_>> {
        let traits = &self.inputs.person.traits;
        let place = traits.binary_search_by(|(known, _)| (**known).cmp(&declared.name)).ok()?;
        declared.operand(&traits.get(place)?.1)
    }
}

impl Row for DecisionRow<'_> {
    #[inline]
    fn operand(&self, slot: Slot) -> Option<Operand<'_>> {
        match self.policy.inputs.get(slot)? {
            Input::Feature(index, value_type) => self.feature(*index, *value_type),
            Input::Score(model) => self.score(*model),
            Input::Segment(model) => self.segment(*model),
            Input::Context(declared) => self.context(slot, declared),
            Input::Trait(declared) => self.person_trait(declared),
            Input::TimeZone => self.inputs.person.time_zone.as_deref().map(Operand::Text),
            Input::Experiment(index) => Some(self.arm(*index)),
            Input::Now => Some(Operand::Timestamp(self.inputs.now.unix_ms())),
        }
    }
}
