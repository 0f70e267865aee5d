//! From units to what may be said of them.
//!
//! Not here: the formulas (`interval`, `sequential`, `ratio`, `moments`), or the words for people (`text`).

use serde::Serialize;

use super::Problem;
use super::interval::{Interval, MeanDifference, Share, mean_difference};
use super::moments::Moments;
use super::ratio::{self, RatioCheck};
use super::sequential::{AlwaysValid, always_valid};
use super::units::Units;

/// Fewer units of an arm than this are too few for what holds only as numbers grow.
const LEAST_UNITS: u64 = 100;
/// Fewer conversions of both arms together likewise.
const LEAST_CONVERSIONS: u64 = 20;

/// How to judge.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The arm that others are compared with; `None` takes `control`, or else the first.
    pub control: Option<String>,
    /// Declared weight of each arm, any positive numbers; empty means equal shares of the arms that were met.
    pub weights: Vec<(String, f64)>,
    /// Probability that all intervals of one kind hold together, 0.5 to 0.9999.
    pub confidence: f64,
    /// The number of units, of both arms together, at which sequential intervals are to be narrowest.
    pub tuned_for: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { control: None, weights: Vec::new(), confidence: 0.95, tuned_for: 10_000 }
    }
}

/// One arm by itself.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ArmReport {
    /// Its name.
    pub arm: String,
    /// Units first met in it.
    pub units: u64,
    /// The share of units that it should have.
    pub declared_share: f64,
    /// Units that converted.
    pub conversions: u64,
    /// Their share.
    pub conversion_rate: f64,
    /// Wilson's interval for it.
    pub conversion_interval: Interval,
    /// Mean value per unit.
    pub value_mean: f64,
    /// Standard deviation of it over units.
    pub value_deviation: Option<f64>,
}

/// An arm against the control.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// The arm.
    pub arm: String,
    /// What it is compared with.
    pub control: String,
    /// By conversion.
    pub conversion: Differences,
    /// By value; `None` when no unit has any.
    pub value: Option<Differences>,
}

/// A difference as it may be read once, at every look, and with what was known before taken off.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Differences {
    /// The arm's figure less the control's.
    pub difference: f64,
    /// The difference as a share of the control's figure.
    pub relative: Option<f64>,
    /// For one look, at a time fixed beforehand: Newcombe's interval for shares, Welch's for means.
    pub once: Option<Interval>,
    /// p-value for one look.
    pub p_value_once: Option<f64>,
    /// For any number of looks.
    pub always: Option<AlwaysValid>,
    /// The same with CUPED.
    pub adjusted: Option<Adjusted>,
}

/// A difference after CUPED (Deng, Xu, Kohavi and Walker, Improving the Sensitivity of Online Controlled Experiments by
/// Utilizing Pre-Experiment Data, WSDM 2013): of each unit's figure is taken off what its figure from before tells.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Adjusted {
    /// Units with a figure from before, of both arms; only they are in it.
    pub units: u64,
    /// By how much the variance shrank, as a share.
    pub variance_reduction: f64,
    /// For one look.
    pub once: MeanDifference,
    /// For any number of looks.
    pub always: Option<AlwaysValid>,
}

/// What came of an experiment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Units in it.
    pub units: u64,
    /// Units met in several arms; they count in the first one.
    pub units_of_several_arms: u64,
    /// The arms, the control first.
    pub arms: Vec<ArmReport>,
    /// Whether the arms were filled as declared.
    pub sample_ratio: Option<RatioCheck>,
    /// Whether the declared shares were given, not taken to be equal.
    pub weights_given: bool,
    /// Each other arm against the control.
    pub comparisons: Vec<Comparison>,
    /// Probability that all intervals of one kind hold together; each is made for as much more as there are
    /// comparisons (Bonferroni).
    pub confidence: f64,
    /// At how many units sequential intervals are narrowest.
    pub tuned_for: u64,
}

impl Report {
    /// Whether the arms were filled otherwise than declared: nothing else can be believed then.
    pub fn is_void(&self) -> bool {
        self.sample_ratio.as_ref().is_some_and(|check| check.mismatch)
    }
}

/// The figures of one arm.
#[derive(Debug, Clone, Copy, Default)]
struct Arm {
    conversion: Share,
    value: Moments,
    /// Conversion as 0 or 1, and value, beside the figure from before, of units that have one.
    converted_and_before: Moments,
    value_and_before: Moments,
}

/// Judges an experiment.
///
/// # Errors
/// [`Problem`] when nobody is in it or a setting does not fit.
pub fn judge(units: &Units, settings: &Settings) -> Result<Report, Problem> {
    check(settings)?;
    if units.is_empty() {
        return Err(Problem::NoUnits { hint: String::new() });
    }
    let names = ordered_arms(units, settings)?;
    let arms = figures(units, &names);
    let weights = weights(&names, settings)?;
    let counts: Vec<u64> = arms.iter().map(|arm| arm.conversion.of).collect();
    let comparisons = names.len().saturating_sub(1).max(1) as f64;
    let confidence = 1.0 - (1.0 - settings.confidence) / comparisons;
    let has_values = arms.iter().any(|arm| arm.value.mean != 0.0 || arm.value.variance() > Some(0.0));
    let mut reports = Vec::with_capacity(names.len());
    let total: f64 = weights.iter().sum();
    for ((name, arm), weight) in names.iter().zip(&arms).zip(&weights) {
        reports.push(arm_report(name, arm, weight / total, settings.confidence));
    }
    let mut against_control = Vec::new();
    if let (Some((control_name, others)), Some((control, figures))) =
        (names.split_first(), arms.split_first())
    {
        for (name, arm) in others.iter().zip(figures) {
            let judged = Judge { confidence, tuned_for: settings.tuned_for };
            against_control.push(Comparison {
                arm: name.clone(),
                control: control_name.clone(),
                conversion: judged.conversions(arm, control),
                value: has_values.then(|| judged.values(arm, control)),
            });
        }
    }
    Ok(Report {
        units: units.len() as u64,
        units_of_several_arms: units.of_several_arms(),
        arms: reports,
        sample_ratio: ratio::check(&counts, &weights),
        weights_given: !settings.weights.is_empty(),
        comparisons: against_control,
        confidence: settings.confidence,
        tuned_for: settings.tuned_for,
    })
}

fn check(settings: &Settings) -> Result<(), Problem> {
    let refuse = |setting, found: String, expected| Err(Problem::Setting { setting, found, expected });
    if !(0.5..=0.9999).contains(&settings.confidence) {
        return refuse("confidence", settings.confidence.to_string(), "0.5 to 0.9999");
    }
    if settings.tuned_for < 2 * LEAST_UNITS {
        return refuse("the number of units to be tuned for", settings.tuned_for.to_string(), "at least 200");
    }
    Ok(())
}

/// The arms with the control first; arms with a declared weight that nobody is in are there, too.
fn ordered_arms(units: &Units, settings: &Settings) -> Result<Vec<String>, Problem> {
    let mut names = units.arms().to_vec();
    names.sort_unstable();
    for (arm, _) in &settings.weights {
        if !names.contains(arm) {
            names.push(arm.clone());
        }
    }
    let asked = settings.control.as_deref();
    let place = names.iter().position(|name| name == asked.unwrap_or("control"));
    match (place, asked) {
        (Some(place), _) => {
            let control = names.remove(place);
            names.insert(0, control);
        }
        (None, None) => {}
        (None, Some(asked)) => {
            return Err(Problem::UnknownArm { name: asked.to_owned(), known: names.join(", ") });
        }
    }
    Ok(names)
}

/// The declared weight of each arm.
fn weights(names: &[String], settings: &Settings) -> Result<Vec<f64>, Problem> {
    if settings.weights.is_empty() {
        return Ok(vec![1.0; names.len()]);
    }
    let of = |name: &String| {
        let declared = settings.weights.iter().find(|(arm, _)| arm == name).map(|(_, weight)| *weight);
        declared.filter(|weight| weight.is_finite() && *weight > 0.0).ok_or_else(|| Problem::Weight {
            arm: name.clone(),
            found: declared.map_or_else(|| "not given".to_owned(), |weight| weight.to_string()),
        })
    };
    names.iter().map(of).collect()
}

/// The figures of each of these arms, summed in the order of the units.
fn figures(units: &Units, names: &[String]) -> Vec<Arm> {
    let place = |arm: &String| names.iter().position(|name| name == arm).unwrap_or_default();
    let places: Vec<usize> = units.arms().iter().map(place).collect();
    let mut arms = vec![Arm::default(); names.len()];
    for unit in &units.units {
        let Some(arm) = places.get(usize::from(unit.arm)).and_then(|place| arms.get_mut(*place)) else {
            continue;
        };
        arm.conversion.of += 1;
        arm.conversion.hits += u64::from(unit.converted);
        arm.value.add(unit.value);
        if let Some(before) = unit.before {
            arm.converted_and_before.add_pair(f64::from(u8::from(unit.converted)), before);
            arm.value_and_before.add_pair(unit.value, before);
        }
    }
    arms
}

fn arm_report(name: &str, arm: &Arm, declared_share: f64, confidence: f64) -> ArmReport {
    ArmReport {
        arm: name.to_owned(),
        units: arm.conversion.of,
        declared_share,
        conversions: arm.conversion.hits,
        conversion_rate: arm.conversion.rate(),
        conversion_interval: arm.conversion.interval(confidence),
        value_mean: arm.value.mean,
        value_deviation: arm.value.variance().map(augur_domain::math::sqrt),
    }
}

/// How sure intervals of one comparison must be.
struct Judge {
    confidence: f64,
    tuned_for: u64,
}

impl Judge {
    fn conversions(&self, arm: &Arm, control: &Arm) -> Differences {
        let (ours, theirs) = (arm.conversion, control.conversion);
        let difference = ours.rate() - theirs.rate();
        let spread = |share: Share| share.rate() * (1.0 - share.rate()) / share.of.max(1) as f64;
        let enough = ours.of.min(theirs.of) >= LEAST_UNITS && ours.hits + theirs.hits >= LEAST_CONVERSIONS;
        let both = ours.of > 0 && theirs.of > 0;
        Differences {
            difference,
            relative: relative(difference, theirs.rate()),
            once: both.then(|| ours.less(theirs, self.confidence)),
            p_value_once: if both { ours.p_value(theirs) } else { None },
            always: if enough {
                self.always(difference, spread(ours) + spread(theirs), ours.of + theirs.of)
            } else {
                None
            },
            adjusted: self.adjusted(&arm.converted_and_before, &control.converted_and_before),
        }
    }

    fn values(&self, arm: &Arm, control: &Arm) -> Differences {
        let once = mean_difference(&arm.value, &control.value, self.confidence);
        let difference = arm.value.mean - control.value.mean;
        Differences {
            difference,
            relative: relative(difference, control.value.mean),
            once: once.map(|found| found.interval),
            p_value_once: once.map(|found| found.p_value),
            always: self.always_of_means(&arm.value, &control.value),
            adjusted: self.adjusted(&arm.value_and_before, &control.value_and_before),
        }
    }

    fn always_of_means(&self, ours: &Moments, theirs: &Moments) -> Option<AlwaysValid> {
        let enough = ours.count.min(theirs.count) >= LEAST_UNITS;
        let variance = ours.variance_of_mean()? + theirs.variance_of_mean()?;
        enough.then(|| self.always(ours.mean - theirs.mean, variance, ours.count + theirs.count))?
    }

    fn always(&self, difference: f64, variance: f64, units: u64) -> Option<AlwaysValid> {
        always_valid(difference, variance, units, self.tuned_for, 1.0 - self.confidence)
    }

    /// `None` where nothing from before is known, or it does not vary.
    fn adjusted(&self, ours: &Moments, theirs: &Moments) -> Option<Adjusted> {
        let slope = Moments::slope(&[ours, theirs])?;
        let units = ours.count + theirs.count;
        let weigh = |moments: &Moments| moments.beside_mean * (moments.count as f64 / units as f64);
        let centre = weigh(ours) + weigh(theirs);
        let (arm, control) = (ours.adjusted(slope, centre), theirs.adjusted(slope, centre));
        let before = ours.variance_of_mean()? + theirs.variance_of_mean()?;
        let after = arm.variance_of_mean()? + control.variance_of_mean()?;
        Some(Adjusted {
            units,
            variance_reduction: if before > 0.0 { 1.0 - after / before } else { 0.0 },
            once: mean_difference(&arm, &control, self.confidence)?,
            always: self.always_of_means(&arm, &control),
        })
    }
}

fn relative(difference: f64, of: f64) -> Option<f64> {
    (of != 0.0).then(|| difference / of).filter(|share| share.is_finite())
}

#[cfg(test)]
mod tests;
