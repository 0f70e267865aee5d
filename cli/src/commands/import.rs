//! `augur import`: events out of files into a data directory or a running server.
//!
//! Not here: reading files (`crate::import`) or checking events (the server's own path, used by both ways).

use std::collections::{BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::time::Instant;

use augur_loadtest::domain::event::MAX_BATCH_EVENTS;
use augur_loadtest::ingest::{self, Totals};
use augur_loadtest::{Client, v1};
use augur_server::{Submitted, SystemClock};
use serde::Serialize;

use crate::data::Directory;
use crate::import::{BadRow, Events, Format, Mapping};
use crate::output::{Output, grouped, rounded};
use crate::{Error, Outcome, progress};

/// Batches on their way to the disk at once.
const BATCHES_IN_FLIGHT: usize = 8;

const EXAMPLES: &str = "\
Examples:
  augur import shop.csv.gz --data data \\
      --map user_id=customer --map timestamp=at:ms --map event=action --map value=amount \\
      --prop item_id=sku:text --map-event order=purchase
  augur import visits.parquet --endpoint http://127.0.0.1:7401 \\
      --map anonymous_id=device --map timestamp=time --event-name page_view

Fields for --map: user_id, anonymous_id, message_id, timestamp, event; any other name is a number of the event, like
value. A column after `timestamp` may say how it is spelled: ms, s, rfc3339 or a format such as %d/%m/%Y %H:%M or %Y%m%d
(UTC unless it has an offset).

Without message_id, the id of an event is made of its file's name (without .gz), the number of its row and everything
in that row: importing the same file again counts nothing twice, also under another mapping and after rows were added
at its end. Rows behind an inserted, removed or moved one count again, though. Events stay as they were mapped first:
to correct a mapping, import into a new directory.

Exit code 3 when rows or events were set aside, or when no row had a mapped column.";

/// Store events from CSV, JSON lines or Parquet files.
///
/// Each row is one event. A row that is no event is counted, shown with its place, and passed over. Memory stays
/// bounded however large the files are.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Files, read one after another; `.gz` is unpacked.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Store into this data directory; no server may be using it. History of any age is taken: the server's limit
    /// on lateness does not apply.
    #[arg(long, value_name = "DIR", conflicts_with = "endpoint", required_unless_present = "endpoint")]
    data: Option<PathBuf>,
    /// Send to a running server. Its limit on lateness applies: older events are set aside there.
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// What the files hold, when their names do not tell.
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Which column is which field.
    #[arg(long, value_name = "FIELD=COLUMN")]
    map: Vec<String>,
    /// A property from a column; `:number`, `:text` or `:boolean` says its type, else its looks do.
    #[arg(long, value_name = "NAME=COLUMN[:TYPE]")]
    prop: Vec<String>,
    /// The name of every event, when no column tells it.
    #[arg(long, value_name = "NAME")]
    event_name: Option<String>,
    /// Another name for events of this name.
    #[arg(long, value_name = "FROM=TO")]
    map_event: Vec<String>,
    /// Stop at the first row that is no event.
    #[arg(long)]
    strict: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    rows: u64,
    bad_rows: u64,
    bad_row_examples: Vec<BadRow>,
    /// Mapped columns that no row had, and what rows had instead.
    absent_columns: Vec<String>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    seen_fields: BTreeSet<String>,
    #[serde(flatten)]
    totals: Totals,
    /// Of the rows that are events, whatever became of them.
    first_event_time: Option<String>,
    last_event_time: Option<String>,
    elapsed_seconds: f64,
    events_per_second: f64,
}

/// Runs the command.
pub(crate) fn run(args: &Args, output: Output) -> Result<Outcome, Error> {
    let mapping = Mapping::parse(&args.map, &args.prop, args.event_name.as_deref(), &args.map_event)?;
    let (events, reading) = Events::of(&args.files, args.format, mapping, args.strict)?;
    let bar = progress::counter("events");
    let start = Instant::now();
    let told = |totals: &Totals| bar.set_position(totals.events);
    let totals = match (&args.data, &args.endpoint) {
        (Some(data), _) => super::block_on(into_directory(data, events, told))?,
        (None, endpoint) => {
            super::block_on(into_server(endpoint.as_deref().unwrap_or_default(), events, told))?
        }
    };
    bar.finish_and_clear();
    let mut reading = reading.borrow_mut();
    if let Some(failure) = reading.failure.take() {
        output.say(&format!("stopped early: {} events were stored before", grouped(totals.accepted)))?;
        return Err(failure);
    }
    let elapsed_seconds = start.elapsed().as_secs_f64();
    let report = Report {
        rows: reading.rows,
        bad_rows: reading.bad_rows,
        bad_row_examples: std::mem::take(&mut reading.examples),
        absent_columns: std::mem::take(&mut reading.absent_columns),
        seen_fields: std::mem::take(&mut reading.seen_fields),
        first_event_time: reading.first_event_time.map(|time| time.to_string()),
        last_event_time: reading.last_event_time.map(|time| time.to_string()),
        elapsed_seconds,
        events_per_second: totals.events as f64 / elapsed_seconds.max(1e-9),
        totals,
    };
    output.report(&report, |report| text(report, args.data.as_deref()))?;
    let complete = report.bad_rows == 0 && report.totals.complete() && report.absent_columns.is_empty();
    Ok(if complete { Outcome::Fine } else { Outcome::Refused })
}

async fn into_server(endpoint: &str, events: Events, told: impl FnMut(&Totals)) -> Result<Totals, Error> {
    let client = Client::connect(endpoint, 1).await?;
    let plan = ingest::Plan { batch_events: 1_000, ..ingest::Plan::default() };
    Ok(ingest::run(&client, events, &plan, told).await.map_err(Error::Import)?.totals)
}

async fn into_directory(
    data: &Path,
    mut events: Events,
    mut told: impl FnMut(&Totals),
) -> Result<Totals, Error> {
    let mut config = Directory::open_or_create(data)?.config()?;
    // Far beyond any history, and far from overflowing a difference of two instants.
    config.ingest.max_lateness_ms = i64::MAX / 4;
    let app = augur_server::App::open(config, SystemClock::new())?;
    let received_at = app.clock().now();
    let mut totals = Totals::default();
    let mut under_way: VecDeque<(Vec<String>, Submitted)> = VecDeque::new();
    loop {
        let batch: Vec<v1::Event> = events.by_ref().take(MAX_BATCH_EVENTS).collect();
        let done = batch.is_empty();
        if !done {
            let ids = batch.iter().map(|event| event.message_id.clone()).collect();
            under_way.push_back((ids, app.import(batch, received_at).await?));
        }
        while under_way.len() >= if done { 1 } else { BATCHES_IN_FLIGHT } {
            let Some((ids, submitted)) = under_way.pop_front() else { break };
            for (id, outcome) in ids.iter().zip(submitted.outcomes().await?) {
                totals.record(id, &outcome);
            }
            told(&totals);
        }
        if done {
            break;
        }
    }
    app.close()?;
    Ok(totals)
}

fn text(report: &Report, data: Option<&Path>) -> String {
    let totals = &report.totals;
    let mut text = format!(
        "{} rows in {:.1} s, {} events per second\n\
         {} accepted, {} duplicates, {} quarantined, {} rejected, {} rows that are no event",
        grouped(report.rows),
        report.elapsed_seconds,
        rounded(report.events_per_second),
        grouped(totals.accepted),
        grouped(totals.duplicates),
        grouped(totals.quarantined_total()),
        grouped(totals.rejected_total()),
        grouped(report.bad_rows),
    );
    if let (Some(first), Some(last)) = (&report.first_event_time, &report.last_event_time) {
        text.push_str(&format!("\nevent times from {first} to {last}"));
    }
    for bad in &report.bad_row_examples {
        text.push_str(&format!("\n  {bad}"));
    }
    if !report.absent_columns.is_empty() {
        let seen: Vec<_> = report.seen_fields.iter().map(String::as_str).collect();
        text.push_str(&format!(
            "\nno row has a column {}; there are {}",
            report.absent_columns.join(", "),
            seen.join(", ")
        ));
    }
    let refused = totals.quarantined.iter().map(|refused| ("quarantined", refused));
    let refused = refused.chain(totals.rejected.iter().map(|refused| ("rejected", refused)));
    for (what, (reason, count)) in refused {
        text.push_str(&format!("\n{what} as {reason}: {}", grouped(*count)));
        for example in totals.examples.iter().filter(|example| example.reason == *reason) {
            text.push_str(&format!("\n  {}: {}: {}", example.message_id, example.field, example.detail));
        }
    }
    if let Some(data) = data {
        text.push_str(
            "\nhistory of any age was taken; the limit on lateness holds for a running server only",
        );
        text.push_str(&format!("\nnext: augur train --task conversion --data {}", data.display()));
    }
    text
}
