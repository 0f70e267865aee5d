//! `augur policy lint`: what looks amiss in a policy that loads.
//!
//! Not here: the checks (`augur_server::lint_policy`).

use std::path::{Path, PathBuf};

use augur_server::{Clock, Finding, FindingCode, Layout, Severity, SystemClock};
use serde::Serialize;

use super::{Definitions, Fault};
use crate::data::Directory;
use crate::output::Output;
use crate::{Error, Outcome};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    definitions: Definitions,
    /// The data directory whose registered models say which segments there are; the policy's own directory, if there is an
    /// augur.toml in it, unless given.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Which findings make the exit code 3: `warnings`, `all`, or a code such as TABLE_GAP; several with commas between
    /// them. Faults always do.
    #[arg(long, value_name = "WHAT", value_delimiter = ',', value_parser = deny)]
    deny: Vec<Deny>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deny {
    /// Warnings.
    Warnings,
    /// Warnings and notes.
    All,
    /// Findings with this code.
    Code(FindingCode),
}

impl Deny {
    fn covers(self, finding: &Finding) -> bool {
        match self {
            Self::Warnings => finding.code.severity() == Severity::Warning,
            Self::All => true,
            Self::Code(code) => finding.code == code,
        }
    }
}

fn deny(word: &str) -> Result<Deny, String> {
    match word {
        "warnings" => Ok(Deny::Warnings),
        "all" => Ok(Deny::All),
        word => {
            let code = FindingCode::ALL.into_iter().find(|code| code.as_str() == word);
            let codes = FindingCode::ALL.map(FindingCode::as_str).join(", ");
            code.map(Deny::Code).ok_or_else(|| format!("expected `warnings`, `all` or a code: {codes}"))
        }
    }
}

#[derive(Debug, Serialize)]
struct Report {
    faults: Vec<Fault>,
    findings: Vec<Found>,
    warnings: usize,
    notes: usize,
}

/// One finding, with its place.
#[derive(Debug, Serialize)]
pub(super) struct Found {
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

impl std::fmt::Display for Found {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { code, severity, file, line, column, message, next_step } = self;
        write!(formatter, "{file}:{line}:{column}: {severity} {code}: {message}; {next_step}")
    }
}

pub(super) fn run(args: &Args, output: Output) -> Result<Outcome, Error> {
    let findings = match findings(&args.definitions, args.data.as_deref()) {
        Ok(findings) => findings,
        Err(Error::Server(augur_server::Error::Diagnostics(complaints))) => {
            let text: Vec<String> = complaints.iter().map(ToString::to_string).collect();
            let faults = complaints.into_iter().map(Fault::from).collect();
            let report = Report { faults, findings: Vec::new(), warnings: 0, notes: 0 };
            output.report(&report, |_| text.join("\n"))?;
            return Ok(Outcome::Refused);
        }
        Err(other) => return Err(other),
    };
    let denied = findings.iter().any(|finding| args.deny.iter().any(|deny| deny.covers(finding)));
    let of = |severity| findings.iter().filter(|finding| finding.code.severity() == severity).count();
    let (warnings, notes) = (of(Severity::Warning), of(Severity::Note));
    let findings = findings.into_iter().map(Found::from).collect();
    output.report(&Report { faults: Vec::new(), findings, warnings, notes }, text)?;
    Ok(if denied { Outcome::Refused } else { Outcome::Fine })
}

/// What is found in a policy, with the models that are registered in the data directory, or beside the policy.
pub(super) fn findings(definitions: &Definitions, data: Option<&Path>) -> Result<Vec<Finding>, Error> {
    let directory = match data {
        Some(data) => Some(Directory::open(data)?),
        None => Directory::open(definitions.file.parent().unwrap_or(Path::new(""))).ok(),
    };
    let models =
        directory.map(|directory| Ok::<_, Error>(Layout::new(directory.config()?.data.dir).models()));
    // An augur.toml that happens to lie there and cannot be read is not what was asked about.
    let models = if data.is_some() { models.transpose()? } else { models.and_then(Result::ok) };
    Ok(augur_server::lint_policy(&definitions.config(), models.as_deref(), SystemClock::new().now())?)
}

fn text(report: &Report) -> String {
    let lines = report.findings.iter().map(|found| format!("{found}\n"));
    let Report { warnings, notes, .. } = report;
    format!("{}{warnings} warnings, {notes} notes", lines.collect::<String>())
}
