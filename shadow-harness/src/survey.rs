//! What a log holds, by segment, and everything that is wrong with it: every checksum, sequence, record, hash and index is
//! looked at, nothing is decided again.
//!
//! Not here: deciding again (`verify`).

use std::collections::BTreeMap;
use std::path::Path;

use augur_decision_log::{
    Error as LogError, Hold, Position, Record, Seals, SegmentedReader, check_seals, holds, unreadable,
};
use augur_domain::{DecisionRecord, OutcomeRecord, Timestamp};
use serde::{Serialize, Serializer};

use crate::Error;
use crate::report::{EXIT_CORRUPT, EXIT_EMPTY, EXIT_TRUNCATED};

/// Faults that are told one by one; further ones are counted.
const MAX_FAULTS: usize = 20;
/// Names of points, actions and policies that are counted one by one; others are counted together.
const MAX_NAMES: usize = 1_000;
/// What names beyond that are counted as.
const OTHERS: &str = "(others)";
/// Records between two calls of `progress`.
const PROGRESS_EVERY: u64 = 4_096;

/// One file of the log.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SegmentSurvey {
    /// The sequence that names it.
    pub base: u64,
    /// Readable records in it.
    pub records: u64,
    /// Its size, space reserved for records to come included.
    pub file_bytes: u64,
    /// Whether it is sealed.
    pub sealed: bool,
    /// Bytes of its readable records.
    pub record_bytes: u64,
    /// Instant of its first readable decision.
    #[serde(serialize_with = "instant")]
    pub first_at: Option<Timestamp>,
    /// Instant of its last readable decision.
    #[serde(serialize_with = "instant")]
    pub last_at: Option<Timestamp>,
}

fn instant<S: Serializer>(instant: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match instant {
        Some(instant) => serializer.collect_str(instant),
        None => serializer.serialize_none(),
    }
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Survey {
    /// Readable records.
    pub records: u64,
    /// Bytes of them.
    pub record_bytes: u64,
    /// Where the log begins: 1, unless its first segments were removed.
    pub first_sequence: u64,
    /// Segments removed.
    pub removed_segments: u64,
    /// The latest instant of a record in them.
    #[serde(serialize_with = "instant")]
    pub removed_until: Option<Timestamp>,
    /// What is held by name: the first record that each still needs.
    pub holds: BTreeMap<String, u64>,
    /// Hash of the last sealed segment, by which a copy elsewhere tells whether the log was made anew.
    pub last_hash: Option<String>,
    /// In ascending order.
    pub segments: Vec<SegmentSurvey>,
    /// Decisions by decision point; of outcomes by kind.
    pub points: BTreeMap<String, u64>,
    /// By the action given.
    pub actions: BTreeMap<String, u64>,
    /// By rung.
    pub rungs: BTreeMap<String, u64>,
    /// By policy.
    pub policies: BTreeMap<String, u64>,
    /// Places where records cannot be read or are missing.
    pub faults: u64,
    /// The first of them.
    pub first_faults: Vec<String>,
    /// Records that were passed over, as far as sequences tell.
    pub lost_records: u64,
    /// The unfinished record at the end, if there is one: what a crash leaves.
    pub truncated_tail: Option<String>,
}

impl Survey {
    /// 0 for a whole log, 4 for damage or missing records, 6 for a torn tail, 7 for none.
    pub fn exit_code(&self) -> u8 {
        if self.faults > 0 {
            EXIT_CORRUPT
        } else if self.records == 0 {
            EXIT_EMPTY
        } else if self.truncated_tail.is_some() {
            EXIT_TRUNCATED
        } else {
            0
        }
    }

    fn take<R: Record>(&mut self, segment: u64, record: &R, bytes: u64) {
        self.records += 1;
        self.record_bytes += bytes;
        let at = Some(record.made_at());
        match self.segments.last_mut().filter(|last| last.base == segment) {
            Some(last) => {
                last.records += 1;
                last.record_bytes += bytes;
                last.last_at = at;
            }
            None => self.segments.push(SegmentSurvey {
                base: segment,
                records: 1,
                file_bytes: 0,
                sealed: false,
                record_bytes: bytes,
                first_at: at,
                last_at: at,
            }),
        }
    }

    fn count_decision(&mut self, record: &DecisionRecord) {
        count(&mut self.points, &record.inputs.decision_point);
        count(&mut self.actions, &record.decision.action);
        count(&mut self.rungs, record.decision.rung.as_str());
        count(&mut self.policies, &record.policy.to_string());
    }

    /// What the sealed segments say, and what is held.
    fn add_seals(&mut self, seals: Seals, holds: Vec<Hold>) {
        let Seals { anchor, last_hash, faults, unsound, .. } = seals;
        self.first_sequence = anchor.first_sequence;
        self.removed_segments = anchor.removed_segments;
        self.removed_until = (anchor.removed_segments > 0).then_some(anchor.removed_until);
        self.last_hash = last_hash.map(|hash| hash.to_string());
        self.holds = holds.into_iter().map(|hold| (hold.name, hold.first_sequence)).collect();
        let untold = unsound.saturating_sub(faults.len() as u64);
        for fault in faults {
            self.fault(&fault.error);
        }
        self.faults += untold;
    }

    fn fault(&mut self, error: &LogError) {
        self.faults += 1;
        if self.first_faults.len() < MAX_FAULTS {
            self.first_faults.push(error.to_string());
        }
    }
}

fn count(counts: &mut BTreeMap<String, u64>, name: &str) {
    let name = if counts.contains_key(name) || counts.len() < MAX_NAMES { name } else { OTHERS };
    *counts.entry(name.to_owned()).or_default() += 1;
}

/// Reads the log of decisions in `dir` from its beginning to its end as of now, going on behind damage. `progress` is told
/// the number of records now and then. Memory does not grow with the log.
///
/// # Errors
/// [`Error::Log`] when the directory cannot be listed, a file cannot be read, or a later version wrote it.
pub fn survey(dir: &Path, progress: &dyn Fn(u64)) -> Result<Survey, Error> {
    survey_of::<DecisionRecord>(dir, progress, Survey::count_decision)
}

/// As [`survey`], of the log of outcomes.
///
/// # Errors
/// As [`survey`].
pub fn survey_outcomes(dir: &Path, progress: &dyn Fn(u64)) -> Result<Survey, Error> {
    survey_of::<OutcomeRecord>(dir, progress, |found, record| count(&mut found.points, record.kind.as_str()))
}

fn survey_of<R: Record>(
    dir: &Path,
    progress: &dyn Fn(u64),
    add: impl Fn(&mut Survey, &R),
) -> Result<Survey, Error> {
    let mut reader = SegmentedReader::<R>::open(dir)?;
    let mut found = Survey::default();
    loop {
        let next = reader.next_bytes();
        let next =
            next.map(|next| next.map(|(position, bytes)| (position, bytes.len() as u64, R::decode(bytes))));
        match next {
            Ok(None) => break,
            Ok(Some((position, bytes, Ok(record)))) => {
                found.take(position.segment, &record, bytes);
                add(&mut found, &record);
                if found.records.is_multiple_of(PROGRESS_EVERY) {
                    progress(found.records);
                }
            }
            // An intact frame whose record cannot be read is passed over already.
            Ok(Some((position, _, Err(error)))) => {
                let error = unreadable(dir, position, error);
                if matches!(error, LogError::UnsupportedVersion { .. }) {
                    return Err(error.into());
                }
                found.fault(&error);
                found.lost_records += 1;
            }
            Err(error @ LogError::TruncatedTail { .. }) => {
                found.truncated_tail = Some(error.to_string());
                break;
            }
            // What was removed meanwhile is not missing.
            Err(LogError::Removed { .. }) => {
                if reader.skip_damage()?.is_none() {
                    break;
                }
            }
            Err(error @ (LogError::Corrupted { .. } | LogError::Gap { .. })) => {
                found.fault(&error);
                match reader.skip_damage()? {
                    Some(lost) => found.lost_records += lost,
                    None => break,
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    progress(found.records);
    let seals = check_seals::<R>(dir, &|_| ())?;
    found.add_seals(seals, holds(dir)?);
    for segment in &mut found.segments {
        let place = Position { sequence: segment.base, segment: segment.base, offset: 0 };
        segment.file_bytes = std::fs::metadata(place.file(dir)).map_or(0, |metadata| metadata.len());
        segment.sealed = place.is_sealed::<R>(dir);
    }
    Ok(found)
}
