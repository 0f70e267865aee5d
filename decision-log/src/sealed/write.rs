//! Writes a full segment again as a sealed one.
//!
//! Not here: when (`sealer`). Until the last step the full segment is what it was; a crash leaves a file beside it that
//! no reader looks at and that the next attempt removes.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use augur_domain::{ContentHash, Timestamp};
use zstd::bulk::Compressor;

use super::format::{
    BLOCK, BLOCK_BYTES, BlockHead, BlockPlace, FOOTER, Footer, INDEX, Index, fingerprint, hash,
};
use crate::disk::{Disk, DiskFile};
use crate::error::Error;
use crate::file::{Segment, ending};
use crate::format::{Entry, Record};
use crate::header::{Header, Layout};
use crate::reader::{Position, unreadable};
use crate::scan::Step;
use crate::segment::{frame, path};

/// Behind the name of a segment, that of the file which is to take its place.
pub(crate) const SEALING_SUFFIX: &str = ".sealing";
/// Three quarters of the bytes of the highest levels for a tenth of their time.
const COMPRESSION_LEVEL: i32 = 3;
/// Synced as often as this, so that no sync holds up those of the log for long.
const SYNC_BYTES: u64 = 4 * 1024 * 1024;

/// Told after each block how long it took; says whether to go on.
pub(crate) type Rest<'a> = dyn FnMut(Duration) -> bool + 'a;

/// Seals the segment of `dir` that begins with record `base` and ends before record `successor`. `previous` is the hash
/// of the sealed segment before it.
///
/// # Errors
/// Damage of the segment, with its place, and [`Error::Io`]; [`Error::Closed`] when `rest` said so. The segment is as
/// it was then.
pub(crate) fn seal<R: Record>(
    disk: &mut dyn Disk,
    dir: &Path,
    base: u64,
    successor: u64,
    previous: ContentHash,
    rest: &mut Rest<'_>,
) -> Result<Footer, Error> {
    let whole = path(dir, base);
    let beside = beside(&whole);
    match disk.remove(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(Error::io("remove", &beside, error));
        }
        _ => {}
    }
    let footer = Sealing::<R>::begin(disk, dir, base, previous)?.write(dir, base, successor, rest)?;
    confirm::<R>(&whole, &beside, base, rest)?;
    disk.rename(&beside, &whole).map_err(|error| Error::io("rename", &beside, error))?;
    disk.sync_dir(dir).map_err(|error| Error::io("sync", dir, error))?;
    Ok(footer)
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(SEALING_SUFFIX);
    PathBuf::from(name)
}

/// A sealed segment being written.
struct Sealing<R> {
    out: Output,
    compressor: Compressor<'static>,
    header: Header,
    seed: u32,
    previous: ContentHash,
    index: Index,
    /// Hashes of the raw blocks.
    hashes: Vec<u8>,
    record_bytes: u64,
    block: Block,
    holds: std::marker::PhantomData<fn() -> R>,
}

/// What goes into the next block.
#[derive(Default)]
struct Block {
    raw: Vec<u8>,
    first_sequence: u64,
    records: u32,
    earliest: Timestamp,
    latest: Timestamp,
}

/// The file being written.
struct Output {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    length: u64,
    synced: u64,
}

impl<R: Record> Sealing<R> {
    fn begin(disk: &mut dyn Disk, dir: &Path, base: u64, previous: ContentHash) -> Result<Self, Error> {
        let whole = path(dir, base);
        let Some(raw) = ending(R::FORMAT, dir, base)?.0 else {
            return Err(Error::corrupted(&whole, 0, "its header is not whole"));
        };
        let salt = raw.layout.salt().unwrap_or_else(|| disk.salt());
        let header = Header { layout: Layout::Sealed(salt), ..raw };
        let path = beside(&whole);
        let failed = |action| {
            let path = path.clone();
            move |error| Error::io(action, &path, error)
        };
        let file = disk.create(&path).map_err(failed("create"))?;
        let compressor = Compressor::new(COMPRESSION_LEVEL).map_err(failed("compress"))?;
        let mut out = Output { file, path, length: 0, synced: 0 };
        out.write(&header.encode(R::FORMAT))?;
        Ok(Self {
            out,
            compressor,
            header,
            seed: header.layout.seed(),
            previous,
            index: Index::default(),
            hashes: Vec::new(),
            record_bytes: 0,
            block: Block::default(),
            holds: std::marker::PhantomData,
        })
    }

    fn write(mut self, dir: &Path, base: u64, successor: u64, rest: &mut Rest<'_>) -> Result<Footer, Error> {
        let mut segment = Segment::open(R::FORMAT, dir, base)?;
        let mut expected = base;
        let mut began = Instant::now();
        loop {
            match segment.step(expected)? {
                Step::Record { offset, sequence, payload } if sequence == expected => {
                    let bytes = segment.payload(payload);
                    let entry = R::entry(bytes).map_err(|error| {
                        unreadable(dir, Position { sequence, segment: base, offset }, error)
                    })?;
                    self.take(sequence, bytes, entry);
                    expected += 1;
                    if self.block.raw.len() >= BLOCK_BYTES {
                        self.end_block()?;
                        if !rest(began.elapsed()) {
                            return Err(Error::Closed);
                        }
                        began = Instant::now();
                    }
                }
                Step::Closing { .. } | Step::End { .. } if expected == successor => break,
                Step::Torn { offset, reason, .. } => {
                    return Err(Error::corrupted(segment.path(), offset, reason));
                }
                Step::Record { sequence, .. } => {
                    return Err(Error::Gap { dir: dir.to_owned(), expected, found: Some(sequence) });
                }
                Step::Closing { .. } | Step::End { .. } => {
                    return Err(Error::Gap { dir: dir.to_owned(), expected, found: Some(successor) });
                }
            }
        }
        self.end_block()?;
        self.end(successor.saturating_sub(1))
    }

    fn take(&mut self, sequence: u64, bytes: &[u8], entry: Entry) {
        let Entry { made_at, decision } = entry;
        let block = &mut self.block;
        if block.records == 0 {
            *block = Block {
                raw: std::mem::take(&mut block.raw),
                first_sequence: sequence,
                records: 0,
                earliest: made_at,
                latest: made_at,
            };
        }
        block.records += 1;
        block.earliest = block.earliest.min(made_at);
        block.latest = block.latest.max(made_at);
        block.raw.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
        block.raw.extend_from_slice(bytes);
        self.record_bytes += bytes.len() as u64;
        let place = u32::try_from(sequence - self.header.base).unwrap_or(u32::MAX);
        self.index.ids.push((fingerprint(decision), place));
    }

    /// Writes what has gathered as a block.
    fn end_block(&mut self) -> Result<(), Error> {
        let block = &mut self.block;
        if block.records == 0 {
            return Ok(());
        }
        self.hashes.extend_from_slice(ContentHash::of(&[&block.raw]).as_bytes());
        let raw_bytes = u32::try_from(block.raw.len()).unwrap_or(u32::MAX);
        let mut payload = Vec::new();
        BlockHead { first_sequence: block.first_sequence, records: block.records, raw_bytes }
            .encode(&mut payload);
        let packed = self.compressor.compress(&block.raw);
        payload.extend(packed.map_err(|error| Error::io("compress", &self.out.path, error))?);
        self.index.blocks.push(BlockPlace {
            offset: self.out.length,
            first_sequence: block.first_sequence,
            earliest: block.earliest,
            latest: block.latest,
        });
        block.records = 0;
        block.raw.clear();
        self.out.write(&frame(self.seed, BLOCK, &payload))
    }

    /// Writes index and footer.
    fn end(mut self, last_sequence: u64) -> Result<Footer, Error> {
        self.index.ids.sort_unstable();
        let instants = |of: fn(&BlockPlace) -> Timestamp| self.index.blocks.iter().map(of);
        let footer = Footer {
            last_sequence,
            earliest: instants(|block| block.earliest).min().unwrap_or_default(),
            latest: instants(|block| block.latest).max().unwrap_or_default(),
            record_bytes: self.record_bytes,
            index_offset: self.out.length,
            previous: self.previous,
            hash: hash(R::FORMAT, &self.header, last_sequence, self.previous, &self.hashes),
        };
        self.out.write(&frame(self.seed, INDEX, &self.index.encode()))?;
        self.out.write(&frame(self.seed, FOOTER, &footer.encode()))?;
        self.out.sync()?;
        Ok(footer)
    }
}

impl Output {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file.write_at(self.length, bytes).map_err(|error| Error::io("write", &self.path, error))?;
        self.length += bytes.len() as u64;
        if self.length - self.synced >= SYNC_BYTES { self.sync() } else { Ok(()) }
    }

    fn sync(&mut self) -> Result<(), Error> {
        self.file.sync().map_err(|error| Error::io("sync", &self.path, error))?;
        self.synced = self.length;
        Ok(())
    }
}

/// Reads both files side by side: what is about to go must be in what takes its place.
fn confirm<R: Record>(whole: &Path, beside: &Path, base: u64, rest: &mut Rest<'_>) -> Result<(), Error> {
    let mut raw = Segment::open_file(R::FORMAT, whole.to_owned(), base)?;
    let mut sealed = Segment::open_file(R::FORMAT, beside.to_owned(), base)?;
    let mut block = 0;
    let mut began = Instant::now();
    for expected in base.. {
        match (raw.step(expected)?, sealed.step(expected)?) {
            (Step::Record { payload, .. }, Step::Record { offset, payload: again, .. })
                if raw.payload(payload.clone()) == sealed.payload(again.clone()) =>
            {
                if offset != std::mem::replace(&mut block, offset) {
                    if !rest(began.elapsed()) {
                        return Err(Error::Closed);
                    }
                    began = Instant::now();
                }
            }
            (Step::Closing { .. } | Step::End { .. }, Step::Closing { .. }) => return Ok(()),
            _ => {
                let reason = format!("record {expected} is not what it was before it was sealed");
                return Err(Error::corrupted(beside, block, reason));
            }
        }
    }
    Ok(())
}
