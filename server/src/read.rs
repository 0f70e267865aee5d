//! Reading features: which ones were asked for, and their values.
//!
//! Not here: computing them (`augur_feature_store`). A read is one point lookup. From memory it is made in place: it
//! takes a few microseconds, less than handing it to another thread would. What is not in memory goes to a storage
//! thread, and so do batches, which would hold an async thread too long.

use std::sync::Arc;

use augur_domain::feature::FeatureDetail;
use augur_domain::{ContentHash, FeatureSet, FeatureVector, Timestamp, UserKey, Value, ValueType};
use augur_feature_store::{Accuracy, Definitions};

use crate::suggest::did_you_mean;
use crate::{App, Error};

/// Which features are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Selection {
    /// Their slots, in the order asked.
    pub(crate) slots: Vec<usize>,
    /// The version of the named set that was asked for.
    pub(crate) version: Option<ContentHash>,
}

/// What `names` or the set called `named_set` select, in its order; every feature when neither is given.
pub(crate) fn select(set: &FeatureSet, names: &[String], named_set: &str) -> Result<Selection, Error> {
    if !named_set.is_empty() {
        if !names.is_empty() {
            let problem = "beside `features`".to_owned();
            return Err(Error::field("named_set", problem, "one of the two"));
        }
        let found = set.named().iter().find(|known| *known.name == *named_set);
        let named = found.ok_or_else(|| {
            let known = set.named().iter().map(|known| &*known.name);
            unknown("named_set", "feature set", named_set, known)
        })?;
        return Ok(Selection { slots: named.slots.clone(), version: Some(named.version) });
    }
    let count = set.features().len();
    if names.is_empty() {
        return Ok(Selection { slots: (0..count).collect(), version: None });
    }
    if names.len() > count {
        let problem = format!("{} names", names.len());
        return Err(Error::field("features", problem, format!("at most the {count} there are, each once")));
    }
    let slots = names.iter().enumerate().map(|(index, name)| {
        set.slot(name).ok_or_else(|| {
            let known = set.features().iter().map(|feature| &*feature.name);
            unknown(&format!("features[{index}]"), "feature", name, known)
        })
    });
    Ok(Selection { slots: slots.collect::<Result<_, _>>()?, version: None })
}

fn unknown<'a>(field: &str, kind: &str, name: &str, known: impl Iterator<Item = &'a str>) -> Error {
    let shown: String = name.chars().take(100).collect();
    let hint = did_you_mean(&shown, known);
    let expected = if hint.is_empty() {
        "a name that DescribeFeatures lists".to_owned()
    } else {
        format!("a known name; {hint}")
    };
    Error::field(field, format!("there is no {kind} `{shown}`"), expected)
}

/// Refuses what is not declared or has another type; `whose` names what declares.
pub(crate) fn check_context(
    declared: &[(Arc<str>, ValueType)],
    whose: &str,
    context: &[(Arc<str>, Value)],
) -> Result<(), Error> {
    for (name, value) in context {
        let place = declared.binary_search_by(|(known, _)| (**known).cmp(name)).ok();
        let field = || format!("context.{}", name.chars().take(100).collect::<String>());
        let Some((_, value_type)) = place.and_then(|place| declared.get(place)) else {
            let known: Vec<&str> = declared.iter().map(|(known, _)| &**known).collect();
            let expected = match (known.is_empty(), did_you_mean(name, known.iter().copied())) {
                (true, _) => "no context here".to_owned(),
                (false, hint) if hint.is_empty() => format!("one of {}", known.join(", ")),
                (false, hint) => format!("one of {}; {hint}", known.join(", ")),
            };
            return Err(Error::field(field(), format!("{whose} not declare it"), expected));
        };
        if *value_type != value.value_type() {
            let problem = format!("a {}", value.value_type());
            return Err(Error::field(field(), problem, format!("a {value_type}")));
        }
    }
    Ok(())
}

/// Request-time values, ordered by name, each name once.
pub(crate) type RequestContext = Vec<(Arc<str>, Value)>;

/// One user's values with what is told beside them, in slot order.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// The values.
    pub vector: FeatureVector,
    /// One per value.
    pub details: Vec<FeatureDetail>,
}

impl Reading {
    /// Windows without a value have a start all the same: that of a window without events.
    fn new((vector, accuracies): (FeatureVector, Vec<Accuracy>), windows: &[Option<Timestamp>]) -> Self {
        let details = accuracies.iter().zip(windows).map(|(accuracy, window_start)| FeatureDetail {
            window_start: accuracy.window_start.or(*window_start),
            approximation_error: accuracy.approximation_error,
        });
        let details = details.collect();
        Self { vector, details }
    }
}

/// One user's features at one instant.
#[derive(Debug, Clone)]
pub struct Features {
    /// The instant.
    pub now: Timestamp,
    /// The values and what is told beside them, in slot order.
    pub reading: Reading,
}

/// The features of many users at one instant.
#[derive(Debug)]
pub struct ManyFeatures {
    /// The instant.
    pub now: Timestamp,
    /// One per user, in the order asked.
    pub readings: Vec<Result<Reading, Error>>,
}

/// Users that one storage thread reads in a row.
const USERS_PER_READ: usize = 64;

impl App {
    /// The user's features now, by definitions that serve, see [`FeatureStore::definitions`]. Of `context`, ordered by
    /// name, only what they declare is read.
    ///
    /// # Errors
    /// [`Error::Store`]; [`Error::Overloaded`] when they are not in memory and too many reads wait for the disk.
    ///
    /// [`FeatureStore::definitions`]: augur_feature_store::FeatureStore::definitions
    pub async fn features(
        &self,
        definitions: &Arc<Definitions>,
        user: UserKey,
        context: Vec<(Arc<str>, Value)>,
    ) -> Result<Features, Error> {
        let now = self.clock.now();
        let cached = self.store.features_in_full_if_cached(definitions, user, now, &context)?;
        let read = match cached {
            Some(read) => read,
            None => {
                let (store, definitions) = (Arc::clone(&self.store), Arc::clone(definitions));
                let read = move || store.features_in_full(&definitions, user, now, &context);
                self.storage.run(read).await??
            }
        };
        Ok(Features { now, reading: Reading::new(read, &definitions.schema().windows(now)) })
    }

    /// The values alone, as of `now`, by these definitions, on a storage thread.
    pub(crate) async fn vector_from_disk(
        &self,
        definitions: &Arc<Definitions>,
        user: UserKey,
        now: Timestamp,
        context: &RequestContext,
    ) -> Result<FeatureVector, Error> {
        let (store, definitions, context) =
            (Arc::clone(&self.store), Arc::clone(definitions), context.clone());
        Ok(self.storage.run(move || store.features_by(&definitions, user, now, &context)).await??)
    }

    /// The features of many users at one instant, in one context; each read succeeds or fails by itself.
    ///
    /// # Errors
    /// [`Error::Overloaded`] when too many reads wait for the disk; [`Error::Internal`] for a defect.
    pub async fn features_of_many(
        &self,
        definitions: &Arc<Definitions>,
        users: &[UserKey],
        context: Vec<(Arc<str>, Value)>,
    ) -> Result<ManyFeatures, Error> {
        let now = self.clock.now();
        let context = Arc::new(context);
        let windows: Arc<[_]> = definitions.schema().windows(now).into();
        let read = |part: &[UserKey]| {
            let (store, definitions) = (Arc::clone(&self.store), Arc::clone(definitions));
            let (context, windows, part) = (Arc::clone(&context), Arc::clone(&windows), part.to_vec());
            self.storage.submit(move || {
                let read = |user| store.features_in_full(&definitions, user, now, &*context);
                let readings = part.into_iter().map(|user| Ok(Reading::new(read(user)?, &windows)));
                readings.collect::<Vec<Result<_, Error>>>()
            })
        };
        // All are on their way before the first is waited for.
        let parts: Vec<_> = users.chunks(USERS_PER_READ).map(read).collect::<Result<_, _>>()?;
        let mut readings = Vec::with_capacity(users.len());
        for part in parts {
            let part = part.await.map_err(|_| Error::Internal)?;
            readings.extend(part);
        }
        Ok(ManyFeatures { now, readings })
    }
}
