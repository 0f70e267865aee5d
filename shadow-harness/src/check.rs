//! Decides records again, one by one, and keeps the tally.
//!
//! Not here: reading the log or starting threads (`verify`).

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use augur_decision::{PolicySnapshot, Scratch, decide_into};
use augur_decision_log::codec::{RecordView, encode_decision};
use augur_decision_log::{Error as LogError, Position, unreadable};
use augur_domain::decision::Rung;
use augur_domain::{ContentHash, Decision, ReasonCode};
use serde::{Deserialize, Serialize};

use crate::difference::{Difference, compare};
use crate::report::{Fault, MAX_LISTED, Unverifiable};
use crate::source::{Missing, SnapshotSource};

/// Policies kept loaded; a log rarely goes back and forth between more.
const CACHED_SNAPSHOTS: usize = 16;

/// The policy and the models that decided, as the log names them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Key {
    policy: ContentHash,
    models: Vec<u8>,
}

type Loaded = Arc<Result<PolicySnapshot, Missing>>;

/// Policies by what the log names, shared between threads.
pub(crate) struct Snapshots<'a> {
    source: &'a dyn SnapshotSource,
    loaded: Mutex<Vec<(Key, Loaded)>>,
}

impl<'a> Snapshots<'a> {
    pub(crate) fn new(source: &'a dyn SnapshotSource) -> Self {
        Self { source, loaded: Mutex::default() }
    }

    /// Loads under the lock, so that threads which need the same policy wait for one loading.
    fn get(&self, view: &RecordView<'_>) -> Result<(Key, Loaded), LogError> {
        let key = Key { policy: view.policy, models: view.models_bytes().to_vec() };
        let mut loaded = self.loaded.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((_, snapshot)) = loaded.iter().find(|(known, _)| *known == key) {
            return Ok((key, Arc::clone(snapshot)));
        }
        let snapshot = Arc::new(self.source.snapshot(key.policy, &view.models()?));
        if loaded.len() == CACHED_SNAPSHOTS {
            loaded.remove(0);
        }
        loaded.push((key.clone(), Arc::clone(&snapshot)));
        Ok((key, snapshot))
    }
}

/// What was found so far; tallies of different threads add up to the same whole in any order.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) records: u64,
    pub(crate) equal: u64,
    pub(crate) different: u64,
    pub(crate) unverifiable: u64,
    pub(crate) corrupt: u64,
    pub(crate) differences: Vec<Difference>,
    pub(crate) faults: Vec<Fault>,
    missing: BTreeMap<Missing, (u64, u64)>,
    actions: BTreeMap<Arc<str>, u64>,
    reasons: BTreeMap<ReasonCode, u64>,
    rungs: BTreeMap<&'static str, u64>,
    /// The earliest failure that forbids a verdict.
    pub(crate) fatal: Option<(u64, LogError)>,
}

/// What a replay without a finding has to say.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct CleanTally {
    pub(crate) records: u64,
    actions: BTreeMap<String, u64>,
    reasons: BTreeMap<String, u64>,
    rungs: BTreeMap<String, u64>,
}

impl Tally {
    /// Whether everything came out the same.
    pub(crate) fn is_clean(&self) -> bool {
        self.records == self.equal && self.corrupt == 0 && self.fatal.is_none()
    }

    pub(crate) fn as_clean(&self) -> CleanTally {
        let (actions, reasons, rungs) = (self.actions(), self.reasons(), self.rungs());
        CleanTally { records: self.records, actions, reasons, rungs }
    }

    /// A tally without a finding; `None` if it has words that this program does not know.
    pub(crate) fn from_clean(clean: &CleanTally) -> Option<Self> {
        let mut tally = Self { records: clean.records, equal: clean.records, ..Self::default() };
        for (action, count) in &clean.actions {
            tally.actions.insert(Arc::from(action.as_str()), *count);
        }
        for (code, count) in &clean.reasons {
            let known = ReasonCode::ALL.iter().find(|known| known.as_str() == code)?;
            tally.reasons.insert(*known, *count);
        }
        for (rung, count) in &clean.rungs {
            let known = (0..=u8::MAX).filter_map(Rung::from_u8).find(|known| known.as_str() == rung)?;
            tally.rungs.insert(known.as_str(), *count);
        }
        Some(tally)
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.records += other.records;
        self.equal += other.equal;
        self.different += other.different;
        self.unverifiable += other.unverifiable;
        self.corrupt += other.corrupt;
        self.differences.extend(other.differences);
        self.differences.sort_by_key(|difference| difference.sequence);
        self.differences.truncate(MAX_LISTED);
        self.faults.extend(other.faults);
        self.faults.sort();
        self.faults.truncate(MAX_LISTED);
        for (missing, (first, records)) in other.missing {
            self.count_missing(missing, first, records);
        }
        add_counts(&mut self.actions, other.actions);
        add_counts(&mut self.reasons, other.reasons);
        add_counts(&mut self.rungs, other.rungs);
        if let Some((sequence, error)) = other.fatal {
            self.fail(sequence, error);
        }
    }

    pub(crate) fn add_fault(&mut self, sequence: u64, error: &LogError) {
        self.corrupt += 1;
        self.faults.push(Fault { sequence, message: error.to_string() });
        self.faults.sort();
        self.faults.truncate(MAX_LISTED);
    }

    fn fail(&mut self, sequence: u64, error: LogError) {
        if self.fatal.as_ref().is_none_or(|(known, _)| sequence < *known) {
            self.fatal = Some((sequence, error));
        }
    }

    fn count_missing(&mut self, missing: Missing, first: u64, records: u64) {
        let entry = self.missing.entry(missing).or_insert((first, 0));
        entry.0 = entry.0.min(first);
        entry.1 += records;
    }

    fn count(&mut self, decision: &Decision) {
        match self.actions.get_mut(&decision.action) {
            Some(count) => *count += 1,
            None => drop(self.actions.insert(Arc::clone(&decision.action), 1)),
        }
        for reason in &decision.reasons {
            *self.reasons.entry(reason.code).or_default() += 1;
        }
        *self.rungs.entry(decision.rung.as_str()).or_default() += 1;
    }

    /// What is missing, earliest need first.
    pub(crate) fn missing(&self) -> Vec<Unverifiable> {
        let mut list: Vec<_> = self
            .missing
            .iter()
            .map(|(missing, (first_sequence, records))| Unverifiable {
                message: missing.to_string(),
                first_sequence: *first_sequence,
                records: *records,
            })
            .collect();
        list.sort_by_key(|missing| missing.first_sequence);
        list.truncate(MAX_LISTED);
        list
    }

    pub(crate) fn actions(&self) -> BTreeMap<String, u64> {
        self.actions.iter().map(|(action, count)| (action.to_string(), *count)).collect()
    }

    pub(crate) fn reasons(&self) -> BTreeMap<String, u64> {
        self.reasons.iter().map(|(code, count)| (code.to_string(), *count)).collect()
    }

    pub(crate) fn rungs(&self) -> BTreeMap<String, u64> {
        self.rungs.iter().map(|(rung, count)| ((*rung).to_owned(), *count)).collect()
    }
}

fn add_counts<K: Ord>(counts: &mut BTreeMap<K, u64>, more: BTreeMap<K, u64>) {
    for (key, count) in more {
        *counts.entry(key).or_default() += count;
    }
}

/// One thread's work.
pub(crate) struct Checker<'a> {
    log_dir: &'a Path,
    snapshots: &'a Snapshots<'a>,
    /// The policy of the record before, which nearly always decided the next one too.
    current: Option<(Key, Loaded)>,
    replayed: Vec<u8>,
    /// Room that decisions use again.
    scratch: Scratch,
    decision: Decision,
    pub(crate) tally: Tally,
}

impl<'a> Checker<'a> {
    pub(crate) fn new(log_dir: &'a Path, snapshots: &'a Snapshots<'a>) -> Self {
        Self {
            log_dir,
            snapshots,
            current: None,
            replayed: Vec::new(),
            scratch: Scratch::default(),
            decision: Decision::default(),
            tally: Tally::default(),
        }
    }

    /// Decides one record again.
    pub(crate) fn check(&mut self, position: Position, bytes: &[u8]) {
        if let Err(error) = self.check_record(position, bytes) {
            match unreadable(self.log_dir, position, error) {
                damage @ LogError::Corrupted { .. } => self.tally.add_fault(position.sequence, &damage),
                other => self.tally.fail(position.sequence, other),
            }
        }
    }

    fn check_record(&mut self, position: Position, bytes: &[u8]) -> Result<(), LogError> {
        let view = RecordView::parse(bytes)?;
        let snapshot = self.snapshot(&view)?;
        let inputs = view.inputs()?;
        let policy = match &*snapshot {
            Ok(policy) => policy,
            Err(missing) => {
                self.tally.count(&view.decision()?);
                self.tally.records += 1;
                self.tally.unverifiable += 1;
                self.tally.count_missing(missing.clone(), position.sequence, 1);
                return Ok(());
            }
        };
        decide_into(policy, &inputs, &mut self.scratch, &mut self.decision);
        let replayed = &self.decision;
        self.replayed.clear();
        encode_decision(replayed, &mut self.replayed);
        if self.replayed == view.decision_bytes() {
            self.tally.count(replayed);
            self.tally.records += 1;
            self.tally.equal += 1;
            return Ok(());
        }
        let logged = view.decision()?;
        self.tally.count(&logged);
        self.tally.records += 1;
        self.tally.different += 1;
        // Segments come to a thread in the order of the log, so the first found are the first there are.
        if self.tally.differences.len() < MAX_LISTED {
            self.tally.differences.push(Difference {
                sequence: position.sequence,
                file: position.file(self.log_dir).display().to_string(),
                offset: position.offset,
                decision_id: inputs.decision_id.to_string(),
                decision_point: inputs.decision_point.to_string(),
                policy: view.policy.to_string(),
                fields: compare(&logged, replayed),
            });
        }
        Ok(())
    }

    fn snapshot(&mut self, view: &RecordView<'_>) -> Result<Loaded, LogError> {
        if let Some((key, snapshot)) = &self.current
            && key.policy == view.policy
            && key.models == view.models_bytes()
        {
            return Ok(Arc::clone(snapshot));
        }
        let (key, snapshot) = self.snapshots.get(view)?;
        self.current = Some((key, Arc::clone(&snapshot)));
        Ok(snapshot)
    }
}
