//! The bytes of an outcome.
//!
//! Not here: frames and checksums (`segment`), or what an outcome means (`augur_domain::outcome`).
//!
//! Little-endian: `version u16 | sequence u64 | outcome [16] | decision [16] | kind u8 | occurred_at i64 |
//! received_at i64 | value`, where `value` is `0`, or `1` and the IEEE 754 bits of a finite number. Instants are
//! milliseconds since 1970 UTC. Nothing may follow.

use augur_domain::ids::OutcomeKey;
use augur_domain::{DecisionId, OutcomeKind, OutcomeRecord, Timestamp};

use crate::codec::read::Cursor;
use crate::codec::write::Put as _;
use crate::error::Error;
use crate::format::{Format, Record};

/// The version written.
const OUTCOME_VERSION: u16 = 1;

/// Outcomes.
static OUTCOMES: Format = Format {
    magic: *b"AUGUROUT",
    name: "outcome-log",
    syncer: "outcome-log-sync",
    sealer: "outcome-log-seal",
};

impl Record for OutcomeRecord {
    const FORMAT: &'static Format = &OUTCOMES;

    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u16(OUTCOME_VERSION);
        out.put_u64(self.sequence);
        out.put_bytes(self.outcome.as_bytes());
        out.put_bytes(self.decision.as_bytes());
        out.put_u8(self.kind as u8);
        out.put_i64(self.occurred_at.unix_ms());
        out.put_i64(self.received_at.unix_ms());
        out.put_option(self.value, |out, value| out.put_f64(value.get()));
    }

    fn decode(bytes: &[u8]) -> Result<Self, Error> {
        Cursor::new(bytes, 0).whole("outcome", |cursor| {
            let version = cursor.u16("version")?;
            if version != OUTCOME_VERSION {
                return Err(Error::RecordVersion { found: version, supported: OUTCOME_VERSION });
            }
            Ok(Self {
                sequence: cursor.u64("sequence")?,
                outcome: OutcomeKey::from_bytes(cursor.array("outcome")?),
                decision: DecisionId::from_bytes(cursor.array("decision")?),
                kind: cursor.number("kind", "an outcome kind: 1 to 6", OutcomeKind::from_u8)?,
                occurred_at: cursor.timestamp("occurred_at")?,
                received_at: cursor.timestamp("received_at")?,
                value: cursor.option("value", |cursor| cursor.finite("value"))?,
            })
        })
    }

    fn made_at(&self) -> Timestamp {
        self.received_at
    }

    fn decision(&self) -> DecisionId {
        self.decision
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use augur_domain::value::Finite;
    use proptest::prelude::*;

    use super::*;
    use crate::{Config, Durability, Error, Log, OutcomeLog, OutcomeReader};

    fn outcome(number: u64) -> OutcomeRecord {
        OutcomeRecord {
            sequence: 0,
            outcome: OutcomeKey::from_bytes([number as u8; 16]),
            decision: DecisionId::from_bytes([7; 16]),
            kind: OutcomeKind::Value,
            value: Finite::new(number as f64 + 0.5),
            occurred_at: Timestamp::from_unix_ms(1_795_366_965_123),
            received_at: Timestamp::from_unix_ms(1_795_366_966_000),
        }
    }

    fn encoded(record: &OutcomeRecord) -> Vec<u8> {
        let mut bytes = Vec::new();
        record.encode(&mut bytes);
        bytes
    }

    #[test]
    fn golden_bytes_of_version_1() {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let record = OutcomeRecord { sequence: 9, ..outcome(2) };
        let golden = "0100".to_owned()
            + "0900000000000000"
            + &"02".repeat(16)
            + &"07".repeat(16)
            + "06"
            + "83cf3504a2010000"
            + "f0d23504a2010000"
            + "010000000000000440";
        assert_eq!(hex(&encoded(&record)), golden);
        assert_eq!(OutcomeRecord::decode(&encoded(&record)).unwrap(), record);
        let plain = OutcomeRecord { kind: OutcomeKind::Opened, value: None, ..record };
        let golden = golden[..84].to_owned() + "03" + &golden[86..118] + "00";
        assert_eq!(hex(&encoded(&plain)), golden);
        assert_eq!(OutcomeRecord::decode(&encoded(&plain)).unwrap(), plain);
    }

    #[test]
    fn what_no_encoder_writes_is_refused() {
        let bytes = encoded(&outcome(1));
        for (at, byte) in [(0, 2), (42, 0), (42, 7), (59, 2)] {
            let mut wrong = bytes.clone();
            wrong[at] = byte;
            assert!(OutcomeRecord::decode(&wrong).is_err(), "byte {at} = {byte}");
        }
        for bits in [f64::NAN.to_bits(), f64::INFINITY.to_bits(), (-0.0_f64).to_bits()] {
            let mut wrong = bytes.clone();
            wrong[60..].copy_from_slice(&bits.to_le_bytes());
            assert!(OutcomeRecord::decode(&wrong).unwrap_err().to_string().contains("is not allowed"));
        }
        for length in 0..bytes.len() {
            assert!(OutcomeRecord::decode(&bytes[..length]).is_err());
        }
        assert!(OutcomeRecord::decode(&[bytes, vec![0]].concat()).is_err());
    }

    proptest! {
        #[test]
        fn decoding_never_panics_and_accepts_only_what_is_written(
            bytes in proptest::collection::vec(any::<u8>(), 0..80), flip in 0_usize..68 * 8,
        ) {
            let _ = OutcomeRecord::decode(&bytes);
            let mut near = encoded(&outcome(3));
            near[flip / 8] ^= 1 << (flip % 8);
            if let Ok(record) = OutcomeRecord::decode(&near) {
                prop_assert_eq!(encoded(&record), near);
            }
        }
    }

    #[test]
    fn outcomes_have_a_log_of_their_own_that_is_read_while_it_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let config =
            Config { segment_bytes: 4096, durability: Durability::Synced, ..Config::new(dir.path()) };
        let (log, _) = OutcomeLog::open(config.clone()).unwrap();
        let (sender, receiver) = channel();
        for number in 0..200 {
            let sender = sender.clone();
            log.append(&outcome(number), move |written| sender.send(written).unwrap()).unwrap();
        }
        let told: Vec<u64> = receiver.iter().take(200).map(Result::unwrap).collect();
        assert_eq!(told, (1..=200).collect::<Vec<_>>());
        let read: Vec<_> = OutcomeReader::open(dir.path()).unwrap().map(|found| found.unwrap().1).collect();
        assert_eq!(read.len(), 200);
        assert_eq!(read[41], OutcomeRecord { sequence: 42, ..outcome(41) });
        log.close().unwrap();

        // Neither kind of log takes the other's files for its own.
        assert!(matches!(Log::open(config.clone()), Err(Error::Corrupted { .. })));
        let (reopened, recovery) = OutcomeLog::open(config).unwrap();
        assert_eq!((recovery.next_sequence, recovery.truncated), (201, None));
        drop(reopened);
    }
}
