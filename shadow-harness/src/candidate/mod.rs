//! Decides a log again under another policy or other models, and says what would have been different, for whom and why.
//!
//! Inputs are those that were logged, except for what decisions themselves cause: which exposures count against caps, and
//! what is spent of budgets, is carried from one decision of the candidate to the next ([`carry`](self)). Not here: deciding again as it was
//! (`verify`), which is the control that every difference found here leans on.

mod affected;
mod carry;
mod cause;
mod direct;
mod labels;
mod models;
mod page;
mod report;
mod run;

pub use affected::{ActionOutcomes, Came};
pub use cause::Cause;
pub use labels::Label;
pub use models::PinnedVersion;
pub use report::{
    ActionCount, ActionView, ArmFlips, Bar, Both, CandidateReport, Control, Distribution, Example, Flips,
    GateOutcome, Gates, Measure, Measured, Passing, Percentiles, Quality, Quantile, ScoreGates, ScoreShift,
    SegmentBy, SegmentFlips, Side, Subject, Timing, Uncompared, Validity, Verdict,
};
pub use run::{CandidateOptions, Edit, Exposures, replay_candidate};
