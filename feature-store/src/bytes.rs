//! The byte-level parts that all records of this crate share: variable-length integers, texts, and the seal of
//! magic, version and checksum around a record.
//!
//! Not here: any record's layout. Decoding never panics and never allocates more than the input's own length
//! warrants.

use crate::error::DecodeError;

/// Magic byte, version byte, body, CRC-32C (little-endian) of all before it.
pub(crate) const CHECKSUM_BYTES: usize = 4;

pub(crate) fn put_unsigned(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Zigzag, so that small negative numbers stay short.
pub(crate) fn put_signed(out: &mut Vec<u8>, number: i64) {
    put_unsigned(out, ((number << 1) ^ (number >> 63)) as u64);
}

/// As [`put_signed`], for sums that need more than 64 bits.
pub(crate) fn put_signed_wide(out: &mut Vec<u8>, number: i128) {
    let mut zigzag = ((number << 1) ^ (number >> 127)) as u128;
    while zigzag >= 0x80 {
        out.push(zigzag as u8 | 0x80);
        zigzag >>= 7;
    }
    out.push(zigzag as u8);
}

/// Appends what `body` writes, its length in front.
pub(crate) fn put_with_length(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.push(0);
    body(out);
    let length = out.len() - start - 1;
    if length < 0x80 {
        if let Some(prefix) = out.get_mut(start) {
            *prefix = length as u8;
        }
        return;
    }
    // The prefix is written behind the body and turned to its front.
    let end = out.len();
    put_unsigned(out, length as u64);
    let prefix_bytes = out.len() - end;
    if let Some(written) = out.get_mut(start + 1..) {
        written.rotate_right(prefix_bytes);
    }
    out.remove(start);
}

pub(crate) fn put_f64(out: &mut Vec<u8>, number: f64) {
    out.extend_from_slice(&number.to_bits().to_le_bytes());
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_unsigned(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_bytes(out, text.as_bytes());
}

/// Writes one sealed record after what is in `out`.
pub(crate) fn seal(out: &mut Vec<u8>, magic: u8, version: u8, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.push(magic);
    out.push(version);
    body(out);
    let checksum = crc32c::crc32c(out.get(start..).unwrap_or_default());
    out.extend_from_slice(&checksum.to_le_bytes());
}

/// Checks the seal and gives the version with a reader of the body.
pub(crate) fn unseal(record: &[u8], magic: u8, supported: u8) -> Result<(u8, Reader<'_>), DecodeError> {
    let truncated = DecodeError::Truncated { field: "header" };
    let (sealed, checksum) = record.split_last_chunk::<CHECKSUM_BYTES>().ok_or_else(|| truncated.clone())?;
    let expected = u32::from_le_bytes(*checksum);
    let found = crc32c::crc32c(sealed);
    if found != expected {
        return Err(DecodeError::Checksum { found, expected });
    }
    let ([found_magic, version], body) = sealed.split_first_chunk::<2>().ok_or(truncated)?;
    if *found_magic != magic {
        return Err(DecodeError::Invalid { field: "magic" });
    }
    if *version == 0 || *version > supported {
        return Err(DecodeError::UnknownVersion { found: *version, supported });
    }
    Ok((*version, Reader { rest: body }))
}

/// Takes fields off the front of a body.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader of a part that some other reader took.
    pub(crate) const fn of(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    #[inline]
    pub(crate) fn byte(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        let (byte, rest) = self.rest.split_first().ok_or(DecodeError::Truncated { field })?;
        self.rest = rest;
        Ok(*byte)
    }

    #[inline]
    pub(crate) fn skip(&mut self, length: usize, field: &'static str) -> Result<(), DecodeError> {
        self.rest = self.rest.get(length..).ok_or(DecodeError::Truncated { field })?;
        Ok(())
    }

    #[inline]
    pub(crate) fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], DecodeError> {
        let (array, rest) = self.rest.split_first_chunk::<N>().ok_or(DecodeError::Truncated { field })?;
        self.rest = rest;
        Ok(*array)
    }

    #[inline]
    pub(crate) fn unsigned(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        // Most numbers are short.
        match self.rest.split_first() {
            Some((&byte, rest)) if byte < 0x80 => {
                self.rest = rest;
                Ok(u64::from(byte))
            }
            _ => self.unsigned_of_any_length(field),
        }
    }

    fn unsigned_of_any_length(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        if let Some((number, length)) = self.rest.first_chunk().and_then(|chunk| up_to_eight_bytes(*chunk)) {
            self.skip(length, field)?;
            return Ok(number);
        }
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte(field)?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(DecodeError::Invalid { field });
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(DecodeError::Invalid { field })
    }

    #[inline]
    pub(crate) fn signed(&mut self, field: &'static str) -> Result<i64, DecodeError> {
        let number = self.unsigned(field)?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    pub(crate) fn signed_wide(&mut self, field: &'static str) -> Result<i128, DecodeError> {
        let mut zigzag = 0_u128;
        for shift in (0..128).step_by(7) {
            let byte = self.byte(field)?;
            let bits = u128::from(byte & 0x7f);
            if shift == 126 && bits > 3 {
                return Err(DecodeError::Invalid { field });
            }
            zigzag |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok((zigzag >> 1) as i128 ^ -((zigzag & 1) as i128));
            }
        }
        Err(DecodeError::Invalid { field })
    }

    /// A finite number; NaN and infinities are refused.
    #[inline]
    pub(crate) fn finite(&mut self, field: &'static str) -> Result<f64, DecodeError> {
        let number = f64::from_bits(u64::from_le_bytes(self.array(field)?));
        if number.is_finite() { Ok(number) } else { Err(DecodeError::Invalid { field }) }
    }

    /// A number of elements of at least `least_bytes` each: never more than the rest can hold, so that it may be
    /// allocated.
    pub(crate) fn count(&mut self, field: &'static str, least_bytes: usize) -> Result<usize, DecodeError> {
        let count = usize::try_from(self.unsigned(field)?).map_err(|_| DecodeError::Invalid { field })?;
        if count > self.rest.len() / least_bytes.max(1) {
            return Err(DecodeError::Truncated { field });
        }
        Ok(count)
    }

    #[inline]
    pub(crate) fn bytes(&mut self, field: &'static str) -> Result<&'a [u8], DecodeError> {
        let length = usize::try_from(self.unsigned(field)?).map_err(|_| DecodeError::Invalid { field })?;
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(DecodeError::Truncated { field })?;
        self.rest = rest;
        Ok(bytes)
    }

    pub(crate) fn text(&mut self, field: &'static str) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(self.bytes(field)?).map_err(|_| DecodeError::Invalid { field })
    }

    /// How many bytes are left.
    pub(crate) const fn remaining(&self) -> usize {
        self.rest.len()
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Refuses bytes after the last field.
    pub(crate) fn finish(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError::Invalid { field: "end of record" }) }
    }
}

/// The number that begins these bytes and how many of them it takes, if it ends within them.
fn up_to_eight_bytes(bytes: [u8; 8]) -> Option<(u64, usize)> {
    const CONTINUES: u64 = 0x8080_8080_8080_8080;
    let word = u64::from_le_bytes(bytes);
    let ends = !word & CONTINUES;
    if ends == 0 {
        return None;
    }
    let bits = ends.trailing_zeros() + 1;
    let groups = word & (u64::MAX >> (u64::BITS - bits)) & !CONTINUES;
    // Groups of 7 bits close up to 14, these to 28, these to 56.
    let groups = (groups & 0x007f_007f_007f_007f) | ((groups & 0x7f00_7f00_7f00_7f00) >> 1);
    let groups = (groups & 0x0000_3fff_0000_3fff) | ((groups & 0x3fff_0000_3fff_0000) >> 2);
    let number = (groups & 0x0fff_ffff) | ((groups & 0x0fff_ffff_0000_0000) >> 4);
    Some((number, (bits / 8) as usize))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn integers_round_trip(unsigned: u64, signed: i64, wide: i128) {
            let mut out = Vec::new();
            put_signed_wide(&mut out, wide);
            put_unsigned(&mut out, unsigned);
            put_signed(&mut out, signed);
            let mut reader = Reader { rest: &out };
            prop_assert_eq!(reader.signed_wide("w").unwrap(), wide);
            prop_assert_eq!(reader.unsigned("a").unwrap(), unsigned);
            prop_assert_eq!(reader.signed("b").unwrap(), signed);
            prop_assert!(reader.finish().is_ok());
        }

        /// Long and short ones, with bytes behind and without.
        #[test]
        fn integers_of_any_length_round_trip(number: u64, bits in 0..64_u32, behind in 0..10_usize) {
            let number = number >> bits;
            let mut out = Vec::new();
            put_unsigned(&mut out, number);
            out.resize(out.len() + behind, 0xff);
            let mut reader = Reader::of(&out);
            prop_assert_eq!(reader.unsigned("number").unwrap(), number);
            prop_assert_eq!(reader.rest.len(), behind);
        }

        #[test]
        fn any_single_flip_breaks_the_seal(body: Vec<u8>, flip: prop::sample::Index, bit in 0..8_u32) {
            let mut record = Vec::new();
            seal(&mut record, b'T', 1, |out| out.extend_from_slice(&body));
            prop_assert!(unseal(&record, b'T', 1).is_ok());
            let place = flip.index(record.len());
            record[place] ^= 1 << bit;
            prop_assert!(unseal(&record, b'T', 1).is_err());
        }

        #[test]
        fn arbitrary_bytes_never_panic(record: Vec<u8>) {
            if let Ok((_, mut reader)) = unseal(&record, b'T', 1) {
                let _ = reader.text("text");
            }
            let mut reader = Reader { rest: &record };
            let _ = (reader.unsigned("a"), reader.finite("b"), reader.count("c", 8), reader.bytes("d"));
        }
    }

    #[test]
    fn lengths_stand_in_front_however_long() {
        for length in [0, 1, 127, 128, 20_000] {
            let mut out = vec![7];
            put_with_length(&mut out, |out| out.resize(out.len() + length, 9));
            let mut reader = Reader::of(&out[1..]);
            assert_eq!(reader.bytes("body").unwrap(), vec![9; length]);
            assert!(reader.finish().is_ok());
        }
    }

    #[test]
    fn newer_versions_are_named() {
        let mut record = Vec::new();
        seal(&mut record, b'T', 9, |_| {});
        assert_eq!(
            unseal(&record, b'T', 1).unwrap_err(),
            DecodeError::UnknownVersion { found: 9, supported: 1 }
        );
    }
}
