//! Ingest load: events in batches, a bounded number of batches under way, every outcome counted.
//!
//! Events keep their order: batches leave in order, over one stream or as unary calls. A batch that is refused
//! because the server is busy is sent again; that is safe, because message ids make a retry count nothing twice.
//! Not here: where events come from.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use augur_domain::event::{EventOutcome, MAX_BATCH_EVENTS, Quarantine};
use augur_proto::v1;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;

use crate::latency::{Latencies, Summary};
use crate::{Client, Error};

/// Quarantined events kept as examples, per reason.
const EXAMPLES_PER_REASON: usize = 3;
/// A busy server is asked again this often, waiting longer each time.
const RETRIES: u32 = 10;
const FIRST_WAIT: Duration = Duration::from_millis(5);

/// By which call events travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// `Ingest`, one call per batch.
    Unary,
    /// `IngestStream`, one stream for all.
    Stream,
}

/// One ingest run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Events per batch, 1 to 2500.
    pub batch_events: usize,
    /// Most batches under way, 1 to 1024.
    pub in_flight: usize,
    /// By which call.
    pub transport: Transport,
}

impl Default for Plan {
    fn default() -> Self {
        Self { batch_events: 500, in_flight: 8, transport: Transport::Stream }
    }
}

impl Plan {
    /// Whether every setting is in its range; [`run`] asks this first, too.
    ///
    /// # Errors
    /// [`Error::InvalidPlan`] names the first that is not.
    pub fn check(&self) -> Result<(), Error> {
        let complain = |name, found: usize, expected| {
            Err(Error::InvalidPlan { name, found: found.to_string(), expected })
        };
        if !(1..=MAX_BATCH_EVENTS).contains(&self.batch_events) {
            return complain("batch", self.batch_events, "1 to 2500 events");
        }
        if !(1..=1_024).contains(&self.in_flight) {
            return complain("in flight", self.in_flight, "1 to 1024 batches");
        }
        Ok(())
    }
}

/// What became of the events so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Events answered.
    pub events: u64,
    /// On disk and counted.
    pub accepted: u64,
    /// Seen before.
    pub duplicates: u64,
    /// Set aside, by reason.
    pub quarantined: BTreeMap<String, u64>,
    /// Refused by the declared taxonomy and not kept, by reason.
    pub rejected: BTreeMap<String, u64>,
    /// The first few of each reason.
    pub examples: Vec<Example>,
}

/// One event that was set aside or rejected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Example {
    /// The sender's id of it.
    pub message_id: String,
    /// The closed reason.
    pub reason: String,
    /// The field at fault.
    pub field: String,
    /// The bad value and what was expected.
    pub detail: String,
}

impl Totals {
    /// Counts the answer to one batch.
    pub fn count(&mut self, results: &[v1::EventResult]) {
        for result in results {
            self.events += 1;
            match result.outcome() {
                v1::EventOutcome::Accepted => self.accepted += 1,
                v1::EventOutcome::Duplicate => self.duplicates += 1,
                v1::EventOutcome::Rejected => self.refuse(result, true),
                v1::EventOutcome::Suppressed => self.suppressed(&result.message_id),
                v1::EventOutcome::Quarantined | v1::EventOutcome::Unspecified => self.refuse(result, false),
            }
        }
    }

    /// Counts one event that was stored without a wire between.
    pub fn record(&mut self, message_id: &str, outcome: &EventOutcome) {
        self.events += 1;
        match outcome {
            EventOutcome::Accepted => self.accepted += 1,
            EventOutcome::Duplicate => self.duplicates += 1,
            EventOutcome::Quarantined(Quarantine { reason, field, detail }) => {
                self.example(false, reason.as_str(), message_id, field, detail);
            }
            EventOutcome::Rejected(Quarantine { reason, field, detail }) => {
                self.example(true, reason.as_str(), message_id, field, detail);
            }
            EventOutcome::Suppressed => self.suppressed(message_id),
        }
    }

    fn suppressed(&mut self, message_id: &str) {
        self.example(true, "SUPPRESSED", message_id, "user_id", "the user was erased");
    }

    fn refuse(&mut self, result: &v1::EventResult, rejected: bool) {
        let name = result.reason().as_str_name();
        let reason = name.strip_prefix("QUARANTINE_REASON_").unwrap_or(name);
        self.example(rejected, reason, &result.message_id, &result.field, &result.detail);
    }

    fn example(&mut self, rejected: bool, reason: &str, message_id: &str, field: &str, detail: &str) {
        let counts = if rejected { &mut self.rejected } else { &mut self.quarantined };
        let count = counts.entry(reason.to_owned()).or_default();
        *count += 1;
        if *count <= EXAMPLES_PER_REASON as u64 {
            self.examples.push(Example {
                message_id: message_id.to_owned(),
                reason: reason.to_owned(),
                field: field.to_owned(),
                detail: detail.to_owned(),
            });
        }
    }

    /// Events set aside, for whatever reason.
    pub fn quarantined_total(&self) -> u64 {
        self.quarantined.values().sum()
    }

    /// Rejected events of all reasons.
    pub fn rejected_total(&self) -> u64 {
        self.rejected.values().sum()
    }

    /// Whether every event was stored, now or before.
    pub fn complete(&self) -> bool {
        self.quarantined.is_empty() && self.rejected.is_empty()
    }
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// By outcome.
    #[serde(flatten)]
    pub totals: Totals,
    /// Batches answered.
    pub batches: u64,
    /// Batches sent again because the server was busy.
    pub retries: u64,
    /// By which call.
    pub transport: Transport,
    /// From the first send to the last answer, in seconds.
    pub elapsed_seconds: f64,
    /// Events acknowledged per second.
    pub events_per_second: f64,
    /// From sending a batch to its answer.
    pub batch_latency: Summary,
}

/// Sends all of `events`; `progress` hears of every answered batch.
///
/// # Errors
/// [`Error::InvalidPlan`]; [`Error::Call`] when a call fails otherwise than by a busy server;
/// [`Error::Protocol`] when an answer has another number of results than its batch had events.
pub async fn run(
    client: &Client,
    events: impl Iterator<Item = v1::Event>,
    plan: &Plan,
    mut progress: impl FnMut(&Totals),
) -> Result<Report, Error> {
    plan.check()?;
    let mut account = Account::new(plan.transport)?;
    let batches = Batches { events, batch_events: plan.batch_events };
    match plan.transport {
        Transport::Unary => unary(client, batches, plan.in_flight, &mut account, &mut progress).await?,
        Transport::Stream => stream(client, batches, plan.in_flight, &mut account, &mut progress).await?,
    }
    Ok(account.report())
}

struct Batches<Events> {
    events: Events,
    batch_events: usize,
}

impl<Events: Iterator<Item = v1::Event>> Iterator for Batches<Events> {
    type Item = Vec<v1::Event>;

    fn next(&mut self) -> Option<Vec<v1::Event>> {
        let batch: Vec<_> = self.events.by_ref().take(self.batch_events).collect();
        (!batch.is_empty()).then_some(batch)
    }
}

struct Account {
    totals: Totals,
    batches: u64,
    retries: u64,
    latencies: Latencies,
    transport: Transport,
    start: Instant,
}

impl Account {
    fn new(transport: Transport) -> Result<Self, Error> {
        Ok(Self {
            totals: Totals::default(),
            batches: 0,
            retries: 0,
            latencies: Latencies::new()?,
            transport,
            start: Instant::now(),
        })
    }

    fn answer(
        &mut self,
        call: &'static str,
        sent: usize,
        results: &[v1::EventResult],
        latency: Duration,
    ) -> Result<(), Error> {
        if results.len() != sent {
            let problem = format!("{} results for a batch of {sent} events", results.len());
            return Err(Error::Protocol { call, problem });
        }
        self.totals.count(results);
        self.batches += 1;
        self.latencies.record(latency);
        Ok(())
    }

    fn report(self) -> Report {
        let elapsed_seconds = self.start.elapsed().as_secs_f64();
        Report {
            batches: self.batches,
            retries: self.retries,
            transport: self.transport,
            elapsed_seconds,
            events_per_second: self.totals.events as f64 / elapsed_seconds.max(1e-9),
            batch_latency: self.latencies.summary(),
            totals: self.totals,
        }
    }
}

struct UnaryAnswer {
    results: Vec<v1::EventResult>,
    sent: usize,
    latency: Duration,
    retries: u32,
}

async fn unary(
    client: &Client,
    batches: impl Iterator<Item = Vec<v1::Event>>,
    in_flight: usize,
    account: &mut Account,
    progress: &mut impl FnMut(&Totals),
) -> Result<(), Error> {
    const CALL: &str = "EventService/Ingest";
    let mut under_way: VecDeque<JoinHandle<Result<UnaryAnswer, tonic::Status>>> = VecDeque::new();
    let mut batches = batches.fuse();
    loop {
        while under_way.len() < in_flight
            && let Some(batch) = batches.next()
        {
            under_way.push_back(tokio::spawn(send_unary(client.clone(), batch)));
        }
        let Some(oldest) = under_way.pop_front() else { return Ok(()) };
        let answer = oldest
            .await
            .map_err(|error| Error::Protocol { call: CALL, problem: error.to_string() })?
            .map_err(|status| Error::call(CALL, account.totals.events, &status))?;
        account.retries += u64::from(answer.retries);
        account.answer(CALL, answer.sent, &answer.results, answer.latency)?;
        progress(&account.totals);
    }
}

async fn send_unary(client: Client, events: Vec<v1::Event>) -> Result<UnaryAnswer, tonic::Status> {
    let sent = events.len();
    let start = Instant::now();
    let mut wait = FIRST_WAIT;
    let mut retries = 0;
    loop {
        let request = v1::IngestRequest { events: events.clone(), sent_at: None };
        match client.events().ingest(request).await {
            Ok(response) => {
                let results = response.into_inner().results;
                return Ok(UnaryAnswer { results, sent, latency: start.elapsed(), retries });
            }
            Err(status) if busy(&status) && retries < RETRIES => {
                // sleep: a busy server gives no event to wait for
                tokio::time::sleep(wait).await;
                wait *= 2;
                retries += 1;
            }
            Err(status) => return Err(status),
        }
    }
}

fn busy(status: &tonic::Status) -> bool {
    matches!(status.code(), tonic::Code::ResourceExhausted | tonic::Code::Unavailable)
}

async fn stream(
    client: &Client,
    mut batches: impl Iterator<Item = Vec<v1::Event>>,
    in_flight: usize,
    account: &mut Account,
    progress: &mut impl FnMut(&Totals),
) -> Result<(), Error> {
    const CALL: &str = "EventService/IngestStream";
    let (requests, outgoing) = mpsc::channel(in_flight);
    let call = |done, status: &tonic::Status| Error::call(CALL, done, status);
    let mut under_way: VecDeque<(usize, Instant)> = VecDeque::new();
    let mut requests = Some(requests);
    // Fill the pipe before opening it: a server may wait for the first request before it answers with headers.
    fill(&mut requests, &mut batches, &mut under_way, in_flight);
    let mut answers = client
        .events()
        .ingest_stream(ReceiverStream::new(outgoing))
        .await
        .map_err(|status| call(0, &status))?
        .into_inner();
    while let Some((sent, at)) = under_way.pop_front() {
        let answer = answers.message().await.map_err(|status| call(account.totals.events, &status))?;
        let Some(answer) = answer else {
            let problem = format!("the stream ended with {} batches unanswered", under_way.len() + 1);
            return Err(Error::Protocol { call: CALL, problem });
        };
        account.answer(CALL, sent, &answer.results, at.elapsed())?;
        progress(&account.totals);
        fill(&mut requests, &mut batches, &mut under_way, in_flight);
    }
    Ok(())
}

/// Queues batches up to the bound; drops the sender at the end of events, which half-closes the stream.
fn fill(
    requests: &mut Option<mpsc::Sender<v1::IngestStreamRequest>>,
    batches: &mut impl Iterator<Item = Vec<v1::Event>>,
    under_way: &mut VecDeque<(usize, Instant)>,
    in_flight: usize,
) {
    while under_way.len() < in_flight
        && let Some(sender) = requests.as_ref()
    {
        let Some(events) = batches.next() else {
            *requests = None;
            return;
        };
        let sent = events.len();
        // The channel holds as many as may be under way, so this fails only when the call itself has ended, which
        // the next read of an answer tells better.
        if sender.try_send(v1::IngestStreamRequest { events, sent_at: None }).is_err() {
            *requests = None;
        }
        under_way.push_back((sent, Instant::now()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(outcome: v1::EventOutcome, reason: v1::QuarantineReason) -> v1::EventResult {
        v1::EventResult {
            message_id: "m".into(),
            outcome: outcome.into(),
            reason: reason.into(),
            field: "timestamp".into(),
            detail: "too old".into(),
        }
    }

    #[test]
    fn outcomes_are_counted_and_examples_are_bounded() {
        let mut totals = Totals::default();
        let mut results = vec![result(v1::EventOutcome::Quarantined, v1::QuarantineReason::TooLate); 10];
        results.push(result(v1::EventOutcome::Accepted, v1::QuarantineReason::Unspecified));
        results.push(result(v1::EventOutcome::Duplicate, v1::QuarantineReason::Unspecified));
        totals.count(&results);
        assert_eq!((totals.events, totals.accepted, totals.duplicates), (12, 1, 1));
        assert_eq!(totals.quarantined, BTreeMap::from([("TOO_LATE".to_owned(), 10)]));
        assert_eq!(totals.examples.len(), EXAMPLES_PER_REASON);
    }

    #[test]
    fn batches_have_the_size_asked_for_and_the_rest() {
        let events = (0..7).map(|index| v1::Event { message_id: index.to_string(), ..v1::Event::default() });
        let sizes: Vec<_> = Batches { events, batch_events: 3 }.map(|batch| batch.len()).collect();
        assert_eq!(sizes, [3, 3, 1]);
    }

    #[test]
    fn a_short_answer_breaks_the_contract() {
        let mut account = Account::new(Transport::Unary).unwrap();
        let error = account.answer("EventService/Ingest", 2, &[], Duration::ZERO).unwrap_err();
        assert!(error.to_string().contains("0 results for a batch of 2 events"), "{error}");
    }
}
