//! One shopper: fixed traits, what they need just now, and how they drift away.
//!
//! Three things make behaviour predictable and none gives it away: interest and price sensitivity never show
//! themselves, a need raises visits and purchases for some days until it is met, and fading starts by chance, more
//! often for the less interested. Not here: what happens within a visit (`session`).

use augur_domain::math;
use augur_domain::rng::{Purpose, Rng};
use augur_domain::time::{DAY_MS, MINUTE_MS};
use augur_proto::v1;

use super::draw::{between, chance, normal, poisson, weighted};
use super::session::{Cart, Session};

/// Relative traffic by hour of the day, UTC: a lunch peak and a larger evening peak.
const HOURS: [f64; 24] = [
    2.0, 1.0, 0.6, 0.4, 0.4, 0.6, 1.5, 3.0, 4.5, 5.0, 5.5, 6.0, 7.0, 6.0, 5.5, 5.0, 5.0, 5.5, 6.5, 8.5, 10.0,
    9.0, 6.5, 4.0,
];
/// Relative traffic by weekday, Monday first, with a mean of 1.
const WEEKDAYS: [f64; 7] = [1.0, 0.95, 0.95, 1.0, 0.9, 0.95, 1.25];
/// Where shoppers live, with their shares.
const COUNTRIES: [(&str, f64); 6] =
    [("DE", 0.45), ("FR", 0.2), ("NL", 0.12), ("AT", 0.08), ("GB", 0.1), ("US", 0.05)];
/// Every so many days prices fall for [`SALE_LENGTH_DAYS`] days.
const SALE_EVERY_DAYS: u32 = 21;
const SALE_LENGTH_DAYS: u32 = 3;
/// A visit this soon after the last one would be the same session.
const SESSION_GAP_MS: i64 = 45 * MINUTE_MS;
/// A faded shopper below this share of their usual visits is gone for good.
const GONE_BELOW: f64 = 0.03;

/// What a shopper is and stays.
#[derive(Debug, Clone, Copy)]
pub(super) struct Traits {
    /// Latent wish to buy here, about standard normal.
    pub(super) interest: f64,
    /// Latent care about prices, about standard normal.
    pub(super) price_sensitivity: f64,
    /// Preferred category, an index.
    pub(super) category: usize,
    /// Where parcels go, an index.
    pub(super) country: usize,
}

/// One simulated life.
#[derive(Debug)]
pub(super) struct Shopper {
    index: usize,
    rng: Rng,
    traits: Traits,
    visits_per_day: f64,
    first_day: u32,
    /// Never signs up: known by device only.
    anonymous: bool,
    signed_up: bool,
    /// Strength of the present need, 0 to 1; falls by itself, and to nothing when met.
    need: f64,
    needs_per_day: f64,
    /// Share of usual visits: 1 until fading starts, then less every day.
    engagement: f64,
    fading: bool,
    fading_per_day: f64,
    cart: Cart,
    not_before_ms: i64,
    sent: u64,
}

impl Shopper {
    pub(super) fn new(seed: u64, index: usize, days: f64) -> Self {
        let mut rng =
            Rng::new(seed ^ (index as u64).wrapping_mul(0x9e6c_63d0_876a_68de), Purpose::Simulation);
        let traits = Traits {
            interest: normal(&mut rng),
            price_sensitivity: normal(&mut rng),
            category: rng.below(super::session::CATEGORIES.len() as u64) as usize,
            country: weighted(&mut rng, &COUNTRIES.map(|(_, weight)| weight)),
        };
        let visits_per_day = math::exp(-1.7 + 0.45 * traits.interest + 0.55 * normal(&mut rng)).min(3.0);
        let joins_late = chance(&mut rng, 0.5);
        let first_day = if joins_late { between(&mut rng, 0.0, days * 0.85) as u32 } else { 0 };
        Self {
            index,
            traits,
            visits_per_day,
            first_day,
            anonymous: chance(&mut rng, 0.06),
            signed_up: false,
            need: 0.0,
            needs_per_day: 0.035 * math::exp(0.3 * traits.interest),
            engagement: 1.0,
            fading: false,
            fading_per_day: 0.008 * math::exp(-0.5 * traits.interest),
            cart: Cart::default(),
            not_before_ms: i64::MIN,
            sent: 0,
            rng,
        }
    }

    pub(super) fn user_id(&self) -> String {
        format!("user-{:06}", self.index)
    }

    pub(super) fn anonymous_id(&self) -> String {
        format!("device-{:06}", self.index)
    }

    pub(super) const fn is_signed_up(&self) -> bool {
        self.signed_up
    }

    pub(super) fn country(&self) -> &'static str {
        COUNTRIES.get(self.traits.country).map_or("", |(country, _)| country)
    }

    pub(super) fn cart_value(&self) -> f64 {
        self.cart.value()
    }

    /// Lives one day; `emit` gets time, running number and event, ascending in time.
    pub(super) fn live_day(
        &mut self,
        day: u32,
        day_start_ms: i64,
        emit: &mut impl FnMut(i64, u64, v1::Event),
    ) {
        if day < self.first_day || self.engagement < GONE_BELOW {
            return;
        }
        self.drift();
        let sale = day % SALE_EVERY_DAYS < SALE_LENGTH_DAYS;
        let mean = self.visits_today(day_start_ms, sale);
        let mut visits = poisson(&mut self.rng, mean);
        if day == self.first_day {
            visits = visits.max(1);
        }
        let mut starts: Vec<i64> = (0..visits).map(|_| self.moment(day_start_ms)).collect();
        starts.sort_unstable();
        for start_ms in starts {
            self.visit(start_ms.max(self.not_before_ms), sale, emit);
        }
    }

    /// Needs come and fade; engagement, once it fades, does not come back.
    fn drift(&mut self) {
        self.need *= 0.82;
        if chance(&mut self.rng, self.needs_per_day) {
            self.need = between(&mut self.rng, 0.5, 1.0);
        }
        if self.fading {
            self.engagement *= 0.86;
        } else {
            self.fading = chance(&mut self.rng, self.fading_per_day);
        }
    }

    fn visits_today(&self, day_start_ms: i64, sale: bool) -> f64 {
        // 1970-01-01 was a Thursday: day 3 of a week that starts on Monday.
        let weekday = (day_start_ms.div_euclid(DAY_MS) + 3).rem_euclid(7);
        let weekday = usize::try_from(weekday).ok().and_then(|day| WEEKDAYS.get(day)).copied().unwrap_or(1.0);
        let lured = if sale { math::exp(0.35 * self.traits.price_sensitivity) } else { 1.0 };
        self.visits_per_day * self.engagement * weekday * lured * (1.0 + 3.5 * self.need)
    }

    fn moment(&mut self, day_start_ms: i64) -> i64 {
        // Days start at the hour of `now`; the pattern follows the clock, so its hours are turned by that offset.
        let hour = weighted(&mut self.rng, &HOURS) as i64;
        let midnight_ms = day_start_ms.div_euclid(DAY_MS) * DAY_MS;
        let moment_ms = midnight_ms + hour * 60 * MINUTE_MS + self.rng.below(60 * 60 * 1_000) as i64;
        if moment_ms < day_start_ms { moment_ms + DAY_MS } else { moment_ms }
    }

    fn visit(&mut self, start_ms: i64, sale: bool, emit: &mut impl FnMut(i64, u64, v1::Event)) {
        let signs_up = !self.signed_up && !self.anonymous && chance(&mut self.rng, 0.85);
        // Before a sign-up a shopper is a device, after it a user; the sign-up itself belongs to the user.
        self.signed_up |= signs_up;
        let (user_id, anonymous_id) = if self.signed_up {
            (self.user_id(), String::new())
        } else {
            (String::new(), self.anonymous_id())
        };
        let (index, mut number) = (self.index, self.sent);
        let mut session = Session::new(
            &mut self.rng,
            self.traits,
            self.need,
            self.engagement,
            sale,
            &mut self.cart,
            start_ms,
        );
        session.run(signs_up, self.signed_up, &mut |time_ms, name, properties| {
            let event = v1::Event {
                message_id: format!("{index:06}-{number:05}"),
                user_id: user_id.clone(),
                anonymous_id: anonymous_id.clone(),
                r#type: v1::EventType::Track.into(),
                event: name.to_owned(),
                properties,
                timestamp: Some(augur_proto::convert::timestamp_to_wire(
                    augur_domain::Timestamp::from_unix_ms(time_ms),
                )),
                ..v1::Event::default()
            };
            emit(time_ms, number, event);
            number += 1;
        });
        self.not_before_ms = session.end_ms() + SESSION_GAP_MS;
        if session.bought() {
            self.need = 0.0;
        }
        self.sent = number;
    }
}
