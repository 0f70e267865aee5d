//! The model card as a page: one HTML file with its plots inside, to be mailed, printed and kept. No script, no font,
//! no address outside of it.
//!
//! Not here: the card's JSON ([`crate::registry`]), or measuring ([`crate::evaluation`]).

mod curves;
mod sections;
mod tables;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::evaluation::Evaluation;
use crate::metrics::Metrics;
use crate::page::{self, Markup};
use crate::registry::PublishedCard;

/// Most inputs that the page tells about one by one; the JSON has all.
const MAX_INPUTS: usize = 25;

/// The page of a card. Every text of the card is escaped; what its report lacks is left out.
pub fn html(card: &PublishedCard) -> String {
    let view = View::of(card);
    let mut page = Markup::default();
    sections::head(&mut page, &view);
    sections::warnings(&mut page, &view);
    if view.clusters.is_empty() {
        sections::figures(&mut page, &view);
    } else {
        tables::clusters(&mut page, &view);
    }
    if let Some(evaluation) = &view.evaluation {
        curves::all(&mut page, evaluation);
    }
    sections::inputs(&mut page, &view);
    if let Some(segments) = view.evaluation.as_ref().and_then(|evaluation| evaluation.segments.as_ref()) {
        tables::segments(&mut page, segments);
    }
    tables::choices(&mut page, &view);
    sections::reference(&mut page, &view);
    sections::lineage(&mut page, &view);
    page::close(&mut page);
    page.finish()
}

/// A card with its report read as far as it can be: fields of other versions are left out, not complained about.
struct View<'a> {
    card: &'a PublishedCard,
    family: String,
    trees: Option<u64>,
    calibrator: String,
    warnings: Vec<String>,
    dropped: Vec<String>,
    train: Option<Metrics>,
    out_of_fold: Option<Metrics>,
    out_of_time: Option<Metrics>,
    evaluation: Option<Evaluation>,
    calibration: Option<CalibrationView>,
    considered: Vec<ConsideredView>,
    features: Vec<FeatureView>,
    clusters: Vec<ClusterView>,
    silhouette: Option<f64>,
    explained: Option<f64>,
}

/// As `train::ClusterReport`.
#[derive(Deserialize)]
struct ClusterView {
    name: String,
    rows: u64,
    share: f64,
    #[serde(default)]
    center: Vec<f64>,
}

/// As `train::CalibrationReport`, which is there only with the feature `train`.
#[derive(Deserialize)]
struct CalibrationView {
    requested: String,
    chosen: String,
    #[serde(default)]
    tried: Vec<TriedView>,
}

#[derive(Deserialize)]
struct TriedView {
    calibration: String,
    log_loss: Option<f64>,
    ece: Option<f64>,
    refused: Option<String>,
}

#[derive(Deserialize)]
struct ConsideredView {
    family: String,
    log_loss: Option<f64>,
    roc_auc: Option<f64>,
}

#[derive(Deserialize)]
struct FeatureView {
    feature: String,
    #[serde(default)]
    importance: f64,
    #[serde(default)]
    transform: Option<String>,
    #[serde(default)]
    weight: Option<f64>,
    #[serde(default)]
    missing_weight: Option<f64>,
    #[serde(default)]
    missing_share: f64,
    #[serde(default)]
    auc_alone: Option<f64>,
}

impl<'a> View<'a> {
    fn of(card: &'a PublishedCard) -> Self {
        let report = &card.report;
        let text = |field: &str| lenient::<String>(report, field).unwrap_or_default();
        Self {
            card,
            family: text("family"),
            trees: lenient(report, "trees"),
            calibrator: text("calibrator"),
            warnings: lenient(report, "warnings").unwrap_or_default(),
            dropped: lenient(report, "dropped").unwrap_or_default(),
            train: lenient(report, "train"),
            out_of_fold: lenient(report, "out_of_fold"),
            out_of_time: lenient(report, "out_of_time"),
            evaluation: lenient(report, "evaluation"),
            calibration: lenient(report, "calibration"),
            considered: lenient(report, "considered").unwrap_or_default(),
            features: lenient(report, "features").unwrap_or_default(),
            clusters: lenient(report, "clusters").unwrap_or_default(),
            silhouette: lenient(report, "silhouette"),
            explained: lenient(report, "explained"),
        }
    }

    /// The measures that count most, and of which rows they are.
    fn headline(&self) -> Option<(&Metrics, &'static str)> {
        let held_back = self.out_of_time.as_ref().map(|metrics| (metrics, "rows held back"));
        held_back.or_else(|| self.out_of_fold.as_ref().map(|metrics| (metrics, "rows left out of their fit")))
    }
}

fn lenient<T: DeserializeOwned>(report: &serde_json::Value, field: &str) -> Option<T> {
    serde_json::from_value(report.get(field)?.clone()).ok()
}

#[cfg(test)]
mod tests;
