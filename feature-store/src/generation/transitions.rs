//! What changes the generations of an open store: a build begins and proceeds, one gives way to another, one goes.
//!
//! Every change is stored before writers or readers follow it, so that a restart at any point goes on from there. Not
//! here: the states themselves (`background`), or waiting for writers (`feature_store`).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use augur_domain::{ContentHash, Timestamp, UserKey};

use super::plan::Plan;
use super::{Definitions, Entry, GenerationStatus, Generations, Live, Record};
use crate::store::Generation;
use crate::{Error, FeatureSchema};

/// Longest text of definitions that is kept, in bytes.
const MAX_TEXT_BYTES: usize = 1 << 20;

/// The build under way in this process.
#[derive(Debug)]
pub(super) struct Under {
    generation: Generation,
    plan: Arc<Plan>,
    started: Instant,
    /// Users done before `started`.
    users_before: u64,
    problem: Option<String>,
}

/// One version of the definitions and how far its states are.
#[derive(Debug, Clone, PartialEq)]
pub struct Version {
    /// Its number.
    pub generation: Generation,
    /// What becomes of it.
    pub status: GenerationStatus,
    /// Hash of its definitions.
    pub feature_set: ContentHash,
    /// What the caller noted when it last began or ceased to serve.
    pub note: String,
    /// When it was built, events from this instant on had all been kept: what was built of it knows of earlier events
    /// only those that were left. `None` when none was ever removed before.
    pub history_from: Option<Timestamp>,
    /// Users whose log could not be read whole when they came to be built: what was built of them lacks what cannot
    /// be read.
    pub set_aside: u64,
    /// The first of them, ascending; at most 100.
    pub set_aside_users: Vec<UserKey>,
    /// How its states come to be, while they do.
    pub build: Option<BuildProgress>,
}

/// How far a build is.
#[derive(Debug, Clone, PartialEq)]
pub struct BuildProgress {
    /// Users who have a state in it.
    pub users_done: u64,
    /// Events read for them.
    pub events_done: u64,
    /// Aggregates that keep their state; their events are not read.
    pub carried_over: usize,
    /// Aggregates computed from the event log.
    pub built: usize,
    /// Users per second since the build went on last.
    pub users_per_second: f64,
    /// Why it stands still, if it does.
    pub problem: Option<String>,
}

fn refused(problem: String, next_step: &'static str) -> Error {
    Error::Generation { problem, next_step }
}

impl Generations {
    /// Adds a generation for `schema` that writers keep current from their next commits on. Events from `history_from`
    /// on were all kept.
    ///
    /// # Errors
    /// [`Error::Generation`] when there is nothing to build or another build comes first; [`Error::Storage`].
    pub(crate) fn begin(
        &self,
        schema: &Arc<FeatureSchema>,
        history_from: Option<Timestamp>,
    ) -> Result<Generation, Error> {
        let mut record = self.record.lock();
        let wanted = schema.feature_set().hash();
        if schema.source().len() > MAX_TEXT_BYTES {
            let problem = format!("the definitions have {} bytes", schema.source().len());
            return Err(refused(problem, "shorten them to at most 1048576 bytes"));
        }
        for entry in record.entries.iter().filter(|entry| entry.status.is_live()) {
            let (generation, status) = (entry.generation, entry.status);
            match status {
                GenerationStatus::Building if entry.feature_set == wanted => return Ok(generation),
                _ if entry.feature_set == wanted => {
                    let problem =
                        format!("version {generation} has these definitions and is {}", status.as_str());
                    return Err(refused(
                        problem,
                        "there is nothing to build; switch to it if it does not serve",
                    ));
                }
                GenerationStatus::Building | GenerationStatus::Ready => {
                    let problem = format!("version {generation} is {}", status.as_str());
                    return Err(refused(problem, "switch to it or retire it first"));
                }
                _ => {}
            }
        }
        let mut after = record.clone();
        let generation = after.add(schema);
        let plan = Plan::new(Some(self.live().serving.schema()), schema);
        after.limit_history(generation, &plan, history_from);
        self.store.put_generations(&after.encode())?;
        *record = after;
        let mut live = self.live.write();
        let mut others = live.others.clone();
        others.push(Arc::new(Definitions { generation, schema: Arc::clone(schema) }));
        *live = Arc::new(Live { serving: Arc::clone(&live.serving), others });
        Ok(generation)
    }

    /// The generation to be built, if there is one, and how.
    pub(super) fn to_build(&self) -> Option<(Arc<Definitions>, Arc<Plan>)> {
        let record = self.record.lock();
        let generation = record.with_status(GenerationStatus::Building)?;
        let live = self.live();
        let to = live.all().find(|definitions| definitions.generation == generation)?;
        let plan = Arc::new(Plan::new(Some(live.serving.schema()), to.schema()));
        let users_before = record.entry(generation).map_or(0, |entry| entry.users_done);
        *self.under.lock() = Some(Under {
            generation,
            plan: Arc::clone(&plan),
            started: Instant::now(),
            users_before,
            problem: None,
        });
        Some((Arc::clone(to), plan))
    }

    /// The generation that lists the users, and the last one whom the build has come past.
    pub(super) fn build_position(&self, to: &Definitions) -> (Generation, Option<UserKey>) {
        let cursor = self.record.lock().entry(to.generation).and_then(|entry| entry.cursor);
        (self.live.read().serving.generation, cursor)
    }

    pub(super) fn advance(
        &self,
        to: &Definitions,
        last: UserKey,
        users: u64,
        events: u64,
        durably: bool,
    ) -> Result<(), Error> {
        let mut record = self.record.lock();
        if let Some(entry) = record.entry_mut(to.generation) {
            entry.advance(last, users, events);
        }
        // What is noted later than done is done again, which changes nothing.
        if durably { self.store.put_generations(&record.encode()) } else { Ok(()) }
    }

    /// Every user has a state.
    pub(super) fn built(&self, to: &Definitions) -> Result<(), Error> {
        self.change(|record| {
            if let Some(entry) = record.entry_mut(to.generation) {
                entry.status = GenerationStatus::Ready;
                entry.cursor = None;
            }
        })
    }

    /// Notes users whose log cannot be read whole, before their states are stored.
    pub(super) fn set_aside(
        &self,
        generation: Generation,
        unreadable: Vec<(UserKey, Error)>,
    ) -> Result<(), Error> {
        if unreadable.is_empty() {
            return Ok(());
        }
        self.change(|record| set_aside(record, generation, unreadable))
    }

    pub(super) fn build_failed(&self, error: &Error) {
        if let Some(under) = self.under.lock().as_mut() {
            under.problem = Some(error.to_string());
        }
    }

    /// Makes a ready or the previous generation the serving one.
    ///
    /// # Errors
    /// [`Error::Generation`] when it is not ready or a build is under way; [`Error::Storage`].
    pub(crate) fn switch(
        &self,
        to: Generation,
        note: &str,
        leaving: &str,
    ) -> Result<Arc<Definitions>, Error> {
        let target = self.live_definitions(to)?;
        {
            let record = self.record.lock();
            let status = record.entry(to).map(|entry| entry.status);
            match status {
                Some(GenerationStatus::Ready | GenerationStatus::Previous) => {}
                Some(GenerationStatus::Serving) => {
                    return Err(refused(format!("version {to} serves already"), "there is nothing to do"));
                }
                _ => {
                    return Err(refused(
                        format!("version {to} is still being built"),
                        "wait until it is ready; `augur features versions` tells how far it is",
                    ));
                }
            }
            if let Some(building) = record.with_status(GenerationStatus::Building) {
                let problem = format!("version {building} is being built from the version that serves");
                return Err(refused(problem, "wait until it is ready, or retire it"));
            }
        }
        self.change(|record| {
            for entry in &mut record.entries {
                match entry.status {
                    _ if entry.generation == to => {
                        entry.status = GenerationStatus::Serving;
                        note.clone_into(&mut entry.note);
                    }
                    GenerationStatus::Serving => {
                        entry.status = GenerationStatus::Previous;
                        leaving.clone_into(&mut entry.note);
                    }
                    // One way back is enough.
                    GenerationStatus::Previous => entry.retire(),
                    _ => {}
                }
            }
        })?;
        let record = self.record.lock();
        let mut live = self.live.write();
        let is_live = |definitions: &Arc<Definitions>| {
            record.entry(definitions.generation).is_some_and(|entry| entry.status.is_live())
        };
        let others = live.all().filter(|other| other.generation != to).cloned();
        let (others, leaving): (Vec<_>, Vec<_>) = others.partition(is_live);
        self.leaving.lock().extend(leaving);
        *live = Arc::new(Live { serving: Arc::clone(&target), others });
        Ok(target)
    }

    /// Takes a generation out of use for ever; writers leave it alone from their next commits on.
    ///
    /// # Errors
    /// [`Error::Generation`] for the serving one or an unknown one; [`Error::Storage`].
    pub(crate) fn retire(&self, generation: Generation) -> Result<(), Error> {
        self.live_definitions(generation)?;
        if self.serving().generation == generation {
            let problem = format!("version {generation} serves");
            return Err(refused(problem, "switch to another version before retiring it"));
        }
        self.change(|record| {
            if let Some(entry) = record.entry_mut(generation) {
                entry.retire();
            }
        })?;
        let mut live = self.live.write();
        let others = live.others.iter().cloned();
        let (others, leaving): (Vec<_>, Vec<_>) = others.partition(|other| other.generation != generation);
        self.leaving.lock().extend(leaving);
        *live = Arc::new(Live { serving: Arc::clone(&live.serving), others });
        Ok(())
    }

    /// Removes the states of retired generations, which no writer may be keeping any more. Those that somebody reads
    /// from stay until the next time.
    pub(crate) fn remove_retired(&self) -> Result<(), Error> {
        self.leaving.lock().retain(|definitions| Arc::strong_count(definitions) > 1);
        let is_read = |generation| self.leaving.lock().iter().any(|it| it.generation == generation);
        loop {
            let retiring = self.record.lock().retiring(|generation| !is_read(generation));
            let Some(generation) = retiring else { return Ok(()) };
            self.store.drop_states(generation)?;
            self.change(|record| {
                if let Some(entry) = record.entry_mut(generation) {
                    entry.retired();
                }
                record.forget_surplus();
            })?;
        }
    }

    /// The definitions of a live generation.
    ///
    /// # Errors
    /// [`Error::Generation`].
    pub(crate) fn live_definitions(&self, generation: Generation) -> Result<Arc<Definitions>, Error> {
        let live = self.live();
        let found = live.all().find(|definitions| definitions.generation == generation).cloned();
        found.ok_or_else(|| {
            let known: Vec<String> = live.all().map(|known| known.generation.to_string()).collect();
            let problem = format!("there is no version {generation}; there are {}", known.join(", "));
            refused(problem, "choose one that `augur features versions` lists")
        })
    }

    /// The generation that served before.
    pub(crate) fn previous(&self) -> Option<Generation> {
        self.record.lock().with_status(GenerationStatus::Previous)
    }

    /// All generations that are remembered, ascending.
    pub(crate) fn versions(&self) -> Vec<Version> {
        let (record, under) = (self.record.lock(), self.under.lock());
        record.entries.iter().map(|entry| version(entry, under.as_ref())).collect()
    }

    /// How often a user's event log was rewritten.
    pub(super) fn rewrites(&self) -> u64 {
        self.rewrites.load(Ordering::SeqCst)
    }

    /// Changes the record, stored first.
    fn change(&self, change: impl FnOnce(&mut Record)) -> Result<(), Error> {
        let mut record = self.record.lock();
        let mut after = record.clone();
        change(&mut after);
        self.store.put_generations(&after.encode())?;
        *record = after;
        Ok(())
    }
}

/// Says loudly, and notes, whose log cannot be read whole.
pub(super) fn set_aside(
    record: &mut Record,
    generation: Generation,
    unreadable: impl IntoIterator<Item = (UserKey, Error)>,
) {
    let Some(entry) = record.entry_mut(generation) else { return };
    for (user, error) in unreadable {
        let generation = generation.number();
        tracing::error!(%user, generation, %error, "a user's features are built without what cannot be read");
        entry.set_aside(user);
    }
}

impl Record {
    /// What a build that begins now can see. What is carried over is as whole as it was.
    pub(super) fn limit_history(
        &mut self,
        generation: Generation,
        plan: &Plan,
        history_from: Option<Timestamp>,
    ) {
        let carried = self.serving().and_then(|serving| serving.history_from);
        if let Some(entry) = self.entry_mut(generation) {
            entry.history_from = if plan.built() > 0 { history_from } else { carried };
        }
    }
}

fn version(entry: &Entry, under: Option<&Under>) -> Version {
    let under = under.filter(|under| under.generation == entry.generation);
    let build = under.map(|under| {
        let seconds = under.started.elapsed().max(Duration::from_millis(1)).as_secs_f64();
        let users = entry.users_done.saturating_sub(under.users_before);
        let is_building = entry.status == GenerationStatus::Building;
        BuildProgress {
            users_done: entry.users_done,
            events_done: entry.events_done,
            carried_over: under.plan.carried(),
            built: under.plan.built(),
            users_per_second: if is_building { users as f64 / seconds } else { 0.0 },
            problem: under.problem.clone(),
        }
    });
    Version {
        generation: entry.generation,
        status: entry.status,
        feature_set: entry.feature_set,
        note: entry.note.clone(),
        history_from: entry.history_from,
        set_aside: entry.set_aside,
        set_aside_users: entry.set_aside_users.clone(),
        build,
    }
}
