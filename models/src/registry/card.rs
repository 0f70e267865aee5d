//! The card that lies beside a version, for people: who published it, when, why, and what training said.
//!
//! Not here: anything that scoring reads. A lost card loses no model.

use std::path::Path;

use augur_domain::{ContentHash, Timestamp};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::artifact::Artifact;

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

/// A card as it lies in the registry.
#[derive(Debug, Clone, PartialEq)]
pub struct PublishedCard {
    /// The version it belongs to.
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
    /// What the publisher said.
    pub card: Card,
    /// The training report; null if there is none.
    pub report: serde_json::Value,
}

/// The file as written. Fields may be added, never renamed or removed.
#[derive(Serialize, Deserialize)]
struct Document {
    version: u32,
    artifact: String,
    task: String,
    positive_class: String,
    feature_set: String,
    features: Vec<String>,
    published_by: String,
    published_at_unix_ms: i64,
    notes: String,
    report: serde_json::Value,
}

impl PublishedCard {
    pub(super) fn new(version: u32, artifact: &Artifact, card: &Card) -> Self {
        let content = artifact.content();
        Self {
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

    pub(super) fn to_json(&self) -> Result<Vec<u8>, Error> {
        let document = Document {
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

    pub(super) fn from_json(bytes: &[u8], path: &Path) -> Result<Self, Error> {
        let damaged = |problem: String| Error::Corrupted { file: path.to_owned(), problem };
        let document: Document = serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
        let hash = |text: &str| text.parse::<ContentHash>().map_err(|error| damaged(error.to_string()));
        Ok(Self {
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
