//! The card that lies beside a version, for people: who published it, when, why, and what training said.
//!
//! Not here: anything that scoring reads. A lost card loses no model.

use std::path::Path;

use augur_domain::{ContentHash, Timestamp};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::artifact::{Artifact, InputReference};

/// What the publisher says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Card {
    /// Who publishes.
    pub published_by: String,
    /// When, as the caller's clock says.
    pub published_at: Timestamp,
    /// What this version is for.
    pub notes: String,
}

/// The newest layout of the JSON: 1 has no name, lineage or reference.
pub const CARD_SCHEMA: u32 = 2;

/// A card as it lies in the registry.
#[derive(Debug, Clone, PartialEq)]
pub struct PublishedCard {
    /// The model's name; empty on cards of schema 1.
    pub name: String,
    /// The version it belongs to; 0 of a model that is in no registry.
    pub version: u32,
    /// Hash of that version's artifact.
    pub artifact: ContentHash,
    /// What the model predicts.
    pub task: String,
    /// The class whose probability is given.
    pub positive_class: String,
    /// The feature definitions it was trained on.
    pub feature_set: ContentHash,
    /// Its inputs, in scoring order.
    pub features: Vec<String>,
    /// Where it comes from; absent on cards of schema 1.
    pub lineage: Option<LineageCard>,
    /// What training looked like, if the artifact tells.
    pub reference: Option<ReferenceCard>,
    /// What the publisher said.
    pub card: Card,
    /// The training report; null if there is none.
    pub report: serde_json::Value,
}

/// Where a version comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LineageCard {
    /// Hash of the training rows.
    pub data: String,
    /// Seed of every random choice.
    pub seed: u64,
    /// Training parameters.
    pub parameters: serde_json::Value,
    /// When it was trained.
    pub created_at: String,
    /// Version of the code that trained it.
    pub code_version: String,
}

/// What training looked like: drift is told against it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReferenceCard {
    /// Rows that the shares are of.
    pub rows: u64,
    /// Share of positive rows.
    pub base_rate: f64,
    /// Share of calibrated probabilities in bins of equal width from 0 to 1.
    pub scores: Vec<f64>,
    /// One per input, in the model's order.
    pub inputs: Vec<InputShares>,
}

/// How one input's values were spread.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InputShares {
    /// The input.
    pub feature: String,
    /// Ascending borders between bins.
    pub edges: Vec<f64>,
    /// Share of the values present in each bin, one more than edges.
    pub shares: Vec<f64>,
    /// Share of rows without a value.
    pub missing_share: f64,
}

/// The file as written. Fields may be added, never renamed or removed.
#[derive(Serialize, Deserialize)]
struct Document {
    #[serde(default = "first_schema")]
    schema: u32,
    #[serde(default)]
    name: String,
    version: u32,
    artifact: String,
    task: String,
    positive_class: String,
    feature_set: String,
    features: Vec<String>,
    published_by: String,
    published_at_unix_ms: i64,
    notes: String,
    #[serde(default)]
    lineage: Option<LineageCard>,
    #[serde(default)]
    reference: Option<ReferenceCard>,
    report: serde_json::Value,
}

const fn first_schema() -> u32 {
    1
}

impl LineageCard {
    fn of(artifact: &Artifact) -> Self {
        let lineage = &artifact.content().lineage;
        Self {
            data: lineage.data.to_string(),
            seed: lineage.seed,
            parameters: serde_json::from_str(&lineage.parameters).unwrap_or(serde_json::Value::Null),
            created_at: lineage.created_at.to_string(),
            code_version: lineage.code_version.clone(),
        }
    }
}

impl ReferenceCard {
    fn of(artifact: &Artifact) -> Option<Self> {
        let content = artifact.content();
        let reference = content.reference.as_ref()?;
        let inputs = content.body.features().into_iter().zip(&reference.inputs);
        let input = |((feature, _), input): ((&str, _), &InputReference)| InputShares {
            feature: feature.to_owned(),
            edges: input.edges.clone(),
            shares: input.shares.clone(),
            missing_share: input.missing_share,
        };
        Some(Self {
            rows: reference.rows,
            base_rate: reference.base_rate,
            scores: reference.scores.to_vec(),
            inputs: inputs.map(input).collect(),
        })
    }
}

impl PublishedCard {
    /// The card of an artifact: everything but the publisher's words is in it.
    pub fn new(version: u32, artifact: &Artifact, card: &Card) -> Self {
        let content = artifact.content();
        Self {
            name: content.name.clone(),
            lineage: Some(LineageCard::of(artifact)),
            reference: ReferenceCard::of(artifact),
            version,
            artifact: artifact.id(),
            task: content.task.clone(),
            positive_class: content.positive_class.clone(),
            feature_set: content.feature_set,
            features: content.body.features().into_iter().map(|(feature, _)| feature.to_owned()).collect(),
            card: card.clone(),
            report: serde_json::from_str(&content.report).unwrap_or(serde_json::Value::Null),
        }
    }

    /// The card as its file holds it.
    ///
    /// # Errors
    /// [`Error::InvalidContent`] when it holds what JSON cannot.
    pub fn to_json(&self) -> Result<Vec<u8>, Error> {
        let document = Document {
            schema: CARD_SCHEMA,
            name: self.name.clone(),
            lineage: self.lineage.clone(),
            reference: self.reference.clone(),
            version: self.version,
            artifact: self.artifact.to_string(),
            task: self.task.clone(),
            positive_class: self.positive_class.clone(),
            feature_set: self.feature_set.to_string(),
            features: self.features.clone(),
            published_by: self.card.published_by.clone(),
            published_at_unix_ms: self.card.published_at.unix_ms(),
            notes: self.card.notes.clone(),
            report: self.report.clone(),
        };
        serde_json::to_vec_pretty(&document).map_err(|error| Error::InvalidContent {
            field: "card".to_owned(),
            found: error.to_string(),
            expected: "content that JSON can hold",
        })
    }

    /// Reads what [`Self::to_json`] wrote; `path` is only for complaints.
    ///
    /// # Errors
    /// [`Error::Corrupted`] for what is no card, or one of a newer schema.
    pub fn from_json(bytes: &[u8], path: &Path) -> Result<Self, Error> {
        let damaged = |problem: String| Error::Corrupted { file: path.to_owned(), problem };
        let document: Document = serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
        let hash = |text: &str| text.parse::<ContentHash>().map_err(|error| damaged(error.to_string()));
        if document.schema > CARD_SCHEMA {
            return Err(damaged(format!("card schema {}, newer than {CARD_SCHEMA}", document.schema)));
        }
        Ok(Self {
            name: document.name,
            lineage: document.lineage,
            reference: document.reference,
            version: document.version,
            artifact: hash(&document.artifact)?,
            task: document.task,
            positive_class: document.positive_class,
            feature_set: hash(&document.feature_set)?,
            features: document.features,
            card: Card {
                published_by: document.published_by,
                published_at: Timestamp::from_unix_ms(document.published_at_unix_ms),
                notes: document.notes,
            },
            report: document.report,
        })
    }
}
