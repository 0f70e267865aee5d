//! Which parts of a person's profile a decision point looks at. The rest is not read, and is in no record.
//!
//! Not here: what is done with them (`stages::consent`, expressions), or reading profiles, which is the caller's.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::names::Input;
use crate::snapshot::Candidate;

/// What a decision point must be told of a person. Lists are ordered by name, each name once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PersonNeeds {
    pub(crate) purposes: Vec<Arc<str>>,
    pub(crate) channels: Vec<Arc<str>>,
    pub(crate) traits: Vec<Arc<str>>,
    pub(crate) time_zone: bool,
}

impl PersonNeeds {
    /// Notes what an expression reads.
    pub(crate) fn note(&mut self, input: &Input) {
        match input {
            Input::TimeZone => self.time_zone = true,
            Input::Trait(declared) => {
                if let Err(place) = self.traits.binary_search(&declared.name) {
                    self.traits.insert(place, Arc::clone(&declared.name));
                }
            }
            Input::Feature(..)
            | Input::Score(_)
            | Input::Segment(_)
            | Input::Context(_)
            | Input::Experiment(_)
            | Input::Now => {}
        }
    }

    /// Beside what expressions read, the purposes and channels of the actions that may be refused at all, and whether
    /// bounds go by local times.
    pub(crate) fn with<'a>(
        self,
        refusable: impl Iterator<Item = &'a Candidate> + Clone,
        time_zone: bool,
    ) -> Self {
        let sorted = |names: BTreeSet<&Arc<str>>| names.into_iter().map(Arc::clone).collect();
        let purposes = refusable.clone().flat_map(|candidate| &candidate.action.requires_consent);
        let channels = refusable.clone().map(|candidate| &candidate.action.channel);
        Self {
            purposes: sorted(purposes.collect()),
            channels: sorted(channels.filter(|channel| !channel.is_empty()).collect()),
            traits: self.traits,
            time_zone: self.time_zone || time_zone,
        }
    }

    /// Whether nothing is: then no profile need be read.
    pub fn is_nothing(&self) -> bool {
        self.purposes.is_empty() && self.channels.is_empty() && self.traits.is_empty() && !self.time_zone
    }

    /// Purposes that some action needs a consent to.
    pub fn purposes(&self) -> &[Arc<str>] {
        &self.purposes
    }

    /// Channels of the actions. Beside them, `*` suppresses all.
    pub fn channels(&self) -> &[Arc<str>] {
        &self.channels
    }

    /// Traits that expressions read.
    pub fn traits(&self) -> &[Arc<str>] {
        &self.traits
    }

    /// Whether local times matter.
    pub fn time_zone(&self) -> bool {
        self.time_zone
    }
}
