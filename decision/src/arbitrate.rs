//! The choice among the actions that stand: who contends, with what odds, and who is drawn.
//!
//! Not here: the odds themselves (`explore`), or forced choices, which are never explored (`decide`).

use std::sync::Arc;

use augur_domain::decision::CandidateOutcome;
use augur_domain::rng::Purpose;
use augur_domain::{Reason, ReasonCode};

use crate::explore::{Contender, Evidence, Method, Odds, TieBreak, draw};
use crate::question::Question;
use crate::row::DecisionRow;

/// The chosen candidate, why, and how probably.
pub(crate) struct Choice {
    pub(crate) candidate: usize,
    pub(crate) reason: Reason,
    pub(crate) propensity: f64,
}

impl Choice {
    /// One that could not have been another.
    pub(crate) fn certain(candidate: usize, reason: Reason) -> Self {
        Self { candidate, reason, propensity: 1.0 }
    }
}

/// How many successes or failures there were, as it is compiled.
#[derive(Debug)]
pub(crate) enum Count {
    Number(f64),
    Question(Arc<Question>),
}

/// What an action says of its earlier successes.
#[derive(Debug)]
pub(crate) struct EvidenceSource {
    pub(crate) successes: Count,
    pub(crate) failures: Count,
}

impl EvidenceSource {
    /// What has to be asked.
    pub(crate) fn questions(&self) -> impl Iterator<Item = &Arc<Question>> {
        [&self.successes, &self.failures].into_iter().filter_map(|count| match count {
            Count::Question(question) => Some(question),
            Count::Number(_) => None,
        })
    }
}

/// Chooses among `candidates`, of whom those with the reason `OUTRANKED` stand, and writes their probabilities.
pub(crate) fn arbitrate(
    row: &DecisionRow<'_>,
    candidates: &mut [CandidateOutcome],
    unanswered: &mut Vec<Reason>,
    (contenders, odds): (&mut Vec<Contender>, &mut Odds),
) -> Choice {
    let point = row.point;
    if point.exploration.is_none() && point.tie_break == TieBreak::Declared {
        let best = best(candidates, 0..candidates.len()).unwrap_or(point.default);
        return Choice::certain(best, plain_reason(row, candidates));
    }
    find_contenders(row, candidates, unanswered, contenders);
    if contenders.is_empty() {
        return Choice::certain(point.default, plain_reason(row, candidates));
    }
    let method = point.exploration.as_ref().map(|exploration| exploration.method);
    odds.reckon(method, point.tie_break, contenders);
    let Odds { probabilities, greedy, .. } = &*odds;
    let purpose = if method.is_some() { Purpose::Exploration } else { Purpose::TieBreak };
    let drawn = draw(probabilities, row.inputs.seed, purpose);
    for (contender, probability) in contenders.iter().zip(probabilities) {
        if let Some(outcome) = candidates.get_mut(contender.candidate) {
            outcome.probability = *probability;
        }
    }
    let explored = point.exploration.as_ref().filter(|_| greedy.get(drawn) == Some(&false));
    let reason = explored.map_or_else(
        || plain_reason(row, candidates),
        |exploration| Reason::with(ReasonCode::Explored, Arc::clone(&exploration.words)),
    );
    Choice {
        candidate: contenders.get(drawn).map_or(point.default, |contender| contender.candidate),
        reason,
        propensity: probabilities.get(drawn).copied().unwrap_or(1.0),
    }
}

/// Why the best is given.
fn plain_reason(row: &DecisionRow<'_>, candidates: &[CandidateOutcome]) -> Reason {
    if let Some(holdout) = row.held_out {
        return Reason::with(ReasonCode::HeldOut, Arc::clone(&holdout.name));
    }
    let mut others = candidates.iter().enumerate().filter(|(index, _)| *index != row.point.default);
    let alone = candidates.len() > 1 && others.all(|(_, outcome)| !stands(outcome));
    Reason::new(if alone { ReasonCode::NoEligibleAction } else { ReasonCode::HighestValue })
}

/// Whether nothing refused the candidate.
pub(crate) fn stands(outcome: &CandidateOutcome) -> bool {
    outcome.reason.code == ReasonCode::Outranked
}

/// The standing candidate with the highest value among `which`, the first among equals.
pub(crate) fn best(candidates: &[CandidateOutcome], which: impl Iterator<Item = usize>) -> Option<usize> {
    let valued = which.filter_map(|index| {
        let outcome = candidates.get(index).filter(|outcome| stands(outcome))?;
        Some((index, outcome.value?))
    });
    let best = valued.reduce(|best, other| if other.1 > best.1 { other } else { best });
    best.map(|(index, _)| index)
}

/// Every candidate that stands. The default action may be explored if the policy gives it a value of its own.
fn find_contenders(
    row: &DecisionRow<'_>,
    candidates: &[CandidateOutcome],
    unanswered: &mut Vec<Reason>,
    contenders: &mut Vec<Contender>,
) {
    let point = row.point;
    let asks_evidence =
        point.exploration.as_ref().is_some_and(|exploration| exploration.method == Method::Thompson);
    contenders.clear();
    for (index, (outcome, candidate)) in candidates.iter().zip(&point.candidates).enumerate() {
        let (ReasonCode::Outranked, Some(value)) = (outcome.reason.code, outcome.value) else { continue };
        let source = candidate.evidence.as_ref().filter(|_| asks_evidence);
        contenders.push(Contender {
            candidate: index,
            value,
            may_be_explored: index != point.default || candidate.action.declares_value,
            evidence: source.map(|source| evidence(source, row, unanswered)),
        });
    }
}

/// A count that cannot be answered counts as none.
fn evidence(source: &EvidenceSource, row: &DecisionRow<'_>, unanswered: &mut Vec<Reason>) -> Evidence {
    let mut count = |count: &Count| match count {
        Count::Number(number) => *number,
        Count::Question(question) => {
            let evaluated = question.expression().evaluate(row);
            evaluated.as_number().filter(|number| number.is_finite()).map_or_else(
                || {
                    unanswered.push(question.unanswered(ReasonCode::ValueUnknown, &evaluated));
                    0.0
                },
                |number| number.clamp(0.0, 1e12),
            )
        }
    };
    Evidence { successes: count(&source.successes), failures: count(&source.failures) }
}
