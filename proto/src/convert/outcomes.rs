//! Reports of outcomes, from the wire.
//!
//! Not here: duplicates, or whether the decision is known (`server`).

use augur_domain::ids::{OutcomeKey, Pseudonymiser};
use augur_domain::value::Finite;
use augur_domain::{DecisionId, OutcomeKind, OutcomeRecord, Timestamp};

use super::{FieldError, timestamp_from_wire};
use crate::v1;

/// Longest `outcome_id`, in bytes.
pub const MAX_OUTCOME_ID_BYTES: usize = 256;
/// How far ahead of the server's clock an outcome may lie.
pub const MAX_AHEAD_MS: i64 = 5 * 60 * 1_000;

/// Reads one outcome that arrived at `received_at`. Its sequence is the log's to give.
///
/// # Errors
/// The first field that cannot be used, by its name within the outcome.
pub fn outcome_from_wire(
    wire: &v1::Outcome,
    received_at: Timestamp,
    pseudonymiser: &Pseudonymiser,
) -> Result<OutcomeRecord, FieldError> {
    let kind = kind(wire.kind)?;
    Ok(OutcomeRecord {
        sequence: 0,
        outcome: outcome_key(&wire.outcome_id, pseudonymiser)?,
        decision: decision_id(&wire.decision_id)?,
        kind,
        value: value(wire.value, kind)?,
        occurred_at: occurred_at(wire, received_at)?,
        received_at,
    })
}

/// Domain and wire share their numbers.
fn kind(number: i32) -> Result<OutcomeKind, FieldError> {
    let known = u8::try_from(number).ok().and_then(OutcomeKind::from_u8);
    known.ok_or_else(|| FieldError::new("kind", number.to_string(), "a number of OutcomeKind, 1 to 6"))
}

fn outcome_key(id: &str, pseudonymiser: &Pseudonymiser) -> Result<OutcomeKey, FieldError> {
    if id.is_empty() || id.len() > MAX_OUTCOME_ID_BYTES {
        let expected = format!("1 to {MAX_OUTCOME_ID_BYTES} bytes");
        return Err(FieldError::new("outcome_id", format!("{} bytes", id.len()), expected));
    }
    Ok(pseudonymiser.outcome_key(id))
}

fn decision_id(text: &str) -> Result<DecisionId, FieldError> {
    text.parse().map_err(|error: augur_domain::ids::ParseIdError| {
        FieldError::new("decision_id", error.to_string(), "the id that Decide gave")
    })
}

fn value(value: Option<f64>, kind: OutcomeKind) -> Result<Option<Finite>, FieldError> {
    let Some(number) = value else {
        return match kind {
            OutcomeKind::Value => Err(FieldError::new("value", "absent", "what a VALUE outcome is worth")),
            _ => Ok(None),
        };
    };
    if !kind.may_have_value() {
        let expected = "none, or an outcome of kind VALUE or CONVERTED";
        return Err(FieldError::new("value", format!("{number} of a {kind} outcome"), expected));
    }
    let finite = Finite::new(number);
    finite.map(Some).ok_or_else(|| FieldError::new("value", number.to_string(), "a finite number"))
}

fn occurred_at(wire: &v1::Outcome, received_at: Timestamp) -> Result<Timestamp, FieldError> {
    let Some(at) = &wire.occurred_at else { return Ok(received_at) };
    let at = timestamp_from_wire(at, "occurred_at")?;
    if at > received_at.plus_millis(MAX_AHEAD_MS) {
        let expected = format!("at most five minutes after the server's {received_at}");
        return Err(FieldError::new("occurred_at", at.to_string(), expected));
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert::timestamp_to_wire;

    const NOW: Timestamp = Timestamp::from_unix_ms(1_795_366_965_123);

    fn wire() -> v1::Outcome {
        v1::Outcome {
            outcome_id: "o1".to_owned(),
            decision_id: DecisionId::new(NOW, [3; 10]).to_string(),
            kind: v1::OutcomeKind::Value as i32,
            value: Some(9.5),
            occurred_at: Some(timestamp_to_wire(NOW.plus_millis(-5))),
        }
    }

    fn read(wire: &v1::Outcome) -> Result<OutcomeRecord, FieldError> {
        outcome_from_wire(wire, NOW, &Pseudonymiser::new([7; 32]))
    }

    #[test]
    fn an_outcome_is_read_whole() {
        let record = read(&wire()).unwrap();
        assert_eq!(record.decision, DecisionId::new(NOW, [3; 10]));
        assert_eq!(record.kind, OutcomeKind::Value);
        assert_eq!(record.value.map(Finite::get), Some(9.5));
        assert_eq!(record.occurred_at, NOW.plus_millis(-5));
        assert_eq!(
            record.outcome.to_string(),
            "ed70abf98e617b385c946bd327d2236c",
            "stored keys depend on these bytes"
        );
        let unset = v1::Outcome { occurred_at: None, ..wire() };
        assert_eq!(read(&unset).unwrap().occurred_at, NOW);
    }

    #[test]
    fn each_field_is_checked() {
        let ahead = timestamp_to_wire(NOW.plus_millis(MAX_AHEAD_MS + 1));
        for (wrong, field) in [
            (v1::Outcome { outcome_id: String::new(), ..wire() }, "outcome_id"),
            (v1::Outcome { outcome_id: "x".repeat(257), ..wire() }, "outcome_id"),
            (v1::Outcome { decision_id: "7".to_owned(), ..wire() }, "decision_id"),
            (v1::Outcome { kind: 0, ..wire() }, "kind"),
            (v1::Outcome { kind: 256 + 1, ..wire() }, "kind"),
            (v1::Outcome { value: None, ..wire() }, "value"),
            (v1::Outcome { value: Some(f64::NAN), ..wire() }, "value"),
            (v1::Outcome { kind: v1::OutcomeKind::Opened as i32, ..wire() }, "value"),
            (v1::Outcome { occurred_at: Some(ahead), ..wire() }, "occurred_at"),
        ] {
            assert_eq!(read(&wrong).unwrap_err().field, field);
        }
    }

    #[test]
    fn kinds_share_their_numbers() {
        for known in OutcomeKind::ALL {
            let wire = v1::OutcomeKind::try_from(i32::from(*known as u8)).unwrap();
            assert_eq!(wire.as_str_name(), format!("OUTCOME_KIND_{}", known.as_str()));
        }
    }
}
