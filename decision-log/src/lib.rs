//! The append-only logs of decisions and of what came of them: the records' bytes, the segments that hold them, one
//! writer, any number of readers.
//!
//! Not here: deciding again from a record (`shadow-harness`), what a record means (`augur_domain::decision`), or
//! what a caller does when the log cannot be written (`server`).
//!
//! A directory holds segments named by the sequence of their first record, `000000000001.log`, and a `LOCK`
//! file. [`SegmentedLog`] is the one writer, [`SegmentedReader`] never changes a byte and may follow a log that is being written.
//! Full segments are sealed: compressed, indexed and chained. The bytes of a segment are described in the modules
//! `header`, `segment` and `sealed`, those of a record in [`codec`].

#![cfg_attr(test, allow(clippy::float_cmp, reason = "replay is about exact bits"))]

mod anchor;
mod backlog;
mod bases;
pub mod codec;
mod config;
mod disk;
mod error;
mod file;
mod format;
mod header;
mod holds;
mod live_shadow;
mod log;
mod outcome;
mod queue;
mod reader;
mod recovery;
mod retention;
#[cfg(test)]
mod samples;
mod scan;
mod sealed;
mod sealer;
mod segment;
mod syncer;
#[cfg(test)]
mod testing;
mod writer;

pub use anchor::Anchor;
pub use config::{Clock, Config, Durability, Retention};
pub use error::Error;
pub use format::{Entry, Format, Record};
pub use holds::{Hold, hold, holds, release};
pub use log::{Recovery, SegmentedLog, Stats, TruncatedTail};
pub use reader::{Position, SegmentedReader, sealed_hash, unreadable};
pub use sealed::{SealFault, Seals, check_seals, find_decision};

use augur_domain::DecisionRecord;
use augur_domain::ShadowRecord;
use augur_domain::outcome::OutcomeRecord;

/// The log of decisions.
pub type Log = SegmentedLog<DecisionRecord>;
/// Reads the log of decisions.
pub type Reader = SegmentedReader<DecisionRecord>;
/// The log of outcomes.
pub type OutcomeLog = SegmentedLog<OutcomeRecord>;
/// Reads the log of outcomes.
pub type OutcomeReader = SegmentedReader<OutcomeRecord>;
/// The log of what candidates made of decisions.
pub type ShadowLog = SegmentedLog<ShadowRecord>;
/// Reads the log of what candidates made of decisions.
pub type ShadowReader = SegmentedReader<ShadowRecord>;
