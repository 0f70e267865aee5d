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

    #[test]
    fn ranking_sees_only_the_order_of_scores(pairs in pairs()) {
        let moved: Vec<(f64, bool)> = pairs.iter().map(|(score, label)| (score * score * score / 2.0 + 0.25, *label)).collect();
        let (counts, moved) = (Counts::of(&pairs), Counts::of(&moved));
        prop_assert_eq!(ranking::roc_auc(&counts), ranking::roc_auc(&moved));
        prop_assert_eq!(ranking::average_precision(&counts), ranking::average_precision(&moved));
        prop_assert_eq!(ranking::kolmogorov_smirnov(&counts), ranking::kolmogorov_smirnov(&moved));
        let lifts = |counts: &Counts| ranking::deciles(counts).iter().map(|decile| decile.lift).collect::<Vec<_>>();
        prop_assert_eq!(lifts(&counts), lifts(&moved));
    }

    #[test]
    fn every_row_twice_changes_no_share(pairs in pairs()) {
        let twice = [pairs.clone(), pairs.clone()].concat();
        let (once, twice) = (Metrics::measure(&pairs).unwrap(), Metrics::measure(&twice).unwrap());
        for (a, b) in [(once.roc_auc, twice.roc_auc), (once.pr_auc, twice.pr_auc), (once.ks, twice.ks), (Some(once.ece), Some(twice.ece))] {
            prop_assert!(a.zip(b).is_none_or(|(a, b)| (a - b).abs() < 1e-12), "{once:?} {twice:?}");
        }
    }

    #[test]
    fn bins_hold_every_row_once(pairs in pairs(), bins in 1_usize..20) {
        let counts = Counts::of(&pairs);
        for binning in [Binning::EqualWidth, Binning::EqualMass] {
            let table = reliability::table(&counts, binning, bins);
            prop_assert!(table.len() <= bins);
            prop_assert_eq!(table.iter().map(|bin| bin.rows).sum::<u64>(), counts.rows());
            prop_assert_eq!(table.iter().map(|bin| bin.positives).sum::<u64>(), counts.positives());
            prop_assert!(table.windows(2).all(|pair| pair[0].highest < pair[1].lowest), "{table:?}");
            prop_assert!(table.iter().all(|bin| bin.observed_interval.low <= bin.observed && bin.observed <= bin.observed_interval.high));
        }
    }

    #[test]
    fn the_parts_of_brier_add_up(pairs in pairs()) {
        let counts = Counts::of(&pairs);
        let parts = reliability::brier_parts(&counts, None).unwrap();
        let sum = parts.reliability - parts.resolution + parts.uncertainty;
        prop_assert!((sum - reliability::brier(&counts).unwrap()).abs() < 1e-12);
    }

    #[test]
    fn curves_rise_to_one_and_stay_short(pairs in pairs()) {
        let counts = Counts::of(&pairs);
        let curve = ranking::curve(&counts);
        prop_assert!(curve.len() <= ranking::MAX_CURVE_POINTS);
        if let Some(last) = curve.last() {
            prop_assert_eq!((last.false_positive_rate, last.true_positive_rate), (1.0, 1.0));
        }
        prop_assert!(curve.is_sorted_by_key(|point| point.true_positive_rate + point.false_positive_rate));
        for threshold in ranking::thresholds(&counts) {
            prop_assert_eq!(threshold, ranking::threshold(&counts, threshold.threshold));
        }
        if let Some(last) = ranking::deciles(&counts).last() {
            prop_assert!((last.gain - 1.0).abs() < 1e-12 && (last.cumulative_lift - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn resamples_surround_what_was_measured(pairs in pairs(), seed in any::<u64>()) {
        let groups: Vec<u64> = (0..pairs.len() as u64).map(|row| row / 3).collect();
        let found = interval::bootstrap(&pairs, Some(&groups), 60, seed).unwrap();
        prop_assert_eq!(found, interval::bootstrap(&pairs, Some(&groups), 60, seed).unwrap());
        prop_assert_eq!((found.resamples, found.groups), (60, pairs.len().div_ceil(3)));
        for interval in [found.roc_auc, found.pr_auc, found.brier, found.ece, found.ks].into_iter().flatten() {
            prop_assert!(0.0 <= interval.low && interval.low <= interval.high && interval.high <= 1.0, "{found:?}");
        }
    }
}

/// The spread over fresh samples of a known truth is what an interval claims to be.
#[test]
fn intervals_are_as_wide_as_samples_differ() {
    use augur_domain::rng::{Purpose, Rng};
    let sample = |seed: u64| -> Vec<(f64, bool)> {
        let mut rng = Rng::new(seed, Purpose::Simulation);
        let mut row = || {
            let score = rng.next_f64();
            (score, rng.next_f64() < score)
        };
        (0..800).map(|_| row()).collect()
    };
    let truth = 5.0 / 6.0; // P(positive above negative) where p is uniform
    let covers = |seed: &u64| {
        let interval = interval::bootstrap(&sample(*seed), None, 100, 1).unwrap().roc_auc.unwrap();
        interval.low <= truth && truth <= interval.high
    };
    let covered = (0..200).filter(covers).count();
    assert!((178..=199).contains(&covered), "{covered} of 200 intervals of 95 % hold the truth");
}

#[test]
fn people_with_many_rows_widen_intervals() {
    let one: Vec<(f64, bool)> =
        (0..200).map(|row| (f64::from(row % 97) / 97.0, (row * 37) % 97 < row % 97)).collect();
    let ten: Vec<(f64, bool)> = one.iter().flat_map(|pair| [*pair; 10]).collect();
    let people: Vec<u64> = (0..ten.len() as u64).map(|row| row / 10).collect();
    let width = |interval: Option<Interval>| interval.map(|interval| interval.high - interval.low).unwrap();
    let honest = width(interval::bootstrap(&ten, Some(&people), 200, 4).unwrap().roc_auc);
    let flattering = width(interval::bootstrap(&ten, None, 200, 4).unwrap().roc_auc);
    let of_one_row_each = width(interval::bootstrap(&one, None, 200, 4).unwrap().roc_auc);
    assert!(honest > 2.5 * flattering, "{honest} {flattering}");
    assert!((honest / of_one_row_each - 1.0).abs() < 0.2, "{honest} {of_one_row_each}");
}

#[test]
fn a_difference_of_one_score_and_itself_is_nothing() {
    let rows: Vec<(f64, f64, bool)> = (0..2_000_u64)
        .map(|row| {
            let at = (row * 7_919 % 1_000) as f64 / 1_000.0;
            (at, 1.0 - at, row * 31 % 1_000 < row * 7_919 % 1_000)
        })
        .collect();
    let groups: Vec<u64> = (0..2_000).map(|row| row / 4).collect();
    let same: Vec<(f64, f64, bool)> = rows.iter().map(|row| (row.0, row.0, row.2)).collect();
    let none = interval::differences(&same, &groups, 50, 1).unwrap();
    assert_eq!((none.groups, none.resamples), (500, 50));
    let nothing = Interval { low: 0.0, high: 0.0 };
    assert_eq!((none.roc_auc, none.log_loss, none.brier), (Some(nothing), Some(nothing), Some(nothing)));
    // Turned round, the second ranks as badly as the first ranks well.
    let worse = interval::differences(&rows, &groups, 50, 1).unwrap();
    let auc = |of: fn(&(f64, f64, bool)) -> f64| {
        roc_auc(&rows.iter().map(|row| (of(row), row.2)).collect::<Vec<_>>()).unwrap()
    };
    let expected = auc(|row| row.1) - auc(|row| row.0);
    let found = worse.roc_auc.unwrap();
    assert!(found.low < expected && expected < found.high && found.high < 0.0, "{found:?} {expected}");
    assert!(interval::differences(&[], &[], 50, 1).is_none());
}
