//! The bytes within the frames of a sealed segment.
//!
//! Not here: reading a file (`read`) or writing one (`write`).

use augur_domain::{ContentHash, DecisionId, Timestamp};

use crate::codec::read::{Cursor, malformed};
use crate::codec::write::Put as _;
use crate::config::MAX_RECORD_BYTES;
use crate::error::Error;
use crate::format::Format;
use crate::header::Header;
use crate::segment::FRAME_HEADER_BYTES;

/// The frame of a block of records.
pub(crate) const BLOCK: u8 = 3;
/// The frame of the index.
pub(crate) const INDEX: u8 = 4;
/// The frame that ends the file.
pub(crate) const FOOTER: u8 = 5;

/// A block is closed once it holds this many raw bytes.
pub(crate) const BLOCK_BYTES: usize = 256 * 1024;
/// Most raw bytes of a block: one that was nearly full took the largest record.
pub(crate) const MOST_BLOCK_BYTES: usize = BLOCK_BYTES + MAX_RECORD_BYTES + 4;
/// Bytes of a block's payload before what is compressed.
pub(crate) const BLOCK_HEAD_BYTES: usize = 16;
const FOOTER_BYTES: usize = 104;
/// Bytes of the last frame of the file.
pub(crate) const FOOTER_FRAME_BYTES: usize = FRAME_HEADER_BYTES + FOOTER_BYTES;
/// Bytes of an index by block and by id.
const PLACE_BYTES: usize = 32;
const ID_BYTES: usize = 8;

/// What a block says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlockHead {
    pub(crate) first_sequence: u64,
    pub(crate) records: u32,
    pub(crate) raw_bytes: u32,
}

impl BlockHead {
    pub(crate) fn encode(self, out: &mut Vec<u8>) {
        out.put_u64(self.first_sequence);
        out.put_u32(self.records);
        out.put_u32(self.raw_bytes);
    }

    /// Reads the head and gives back what is compressed.
    pub(crate) fn decode(payload: &[u8]) -> Result<(Self, &[u8]), Error> {
        let mut cursor = Cursor::new(payload, 0);
        let head = Self {
            first_sequence: cursor.u64("first_sequence")?,
            records: cursor.u32("records")?,
            raw_bytes: cursor.u32("raw_bytes")?,
        };
        if head.raw_bytes as usize > MOST_BLOCK_BYTES {
            let reason = format!("{}, expected at most {MOST_BLOCK_BYTES}", head.raw_bytes);
            return Err(malformed("raw_bytes", 12, reason));
        }
        Ok((head, payload.get(BLOCK_HEAD_BYTES..).unwrap_or_default()))
    }
}

/// Where a block lies, from when it is and what it begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlockPlace {
    pub(crate) offset: u64,
    pub(crate) first_sequence: u64,
    pub(crate) earliest: Timestamp,
    pub(crate) latest: Timestamp,
}

/// Where to find records by sequence, by time and by the id of their decision.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Index {
    /// Ascending.
    pub(crate) blocks: Vec<BlockPlace>,
    /// Fingerprint and place of each record, ascending.
    pub(crate) ids: Vec<(u32, u32)>,
}

/// The few bits of an id that the index keeps.
pub(crate) fn fingerprint(id: DecisionId) -> u32 {
    crc32c::crc32c(id.as_bytes())
}

impl Index {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(8 + self.blocks.len() * PLACE_BYTES + self.ids.len() * ID_BYTES);
        out.put_count(self.blocks.len());
        for block in &self.blocks {
            out.put_u64(block.offset);
            out.put_u64(block.first_sequence);
            out.put_i64(block.earliest.unix_ms());
            out.put_i64(block.latest.unix_ms());
        }
        out.put_count(self.ids.len());
        for (fingerprint, place) in &self.ids {
            out.put_u32(*fingerprint);
            out.put_u32(*place);
        }
        out
    }

    pub(crate) fn decode(payload: &[u8]) -> Result<Self, Error> {
        let index = Cursor::new(payload, 0).whole("index", |cursor| {
            let blocks = cursor.list("index.blocks", PLACE_BYTES, |cursor| {
                Ok(BlockPlace {
                    offset: cursor.u64("offset")?,
                    first_sequence: cursor.u64("first_sequence")?,
                    earliest: cursor.timestamp("earliest")?,
                    latest: cursor.timestamp("latest")?,
                })
            })?;
            let ids = cursor.list("index.ids", ID_BYTES, |cursor| {
                Ok((cursor.u32("fingerprint")?, cursor.u32("place")?))
            })?;
            Ok(Self { blocks, ids })
        })?;
        let ascend =
            |a: &BlockPlace, b: &BlockPlace| a.offset < b.offset && a.first_sequence < b.first_sequence;
        if !index.blocks.is_sorted_by(ascend) || !index.ids.is_sorted_by(|a, b| a < b) {
            return Err(malformed("index", 0, "its entries do not ascend".to_owned()));
        }
        Ok(index)
    }

    /// The block that holds record `sequence`, if any does.
    pub(crate) fn block_of(&self, sequence: u64) -> Option<&BlockPlace> {
        let behind = self.blocks.partition_point(|block| block.first_sequence <= sequence);
        self.blocks.get(behind.checked_sub(1)?)
    }

    /// The first block that holds anything made at `at` or later, as far as instants tell; else the last.
    pub(crate) fn block_at(&self, at: Timestamp) -> Option<&BlockPlace> {
        self.blocks.iter().find(|block| block.latest >= at).or(self.blocks.last())
    }

    /// The places of records that may be of the decision `id`, ascending.
    pub(crate) fn places_of(&self, id: DecisionId) -> impl Iterator<Item = u32> {
        let wanted = fingerprint(id);
        let begin = self.ids.partition_point(|(known, _)| *known < wanted);
        let behind = self.ids.get(begin..).unwrap_or_default();
        behind.iter().take_while(move |(known, _)| *known == wanted).map(|(_, place)| *place)
    }
}

/// What a sealed segment ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Footer {
    pub(crate) last_sequence: u64,
    pub(crate) earliest: Timestamp,
    pub(crate) latest: Timestamp,
    /// Bytes of the records as they were encoded.
    pub(crate) record_bytes: u64,
    pub(crate) index_offset: u64,
    /// Hash of the sealed segment before.
    pub(crate) previous: ContentHash,
    pub(crate) hash: ContentHash,
}

impl Footer {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(FOOTER_BYTES);
        out.put_u64(self.last_sequence);
        out.put_i64(self.earliest.unix_ms());
        out.put_i64(self.latest.unix_ms());
        out.put_u64(self.record_bytes);
        out.put_u64(self.index_offset);
        out.put_bytes(self.previous.as_bytes());
        out.put_bytes(self.hash.as_bytes());
        out
    }

    pub(crate) fn decode(payload: &[u8]) -> Result<Self, Error> {
        Cursor::new(payload, 0).whole("footer", |cursor| {
            Ok(Self {
                last_sequence: cursor.u64("last_sequence")?,
                earliest: cursor.timestamp("earliest")?,
                latest: cursor.timestamp("latest")?,
                record_bytes: cursor.u64("record_bytes")?,
                index_offset: cursor.u64("index_offset")?,
                previous: ContentHash::from_bytes(cursor.array("previous")?),
                hash: ContentHash::from_bytes(cursor.array("hash")?),
            })
        })
    }
}

/// The hash of a sealed segment with this header; `blocks` are the hashes of its raw blocks, one behind the other.
pub(crate) fn hash(
    format: &Format,
    header: &Header,
    last_sequence: u64,
    previous: ContentHash,
    blocks: &[u8],
) -> ContentHash {
    ContentHash::of(&[
        b"augur sealed segment 1",
        &format.magic,
        &header.base.to_le_bytes(),
        &last_sequence.to_le_bytes(),
        &header.created_at.unix_ms().to_le_bytes(),
        previous.as_bytes(),
        blocks,
    ])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(unix_ms: i64) -> Timestamp {
        Timestamp::from_unix_ms(unix_ms)
    }

    fn place(offset: u64, first_sequence: u64) -> BlockPlace {
        BlockPlace { offset, first_sequence, earliest: at(5), latest: at(9) }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn golden_bytes() {
        let mut head = Vec::new();
        BlockHead { first_sequence: 3, records: 2, raw_bytes: 700 }.encode(&mut head);
        assert_eq!(hex(&head), "0300000000000000".to_owned() + "02000000" + "bc020000");
        let index = Index { blocks: vec![place(44, 1)], ids: vec![(7, 0), (9, 1)] };
        let golden = "01000000".to_owned()
            + "2c00000000000000"
            + "0100000000000000"
            + "0500000000000000"
            + "0900000000000000"
            + "02000000"
            + "0700000000000000"
            + "0900000001000000";
        assert_eq!(hex(&index.encode()), golden);
        assert_eq!(Index::decode(&index.encode()).unwrap(), index);
        let footer = Footer {
            last_sequence: 2,
            earliest: at(5),
            latest: at(9),
            record_bytes: 600,
            index_offset: 400,
            previous: ContentHash::from_bytes([1; 32]),
            hash: ContentHash::from_bytes([2; 32]),
        };
        let golden = "0200000000000000".to_owned()
            + "0500000000000000"
            + "0900000000000000"
            + "5802000000000000"
            + "9001000000000000"
            + &"01".repeat(32)
            + &"02".repeat(32);
        assert_eq!(hex(&footer.encode()), golden);
        assert_eq!(Footer::decode(&footer.encode()).unwrap(), footer);
        assert_eq!(footer.encode().len(), FOOTER_BYTES);
    }

    #[test]
    fn an_index_finds_by_sequence_time_and_id() {
        let mut blocks = vec![place(44, 1), place(900, 10), place(2_000, 25)];
        for (block, latest) in blocks.iter_mut().zip([10, 20, 15]) {
            block.latest = at(latest);
        }
        let [one, two] = [[1; 10], [2; 10]].map(|tail| DecisionId::new(at(7), tail));
        let mut ids: Vec<(u32, u32)> =
            vec![(fingerprint(one), 30), (fingerprint(two), 4), (fingerprint(one), 9)];
        ids.sort_unstable();
        let index = Index { blocks, ids };
        let block = |sequence| index.block_of(sequence).map(|block| block.offset);
        assert_eq!([0, 1, 9, 10, 99].map(block), [None, Some(44), Some(44), Some(900), Some(2_000)]);
        let since = |unix_ms| index.block_at(at(unix_ms)).map(|block| block.offset);
        assert_eq!([1, 10, 11, 20, 21].map(since), [44, 44, 900, 900, 2_000].map(Some));
        assert_eq!(index.places_of(one).collect::<Vec<_>>(), [9, 30]);
        assert_eq!(index.places_of(two).collect::<Vec<_>>(), [4]);
        assert_eq!(index.places_of(DecisionId::new(at(8), [1; 10])).count(), 0);
    }

    #[test]
    fn what_does_not_ascend_is_refused() {
        for index in [
            Index { blocks: vec![place(44, 1), place(44, 2)], ids: Vec::new() },
            Index { blocks: vec![place(44, 2), place(45, 2)], ids: Vec::new() },
            Index { blocks: Vec::new(), ids: vec![(1, 1), (1, 1)] },
        ] {
            assert!(Index::decode(&index.encode()).is_err(), "{index:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = BlockHead::decode(&bytes);
            if let Ok(index) = Index::decode(&bytes) {
                prop_assert_eq!(index.encode(), bytes.clone());
            }
            if let Ok(footer) = Footer::decode(&bytes) {
                prop_assert_eq!(footer.encode(), bytes);
            }
        }
    }
}
