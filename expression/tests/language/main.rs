//! The language from outside: what expressions mean, what is refused and in which words, and agreement with two
//! other evaluators on generated expressions.
//!
//! Not here: speed (`benches/evaluate.rs`).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::float_cmp,
    reason = "tests may fail loudly and compare bits"
)]

mod agreement;
mod cases;
mod english;
mod meaning;
mod reference;
mod refusals;
mod sample;
mod shop;
mod types;
