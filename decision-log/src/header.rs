//! The first bytes of a segment's file, by which its versions are told apart.
//!
//! Not here: the frames behind them (`segment`), or what a sealed segment holds (`sealed`).
//!
//! Every version begins with the same 32 bytes:
//!
//! `magic | version u16 | zero u16 | base sequence u64 | created_at i64 | crc32c u32`
//!
//! The magic is that of the kind of log (`format`), "AUGURLOG" for decisions. `created_at` is the instant of the first
//! record in milliseconds; the checksum covers the bytes before it.
//!
//! Version 1 has frames behind that. The later ones have `salt u64 | crc32c u32` first, the checksum being the salt's own,
//! and the checksums of their frames go on from that of the salt: who sends bytes that end up in a record cannot know it,
//! so no frame among them is ever taken for one of the log's. Version 3 is a sealed segment, which has the name of the
//! one that it took the place of.

use augur_domain::Timestamp;

use crate::format::Format;

/// The latest version.
pub(crate) const NEWEST_VERSION: u16 = 3;
/// Bytes that every version begins with.
pub(crate) const HEADER_BYTES: usize = 32;
/// Bytes before the first frame of versions 2 and 3.
pub(crate) const SALTED_HEADER_BYTES: usize = 44;

/// What follows the bytes that all versions have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Version 1: frames.
    Plain,
    /// Version 2: frames whose checksums nobody outside can reckon.
    Salted(u64),
    /// Version 3: blocks and an index.
    Sealed(u64),
}

impl Layout {
    const fn version(self) -> u16 {
        match self {
            Self::Plain => 1,
            Self::Salted(_) => 2,
            Self::Sealed(_) => 3,
        }
    }

    /// Bytes before the first frame.
    pub(crate) const fn header_bytes(self) -> usize {
        match self {
            Self::Plain => HEADER_BYTES,
            Self::Salted(_) | Self::Sealed(_) => SALTED_HEADER_BYTES,
        }
    }

    /// What the checksums of frames go on from.
    pub(crate) fn seed(self) -> u32 {
        match self {
            Self::Plain => 0,
            Self::Salted(salt) | Self::Sealed(salt) => crc32c::crc32c(&salt.to_le_bytes()),
        }
    }

    /// What nobody outside knows, of versions that have it.
    pub(crate) const fn salt(self) -> Option<u64> {
        match self {
            Self::Plain => None,
            Self::Salted(salt) | Self::Sealed(salt) => Some(salt),
        }
    }
}

/// A segment's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) base: u64,
    pub(crate) created_at: Timestamp,
    pub(crate) layout: Layout,
}

/// Why bytes are not a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HeaderFault {
    /// There are not enough of them.
    Short,
    Damaged(&'static str),
    Version(u16),
}

impl Header {
    pub(crate) fn encode(&self, format: &Format) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.layout.header_bytes());
        out.extend_from_slice(&format.magic);
        out.extend_from_slice(&self.layout.version().to_le_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&self.base.to_le_bytes());
        out.extend_from_slice(&self.created_at.unix_ms().to_le_bytes());
        out.extend_from_slice(&crc32c::crc32c(&out).to_le_bytes());
        if let Some(salt) = self.layout.salt() {
            out.extend_from_slice(&salt.to_le_bytes());
            out.extend_from_slice(&self.layout.seed().to_le_bytes());
        }
        out
    }

    /// Reads the header at the beginning of `bytes`.
    pub(crate) fn decode(format: &Format, bytes: &[u8]) -> Result<Self, HeaderFault> {
        let Some((head, behind)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
            return Err(HeaderFault::Short);
        };
        let (magic, rest) = split::<8>(head);
        let (version, rest) = split::<2>(rest);
        let (zero, rest) = split::<2>(rest);
        let (base, rest) = split::<8>(rest);
        let (created_at, crc) = split::<8>(rest);
        if magic != format.magic {
            return Err(HeaderFault::Damaged("it does not begin as a segment of this kind of log"));
        }
        let covered = head.get(..HEADER_BYTES - 4).unwrap_or_default();
        if crc32c::crc32c(covered).to_le_bytes() != *crc {
            return Err(HeaderFault::Damaged("the header does not match its checksum"));
        }
        let layout = match u16::from_le_bytes(version) {
            1 => Layout::Plain,
            2 | 3 if behind.len() < SALTED_HEADER_BYTES - HEADER_BYTES => return Err(HeaderFault::Short),
            version @ (2 | 3) => match salt(behind) {
                Some(salt) if version == 2 => Layout::Salted(salt),
                Some(salt) => Layout::Sealed(salt),
                None => return Err(HeaderFault::Damaged("the salt does not match its checksum")),
            },
            later => return Err(HeaderFault::Version(later)),
        };
        let unix_ms = i64::from_le_bytes(created_at);
        let created_at = Timestamp::from_unix_ms(unix_ms);
        if zero != [0; 2] || created_at.unix_ms() != unix_ms {
            return Err(HeaderFault::Damaged("the header holds values that are never written"));
        }
        Ok(Self { base: u64::from_le_bytes(base), created_at, layout })
    }
}

/// What the checksums of a segment's frames go on from, when the bytes that all versions begin with are damaged.
pub(crate) fn seed_behind_damage(bytes: &[u8]) -> u32 {
    bytes.get(HEADER_BYTES..).and_then(salt).map_or(0, |salt| Layout::Salted(salt).seed())
}

/// The salt at the beginning of `bytes`, if it matches its checksum.
fn salt(bytes: &[u8]) -> Option<u64> {
    let (salt, rest) = bytes.split_first_chunk::<8>()?;
    let crc = rest.first_chunk::<4>()?;
    (crc32c::crc32c(salt).to_le_bytes() == *crc).then(|| u64::from_le_bytes(*salt))
}

/// The first `N` bytes and the rest; zeros stand for bytes that are not there.
fn split<const N: usize>(bytes: &[u8]) -> ([u8; N], &[u8]) {
    bytes.split_first_chunk::<N>().map_or(([0; N], &[]), |(head, rest)| (*head, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::DECISIONS;

    const AT: Timestamp = Timestamp::from_unix_ms(1_795_366_965_123);

    fn header(layout: Layout) -> Header {
        Header { base: 7, created_at: AT, layout }
    }

    #[test]
    fn golden_bytes_of_every_version() {
        let head = |version: &str| {
            "41554755524c4f47".to_owned() + version + "0000" + "0700000000000000" + "83cf3504a2010000"
        };
        for (layout, golden) in [
            (Layout::Plain, head("0100") + "25e1466d"),
            (Layout::Salted(0x0123_4567_89ab_cdef), head("0200") + "e2f98234efcdab896745230123d8b065"),
            (Layout::Sealed(0x0123_4567_89ab_cdef), head("0300") + "5f0ec103efcdab896745230123d8b065"),
        ] {
            let bytes = header(layout).encode(&DECISIONS);
            let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(text, golden);
            assert_eq!(Header::decode(&DECISIONS, &bytes), Ok(header(layout)));
            assert_eq!(Header::decode(&DECISIONS, &bytes[..bytes.len() - 1]), Err(HeaderFault::Short));
        }
    }

    #[test]
    fn every_flipped_bit_of_a_header_is_noticed() {
        for layout in [Layout::Plain, Layout::Salted(77), Layout::Sealed(78)] {
            let bytes = header(layout).encode(&DECISIONS);
            for bit in 0..bytes.len() * 8 {
                let mut damaged = bytes.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                let fault = Header::decode(&DECISIONS, &damaged);
                assert!(matches!(fault, Err(HeaderFault::Damaged(_))), "{layout:?} bit {bit}");
            }
        }
    }

    #[test]
    fn a_later_version_is_told_from_damage() {
        let mut bytes = header(Layout::Plain).encode(&DECISIONS);
        bytes[8] = 4;
        let crc = crc32c::crc32c(&bytes[..28]).to_le_bytes();
        bytes[28..].copy_from_slice(&crc);
        assert_eq!(Header::decode(&DECISIONS, &bytes), Err(HeaderFault::Version(4)));
    }

    #[test]
    fn a_salt_is_found_behind_a_damaged_head() {
        let mut bytes = header(Layout::Salted(77)).encode(&DECISIONS);
        bytes[3] ^= 1;
        assert_eq!(seed_behind_damage(&bytes), Layout::Salted(77).seed());
        assert_ne!(seed_behind_damage(&bytes), 0);
        bytes[40] ^= 1;
        assert_eq!(seed_behind_damage(&bytes), 0);
    }
}
