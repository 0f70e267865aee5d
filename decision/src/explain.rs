//! Why a model said what it said, in the policy's own words: the inputs that moved its score most, as reason codes.
//!
//! Not here: how an input's part is reckoned ([`augur_models::Scorer::contributions`]). Words depend on the policy, the
//! logged features and the logged model alone, so a replay finds the same ones.

use std::collections::BTreeMap;
use std::sync::Arc;

use augur_domain::{Reason, ReasonCode};

use crate::answer::Reasons;
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

/// Tells the words for every score of a decision, model by model in the point's order. `parts` is room to reckon in.
pub(crate) fn explain(row: &DecisionRow<'_>, parts: &mut Vec<(usize, f64)>, reasons: &mut Reasons<'_>) {
    for (model, rung) in row.point.models(row.policy).zip(row.score_rungs) {
        let (Some(words), Some(scorer)) = (&model.words, model.scorer_on(*rung)) else { continue };
        scorer.contributions(&row.inputs.features, parts);
        words.tell(parts, reasons);
    }
}

impl Words {
    /// Tells the words for the largest contributions that have any, each word once. What moves nothing says nothing.
    fn tell(&self, parts: &mut Vec<(usize, f64)>, reasons: &mut Reasons<'_>) {
        parts.retain(|(slot, part)| self.word(*slot, *part).is_some());
        let begin = reasons.len();
        while reasons.len() - begin < self.most && !reasons.is_full() {
            // Among equals the model's own order stands.
            let largest = parts
                .iter()
                .enumerate()
                .reduce(|largest, other| if other.1.1.abs() > largest.1.1.abs() { other } else { largest });
            let Some((place, (slot, part))) = largest.map(|(place, part)| (place, *part)) else { return };
            parts.remove(place);
            let Some((code, word)) = self.word(slot, part) else { continue };
            let is_it = |said: &Reason| said.code == code && said.detail.as_ref() == Some(word);
            if !reasons.since(begin).iter().any(is_it) {
                reasons.push(Reason::with(code, Arc::clone(word)));
            }
        }
    }

    /// What is said when the input in `slot` adds `part`.
    fn word(&self, slot: usize, part: f64) -> Option<(ReasonCode, &Arc<str>)> {
        let directions = self.by_slot.get(&slot).filter(|_| part.is_finite())?;
        let (code, word) = if part > 0.0 {
            (ReasonCode::ScoreRaised, &directions.raises)
        } else if part < 0.0 {
            (ReasonCode::ScoreLowered, &directions.lowers)
        } else {
            return None;
        };
        word.as_ref().map(|word| (code, word))
    }
}
