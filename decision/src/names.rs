//! Every value that expressions may read, numbered; and which of them each decision point offers.
//!
//! Not here: the values themselves (`row`). Numbers are the same at every decision point, so that an expression
//! compiled for one point serves every other that offers the same names.

use std::sync::Arc;

use augur_domain::{FeatureSet, ValueType};
use augur_expression::{Names, Slot};
use augur_models::scorer::Kind;

use crate::declared::Declared;
use crate::experiment::LocalExperiment;

/// The one value of the user that needs no declaration: `user.time_zone`.
pub(crate) const TIME_ZONE: &str = "time_zone";

/// Where a slot's value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Input {
    /// The feature with this slot of the feature set.
    Feature(usize, ValueType),
    /// The model with this index in the policy.
    Score(usize),
    /// The segment that the model with this index in the policy gives.
    Segment(usize),
    /// The declared request-time value.
    Context(Declared),
    /// The declared trait of the user.
    Trait(Declared),
    /// The name of the user's time zone.
    TimeZone,
    /// The arm of the experiment with this index in the policy.
    Experiment(usize),
    /// The instant of the decision.
    Now,
}

/// All inputs of a policy; an input's slot is its index.
#[derive(Debug)]
pub(crate) struct Inputs {
    list: Vec<Input>,
    /// The slot of the first request-time value; the others follow it.
    first_context: usize,
    features: Arc<FeatureSet>,
    models: Vec<Arc<str>>,
    /// Each experiment with what its arm can be.
    experiments: Vec<(Arc<str>, Vec<String>)>,
}

impl Inputs {
    pub(crate) fn new(
        features: Arc<FeatureSet>,
        models: Vec<(Arc<str>, Kind)>,
        traits: &[Declared],
        context: impl Iterator<Item = Declared>,
        experiments: Vec<(Arc<str>, Vec<String>)>,
    ) -> Self {
        let known = features.features().iter().enumerate();
        let mut list: Vec<Input> =
            known.map(|(slot, feature)| Input::Feature(slot, feature.value_type)).collect();
        list.extend(models.iter().enumerate().map(|(index, (_, kind))| match kind {
            Kind::Probability => Input::Score(index),
            Kind::Segments => Input::Segment(index),
        }));
        let models = models.into_iter().map(|(name, _)| name).collect();
        list.push(Input::Now);
        let mut declared: Vec<_> = context.collect();
        declared.sort_unstable_by(|a, b| {
            (&a.name, a.value_type as u8, &a.values).cmp(&(&b.name, b.value_type as u8, &b.values))
        });
        declared.dedup();
        let first_context = list.len();
        list.extend(declared.into_iter().map(Input::Context));
        list.push(Input::TimeZone);
        list.extend(traits.iter().cloned().map(Input::Trait));
        list.extend((0..experiments.len()).map(Input::Experiment));
        Self { list, first_context, features, models, experiments }
    }

    #[inline]
    pub(crate) fn get(&self, slot: Slot) -> Option<&Input> {
        self.list.get(slot.0 as usize)
    }

    /// The number of the slot of a request-time value among all of the policy's.
    #[inline]
    pub(crate) fn nth_context(&self, slot: Slot) -> Option<usize> {
        (slot.0 as usize).checked_sub(self.first_context)
    }

    /// The request-time values of the policy, in the order of their slots.
    fn context(&self) -> impl Iterator<Item = &Declared> {
        self.list.iter().skip(self.first_context).map_while(|input| match input {
            Input::Context(declared) => Some(declared),
            _ => None,
        })
    }

    /// For each request-time value of the policy its place among those that one decision point declares.
    pub(crate) fn context_places(&self, declared: &[Declared]) -> Vec<Option<u16>> {
        let place = |known: &Declared| {
            let place = declared.iter().position(|one| one == known)?;
            u16::try_from(place).ok()
        };
        self.context().map(place).collect()
    }

    /// The slot as the policy's author wrote it.
    pub(crate) fn path(&self, slot: Slot) -> String {
        match self.get(slot) {
            Some(Input::Feature(index, _)) => {
                let name = self.features.features().get(*index).map_or("", |feature| &*feature.name);
                format!("features.{name}")
            }
            Some(Input::Score(index)) => {
                format!("scores.{}", self.models.get(*index).map_or("", |name| &**name))
            }
            // Such a model bears the whole path as its name.
            Some(Input::Segment(index)) => self.models.get(*index).map_or("", |name| &**name).to_owned(),
            Some(Input::Context(declared)) => format!("context.{}", declared.name),
            Some(Input::Trait(declared)) => format!("user.{}", declared.name),
            Some(Input::TimeZone) => format!("user.{TIME_ZONE}"),
            Some(Input::Experiment(index)) => {
                format!("experiments.{}", self.experiments.get(*index).map_or("", |(name, _)| &**name))
            }
            Some(Input::Now) => "now".to_owned(),
            None => "an unknown input".to_owned(),
        }
    }

    fn slot_of(&self, wanted: &Input) -> Option<Slot> {
        let index = self.list.iter().position(|input| input == wanted)?;
        u32::try_from(index).ok().map(Slot)
    }
}

/// The names that one decision point offers to its expressions.
pub(crate) struct PointNames<'a> {
    pub(crate) inputs: &'a Inputs,
    pub(crate) models: &'a [usize],
    pub(crate) segments: &'a [usize],
    pub(crate) context: &'a [Declared],
    pub(crate) traits: &'a [Declared],
    pub(crate) experiments: &'a [LocalExperiment],
}

impl PointNames<'_> {
    /// Whether the point offers the input in `slot`.
    pub(crate) fn offers(&self, slot: Slot) -> bool {
        match self.inputs.get(slot) {
            Some(Input::Feature(..) | Input::Now | Input::Trait(_) | Input::TimeZone) => true,
            Some(Input::Score(index)) => self.models.contains(index),
            Some(Input::Segment(index)) => self.segments.contains(index),
            Some(Input::Context(declared)) => self.context.contains(declared),
            Some(Input::Experiment(index)) => self.takes_part_in(*index),
            None => false,
        }
    }

    fn takes_part_in(&self, experiment: usize) -> bool {
        self.experiments.iter().any(|local| local.experiment == experiment)
    }

    /// The experiment of this name, if it holds here, with what its arm can be.
    fn experiment(&self, name: &str) -> Option<(usize, &[String])> {
        let index = self.inputs.experiments.iter().position(|(known, _)| **known == *name)?;
        let (_, arms) = self.inputs.experiments.get(index)?;
        self.takes_part_in(index).then_some((index, arms.as_slice()))
    }

    fn input(&self, path: &str) -> Option<(Input, ValueType)> {
        if path == "now" {
            return Some((Input::Now, ValueType::Timestamp));
        }
        let (space, name) = path.split_once('.')?;
        match space {
            "features" => {
                let slot = self.inputs.features.slot(name)?;
                let value_type = self.inputs.features.features().get(slot)?.value_type;
                is_readable(value_type).then_some((Input::Feature(slot, value_type), value_type))
            }
            "scores" => {
                let index = self.inputs.models.iter().position(|model| **model == *name)?;
                self.models.contains(&index).then_some((Input::Score(index), ValueType::Number))
            }
            "segments" => {
                let index = self.inputs.models.iter().position(|model| **model == *path)?;
                self.segments.contains(&index).then_some((Input::Segment(index), ValueType::Text))
            }
            "experiments" => {
                let (index, _) = self.experiment(name)?;
                Some((Input::Experiment(index), ValueType::Text))
            }
            "context" => {
                let declared = declared_as(self.context, name)?;
                Some((Input::Context(declared.clone()), declared.value_type))
            }
            "user" if name == TIME_ZONE => Some((Input::TimeZone, ValueType::Text)),
            "user" => {
                let declared = declared_as(self.traits, name)?;
                Some((Input::Trait(declared.clone()), declared.value_type))
            }
            _ => None,
        }
    }
}

fn declared_as<'d>(declared: &'d [Declared], name: &str) -> Option<&'d Declared> {
    declared.iter().find(|known| *known.name == *name)
}

/// Feature vectors carry no instants.
fn is_readable(value_type: ValueType) -> bool {
    value_type != ValueType::Timestamp
}

impl Names for PointNames<'_> {
    fn lookup(&self, path: &str) -> Option<(Slot, ValueType)> {
        let (input, value_type) = self.input(path)?;
        Some((self.inputs.slot_of(&input)?, value_type))
    }

    fn known(&self) -> Vec<String> {
        let features = self.inputs.features.features().iter();
        let readable = features.filter(|feature| is_readable(feature.value_type));
        let mut names: Vec<String> = readable.map(|feature| format!("features.{}", feature.name)).collect();
        let models = self.models.iter().filter_map(|index| self.inputs.models.get(*index));
        names.extend(models.map(|name| format!("scores.{name}")));
        let segments = self.segments.iter().filter_map(|index| self.inputs.models.get(*index));
        names.extend(segments.map(ToString::to_string));
        names.extend(self.context.iter().map(|declared| format!("context.{}", declared.name)));
        names.extend(self.traits.iter().map(|declared| format!("user.{}", declared.name)));
        names.push(format!("user.{TIME_ZONE}"));
        let experiments =
            self.experiments.iter().filter_map(|local| self.inputs.experiments.get(local.experiment));
        names.extend(experiments.map(|(name, _)| format!("experiments.{name}")));
        names.push("now".to_owned());
        names
    }

    fn allowed_texts(&self, path: &str) -> Option<Vec<String>> {
        let declared = match path.split_once('.')? {
            ("context", name) => declared_as(self.context, name)?,
            ("user", name) => declared_as(self.traits, name)?,
            ("experiments", name) => return Some(self.experiment(name)?.1.to_vec()),
            _ => return None,
        };
        let values = declared.values.as_ref()?;
        Some(values.iter().map(ToString::to_string).collect())
    }
}
