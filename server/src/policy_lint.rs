//! Lints a policy against the feature definitions it is read with, and the models that are registered.
//!
//! Not here: the checks (`augur_decision`).

use std::path::Path;
use std::sync::Arc;

use augur_decision::{Finding, LintContext, ModelSource, PolicySnapshot, PossibleValues};
use augur_domain::Timestamp;
use augur_feature_store::FeatureSchema;
use augur_models::Registry;

use crate::Error;
use crate::active::{self, Registered};
use crate::app::{NoModels, check_features};
use crate::config::Config;

/// Everything that looks amiss in the policy that `config` names, in file order, as of `now`. The registry in `models`, if
/// there is one, tells the names of segments; a model in it that cannot be used is passed over.
///
/// # Errors
/// As [`check_definitions`](crate::check_definitions): a policy with faults is not linted.
pub fn lint_policy(config: &Config, models: Option<&Path>, now: Timestamp) -> Result<Vec<Finding>, Error> {
    let schema = check_features(config)?;
    let source = active::policy_source(&config.data.policy)?;
    let registry = models.filter(|dir| dir.is_dir()).map(Registry::open).transpose()?;
    let registered = registry.as_ref().map(Registered::lenient);
    let models: &dyn ModelSource = match &registered {
        Some(registered) => registered,
        None => &NoModels,
    };
    let features = Arc::clone(schema.feature_set());
    let policy = PolicySnapshot::load(&source, features, models).map_err(Error::Diagnostics)?;
    let features: Vec<PossibleValues> = possible(&schema);
    Ok(policy.lint(&source, LintContext { now, features: &features }))
}

fn possible(schema: &FeatureSchema) -> Vec<PossibleValues> {
    let slots = 0..schema.feature_set().features().len();
    let possible = slots.map(|slot| {
        let augur_feature_store::PossibleValues { least, greatest, is_whole } = schema.possible(slot);
        PossibleValues { least, greatest, is_whole }
    });
    possible.collect()
}
