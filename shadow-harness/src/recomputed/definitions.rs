//! Which definitions a policy's features followed, which they are to be computed by, and which slots are the same feature.
//!
//! Not here: computing (`run`).

use std::collections::BTreeMap;
use std::sync::Arc;

use augur_decision::SourceFile;
use augur_domain::feature::FeatureInfo;
use augur_domain::{ContentHash, FeatureSet};
use augur_feature_store::FeatureSchema;

use crate::{DataDirectory, Error};

/// The features of one policy's records.
pub(super) struct Known {
    /// As logged, in slot order.
    pub(super) logged: Arc<FeatureSet>,
    /// By which they are computed again.
    pub(super) schema: Arc<FeatureSchema>,
    /// For each logged slot the slot of the same name there.
    pub(super) slots: Vec<Option<usize>>,
    /// For each logged slot whether its definition is another one there.
    pub(super) changed: Vec<bool>,
}

impl Known {
    fn new(logged: Arc<FeatureSet>, schema: Arc<FeatureSchema>) -> Self {
        let target = schema.feature_set();
        let slots: Vec<Option<usize>> =
            logged.features().iter().map(|info| target.slot(&info.name)).collect();
        let is_changed = |(info, slot): (&FeatureInfo, &Option<usize>)| {
            let now = slot.and_then(|slot| target.features().get(slot));
            now.is_none_or(|now| now.definition != info.definition)
        };
        let changed = logged.features().iter().zip(&slots).map(is_changed).collect();
        Self { logged, schema, slots, changed }
    }
}

/// Definitions by policy.
pub(super) struct KnownDefinitions<'a> {
    directory: &'a DataDirectory,
    /// Those that all features are computed by; `None` for each policy's own.
    other: Option<Arc<FeatureSchema>>,
    by_policy: BTreeMap<ContentHash, Result<Arc<Known>, String>>,
}

impl<'a> KnownDefinitions<'a> {
    pub(super) fn new(directory: &'a DataDirectory, other: Option<&SourceFile>) -> Result<Self, Error> {
        let parse = |file: &SourceFile| FeatureSchema::parse(&file.name, &file.text).map(Arc::new);
        let other = other.map(parse).transpose().map_err(Error::Definitions)?;
        Ok(Self { directory, other, by_policy: BTreeMap::new() })
    }

    /// Of the records that `policy` decided, or why nothing is known of them.
    pub(super) fn of(&mut self, policy: ContentHash) -> Result<Arc<Known>, String> {
        let Self { directory, other, by_policy } = self;
        let found = by_policy.entry(policy).or_insert_with(|| {
            let (logged, own) = directory.feature_schema(policy).map_err(|missing| missing.to_string())?;
            Ok(Arc::new(Known::new(logged, other.clone().unwrap_or(own))))
        });
        found.clone()
    }

    /// The features of every policy that was asked for and is known.
    pub(super) fn all(&self) -> impl Iterator<Item = (ContentHash, &Known)> {
        self.by_policy.iter().filter_map(|(policy, known)| Some((*policy, &**known.as_ref().ok()?)))
    }

    /// Names that the definitions lack which some policy's features have, and the other way round.
    pub(super) fn unmatched(&self) -> (Vec<String>, Vec<String>) {
        let (mut removed, mut added) = (Vec::new(), Vec::new());
        for (_, known) in self.all() {
            let target = known.schema.feature_set();
            let gone = known.logged.features().iter().filter(|info| target.slot(&info.name).is_none());
            removed.extend(gone.map(|info| info.name.to_string()));
            let new = target.features().iter().filter(|info| known.logged.slot(&info.name).is_none());
            added.extend(new.map(|info| info.name.to_string()));
        }
        for names in [&mut removed, &mut added] {
            names.sort_unstable();
            names.dedup();
        }
        (removed, added)
    }
}
