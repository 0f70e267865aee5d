//! What is remembered about generations: one small record of the whole directory.
//!
//! Layout of version 1 inside the seal of [`crate::bytes`]: number of the next generation, hash of the configured
//! definitions (a flag, then 32 bytes), count, then every generation. Not here: what a status allows (the parent).

use augur_domain::{ContentHash, UserKey};

use crate::bytes::{self, Reader};
use crate::error::DecodeError;
use crate::store::Generation;

const MAGIC: u8 = b'G';
const VERSION: u8 = 1;

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
        let (_, mut reader) = bytes::unseal(record, MAGIC, VERSION)?;
        let next = take_generation(&mut reader)?;
        let configured = match reader.byte("configured definitions")? {
            0 => None,
            1 => Some(ContentHash::from_bytes(reader.array("configured definitions")?)),
            _ => return Err(DecodeError::Invalid { field: "configured definitions" }),
        };
        let count = reader.count("generations", 40)?;
        let mut entries: Vec<Entry> = Vec::with_capacity(count);
        for _ in 0..count {
            let entry = Entry::decode(&mut reader)?;
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
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let generation = take_generation(reader)?;
        let status = reader.byte("generation status")?;
        let status = GenerationStatus::ALL.into_iter().find(|known| *known as u8 == status);
        Ok(Self {
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
        })
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
        };
        let second = Entry {
            generation: Generation::new(2).unwrap(),
            status: GenerationStatus::Building,
            feature_set: ContentHash::from_bytes([2; 32]),
            note: "n".to_owned(),
            cursor: Some(UserKey::from_bytes([7; 16])),
            users_done: 300,
            events_done: 5,
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
        let body =
            format!("4701 03 01{one} 02 0103{one}{text}00 00 00 00 0201{two}{text}016e 01{seven} ac02 05",);
        assert_eq!(hex[..hex.len() - 8], body.replace(' ', ""), "stored directories depend on these bytes");
        assert_eq!(Record::decode(&record).unwrap(), example());
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
