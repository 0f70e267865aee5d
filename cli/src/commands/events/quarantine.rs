//! `augur events quarantine`: events that were set aside, listed, shown, replayed and given up.
//!
//! Not here: how they are checked again (the server).

use augur_loadtest::domain::Timestamp;
use augur_loadtest::{Client, convert, v1};
use clap::{Args, Subcommand};
use serde::Serialize;

use super::place::Place;
use super::retract::instant;
use super::word;
use crate::output::{Output, table};
use crate::{Error, Outcome};

/// Entries of one call.
const PAGE: u32 = 1_000;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List entries, newest last.
    #[command(after_help = "\
Examples:
  augur events quarantine list --endpoint http://127.0.0.1:7401
  augur events quarantine list --data data --reason WRONG_TYPE --event purchase --limit 1000 --json")]
    List(List),
    /// Show one entry with everything that is kept of it.
    #[command(after_help = "Example:\n  augur events quarantine show 17 --endpoint http://127.0.0.1:7401")]
    Show(Show),
    /// Check entries again, after changes if wanted; what is accepted counts once and leaves. Exit code 3 when any stays.
    #[command(after_help = "\
Examples:
  augur events quarantine replay 17 18 --set properties.value=12 --endpoint http://127.0.0.1:7401
  augur events quarantine replay --all --reason TOO_LATE --accept-late --data data")]
    Replay(Replay),
    /// Give entries up for good.
    #[command(
        after_help = "Example:\n  augur events quarantine delete 17 18 --endpoint http://127.0.0.1:7401"
    )]
    Delete(Chosen),
}

#[derive(Debug, Clone, Args)]
struct Filter {
    /// Only those set aside for this reason, such as TOO_LATE.
    #[arg(long, value_parser = reason)]
    reason: Option<v1::QuarantineReason>,
    /// Only events of this name, in any spelling.
    #[arg(long, value_name = "NAME")]
    event: Option<String>,
    /// Only those received at or after this instant, RFC 3339.
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
    since: Option<Timestamp>,
    /// Only those received before this instant, RFC 3339.
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
    until: Option<Timestamp>,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    filter: Filter,
    /// Most entries told, the newest ones; all when 0.
    #[arg(long, default_value_t = 100)]
    limit: usize,
    /// The entries older than this number.
    #[arg(long, value_name = "NUMBER")]
    before: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Its number, as listed.
    number: u64,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(crate) struct Chosen {
    /// Their numbers, as listed.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    numbers: Vec<u64>,
    /// Every entry that the filters take.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(crate) struct Replay {
    #[command(flatten)]
    chosen: Chosen,
    /// A field to mend, such as `properties.value=12`: a number or true or false if it reads as one, else text.
    #[arg(long, value_name = "FIELD=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
    /// A field to take away.
    #[arg(long, value_name = "FIELD")]
    unset: Vec<String>,
    /// Take events however old they are.
    #[arg(long)]
    accept_late: bool,
}

#[derive(Debug, Serialize)]
struct Listed {
    entries: Vec<Entry>,
    /// What `--before` names to go on; nothing when there are no more.
    next_before: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Entry {
    number: u64,
    received_at: String,
    reason: String,
    field: String,
    detail: String,
    /// What kind of event it claims to be, such as `track` or `retract`.
    r#type: String,
    event: String,
    user_key: String,
    message_key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<String>,
    properties: serde_json::Map<String, serde_json::Value>,
    /// Whether all of it was kept, so that it can be replayed.
    whole: bool,
}

#[derive(Debug, Serialize)]
struct Replayed {
    accepted: u64,
    duplicates: u64,
    suppressed: u64,
    /// Those that stay, and numbers that are not there.
    stays: Vec<Stays>,
}

#[derive(Debug, Serialize)]
struct Stays {
    number: u64,
    reason: String,
    field: String,
    detail: String,
}

#[derive(Debug, Serialize)]
struct Deleted {
    deleted: u64,
}

/// Runs the command.
pub(super) fn run(command: &Command, output: Output) -> Result<Outcome, Error> {
    match command {
        Command::List(args) => list(args, output),
        Command::Show(args) => show(args, output),
        Command::Replay(args) => replay(args, output),
        Command::Delete(args) => delete(args, output),
    }
}

/// A reason as typed.
fn reason(text: &str) -> Result<v1::QuarantineReason, String> {
    let known = v1::QuarantineReason::from_str_name(&format!("QUARANTINE_REASON_{}", text.to_uppercase()));
    known.filter(|known| *known != v1::QuarantineReason::Unspecified).ok_or_else(|| {
        "expected a quarantine reason such as TOO_LATE; docs/reason-codes.md lists them".to_owned()
    })
}

/// A field and its new value as typed.
fn assignment(text: &str) -> Result<(String, String), String> {
    let (field, value) =
        text.split_once('=').ok_or("expected FIELD=VALUE, e.g. `properties.value=12`".to_owned())?;
    Ok((field.to_owned(), value.to_owned()))
}

fn request(filter: &Filter) -> v1::ListQuarantineRequest {
    v1::ListQuarantineRequest {
        reason: filter.reason.map_or(0, i32::from),
        event: filter.event.clone().unwrap_or_default(),
        received_from: filter.since.map(convert::timestamp_to_wire),
        received_until: filter.until.map(convert::timestamp_to_wire),
        limit: PAGE,
        page_token: String::new(),
    }
}

/// At most `limit` entries below `before`, newest first, and where the next ones begin.
async fn entries(
    client: &Client,
    mut request: v1::ListQuarantineRequest,
    limit: usize,
    before: Option<u64>,
) -> Result<(Vec<v1::QuarantinedEvent>, Option<u64>), Error> {
    request.page_token = before.map(|before| before.to_string()).unwrap_or_default();
    let mut found = Vec::new();
    loop {
        let left = limit.saturating_sub(found.len());
        request.limit = u32::try_from(left).unwrap_or(PAGE).min(PAGE);
        let refused = |status| augur_loadtest::Error::call("EventService/ListQuarantine", 0, &status);
        let page = client.events().list_quarantine(request.clone()).await.map_err(refused)?.into_inner();
        found.extend(page.events.into_iter().rev());
        let next = page.next_page_token.parse().ok();
        if next.is_none() || found.len() >= limit {
            return Ok((found, next));
        }
        request.page_token = page.next_page_token;
    }
}

fn list(args: &List, output: Output) -> Result<Outcome, Error> {
    let request = request(&args.filter);
    let limit = if args.limit == 0 { usize::MAX } else { args.limit };
    let (found, next_before) =
        args.place.with_client(async |client: Client| entries(&client, request, limit, args.before).await)?;
    let listed = Listed { entries: found.into_iter().rev().map(entry).collect(), next_before };
    output.report(&listed, |listed| {
        let rows: Vec<_> = listed.entries.iter().map(row).collect();
        let mut text = table(&["number", "received", "reason", "event", "field", "detail"], &rows);
        if let Some(before) = listed.next_before {
            text.push_str(&format!("there may be older ones: --before {before}\n"));
        }
        text
    })?;
    Ok(Outcome::Fine)
}

fn row(entry: &Entry) -> Vec<String> {
    let Entry { number, received_at, reason, field, detail, .. } = entry;
    let texts =
        [received_at, reason, entry.called(), field, detail].map(|text| text.chars().take(100).collect());
    std::iter::once(number.to_string()).chain(texts).collect()
}

impl Entry {
    /// Its name, or its type where it has none.
    const fn called(&self) -> &String {
        if self.event.is_empty() { &self.r#type } else { &self.event }
    }
}

fn show(args: &Show, output: Output) -> Result<Outcome, Error> {
    let request = v1::ListQuarantineRequest::default();
    let before = args.number.checked_add(1);
    let (found, _) =
        args.place.with_client(async |client: Client| entries(&client, request, 1, before).await)?;
    let Some(found) = found.into_iter().find(|found| found.number == args.number) else {
        return Err(Error::Argument {
            argument: "NUMBER",
            found: args.number.to_string(),
            expected: "the number of an entry, as `augur events quarantine list` tells it".to_owned(),
        });
    };
    output.report(&entry(found), |entry| {
        let mut text = format!(
            "entry {} received {}\nreason    {}\nfield     {}\ndetail    {}\nevent     {}\nuser      {}\nmessage   {}\n",
            entry.number,
            entry.received_at,
            entry.reason,
            entry.field,
            entry.detail,
            entry.called(),
            entry.user_key,
            entry.message_key,
        );
        if let Some(timestamp) = &entry.timestamp {
            text.push_str(&format!("timestamp {timestamp}\n"));
        }
        for (name, value) in &entry.properties {
            text.push_str(&format!("  .{name} = {value}\n"));
        }
        if !entry.whole {
            text.push_str("its bytes were cut: it cannot be replayed\n");
        }
        text
    })?;
    Ok(Outcome::Fine)
}

fn entry(found: v1::QuarantinedEvent) -> Entry {
    let reason = word(found.reason().as_str_name(), "QUARANTINE_REASON_");
    let whole = found.event.is_some();
    let event = found.event.unwrap_or_default();
    let kind = match event.r#type() {
        v1::EventType::Unspecified => v1::EventType::Track,
        kind => kind,
    };
    let kind = word(kind.as_str_name(), "EVENT_TYPE_").to_lowercase();
    let properties = event.properties.into_iter().map(|(name, value)| (name, json(value)));
    let shown = |at: Option<_>| {
        at.map(|at| convert::timestamp_from_wire(&at, "").map_or_else(|_| String::new(), |at| at.to_string()))
    };
    Entry {
        r#type: kind,
        number: found.number,
        received_at: shown(found.received_at).unwrap_or_default(),
        reason,
        field: found.field,
        detail: found.detail,
        event: event.event,
        user_key: found.user_key,
        message_key: found.message_key,
        timestamp: shown(event.timestamp),
        properties: properties.collect(),
        whole,
    }
}

fn json(value: v1::Value) -> serde_json::Value {
    use v1::value::Kind;
    match value.kind {
        None => serde_json::Value::Null,
        Some(Kind::Boolean(boolean)) => boolean.into(),
        // What JSON cannot hold is often why it is here.
        Some(Kind::Number(number)) if !number.is_finite() => number.to_string().into(),
        Some(Kind::Number(number)) => number.into(),
        Some(Kind::Integer(integer)) => integer.into(),
        Some(Kind::Text(text)) => text.into(),
    }
}

impl Chosen {
    /// The numbers named, or those of all entries that the filters take, oldest first.
    async fn numbers(&self, client: &Client) -> Result<Vec<u64>, Error> {
        if !self.all {
            return Ok(self.numbers.clone());
        }
        let (found, _) = entries(client, request(&self.filter), usize::MAX, None).await?;
        Ok(found.into_iter().rev().map(|entry| entry.number).collect())
    }
}

fn change(field: &str, value: Option<v1::Value>) -> v1::EventChange {
    v1::EventChange { field: field.to_owned(), value }
}

fn changes(args: &Replay) -> Vec<v1::EventChange> {
    use v1::value::Kind;
    let set = args.set.iter().map(|(field, text)| {
        let typed = field.starts_with("properties.");
        let number = text.parse().ok().filter(|number: &f64| typed && number.is_finite()).map(Kind::Number);
        let kind = number.or_else(|| text.parse().ok().filter(|_| typed).map(Kind::Boolean));
        let kind = kind.unwrap_or_else(|| Kind::Text(text.to_owned()));
        change(field, Some(v1::Value { kind: Some(kind) }))
    });
    set.chain(args.unset.iter().map(|field| change(field, None))).collect()
}

fn replay(args: &Replay, output: Output) -> Result<Outcome, Error> {
    let changes = changes(args);
    let accept_late = args.accept_late;
    let replayed = args.chosen.place.with_client(async |client: Client| {
        let mut replayed = Replayed { accepted: 0, duplicates: 0, suppressed: 0, stays: Vec::new() };
        for numbers in args.chosen.numbers(&client).await?.chunks(PAGE as usize) {
            let request = v1::ReplayQuarantineRequest {
                numbers: numbers.to_vec(),
                changes: changes.clone(),
                accept_late,
            };
            let refused = |status| augur_loadtest::Error::call("EventService/ReplayQuarantine", 0, &status);
            let answer = client.events().replay_quarantine(request).await.map_err(refused)?.into_inner();
            answer.events.into_iter().for_each(|event| replayed.count(event));
        }
        Ok(replayed)
    })?;
    output.report(&replayed, |replayed| {
        let mut text = format!(
            "{} accepted, {} duplicates, {} of erased users, {} stay",
            replayed.accepted,
            replayed.duplicates,
            replayed.suppressed,
            replayed.stays.len()
        );
        for Stays { number, reason, field, detail } in replayed.stays.iter().take(100) {
            text.push_str(&format!("\n  {number}: {reason} {field}: {detail}"));
        }
        text
    })?;
    Ok(if replayed.stays.is_empty() { Outcome::Fine } else { Outcome::Refused })
}

impl Replayed {
    fn count(&mut self, event: v1::ReplayedEvent) {
        let outcome = event.outcome();
        match outcome {
            v1::EventOutcome::Accepted => self.accepted += 1,
            v1::EventOutcome::Duplicate => self.duplicates += 1,
            v1::EventOutcome::Suppressed => self.suppressed += 1,
            v1::EventOutcome::Unspecified => {
                let (reason, detail) = ("NOT_FOUND".to_owned(), "there is no such entry".to_owned());
                self.stays.push(Stays { number: event.number, reason, field: String::new(), detail });
            }
            v1::EventOutcome::Quarantined | v1::EventOutcome::Rejected => {
                let reason = word(event.reason().as_str_name(), "QUARANTINE_REASON_");
                let v1::ReplayedEvent { number, field, detail, .. } = event;
                self.stays.push(Stays { number, reason, field, detail });
            }
        }
    }
}

fn delete(args: &Chosen, output: Output) -> Result<Outcome, Error> {
    let deleted = args.place.with_client(async |client: Client| {
        let mut deleted = 0;
        for numbers in args.numbers(&client).await?.chunks(PAGE as usize) {
            let request = v1::DeleteQuarantineRequest { numbers: numbers.to_vec() };
            let refused = |status| augur_loadtest::Error::call("EventService/DeleteQuarantine", 0, &status);
            deleted +=
                client.events().delete_quarantine(request).await.map_err(refused)?.into_inner().deleted;
        }
        Ok(deleted)
    })?;
    output.report(&Deleted { deleted }, |report| format!("{} given up", report.deleted))?;
    Ok(Outcome::Fine)
}
