//! Values of scikit-learn 1.9.1 and SciPy 1.17.1 on six hundred rows that an integer formula makes anywhere.

use super::*;

/// Row `i`: an integer scrambled by a multiplication, of which the score takes one part and the label another.
fn rows() -> Vec<(f64, bool)> {
    let row = |i: u64| {
        let scrambled = (i * 2_654_435_761 + 12_345) % 1_000_003;
        let score = (scrambled % 397) as f64 / 398.0 + 1.0 / 796.0;
        let chance = (scrambled / 397 % 1_009) as f64 / 1_009.0;
        (score, chance < 0.15 + 0.7 * score * score)
    };
    (0..600).map(row).collect()
}

fn close(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
}

#[test]
fn measures_match_scikit_learn() {
    let pairs = rows();
    let metrics = Metrics::measure(&pairs).unwrap();
    assert_eq!((metrics.rows, metrics.positives), (600, 268));
    assert_eq!(Counts::of(&pairs).groups().len(), 278);
    close(metrics.roc_auc.unwrap(), 0.745_155_997_122_82);
    close(metrics.pr_auc.unwrap(), 0.710_146_072_301_01);
    close(metrics.log_loss, 0.638_476_325_675_077);
    close(metrics.brier, 0.211_987_891_719_906);
    close(metrics.ks.unwrap(), 0.390_217_586_764_97);
    close(metrics.ece, 0.106_796_482_412_06);
    close(metrics.ece_equal_mass.unwrap(), 0.106_796_482_412_06);
    close(metrics.ece_equal_mass_by_chance.unwrap(), 0.049_863_601_955_190_6);
    close(metrics.top_decile_lift.unwrap(), 1.809_701_492_537_31);
}

#[test]
fn the_reliability_table_is_that_of_scikit_learn() {
    let observed = [
        0.196_721_311_475_41,
        0.275_862_068_965_517,
        0.213_114_754_098_361,
        0.237_288_135_593_22,
        0.377_049_180_327_869,
        0.426_229_508_196_721,
        0.524_590_163_934_426,
        0.649_122_807_017_544,
        0.766_666_666_666_667,
        0.803_278_688_524_59,
    ];
    let predicted = [
        0.051_795_864_568_745_4,
        0.150_147_288_164_963,
        0.248_393_607_381_168,
        0.348_202_878_800_784,
        0.450_181_234_039_048,
        0.549_859_955_515_281,
        0.651_804_102_479_611,
        0.752_115_842_369_743,
        0.848_324_958_123_953,
        0.946_185_847_269_132,
    ];
    let table = reliability::table(&Counts::of(&rows()), Binning::EqualWidth, 10);
    assert_eq!(table.len(), 10);
    for (bin, (observed, predicted)) in table.iter().zip(observed.into_iter().zip(predicted)) {
        close(bin.observed, observed);
        close(bin.mean_probability, predicted);
    }
}

#[test]
fn thresholds_match_scikit_learn() {
    let at_half = ranking::threshold(&Counts::of(&rows()), 0.5);
    assert_eq!((at_half.true_positives, at_half.selected), (190, 300));
    close(at_half.precision, 0.633_333_333_333_333);
    close(at_half.recall, 0.708_955_223_880_597);
    close(at_half.f1, 0.669_014_084_507_042);
    close(at_half.false_positive_rate, 110.0 / 332.0);
}

#[test]
fn gain_and_the_parts_of_brier_by_their_definition() {
    let counts = Counts::of(&rows());
    let gain = [
        0.180_970_149_253_731,
        0.352_611_940_298_507,
        0.492_537_313_432_836,
        0.613_805_970_149_254,
        0.708_955_223_880_597,
        0.792_910_447_761_194,
        0.847_014_925_373_134,
        0.895_522_388_059_702,
        0.955_223_880_597_015,
        1.0,
    ];
    for (decile, gain) in ranking::deciles(&counts).iter().zip(gain) {
        close(decile.gain, gain);
        assert_eq!(decile.rows, 60);
        close(decile.cumulative_lift, gain * 10.0 / f64::from(decile.decile));
    }
    let parts = reliability::brier_parts(&counts, None).unwrap();
    close(parts.reliability, 0.084_210_113_942_128_3);
    close(parts.resolution, 0.119_377_777_777_778);
    close(parts.uncertainty, 0.247_155_555_555_556);
    close(parts.reliability - parts.resolution + parts.uncertainty, 0.211_987_891_719_906);
}

#[test]
fn isotonic_regression_is_that_of_scikit_learn() {
    let fitted = crate::calibrate::isotonic(&rows()).unwrap();
    let expected = [
        (0.05, 0.2),
        (0.1, 0.233_918_128_654_971),
        (0.2, 0.233_918_128_654_971),
        (0.25, 0.233_918_128_654_971),
        (0.33, 0.233_918_128_654_971),
        (0.5, 0.422_222_222_222_222),
        (0.66, 0.545_454_545_454_545),
        (0.75, 0.595_238_095_238_095),
        (0.9, 0.8),
        (0.99, 1.0),
    ];
    for (at, probability) in expected {
        close(fitted.probability(at), probability);
    }
}

#[test]
fn wilson_matches_scipy() {
    for (positives, rows, low, high) in [
        (3, 10, 0.107_791_267_406_301, 0.603_221_852_538_855),
        (0, 7, 0.0, 0.354_330_435_066_687),
        (976, 4_725, 0.195_258_201_066_126, 0.218_340_240_719_751),
    ] {
        let interval = interval::wilson(positives, rows);
        close(interval.low, low);
        close(interval.high, high);
    }
}
