//! Features of logged decisions, made again from the event log, and how they differ from what was logged: the skew.
//!
//! A decision that saw all events that had happened, under definitions that have not changed, comes out the same to the
//! bit. What differs has a cause, and it is told: an event that came late, one that was taken back, an id that was linked,
//! another definition. Decisions that would have come out otherwise are decided again by the policy that decided.
//!
//! The decision log is in the order of time, the event log in the order of users. So decisions are sorted by user first,
//! outside memory where they do not fit ([`spool`](self)), and both are read once. Not here: applying events
//! (`augur_feature_store::Recomputer`).

mod compare;
mod definitions;
mod report;
mod run;
mod spool;

pub use report::{FeatureSkew, FlipExample, NotCompared, SkewExample, SkewKind, SkewReport};
pub use run::{Phase, RecomputeOptions, Visibility, replay_recomputed};
