//! The facade that a server holds: events in, features out, exposures, quarantine, training rows, verification.
//!
//! Synchronous on purpose: a caller on an async runtime decides where it may block. Not here: how any of it works.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use augur_domain::decision::Exposure;
use augur_domain::event::EventOutcome;
use augur_domain::{FeatureVector, Timestamp, UserKey};
use parking_lot::Mutex;

use crate::exposure::{self, Stripes};
use crate::generation::{Builder, Definitions, Generations, Opening, stored_state};
use crate::identity::Identity;
use crate::ledger::Ledger;
use crate::state::Accuracy;
use crate::store::{Cached, MemoryStore, QuarantineRecord, Store};
use crate::writer::Writers;
use crate::{
    Config, Context, Error, ExposureGuard, FeatureSchema, Incoming, Label, NoContext, Progress,
    QuarantinedEvent, Stats, StoredEvent, TrainingRows, UserState, Verdict, quarantine, rebuild, verify,
};

pub use erasure::{ErasureReceipt, OptOuts};
pub use giving::{BudgetGuard, Giving};
pub use retention::Swept;

/// Events in, features out; synchronous, with one writer thread per shard of users.
///
/// Dropping it works off the queues; [`Self::close`] does so too and tells of failures.
pub struct FeatureStore {
    // Declared first, dropped first: the builder hands its work to writers, and they end before the engine they write to.
    builder: Builder,
    writers: Arc<Writers>,
    pub(crate) store: Arc<dyn Store>,
    generations: Arc<Generations>,
    /// Held by calls that change the generations: one at a time.
    changing: Mutex<()>,
    identity: Arc<Identity>,
    quarantine_entries: u64,
    sweeps: retention::Sweeps,
    ledger: Mutex<Ledger>,
}

impl std::fmt::Debug for FeatureStore {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("FeatureStore").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl FeatureStore {
    /// Opens or creates the durable store in `config.dir`; rebuilds all states from the event log when the
    /// definitions changed, before it returns.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`], [`Error::InUse`], [`Error::NewerFormat`], [`Error::Damaged`], or what reading or
    /// writing met.
    #[cfg(feature = "rocksdb")]
    pub fn open(config: &Config, schema: Arc<FeatureSchema>) -> Result<Self, Error> {
        Self::open_with_progress(config, schema, |_| {})
    }

    /// [`Self::open`], told after every thousand users how a rebuild proceeds.
    ///
    /// # Errors
    /// As [`Self::open`].
    #[cfg(feature = "rocksdb")]
    pub fn open_with_progress(
        config: &Config,
        schema: Arc<FeatureSchema>,
        progress: impl FnMut(Progress),
    ) -> Result<Self, Error> {
        Self::begin(config, schema)?.finish(progress)
    }

    /// [`Self::open`] in two steps, so that the caller can look at what will serve before anything is built.
    ///
    /// # Errors
    /// As [`Self::open`].
    #[cfg(feature = "rocksdb")]
    pub fn begin(config: &Config, schema: Arc<FeatureSchema>) -> Result<Opening, Error> {
        config.check()?;
        Opening::new(Arc::new(crate::store::RocksStore::open(config)?), config, schema)
    }

    /// A store that forgets everything when dropped; `config.dir` is not touched.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`].
    pub fn in_memory(config: &Config, schema: Arc<FeatureSchema>) -> Result<Self, Error> {
        Self::with_store(Arc::new(MemoryStore::new()), config, schema, |_| {})
    }

    /// On any engine.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`], or what the engine met.
    pub fn with_store(
        store: Arc<dyn Store>,
        config: &Config,
        schema: Arc<FeatureSchema>,
        progress: impl FnMut(Progress),
    ) -> Result<Self, Error> {
        Opening::new(store, config, schema)?.finish(progress)
    }

    pub(crate) fn start(
        store: Arc<dyn Store>,
        config: &Config,
        generations: Generations,
    ) -> Result<Self, Error> {
        let generations = Arc::new(generations);
        let identity = Arc::new(Identity::open(&store, &config.identity)?);
        // Before any writer goes by the policy.
        let retention = Arc::new(config.retention.clone());
        let progress = crate::retention::Progress::open(&*store, &retention)?;
        let sweeps = retention::Sweeps::new(Arc::clone(&retention), progress);
        let writers = Arc::new(Writers::start(&store, &generations, &identity, config)?);
        let builder = Builder::default();
        builder.start(&store, &generations, &writers)?;
        let quarantine_entries = config.quarantine_entries;
        let changing = Mutex::new(());
        let ledger = Mutex::new(Ledger::load(store.ledger()?)?);
        Ok(Self {
            builder,
            writers,
            store,
            generations,
            changing,
            identity,
            quarantine_entries,
            sweeps,
            ledger,
        })
    }

    /// The definitions in force, with the generation that holds their states.
    pub fn definitions(&self) -> Arc<Definitions> {
        self.generations.serving()
    }

    /// The definitions in force.
    pub fn schema(&self) -> Arc<FeatureSchema> {
        Arc::clone(self.definitions().schema())
    }

    /// Queues events; `done` runs once, on a writer thread, after the commits of every shard touched, with one
    /// outcome per event in order. It must not block. Given an error, some of the events may have been stored;
    /// sent again, those are duplicates.
    ///
    /// An event of a linked id goes into the log of its person. One that claims a link is stored behind that link, or
    /// quarantined when the link is refused.
    ///
    /// # Errors
    /// [`Error::QueueFull`], [`Error::TooManyEvents`], [`Error::Closed`], or what looking up links met; then nothing was taken and `done` never
    /// runs.
    pub fn ingest(
        &self,
        events: Vec<impl Into<Incoming>>,
        done: impl FnOnce(Result<Vec<EventOutcome>, Error>) + Send + 'static,
    ) -> Result<(), Error> {
        self.writers.ingest(events.into_iter().map(Into::into).collect(), done)
    }

    /// The user's features at `now`: one point lookup. All `NOT_FOUND` for an unknown user.
    ///
    /// # Errors
    /// [`Error::Storage`], or [`Error::Corrupted`] until the user's next event rebuilds what is damaged.
    pub fn features(&self, user: UserKey, now: Timestamp) -> Result<FeatureVector, Error> {
        self.features_by(&self.definitions(), user, now, &NoContext)
    }

    /// [`Self::features`] by definitions that served when the caller took them, see [`Self::definitions`]; they stay
    /// readable while they are held. With what a request tells about itself for the features that are computed from it.
    ///
    /// # Errors
    /// As [`Self::features`].
    pub fn features_by(
        &self,
        definitions: &Definitions,
        user: UserKey,
        now: Timestamp,
        context: &dyn Context,
    ) -> Result<FeatureVector, Error> {
        let record = self.record_of(definitions, user)?;
        definitions.read(record.as_deref(), user, now, context)
    }

    /// [`Self::features_by`], and per slot how exact the value is.
    ///
    /// # Errors
    /// As [`Self::features`].
    pub fn features_in_full(
        &self,
        definitions: &Definitions,
        user: UserKey,
        now: Timestamp,
        context: &dyn Context,
    ) -> Result<(FeatureVector, Vec<Accuracy>), Error> {
        let record = self.record_of(definitions, user)?;
        definitions.read_in_full(record.as_deref(), user, now, context)
    }

    fn record_of(&self, definitions: &Definitions, user: UserKey) -> Result<Option<Vec<u8>>, Error> {
        self.identity.read(user, |person| self.store.state(definitions.generation(), person))
    }

    /// [`Self::features_by`] if memory can tell; `None` when only a read that may block can.
    ///
    /// # Errors
    /// As [`Self::features`].
    pub fn features_if_cached(
        &self,
        definitions: &Definitions,
        user: UserKey,
        now: Timestamp,
        context: &dyn Context,
    ) -> Result<Option<FeatureVector>, Error> {
        let Cached::Known(record) = self.record_if_cached(definitions, user)? else { return Ok(None) };
        definitions.read(record.as_deref(), user, now, context).map(Some)
    }

    /// [`Self::features_in_full`] if memory can tell; `None` when only a read that may block can.
    ///
    /// # Errors
    /// As [`Self::features`].
    pub fn features_in_full_if_cached(
        &self,
        definitions: &Definitions,
        user: UserKey,
        now: Timestamp,
        context: &dyn Context,
    ) -> Result<Option<(FeatureVector, Vec<Accuracy>)>, Error> {
        let Cached::Known(record) = self.record_if_cached(definitions, user)? else { return Ok(None) };
        definitions.read_in_full(record.as_deref(), user, now, context).map(Some)
    }

    fn record_if_cached(&self, definitions: &Definitions, user: UserKey) -> Result<Cached, Error> {
        self.identity
            .read_if_cached(user, |person| self.store.state_if_cached(definitions.generation(), person))
    }

    /// The user's state as of the last commit.
    ///
    /// # Errors
    /// [`Error::Storage`] or [`Error::Corrupted`].
    pub fn state(&self, user: UserKey) -> Result<Option<UserState>, Error> {
        self.identity.read(user, |person| stored_state(&*self.store, &self.definitions(), person))
    }

    /// What the user was given at or after `since`, oldest first; see [`Self::record_exposure`] for how far back.
    ///
    /// # Errors
    /// [`Error::Storage`] or [`Error::Corrupted`].
    pub fn exposures(&self, user: UserKey, since: Timestamp) -> Result<Vec<Exposure>, Error> {
        let mut exposures = self.all_exposures(user)?;
        exposures.retain(|exposure| exposure.at >= since);
        Ok(exposures)
    }

    /// [`Self::exposures`] if memory can tell; `None` when only a read that may block can.
    ///
    /// # Errors
    /// As [`Self::exposures`].
    pub fn exposures_if_cached(
        &self,
        user: UserKey,
        since: Timestamp,
    ) -> Result<Option<Vec<Exposure>>, Error> {
        let cached = self.identity.read_if_cached(user, |person| self.store.exposures_if_cached(person))?;
        let Cached::Known(record) = cached else { return Ok(None) };
        let mut exposures = decoded_exposures(record, user)?;
        exposures.retain(|exposure| exposure.at >= since);
        Ok(Some(exposures))
    }

    /// Remembers an exposure. Survives a killed process; a power cut may take the last moments.
    ///
    /// Forgets only what no cap of any policy can count: exposures more than 400 days before this one, those whose hold
    /// ended before it, and those with 1 000 newer ones of the same action and 1 000 newer ones in the same channel and
    /// the same category. So at most 1 000 are kept per action, per channel and per category that the user met in those
    /// days, and as many that are held.
    ///
    /// # Errors
    /// [`Error::Storage`] or [`Error::Corrupted`].
    pub fn record_exposure(&self, user: UserKey, exposure: &Exposure) -> Result<(), Error> {
        // Apart from the decision's guard, which the caller may hold: recording is safe without it, too.
        let (user, _guard) = self.locked(&self.identity.exposure_writes, user)?;
        let mut exposures = decoded_exposures(self.store.exposures(user)?, user)?;
        exposure::add(&mut exposures, exposure);
        let mut record = Vec::new();
        exposure::encode(&exposures, &mut record);
        self.store.put_exposures(user, &record)
    }

    /// Makes reading exposures, deciding and recording one step for this user. Blocks while another decision for
    /// the user, or for one of the few that share the lock, holds it; a thread that holds one must not ask for
    /// another.
    pub fn exposure_guard(&self, user: UserKey) -> ExposureGuard<'_> {
        // Links that cannot be read cannot be read by the decision either, which then has no features to go by.
        let locked = self.locked(&self.identity.decisions, user).map(|(_, guard)| guard);
        locked.unwrap_or_else(|_| self.identity.decisions.lock(user))
    }

    fn all_exposures(&self, user: UserKey) -> Result<Vec<Exposure>, Error> {
        let list = self.identity.read(user, |person| {
            let record = self.store.exposures(person)?;
            record.map(|record| decoded_exposures(Some(record), person)).transpose()
        });
        Ok(list?.unwrap_or_default())
    }

    /// The person and its lock: under it, whom the id stands for does not change.
    fn locked<'a>(&self, stripes: &'a Stripes, id: UserKey) -> Result<(UserKey, ExposureGuard<'a>), Error> {
        loop {
            let person = self.identity.person(id)?;
            let guard = stripes.lock(person);
            if self.identity.person(id)? == person {
                return Ok((person, guard));
            }
        }
    }

    /// Sets events aside, as durably as events are stored; the oldest entries make room. Those of erased users are
    /// counted as suppressed and not kept. Says how many entries made room.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn quarantine(&self, entries: Vec<QuarantinedEvent>) -> Result<u64, Error> {
        let mut records = Vec::with_capacity(entries.len());
        for entry in &entries {
            if let Some(user) = entry.user
                && self.store.tombstone(user)?.is_some()
            {
                self.writers.tally().suppressed.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            let mut record = Vec::new();
            quarantine::encode(entry, &mut record);
            records.push(record);
        }
        if records.is_empty() {
            return Ok(0);
        }
        let evicted = self.store.append_quarantine(&records, self.quarantine_entries)?;
        if evicted > 0 {
            let limit = self.quarantine_entries;
            tracing::warn!(
                evicted,
                limit,
                "the quarantine is full: its oldest events made room and are gone"
            );
        }
        Ok(evicted)
    }

    /// The newest quarantined events, newest first.
    ///
    /// # Errors
    /// [`Error::Storage`] or [`Error::Corrupted`].
    pub fn quarantined(&self, limit: usize) -> Result<Vec<QuarantinedEvent>, Error> {
        let entries = self.quarantined_before(None, limit)?;
        Ok(entries.into_iter().map(|(_, event)| event).collect())
    }

    /// At most `limit` quarantined events with their numbers, newest first; with `before`, only those with lower
    /// numbers, so that the last number of one page is the `before` of the next.
    ///
    /// # Errors
    /// [`Error::Storage`] or [`Error::Corrupted`].
    pub fn quarantined_before(
        &self,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<(u64, QuarantinedEvent)>, Error> {
        let decode = |entry: QuarantineRecord| {
            let event = quarantine::decode(&entry.record);
            let event = event
                .map_err(|source| Error::corrupted(format!("quarantined event {}", entry.number), source))?;
            Ok((entry.number, event))
        };
        self.store.quarantined(before, limit)?.into_iter().map(decode).collect()
    }

    /// Removes events from the quarantine by their numbers; says how many were there.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn remove_quarantined(&self, numbers: &[u64]) -> Result<u64, Error> {
        self.store.remove_quarantined(numbers)
    }

    /// Every user with at least one event, in key order.
    ///
    /// # Errors
    /// [`Error::Storage`], also from the iterator.
    pub fn users(&self) -> Result<impl Iterator<Item = Result<UserKey, Error>> + '_, Error> {
        self.store.users(self.definitions().generation(), None)
    }

    /// The user's events in the order of arrival.
    ///
    /// # Errors
    /// [`Error::Storage`] or [`Error::Corrupted`].
    pub fn events_of(&self, user: UserKey) -> Result<Vec<StoredEvent>, Error> {
        let user = self.identity.person(user)?;
        self.store.events(user)?.map(|record| rebuild::decode(record?)).collect()
    }

    /// The features of each label as of its instant: only events visible strictly before it
    /// ([`StoredEvent::visible_at`]) are seen. A linked id's are those of its person, whose key the row has. Rows come
    /// grouped by person, ascending in time; one person's events are in memory at a time.
    ///
    /// # Errors
    /// [`Error::InvalidLabel`]; from the iterator, [`Error::Storage`] or [`Error::Corrupted`].
    pub fn training_rows(&self, labels: &[Label]) -> Result<TrainingRows<'_>, Error> {
        let of_person = |label: &Label| Ok(Label { user: self.identity.person(label.user)?, ..*label });
        let labels = labels.iter().map(of_person).collect::<Result<_, Error>>()?;
        TrainingRows::new(&*self.store, self.definitions(), labels)
    }

    /// Takes labels in any number; what is beyond an eighth of `options.memory_bytes` is sorted through files in `dir`.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`].
    #[cfg(feature = "export")]
    pub fn label_sorter(
        &self,
        dir: &std::path::Path,
        options: crate::TrainingOptions,
    ) -> Result<crate::LabelSorter<'_>, Error> {
        crate::LabelSorter::new(&self.identity, dir, options)
    }

    /// As [`Self::training_rows`], of labels from a [`Self::label_sorter`].
    ///
    /// # Errors
    /// [`Error::InvalidConfig`]; from the iterator, [`Error::Storage`], [`Error::Corrupted`] or [`Error::File`].
    #[cfg(feature = "export")]
    pub fn training_rows_of(
        &self,
        labels: crate::SortedLabels,
        options: crate::TrainingOptions,
    ) -> Result<TrainingRows<'_>, Error> {
        TrainingRows::of_sorted(&*self.store, self.definitions(), Box::new(labels), options)
    }

    /// Recomputes the user's state from the event log and compares its bytes with what is served.
    ///
    /// # Errors
    /// [`Error::Storage`], or [`Error::Corrupted`] for events that cannot be read.
    pub fn verify_user(&self, user: UserKey) -> Result<Verdict, Error> {
        // The definitions first: a snapshot made later holds all that they serve.
        let definitions = self.definitions();
        let user = self.identity.person(user)?;
        verify::verify(&*self.store.snapshot()?, &definitions, user)
    }

    /// Every user with a state or an event, in key order: those that [`Self::verify_user`] has something to say about.
    ///
    /// # Errors
    /// [`Error::Storage`], also from the iterator.
    pub fn users_to_verify(&self) -> Result<impl Iterator<Item = Result<UserKey, Error>> + '_, Error> {
        verify::users(&*self.store, self.definitions().generation())
    }

    /// The first user with events at or behind `key`, from the first key again when there is none. Keys are hashes, so
    /// drawn keys draw users about evenly.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn user_from(&self, key: UserKey) -> Result<Option<UserKey>, Error> {
        verify::user_from(&*self.store, key)
    }

    /// Numbers for metrics.
    pub fn stats(&self) -> Stats {
        let (tally, usage) = (self.writers.tally(), self.store.usage());
        let links = &self.identity.tally;
        let mut stats = Stats {
            events_total: tally.events_total.load(Ordering::Relaxed),
            users_total: tally.users_total.load(Ordering::Relaxed),
            duplicates: tally.duplicates.load(Ordering::Relaxed),
            suppressed: tally.suppressed.load(Ordering::Relaxed),
            queued_events: self.writers.queued_events(),
            commits: tally.commits.load(Ordering::Relaxed),
            failed_commits: tally.failed_commits.load(Ordering::Relaxed),
            quarantined: self.store.quarantine_len(),
            write_buffer_bytes: usage.write_buffer_bytes,
            block_cache_bytes: usage.block_cache_bytes,
            state_cache_bytes: usage.state_cache_bytes,
            state_cache_hits: usage.state_cache_hits,
            state_cache_misses: usage.state_cache_misses,
            disk_bytes: usage.disk_bytes,
            links_made: links.linked.load(Ordering::Relaxed),
            links_undone: links.unlinked.load(Ordering::Relaxed),
            failed_links: links.failed.load(Ordering::Relaxed),
            moved_events: links.moved_events.load(Ordering::Relaxed),
            ..Stats::default()
        };
        self.sweeps.tell(&mut stats);
        stats
    }

    /// Makes everything committed so far durable and moves it out of memory buffers.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn flush(&self) -> Result<(), Error> {
        self.store.flush()
    }

    /// Takes no more events, works off the queues, flushes. Reads still work afterwards.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn close(&self) -> Result<(), Error> {
        self.builder.stop();
        self.writers.close();
        self.store.flush()
    }
}

fn decoded_exposures(record: Option<Vec<u8>>, user: UserKey) -> Result<Vec<Exposure>, Error> {
    let Some(record) = record else { return Ok(Vec::new()) };
    exposure::decode(&record).map_err(|source| Error::corrupted(format!("exposures of user {user}"), source))
}

mod answers;
#[cfg(test)]
mod cache_tests;
mod erasure;
mod giving;
#[cfg(test)]
mod giving_tests;
mod linking;
mod profiles;
mod retention;
#[cfg(test)]
mod tests;
mod versions;
