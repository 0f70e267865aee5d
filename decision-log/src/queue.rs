//! What waits for the writer: frames in one growing buffer, bounded by bytes, and whom to tell.
//!
//! Not here: writing (`writer`) or the thread that does it (`log`).

use std::time::Instant;

use augur_domain::Timestamp;
use parking_lot::{Condvar, Mutex};

use crate::error::Error;
use crate::segment::{FRAME_HEADER_BYTES, FrameHeader, RECORD};

/// Told once what became of a record.
pub(crate) type Done = Box<dyn FnOnce(Result<u64, Error>) + Send>;

/// Frames whose sequence and checksum are still to be filled in, in the order of their records.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) frames: Vec<u8>,
    pub(crate) records: Vec<Waiting>,
}

/// One record of a batch.
pub(crate) struct Waiting {
    pub(crate) frame_bytes: usize,
    /// The record's own `now`.
    pub(crate) now: Timestamp,
    pub(crate) done: Done,
}

/// The queue between callers and the writer.
pub(crate) struct Queue {
    state: Mutex<State>,
    not_empty: Condvar,
    limit_bytes: usize,
}

#[derive(Default)]
struct State {
    waiting: Batch,
    /// Bytes in `waiting` and in the batch being written.
    held_bytes: usize,
    closing: bool,
    /// Why the writer refuses everything.
    failed: Option<String>,
}

/// Why the writer woke up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wake {
    /// There is a batch.
    Batch,
    /// The instant waited for has come.
    Time,
    /// There is nothing, and nothing will come.
    Closed,
}

impl Queue {
    pub(crate) fn new(limit_bytes: usize) -> Self {
        Self { state: Mutex::default(), not_empty: Condvar::new(), limit_bytes }
    }

    pub(crate) const fn limit_bytes(&self) -> usize {
        self.limit_bytes
    }

    /// Queues one frame, its header still blank.
    pub(crate) fn push(
        &self,
        frame: &[u8],
        now: Timestamp,
        done: impl FnOnce(Result<u64, Error>) + Send + 'static,
    ) -> Result<(), Error> {
        // Boxed before the lock is taken.
        let done = Box::new(done);
        let mut state = self.state.lock();
        if let Some(cause) = &state.failed {
            return Err(Error::Failed { cause: cause.clone() });
        }
        if state.closing {
            return Err(Error::Closed);
        }
        if state.held_bytes + frame.len() > self.limit_bytes {
            return Err(Error::QueueFull {
                queued_bytes: state.held_bytes,
                record_bytes: frame.len(),
                limit_bytes: self.limit_bytes,
            });
        }
        state.held_bytes += frame.len();
        state.waiting.frames.extend_from_slice(frame);
        state.waiting.records.push(Waiting { frame_bytes: frame.len(), now, done });
        drop(state);
        self.not_empty.notify_one();
        Ok(())
    }

    /// Waits for frames and swaps them into `batch`, which must be empty. Gives up at `deadline`.
    pub(crate) fn take(&self, batch: &mut Batch, deadline: Option<Instant>) -> Wake {
        let mut state = self.state.lock();
        while state.waiting.records.is_empty() {
            if state.closing {
                return Wake::Closed;
            }
            match deadline {
                None => self.not_empty.wait(&mut state),
                Some(deadline) => {
                    if self.not_empty.wait_until(&mut state, deadline).timed_out()
                        && state.waiting.records.is_empty()
                    {
                        return Wake::Time;
                    }
                }
            }
        }
        std::mem::swap(&mut state.waiting, batch);
        Wake::Batch
    }

    /// Gives back the room of frames that were written or refused.
    pub(crate) fn release(&self, bytes: usize) {
        let mut state = self.state.lock();
        state.held_bytes = state.held_bytes.saturating_sub(bytes);
    }

    pub(crate) fn held_bytes(&self) -> usize {
        self.state.lock().held_bytes
    }

    /// Lets the writer end once it has taken what is queued.
    pub(crate) fn close(&self) {
        self.state.lock().closing = true;
        self.not_empty.notify_all();
    }

    /// Refuses everything from now on.
    pub(crate) fn fail(&self, cause: &str) {
        self.state.lock().failed.get_or_insert_with(|| cause.to_owned());
    }

    /// Why everything is refused, if it is.
    pub(crate) fn failure(&self) -> Option<String> {
        self.state.lock().failed.clone()
    }

    /// What is still queued, after the writer has ended.
    pub(crate) fn abandon(&self) -> Batch {
        let mut state = self.state.lock();
        state.closing = true;
        state.held_bytes = 0;
        std::mem::take(&mut state.waiting)
    }
}

/// Begins a frame in `frame`: the header is blank until the writer knows the sequence.
pub(crate) fn begin_frame(frame: &mut Vec<u8>) {
    frame.clear();
    frame.extend_from_slice(&[0; FRAME_HEADER_BYTES]);
}

/// Gives a queued frame its sequence and its header, in a segment whose checksums go on from `seed`.
pub(crate) fn finish_frame(frame: &mut [u8], sequence: u64, seed: u32) {
    let Some((head, record)) = frame.split_first_chunk_mut::<FRAME_HEADER_BYTES>() else { return };
    crate::codec::set_sequence(record, sequence);
    *head = FrameHeader::of(seed, RECORD, record).encode();
}
