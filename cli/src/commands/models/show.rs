//! `augur models show`: one version in full, as text for people.
//!
//! Not here: the description itself (`augur_models::registry`).

use augur_loadtest::{Error as Refused, v1};
use augur_models::registry::{Description, InputDescription};
use serde_json::Value;

use super::{Opened, Place};
use crate::output::{Output, table};
use crate::{Error, Outcome};

/// Most inputs in the text; `--json` has all.
const MOST_INPUTS: usize = 40;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The model's name.
    model: String,
    /// A version's number, or an alias.
    #[arg(default_value = "champion")]
    version: String,
    #[command(flatten)]
    place: Place,
}

pub(super) fn run(args: &Args, output: Output) -> Result<Outcome, Error> {
    let description = describe(&args.place.open()?, &args.model, &args.version)?;
    output.report(&description, text)?;
    Ok(Outcome::Fine)
}

/// The version of `model` that `selector` names.
pub(super) fn describe(place: &Opened, model: &str, selector: &str) -> Result<Description, Error> {
    match place {
        Opened::Directory { registry, .. } => {
            Ok(registry.describe(model, registry.find(model, selector)?.version)?)
        }
        Opened::Server(endpoint) => super::read_json(&ask_for(endpoint, model, selector)?.description_json),
    }
}

/// What a server tells of a version.
pub(super) fn ask_for(endpoint: &str, model: &str, selector: &str) -> Result<v1::GetModelResponse, Error> {
    let request = v1::GetModelRequest { model: model.to_owned(), version_or_alias: selector.to_owned() };
    super::ask(endpoint, async |client| {
        let answer = client.models().get_model(request).await;
        let answer = answer.map_err(|status| Refused::call("ModelService/GetModel", 0, &status))?;
        Ok(answer.into_inner())
    })
}

fn text(version: &Description) -> String {
    let points = if version.aliases.is_empty() { "no alias".to_owned() } else { version.aliases.join(", ") };
    let lineage = &version.lineage;
    let family = version.report.get("family").and_then(Value::as_str).unwrap_or(&version.form);
    let mut text = format!(
        "{} version {} ({points})\n  predicts    {}: {}\n  family      {family}, calibrated by {}\n  artifact    {}\n  \
         features    {}\n  published   {} by {}{}\n  trained     {} by version {}, seed {}, rows {}\n  parameters  {}\n",
        version.model,
        version.version,
        version.task,
        version.positive_class,
        version.calibrator,
        version.artifact,
        version.feature_set,
        version.published_at,
        version.published_by,
        if version.notes.is_empty() { String::new() } else { format!(": {}", version.notes) },
        lineage.created_at,
        lineage.code_version,
        lineage.seed,
        lineage.data,
        lineage.parameters,
    );
    text.push_str(&figures(&version.report));
    text.push('\n');
    text.push_str(&inputs(&version.inputs));
    for warning in version.report.get("warnings").and_then(Value::as_array).into_iter().flatten() {
        text.push_str(&format!("note: {}\n", warning.as_str().unwrap_or_default()));
    }
    for moved in &version.moves {
        let (alias, kind) = (&moved.alias, moved.kind.as_str());
        text.push_str(&format!("{} {alias} {kind} by {}: {}\n", moved.at, moved.who, moved.why));
    }
    text
}

/// Parts of the rows with their figures, side by side.
fn figures(report: &Value) -> String {
    const FIGURES: [(&str, &str); 8] = [
        ("rows", "rows"),
        ("positives", "positive"),
        ("roc_auc", "ROC-AUC"),
        ("pr_auc", "PR-AUC"),
        ("log_loss", "log loss"),
        ("brier", "Brier"),
        ("ece", "ECE"),
        ("top_decile_lift", "lift"),
    ];
    let parts = [("train", "train"), ("out of time", "out_of_time")];
    let rows: Vec<Vec<String>> = parts
        .iter()
        .filter_map(|(name, key)| {
            let part = report.get(key).filter(|part| part.is_object())?;
            let cells = FIGURES.iter().map(|(key, _)| match part.get(key) {
                Some(Value::Number(number)) if number.is_u64() => number.to_string(),
                Some(Value::Number(number)) => format!("{:.4}", number.as_f64().unwrap_or_default()),
                _ => "-".to_owned(),
            });
            Some(std::iter::once((*name).to_owned()).chain(cells).collect())
        })
        .collect();
    if rows.is_empty() {
        return "no training report\n".to_owned();
    }
    let header: Vec<&str> = std::iter::once("").chain(FIGURES.iter().map(|(_, header)| *header)).collect();
    table(&header, &rows)
}

fn inputs(inputs: &[InputDescription]) -> String {
    let figure = |figure: Option<f64>| figure.map_or("-".to_owned(), |figure| format!("{figure:.4}"));
    let mut sorted: Vec<&InputDescription> = inputs.iter().collect();
    let weight = |input: &InputDescription| input.importance.or(input.weight).unwrap_or(0.0).abs();
    sorted.sort_by(|a, b| weight(b).total_cmp(&weight(a)));
    let rows: Vec<Vec<String>> = sorted
        .iter()
        .take(MOST_INPUTS)
        .map(|input| {
            let (importance, weight) = (figure(input.importance), figure(input.weight));
            vec![input.feature.clone(), importance, weight, figure(input.missing_share)]
        })
        .collect();
    let mut text = table(&["input", "importance", "weight", "missing"], &rows);
    if inputs.len() > MOST_INPUTS {
        text.push_str(&format!("and {} more; `--json` has all\n", inputs.len() - MOST_INPUTS));
    }
    text
}
