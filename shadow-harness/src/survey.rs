//! What a decision log holds, by segment, and everything that is wrong with it: every checksum, sequence and record is
//! looked at, nothing is decided again.
//!
//! Not here: deciding again (`verify`).

use std::collections::BTreeMap;
use std::path::Path;

use augur_decision_log::{Error as LogError, Reader};
use augur_domain::{DecisionRecord, Timestamp};
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
    /// In ascending order.
    pub segments: Vec<SegmentSurvey>,
    /// Decisions by decision point.
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

    fn take(&mut self, segment: u64, record: &DecisionRecord, bytes: u64) {
        self.records += 1;
        self.record_bytes += bytes;
        let at = Some(record.inputs.now);
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
                record_bytes: bytes,
                first_at: at,
                last_at: at,
            }),
        }
        count(&mut self.points, &record.inputs.decision_point);
        count(&mut self.actions, &record.decision.action);
        count(&mut self.rungs, record.decision.rung.as_str());
        count(&mut self.policies, &record.policy.to_string());
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

/// Reads the log in `dir` from its beginning to its end as of now, going on behind damage. `progress` is told the number
/// of records now and then. Memory does not grow with the log.
///
/// # Errors
/// [`Error::Log`] when the directory cannot be listed, a file cannot be read, or a later version wrote it.
pub fn survey(dir: &Path, progress: &dyn Fn(u64)) -> Result<Survey, Error> {
    let mut reader = Reader::open(dir)?;
    let mut found = Survey::default();
    loop {
        let next = reader.next_bytes().map(|next| {
            next.map(|(position, bytes)| {
                (position, bytes.len() as u64, augur_decision_log::codec::decode_record(bytes))
            })
        });
        match next {
            Ok(None) => break,
            Ok(Some((position, bytes, Ok(record)))) => {
                found.take(position.segment, &record, bytes);
                if found.records.is_multiple_of(PROGRESS_EVERY) {
                    progress(found.records);
                }
            }
            // An intact frame whose record cannot be read is passed over already.
            Ok(Some((position, _, Err(error)))) => {
                let error = augur_decision_log::unreadable(dir, position, error);
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
    for segment in &mut found.segments {
        let file = augur_decision_log::Position { sequence: 0, segment: segment.base, offset: 0 }.file(dir);
        segment.file_bytes = std::fs::metadata(file).map_or(0, |metadata| metadata.len());
    }
    Ok(found)
}
