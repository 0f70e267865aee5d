//! Reckons the hashes of sealed segments again, follows the chain from one to the next, and makes every index again.
//!
//! Not here: checksums and sequences, which reading the log looks at.

use std::path::Path;

use augur_domain::ContentHash;

use super::format::{BlockPlace, Footer, Index, fingerprint, hash};
use super::read::Unsealer;
use crate::anchor::Anchor;
use crate::bases::list;
use crate::error::Error;
use crate::file::{Segment, ending};
use crate::format::Record;
use crate::header::Header;
use crate::segment::path;

/// Faults that are told one by one; further ones are counted.
const MOST_TOLD: usize = 20;

/// What the sealed segments of a log say.
#[derive(Debug, Clone)]
pub struct Seals {
    /// Where the log begins, and what was removed before.
    pub anchor: Anchor,
    /// The hash of the last sealed segment that can be read; of none, if there is none.
    pub last_hash: Option<ContentHash>,
    /// Segments whose hash, index and place in the chain are in order.
    pub sound: u64,
    /// Segments where one of them is not.
    pub unsound: u64,
    /// The first of these, with what is wrong.
    pub faults: Vec<SealFault>,
}

/// What is wrong with a segment that can be read.
#[derive(Debug, Clone)]
pub struct SealFault {
    /// The sequence that names the segment.
    pub segment: u64,
    /// The fault with its place.
    pub error: Error,
}

/// Checks the sealed segments of the log in `dir`. Those that cannot be read to their end are passed over: reading tells
/// where they are damaged. `progress` is told the number of segments looked at, before each of them.
///
/// # Errors
/// [`Error::Io`], and [`Error::Corrupted`] when it is not known what was removed.
pub fn check_seals<R: Record>(dir: &Path, progress: &dyn Fn(u64)) -> Result<Seals, Error> {
    let bases = list(R::FORMAT, dir)?.into_vec();
    let anchor = Anchor::read(R::FORMAT, dir)?;
    let mut seals = Seals { anchor, last_hash: None, sound: 0, unsound: 0, faults: Vec::new() };
    // The hash of the segment before; absent when that one has none that could be trusted.
    let mut previous = Some(anchor.previous);
    let mut unsealed = None;
    for (count, base) in (0..).zip(bases) {
        progress(count);
        let Segment::Sealed(sealed) = Segment::open(R::FORMAT, dir, base)? else {
            unsealed = unsealed.or(Some(base));
            continue;
        };
        if let Some(raw) = unsealed.take() {
            let reason = format!(
                "it is not sealed, though segment {base:012} behind it is; opening the log for writing seals it"
            );
            seals.add(raw, Error::corrupted(&path(dir, raw), 0, reason));
            previous = None;
        }
        let (told, footer) = match check::<R>(*sealed, dir, base) {
            Ok((_, footer)) if previous.is_some_and(|hash| hash != footer.previous) => {
                let reason = format!(
                    "the chain is broken: it follows a segment with hash {}, but the one before has {}",
                    footer.previous,
                    previous.unwrap_or_default()
                );
                (Some(Error::corrupted(&path(dir, base), footer.index_offset, reason)), Some(footer))
            }
            Ok((told, footer)) => (told, Some(footer)),
            Err(error @ Error::Io { .. }) => return Err(error),
            // Damage: reading tells of it.
            Err(_) => {
                previous = None;
                continue;
            }
        };
        previous = footer.map(|footer| footer.hash);
        seals.last_hash = previous;
        match told {
            Some(error) => seals.add(base, error),
            None => seals.sound += 1,
        }
    }
    Ok(seals)
}

impl Seals {
    fn add(&mut self, segment: u64, error: Error) {
        self.unsound += 1;
        if self.faults.len() < MOST_TOLD {
            self.faults.push(SealFault { segment, error });
        }
    }
}

/// What is wrong with a segment that can be read to its end, and its footer.
fn check<R: Record>(mut sealed: Unsealer, dir: &Path, base: u64) -> Result<(Option<Error>, Footer), Error> {
    let Some(header) = ending(R::FORMAT, dir, base)?.0 else {
        return Err(Error::corrupted(sealed.path(), 0, "its header is not whole"));
    };
    let (footer, index) = sealed.index()?;
    let (made_again, hashes) = read_through::<R>(&mut sealed, &header)?;
    let last_sequence = base.saturating_add(made_again.ids.len() as u64).saturating_sub(1);
    let at = |reason: &str| Some(Error::corrupted(sealed.path(), footer.index_offset, reason));
    let told = if hash(R::FORMAT, &header, footer.last_sequence, footer.previous, &hashes) != footer.hash {
        at("the records are not those that were sealed: they do not match their hash")
    } else if made_again != index || last_sequence != footer.last_sequence {
        at("the index is not that of these records")
    } else {
        None
    };
    Ok((told, footer))
}

/// The index that the records should have, and the hashes of the raw blocks.
fn read_through<R: Record>(sealed: &mut Unsealer, header: &Header) -> Result<(Index, Vec<u8>), Error> {
    let mut index = Index::default();
    let mut hashes = Vec::new();
    while let Some((offset, first_sequence)) = sealed.next_block()? {
        let mut instants = None;
        for (sequence, bytes) in (first_sequence..).zip(sealed.block_records()) {
            let entry = R::entry(bytes)
                .map_err(|error| Error::corrupted(sealed.path(), offset, error.to_string()))?;
            let (earliest, latest) = instants.unwrap_or((entry.made_at, entry.made_at));
            instants = Some((earliest.min(entry.made_at), latest.max(entry.made_at)));
            let place = u32::try_from(sequence.saturating_sub(header.base)).unwrap_or(u32::MAX);
            index.ids.push((fingerprint(entry.decision), place));
        }
        hashes.extend_from_slice(ContentHash::of(&[sealed.block()]).as_bytes());
        let (earliest, latest) = instants.unwrap_or_default();
        index.blocks.push(BlockPlace { offset, first_sequence, earliest, latest });
    }
    index.ids.sort_unstable();
    Ok((index, hashes))
}
