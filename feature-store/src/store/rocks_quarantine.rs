//! The quarantine in RocksDB: entries under ascending numbers, bounded in count.
//!
//! Not here: what an entry holds (`quarantine` of the crate), or the lock and the write around a change (`rocks`).

use rocksdb::{Direction, IteratorMode, WriteBatch};

use super::QuarantineRecord;
use super::rocks::MAX_SINGLE_DELETES;
use super::rocks_open::{META, QUARANTINE};
use super::rocks_read::{Reader, corrupted, failed};
use crate::Error;

/// How many entries there are, 8 bytes; absent before the first entry was removed other than by age, when the numbers
/// have no gaps.
const ENTRIES_KEY: &[u8] = b"quarantine_entries";

/// The number that the next entry gets, 8 bytes; absent where [`ENTRIES_KEY`] is.
const NEXT_KEY: &[u8] = b"quarantine_next";

/// What there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Bounds {
    /// The number that the next entry gets.
    next: u64,
    pub(super) entries: u64,
}

pub(super) struct QuarantineTable<'a> {
    pub(super) reader: Reader<'a>,
}

impl QuarantineTable<'_> {
    pub(super) fn bounds(&self) -> Result<Bounds, Error> {
        let (Some(first), Some(last)) = (self.end(IteratorMode::Start)?, self.end(IteratorMode::End)?) else {
            return Ok(Bounds { next: self.stored(NEXT_KEY)?.unwrap_or_default(), entries: 0 });
        };
        let next = last.saturating_add(1).max(self.stored(NEXT_KEY)?.unwrap_or_default());
        let entries = self.stored(ENTRIES_KEY)?.unwrap_or_else(|| last.saturating_add(1) - first);
        Ok(Bounds { next, entries })
    }

    fn end(&self, mode: IteratorMode<'_>) -> Result<Option<u64>, Error> {
        let mut entries = self.reader.db.iterator_cf(self.reader.family(QUARANTINE)?, mode);
        let entry = entries.next().transpose().map_err(failed("reading the quarantine"))?;
        entry.map(|(key, _)| number(&key)).transpose()
    }

    fn stored(&self, key: &'static [u8]) -> Result<Option<u64>, Error> {
        let stored = self.reader.get(META, key, "reading the size of the quarantine")?;
        stored.map(|bytes| number(&bytes)).transpose()
    }

    /// Puts new entries, and the removal of the oldest ones beyond `keep`, into the batch.
    pub(super) fn append(
        &self,
        batch: &mut WriteBatch,
        before: Bounds,
        records: &[Vec<u8>],
        keep: u64,
    ) -> Result<Bounds, Error> {
        let family = self.reader.family(QUARANTINE)?;
        let mut after = before;
        for record in records {
            batch.put_cf(family, after.next.to_be_bytes(), record);
            after.next = after.next.saturating_add(1);
            after.entries = after.entries.saturating_add(1);
        }
        let surplus = after.entries.saturating_sub(keep);
        let oldest = self.oldest(surplus.min(before.entries))?;
        if let (Some(first), Some(last)) = (oldest.first(), oldest.last())
            && surplus > MAX_SINGLE_DELETES
        {
            batch.delete_range_cf(family, first.to_be_bytes(), last.saturating_add(1).to_be_bytes());
        } else {
            oldest.iter().for_each(|number| batch.delete_cf(family, number.to_be_bytes()));
        }
        // Those of this very batch that do not fit either.
        for number in before.next..before.next.saturating_add(surplus.saturating_sub(before.entries)) {
            batch.delete_cf(family, number.to_be_bytes());
        }
        after.entries -= surplus;
        self.put_bounds(batch, after)?;
        Ok(after)
    }

    /// Numbers of the oldest entries, oldest first.
    fn oldest(&self, count: u64) -> Result<Vec<u64>, Error> {
        let mut oldest = Vec::new();
        for entry in self.reader.scan(QUARANTINE, &[], "reading the quarantine")?.take(count as usize) {
            oldest.push(number(&entry?.0)?);
        }
        Ok(oldest)
    }

    pub(super) fn newest(&self, before: Option<u64>, limit: usize) -> Result<Vec<QuarantineRecord>, Error> {
        let family = self.reader.family(QUARANTINE)?;
        let Some(last) = before.unwrap_or(u64::MAX).checked_sub(1) else { return Ok(Vec::new()) };
        let from = last.to_be_bytes();
        let entries = self.reader.db.iterator_cf(family, IteratorMode::From(&from, Direction::Reverse));
        let records = entries.take(limit).map(|entry| {
            let (key, record) = entry.map_err(failed("reading the quarantine"))?;
            Ok(QuarantineRecord { number: number(&key)?, record: record.into_vec() })
        });
        records.collect()
    }

    /// Puts the removal of entries into the batch; numbers without an entry do not matter.
    pub(super) fn remove(
        &self,
        batch: &mut WriteBatch,
        before: Bounds,
        numbers: &[u64],
    ) -> Result<Bounds, Error> {
        let family = self.reader.family(QUARANTINE)?;
        let mut after = before;
        let mut numbers = numbers.to_vec();
        numbers.sort_unstable();
        numbers.dedup();
        for number in numbers {
            let key = number.to_be_bytes();
            if self.reader.get(QUARANTINE, &key, "reading the quarantine")?.is_some() {
                batch.delete_cf(family, key);
                after.entries = after.entries.saturating_sub(1);
            }
        }
        self.put_bounds(batch, after)?;
        Ok(after)
    }

    fn put_bounds(&self, batch: &mut WriteBatch, bounds: Bounds) -> Result<(), Error> {
        let meta = self.reader.family(META)?;
        batch.put_cf(meta, ENTRIES_KEY, bounds.entries.to_be_bytes());
        batch.put_cf(meta, NEXT_KEY, bounds.next.to_be_bytes());
        Ok(())
    }
}

fn number(bytes: &[u8]) -> Result<u64, Error> {
    let bytes = bytes.try_into().map_err(|_| corrupted("quarantine", "key"))?;
    Ok(u64::from_be_bytes(bytes))
}
