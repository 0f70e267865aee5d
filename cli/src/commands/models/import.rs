//! `augur models import`: a model that another library trained, as a version of our own.
//!
//! Not here: reading the formats (`augur_models::import`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use augur_loadtest::domain::{ContentHash, FeatureSet, Timestamp};
use augur_models::artifact::{Body, Content, Lineage};
use augur_models::import::{self, ColumnNames, ForeignModel, MAX_IMPORT_BYTES};
use augur_models::registry::Card;
use augur_models::{Artifact, Calibrator, Registry, Scorer};
use augur_server::{Clock, Layout, SystemClock};
use serde::{Deserialize, Serialize};

use crate::data::Directory;
use crate::output::{Output, table};
use crate::{Error, Outcome};

/// Longest features map, in bytes.
const MAX_MAP_BYTES: u64 = 1024 * 1024;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A LightGBM text model (`model.txt`), or an ONNX model of `ai.onnx.ml` linear models or trees.
    file: PathBuf,
    /// The model's name in the registry.
    #[arg(long)]
    name: String,
    /// In words, the class whose probability the model gives.
    #[arg(long, value_name = "TEXT")]
    positive_class: String,
    /// A file that says how the model's columns are called here: `order = ["a", "b"]` names the columns of an ONNX tensor,
    /// and `[rename]` with `theirs = "ours"` what has another name.
    #[arg(long, value_name = "FILE")]
    features: Option<PathBuf>,
    /// What turns margins into probabilities in the place of the model's own link: `identity`, the logistic function, or
    /// `platt:A,B`, which is 1 / (1 + e^(A margin + B)).
    #[arg(long, value_parser = calibrator, allow_hyphen_values = true)]
    calibrator: Option<Calibrator>,
    /// Publish it as the next version in this data directory, for the features that it declares.
    #[arg(long, value_name = "DIR", required_unless_present = "out")]
    data: Option<PathBuf>,
    /// Write `model.augurmdl` to this directory instead; no feature set is asked.
    #[arg(long, value_name = "DIR", conflicts_with = "data")]
    out: Option<PathBuf>,
    /// Who publishes; the user of this shell unless given.
    #[arg(long, env = "USER", default_value = "unknown")]
    by: String,
}

/// The file behind `--features`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct FeaturesMap {
    #[serde(default)]
    order: Vec<String>,
    #[serde(default)]
    rename: BTreeMap<String, String>,
}

/// What came of an import.
#[derive(Debug, Serialize)]
struct Imported {
    model: String,
    format: &'static str,
    details: BTreeMap<&'static str, String>,
    form: &'static str,
    trees: usize,
    nodes: usize,
    inputs: Vec<String>,
    calibrator: &'static str,
    artifact: String,
    version: Option<u32>,
    written: Option<PathBuf>,
    notes: Vec<String>,
}

pub(super) fn run(args: &Args, output: Output) -> Result<Outcome, Error> {
    let bytes = read_bounded(&args.file, MAX_IMPORT_BYTES as u64)?;
    let names = column_names(args.features.as_deref())?;
    let mut model = import::read(&bytes, &names)?;
    if let Some(calibrator) = &args.calibrator {
        calibrator.clone_into(&mut model.calibrator);
    }
    let mut report = Imported::of(&args.name, &model);
    let now = SystemClock::new().now();
    if let Some(data) = &args.data {
        let directory = Directory::open(data)?;
        let config = directory.config()?;
        let schema = augur_server::check_features(&config)?;
        let artifact = artifact(args, model, &bytes, Some(schema.feature_set()), now)?;
        Scorer::new(&artifact, schema.feature_set())
            .map_err(|error| unserved(error, schema.feature_set()))?;
        let registry = Registry::open(Layout::new(&config.data.dir).models())?;
        let notes = format!("imported from {}", file_name(&args.file));
        let card = Card { published_by: args.by.clone(), published_at: now, notes };
        let published = registry.publish(&args.name, &artifact, &card)?;
        report.artifact = published.artifact.to_string();
        report.version = Some(published.version);
    } else if let Some(dir) = &args.out {
        let artifact = artifact(args, model, &bytes, None, now)?;
        let path = dir.join("model.augurmdl");
        std::fs::create_dir_all(dir).map_err(Error::file("create", dir))?;
        std::fs::write(&path, artifact.encode()).map_err(Error::file("write", &path))?;
        report.artifact = artifact.id().to_string();
        report.written = Some(path);
    }
    output.report(&report, |report| report.text(args.data.as_deref()))?;
    Ok(Outcome::Fine)
}

fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    let size = std::fs::metadata(path).map_err(Error::file("read", path))?.len();
    if size > limit {
        let what = "file in bytes";
        return Err(augur_models::Error::TooLarge { what, found: size, limit }.into());
    }
    std::fs::read(path).map_err(Error::file("read", path))
}

fn column_names(path: Option<&Path>) -> Result<ColumnNames, Error> {
    let Some(path) = path else { return Ok(ColumnNames::default()) };
    let wrong = |problem: String| Error::Input {
        path: path.to_owned(),
        problem,
        expected: "`order = [\"feature\", ...]` and `[rename]` with `theirs = \"ours\"`".to_owned(),
    };
    let bytes = read_bounded(path, MAX_MAP_BYTES)?;
    let text = std::str::from_utf8(&bytes).map_err(|error| wrong(error.to_string()))?;
    let map: FeaturesMap =
        toml::from_str(text).map_err(|error| wrong(error.to_string().trim().to_owned()))?;
    Ok(ColumnNames { order: map.order, rename: map.rename })
}

/// The artifact; of a served feature set it tells how each input is defined there.
fn artifact(
    args: &Args,
    mut model: ForeignModel,
    bytes: &[u8],
    features: Option<&FeatureSet>,
    now: Timestamp,
) -> Result<Artifact, Error> {
    if let Some(features) = features {
        define(&mut model.body, features);
    }
    let details: BTreeMap<_, _> = model.details.into_iter().collect();
    let parameters = serde_json::json!({
        "imported": { "format": model.format, "file": file_name(&args.file), "details": details, "notes": model.notes },
    });
    let content = Content {
        name: args.name.clone(),
        task: args.name.clone(),
        positive_class: args.positive_class.clone(),
        feature_set: features.map_or_else(ContentHash::default, FeatureSet::hash),
        body: model.body,
        calibrator: model.calibrator,
        lineage: Lineage {
            data: ContentHash::of(&[bytes]),
            seed: 0,
            parameters: parameters.to_string(),
            created_at: now,
            code_version: env!("CARGO_PKG_VERSION").to_owned(),
        },
        report: String::new(),
        reference: None,
    };
    Ok(Artifact::new(content)?)
}

fn define(body: &mut Body, features: &FeatureSet) {
    let definition = |name: &str| {
        let slot = features.slot(name)?;
        Some(features.features().get(slot)?.definition)
    };
    // Names that are not served are refused when the model is bound to the features.
    match body {
        Body::Linear { inputs, .. } => {
            inputs.iter_mut().for_each(|input| {
                input.definition = definition(&input.feature).or(Some(ContentHash::default()))
            });
        }
        Body::Trees { inputs, .. } => {
            inputs.iter_mut().for_each(|input| {
                input.definition = definition(&input.feature).or(Some(ContentHash::default()))
            });
        }
        // No foreign format has segments.
        Body::Clusters { .. } => {}
    }
}

/// Columns that no served feature is called, with the nearest name of the first.
fn unserved(error: augur_models::Error, features: &FeatureSet) -> Error {
    let augur_models::Error::FeatureMismatch { missing, .. } = &error else { return error.into() };
    let first = missing.first().map_or("", String::as_str);
    let known = features.features().iter().map(|feature| &*feature.name);
    let near = known.max_by(|a, b| strsim::jaro_winkler(a, first).total_cmp(&strsim::jaro_winkler(b, first)));
    let near = near.unwrap_or("FEATURE");
    let rename = format!("`[rename]` with e.g. `\"{first}\" = \"{near}\"`");
    Error::Argument {
        argument: "--features",
        found: missing.join(", "),
        expected: format!(
            "names of numeric features of the data directory; declare them, or give a map of {rename}"
        ),
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn calibrator(text: &str) -> Result<Calibrator, String> {
    let expected = || "`identity` or `platt:A,B`, e.g. `platt:-0.9,0.05`".to_owned();
    if text == "identity" {
        return Ok(Calibrator::Identity);
    }
    let (a, b) = text.strip_prefix("platt:").and_then(|rest| rest.split_once(',')).ok_or_else(expected)?;
    let number =
        |text: &str| text.trim().parse::<f64>().ok().filter(|number| number.is_finite()).ok_or_else(expected);
    Ok(Calibrator::Platt { a: number(a)?, b: number(b)? })
}

impl Imported {
    fn of(name: &str, model: &ForeignModel) -> Self {
        let (form, trees, nodes) = match &model.body {
            Body::Linear { .. } => ("linear", 0, 0),
            Body::Trees { ensemble, .. } => {
                ("trees", ensemble.trees.len(), ensemble.trees.iter().map(|tree| tree.nodes.len()).sum())
            }
            Body::Clusters { .. } => ("clusters", 0, 0),
        };
        Self {
            model: name.to_owned(),
            format: model.format,
            details: model.details.iter().cloned().collect(),
            form,
            trees,
            nodes,
            inputs: model.body.features().into_iter().map(|(name, _)| name.to_owned()).collect(),
            calibrator: model.calibrator.as_str(),
            artifact: String::new(),
            version: None,
            written: None,
            notes: model.notes.clone(),
        }
    }

    fn text(&self, data: Option<&Path>) -> String {
        let details: Vec<String> = self.details.iter().map(|(key, value)| format!("{key} {value}")).collect();
        let size = if self.trees > 0 {
            format!("{} trees, {} nodes", self.trees, self.nodes)
        } else {
            "a weighted sum".to_owned()
        };
        let rows = [
            vec!["model".to_owned(), format!("{} ({})", self.format, details.join(", "))],
            vec!["form".to_owned(), format!("{size}, calibrator {}", self.calibrator)],
            vec!["inputs".to_owned(), self.inputs.join(", ")],
            vec!["artifact".to_owned(), self.artifact.clone()],
        ];
        let mut text = table(&["", ""], &rows);
        for note in &self.notes {
            text.push_str(&format!("note: {note}\n"));
        }
        text.push_str("note: nothing is known here of its quality; its card has no figures\n");
        text.push_str(&match (self.version, data, &self.written) {
            (Some(version), Some(data), _) => format!(
                "published as {} version {version}\nnext: augur models promote {} {version} --data {} --reason \"...\"",
                self.model,
                self.model,
                data.display()
            ),
            (_, _, Some(path)) => format!("written: {}", path.display()),
            _ => String::new(),
        });
        text
    }
}
