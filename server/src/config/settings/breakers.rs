//! The keys of `[breakers]`.
//!
//! Not here: what they do (`crate::breaker`).

use super::{Problem, Written};
use crate::breaker::Mode;
use crate::config;

/// The section's keys, in the order of the shipped file.
pub(in crate::config) const KEYS: &[&str] = &[
    "features",
    "models",
    "log",
    "features_slow_after",
    "models_slow_after",
    "log_slow_after",
    "window",
    "minimum_calls",
    "failed_share",
    "slow_share",
    "consecutive_failures",
    "open_for",
    "max_open_for",
    "probes",
    "probe_timeout",
];

/// A share that no calls reach.
const NEVER: f64 = 2.0;

pub(super) fn set(breakers: &mut config::Breakers, key: &str, value: &Written<'_>) -> Result<(), Problem> {
    let mode = || value.choice(&[("on", Mode::Automatic), ("metrics_only", Mode::MetricsOnly)]);
    let share = || value.ratio().map(|share| if share > 0.0 { share } else { NEVER });
    let number = |most| value.whole(1, most).map(|number| u32::try_from(number).unwrap_or(1));
    let common = &mut breakers.common;
    match key {
        "features" => breakers.features = mode()?,
        "models" => breakers.models = mode()?,
        "log" => breakers.log = mode()?,
        "features_slow_after" => breakers.features_slow_after = value.length("1m")?,
        "models_slow_after" => breakers.models_slow_after = value.length("1m")?,
        "log_slow_after" => breakers.log_slow_after = value.length("1m")?,
        "window" => common.window = value.length("10m")?,
        "minimum_calls" => common.minimum_calls = value.whole(1, 1_000_000)?,
        "failed_share" => common.failed_share = share()?,
        "slow_share" => common.slow_share = share()?,
        "consecutive_failures" => {
            common.consecutive_failures = u32::try_from(value.whole(0, 1_000_000)?).unwrap_or_default();
        }
        "open_for" => common.open_for = value.length("10m")?,
        "max_open_for" => common.max_open_for = value.length("1h")?,
        "probes" => common.probes = number(1_000)?,
        _ => common.probe_timeout = value.length("10m")?,
    }
    Ok(())
}
