//! The `decision` section of a record.
//!
//! Not here: primitives (`read`, `write`).
//!
//! `action text | payload text | channel text | counts_against_caps u8 | value f64 | propensity f64 | rung u8 |
//! scores | candidates | reasons | expires_at optional`, where
//! - `scores` is a list of (alias text, optional model, optional (margin f64, raw f64, calibrated f64));
//! - `candidates` is a list of (action text, optional value f64, probability f64, reason, optional
//!   `next_eligible_at`);
//! - `reasons` is a list of reasons, and a reason is (code u8, optional detail text).
//!
//! From version 5 on may follow, unless all of it is empty: `category text | holds_until optional | assignments |
//! shadow`, where `assignments` is a list of (experiment text, arm text, enrolled u8) and `shadow` a list of reasons.

use std::sync::Arc;

use augur_domain::decision::{Assignment, CandidateOutcome, Rung, Score, ScoreOutcome};
use augur_domain::{Decision, Reason, ReasonCode, Timestamp};

use super::read::{Cursor, malformed};
use super::write::Put;
use crate::error::Error;

pub(super) fn encode(decision: &Decision, out: &mut Vec<u8>) {
    out.put_text(&decision.action);
    out.put_text(&decision.payload);
    out.put_text(&decision.channel);
    out.put_u8(u8::from(decision.counts_against_caps));
    out.put_f64(decision.value);
    out.put_f64(decision.propensity);
    out.put_u8(decision.rung as u8);
    out.put_count(decision.scores.len());
    for score in &decision.scores {
        encode_score(score, out);
    }
    out.put_count(decision.candidates.len());
    for candidate in &decision.candidates {
        encode_candidate(candidate, out);
    }
    out.put_count(decision.reasons.len());
    for reason in &decision.reasons {
        encode_reason(reason, out);
    }
    encode_instant(decision.expires_at, out);
    if has_more(decision) {
        encode_more(decision, out);
    }
}

/// Whether versions before 5 cannot hold it.
pub(super) fn has_more(decision: &Decision) -> bool {
    !decision.category.is_empty()
        || decision.holds_until.is_some()
        || !decision.assignments.is_empty()
        || !decision.shadow.is_empty()
}

fn encode_more(decision: &Decision, out: &mut Vec<u8>) {
    out.put_text(&decision.category);
    encode_instant(decision.holds_until, out);
    out.put_count(decision.assignments.len());
    for assignment in &decision.assignments {
        out.put_text(&assignment.experiment);
        out.put_text(&assignment.arm);
        out.put_u8(u8::from(assignment.enrolled));
    }
    out.put_count(decision.shadow.len());
    for reason in &decision.shadow {
        encode_reason(reason, out);
    }
}

fn encode_score(outcome: &ScoreOutcome, out: &mut Vec<u8>) {
    out.put_text(&outcome.alias);
    out.put_option(outcome.model.as_ref(), Put::put_model);
    out.put_option(outcome.score, |out, score| {
        out.put_f64(score.margin);
        out.put_f64(score.raw);
        out.put_f64(score.calibrated);
    });
}

fn encode_candidate(candidate: &CandidateOutcome, out: &mut Vec<u8>) {
    out.put_text(&candidate.action);
    out.put_option(candidate.value, Put::put_f64);
    out.put_f64(candidate.probability);
    encode_reason(&candidate.reason, out);
    encode_instant(candidate.next_eligible_at, out);
}

fn encode_reason(reason: &Reason, out: &mut Vec<u8>) {
    out.put_u8(reason.code as u8);
    out.put_option(reason.detail.as_deref(), Put::put_text);
}

fn encode_instant(instant: Option<Timestamp>, out: &mut Vec<u8>) {
    out.put_option(instant, |out, instant| out.put_i64(instant.unix_ms()));
}

/// `may_have_more` from version 5 on.
pub(super) fn decode(cursor: &mut Cursor<'_>, may_have_more: bool) -> Result<Decision, Error> {
    let mut decision = decode_first(cursor)?;
    if may_have_more && !cursor.is_at_end() {
        let offset = cursor.offset();
        decode_more(cursor, &mut decision)?;
        if !has_more(&decision) {
            let reason = "all of it is empty; expected nothing then".to_owned();
            return Err(malformed("decision.category", offset, reason));
        }
    }
    Ok(decision)
}

fn decode_more(cursor: &mut Cursor<'_>, decision: &mut Decision) -> Result<(), Error> {
    decision.category = cursor.text("decision.category")?;
    decision.holds_until = decode_instant(cursor, "decision.holds_until")?;
    decision.assignments = cursor.list("decision.assignments", 9, |cursor| {
        Ok(Assignment {
            experiment: cursor.text("decision.assignments.experiment")?,
            arm: cursor.text("decision.assignments.arm")?,
            enrolled: cursor.boolean("decision.assignments.enrolled")?,
        })
    })?;
    decision.shadow = cursor.list("decision.shadow", 2, |cursor| decode_reason(cursor, "decision.shadow"))?;
    Ok(())
}

fn decode_first(cursor: &mut Cursor<'_>) -> Result<Decision, Error> {
    Ok(Decision {
        action: cursor.text("decision.action")?,
        payload: cursor.text("decision.payload")?,
        channel: cursor.text("decision.channel")?,
        counts_against_caps: cursor.boolean("decision.counts_against_caps")?,
        value: cursor.f64("decision.value")?,
        propensity: cursor.f64("decision.propensity")?,
        rung: cursor.number("decision.rung", "a rung from 1 to 5", Rung::from_u8)?,
        scores: cursor.list("decision.scores", 6, decode_score)?,
        candidates: cursor.list("decision.candidates", 16, decode_candidate)?,
        reasons: cursor.list("decision.reasons", 2, |cursor| decode_reason(cursor, "decision.reasons"))?,
        expires_at: decode_instant(cursor, "decision.expires_at")?,
        category: Arc::default(),
        holds_until: None,
        assignments: Vec::new(),
        shadow: Vec::new(),
    })
}

fn decode_score(cursor: &mut Cursor<'_>) -> Result<ScoreOutcome, Error> {
    Ok(ScoreOutcome {
        alias: cursor.text("decision.scores.alias")?,
        model: cursor.option("decision.scores.model", |cursor| cursor.model("decision.scores.model"))?,
        score: cursor.option("decision.scores.score", |cursor| {
            Ok(Score {
                margin: cursor.f64("decision.scores.margin")?,
                raw: cursor.f64("decision.scores.raw")?,
                calibrated: cursor.f64("decision.scores.calibrated")?,
            })
        })?,
    })
}

fn decode_candidate(cursor: &mut Cursor<'_>) -> Result<CandidateOutcome, Error> {
    Ok(CandidateOutcome {
        action: cursor.text("decision.candidates.action")?,
        value: cursor
            .option("decision.candidates.value", |cursor| cursor.f64("decision.candidates.value"))?,
        probability: cursor.f64("decision.candidates.probability")?,
        reason: decode_reason(cursor, "decision.candidates.reason")?,
        next_eligible_at: decode_instant(cursor, "decision.candidates.next_eligible_at")?,
    })
}

fn decode_reason(cursor: &mut Cursor<'_>, field: &'static str) -> Result<Reason, Error> {
    Ok(Reason {
        code: cursor.number(field, "the number of a reason code", ReasonCode::from_u8)?,
        detail: cursor.option(field, |cursor| cursor.text(field))?,
    })
}

fn decode_instant(cursor: &mut Cursor<'_>, field: &'static str) -> Result<Option<Timestamp>, Error> {
    cursor.option(field, |cursor| cursor.timestamp(field))
}
