//! One version as people ask about it: its card, what it reads and how much that counts, where it came from, and
//! which aliases point at it or did.
//!
//! Not here: how two versions differ (`difference`), or the training report's own layout, which is passed on as it is.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{AliasChange, ChangeKind, Registry};
use crate::Error;
use crate::artifact::{Body, Content};
use crate::calibrate::Calibrator;

/// A version of a model, in full. Serialises to JSON; fields may be added, never renamed or removed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// The model's name.
    pub model: String,
    /// The version.
    pub version: u32,
    /// Hash of its artifact.
    pub artifact: String,
    /// What it predicts.
    pub task: String,
    /// The class whose probability is given.
    pub positive_class: String,
    /// `linear`, `trees` or `clusters`.
    pub form: String,
    /// The calibrator's kind.
    pub calibrator: String,
    /// The feature definitions it was trained on.
    pub feature_set: String,
    /// Who published it.
    pub published_by: String,
    /// When, RFC 3339.
    pub published_at: String,
    /// What the publisher said.
    pub notes: String,
    /// Where it came from.
    pub lineage: Origin,
    /// What it reads, in scoring order.
    pub inputs: Vec<InputDescription>,
    /// Aliases that point at it now, sorted.
    pub aliases: Vec<String>,
    /// Every move of an alias to it, oldest first.
    pub moves: Vec<AliasMove>,
    /// The training report; null if there is none.
    pub report: Value,
}

/// Where a version came from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// Hash of the training table.
    pub data: String,
    /// Seed of every random choice in training.
    pub seed: u64,
    /// Training parameters; null when they are no JSON.
    pub parameters: Value,
    /// When it was trained, RFC 3339.
    pub created_at: String,
    /// Version of the code that trained it.
    pub code_version: String,
}

/// One input of a version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InputDescription {
    /// Name of the feature.
    pub feature: String,
    /// Hash of the feature's own definition in training, if the artifact tells.
    pub definition: Option<String>,
    /// Of a linear model, margin per standard deviation.
    pub weight: Option<f64>,
    /// Mean absolute contribution over the training rows, if the report tells.
    pub importance: Option<f64>,
    /// Share of training rows without a value, if the report tells.
    pub missing_share: Option<f64>,
}

/// One move of an alias.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AliasMove {
    /// The alias.
    pub alias: String,
    /// The version it was moved to.
    pub version: u32,
    /// Whether someone named the version, or asked for the one before.
    pub kind: ChangeKind,
    /// When, RFC 3339.
    pub at: String,
    /// Who.
    pub who: String,
    /// Why.
    pub why: String,
}

impl From<&AliasChange> for AliasMove {
    fn from(change: &AliasChange) -> Self {
        Self {
            alias: change.alias.clone(),
            version: change.version,
            kind: change.kind,
            at: change.at.to_string(),
            who: change.who.clone(),
            why: change.why.clone(),
        }
    }
}

impl Registry {
    /// Everything about one version. Its artifact is read and checked.
    ///
    /// # Errors
    /// As [`Registry::load`] and [`Registry::card`].
    pub fn describe(&self, name: &str, version: u32) -> Result<Description, Error> {
        let card = self.card(name, version)?;
        let target = self.version(name, version)?;
        let artifact = self.load(&target)?;
        let content = artifact.content();
        let aliases = self.aliases(name)?.into_iter().filter(|(_, at)| at.version == version);
        let aliases = aliases.map(|(alias, _)| alias).collect();
        let history = self.history(name)?;
        let moves = history.iter().filter(|change| change.version == version).map(AliasMove::from).collect();
        Ok(Description {
            model: name.to_owned(),
            version,
            artifact: artifact.id().to_string(),
            task: content.task.clone(),
            positive_class: content.positive_class.clone(),
            form: form(&content.body).to_owned(),
            calibrator: calibrator(&content.calibrator).to_owned(),
            feature_set: content.feature_set.to_string(),
            published_by: card.card.published_by,
            published_at: card.card.published_at.to_string(),
            notes: card.card.notes,
            lineage: origin(content),
            inputs: inputs(content, &card.report),
            aliases,
            moves,
            report: card.report,
        })
    }
}

const fn form(body: &Body) -> &'static str {
    match body {
        Body::Linear { .. } => "linear",
        Body::Trees { .. } => "trees",
        Body::Clusters { .. } => "clusters",
    }
}

const fn calibrator(calibrator: &Calibrator) -> &'static str {
    match calibrator {
        Calibrator::Identity => "identity",
        Calibrator::Platt { .. } => "platt",
        Calibrator::Isotonic { .. } => "isotonic",
    }
}

fn origin(content: &Content) -> Origin {
    let lineage = &content.lineage;
    Origin {
        data: lineage.data.to_string(),
        seed: lineage.seed,
        parameters: serde_json::from_str(&lineage.parameters).unwrap_or(Value::Null),
        created_at: lineage.created_at.to_string(),
        code_version: lineage.code_version.clone(),
    }
}

fn inputs(content: &Content, report: &Value) -> Vec<InputDescription> {
    let told: &[Value] =
        report.get("features").and_then(Value::as_array).map_or(&[], |features| features.as_slice());
    let figure = |feature: &str, key: &str| {
        let is_it = |told: &&Value| told.get("feature").and_then(Value::as_str) == Some(feature);
        told.iter().find(is_it)?.get(key)?.as_f64()
    };
    let weights = content.body.linear().map(|(_, inputs)| inputs);
    let features = content.body.features().into_iter().enumerate();
    let described = features.map(|(index, (feature, definition))| InputDescription {
        feature: feature.to_owned(),
        definition: definition.map(|definition| definition.to_string()),
        weight: weights.and_then(|inputs| inputs.get(index)).map(|input| input.weight),
        importance: figure(feature, "importance"),
        missing_share: figure(feature, "missing_share"),
    });
    described.collect()
}
