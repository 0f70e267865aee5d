//! The server over a real socket: what callers see, what survives, and what is refused.
//!
//! One binary with one file per concern; `served` starts and stops servers. Not here: load or throughput.

#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::float_cmp,
        reason = "tests fail by panicking"
    )
)]

mod access;
mod administration;
mod bad_input;
mod bulk;
mod canaries;
mod caps;
mod experiments;
mod idempotency;
mod identity;
mod ladder;
mod main_path;
mod models;
mod monitoring;
mod outcomes;
mod past;
mod policies;
mod privacy;
mod profiles;
mod quarantine;
mod reads;
mod replay;
mod restart;
mod retention;
mod served;
mod streams;
mod taxonomy;
mod versions;
