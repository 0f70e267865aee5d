//! The history of a model's aliases: an append-only file of JSON lines.
//!
//! A line counts once its newline is on disk. Not here: what an alias is allowed to point at.

use std::path::Path;
use std::sync::Arc;

use augur_domain::{ContentHash, ModelRef, Timestamp};
use serde::{Deserialize, Serialize};

use super::{MAX_FILE_BYTES, files, too_large};
use crate::Error;

/// Longest `who` or `why`, in bytes.
const MAX_REMARK_BYTES: usize = 4 * 1024;

/// One move of an alias.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AliasChange {
    /// Position in the history, counted from 1 without gaps.
    pub sequence: u64,
    /// When, as the caller's clock said.
    pub at: Timestamp,
    /// How it came about.
    pub kind: ChangeKind,
    /// The alias moved.
    pub alias: String,
    /// The version it points at from here on.
    pub version: u32,
    /// That version's artifact.
    pub artifact: ContentHash,
    /// Who moved it.
    pub who: String,
    /// The reason given.
    pub why: String,
}

impl AliasChange {
    /// The exact version moved to, of model `name`.
    pub fn target(&self, name: &str) -> ModelRef {
        ModelRef { name: Arc::from(name), version: self.version, artifact: self.artifact }
    }
}

/// How an alias came to move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// Someone named a version.
    Set,
    /// Someone asked for the version before.
    Rollback,
}

impl ChangeKind {
    /// The word used in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Set => "set",
            Self::Rollback => "rollback",
        }
    }
}

/// The line as written. Fields may be added, never renamed or removed.
#[derive(Serialize, Deserialize)]
struct Line {
    sequence: u64,
    at_unix_ms: i64,
    kind: ChangeKind,
    alias: String,
    version: u32,
    artifact: String,
    who: String,
    why: String,
}

impl From<&AliasChange> for Line {
    fn from(change: &AliasChange) -> Self {
        Self {
            sequence: change.sequence,
            at_unix_ms: change.at.unix_ms(),
            kind: change.kind,
            alias: change.alias.clone(),
            version: change.version,
            artifact: change.artifact.to_string(),
            who: change.who.clone(),
            why: change.why.clone(),
        }
    }
}

/// All changes, oldest first; none if there is no file yet.
pub(super) fn read(path: &Path) -> Result<Vec<AliasChange>, Error> {
    Ok(read_complete(path)?.0)
}

/// The changes and the length in bytes of the lines that hold them.
fn read_complete(path: &Path) -> Result<(Vec<AliasChange>, u64), Error> {
    let bytes = files::read(path, MAX_FILE_BYTES)?.unwrap_or_default();
    let complete = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    let lines = bytes.get(..complete).unwrap_or_default().split_inclusive(|byte| *byte == b'\n');
    let changes =
        lines.zip(1..).map(|(line, sequence)| parse(line, sequence, path)).collect::<Result<_, _>>()?;
    Ok((changes, complete as u64))
}

fn parse(line: &[u8], sequence: u64, path: &Path) -> Result<AliasChange, Error> {
    let damaged = |problem: String| Error::Corrupted {
        file: path.to_owned(),
        problem: format!("line {sequence}: {problem}"),
    };
    let line: Line = serde_json::from_slice(line).map_err(|error| damaged(error.to_string()))?;
    if line.sequence != sequence {
        return Err(damaged(format!("sequence {} where {sequence} belongs", line.sequence)));
    }
    let artifact = line.artifact.parse().map_err(|error| damaged(format!("{error}")))?;
    Ok(AliasChange {
        sequence,
        at: Timestamp::from_unix_ms(line.at_unix_ms),
        kind: line.kind,
        alias: line.alias,
        version: line.version,
        artifact,
        who: line.who,
        why: line.why,
    })
}

/// Appends `change` with the next sequence number. The caller holds the model's lock.
pub(super) fn append(path: &Path, mut change: AliasChange) -> Result<(), Error> {
    for (what, text) in [("`who` of an alias change in bytes", &change.who), ("`why` in bytes", &change.why)]
    {
        if text.len() > MAX_REMARK_BYTES {
            return Err(too_large(what, text.len() as u64, MAX_REMARK_BYTES as u64));
        }
    }
    let (changes, complete_bytes) = read_complete(path)?;
    change.sequence = changes.len() as u64 + 1;
    let line = serde_json::to_string(&Line::from(&change))
        .map_err(|error| Error::Corrupted { file: path.to_owned(), problem: error.to_string() })?;
    let after_bytes = complete_bytes + line.len() as u64 + 1;
    if after_bytes > MAX_FILE_BYTES {
        return Err(too_large("history of aliases in bytes", after_bytes, MAX_FILE_BYTES));
    }
    files::append_line(path, complete_bytes, &line)
}

/// The changes of `alias` that still stand, oldest first: each rollback takes back the one before it, and what it
/// returned to is last.
pub(super) fn standing<'a>(changes: &'a [AliasChange], alias: &str) -> Vec<&'a AliasChange> {
    let mut standing: Vec<&AliasChange> = Vec::new();
    for change in changes.iter().filter(|change| change.alias == alias) {
        match change.kind {
            // Setting the same version again is not a step that a rollback should stop at.
            ChangeKind::Set if standing.last().is_some_and(|last| last.version == change.version) => {}
            ChangeKind::Set => standing.push(change),
            ChangeKind::Rollback => {
                standing.pop();
            }
        }
    }
    standing
}
