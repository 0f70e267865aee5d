//! The names of segments and the frames in them.
//!
//! Not here: what a file begins with (`header`), records (`codec`), walking a file (`scan`), or writing one (`writer`).
//!
//! A segment is named by the sequence of its first record in twelve digits, `000000000001.log`. Behind its header frames
//! follow: `length u32 | crc32c u32 | type u8 | payload`, where the checksum covers length, type and payload and goes on
//! from that of the header's salt, if there is one. Type 1 is a record (`codec`). Type 2 is the closing frame, the last
//! one of a full segment: `last sequence u64`; it is written once the next segment exists, so a closed segment without a
//! successor means that segments are missing. Zero bytes from the end of a frame to the end of the file are space
//! reserved for frames to come. Types 3 to 5 are those of sealed segments (`sealed`).

use std::path::{Path, PathBuf};

/// Bytes of a frame before its payload.
pub(crate) const FRAME_HEADER_BYTES: usize = 9;
/// Bytes of a whole closing frame.
pub(crate) const CLOSING_BYTES: usize = FRAME_HEADER_BYTES + 8;
const SUFFIX: &str = ".log";
const NAME_DIGITS: usize = 12;

/// The frame of a record.
pub(crate) const RECORD: u8 = 1;
/// The frame that ends a full segment.
pub(crate) const CLOSING: u8 = 2;

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

/// The header of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) length: u32,
    pub(crate) crc: u32,
    pub(crate) kind: u8,
}

impl FrameHeader {
    /// Of a segment whose checksums go on from `seed`.
    pub(crate) fn of(seed: u32, kind: u8, payload: &[u8]) -> Self {
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        Self { length, crc: checksum(seed, length, kind, payload), kind }
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

    pub(crate) fn matches(self, seed: u32, payload: &[u8]) -> bool {
        self.length as usize == payload.len() && self.crc == checksum(seed, self.length, self.kind, payload)
    }
}

fn checksum(seed: u32, length: u32, kind: u8, payload: &[u8]) -> u32 {
    let head = crc32c::crc32c_append(seed, &length.to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c_append(head, &[kind]), payload)
}

/// The frame that ends a segment whose last record is `last_sequence`.
pub(crate) fn closing(seed: u32, last_sequence: u64) -> Vec<u8> {
    frame(seed, CLOSING, &last_sequence.to_le_bytes())
}

/// A whole frame.
pub(crate) fn frame(seed: u32, kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(FRAME_HEADER_BYTES + payload.len());
    frame.extend_from_slice(&FrameHeader::of(seed, kind, payload).encode());
    frame.extend_from_slice(payload);
    frame
}

/// The last sequence that a whole closing frame names, `None` if `frame` is not one.
pub(crate) fn read_closing(seed: u32, frame: &[u8]) -> Option<u64> {
    let (header, payload) = frame.split_first_chunk::<FRAME_HEADER_BYTES>()?;
    let header = FrameHeader::decode(*header);
    let last_sequence = payload.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))?;
    (header.kind == CLOSING && payload.len() == 8 && header.matches(seed, payload)).then_some(last_sequence)
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn golden_bytes_of_a_closing_frame() {
        let text: String = closing(0, 7).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(text, "08000000".to_owned() + "58cfee28" + "02" + "0700000000000000");
        assert_eq!(read_closing(0, &closing(0, 7)), Some(7));
        assert_eq!(read_closing(0, &closing(1, 7)), None, "of a segment with another salt");
    }
}
