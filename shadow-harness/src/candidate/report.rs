//! What a candidate would have changed, counted while the log is replayed.
//!
//! Not here: deciding (`run`), causes (`cause`), or estimating values (`off_policy`). What the figures look like is in
//! `text` for a terminal and in `page` for a browser; both are made of [`CandidateReport`], which is also the JSON.

mod examples;
mod flips;
mod gate_file;
mod gates;
mod quality;
mod sample;
mod shift;
mod text;
mod timing;
mod validity;

use std::collections::{BTreeMap, BTreeSet};

use augur_domain::{Decision, DecisionRecord, FeatureSet, UserKey};
use serde::Serialize;

pub use examples::{ActionView, Both, Example};
pub use flips::{Flips, SegmentBy, SegmentFlips};
pub use gates::{GateOutcome, Gates, Passing, ScoreGates, Side, Verdict};
pub use quality::{Measure, Measured, Quality};
pub use shift::{Bar, Distribution, Quantile, ScoreShift};
pub use timing::{Percentiles, Timing};
pub use validity::{Control, Validity};

use super::affected::ActionOutcomes;
use super::cause::Cause;
use super::labels::Labels;
use crate::off_policy::Evaluation;
use crate::reward::{JoinCounts, JoinedReward};
use examples::Examples;
use flips::Segments;
pub(in crate::candidate) use quality::Labelled;
use sample::EvenSample;
pub(in crate::candidate) use shift::Scored;
use timing::Durations;
use validity::Survey;

/// Causes, actions and confusions that are told apart; further ones are counted together.
const MAX_KINDS: usize = 1_000;
/// What those are called.
const OTHERS: &str = "(others)";
/// Users whose decisions changed, told apart up to here.
const MAX_USERS: usize = 10_000_000;
/// Decisions of one alias whose scores are measured, about 24 bytes each, and as many with labels at 48.
const MAX_SCORED: usize = 1 << 17;

/// How often an action was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct ActionCount {
    /// As logged.
    pub logged: u64,
    /// By the candidate.
    pub candidate: u64,
}

/// Decisions that the candidate could not make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Uncompared {
    /// Why.
    pub reason: String,
    /// How many.
    pub decisions: u64,
}

/// What became of one arm of an experiment.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct ArmFlips {
    /// Decisions of users in this arm, as logged.
    #[serde(flatten)]
    pub flips: Flips,
    /// Of them with another arm by the candidate, or none: the experiment starts anew for these.
    pub moved: u64,
}

/// What was replayed, as the person who asked named it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Subject {
    /// The candidate's policy file; empty for the policies that decided.
    pub policy: String,
    /// Versions in the place of those that decided.
    pub models: Vec<String>,
    /// Which exposures counted against caps.
    pub exposures: String,
}

/// What a candidate would have changed.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct CandidateReport {
    /// What was replayed.
    pub subject: Subject,
    /// What to do with it.
    pub verdict: Verdict,
    /// One for each gate.
    pub gates: Vec<GateOutcome>,
    /// What the report stands on.
    pub validity: Validity,
    /// Records read.
    pub records: u64,
    /// What the candidate could not decide, most frequent first.
    pub uncompared: Vec<Uncompared>,
    /// Decisions whose exposures were taken as logged, since too many users are carried already.
    pub not_carried: u64,
    /// Over all decisions that could be compared.
    pub flips: Flips,
    /// By decision point.
    pub by_point: BTreeMap<String, Flips>,
    /// By the rung as logged.
    pub by_rung: BTreeMap<&'static str, Flips>,
    /// By whatever else was asked for.
    pub segments: Vec<SegmentFlips>,
    /// Users with at least one changed decision.
    pub users_changed: u64,
    /// Users with at least one decision.
    pub users: u64,
    /// Why they changed.
    pub causes: BTreeMap<String, u64>,
    /// In which stage of deciding.
    pub stages: BTreeMap<&'static str, u64>,
    /// By action.
    pub actions: BTreeMap<String, ActionCount>,
    /// Decisions by the action as logged and, within, by the candidate's.
    pub confusion: BTreeMap<String, BTreeMap<String, u64>>,
    /// By alias.
    pub scores: BTreeMap<String, ScoreShift>,
    /// By alias, where it is known what came of decisions.
    pub quality: BTreeMap<String, Quality>,
    /// What came of what was given, by action as logged, if outcomes were joined.
    pub outcomes: BTreeMap<String, ActionOutcomes>,
    /// How outcomes were joined, if they were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub joined: Option<JoinCounts>,
    /// Ids of the first changed decisions, as many as were asked for.
    pub changed_decisions: Vec<String>,
    /// What the candidate is worth, if outcomes were joined.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Evaluation>,
    /// How long stages took.
    pub timing: Timing,
    /// By experiment and arm, as logged.
    pub experiments: BTreeMap<String, BTreeMap<String, ArmFlips>>,
    /// Changed decisions, of each cause those with most at stake.
    pub examples: Vec<Example>,
}

/// The scores of one alias on their way.
#[derive(Debug)]
struct Scores {
    shift: ScoreShift,
    sample: EvenSample<Scored>,
    labelled: EvenSample<Labelled>,
}

/// The report on its way.
#[derive(Debug)]
pub(super) struct Counting<'a> {
    pub(super) report: CandidateReport,
    survey: Survey,
    segments: Segments,
    scores: BTreeMap<String, Scores>,
    labels: &'a Labels,
    most_ids: usize,
    users: BTreeSet<UserKey>,
    users_changed: BTreeSet<UserKey>,
    uncompared: BTreeMap<String, u64>,
    examples: Examples,
    read: Durations,
    decide: Durations,
    replayed: Durations,
    candidate: Durations,
}

impl<'a> Counting<'a> {
    /// `most_ids` changed decisions are named.
    pub(super) fn new(segments: &[SegmentBy], labels: &'a Labels, most_ids: usize) -> Self {
        Self {
            report: CandidateReport::default(),
            survey: Survey::default(),
            segments: Segments::new(segments),
            scores: BTreeMap::new(),
            labels,
            most_ids,
            users: BTreeSet::new(),
            users_changed: BTreeSet::new(),
            uncompared: BTreeMap::new(),
            examples: Examples::default(),
            read: Durations::new(),
            decide: Durations::new(),
            replayed: Durations::new(),
            candidate: Durations::new(),
        }
    }

    pub(super) fn read(&mut self, record: &DecisionRecord) {
        self.report.records += 1;
        self.survey.read(record);
        self.read.add(u64::from(record.observed.read_us) * 1_000);
        self.decide.add(u64::from(record.observed.decide_us) * 1_000);
    }

    /// What came of a decision that is old enough.
    pub(super) fn came(&mut self, logged: &str, is_kept: bool, joined: JoinedReward) {
        entry(&mut self.report.outcomes, logged).take(is_kept, joined.reward, joined.is_rewarded);
    }

    pub(super) fn cannot(&mut self, reason: String) {
        count(&mut self.uncompared, &reason);
    }

    /// How long one decision took in this replay, by what decided it and by the candidate.
    pub(super) fn timed(&mut self, replayed_ns: u64, candidate_ns: u64) {
        self.replayed.add(replayed_ns);
        self.candidate.add(candidate_ns);
    }

    pub(super) fn compare(&mut self, record: &DecisionRecord, candidate: &Decision, features: &FeatureSet) {
        let logged = &record.decision;
        let flipped = logged.action != candidate.action;
        self.survey.compared(logged.rung, candidate.rung);
        self.segments.count(record, features, flipped);
        let report = &mut self.report;
        report.flips.count(flipped);
        entry(&mut report.by_point, &record.inputs.decision_point).count(flipped);
        report.by_rung.entry(logged.rung.as_str()).or_default().count(flipped);
        entry(&mut report.actions, &logged.action).logged += 1;
        entry(&mut report.actions, &candidate.action).candidate += 1;
        *entry(entry(&mut report.confusion, &logged.action), &candidate.action) += 1;
        for assignment in &logged.assignments {
            let arms = entry(&mut report.experiments, &assignment.experiment);
            let arm = entry(arms, &assignment.arm);
            arm.flips.count(flipped);
            let stays = candidate
                .assignments
                .iter()
                .any(|now| now.experiment == assignment.experiment && now.arm == assignment.arm);
            arm.moved += u64::from(!stays);
        }
        self.scores(record, candidate);
        let user = record.inputs.user;
        if self.users.len() < MAX_USERS {
            self.users.insert(user);
        }
        if flipped {
            if self.users_changed.len() < MAX_USERS {
                self.users_changed.insert(user);
            }
            let cause = Cause::of(logged, candidate);
            count(&mut self.report.causes, &cause.to_string());
            *self.report.stages.entry(cause.stage().as_str()).or_default() += 1;
            if self.report.changed_decisions.len() < self.most_ids {
                self.report.changed_decisions.push(record.inputs.decision_id.to_string());
            }
            self.examples.offer(record, candidate, &cause);
        }
    }

    fn scores(&mut self, record: &DecisionRecord, candidate: &Decision) {
        for score in &candidate.scores {
            let before = record.decision.scores.iter().find(|before| before.alias == score.alias);
            let (Some(before), Some(now)) = (before.and_then(|before| before.score), score.score) else {
                continue;
            };
            let (logged, candidate) = (before.calibrated, now.calibrated);
            let group = group(record);
            if !self.scores.contains_key(&*score.alias) {
                let empty = Scores {
                    shift: ScoreShift::default(),
                    sample: EvenSample::new(MAX_SCORED),
                    labelled: EvenSample::new(MAX_SCORED),
                };
                self.scores.insert(score.alias.to_string(), empty);
            }
            let Some(scores) = self.scores.get_mut(&*score.alias) else { continue };
            scores.shift.take(logged, candidate);
            scores.sample.offer(|| Scored { logged, candidate, group });
            if let Some(label) = self.labels.of(&score.alias, record.inputs.decision_id, record.inputs.now) {
                let at = record.inputs.now;
                scores.labelled.offer(|| Labelled { at, logged, candidate, group, label });
            }
        }
    }

    pub(super) fn finish(
        self,
        gates: Option<&Gates>,
        control: Option<Control>,
        value: Option<Evaluation>,
    ) -> CandidateReport {
        let last_at = self.survey.last_at();
        let mut report = self.report;
        report.flips.settle();
        report.by_point.values_mut().chain(report.by_rung.values_mut()).for_each(Flips::settle);
        report.experiments.values_mut().flat_map(|arms| arms.values_mut()).for_each(|arm| arm.flips.settle());
        report.segments = self.segments.finish(report.flips);
        for (alias, mut scores) in self.scores {
            scores.shift.settle();
            scores.shift.measure(&scores.sample.into_kept());
            if let Some(label) = self.labels.find(&alias) {
                let mature = last_at.plus_millis(-label.within_ms);
                let quality = Quality::of(label.spelled(), &scores.labelled.into_kept(), mature);
                report.quality.insert(alias.clone(), quality);
            }
            report.scores.insert(alias, scores.shift);
        }
        report.users = self.users.len() as u64;
        report.users_changed = self.users_changed.len() as u64;
        let told = |(reason, decisions)| Uncompared { reason, decisions };
        report.uncompared = self.uncompared.into_iter().map(told).collect();
        report.uncompared.sort_by_key(|of| std::cmp::Reverse(of.decisions));
        report.examples = self.examples.finish(&report.causes);
        report.value = value;
        report.timing = Timing::of((&self.read, &self.decide), &self.replayed, &self.candidate);
        report.validity = self.survey.finish(control);
        report.settle_gates(gates);
        report
    }
}

/// Rows of one user are resampled together.
pub(super) fn group(record: &DecisionRecord) -> u64 {
    let (words, _) = record.inputs.user.as_bytes().as_chunks::<8>();
    words.first().map_or(0, |word| u64::from_le_bytes(*word))
}

/// The entry of `name`; beyond the bound that of all others.
fn entry<'m, Of: Default>(map: &'m mut BTreeMap<String, Of>, name: &str) -> &'m mut Of {
    let name = if map.contains_key(name) || map.len() < MAX_KINDS { name } else { OTHERS };
    map.entry(name.to_owned()).or_default()
}

fn count(counts: &mut BTreeMap<String, u64>, name: &str) {
    *entry(counts, name) += 1;
}

impl CandidateReport {
    /// Holds the figures to the gates.
    pub(super) fn settle_gates(&mut self, gates: Option<&Gates>) {
        self.gates = gates.unwrap_or(&Gates::default()).check(self);
        // Without a control nothing is promoted, but a mere comparison asks for none either.
        let control_holds = self.validity.control.as_ref().map_or(gates.is_none(), Control::is_clean);
        self.verdict = Gates::verdict(&self.gates, gates.is_some(), control_holds);
    }

    /// Whether it passes all gates.
    pub fn passes(&self) -> bool {
        self.gates.iter().all(|gate| gate.passes)
    }
}
