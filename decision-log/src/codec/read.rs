//! The primitives of decoding: every read is checked, every complaint names its field and place, and no length
//! found in the bytes is believed before the bytes behind it are seen.
//!
//! Not here: the order of fields (`inputs`, `decision`).

use std::sync::Arc;

use augur_domain::value::Finite;
use augur_domain::{ContentHash, ModelRef, Timestamp};

use crate::error::Error;

/// A place in bytes being decoded.
#[derive(Debug)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
    offset: usize,
}

impl<'a> Cursor<'a> {
    /// Reads `bytes`, whose first byte has the offset `offset` in complaints.
    pub(crate) const fn new(bytes: &'a [u8], offset: usize) -> Self {
        Self { rest: bytes, offset }
    }

    pub(crate) const fn offset(&self) -> usize {
        self.offset
    }

    /// Reads one value with `read` and requires that nothing follows it.
    pub(crate) fn whole<T>(
        mut self,
        field: &'static str,
        read: impl FnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let value = read(&mut self)?;
        self.finish(field)?;
        Ok(value)
    }

    /// Whether nothing is left.
    pub(crate) const fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// Requires that nothing is left.
    pub(crate) fn finish(self, field: &'static str) -> Result<(), Error> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(malformed(field, self.offset, format!("{} bytes follow its end; expected none", self.rest.len())))
    }

    pub(crate) fn take(&mut self, field: &'static str, length: usize) -> Result<&'a [u8], Error> {
        let Some((taken, rest)) = self.rest.split_at_checked(length) else {
            let reason = format!("it ends after {} bytes; expected {length}", self.rest.len());
            return Err(malformed(field, self.offset, reason));
        };
        self.rest = rest;
        self.offset += length;
        Ok(taken)
    }

    /// A cursor over the next `length` bytes, which this one skips.
    pub(crate) fn fork(&mut self, field: &'static str, length: usize) -> Result<Self, Error> {
        let offset = self.offset;
        Ok(Self::new(self.take(field, length)?, offset))
    }

    pub(crate) fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], Error> {
        let Some((taken, rest)) = self.rest.split_first_chunk() else {
            let reason = format!("it ends after {} bytes; expected {N}", self.rest.len());
            return Err(malformed(field, self.offset, reason));
        };
        self.rest = rest;
        self.offset += N;
        Ok(*taken)
    }

    pub(crate) fn u8(&mut self, field: &'static str) -> Result<u8, Error> {
        self.array(field).map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self, field: &'static str) -> Result<u16, Error> {
        self.array(field).map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self, field: &'static str) -> Result<u32, Error> {
        self.array(field).map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self, field: &'static str) -> Result<u64, Error> {
        self.array(field).map(u64::from_le_bytes)
    }

    pub(crate) fn f64(&mut self, field: &'static str) -> Result<f64, Error> {
        self.u64(field).map(f64::from_bits)
    }

    /// A number that is finite, and has the bits that [`Finite`] would give it.
    pub(crate) fn finite(&mut self, field: &'static str) -> Result<Finite, Error> {
        let offset = self.offset;
        let number = self.f64(field)?;
        Finite::new(number).filter(|finite| finite.get().to_bits() == number.to_bits()).ok_or_else(|| {
            let reason =
                format!("{number} is not allowed; expected a finite number other than negative zero");
            malformed(field, offset, reason)
        })
    }

    pub(crate) fn boolean(&mut self, field: &'static str) -> Result<bool, Error> {
        self.number(field, "0 or 1", |number| match number {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        })
    }

    /// A byte that stands for one of a closed set.
    pub(crate) fn number<T>(
        &mut self,
        field: &'static str,
        expected: &str,
        known: impl FnOnce(u8) -> Option<T>,
    ) -> Result<T, Error> {
        let offset = self.offset;
        let number = self.u8(field)?;
        known(number)
            .ok_or_else(|| malformed(field, offset, format!("{number} is not known; expected {expected}")))
    }

    pub(crate) fn timestamp(&mut self, field: &'static str) -> Result<Timestamp, Error> {
        let offset = self.offset;
        let unix_ms = self.array(field).map(i64::from_le_bytes)?;
        let timestamp = Timestamp::from_unix_ms(unix_ms);
        if timestamp.unix_ms() == unix_ms {
            return Ok(timestamp);
        }
        let reason = format!("{unix_ms} ms is outside the years 1 to 9999; expected an instant within them");
        Err(malformed(field, offset, reason))
    }

    pub(crate) fn text(&mut self, field: &'static str) -> Result<Arc<str>, Error> {
        let length = self.u32(field)?;
        let offset = self.offset;
        let bytes = self.take(field, length as usize)?;
        str::from_utf8(bytes)
            .map(Arc::from)
            .map_err(|error| malformed(field, offset + error.valid_up_to(), "it is not UTF-8".to_owned()))
    }

    pub(crate) fn option<T>(
        &mut self,
        field: &'static str,
        read: impl FnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        self.boolean(field)?.then(|| read(self)).transpose()
    }

    /// A number of items that take at least `least_bytes` each, checked against the bytes that are left, so that
    /// a wrong count cannot reserve memory.
    pub(crate) fn count(&mut self, field: &'static str, least_bytes: usize) -> Result<usize, Error> {
        let offset = self.offset;
        let count = self.u32(field)? as usize;
        if count.saturating_mul(least_bytes) <= self.rest.len() {
            return Ok(count);
        }
        let reason = format!("{count} items do not fit into the {} bytes that follow", self.rest.len());
        Err(malformed(field, offset, reason))
    }

    pub(crate) fn list<T>(
        &mut self,
        field: &'static str,
        least_bytes: usize,
        mut read: impl FnMut(&mut Self) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let count = self.count(field, least_bytes)?;
        // An item takes more room in memory than in the record; long lists may grow as they prove themselves.
        let mut items = Vec::with_capacity(count.min(1_024));
        for _ in 0..count {
            items.push(read(self)?);
        }
        Ok(items)
    }

    pub(crate) fn model(&mut self, field: &'static str) -> Result<ModelRef, Error> {
        Ok(ModelRef {
            name: self.text(field)?,
            version: self.u32(field)?,
            artifact: ContentHash::from_bytes(self.array(field)?),
        })
    }
}

/// A complaint about one field.
pub(crate) const fn malformed(field: &'static str, offset: usize, reason: String) -> Error {
    Error::Malformed { field, offset, reason }
}
