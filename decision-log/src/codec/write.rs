//! The primitives of encoding.
//!
//! Not here: the order of fields (`inputs`, `decision`).

use augur_domain::ModelRef;

/// Appends primitives to a buffer.
///
/// A length that does not fit its 32 bits becomes `u32::MAX`: the buffer is then far past the most bytes that a
/// record may take, and the record is refused before it reaches a file.
pub(crate) trait Put {
    fn put_bytes(&mut self, bytes: &[u8]);

    fn put_u8(&mut self, value: u8) {
        self.put_bytes(&[value]);
    }

    fn put_u16(&mut self, value: u16) {
        self.put_bytes(&value.to_le_bytes());
    }

    fn put_u32(&mut self, value: u32) {
        self.put_bytes(&value.to_le_bytes());
    }

    fn put_u64(&mut self, value: u64) {
        self.put_bytes(&value.to_le_bytes());
    }

    fn put_i64(&mut self, value: i64) {
        self.put_bytes(&value.to_le_bytes());
    }

    fn put_f64(&mut self, value: f64) {
        self.put_u64(value.to_bits());
    }

    fn put_count(&mut self, count: usize) {
        self.put_u32(u32::try_from(count).unwrap_or(u32::MAX));
    }

    fn put_text(&mut self, text: &str) {
        self.put_count(text.len());
        self.put_bytes(text.as_bytes());
    }

    fn put_option<T>(&mut self, value: Option<T>, put: impl FnOnce(&mut Self, T)) {
        self.put_u8(u8::from(value.is_some()));
        if let Some(value) = value {
            put(self, value);
        }
    }

    fn put_model(&mut self, model: &ModelRef) {
        self.put_text(&model.name);
        self.put_u32(model.version);
        self.put_bytes(model.artifact.as_bytes());
    }
}

impl Put for Vec<u8> {
    fn put_bytes(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// A section whose length is not yet known.
pub(crate) struct SectionStart {
    at: usize,
}

impl SectionStart {
    pub(crate) fn begin(out: &mut Vec<u8>) -> Self {
        let at = out.len();
        out.put_u32(0);
        Self { at }
    }

    pub(crate) fn end(self, out: &mut [u8]) {
        let length = out.len().saturating_sub(self.at + 4);
        if let Some(place) = out.get_mut(self.at..self.at + 4) {
            place.copy_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
        }
    }
}
