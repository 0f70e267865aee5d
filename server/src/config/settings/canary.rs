//! The keys of `[canary]`.
//!
//! Not here: what they do (`crate::arms`, `crate::canaries`).

use super::{Problem, Written};
use crate::config;

/// The section's keys, in the order of the shipped file.
pub(in crate::config) const KEYS: &[&str] = &["roll_back", "false_alarm", "margin", "slow_us"];

pub(super) fn set(canary: &mut config::Canary, key: &str, value: &Written<'_>) -> Result<(), Problem> {
    match key {
        "roll_back" => canary.roll_back = value.boolean()?,
        "false_alarm" => canary.false_alarm = value.probability()?,
        "margin" => canary.margin = value.ratio()?,
        _ => canary.slow_us = u32::try_from(value.whole(1, 60_000_000)?).unwrap_or(u32::MAX),
    }
    Ok(())
}
