//! What an evaluation tells is bounded, adds up, and is fair to small groups.

use proptest::prelude::*;

use super::segments::{MAX_SEGMENTS, Segment};
use super::*;

fn rows(number: u64) -> Vec<(f64, bool)> {
    (0..number).map(|row| row * 7_919 % 1_000).map(|at| (at as f64 / 1_000.0, at * 31 % 1_000 < at)).collect()
}

#[test]
fn an_evaluation_is_bounded_whatever_the_rows() {
    let pairs = rows(20_000);
    let groups: Vec<u64> = (0..20_000).map(|row| row / 4).collect();
    let scored = Scored { calibrated: &pairs, raw: &pairs, groups: &groups };
    let evaluation = Evaluation::of("out_of_time", scored, 40, 1).unwrap();
    assert!(serde_json::to_vec(&evaluation).unwrap().len() < 40_000);
    assert_eq!(evaluation.scores.len(), SCORE_BINS);
    assert_eq!(evaluation.scores.iter().map(|bin| bin.positives + bin.negatives).sum::<u64>(), 20_000);
    assert_eq!(evaluation.reliability.len(), RELIABILITY_BINS);
    let intervals = evaluation.intervals.unwrap();
    assert_eq!((intervals.resamples, intervals.groups), (40, 5_000));
    let text = serde_json::to_string(&evaluation).unwrap();
    assert_eq!(serde_json::from_str::<Evaluation>(&text).unwrap(), evaluation);
    assert_eq!(Evaluation::of("out_of_time", Scored { calibrated: &[], raw: &[], groups: &[] }, 40, 1), None);
}

#[test]
fn segments_are_measured_against_the_whole() {
    // Of `a` everyone above the threshold is positive; of `b` nobody is.
    let mut segmentation = Segmentation::new("country");
    let mut pairs = Vec::new();
    for row in 0..400 {
        segmentation.push(if row % 4 == 0 { "b" } else { "a" });
        pairs.push((if row % 8 < 4 { 0.8 } else { 0.2 }, row % 8 < 4 && row % 4 != 0));
    }
    let places: Vec<usize> = (0..400).collect();
    let found = Segments::of(&segmentation, &pairs, &places, 0.5, "given").unwrap();
    let [a, b] = found.segments.as_slice() else { panic!("{found:?}") };
    assert_eq!((a.name.as_str(), a.rows, a.positives, a.small), ("a", 300, 150, false));
    assert_eq!((b.name.as_str(), b.rows, b.positives, b.small), ("b", 100, 0, true));
    assert_eq!((a.selection_rate, a.selection_ratio, b.selection_ratio), (0.5, Some(1.0), Some(1.0)));
    assert_eq!((a.true_positive_rate, a.precision), (Some(1.0), Some(1.0)));
    assert_eq!((b.true_positive_rate, b.precision, b.roc_auc), (None, Some(0.0), None));
    assert_eq!(found.whole.precision, Some(0.75));
    assert_eq!((a.precision_difference, b.precision_difference), (Some(0.25), Some(-0.75)));
    assert!((a.mean_probability - 0.5).abs() < 1e-12 && (b.mean_probability - 0.5).abs() < 1e-12);
}

#[test]
fn many_values_are_put_together_and_numbers_are_cut() {
    let mut segmentation = Segmentation::new("city");
    let pairs = rows(3_000);
    for row in 0..3_000 {
        segmentation.push(&format!("city {}", row % 60));
    }
    let places: Vec<usize> = (0..3_000).collect();
    let found = Segments::of(&segmentation, &pairs, &places, 0.5, "given").unwrap();
    assert_eq!((found.segments.len(), found.lumped), (MAX_SEGMENTS, 41));
    assert_eq!(found.segments.last().unwrap().name, "(other)");
    let quarters =
        Segmentation::of_numbers("spent", &(0..100).map(|n| Some(f64::from(n))).collect::<Vec<_>>());
    let names: Vec<&str> = [0, 30, 60, 99].into_iter().map(|row| quarters.name(row)).collect();
    assert_eq!(names, ["below 25", "25 to below 50", "50 to below 75", "75 and more"]);
    let few = Segmentation::of_numbers("member", &[Some(1.0), None, Some(0.0)]);
    assert_eq!([few.name(0), few.name(1), few.name(2)], ["1", "(missing)", "0"]);
}

proptest! {
    #[test]
    fn segments_part_the_rows(labels in prop::collection::vec((any::<bool>(), 0_u8..40, 0_u8..=20), 1..200)) {
        let mut segmentation = Segmentation::new("group");
        let mut pairs = Vec::new();
        for (label, group, score) in &labels {
            segmentation.push(&group.to_string());
            pairs.push((f64::from(*score) / 20.0, *label));
        }
        let places: Vec<usize> = (0..pairs.len()).collect();
        let found = Segments::of(&segmentation, &pairs, &places, 0.5, "given").unwrap();
        let sum = |of: fn(&Segment) -> u64| found.segments.iter().map(of).sum::<u64>();
        prop_assert_eq!(sum(|segment| segment.rows), found.whole.rows);
        prop_assert_eq!(sum(|segment| segment.positives), found.whole.positives);
        prop_assert!(found.segments.len() <= MAX_SEGMENTS);
        let selected: f64 = found.segments.iter().map(|s| s.selection_rate * s.rows as f64).sum();
        prop_assert!((selected - found.whole.selection_rate * found.whole.rows as f64).abs() < 1e-6);
    }
}
