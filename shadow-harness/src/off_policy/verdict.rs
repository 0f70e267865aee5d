//! Whether a log can tell the value of the target policy at all, and if not, how much exploration would change that.
//!
//! Not here: the figures that this looks at (`diagnostics`).

use std::fmt;

use serde::Serialize;

use super::diagnostics::Diagnostics;
use super::row::LoggedRow;

/// Decisions where the logging policy could give whatever the target policy would, at least.
const LEAST_COVERED: f64 = 0.95;
/// Standard errors that the mean weight may be away from 1.
const MOST_ERRORS_FROM_ONE: f64 = 4.0;
/// Effective rows, at least: this many, and this share of all.
const LEAST_EFFECTIVE_ROWS: f64 = 100.0;
const LEAST_EFFECTIVE_SHARE: f64 = 0.01;
/// Shares of exploration that are tried, in this many steps up to 1.
const EXPLORATION_STEPS: u32 = 200;

/// Why there is no telling.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "cause", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Refusal {
    /// The logging policy could not give what the target policy would.
    NotCovered {
        /// Share of decisions where it could.
        covered: f64,
        /// What is asked for.
        least: f64,
    },
    /// Weights do not average to 1: propensities are wrong, or support is missing.
    WeightsOff {
        /// What they average to.
        mean_weight: f64,
        /// How many standard errors that is away from 1.
        errors: f64,
    },
    /// A few rows carry all the weight.
    FewEffectiveRows {
        /// How many rows of equal weight would tell as much.
        effective_rows: f64,
        /// What is asked for.
        least: f64,
        /// How many times as many decisions of the same logging policy it takes.
        times_more: f64,
        /// The smallest share of uniform exploration, mixed into the logging policy, under which this many decisions would
        /// do; `None` if the number of actions is not known, or not even full exploration would.
        exploration: Option<f64>,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotCovered { covered, least } => write!(
                formatter,
                "only {:.1} % of decisions could have had what the target policy gives (at least {:.0} % are needed): \
                 log with exploration over all of its actions",
                100.0 * covered,
                100.0 * least
            ),
            Self::WeightsOff { mean_weight, errors } => write!(
                formatter,
                "weights average {mean_weight:.3}, {errors:.1} standard errors from 1: either the propensities are not \
                 those of the action that was given in the end, or the logging policy never gives some of what the \
                 target policy would"
            ),
            Self::FewEffectiveRows { effective_rows, least, times_more, exploration } => {
                write!(
                    formatter,
                    "the log tells as much as {effective_rows:.1} rows of equal weight (at least {least:.0} are needed): \
                     log {times_more:.1} times as many decisions"
                )?;
                match exploration {
                    Some(share) => {
                        write!(formatter, ", or explore uniformly in {:.1} % of them", 100.0 * share)
                    }
                    None => Ok(()),
                }
            }
        }
    }
}

/// Whether estimates may be believed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// Whether nothing speaks against it.
    pub identifiable: bool,
    /// What does.
    pub refusals: Vec<Refusal>,
}

impl Verdict {
    /// `actions`: how many the logging policy chooses from, if known.
    pub(super) fn of(diagnostics: &Diagnostics, rows: &[LoggedRow], actions: Option<u32>) -> Self {
        let mut refusals = Vec::new();
        if let Some(covered) = diagnostics.covered.filter(|covered| *covered < LEAST_COVERED) {
            refusals.push(Refusal::NotCovered { covered, least: LEAST_COVERED });
        }
        let off = (diagnostics.mean_weight - 1.0).abs();
        // One huge weight makes the error as large as the mean; the other checks see that.
        if off > MOST_ERRORS_FROM_ONE * diagnostics.mean_weight_error && off > 1e-9 {
            let errors = off / diagnostics.mean_weight_error;
            refusals.push(Refusal::WeightsOff { mean_weight: diagnostics.mean_weight, errors });
        }
        let count = diagnostics.rows as f64;
        let least = LEAST_EFFECTIVE_ROWS.max(LEAST_EFFECTIVE_SHARE * count);
        if diagnostics.effective_rows < least {
            refusals.push(Refusal::FewEffectiveRows {
                effective_rows: diagnostics.effective_rows,
                least,
                times_more: least / diagnostics.effective_rows.max(f64::MIN_POSITIVE),
                exploration: actions.and_then(|actions| exploration(rows, actions, least)),
            });
        }
        Self { identifiable: refusals.is_empty(), refusals }
    }
}

/// The smallest share `e` of uniform exploration over `actions` for which `n / E[w^2]` reaches `least`, where the logging
/// policy gives `(1 - e) p + e / actions`. The expectation is taken over this log: a row counts with how much likelier it
/// would have become.
fn exploration(rows: &[LoggedRow], actions: u32, least: f64) -> Option<f64> {
    let count = rows.len() as f64;
    let reaches = |share: f64| {
        let mut squares = 0.0;
        for row in rows {
            let mixed = (1.0 - share) * row.logged_probability() + share / f64::from(actions);
            squares +=
                row.target_probability() * row.target_probability() / (row.logged_probability() * mixed);
        }
        count * count / squares >= least
    };
    (1..=EXPLORATION_STEPS)
        .map(|step| f64::from(step) / f64::from(EXPLORATION_STEPS))
        .find(|share| reaches(*share))
}
