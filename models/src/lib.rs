//! Models: how one is written down, how it scores, how good it is, which version is in use, and (with the
//! feature `train`) how it is fitted.
//!
//! The scoring half ([`artifact`], [`scorer`], [`calibrate`], [`metrics`]) is pure: no clock, no I/O, sums in
//! index order, and every transcendental function through [`augur_domain::math`]. [`registry`] does I/O but
//! reads no clock: who and when are arguments. Not here: features (`feature-store`), decisions (`decision`).
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::float_cmp,
        clippy::allow_attributes,
        reason = "tests fail by panicking and compare bits on purpose"
    )
)]

pub mod artifact;
pub mod calibrate;
pub mod card;
pub mod drift;
mod error;
pub mod evaluation;
pub mod import;
pub mod metrics;
pub mod page;
pub mod registry;
pub mod scorer;
pub mod task;
#[cfg(feature = "train")]
pub mod train;
pub mod trees;

pub use artifact::Artifact;
pub use calibrate::Calibrator;
pub use error::Error;
pub use registry::Registry;
pub use scorer::Scorer;
pub use task::TaskDefinition;
