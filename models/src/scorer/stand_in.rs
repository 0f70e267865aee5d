//! Scorers that answer what they are told, for trying a policy without training its models.
//!
//! Not here: models that learned something. Nothing of this kind can be published: it has no artifact.

use augur_domain::math;

use super::clusters::Clusters;
use super::linear::Linear;
use super::{Kernel, Scorer};
use crate::calibrate::{Calibrator, Knot};

/// The margin told for a probability of 1, and with the sign turned for 0: their logits are infinite.
const MOST_MARGIN: f64 = 40.0;

impl Scorer {
    /// Gives everyone `probability` as the calibrated score, to the bit; the margin is its logit. `None` outside 0..=1.
    pub fn of_probability(probability: f64) -> Option<Self> {
        if !(0.0..=1.0).contains(&probability) {
            return None;
        }
        let logit = math::ln(probability) - math::ln(1.0 - probability);
        let margin = if logit.is_finite() {
            logit
        } else if probability > 0.5 {
            MOST_MARGIN
        } else {
            -MOST_MARGIN
        };
        Some(Self {
            kernel: Kernel::Linear(Linear::new(margin, &[], &[])),
            calibrator: Calibrator::Isotonic { knots: vec![Knot { margin, probability }] },
            definitions_match: true,
            reference: None,
        })
    }

    /// Puts everyone into the segment `name`.
    pub fn of_segment(name: &str) -> Self {
        Self {
            kernel: Kernel::Clusters(Clusters::new(Vec::new(), &[], &[Vec::new()], &[name.to_owned()])),
            calibrator: Calibrator::Identity,
            definitions_match: true,
            reference: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use augur_domain::{ContentHash, FeatureSet, FeatureVector};

    use super::*;

    #[test]
    fn a_stand_in_says_what_it_was_told() {
        let nobody = FeatureVector::not_found(&FeatureSet::new(ContentHash::default(), Vec::new()));
        for probability in [0.0, 0.1, 0.5, 0.999, 1.0] {
            let score = Scorer::of_probability(probability).unwrap().score(&nobody);
            assert_eq!(score.calibrated.to_bits(), probability.to_bits());
            assert!(score.margin.is_finite() && (score.raw - probability).abs() < 1e-9, "{score:?}");
        }
        for bad in [-0.1, 1.1, f64::NAN] {
            assert_eq!(Scorer::of_probability(bad), None);
        }
        let high = Scorer::of_segment("high");
        assert_eq!(high.segment(&nobody).map(|name| &**name), Some("high"));
    }
}
