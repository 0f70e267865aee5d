//! Decides logged decisions again and says whether the answers are the same, byte for byte; estimates what another
//! policy would have been worth on such a log ([`off_policy`]); and says what came of experiments ([`experiment`]).
//!
//! Not here: deciding (`decision`), the log's bytes (`decision-log`), serving. [`verify`] is the control that every
//! later comparison leans on: as long as the old policy reproduces the old log to the bit, whatever differs under a
//! new one was caused by it.

pub mod approved;
pub mod candidate;
mod check;
mod difference;
mod error;
pub mod experiment;
pub mod live_shadow;
pub mod off_policy;
mod progress_file;
pub mod recomputed;
mod report;
pub mod reward;
mod source;
mod survey;
mod verify;

pub use difference::{Difference, FieldDifference, MAX_FIELDS, Stage};
pub use error::Error;
pub use report::{EXIT_ERROR, Fault, MAX_LISTED, TruncatedTail, Unverifiable, Verdict, VerifyReport};
pub use source::{DataDirectory, Missing, SnapshotSource};
pub use survey::{SegmentSurvey, Survey, survey, survey_outcomes};
pub use verify::{Options, verify};

/// A policy as it was read.
pub use augur_decision::{PolicySource, SourceFile};
/// The log itself, for who reads it record by record.
pub use augur_decision_log as decision_log;
