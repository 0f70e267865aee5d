//! Reading features: which ones were asked for, and their values.
//!
//! Not here: computing them (`augur_feature_store`). A read is one point lookup. From memory it is made in place: it
//! takes a few microseconds, less than handing it to another thread would. What is not in memory goes to a storage
//! thread, and so do batches, which would hold an async thread too long.

use std::collections::BTreeMap;
use std::sync::Arc;

use augur_domain::{FeatureSet, FeatureVector, Timestamp, UserKey};
use augur_feature_store::NoContext;

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

/// The features of many users at one instant.
#[derive(Debug)]
pub struct ManyFeatures {
    /// The instant.
    pub now: Timestamp,
    /// Per user, in the order asked, the values in slot order.
    pub vectors: Vec<Result<FeatureVector, Error>>,
    /// Where each feature's window really starts.
    pub windows: Vec<Option<Timestamp>>,
}

/// Users that one storage thread reads in a row.
const USERS_PER_READ: usize = 64;

impl App {
    /// The user's features now.
    ///
    /// # Errors
    /// [`Error::Store`]; [`Error::Overloaded`] when they are not in memory and too many reads wait for the disk.
    pub async fn features(&self, user: UserKey) -> Result<Features, Error> {
        let now = self.clock.now();
        let vector = self.vector(user, now).await?;
        Ok(Features { now, vector, windows: self.store.windows(now) })
    }

    /// The user's feature values as of `now`, without blocking the calling thread.
    pub(crate) async fn vector(&self, user: UserKey, now: Timestamp) -> Result<FeatureVector, Error> {
        if let Some(vector) =
            self.store.features_if_cached(&self.store.definitions(), user, now, &NoContext)?
        {
            return Ok(vector);
        }
        let store = Arc::clone(&self.store);
        Ok(self.storage.run(move || store.features(user, now)).await??)
    }

    /// The features of many users at one instant; each read succeeds or fails by itself.
    ///
    /// # Errors
    /// [`Error::Overloaded`] when too many reads wait for the disk; [`Error::Internal`] for a defect.
    pub async fn features_of_many(&self, users: &[UserKey]) -> Result<ManyFeatures, Error> {
        let now = self.clock.now();
        let read = |part: &[UserKey]| {
            let (store, part) = (Arc::clone(&self.store), part.to_vec());
            let vectors = move || part.into_iter().map(|user| store.features(user, now)).collect::<Vec<_>>();
            self.storage.submit(vectors)
        };
        // All are on their way before the first is waited for.
        let parts: Vec<_> = users.chunks(USERS_PER_READ).map(read).collect::<Result<_, _>>()?;
        let mut vectors = Vec::with_capacity(users.len());
        for part in parts {
            let part = part.await.map_err(|_| Error::Internal)?;
            vectors.extend(part.into_iter().map(|vector| vector.map_err(Error::from)));
        }
        Ok(ManyFeatures { now, vectors, windows: self.store.windows(now) })
    }
}
