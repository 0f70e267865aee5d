//! Answers that are kept under their callers' keys, so that a request sent again gets the answer it got before.
//!
//! Layout of version 1 inside the seal of [`crate::bytes`]: the fingerprint of the request, when the answer is forgotten, and
//! the answer's bytes. The key is outside. Not here: what a request or an answer is, or the tables (`store`).

use augur_domain::Timestamp;

use crate::bytes;
use crate::error::DecodeError;

const MAGIC: u8 = b'I';
const VERSION: u8 = 1;
const FINGERPRINT_BYTES: usize = 16;

/// What was answered under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptAnswer {
    /// Tells the request from another one under the same key.
    pub fingerprint: [u8; FINGERPRINT_BYTES],
    /// From then on the key is free again.
    pub expires_at: Timestamp,
    /// The answer, as it was sent.
    pub bytes: Vec<u8>,
}

pub(crate) fn encode(answer: &KeptAnswer) -> Vec<u8> {
    let mut out = Vec::with_capacity(answer.bytes.len() + 40);
    bytes::seal(&mut out, MAGIC, VERSION, |out| {
        out.extend_from_slice(&answer.fingerprint);
        bytes::put_signed(out, answer.expires_at.unix_ms());
        bytes::put_bytes(out, &answer.bytes);
    });
    out
}

pub(crate) fn decode(record: &[u8]) -> Result<KeptAnswer, DecodeError> {
    let (_, mut reader) = bytes::unseal(record, MAGIC, VERSION)?;
    let fingerprint = reader.array("fingerprint of a request")?;
    let expires_at = Timestamp::from_unix_ms(reader.signed("expiry of an answer")?);
    let bytes = reader.bytes("answer")?.to_vec();
    reader.finish()?;
    Ok(KeptAnswer { fingerprint, expires_at, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn golden_bytes() {
        let expires_at = Timestamp::from_unix_ms(1_000);
        let answer = KeptAnswer { fingerprint: [0xa5; 16], expires_at, bytes: b"answer".to_vec() };
        let record = encode(&answer);
        let hex: String = record.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex, "4901a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5d00f06616e7377657264615d6b",
            "stored answers depend on these bytes"
        );
        assert_eq!(decode(&record).unwrap(), answer);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(body: Vec<u8>) {
            let mut record = Vec::new();
            bytes::seal(&mut record, MAGIC, VERSION, |out| out.extend_from_slice(&body));
            let _ = decode(&body);
            if let Ok(answer) = decode(&record) {
                prop_assert_eq!(decode(&encode(&answer)).unwrap(), answer);
            }
        }
    }
}
