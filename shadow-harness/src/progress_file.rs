//! Which segments a verification has replayed without a finding, so that the next one goes on from there.
//!
//! Not here: replaying (`verify`). Only sealed segments are noted, by their hash: others may still change. What had a
//! finding is replayed again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use augur_decision::ENGINE_VERSION;
use augur_decision_log::sealed_hash;
use augur_domain::DecisionRecord;
use serde::{Deserialize, Serialize};

use crate::check::{CleanTally, Tally};
use crate::error::Error;

const VERSION: u32 = 1;
/// The file is written at most this often: it names every segment.
const WRITE_INTERVAL: Duration = Duration::from_secs(1);
/// A file of more than this many bytes is not one of ours.
const MOST_BYTES: u64 = 1 << 30;

/// The file and what it says.
#[derive(Debug)]
pub(crate) struct ProgressFile {
    path: PathBuf,
    log_dir: PathBuf,
    noted: Noted,
    /// When the file was written last.
    written_at: Instant,
}

#[derive(Debug, Serialize, Deserialize)]
struct Noted {
    version: u32,
    /// Another engine has to decide everything again.
    engine_version: u32,
    /// By first sequence.
    segments: BTreeMap<u64, Segment>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Segment {
    /// Where the next segment began.
    until: u64,
    /// Hash of the sealed segment.
    hash: String,
    found: CleanTally,
}

impl ProgressFile {
    /// Reads the file if it is there; one of another version of the engine counts as empty.
    pub(crate) fn open(path: &Path, log_dir: &Path) -> Result<Self, Error> {
        let problem = |problem: String| Error::ProgressFile { path: path.to_owned(), problem };
        let empty = || Noted { version: VERSION, engine_version: ENGINE_VERSION, segments: BTreeMap::new() };
        let noted = match std::fs::metadata(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => empty(),
            Err(error) => return Err(problem(error.to_string())),
            Ok(data) if data.len() > MOST_BYTES => {
                return Err(problem("it is larger than any we write".to_owned()));
            }
            Ok(_) => {
                let bytes = std::fs::read(path).map_err(|error| problem(error.to_string()))?;
                let noted: Noted =
                    serde_json::from_slice(&bytes).map_err(|error| problem(error.to_string()))?;
                if noted.version != VERSION {
                    return Err(problem(format!("version {} is not known", noted.version)));
                }
                if noted.engine_version == ENGINE_VERSION { noted } else { empty() }
            }
        };
        Ok(Self { path: path.to_owned(), log_dir: log_dir.to_owned(), noted, written_at: Instant::now() })
    }

    /// What was found of the segment from `base` until before `until`, if it is noted and still what it was.
    pub(crate) fn take(&self, base: u64, until: u64) -> Option<Tally> {
        let segment = self.noted.segments.get(&base).filter(|segment| segment.until == until)?;
        let hash = sealed_hash::<DecisionRecord>(&self.log_dir, base)?;
        if hash.to_string() == segment.hash { Tally::from_clean(&segment.found) } else { None }
    }

    /// Notes a segment that was replayed without a finding, if it is sealed; written now and then, and by
    /// [`Self::write`].
    pub(crate) fn add(&mut self, base: u64, until: u64, found: &Tally) -> Result<(), Error> {
        let Some(hash) = sealed_hash::<DecisionRecord>(&self.log_dir, base) else { return Ok(()) };
        let segment = Segment { until, hash: hash.to_string(), found: found.as_clean() };
        self.noted.segments.insert(base, segment);
        if self.written_at.elapsed() < WRITE_INTERVAL { Ok(()) } else { self.write() }
    }

    /// Writes what is noted, whole or not at all.
    pub(crate) fn write(&mut self) -> Result<(), Error> {
        self.written_at = Instant::now();
        let partial = self.path.with_extension("partial");
        let written = serde_json::to_vec(&self.noted)
            .map_err(std::io::Error::from)
            .and_then(|bytes| std::fs::write(&partial, bytes))
            .and_then(|()| std::fs::rename(&partial, &self.path));
        written.map_err(|error| Error::ProgressFile { path: self.path.clone(), problem: error.to_string() })
    }
}
