//! What decisions were worth: outcomes joined to their decisions on read, and made into one reward each by a declared rule.
//!
//! A rule is never stored with an outcome, so it can be changed and the same log read again. Not here: estimating what
//! another policy would have been worth (`off_policy`).

mod join;
mod rule;

pub use join::{JoinCounts, JoinedReward, Rewards};
pub use rule::{RewardFile, RewardRule, Take};
