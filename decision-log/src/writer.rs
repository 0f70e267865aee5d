//! Writes groups of frames into segments: rotation, syncs, and a way back from failed writes.
//!
//! Not here: the queue and its thread (`log`), or mending after a crash (`recovery`).
//!
//! Rotation keeps two promises for whoever reads later: only the last segment can have a torn end, since a segment
//! is synced before its successor exists; and a closed segment has a successor, since its closing frame is written after that.

use std::path::{Path, PathBuf};

use augur_domain::Timestamp;

use crate::config::Durability;
use crate::disk::{Disk, DiskFile};
use crate::error::Error;
use crate::format::Format;
use crate::header::{Header, Layout};
use crate::segment;
use crate::syncer;

/// Bytes reserved at a time when every group is synced: writing into blocks that the file already has halves the
/// cost of a sync, because no metadata changes.
const RESERVE_BYTES: u64 = 1024 * 1024;
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// The open segment of a log.
pub(crate) struct Writer {
    format: &'static Format,
    disk: Box<dyn Disk>,
    dir: PathBuf,
    /// When a segment ends.
    limits: Limits,
    reserve: bool,
    segment: Option<OpenSegment>,
    /// Sequence of the next record.
    next_sequence: u64,
    /// Whether a segment was closed since [`Self::take_closed`] was asked.
    closed: bool,
    /// Why nothing more may be written.
    failed: Option<String>,
}

/// When a segment ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Once it has reached this many bytes.
    pub(crate) bytes: u64,
    /// Once a record is this much later than its first one, as the records' own instants tell; never if absent.
    pub(crate) age_ms: Option<i64>,
}

struct OpenSegment {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    header: Header,
    /// Where the next frame goes.
    length: u64,
    /// The file's length, reserved space included.
    reserved: u64,
    unsynced: bool,
}

/// Where a log was left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resume {
    /// The segment to go on in, if there is one.
    pub(crate) segment: Option<ResumedSegment>,
    /// Sequence of the next record.
    pub(crate) next_sequence: u64,
}

/// The segment that a log was left in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ResumedSegment {
    pub(crate) path: PathBuf,
    pub(crate) length: u64,
    pub(crate) header: Header,
}

impl Writer {
    /// Goes on where the log was left.
    pub(crate) fn open(
        format: &'static Format,
        mut disk: Box<dyn Disk>,
        dir: &Path,
        limits: Limits,
        durability: Durability,
        resume: Resume,
    ) -> Result<Self, Error> {
        let segment = match resume.segment {
            None => None,
            Some(ResumedSegment { path, length, header }) => {
                let file = disk.open(&path).map_err(|error| Error::io("open", &path, error))?;
                Some(OpenSegment { file, path, header, length, reserved: length, unsynced: false })
            }
        };
        Ok(Self {
            format,
            disk,
            dir: dir.to_owned(),
            limits,
            reserve: durability == Durability::Synced,
            segment,
            next_sequence: resume.next_sequence,
            closed: false,
            failed: None,
        })
    }

    pub(crate) const fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    /// What the checksums of the open segment's frames go on from.
    pub(crate) fn seed(&self) -> u32 {
        self.segment.as_ref().map_or(0, |segment| segment.header.layout.seed())
    }

    /// Whether a segment was closed since this was asked last.
    pub(crate) const fn take_closed(&mut self) -> bool {
        std::mem::replace(&mut self.closed, false)
    }

    /// Why nothing more may be written, if so.
    pub(crate) fn failed(&self) -> Option<&str> {
        self.failed.as_deref()
    }

    /// Makes a segment ready that has reached neither its size nor its age, and says how many bytes are left of its
    /// size. `created_at` is the instant of the record to come; `failure` says whether a sync elsewhere has failed.
    ///
    /// # Errors
    /// When a segment cannot be begun; the log stays as it was and may be tried again, unless a sync failed.
    pub(crate) fn prepare(
        &mut self,
        created_at: Timestamp,
        failure: impl FnOnce() -> Option<String>,
    ) -> Result<u64, Error> {
        self.check()?;
        let length = match &self.segment {
            Some(segment) if !self.is_full(segment, created_at) => segment.length,
            _ => {
                self.sync()?;
                // Of this segment nobody asks again once the next one is begun.
                if let Some(cause) = failure() {
                    self.fail(cause);
                }
                self.check()?;
                self.begin_segment(created_at)?
            }
        };
        Ok(self.limits.bytes.saturating_sub(length).max(1))
    }

    fn is_full(&self, segment: &OpenSegment, now: Timestamp) -> bool {
        let age_ms = now.unix_ms().saturating_sub(segment.header.created_at.unix_ms());
        // One that holds nothing cannot be followed by another of the same name.
        let holds_any = self.next_sequence > segment.header.base;
        holds_any
            && (segment.length >= self.limits.bytes
                || self.limits.age_ms.is_some_and(|limit| age_ms >= limit))
    }

    /// Writes whole frames of `records` records in one go. On failure none of them remains in the file.
    pub(crate) fn write(&mut self, frames: &[u8], records: u64) -> Result<(), Error> {
        self.check()?;
        let Some(segment) = &mut self.segment else { return Err(Error::Closed) };
        if self.reserve && segment.length + frames.len() as u64 > segment.reserved {
            segment.reserve(frames.len() as u64);
        }
        match segment.write(frames) {
            Ok(()) => {
                self.next_sequence += records;
                Ok(())
            }
            Err(error) => {
                let undone = segment.undo();
                Err(self.after_failed_write(error, undone))
            }
        }
    }

    /// What another thread needs to sync everything written. Absent when nothing was written since the last sync
    /// here, or when nothing more may be written.
    ///
    /// The file is opened again rather than shared: the operating system tells of a failed write-back once for each
    /// time a file was opened, so a failure that the other thread learns of is still told here.
    pub(crate) fn sync_request(&mut self) -> Option<Result<syncer::Request, Error>> {
        self.check().ok()?;
        let segment = self.segment.as_ref().filter(|segment| segment.unsynced)?;
        let again = self.disk.open(&segment.path);
        let again = again.map_err(|error| Error::io("open again", &segment.path, error));
        Some(again.map(|file| syncer::Request { file, sequence: self.next_sequence.saturating_sub(1) }))
    }

    /// Whether everything written is known here to be durable.
    pub(crate) fn is_synced(&self) -> bool {
        self.failed.is_none() && self.segment.as_ref().is_none_or(|segment| !segment.unsynced)
    }

    /// Writes nothing more, because a sync elsewhere failed.
    pub(crate) fn fail(&mut self, cause: String) {
        self.failed.get_or_insert(cause);
    }

    /// Makes everything written durable. A failed sync leaves no way to tell what is on the disk, so nothing more
    /// is written after one.
    pub(crate) fn sync(&mut self) -> Result<(), Error> {
        self.check()?;
        let Some(segment) = self.segment.as_mut().filter(|segment| segment.unsynced) else { return Ok(()) };
        match segment.file.sync() {
            Ok(()) => {
                segment.unsynced = false;
                Ok(())
            }
            Err(error) => {
                let error = Error::io("sync", &segment.path, error);
                self.failed = Some(error.to_string());
                Err(error)
            }
        }
    }

    /// Syncs and gives back reserved space.
    pub(crate) fn close(&mut self) -> Result<(), Error> {
        self.sync()?;
        let Some(segment) = self.segment.take() else { return Ok(()) };
        if segment.reserved > segment.length {
            let mut file = segment.file;
            let cut = file.set_len(segment.length).and_then(|()| file.sync());
            return cut.map_err(|error| Error::io("shorten", &segment.path, error));
        }
        Ok(())
    }

    fn check(&self) -> Result<(), Error> {
        self.failed.as_ref().map_or(Ok(()), |cause| Err(Error::Failed { cause: cause.clone() }))
    }

    fn after_failed_write(&mut self, error: Error, undone: Result<(), Error>) -> Error {
        if let Err(second) = undone {
            self.failed = Some(format!("{error}; and afterwards: {second}"));
        }
        error
    }

    /// Begins the next segment and closes the one before it, which must be synced.
    fn begin_segment(&mut self, created_at: Timestamp) -> Result<u64, Error> {
        let path = segment::path(&self.dir, self.next_sequence);
        let layout = Layout::Salted(self.disk.salt());
        let header = Header { base: self.next_sequence, created_at, layout };
        let bytes = header.encode(self.format);
        let mut file = self.disk.create(&path).map_err(|error| Error::io("create", &path, error))?;
        let written = file
            .write_at(0, &bytes)
            .and_then(|()| file.sync())
            .and_then(|()| self.disk.sync_dir(&self.dir))
            .map_err(|error| Error::io("begin", &path, error));
        if let Err(error) = written {
            let removed = self.disk.remove(&path).map_err(|error| Error::io("remove", &path, error));
            return Err(self.after_failed_write(error, removed));
        }
        let length = bytes.len() as u64;
        let next = OpenSegment { file, path, header, length, reserved: length, unsynced: false };
        if let Some(full) = self.segment.replace(next) {
            self.close_segment(full)?;
        }
        Ok(length)
    }

    /// Ends a full segment. Without its closing frame the log is still whole; the next opening for writing adds it.
    fn close_segment(&mut self, mut full: OpenSegment) -> Result<(), Error> {
        let closed = full
            .write(&segment::closing(full.header.layout.seed(), self.next_sequence.saturating_sub(1)))
            .and_then(|()| {
                full.file.set_len(full.length).map_err(|error| Error::io("shorten", &full.path, error))
            })
            .and_then(|()| full.file.sync().map_err(|error| Error::io("sync", &full.path, error)));
        let Err(error) = closed else {
            self.closed = true;
            return Ok(());
        };
        tracing::warn!(%error, log = self.format.name, "a full segment could not be closed");
        let undone = full.undo();
        if undone.is_err() {
            return Err(self.after_failed_write(error, undone));
        }
        Ok(())
    }
}

impl OpenSegment {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file.write_at(self.length, bytes).map_err(|error| Error::io("write", &self.path, error))?;
        self.length += bytes.len() as u64;
        self.reserved = self.reserved.max(self.length);
        self.unsynced = true;
        Ok(())
    }

    /// Removes whatever a failed write left behind the last whole frame.
    fn undo(&mut self) -> Result<(), Error> {
        self.file.set_len(self.length).map_err(|error| Error::io("shorten", &self.path, error))?;
        self.reserved = self.length;
        self.unsynced = true;
        Ok(())
    }

    /// Fills the file with zeros well beyond the next `bytes`. When that fails, the write that follows goes on
    /// without: if the disk is full, it will say so itself.
    fn reserve(&mut self, bytes: u64) {
        let target = self.length + bytes + RESERVE_BYTES;
        while self.reserved < target {
            let count = (target - self.reserved).min(ZEROS.len() as u64);
            let zeros = ZEROS.get(..count as usize).unwrap_or(&ZEROS);
            if let Err(error) = self.file.write_at(self.reserved, zeros) {
                tracing::warn!(%error, path = %self.path.display(), "no space could be reserved");
                let _ = self.file.set_len(self.reserved);
                return;
            }
            self.reserved += count;
        }
    }
}
