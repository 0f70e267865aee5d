//! The estimators, each as a function of a few sums over rows, so that a resample costs additions alone.
//!
//! Not here: intervals, or whether an estimate may be believed (`verdict`).

use serde::{Serialize, Serializer};

use super::row::LoggedRow;

/// How a weight `w` is made smaller before it multiplies, with its parameter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Shrinkage {
    /// `w`.
    None,
    /// `min(w, bound)`.
    Clip(f64),
    /// `w` up to the bound, 0 above it: rows of larger weight are left to the reward model.
    Switch(f64),
    /// `bound * w / (w^2 + bound)` (Su et al. 2020).
    Optimistic(f64),
    /// `w / (1 - share + share * w)`, the share from 0 to 1 (Metelli et al. 2021).
    SubGaussian(f64),
}

impl Shrinkage {
    /// The smaller weight.
    pub fn apply(self, weight: f64) -> f64 {
        match self {
            Self::None => weight,
            Self::Clip(bound) => weight.min(bound),
            Self::Switch(bound) => {
                if weight <= bound {
                    weight
                } else {
                    0.0
                }
            }
            Self::Optimistic(bound) if bound.is_infinite() => weight,
            Self::Optimistic(0.0) => 0.0,
            Self::Optimistic(bound) => bound * weight / (weight * weight + bound),
            Self::SubGaussian(share) => weight / (1.0 - share + share * weight),
        }
    }
}

/// A way to estimate the value of the target policy.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Estimator {
    /// `sum(1[match] r) / sum(1[match])`: rewards where the target policy, which must be deterministic, gives what was
    /// logged. Unbiased only if the log was uniform.
    ReplayMatch,
    /// `mean(model under the target)`. As good as the model.
    DirectMethod,
    /// `sum(s(w) r) / N`, `N` the decisions behind the log.
    InversePropensity(Shrinkage),
    /// `sum(w r) / sum(w)`.
    SelfNormalised,
    /// `mean(model under the target) + sum(s(w) (r - model)) / N`.
    DoublyRobust(Shrinkage),
    /// `mean(model under the target) + sum(w (r - model)) / sum(w)`.
    SelfNormalisedDoublyRobust,
}

impl Estimator {
    /// Whether it asks a reward model.
    pub fn needs_model(self) -> bool {
        matches!(self, Self::DirectMethod | Self::DoublyRobust(_) | Self::SelfNormalisedDoublyRobust)
    }

    /// Its short name, without parameters.
    pub fn name(self) -> &'static str {
        match self {
            Self::ReplayMatch => "rm",
            Self::DirectMethod => "dm",
            Self::InversePropensity(Shrinkage::None) => "ips",
            Self::InversePropensity(Shrinkage::Clip(_)) => "clipped_ips",
            Self::InversePropensity(Shrinkage::Switch(_)) => "switch_ips",
            Self::InversePropensity(Shrinkage::Optimistic(_)) => "ips_os",
            Self::InversePropensity(Shrinkage::SubGaussian(_)) => "sg_ips",
            Self::SelfNormalised => "snips",
            Self::DoublyRobust(Shrinkage::None) => "dr",
            Self::DoublyRobust(Shrinkage::Clip(_)) => "clipped_dr",
            Self::DoublyRobust(Shrinkage::Switch(_)) => "switch_dr",
            Self::DoublyRobust(Shrinkage::Optimistic(_)) => "dr_os",
            Self::DoublyRobust(Shrinkage::SubGaussian(_)) => "sg_dr",
            Self::SelfNormalisedDoublyRobust => "sndr",
        }
    }

    /// The parameter of its shrinkage, if it has one.
    pub fn parameter(self) -> Option<f64> {
        let (Self::InversePropensity(shrinkage) | Self::DoublyRobust(shrinkage)) = self else { return None };
        match shrinkage {
            Shrinkage::None => None,
            Shrinkage::Clip(bound) | Shrinkage::Switch(bound) | Shrinkage::Optimistic(bound) => Some(bound),
            Shrinkage::SubGaussian(share) => Some(share),
        }
    }

    /// What a row adds to the estimator's sums.
    pub(super) fn terms(self, row: &LoggedRow) -> Terms {
        let (weight, reward) = (row.weight(), row.reward());
        let model = row.model().map_or(0.0, |model| model.target);
        match self {
            Self::ReplayMatch => {
                let matched = f64::from(u8::from(row.target_probability() >= 1.0));
                Terms { plain: 0.0, weighted: matched * reward, weight: matched }
            }
            Self::DirectMethod => Terms { plain: model, weighted: 0.0, weight: 0.0 },
            Self::InversePropensity(shrinkage) => {
                Terms { plain: 0.0, weighted: shrinkage.apply(weight) * reward, weight: 0.0 }
            }
            Self::SelfNormalised => Terms { plain: 0.0, weighted: weight * reward, weight },
            Self::DoublyRobust(shrinkage) => {
                Terms { plain: model, weighted: shrinkage.apply(weight) * row.residual(), weight: 0.0 }
            }
            Self::SelfNormalisedDoublyRobust => {
                Terms { plain: model, weighted: weight * row.residual(), weight }
            }
        }
    }

    /// Whether `weighted` is divided by the sum of weights rather than by the number of decisions.
    pub(super) fn is_ratio(self) -> bool {
        matches!(self, Self::ReplayMatch | Self::SelfNormalised | Self::SelfNormalisedDoublyRobust)
    }

    /// The estimate from sums over `rows` rows of a log of `decisions` decisions; `None` if no row says anything.
    pub(super) fn value(self, sums: Terms, rows: f64, decisions: f64) -> Option<f64> {
        let divisor = if self.is_ratio() { sums.weight } else { decisions };
        let value = sums.plain / rows + sums.weighted / divisor;
        value.is_finite().then_some(value)
    }
}

impl Serialize for Estimator {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// The sums that an estimator is a function of, or what one row adds to them.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Terms {
    /// Of what is averaged over rows.
    pub(super) plain: f64,
    /// Of what is divided by decisions or by `weight`.
    pub(super) weighted: f64,
    /// Of weights, where they are the divisor.
    pub(super) weight: f64,
}

impl Terms {
    pub(super) fn add(&mut self, other: Self) {
        self.plain += other.plain;
        self.weighted += other.weighted;
        self.weight += other.weight;
    }
}
