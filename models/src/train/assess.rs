//! What there is to say about a fit: what a person should look at, and how good it is on every part.
//!
//! Not here: the measures themselves (`metrics`), the calibrator (`calibration`), a closer look (`evaluate`) or fitting
//! (`family`).

use std::collections::BTreeSet;

use augur_domain::decision::Score;

use super::design::Design;
use super::family::Learned;
use super::{FeatureReport, Report, Split, TrainingTable, contributions, predictions};
use crate::Error;
use crate::artifact::Artifact;
use crate::calibrate::Calibrator;
use crate::metrics::Metrics;

/// What a person should look at before trusting the model.
pub(super) fn screen(table: &TrainingTable, design: &Design, learned: &Learned) -> Vec<String> {
    let mut warnings = Vec::new();
    for column in &design.dropped {
        warnings.push(format!("column `{column}` never varies in training and was dropped"));
    }
    if let Some(error) = learned.convergence.as_ref().and_then(|convergence| convergence.lbfgs_error.as_ref())
    {
        warnings.push(format!("linfa's L-BFGS failed ({error}); Newton's method fitted from the start"));
    }
    match table.part(Split::Test).map(|row| row.time).min() {
        None => warnings.push("no rows are held back: quality on later data is unknown".to_owned()),
        Some(first_test) => {
            let late = table.part(Split::Train).filter(|row| row.time >= first_test).count();
            if late > 0 {
                warnings.push(format!(
                    "{late} training rows are not earlier than the first test row, {first_test}; the test is not \
                     out of time"
                ));
            }
        }
    }
    warnings
}

pub(super) fn measure(
    table: &TrainingTable,
    design: &Design,
    artifact: &Artifact,
    learned: Learned,
    warnings: Vec<String>,
) -> Result<Report, Error> {
    let calibrated = |scored: &[(Score, bool)]| -> Option<Metrics> {
        Metrics::measure(&scored.iter().map(|(score, label)| (score.calibrated, *label)).collect::<Vec<_>>())
    };
    let train = predictions(artifact, table, Split::Train)?;
    let test = predictions(artifact, table, Split::Test)?;
    let test_raw: Vec<(f64, bool)> = test.iter().map(|(score, label)| (score.raw, *label)).collect();
    let left_out: Vec<(f64, bool)> = learned
        .out_of_fold
        .iter()
        .map(|(margin, label)| (Calibrator::Identity.probability(*margin), *label))
        .collect();
    let positives = |scored: &[(Score, bool)]| scored.iter().filter(|(_, label)| *label).count();
    let groups: BTreeSet<u64> = table.part(Split::Train).map(|row| row.group).collect();
    Ok(Report {
        family: learned.family.as_str().to_owned(),
        considered: learned.considered,
        trees: learned.trees,
        train_rows: train.len(),
        train_positives: positives(&train),
        test_rows: test.len(),
        test_positives: positives(&test),
        train_groups: groups.len(),
        convergence: learned.convergence,
        calibrator: artifact.content().calibrator.as_str().to_owned(),
        calibration: None,
        evaluation: None,
        train: calibrated(&train),
        out_of_fold: Metrics::measure(&left_out),
        out_of_time: calibrated(&test),
        out_of_time_raw: Metrics::measure(&test_raw),
        features: features(table, design, artifact)?,
        dropped: design.dropped.clone(),
        warnings,
    })
}

/// One entry per input, with the mean absolute contribution over the training rows for its importance.
fn features(
    table: &TrainingTable,
    design: &Design,
    artifact: &Artifact,
) -> Result<Vec<FeatureReport>, Error> {
    let mut sums = vec![0.0; artifact.content().body.features().len()];
    let mut rows = 0.0;
    contributions(artifact, table, Split::Train, |parts| {
        rows += 1.0;
        for (sum, (_, part)) in sums.iter_mut().zip(parts) {
            *sum += part.abs();
        }
    })?;
    let report = |(index, (feature, _)): (usize, (&str, _))| {
        let column = design.columns.iter().find(|column| column.feature == feature);
        let input = artifact.content().body.linear().and_then(|(_, inputs)| inputs.get(index));
        FeatureReport {
            feature: feature.to_owned(),
            importance: sums.get(index).copied().unwrap_or(0.0) / f64::max(rows, 1.0),
            transform: input.map(|input| input.transform.as_str().to_owned()),
            mean: input.map(|input| input.mean),
            scale: input.map(|input| input.scale),
            weight: input.map(|input| input.weight),
            missing_weight: input.map(|input| input.missing_weight),
            missing_share: column.map_or(0.0, |column| column.missing_share),
            auc_alone: column.and_then(|column| column.auc_alone),
        }
    };
    Ok(artifact.content().body.features().into_iter().enumerate().map(report).collect())
}
