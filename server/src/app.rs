//! Everything that answers, without a network: the store, the log, the registry and the policy, wired.
//!
//! What can be asked is in `ingest`, `decide`, `read`, `explain`, `admin` and `offline`, one file per concern, all of
//! them methods of [`App`]. Not here: wire services, listeners, telemetry set-up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use augur_decision::ModelSource;
use augur_decision_log::Log;
use augur_domain::ids::{Pseudonymiser, Subject};
use augur_domain::{FeatureSet, ModelRef, UserKey};
use augur_feature_store::store::Store;
use augur_feature_store::taxonomy::Taxonomy;
use augur_feature_store::{FeatureSchema, FeatureStore, GenerationStatus, Opening, Progress, Retention};
use augur_models::scorer::Kind;
use augur_models::{Registry, Scorer};
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};

use crate::Error;
use crate::active::{self, Active, Loaded, Registered};
use crate::breakers::Breakers;
use crate::clock::Clock;
use crate::config::Config;
use crate::decider::{Decider, Pure};
use crate::entropy::{self, Entropy};
use crate::files::Layout;
use crate::idempotency::UnderWay;
use crate::ingest::Room;
use crate::limits::Limits;
use crate::live_shadow::LiveShadow;
use crate::metrics::Metrics;
use crate::outcomes::Outcomes;
use crate::recent::Recent;
use crate::storage_threads::StorageThreads;

/// One opened data directory. Share it behind an `Arc`; all calls may run at once.
pub struct App {
    pub(crate) config: Config,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) layout: Layout,
    pub(crate) pseudonymiser: Pseudonymiser,
    pub(crate) taxonomy: Taxonomy,
    pub(crate) store: Arc<FeatureStore>,
    pub(crate) log: Log,
    pub(crate) outcomes: Outcomes,
    pub(crate) registry: Registry,
    pub(crate) active: ArcSwap<Active>,
    /// Held by calls that change the policy or an alias: one at a time.
    pub(crate) admin: Mutex<()>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) breakers: Breakers,
    pub(crate) live_shadow: LiveShadow,
    pub(crate) decider: Arc<dyn Decider>,
    pub(crate) entropy: Entropy,
    /// Where events wait to be stored or set aside.
    pub(crate) ingest_room: Room,
    /// One permit per scan of the decision log.
    pub(crate) scan_permits: Arc<Semaphore>,
    pub(crate) recent: Recent,
    /// Told when something has come of the version on trial.
    pub(crate) canary_settles: Notify,
    /// Decisions with a key that are under way.
    pub(crate) under_way: UnderWay,
    /// Where reads wait that are not in memory.
    pub(crate) storage: StorageThreads,
    /// How often callers may call.
    pub(crate) limits: Arc<Limits>,
    /// Tests of the policy that failed when it began to decide.
    pub(crate) failed_policy_tests: AtomicU64,
}

impl std::fmt::Debug for App {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("App").field("layout", &self.layout).finish_non_exhaustive()
    }
}

/// Scans of the decision log at once; each reads files from the start.
pub(crate) const MAX_SCANS: usize = 4;

impl App {
    /// Opens the data directory of `config`, creating it if need be: recovers the decision log, rebuilds features
    /// when their definitions changed, loads the policy and its models. Blocks; may take long after a change of
    /// definitions.
    ///
    /// # Errors
    /// [`Error::Diagnostics`] for wrong definitions; otherwise whatever refused, with its place and a next step.
    pub fn open(config: Config, clock: impl Clock + 'static) -> Result<Self, Error> {
        Self::open_with(config, clock, None)
    }

    /// [`Self::open`], with the feature store kept by another engine than the one in the data directory.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_on_engine(
        config: Config,
        clock: impl Clock + 'static,
        engine: Arc<dyn Store>,
    ) -> Result<Self, Error> {
        Self::open_with(config, clock, Some(engine))
    }

    fn open_with(
        config: Config,
        clock: impl Clock + 'static,
        engine: Option<Arc<dyn Store>>,
    ) -> Result<Self, Error> {
        let taxonomy = taxonomy(&config)?;
        let retention = crate::retention::resolve(&config, &taxonomy)?;
        let mut features_source = active::source_file(&config.data.features)?;
        let schema = FeatureSchema::parse_with(&features_source.name, &features_source.text, &taxonomy)
            .map_err(Error::Diagnostics)
            .map(Arc::new)?;
        // What is kept of the definitions must mean the same under any later taxonomy.
        schema.source().clone_into(&mut features_source.text);
        let policy_source = active::policy_source(&config.data.policy)?;
        let layout = Layout::new(&config.data.dir);
        let pseudonymiser = layout.pseudonymiser()?;
        let metrics = Arc::new(Metrics::new()?);
        let registry = Registry::open(layout.models())?;

        let begun = begin_store(&config, &layout, Arc::clone(&schema), &taxonomy, retention, engine);
        let opening = match begun {
            Ok(opening) => opening,
            Err(error) => {
                // A mistake in the files is told first: it can be mended while another process has the directory.
                Loaded::load(policy_source, schema.feature_set(), Registered::lenient(&registry))?;
                return Err(error);
            }
        };
        // The policy is checked before states are built: a mistake in it must not cost that.
        let features = Arc::clone(opening.schema().feature_set());
        let load = |source| Loaded::load(source, &features, Registered::lenient(&registry));
        let chosen = active::choose(&layout, policy_source, features.hash(), opening.note(), load)?;
        let store = open_store(opening)?;
        let clock: Arc<dyn Clock> = Arc::new(clock);
        let (log, recovery) = Log::open(log_config(&config, &layout, &clock))?;
        if let Some(torn) = &recovery.truncated {
            tracing::warn!(file = %torn.file.display(), bytes = torn.bytes, "cut off an unfinished decision record");
        }
        let outcomes = Outcomes::open(&layout, &config.decision_log, &clock)?;
        let storage = StorageThreads::start(
            config.data.read_threads,
            config.data.read_queue,
            metrics.cold_reads.clone(),
            metrics.cold_reads_refused.clone(),
        )?;
        let definitions = store.definitions();
        chosen.settle(&layout, &active::features_source(definitions.schema()))?;
        let failed_policy_tests =
            crate::policies::at_start(&layout, &config, &chosen.loaded, definitions.schema(), clock.now());
        let breakers = Breakers::new(&config.breakers);
        let active = chosen.loaded.begun(definitions, &metrics, &config, &breakers, None);
        let live_shadow = LiveShadow::start(&config.shadow, &layout, &breakers, &clock)?;
        tracing::info!(
            policy = %active.policy().id().short(),
            feature_set = %features.hash().short(),
            taxonomy = %taxonomy.hash().short(),
            next_decision = recovery.next_sequence,
            users = store.stats().users_total,
            "data directory opened"
        );
        Ok(Self {
            layout,
            pseudonymiser,
            taxonomy,
            store: Arc::new(store),
            log,
            outcomes,
            registry,
            active: ArcSwap::from_pointee(active),
            admin: Mutex::new(()),
            metrics,
            breakers,
            live_shadow,
            decider: Arc::new(Pure),
            entropy: Entropy::new(entropy::system_bytes()?),
            ingest_room: Room::new(config.ingest.queue_events, config.ingest.queue_bytes),
            scan_permits: Arc::new(Semaphore::new(MAX_SCANS)),
            recent: Recent::new(clock.now()),
            canary_settles: Notify::new(),
            under_way: UnderWay::default(),
            storage,
            limits: Arc::new(Limits::new(&config.limits)),
            failed_policy_tests: AtomicU64::new(failed_policy_tests),
            config,
            clock,
        })
    }

    /// Decides by `decider`, in the place of the pure function.
    #[must_use]
    pub fn deciding_by(self, decider: impl Decider) -> Self {
        Self { decider: Arc::new(decider), ..self }
    }

    /// Stops the writers, writes and syncs what is queued, closes the store last. Blocks.
    ///
    /// # Errors
    /// The first failure; everything is attempted.
    pub fn close(self) -> Result<(), Error> {
        let Self { store, log, outcomes, storage, live_shadow, .. } = self;
        drop(storage);
        let shadowed = live_shadow.close();
        let logged = log.close().map_err(Error::Log);
        let stored = store.close().map_err(Error::Store);
        let reported = outcomes.close();
        logged.and(stored).and(reported).and(shadowed)
    }

    /// The configuration it was opened with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Where its files lie.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The feature store.
    pub fn store(&self) -> &Arc<FeatureStore> {
        &self.store
    }

    /// Which events may come.
    pub const fn taxonomy(&self) -> &Taxonomy {
        &self.taxonomy
    }

    /// The decision log.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The registry.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The features being served.
    pub fn feature_set(&self) -> Arc<FeatureSet> {
        Arc::clone(self.active().definitions().schema().feature_set())
    }

    /// The policy that decides now.
    pub fn active(&self) -> Arc<Active> {
        self.active.load_full()
    }

    /// The server's metrics.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// The clock that it reckons from.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// How often callers may call.
    pub(crate) fn limits(&self) -> &Arc<Limits> {
        &self.limits
    }

    /// The storage key of a person.
    pub fn user_key(&self, subject: Subject<'_>) -> UserKey {
        self.pseudonymiser.user_key(subject)
    }

    /// Brings the gauges up to date; called now and then, not per request.
    pub fn refresh_metrics(&self) {
        use crate::metrics as names;
        let store = self.store.stats();
        let (log, outcomes) = (self.log.stats(), self.outcomes.stats());
        let versions = self.store.versions();
        let building = versions.iter().find(|version| version.status == GenerationStatus::Building);
        let building = building.and_then(|version| version.build.as_ref());
        let active = self.active();
        let missing = active.loaded().missing().count();
        for (name, value) in [
            (names::QUEUED_EVENTS, store.queued_events),
            (names::STORED_EVENTS, store.events_total),
            (names::USERS, store.users_total),
            (names::QUARANTINED_EVENTS, store.quarantined),
            (names::LIMIT_EVICTIONS, self.limits.evicted()),
            (names::FAILED_COMMITS, store.failed_commits),
            (names::STORE_DISK_BYTES, store.disk_bytes),
            (names::STATE_CACHE_BYTES, store.state_cache_bytes),
            (names::STATE_CACHE_HITS, store.state_cache_hits),
            (names::STATE_CACHE_MISSES, store.state_cache_misses),
            (names::LINKS_MADE, store.links_made),
            (names::LINKS_UNDONE, store.links_undone),
            (names::FAILED_LINKS, store.failed_links),
            (names::MOVED_EVENTS, store.moved_events),
            (names::IDEMPOTENCY_KEYS, self.store.kept_answers()),
            (names::RETENTION_EVENTS, store.retention_events_removed),
            (names::RETENTION_MARKS, store.retention_marks_removed),
            (names::RETENTION_USERS, store.retention_users_removed),
            (names::LOG_WRITTEN_SEQUENCE, log.written_sequence),
            (names::LOG_SYNCED_SEQUENCE, log.synced_sequence),
            (names::LOG_QUEUED_BYTES, log.queued_bytes as u64),
            (names::LOG_FAILED, u64::from(log.failed)),
            (names::LOG_UNSYNCED_RECORDS, log.written_sequence.saturating_sub(log.synced_sequence)),
            (names::LOG_FIRST_SEQUENCE, log.first_sequence),
            (names::LOG_FILE_BYTES, log.file_bytes),
            (names::LOG_SEGMENTS_SEALED, log.sealed_segments),
            (names::LOG_SEGMENTS_UNSEALED, log.unsealed_segments),
            (names::LOG_SEGMENTS_REMOVED, log.removed_segments),
            (names::LOG_SEALING_FAILURES, log.sealing_failures),
            (names::OUTCOME_LOG_SYNCED_SEQUENCE, outcomes.synced_sequence),
            (names::OUTCOME_LOG_FAILED, u64::from(outcomes.failed)),
            (names::OUTCOME_LOG_FIRST_SEQUENCE, outcomes.first_sequence),
            (names::OUTCOME_LOG_FILE_BYTES, outcomes.file_bytes),
            (names::OUTCOME_LOG_SEGMENTS_UNSEALED, outcomes.unsealed_segments),
            (names::OUTCOME_LOG_SEGMENTS_REMOVED, outcomes.removed_segments),
            (names::OUTCOME_LOG_SEALING_FAILURES, outcomes.sealing_failures),
            (names::POLICY_TESTS_FAILED, self.failed_policy_tests.load(Ordering::Relaxed)),
            (names::MODELS_MISSING, missing as u64),
            (names::MODELS_OF_OTHER_DEFINITIONS, active.of_other_definitions().len() as u64),
            (
                names::FEATURE_VERSIONS,
                versions.iter().filter(|version| version.status.is_live()).count() as u64,
            ),
            (
                names::FEATURE_USERS_SET_ASIDE,
                versions.iter().filter(|it| it.status.is_live()).map(|it| it.set_aside).sum(),
            ),
            (names::FEATURE_BUILD_USERS, building.map_or(0, |build| build.users_done)),
            (names::FEATURE_BUILD_FAILED, building.is_some_and(|build| build.problem.is_some()).into()),
        ] {
            self.metrics.set(name, value as f64);
        }
        self.live_shadow.tell(&self.metrics);
        self.breakers.tell(self.clock.monotonic(), &self.metrics);
        self.metrics.fold();
    }
}

fn begin_store(
    config: &Config,
    layout: &Layout,
    schema: Arc<FeatureSchema>,
    taxonomy: &Taxonomy,
    retention: Retention,
    engine: Option<Arc<dyn Store>>,
) -> Result<Opening, Error> {
    let store = augur_feature_store::Config {
        shards: config.ingest.shards,
        queue_events: config.ingest.queue_events,
        // What is let in is bounded before, as it came; the store reckons events a little larger.
        queue_bytes: config.ingest.queue_bytes.saturating_mul(2),
        batch_events: config.ingest.batch_events,
        block_cache_bytes: config.data.block_cache_bytes,
        state_cache_bytes: config.data.state_cache_bytes,
        write_buffer_bytes: config.data.write_buffer_bytes,
        quarantine_entries: config.ingest.quarantine_entries,
        retractable: taxonomy.retractable(),
        retention,
        sync: true,
        identity: augur_feature_store::IdentityConfig {
            shared_device: config.identity.shared_device,
            max_links_per_person: config.identity.max_links_per_person,
            max_merge_events: config.identity.max_merge_events,
            cached_ids: config.identity.cached_ids,
        },
        ..augur_feature_store::Config::new(layout.store())
    };
    Ok(match engine {
        Some(engine) => Opening::new(engine, &store, schema)?,
        None => FeatureStore::begin(&store, schema)?,
    })
}

fn open_store(opening: Opening) -> Result<FeatureStore, Error> {
    let told = |progress: Progress| {
        tracing::info!(
            users = progress.users,
            events = progress.events,
            events_total = progress.events_total,
            "rebuilding features from the event log"
        );
    };
    Ok(opening.finish(told)?)
}

fn log_config(config: &Config, layout: &Layout, clock: &Arc<dyn Clock>) -> augur_decision_log::Config {
    augur_decision_log::Config {
        segment_bytes: config.decision_log.segment_bytes,
        segment_age: Some(config.decision_log.segment_age),
        retention: retention_of(config.decision_log.keep),
        clock: log_clock(clock),
        queue_bytes: config.decision_log.queue_bytes,
        sync_interval: config.decision_log.sync_interval,
        durability: config.decision_log.durability,
        ..augur_decision_log::Config::new(layout.decisions())
    }
}

/// How long a log is kept.
pub(crate) fn retention_of(keep: crate::config::KeepLog) -> augur_decision_log::Retention {
    augur_decision_log::Retention { age: keep.age, bytes: keep.bytes }
}

/// The clock by which a log reckons ages.
pub(crate) fn log_clock(clock: &Arc<dyn Clock>) -> augur_decision_log::Clock {
    let clock = Arc::clone(clock);
    augur_decision_log::Clock::new(move || clock.now())
}

/// What a check of definitions found.
#[derive(Debug)]
pub struct Checked {
    /// The feature definitions.
    pub schema: FeatureSchema,
    /// Which events may come.
    pub taxonomy: Taxonomy,
    /// The policy, without models.
    pub policy: augur_decision::PolicySnapshot,
}

/// A registry in which nothing is published.
pub(crate) struct NoModels;

impl ModelSource for NoModels {
    fn scorer(
        &self,
        _name: &str,
        _alias: &str,
        _kind: Kind,
        _features: &FeatureSet,
    ) -> Result<Option<(ModelRef, Arc<Scorer>)>, String> {
        Ok(None)
    }
}

/// Checks the definitions that `config` names without opening the data directory; model aliases count as empty.
///
/// # Errors
/// [`Error::File`] when one cannot be read, [`Error::Diagnostics`] with everything wrong in them.
pub fn check_definitions(config: &Config) -> Result<Checked, Error> {
    let policy = active::policy_source(&config.data.policy)?;
    let schema = check_features(config)?;
    let set = Arc::clone(schema.feature_set());
    let policy = augur_decision::PolicySnapshot::load(&policy, set, &NoModels).map_err(Error::Diagnostics)?;
    Ok(Checked { schema, taxonomy: taxonomy(config)?, policy })
}

/// Checks the feature definitions that `config` names over its taxonomy, without opening the data directory.
///
/// # Errors
/// As [`check_definitions`].
pub fn check_features(config: &Config) -> Result<FeatureSchema, Error> {
    let features = active::source_file(&config.data.features)?;
    FeatureSchema::parse_with(&features.name, &features.text, &taxonomy(config)?).map_err(Error::Diagnostics)
}

pub(crate) fn taxonomy(config: &Config) -> Result<Taxonomy, Error> {
    let Some(path) = &config.data.events else { return Ok(Taxonomy::untyped()) };
    let source = active::source_file(path)?;
    Taxonomy::parse(&source.name, &source.text).map_err(Error::Diagnostics)
}
