//! The recomputed replay: the decision log once, in order of time; then user by user, beside the event log.
//!
//! Not here: comparing (`compare`) and counting (`report`).

use std::path::Path;
use std::sync::Arc;

use augur_decision::{PolicySnapshot, SourceFile, decide};
use augur_decision_log::codec::RecordView;
use augur_decision_log::{Error as LogError, Reader, unreadable};
use augur_domain::decision::Availability;
use augur_domain::{ContentHash, DecisionRecord, FeatureVector, ModelRef, Timestamp, UserKey};
use augur_feature_store::store::Read;
use augur_feature_store::{PastRead, Recomputed, Recomputer, Standing};

use super::compare::{compare, with_features};
use super::definitions::{Known, KnownDefinitions};
use super::report::{Counting, SkewReport};
use super::spool::{Key, Sorted, Spool};
use crate::source::SnapshotSource;
use crate::{DataDirectory, Error};

/// Policies kept compiled.
const CACHED_SNAPSHOTS: usize = 16;
/// Decisions of one user that are worked on together.
const MAX_DECISIONS_AT_ONCE: usize = 4_096;
/// What a feature takes in memory while a decision is worked on, about: as logged, and computed twice.
const VALUE_BYTES: usize = 96;
/// Records between two calls of `progress`.
const PROGRESS_EVERY: u64 = 1_024;

/// Which events a decision is meant to have seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Visibility {
    /// Those that are visible before its instant, whenever they came: what a training set would show. The difference from
    /// what was logged is the skew between training and serving.
    #[default]
    EventTime,
    /// Those that had come, in the order in which they came. Under unchanged definitions nothing differs; under other ones
    /// they alone make the difference.
    Received,
}

impl Visibility {
    pub(super) fn of(self, recomputed: &Recomputed) -> &FeatureVector {
        match self {
            Self::EventTime => recomputed.as_of.as_ref().unwrap_or(&recomputed.as_received),
            Self::Received => &recomputed.as_received,
        }
    }
}

/// What the replay is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Reading the decision log and sorting it by user.
    Sorting,
    /// Computing features again.
    Comparing,
}

/// How to compute again.
#[derive(Clone, Copy)]
pub struct RecomputeOptions<'a> {
    /// Definitions in the place of those that the policies were compiled against.
    pub features: Option<&'a SourceFile>,
    /// Which events count.
    pub visibility: Visibility,
    /// Decisions from here on.
    pub from: Timestamp,
    /// About as much memory as decisions and events may take; at least [`Self::MIN_MEMORY_BYTES`].
    pub memory_bytes: usize,
    /// Where decisions are sorted that do not fit into it: up to the size of the log, unsealed.
    pub spool_dir: &'a Path,
    /// Told now and then how many records are through.
    pub progress: &'a dyn Fn(Phase, u64),
}

impl RecomputeOptions<'_> {
    /// The least memory that makes sense.
    pub const MIN_MEMORY_BYTES: usize = 16 << 20;
}

/// Computes the features of every decision of the log in `log` again from the events in `history`, and decides those
/// again whose features differ. Memory does not grow with either log.
///
/// # Errors
/// [`Error::Log`] when the log cannot be read or is damaged: verify it first; [`Error::Store`] likewise for the event
/// log; [`Error::Definitions`] for definitions that cannot be used; [`Error::Spool`] when the disk is full.
pub fn replay_recomputed(
    log: &Path,
    directory: &DataDirectory,
    history: &dyn Read,
    options: RecomputeOptions<'_>,
) -> Result<SkewReport, Error> {
    let memory_bytes = options.memory_bytes.max(RecomputeOptions::MIN_MEMORY_BYTES);
    let definitions = KnownDefinitions::new(directory, options.features)?;
    let mut counting = Counting::default();
    let mut sorted = sort(log, options, memory_bytes / 2, &mut counting)?;
    let mut replay = Replay {
        directory,
        definitions,
        recomputer: Recomputer::open(history, memory_bytes / 4)?,
        most_bytes: memory_bytes / 4,
        visibility: options.visibility,
        compiled: Vec::new(),
        counting,
    };
    let mut done = 0;
    let mut next = sorted.next_record()?;
    while let Some(((user, ..), _)) = next {
        let records = replay.take(user, &mut next, &mut sorted)?;
        let before = done;
        done += records.len() as u64;
        replay.compare_user(user, &records)?;
        if before / PROGRESS_EVERY != done / PROGRESS_EVERY {
            (options.progress)(Phase::Comparing, done);
        }
    }
    (options.progress)(Phase::Comparing, done);
    Ok(replay.counting.finish(&replay.definitions))
}

/// Reads the log to its end, in order of time.
fn sort(
    log: &Path,
    options: RecomputeOptions<'_>,
    memory_bytes: usize,
    counting: &mut Counting,
) -> Result<Sorted, Error> {
    let mut spool = Spool::new(options.spool_dir, memory_bytes);
    let mut reader = Reader::open_at(log, options.from)?;
    loop {
        let (position, bytes) = match reader.next_bytes() {
            Ok(Some(next)) => next,
            // What the writer is about to finish ends the log as it stands.
            Ok(None) | Err(LogError::TruncatedTail { .. }) => break,
            Err(error) => return Err(error.into()),
        };
        let inputs = RecordView::parse(bytes).and_then(|view| view.inputs());
        let inputs = inputs.map_err(|error| unreadable(log, position, error))?;
        if inputs.now < options.from {
            continue;
        }
        counting.report.records += 1;
        if counting.report.records.is_multiple_of(PROGRESS_EVERY) {
            (options.progress)(Phase::Sorting, counting.report.records);
        }
        if inputs.features_availability == Availability::Available {
            spool.push((inputs.user, inputs.now, position.sequence), bytes)?;
        } else {
            counting.cannot_compare("it was decided without features".to_owned(), 1);
        }
    }
    (options.progress)(Phase::Sorting, counting.report.records);
    spool.sorted()
}

/// A policy with its models, or why there is none.
struct Compiled {
    policy: ContentHash,
    models: Vec<(Arc<str>, ModelRef)>,
    snapshot: Result<PolicySnapshot, String>,
}

struct Replay<'a> {
    directory: &'a DataDirectory,
    definitions: KnownDefinitions<'a>,
    recomputer: Recomputer<'a>,
    /// Of decisions that are worked on together.
    most_bytes: usize,
    visibility: Visibility,
    compiled: Vec<Compiled>,
    counting: Counting,
}

impl Replay<'_> {
    /// The next decisions of the user, in order, as many as are worked on together.
    fn take(
        &self,
        user: UserKey,
        next: &mut Option<(Key, Vec<u8>)>,
        sorted: &mut Sorted,
    ) -> Result<Vec<DecisionRecord>, Error> {
        let (mut records, mut bytes) = (Vec::<DecisionRecord>::new(), 0);
        while records.len() < MAX_DECISIONS_AT_ONCE && bytes < self.most_bytes {
            let Some((_, record)) = next.take_if(|((of, ..), _)| *of == user) else { break };
            let decoded = augur_decision_log::codec::decode_record(&record)?;
            bytes += record.len() * 4 + decoded.inputs.features.values.len() * VALUE_BYTES;
            records.push(decoded);
            *next = sorted.next_record()?;
        }
        Ok(records)
    }

    fn compare_user(&mut self, user: UserKey, records: &[DecisionRecord]) -> Result<(), Error> {
        let is_linked = match self.recomputer.standing(user)? {
            Standing::Erased => {
                let reason = "the user was erased, and the events with the user".to_owned();
                self.counting.cannot_compare(reason, records.len() as u64);
                return Ok(());
            }
            Standing::Linked { .. } => true,
            Standing::Own => false,
        };
        // A walk over the user's events has one set of definitions.
        for records in records.chunk_by(|one, next| one.policy == next.policy) {
            let Some(policy) = records.first().map(|record| record.policy) else { continue };
            match self.definitions.of(policy) {
                Ok(known) => self.compare_run(user, records, &known, is_linked)?,
                Err(reason) => self.counting.cannot_compare(reason, records.len() as u64),
            }
        }
        Ok(())
    }

    fn compare_run(
        &mut self,
        user: UserKey,
        records: &[DecisionRecord],
        known: &Known,
        is_linked: bool,
    ) -> Result<(), Error> {
        let reads: Vec<PastRead> = records.iter().map(past_read).collect();
        let made = self.recomputer.recompute(user, &known.schema, &reads)?;
        for (record, made) in records.iter().zip(made) {
            let logged = &record.inputs.features;
            if logged.feature_set != known.logged.hash() {
                let reason = "its features are not those of its policy's archived definitions".to_owned();
                self.counting.cannot_compare(reason, 1);
                continue;
            }
            let Some(made) = made else {
                let reason = "events that it saw were kept long enough and are gone".to_owned();
                self.counting.cannot_compare(reason, 1);
                continue;
            };
            let differences = compare(logged, &made, known, (self.visibility, is_linked));
            self.counting.compared(record, known, &differences);
            if differences.is_empty() && known.slots.iter().all(Option::is_some) {
                continue;
            }
            let inputs = with_features(&record.inputs, self.visibility.of(&made), known);
            match self.snapshot(record) {
                Ok(snapshot) => {
                    let decision = decide(snapshot, &inputs);
                    self.counting.decided(record, &decision, known, &differences);
                }
                Err(reason) => self.counting.cannot_decide(reason),
            }
        }
        Ok(())
    }

    fn snapshot(&mut self, record: &DecisionRecord) -> Result<&PolicySnapshot, String> {
        let is_of = |known: &Compiled| known.policy == record.policy && known.models == record.models;
        let place = self.compiled.iter().position(is_of).unwrap_or_else(|| {
            if self.compiled.len() == CACHED_SNAPSHOTS {
                self.compiled.remove(0);
            }
            let loaded = self.directory.snapshot(record.policy, &record.models);
            let snapshot = loaded.map_err(|missing| missing.to_string());
            let (policy, models) = (record.policy, record.models.clone());
            self.compiled.push(Compiled { policy, models, snapshot });
            self.compiled.len() - 1
        });
        let compiled = self.compiled.get(place).map(|compiled| &compiled.snapshot);
        compiled.ok_or_else(String::new)?.as_ref().map_err(Clone::clone)
    }
}

fn past_read(record: &DecisionRecord) -> PastRead {
    let inputs = &record.inputs;
    PastRead { now: inputs.now, watermark: inputs.features.watermark, context: inputs.context.clone() }
}
