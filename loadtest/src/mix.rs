//! Several kinds of calls at once, as a server sees them in life: each kind an open loop of its own, with its own rate,
//! bound and latencies, all on the same connections.
//!
//! Events are those of simulated shoppers, so sessions look like sessions; outcomes are of decisions that this run was
//! given. Not here: the loop itself (`open_loop`), or which user is asked about (`popularity`).

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use augur_domain::Timestamp;
use augur_domain::event::MAX_BATCH_EVENTS;
use augur_proto::v1;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::open_loop::{self, Arrivals, Report};
use crate::popularity::Popularity;
use crate::{Client, Error, Shop, shop};

/// Most users of one bulk call, as the server takes them.
pub const MAX_BULK_USERS: usize = 1_000;
/// Decisions remembered for outcomes.
const REMEMBERED_DECISIONS: usize = 4_096;
/// Shoppers of the simulated shop at most: they are held in memory.
const MAX_SHOPPERS: u64 = 10_000;
/// Days that a shop is simulated for before the next one opens.
const SHOP_DAYS: u32 = 30;

/// Calls per second by kind; 0 leaves a kind out.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Rates {
    /// `Decide`.
    pub decide: f64,
    /// `Ingest`, each call with several events.
    pub ingest: f64,
    /// `GetFeatures`.
    pub features: f64,
    /// `BatchDecide`, each call for several users.
    pub bulk: f64,
    /// `ReportOutcomes`, each call with one outcome.
    pub outcomes: f64,
}

/// What to send.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// How often.
    pub rates: Rates,
    /// For how long it is measured, in seconds.
    pub seconds: f64,
    /// For how long before that it is not.
    pub warm_up_seconds: f64,
    /// Spacing of every kind.
    pub arrivals: Arrivals,
    /// Most calls of each kind under way.
    pub max_in_flight: usize,
    /// The decision point that is asked.
    pub decision_point: String,
    /// Its request-time values.
    pub context: BTreeMap<String, v1::Value>,
    /// Whom it is asked about.
    pub popularity: Popularity,
    /// Events of one `Ingest`, 1 to 2500.
    pub events_per_call: usize,
    /// Users of one `BatchDecide`, 1 to [`MAX_BULK_USERS`].
    pub users_per_call: usize,
    /// The instant at which the simulated shop's days end.
    pub now: Timestamp,
    /// All chance comes from this.
    pub seed: u64,
}

impl Plan {
    /// Whether every setting is in its range; [`run`] asks this first, too.
    ///
    /// # Errors
    /// [`Error::InvalidPlan`] names the first that is not.
    pub fn check(&self) -> Result<(), Error> {
        let complain = |name, found: String, expected| Err(Error::InvalidPlan { name, found, expected });
        if !(1..=MAX_BATCH_EVENTS).contains(&self.events_per_call) {
            return complain("events per call", self.events_per_call.to_string(), "1 to 2500");
        }
        if !(1..=MAX_BULK_USERS).contains(&self.users_per_call) {
            return complain("users per call", self.users_per_call.to_string(), "1 to 1000");
        }
        if !(self.seconds > 0.0 && self.seconds <= 1e6) {
            return complain("seconds", self.seconds.to_string(), "above 0, at most 1000000");
        }
        let rates = self.rates;
        let all = [rates.decide, rates.ingest, rates.features, rates.bulk, rates.outcomes];
        if !all.iter().any(|rate| *rate > 0.0) {
            return complain("rates", "all 0".to_owned(), "at least one kind of call");
        }
        if rates.outcomes > 0.0 && rates.decide <= 0.0 {
            return complain("outcomes", rates.outcomes.to_string(), "decisions beside them to report on");
        }
        Ok(())
    }

    /// Calls of all kinds, those of the warm-up included.
    pub fn calls(&self) -> u64 {
        let rates = self.rates;
        [rates.decide, rates.ingest, rates.features, rates.bulk, rates.outcomes]
            .into_iter()
            .filter_map(|rate| self.open_loop(rate, 0))
            .map(|open| open.requests.saturating_add(open.warm_up))
            .sum()
    }

    /// The loop of one kind; none when it is left out.
    fn open_loop(&self, rate_per_second: f64, kind: u64) -> Option<open_loop::Plan> {
        (rate_per_second > 0.0).then(|| open_loop::Plan {
            requests: (rate_per_second * self.seconds).ceil().max(1.0) as u64,
            warm_up: (rate_per_second * self.warm_up_seconds).max(0.0) as u64,
            rate_per_second,
            arrivals: self.arrivals,
            max_in_flight: self.max_in_flight,
            seed: self.seed.wrapping_add(kind),
        })
    }
}

/// What came of each kind of call; none of those left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reports {
    /// `Decide`.
    pub decide: Option<Report>,
    /// `Ingest`.
    pub ingest: Option<Report>,
    /// `GetFeatures`.
    pub features: Option<Report>,
    /// `BatchDecide`.
    pub bulk: Option<Report>,
    /// `ReportOutcomes`.
    pub outcomes: Option<Report>,
}

impl Reports {
    /// Every kind that was sent, by name.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, &Report)> {
        [
            ("decide", &self.decide),
            ("ingest", &self.ingest),
            ("features", &self.features),
            ("bulk", &self.bulk),
            ("outcomes", &self.outcomes),
        ]
        .into_iter()
        .filter_map(|(name, report)| Some((name, report.as_ref()?)))
    }

    /// Whether any request was refused or failed.
    pub fn any_failed(&self) -> bool {
        self.named().any(|(_, report)| !report.errors.is_empty())
    }
}

/// Sends every kind at its rate until all have been sent and answered.
///
/// # Errors
/// As [`open_loop::run`]. Errors of requests are counted, not returned.
pub async fn run(client: &Client, plan: &Plan) -> Result<Reports, Error> {
    plan.check()?;
    let sender = Sender::new(client, plan)?;
    let rates = plan.rates;
    let (decide, ingest, features, bulk, outcomes) = tokio::try_join!(
        sender.decide(plan.open_loop(rates.decide, 1)),
        sender.ingest(plan.open_loop(rates.ingest, 2)),
        sender.features(plan.open_loop(rates.features, 3)),
        sender.bulk(plan.open_loop(rates.bulk, 4)),
        sender.outcomes(plan.open_loop(rates.outcomes, 5)),
    )?;
    Ok(Reports { decide, ingest, features, bulk, outcomes })
}

/// Makes the calls of one run.
struct Sender {
    client: Client,
    plan: Arc<Plan>,
    shops: Arc<Mutex<Shops>>,
    decided: Arc<Decided>,
}

/// The latest decisions, for outcomes of them.
#[derive(Default)]
struct Decided {
    latest: Mutex<VecDeque<String>>,
    first: Notify,
}

impl Decided {
    fn remember(&self, decision_id: String) {
        let mut latest = lock(&self.latest);
        if latest.len() == REMEMBERED_DECISIONS {
            latest.pop_front();
        }
        latest.push_back(decision_id);
        self.first.notify_one();
    }

    /// Waits until there is one.
    async fn any(&self) {
        while lock(&self.latest).is_empty() {
            self.first.notified().await;
        }
    }

    /// In turn, so that each has its outcomes. Empty before the first is known.
    fn next(&self) -> String {
        let mut latest = lock(&self.latest);
        let next = latest.pop_front().unwrap_or_default();
        latest.push_back(next.clone());
        next
    }
}

type MaybeReport = Result<Option<Report>, Error>;

impl Sender {
    fn new(client: &Client, plan: &Plan) -> Result<Self, Error> {
        let users = match &plan.popularity {
            Popularity::InTurn { users } => *users,
            Popularity::Zipf(zipf) => zipf.users(),
        };
        let shoppers = usize::try_from(users.min(MAX_SHOPPERS)).unwrap_or(1);
        let shop = shop::Plan { seed: plan.seed, shoppers, days: SHOP_DAYS, now: plan.now };
        Ok(Self {
            client: client.clone(),
            plan: Arc::new(plan.clone()),
            shops: Arc::new(Mutex::new(Shops::open(shop)?)),
            decided: Arc::default(),
        })
    }

    async fn decide(&self, plan: Option<open_loop::Plan>) -> MaybeReport {
        let Some(open) = plan else { return Ok(None) };
        let (client, plan) = (self.client.clone(), Arc::clone(&self.plan));
        let send = move |index| {
            let (mut decisions, request) = (client.decisions(), decide_request(&plan, index));
            async move { Ok(decisions.decide(request).await?.into_inner().decision_id) }
        };
        let decided = Arc::clone(&self.decided);
        let remember = move |_, decision_id| decided.remember(decision_id);
        open_loop::run(&open, send, remember, |_| ()).await.map(Some)
    }

    async fn ingest(&self, plan: Option<open_loop::Plan>) -> MaybeReport {
        let Some(open) = plan else { return Ok(None) };
        let (client, shops) = (self.client.clone(), Arc::clone(&self.shops));
        let events = self.plan.events_per_call;
        let send = move |_| {
            let request =
                v1::IngestRequest { events: lock(&shops).take(events), ..v1::IngestRequest::default() };
            let mut service = client.events();
            async move { service.ingest(request).await }
        };
        open_loop::run(&open, send, |_, _| (), |_| ()).await.map(Some)
    }

    async fn features(&self, plan: Option<open_loop::Plan>) -> MaybeReport {
        let Some(open) = plan else { return Ok(None) };
        let (client, plan) = (self.client.clone(), Arc::clone(&self.plan));
        let send = move |index| {
            let subject = subject(&plan, index);
            let request = v1::GetFeaturesRequest { subject, ..v1::GetFeaturesRequest::default() };
            let mut service = client.features();
            async move { service.get_features(request).await }
        };
        open_loop::run(&open, send, |_, _| (), |_| ()).await.map(Some)
    }

    async fn bulk(&self, plan: Option<open_loop::Plan>) -> MaybeReport {
        let Some(open) = plan else { return Ok(None) };
        let (client, plan) = (self.client.clone(), Arc::clone(&self.plan));
        let users = u64::try_from(plan.users_per_call).unwrap_or(1);
        let send = move |index: u64| {
            let first = index.wrapping_mul(users);
            let requests = (0..users).map(|user| decide_request(&plan, first.wrapping_add(user))).collect();
            let mut decisions = client.decisions();
            async move { decisions.batch_decide(v1::BatchDecideRequest { requests }).await }
        };
        open_loop::run(&open, send, |_, _| (), |_| ()).await.map(Some)
    }

    async fn outcomes(&self, plan: Option<open_loop::Plan>) -> MaybeReport {
        let Some(open) = plan else { return Ok(None) };
        let (client, decided) = (self.client.clone(), Arc::clone(&self.decided));
        let run = format!("{}-{}", self.plan.now.unix_ms(), self.plan.seed);
        self.decided.any().await;
        let send = move |index| {
            let outcome = v1::Outcome {
                outcome_id: format!("load-{run}-{index}"),
                decision_id: decided.next(),
                kind: v1::OutcomeKind::Delivered.into(),
                ..v1::Outcome::default()
            };
            let request = v1::ReportOutcomesRequest { outcomes: vec![outcome] };
            let mut service = client.outcomes();
            async move { service.report_outcomes(request).await }
        };
        open_loop::run(&open, send, |_, _| (), |_| ()).await.map(Some)
    }
}

fn subject(plan: &Plan, index: u64) -> Option<v1::Subject> {
    let user = plan.popularity.user(index, plan.seed);
    Some(v1::Subject { id: Some(v1::subject::Id::UserId(format!("user-{user:06}"))) })
}

fn decide_request(plan: &Plan, index: u64) -> v1::DecideRequest {
    v1::DecideRequest {
        subject: subject(plan, index),
        decision_point: plan.decision_point.clone(),
        context: plan.context.clone(),
        ..v1::DecideRequest::default()
    }
}

/// Shops one after the other: events without an end.
struct Shops {
    plan: shop::Plan,
    open: Shop,
    opened: u64,
}

impl Shops {
    fn open(plan: shop::Plan) -> Result<Self, Error> {
        Ok(Self { plan, open: Shop::new(plan)?, opened: 0 })
    }

    /// The next `count` events. Ids of one shop or run are never those of another: no event is a retry.
    fn take(&mut self, count: usize) -> Vec<v1::Event> {
        let mut events = Vec::with_capacity(count);
        while events.len() < count {
            let Some(mut event) = self.open.next() else {
                self.plan.seed = self.plan.seed.wrapping_add(1);
                self.opened += 1;
                // The plan was accepted once, and only its seed has changed.
                let Ok(next) = Shop::new(self.plan) else { break };
                self.open = next;
                continue;
            };
            let run = self.plan.now.unix_ms();
            event.message_id = format!("mix{run}-{}-{}", self.opened, event.message_id);
            events.push(event);
        }
        events
    }
}

fn lock<Held>(mutex: &Mutex<Held>) -> MutexGuard<'_, Held> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn plan() -> Plan {
        Plan {
            rates: Rates { decide: 100.0, outcomes: 10.0, ..Rates::default() },
            seconds: 2.0,
            warm_up_seconds: 0.5,
            arrivals: Arrivals::Poisson,
            max_in_flight: 8,
            decision_point: "cart_page".to_owned(),
            context: BTreeMap::new(),
            popularity: Popularity::new(50, None).unwrap(),
            events_per_call: 10,
            users_per_call: 5,
            now: Timestamp::from_unix_ms(1_750_000_000_000),
            seed: 1,
        }
    }

    #[test]
    fn each_kind_has_its_own_loop_and_its_own_seed() {
        let plan = plan();
        let decide = plan.open_loop(plan.rates.decide, 1).unwrap();
        assert_eq!((decide.requests, decide.warm_up), (200, 50));
        let outcomes = plan.open_loop(plan.rates.outcomes, 5).unwrap();
        assert_ne!(decide.seed, outcomes.seed);
        assert_eq!(plan.open_loop(plan.rates.bulk, 4), None);
        assert_eq!(plan.calls(), 250 + 25);
    }

    #[tokio::test]
    async fn outcomes_wait_for_a_decision_and_then_take_them_in_turn() {
        let decided = Arc::new(Decided::default());
        let waiting = tokio::spawn({
            let decided = Arc::clone(&decided);
            async move { decided.any().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        decided.remember("a".to_owned());
        waiting.await.unwrap();
        decided.remember("b".to_owned());
        assert_eq!([decided.next(), decided.next(), decided.next()], ["a", "b", "a"]);
        for id in 0..2 * REMEMBERED_DECISIONS {
            decided.remember(id.to_string());
        }
        assert_eq!(lock(&decided.latest).len(), REMEMBERED_DECISIONS);
    }

    #[test]
    fn shops_go_on_without_an_end_and_without_a_repeated_id() {
        let plan =
            shop::Plan { seed: 1, shoppers: 2, days: 1, now: Timestamp::from_unix_ms(1_750_000_000_000) };
        let mut shops = Shops::open(plan).unwrap();
        let events = shops.take(500);
        let ids: BTreeSet<&str> = events.iter().map(|event| event.message_id.as_str()).collect();
        assert_eq!((events.len(), ids.len()), (500, 500));
        assert!(shops.opened > 1);
    }

    #[test]
    fn impossible_plans_are_refused() {
        for wrong in [
            Plan { rates: Rates::default(), ..plan() },
            Plan { rates: Rates { outcomes: 1.0, ..Rates::default() }, ..plan() },
            Plan { events_per_call: 0, ..plan() },
            Plan { users_per_call: 1_001, ..plan() },
            Plan { seconds: 0.0, ..plan() },
        ] {
            assert!(wrong.check().is_err());
        }
        assert!(plan().check().is_ok());
    }
}
