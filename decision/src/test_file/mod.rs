//! Tests of a policy, written in a file beside it: what is given, and what must be decided then.
//!
//! A test is read against the policy that it is about, so a name that the policy does not have is a complaint with its
//! place, and no test passes by mistake. Not here: the file's form (`file::test_entries`), or turning events into
//! features: whoever knows how hands in [`Histories`].

mod resolve;
mod run;

use std::sync::Arc;

use augur_domain::decision::{Decision, Exposure, Person};
use augur_domain::{Diagnostic, Event, FeatureVector, Timestamp, UserKey, Value};

use crate::snapshot::PolicySnapshot;
use crate::source::SourceFile;

/// The instant of a test that gives none: 2026-01-15T12:00:00Z, a Thursday.
pub const USUAL_NOW: Timestamp = Timestamp::from_unix_ms(1_768_478_400_000);

/// One test, with every name found in the policy.
#[derive(Debug)]
pub struct PolicyTest {
    /// What it is called in its file.
    pub name: String,
    /// The file, as complaints call it.
    pub file: String,
    /// Where it begins there, counted from 1.
    pub line: usize,
    point: Arc<str>,
    given: Given,
    expect: Expect,
}

#[derive(Debug)]
struct Given {
    now: Timestamp,
    seed: u64,
    user: UserKey,
    /// By slot, ascending.
    features: Vec<(usize, Value)>,
    features_unavailable: bool,
    scores: Vec<(Arc<str>, f64)>,
    /// Of the versions before.
    previous_scores: Vec<(Arc<str>, f64)>,
    time_left_us: Option<u64>,
    segments: Vec<(Arc<str>, Arc<str>)>,
    /// Ordered by name.
    context: Vec<(Arc<str>, Value)>,
    /// Oldest first.
    events: Vec<Event>,
    /// Oldest first.
    exposures: Vec<Exposure>,
    person: Person,
    /// Ordered by name.
    budgets: Vec<(Arc<str>, u64)>,
}

#[derive(Debug)]
struct Expect {
    action: Option<Arc<str>>,
    reasons: Vec<String>,
    refused: Vec<(Arc<str>, String)>,
    rung: Option<String>,
    value: Option<f64>,
    arms: Vec<(String, String)>,
    shadow: Option<String>,
}

/// Turns what a user did into features.
pub trait Histories {
    /// The features of a user of whom `events`, oldest first, are all there is, for a request at `now` with `context`.
    fn features(&self, events: &[Event], now: Timestamp, context: &[(Arc<str>, Value)]) -> FeatureVector;
}

/// What came of one test.
#[derive(Debug, Clone)]
pub struct TestOutcome {
    /// The test's name.
    pub name: String,
    /// Its file.
    pub file: String,
    /// Where it begins there.
    pub line: usize,
    /// Where the decision is not what was expected; empty when the test passed.
    pub mismatches: Vec<Mismatch>,
    /// The decision.
    pub decision: Decision,
}

impl TestOutcome {
    /// Whether everything was as expected.
    pub fn passed(&self) -> bool {
        self.mismatches.is_empty()
    }
}

/// One thing that is not as expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// The key of `expect`, e.g. `action` or `refused.discount_10`.
    pub what: String,
    /// What was expected.
    pub expected: String,
    /// What was found.
    pub found: String,
}

impl PolicySnapshot {
    /// Reads the tests in `source`, which are about this policy.
    ///
    /// # Errors
    /// Everything that is wrong with the file, in file order.
    pub fn read_tests(&self, source: &SourceFile) -> Result<Vec<PolicyTest>, Vec<Diagnostic>> {
        resolve::read(self, source)
    }

    /// Decides as `test` says and compares. Models are stood in for by what the test gives; those of which it says
    /// nothing are not loaded. The policy is not fit for anything else afterwards.
    pub fn run_test(&mut self, test: &PolicyTest, histories: &dyn Histories) -> TestOutcome {
        run::run(self, test, histories)
    }
}
