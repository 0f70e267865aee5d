//! Records of the log in the order of users: sorted in memory as far as they fit, else in runs on disk that are merged.
//!
//! A run is a file of records one after another, each `user [16] | now i64 | sequence u64 | length u32 | record`, ascending.
//! Runs are of this process alone: nothing reads them later. Not here: what is done with the records (`run`).

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use augur_domain::{Timestamp, UserKey};

use crate::Error;

/// Runs that can be merged at once; each takes [`MERGE_BYTES`] then.
const MAX_RUNS: usize = 1_024;
const MERGE_BYTES: usize = 64 << 10;
/// What an item takes in memory beside its bytes, about.
const ITEM_BYTES: usize = 64;

/// Whose, when, and which.
pub(super) type Key = (UserKey, Timestamp, u64);

/// Takes records in any order.
pub(super) struct Spool {
    dir: PathBuf,
    memory_bytes: usize,
    bytes: Vec<u8>,
    items: Vec<(Key, Range<usize>)>,
    runs: Vec<PathBuf>,
}

impl Spool {
    /// Holds up to `memory_bytes` in memory, and the rest in files in `dir`.
    pub(super) fn new(dir: &Path, memory_bytes: usize) -> Self {
        Self { dir: dir.to_owned(), memory_bytes, bytes: Vec::new(), items: Vec::new(), runs: Vec::new() }
    }

    pub(super) fn push(&mut self, key: Key, record: &[u8]) -> Result<(), Error> {
        let held = self.bytes.len() + record.len() + (self.items.len() + 1) * ITEM_BYTES;
        if held > self.memory_bytes && !self.items.is_empty() {
            self.spill()?;
        }
        let start = self.bytes.len();
        self.bytes.extend_from_slice(record);
        self.items.push((key, start..self.bytes.len()));
        Ok(())
    }

    fn spill(&mut self) -> Result<(), Error> {
        if self.runs.len() == MAX_RUNS {
            return Err(Error::TooLittleMemory { given: self.memory_bytes, runs: MAX_RUNS });
        }
        let path = self.dir.join(format!("{:06}.run", self.runs.len()));
        self.items.sort_unstable_by_key(|(key, _)| *key);
        let written = File::create(&path).and_then(|file| {
            let mut out = BufWriter::with_capacity(1 << 20, file);
            for (key, range) in &self.items {
                write_item(&mut out, *key, self.bytes.get(range.clone()).unwrap_or_default())?;
            }
            out.flush()
        });
        written.map_err(|source| Error::Spool { path: path.clone(), source })?;
        self.runs.push(path);
        self.items.clear();
        self.bytes.clear();
        Ok(())
    }

    /// What was taken, ascending by key.
    pub(super) fn sorted(mut self) -> Result<Sorted, Error> {
        if self.runs.is_empty() {
            self.items.sort_unstable_by_key(|(key, _)| *key);
            return Ok(Sorted::Memory { bytes: self.bytes, items: self.items.into_iter() });
        }
        self.spill()?;
        (self.bytes, self.items) = (Vec::new(), Vec::new());
        let mut runs = Vec::with_capacity(self.runs.len());
        let mut heads = BinaryHeap::new();
        for path in self.runs {
            let file = File::open(&path).map_err(|source| Error::Spool { path: path.clone(), source })?;
            let mut run =
                Run { path, reader: BufReader::with_capacity(MERGE_BYTES, file), record: Vec::new() };
            if let Some(key) = run.read()? {
                heads.push(Reverse((key, runs.len())));
            }
            runs.push(run);
        }
        Ok(Sorted::Disk { runs, heads })
    }
}

fn write_item(out: &mut impl Write, (user, now, sequence): Key, record: &[u8]) -> io::Result<()> {
    out.write_all(user.as_bytes())?;
    out.write_all(&now.unix_ms().to_le_bytes())?;
    out.write_all(&sequence.to_le_bytes())?;
    let length = u32::try_from(record.len()).map_err(io::Error::other)?;
    out.write_all(&length.to_le_bytes())?;
    out.write_all(record)
}

/// Records in order.
pub(super) enum Sorted {
    Memory { bytes: Vec<u8>, items: std::vec::IntoIter<(Key, Range<usize>)> },
    Disk { runs: Vec<Run>, heads: BinaryHeap<Reverse<(Key, usize)>> },
}

impl Sorted {
    /// The next record; `None` behind the last.
    pub(super) fn next_record(&mut self) -> Result<Option<(Key, Vec<u8>)>, Error> {
        match self {
            Self::Memory { bytes, items } => {
                Ok(items.next().map(|(key, range)| (key, bytes.get(range).unwrap_or_default().to_vec())))
            }
            Self::Disk { runs, heads } => {
                let Some(Reverse((key, place))) = heads.pop() else { return Ok(None) };
                let Some(run) = runs.get_mut(place) else { return Ok(None) };
                let record = std::mem::take(&mut run.record);
                if let Some(next) = run.read()? {
                    heads.push(Reverse((next, place)));
                }
                Ok(Some((key, record)))
            }
        }
    }
}

/// A run being read, with the bytes of its next record.
pub(super) struct Run {
    path: PathBuf,
    reader: BufReader<File>,
    record: Vec<u8>,
}

impl Run {
    /// Reads the next record; its key, or `None` at the end.
    fn read(&mut self) -> Result<Option<Key>, Error> {
        let read = read_item(&mut self.reader, &mut self.record);
        read.map_err(|source| Error::Spool { path: self.path.clone(), source })
    }
}

fn read_item(reader: &mut BufReader<File>, record: &mut Vec<u8>) -> io::Result<Option<Key>> {
    if io::BufRead::fill_buf(reader)?.is_empty() {
        return Ok(None);
    }
    let (mut user, mut now, mut sequence, mut length) = ([0; UserKey::LEN], [0; 8], [0; 8], [0; 4]);
    reader.read_exact(&mut user)?;
    reader.read_exact(&mut now)?;
    reader.read_exact(&mut sequence)?;
    reader.read_exact(&mut length)?;
    record.clear();
    record.resize(u32::from_le_bytes(length) as usize, 0);
    reader.read_exact(record)?;
    let now = Timestamp::from_unix_ms(i64::from_le_bytes(now));
    Ok(Some((UserKey::from_bytes(user), now, u64::from_le_bytes(sequence))))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys in disorder, each record telling its sequence.
    fn pushed(memory_bytes: usize, dir: &Path) -> Vec<(Key, Vec<u8>)> {
        let mut spool = Spool::new(dir, memory_bytes);
        for sequence in 0..500_u64 {
            let who = (sequence * 7 % 11) as u8;
            let now = Timestamp::from_unix_ms((sequence * 13 % 97) as i64 - 40);
            spool.push((UserKey::from_bytes([who; 16]), now, sequence), &sequence.to_le_bytes()).unwrap();
        }
        let mut sorted = spool.sorted().unwrap();
        std::iter::from_fn(|| sorted.next_record().unwrap()).collect()
    }

    #[test]
    fn the_order_does_not_depend_on_the_memory() {
        let dir = tempfile::tempdir().unwrap();
        let in_memory = pushed(1 << 20, dir.path());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        assert_eq!(in_memory.len(), 500);
        assert!(in_memory.is_sorted_by_key(|(key, _)| *key));
        assert!(in_memory.iter().all(|((_, _, sequence), record)| *record == sequence.to_le_bytes()));
        assert_eq!(pushed(5_000, dir.path()), in_memory);
        assert!(std::fs::read_dir(dir.path()).unwrap().count() > 5);
    }

    #[test]
    fn a_folder_that_is_not_there_is_told() {
        let mut spool = Spool::new(Path::new("/nowhere"), 1);
        let key = (UserKey::default(), Timestamp::MIN, 1);
        spool.push(key, b"one").unwrap();
        assert!(spool.push(key, b"two").unwrap_err().to_string().contains("/nowhere/000000.run"));
    }
}
