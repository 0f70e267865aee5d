//! Whether decision points fit their exploration, and what actions say of their successes, compiled.
//!
//! Not here: the form of single values (`file`), or the odds (`explore`).

use std::sync::Arc;

use augur_domain::ValueType;

use crate::arbitrate::{Count, EvidenceSource};
use crate::compile::{Compiler, Questions, indices};
use crate::explore::{MAX_POSTERIORS, Method};
use crate::file::{ActionEntry, Complaints, CountEntry, Policy};

/// Adds everything that does not fit to `complaints`.
pub(crate) fn check_exploration(policy: &Policy, complaints: &mut Complaints<'_>) {
    for point in &policy.points {
        let Some(exploration) = point.exploration.as_ref() else { continue };
        if exploration.value.method != Method::Thompson {
            continue;
        }
        let offered =
            |action: &&ActionEntry| point.actions.iter().any(|name| name.value == action.name.value);
        let known = policy.actions.iter().filter(offered).filter(|action| action.evidence.is_some()).count();
        if known == 0 || known > MAX_POSTERIORS {
            let message =
                format!("{known} actions of `{}` declare `successes` and `failures`", point.name.value);
            let expected = format!("1 to {MAX_POSTERIORS} of them with `kind = \"thompson\"`");
            complaints.add(exploration.offset, message, expected, "");
        }
    }
    for action in &policy.actions {
        if let Some(evidence) = action.evidence.as_ref().filter(|_| !action.declares_value) {
            let message =
                format!("the action `{}` counts successes that are worth nothing", action.name.value);
            complaints.add(
                evidence.offset,
                message,
                "a `value` or `value_fallback`: what a success is worth",
                "",
            );
        }
    }
}

impl Compiler<'_> {
    /// Gives the candidates of every decision point what their actions say of their successes.
    pub(crate) fn evidence(&mut self, policy: &Policy) {
        for entry in &policy.actions {
            let Some(evidence) = &entry.evidence else { continue };
            let points =
                indices(policy, |point| point.actions.iter().any(|name| name.value == entry.name.value));
            let place = format!("action {}", entry.name.value);
            let mut compiled = |key: &str, count: &CountEntry| match count {
                CountEntry::Number(_) => Questions::new(),
                CountEntry::Written(written) => {
                    self.questions(Some(written), key, &place, &points, ValueType::Number)
                }
            };
            let successes = compiled("successes", &evidence.successes);
            let failures = compiled("failures", &evidence.failures);
            for index in &points {
                let of = |count: &CountEntry, questions: &Questions| match count {
                    CountEntry::Number(number) => Some(Count::Number(*number)),
                    CountEntry::Written(_) => questions.get(index).map(Arc::clone).map(Count::Question),
                };
                let source = of(&evidence.successes, &successes).zip(of(&evidence.failures, &failures));
                let candidates = self.points.get_mut(*index).map(|point| &mut point.candidates);
                let mut candidates = candidates.into_iter().flatten();
                let candidate = candidates.find(|candidate| *candidate.action.name == *entry.name.value);
                if let (Some(candidate), Some((successes, failures))) = (candidate, source) {
                    candidate.evidence = Some(EvidenceSource { successes, failures });
                }
            }
        }
    }
}
