//! Lints a policy against the feature definitions it is read with.
//!
//! Not here: the checks (`augur_decision`).

use augur_decision::{Finding, LintContext, PolicySnapshot, PolicySource};
use augur_domain::Timestamp;
use augur_feature_store::FeatureSchema;

use crate::app::check_definitions;
use crate::config::Config;
use crate::{Error, active};

/// Everything that looks amiss in the policy that `config` names, in file order, as of `now`.
///
/// # Errors
/// As [`check_definitions`]: a policy with faults is not linted.
pub fn lint_policy(config: &Config, now: Timestamp) -> Result<Vec<Finding>, Error> {
    let checked = check_definitions(config)?;
    let source = active::policy_source(&config.data.policy)?;
    Ok(findings(&checked.policy, &source, &checked.schema, now))
}

fn findings(
    policy: &PolicySnapshot,
    source: &PolicySource,
    schema: &FeatureSchema,
    now: Timestamp,
) -> Vec<Finding> {
    let slots = 0..schema.feature_set().features().len();
    let greatest: Vec<Option<f64>> = slots.map(|slot| schema.greatest(slot)).collect();
    policy.lint(source, LintContext { now, greatest: &greatest })
}
