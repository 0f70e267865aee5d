//! `augur policy lint`: what looks amiss in a policy that loads.
//!
//! Not here: the checks (`augur_server::lint_policy`).

use augur_server::{Clock, Finding, Severity, SystemClock};
use clap::ValueEnum;
use serde::Serialize;

use super::{Definitions, Fault};
use crate::output::Output;
use crate::{Error, Outcome};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    definitions: Definitions,
    /// Which findings make the exit code 3; faults always do.
    #[arg(long, value_enum, value_name = "WHAT")]
    deny: Option<Deny>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Deny {
    /// Warnings.
    Warnings,
    /// Warnings and notes.
    All,
}

#[derive(Debug, Serialize)]
struct Report {
    faults: Vec<Fault>,
    findings: Vec<Found>,
    warnings: usize,
    notes: usize,
}

#[derive(Debug, Serialize)]
struct Found {
    code: &'static str,
    severity: &'static str,
    file: String,
    line: usize,
    column: usize,
    message: String,
    next_step: String,
}

impl From<Finding> for Found {
    fn from(finding: Finding) -> Self {
        let (code, severity) = (finding.code.as_str(), finding.code.severity().as_str());
        let augur_loadtest::domain::Diagnostic { file, line, column, message, hint, .. } = finding.complaint;
        Self { code, severity, file, line, column, message, next_step: hint }
    }
}

pub(super) fn run(args: &Args, output: Output) -> Result<Outcome, Error> {
    let findings = match augur_server::lint_policy(&args.definitions.config(), SystemClock::new().now()) {
        Ok(findings) => findings,
        Err(augur_server::Error::Diagnostics(complaints)) => {
            let text: Vec<String> = complaints.iter().map(ToString::to_string).collect();
            let faults = complaints.into_iter().map(Fault::from).collect();
            let report = Report { faults, findings: Vec::new(), warnings: 0, notes: 0 };
            output.report(&report, |_| text.join("\n"))?;
            return Ok(Outcome::Refused);
        }
        Err(other) => return Err(other.into()),
    };
    let of = |severity| findings.iter().filter(|finding| finding.code.severity() == severity).count();
    let (warnings, notes) = (of(Severity::Warning), of(Severity::Note));
    let findings = findings.into_iter().map(Found::from).collect();
    output.report(&Report { faults: Vec::new(), findings, warnings, notes }, text)?;
    let denied = match args.deny {
        None => 0,
        Some(Deny::Warnings) => warnings,
        Some(Deny::All) => warnings + notes,
    };
    Ok(if denied == 0 { Outcome::Fine } else { Outcome::Refused })
}

fn text(report: &Report) -> String {
    let lines = report.findings.iter().map(|found| {
        let Found { code, severity, file, line, column, message, next_step } = found;
        format!("{file}:{line}:{column}: {severity} {code}: {message}; {next_step}\n")
    });
    let Report { warnings, notes, .. } = report;
    format!("{}{warnings} warnings, {notes} notes", lines.collect::<String>())
}
