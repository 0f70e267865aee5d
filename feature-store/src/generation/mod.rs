//! Versions of the feature definitions and the states kept for each: which one serves, which are kept current beside
//! it, how a new one comes to be, and how one gives way to another.
//!
//! One generation serves. At most one is being built or is ready, and at most one that served before is kept, so an
//! event is applied at most three times. The record of them is written before anything follows from it. Not here:
//! aggregates (`aggregate`), or the calls that operators make (`feature_store`).

mod background;
mod build;
mod opening;
mod packed_states;
mod plan;
mod record;
mod states;
mod transitions;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use augur_domain::{FeatureVector, Timestamp, UserKey};
use parking_lot::{Mutex, RwLock};

use crate::state::{Accuracy, UserState, read_record, read_record_in_full};
use crate::store::{Generation, Store};
use crate::{Context, Error, FeatureSchema};

pub(crate) use background::Builder;
pub use opening::Opening;
pub(crate) use packed_states::{Ahead, PackedStates};
pub use record::GenerationStatus;
pub(crate) use record::{Entry, Record};
pub(crate) use states::{LiveStates, stored_state};
use transitions::set_aside;
pub use transitions::{BuildProgress, Version};

/// Feature definitions with the generation whose states follow them. Held by whoever reads from it: a generation is
/// not removed while somebody does.
#[derive(Debug)]
pub struct Definitions {
    generation: Generation,
    schema: Arc<FeatureSchema>,
}

impl Definitions {
    /// The number under which its states are kept.
    pub const fn generation(&self) -> Generation {
        self.generation
    }

    /// What is computed.
    pub const fn schema(&self) -> &Arc<FeatureSchema> {
        &self.schema
    }

    /// The features of the user whose state was encoded to `record`, `None` for an unknown one.
    pub(crate) fn read(
        &self,
        record: Option<&[u8]>,
        user: UserKey,
        now: Timestamp,
        context: &dyn Context,
    ) -> Result<FeatureVector, Error> {
        match record {
            Some(record) => read_record(record, now, &self.schema, context)
                .map_err(|source| Error::corrupted_state(user, source)),
            None => Ok(UserState::new(&self.schema).read(now, &self.schema, context)),
        }
    }

    /// [`Self::read`], and per slot how exact the value is.
    pub(crate) fn read_in_full(
        &self,
        record: Option<&[u8]>,
        user: UserKey,
        now: Timestamp,
        context: &dyn Context,
    ) -> Result<(FeatureVector, Vec<Accuracy>), Error> {
        match record {
            Some(record) => read_record_in_full(record, now, &self.schema, context)
                .map_err(|source| Error::corrupted_state(user, source)),
            None => {
                let vector = self.read(None, user, now, context)?;
                let accuracies = vec![Accuracy::default(); vector.values.len()];
                Ok((vector, accuracies))
            }
        }
    }
}

/// The generations that writers keep current.
#[derive(Debug)]
pub(crate) struct Live {
    serving: Arc<Definitions>,
    others: Vec<Arc<Definitions>>,
}

impl Live {
    /// The serving one first.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Definitions>> {
        std::iter::once(&self.serving).chain(&self.others)
    }
}

/// All generations of a store.
pub(crate) struct Generations {
    store: Arc<dyn Store>,
    record: Mutex<Record>,
    live: RwLock<Arc<Live>>,
    /// Times that a user's event log was rewritten instead of appended to.
    rewrites: AtomicU64,
    /// Retired while somebody might still be reading from them.
    leaving: Mutex<Vec<Arc<Definitions>>>,
    /// The build under way.
    under: Mutex<Option<transitions::Under>>,
}

impl Generations {
    fn new(store: Arc<dyn Store>, record: Record, live: Live) -> Self {
        let (record, live) = (Mutex::new(record), RwLock::new(Arc::new(live)));
        Self {
            store,
            record,
            live,
            rewrites: AtomicU64::new(0),
            leaving: Mutex::default(),
            under: Mutex::new(None),
        }
    }

    /// What writers keep current now.
    pub(crate) fn live(&self) -> Arc<Live> {
        Arc::clone(&self.live.read())
    }

    /// What is read from now.
    pub(crate) fn serving(&self) -> Arc<Definitions> {
        Arc::clone(&self.live.read().serving)
    }

    /// Whether a new generation is being built from the users' logs.
    pub(crate) fn is_building(&self) -> bool {
        self.record.lock().with_status(GenerationStatus::Building).is_some()
    }

    /// Held, on the user's writer, by whoever stores another event log for a user than the old one with more behind it.
    pub(crate) const fn rewriting(&self) -> Rewriting<'_> {
        Rewriting { rewrites: &self.rewrites }
    }
}

/// That a user's event log is being rewritten. Dropped when that is done, or may be after a failure: what a build has
/// computed from the old log is computed again.
#[derive(Debug)]
pub(crate) struct Rewriting<'a> {
    rewrites: &'a AtomicU64,
}

impl Drop for Rewriting<'_> {
    fn drop(&mut self) {
        self.rewrites.fetch_add(1, Ordering::SeqCst);
    }
}
