//! Gates that a version must pass before an alias is moved to it: its training report against the bounds given, and
//! against the report of the version that the alias points at.
//!
//! Not here: gates on live traffic, which need decisions (`canary`).

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The bounds. None given, none asked.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Gates {
    /// Least gain in ROC-AUC out of time over the present version; may be negative.
    pub min_roc_auc_gain: Option<f64>,
    /// Largest expected calibration error out of time.
    pub max_ece: Option<f64>,
}

/// What one gate found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GateOutcome {
    /// Which gate, as its option is called.
    pub gate: String,
    /// What was measured; absent when the report does not tell.
    pub found: Option<f64>,
    /// The bound.
    pub bound: f64,
    /// Whether the version may pass. What is not told does not pass.
    pub passed: bool,
}

impl Gates {
    /// Holds `candidate`, a training report, to the bounds. Without a present version there is nothing to gain over,
    /// and the gain passes.
    pub fn check(&self, candidate: &Value, present: Option<&Value>) -> Vec<GateOutcome> {
        let figure = |report: &Value, name: &str| report.get("out_of_time")?.get(name)?.as_f64();
        let mut outcomes = Vec::new();
        if let Some(bound) = self.min_roc_auc_gain {
            let found =
                present.and_then(|present| Some(figure(candidate, "roc_auc")? - figure(present, "roc_auc")?));
            let passed = present.is_none() || found.is_some_and(|gain| gain >= bound);
            outcomes.push(GateOutcome { gate: "min-auc-gain".to_owned(), found, bound, passed });
        }
        if let Some(bound) = self.max_ece {
            let found = figure(candidate, "ece");
            let passed = found.is_some_and(|ece| ece <= bound);
            outcomes.push(GateOutcome { gate: "max-ece".to_owned(), found, bound, passed });
        }
        outcomes
    }
}

impl std::fmt::Display for GateOutcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let found = self.found.map_or("not in the reports".to_owned(), |found| format!("{found:.4}"));
        let passed = if self.passed { "passed" } else { "not passed" };
        write!(f, "gate {}: {found}, bound {}, {passed}", self.gate, self.bound)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn passed(gates: Gates, candidate: &Value, present: Option<&Value>) -> Vec<bool> {
        gates.check(candidate, present).iter().map(|outcome| outcome.passed).collect()
    }

    #[test]
    fn what_is_better_passes_and_what_is_not_told_does_not() {
        let report = |roc_auc: f64, ece: f64| json!({"out_of_time": {"roc_auc": roc_auc, "ece": ece}});
        let gates = Gates { min_roc_auc_gain: Some(0.01), max_ece: Some(0.05) };
        let (present, better) = (report(0.7, 0.04), report(0.72, 0.04));
        assert_eq!(passed(gates, &better, Some(&present)), [true, true]);
        assert_eq!(passed(gates, &present, Some(&better)), [false, true]);
        assert_eq!(passed(gates, &report(0.8, 0.06), Some(&present)), [true, false]);
        assert_eq!(passed(gates, &report(0.5, 0.01), None), [true, true]);
        assert_eq!(passed(gates, &json!({}), Some(&present)), [false, false]);
        assert_eq!(passed(gates, &better, Some(&Value::Null)), [false, true]);
        assert!(Gates::default().check(&json!(null), None).is_empty());
        let words = gates.check(&report(0.705, 0.04), Some(&present))[0].to_string();
        assert_eq!(words, "gate min-auc-gain: 0.0050, bound 0.01, not passed");
    }
}
