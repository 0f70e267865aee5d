//! `augur log show`: one record of the log, with all that the decision depended on.
//!
//! Not here: what moved the scores (`decisions explain`).

use std::fmt::Write as _;
use std::path::Path;

use augur_loadtest::convert::decisions::record_to_wire;
use augur_loadtest::domain::time::HOUR_MS;
use augur_loadtest::domain::{DecisionId, DecisionRecord, FeatureSet, Timestamp, Value};
use augur_loadtest::v1;
use augur_shadow_harness::decision_log::{Position, Reader, find_decision};
use serde::Serialize;

use super::Place;
use crate::commands::decisions::{Explained, explained};
use crate::output::{Output, table};
use crate::{Error, Outcome};

const HELP: &str = "\
Examples:
  augur log show 120001 --data data
  augur log show 019ab0c4d1e2f3a4b5c6d7e8f9a0b1c2 --data data --json

A decision is found by its id through the index of its segment; of segments that are not sealed yet, the records are read.
Features are named by the archived policy of --data. A server may be using the directory meanwhile.";

/// A record is looked for from this long before the instant in the id to this long after: clocks are set back.
const SLACK_MS: i64 = HOUR_MS;

/// Print one record of the decision log: where it lies, what was asked, read and answered.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// The record's sequence, or the decision's id as Decide gave it.
    record: String,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Serialize)]
struct Shown {
    file: String,
    /// In a sealed segment, of the block that holds the record.
    offset: u64,
    sealed: bool,
    #[serde(flatten)]
    explained: Explained,
    models: Vec<Model>,
    seed: u64,
    watermark: u64,
    feature_set: String,
    features: Vec<Feature>,
    context: Vec<(String, String)>,
    traits: Vec<(String, String)>,
    consents: Vec<(String, bool)>,
    suppressed: Vec<String>,
    time_zone: Option<String>,
    budgets_spent: Vec<(String, u64)>,
    exposures: Vec<Exposure>,
    peek: bool,
    canary: Option<String>,
    read_us: u32,
    decide_us: u32,
    /// The request as received, in hexadecimal.
    request: String,
}

#[derive(Debug, Serialize)]
struct Model {
    alias: String,
    model: String,
    version: u32,
    artifact: String,
}

#[derive(Debug, Serialize)]
struct Feature {
    /// Its slot where the definitions are gone.
    name: String,
    value: Option<f64>,
    text: Option<String>,
    status: &'static str,
    latest_event_time: Option<String>,
}

#[derive(Debug, Serialize)]
struct Exposure {
    action: String,
    channel: String,
    at: String,
}

pub(super) fn run(args: &Args, output: Output) -> Result<Outcome, Error> {
    let (directory, log) = args.place.find()?;
    let found = find(&args.record, &log)?;
    let Some((position, record)) = found else {
        return Err(Error::Argument {
            argument: "the record",
            found: args.record.clone(),
            expected: "one that is in the log; augur log stat tells where it begins and ends".to_owned(),
        });
    };
    let features = directory.feature_set(record.policy).ok();
    let features = features.filter(|set| set.hash() == record.inputs.features.feature_set);
    let shown = shown(&log, position, &record, features.as_deref());
    output.report(&shown, text)?;
    Ok(Outcome::Fine)
}

fn find(wanted: &str, log: &Path) -> Result<Option<(Position, DecisionRecord)>, Error> {
    let failed = augur_shadow_harness::Error::from;
    if let Ok(sequence) = wanted.parse::<u64>() {
        let found = Reader::open_from(log, sequence).map_err(failed)?.next_record().map_err(failed)?;
        return Ok(found.filter(|(position, _)| position.sequence == sequence));
    }
    let id: DecisionId = wanted.parse().map_err(|_| Error::Argument {
        argument: "the record",
        found: wanted.to_owned(),
        expected: "a sequence, or the id that Decide gave: 32 hexadecimal digits".to_owned(),
    })?;
    let at = id.made_at();
    let found = find_decision::<DecisionRecord>(log, id, at.plus_millis(-SLACK_MS), at.plus_millis(SLACK_MS));
    Ok(found.map_err(failed)?)
}

fn shown(log: &Path, position: Position, record: &DecisionRecord, set: Option<&FeatureSet>) -> Shown {
    let inputs = &record.inputs;
    let values = |list: &[(std::sync::Arc<str>, Value)]| {
        list.iter().map(|(name, value)| (name.to_string(), written(value))).collect()
    };
    let answer =
        v1::ExplainResponse { record: Some(record_to_wire(record, None)), contributions: Vec::new() };
    Shown {
        file: position.file(log).display().to_string(),
        offset: position.offset,
        sealed: position.is_sealed::<DecisionRecord>(log),
        explained: explained(answer),
        models: record
            .models
            .iter()
            .map(|(alias, model)| Model {
                alias: alias.to_string(),
                model: model.name.to_string(),
                version: model.version,
                artifact: model.artifact.to_string(),
            })
            .collect(),
        seed: inputs.seed,
        watermark: inputs.features.watermark,
        feature_set: inputs.features.feature_set.to_string(),
        features: features(record, set),
        context: values(&inputs.context),
        traits: values(&inputs.person.traits),
        consents: inputs.person.consents.iter().map(|(name, given)| (name.to_string(), *given)).collect(),
        suppressed: inputs.person.suppressed.iter().map(ToString::to_string).collect(),
        time_zone: inputs.person.time_zone.as_ref().map(ToString::to_string),
        budgets_spent: inputs.budgets.iter().map(|(name, spent)| (name.to_string(), *spent)).collect(),
        exposures: inputs
            .exposures
            .iter()
            .map(|exposure| Exposure {
                action: exposure.action.to_string(),
                channel: exposure.channel.to_string(),
                at: exposure.at.to_string(),
            })
            .collect(),
        peek: inputs.peek,
        canary: record.canary.as_ref().map(|canary| canary.arm.as_str().to_owned()),
        read_us: record.observed.read_us,
        decide_us: record.observed.decide_us,
        request: record.request.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

fn features(record: &DecisionRecord, set: Option<&FeatureSet>) -> Vec<Feature> {
    let vector = &record.inputs.features;
    let name = |slot: usize| {
        let info = set.and_then(|set| set.features().get(slot));
        info.map_or_else(|| format!("slot {slot}"), |info| info.name.to_string())
    };
    let feature = |(slot, value): (usize, &augur_loadtest::domain::feature::FeatureValue)| Feature {
        name: name(slot),
        value: value.usable(),
        text: vector.usable_text(slot).map(ToString::to_string),
        status: value.status.as_str(),
        latest_event_time: value.event_time.map(|at: Timestamp| at.to_string()),
    };
    vector.values.iter().enumerate().map(feature).collect()
}

fn written(value: &Value) -> String {
    match value {
        Value::Boolean(boolean) => boolean.to_string(),
        Value::Number(number) => number.get().to_string(),
        Value::Text(text) => text.to_string(),
    }
}

fn text(shown: &Shown) -> String {
    let mut text = crate::commands::decisions::text(&shown.explained);
    let mut line = |name: &str, value: String| {
        if !value.is_empty() {
            // Writing to a String does not fail.
            let _written = writeln!(text, "{name:<14} {value}");
        }
    };
    let pairs = |list: &[(String, String)]| {
        list.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(", ")
    };
    let sealed = if shown.sealed { ", in the block at" } else { " at byte" };
    line("lies in", format!("{}{sealed} {}", shown.file, shown.offset));
    line("seed", shown.seed.to_string());
    line("watermark", shown.watermark.to_string());
    line("context", pairs(&shown.context));
    line("traits", pairs(&shown.traits));
    let consents = shown.consents.iter().map(|(name, given)| (name.clone(), given.to_string()));
    line("consents", pairs(&consents.collect::<Vec<_>>()));
    line("opted out of", shown.suppressed.join(", "));
    line("time zone", shown.time_zone.clone().unwrap_or_default());
    let spent = shown.budgets_spent.iter().map(|(name, spent)| (name.clone(), spent.to_string()));
    line("budgets spent", pairs(&spent.collect::<Vec<_>>()));
    line("canary", shown.canary.clone().unwrap_or_default());
    line("took", format!("{} us to read, {} us to decide", shown.read_us, shown.decide_us));
    line("request", format!("{} bytes; --json has them", shown.request.len() / 2));
    let models = shown.models.iter();
    let rows: Vec<Vec<String>> = models
        .map(|of| vec![of.alias.clone(), format!("{} {}", of.model, of.version), of.artifact.clone()])
        .collect();
    if !rows.is_empty() {
        text.push_str(&table(&["alias", "model", "artifact"], &rows));
    }
    let rows: Vec<Vec<String>> = shown.features.iter().map(feature_row).collect();
    if !rows.is_empty() {
        text.push_str(&table(&["feature", "value", "status", "latest event"], &rows));
    }
    let given = shown.exposures.iter();
    let rows: Vec<Vec<String>> =
        given.map(|of| vec![of.action.clone(), of.channel.clone(), of.at.clone()]).collect();
    if !rows.is_empty() {
        text.push_str(&table(&["given before", "channel", "at"], &rows));
    }
    text
}

fn feature_row(feature: &Feature) -> Vec<String> {
    let Feature { name, value, text, status, latest_event_time } = feature;
    let value = value.filter(|_| text.is_none()).map(|value| value.to_string());
    let value = text.clone().or(value).unwrap_or_default();
    vec![name.clone(), value, (*status).to_owned(), latest_event_time.clone().unwrap_or_default()]
}
