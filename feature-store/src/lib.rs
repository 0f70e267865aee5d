//! Per-user features of behaviour: declared in `features.toml`, kept by one pure function, stored exactly once.
//!
//! [`apply`] turns a state and an event into changes, online, in a rebuild and in a training export alike.
//! [`FeatureStore`] is what a server holds: events in through bounded queues, one writer thread per shard of
//! users, one atomic write per group of events, one point lookup per read.
//!
//! Not here: the network, validation of events, clocks (every read is told its `now`), models, rules.

#![cfg_attr(test, allow(clippy::float_cmp))]

mod aggregate;
mod answer;
mod bytes;
mod config;
mod error;
mod event_record;
#[cfg(feature = "export")]
mod export;
mod exposure;
mod feature_store;
mod generation;
mod identity;
mod ledger;
pub mod profile;
mod quarantine;
mod rebuild;
mod recompute;
mod retention;
mod schema;
mod state;
pub mod store;
pub mod tasks;
pub mod taxonomy;
#[cfg(test)]
mod testing;
mod training;
mod verify;
mod writer;

pub use answer::KeptAnswer;
pub use config::{Config, Progress, Stats};
pub use error::{DecodeError, Error};
pub use event_record::StoredEvent;
#[cfg(feature = "export")]
pub use export::{ExportOptions, Exported, export_parquet};
pub use exposure::ExposureGuard;
pub use feature_store::{BudgetGuard, ErasureReceipt, FeatureStore, Giving, OptOuts, Swept};
pub use generation::{BuildProgress, Definitions, GenerationStatus, Opening, Version};
pub use identity::{IdentityConfig, Incoming, Link, LinkOutcome, Person, SharedDevice};
pub use ledger::Spend;
pub use profile::Profile;
pub use quarantine::QuarantinedEvent;
pub use recompute::{Differing, PastRead, Recomputed, Recomputer, Standing, Unseen};
pub use retention::Retention;
pub use schema::{Context, Explanation, FeatureSchema, NoContext, PossibleValues};
pub use state::{Accuracy, Changes, UserState, apply, read_record, read_record_in_full};
pub use training::{Label, NumberedLabel, TrainingOptions, TrainingRow, TrainingRows};
#[cfg(feature = "export")]
pub use training::{LabelSorter, SortedLabels};
pub use verify::{DifferenceKind, FeatureDifference, Verdict};
