//! `augur events retract`: one event is taken back.
//!
//! Not here: what taking back means (the feature store).

use augur_loadtest::domain::{ContentHash, Timestamp};
use augur_loadtest::{Client, convert, v1};
use clap::Args;
use serde::Serialize;

use super::place::Place;
use crate::output::Output;
use crate::{Error, Outcome};

/// Longest message_id that the API takes.
const MAX_ID_BYTES: usize = 256;

#[derive(Debug, Args)]
pub(crate) struct Retract {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    whose: Whose,
    /// The message_id of the event to take back.
    #[arg(long, value_name = "ID")]
    message_id: String,
    /// When it was taken back, as RFC 3339; now unless given. Reads of the past see the event until then.
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
    at: Option<Timestamp>,
}

#[derive(Debug, Args)]
#[group(id = "whose", required = true, multiple = false)]
struct Whose {
    /// The user's id, as the event named it.
    #[arg(long, value_name = "ID")]
    user_id: Option<String>,
    /// Instead of it, the anonymous id.
    #[arg(long, value_name = "ID")]
    anonymous_id: Option<String>,
}

#[derive(Debug, Serialize)]
struct Report {
    outcome: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    detail: String,
}

/// Runs the command.
pub(super) fn run(args: &Retract, output: Output) -> Result<Outcome, Error> {
    let timestamp = args.at;
    let event = v1::Event {
        message_id: message_id(&args.message_id),
        user_id: args.whose.user_id.clone().unwrap_or_default(),
        anonymous_id: args.whose.anonymous_id.clone().unwrap_or_default(),
        r#type: v1::EventType::Retract.into(),
        retracts_message_id: args.message_id.clone(),
        timestamp: timestamp.map(convert::timestamp_to_wire),
        ..v1::Event::default()
    };
    let result = args.place.with_client(async |client: Client| send(&client, event).await)?;
    let report = Report {
        outcome: super::word(result.outcome().as_str_name(), "EVENT_OUTCOME_"),
        reason: if result.reason == 0 {
            String::new()
        } else {
            super::word(result.reason().as_str_name(), "QUARANTINE_REASON_")
        },
        detail: result.detail.clone(),
    };
    output.report(&report, |report| match result.outcome() {
        v1::EventOutcome::Accepted => "taken back".to_owned(),
        v1::EventOutcome::Duplicate => "was taken back before".to_owned(),
        v1::EventOutcome::Suppressed => {
            "SUPPRESSED: the user was erased, with all events; there is nothing to take back".to_owned()
        }
        _ => format!("{} {}: {}", report.outcome, report.reason, report.detail),
    })?;
    let done = matches!(result.outcome(), v1::EventOutcome::Accepted | v1::EventOutcome::Duplicate);
    Ok(if done { Outcome::Fine } else { Outcome::Refused })
}

/// The id of the retraction itself: the same for the same event, another one for any other.
fn message_id(original: &str) -> String {
    let id = format!("retract {original}");
    if id.len() <= MAX_ID_BYTES { id } else { format!("retract {}", ContentHash::of(&[original.as_bytes()])) }
}

async fn send(client: &Client, event: v1::Event) -> Result<v1::EventResult, Error> {
    const CALL: &str = "EventService/Ingest";
    let request = v1::IngestRequest { events: vec![event], sent_at: None };
    let refused = |status| augur_loadtest::Error::call(CALL, 0, &status);
    let results = client.events().ingest(request).await.map_err(refused)?.into_inner().results;
    let none = augur_loadtest::Error::Protocol { call: CALL, problem: "no result for one event".to_owned() };
    Ok(results.into_iter().next().ok_or(none)?)
}

/// An instant as typed.
pub(super) fn instant(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse_rfc3339(text)
        .ok_or_else(|| "expected an instant of RFC 3339, like `2026-11-22T17:02:45Z`".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retractions_of_long_ids_are_told_apart_and_fit() {
        assert_eq!(message_id("order-17"), "retract order-17");
        let long = "ü".repeat(127);
        let (one, other) = (message_id(&format!("{long}1")), message_id(&format!("{long}2")));
        assert_ne!(one, other);
        assert!(one.len() <= MAX_ID_BYTES);
    }
}
