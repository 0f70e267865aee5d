//! Labels in any number, in any order, sorted by user and time within a bound of memory.
//!
//! What does not fit is written to files without a name, so nothing is left behind however the process ends. A run
//! is as many labels as fit, sorted; runs are merged [`FAN_IN`] at a time. Not here: reading labels.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use augur_domain::{Timestamp, UserKey};

use super::{Label, NumberedLabel, TrainingOptions};
use crate::Error;

/// User, time, index, outcome.
const RECORD_BYTES: usize = UserKey::LEN + 3 * 8;
/// Runs merged at once, each through a buffer.
const FAN_IN: usize = 32;
const BUFFER_BYTES: usize = 64 << 10;

/// Collects labels, then gives them back in order.
pub struct LabelSorter {
    dir: PathBuf,
    most_held: usize,
    held: Vec<Record>,
    /// Older ones first; each made of [`FAN_IN`] runs of the level below.
    runs: Vec<Run>,
    count: u64,
}

struct Run {
    level: u32,
    file: File,
}

/// Ordered by user, time and index; the outcome's bits follow the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Record {
    user: UserKey,
    at: Timestamp,
    index: u64,
    /// NaN for none.
    outcome_bits: u64,
}

impl std::fmt::Debug for LabelSorter {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("LabelSorter").field("count", &self.count).finish_non_exhaustive()
    }
}

impl LabelSorter {
    /// Files, if need be, are made in `dir`; up to an eighth of `options.memory_bytes` is held.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`].
    pub fn new(dir: &Path, options: TrainingOptions) -> Result<Self, Error> {
        options.check()?;
        let most_held = options.memory_bytes / 8 / size_of::<Record>();
        Ok(Self { dir: dir.to_owned(), most_held, held: Vec::new(), runs: Vec::new(), count: 0 })
    }

    /// Adds a label; its index is how many there were before.
    ///
    /// # Errors
    /// [`Error::InvalidLabel`], [`Error::File`].
    pub fn push(&mut self, label: &Label) -> Result<(), Error> {
        let index = self.count;
        if label.outcome.is_some_and(|outcome| !outcome.is_finite()) {
            return Err(Error::InvalidLabel { label: usize::try_from(index).unwrap_or(usize::MAX) });
        }
        let outcome_bits = label.outcome.unwrap_or(f64::NAN).to_bits();
        self.held.push(Record { user: label.user, at: label.at, index, outcome_bits });
        self.count += 1;
        if self.held.len() >= self.most_held { self.spill() } else { Ok(()) }
    }

    /// How many labels there are.
    pub const fn len(&self) -> u64 {
        self.count
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The labels by user and time; equal ones in the order in which they were added.
    ///
    /// # Errors
    /// [`Error::File`], also from the iterator.
    pub fn finish(mut self) -> Result<SortedLabels, Error> {
        if self.runs.is_empty() {
            self.held.sort_unstable();
            return Ok(SortedLabels { dir: self.dir, source: Source::Held(self.held.into_iter()) });
        }
        if !self.held.is_empty() {
            self.spill()?;
        }
        drop(std::mem::take(&mut self.held));
        while self.runs.len() > FAN_IN {
            let level = self.runs.last().map_or(0, |run| run.level);
            self.merge_last(FAN_IN, level + 1)?;
        }
        let merge = Merge::start(std::mem::take(&mut self.runs), &self.dir)?;
        Ok(SortedLabels { dir: self.dir, source: Source::Merged(merge) })
    }

    fn spill(&mut self) -> Result<(), Error> {
        self.held.sort_unstable();
        let records = self.held.iter().map(|record| Ok(*record));
        let file = write_run(&self.dir, records)?;
        self.held.clear();
        self.runs.push(Run { level: 0, file });
        loop {
            let level = self.runs.last().map_or(0, |run| run.level);
            if self.runs.iter().rev().take_while(|run| run.level == level).count() < FAN_IN {
                return Ok(());
            }
            self.merge_last(FAN_IN, level + 1)?;
        }
    }

    /// Makes one run of the last `count`.
    fn merge_last(&mut self, count: usize, level: u32) -> Result<(), Error> {
        let runs = self.runs.split_off(self.runs.len().saturating_sub(count));
        let mut merge = Merge::start(runs, &self.dir)?;
        let records = std::iter::from_fn(|| merge.next_record(&self.dir).transpose());
        let file = write_run(&self.dir, records)?;
        self.runs.push(Run { level, file });
        Ok(())
    }
}

/// Labels by user, ascending in time.
pub struct SortedLabels {
    dir: PathBuf,
    source: Source,
}

enum Source {
    Held(std::vec::IntoIter<Record>),
    Merged(Merge),
}

impl std::fmt::Debug for SortedLabels {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("SortedLabels").finish_non_exhaustive()
    }
}

impl Iterator for SortedLabels {
    type Item = Result<NumberedLabel, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let record = match &mut self.source {
            Source::Held(records) => records.next().map(Ok),
            Source::Merged(merge) => merge.next_record(&self.dir).transpose(),
        };
        record.map(|record| record.map(Record::label))
    }
}

struct Merge {
    files: Vec<BufReader<File>>,
    /// The next record of each file that has one.
    next: BinaryHeap<Reverse<(Record, usize)>>,
}

impl Merge {
    fn start(runs: Vec<Run>, dir: &Path) -> Result<Self, Error> {
        let files = runs.into_iter().map(|run| BufReader::with_capacity(BUFFER_BYTES, run.file)).collect();
        let mut this = Self { files, next: BinaryHeap::new() };
        for file in 0..this.files.len() {
            this.refill(file, dir)?;
        }
        Ok(this)
    }

    fn next_record(&mut self, dir: &Path) -> Result<Option<Record>, Error> {
        let Some(Reverse((record, file))) = self.next.pop() else { return Ok(None) };
        self.refill(file, dir)?;
        Ok(Some(record))
    }

    fn refill(&mut self, file: usize, dir: &Path) -> Result<(), Error> {
        let Some(reader) = self.files.get_mut(file) else { return Ok(()) };
        let mut bytes = [0; RECORD_BYTES];
        match reader.read_exact(&mut bytes) {
            Ok(()) => self.next.push(Reverse((Record::from_bytes(&bytes), file))),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {}
            Err(error) => return Err(failed("reading sorted labels in", dir)(error)),
        }
        Ok(())
    }
}

fn write_run(dir: &Path, records: impl Iterator<Item = Result<Record, Error>>) -> Result<File, Error> {
    let file = tempfile::tempfile_in(dir).map_err(failed("sorting labels in", dir))?;
    let mut writer = BufWriter::with_capacity(BUFFER_BYTES, file);
    for record in records {
        writer.write_all(&record?.to_bytes()).map_err(failed("sorting labels in", dir))?;
    }
    let file = writer.into_inner().map_err(|error| failed("sorting labels in", dir)(error.into_error()));
    let mut file = file?;
    file.seek(SeekFrom::Start(0)).map_err(failed("sorting labels in", dir))?;
    Ok(file)
}

fn failed(action: &'static str, dir: &Path) -> impl Fn(std::io::Error) -> Error {
    move |error| Error::File { action, path: dir.to_owned(), detail: error.to_string() }
}

impl Record {
    fn label(self) -> NumberedLabel {
        let outcome = Some(f64::from_bits(self.outcome_bits)).filter(|outcome| !outcome.is_nan());
        NumberedLabel { index: self.index, label: Label { user: self.user, at: self.at, outcome } }
    }

    fn to_bytes(self) -> [u8; RECORD_BYTES] {
        let mut bytes = [0; RECORD_BYTES];
        let (user, numbers) = bytes.split_at_mut(UserKey::LEN);
        user.copy_from_slice(self.user.as_bytes());
        let values = [self.at.unix_ms().cast_unsigned(), self.index, self.outcome_bits];
        for (to, from) in numbers.as_chunks_mut::<8>().0.iter_mut().zip(values) {
            *to = from.to_le_bytes();
        }
        bytes
    }

    fn from_bytes(bytes: &[u8; RECORD_BYTES]) -> Self {
        let (user, numbers) = bytes.split_at(UserKey::LEN);
        let mut key = [0; UserKey::LEN];
        key.copy_from_slice(user);
        let mut numbers = numbers.as_chunks::<8>().0.iter().map(|number| u64::from_le_bytes(*number));
        let mut number = || numbers.next().unwrap_or_default();
        Self {
            user: UserKey::from_bytes(key),
            at: Timestamp::from_unix_ms(number().cast_signed()),
            index: number(),
            outcome_bits: number(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sorted(labels: &[Label], most_held: usize) -> Vec<NumberedLabel> {
        let dir = tempfile::tempdir().unwrap();
        let mut sorter = LabelSorter::new(dir.path(), TrainingOptions::default()).unwrap();
        sorter.most_held = most_held;
        for label in labels {
            sorter.push(label).unwrap();
        }
        assert_eq!(sorter.len(), labels.len() as u64);
        let sorted = sorter.finish().unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "files have no names");
        sorted.map(Result::unwrap).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

        /// Through files and several levels of merging as in memory.
        #[test]
        fn runs_sort_as_memory_does(
            labels in prop::collection::vec((0..5_u8, -50..50_i64, prop::option::of(-1.0..1.0)), 0..200),
            most_held in 1..100_usize,
        ) {
            let labels: Vec<Label> = labels
                .into_iter()
                .map(|(who, at, outcome)| Label {
                    user: UserKey::from_bytes([who; 16]),
                    at: Timestamp::from_unix_ms(at),
                    outcome,
                })
                .collect();
            let found = sorted(&labels, most_held);
            prop_assert!(found.is_sorted_by_key(|found| (found.label.user, found.label.at, found.index)));
            prop_assert_eq!(found.len(), labels.len());
            for NumberedLabel { index, label } in found {
                prop_assert_eq!(label, labels[usize::try_from(index).unwrap()]);
            }
        }
    }

    #[test]
    fn many_runs_are_merged_in_levels() {
        let label = |at| Label { user: UserKey::default(), at: Timestamp::from_unix_ms(at), outcome: None };
        let labels: Vec<Label> = (0..2_500).rev().map(label).collect();
        let found = sorted(&labels, 1);
        assert_eq!(found.len(), labels.len());
        assert!(found.is_sorted_by_key(|found| found.label.at));
    }
}
