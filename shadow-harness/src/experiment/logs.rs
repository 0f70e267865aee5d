//! Units out of a data directory: who was enrolled is in the decision log, what came of it in the log of outcomes.
//!
//! Both may be written meanwhile. Outcomes are read first, so that none is missed whose decision is read. Not here: files
//! of other systems (their reader is the command line's).

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::Path;
use std::sync::Arc;

use augur_decision_log::codec::RecordView;
use augur_decision_log::{Error as LogError, OutcomeReader, Reader, unreadable};
use augur_domain::ids::OutcomeKey;
use augur_domain::{ContentHash, DecisionId, DecisionInputs, FeatureVector, OutcomeKind, Timestamp};

use super::{Problem, Units};
use crate::Error;
use crate::reward::RewardRule;

/// Most outcomes that are kept while the decision log is read; about 1 GB.
pub const MAX_OUTCOMES: usize = 16_000_000;
/// Names of experiments remembered, to be told when the wanted one never came.
const MAX_NAMES: usize = 20;

/// What to look for.
#[derive(Debug, Clone, PartialEq)]
pub struct LogQuery {
    /// The experiment, or the holdout: its arms are `held_out` and `reached`.
    pub name: String,
    /// What counts as a conversion.
    pub kind: OutcomeKind,
    /// Decisions from here on.
    pub from: Timestamp,
    /// Decisions and outcomes before this.
    pub until: Timestamp,
    /// Outcomes that happened later than so long after their decision do not count.
    pub within_ms: i64,
    /// How the outcomes of a decision become its value. `None`: all values that outcomes of any kind carry, added up.
    pub rule: Option<RewardRule>,
    /// Until when outcomes are known: by a rule, decisions that are older than its window then and have none are worth its
    /// default.
    pub known_at: Timestamp,
}

/// How reading went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Joined {
    /// Decisions that enrolled somebody.
    pub decisions: u64,
    /// Outcomes in the log that are of a kind asked for, repetitions left out.
    pub outcomes: u64,
    /// Outcomes that were reported more than once; the first counts.
    pub repeated: u64,
    /// Of the outcomes those that belong to a decision that enrolled somebody, in time.
    pub joined: u64,
    /// Units of whom something is known from before.
    pub units_with_pre: u64,
}

/// What a policy declares of the experiment or holdout that is looked for.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Declared {
    /// The share of users that each arm should have; empty if that is not known.
    pub shares: Vec<(String, f64)>,
    /// The slot of the feature whose value, at the decision that first counts a unit in, is what was known before.
    pub pre: Option<usize>,
}

/// Finds what a policy declares; asked once for each policy that counted somebody in.
pub type Declares<'a> = &'a mut dyn FnMut(ContentHash) -> Result<Declared, Error>;

/// Who was enrolled, and what came of it.
#[derive(Debug)]
pub struct Enrolments {
    /// By arm.
    pub units: Units,
    /// How reading went.
    pub joined: Joined,
    /// How many units each arm should have, by what the policy declared that first counted each in; empty if some
    /// policy's shares are not known.
    pub expected: Vec<(String, f64)>,
}

/// An outcome while it waits for its decision.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    decision: DecisionId,
    outcome: OutcomeKey,
    sequence: u64,
    occurred_at: Timestamp,
    converts: bool,
    value: f64,
}

/// Reads who was enrolled and what came of it; `progress` is called per decision read.
///
/// # Errors
/// [`Error::Log`] for damage, [`Error::Experiment`] when a bound is reached or nobody was enrolled; what `declares` says.
pub fn read_logs(
    decisions: &Path,
    outcomes: &Path,
    query: &LogQuery,
    declares: Declares<'_>,
    progress: &dyn Fn(),
) -> Result<Enrolments, Error> {
    let mut joined = Joined::default();
    let mut policies: BTreeMap<ContentHash, (Declared, u64)> = BTreeMap::new();
    let waiting = read_outcomes(outcomes, query, &mut joined)?;
    let mut units = Units::new();
    let mut others: Vec<Arc<str>> = Vec::new();
    let mut reader = Reader::open_at(decisions, query.from)?;
    loop {
        let (position, bytes) = match reader.next_bytes() {
            Ok(Some(found)) => found,
            // What the writer is about to finish ends the log as it stands.
            Ok(None) | Err(LogError::TruncatedTail { .. }) => break,
            Err(error) => return Err(error.into()),
        };
        progress();
        let read = RecordView::parse(bytes).and_then(|record| enrolment(&record, query, &mut others));
        let enrolled = read.map_err(|error| unreadable(decisions, position, error))?;
        let Some(enrolled) = enrolled else { continue };
        joined.decisions += 1;
        let known = units.len();
        let unit = units.enrol(enrolled.user, &enrolled.arm).map_err(Error::Experiment)?;
        if units.len() > known {
            let (declared, counted) = match policies.entry(enrolled.policy) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => entry.insert((declares(enrolled.policy)?, 0)),
            };
            *counted += 1;
            if let Some(pre) = declared.pre.and_then(|slot| enrolled.features.usable(slot)) {
                units.set_before(unit, pre);
                joined.units_with_pre += 1;
            }
        }
        let mut in_time = Vec::new();
        for outcome in of_decision(&waiting, enrolled.decision) {
            let age_ms = outcome.occurred_at.millis_since(enrolled.at);
            if age_ms > query.within_ms {
                continue;
            }
            joined.joined += 1;
            if outcome.converts {
                units.convert(unit);
            }
            in_time.push((outcome.occurred_at, outcome.value));
        }
        units.add_value(unit, value_of(&mut in_time, enrolled.at, query));
    }
    if units.is_empty() {
        return Err(Error::Experiment(Problem::NoUnits { hint: hint(query, &others) }));
    }
    Ok(Enrolments { units, joined, expected: expected(policies.values()) })
}

/// How many of the units that policies counted in each arm should have.
fn expected<'p>(policies: impl Iterator<Item = &'p (Declared, u64)>) -> Vec<(String, f64)> {
    let mut expected: BTreeMap<&str, f64> = BTreeMap::new();
    for (declared, counted) in policies {
        if declared.shares.is_empty() {
            return Vec::new();
        }
        for (arm, share) in &declared.shares {
            *expected.entry(arm).or_default() += share * *counted as f64;
        }
    }
    expected
        .into_iter()
        .filter(|(_, units)| *units > 0.0)
        .map(|(arm, units)| (arm.to_owned(), units))
        .collect()
}

/// What a decision's outcomes in time are worth together.
fn value_of(in_time: &mut [(Timestamp, f64)], decided_at: Timestamp, query: &LogQuery) -> f64 {
    let Some(rule) = &query.rule else { return in_time.iter().fold(0.0, |sum, (_, value)| sum + value) };
    // Stable: what happened at once stays in the order in which it was reported.
    in_time.sort_by_key(|(occurred_at, _)| *occurred_at);
    let worths: Vec<f64> = in_time.iter().map(|(_, worth)| *worth).collect();
    let is_mature = decided_at <= query.known_at.plus_millis(-query.within_ms);
    rule.of(&worths).unwrap_or(if is_mature { rule.default } else { 0.0 })
}

/// Outcomes of the wanted kind and those with a value, each once, ordered by decision.
fn read_outcomes(dir: &Path, query: &LogQuery, joined: &mut Joined) -> Result<Vec<Waiting>, Error> {
    let mut waiting = Vec::new();
    if !dir.is_dir() {
        return Ok(waiting);
    }
    for found in OutcomeReader::open_at(dir, query.from)? {
        let outcome = match found {
            Ok((_, outcome)) => outcome,
            Err(LogError::TruncatedTail { .. }) => break,
            Err(error) => return Err(error.into()),
        };
        let converts = outcome.kind == query.kind;
        let is_wanted = converts || (query.rule.is_none() && outcome.value.is_some());
        if outcome.occurred_at >= query.until || !is_wanted {
            continue;
        }
        if waiting.len() >= MAX_OUTCOMES {
            return Err(Error::Experiment(Problem::TooManyOutcomes { limit: MAX_OUTCOMES }));
        }
        waiting.push(Waiting {
            decision: outcome.decision,
            outcome: outcome.outcome,
            sequence: outcome.sequence,
            occurred_at: outcome.occurred_at,
            converts,
            value: worth(query.rule.as_ref(), outcome.value.map(augur_domain::value::Finite::get)),
        });
    }
    let all = waiting.len();
    waiting.sort_unstable_by_key(|outcome| (outcome.outcome, outcome.sequence));
    waiting.dedup_by_key(|outcome| outcome.outcome);
    joined.outcomes = waiting.len() as u64;
    joined.repeated = (all - waiting.len()) as u64;
    waiting.sort_unstable_by_key(|outcome| (outcome.decision, outcome.sequence));
    Ok(waiting)
}

fn worth(rule: Option<&RewardRule>, carried: Option<f64>) -> f64 {
    rule.map_or(carried.unwrap_or(0.0), |rule| rule.value.or(carried).unwrap_or(1.0))
}

fn of_decision(waiting: &[Waiting], decision: DecisionId) -> impl Iterator<Item = &Waiting> {
    let from = waiting.partition_point(|outcome| outcome.decision < decision);
    waiting.iter().skip(from).take_while(move |outcome| outcome.decision == decision)
}

/// A decision that counts somebody in.
struct Enrolled {
    decision: DecisionId,
    user: augur_domain::UserKey,
    at: Timestamp,
    arm: Arc<str>,
    policy: ContentHash,
    features: FeatureVector,
}

/// Reads the decision first: only those that enrol are decoded whole.
fn enrolment(
    record: &RecordView<'_>,
    query: &LogQuery,
    others: &mut Vec<Arc<str>>,
) -> Result<Option<Enrolled>, LogError> {
    let decision = record.decision()?;
    let enrolled = || decision.assignments.iter().filter(|assignment| assignment.enrolled);
    for assignment in enrolled() {
        if others.len() < MAX_NAMES && !others.contains(&assignment.experiment) {
            others.push(Arc::clone(&assignment.experiment));
        }
    }
    let ours = enrolled().find(|assignment| *assignment.experiment == *query.name);
    let arm = ours.map(|assignment| Arc::clone(&assignment.arm));
    let Some(arm) = arm else { return Ok(None) };
    let inputs = record.inputs()?;
    if inputs.now < query.from || inputs.now >= query.until {
        return Ok(None);
    }
    let DecisionInputs { decision_id, user, now, features, .. } = inputs;
    Ok(Some(Enrolled { decision: decision_id, user, at: now, arm, policy: record.policy, features }))
}

fn hint(query: &LogQuery, others: &[Arc<str>]) -> String {
    if others.is_empty() {
        return " and no decision in the log is part of any experiment; is this the right data directory?"
            .to_owned();
    }
    format!(" in `{}`; the log knows {}", query.name, others.join(", "))
}

#[cfg(test)]
mod tests;
