//! The policy file and the decision function, used as their callers use them.
//!
//! Not here: the language of expressions, or how models score; their own crates test them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::float_cmp,
    clippy::allow_attributes,
    reason = "tests fail by panicking and compare bits on purpose"
)]

mod bad_limits;
mod bad_policies;
mod bad_rules;
mod cases;
mod consent;
mod declared_values;
mod diversity;
mod experiments;
mod explanations;
mod exploration;
mod ladder;
mod limits;
mod lints;
mod loading;
mod properties;
mod rule_objects;
mod segments;
mod sorting_lints;
mod support;
mod table_lints;
mod tables;
mod tests_in_files;
mod typed_features;
