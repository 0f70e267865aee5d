//! Whole reports from simulated units whose truth is known.

use augur_domain::UserKey;
use augur_domain::rng::{Purpose, Rng};

use super::*;

fn key(n: u64) -> UserKey {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&n.to_le_bytes());
    UserKey::from_bytes(bytes)
}

/// Units whose value is what they were worth before plus noise, and `lift` in arm `b`.
fn simulated(count: u64, lift: f64, seed: u64) -> Units {
    let mut random = Rng::new(seed, Purpose::Simulation);
    let mut units = Units::new();
    for n in 0..count {
        let treated = random.next_f64() < 0.5;
        let before = random.next_f64() * 10.0;
        let value = before + random.next_f64() * 2.0 + if treated { lift } else { 0.0 };
        let unit = units.enrol(key(n), if treated { "b" } else { "control" }).unwrap();
        units.set_before(unit, before);
        units.add_value(unit, value);
        if random.next_f64() < if treated { 0.25 } else { 0.2 } {
            units.convert(unit);
        }
    }
    units
}

#[test]
fn a_report_finds_what_is_there() {
    let report = judge(&simulated(20_000, 0.2, 1), &Settings::default()).unwrap();
    assert_eq!(report.arms[0].arm, "control");
    assert!(!report.is_void() && !report.weights_given);
    let comparison = &report.comparisons[0];
    assert_eq!((&*comparison.arm, &*comparison.control), ("b", "control"));
    let always = comparison.conversion.always.unwrap();
    assert!(always.interval.low > 0.0 && always.interval.high > 0.05, "{always:?}");
    let once = comparison.conversion.once.unwrap();
    let width = |interval: Interval| interval.high - interval.low;
    assert!(width(once) < width(always.interval), "looking once is worth something");

    // Of the variance of value 100 / 12 comes from before and 4 / 12 does not.
    let value = comparison.value.as_ref().unwrap();
    let adjusted = value.adjusted.as_ref().unwrap();
    assert!((adjusted.variance_reduction - 100.0 / 104.0).abs() < 0.01, "{adjusted:?}");
    assert!(adjusted.once.interval.low < 0.2 && 0.2 < adjusted.once.interval.high, "{adjusted:?}");
    assert!(adjusted.always.unwrap().interval.low > 0.0);
    assert_eq!(adjusted.units, 20_000);
    let text = report.to_string();
    assert!(text.contains("better") && text.contains("with CUPED") && !text.contains("MISMATCH"), "{text}");
}

#[test]
fn cuped_moves_no_mean_where_nothing_differs() {
    let mut covered = 0;
    for seed in 0..100 {
        let report = judge(&simulated(600, 0.0, seed), &Settings::default()).unwrap();
        let value = report.comparisons[0].value.as_ref().unwrap();
        let interval = value.adjusted.as_ref().unwrap().once.interval;
        covered += u32::from(interval.low <= 0.0 && 0.0 <= interval.high);
    }
    // 95 expected, standard deviation 2.2.
    assert!((88..=100).contains(&covered), "{covered} of 100 intervals hold the truth");
}

#[test]
fn wrong_shares_void_a_report() {
    let settings =
        Settings { weights: vec![("control".to_owned(), 0.4), ("b".to_owned(), 0.6)], ..Settings::default() };
    let report = judge(&simulated(20_000, 0.2, 1), &settings).unwrap();
    assert!(report.is_void() && report.to_string().contains("SAMPLE RATIO MISMATCH"));
    assert!((report.arms[0].declared_share - 0.4).abs() < 1e-12);
    // An arm that should have half of the units and has none is a mismatch, too.
    let settings = Settings {
        weights: vec![("control".to_owned(), 1.0), ("b".to_owned(), 1.0), ("c".to_owned(), 2.0)],
        ..Settings::default()
    };
    let report = judge(&simulated(2_000, 0.2, 1), &settings).unwrap();
    assert_eq!((report.arms.len(), report.arms[2].units), (3, 0));
    assert!(report.is_void());
}

#[test]
fn little_is_said_of_few_and_nothing_of_nobody() {
    let report = judge(&simulated(150, 0.2, 1), &Settings::default()).unwrap();
    assert!(report.comparisons[0].conversion.always.is_none());
    assert!(report.to_string().contains("too few yet"));
    assert!(matches!(judge(&Units::new(), &Settings::default()), Err(Problem::NoUnits { .. })));

    let mut one = Units::new();
    one.enrol(key(1), "a").unwrap();
    let report = judge(&one, &Settings::default()).unwrap();
    assert!(report.comparisons.is_empty() && report.sample_ratio.is_none());
    assert!(report.to_string().contains("nothing to compare"));
}

#[test]
fn settings_are_checked() {
    let units = simulated(300, 0.0, 1);
    let wrong = |settings: Settings| judge(&units, &settings).unwrap_err().to_string();
    let message = wrong(Settings { control: Some("a".to_owned()), ..Settings::default() });
    assert_eq!(message, "arm `a` is not among b, control");
    let weights = vec![("control".to_owned(), 1.0)];
    assert!(wrong(Settings { weights, ..Settings::default() }).contains("weight of arm `b` is not given"));
    assert!(wrong(Settings { confidence: 95.0, ..Settings::default() }).contains("0.5 to 0.9999"));
    assert!(wrong(Settings { tuned_for: 3, ..Settings::default() }).contains("at least 200"));
}

#[test]
fn more_comparisons_make_wider_intervals() {
    let mut units = simulated(2_000, 0.0, 3);
    let two = judge(&units, &Settings::default()).unwrap().comparisons[0].conversion.once.unwrap();
    for n in 10_000..10_100 {
        units.enrol(key(n), "c").unwrap();
    }
    let report = judge(&units, &Settings::default()).unwrap();
    let three = report.comparisons[0].conversion.once.unwrap();
    assert!(three.high - three.low > two.high - two.low);
}

#[test]
fn the_page_tells_arms_and_differences_and_no_markup_from_outside() {
    let mut units = simulated(4_000, 1.0, 3);
    let hostile = units.enrol(key(9_999), "<img src=x>").unwrap();
    units.convert(hostile);
    let report = judge(&units, &Settings::default()).unwrap();
    let page = report.html("<script>x</script>");
    assert!(!page.contains("<script") && !page.contains("<img") && page.ends_with("</html>\n"));
    for expected in
        ["&lt;img src=x&gt;", "any time", "once, with CUPED", "Sample ratio mismatch", "Value a unit"]
    {
        assert!(page.replace("<wbr>", "").contains(expected), "{expected}");
    }
}
