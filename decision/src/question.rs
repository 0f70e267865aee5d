//! A compiled expression together with the words in which its silence is reported.
//!
//! Not here: the language (`augur_expression`) or what is done with an answer (`decide`).

use std::sync::Arc;

use augur_domain::{Reason, ReasonCode};
use augur_expression::{Evaluated, Expression, Slot};

/// One expression of the policy.
#[derive(Debug)]
pub(crate) struct Question {
    expression: Expression,
    /// Where it stands, e.g. `rule vip_no_discount`.
    place: Arc<str>,
    /// Per slot that it reads, ascending: `rule vip_no_discount: features.purchases_30d`. Written once at load so
    /// that a missing input costs no allocation.
    missing: Vec<(Slot, Arc<str>)>,
}

impl Question {
    /// `path` names a slot as the policy's author wrote it.
    pub(crate) fn new(expression: Expression, place: Arc<str>, path: impl Fn(Slot) -> String) -> Self {
        let missing = expression
            .slots()
            .iter()
            .map(|slot| (*slot, format!("{place}: {}", path(*slot)).into()))
            .collect();
        Self { expression, place, missing }
    }

    pub(crate) fn expression(&self) -> &Expression {
        &self.expression
    }

    /// The slots it reads.
    pub(crate) fn slots(&self) -> &[Slot] {
        self.expression.slots()
    }

    /// The reason to give when `evaluated` is no answer.
    pub(crate) fn unanswered(&self, code: ReasonCode, evaluated: &Evaluated<'_>) -> Reason {
        let detail = match evaluated {
            Evaluated::Missing(slot) => self.missing.iter().find(|(known, _)| known == slot),
            Evaluated::Known(_) | Evaluated::Undefined(_) => None,
        };
        let detail = match (detail, evaluated) {
            (Some((_, words)), _) => Arc::clone(words),
            (None, Evaluated::Undefined(why)) => format!("{}: {why}", self.place).into(),
            (None, _) => Arc::clone(&self.place),
        };
        Reason::with(code, detail)
    }
}
