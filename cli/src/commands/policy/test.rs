//! `augur policy test`: runs the tests of a policy, and shows where a decision is not what was expected.
//!
//! Not here: what a test is (`augur_server::test_policy`).

use std::fmt::Write as _;
use std::path::PathBuf;

use augur_loadtest::domain::{Decision, Reason};
use augur_server::{PolicyTestRun, TestOutcome};
use serde::Serialize;

use super::{Definitions, Fault};
use crate::output::Output;
use crate::{Error, Outcome};

/// The file of tests beside a policy that names none.
pub(super) use augur_server::USUAL_TESTS_FILE as USUAL_TESTS;

/// Every test was run, and at least one failed.
const FAILED: u8 = 4;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    definitions: Definitions,
    /// A file of tests, instead of those that the policy names; may be given several times.
    #[arg(long, value_name = "FILE")]
    tests: Vec<PathBuf>,
    /// Run only tests whose name contains this.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
}

#[derive(Debug, Serialize)]
struct Report {
    policy_id: String,
    files: Vec<String>,
    passed: usize,
    failed: usize,
    tests: Vec<Test>,
    faults: Vec<Fault>,
}

/// One test, as told to machines.
#[derive(Debug, Serialize)]
pub(super) struct Test {
    name: String,
    file: String,
    line: usize,
    passed: bool,
    mismatches: Vec<Mismatch>,
    /// What was decided.
    action: String,
    reasons: Vec<String>,
    candidates: Vec<Candidate>,
}

#[derive(Debug, Serialize)]
struct Mismatch {
    key: String,
    expected: String,
    found: String,
}

#[derive(Debug, Serialize)]
struct Candidate {
    action: String,
    value: Option<f64>,
    reason: String,
}

impl From<&TestOutcome> for Test {
    fn from(outcome: &TestOutcome) -> Self {
        let mismatches = outcome.mismatches.iter().map(|mismatch| Mismatch {
            key: mismatch.what.clone(),
            expected: mismatch.expected.clone(),
            found: mismatch.found.clone(),
        });
        let Decision { action, reasons, candidates, .. } = &outcome.decision;
        let candidates = candidates.iter().map(|candidate| Candidate {
            action: candidate.action.to_string(),
            value: candidate.value,
            reason: in_words(&candidate.reason),
        });
        Self {
            name: outcome.name.clone(),
            file: outcome.file.clone(),
            line: outcome.line,
            passed: outcome.passed(),
            mismatches: mismatches.collect(),
            action: action.to_string(),
            reasons: reasons.iter().map(in_words).collect(),
            candidates: candidates.collect(),
        }
    }
}

fn in_words(reason: &Reason) -> String {
    match &reason.detail {
        Some(detail) => format!("{} {detail}", reason.code),
        None => reason.code.to_string(),
    }
}

pub(super) fn run(args: &Args, output: Output) -> Result<Outcome, Error> {
    let run = match augur_server::test_policy(&args.definitions.config(), &args.tests) {
        Ok(run) => run,
        Err(augur_server::Error::Diagnostics(complaints)) => {
            let text: Vec<String> = complaints.iter().map(ToString::to_string).collect();
            let faults = complaints.into_iter().map(Fault::from).collect();
            output.report(&Report { faults, ..report(None, &args.only) }, |_| text.join("\n"))?;
            return Ok(Outcome::Refused);
        }
        Err(other) => return Err(other.into()),
    };
    if run.files.is_empty() {
        let problem = format!("`{}` has no tests", args.definitions.file.display());
        let expected = "`tests = [\"policy_tests.toml\"]` in it, such a file beside it, or `--tests FILE`";
        return Err(Error::Usage { problem, expected });
    }
    let report = report(Some(&run), &args.only);
    if report.tests.is_empty() {
        let problem = "no test has such a name".to_owned();
        return Err(Error::Usage { problem, expected: "a part of the name of a test after `--only`" });
    }
    output.report(&report, text)?;
    Ok(if report.failed == 0 { Outcome::Fine } else { Outcome::Code(FAILED) })
}

fn report(run: Option<&PolicyTestRun>, only: &Option<String>) -> Report {
    let wanted = |outcome: &&TestOutcome| only.as_ref().is_none_or(|part| outcome.name.contains(part));
    let outcomes = run.into_iter().flat_map(|run| &run.outcomes);
    let tests: Vec<Test> = outcomes.filter(wanted).map(Test::from).collect();
    let passed = tests.iter().filter(|test| test.passed).count();
    Report {
        policy_id: run.map_or_else(String::new, |run| run.policy.to_string()),
        files: run.map_or_else(Vec::new, |run| run.files.clone()),
        passed,
        failed: tests.len() - passed,
        tests,
        faults: Vec::new(),
    }
}

fn text(report: &Report) -> String {
    let mut text: String = report.tests.iter().map(test_text).collect();
    let Report { passed, failed, .. } = report;
    let verdict = if *failed == 0 { "ok" } else { "FAILED" };
    // Writing to a String does not fail.
    let _written = write!(text, "{verdict}: {passed} passed, {failed} failed");
    text
}

/// A line for a test that passed; for one that failed, what is wrong and what became of each action.
pub(super) fn test_text(test: &Test) -> String {
    if test.passed {
        return format!("ok      {}\n", test.name);
    }
    let mut text = format!("FAILED  {} ({}:{})\n", test.name, test.file, test.line);
    let mismatches = test.mismatches.iter().map(|mismatch| {
        let Mismatch { key, expected, found } = mismatch;
        format!("          {key}: expected {expected}, found {found}\n")
    });
    text.extend(mismatches);
    let candidates = test.candidates.iter().map(|candidate| {
        let value = candidate.value.map_or_else(String::new, |value| format!(" at {value}"));
        format!("          {}{value}: {}\n", candidate.action, candidate.reason)
    });
    text.push_str("        what became of the actions:\n");
    text.extend(candidates);
    if !test.reasons.is_empty() {
        let _written = writeln!(text, "        reasons: {}", test.reasons.join(", "));
    }
    text
}
