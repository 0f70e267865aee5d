//! What came of experiments: conversion and value by arm, whether the arms were filled as declared, and differences that
//! may be looked at as often as one likes.
//!
//! [`Units`] are filled from logs ([`read_logs`]) or from a file (by the caller), and [`judge`] makes the [`Report`].
//! Everything but reading is a pure function of the units, in the order in which they came. Not here: assigning people to
//! arms (`augur_decision`).

pub mod interval;
mod logs;
mod moments;
mod page;
pub mod ratio;
mod report;
pub mod sequential;
mod text;
mod units;

pub use logs::{Declared, Declares, Enrolments, Joined, LogQuery, MAX_OUTCOMES, read_logs};
pub use report::{ArmReport, Comparison, Differences, Report, Settings, judge};
pub use units::{MAX_ARMS, MAX_UNITS, UnitId, Units};

/// Why a report cannot be made.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Problem {
    /// A feature that a policy does not know.
    #[error("there is no feature `{name}`; expected one of {known}")]
    UnknownFeature {
        /// As it was asked for.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// More units than are kept.
    #[error(
        "there are more than {limit} units; report on a share of them, such as those whose hashed id ends in 0"
    )]
    TooManyUnits {
        /// The bound.
        limit: usize,
    },
    /// More arms than an experiment has.
    #[error("`{found}` would be one arm more than {limit}; is the column of arms the right one?")]
    TooManyArms {
        /// The bound.
        limit: usize,
        /// The arm too many.
        found: String,
    },
    /// More outcomes than are kept.
    #[error("there are more than {limit} outcomes of this kind; give an earlier `until` or a later `from`")]
    TooManyOutcomes {
        /// The bound.
        limit: usize,
    },
    /// Nobody is in it.
    #[error("no unit was enrolled{hint}")]
    NoUnits {
        /// What there is instead.
        hint: String,
    },
    /// An arm that is not there.
    #[error("arm `{name}` is not among {known}")]
    UnknownArm {
        /// The arm asked for.
        name: String,
        /// The arms that are there.
        known: String,
    },
    /// An arm without a declared weight, or with one that cannot be.
    #[error("the weight of arm `{arm}` is {found}; expected a positive number for every arm")]
    Weight {
        /// The arm.
        arm: String,
        /// Its weight.
        found: String,
    },
    /// A setting out of its bounds.
    #[error("{setting} is {found}; expected {expected}")]
    Setting {
        /// Which.
        setting: &'static str,
        /// Its value.
        found: String,
        /// Its bounds.
        expected: &'static str,
    },
}
