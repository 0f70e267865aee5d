//! What the models say otherwise: how far scores moved, and whether they became better where that is known.
//!
//! Not here: the measures (`report::shift`, `report::quality`).

use augur_models::metrics::Interval;
use augur_models::metrics::interval::Intervals;
use augur_models::metrics::reliability::Bin;
use augur_models::page::{self, Frame, Ink, Markup, figure, legend, percent, plot, whole};

use super::behaviour::end_with_figures;
use crate::candidate::report::{CandidateReport, Distribution, Measured, Quality, ScoreShift};

pub(super) fn all(page: &mut Markup, report: &CandidateReport) {
    for (alias, shift) in &report.scores {
        page.raw("<section><h2>Scores of ").text(alias).raw(" <small>");
        page.text(&format!(
            "{} of {} changed, mean {:.4} → {:.4}, by at most {:.4}",
            whole(shift.changed),
            whole(shift.scored),
            shift.logged_mean,
            shift.candidate_mean,
            shift.largest
        ));
        page.raw("</small></h2>");
        let quality = report.quality.get(alias);
        scores(page, shift, quality);
        page.raw("</section>");
    }
}

fn scores(page: &mut Markup, shift: &ScoreShift, quality: Option<&Quality>) {
    let measured = quality.and_then(|quality| quality.measured.as_ref());
    match &shift.distribution {
        Some(found) => distance(page, found),
        None => {
            page.raw("<p class=\"fine\">No score of it changed.</p>");
        }
    }
    if shift.distribution.is_some() || measured.is_some() {
        page.raw("<div class=\"plots\">");
        if let Some(found) = &shift.distribution {
            histogram(page, found);
            quantiles(page, found);
        }
        if let Some(found) = measured {
            reliability(page, found);
        }
        page.raw("</div>");
    }
    match quality {
        None => {
            page.raw("<p class=\"fine\">What came of these decisions was not asked for (<code>--label</code>), so nothing \
                      tells whether the scores became better.</p>");
        }
        Some(quality) => quality_table(page, quality),
    }
}

fn distance(page: &mut Markup, found: &Distribution) {
    let chance = |band: f64| format!("by chance up to {band:.4}");
    page::tiles(
        page,
        &[
            ("PSI", figure(Some(found.psi), 4), chance(found.psi_band)),
            ("KS", figure(Some(found.ks), 4), chance(found.ks_band)),
            ("Mean distance", figure(Some(found.wasserstein), 4), "of scores of equal rank".to_owned()),
            (
                "Rank correlation",
                figure(found.rank_correlation, 4),
                "Spearman; 1 is the same order".to_owned(),
            ),
        ],
    );
    page.raw("<p class=\"fine\">").text(&format!(
        "{} Chance: 200 draws that swap both scores for every other of {} users; 1 of 100 such logs reaches the \
         figure given.",
        if found.shifted { "Shifted: beyond chance, and by 0.1 or more." } else { "No shift that matters." },
        whole(found.users)
    ));
    page.raw("</p>");
}

fn histogram(page: &mut Markup, found: &Distribution) {
    let (Some(first), Some(last)) = (found.bars.first(), found.bars.last()) else { return };
    let share = |count: u64| count as f64 / found.rows.max(1) as f64;
    let most = found.bars.iter().map(|bar| share(bar.logged.max(bar.candidate))).fold(0.01, f64::max);
    let frame =
        Frame { x: (first.from, last.to), y: (0.0, most), x_label: "score", y_label: "share of decisions" };
    plot(
        page,
        "Distribution",
        "Share of decisions by score, as logged and by the candidate.",
        &frame,
        |drawing| {
            for bar in &found.bars {
                drawing.bar(bar.from, bar.to, share(bar.logged), Ink::Second);
            }
            let mut outline = Vec::with_capacity(2 * found.bars.len());
            for bar in &found.bars {
                outline.extend([(bar.from, share(bar.candidate)), (bar.to, share(bar.candidate))]);
            }
            drawing.area(&outline);
            drawing.line(&outline, Ink::Main);
        },
    );
    legend(page, &[(Ink::Main, "candidate"), (Ink::Second, "logged")]);
    let rows: Vec<Vec<String>> = found
        .bars
        .iter()
        .map(|bar| vec![format!("{:.4} to {:.4}", bar.from, bar.to), whole(bar.logged), whole(bar.candidate)])
        .collect();
    end_with_figures(page, "Decisions by score", &["score", "logged", "candidate"], &rows);
}

fn quantiles(page: &mut Markup, found: &Distribution) {
    let both = || found.quantiles.iter().flat_map(|at| [at.logged, at.candidate]);
    let (low, high) = (both().fold(f64::INFINITY, f64::min), both().fold(f64::NEG_INFINITY, f64::max));
    let span = if high > low { (low, high) } else { (low, low + 1.0) };
    let frame = Frame { x: span, y: span, x_label: "as logged", y_label: "by the candidate" };
    let points: Vec<(f64, f64)> = found.quantiles.iter().map(|at| (at.logged, at.candidate)).collect();
    let words = "Scores below which the same share of decisions lies; on the dotted line nothing has moved.";
    plot(page, "Quantiles", words, &frame, |drawing| {
        drawing.line(&[(span.0, span.0), (span.1, span.1)], Ink::Guide);
        drawing.line(&points, Ink::Main);
        for (x, y) in &points {
            drawing.dot(*x, *y, Ink::Main);
        }
    });
    let rows: Vec<Vec<String>> = found
        .quantiles
        .iter()
        .map(|at| vec![percent(at.share), figure(Some(at.logged), 4), figure(Some(at.candidate), 4)])
        .collect();
    end_with_figures(page, "Scores below which a share lies", &["share", "logged", "candidate"], &rows);
}

fn reliability(page: &mut Markup, found: &Measured) {
    let (before, now) = (&found.logged.reliability, &found.candidate.reliability);
    let highest = |bin: &Bin| bin.mean_probability.max(bin.observed_interval.high);
    let most = before.iter().chain(now).map(highest).fold(0.05, f64::max).min(1.0);
    let span = (0.0, if most > 0.6 { 1.0 } else { most });
    let frame = Frame { x: span, y: span, x_label: "mean score", y_label: "share that came true" };
    let off = |bins: &[Bin]| {
        let outside = |bin: &&Bin| {
            bin.mean_probability < bin.observed_interval.low
                || bin.mean_probability > bin.observed_interval.high
        };
        bins.iter().filter(outside).count()
    };
    let words = format!(
        "Mean score and what came true, in bins of as many decisions each. Outside the 95 % interval: {} of {} bins as \
         logged, {} of {} by the candidate.",
        off(before),
        before.len(),
        off(now),
        now.len()
    );
    plot(page, "Reliability", &words, &frame, |drawing| {
        drawing.line(&[(0.0, 0.0), (1.0, 1.0)], Ink::Guide);
        for (bins, ink) in [(before, Ink::Second), (now, Ink::Main)] {
            let points: Vec<(f64, f64)> =
                bins.iter().map(|bin| (bin.mean_probability, bin.observed)).collect();
            drawing.line(&points, ink);
            for bin in bins {
                let interval = bin.observed_interval;
                drawing.whisker(bin.mean_probability, interval.low, interval.high, ink);
                drawing.dot(bin.mean_probability, bin.observed, ink);
            }
        }
    });
    legend(page, &[(Ink::Main, "candidate"), (Ink::Second, "logged")]);
    let rows = |bins: &[Bin], whose: &str| -> Vec<Vec<String>> {
        let row = |bin: &Bin| {
            vec![
                whose.to_owned(),
                figure(Some(bin.mean_probability), 4),
                figure(Some(bin.observed), 4),
                format!("{:.4} to {:.4}", bin.observed_interval.low, bin.observed_interval.high),
                whole(bin.rows),
            ]
        };
        bins.iter().map(row).collect()
    };
    let header = ["model", "mean score", "came true", "95 % interval", "decisions"];
    end_with_figures(
        page,
        "Reliability",
        &header,
        &[rows(before, "logged"), rows(now, "candidate")].concat(),
    );
}

fn quality_table(page: &mut Markup, quality: &Quality) {
    let Some(found) = &quality.measured else {
        page.raw("<p class=\"fine\">").text(&format!(
            "{} of {} decisions are positive ({}): too few of one class to say anything.",
            whole(quality.positives),
            whole(quality.rows),
            quality.label
        ));
        page.raw("</p>");
        return;
    };
    let (before, now) = (&found.logged, &found.candidate);
    let between = |interval: Option<Interval>| {
        interval.map_or_else(|| "–".to_owned(), |found| format!("{:.4} to {:.4}", found.low, found.high))
    };
    let differences = found.differences.as_ref();
    let row = |name: &str,
               of: fn(&augur_models::metrics::Metrics) -> Option<f64>,
               interval: fn(&Intervals) -> Option<Interval>,
               difference: Option<Interval>| {
        let change = of(&now.metrics).zip(of(&before.metrics)).map(|(now, before)| now - before);
        vec![
            name.to_owned(),
            figure(of(&before.metrics), 4),
            between(before.intervals.as_ref().and_then(interval)),
            figure(of(&now.metrics), 4),
            between(now.intervals.as_ref().and_then(interval)),
            change.map_or_else(|| "–".to_owned(), |change| format!("{change:+.4}")),
            between(difference),
        ]
    };
    let rows = [
        row(
            "ROC-AUC (more is better)",
            |of| of.roc_auc,
            |of| of.roc_auc,
            differences.and_then(|of| of.roc_auc),
        ),
        row("PR-AUC (more)", |of| of.pr_auc, |of| of.pr_auc, differences.and_then(|of| of.pr_auc)),
        row(
            "Log loss (less)",
            |of| Some(of.log_loss),
            |of| of.log_loss,
            differences.and_then(|of| of.log_loss),
        ),
        row("Brier (less)", |of| Some(of.brier), |of| of.brier, differences.and_then(|of| of.brier)),
        row("Calibration error (less)", |of| of.ece_equal_mass, |of| of.ece_equal_mass, None),
    ];
    let caption = format!(
        "Against {}: {} of {} decisions, base rate {}. Users are drawn together; the change is of the same draws.",
        quality.label,
        whole(quality.positives),
        whole(quality.rows),
        percent(now.metrics.base_rate)
    );
    let header =
        ["measure", "logged", "95 % interval", "candidate", "95 % interval", "change", "95 % interval"];
    page.table(&caption, &header, &rows);
}
