//! The bytes of a segment: its name, its header, its frames.
//!
//! Not here: records (`codec`), walking a file (`scan`), or writing one (`writer`).
//!
//! A segment is named by the sequence of its first record in twelve digits, `000000000001.log`, and begins with
//! 32 bytes, the same in every version:
//!
//! `magic | version u16 | zero u16 | base sequence u64 | created_at i64 | crc32c u32`
//!
//! The magic is that of the kind of log (`format`), "AUGURLOG" for decisions.
//! `created_at` is the instant of the first record in milliseconds; the checksum covers the bytes before it. Frames
//! follow: `length u32 | crc32c u32 | type u8 | payload`, where the checksum covers length, type and payload. Type
//! 1 is a record (`codec`). Type 2 is a seal, the last frame of a full segment: `last sequence u64`; it is written
//! once the next segment exists, so a sealed segment without a successor means that segments are missing. Zero
//! bytes from the end of a frame to the end of the file are space reserved for frames to come.

use std::path::{Path, PathBuf};

use augur_domain::Timestamp;

use crate::format::Format;

/// The version written.
pub(crate) const SEGMENT_VERSION: u16 = 1;
/// Bytes before the first frame.
pub(crate) const HEADER_BYTES: usize = 32;
/// Bytes of a frame before its payload.
pub(crate) const FRAME_HEADER_BYTES: usize = 9;
/// Bytes of a whole seal.
pub(crate) const SEAL_BYTES: usize = FRAME_HEADER_BYTES + 8;
const SUFFIX: &str = ".log";
const NAME_DIGITS: usize = 12;

/// The frame of a record.
pub(crate) const RECORD: u8 = 1;
/// The frame that ends a full segment.
pub(crate) const SEAL: u8 = 2;

/// Where the segment that begins with record `base` lies.
pub(crate) fn path(dir: &Path, base: u64) -> PathBuf {
    dir.join(format!("{base:0NAME_DIGITS$}{SUFFIX}"))
}

/// The first sequence of the segment with this file name, `None` if it is not the name of a segment.
pub(crate) fn base_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX)?;
    let plain = digits.len() >= NAME_DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    let base: u64 = plain.then(|| digits.parse().ok())??;
    (base > 0 && format!("{base:0NAME_DIGITS$}") == digits).then_some(base)
}

/// A segment's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) base: u64,
    pub(crate) created_at: Timestamp,
}

/// Why bytes are not a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HeaderFault {
    Damaged(&'static str),
    Version(u16),
}

impl Header {
    pub(crate) fn encode(&self, format: &Format) -> [u8; HEADER_BYTES] {
        let mut out = Vec::with_capacity(HEADER_BYTES);
        out.extend_from_slice(&format.magic);
        out.extend_from_slice(&SEGMENT_VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&self.base.to_le_bytes());
        out.extend_from_slice(&self.created_at.unix_ms().to_le_bytes());
        out.extend_from_slice(&crc32c::crc32c(&out).to_le_bytes());
        let mut header = [0; HEADER_BYTES];
        for (place, byte) in header.iter_mut().zip(out) {
            *place = byte;
        }
        header
    }

    pub(crate) fn decode(format: &Format, bytes: &[u8; HEADER_BYTES]) -> Result<Self, HeaderFault> {
        let (magic, rest) = split::<8>(bytes);
        let (version, rest) = split::<2>(rest);
        let (zero, rest) = split::<2>(rest);
        let (base, rest) = split::<8>(rest);
        let (created_at, crc) = split::<8>(rest);
        if magic != format.magic {
            return Err(HeaderFault::Damaged("it does not begin as a segment of this kind of log"));
        }
        let covered = bytes.get(..HEADER_BYTES - 4).unwrap_or_default();
        if crc32c::crc32c(covered).to_le_bytes() != *crc {
            return Err(HeaderFault::Damaged("the header does not match its checksum"));
        }
        let version = u16::from_le_bytes(version);
        if version != SEGMENT_VERSION {
            return Err(HeaderFault::Version(version));
        }
        let unix_ms = i64::from_le_bytes(created_at);
        let created_at = Timestamp::from_unix_ms(unix_ms);
        if zero != [0; 2] || created_at.unix_ms() != unix_ms {
            return Err(HeaderFault::Damaged("the header holds values that are never written"));
        }
        Ok(Self { base: u64::from_le_bytes(base), created_at })
    }
}

/// The first `N` bytes and the rest; zeros stand for bytes that are not there.
fn split<const N: usize>(bytes: &[u8]) -> ([u8; N], &[u8]) {
    bytes.split_first_chunk::<N>().map_or(([0; N], &[]), |(head, rest)| (*head, rest))
}

/// The header of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) length: u32,
    pub(crate) crc: u32,
    pub(crate) kind: u8,
}

impl FrameHeader {
    pub(crate) fn of(kind: u8, payload: &[u8]) -> Self {
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        Self { length, crc: checksum(length, kind, payload), kind }
    }

    pub(crate) fn encode(self) -> [u8; FRAME_HEADER_BYTES] {
        let [a, b, c, d] = self.length.to_le_bytes();
        let [e, f, g, h] = self.crc.to_le_bytes();
        [a, b, c, d, e, f, g, h, self.kind]
    }

    pub(crate) fn decode(bytes: [u8; FRAME_HEADER_BYTES]) -> Self {
        let [a, b, c, d, e, f, g, h, kind] = bytes;
        Self { length: u32::from_le_bytes([a, b, c, d]), crc: u32::from_le_bytes([e, f, g, h]), kind }
    }

    pub(crate) fn matches(self, payload: &[u8]) -> bool {
        self.length as usize == payload.len() && self.crc == checksum(self.length, self.kind, payload)
    }
}

fn checksum(length: u32, kind: u8, payload: &[u8]) -> u32 {
    let head = crc32c::crc32c(&length.to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c_append(head, &[kind]), payload)
}

/// The frame that ends a segment whose last record is `last_sequence`.
pub(crate) fn seal(last_sequence: u64) -> Vec<u8> {
    let payload = last_sequence.to_le_bytes();
    let mut frame = FrameHeader::of(SEAL, &payload).encode().to_vec();
    frame.extend_from_slice(&payload);
    frame
}

/// The last sequence that a whole seal names, `None` if `frame` is not a seal.
pub(crate) fn read_seal(frame: &[u8]) -> Option<u64> {
    let (header, payload) = frame.split_first_chunk::<FRAME_HEADER_BYTES>()?;
    let header = FrameHeader::decode(*header);
    let last_sequence = payload.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))?;
    (header.kind == SEAL && payload.len() == 8 && header.matches(payload)).then_some(last_sequence)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::DECISIONS;

    #[test]
    fn names_are_read_as_they_are_written() {
        let dir = Path::new("log");
        assert_eq!(path(dir, 1), dir.join("000000000001.log"));
        for base in [1, 42, 999_999_999_999, 1_000_000_000_000] {
            let name = path(dir, base);
            assert_eq!(base_of(name.file_name().unwrap().to_str().unwrap()), Some(base));
        }
        for name in [
            "LOCK",
            "1.log",
            "000000000000.log",
            "00000000000x.log",
            "0000000000001.log",
            "000000000001.log~",
        ] {
            assert_eq!(base_of(name), None, "{name}");
        }
    }

    #[test]
    fn golden_bytes_of_version_1() {
        let header = Header { base: 7, created_at: Timestamp::from_unix_ms(1_795_366_965_123) };
        let bytes = header.encode(&DECISIONS);
        let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            text,
            "41554755524c4f47010000000700000000000000".to_owned() + "83cf3504a2010000" + "25e1466d"
        );
        assert_eq!(Header::decode(&DECISIONS, &bytes), Ok(header));
        let text: String = seal(7).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(text, "08000000".to_owned() + "58cfee28" + "02" + "0700000000000000");
        assert_eq!(read_seal(&seal(7)), Some(7));
    }

    #[test]
    fn every_flipped_bit_of_a_header_is_noticed() {
        let bytes = Header { base: 7, created_at: Timestamp::from_unix_ms(5) }.encode(&DECISIONS);
        for bit in 0..HEADER_BYTES * 8 {
            let mut damaged = bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(
                matches!(Header::decode(&DECISIONS, &damaged), Err(HeaderFault::Damaged(_))),
                "bit {bit}"
            );
        }
    }

    #[test]
    fn a_later_version_is_told_from_damage() {
        let mut bytes = Header { base: 7, created_at: Timestamp::from_unix_ms(5) }.encode(&DECISIONS);
        bytes[8] = 2;
        let crc = crc32c::crc32c(&bytes[..28]).to_le_bytes();
        bytes[28..].copy_from_slice(&crc);
        assert_eq!(Header::decode(&DECISIONS, &bytes), Err(HeaderFault::Version(2)));
    }
}
