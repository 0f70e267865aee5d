//! Runs the tests of a policy: finds their files, turns given events into features by the served definitions.
//!
//! Not here: what a test says and how it is compared (`augur_decision`), or what fails when one does (`policies`).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use augur_decision::{Histories, PolicySnapshot, PolicySource, SourceFile, TestOutcome};
use augur_domain::{Event, FeatureVector, Timestamp, Value};
use augur_feature_store::{FeatureSchema, UserState};

use crate::app::{NoModels, check_features};
use crate::config::Config;
use crate::{Error, active};

/// The file of tests that is looked for beside a policy that names none.
pub const USUAL_TESTS_FILE: &str = "policy_tests.toml";

/// What came of all tests of a policy.
#[derive(Debug)]
pub struct PolicyTestRun {
    /// The policy's id.
    pub policy: augur_domain::ContentHash,
    /// The files of tests, in the order in which they were run.
    pub files: Vec<String>,
    /// One per test, in the order of the files.
    pub outcomes: Vec<TestOutcome>,
}

/// Runs the tests of the policy that `config` names, without a data directory: those in `files`, or if there are none
/// those that the policy names, or [`USUAL_TESTS_FILE`] beside it. No files at all make no outcomes.
///
/// # Errors
/// [`Error::File`] when a file cannot be read, [`Error::Diagnostics`] with everything wrong in the definitions, the
/// policy or the tests.
pub fn test_policy(config: &Config, files: &[PathBuf]) -> Result<PolicyTestRun, Error> {
    let source = active::policy_source(&config.data.policy)?;
    let schema = check_features(config)?;
    let tests = if files.is_empty() {
        beside(&config.data.policy, &source, &schema)?
    } else {
        files.iter().map(|file| active::source_file(file)).collect::<Result<_, _>>()?
    };
    run(&source, &tests, &schema)
}

/// The tests that belong to the policy `source`, which was read from `path`.
pub(crate) fn beside(
    path: &Path,
    source: &PolicySource,
    schema: &FeatureSchema,
) -> Result<Vec<SourceFile>, Error> {
    let policy = without_models(source, schema)?;
    let named = policy.test_files();
    if !named.is_empty() {
        return named.iter().map(|name| active::source_file(&path.with_file_name(name))).collect();
    }
    let usual = path.with_file_name(USUAL_TESTS_FILE);
    if usual.exists() { Ok(vec![active::source_file(&usual)?]) } else { Ok(Vec::new()) }
}

/// Runs every test in `tests` against the policy in `source`.
pub(crate) fn run(
    source: &PolicySource,
    tests: &[SourceFile],
    schema: &FeatureSchema,
) -> Result<PolicyTestRun, Error> {
    let mut policy = without_models(source, schema)?;
    let mut complaints = Vec::new();
    let mut all = Vec::new();
    for file in tests {
        match policy.read_tests(file) {
            Ok(tests) => all.extend(tests),
            Err(found) => complaints.extend(found),
        }
    }
    if !complaints.is_empty() {
        return Err(Error::Diagnostics(complaints));
    }
    let histories = Applied { schema };
    let outcomes = all.iter().map(|test| policy.run_test(test, &histories)).collect();
    Ok(PolicyTestRun {
        policy: policy.id(),
        files: tests.iter().map(|file| file.name.clone()).collect(),
        outcomes,
    })
}

/// The policy as tests take it: models are theirs to give.
fn without_models(source: &PolicySource, schema: &FeatureSchema) -> Result<PolicySnapshot, Error> {
    PolicySnapshot::load(source, Arc::clone(schema.feature_set()), &NoModels).map_err(Error::Diagnostics)
}

/// Events carried into a state by `apply`, as the store would.
struct Applied<'a> {
    schema: &'a FeatureSchema,
}

impl Histories for Applied<'_> {
    fn features(&self, events: &[Event], now: Timestamp, context: &[(Arc<str>, Value)]) -> FeatureVector {
        let mut state = UserState::new(self.schema);
        for event in events {
            state.take_in(event, self.schema);
        }
        state.read(now, self.schema, &context.to_vec())
    }
}
