//! The page holds what the card says, nothing of it as markup, and is well formed.

use augur_domain::{ContentHash, Timestamp};

use super::*;
use crate::artifact::tests::sample_with_reference;
use crate::artifact::{Artifact, Content};
use crate::evaluation::segments::Segments;
use crate::evaluation::{Evaluation, Scored, Segmentation};
use crate::registry::Card;

const HOSTILE: &str = "</script><script>alert(\"x\")</script> & 'quoted' <img src=x onerror=y>";

fn rows() -> Vec<(f64, bool)> {
    (0..3_000_u64)
        .map(|row| row * 7_919 % 1_000)
        .map(|at| (at as f64 / 1_000.0, at * 31 % 1_000 < at))
        .collect()
}

/// A card whose every text is hostile.
fn card() -> PublishedCard {
    let pairs = rows();
    let groups: Vec<u64> = (0..3_000).collect();
    let scored = Scored { calibrated: &pairs, raw: &pairs, groups: &groups };
    let mut evaluation = Evaluation::of("out_of_time", scored, 40, 1).unwrap();
    let mut segmentation = Segmentation::new(HOSTILE);
    (0..3_000).for_each(|row| segmentation.push(if row % 3 == 0 { HOSTILE } else { "other" }));
    let places: Vec<usize> = (0..3_000).collect();
    evaluation.segments = Segments::of(&segmentation, &pairs, &places, 0.5, "given");
    let report = serde_json::json!({
        "family": HOSTILE, "trees": 3, "calibrator": HOSTILE, "warnings": [HOSTILE], "dropped": [HOSTILE],
        "train": Metrics::measure(&pairs), "out_of_time": Metrics::measure(&pairs), "evaluation": evaluation,
        "calibration": {"requested": HOSTILE, "chosen": HOSTILE, "tried": [{"calibration": HOSTILE, "refused": HOSTILE}]},
        "considered": [{"family": HOSTILE, "log_loss": 0.5, "roc_auc": 0.7}],
        "features": [{"feature": HOSTILE, "importance": 0.4, "transform": HOSTILE, "weight": -0.3, "missing_share": 0.1}],
    });
    let content =
        Content { positive_class: HOSTILE.to_owned(), report: report.to_string(), ..sample_with_reference() };
    let artifact = Artifact::new(content).unwrap();
    let said = Card {
        published_by: HOSTILE.to_owned(),
        published_at: Timestamp::from_unix_ms(1_760_000_000_000),
        notes: format!("notes {HOSTILE}"),
    };
    PublishedCard::new(3, &artifact, &said)
}

#[test]
fn nothing_from_outside_becomes_markup() {
    let page = html(&card());
    for markup in ["<script", "<img", "onerror=y>", "alert(\"x\")"] {
        assert!(!page.contains(markup), "{markup}");
    }
    assert!(page.matches("&lt;script&gt;").count() > 15);
    // Nothing is asked of the network.
    for address in ["http:", "https:", "url(", "@import", " src=", " href="] {
        assert!(!page.contains(address) || page.contains("&lt;img src=") && address == " src=", "{address}");
    }
}

#[test]
fn every_element_is_closed_in_its_place() {
    let page = html(&card());
    let mut open: Vec<&str> = Vec::new();
    for tag in page.split('<').skip(1) {
        let (inside, _) = tag.split_once('>').unwrap();
        let name = inside.split([' ', '/']).next().unwrap_or("");
        if let Some(closed) = inside.strip_prefix('/') {
            assert_eq!(open.pop(), Some(closed), "{inside}");
        } else if !inside.ends_with('/') && !["!doctype", "meta", "wbr"].contains(&name) {
            open.push(name);
        }
    }
    assert_eq!(open, [] as [&str; 0]);
    assert!(!page.contains("NaN") && !page.contains("inf\""));
}

#[test]
fn plots_are_told_in_words_and_figures() {
    let page = html(&card());
    for title in ["ROC", "Precision and recall", "Reliability", "Scores by class", "Gain", "Lift by decile"] {
        assert!(page.contains(&format!("<figcaption>{title}</figcaption>")), "{title}");
    }
    assert_eq!(page.matches("<svg ").count(), page.matches("<desc>").count());
    assert_eq!(page.matches("<svg ").count(), page.matches("role=\"img\"").count());
    assert!(page.contains("version 3") && page.contains(&ContentHash::from_bytes([9; 32]).to_string()));
    assert!(page.len() < 200_000, "{} bytes", page.len());
}

#[test]
fn a_card_without_a_report_is_still_a_page() {
    let bare = PublishedCard {
        report: serde_json::Value::Null,
        reference: None,
        lineage: None,
        version: 0,
        ..card()
    };
    let page = html(&bare);
    assert!(page.contains("says nothing of its quality") && page.contains("not published"));
    let odd = PublishedCard {
        report: serde_json::json!({"warnings": 3, "evaluation": [], "features": {}}),
        ..bare
    };
    assert!(html(&odd).contains("Training raised no warning"));
}
