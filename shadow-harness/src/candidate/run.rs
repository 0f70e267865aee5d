//! The replay itself: record after record, in order, each decided by the candidate on what was logged.
//!
//! Not here: what is counted (`report`), and how exposures are carried (`carry`).

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use augur_decision::{PolicySnapshot, PolicySource, decide};
use augur_decision_log::codec::RecordView;
use augur_decision_log::{Error as LogError, Reader, unreadable};
use augur_domain::decision::Availability;
use augur_domain::{ContentHash, DecisionInputs, DecisionRecord, ModelRef, Timestamp};

use super::carry::{Budgets, Carried};
use super::direct::Rows;
use super::labels::{Label, Labels};
use super::models::{CandidateModels, PinnedVersion};
use super::report::{CandidateReport, Control, Counting, Gates, SegmentBy, Subject};
use crate::off_policy;
use crate::reward::{JoinCounts, RewardRule, Rewards};
use crate::{DataDirectory, Error, SnapshotSource as _};

/// Policies kept compiled: one for each feature set and set of models that a log has.
const CACHED_SNAPSHOTS: usize = 16;
/// Of so many decisions, one is decided once more by what decided it and by the candidate, to compare what they cost.
const TIMED_EVERY: u64 = 32;
/// Records between two calls of `progress`.
const PROGRESS_EVERY: u64 = 1_024;

/// Which exposures count against the candidate's caps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Exposures {
    /// What the candidate itself would have given, carried from decision to decision.
    #[default]
    Carried,
    /// What was given, as logged: each decision by itself.
    Logged,
}

/// A change of a policy's text; an error is a complaint for people.
pub type Edit<'a> = &'a dyn Fn(&PolicySource) -> Result<PolicySource, String>;

/// What decides in the place of what decided.
pub struct CandidateOptions<'a> {
    /// The candidate's policy; `None` for the policies that decided, with other models.
    pub policy: Option<&'a PolicySource>,
    /// What is changed in its text, or in that of every policy that decided.
    pub edit: Option<Edit<'a>>,
    /// Versions in the place of those that decided.
    pub pinned: &'a [PinnedVersion],
    /// Which exposures count.
    pub exposures: Exposures,
    /// Decisions from here on.
    pub from: Timestamp,
    /// How outcomes become rewards, if the candidate's value is to be estimated.
    pub reward: Option<&'a RewardRule>,
    /// Ids of changed decisions that are told.
    pub most_ids: usize,
    /// How the value is estimated.
    pub evaluating: off_policy::Options,
    /// What the candidate is held to; `None` for a mere comparison.
    pub gates: Option<&'a Gates>,
    /// What flips are told apart by, beside decision point and rung.
    pub segments: &'a [SegmentBy],
    /// What scores are measured by.
    pub labels: &'a [Label],
    /// What the control replay of the same log found; without it nothing is promoted.
    pub control: Option<Control>,
    /// What the report calls the candidate.
    pub subject: Subject,
    /// Told the number of records now and then.
    pub progress: &'a dyn Fn(u64),
}

/// A compiled candidate, or why there is none for these features and models.
struct Compiled {
    policy: ContentHash,
    models: Vec<(Arc<str>, ModelRef)>,
    snapshot: Result<PolicySnapshot, String>,
    /// What decided then; `None` if it is missing, which the control tells.
    then: Option<PolicySnapshot>,
}

struct Candidate<'a> {
    directory: &'a DataDirectory,
    options: &'a CandidateOptions<'a>,
    compiled: Vec<Compiled>,
}

/// Decides every record of the log in `log` again by the candidate.
///
/// # Errors
/// [`Error::Log`] when the log cannot be read or is damaged: verify it first. A policy that does not compile against what
/// was logged is told in the report.
pub fn replay_candidate(
    log: &Path,
    directory: &DataDirectory,
    options: &CandidateOptions<'_>,
) -> Result<CandidateReport, Error> {
    let rules = options.reward.map(std::slice::from_ref).unwrap_or_default();
    let rewards = Rewards::read(&directory.outcomes_dir(), rules)?;
    let known_at = options.reward.map(|_| last_instant(log)).transpose()?.unwrap_or(Timestamp::MIN);
    let mut joined = JoinCounts::default();
    let mut candidate = Candidate { directory, options, compiled: Vec::new() };
    let labels = Labels::read(directory, options.labels)?;
    let mut counting = Counting::new(options.segments, &labels, options.most_ids);
    let (mut carried, mut budgets) = (Carried::default(), Budgets::default());
    let mut rows = Rows::default();
    let mut most_actions = None;
    let mut reader = Reader::open_at(log, options.from)?;
    loop {
        let record = match reader.next_record() {
            Ok(Some((_, record))) => record,
            // What the writer is about to finish ends the log as it stands.
            Ok(None) | Err(LogError::TruncatedTail { .. }) => break,
            Err(error) => return Err(error.into()),
        };
        if record.inputs.now < options.from {
            continue;
        }
        counting.read(&record);
        if counting.report.records.is_multiple_of(PROGRESS_EVERY) {
            (options.progress)(counting.report.records);
        }
        let (snapshot, then) = match candidate.compiled(&record) {
            Ok(compiled) => compiled,
            Err(reason) => {
                counting.cannot(reason.to_owned());
                continue;
            }
        };
        let Some(point) = snapshot.point(&record.inputs.decision_point) else {
            counting
                .cannot(format!("the candidate has no decision point `{}`", record.inputs.decision_point));
            continue;
        };
        let mut inputs = record.inputs.clone();
        list_models(&mut inputs, snapshot, options.pinned);
        if options.exposures == Exposures::Carried {
            carried.put_into(&mut inputs, point);
            budgets.put_into(&mut inputs, point);
        } else {
            inputs.exposures = point.countable(&inputs.exposures, inputs.now);
        }
        let decision = decide(snapshot, &inputs);
        if let Some(then) = then.filter(|_| counting.report.records.is_multiple_of(TIMED_EVERY)) {
            let (replayed_ns, candidate_ns) = (timed(then, &record.inputs), timed(snapshot, &inputs));
            counting.timed(replayed_ns, candidate_ns);
        }
        carried.take(&inputs, &record.decision, &decision);
        budgets.take(&inputs, point, &record.decision, &decision);
        counting.compare(&record, &decision, snapshot.features());
        let reward = options.reward.and_then(|rule| {
            rewards.of(rule, record.inputs.decision_id, record.inputs.now, known_at, &mut joined)
        });
        let Some(reward) = reward else { continue };
        counting.came(&record.decision.action, record.decision.action == decision.action, reward);
        if !rows.is_full() {
            most_actions = most_actions.max(u32::try_from(record.decision.candidates.len()).ok());
            rows.push(&record, &decision, reward.reward);
        }
    }
    (options.progress)(counting.report.records);
    counting.report.not_carried = carried.not_carried;
    counting.report.joined = options.reward.map(|_| rewards.settle(joined));
    let value = options.reward.and_then(|_| {
        let rows = rows.with_model();
        let actions = options.evaluating.actions.or(most_actions);
        off_policy::evaluate(&rows, &off_policy::Options { actions, ..options.evaluating.clone() })
    });
    counting.report.subject = options.subject.clone();
    Ok(counting.finish(options.gates, options.control.clone(), value))
}

/// When the last decision of the log was made: what is known of outcomes is known then.
fn last_instant(log: &Path) -> Result<Timestamp, Error> {
    // Of the last segment; one that was only just begun has nothing yet.
    let last = latest(log, Reader::open_at(log, Timestamp::MAX)?)?;
    if last > Timestamp::MIN { Ok(last) } else { latest(log, Reader::open(log)?) }
}

fn latest(log: &Path, mut reader: Reader) -> Result<Timestamp, Error> {
    let mut last = Timestamp::MIN;
    loop {
        match reader.next_bytes() {
            Ok(Some((position, bytes))) => {
                let inputs = RecordView::parse(bytes).and_then(|view| view.inputs());
                last = last.max(inputs.map_err(|error| unreadable(log, position, error))?.now);
            }
            Ok(None) | Err(LogError::TruncatedTail { .. }) => return Ok(last),
            Err(error) => return Err(error.into()),
        }
    }
}

/// How long deciding takes, in nanoseconds.
fn timed(snapshot: &PolicySnapshot, inputs: &DecisionInputs) -> u64 {
    let started = Instant::now();
    std::hint::black_box(decide(snapshot, inputs));
    u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// A log says of the models that decided whether they could be used. Those that only the candidate asks could be, and
/// those whose version is asked for.
fn list_models(inputs: &mut DecisionInputs, snapshot: &PolicySnapshot, pinned: &[PinnedVersion]) {
    for model in snapshot.declared_models() {
        let known = inputs.models.iter_mut().find(|(alias, _)| alias == model.name());
        match known {
            Some((_, availability))
                if pinned.iter().any(|pinned| *pinned.name == **model.registered_name()) =>
            {
                *availability = Availability::Available;
            }
            Some(_) => {}
            None => inputs.models.push((Arc::clone(model.name()), Availability::Available)),
        }
    }
    for (name, _) in snapshot.askable() {
        if !inputs.models.iter().any(|(known, _)| known == name) {
            inputs.models.push((Arc::clone(name), Availability::Available));
        }
    }
}

impl Candidate<'_> {
    /// The candidate for a record, and what decided it.
    fn compiled(
        &mut self,
        record: &DecisionRecord,
    ) -> Result<(&PolicySnapshot, Option<&PolicySnapshot>), &str> {
        let known = self
            .compiled
            .iter()
            .position(|known| known.policy == record.policy && known.models == record.models);
        let place = known.unwrap_or_else(|| {
            if self.compiled.len() == CACHED_SNAPSHOTS {
                self.compiled.remove(0);
            }
            self.compiled.push(Compiled {
                policy: record.policy,
                models: record.models.clone(),
                snapshot: self.compile(record),
                then: self.directory.snapshot(record.policy, &record.models).ok(),
            });
            self.compiled.len() - 1
        });
        let Some(compiled) = self.compiled.get(place) else { return Err("it was not compiled") };
        match &compiled.snapshot {
            Ok(snapshot) => Ok((snapshot, compiled.then.as_ref())),
            Err(reason) => Err(reason),
        }
    }

    /// Against the features that the record holds.
    fn compile(&self, record: &DecisionRecord) -> Result<PolicySnapshot, String> {
        let (features, then) =
            self.directory.policy_files(record.policy).map_err(|missing| missing.to_string())?;
        let models = CandidateModels {
            dir: self.directory.models_dir(),
            pinned: self.options.pinned,
            logged: &record.models,
        };
        let source = self.options.policy.unwrap_or(&then);
        let edited = self.options.edit.map(|edit| edit(source)).transpose()?;
        let source = edited.as_ref().unwrap_or(source);
        PolicySnapshot::load(source, features, &models).map_err(|complaints| {
            let lines: Vec<String> = complaints.iter().map(ToString::to_string).collect();
            lines.join("; ")
        })
    }
}
