//! What tells one kind of log from another: the first bytes of its segments and what its records hold.
//!
//! Not here: the bytes of a decision (`codec`) or of an outcome (`outcome`), or of a segment (`segment`).

use augur_domain::{DecisionId, DecisionRecord, Timestamp};

use crate::codec;
use crate::error::Error;

/// One kind of log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    /// The first bytes of every segment.
    pub(crate) magic: [u8; 8],
    /// For messages and threads: `decision-log`.
    pub(crate) name: &'static str,
    /// The name of the thread that syncs.
    pub(crate) syncer: &'static str,
    /// The name of the thread that seals.
    pub(crate) sealer: &'static str,
}

/// What a log holds.
///
/// The bytes of a record of any kind and version begin with `version u16 | sequence u64`, little-endian; the log fills
/// in the sequence.
pub trait Record: Sized + Send + 'static {
    /// The kind of log that these records are in.
    const FORMAT: &'static Format;

    /// Appends its bytes to `out`.
    fn encode(&self, out: &mut Vec<u8>);

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// [`Error::RecordVersion`] when it was written by a later version, [`Error::Malformed`] when no encoder could have
    /// written these bytes.
    fn decode(bytes: &[u8]) -> Result<Self, Error>;

    /// The instant that it was made at.
    fn made_at(&self) -> Timestamp;

    /// The decision that it is of.
    fn decision(&self) -> DecisionId;

    /// What the index of a sealed segment knows of the record that these bytes are.
    ///
    /// # Errors
    /// As [`Self::decode`].
    fn entry(bytes: &[u8]) -> Result<Entry, Error> {
        let record = Self::decode(bytes)?;
        Ok(Entry { made_at: record.made_at(), decision: record.decision() })
    }
}

/// What an index knows of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The instant that it was made at.
    pub made_at: Timestamp,
    /// The decision that it is of.
    pub decision: DecisionId,
}

/// Decisions.
pub(crate) static DECISIONS: Format = Format {
    magic: *b"AUGURLOG",
    name: "decision-log",
    syncer: "decision-log-sync",
    sealer: "decision-log-seal",
};

impl Record for DecisionRecord {
    const FORMAT: &'static Format = &DECISIONS;

    fn encode(&self, out: &mut Vec<u8>) {
        codec::encode_record(self, out);
    }

    fn decode(bytes: &[u8]) -> Result<Self, Error> {
        codec::decode_record(bytes)
    }

    fn made_at(&self) -> Timestamp {
        self.inputs.now
    }

    fn decision(&self) -> DecisionId {
        self.inputs.decision_id
    }
}
