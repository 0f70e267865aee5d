//! The bytes of a record, deterministic: equal values give equal bytes, and a decoder accepts only bytes that an
//! encoder could have written.
//!
//! Not here: frames and checksums (`segment`), or the meaning of the fields (`augur_domain::decision`).
//!
//! Everything is little-endian. A record of any version begins with `version u16 | sequence u64`; versions 1 and 2
//! go on with `policy [32]` and five sections, each a `length u32` and that many bytes:
//!
//! | section | content |
//! | --- | --- |
//! | `models` | list of (alias text, name text, version u32, artifact \[32\]) |
//! | `request` | the request as received |
//! | `inputs` | see `codec/inputs.rs` |
//! | `decision` | see `codec/decision.rs` |
//! | `observed` | `read_us u32`, `decide_us u32` |
//!
//! A text is `length u32` and UTF-8; a list is `count u32` and its items; an optional is `0`, or `1` and the value;
//! floats are their IEEE 754 bits; instants are `i64` milliseconds since the epoch. Nothing may follow the last
//! field of a section or of the record. Sections let a replay compare `decision` bytes without decoding them.
//!
//! Version 2 has texts among the features, version 1 has none; versions 3 and 4 are 1 and 2 of decisions that were part
//! of a canary, with a sixth section, `canary`: (name text, version u32, artifact \[32\], salt \[32\], share u32 in parts
//! per million, arm u8); versions 5 to 8 are 1 to 4 of decisions whose `inputs` or `decision` go on behind what the earlier
//! versions know: the person, budgets, experiments and whatever else came with them; versions 9 and 10, without and with
//! a canary, are of decisions that a fallback ladder asked how much time was left, and hold all that the others do. A
//! record is written in the lowest version that can hold it, so that equal records have equal bytes.

mod decision;
mod inputs;
pub(crate) mod read;
pub(crate) mod write;

use std::sync::Arc;

use augur_domain::canary::{Arm, CanaryArm};
use augur_domain::decision::Observed;
use augur_domain::{ContentHash, Decision, DecisionInputs, DecisionRecord, ModelRef};

use crate::error::Error;
use read::Cursor;
use write::{Put, SectionStart};

/// The latest version. Records are written in the lowest version that can hold them.
pub const RECORD_VERSION: u16 = 10;
/// The first version.
const FIRST_VERSION: u16 = 1;
/// Added to the version of a decision that was part of a canary.
const WITH_CANARY: u16 = 2;
/// Added to the version of a decision of which earlier versions cannot hold all.
const WITH_MORE: u16 = 4;
/// The first version with the time that was left; its `inputs` hold texts and more whether there are any or not.
const TIMED: u16 = 9;
/// Bytes before the first field whose place depends on the version: `version`, `sequence`.
pub(crate) const PREFIX_BYTES: usize = 10;
/// Where the sequence lies.
const SEQUENCE_AT: usize = 2;

/// Appends the bytes of `record` to `out`.
pub fn encode_record(record: &DecisionRecord, out: &mut Vec<u8>) {
    out.put_u16(version_of(record));
    out.put_u64(record.sequence);
    out.put_bytes(record.policy.as_bytes());
    section(out, |out| encode_models(&record.models, out));
    section(out, |out| out.put_bytes(&record.request));
    section(out, |out| encode_inputs(&record.inputs, out));
    section(out, |out| encode_decision(&record.decision, out));
    section(out, |out| {
        out.put_u32(record.observed.read_us);
        out.put_u32(record.observed.decide_us);
    });
    if let Some(canary) = &record.canary {
        section(out, |out| {
            out.put_model(&canary.challenger);
            out.put_bytes(canary.salt.as_bytes());
            out.put_u32(canary.share_ppm);
            out.put_u8(canary.arm as u8);
        });
    }
}

fn version_of(record: &DecisionRecord) -> u16 {
    if record.inputs.time_left_us.is_some() {
        return TIMED + u16::from(record.canary.is_some());
    }
    let texts = u16::from(!record.inputs.features.texts.is_empty());
    let canary = if record.canary.is_some() { WITH_CANARY } else { 0 };
    let more = inputs::has_more(&record.inputs) || decision::has_more(&record.decision);
    FIRST_VERSION + texts + canary + if more { WITH_MORE } else { 0 }
}

/// Whether a record of this version was part of a canary.
const fn has_canary(version: u16) -> bool {
    if is_timed(version) {
        return version > TIMED;
    }
    (version - FIRST_VERSION) & WITH_CANARY != 0
}

/// Whether inputs or decision of a record of this version go on behind what earlier versions know.
const fn may_have_more(version: u16) -> bool {
    version >= FIRST_VERSION + WITH_MORE
}

/// Whether a record of this version tells how much time was left.
const fn is_timed(version: u16) -> bool {
    version >= TIMED
}

/// Whether a record of this version has texts among the features; one that is timed may have some.
const fn has_texts(version: u16) -> bool {
    version.is_multiple_of(2)
}

/// Appends the bytes of `inputs` to `out`: the `inputs` section of a record.
pub fn encode_inputs(inputs: &DecisionInputs, out: &mut Vec<u8>) {
    inputs::encode(inputs, out);
}

/// Appends the bytes of `decision` to `out`: the `decision` section of a record. Equal bytes are equal decisions,
/// floats compared by their bits.
pub fn encode_decision(decision: &Decision, out: &mut Vec<u8>) {
    decision::encode(decision, out);
}

/// Appends the bytes of the models behind a policy's aliases to `out`: the `models` section of a record.
pub fn encode_models(models: &[(Arc<str>, ModelRef)], out: &mut Vec<u8>) {
    out.put_count(models.len());
    for (alias, model) in models {
        out.put_text(alias);
        out.put_model(model);
    }
}

/// Reads a record.
///
/// # Errors
/// [`Error::RecordVersion`] when it was written by a later version, [`Error::Malformed`] when no encoder could
/// have written these bytes.
pub fn decode_record(bytes: &[u8]) -> Result<DecisionRecord, Error> {
    RecordView::parse(bytes)?.decode()
}

/// Reads the `inputs` section of a record of this `version`.
///
/// # Errors
/// [`Error::Malformed`], its offset counted from the start of the section.
pub fn decode_inputs(version: u16, bytes: &[u8]) -> Result<DecisionInputs, Error> {
    Cursor::new(bytes, 0).whole("inputs", |cursor| inputs::decode(cursor, version))
}

/// Reads the `decision` section of a record.
///
/// # Errors
/// [`Error::Malformed`], its offset counted from the start of the section.
pub fn decode_decision(bytes: &[u8]) -> Result<Decision, Error> {
    Cursor::new(bytes, 0).whole("decision", |cursor| decision::decode(cursor, true))
}

/// Reads the `models` section of a record.
///
/// # Errors
/// [`Error::Malformed`], its offset counted from the start of the section.
pub fn decode_models(bytes: &[u8]) -> Result<Vec<(Arc<str>, ModelRef)>, Error> {
    Cursor::new(bytes, 0).whole("models", models)
}

/// A record with its sections found but not decoded: what a replay compares and skips costs nothing.
#[derive(Debug, Clone, Copy)]
pub struct RecordView<'a> {
    /// Position in the log, counted from 1.
    pub sequence: u64,
    /// The policy that decided.
    pub policy: ContentHash,
    version: u16,
    models: Section<'a>,
    request: Section<'a>,
    inputs: Section<'a>,
    decision: Section<'a>,
    observed: Section<'a>,
    canary: Option<Section<'a>>,
}

/// Bytes of a section and where they begin in the record.
#[derive(Debug, Clone, Copy)]
struct Section<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Section<'a> {
    fn cursor(self) -> Cursor<'a> {
        Cursor::new(self.bytes, self.at)
    }
}

impl<'a> RecordView<'a> {
    /// Finds the sections of a record without reading into them.
    ///
    /// # Errors
    /// As [`decode_record`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let mut cursor = Cursor::new(bytes, 0);
        let version = cursor.u16("version")?;
        if !(FIRST_VERSION..=RECORD_VERSION).contains(&version) {
            return Err(Error::RecordVersion { found: version, supported: RECORD_VERSION });
        }
        let view = Self {
            sequence: cursor.u64("sequence")?,
            policy: ContentHash::from_bytes(cursor.array("policy")?),
            version,
            models: take_section(&mut cursor, "models")?,
            request: take_section(&mut cursor, "request")?,
            inputs: take_section(&mut cursor, "inputs")?,
            decision: take_section(&mut cursor, "decision")?,
            observed: take_section(&mut cursor, "observed")?,
            canary: if has_canary(version) { Some(take_section(&mut cursor, "canary")?) } else { None },
        };
        cursor.finish("record")?;
        Ok(view)
    }

    /// The bytes of the models behind the policy's aliases.
    pub const fn models_bytes(&self) -> &'a [u8] {
        self.models.bytes
    }

    /// The request as received.
    pub const fn request(&self) -> &'a [u8] {
        self.request.bytes
    }

    /// The bytes of the inputs.
    pub const fn inputs_bytes(&self) -> &'a [u8] {
        self.inputs.bytes
    }

    /// The bytes of the answer, to compare with those of another.
    pub const fn decision_bytes(&self) -> &'a [u8] {
        self.decision.bytes
    }

    /// The exact model behind each alias.
    ///
    /// # Errors
    /// [`Error::Malformed`], as for the other sections, with the offset counted from the start of the record.
    pub fn models(&self) -> Result<Vec<(Arc<str>, ModelRef)>, Error> {
        self.models.cursor().whole("models", models)
    }

    /// What the decision depended on.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    pub fn inputs(&self) -> Result<DecisionInputs, Error> {
        let version = self.version;
        self.inputs.cursor().whole("inputs", |cursor| inputs::decode(cursor, version))
    }

    /// The canary that the decision was part of, if it was.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    pub fn canary(&self) -> Result<Option<CanaryArm>, Error> {
        let decode = |section: Section<'_>| section.cursor().whole("canary", canary);
        self.canary.map(decode).transpose()
    }

    /// The answer.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    pub fn decision(&self) -> Result<Decision, Error> {
        let may_have_more = may_have_more(self.version);
        self.decision.cursor().whole("decision", |cursor| decision::decode(cursor, may_have_more))
    }

    /// What was measured.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    pub fn observed(&self) -> Result<Observed, Error> {
        self.observed.cursor().whole("observed", |cursor| {
            let read_us = cursor.u32("observed.read_us")?;
            Ok(Observed { read_us, decide_us: cursor.u32("observed.decide_us")? })
        })
    }

    /// The whole record.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    pub fn decode(&self) -> Result<DecisionRecord, Error> {
        let record = self.decode_sections()?;
        if version_of(&record) == self.version {
            return Ok(record);
        }
        let reason = format!("version {} holds all of it; expected {0} then", version_of(&record));
        Err(read::malformed("version", 0, reason))
    }

    fn decode_sections(&self) -> Result<DecisionRecord, Error> {
        Ok(DecisionRecord {
            sequence: self.sequence,
            policy: self.policy,
            models: self.models()?,
            request: self.request.bytes.to_vec(),
            inputs: self.inputs()?,
            canary: self.canary()?,
            decision: self.decision()?,
            observed: self.observed()?,
        })
    }
}

/// Writes `sequence` into the record that begins at `record`; whatever its version, its place is the same.
pub(crate) fn set_sequence(record: &mut [u8], sequence: u64) {
    if let Some(place) = record.get_mut(SEQUENCE_AT..PREFIX_BYTES) {
        place.copy_from_slice(&sequence.to_le_bytes());
    }
}

/// The sequence of a record of any version, if there are enough bytes for one.
pub(crate) fn sequence_of(record: &[u8]) -> Option<u64> {
    record.get(SEQUENCE_AT..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

/// Writes a section: its length, then what `fill` writes.
fn section(out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
    let start = SectionStart::begin(out);
    fill(out);
    start.end(out);
}

fn take_section<'a>(cursor: &mut Cursor<'a>, field: &'static str) -> Result<Section<'a>, Error> {
    let length = cursor.u32(field)?;
    let at = cursor.offset();
    Ok(Section { bytes: cursor.take(field, length as usize)?, at })
}

fn models(cursor: &mut Cursor<'_>) -> Result<Vec<(Arc<str>, ModelRef)>, Error> {
    cursor.list("models", 44, |cursor| {
        let alias = cursor.text("models.alias")?;
        Ok((alias, cursor.model("models.model")?))
    })
}

fn canary(cursor: &mut Cursor<'_>) -> Result<CanaryArm, Error> {
    let challenger = cursor.model("canary.challenger")?;
    let salt = ContentHash::from_bytes(cursor.array("canary.salt")?);
    let share_ppm = cursor.u32("canary.share_ppm")?;
    let arm = cursor.number("canary.arm", "an arm: 1 or 2", Arm::from_u8)?;
    Ok(CanaryArm { challenger, salt, share_ppm, arm })
}

#[cfg(test)]
mod tests;
