//! Known answers of other implementations, and agreement with the definitions spelled out.

use proptest::prelude::*;

use super::*;

const SCORES: [f64; 10] = [0.0, 0.0, 0.2, 0.2, 0.2, 0.35, 0.5, 0.5, 0.8, 0.95];
const LABELS: [bool; 10] = [false, true, false, false, true, false, true, false, true, true];

fn sample() -> Vec<(f64, bool)> {
    SCORES.into_iter().zip(LABELS).collect()
}

fn close(found: Option<f64>, expected: f64) {
    assert!((found.unwrap() - expected).abs() < 1e-11, "{found:?} is not {expected}");
}

#[test]
fn values_match_scikit_learn() {
    let pairs = sample();
    close(roc_auc(&pairs), 0.68);
    close(brier(&pairs), 0.2385);
    close(expected_calibration_error(&pairs, 5), 0.13);
    close(log_loss(&pairs, 1e-7), 2.026_533_478_893);
    close(base_rate(&pairs), 0.5);
}

#[test]
fn average_precision_by_hand() {
    // Thresholds .95 .8 .5 .35 .2 0: recall gained .2 .2 .2 0 .2 .2, precision 1 1 3/4 3/5 4/8 5/10.
    close(average_precision(&sample()), 0.2 + 0.2 + 0.15 + 0.1 + 0.1);
}

#[test]
fn auc_is_right_where_scores_are_zero() {
    // Rows of label 1 at .9, .6 and 0: linfa's curve loses its start here.
    let pairs = [(0.0, true), (0.0, false), (0.0, false), (0.0, false), (0.6, true), (0.9, false)];
    close(roc_auc(&pairs), (0.5 * 3.0 + 3.0) / 8.0);
    let all_zero = [(0.0, true), (0.0, false)];
    close(roc_auc(&all_zero), 0.5);
}

#[test]
fn lift_of_ties_is_their_mean() {
    let mut pairs = vec![(0.9, true); 5];
    pairs.extend([(0.9, false); 5]);
    pairs.extend([(0.1, false); 40]);
    // The top five of fifty are cut out of ten ties, half of them positive; the base rate is a tenth.
    close(top_decile_lift(&pairs), 5.0);
}

#[test]
fn what_cannot_be_measured_is_absent() {
    assert_eq!(Metrics::measure(&[]), None);
    assert_eq!(expected_calibration_error(&sample(), 0), None);
    let one_class = Metrics::measure(&[(0.3, false), (0.4, false)]).unwrap();
    assert_eq!((one_class.roc_auc, one_class.pr_auc, one_class.top_decile_lift), (None, None, None));
    // Certain and wrong is expensive, not infinite.
    assert!(log_loss(&[(0.0, true), (1.0, false)], LOG_LOSS_CLIP).unwrap() < 40.0);
}

fn pairs() -> impl Strategy<Value = Vec<(f64, bool)>> {
    prop::collection::vec(((0_i32..=20).prop_map(|i| f64::from(i) / 20.0), any::<bool>()), 1..120)
}

proptest! {
    #[test]
    fn auc_counts_pairs(pairs in pairs()) {
        let (mut won, mut all) = (0.0, 0.0);
        for positive in pairs.iter().filter(|pair| pair.1) {
            for negative in pairs.iter().filter(|pair| !pair.1) {
                all += 1.0;
                won += if positive.0 > negative.0 { 1.0 } else if positive.0 == negative.0 { 0.5 } else { 0.0 };
            }
        }
        match roc_auc(&pairs) {
            Some(auc) => prop_assert!((auc - won / all).abs() < 1e-12),
            None => prop_assert_eq!(all, 0.0),
        }
    }

    #[test]
    fn order_of_rows_never_shows(pairs in pairs().prop_shuffle(), rotate in 0_usize..100) {
        let mut rotated = pairs.clone();
        rotated.rotate_left(rotate % pairs.len());
        for measure in [roc_auc, average_precision, top_decile_lift] {
            prop_assert_eq!(measure(&pairs), measure(&rotated));
        }
    }

    #[test]
    fn measures_stay_in_their_bounds(pairs in pairs()) {
        let metrics = Metrics::measure(&pairs).unwrap();
        for value in [metrics.roc_auc, metrics.pr_auc, Some(metrics.brier), Some(metrics.ece)].into_iter().flatten() {
            prop_assert!((0.0..=1.0).contains(&value), "{metrics:?}");
        }
        prop_assert!(metrics.log_loss >= 0.0 && metrics.log_loss.is_finite());
        let text = serde_json::to_string(&metrics).unwrap();
        prop_assert_eq!(serde_json::from_str::<Metrics>(&text).unwrap(), metrics);
    }
}
