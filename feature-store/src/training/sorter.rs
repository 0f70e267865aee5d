//! Labels in any number, in any order, sorted by user and time within a bound of memory.
//!
//! What does not fit is written to files without a name, so nothing is left behind however the process ends. A run
//! is as many labels as fit, sorted; runs are merged [`FAN_IN`] at a time. Not here: reading labels.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use augur_domain::{Timestamp, UserKey, Value};

use super::{Label, NumberedLabel, TrainingOptions};
use crate::bytes::{self, Reader};
use crate::error::DecodeError;
use crate::identity::Identity;
use crate::{Error, event_record};

/// User, time, index, outcome, and how many bytes of context follow.
const RECORD_BYTES: usize = UserKey::LEN + 3 * 8 + 4;
/// Most bytes of one label's context: what the names and values of a request can come to.
const MAX_CONTEXT_BYTES: usize = 1 << 20;
/// Runs merged at once, each through a buffer.
const FAN_IN: usize = 32;
const BUFFER_BYTES: usize = 64 << 10;

/// Collects labels, then gives them back in order.
pub struct LabelSorter<'a> {
    /// Ids of one person have one log, which is walked once.
    identity: &'a Identity,
    dir: PathBuf,
    most_held_bytes: usize,
    held: Vec<Record>,
    held_bytes: usize,
    /// Older ones first; each made of [`FAN_IN`] runs of the level below.
    runs: Vec<Run>,
    count: u64,
}

struct Run {
    level: u32,
    file: File,
}

/// Ordered by user, time and index; the outcome's bits follow the index.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Record {
    user: UserKey,
    at: Timestamp,
    index: u64,
    /// NaN for none.
    outcome_bits: u64,
    /// Names and values.
    context: Box<[u8]>,
}

impl std::fmt::Debug for LabelSorter<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("LabelSorter").field("count", &self.count).finish_non_exhaustive()
    }
}

impl<'a> LabelSorter<'a> {
    pub(crate) fn new(identity: &'a Identity, dir: &Path, options: TrainingOptions) -> Result<Self, Error> {
        options.check()?;
        Ok(Self {
            identity,
            dir: dir.to_owned(),
            most_held_bytes: options.memory_bytes / 8,
            held: Vec::new(),
            held_bytes: 0,
            runs: Vec::new(),
            count: 0,
        })
    }

    /// Adds a label, of a linked id under its person; its index is how many there were before.
    ///
    /// # Errors
    /// [`Error::InvalidLabel`], [`Error::File`], [`Error::Storage`].
    pub fn push(&mut self, label: &Label) -> Result<(), Error> {
        self.push_with_context(label, &[])
    }

    /// [`Self::push`], with what a request at that instant would have told: names, ascending, and values.
    ///
    /// # Errors
    /// As [`Self::push`]; [`Error::InvalidLabel`] also for a context of more than 1 MiB.
    pub fn push_with_context(&mut self, label: &Label, context: &[(Arc<str>, Value)]) -> Result<(), Error> {
        let index = self.count;
        let mut bytes = Vec::new();
        for (name, value) in context {
            bytes::put_text(&mut bytes, name);
            event_record::put_value(&mut bytes, value);
        }
        let is_finite = label.outcome.is_none_or(f64::is_finite);
        if !is_finite || bytes.len() > MAX_CONTEXT_BYTES {
            return Err(Error::InvalidLabel { label: usize::try_from(index).unwrap_or(usize::MAX) });
        }
        let outcome_bits = label.outcome.unwrap_or(f64::NAN).to_bits();
        let user = self.identity.person(label.user)?;
        let record = Record { user, at: label.at, index, outcome_bits, context: bytes.into() };
        self.held_bytes = self.held_bytes.saturating_add(size_of::<Record>() + record.context.len());
        self.held.push(record);
        self.count += 1;
        if self.held_bytes >= self.most_held_bytes { self.spill() } else { Ok(()) }
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
        let file = write_run(&self.dir, self.held.drain(..).map(Ok))?;
        self.held_bytes = 0;
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
        record.map(|record| record?.label())
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
        let failed = failed("reading sorted labels in", dir);
        let mut bytes = [0; RECORD_BYTES];
        match reader.read_exact(&mut bytes) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(failed(error)),
        }
        let (mut record, context_bytes) = Record::from_bytes(&bytes);
        if context_bytes > 0 {
            let mut context = vec![0; context_bytes.min(MAX_CONTEXT_BYTES)];
            reader.read_exact(&mut context).map_err(failed)?;
            record.context = context.into();
        }
        self.next.push(Reverse((record, file)));
        Ok(())
    }
}

fn write_run(dir: &Path, records: impl Iterator<Item = Result<Record, Error>>) -> Result<File, Error> {
    let file = tempfile::tempfile_in(dir).map_err(failed("sorting labels in", dir))?;
    let mut writer = BufWriter::with_capacity(BUFFER_BYTES, file);
    for record in records {
        let record = record?;
        writer.write_all(&record.to_bytes()).map_err(failed("sorting labels in", dir))?;
        writer.write_all(&record.context).map_err(failed("sorting labels in", dir))?;
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
    fn label(self) -> Result<NumberedLabel, Error> {
        let outcome = Some(f64::from_bits(self.outcome_bits)).filter(|outcome| !outcome.is_nan());
        let label = Label { user: self.user, at: self.at, outcome };
        let context = take_context(&self.context)
            .map_err(|source| Error::corrupted(format!("context of label {}", self.index), source))?;
        Ok(NumberedLabel { index: self.index, label, context })
    }

    fn to_bytes(&self) -> [u8; RECORD_BYTES] {
        let mut bytes = [0; RECORD_BYTES];
        let (user, rest) = bytes.split_at_mut(UserKey::LEN);
        user.copy_from_slice(self.user.as_bytes());
        let (numbers, context_bytes) = rest.split_at_mut(3 * 8);
        context_bytes.copy_from_slice(&(self.context.len() as u32).to_le_bytes());
        let values = [self.at.unix_ms().cast_unsigned(), self.index, self.outcome_bits];
        for (to, from) in numbers.as_chunks_mut::<8>().0.iter_mut().zip(values) {
            *to = from.to_le_bytes();
        }
        bytes
    }

    /// Without its context, and how many bytes that takes.
    fn from_bytes(bytes: &[u8; RECORD_BYTES]) -> (Self, usize) {
        let (user, rest) = bytes.split_at(UserKey::LEN);
        let mut key = [0; UserKey::LEN];
        key.copy_from_slice(user);
        let (numbers, context_bytes) = rest.split_at(3 * 8);
        let mut numbers = numbers.as_chunks::<8>().0.iter().map(|number| u64::from_le_bytes(*number));
        let mut number = || numbers.next().unwrap_or_default();
        let record = Self {
            user: UserKey::from_bytes(key),
            at: Timestamp::from_unix_ms(number().cast_signed()),
            index: number(),
            outcome_bits: number(),
            context: Box::default(),
        };
        let context_bytes = context_bytes.first_chunk().map_or(0, |length| u32::from_le_bytes(*length));
        (record, context_bytes as usize)
    }
}

fn take_context(bytes: &[u8]) -> Result<Vec<(Arc<str>, Value)>, DecodeError> {
    let (mut reader, mut context) = (Reader::of(bytes), Vec::new());
    while !reader.is_empty() {
        let name = reader.text("context name")?.into();
        context.push((name, event_record::take_value(&mut reader)?));
    }
    Ok(context)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::IdentityConfig;
    use crate::store::{MemoryStore, Store};
    use proptest::prelude::*;

    /// Every third label has a context.
    fn context(index: usize) -> Vec<(Arc<str>, Value)> {
        let text = Value::Text("x".repeat(index).into());
        if index.is_multiple_of(3) {
            vec![("cart".into(), text), ("gift".into(), Value::Boolean(true))]
        } else {
            vec![]
        }
    }

    fn sorted(labels: &[Label], most_held: usize) -> Vec<NumberedLabel> {
        let dir = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let identity = Identity::open(&store, &IdentityConfig::default()).unwrap();
        let mut sorter = LabelSorter::new(&identity, dir.path(), TrainingOptions::default()).unwrap();
        sorter.most_held_bytes = most_held * size_of::<Record>();
        for (index, label) in labels.iter().enumerate() {
            sorter.push_with_context(label, &context(index)).unwrap();
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
            for found in found {
                let index = usize::try_from(found.index).unwrap();
                prop_assert_eq!((found.label, found.context), (labels[index], context(index)));
            }
        }
    }

    #[test]
    fn a_context_that_is_too_large_is_refused() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let identity = Identity::open(&store, &IdentityConfig::default()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let mut sorter = LabelSorter::new(&identity, dir.path(), TrainingOptions::default()).unwrap();
        let label = Label { user: UserKey::default(), at: Timestamp::MIN, outcome: None };
        let of = |length| [("cart".into(), Value::Text("x".repeat(length).into()))];
        sorter.push_with_context(&label, &of(MAX_CONTEXT_BYTES - 16)).unwrap();
        let refused = sorter.push_with_context(&label, &of(MAX_CONTEXT_BYTES)).unwrap_err();
        assert_eq!(refused, Error::InvalidLabel { label: 1 });
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
