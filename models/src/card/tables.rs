//! The larger tables: quality and fairness by segment, and what was tried.
//!
//! Not here: how a table is written ([`crate::page`]).

use super::{ClusterView, MAX_INPUTS, View};
use crate::evaluation::segments::{Segment, Segments};
use crate::page::{Markup, figure, percent, whole};

pub(super) fn segments(page: &mut Markup, segments: &Segments) {
    page.raw("<section><h2>By segment <small>")
        .text(&segments.column)
        .raw("</small></h2><p>A row counts as selected from a probability of ");
    page.text(&figure(Some(segments.threshold), 4));
    let from = if segments.threshold_from == "given" {
        ", as given."
    } else {
        ", the base rate of the rows fitted on."
    };
    page.text(from).raw(" Differences are to the whole. ");
    if segments.lumped > 0 {
        page.text(&format!("{} smaller segments are put together as (other). ", segments.lumped));
    }
    if segments.segments.iter().any(|segment| segment.small) {
        page.raw(
            "Segments marked * have too few rows, positives or negatives for their figures to say much.",
        );
    }
    page.raw("</p>");
    let all = || std::iter::once(&segments.whole).chain(&segments.segments);
    let name = |segment: &Segment| format!("{}{}", segment.name, if segment.small { " *" } else { "" });
    let quality = |segment: &Segment| {
        vec![
            name(segment),
            whole(segment.rows),
            whole(segment.positives),
            percent(segment.base_rate),
            format!(
                "{} to {}",
                percent(segment.base_rate_interval.low),
                percent(segment.base_rate_interval.high)
            ),
            percent(segment.mean_probability),
            figure(segment.roc_auc, 4),
            figure(Some(segment.log_loss), 4),
            figure(Some(segment.ece), 4),
            figure(Some(segment.ece_by_chance), 4),
        ]
    };
    let rows: Vec<Vec<String>> = all().map(quality).collect();
    let header = [
        "segment",
        "rows",
        "positive",
        "base rate",
        "95 % interval",
        "predicted",
        "ROC-AUC",
        "log loss",
        "ECE",
        "ECE by chance",
    ];
    page.table("Quality by segment", &header, &rows);
    let signed = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:+.3}"));
    let fairness = |segment: &Segment| {
        vec![
            name(segment),
            percent(segment.selection_rate),
            figure(segment.selection_ratio, 2),
            figure(segment.true_positive_rate, 3),
            signed(segment.true_positive_difference),
            figure(segment.false_positive_rate, 3),
            signed(segment.false_positive_difference),
            figure(segment.precision, 3),
            signed(segment.precision_difference),
        ]
    };
    let rows: Vec<Vec<String>> = all().map(fairness).collect();
    let header = [
        "segment",
        "selected",
        "ratio",
        "true positive rate",
        "difference",
        "false positive rate",
        "difference",
        "precision",
        "difference",
    ];
    page.table("Fairness: what each segment gets", &header, &rows);
    page.raw("</section>");
}

/// The segments that a model of segments tells apart: their sizes, and where their centres are.
pub(super) fn clusters(page: &mut Markup, view: &View<'_>) {
    page.raw("<section><h2>Segments</h2><p>Simplified silhouette ").text(&figure(view.silhouette, 3));
    page.raw(" (1: far apart, 0: parts of one cloud); share of the variance between segments ");
    page.text(&figure(view.explained, 3)).raw(".</p>");
    let size =
        |cluster: &ClusterView| vec![cluster.name.clone(), whole(cluster.rows), percent(cluster.share)];
    let rows: Vec<Vec<String>> = view.clusters.iter().map(size).collect();
    page.table("Sizes", &["segment", "rows", "share"], &rows);
    let centers = view.features.iter().enumerate().take(MAX_INPUTS).map(|(index, feature)| {
        let at = view.clusters.iter().map(|cluster| figure(cluster.center.get(index).copied(), 3));
        std::iter::once(feature.feature.clone()).chain(at).collect()
    });
    let rows: Vec<Vec<String>> = centers.collect();
    let names = view.clusters.iter().map(|cluster| cluster.name.as_str());
    let header: Vec<&str> = std::iter::once("feature").chain(names).collect();
    page.table("Centres, in the features' own units", &header, &rows);
    page.raw("</section>");
}

/// Families and calibrators that were tried.
pub(super) fn choices(page: &mut Markup, view: &View<'_>) {
    let tried = view.calibration.as_ref().filter(|calibration| !calibration.tried.is_empty());
    if view.considered.is_empty() && tried.is_none() {
        return;
    }
    page.raw("<section><h2>What was tried <small>on users left out</small></h2>");
    if !view.considered.is_empty() {
        let row = |family: &super::ConsideredView| {
            vec![family.family.clone(), figure(family.log_loss, 5), figure(family.roc_auc, 4)]
        };
        let rows: Vec<Vec<String>> = view.considered.iter().map(row).collect();
        page.table("Families", &["family", "log loss", "ROC-AUC"], &rows);
    }
    if let Some(calibration) = tried {
        let row = |tried: &super::TriedView| {
            let taken = if tried.calibration == calibration.chosen { "taken" } else { "" };
            let note = tried.refused.clone().unwrap_or_else(|| taken.to_owned());
            vec![tried.calibration.clone(), figure(tried.log_loss, 5), figure(tried.ece, 4), note]
        };
        let rows: Vec<Vec<String>> = calibration.tried.iter().map(row).collect();
        let caption = format!("Calibration ({} was asked for)", calibration.requested);
        page.table(&caption, &["calibration", "log loss", "ECE", ""], &rows);
    }
    page.raw("</section>");
}
