//! The packed record of a user's state, one value per user in the store.
//!
//! Layout of version 3 inside the seal of [`crate::bytes`]: fingerprint of the definitions (8 bytes), watermark,
//! first event time and span when the watermark is not 0, then every aggregate in schema order, each with its length in
//! front. The record does not describe itself: the definitions do, which is why it carries their fingerprint. Records
//! of earlier versions, whose aggregates were laid out otherwise, count as made for other definitions.
//! Not here: what happens when the fingerprint differs (the store rebuilds from the event log).

use augur_domain::Timestamp;

use super::UserState;
use crate::aggregate::Aggregate;
use crate::bytes::{self, Reader};
use crate::error::DecodeError;
use crate::schema::FeatureSchema;

const MAGIC: u8 = b'S';
const VERSION: u8 = 3;
/// What the directory remembers about its states beside their definitions.
pub(crate) const FORMAT: u8 = VERSION;

impl UserState {
    /// Appends the packed record to `out`. Equal states give equal bytes.
    pub fn encode(&self, schema: &FeatureSchema, out: &mut Vec<u8>) {
        seal(schema, self.watermark, self.span, out, |out| {
            for (aggregate, spec) in self.aggregates.iter().zip(schema.aggregates()) {
                aggregate.encode(spec, out);
            }
        });
    }

    /// Reads a packed record.
    ///
    /// # Errors
    /// [`DecodeError::OtherDefinitions`] when the record was made for other definitions, another one for bytes that
    /// [`Self::encode`] never makes.
    pub fn decode(record: &[u8], schema: &FeatureSchema) -> Result<Self, DecodeError> {
        let Header { watermark, span, bodies: mut reader } = open(record, schema)?;
        let aggregates = schema
            .aggregates()
            .iter()
            .map(|spec| Aggregate::decode(&mut reader, spec))
            .collect::<Result<_, _>>()?;
        reader.finish()?;
        Ok(Self { watermark, span, aggregates })
    }
}

/// Appends a record with these aggregates.
pub(super) fn seal(
    schema: &FeatureSchema,
    watermark: u64,
    span: Option<(Timestamp, Timestamp)>,
    out: &mut Vec<u8>,
    aggregates: impl FnOnce(&mut Vec<u8>),
) {
    bytes::seal(out, MAGIC, VERSION, |out| {
        out.extend_from_slice(&schema.fingerprint());
        bytes::put_unsigned(out, watermark);
        if let Some((first, last)) = span {
            bytes::put_signed(out, first.unix_ms());
            bytes::put_unsigned(out, last.millis_since(first).unsigned_abs());
        }
        aggregates(out);
    });
}

/// What stands before the aggregates of a record.
pub(super) struct Header<'a> {
    pub(super) watermark: u64,
    pub(super) span: Option<(Timestamp, Timestamp)>,
    /// The aggregates, each with its length in front.
    pub(super) bodies: Reader<'a>,
}

pub(super) fn open<'a>(record: &'a [u8], schema: &FeatureSchema) -> Result<Header<'a>, DecodeError> {
    let (version, mut reader) = bytes::unseal(record, MAGIC, VERSION)?;
    if version < VERSION || reader.array::<8>("fingerprint")? != schema.fingerprint() {
        return Err(DecodeError::OtherDefinitions);
    }
    let watermark = reader.unsigned("watermark")?;
    let span = if watermark == 0 {
        None
    } else {
        let first = Timestamp::from_unix_ms(reader.signed("first event time")?);
        let span_ms = i64::try_from(reader.unsigned("event time span")?)
            .map_err(|_| DecodeError::Invalid { field: "event time span" })?;
        Some((first, first.plus_millis(span_ms)))
    };
    Ok(Header { watermark, span, bodies: reader })
}
