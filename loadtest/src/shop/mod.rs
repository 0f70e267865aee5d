//! A simulated shop: shoppers with habits, needs and an end, told as events in time order.
//!
//! Lives are generated day by day, so memory holds the shoppers and one day of events, not the history. The same
//! plan gives the same bytes on every machine: all draws come from the plan's seed, all functions from the pinned
//! mathematics of `domain`. Not here: sending (`ingest`), or what a model should make of it.

mod draw;
mod session;
mod shopper;

use std::collections::VecDeque;

use augur_domain::Timestamp;
use augur_domain::time::DAY_MS;
use augur_proto::v1;

use crate::Error;
use shopper::Shopper;

/// Most shoppers of one shop.
pub const MAX_SHOPPERS: usize = 10_000_000;
/// Most simulated days.
pub const MAX_DAYS: u32 = 400;

/// What to simulate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// All chance comes from this.
    pub seed: u64,
    /// How many shoppers, 1 to [`MAX_SHOPPERS`].
    pub shoppers: usize,
    /// How many days of 24 hours, 1 to [`MAX_DAYS`].
    pub days: u32,
    /// The last instant: no event is later.
    pub now: Timestamp,
}

/// Events of all shoppers, ascending in time. Iterate it; every event has its timestamp and a unique message id.
#[derive(Debug)]
pub struct Shop {
    plan: Plan,
    shoppers: Vec<Shopper>,
    day: u32,
    ready: VecDeque<v1::Event>,
    /// Events of sessions that run past midnight wait here for their day.
    later: Vec<Dated>,
}

/// An event with what it is sorted by.
#[derive(Debug)]
struct Dated {
    time_ms: i64,
    shopper: usize,
    number: u64,
    event: v1::Event,
}

impl Shop {
    /// A shop that is about to open.
    ///
    /// # Errors
    /// [`Error::InvalidPlan`].
    pub fn new(plan: Plan) -> Result<Self, Error> {
        if !(1..=MAX_SHOPPERS).contains(&plan.shoppers) {
            let (found, expected) = (plan.shoppers.to_string(), "1 to 10000000");
            return Err(Error::InvalidPlan { name: "users", found, expected });
        }
        if !(1..=MAX_DAYS).contains(&plan.days) {
            let (found, expected) = (plan.days.to_string(), "1 to 400");
            return Err(Error::InvalidPlan { name: "days", found, expected });
        }
        let shoppers =
            (0..plan.shoppers).map(|index| Shopper::new(plan.seed, index, f64::from(plan.days))).collect();
        Ok(Self { plan, shoppers, day: 0, ready: VecDeque::new(), later: Vec::new() })
    }

    /// When the first simulated day begins.
    pub fn start(&self) -> Timestamp {
        self.plan.now.plus_millis(-i64::from(self.plan.days) * DAY_MS)
    }

    /// Whom a request about this shopper names: a user once signed up, else a device.
    pub fn subject(&self, index: usize) -> Option<v1::Subject> {
        let shopper = self.shoppers.get(index)?;
        let id = if shopper.is_signed_up() {
            v1::subject::Id::UserId(shopper.user_id())
        } else {
            v1::subject::Id::AnonymousId(shopper.anonymous_id())
        };
        Some(v1::Subject { id: Some(id) })
    }

    /// What lies in this shopper's cart by now, in the shop's currency.
    pub fn cart_value(&self, index: usize) -> Option<f64> {
        self.shoppers.get(index).map(Shopper::cart_value)
    }

    /// Where this shopper lives, as an ISO 3166 code.
    pub fn country(&self, index: usize) -> Option<&'static str> {
        self.shoppers.get(index).map(Shopper::country)
    }

    /// Share of the simulated days that have been told, 0 to 1.
    pub fn progress(&self) -> f64 {
        f64::from(self.day) / f64::from(self.plan.days)
    }

    fn simulate_day(&mut self) {
        let day_start_ms = self.start().unix_ms() + i64::from(self.day) * DAY_MS;
        let day_end_ms = day_start_ms + DAY_MS;
        let now_ms = self.plan.now.unix_ms();
        let mut events = std::mem::take(&mut self.later);
        for (index, shopper) in self.shoppers.iter_mut().enumerate() {
            shopper.live_day(self.day, day_start_ms, &mut |time_ms, number, event| {
                if time_ms <= now_ms {
                    events.push(Dated { time_ms, shopper: index, number, event });
                }
            });
        }
        self.day += 1;
        let last_day = self.day == self.plan.days;
        events.sort_unstable_by_key(|dated| (dated.time_ms, dated.shopper, dated.number));
        let due = events.partition_point(|dated| last_day || dated.time_ms < day_end_ms);
        self.later = events.split_off(due);
        self.ready.extend(events.into_iter().map(|dated| dated.event));
    }
}

impl Iterator for Shop {
    type Item = v1::Event;

    fn next(&mut self) -> Option<v1::Event> {
        while self.ready.is_empty() && self.day < self.plan.days {
            self.simulate_day();
        }
        self.ready.pop_front()
    }
}

#[cfg(test)]
mod tests;
