//! Records of live shadow, added up by candidate.
//!
//! Memory is bounded: names beyond what is counted one by one are counted together. Not here: prose (`text`).

use std::collections::{BTreeMap, BTreeSet};

use augur_domain::decision::Rung;
use augur_domain::live_shadow::{ShadowAnswer, ShadowCounts, ShadowRecord, ShadowStatus};
use augur_domain::{Reason, Timestamp};

use super::{
    ActionVolume, CandidateReport, Flip, Kept, Latency, PointFlips, ReasonDifference, RungVolume,
    ScoreDifference, Turns, WeightedShare,
};
use crate::experiment::interval::{Interval, Share};

/// Names of each kind that are counted one by one.
const MAX_NAMES: usize = 1_000;
/// What names beyond that are counted as.
const OTHERS: &str = "(others)";
/// Flips and reasons that are told.
const MAX_TOLD: usize = 50;
/// Of all intervals.
const CONFIDENCE: f64 = 0.95;
/// Rungs, best first.
const RUNGS: [Rung; 5] =
    [Rung::Champion, Rung::PreviousModel, Rung::SegmentDefault, Rung::RulesOnly, Rung::DefaultAction];

/// Which records are looked at; all by default.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of this candidate only.
    pub candidate: Option<String>,
    /// Of this decision point only.
    pub decision_point: Option<String>,
    /// Of decisions from this instant on.
    pub since: Option<Timestamp>,
}

impl Filter {
    /// Whether it is looked at.
    pub fn takes(&self, record: &ShadowRecord) -> bool {
        self.candidate.as_ref().is_none_or(|name| **name == *record.candidate)
            && self.decision_point.as_ref().is_none_or(|name| **name == *record.decision_point)
            && self.since.is_none_or(|since| record.decided_at >= since)
    }
}

/// Everything so far, by candidate.
#[derive(Debug, Default)]
pub struct Comparison {
    candidates: BTreeMap<String, Sums>,
}

/// Weights of some records.
#[derive(Debug, Clone, Copy, Default)]
struct Weights {
    records: u64,
    sum: f64,
    squares: f64,
}

impl Weights {
    fn add(&mut self, weight: f64) {
        self.records += 1;
        self.sum += weight;
        self.squares += weight * weight;
    }

    /// As how many records of equal weight they count.
    fn effective(&self) -> f64 {
        if self.squares > 0.0 { self.sum * self.sum / self.squares } else { 0.0 }
    }

    fn share_of(&self, all: &Self) -> WeightedShare {
        let share = if all.sum > 0.0 { (self.sum / all.sum).clamp(0.0, 1.0) } else { 0.0 };
        // Whole decisions of equal weight that are worth as much.
        let of = all.effective().max(1.0);
        let worth = Share { hits: (share * of).round() as u64, of: of.round() as u64 };
        let interval = worth.interval(CONFIDENCE);
        let interval = Interval { low: interval.low.min(share), high: interval.high.max(share) };
        WeightedShare { records: self.records, share, interval }
    }
}

#[derive(Debug, Default)]
struct Sums {
    records: u64,
    span: Option<(Timestamp, Timestamp)>,
    policies: BTreeSet<String>,
    models: BTreeSet<String>,
    turns: Turns,
    all: Weights,
    answered: Weights,
    same: Weights,
    least_kept: f64,
    most_kept: f64,
    /// What was offered, by the start of the server that counted.
    counts: BTreeMap<Timestamp, ShadowCounts>,
    /// Answered turns, and flips among them, by decision point.
    points: BTreeMap<String, (Weights, Weights)>,
    /// By decision point, action given and action of the candidate; with an example.
    flips: BTreeMap<(String, String, String), (Weights, String)>,
    /// Given, and of the candidate, by decision point and action.
    actions: BTreeMap<(String, String), (Weights, Weights)>,
    rungs: BTreeMap<Rung, (u64, u64)>,
    reasons: BTreeMap<String, (u64, u64)>,
    scores: BTreeMap<String, Scores>,
    latency: [BTreeMap<u32, u64>; 2],
    problems: BTreeMap<String, u64>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Scores {
    weights: Weights,
    served: f64,
    candidates: f64,
    distance: f64,
    largest: f64,
}

/// The entry of `key`, or of the rest when there are too many.
fn bounded<K: Ord, V: Default>(map: &mut BTreeMap<K, V>, key: K, rest: impl FnOnce() -> K) -> &mut V {
    let key = if map.len() < MAX_NAMES || map.contains_key(&key) { key } else { rest() };
    map.entry(key).or_default()
}

impl Comparison {
    /// Adds a record.
    pub fn take(&mut self, record: &ShadowRecord) {
        bounded(&mut self.candidates, record.candidate.to_string(), || OTHERS.to_owned()).take(record);
    }

    /// What it comes to, by name of the candidate.
    pub fn finish(self) -> Vec<CandidateReport> {
        self.candidates.into_iter().map(|(name, sums)| sums.finish(name)).collect()
    }
}

impl Sums {
    fn take(&mut self, record: &ShadowRecord) {
        let weight = 1.0 / record.kept;
        self.least_kept = if self.records == 0 { record.kept } else { self.least_kept.min(record.kept) };
        self.most_kept = self.most_kept.max(record.kept);
        self.records += 1;
        let at = record.decided_at;
        self.span = Some(self.span.map_or((at, at), |(from, to)| (from.min(at), to.max(at))));
        self.all.add(weight);
        let counts = bounded(&mut self.counts, record.counted_since, || Timestamp::from_unix_ms(0));
        if record.counts.offered >= counts.offered {
            *counts = record.counts;
        }
        match record.status {
            ShadowStatus::Same => self.turns.same += 1,
            ShadowStatus::Differs => self.turns.differs += 1,
            ShadowStatus::Failed => self.turns.failed += 1,
            ShadowStatus::TimedOut => self.turns.timed_out += 1,
        }
        if !record.problem.is_empty() {
            *bounded(&mut self.problems, record.problem.to_string(), || OTHERS.to_owned()) += 1;
        }
        if let Some(answer) = &record.candidates {
            self.compare(record, answer, weight);
        }
    }

    fn compare(&mut self, record: &ShadowRecord, answer: &ShadowAnswer, weight: f64) {
        let (served, others) = (&record.served, || OTHERS.to_owned());
        let point = record.decision_point.to_string();
        let flips = record.status == ShadowStatus::Differs;
        self.answered.add(weight);
        if self.policies.len() < MAX_NAMES {
            self.policies.insert(answer.policy.short());
        }
        for (alias, model) in &answer.models {
            if self.models.len() < MAX_NAMES {
                self.models.insert(format!("{alias} {}@{}", model.name, model.version));
            }
        }
        let (all, flipped) = bounded(&mut self.points, point.clone(), others);
        all.add(weight);
        if flips {
            flipped.add(weight);
            let way = (point.clone(), served.action.to_string(), answer.action.to_string());
            let (weights, example) = bounded(&mut self.flips, way, || (others(), others(), others()));
            weights.add(weight);
            *example = record.decision.to_string();
        } else {
            self.same.add(weight);
        }
        let action = |name: &str| (point.clone(), name.to_owned());
        let (given, would) = (action(&served.action), action(&answer.action));
        bounded(&mut self.actions, given, || (others(), others())).0.add(weight);
        bounded(&mut self.actions, would, || (others(), others())).1.add(weight);
        self.rungs.entry(served.rung).or_default().0 += 1;
        self.rungs.entry(answer.rung).or_default().1 += 1;
        self.compare_reasons(&served.reasons, &answer.reasons);
        self.compare_scores(served, answer, weight);
        for (times, us) in self.latency.iter_mut().zip([served.decide_us, answer.decide_us]) {
            *times.entry(three_digits(us)).or_default() += 1;
        }
    }

    fn compare_reasons(&mut self, served: &[Reason], answered: &[Reason]) {
        let only = |ours: &[Reason], theirs: &[Reason]| {
            let ours = ours.iter().filter(|reason| !theirs.contains(reason));
            ours.map(in_words).collect::<BTreeSet<String>>()
        };
        for reason in only(served, answered) {
            bounded(&mut self.reasons, reason, || OTHERS.to_owned()).0 += 1;
        }
        for reason in only(answered, served) {
            bounded(&mut self.reasons, reason, || OTHERS.to_owned()).1 += 1;
        }
    }

    fn compare_scores(&mut self, served: &ShadowAnswer, answered: &ShadowAnswer, weight: f64) {
        for (alias, score) in &served.scores {
            let theirs = answered.scores.iter().find(|(known, _)| known == alias);
            let (Some(ours), Some((_, Some(theirs)))) = (score, theirs) else { continue };
            let sums = bounded(&mut self.scores, alias.to_string(), || OTHERS.to_owned());
            let distance = (ours - theirs).abs();
            sums.weights.add(weight);
            sums.served += weight * ours;
            sums.candidates += weight * theirs;
            sums.distance += weight * distance;
            sums.largest = sums.largest.max(distance);
        }
    }

    fn finish(self, candidate: String) -> CandidateReport {
        let notes = self.notes();
        let (from, to) = self.span.unwrap_or_default();
        let kept = self.kept();
        let flips = self.flips.iter().map(|((point, served, would), (weights, example))| Flip {
            decision_point: point.clone(),
            served: served.clone(),
            candidates: would.clone(),
            share: weights.share_of(self.points.get(point).map_or(&self.answered, |(all, _)| all)),
            example: example.clone(),
        });
        let mut flips: Vec<Flip> = flips.collect();
        flips.sort_by(|one, other| other.share.share.total_cmp(&one.share.share));
        flips.truncate(MAX_TOLD);
        let mut reasons: Vec<_> = self.reasons.into_iter().collect();
        reasons.sort_by_key(|(_, (served, would))| std::cmp::Reverse(served + would));
        let mut problems: Vec<_> = self.problems.into_iter().collect();
        problems.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let answered = self.answered;
        let [served_us, candidates_us] = self.latency.each_ref().map(percentiles);
        CandidateReport {
            candidate,
            records: self.records,
            from: from.to_string(),
            to: to.to_string(),
            policies: self.policies.into_iter().collect(),
            models: self.models.into_iter().collect(),
            turns: self.turns,
            kept,
            agreement: (answered.records > 0).then(|| self.same.share_of(&answered)),
            flips_by_point: self
                .points
                .iter()
                .map(|(point, (all, flips))| PointFlips {
                    decision_point: point.clone(),
                    answered: all.records,
                    flips: flips.share_of(all),
                })
                .collect(),
            flips,
            actions: self
                .actions
                .iter()
                .map(|((point, action), (served, would))| {
                    let all = self.points.get(point).map_or(&answered, |(all, _)| all);
                    ActionVolume {
                        decision_point: point.clone(),
                        action: action.clone(),
                        served: served.share_of(all),
                        candidates: would.share_of(all),
                    }
                })
                .collect(),
            rungs: RUNGS
                .iter()
                .filter_map(|rung| {
                    let (served, candidates) = *self.rungs.get(rung)?;
                    Some(RungVolume { rung: rung.as_str(), served, candidates })
                })
                .collect(),
            reasons: reasons
                .into_iter()
                .take(MAX_TOLD)
                .map(|(reason, (only_served, only_candidates))| ReasonDifference {
                    reason,
                    only_served,
                    only_candidates,
                })
                .collect(),
            scores: self.scores.into_iter().map(|(alias, sums)| sums.finish(alias)).collect(),
            latency: Latency { served_us, candidates_us },
            problems,
            notes,
        }
    }

    fn kept(&self) -> Kept {
        let sum = |of: fn(&ShadowCounts) -> u64| self.counts.values().map(of).sum();
        Kept {
            offered: sum(|counts| counts.offered),
            thinned: sum(|counts| counts.thinned),
            full: sum(|counts| counts.full),
            refused: sum(|counts| counts.refused),
            least: self.least_kept,
            most: self.most_kept,
            weights: self.all.sum,
            effective: self.all.effective(),
        }
    }

    fn notes(&self) -> Vec<String> {
        let Kept { offered, thinned, full, refused, .. } = self.kept();
        let drawn = offered.saturating_sub(thinned);
        let lost = full + refused;
        let mut notes = Vec::new();
        if lost * 100 > drawn {
            notes.push(format!(
                "{lost} of {drawn} drawn decisions are missing ({full} for want of room, {refused} while the candidate was left alone): shares leave those moments out"
            ));
        }
        let without = self.turns.failed + self.turns.timed_out;
        if without * 100 > self.records {
            notes.push(format!(
                "{without} of {} turns brought no answer: shares are of those that did",
                self.records
            ));
        }
        if self.policies.len() > 1 || has_two_versions(&self.models) {
            notes.push("it decided by more than one policy or version: give a time to begin at".to_owned());
        }
        notes
    }
}

/// Whether an alias is among the models twice.
fn has_two_versions(models: &BTreeSet<String>) -> bool {
    let aliases = models.iter().filter_map(|model| model.split(' ').next());
    aliases.collect::<BTreeSet<_>>().len() < models.len()
}

impl Scores {
    fn finish(self, alias: String) -> ScoreDifference {
        let Self { weights, served, candidates, distance, largest } = self;
        ScoreDifference {
            alias,
            records: weights.records,
            served_mean: served / weights.sum,
            candidates_mean: candidates / weights.sum,
            mean_distance: distance / weights.sum,
            largest_distance: largest,
        }
    }
}

fn in_words(reason: &Reason) -> String {
    match &reason.detail {
        Some(detail) => format!("{} ({detail})", reason.code),
        None => reason.code.to_string(),
    }
}

/// To three digits, so that few values are counted.
fn three_digits(us: u32) -> u32 {
    let mut unit = 1;
    while us / unit >= 1_000 {
        unit *= 10;
    }
    us / unit * unit
}

/// Median, 95th and 99th percentile: the least value that so large a part does not exceed.
fn percentiles(times: &BTreeMap<u32, u64>) -> [u32; 3] {
    let all: u64 = times.values().sum();
    [50, 95, 99].map(|percent| {
        let mut below = 0;
        let reached = times.iter().find(|(_, count)| {
            below += **count;
            below * 100 >= all * percent
        });
        reached.map_or(0, |(us, _)| *us)
    })
}
