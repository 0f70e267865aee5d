//! Events that could not be used, kept aside with the reason so that they can be fixed and replayed.
//!
//! Layout of version 1 inside the seal of [`crate::bytes`]: receipt, user, message key, reason, field, detail,
//! name, payload. Version 2 goes on with the other ids (anonymous, previous, what is retracted) and the sender's clock
//! offset; its payload holds no ids. Not here: the checks that set an event aside, or how many are kept (`store`).

use augur_domain::event::{Quarantine, QuarantineReason};
use augur_domain::ids::{MessageKey, UserKey};
use augur_domain::time::Timestamp;

use crate::bytes::{self, Reader};
use crate::error::DecodeError;

const MAGIC: u8 = b'Q';
const FIRST_VERSION: u8 = 1;
const VERSION: u8 = 2;
/// What is kept of a field, a detail or a name, in bytes.
const MAX_TEXT_BYTES: usize = 1_024;
/// What is kept of a payload, in bytes.
const MAX_PAYLOAD_BYTES: usize = 64 * 1_024;

/// One event set aside, with what is needed to fix and replay it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuarantinedEvent {
    /// When this server saw it.
    pub received_at: Timestamp,
    /// Whom it is about, if that could be told.
    pub user: Option<UserKey>,
    /// Its message id's key, if it had one.
    pub message_key: Option<MessageKey>,
    /// Its event name as sent; the first 1 KiB is kept.
    pub name: String,
    /// Why it was set aside; the first 1 KiB of its texts is kept.
    pub quarantine: Quarantine,
    /// The event as received, without ids and sensitive properties; the first 64 KiB are kept.
    pub payload: Vec<u8>,
    /// The anonymous id, if it had one.
    pub anonymous: Option<UserKey>,
    /// The former id that an alias names.
    pub previous: Option<UserKey>,
    /// The message that a retraction names.
    pub retracts: Option<MessageKey>,
    /// How far the server's clock was ahead of the sender's, as far as that was told.
    pub clock_offset_ms: i64,
}

impl QuarantinedEvent {
    /// Whether the event names this user, in whatever role.
    pub fn names(&self, user: UserKey) -> bool {
        [self.user, self.anonymous, self.previous].contains(&Some(user))
    }
}

pub(crate) fn encode(entry: &QuarantinedEvent, out: &mut Vec<u8>) {
    bytes::seal(out, MAGIC, VERSION, |out| {
        bytes::put_signed(out, entry.received_at.unix_ms());
        put_key(out, entry.user.as_ref().map(UserKey::as_bytes));
        put_key(out, entry.message_key.as_ref().map(MessageKey::as_bytes));
        out.push(entry.quarantine.reason as u8);
        for text in [&entry.quarantine.field, &entry.quarantine.detail, &entry.name] {
            bytes::put_text(out, shortened(text));
        }
        let payload = entry.payload.get(..MAX_PAYLOAD_BYTES).unwrap_or(&entry.payload);
        bytes::put_bytes(out, payload);
        put_key(out, entry.anonymous.as_ref().map(UserKey::as_bytes));
        put_key(out, entry.previous.as_ref().map(UserKey::as_bytes));
        put_key(out, entry.retracts.as_ref().map(MessageKey::as_bytes));
        bytes::put_signed(out, entry.clock_offset_ms);
    });
}

/// As much of `text` as is kept, cut between characters.
fn shortened(text: &str) -> &str {
    text.get(..text.floor_char_boundary(MAX_TEXT_BYTES)).unwrap_or(text)
}

fn put_key(out: &mut Vec<u8>, key: Option<&[u8; 16]>) {
    out.push(u8::from(key.is_some()));
    out.extend_from_slice(key.map_or(&[], |key| key.as_slice()));
}

pub(crate) fn decode(record: &[u8]) -> Result<QuarantinedEvent, DecodeError> {
    let (version, mut reader) = bytes::unseal(record, MAGIC, VERSION)?;
    let received_at = Timestamp::from_unix_ms(reader.signed("receipt")?);
    let user = take_key(&mut reader)?.map(UserKey::from_bytes);
    let message_key = take_key(&mut reader)?.map(MessageKey::from_bytes);
    let reason = QuarantineReason::from_u8(reader.byte("reason")?);
    let reason = reason.ok_or(DecodeError::Invalid { field: "reason" })?;
    let field = reader.text("field")?.to_owned();
    let detail = reader.text("detail")?.to_owned();
    let name = reader.text("name")?.to_owned();
    let payload = reader.bytes("payload")?.to_vec();
    let quarantine = Quarantine { reason, field, detail };
    let mut entry = QuarantinedEvent {
        received_at,
        user,
        message_key,
        name,
        quarantine,
        payload,
        anonymous: None,
        previous: None,
        retracts: None,
        clock_offset_ms: 0,
    };
    if version > FIRST_VERSION {
        entry.anonymous = take_key(&mut reader)?.map(UserKey::from_bytes);
        entry.previous = take_key(&mut reader)?.map(UserKey::from_bytes);
        entry.retracts = take_key(&mut reader)?.map(MessageKey::from_bytes);
        entry.clock_offset_ms = reader.signed("clock offset")?;
    }
    reader.finish()?;
    Ok(entry)
}

fn take_key(reader: &mut Reader<'_>) -> Result<Option<[u8; 16]>, DecodeError> {
    match reader.byte("key presence")? {
        0 => Ok(None),
        1 => reader.array("key").map(Some),
        _ => Err(DecodeError::Invalid { field: "key presence" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry() -> QuarantinedEvent {
        QuarantinedEvent {
            received_at: Timestamp::from_unix_ms(5_000),
            user: Some(UserKey::from_bytes([1; 16])),
            message_key: None,
            name: "purchase".to_owned(),
            quarantine: Quarantine {
                reason: QuarantineReason::InvalidValue,
                field: "properties.price".to_owned(),
                detail: "NaN; expected a finite number".to_owned(),
            },
            payload: b"{}".to_vec(),
            anonymous: None,
            previous: None,
            retracts: None,
            clock_offset_ms: 0,
        }
    }

    fn bytes_of(hex: &str) -> Vec<u8> {
        let (pairs, _) = hex.as_bytes().as_chunks::<2>();
        pairs.iter().map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
    }

    #[test]
    fn golden_bytes_of_version_1() {
        let stored = bytes_of(
            "5101904e010101010101010101010101010101010100031070726f706572746965732e70726963651d4e614e3b20657870656374656420612066696e697465206e756d626572087075726368617365027b7d25126ad8",
        );
        assert_eq!(decode(&stored).unwrap(), entry());
    }

    #[test]
    fn golden_bytes() {
        let mut out = Vec::new();
        let entry = QuarantinedEvent {
            anonymous: Some(UserKey::from_bytes([2; 16])),
            retracts: Some(MessageKey::from_bytes([3; 16])),
            clock_offset_ms: -7,
            ..entry()
        };
        encode(&entry, &mut out);
        let hex: String = out.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex,
            "5102904e010101010101010101010101010101010100031070726f706572746965732e70726963651d4e614e3b20657870656374656420612066696e697465206e756d626572087075726368617365027b7d01020202020202020202020202020202020001030303030303030303030303030303030d4b1f1c18",
            "stored entries depend on these bytes"
        );
        assert_eq!(decode(&out).unwrap(), entry);
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let long = QuarantinedEvent { name: "é".repeat(2_000), payload: vec![1; 100_000], ..entry() };
        let mut out = Vec::new();
        encode(&long, &mut out);
        let kept = decode(&out).unwrap();
        assert_eq!((kept.name.len(), kept.payload.len()), (MAX_TEXT_BYTES, MAX_PAYLOAD_BYTES));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(body: Vec<u8>) {
            let mut record = Vec::new();
            for version in [FIRST_VERSION, VERSION] {
                record.clear();
                bytes::seal(&mut record, MAGIC, version, |out| out.extend_from_slice(&body));
                let _ = (decode(&record), decode(&body));
            }
        }
    }
}
