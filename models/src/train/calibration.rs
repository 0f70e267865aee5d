//! Calibration as a stage: every calibrator is tried on people that it was not fitted to, and Platt's is taken unless
//! another one is clearly better.
//!
//! Not here: the calibrators themselves ([`crate::calibrate`]), or where margins come from (`family`).

use serde::{Deserialize, Serialize};

use super::{Calibration, Options, PositiveWeight, folds};
use crate::Error;
use crate::calibrate::{self, Calibrator};
use crate::metrics::{Binning, Counts, ECE_EQUAL_MASS_BINS, LOG_LOSS_CLIP, reliability};

/// Another calibrator than Platt's has to lower the log loss by more than this share of it to be taken. Platt's has two
/// numbers only, and its smoothed targets keep it a little from certainty, which later data rewards.
pub const SIMPLER_MARGIN: f64 = 0.001;
/// Rows of each class that isotonic regression needs to be tried by itself.
pub const MINIMUM_PER_CLASS_FOR_ISOTONIC: usize = 500;
/// Parts that calibrators are tried on.
const FOLDS: usize = 5;
/// Parts other than those that the margins come from.
const SEED: u64 = 0x63_61_6c_69_62_72_61_74;

/// How the calibrator was chosen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CalibrationReport {
    /// What was asked for: `auto`, or one of them.
    pub requested: String,
    /// What was taken.
    pub chosen: String,
    /// Parts that each was tried on; 0 when there were too few people to try.
    pub folds: usize,
    /// The share of the log loss that Platt's may be worse by and still be taken.
    pub simpler_margin: f64,
    /// Each of them, simplest first.
    pub tried: Vec<TriedCalibration>,
}

/// A calibrator and how it did on people left out of its fit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TriedCalibration {
    /// Which.
    pub calibration: String,
    /// Log loss of people left out; absent when it was not tried.
    pub log_loss: Option<f64>,
    /// Calibration error of the same, over 15 bins of equal mass.
    pub ece: Option<f64>,
    /// Why it could not be taken, if it could not.
    pub refused: Option<String>,
}

/// Fits the calibrator asked for, or the one that is best on people left out.
pub(super) fn choose(
    out_of_fold: &[(f64, bool)],
    groups: &[u64],
    options: &Options,
    warnings: &mut Vec<String>,
) -> Result<(Calibrator, CalibrationReport), Error> {
    let report = |chosen: &Calibrator, folds: usize, tried: Vec<TriedCalibration>| CalibrationReport {
        requested: options.calibration.as_str().to_owned(),
        chosen: chosen.as_str().to_owned(),
        folds,
        simpler_margin: SIMPLER_MARGIN,
        tried,
    };
    if out_of_fold.is_empty() {
        warnings.push("too few groups for out-of-fold margins; the model is not calibrated".to_owned());
        return Ok((Calibrator::Identity, report(&Calibrator::Identity, 0, Vec::new())));
    }
    let labels: Vec<bool> = out_of_fold.iter().map(|(_, label)| *label).collect();
    let assigned = folds::assign(groups, &labels, FOLDS, options.seed ^ SEED);
    let (tried, folds) = match &assigned {
        Some(assigned) => (all(out_of_fold, assigned, options), FOLDS.min(folds_in(assigned))),
        None => (Vec::new(), 0),
    };
    let wanted = match options.calibration {
        Calibration::Auto => best(&tried).unwrap_or(Calibration::Platt),
        asked => asked,
    };
    let calibrator = fitted(wanted, out_of_fold, warnings)?;
    let report = report(&calibrator, folds, tried);
    Ok((calibrator, report))
}

/// The calibrator on all rows left out of the model's fit.
fn fitted(
    calibration: Calibration,
    pairs: &[(f64, bool)],
    warnings: &mut Vec<String>,
) -> Result<Calibrator, Error> {
    let calibrator = match calibration {
        Calibration::Identity => Calibrator::Identity,
        Calibration::Platt | Calibration::Auto => calibrate::platt(pairs)?,
        Calibration::Isotonic => calibrate::isotonic_within_reason(pairs)?,
    };
    if turns_round(&calibrator) {
        warnings.push(
            "out-of-fold margins do not rank the classes, so calibration would turn them round; the model \
             is not calibrated and probably useless"
                .to_owned(),
        );
        return Ok(Calibrator::Identity);
    }
    Ok(calibrator)
}

fn turns_round(calibrator: &Calibrator) -> bool {
    matches!(calibrator, Calibrator::Platt { a, .. } if *a >= 0.0)
}

/// Every calibrator on people left out of its own fit, simplest first.
fn all(pairs: &[(f64, bool)], assigned: &[usize], options: &Options) -> Vec<TriedCalibration> {
    [Calibration::Identity, Calibration::Platt, Calibration::Isotonic]
        .into_iter()
        .map(|calibration| match refusal(calibration, pairs, options) {
            Some(refused) => tried(calibration, None, Some(refused)),
            None => match cross_fitted(calibration, pairs, assigned) {
                Ok(probabilities) => tried(calibration, Some(&probabilities), None),
                Err(refused) => tried(calibration, None, Some(refused)),
            },
        })
        .collect()
}

fn refusal(calibration: Calibration, pairs: &[(f64, bool)], options: &Options) -> Option<String> {
    let positives = pairs.iter().filter(|(_, label)| *label).count();
    let fewest = positives.min(pairs.len() - positives);
    match calibration {
        Calibration::Identity if options.positive_weight != PositiveWeight::EVEN => Some(
            "a weight of positive rows moves probabilities, and only calibration moves them back".to_owned(),
        ),
        Calibration::Isotonic if fewest < MINIMUM_PER_CLASS_FOR_ISOTONIC => Some(format!(
            "{fewest} rows of the rarer class; at least {MINIMUM_PER_CLASS_FOR_ISOTONIC} keep its steps from following \
             single rows"
        )),
        _ => None,
    }
}

fn cross_fitted(
    calibration: Calibration,
    pairs: &[(f64, bool)],
    assigned: &[usize],
) -> Result<Vec<(f64, bool)>, String> {
    let mut probabilities = pairs.to_vec();
    for fold in 0..folds_in(assigned) {
        let others = pairs.iter().zip(assigned).filter(|(_, of)| **of != fold);
        let others: Vec<(f64, bool)> = others.map(|(pair, _)| *pair).collect();
        let calibrator = fitted(calibration, &others, &mut Vec::new()).map_err(|error| error.to_string())?;
        if calibration != Calibration::Identity && calibrator == Calibrator::Identity {
            return Err("out-of-fold margins do not rank the classes".to_owned());
        }
        for (place, of) in probabilities.iter_mut().zip(assigned) {
            if *of == fold {
                place.0 = calibrator.probability(place.0);
            }
        }
    }
    Ok(probabilities)
}

fn tried(
    calibration: Calibration,
    probabilities: Option<&[(f64, bool)]>,
    refused: Option<String>,
) -> TriedCalibration {
    let counts = probabilities.map(Counts::of);
    let ece =
        |counts| reliability::expected_calibration_error(counts, Binning::EqualMass, ECE_EQUAL_MASS_BINS);
    TriedCalibration {
        calibration: calibration.as_str().to_owned(),
        log_loss: counts.as_ref().and_then(|counts| reliability::log_loss(counts, LOG_LOSS_CLIP)),
        ece: counts.as_ref().and_then(ece),
        refused,
    }
}

/// The first in the order of trust whose log loss is within [`SIMPLER_MARGIN`] of the least.
fn best(tried: &[TriedCalibration]) -> Option<Calibration> {
    let least = tried.iter().filter_map(|tried| tried.log_loss).reduce(f64::min)?;
    let is_good_enough = |calibration: &Calibration| {
        let own = tried.iter().find(|tried| tried.calibration == calibration.as_str());
        own.and_then(|tried| tried.log_loss)
            .is_some_and(|log_loss| log_loss <= least * (1.0 + SIMPLER_MARGIN))
    };
    [Calibration::Platt, Calibration::Identity, Calibration::Isotonic].into_iter().find(is_good_enough)
}

fn folds_in(assigned: &[usize]) -> usize {
    assigned.iter().max().map_or(0, |last| last + 1)
}

#[cfg(test)]
mod tests {
    use augur_domain::math;
    use augur_domain::rng::{Purpose, Rng};
    use augur_domain::{ContentHash, Timestamp};

    use super::*;

    /// Margins whose true probability is `truth` of them.
    fn margins(rows: usize, truth: fn(f64) -> f64) -> (Vec<(f64, bool)>, Vec<u64>) {
        let mut rng = Rng::new(11, Purpose::Simulation);
        let mut row = |_| {
            let margin = rng.next_f64() * 8.0 - 4.0;
            (margin, rng.next_f64() < truth(margin))
        };
        ((0..rows).map(&mut row).collect(), (0..rows as u64).collect())
    }

    fn chosen(truth: fn(f64) -> f64, rows: usize, change: fn(&mut Options)) -> CalibrationReport {
        let mut options = Options::new("churn", "gone", ContentHash::default(), Timestamp::MIN);
        options.calibration = Calibration::Auto;
        change(&mut options);
        let (pairs, groups) = margins(rows, truth);
        choose(&pairs, &groups, &options, &mut Vec::new()).unwrap().1
    }

    #[test]
    fn platt_is_taken_unless_steps_are_clearly_better() {
        let as_is = chosen(math::sigmoid, 20_000, |_| {});
        assert_eq!(as_is.chosen, "platt", "{as_is:?}");
        assert_eq!((as_is.folds, as_is.tried.len()), (5, 3));
        let too_sure = chosen(|margin| math::sigmoid(0.4 * margin - 1.0), 20_000, |_| {});
        assert_eq!(too_sure.chosen, "platt", "{too_sure:?}");
        let stepped = chosen(|margin| if margin < 1.0 { 0.1 } else { 0.6 }, 20_000, |_| {});
        assert_eq!(stepped.chosen, "isotonic", "{stepped:?}");
    }

    #[test]
    fn few_rows_and_weights_narrow_the_choice() {
        let few = chosen(|margin| if margin < 1.0 { 0.1 } else { 0.6 }, 600, |_| {});
        assert_ne!(few.chosen, "isotonic");
        assert!(
            few.tried.iter().any(|tried| tried.refused.as_ref().is_some_and(|why| why.contains("rarer")))
        );
        let weighted =
            chosen(math::sigmoid, 20_000, |options| options.positive_weight = PositiveWeight::Fixed(2.0));
        assert_eq!(weighted.chosen, "platt", "{weighted:?}");
        let asked = chosen(math::sigmoid, 20_000, |options| options.calibration = Calibration::Isotonic);
        assert_eq!((asked.requested.as_str(), asked.chosen.as_str()), ("isotonic", "isotonic"));
    }
}
