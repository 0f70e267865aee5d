//! What an opened directory goes on with: the configured definitions, or those that were switched to by a call.
//!
//! The configured file wins once it has changed since it was last taken up; states that it needs and that are not
//! there are built before anything is served. Not here: building while serving (`background`).

use std::sync::Arc;

use augur_domain::ContentHash;

use super::build::Build;
use super::{Definitions, Entry, GenerationStatus, Generations, Live, Record};
use crate::config::Progress;
use crate::feature_store::FeatureStore;
use crate::store::{Generation, Store};
use crate::{Config, Error, FeatureSchema};
use crate::{retention, state};

/// State records of directories that know no generations.
const FIRST_STATE_FORMAT: u8 = 2;
/// How many retired generations are remembered.
const RETIRED_KEPT: usize = 16;

/// A store that has decided what it will serve and has changed nothing yet.
pub struct Opening {
    store: Arc<dyn Store>,
    config: Config,
    record: Record,
    serving: Arc<FeatureSchema>,
    /// The hash of the configured definitions.
    configured: ContentHash,
    step: Step,
}

/// What is to be done before serving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Nothing: its states are current.
    Serve(Generation),
    /// There is no user yet.
    Begin,
    /// States are missing.
    Build,
}

impl std::fmt::Debug for Opening {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Opening").field("step", &self.step).finish_non_exhaustive()
    }
}

impl Opening {
    /// Looks at what `store` holds. `configured` are the definitions of the configured file.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`], or what the engine met.
    pub fn new(
        store: Arc<dyn Store>,
        config: &Config,
        configured: Arc<FeatureSchema>,
    ) -> Result<Self, Error> {
        config.check()?;
        let record = stored_record(&*store)?;
        let wanted = configured.feature_set().hash();
        let (serving, step) = match switched_to(&record, wanted) {
            Some((generation, schema)) => (schema, Step::Serve(generation)),
            None => {
                let has_events = store.counters()?.iter().any(|(_, counters)| counters.events > 0);
                let missing = if has_events { Step::Build } else { Step::Begin };
                let step = record.current(wanted).map_or(missing, Step::Serve);
                (configured, step)
            }
        };
        Ok(Self { store, config: config.clone(), record, serving, configured: wanted, step })
    }

    /// The definitions that will serve: the configured ones, or those that a call switched to after that file was
    /// last changed.
    pub const fn schema(&self) -> &Arc<FeatureSchema> {
        &self.serving
    }

    /// What was noted with the switch to the definitions that will serve; empty when there was none.
    pub fn note(&self) -> &str {
        match self.step {
            Step::Serve(generation) => self.record.entry(generation).map_or("", |entry| &entry.note),
            Step::Begin | Step::Build => "",
        }
    }

    /// Builds what is missing, telling how it proceeds, and starts the writers.
    ///
    /// # Errors
    /// What the engine met. A build that was cut off goes on where it was.
    pub fn finish(mut self, mut progress: impl FnMut(Progress)) -> Result<FeatureStore, Error> {
        self.record.configured = Some(self.configured);
        let serving = match self.step {
            Step::Serve(generation) => self.serve(generation),
            Step::Begin => self.begin(),
            Step::Build => self.build(&mut progress)?,
        };
        let live = self.live(serving);
        self.forget_the_retired()?;
        self.store.put_generations(&self.record.encode())?;
        let generations = Generations::new(Arc::clone(&self.store), self.record, live);
        FeatureStore::start(self.store, &self.config, generations)
    }

    fn serve(&mut self, generation: Generation) -> Generation {
        let changes = self.record.entry(generation).is_some_and(|it| it.status != GenerationStatus::Serving);
        for entry in &mut self.record.entries {
            match entry.status {
                _ if entry.generation == generation => entry.status = GenerationStatus::Serving,
                GenerationStatus::Serving => entry.status = GenerationStatus::Previous,
                GenerationStatus::Previous if changes => entry.retire(),
                _ => {}
            }
        }
        generation
    }

    fn begin(&mut self) -> Generation {
        for entry in &mut self.record.entries {
            entry.retire();
        }
        let generation = self.record.add(&self.serving);
        self.serve(generation)
    }

    fn build(&mut self, progress: &mut dyn FnMut(Progress)) -> Result<Generation, Error> {
        let wanted = self.serving.feature_set().hash();
        let (from, schema) = match self.record.serving() {
            Some(entry) => (entry.generation, entry.schema()),
            None => (Generation::FIRST, None),
        };
        let generation = match self.record.building(wanted) {
            Some(generation) => generation,
            None => self.record.add(&self.serving),
        };
        let to = Definitions { generation, schema: Arc::clone(&self.serving) };
        let from = (from, schema.map(|schema| Definitions { generation: from, schema }));
        let counters = self.store.counters()?;
        let events_total = counters.iter().map(|(_, counters)| counters.events).sum();
        let build = Build::new(&*self.store, from, &to, self.config.shards);
        self.record.limit_history(
            generation,
            &build.plan,
            retention::Progress::stored_history(&*self.store)?,
        );
        self.store.put_generations(&self.record.encode())?;
        tracing::info!(
            to = wanted.short(),
            carried_over = build.plan.carried(),
            built = build.plan.built(),
            events_total,
            "definitions changed: building all states"
        );
        build.run(&mut self.record, events_total, progress)?;
        tracing::info!("all states are built");
        for entry in &mut self.record.entries {
            match entry.status {
                _ if entry.generation == generation => entry.status = GenerationStatus::Serving,
                // What they would be rolled back to is not what the file said last.
                GenerationStatus::Serving | GenerationStatus::Previous => entry.retire(),
                _ => {}
            }
        }
        Ok(generation)
    }

    /// The definitions of every live generation. One whose text means something else to this version of the program
    /// is retired.
    fn live(&mut self, serving: Generation) -> Live {
        let mut others = Vec::new();
        for entry in &mut self.record.entries {
            if entry.generation == serving || !entry.status.is_live() {
                continue;
            }
            match entry.schema() {
                Some(schema) => others.push(Arc::new(Definitions { generation: entry.generation, schema })),
                None => {
                    let (generation, feature_set) = (entry.generation.number(), entry.feature_set.short());
                    tracing::warn!(
                        generation,
                        feature_set,
                        "definitions that were kept cannot be read any more"
                    );
                    entry.retire();
                }
            }
        }
        let schema = Arc::clone(&self.serving);
        Live { serving: Arc::new(Definitions { generation: serving, schema }), others }
    }

    /// Removes the states of generations that will never be used again, after their record says so.
    fn forget_the_retired(&mut self) -> Result<(), Error> {
        if self.record.with_status(GenerationStatus::Retiring).is_some() {
            self.store.put_generations(&self.record.encode())?;
        }
        for entry in &mut self.record.entries {
            if entry.status == GenerationStatus::Retiring {
                self.store.drop_states(entry.generation)?;
                entry.retired();
            }
        }
        self.record.forget_surplus();
        Ok(())
    }
}

/// What the directory says, or what one says that knows no generations.
fn stored_record(store: &dyn Store) -> Result<Record, Error> {
    if let Some(record) = store.generations()? {
        return Record::decode(&record).map_err(|source| Error::corrupted("record of generations", source));
    }
    let mut record = Record::empty();
    if let Some(feature_set) = store.first_feature_set()? {
        record.push(feature_set, FIRST_STATE_FORMAT, String::new());
        if let Some(entry) = record.entry_mut(Generation::FIRST) {
            entry.status = GenerationStatus::Serving;
        }
    } else if store.users(Generation::FIRST, None)?.next().is_some() {
        // A rebuild by such a version was cut off: nobody knows what the states follow.
        record.push(ContentHash::from_bytes([0; 32]), 0, String::new());
    }
    Ok(record)
}

/// The definitions that a call switched to, unless the configured file was changed since.
fn switched_to(record: &Record, configured: ContentHash) -> Option<(Generation, Arc<FeatureSchema>)> {
    let serving = record.serving().filter(|_| record.configured == Some(configured))?;
    if serving.feature_set == configured {
        return None;
    }
    Some((serving.generation, serving.schema()?))
}

impl Record {
    /// The generation whose states are current and follow these definitions.
    fn current(&self, feature_set: ContentHash) -> Option<Generation> {
        use GenerationStatus::{Previous, Ready, Serving};
        let mut usable = self.entries.iter().filter(|entry| {
            entry.feature_set == feature_set
                && entry.state_format == state::FORMAT
                && matches!(entry.status, Serving | Ready | Previous)
        });
        usable.next().map(|entry| entry.generation)
    }

    fn building(&self, feature_set: ContentHash) -> Option<Generation> {
        let mut building = self.entries.iter().filter(|entry| {
            entry.feature_set == feature_set
                && entry.state_format == state::FORMAT
                && entry.status == GenerationStatus::Building
        });
        building.next().map(|entry| entry.generation)
    }

    /// Adds a generation for `schema`, to be built.
    pub(super) fn add(&mut self, schema: &FeatureSchema) -> Generation {
        self.push(schema.feature_set().hash(), state::FORMAT, schema.source().to_owned())
    }

    fn push(&mut self, feature_set: ContentHash, state_format: u8, text: String) -> Generation {
        let generation = self.next;
        self.next = Generation::new(generation.number().saturating_add(1)).unwrap_or(generation);
        self.entries.push(Entry {
            generation,
            status: GenerationStatus::Building,
            feature_set,
            state_format,
            text,
            note: String::new(),
            cursor: None,
            users_done: 0,
            events_done: 0,
            history_from: None,
            set_aside: 0,
            set_aside_users: Vec::new(),
        });
        generation
    }

    /// Forgets the oldest of the retired.
    pub(super) fn forget_surplus(&mut self) {
        let is_retired = |entry: &Entry| entry.status == GenerationStatus::Retired;
        let retired = self.entries.iter().filter(|entry| is_retired(entry)).count();
        let mut surplus = retired.saturating_sub(RETIRED_KEPT);
        self.entries.retain(|entry| {
            let goes = surplus > 0 && is_retired(entry);
            surplus -= usize::from(goes);
            !goes
        });
    }
}

impl Entry {
    /// The definitions, if their text still means what its states follow.
    pub(super) fn schema(&self) -> Option<Arc<FeatureSchema>> {
        if self.state_format != state::FORMAT {
            return None;
        }
        let schema = FeatureSchema::parse("features.toml", &self.text).ok()?;
        (schema.feature_set().hash() == self.feature_set).then(|| Arc::new(schema))
    }
}
