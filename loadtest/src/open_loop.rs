//! Open-loop load: requests leave on a schedule that does not wait for answers.
//!
//! A latency runs from the scheduled send time, so a server that stalls is charged for every request that should
//! have left meanwhile (no coordinated omission). What is bounded is the number in flight; at that bound requests
//! wait, and their waiting is in their latency. Not here: what a request is; the caller gives a function.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use augur_domain::math;
use augur_domain::rng::{Purpose, Rng};
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, mpsc};

use crate::Error;
use crate::error::code_name;
use crate::latency::{Latencies, Percentile, Summary};

/// Tickets issued but not yet taken up; more than this wait in the pacing thread.
const TICKET_QUEUE: usize = 64 * 1024;

/// How requests are spaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arrivals {
    /// At equal distances.
    Fixed,
    /// At random, as many independent callers do (exponential distances).
    Poisson,
}

/// One open-loop run.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Requests that are measured, at least 1.
    pub requests: u64,
    /// Requests before them, on the same schedule, whose answers are thrown away: caches fill, connections open.
    pub warm_up: u64,
    /// Requests per second, above 0, at most 10 million.
    pub rate_per_second: f64,
    /// Their spacing.
    pub arrivals: Arrivals,
    /// Most requests under way at once, 1 to 100 000.
    pub max_in_flight: usize,
    /// Seeds random distances.
    pub seed: u64,
}

impl Plan {
    /// Whether every setting is in its range; [`run`] asks this first, too.
    ///
    /// # Errors
    /// [`Error::InvalidPlan`] names the first that is not.
    pub fn check(&self) -> Result<(), Error> {
        let complain = |name, found: String, expected| Err(Error::InvalidPlan { name, found, expected });
        if self.requests == 0 {
            return complain("requests", "0".into(), "at least 1");
        }
        if !(self.rate_per_second > 0.0 && self.rate_per_second <= 1e7) {
            return complain(
                "rate",
                self.rate_per_second.to_string(),
                "above 0, at most 10000000 per second",
            );
        }
        if !(1..=100_000).contains(&self.max_in_flight) {
            return complain("in flight", self.max_in_flight.to_string(), "1 to 100000");
        }
        Ok(())
    }

    /// When each request leaves, in nanoseconds after the start, ascending.
    pub fn schedule(&self) -> impl Iterator<Item = u64> + Send + use<> {
        let gap_ns = 1e9 / self.rate_per_second;
        let arrivals = self.arrivals;
        let mut rng = Rng::new(self.seed, Purpose::Simulation);
        let mut random_ns = 0.0;
        (0..self.requests.saturating_add(self.warm_up)).map(move |index| match arrivals {
            Arrivals::Fixed => (index as f64 * gap_ns) as u64,
            Arrivals::Poisson => {
                random_ns += gap_ns * -math::ln(1.0 - rng.next_f64());
                random_ns as u64
            }
        })
    }
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Requests sent, all of them answered, refused or failed.
    pub requests: u64,
    /// Answered.
    pub ok: u64,
    /// Refused or failed, by gRPC code.
    pub errors: BTreeMap<String, u64>,
    /// What the server said to the first of each.
    pub error_examples: BTreeMap<String, String>,
    /// As planned.
    pub target_per_second: f64,
    /// Answers and errors per second, from the first scheduled send to the last answer.
    pub achieved_per_second: f64,
    /// As planned.
    pub arrivals: Arrivals,
    /// From the first scheduled send to the last answer, in seconds.
    pub elapsed_seconds: f64,
    /// Of answered requests, from the scheduled send time.
    pub latency: Summary,
    /// The same as points of a plot.
    pub percentiles: Vec<Percentile>,
    /// How long after their scheduled time requests left. Large against `latency`, the client was the slow one.
    pub send_delay: Summary,
}

impl Report {
    /// Whether the latencies say more about the client than about the server: requests left so late that at least
    /// half of the 99th percentile is the client's own.
    pub fn client_is_saturated(&self) -> bool {
        self.send_delay.p99_us > 1_000 && self.send_delay.p99_us.saturating_mul(2) > self.latency.p99_us
    }
}

struct Tally {
    ok: u64,
    errors: BTreeMap<String, u64>,
    error_examples: BTreeMap<String, String>,
    latencies: Latencies,
    send_delays: Latencies,
}

/// One request's times after the start of the run.
struct Times {
    due: Duration,
    sent: Duration,
    answered: Duration,
}

impl Tally {
    fn new() -> Result<Self, Error> {
        let (errors, error_examples) = (BTreeMap::new(), BTreeMap::new());
        Ok(Self {
            ok: 0,
            errors,
            error_examples,
            latencies: Latencies::new()?,
            send_delays: Latencies::new()?,
        })
    }

    fn count_error(&mut self, status: &tonic::Status) {
        let code = code_name(status.code());
        self.error_examples.entry(code.clone()).or_insert_with(|| status.message().to_owned());
        *self.errors.entry(code).or_default() += 1;
    }
}

/// Sends `plan.warm_up` and then `plan.requests` requests made by `send(index)`; `answered(index, answer)` sees every
/// answer of the latter, and `progress(done)` hears of every thousandth of them.
///
/// # Errors
/// [`Error::InvalidPlan`], [`Error::Thread`]. Errors of requests are counted, not returned.
pub async fn run<Send_, Sent, Answer>(
    plan: &Plan,
    send: Send_,
    answered: impl Fn(u64, Answer) + Send + Sync + 'static,
    progress: impl Fn(u64) + Send + Sync + 'static,
) -> Result<Report, Error>
where
    Send_: Fn(u64) -> Sent,
    Sent: Future<Output = Result<Answer, tonic::Status>> + Send + 'static,
    Answer: Send + 'static,
{
    plan.check()?;
    let tally = Arc::new(Mutex::new(Tally::new()?));
    let in_flight = Arc::new(Semaphore::new(plan.max_in_flight));
    let hooks = Arc::new((answered, progress));
    let start = Instant::now();
    let mut tickets = pace(plan, start)?;
    let (mut index, mut first_due) = (0, Duration::ZERO);
    while let Some(due) = tickets.recv().await {
        let Ok(permit) = Arc::clone(&in_flight).acquire_owned().await else { break };
        let (request, tally, hooks) = (send(index), Arc::clone(&tally), Arc::clone(&hooks));
        let measured = index >= plan.warm_up;
        if index == plan.warm_up {
            first_due = due;
        }
        tokio::spawn(async move {
            let sent = start.elapsed();
            let result = request.await;
            if measured {
                let times = Times { due, sent, answered: start.elapsed() };
                if let Some(answer) = settle(&tally, result, &times, &hooks.1) {
                    hooks.0(index, answer);
                }
            }
            drop(permit);
        });
        index += 1;
    }
    let all = u32::try_from(plan.max_in_flight).unwrap_or(u32::MAX);
    // All permits back means that nothing is under way any more; the semaphore is never closed.
    let _all_done = in_flight.acquire_many(all).await;
    let elapsed = start.elapsed().saturating_sub(first_due);
    let measured = index.saturating_sub(plan.warm_up);
    Ok(report(plan, measured, elapsed, &tally.lock().unwrap_or_else(PoisonError::into_inner)))
}

fn settle<Answer>(
    tally: &Mutex<Tally>,
    result: Result<Answer, tonic::Status>,
    times: &Times,
    progress: &impl Fn(u64),
) -> Option<Answer> {
    let (done, answer) = {
        let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.send_delays.record(times.sent.saturating_sub(times.due));
        let answer = match result {
            Ok(answer) => {
                tally.ok += 1;
                tally.latencies.record(times.answered.saturating_sub(times.due));
                Some(answer)
            }
            Err(status) => {
                tally.count_error(&status);
                None
            }
        };
        (tally.ok + tally.errors.values().sum::<u64>(), answer)
    };
    if done.is_multiple_of(1_000) {
        progress(done);
    }
    answer
}

fn report(plan: &Plan, requests: u64, elapsed: Duration, tally: &Tally) -> Report {
    let elapsed_seconds = elapsed.as_secs_f64();
    Report {
        requests,
        ok: tally.ok,
        errors: tally.errors.clone(),
        error_examples: tally.error_examples.clone(),
        target_per_second: plan.rate_per_second,
        achieved_per_second: requests as f64 / elapsed_seconds.max(1e-9),
        arrivals: plan.arrivals,
        elapsed_seconds,
        latency: tally.latencies.summary(),
        percentiles: tally.latencies.percentiles(),
        send_delay: tally.send_delays.summary(),
    }
}

/// A thread that hands out one ticket per request when it is due: the runtime's timer has a grain of a millisecond,
/// too coarse for latencies below it.
fn pace(plan: &Plan, start: Instant) -> Result<mpsc::Receiver<Duration>, Error> {
    let (tickets, taken) = mpsc::channel(TICKET_QUEUE);
    let schedule = plan.schedule();
    std::thread::Builder::new()
        .name("load-pacer".into())
        .spawn(move || {
            for due_ns in schedule {
                let due = Duration::from_nanos(due_ns);
                if let Some(early) = due.checked_sub(start.elapsed()) {
                    // sleep: the pacing itself, a load generator has to wait for its schedule
                    std::thread::sleep(early);
                }
                if tickets.blocking_send(due).is_err() {
                    break;
                }
            }
        })
        .map_err(Error::Thread)?;
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    fn plan(arrivals: Arrivals) -> Plan {
        Plan { requests: 10_000, warm_up: 0, rate_per_second: 2_000.0, arrivals, max_in_flight: 8, seed: 7 }
    }

    #[test]
    fn schedules_are_ascending_and_keep_the_rate() {
        for arrivals in [Arrivals::Fixed, Arrivals::Poisson] {
            let times: Vec<u64> = plan(arrivals).schedule().collect();
            assert_eq!(times.len(), 10_000);
            assert!(times.is_sorted());
            let last = *times.last().unwrap() as f64;
            assert!((last / 5e9 - 1.0).abs() < 0.05, "{arrivals:?}: {last}");
            assert_eq!(times, plan(arrivals).schedule().collect::<Vec<_>>());
        }
        let fixed: Vec<u64> = plan(Arrivals::Fixed).schedule().take(3).collect();
        assert_eq!(fixed, [0, 500_000, 1_000_000]);
    }

    #[test]
    fn poisson_distances_are_exponential() {
        let times: Vec<u64> = plan(Arrivals::Poisson).schedule().collect();
        let above_mean = times.windows(2).filter(|pair| pair[1] - pair[0] > 500_000).count() as f64;
        assert!((above_mean / 9_999.0 - (-1.0_f64).exp()).abs() < 0.02, "{above_mean}");
    }

    #[tokio::test]
    async fn answers_errors_and_the_bound_are_accounted() {
        let plan = Plan { requests: 3_000, rate_per_second: 1e6, ..plan(Arrivals::Fixed) };
        let now = Arc::new(AtomicU64::new(0));
        let most = Arc::new(AtomicU64::new(0));
        let answers = Arc::new(AtomicU64::new(0));
        let progress = Arc::new(AtomicU64::new(0));
        let (under_way, highest) = (Arc::clone(&now), Arc::clone(&most));
        let send = move |index: u64| {
            let (under_way, highest) = (Arc::clone(&under_way), Arc::clone(&highest));
            async move {
                highest.fetch_max(under_way.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                under_way.fetch_sub(1, Ordering::SeqCst);
                if index.is_multiple_of(3) {
                    Err(tonic::Status::resource_exhausted("busy"))
                } else {
                    Ok(index)
                }
            }
        };
        let (sum, heard) = (Arc::clone(&answers), Arc::clone(&progress));
        let report = run(
            &plan,
            send,
            move |index, answer| {
                assert_eq!(index, answer);
                sum.fetch_add(1, Ordering::SeqCst);
            },
            move |_| {
                heard.fetch_add(1, Ordering::SeqCst);
            },
        )
        .await
        .unwrap();
        assert_eq!((report.requests, report.ok), (3_000, 2_000));
        assert_eq!(report.errors, BTreeMap::from([("RESOURCE_EXHAUSTED".to_owned(), 1_000)]));
        assert_eq!(report.error_examples["RESOURCE_EXHAUSTED"], "busy");
        assert_eq!(report.latency.count, 2_000);
        assert_eq!(answers.load(Ordering::SeqCst), 2_000);
        assert_eq!(progress.load(Ordering::SeqCst), 3);
        assert!((1..=8).contains(&most.load(Ordering::SeqCst)));
    }

    #[tokio::test]
    async fn what_warms_up_is_sent_and_not_measured() {
        let plan = Plan { requests: 100, warm_up: 50, rate_per_second: 1e5, ..plan(Arrivals::Poisson) };
        let sent = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&sent);
        let send = move |index: u64| {
            counted.fetch_add(1, Ordering::SeqCst);
            async move { if index < 50 { Err(tonic::Status::unavailable("cold")) } else { Ok(index) } }
        };
        let report = run(&plan, send, |index, _| assert!(index >= 50), |_| ()).await.unwrap();
        assert_eq!(sent.load(Ordering::SeqCst), 150);
        assert_eq!((report.requests, report.ok), (100, 100));
        assert!(report.errors.is_empty());
        assert_eq!(report.send_delay.count, 100);
    }

    #[tokio::test]
    async fn impossible_plans_are_refused() {
        for broken in [
            Plan { requests: 0, ..plan(Arrivals::Fixed) },
            Plan { rate_per_second: f64::NAN, ..plan(Arrivals::Fixed) },
            Plan { max_in_flight: 0, ..plan(Arrivals::Fixed) },
        ] {
            let error = run(&broken, |_| async { Ok(()) }, |_, ()| (), |_| ()).await.unwrap_err();
            assert!(error.to_string().contains("expected"), "{error}");
        }
    }
}
