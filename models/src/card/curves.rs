//! The plots of an evaluation: ROC, precision and recall, reliability, scores by class, gain and lift, each with its
//! figures as a table.
//!
//! Not here: how a plot is drawn ([`page`]).

use crate::evaluation::Evaluation;
use crate::metrics::ranking::{CurvePoint, Threshold};
use crate::metrics::reliability::Bin;
use crate::page::{self, Drawing, Frame, Ink, Markup, details, figure, legend, percent, whole};

const UNIT: (f64, f64) = (0.0, 1.0);

pub(super) fn all(page: &mut Markup, evaluation: &Evaluation) {
    let rows = if evaluation.part == "out_of_time" { "rows held back" } else { "rows left out of their fit" };
    page.raw("<section><h2>Ranking and calibration <small>")
        .text(rows)
        .raw("</small></h2><div class=\"plots\">");
    if !evaluation.curve.is_empty() {
        roc(page, &evaluation.curve);
        precision_recall(page, &evaluation.curve);
    }
    reliability(page, evaluation);
    scores(page, evaluation);
    if !evaluation.deciles.is_empty() {
        gain(page, evaluation);
        lift(page, evaluation);
    }
    page.raw("</div>");
    thresholds(page, &evaluation.thresholds);
    page.raw("</section>");
}

fn roc(page: &mut Markup, curve: &[CurvePoint]) {
    let frame = Frame { x: UNIT, y: UNIT, x_label: "false positive rate", y_label: "true positive rate" };
    let mut points = vec![(0.0, 0.0)];
    points.extend(curve.iter().map(|point| (point.false_positive_rate, point.true_positive_rate)));
    let words = format!(
        "Choosing a tenth of the negatives finds {} of the positives.",
        percent(height(&points, 0.1))
    );
    page::plot(page, "ROC", &words, &frame, |drawing| {
        drawing.line(&[(0.0, 0.0), (1.0, 1.0)], Ink::Guide);
        drawing.area(&points);
        drawing.line(&points, Ink::Main);
    });
    page::end(page);
}

fn precision_recall(page: &mut Markup, curve: &[CurvePoint]) {
    let frame = Frame { x: UNIT, y: UNIT, x_label: "recall", y_label: "precision" };
    let base_rate = curve.last().map_or(0.0, |last| last.precision);
    let mut points: Vec<(f64, f64)> =
        curve.iter().map(|point| (point.true_positive_rate, point.precision)).collect();
    if let Some(first) = points.first().copied() {
        points.insert(0, (0.0, first.1));
    }
    let words = format!(
        "Finding half of the positives has a precision of {}; by chance it would be {}.",
        percent(height(&points, 0.5)),
        percent(base_rate)
    );
    page::plot(page, "Precision and recall", &words, &frame, |drawing| {
        drawing.line(&[(0.0, base_rate), (1.0, base_rate)], Ink::Guide);
        drawing.area(&points);
        drawing.line(&points, Ink::Main);
    });
    page::end(page);
}

fn reliability(page: &mut Markup, evaluation: &Evaluation) {
    let (before, after) = (&evaluation.reliability_before, &evaluation.reliability);
    let highest = |bin: &Bin| bin.mean_probability.max(bin.observed_interval.high);
    let most = before.iter().chain(after).map(highest).fold(0.05, f64::max).min(1.0);
    let span = (0.0, if most > 0.6 { 1.0 } else { most });
    let frame =
        Frame { x: span, y: span, x_label: "mean predicted probability", y_label: "share of positives" };
    let off = after.iter().filter(|bin| {
        bin.mean_probability < bin.observed_interval.low || bin.mean_probability > bin.observed_interval.high
    });
    let words = format!(
        "Of {} bins after calibration, {} have a mean probability outside the 95 % interval of what was observed.",
        after.len(),
        off.count()
    );
    page::plot(page, "Reliability", &words, &frame, |drawing| {
        drawing.line(&[(0.0, 0.0), (1.0, 1.0)], Ink::Guide);
        if before != after {
            bins(drawing, before, Ink::Second);
        }
        bins(drawing, after, Ink::Main);
    });
    legend(
        page,
        if before == after {
            &[(Ink::Main, "as served")]
        } else {
            &[(Ink::Main, "after calibration"), (Ink::Second, "before")]
        },
    );
    let rows = |bins: &[Bin], when: &str| -> Vec<Vec<String>> {
        let row = |bin: &Bin| {
            vec![
                when.to_owned(),
                figure(Some(bin.mean_probability), 4),
                figure(Some(bin.observed), 4),
                format!("{:.4} to {:.4}", bin.observed_interval.low, bin.observed_interval.high),
                whole(bin.rows),
            ]
        };
        bins.iter().map(row).collect()
    };
    let header = ["calibration", "predicted", "observed", "95 % interval", "rows"];
    details(
        page,
        "Reliability, in bins of as many rows each",
        &header,
        &[rows(before, "before"), rows(after, "after")].concat(),
    );
    page::end(page);
}

fn bins(drawing: &mut Drawing<'_>, bins: &[Bin], ink: Ink) {
    let points: Vec<(f64, f64)> = bins.iter().map(|bin| (bin.mean_probability, bin.observed)).collect();
    drawing.line(&points, ink);
    for bin in bins {
        if matches!(ink, Ink::Main) {
            drawing.whisker(bin.mean_probability, bin.observed_interval.low, bin.observed_interval.high, ink);
        }
        drawing.dot(bin.mean_probability, bin.observed, ink);
    }
}

fn scores(page: &mut Markup, evaluation: &Evaluation) {
    let (Some(first), Some(last)) = (evaluation.scores.first(), evaluation.scores.last()) else { return };
    let (positives, negatives) = evaluation
        .scores
        .iter()
        .fold((0, 0), |(positives, negatives), bin| (positives + bin.positives, negatives + bin.negatives));
    let share = |part: u64, whole: u64| part as f64 / whole.max(1) as f64;
    let most = evaluation
        .scores
        .iter()
        .map(|bin| share(bin.positives, positives).max(share(bin.negatives, negatives)))
        .fold(0.01, f64::max);
    let frame = Frame {
        x: (first.from, last.to),
        y: (0.0, most),
        x_label: "probability",
        y_label: "share of the class",
    };
    let words = "Share of each class by probability; the less they overlap, the better they are told apart.";
    page::plot(page, "Scores by class", words, &frame, |drawing| {
        for bin in &evaluation.scores {
            drawing.bar(bin.from, bin.to, share(bin.negatives, negatives), Ink::Second);
        }
        for bin in &evaluation.scores {
            drawing.bar(bin.from, bin.to, share(bin.positives, positives), Ink::Main);
        }
    });
    legend(page, &[(Ink::Main, "positive"), (Ink::Second, "negative")]);
    let row = |bin: &crate::evaluation::ScoreBin| {
        vec![format!("{:.4} to {:.4}", bin.from, bin.to), whole(bin.positives), whole(bin.negatives)]
    };
    let rows: Vec<Vec<String>> = evaluation.scores.iter().map(row).collect();
    details(page, "Rows by probability", &["probability", "positive", "negative"], &rows);
    page::end(page);
}

fn gain(page: &mut Markup, evaluation: &Evaluation) {
    let frame = Frame {
        x: UNIT,
        y: UNIT,
        x_label: "share of rows, highest scores first",
        y_label: "share of positives found",
    };
    let mut points = vec![(0.0, 0.0)];
    points.extend(evaluation.deciles.iter().map(|decile| (f64::from(decile.decile) / 10.0, decile.gain)));
    let words = format!("The top tenth holds {} of the positives.", percent(height(&points, 0.1)));
    page::plot(page, "Gain", &words, &frame, |drawing| {
        drawing.line(&[(0.0, 0.0), (1.0, 1.0)], Ink::Guide);
        drawing.area(&points);
        drawing.line(&points, Ink::Main);
        for (x, y) in points.iter().skip(1) {
            drawing.dot(*x, *y, Ink::Main);
        }
    });
    page::end(page);
}

fn lift(page: &mut Markup, evaluation: &Evaluation) {
    let most = evaluation.deciles.iter().map(|decile| decile.lift).fold(1.0, f64::max);
    let frame = Frame {
        x: (0.5, 10.5),
        y: (0.0, most * 1.05),
        x_label: "decile, highest scores first",
        y_label: "lift",
    };
    let words = "Share of positives in each tenth of the rows over the share in all.";
    page::plot(page, "Lift by decile", words, &frame, |drawing| {
        for decile in &evaluation.deciles {
            let at = f64::from(decile.decile);
            drawing.bar(at - 0.4, at + 0.4, decile.lift, Ink::Main);
        }
        drawing.line(&[(0.5, 1.0), (10.5, 1.0)], Ink::Guide);
    });
    let row = |decile: &crate::metrics::ranking::Decile| {
        vec![
            decile.decile.to_string(),
            whole(decile.rows),
            figure(Some(decile.positives), 1),
            figure(Some(decile.mean_score), 4),
            figure(Some(decile.lift), 2),
            percent(decile.gain),
            figure(Some(decile.cumulative_lift), 2),
        ]
    };
    let rows: Vec<Vec<String>> = evaluation.deciles.iter().map(row).collect();
    let header = ["decile", "rows", "positive", "mean score", "lift", "gain", "cumulative lift"];
    details(page, "Gain and lift by decile", &header, &rows);
    page::end(page);
}

fn thresholds(page: &mut Markup, thresholds: &[Threshold]) {
    let row = |threshold: &Threshold| {
        vec![
            figure(Some(threshold.threshold), 4),
            percent(threshold.selected_share),
            whole(threshold.selected),
            whole(threshold.true_positives),
            percent(threshold.precision),
            percent(threshold.recall),
            percent(threshold.false_positive_rate),
            figure(Some(threshold.f1), 3),
        ]
    };
    let rows: Vec<Vec<String>> = thresholds.iter().map(row).collect();
    let header = ["from", "chosen", "rows", "positive", "precision", "recall", "false positive rate", "F1"];
    page.table("What thresholds would choose", &header, &rows);
}

/// The height of a rising line at `x`, between its points in proportion.
fn height(points: &[(f64, f64)], x: f64) -> f64 {
    let right = points.iter().position(|point| point.0 >= x);
    let right = right.and_then(|place| Some((place, points.get(place)?)));
    let Some((place, right)) = right else { return points.last().map_or(0.0, |last| last.1) };
    let left = place.checked_sub(1).and_then(|place| points.get(place)).unwrap_or(right);
    let span = right.0 - left.0;
    if span > 0.0 { left.1 + (right.1 - left.1) * (x - left.0) / span } else { right.1 }
}
