//! Published values, simulated logs whose truth is known, and logs that cannot tell.

use augur_domain::rng::{Purpose, Rng};

use super::estimators::{Estimator, Shrinkage};
use super::*;

const ACTIONS: [usize; 8] = [0, 1, 2, 1, 0, 2, 1, 0];
const REWARDS: [f64; 8] = [1.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 0.0];
const PROPENSITIES: [f64; 8] = [0.5, 0.3, 0.2, 0.25, 0.6, 0.1, 0.4, 0.7];
const TARGET: [[f64; 3]; 8] = [
    [0.2, 0.3, 0.5],
    [0.1, 0.8, 0.1],
    [0.25, 0.25, 0.5],
    [0.0, 1.0, 0.0],
    [0.4, 0.4, 0.2],
    [0.1, 0.3, 0.6],
    [0.3, 0.6, 0.1],
    [0.05, 0.9, 0.05],
];
const MODEL: [[f64; 3]; 8] = [
    [0.6, 0.4, 0.5],
    [0.3, 0.5, 0.2],
    [0.4, 0.4, 0.7],
    [0.2, 0.6, 0.3],
    [0.5, 0.5, 0.5],
    [0.1, 0.2, 0.3],
    [0.4, 0.7, 0.2],
    [0.3, 0.8, 0.1],
];

/// Eight rows over three actions.
fn tiny() -> Vec<LoggedRow> {
    (0..8)
        .map(|row| {
            let (action, target, model) = (ACTIONS[row], TARGET[row], MODEL[row]);
            let under_target = (0..3).map(|action| target[action] * model[action]).sum();
            LoggedRow::new(REWARDS[row], PROPENSITIES[row], target[action])
                .unwrap()
                .with_model(model[action], under_target)
                .unwrap()
        })
        .collect()
}

fn near(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-11, "{found} is not {expected}");
}

fn value(estimator: Estimator, rows: &[LoggedRow]) -> f64 {
    let count = rows.len() as f64;
    estimator.value(intervals::sums(estimator, rows), count, count).unwrap()
}

/// Computed by the Open Bandit Pipeline 0.5.5 on the same eight rows.
#[test]
fn published_values() {
    use Estimator::*;
    use Shrinkage::*;
    let rows = tiny();
    for (estimator, expected) in [
        (InversePropensity(None), 1.05),
        (InversePropensity(Clip(2.0)), 0.7375),
        (SelfNormalised, 0.471_783_899_438),
        (InversePropensity(SubGaussian(0.05)), 0.959_953_504_135),
        (InversePropensity(SubGaussian(0.5)), 0.6),
        (DirectMethod, 0.5175),
        (DoublyRobust(None), 0.451_488_095_238),
        (DoublyRobust(Clip(2.0)), 0.524_404_761_905),
        (SelfNormalisedDoublyRobust, 0.487_839_663_012),
        (DoublyRobust(Switch(2.0)), 0.549_404_761_905),
        (DoublyRobust(Optimistic(1.0)), 0.518_604_657_231),
        (DoublyRobust(SubGaussian(0.5)), 0.514_448_051_948),
    ] {
        near(value(estimator, &rows), expected);
    }
    let evaluation = evaluate(&rows, &Options::default()).unwrap();
    let diagnostics = &evaluation.diagnostics;
    near(diagnostics.logged_value, 0.5);
    near(diagnostics.mean_weight, 2.225_595_238_095);
    near(diagnostics.max_weight, 6.0);
    near(diagnostics.effective_rows, 4.646_826_308_255);
    let ips = InversePropensity(None);
    let error = intervals::standard_error(ips, &rows, 8.0).unwrap();
    let normal = intervals::normal(1.05, error, 0.95);
    near(normal.high - 1.05, 1.042_393_431_687);
    near(1.05 - normal.low, 1.042_393_431_687);
    near(intervals::standard_error(SelfNormalised, &rows, 8.0).unwrap(), 0.228_668_316_876);
    let lower = intervals::lower_bounds(ips, &rows, 8.0, 0.95).unwrap();
    near(lower.student, 0.042_381_334_892);
    near(lower.bernstein, -5.313_099_932_116);
}

#[test]
fn the_ends_of_shrinkage_are_other_estimators() {
    use Estimator::*;
    use Shrinkage::*;
    let rows = tiny();
    let dr = value(DoublyRobust(None), &rows);
    for shrinkage in [Switch(f64::INFINITY), Optimistic(f64::INFINITY), Clip(f64::INFINITY), SubGaussian(0.0)]
    {
        near(value(DoublyRobust(shrinkage), &rows), dr);
    }
    for shrinkage in [Switch(0.0), Optimistic(0.0), Clip(0.0)] {
        near(value(DoublyRobust(shrinkage), &rows), value(DirectMethod, &rows));
    }
}

/// Contexts 0 and 1, three actions, rewards of known probability; the logging policy explores.
struct World {
    rng: Rng,
}

impl World {
    const REWARD: [[f64; 3]; 2] = [[0.1, 0.3, 0.6], [0.5, 0.2, 0.1]];
    const LOGGING: [[f64; 3]; 2] = [[0.6, 0.3, 0.1], [0.2, 0.5, 0.3]];
    const TARGET: [[f64; 3]; 2] = [[0.1, 0.2, 0.7], [0.8, 0.1, 0.1]];
    /// Of a target that is right half the time.
    fn truth() -> f64 {
        let of =
            |context: usize| (0..3).map(|a| Self::TARGET[context][a] * Self::REWARD[context][a]).sum::<f64>();
        0.5 * (of(0) + of(1))
    }

    fn row(&mut self) -> LoggedRow {
        let context = self.rng.below(2) as usize;
        let draw = self.rng.next_f64();
        let [first, second, _] = Self::LOGGING[context];
        let action = usize::from(draw >= first) + usize::from(draw >= first + second);
        let reward = f64::from(u8::from(self.rng.next_f64() < Self::REWARD[context][action]));
        // A model that is off by a tenth everywhere.
        let model = |action: usize| Self::REWARD[context][action] + 0.1;
        let under_target = (0..3).map(|action| Self::TARGET[context][action] * model(action)).sum();
        LoggedRow::new(reward, Self::LOGGING[context][action], Self::TARGET[context][action])
            .unwrap()
            .with_model(model(action), under_target)
            .unwrap()
    }
}

#[test]
fn the_truth_of_a_simulated_world_is_found_and_covered() {
    let mut world = World { rng: Rng::new(7, Purpose::Simulation) };
    let mut covered = [0_u32; 3];
    const LOGS: u32 = 200;
    for log in 0..LOGS {
        let rows: Vec<_> = (0..1_000).map(|_| world.row()).collect();
        let options = Options { resamples: 100, seed: u64::from(log), ..Options::default() };
        let evaluation = evaluate(&rows, &options).unwrap();
        assert!(evaluation.verdict.identifiable, "{:?}", evaluation.verdict);
        let headline = evaluation.headline.unwrap();
        assert_eq!(headline.estimator, Estimator::SelfNormalisedDoublyRobust);
        let within = |interval: Interval| u32::from((interval.low..=interval.high).contains(&World::truth()));
        covered[0] += within(headline.normal.unwrap());
        covered[1] += within(headline.bootstrap.unwrap());
        let ips = &evaluation.estimates[0];
        let lower = ips.lower.unwrap();
        assert!(lower.bernstein < lower.student);
        covered[2] += u32::from(lower.student < World::truth());
    }
    // 95 of a hundred; 200 logs tell it to about 3 either way.
    for covered in covered {
        let share = f64::from(covered) / f64::from(LOGS);
        assert!((0.90..=0.995).contains(&share), "{share}");
    }
}

#[test]
fn a_thinned_log_tells_the_same_value() {
    let mut world = World { rng: Rng::new(8, Purpose::Simulation) };
    let mut rng = Rng::new(9, Purpose::Simulation);
    let (mut kept, mut decisions) = (Vec::new(), 0_u64);
    while decisions < 40_000 {
        decisions += 1;
        let row = world.row();
        if rng.next_f64() < 0.25 {
            kept.push(row.kept_with(0.25).unwrap());
        }
    }
    let options = Options { resamples: 0, decisions: Some(decisions), ..Options::default() };
    let evaluation = evaluate(&kept, &options).unwrap();
    assert!((evaluation.diagnostics.mean_weight - 1.0).abs() < 0.05);
    for estimate in &evaluation.estimates {
        if matches!(estimate.estimator, Estimator::InversePropensity(Shrinkage::None)) {
            assert!((estimate.value - World::truth()).abs() < 0.03, "{estimate:?}");
        }
    }
    assert!(evaluation.verdict.identifiable);
}

#[test]
fn a_log_that_cannot_tell_says_why_and_what_would() {
    // The target gives what was logged once in ten thousand.
    let row = |reward, logged, target| LoggedRow::new(reward, logged, target).unwrap();
    let mut rows = vec![row(0.0, 0.999, 0.1); 9_999];
    rows.push(row(1.0, 0.001, 0.9));
    let evaluation =
        evaluate(&rows, &Options { actions: Some(2), resamples: 0, ..Options::default() }).unwrap();
    assert!(!evaluation.verdict.identifiable);
    let few = evaluation.verdict.refusals.iter().find_map(|refusal| match refusal {
        Refusal::FewEffectiveRows { exploration, times_more, .. } => Some((*exploration, *times_more)),
        _ => None,
    });
    let (exploration, times_more) = few.unwrap();
    assert!(exploration.unwrap() > 0.0 && exploration.unwrap() < 1.0 && times_more > 1.0);

    // Propensities of a proposal that rules then overrode.
    let off = vec![row(1.0, 0.5, 1.0); 1_000];
    let verdict = evaluate(&off, &Options { resamples: 0, ..Options::default() }).unwrap().verdict;
    assert!(matches!(verdict.refusals[..], [Refusal::WeightsOff { mean_weight: 2.0, .. }]), "{verdict:?}");

    let uncovered = |supported| row(1.0, 0.5, 0.5).with_supported(supported).unwrap();
    let half = [vec![uncovered(1.0); 900], vec![uncovered(0.4); 100]].concat();
    let verdict = evaluate(&half, &Options { resamples: 0, ..Options::default() }).unwrap().verdict;
    assert!(matches!(verdict.refusals[..], [Refusal::NotCovered { .. }]), "{verdict:?}");
    assert!(evaluate(&[], &Options::default()).is_none());
}

#[test]
fn a_bootstrap_over_groups_is_wider_when_rows_repeat() {
    let mut world = World { rng: Rng::new(10, Purpose::Simulation) };
    let rows: Vec<_> = (0..200).map(|_| world.row()).collect();
    let repeated: Vec<_> =
        (0..10).flat_map(|_| (0_u64..).zip(&rows).map(|(group, row)| row.of_group(group))).collect();
    let width = |rows: &[LoggedRow]| {
        let interval = evaluate(rows, &Options::default()).unwrap().headline.unwrap().bootstrap.unwrap();
        interval.high - interval.low
    };
    let alone: Vec<_> = (0..10).flat_map(|_| rows.clone()).collect();
    assert!(width(&repeated) > 2.0 * width(&alone));
}

#[test]
fn equal_options_give_equal_bits() {
    let mut world = World { rng: Rng::new(11, Purpose::Simulation) };
    let rows: Vec<_> = (0..500).map(|_| world.row()).collect();
    let of = |seed| serde_json::to_string(&evaluate(&rows, &Options { seed, ..Options::default() })).unwrap();
    assert_eq!(of(1), of(1));
    assert_ne!(of(1), of(2));
}

#[test]
fn numbers_out_of_range_are_named() {
    for (row, expected) in [
        (LoggedRow::new(f64::NAN, 0.5, 0.5), "reward is NaN; expected a finite number"),
        (LoggedRow::new(1.0, 0.0, 0.5), "propensity is 0; expected a probability above 0, at most 1"),
        (LoggedRow::new(1.0, 0.5, 1.5), "target probability is 1.5; expected a probability from 0 to 1"),
        (
            LoggedRow::new(1.0, 0.5, 0.5).and_then(|row| row.kept_with(0.0)),
            "pass probability is 0; expected a probability above 0, at most 1",
        ),
    ] {
        assert_eq!(row.unwrap_err().to_string(), expected);
    }
}

#[test]
fn the_page_has_every_estimate_and_no_markup_from_outside() {
    let rows: Vec<LoggedRow> =
        (0..400).map(|row| LoggedRow::new(f64::from(row % 3), 0.5, f64::from(row % 2)).unwrap()).collect();
    let found = evaluate(&rows, &Options { resamples: 20, ..Options::default() }).unwrap();
    let page = found.html("<script>log</script>");
    assert!(!page.contains("<script") && page.contains("&lt;script&gt;") && page.ends_with("</html>\n"));
    for estimate in &found.estimates {
        let name = estimate.estimator.name();
        assert!(page.replace("<wbr>", "").contains(&format!("<th scope=\"row\">{name}</th>")), "{name}");
    }
    assert!(page.contains("The log can tell"));
    let few = evaluate(&rows[..20], &Options { resamples: 0, ..Options::default() }).unwrap();
    assert!(few.html("log").contains("Not identifiable"));
}
