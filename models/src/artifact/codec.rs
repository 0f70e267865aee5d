//! The bytes of an artifact: little-endian, floats as their 64 bits, CRC32C at the end.
//!
//! ```text
//! magic "AUGURMDL" | format version u16 | kind u8 (1 = linear)
//! name, task, positive class: u32 length + UTF-8 | feature set 32 bytes | intercept f64
//! input count u32, each: feature text, transform u8, mean, scale, weight, imputation, missing weight: f64
//! calibrator u8: 0 identity | 1 Platt a, b: f64 | 2 isotonic: count u32, each margin, probability: f64
//! data hash 32 bytes | seed u64 | parameters text | created at i64 unix ms | code version text | report text
//! CRC32C u32 of all bytes before it
//! ```
//! Not here: the rules that the content must keep ([`super::Content`]). A later version adds a branch to
//! [`decode`] and leaves this one as it is.

use augur_domain::{ContentHash, Timestamp};

use super::{Content, Input, Lineage, MAX_INPUTS, MAX_NAME_BYTES, MAX_REPORT_BYTES, Transform};
use crate::Error;
use crate::calibrate::{Calibrator, Knot, MAX_KNOTS};

const MAGIC: &[u8; 8] = b"AUGURMDL";
const VERSION: u16 = 1;
const KIND_LINEAR: u8 = 1;
const CRC_BYTES: usize = 4;

pub(super) fn encode(content: &Content) -> Vec<u8> {
    let mut out = Vec::with_capacity(512 + content.inputs.len() * 80 + content.report.len());
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.push(KIND_LINEAR);
    put_text(&mut out, &content.name);
    put_text(&mut out, &content.task);
    put_text(&mut out, &content.positive_class);
    out.extend_from_slice(content.feature_set.as_bytes());
    put_numbers(&mut out, &[content.intercept]);
    put_count(&mut out, content.inputs.len());
    for input in &content.inputs {
        put_text(&mut out, &input.feature);
        out.push(input.transform as u8);
        put_numbers(
            &mut out,
            &[input.mean, input.scale, input.weight, input.imputation, input.missing_weight],
        );
    }
    put_calibrator(&mut out, &content.calibrator);
    let lineage = &content.lineage;
    out.extend_from_slice(lineage.data.as_bytes());
    out.extend_from_slice(&lineage.seed.to_le_bytes());
    put_text(&mut out, &lineage.parameters);
    out.extend_from_slice(&lineage.created_at.unix_ms().to_le_bytes());
    put_text(&mut out, &lineage.code_version);
    put_text(&mut out, &content.report);
    let crc = crc32c::crc32c(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out
}

fn put_calibrator(out: &mut Vec<u8>, calibrator: &Calibrator) {
    match calibrator {
        Calibrator::Identity => out.push(0),
        Calibrator::Platt { a, b } => {
            out.push(1);
            put_numbers(out, &[*a, *b]);
        }
        Calibrator::Isotonic { knots } => {
            out.push(2);
            put_count(out, knots.len());
            for knot in knots {
                put_numbers(out, &[knot.margin, knot.probability]);
            }
        }
    }
}

/// Lengths are bounded far below `u32::MAX` by validation; saturating keeps this total.
fn put_count(out: &mut Vec<u8>, count: usize) {
    out.extend_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes());
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_count(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

fn put_numbers(out: &mut Vec<u8>, numbers: &[f64]) {
    for number in numbers {
        out.extend_from_slice(&number.to_bits().to_le_bytes());
    }
}

pub(super) fn decode(bytes: &[u8]) -> Result<Content, Error> {
    let mut header = Cursor { bytes, offset: 0 };
    let magic = header.array::<8>()?;
    if &magic != MAGIC {
        return Err(malformed(0, format!("starts with {magic:02x?}"), "the magic `AUGURMDL`"));
    }
    let version = u16::from_le_bytes(header.array()?);
    if version != VERSION {
        return Err(malformed(8, format!("format version {version}"), "format version 1"));
    }
    let body_len = bytes.len().saturating_sub(CRC_BYTES);
    let body = bytes.get(..body_len).unwrap_or_default();
    let mut trailer = Cursor { bytes, offset: body_len };
    let stored = u32::from_le_bytes(trailer.array()?);
    let computed = crc32c::crc32c(body);
    if stored != computed {
        let problem = format!("checksum {stored:08x}, but the bytes give {computed:08x}");
        return Err(malformed(body_len, problem, "bytes as they were written"));
    }
    let mut cursor = Cursor { bytes: body, offset: header.offset };
    let content = content_v1(&mut cursor)?;
    if cursor.offset != body.len() {
        let problem = format!("{} bytes too many", body.len() - cursor.offset);
        return Err(malformed(cursor.offset, problem, "the end"));
    }
    Ok(content)
}

fn content_v1(cursor: &mut Cursor<'_>) -> Result<Content, Error> {
    let kind_offset = cursor.offset;
    let [kind] = cursor.array()?;
    if kind != KIND_LINEAR {
        return Err(malformed(kind_offset, format!("model kind {kind}"), "kind 1, a linear model"));
    }
    // Struct fields are evaluated in the order written, which is the order of the bytes.
    Ok(Content {
        name: cursor.text(MAX_NAME_BYTES)?,
        task: cursor.text(MAX_NAME_BYTES)?,
        positive_class: cursor.text(MAX_NAME_BYTES)?,
        feature_set: ContentHash::from_bytes(cursor.array()?),
        intercept: cursor.number()?,
        inputs: cursor.list(MAX_INPUTS, input)?,
        calibrator: calibrator(cursor)?,
        lineage: Lineage {
            data: ContentHash::from_bytes(cursor.array()?),
            seed: u64::from_le_bytes(cursor.array()?),
            parameters: cursor.text(MAX_REPORT_BYTES)?,
            created_at: cursor.timestamp()?,
            code_version: cursor.text(MAX_NAME_BYTES)?,
        },
        report: cursor.text(MAX_REPORT_BYTES)?,
    })
}

fn input(cursor: &mut Cursor<'_>) -> Result<Input, Error> {
    let feature = cursor.text(MAX_NAME_BYTES)?;
    let offset = cursor.offset;
    let [number] = cursor.array()?;
    let transform = Transform::from_u8(number)
        .ok_or_else(|| malformed(offset, format!("transform {number}"), "a known transform, 1 or 2"))?;
    Ok(Input {
        feature,
        transform,
        mean: cursor.number()?,
        scale: cursor.number()?,
        weight: cursor.number()?,
        imputation: cursor.number()?,
        missing_weight: cursor.number()?,
    })
}

fn calibrator(cursor: &mut Cursor<'_>) -> Result<Calibrator, Error> {
    let offset = cursor.offset;
    let [tag] = cursor.array()?;
    match tag {
        0 => Ok(Calibrator::Identity),
        1 => Ok(Calibrator::Platt { a: cursor.number()?, b: cursor.number()? }),
        2 => {
            let knot = |c: &mut Cursor<'_>| Ok(Knot { margin: c.number()?, probability: c.number()? });
            Ok(Calibrator::Isotonic { knots: cursor.list(MAX_KNOTS, knot)? })
        }
        _ => Err(malformed(offset, format!("calibrator {tag}"), "a known calibrator, 0 to 2")),
    }
}

fn malformed(offset: usize, problem: String, expected: &'static str) -> Error {
    Error::Malformed { offset, problem, expected }
}

/// Reads forward, never past the end.
struct Cursor<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], Error> {
        let rest = self.bytes.get(self.offset..).unwrap_or_default();
        let taken = rest.get(..len).ok_or_else(|| {
            malformed(self.offset, format!("ends {} bytes too early", len - rest.len()), "more bytes")
        })?;
        self.offset += len;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn number(&mut self) -> Result<f64, Error> {
        Ok(f64::from_bits(u64::from_le_bytes(self.array()?)))
    }

    fn count(&mut self, limit: usize) -> Result<usize, Error> {
        let offset = self.offset;
        let count = u32::from_le_bytes(self.array()?) as usize;
        if count > limit {
            return Err(malformed(offset, format!("length {count}"), "a length within the format's bounds"));
        }
        Ok(count)
    }

    fn text(&mut self, limit_bytes: usize) -> Result<String, Error> {
        let len = self.count(limit_bytes)?;
        let offset = self.offset;
        let bytes = self.take(len)?;
        let text = std::str::from_utf8(bytes)
            .map_err(|error| malformed(offset + error.valid_up_to(), "not UTF-8".to_owned(), "UTF-8 text"))?;
        Ok(text.to_owned())
    }

    fn list<T>(
        &mut self,
        limit: usize,
        mut element: impl FnMut(&mut Self) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let count = self.count(limit)?;
        (0..count).map(|_| element(self)).collect()
    }

    fn timestamp(&mut self) -> Result<Timestamp, Error> {
        let offset = self.offset;
        let unix_ms = i64::from_le_bytes(self.array()?);
        let timestamp = Timestamp::from_unix_ms(unix_ms);
        if timestamp.unix_ms() != unix_ms {
            return Err(malformed(offset, format!("time {unix_ms} ms"), "a time within years 1 to 9999"));
        }
        Ok(timestamp)
    }
}
