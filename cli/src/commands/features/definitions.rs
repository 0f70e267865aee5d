//! `augur features check` and `explain`: definitions, without a server and without data.
//!
//! Not here: what is checked (`augur_server::check_features`) or the words (the feature store).

use std::path::PathBuf;

use augur_server::Config;
use augur_server::offline::{Explanation, FeatureSchema};
use serde::Serialize;

use super::super::policy::Fault;
use crate::output::{Output, grouped};
use crate::{Error, Outcome};

/// Check feature definitions, without a server and without data.
///
/// Exit code 3 when there are faults; each is told with file, line, column, what was found and what was expected.
/// The bytes are what one user's record can come to at most, for all features of one state together.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  augur features check data/features.toml --events data/events.toml")]
pub(crate) struct Check {
    /// The feature definitions.
    file: PathBuf,
    /// The taxonomy of events; none unless given.
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
}

/// Say one feature in words: what counts, where its window starts, how far it can be off.
///
/// Exit code 3 when there is no such feature or the definitions have faults.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  augur features explain purchases_7d --file data/features.toml")]
pub(crate) struct Explain {
    /// Its full name.
    name: String,
    /// The feature definitions.
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    /// The taxonomy of events; none unless given.
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Checked {
    valid: bool,
    feature_set: Option<String>,
    /// What one user's record can come to at most.
    most_bytes: u64,
    features: Vec<Row>,
    faults: Vec<Fault>,
}

#[derive(Debug, Serialize)]
struct Row {
    name: String,
    kind: &'static str,
    value_type: String,
    definition: String,
    meaning: String,
    counts: String,
    when_nothing: String,
    window: String,
    error: String,
    retraction: String,
    /// Features of one number share one state.
    aggregate: Option<usize>,
    most_bytes: u64,
}

impl From<Explanation> for Row {
    fn from(explanation: Explanation) -> Self {
        let Explanation { name, kind, value_type, definition, meaning, counts, when_nothing, .. } =
            explanation;
        Self {
            name,
            kind,
            value_type: value_type.to_string(),
            definition: definition.to_string(),
            meaning,
            counts,
            when_nothing,
            window: explanation.window,
            error: explanation.error,
            retraction: explanation.retraction,
            aggregate: explanation.aggregate,
            most_bytes: explanation.most_bytes,
        }
    }
}

#[derive(Debug, Serialize)]
struct Explained {
    feature: Option<Row>,
    faults: Vec<Fault>,
}

/// Runs `augur features check`.
pub(crate) fn check(args: &Check, output: Output) -> Result<Outcome, Error> {
    let (report, text) = match load(&args.file, args.events.as_ref())? {
        Ok(schema) => {
            let features: Vec<Row> = rows(&schema).collect();
            let mut counted = Vec::new();
            let mut most_bytes = 0_u64;
            for row in &features {
                if row.aggregate.is_some_and(|aggregate| !counted.contains(&aggregate)) {
                    counted.extend(row.aggregate);
                    most_bytes = most_bytes.saturating_add(row.most_bytes);
                }
            }
            let feature_set = schema.feature_set().hash().to_string();
            let report = Checked {
                valid: true,
                feature_set: Some(feature_set),
                most_bytes,
                features,
                faults: Vec::new(),
            };
            let text = table(&report, &args.file);
            (report, text)
        }
        Err((faults, text)) => {
            (Checked { valid: false, feature_set: None, most_bytes: 0, features: Vec::new(), faults }, text)
        }
    };
    output.report(&report, |_| text)?;
    Ok(if report.valid { Outcome::Fine } else { Outcome::Refused })
}

/// Runs `augur features explain`.
pub(crate) fn explain(args: &Explain, output: Output) -> Result<Outcome, Error> {
    let (report, text) = match load(&args.file, args.events.as_ref())? {
        Ok(schema) => match rows(&schema).find(|row| row.name == args.name) {
            Some(row) => {
                let text = in_words(&row);
                (Explained { feature: Some(row), faults: Vec::new() }, text)
            }
            None => {
                let names = rows(&schema).map(|row| row.name).collect();
                let fault = unknown(args, names);
                let text = fault.to_string();
                (Explained { feature: None, faults: vec![fault] }, text)
            }
        },
        Err((faults, text)) => (Explained { feature: None, faults }, text),
    };
    output.report(&report, |_| text)?;
    Ok(if report.feature.is_some() { Outcome::Fine } else { Outcome::Refused })
}

/// A name that no feature has: those that begin like it, with their lengths of time, or else all.
fn unknown(args: &Explain, names: Vec<String>) -> Fault {
    let prefix = format!("{}_", args.name);
    let lengths: Vec<String> = names.iter().filter(|name| name.starts_with(&prefix)).cloned().collect();
    let expected = if lengths.is_empty() { names } else { lengths };
    Fault::of_file(
        args.file.display().to_string(),
        format!("there is no feature `{}`", args.name),
        format!("one of {}", expected.join(", ")),
    )
}

/// The definitions, or what is wrong with them, also as text.
fn load(
    file: &std::path::Path,
    events: Option<&PathBuf>,
) -> Result<Result<FeatureSchema, (Vec<Fault>, String)>, Error> {
    let mut config = Config::default();
    file.clone_into(&mut config.data.features);
    config.data.events = events.cloned();
    match augur_server::check_features(&config) {
        Ok(schema) => Ok(Ok(schema)),
        Err(augur_server::Error::Diagnostics(complaints)) => {
            let lines: Vec<String> = complaints.iter().map(ToString::to_string).collect();
            Ok(Err((complaints.into_iter().map(Fault::from).collect(), lines.join("\n"))))
        }
        Err(other) => Err(other.into()),
    }
}

fn rows(schema: &FeatureSchema) -> impl Iterator<Item = Row> {
    (0..schema.feature_set().features().len()).filter_map(|slot| schema.explain(slot)).map(Row::from)
}

fn table(report: &Checked, file: &std::path::Path) -> String {
    let width = report.features.iter().map(|row| row.name.len()).max().unwrap_or(0);
    let mut text = format!(
        "{} is valid: {} features, at most {} bytes per user\n",
        file.display(),
        report.features.len(),
        grouped(report.most_bytes)
    );
    for row in &report.features {
        let short: String = row.definition.chars().take(12).collect();
        let bytes = row.aggregate.map_or_else(String::new, |_| grouped(row.most_bytes));
        text.push_str(&format!("  {:width$}  {short}  {:>9}  {}\n", row.name, bytes, row.kind));
    }
    text
}

fn in_words(row: &Row) -> String {
    let mut text = format!("{}: {}\n", row.name, row.meaning);
    let bytes = format!("at most {} per user", grouped(row.most_bytes));
    for (label, words) in [
        ("kind", row.kind),
        ("value", row.value_type.as_str()),
        ("counts", &row.counts),
        ("window", &row.window),
        ("without", &row.when_nothing),
        ("error", &row.error),
        ("retracted", &row.retraction),
        ("bytes", if row.aggregate.is_some() { &bytes } else { "" }),
        ("definition", &row.definition),
    ] {
        if !words.is_empty() {
            text.push_str(&format!("  {label:10}  {words}\n"));
        }
    }
    text
}
