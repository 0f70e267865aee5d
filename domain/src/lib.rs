//! Plain data that two or more crates share: identifiers, time, events, feature vectors, decision
//! inputs and decisions, and the two deterministic tools they all lean on (`math`, `rng`).
//!
//! Not here: behaviour that waits, reads a clock, touches a disk or knows a wire format. A type moves
//! into this crate when a second crate needs it, not before.

#![cfg_attr(test, allow(clippy::float_cmp))]

pub mod assignment;
pub mod canary;
pub mod decision;
pub mod diagnostic;
pub mod distribution;
pub mod event;
pub mod event_name;
pub mod feature;
pub mod ids;
pub mod live_shadow;
pub mod math;
pub mod model;
pub mod outcome;
pub mod reason;
pub mod rng;
pub mod task;
pub mod time;
pub mod time_zone;
pub mod value;

pub use decision::{Decision, DecisionInputs, DecisionRecord};
pub use diagnostic::Diagnostic;
pub use event::Event;
pub use feature::{FeatureSet, FeatureStatus, FeatureVector};
pub use ids::{ContentHash, DecisionId, UserKey};
pub use live_shadow::ShadowRecord;
pub use model::ModelRef;
pub use outcome::{OutcomeKind, OutcomeRecord};
pub use reason::{Reason, ReasonCode};
pub use task::TaskKind;
pub use time::Timestamp;
pub use time_zone::TimeZone;
pub use value::{Value, ValueType};
