//! What a positive row weighs in a fit.
//!
//! Not here: the fits that act on it, or the calibration that undoes it.

use std::fmt;

use crate::Error;

/// What a positive row weighs, a negative one weighing 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PositiveWeight {
    /// So much: 1e-3 to 1e3.
    Fixed(f64),
    /// As much as makes both classes weigh the same together: negative rows by positive ones, within 1e-3 to 1e3.
    Balanced,
}

impl PositiveWeight {
    /// Every row weighs the same.
    pub const EVEN: Self = Self::Fixed(1.0);
    const LEAST: f64 = 1e-3;
    const GREATEST: f64 = 1e3;

    pub(super) fn validate(self) -> Result<(), Error> {
        match self {
            Self::Fixed(weight) if !(Self::LEAST..=Self::GREATEST).contains(&weight) => {
                let found = format!("{weight:e}");
                Err(Error::InvalidOption { option: "positive_weight", found, expected: "0.001 to 1000" })
            }
            Self::Fixed(_) | Self::Balanced => Ok(()),
        }
    }

    /// The number for rows with these labels.
    pub(super) fn of(self, labels: &[bool]) -> f64 {
        match self {
            Self::Fixed(weight) => weight,
            Self::Balanced => {
                let positives = labels.iter().filter(|label| **label).count();
                let ratio = (labels.len() - positives) as f64 / positives.max(1) as f64;
                ratio.clamp(Self::LEAST, Self::GREATEST)
            }
        }
    }
}

impl fmt::Display for PositiveWeight {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(weight) => write!(formatter, "{weight}"),
            Self::Balanced => formatter.write_str("balanced"),
        }
    }
}
