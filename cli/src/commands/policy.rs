//! `augur policy`: checks and tests policies before anything decides by them.
//!
//! Not here: what is checked (`augur_server::check_definitions`).

mod active;
mod diff;
mod explain;
mod lint;
mod test;

use std::path::{Path, PathBuf};

use augur_loadtest::domain::Diagnostic;
use augur_loadtest::v1;
use augur_server::{Config, Finding, Severity};
use clap::Subcommand;
use serde::Serialize;

pub(crate) use active::files_of;

use crate::output::Output;
use crate::{Error, Outcome};

/// Check, test and activate policies, and go back to earlier ones.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Check a policy against feature definitions, without a server and without data.
    ///
    /// Exit code 3 when there are faults; each is told with file, line, column, what was found and what was
    /// expected. What `augur policy lint` warns of is told, too, and is no fault.
    #[command(after_help = "\
Example:
  augur policy check data/policy.toml
  augur policy check new-policy.toml --features data/features.toml --json")]
    Check(Definitions),
    /// Run a policy's tests, without a server, without data and without models.
    ///
    /// Exit code 4 when a test fails, 3 when the policy or a file of tests has faults.
    #[command(after_help = "\
Examples:
  augur policy test data/policy.toml
  augur policy test new-policy.toml --features data/features.toml --tests more_tests.toml --only cart --json

Tests are those of the files that the policy names, `tests = [\"cart_tests.toml\"]`, or of policy_tests.toml beside it:

  version = 1

  [[test]]
  name = \"a regular pays the full price\"
  decision_point = \"cart_page\"
  given.now = 2026-01-15T12:00:00Z
  given.events = [{ event = \"purchase\", ago = \"2d\", properties = { value = 30 } }]
  given.features = { purchases_30d = 6 }
  given.scores = { conversion = 0.5 }
  given.context = { cart_value = 60, country = \"DE\" }
  given.exposures = [{ action = \"free_shipping\", ago = \"1d\" }]
  expect.action = \"recommend_items\"
  expect.refused = { discount_10 = \"REGULARS_PAY_FULL\" }

docs/policy.md has every key.")]
    Test(test::Args),
    /// Look for what is amiss in a policy that loads: rules that never fire or change nothing, caps that never refuse,
    /// models that nothing reads.
    #[command(after_help = "\
Examples:
  augur policy lint data/policy.toml
  augur policy lint data/policy.toml --deny warnings --json
  augur policy lint policy.toml --data data --deny warnings,TABLE_GAP

Findings are advice, and the exit code is 0; 3 when one is denied, or when the policy has faults. Of a decision table it
says for which values no row holds, which rows never act, and which ones hold together and do different things.
docs/reason-codes.md explains every code.")]
    Lint(lint::Args),
    /// Tell a policy in plain English: per decision point the actions, and every rule in the order in which it is asked.
    #[command(
        after_help = "Examples:\n  augur policy explain data/policy.toml\n  augur policy explain data/policy.toml --json"
    )]
    Explain(Definitions),
    /// Say what is different between two policies: what was added, removed, moved and changed. Exit code 3 if anything is.
    #[command(after_help = "\
Examples:
  augur policy diff policy.toml new-policy.toml
  augur policy diff shop/policy.toml 3f9c2a17 --data shop --json

Compared are the policy, the files of its tables row by row, and, where both sides have them, features.toml beside it and
its tests.")]
    Diff(diff::Args),
    /// Decide by another policy from now on: a file's, or an archived one. A policy whose tests fail is refused.
    #[command(after_help = "\
Examples:
  augur policy activate data/policy.toml --endpoint http://127.0.0.1:7401 --reason \"free shipping in summer\"
  augur policy activate --id 3f9c2a17 --endpoint http://127.0.0.1:7401 --reason \"as it was in spring\"

The server decides by it from the next request on; every decision is made wholly by the old or wholly by the new one. The
activated policy stays over a restart until the configured file changes. Exit code 3 when there are faults or a test
fails: then nothing changed.")]
    Activate(active::Activate),
    /// Decide by an earlier policy again: the one before the present one, or any by its id.
    ///
    /// Tests that fail are told and do not prevent it, and a model that cannot be used any more is missing.
    #[command(after_help = "\
Examples:
  augur policy rollback --endpoint http://127.0.0.1:7401 --reason \"too many coupons\"
  augur policy rollback --to 3f9c2a17 --endpoint http://127.0.0.1:7401 --reason \"too many coupons\"")]
    Rollback(active::Rollback),
    /// List which policy decided from when on, who made it so and why, newest first.
    #[command(after_help = "Example:\n  augur policy list --endpoint http://127.0.0.1:7401")]
    List(active::Server),
    /// Print the policy that decides, or an archived one; with --json its definitions and tests, too.
    #[command(after_help = "\
Examples:
  augur policy show --endpoint http://127.0.0.1:7401 > policy.toml
  augur policy show 3f9c2a17 --endpoint http://127.0.0.1:7401 --json")]
    Show(active::Show),
}

/// A policy and what it is read against.
#[derive(Debug, clap::Args)]
pub(crate) struct Definitions {
    /// The policy.
    file: PathBuf,
    /// The feature definitions; `features.toml` beside the policy unless given.
    #[arg(long, value_name = "FILE")]
    features: Option<PathBuf>,
    /// The taxonomy of events; `events.toml` beside the feature definitions, if there is one, unless given.
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
}

impl Definitions {
    /// A policy's file with what lies beside it.
    pub(crate) fn of(file: &Path) -> Self {
        Self { file: file.to_owned(), features: None, events: None }
    }

    pub(crate) fn config(&self) -> Config {
        let Self { file, features, events } = self;
        let mut config = Config::default();
        config.data.policy.clone_from(file);
        config.data.features =
            features.clone().unwrap_or_else(|| file.parent().unwrap_or(Path::new("")).join("features.toml"));
        let beside = config.data.features.with_file_name("events.toml");
        config.data.events = events.clone().or_else(|| beside.exists().then_some(beside));
        config
    }
}

#[derive(Debug, Serialize)]
struct Report {
    valid: bool,
    policy_id: Option<String>,
    feature_set: Option<String>,
    features: usize,
    decision_points: Vec<String>,
    faults: Vec<Fault>,
    warnings: Vec<lint::Found>,
    notes: usize,
}

/// One fault of a file, with its place.
#[derive(Debug, Serialize)]
pub(super) struct Fault {
    file: String,
    line: usize,
    column: usize,
    message: String,
    expected: String,
    hint: String,
}

impl Fault {
    /// A fault of a whole file: it has no line.
    pub(super) const fn of_file(file: String, message: String, expected: String) -> Self {
        Self { file, line: 0, column: 0, message, expected, hint: String::new() }
    }

    /// Whether it is a fault of what is called so.
    pub(super) fn is_of(&self, file: &str) -> bool {
        self.file == file
    }

    /// The same, of another file: of what was sent, by the name that its sender knows.
    pub(super) fn in_file(self, file: &Path) -> Self {
        Self { file: file.display().to_string(), ..self }
    }
}

impl From<Diagnostic> for Fault {
    fn from(complaint: Diagnostic) -> Self {
        let Diagnostic { file, line, column, message, expected, hint } = complaint;
        Self { file, line, column, message, expected, hint }
    }
}

impl From<v1::PolicyFault> for Fault {
    fn from(fault: v1::PolicyFault) -> Self {
        let v1::PolicyFault { file, line, column, message, expected, hint } = fault;
        let place = |number| usize::try_from(number).unwrap_or(usize::MAX);
        Self { file, line: place(line), column: place(column), message, expected, hint }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { file, line, column, message, expected, hint } = self;
        match line {
            0 => write!(formatter, "{file}: {message}")?,
            _ => write!(formatter, "{file}:{line}:{column}: {message}")?,
        }
        if !expected.is_empty() {
            write!(formatter, "; expected {expected}")?;
        }
        if hint.is_empty() { Ok(()) } else { write!(formatter, "; {hint}") }
    }
}

/// Runs the command.
pub(crate) fn run(command: &Command, output: Output) -> Result<Outcome, Error> {
    match command {
        Command::Check(definitions) => check(definitions, output),
        Command::Test(args) => test::run(args, output),
        Command::Lint(args) => lint::run(args, output),
        Command::Explain(definitions) => explain::run(definitions, output),
        Command::Diff(args) => diff::run(args, output),
        Command::Activate(args) => active::activate(args, output),
        Command::Rollback(args) => active::rollback(args, output),
        Command::List(server) => active::list(server, output),
        Command::Show(args) => active::show(args, output),
    }
}

fn check(definitions: &Definitions, output: Output) -> Result<Outcome, Error> {
    let config = definitions.config();
    let (report, text) = match augur_server::check_definitions(&config) {
        Ok(checked) => valid(definitions, &checked)?,
        Err(augur_server::Error::Diagnostics(complaints)) => {
            let lines: Vec<String> = complaints.iter().map(ToString::to_string).collect();
            let faults = complaints.into_iter().map(Fault::from);
            let report = Report {
                valid: false,
                policy_id: None,
                feature_set: None,
                features: 0,
                decision_points: Vec::new(),
                faults: faults.collect(),
                warnings: Vec::new(),
                notes: 0,
            };
            (report, lines.join("\n"))
        }
        Err(other) => return Err(other.into()),
    };
    output.report(&report, |_| text)?;
    Ok(if report.valid { Outcome::Fine } else { Outcome::Refused })
}

/// What is told of a policy without faults: its ids, and what a lint warns of.
fn valid(definitions: &Definitions, checked: &augur_server::Checked) -> Result<(Report, String), Error> {
    let points = checked.policy.decision_points().iter().map(|point| point.name().to_string());
    let is_warning = |finding: &Finding| finding.code.severity() == Severity::Warning;
    let (warnings, notes): (Vec<_>, Vec<_>) =
        lint::findings(definitions, None)?.into_iter().partition(is_warning);
    let report = Report {
        valid: true,
        policy_id: Some(checked.policy.id().to_string()),
        feature_set: Some(checked.schema.feature_set().hash().to_string()),
        features: checked.schema.feature_set().features().len(),
        decision_points: points.collect(),
        faults: Vec::new(),
        warnings: warnings.into_iter().map(lint::Found::from).collect(),
        notes: notes.len(),
    };
    let mut text: String = report.warnings.iter().map(|found| format!("{found}\n")).collect();
    text.push_str(&format!(
        "{} is valid: policy {}, decision points {}, {} features",
        definitions.file.display(),
        checked.policy.id(),
        report.decision_points.join(", "),
        report.features
    ));
    if report.notes > 0 {
        text.push_str(&format!("; `augur policy lint` has {} notes", report.notes));
    }
    Ok((report, text))
}
