//! Reading features: which ones were asked for, and their values.
//!
//! Not here: computing them (`augur_feature_store`). A read is one point lookup, made in place: from the store's
//! cache it takes a few microseconds, less than handing it to another thread would.

use std::collections::BTreeMap;
use std::sync::Arc;

use augur_domain::{FeatureSet, FeatureVector, Timestamp, UserKey};

use crate::suggest::did_you_mean;
use crate::{App, Error};

/// Slots by name.
#[derive(Debug)]
pub(crate) struct FeatureNames {
    slots: BTreeMap<Arc<str>, usize>,
}

impl FeatureNames {
    pub(crate) fn new(features: &FeatureSet) -> Self {
        let named = features.features().iter().enumerate();
        Self { slots: named.map(|(slot, feature)| (Arc::clone(&feature.name), slot)).collect() }
    }

    /// The slots of `names`, in their order; of every feature when none is named.
    pub(crate) fn select(&self, names: &[String]) -> Result<Vec<usize>, Error> {
        if names.is_empty() {
            return Ok((0..self.slots.len()).collect());
        }
        if names.len() > self.slots.len() {
            let problem = format!("{} names", names.len());
            return Err(Error::field(
                "features",
                problem,
                format!("at most the {} there are, each once", self.slots.len()),
            ));
        }
        let slots = names.iter().enumerate().map(|(index, name)| {
            self.slots.get(name.as_str()).copied().ok_or_else(|| {
                let shown: String = name.chars().take(100).collect();
                let hint = did_you_mean(&shown, self.slots.keys().map(|known| &**known));
                let expected = if hint.is_empty() {
                    "a name that DescribeFeatures lists".to_owned()
                } else {
                    format!("a known name; {hint}")
                };
                Error::field(format!("features[{index}]"), format!("there is no feature `{shown}`"), expected)
            })
        });
        slots.collect()
    }
}

/// One user's features at one instant.
#[derive(Debug, Clone)]
pub struct Features {
    /// The instant.
    pub now: Timestamp,
    /// The values, in slot order.
    pub vector: FeatureVector,
    /// Where each feature's window really starts.
    pub windows: Vec<Option<Timestamp>>,
}

impl App {
    /// The user's features now.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn features(&self, user: UserKey) -> Result<Features, Error> {
        let now = self.clock.now();
        self.features_at(user, now)
    }

    /// The user's features as of `now`, which should not be in the past.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn features_at(&self, user: UserKey, now: Timestamp) -> Result<Features, Error> {
        Ok(Features { now, vector: self.store.features(user, now)?, windows: self.store.windows(now) })
    }
}
