//! The bytes of what a candidate made of a decision.
//!
//! Not here: frames and checksums (`segment`), or what a record means (`augur_domain::live_shadow`).
//!
//! Little-endian: `version u16 | sequence u64 | decision [16] | decision_sequence u64 | decided_at i64 | decision_point
//! text | candidate text | status u8 | kept f64 | offered u64 | thinned u64 | full u64 | refused u64 | counted_since
//! i64 | served answer | candidates option of answer | problem text`. A text is `length u32` and its bytes, a list `count u32` and its items, an
//! option `0`, or `1` and the value. An answer is `policy [32] | models list of (alias text | name text | version u32 |
//! artifact [32]) | action text | rung u8 | value f64 | propensity f64 | scores list of (alias text | option of f64) |
//! reasons list of (code u8 | detail option of text) | decide_us u32`. All numbers are finite. Nothing may follow.

use std::sync::Arc;

use augur_domain::decision::Rung;
use augur_domain::live_shadow::{ShadowAnswer, ShadowCounts, ShadowStatus};
use augur_domain::{ContentHash, DecisionId, Reason, ReasonCode, ShadowRecord, Timestamp};

use crate::codec::read::{Cursor, malformed};
use crate::codec::write::Put as _;
use crate::error::Error;
use crate::format::{Format, Record};

/// The version written.
const SHADOW_VERSION: u16 = 1;

/// What candidates made of decisions.
static SHADOWS: Format =
    Format { magic: *b"AUGURSHD", name: "shadow-log", syncer: "shadow-log-sync", sealer: "shadow-log-seal" };

impl Record for ShadowRecord {
    const FORMAT: &'static Format = &SHADOWS;

    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u16(SHADOW_VERSION);
        out.put_u64(self.sequence);
        out.put_bytes(self.decision.as_bytes());
        out.put_u64(self.decision_sequence);
        out.put_i64(self.decided_at.unix_ms());
        out.put_text(&self.decision_point);
        out.put_text(&self.candidate);
        out.put_u8(self.status as u8);
        out.put_f64(self.kept);
        let ShadowCounts { offered, thinned, full, refused } = self.counts;
        for count in [offered, thinned, full, refused] {
            out.put_u64(count);
        }
        out.put_i64(self.counted_since.unix_ms());
        put_answer(out, &self.served);
        out.put_option(self.candidates.as_ref(), put_answer);
        out.put_text(&self.problem);
    }

    fn decode(bytes: &[u8]) -> Result<Self, Error> {
        Cursor::new(bytes, 0).whole("shadow", |cursor| {
            let version = cursor.u16("version")?;
            if version != SHADOW_VERSION {
                return Err(Error::RecordVersion { found: version, supported: SHADOW_VERSION });
            }
            Ok(Self {
                sequence: cursor.u64("sequence")?,
                decision: DecisionId::from_bytes(cursor.array("decision")?),
                decision_sequence: cursor.u64("decision_sequence")?,
                decided_at: cursor.timestamp("decided_at")?,
                decision_point: cursor.text("decision_point")?,
                candidate: cursor.text("candidate")?,
                status: cursor.number("status", "a shadow status: 1 to 4", ShadowStatus::from_u8)?,
                kept: probability(cursor, "kept")?,
                counts: ShadowCounts {
                    offered: cursor.u64("offered")?,
                    thinned: cursor.u64("thinned")?,
                    full: cursor.u64("full")?,
                    refused: cursor.u64("refused")?,
                },
                counted_since: cursor.timestamp("counted_since")?,
                served: answer(cursor)?,
                candidates: cursor.option("candidates", answer)?,
                problem: cursor.text("problem")?,
            })
        })
    }

    fn made_at(&self) -> Timestamp {
        self.decided_at
    }

    fn decision(&self) -> DecisionId {
        self.decision
    }
}

fn put_answer(out: &mut Vec<u8>, answer: &ShadowAnswer) {
    out.put_bytes(answer.policy.as_bytes());
    out.put_count(answer.models.len());
    for (alias, model) in &answer.models {
        out.put_text(alias);
        out.put_model(model);
    }
    out.put_text(&answer.action);
    out.put_u8(answer.rung as u8);
    out.put_f64(answer.value);
    out.put_f64(answer.propensity);
    out.put_count(answer.scores.len());
    for (alias, score) in &answer.scores {
        out.put_text(alias);
        out.put_option(*score, |out, score| out.put_f64(score));
    }
    out.put_count(answer.reasons.len());
    for Reason { code, detail } in &answer.reasons {
        out.put_u8(*code as u8);
        out.put_option(detail.as_deref(), |out, detail| out.put_text(detail));
    }
    out.put_u32(answer.decide_us);
}

/// Least bytes of a model, a score and a reason, against which counts are held.
const LEAST_MODEL_BYTES: usize = 44;
const LEAST_SCORE_BYTES: usize = 5;
const LEAST_REASON_BYTES: usize = 2;

fn answer(cursor: &mut Cursor<'_>) -> Result<ShadowAnswer, Error> {
    Ok(ShadowAnswer {
        policy: ContentHash::from_bytes(cursor.array("policy")?),
        models: cursor.list("models", LEAST_MODEL_BYTES, |cursor| {
            Ok((cursor.text("alias")?, cursor.model("model")?))
        })?,
        action: cursor.text("action")?,
        rung: cursor.number("rung", "a rung: 1 to 5", Rung::from_u8)?,
        value: number(cursor, "value")?,
        propensity: probability(cursor, "propensity")?,
        scores: cursor.list("scores", LEAST_SCORE_BYTES, |cursor| {
            let alias: Arc<str> = cursor.text("alias")?;
            Ok((alias, cursor.option("score", |cursor| number(cursor, "score"))?))
        })?,
        reasons: cursor.list("reasons", LEAST_REASON_BYTES, |cursor| {
            let code = cursor.number("reason", "a reason code", ReasonCode::from_u8)?;
            Ok(Reason { code, detail: cursor.option("detail", |cursor| cursor.text("detail"))? })
        })?,
        decide_us: cursor.u32("decide_us")?,
    })
}

/// A finite number, negative zero too.
fn number(cursor: &mut Cursor<'_>, field: &'static str) -> Result<f64, Error> {
    let offset = cursor.offset();
    let value = cursor.f64(field)?;
    if value.is_finite() {
        return Ok(value);
    }
    Err(malformed(field, offset, format!("{value} is not allowed; expected a finite number")))
}

fn probability(cursor: &mut Cursor<'_>, field: &'static str) -> Result<f64, Error> {
    let offset = cursor.offset();
    let value = cursor.f64(field)?;
    if value > 0.0 && value <= 1.0 {
        return Ok(value);
    }
    Err(malformed(field, offset, format!("{value} is not allowed; expected a probability above 0")))
}

#[cfg(test)]
mod tests {
    use augur_domain::ModelRef;
    use proptest::prelude::*;

    use super::*;
    use crate::{Config, ShadowLog, ShadowReader};

    fn answered(action: &str, score: Option<f64>) -> ShadowAnswer {
        let model = ModelRef { name: "churn".into(), version: 3, artifact: ContentHash::from_bytes([3; 32]) };
        ShadowAnswer {
            policy: ContentHash::from_bytes([1; 32]),
            models: vec![("churn".into(), model)],
            action: action.into(),
            rung: Rung::Champion,
            value: 1.5,
            propensity: 0.25,
            scores: vec![("churn".into(), score)],
            reasons: vec![
                Reason::new(ReasonCode::HighestValue),
                Reason::with(ReasonCode::RuleBoosted, "LOYAL".into()),
            ],
            decide_us: 17,
        }
    }

    fn record(number: u64) -> ShadowRecord {
        ShadowRecord {
            sequence: 0,
            decision: DecisionId::from_bytes([7; 16]),
            decision_sequence: number,
            decided_at: Timestamp::from_unix_ms(1_795_366_965_123),
            decision_point: "cart".into(),
            candidate: "next".into(),
            status: ShadowStatus::Differs,
            kept: 0.125,
            counts: ShadowCounts { offered: 100, thinned: 80, full: 3, refused: 2 },
            counted_since: Timestamp::from_unix_ms(1_795_366_966_000),
            served: answered("none", None),
            candidates: Some(answered("mail", Some(0.5))),
            problem: "".into(),
        }
    }

    fn encoded(record: &ShadowRecord) -> Vec<u8> {
        let mut bytes = Vec::new();
        record.encode(&mut bytes);
        bytes
    }

    #[test]
    fn golden_bytes_of_version_1() {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let record = ShadowRecord { sequence: 9, ..record(2) };
        let text = |text: &str| format!("{:02x}000000{}", text.len(), hex(text.as_bytes()));
        let answer = |action: &str, score: &str| {
            "01".repeat(32)
                + "01000000"
                + &text("churn")
                + &text("churn")
                + "03000000"
                + &"03".repeat(32)
                + &text(action)
                + "01"
                + "000000000000f83f"
                + "000000000000d03f"
                + "01000000"
                + &text("churn")
                + score
                + "02000000"
                + &format!("{:02x}00", ReasonCode::HighestValue as u8)
                + &format!("{:02x}01", ReasonCode::RuleBoosted as u8)
                + &text("LOYAL")
                + "11000000"
        };
        let golden = "0100".to_owned()
            + "0900000000000000"
            + &"07".repeat(16)
            + "0200000000000000"
            + "83cf3504a2010000"
            + &text("cart")
            + &text("next")
            + "02"
            + "000000000000c03f"
            + "6400000000000000"
            + "5000000000000000"
            + "0300000000000000"
            + "0200000000000000"
            + "f0d23504a2010000"
            + &answer("none", "00")
            + "01"
            + &answer("mail", "01000000000000e03f")
            + "00000000";
        assert_eq!(hex(&encoded(&record)), golden);
        assert_eq!(ShadowRecord::decode(&encoded(&record)).unwrap(), record);
        let failed = ShadowRecord {
            status: ShadowStatus::Failed,
            candidates: None,
            problem: "it panicked".into(),
            ..record
        };
        assert_eq!(ShadowRecord::decode(&encoded(&failed)).unwrap(), failed);
    }

    #[test]
    fn what_no_encoder_writes_is_refused() {
        let bytes = encoded(&record(1));
        for length in 0..bytes.len() {
            assert!(ShadowRecord::decode(&bytes[..length]).is_err());
        }
        assert!(ShadowRecord::decode(&[bytes.clone(), vec![0]].concat()).is_err());
        assert!(ShadowRecord::decode(&[&[2, 0], &bytes[2..]].concat()).is_err());
        for kept in [f64::NAN, 0.0, -0.5, 1.5, f64::INFINITY] {
            assert!(ShadowRecord::decode(&encoded(&ShadowRecord { kept, ..record(1) })).is_err());
        }
        let mut wrong = record(1);
        wrong.served.value = f64::NAN;
        assert!(ShadowRecord::decode(&encoded(&wrong)).is_err());
    }

    proptest! {
        #[test]
        fn decoding_never_panics_and_accepts_only_what_is_written(
            bytes in proptest::collection::vec(any::<u8>(), 0..300), flip in 0_usize..420 * 8,
        ) {
            let _ = ShadowRecord::decode(&bytes);
            let mut near = encoded(&record(3));
            let flip = flip % (near.len() * 8);
            near[flip / 8] ^= 1 << (flip % 8);
            if let Ok(record) = ShadowRecord::decode(&near) {
                prop_assert_eq!(encoded(&record), near);
            }
        }
    }

    #[test]
    fn they_have_a_log_of_their_own() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config { segment_bytes: 4096, ..Config::new(dir.path()) };
        let (log, _) = ShadowLog::open(config.clone()).unwrap();
        for number in 0..50 {
            log.append(&record(number), |_| ()).unwrap();
        }
        log.close().unwrap();
        let read: Vec<_> = ShadowReader::open(dir.path()).unwrap().map(|found| found.unwrap().1).collect();
        assert_eq!(read.len(), 50);
        assert_eq!(read[41], ShadowRecord { sequence: 42, ..record(41) });
        assert!(matches!(crate::OutcomeLog::open(config), Err(Error::Corrupted { .. })));
    }
}
