//! What is remembered about generations: one small record of the whole directory.
//!
//! Layout of version 2 inside the seal of [`crate::bytes`]: number of the next generation, hash of the configured
//! definitions (a flag, then 32 bytes), count, then every generation. Version 1, which is still read, lacks from when on
//! the log was whole (a flag, then the instant) and the users who were set aside (how many, then the keys of the first
//! of them). Not here: what a status allows (the parent).

use augur_domain::{ContentHash, Timestamp, UserKey};

use crate::bytes::{self, Reader};
use crate::error::DecodeError;
use crate::store::Generation;

const MAGIC: u8 = b'G';
const VERSION: u8 = 2;
/// So many users who were set aside are remembered by their keys; the others are counted.
pub(super) const SET_ASIDE_KEPT: usize = 100;

/// What becomes of a generation. Numbers are stored: never renumber.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum GenerationStatus {
    /// Its states are being computed.
    Building = 1,
    /// Every user has a state in it, kept current; nothing is read from it yet.
    Ready = 2,
    /// Everything is read from it.
    Serving = 3,
    /// Served before the present one and is kept current, so that it can serve again at once.
    Previous = 4,
    /// It will never be used again; its states are being removed.
    Retiring = 5,
    /// Its states are gone.
    Retired = 6,
}

impl GenerationStatus {
    const ALL: [Self; 6] =
        [Self::Building, Self::Ready, Self::Serving, Self::Previous, Self::Retiring, Self::Retired];

    /// The word used on the wire and in logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Building => "BUILDING",
            Self::Ready => "READY",
            Self::Serving => "SERVING",
            Self::Previous => "PREVIOUS",
            Self::Retiring => "RETIRING",
            Self::Retired => "RETIRED",
        }
    }

    /// Whether writers keep its states current.
    pub const fn is_live(self) -> bool {
        matches!(self, Self::Building | Self::Ready | Self::Serving | Self::Previous)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    /// Number of the generation after all there ever were.
    pub(crate) next: Generation,
    /// What the configured file said when it was last taken up: another hash means that somebody edited it.
    pub(crate) configured: Option<ContentHash>,
    /// Ascending.
    pub(crate) entries: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) generation: Generation,
    pub(crate) status: GenerationStatus,
    pub(crate) feature_set: ContentHash,
    /// Version of its state records.
    pub(crate) state_format: u8,
    /// The text of its definitions; empty when nobody knows it, and for the retired.
    pub(crate) text: String,
    /// The caller's, stored with the switch.
    pub(crate) note: String,
    /// The last user, in key order, whom the build has come past.
    pub(crate) cursor: Option<UserKey>,
    pub(crate) users_done: u64,
    pub(crate) events_done: u64,
    /// When the build began, events from this instant on had all been kept; `None` when all events ever had.
    pub(crate) history_from: Option<Timestamp>,
    /// Users whose log could not be read whole when their state was built.
    pub(crate) set_aside: u64,
    /// The first of them, ascending; at most [`SET_ASIDE_KEPT`].
    pub(crate) set_aside_users: Vec<UserKey>,
}

impl Record {
    pub(crate) const fn empty() -> Self {
        Self { next: Generation::FIRST, configured: None, entries: Vec::new() }
    }

    pub(crate) fn serving(&self) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.status == GenerationStatus::Serving)
    }

    pub(crate) fn entry(&self, generation: Generation) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.generation == generation)
    }

    pub(crate) fn entry_mut(&mut self, generation: Generation) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.generation == generation)
    }

    pub(crate) fn with_status(&self, status: GenerationStatus) -> Option<Generation> {
        self.entries.iter().find(|entry| entry.status == status).map(|entry| entry.generation)
    }

    /// A generation whose states are to go, of those that `may_go`.
    pub(crate) fn retiring(&self, may_go: impl Fn(Generation) -> bool) -> Option<Generation> {
        let mut retiring = self.entries.iter().filter(|entry| entry.status == GenerationStatus::Retiring);
        retiring.find(|entry| may_go(entry.generation)).map(|entry| entry.generation)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        bytes::seal(&mut out, MAGIC, VERSION, |out| {
            bytes::put_unsigned(out, u64::from(self.next.number()));
            out.push(u8::from(self.configured.is_some()));
            if let Some(configured) = &self.configured {
                out.extend_from_slice(configured.as_bytes());
            }
            bytes::put_unsigned(out, self.entries.len() as u64);
            for entry in &self.entries {
                entry.encode(out);
            }
        });
        out
    }

    pub(crate) fn decode(record: &[u8]) -> Result<Self, DecodeError> {
        let (version, mut reader) = bytes::unseal(record, MAGIC, VERSION)?;
        let next = take_generation(&mut reader)?;
        let configured = match reader.byte("configured definitions")? {
            0 => None,
            1 => Some(ContentHash::from_bytes(reader.array("configured definitions")?)),
            _ => return Err(DecodeError::Invalid { field: "configured definitions" }),
        };
        let count = reader.count("generations", 40)?;
        let mut entries: Vec<Entry> = Vec::with_capacity(count);
        for _ in 0..count {
            let entry = Entry::decode(&mut reader, version)?;
            if entry.generation >= next || entries.last().is_some_and(|it| it.generation >= entry.generation)
            {
                return Err(DecodeError::Invalid { field: "generation order" });
            }
            entries.push(entry);
        }
        reader.finish()?;
        Ok(Self { next, configured, entries })
    }
}

impl Entry {
    fn encode(&self, out: &mut Vec<u8>) {
        bytes::put_unsigned(out, u64::from(self.generation.number()));
        out.push(self.status as u8);
        out.extend_from_slice(self.feature_set.as_bytes());
        out.push(self.state_format);
        bytes::put_text(out, &self.text);
        bytes::put_text(out, &self.note);
        out.push(u8::from(self.cursor.is_some()));
        if let Some(cursor) = &self.cursor {
            out.extend_from_slice(cursor.as_bytes());
        }
        bytes::put_unsigned(out, self.users_done);
        bytes::put_unsigned(out, self.events_done);
        out.push(u8::from(self.history_from.is_some()));
        if let Some(history_from) = self.history_from {
            bytes::put_signed(out, history_from.unix_ms());
        }
        bytes::put_unsigned(out, self.set_aside);
        bytes::put_unsigned(out, self.set_aside_users.len() as u64);
        for user in &self.set_aside_users {
            out.extend_from_slice(user.as_bytes());
        }
    }

    fn decode(reader: &mut Reader<'_>, version: u8) -> Result<Self, DecodeError> {
        let generation = take_generation(reader)?;
        let status = reader.byte("generation status")?;
        let status = GenerationStatus::ALL.into_iter().find(|known| *known as u8 == status);
        let mut entry = Self {
            generation,
            status: status.ok_or(DecodeError::Invalid { field: "generation status" })?,
            feature_set: ContentHash::from_bytes(reader.array("feature set")?),
            state_format: reader.byte("state format")?,
            text: reader.text("definitions")?.to_owned(),
            note: reader.text("note")?.to_owned(),
            cursor: match reader.byte("cursor")? {
                0 => None,
                1 => Some(UserKey::from_bytes(reader.array("cursor")?)),
                _ => return Err(DecodeError::Invalid { field: "cursor" }),
            },
            users_done: reader.unsigned("users done")?,
            events_done: reader.unsigned("events done")?,
            history_from: None,
            set_aside: 0,
            set_aside_users: Vec::new(),
        };
        if version > 1 {
            entry.decode_limits(reader)?;
        }
        Ok(entry)
    }

    /// What version 1 lacks.
    fn decode_limits(&mut self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        self.history_from = match reader.byte("history")? {
            0 => None,
            1 => Some(Timestamp::from_unix_ms(reader.signed("history")?)),
            _ => return Err(DecodeError::Invalid { field: "history" }),
        };
        self.set_aside = reader.unsigned("users set aside")?;
        let count = reader.count("users set aside", UserKey::LEN)?;
        for _ in 0..count {
            self.set_aside_users.push(UserKey::from_bytes(reader.array("users set aside")?));
        }
        let ascend = self.set_aside_users.is_sorted_by(|one, two| one < two);
        if !ascend || count > SET_ASIDE_KEPT || count as u64 > self.set_aside {
            return Err(DecodeError::Invalid { field: "users set aside" });
        }
        Ok(())
    }

    /// Notes a user whose log cannot be read whole; once each, as long as the list has room.
    pub(super) fn set_aside(&mut self, user: UserKey) {
        let Err(place) = self.set_aside_users.binary_search(&user) else { return };
        self.set_aside = self.set_aside.saturating_add(1);
        if self.set_aside_users.len() < SET_ASIDE_KEPT {
            self.set_aside_users.insert(place, user);
        }
    }
}

fn take_generation(reader: &mut Reader<'_>) -> Result<Generation, DecodeError> {
    const FIELD: &str = "generation";
    let number = u32::try_from(reader.unsigned(FIELD)?).ok().and_then(Generation::new);
    number.ok_or(DecodeError::Invalid { field: FIELD })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn example() -> Record {
        let first = Entry {
            generation: Generation::FIRST,
            status: GenerationStatus::Serving,
            feature_set: ContentHash::from_bytes([1; 32]),
            state_format: 2,
            text: "version = 1".to_owned(),
            note: String::new(),
            cursor: None,
            users_done: 0,
            events_done: 0,
            history_from: None,
            set_aside: 0,
            set_aside_users: Vec::new(),
        };
        let second = Entry {
            generation: Generation::new(2).unwrap(),
            status: GenerationStatus::Building,
            feature_set: ContentHash::from_bytes([2; 32]),
            note: "n".to_owned(),
            cursor: Some(UserKey::from_bytes([7; 16])),
            users_done: 300,
            events_done: 5,
            history_from: Some(Timestamp::from_unix_ms(1_000)),
            set_aside: 2,
            set_aside_users: vec![UserKey::from_bytes([8; 16])],
            ..first.clone()
        };
        Record {
            next: Generation::new(3).unwrap(),
            configured: Some(ContentHash::from_bytes([1; 32])),
            entries: vec![first, second],
        }
    }

    #[test]
    fn golden_bytes() {
        let record = example().encode();
        let hex: String = record.iter().map(|byte| format!("{byte:02x}")).collect();
        let (one, two, seven) = ("01".repeat(32), "02".repeat(32), "07".repeat(16));
        let text = "020b76657273696f6e203d2031";
        let eight = "08".repeat(16);
        let body = format!(
            "4702 03 01{one} 02 0103{one}{text}00 00 00 00 00 00 00 \
             0201{two}{text}016e 01{seven} ac02 05 01d00f 02 01{eight}",
        );
        assert_eq!(hex[..hex.len() - 8], body.replace(' ', ""), "stored directories depend on these bytes");
        assert_eq!(Record::decode(&record).unwrap(), example());
    }

    #[test]
    fn golden_bytes_of_version_1() {
        let (one, two, seven) = ("01".repeat(32), "02".repeat(32), "07".repeat(16));
        let text = "020b76657273696f6e203d2031";
        let body =
            format!("4701 03 01{one} 02 0103{one}{text}00 00 00 00 0201{two}{text}016e 01{seven} ac02 05");
        let hex = body.replace(' ', "");
        let mut record: Vec<u8> =
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
        let checksum = crc32c::crc32c(&record);
        record.extend_from_slice(&checksum.to_le_bytes());
        let mut expected = example();
        for entry in &mut expected.entries {
            (entry.history_from, entry.set_aside) = (None, 0);
            entry.set_aside_users.clear();
        }
        assert_eq!(Record::decode(&record).unwrap(), expected);
    }

    #[test]
    fn more_users_than_are_listed_are_counted() {
        let mut record = example();
        let entry = record.entry_mut(Generation::FIRST).unwrap();
        for number in 0..=SET_ASIDE_KEPT as u8 {
            entry.set_aside(UserKey::from_bytes([number; 16]));
            entry.set_aside(UserKey::from_bytes([0; 16]));
        }
        let (counted, listed) = (entry.set_aside, entry.set_aside_users.len());
        assert_eq!((counted, listed), (SET_ASIDE_KEPT as u64 + 1, SET_ASIDE_KEPT));
        assert_eq!(Record::decode(&record.encode()).unwrap(), record);
    }

    #[test]
    fn numbers_ascend_below_the_next() {
        let mut record = example();
        record.next = Generation::new(2).unwrap();
        assert!(Record::decode(&record.encode()).is_err());
        let mut record = example();
        record.entries.reverse();
        assert!(Record::decode(&record.encode()).is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(body: Vec<u8>) {
            let mut record = Vec::new();
            bytes::seal(&mut record, MAGIC, VERSION, |out| out.extend_from_slice(&body));
            let _ = (Record::decode(&record), Record::decode(&body));
        }
    }
}
