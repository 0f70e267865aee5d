//! The keys of `[monitor]`.
//!
//! Not here: what they do (`crate::drift`, `crate::offline`).

use super::{Problem, Written};
use crate::config;

/// The section's keys, in the order of the shipped file.
pub(in crate::config) const KEYS: &[&str] =
    &["psi", "ks", "missing", "calibration", "false_alarm", "sample", "window_decisions"];

pub(super) fn set(monitor: &mut config::Monitor, key: &str, value: &Written<'_>) -> Result<(), Problem> {
    match key {
        "psi" => monitor.psi = value.ratio()?,
        "ks" => monitor.ks = value.ratio()?,
        "missing" => monitor.missing = value.ratio()?,
        "calibration" => monitor.calibration = value.ratio()?,
        "false_alarm" => monitor.false_alarm = value.probability()?,
        "sample" => monitor.sample = value.whole(0, 1_000_000)?,
        _ => monitor.window_decisions = value.whole(100, 10_000_000)?,
    }
    Ok(())
}
