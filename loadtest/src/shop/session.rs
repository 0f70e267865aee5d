//! One visit: pages, searches, items, a cart, perhaps a purchase, with seconds between.
//!
//! Chances follow need, interest, price sensitivity and what happened earlier in the visit. Not here: when visits
//! happen (`shopper`).

use std::collections::BTreeMap;

use augur_domain::math;
use augur_domain::rng::Rng;
use augur_proto::v1;
use augur_proto::v1::value::Kind;

use super::draw::{between, chance, exponential};
use super::shopper::Traits;

/// What the shop sells.
pub(super) const CATEGORIES: [&str; 6] = ["books", "electronics", "garden", "home", "sports", "toys"];
/// Items per category.
const ITEMS: u64 = 200;
const CURRENCY: &str = "EUR";
/// Most different items in a cart.
const MAX_CART: usize = 12;

/// Properties of one event.
pub(super) type Properties = BTreeMap<String, v1::Value>;

/// What was put aside to be bought, kept between visits.
#[derive(Debug, Default)]
pub(super) struct Cart {
    items: Vec<Item>,
}

impl Cart {
    /// In the shop's currency.
    pub(super) fn value(&self) -> f64 {
        cents(self.items.iter().map(|item| item.price * f64::from(item.quantity)).sum())
    }
}

#[derive(Debug, Clone)]
struct Item {
    id: String,
    category: &'static str,
    price: f64,
    quantity: u32,
}

impl Item {
    fn properties(&self) -> Properties {
        Properties::from([
            text("item_id", &self.id),
            text("item_category", self.category),
            text("currency", CURRENCY),
            number("price", self.price),
            number("quantity", f64::from(self.quantity)),
            number("value", cents(self.price * f64::from(self.quantity))),
        ])
    }
}

/// A visit under way.
#[derive(Debug)]
pub(super) struct Session<'a> {
    rng: &'a mut Rng,
    traits: Traits,
    need: f64,
    engagement: f64,
    sale: bool,
    cart: &'a mut Cart,
    time_ms: i64,
    bought: bool,
}

impl<'a> Session<'a> {
    pub(super) fn new(
        rng: &'a mut Rng,
        traits: Traits,
        need: f64,
        engagement: f64,
        sale: bool,
        cart: &'a mut Cart,
        start_ms: i64,
    ) -> Self {
        Self { rng, traits, need, engagement, sale, cart, time_ms: start_ms, bought: false }
    }

    /// When the last event happened.
    pub(super) const fn end_ms(&self) -> i64 {
        self.time_ms
    }

    /// Whether the visit ended with a purchase.
    pub(super) const fn bought(&self) -> bool {
        self.bought
    }

    /// Plays the visit; `emit` gets time, name and properties, ascending in time.
    pub(super) fn run(
        &mut self,
        signs_up: bool,
        known: bool,
        emit: &mut impl FnMut(i64, &'static str, Properties),
    ) {
        self.page("home", emit);
        if signs_up {
            self.tell("sign_up", Properties::from([text("method", "email")]), 25.0, emit);
        } else if known && chance(self.rng, 0.3) {
            self.tell("login", Properties::from([text("method", "password")]), 8.0, emit);
        }
        self.tidy_cart(emit);
        let views = 1 + exponential(self.rng, 1.2 + 2.5 * self.need + 0.4 * self.engagement) as usize;
        for _ in 0..views.min(15) {
            self.look_at_one(emit);
        }
        self.check_out(emit);
    }

    /// Things left from earlier visits are sometimes thrown out.
    fn tidy_cart(&mut self, emit: &mut impl FnMut(i64, &'static str, Properties)) {
        while !self.cart.items.is_empty() && chance(self.rng, 0.25) {
            let item = self.cart.items.remove(0);
            self.tell("remove_from_cart", item.properties(), 6.0, emit);
        }
    }

    fn look_at_one(&mut self, emit: &mut impl FnMut(i64, &'static str, Properties)) {
        if chance(self.rng, 0.25 + 0.25 * self.need) {
            let category = self.category();
            self.tell("search", Properties::from([text("search_term", category)]), 12.0, emit);
        } else if chance(self.rng, 0.4) {
            self.page("category", emit);
        }
        let item = self.item();
        self.tell("view_item", item.properties(), 30.0, emit);
        let tempted =
            -3.1 + 0.55 * self.traits.interest + 3.0 * self.need + self.price_mood() - item.price / 400.0;
        if self.cart.items.len() < MAX_CART && chance(self.rng, math::sigmoid(tempted)) {
            self.tell("add_to_cart", item.properties(), 9.0, emit);
            self.cart.items.push(item);
        }
    }

    fn check_out(&mut self, emit: &mut impl FnMut(i64, &'static str, Properties)) {
        if self.cart.items.is_empty() {
            return;
        }
        let determined = -0.9 + 0.5 * self.traits.interest + 1.8 * self.need + self.price_mood();
        if !chance(self.rng, math::sigmoid(determined)) {
            return;
        }
        let count: u32 = self.cart.items.iter().map(|item| item.quantity).sum();
        let value = self.cart.value();
        let order = || {
            Properties::from([
                number("value", value),
                text("currency", CURRENCY),
                number("item_count", f64::from(count)),
            ])
        };
        self.tell("begin_checkout", order(), 15.0, emit);
        let through = 1.1 + 0.3 * self.traits.interest - 0.25 * self.traits.price_sensitivity * value / 100.0;
        if chance(self.rng, math::sigmoid(through)) {
            let mut properties = order();
            properties.extend([number("discount", if self.sale { cents(value * 0.25) } else { 0.0 })]);
            self.tell("purchase", properties, 70.0, emit);
            self.cart.items.clear();
            self.bought = true;
        }
    }

    /// Prices speak to those who care: for in a sale, against otherwise.
    fn price_mood(&self) -> f64 {
        let care = self.traits.price_sensitivity;
        if self.sale { 0.5 + 0.4 * care } else { -0.35 * care }
    }

    fn category(&mut self) -> &'static str {
        let index = if chance(self.rng, 0.6) {
            self.traits.category
        } else {
            self.rng.below(CATEGORIES.len() as u64) as usize
        };
        CATEGORIES.get(index).copied().unwrap_or("home")
    }

    fn item(&mut self) -> Item {
        let category = self.category();
        let rank = self.rng.below(ITEMS);
        let full_price = cents(6.0 + 140.0 * math::exp(-(rank as f64) / 45.0));
        let price = if self.sale { cents(full_price * 0.75) } else { full_price };
        let quantity = if chance(self.rng, 0.12) { between(self.rng, 2.0, 4.0) as u32 } else { 1 };
        Item { id: format!("{category}-{rank:03}"), category, price, quantity }
    }

    fn page(&mut self, page: &'static str, emit: &mut impl FnMut(i64, &'static str, Properties)) {
        let location = format!("https://shop.example/{page}");
        self.tell("page_view", Properties::from([text("page_location", &location)]), 10.0, emit);
    }

    /// Emits, then lets time pass: at least a second, `mean_s` seconds on average beyond it.
    fn tell(
        &mut self,
        name: &'static str,
        properties: Properties,
        mean_s: f64,
        emit: &mut impl FnMut(i64, &'static str, Properties),
    ) {
        emit(self.time_ms, name, properties);
        self.time_ms += 1_000 + (exponential(self.rng, mean_s).min(600.0) * 1_000.0) as i64;
    }
}

fn cents(amount: f64) -> f64 {
    (amount * 100.0).round() / 100.0
}

fn text(name: &str, text: &str) -> (String, v1::Value) {
    (name.to_owned(), v1::Value { kind: Some(Kind::Text(text.to_owned())) })
}

fn number(name: &str, number: f64) -> (String, v1::Value) {
    (name.to_owned(), v1::Value { kind: Some(Kind::Number(number)) })
}
