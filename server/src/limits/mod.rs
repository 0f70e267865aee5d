//! How often callers may call: each caller over all methods, each caller of one method, all callers of one method, and
//! decisions for each user. Rules can be replaced while serving; what was used up stays used up.
//!
//! All or nothing: when one limit refuses a call, what the limits before it took is given back. In memory and of this
//! process alone, so a restart begins anew: how often a person may be contacted is a cap of the policy. Not here: how a
//! refusal is told (`error`), or who a caller is (`layers::caller`).

mod rate;
mod table;

use std::hash::{BuildHasher as _, Hash, RandomState};
use std::net::IpAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use augur_domain::ids::UserKey;

pub use rate::Rate;
use rate::Taken;
use table::Table;

use crate::address::AddressRange;
use crate::refusal::Cause;
use crate::services::METHODS;
use crate::{Error, config};

/// What is left of the limit that is nearest to refusing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Allowance {
    pub(crate) limit: u64,
    pub(crate) remaining: u64,
}

/// The limits of one server.
#[derive(Debug)]
pub(crate) struct Limits {
    rules: ArcSwap<Rules>,
    /// When the queue of each method of [`METHODS`] drains, in nanoseconds.
    methods: Box<[AtomicU64]>,
    /// Callers and users; there once there is a limit for one.
    table: OnceLock<Table>,
    max_keys: usize,
    hasher: RandomState,
}

/// The configured rates, by place in [`METHODS`] where they are of a method.
#[derive(Debug, Default, PartialEq)]
struct Rules {
    caller: Option<Rate>,
    callers: Vec<(AddressRange, Rate)>,
    methods: Vec<Option<Rate>>,
    caller_methods: Vec<Option<Rate>>,
    user: Option<Rate>,
    /// Whether a call can be limited before it is read.
    calls: bool,
}

/// What a key counts; part of its hash.
#[derive(Hash)]
enum Counted<'a> {
    Caller(&'a IpAddr),
    CallerMethod(&'a IpAddr, usize),
    User(&'a UserKey),
}

impl Limits {
    pub(crate) fn new(config: &config::Limits) -> Self {
        Self {
            rules: ArcSwap::from_pointee(Rules::new(config)),
            methods: METHODS.iter().map(|_| AtomicU64::new(0)).collect(),
            table: OnceLock::new(),
            max_keys: config.max_keys,
            hasher: RandomState::new(),
        }
    }

    /// Puts other rules in the place of these; false if they are the same. What is used up stays so.
    pub(crate) fn replace(&self, config: &config::Limits) -> bool {
        let rules = Rules::new(config);
        if **self.rules.load() == rules {
            return false;
        }
        self.rules.store(rules.into());
        true
    }

    /// Takes one call of the method at `place` in [`METHODS`] by the caller at `address`, if it is known. `None` if
    /// nothing limits it.
    ///
    /// # Errors
    /// [`Error::Limited`] with the limit and the time to wait.
    pub(crate) fn take_call(
        &self,
        address: Option<&IpAddr>,
        place: usize,
        now: Duration,
    ) -> Result<Option<Allowance>, Error> {
        let rules = self.rules.load();
        if !rules.calls {
            return Ok(None);
        }
        let now_ns = nanoseconds(now);
        let mut nearest = None;
        let caller = address.zip(address.and_then(|address| rules.of_caller(address)));
        let caller = caller.map(|(address, rate)| (self.key(&Counted::Caller(address)), rate));
        if let Some((key, rate)) = caller {
            let taken = self.table().take(key, rate, now_ns);
            nearest = Some(granted(taken, rate, Cause::CallerLimited)?);
        }
        let both = address.zip(rules.caller_methods.get(place).copied().flatten());
        let both = both.map(|(address, rate)| (self.key(&Counted::CallerMethod(address, place)), rate));
        if let Some((key, rate)) = both {
            let taken = self.table().take(key, rate, now_ns);
            match granted(taken, rate, Cause::CallerMethodLimited) {
                Ok(allowance) => nearest = nearer(nearest, allowance),
                Err(error) => {
                    self.give_back([caller], now_ns);
                    return Err(error);
                }
            }
        }
        if let Some(rate) = rules.methods.get(place).copied().flatten() {
            match granted(self.take_method(place, rate, now_ns), rate, Cause::MethodLimited) {
                Ok(allowance) => nearest = nearer(nearest, allowance),
                Err(error) => {
                    self.give_back([caller, both], now_ns);
                    return Err(error);
                }
            }
        }
        Ok(nearest)
    }

    /// Takes one decision for `user`.
    ///
    /// # Errors
    /// [`Error::Limited`] with the limit and the time to wait.
    pub(crate) fn take_user(&self, user: &UserKey, now: Duration) -> Result<(), Error> {
        let Some(rate) = self.rules.load().user else { return Ok(()) };
        let taken = self.table().take(self.key(&Counted::User(user)), rate, nanoseconds(now));
        granted(taken, rate, Cause::UserLimited).map(drop)
    }

    /// Callers and users whose count began anew because others needed the place, since the start.
    pub(crate) fn evicted(&self) -> u64 {
        self.table.get().map_or(0, Table::evicted)
    }

    fn take_method(&self, place: usize, rate: Rate, now_ns: u64) -> Taken {
        let Some(drained_at_ns) = self.methods.get(place) else { return Taken::Granted { remaining: 0 } };
        let mut before = drained_at_ns.load(Ordering::Relaxed);
        loop {
            let (after, taken) = rate.take(before, now_ns);
            match drained_at_ns.compare_exchange_weak(before, after, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return taken,
                Err(other) => before = other,
            }
        }
    }

    fn give_back<const N: usize>(&self, taken: [Option<(u64, Rate)>; N], now_ns: u64) {
        for (key, rate) in taken.into_iter().flatten() {
            self.table().give_back(key, rate, now_ns);
        }
    }

    fn table(&self) -> &Table {
        self.table.get_or_init(|| Table::new(self.max_keys))
    }

    fn key(&self, counted: &Counted<'_>) -> u64 {
        self.hasher.hash_one(counted)
    }
}

impl Rules {
    fn new(config: &config::Limits) -> Self {
        let by_place = |rates: &[(String, Rate)]| -> Vec<Option<Rate>> {
            if rates.is_empty() {
                return Vec::new();
            }
            let of = |method| rates.iter().find(|(of, _)| of == short_name(method));
            METHODS.iter().map(|method| of(method).map(|(_, rate)| *rate)).collect()
        };
        let calls = config.caller.is_some()
            || !(config.callers.is_empty() && config.methods.is_empty() && config.caller_methods.is_empty());
        Self {
            caller: config.caller,
            callers: config.callers.clone(),
            methods: by_place(&config.methods),
            caller_methods: by_place(&config.caller_methods),
            user: config.user,
            calls,
        }
    }

    fn of_caller(&self, address: &IpAddr) -> Option<Rate> {
        let own = self.callers.iter().find(|(range, _)| range.contains(address));
        own.map(|(_, rate)| *rate).or(self.caller)
    }
}

/// The last part of a method's path, e.g. `Decide`: what the configuration calls it.
pub(crate) fn short_name(method: &'static str) -> &'static str {
    method.rsplit('/').next().unwrap_or(method)
}

fn granted(taken: Taken, rate: Rate, cause: Cause) -> Result<Allowance, Error> {
    match taken {
        Taken::Granted { remaining } => Ok(Allowance { limit: rate.count(), remaining }),
        Taken::Refused { retry_after } => Err(Error::Limited { cause, rate, retry_after }),
    }
}

/// The one of two with less left, by share.
fn nearer(one: Option<Allowance>, other: Allowance) -> Option<Allowance> {
    let share = |left: &Allowance, of: &Allowance| u128::from(left.remaining) * u128::from(of.limit);
    Some(one.filter(|one| share(one, &other) <= share(&other, one)).unwrap_or(other))
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DECIDE: usize = {
        let mut place = 0;
        while !matches!(METHODS[place].as_bytes(), b"/augur.v1.DecisionService/Decide") {
            place += 1;
        }
        place
    };

    fn rates(text: &str) -> Vec<(String, Rate)> {
        let parts = text.split(", ").filter_map(|part| part.split_once('='));
        parts.map(|(name, rate)| (name.to_owned(), Rate::parse(rate).unwrap())).collect()
    }

    fn limits(change: impl FnOnce(&mut config::Limits)) -> Limits {
        let mut config = crate::Config::default().limits;
        change(&mut config);
        Limits::new(&config)
    }

    fn cause(taken: Result<Option<Allowance>, Error>) -> Option<Cause> {
        match taken {
            Ok(_) => None,
            Err(Error::Limited { cause, .. }) => Some(cause),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn nothing_is_limited_unless_it_is_said_so() {
        let limits = limits(|_| {});
        let address = "10.0.0.1".parse().unwrap();
        for _ in 0..10_000 {
            assert_eq!(limits.take_call(Some(&address), DECIDE, Duration::ZERO).unwrap(), None);
        }
        assert!(limits.table.get().is_none(), "no memory is taken either");
    }

    #[test]
    fn what_a_later_limit_refuses_costs_nothing_under_an_earlier_one() {
        let limits = limits(|config| {
            config.caller = Some(Rate::parse("10 per 1h").unwrap());
            config.caller_methods = rates("Decide=3 per 1h");
            config.methods = rates("Decide=5 per 1h");
        });
        let (ada, bob) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let call = |of: &IpAddr, place| limits.take_call(Some(of), place, Duration::ZERO);
        for remaining in (0..3).rev() {
            assert_eq!(call(&ada, DECIDE).unwrap(), Some(Allowance { limit: 3, remaining }));
        }
        for _ in 0..100 {
            assert_eq!(cause(call(&ada, DECIDE)), Some(Cause::CallerMethodLimited));
        }
        assert_eq!(cause(call(&bob, DECIDE)), None);
        assert_eq!(call(&bob, DECIDE).unwrap(), Some(Allowance { limit: 5, remaining: 0 }));
        assert_eq!(cause(call(&bob, DECIDE)), Some(Cause::MethodLimited));
        // Three of ten were used, whatever was refused.
        for _ in 0..7 {
            assert_eq!(cause(call(&ada, DECIDE + 1)), None);
        }
        assert_eq!(cause(call(&ada, DECIDE + 1)), Some(Cause::CallerLimited));
    }

    #[test]
    fn rules_are_replaced_and_what_was_used_stays_used() {
        let ada = "10.0.0.1".parse().unwrap();
        let config = |rate| {
            let mut config = crate::Config::default().limits;
            config.caller = Some(Rate::parse(rate).unwrap());
            config
        };
        let limits = Limits::new(&config("2 per 1h"));
        let call = || cause(limits.take_call(Some(&ada), DECIDE, Duration::ZERO));
        assert_eq!((call(), call(), call()), (None, None, Some(Cause::CallerLimited)));
        assert!(!limits.replace(&config("2 per 1h")));
        assert_eq!(call(), Some(Cause::CallerLimited));
        assert!(limits.replace(&config("4 per 2h")));
        // An hour's worth of calls is used up, and of two hours as much is left.
        assert_eq!((call(), call(), call()), (None, None, Some(Cause::CallerLimited)));
    }

    #[test]
    fn some_callers_have_a_rate_of_their_own_and_each_user_has_one() {
        let limits = limits(|config| {
            config.caller = Some(Rate::parse("1 per 1h").unwrap());
            config.callers = vec![("10.1.0.0/16".parse().unwrap(), Rate::parse("2 per 1h").unwrap())];
            config.user = Some(Rate::parse("1 per 1h").unwrap());
        });
        let call =
            |address: &str| cause(limits.take_call(Some(&address.parse().unwrap()), DECIDE, Duration::ZERO));
        assert_eq!((call("10.1.2.3"), call("10.1.2.3"), call("10.2.2.3")), (None, None, None));
        assert_eq!(
            (call("10.1.2.3"), call("10.2.2.3")),
            (Some(Cause::CallerLimited), Some(Cause::CallerLimited))
        );
        let user = |number| limits.take_user(&UserKey::from_bytes([number; 16]), Duration::ZERO).is_ok();
        assert_eq!((user(1), user(2), user(1)), (true, true, false));
    }
}
