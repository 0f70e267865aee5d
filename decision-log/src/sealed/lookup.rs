//! Finds the record of one decision, by the index where there is one.
//!
//! Not here: the index's bytes (`format`).

use std::path::Path;

use augur_domain::{DecisionId, Timestamp};

use super::Unsealer;
use crate::bases::list;
use crate::error::Error;
use crate::file::{Segment, ending};
use crate::format::Record;
use crate::reader::{Position, SegmentedReader, unreadable};
use crate::scan::Step;

/// The first record of decision `id` among those made from `from` to `until`, as the clock of the records told. Of sealed
/// segments only the index and one block is read; those that are not sealed yet are read as a whole.
///
/// # Errors
/// As [`SegmentedReader::next_record`], but for an unfinished record at the end of the log.
pub fn find_decision<R: Record>(
    dir: &Path,
    id: DecisionId,
    from: Timestamp,
    until: Timestamp,
) -> Result<Option<(Position, R)>, Error> {
    let bases = list(R::FORMAT, dir)?;
    let begun_before = |base: u64, at: Timestamp| matches!(ending(R::FORMAT, dir, base), Ok((Some(header), _)) if header.created_at < at);
    let first = bases.last_where(|base| begun_before(*base, from)).unwrap_or_default();
    for base in bases.as_slice().iter().copied().filter(|base| *base >= first) {
        if base > first
            && matches!(ending(R::FORMAT, dir, base), Ok((Some(header), _)) if header.created_at > until)
        {
            break;
        }
        let found = match Segment::open(R::FORMAT, dir, base)? {
            Segment::Sealed(sealed) => match in_sealed(*sealed, dir, id) {
                // Without its index a segment can still be read.
                Err(Error::Corrupted { .. }) => in_raw(dir, base, id)?,
                found => found?,
            },
            Segment::Raw(_) => in_raw(dir, base, id)?,
        };
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

fn in_sealed<R: Record>(
    mut sealed: Unsealer,
    dir: &Path,
    id: DecisionId,
) -> Result<Option<(Position, R)>, Error> {
    let base = sealed.base();
    let (_, index) = sealed.index()?;
    let places: Vec<u32> = index.places_of(id).collect();
    for place in places {
        let wanted = base.saturating_add(u64::from(place));
        if sealed.seek(wanted).is_none() {
            return Err(Error::corrupted(
                sealed.path(),
                0,
                format!("the index does not know of record {wanted}"),
            ));
        }
        while let Step::Record { offset, sequence, payload } = sealed.step()? {
            if sequence < wanted {
                continue;
            }
            let position = Position { sequence, segment: base, offset };
            let record =
                R::decode(sealed.payload(payload)).map_err(|error| unreadable(dir, position, error))?;
            if record.decision() == id {
                return Ok(Some((position, record)));
            }
            break;
        }
    }
    Ok(None)
}

fn in_raw<R: Record>(dir: &Path, base: u64, id: DecisionId) -> Result<Option<(Position, R)>, Error> {
    let mut reader = SegmentedReader::<R>::open_from(dir, base)?;
    loop {
        match reader.next_record() {
            Ok(Some((position, _))) if position.segment != base => return Ok(None),
            Ok(Some((position, record))) if record.decision() == id => return Ok(Some((position, record))),
            Ok(Some(_)) => {}
            // What the writer is about to finish ends the log as it stands.
            Ok(None) | Err(Error::TruncatedTail { .. }) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
}
