//! One user's event log in blocks, so that however many events a user has, a bounded number is in memory.
//!
//! A log that fits into one block, as nearly all do, is read once and kept. Of a longer one only an index stays: where
//! each block begins and how early its events may be seen. Not here: what events do to features (`past`).

use augur_domain::{Timestamp, UserKey};

use crate::store::{EventCursor, EventRecord, Read};
use crate::{Error, StoredEvent, rebuild};

/// Records stepped over before a jump is cheaper.
const STEPS_BEFORE_JUMP: usize = 16;
/// What a decoded event takes beyond its bytes in the log, about: names and values are allocations of their own.
const DECODED_BYTES: usize = 256;
/// What each byte of a record becomes at most, about.
const DECODED_FACTOR: usize = 3;

/// The whole event log, walked forward user by user.
pub(crate) struct EventLog<'a> {
    cursor: Box<dyn EventCursor + 'a>,
    /// Read, and not yet taken.
    ahead: Option<EventRecord>,
    /// About as many bytes of decoded events are held at once.
    block_bytes: usize,
}

impl<'a> EventLog<'a> {
    pub(crate) fn open(store: &'a dyn Read, block_bytes: usize) -> Result<Self, Error> {
        Ok(Self { cursor: store.event_cursor()?, ahead: None, block_bytes })
    }

    /// Goes to the first event of `user`, who is behind every user before: by steps when that is near.
    fn advance_to(&mut self, user: UserKey) -> Result<(), Error> {
        for _ in 0..STEPS_BEFORE_JUMP {
            if self.ahead.is_none() {
                self.ahead = self.cursor.next_record()?;
            }
            match &self.ahead {
                Some(record) if record.user < user => self.ahead = None,
                _ => return Ok(()),
            }
        }
        self.seek(user, 0)
    }

    fn seek(&mut self, user: UserKey, sequence: u64) -> Result<(), Error> {
        self.ahead = None;
        self.cursor.seek(user, sequence)
    }

    fn next_of(&mut self, user: UserKey) -> Result<Option<EventRecord>, Error> {
        if self.ahead.is_none() {
            self.ahead = self.cursor.next_record()?;
        }
        Ok(self.ahead.take_if(|record| record.user == user))
    }

    /// The next events of `user`, as many as a block holds; empty at the end of the user's log.
    fn block(&mut self, user: UserKey) -> Result<Vec<StoredEvent>, Error> {
        let (mut events, mut bytes) = (Vec::new(), 0_usize);
        while bytes < self.block_bytes {
            let Some(record) = self.next_of(user)? else { break };
            let decoded = record.record.len().saturating_mul(DECODED_FACTOR).saturating_add(DECODED_BYTES);
            bytes = bytes.saturating_add(decoded);
            events.push(rebuild::decode(record)?);
        }
        Ok(events)
    }
}

/// Where a block begins.
#[derive(Debug, Clone, Copy)]
struct Block {
    first_sequence: u64,
    /// The earliest instant from which one of its events, or of those in later blocks, may be seen.
    visible_from: Timestamp,
}

/// A place in one user's log, between events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Place {
    block: usize,
    /// Events of the block before it.
    event: usize,
}

/// One user's log.
pub(crate) struct UserLog {
    user: UserKey,
    blocks: Vec<Block>,
    /// The block in memory, with its number.
    loaded: usize,
    events: Vec<StoredEvent>,
    /// Beside each event, the earliest instant from which it or a later event of the user may be seen.
    visible_from: Vec<Timestamp>,
}

impl UserLog {
    /// Reads the user's log behind `after`, all of it when it is longer than a block.
    pub(super) fn open(log: &mut EventLog<'_>, user: UserKey, after: u64) -> Result<Self, Error> {
        match after {
            0 => log.advance_to(user)?,
            _ => log.seek(user, after.saturating_add(1))?,
        }
        Self::read(log, user)
    }

    /// [`Self::open`] of a user who may be anywhere.
    pub(crate) fn open_at(log: &mut EventLog<'_>, user: UserKey, after: u64) -> Result<Self, Error> {
        log.seek(user, after.saturating_add(1))?;
        Self::read(log, user)
    }

    fn read(log: &mut EventLog<'_>, user: UserKey) -> Result<Self, Error> {
        let mut this =
            Self { user, blocks: Vec::new(), loaded: 0, events: Vec::new(), visible_from: Vec::new() };
        let mut events = log.block(user)?;
        while let Some(first) = events.first() {
            let visible_from = events.iter().map(StoredEvent::visible_at).min().unwrap_or(Timestamp::MAX);
            this.blocks.push(Block { first_sequence: first.sequence, visible_from });
            this.loaded = this.blocks.len() - 1;
            this.events = events;
            events = log.block(user)?;
        }
        let mut later = Timestamp::MAX;
        for block in this.blocks.iter_mut().rev() {
            block.visible_from = block.visible_from.min(later);
            later = block.visible_from;
        }
        this.index();
        Ok(this)
    }

    /// The event behind `place`; `None` at the end of the log. Moves `place` on, over the end of a block too.
    pub(crate) fn next(
        &mut self,
        log: &mut EventLog<'_>,
        place: &mut Place,
    ) -> Result<Option<&StoredEvent>, Error> {
        while place.block < self.blocks.len() {
            self.load(log, place.block)?;
            if place.event < self.events.len() {
                place.event += 1;
                return Ok(self.events.get(place.event - 1));
            }
            *place = Place { block: place.block + 1, event: 0 };
        }
        Ok(None)
    }

    /// The earliest instant from which an event behind `place` may be seen, or one before it when the place is in a
    /// block that is not in memory.
    pub(crate) fn visible_from(&self, place: Place) -> Timestamp {
        let in_memory = place.block == self.loaded;
        let in_block = self.visible_from.get(place.event).filter(|_| in_memory).copied();
        let block = place.block + usize::from(in_memory);
        let from_block = || self.blocks.get(block).map(|block| block.visible_from);
        in_block.or_else(from_block).unwrap_or(Timestamp::MAX)
    }

    fn load(&mut self, log: &mut EventLog<'_>, number: usize) -> Result<(), Error> {
        let Some(block) = self.blocks.get(number).filter(|_| number != self.loaded) else { return Ok(()) };
        log.seek(self.user, block.first_sequence)?;
        self.events.clear();
        self.events = log.block(self.user)?;
        self.loaded = number;
        self.index();
        Ok(())
    }

    fn index(&mut self) {
        let mut later = self.blocks.get(self.loaded + 1).map_or(Timestamp::MAX, |block| block.visible_from);
        self.visible_from.clear();
        self.visible_from.extend(self.events.iter().rev().map(|stored| {
            later = later.min(stored.visible_at());
            later
        }));
        self.visible_from.reverse();
    }
}
