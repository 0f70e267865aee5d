//! Protocol buffers on the wire: fields one after the other, never past the end.
//!
//! Not here: which field means what (`proto`).

/// A reader over one message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a> {
    bytes: &'a [u8],
    /// Of the first byte, in the file.
    offset: usize,
}

/// A field's content.
#[derive(Debug, Clone, Copy)]
pub(super) enum Content<'a> {
    Integer(u64),
    Fixed64,
    Fixed32([u8; 4]),
    Bytes(Fields<'a>),
}

/// Where reading stopped, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) offset: usize,
    pub(super) problem: &'static str,
}

impl<'a> Fields<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0 }
    }

    pub(super) const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    pub(super) const fn offset(&self) -> usize {
        self.offset
    }

    /// The next field's number and content; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<(u64, Content<'a>)>, Fault> {
        if self.bytes.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let content = match tag & 7 {
            0 => Content::Integer(self.varint()?),
            1 => {
                self.array::<8>()?;
                Content::Fixed64
            }
            2 => {
                let length = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
                let offset = self.offset;
                Content::Bytes(Self { bytes: self.take(length)?, offset })
            }
            5 => Content::Fixed32(self.array()?),
            _ => return Err(self.fault("a wire type that protocol buffers do not have")),
        };
        Ok(Some((tag >> 3, content)))
    }

    /// The next number of a packed list; `None` at the end.
    pub(super) fn next_packed(&mut self) -> Result<Option<u64>, Fault> {
        if self.bytes.is_empty() { Ok(None) } else { self.varint().map(Some) }
    }

    fn varint(&mut self) -> Result<u64, Fault> {
        let mut number = 0_u64;
        for shift in (0..70).step_by(7) {
            let [byte] = self.array()?;
            number |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(self.fault("a number of more than ten bytes"))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Fault> {
        let Some((taken, rest)) = self.bytes.split_at_checked(length) else {
            return Err(self.fault("a field longer than what is left"));
        };
        self.bytes = rest;
        self.offset += length;
        Ok(taken)
    }

    const fn fault(&self, problem: &'static str) -> Fault {
        Fault { offset: self.offset, problem }
    }
}
