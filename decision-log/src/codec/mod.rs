//! The bytes of a record.

use augur_domain::{Decision, DecisionInputs, DecisionRecord};

use crate::error::Error;

/// The version written.
pub const RECORD_VERSION: u16 = 1;

/// Appends the bytes of `record` to `out`.
pub fn encode_record(record: &DecisionRecord, out: &mut Vec<u8>) {
    let _ = (record, out);
}

/// Appends the bytes of `inputs` to `out`.
pub fn encode_inputs(inputs: &DecisionInputs, out: &mut Vec<u8>) {
    let _ = (inputs, out);
}

/// Appends the bytes of `decision` to `out`. Equal bytes are equal decisions, floats compared by bits.
pub fn encode_decision(decision: &Decision, out: &mut Vec<u8>) {
    let _ = (decision, out);
}

/// Reads a record.
///
/// # Errors
/// [`Error::Malformed`] or [`Error::RecordVersion`].
pub fn decode_record(bytes: &[u8]) -> Result<DecisionRecord, Error> {
    Err(Error::RecordVersion { found: bytes.len() as u16, supported: RECORD_VERSION })
}

/// Reads a decision.
///
/// # Errors
/// [`Error::Malformed`].
pub fn decode_decision(bytes: &[u8]) -> Result<Decision, Error> {
    let _ = bytes;
    Err(Error::RecordVersion { found: 0, supported: RECORD_VERSION })
}

/// Reads inputs.
///
/// # Errors
/// [`Error::Malformed`].
pub fn decode_inputs(bytes: &[u8]) -> Result<DecisionInputs, Error> {
    let _ = bytes;
    Err(Error::RecordVersion { found: 0, supported: RECORD_VERSION })
}
