//! Where a log begins since its first segments were removed, and what the chain of sealed segments goes on from.
//!
//! Not here: what is removed and when (`retention`).
//!
//! The file `RETAINED` is written, synced and renamed before anything is removed: segments before the one that it names
//! are gone, whether or not their files still are. It holds, little-endian:
//!
//! `"AUGURRET" | magic of the log [8] | version u16 | zero u16 | first sequence u64 | previous hash [32] |
//! removed segments u64 | removed bytes u64 | removed until i64 | crc32c u32`

use std::io;
use std::path::Path;

use augur_domain::{ContentHash, Timestamp};

use crate::codec::read::{Cursor, malformed};
use crate::codec::write::Put as _;
use crate::disk::Disk;
use crate::error::Error;
use crate::format::Format;

const FILE: &str = "RETAINED";
const MAGIC: &[u8; 8] = b"AUGURRET";
const VERSION: u16 = 1;
const CHECKSUM_BYTES: usize = 4;
/// A file of more than this many bytes is not one of ours.
const MOST_BYTES: u64 = 1024;

/// What is left of segments that were removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Anchor {
    /// Sequence of the first record that is kept.
    pub first_sequence: u64,
    /// The hash of the last segment that was removed, which the first kept one names as that of the one before.
    pub previous: ContentHash,
    /// Segments removed so far.
    pub removed_segments: u64,
    /// Bytes of their files.
    pub removed_bytes: u64,
    /// The latest instant of a record that was removed.
    pub removed_until: Timestamp,
}

impl Anchor {
    /// The anchor of a log that nothing was removed from.
    pub(crate) const fn none() -> Self {
        Self {
            first_sequence: 1,
            previous: ContentHash::from_bytes([0; 32]),
            removed_segments: 0,
            removed_bytes: 0,
            removed_until: Timestamp::MIN,
        }
    }

    pub(crate) fn encode(&self, format: &Format) -> Vec<u8> {
        let mut out = Vec::with_capacity(88);
        out.put_bytes(MAGIC);
        out.put_bytes(&format.magic);
        out.put_u16(VERSION);
        out.put_u16(0);
        out.put_u64(self.first_sequence);
        out.put_bytes(self.previous.as_bytes());
        out.put_u64(self.removed_segments);
        out.put_u64(self.removed_bytes);
        out.put_i64(self.removed_until.unix_ms());
        out.put_u32(crc32c::crc32c(&out));
        out
    }

    pub(crate) fn decode(format: &Format, bytes: &[u8]) -> Result<Self, Error> {
        let fault = |reason: &str| malformed("anchor", 0, reason.to_owned());
        let (covered, crc) = bytes
            .split_at_checked(bytes.len().saturating_sub(CHECKSUM_BYTES))
            .ok_or_else(|| fault("it is too short"))?;
        if crc32c::crc32c(covered).to_le_bytes() != *crc {
            return Err(fault("it does not match its checksum"));
        }
        Cursor::new(covered, 0).whole("anchor", |cursor| {
            if cursor.array("magic")? != *MAGIC || cursor.array("log")? != format.magic {
                return Err(fault("it is not that of this kind of log"));
            }
            let version = cursor.u16("version")?;
            if version != VERSION {
                return Err(Error::RecordVersion { found: version, supported: VERSION });
            }
            if cursor.u16("zero")? != 0 {
                return Err(fault("it holds values that are never written"));
            }
            let anchor = Self {
                first_sequence: cursor.u64("first_sequence")?,
                previous: ContentHash::from_bytes(cursor.array("previous")?),
                removed_segments: cursor.u64("removed_segments")?,
                removed_bytes: cursor.u64("removed_bytes")?,
                removed_until: cursor.timestamp("removed_until")?,
            };
            if anchor.first_sequence == 0 { Err(fault("records are counted from 1")) } else { Ok(anchor) }
        })
    }

    /// The anchor of the log in `dir`.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Corrupted`] when the file is damaged: which records belong to the log is not known then.
    pub(crate) fn read(format: &Format, dir: &Path) -> Result<Self, Error> {
        use std::io::Read as _;
        let path = dir.join(FILE);
        let mut bytes = Vec::new();
        let read = std::fs::File::open(&path).and_then(|file| file.take(MOST_BYTES).read_to_end(&mut bytes));
        match read {
            Ok(_) => Self::decode(format, &bytes).map_err(|error| match error {
                Error::RecordVersion { found, supported } => {
                    Error::UnsupportedVersion { file: path, offset: 16, what: "anchor", found, supported }
                }
                other => Error::corrupted(&path, 0, other.to_string()),
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::none()),
            Err(error) => Err(Error::io("read", &path, error)),
        }
    }

    /// Puts this anchor in the place of the one before, on the disk when this returns.
    pub(crate) fn write(&self, format: &Format, disk: &mut dyn Disk, dir: &Path) -> Result<(), Error> {
        let (path, beside) = (dir.join(FILE), dir.join(format!("{FILE}.new")));
        let failed = |action| {
            let path = beside.clone();
            move |error| Error::io(action, &path, error)
        };
        match disk.remove(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("remove")(error)),
            _ => {}
        }
        let mut file = disk.create(&beside).map_err(failed("create"))?;
        file.write_at(0, &self.encode(format)).map_err(failed("write"))?;
        file.sync().map_err(failed("sync"))?;
        disk.rename(&beside, &path).map_err(failed("rename"))?;
        disk.sync_dir(dir).map_err(failed("sync the directory of"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::disk::SystemDisk;
    use crate::format::DECISIONS;

    fn anchor() -> Anchor {
        Anchor {
            first_sequence: 901,
            previous: ContentHash::from_bytes([3; 32]),
            removed_segments: 2,
            removed_bytes: 5_000,
            removed_until: Timestamp::from_unix_ms(1_795_366_965_123),
        }
    }

    #[test]
    fn golden_bytes_of_version_1() {
        let text: String = anchor().encode(&DECISIONS).iter().map(|byte| format!("{byte:02x}")).collect();
        let golden = "4155475552524554".to_owned()
            + "41554755524c4f47"
            + "01000000"
            + "8503000000000000"
            + &"03".repeat(32)
            + "0200000000000000"
            + "8813000000000000"
            + "83cf3504a2010000"
            + "97cd578e";
        assert_eq!(text, golden);
        assert_eq!(Anchor::decode(&DECISIONS, &anchor().encode(&DECISIONS)).unwrap(), anchor());
    }

    #[test]
    fn it_is_read_as_written_and_absent_without_a_file() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Anchor::read(&DECISIONS, dir.path()).unwrap(), Anchor::none());
        for first_sequence in [901, 950] {
            let anchor = Anchor { first_sequence, ..anchor() };
            anchor.write(&DECISIONS, &mut SystemDisk, dir.path()).unwrap();
            assert_eq!(Anchor::read(&DECISIONS, dir.path()).unwrap(), anchor);
        }
        let other = crate::Format { magic: *b"AUGUROUT", ..DECISIONS };
        assert!(matches!(Anchor::read(&other, dir.path()), Err(Error::Corrupted { .. })));
    }

    #[test]
    fn no_flipped_bit_passes() {
        let bytes = anchor().encode(&DECISIONS);
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Anchor::decode(&DECISIONS, &damaged).is_err(), "bit {bit}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(anchor) = Anchor::decode(&DECISIONS, &bytes) {
                prop_assert_eq!(anchor.encode(&DECISIONS), bytes);
            }
        }
    }
}
