//! Why a model said what it said, in the policy's own words: the inputs that moved its score most, as reason codes.
//!
//! Not here: how an input's part is reckoned ([`augur_models::Scorer::contributions`]). Words depend on the policy, the
//! logged features and the logged model alone, so a replay finds the same ones.

use std::collections::BTreeMap;
use std::sync::Arc;

use augur_domain::{Reason, ReasonCode};

use crate::row::DecisionRow;

/// Words of one model, by the slot of the feature that they are about.
#[derive(Debug, Default)]
pub(crate) struct Words {
    /// Most words of one decision.
    pub(crate) most: usize,
    pub(crate) by_slot: BTreeMap<usize, Directions>,
}

/// What is said when a feature moved the score up or down; nothing where there is no word.
#[derive(Debug, Default)]
pub(crate) struct Directions {
    pub(crate) raises: Option<Arc<str>>,
    pub(crate) lowers: Option<Arc<str>>,
}

/// The words for every score of a decision, model by model in the point's order.
pub(crate) fn explain(row: &DecisionRow<'_>) -> Vec<Reason> {
    let mut reasons = Vec::new();
    for (model, rung) in row.point.models(row.policy).zip(row.score_rungs) {
        let (Some(words), Some(scorer)) = (&model.words, model.scorer_on(*rung)) else { continue };
        let mut parts = Vec::new();
        scorer.contributions(&row.inputs.features, &mut parts);
        reasons.extend(words.of(parts));
    }
    reasons
}

impl Words {
    /// The words for the largest contributions that have any, each word once. What moves nothing says nothing.
    fn of(&self, mut parts: Vec<(usize, f64)>) -> Vec<Reason> {
        // Stable: among equals the model's own order stands.
        parts.sort_by(|(_, a), (_, b)| b.abs().total_cmp(&a.abs()));
        let mut reasons: Vec<Reason> = Vec::new();
        for (slot, part) in parts.into_iter().filter(|(_, part)| part.is_finite() && part.abs() > 0.0) {
            if reasons.len() >= self.most {
                break;
            }
            let Some(directions) = self.by_slot.get(&slot) else { continue };
            let (code, word) = if part > 0.0 {
                (ReasonCode::ScoreRaised, &directions.raises)
            } else {
                (ReasonCode::ScoreLowered, &directions.lowers)
            };
            let reason = word.as_ref().map(|word| Reason::with(code, Arc::clone(word)));
            reasons.extend(reason.filter(|reason| !reasons.contains(reason)));
        }
        reasons
    }
}
