//! Which segments a log has.
//!
//! Not here: what is in them (`file`).

use std::path::Path;

use crate::anchor::Anchor;
use crate::error::Error;
use crate::format::Format;
use crate::segment;

/// The segments of a log by their first sequences, ascending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bases {
    list: Vec<u64>,
    /// The first sequence that is kept: 1, unless some were removed.
    pub(crate) first_kept: u64,
}

/// The segments in `dir`, without those that are about to be removed.
pub(crate) fn list(format: &Format, dir: &Path) -> Result<Bases, Error> {
    let entries = std::fs::read_dir(dir).map_err(|error| Error::io("list", dir, error))?;
    let mut list = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| Error::io("list", dir, error))?;
        list.extend(entry.file_name().to_str().and_then(segment::base_of));
    }
    list.sort_unstable();
    // Read last: whatever was removed before the directory was listed is told.
    let first_kept = Anchor::read(format, dir)?.first_sequence;
    list.retain(|base| *base >= first_kept);
    Ok(Bases { list, first_kept })
}

impl Bases {
    pub(crate) fn as_slice(&self) -> &[u64] {
        &self.list
    }

    pub(crate) fn into_vec(self) -> Vec<u64> {
        self.list
    }

    pub(crate) fn contains(&self, base: u64) -> bool {
        self.list.binary_search(&base).is_ok()
    }

    /// The last one that begins with record `sequence` or an earlier one.
    pub(crate) fn up_to(&self, sequence: u64) -> Option<u64> {
        let behind = self.list.partition_point(|base| *base <= sequence);
        self.list.get(behind.checked_sub(1)?).copied()
    }

    /// The first one that begins behind record `sequence`.
    pub(crate) fn behind(&self, sequence: u64) -> Option<u64> {
        self.list.get(self.list.partition_point(|base| *base <= sequence)).copied()
    }

    /// The last one of those at the beginning of which `of` holds.
    pub(crate) fn last_where(&self, of: impl Fn(&u64) -> bool) -> Option<u64> {
        self.list.get(self.list.partition_point(of).checked_sub(1)?).copied()
    }
}
