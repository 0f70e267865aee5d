//! What the page says in words and small tables: head, warnings, key figures, inputs, reference, lineage.
//!
//! Not here: curves (`curves`), or the larger tables (`tables`).

use super::{MAX_INPUTS, View};
use crate::metrics::{Interval, Metrics};
use crate::page::{self, Frame, Ink, Markup, figure, percent, whole};

pub(super) fn head(page: &mut Markup, view: &View<'_>) {
    let card = view.card;
    let title = format!("{} {} – model card", card.name, version(card.version));
    page::open(page, &title, "Model card");
    page.raw("<h1>");
    page.text(&card.name)
        .raw(" <span>")
        .text(&version(card.version))
        .raw("</span></h1><p class=\"lead\">")
        .raw(if view.clusters.is_empty() {
            "Probability of: <strong>"
        } else {
            "Segment of a user: <strong>"
        });
    page.text(&card.positive_class).raw("</strong></p>");
    let family = match view.trees {
        Some(trees) => format!("{} of {} trees", view.family, whole(trees)),
        None => view.family.clone(),
    };
    let published = format!("{} by {}", card.card.published_at, card.card.published_by);
    let facts = [
        ("task", card.task.as_str()),
        ("family", &family),
        ("calibration", &view.calibrator),
        (if card.version == 0 { "made" } else { "published" }, &published),
    ];
    page::chips(page, &facts);
    if !card.card.notes.is_empty() && card.card.notes != card.positive_class {
        page.raw("<p class=\"notes\">").text(&card.card.notes).raw("</p>");
    }
    page.raw("</header>");
}

fn version(version: u32) -> String {
    if version == 0 { "not published".to_owned() } else { format!("version {version}") }
}

pub(super) fn warnings(page: &mut Markup, view: &View<'_>) {
    if view.warnings.is_empty() {
        page.raw("<p class=\"fine\">Training raised no warning.</p>");
        return;
    }
    page::begin_box(page, "warnings", "Look at this first");
    page::list(page, &view.warnings);
    page::end_box(page);
}

/// Tiles of the headline figures, and all measures per part.
pub(super) fn figures(page: &mut Markup, view: &View<'_>) {
    let Some((metrics, rows)) = view.headline() else {
        page.raw("<p class=\"fine\">The version says nothing of its quality.</p>");
        return;
    };
    page.raw("<section><h2>How good it is <small>on ").text(&whole(metrics.rows as u64)).raw(" ");
    page.text(rows).raw("</small></h2>");
    let intervals = view.evaluation.as_ref().and_then(|evaluation| evaluation.intervals);
    let between = |of: fn(&crate::metrics::Intervals) -> Option<Interval>, digits: usize| {
        intervals.as_ref().and_then(of).map_or_else(String::new, |found| {
            format!("95 %: {} to {}", figure(Some(found.low), digits), figure(Some(found.high), digits))
        })
    };
    let by_chance = |chance: f64| format!("by chance {}", figure(Some(chance), 4));
    let tiles = [
        ("ROC-AUC", figure(metrics.roc_auc, 4), between(|found| found.roc_auc, 4)),
        ("PR-AUC", figure(metrics.pr_auc, 4), between(|found| found.pr_auc, 4)),
        ("Log loss", figure(Some(metrics.log_loss), 4), between(|found| found.log_loss, 4)),
        ("Brier", figure(Some(metrics.brier), 4), between(|found| found.brier, 4)),
        ("Calibration error", figure(Some(metrics.ece), 4), between(|found| found.ece, 4)),
        (
            "… of equal mass",
            figure(metrics.ece_equal_mass, 4),
            metrics.ece_equal_mass_by_chance.map_or_else(String::new, by_chance),
        ),
        ("Top-decile lift", figure(metrics.top_decile_lift, 2), between(|found| found.top_decile_lift, 2)),
        ("Base rate", percent(metrics.base_rate), format!("predicted {}", percent(metrics.mean_probability))),
    ];
    page::tiles(page, &tiles);
    let parts = [
        ("fitted on (optimistic)", &view.train),
        ("left out of their fold's fit, uncalibrated", &view.out_of_fold),
        ("held back", &view.out_of_time),
    ];
    let rows: Vec<Vec<String>> =
        parts.iter().filter_map(|(name, metrics)| Some(measures(name, metrics.as_ref()?))).collect();
    let header = [
        "rows",
        "number",
        "positive",
        "ROC-AUC",
        "PR-AUC",
        "log loss",
        "Brier",
        "ECE",
        "ECE equal mass",
        "KS",
        "lift",
    ];
    page.table("Measures by part", &header, &rows);
    page.raw("</section>");
}

fn measures(name: &str, metrics: &Metrics) -> Vec<String> {
    vec![
        name.to_owned(),
        whole(metrics.rows as u64),
        whole(metrics.positives as u64),
        figure(metrics.roc_auc, 4),
        figure(metrics.pr_auc, 4),
        figure(Some(metrics.log_loss), 4),
        figure(Some(metrics.brier), 4),
        figure(Some(metrics.ece), 4),
        figure(metrics.ece_equal_mass, 4),
        figure(metrics.ks, 4),
        figure(metrics.top_decile_lift, 2),
    ]
}

/// What each input does: bars of weights, or of importance where there are none.
pub(super) fn inputs(page: &mut Markup, view: &View<'_>) {
    if view.features.is_empty() {
        return;
    }
    let mut features: Vec<_> = view.features.iter().collect();
    features.sort_by(|a, b| b.importance.total_cmp(&a.importance));
    let told = features.len().min(MAX_INPUTS);
    features.truncate(MAX_INPUTS);
    page.raw("<section><h2>What it looks at <small>")
        .text(&format!("{told} of {} inputs", view.features.len()));
    page.raw("</small></h2>");
    let linear = features.iter().all(|feature| feature.weight.is_some());
    let bars: Vec<(String, f64)> = features
        .iter()
        .map(|feature| {
            (feature.feature.clone(), feature.weight.filter(|_| linear).unwrap_or(feature.importance))
        })
        .collect();
    let (title, description) = if linear {
        (
            "Weight per standard deviation",
            "Margin that one standard deviation of each input adds, by importance.",
        )
    } else {
        ("Importance", "Mean absolute contribution of each input over the rows fitted on.")
    };
    page::lying_bars(page, title, description, &bars);
    let row = |feature: &&super::FeatureView| {
        vec![
            feature.feature.clone(),
            figure(Some(feature.importance), 4),
            feature.transform.clone().unwrap_or_else(|| "–".to_owned()),
            figure(feature.weight, 4),
            figure(feature.missing_weight, 4),
            percent(feature.missing_share),
            figure(feature.auc_alone, 3),
        ]
    };
    let rows: Vec<Vec<String>> = features.iter().map(row).collect();
    let header =
        ["input", "importance", "transform", "weight", "weight if missing", "missing", "ROC-AUC alone"];
    page.raw("<details><summary>The figures</summary>");
    page.table("Inputs by importance: mean absolute contribution over the rows fitted on", &header, &rows);
    page.raw("</details></figure></section>");
}

/// What training looked like, against which drift is told.
pub(super) fn reference(page: &mut Markup, view: &View<'_>) {
    let Some(reference) = &view.card.reference else { return };
    page.raw("<section><h2>Reference for drift <small>")
        .text(&whole(reference.rows))
        .raw(" rows, base rate ");
    page.text(&percent(reference.base_rate)).raw("</small></h2><div class=\"plots\">");
    let most = reference.scores.iter().fold(0.0, |most, share| f64::max(most, *share));
    let frame = Frame {
        x: (0.0, 1.0),
        y: (0.0, f64::max(most, 0.01)),
        x_label: "probability",
        y_label: "share of rows",
    };
    let bins = reference.scores.len().max(1) as f64;
    page::plot(
        page,
        "Scores of the reference",
        "Share of rows by calibrated probability.",
        &frame,
        |drawing| {
            for (place, share) in reference.scores.iter().enumerate() {
                drawing.bar(place as f64 / bins, (place + 1) as f64 / bins, *share, Ink::Main);
            }
        },
    );
    page::end(page);
    page.raw("</div>");
    let row = |input: &crate::registry::InputShares| {
        let span = match (input.edges.first(), input.edges.last()) {
            (Some(first), Some(last)) => format!("{first} … {last}"),
            _ => "–".to_owned(),
        };
        vec![input.feature.clone(), whole(input.shares.len() as u64), span, percent(input.missing_share)]
    };
    let rows: Vec<Vec<String>> = reference.inputs.iter().take(MAX_INPUTS).map(row).collect();
    page.raw("<details><summary>Inputs of the reference</summary>");
    page.table("Inputs of the reference", &["input", "bins", "inner borders", "missing"], &rows);
    page.raw("</details></section>");
}

/// Where it comes from.
pub(super) fn lineage(page: &mut Markup, view: &View<'_>) {
    let card = view.card;
    page.raw("<section><h2>Where it comes from</h2><dl class=\"lineage\">");
    let mut facts = vec![
        ("artifact", card.artifact.to_string()),
        ("feature set", card.feature_set.to_string()),
        ("published", format!("{} by {}", card.card.published_at, card.card.published_by)),
    ];
    if let Some(lineage) = &card.lineage {
        facts.extend([
            ("training rows", lineage.data.clone()),
            ("trained", lineage.created_at.clone()),
            ("code", format!("version {}", lineage.code_version)),
            ("seed", lineage.seed.to_string()),
            ("parameters", lineage.parameters.to_string()),
        ]);
    }
    if !view.dropped.is_empty() {
        facts.push(("never varied, left out", view.dropped.join(", ")));
    }
    for (name, value) in facts {
        page.raw("<dt>").text(name).raw("</dt><dd>").text(&value).raw("</dd>");
    }
    page.raw("</dl></section>");
}
