//! What keeps a replay or a report from coming to a verdict at all.
//!
//! Not here: what a replay finds. Damage, differences and missing policies are findings and stand in the report.

/// A failure of the replay itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The log could not be read, or was written by a later version.
    #[error(transparent)]
    Log(#[from] augur_decision_log::Error),
    /// More threads than any machine has.
    #[error("{found} threads were asked for; expected 1 to {limit}, or 0 for one per core")]
    TooManyThreads {
        /// The number asked for.
        found: usize,
        /// The bound.
        limit: usize,
    },
    /// The file that notes how far a verification is cannot be used.
    #[error("cannot use {}: {problem}; expected what an earlier verification wrote, remove it to begin anew", .path.display())]
    ProgressFile {
        /// The file.
        path: std::path::PathBuf,
        /// Why not.
        problem: String,
    },
    /// The event log could not be read.
    #[error(transparent)]
    Store(#[from] augur_feature_store::Error),
    /// Feature definitions that cannot be used.
    #[error("the feature definitions cannot be used:\n{}", joined(.0))]
    Definitions(Vec<augur_domain::Diagnostic>),
    /// A file of decisions being sorted could not be written or read again.
    #[error("cannot sort decisions in {}: {source}", .path.display())]
    Spool {
        /// The file.
        path: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// So little memory that the log falls into too many parts.
    #[error("the log falls into more than {runs} parts of {given} bytes; expected more memory")]
    TooLittleMemory {
        /// Bytes of a part.
        given: usize,
        /// The bound.
        runs: usize,
    },
    /// No report of an experiment can be made.
    #[error(transparent)]
    Experiment(#[from] crate::experiment::Problem),
    /// A thread ended before its work was done; a bug of this program.
    #[error("a replay thread died before it was done; please report this with the log that caused it")]
    ThreadDied,
}

fn joined(complaints: &[augur_domain::Diagnostic]) -> String {
    let lines: Vec<_> = complaints.iter().map(ToString::to_string).collect();
    lines.join("\n")
}
