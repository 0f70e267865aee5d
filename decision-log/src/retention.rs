//! Removes whole sealed segments, the oldest first, once they have been kept for as long as is declared.
//!
//! Not here: when this is looked at (`sealer`), or what stays behind of them (`anchor`).

use std::path::Path;

use augur_domain::Timestamp;

use crate::anchor::Anchor;
use crate::bases::list;
use crate::config::Retention;
use crate::disk::Disk;
use crate::error::Error;
use crate::file::{Ending, ending};
use crate::format::Format;
use crate::holds::first_held;
use crate::segment::path;

/// Most segments that go at a time: a crash in between leaves no more files than this to remove.
const MOST_AT_ONCE: usize = 64;

/// Removes what need not be kept any more in the log in `dir` as of `now`, and says how many segments that were. The
/// last segment stays in any case, as it is not sealed.
///
/// # Errors
/// [`Error::Io`], or damage of a segment or a hold: nothing from there on is removed then.
pub(crate) fn retire(
    format: &'static Format,
    disk: &mut dyn Disk,
    dir: &Path,
    retention: Retention,
    now: Timestamp,
) -> Result<u64, Error> {
    if retention == Retention::default() {
        return Ok(0);
    }
    let held = first_held(dir)?;
    let mut removed = 0;
    loop {
        let going = due(format, dir, retention, now, held)?;
        let Some(anchor) = going.anchor else { return Ok(removed) };
        anchor.write(format, disk, dir)?;
        for base in &going.bases {
            let path = path(dir, *base);
            disk.remove(&path).map_err(|error| Error::io("remove", &path, error))?;
        }
        disk.sync_dir(dir).map_err(|error| Error::io("sync", dir, error))?;
        removed += going.bases.len() as u64;
    }
}

/// What goes.
#[derive(Default)]
struct Going {
    bases: Vec<u64>,
    /// What stays of them, if any go.
    anchor: Option<Anchor>,
}

fn due(
    format: &'static Format,
    dir: &Path,
    retention: Retention,
    now: Timestamp,
    held: u64,
) -> Result<Going, Error> {
    let bases = list(format, dir)?;
    let mut total = 0;
    for base in bases.as_slice() {
        total += file_bytes(&path(dir, *base))?;
    }
    let oldest = retention
        .age
        .map(|age| now.plus_millis(i64::try_from(age.as_millis()).unwrap_or(i64::MAX).saturating_neg()));
    let mut anchor = Anchor::read(format, dir)?;
    let mut going = Going::default();
    for base in bases.as_slice().iter().take(MOST_AT_ONCE) {
        let (_, Ending::Sealed(footer)) = ending(format, dir, *base)? else { break };
        let too_old = oldest.is_some_and(|oldest| footer.latest < oldest);
        let too_much = retention.bytes.is_some_and(|most| total > most);
        if footer.last_sequence >= held || !(too_old || too_much) {
            break;
        }
        let bytes = file_bytes(&path(dir, *base))?;
        total = total.saturating_sub(bytes);
        anchor = Anchor {
            first_sequence: footer.last_sequence.saturating_add(1),
            previous: footer.hash,
            removed_segments: anchor.removed_segments.saturating_add(1),
            removed_bytes: anchor.removed_bytes.saturating_add(bytes),
            removed_until: anchor.removed_until.max(footer.latest),
        };
        going.bases.push(*base);
        going.anchor = Some(anchor);
    }
    Ok(going)
}

fn file_bytes(path: &Path) -> Result<u64, Error> {
    std::fs::metadata(path).map(|data| data.len()).map_err(|error| Error::io("inspect", path, error))
}

#[cfg(test)]
mod tests;
