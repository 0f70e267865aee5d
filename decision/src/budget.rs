//! Budgets: how often an action may be given in all, to everybody together, and how evenly over time.
//!
//! Not here: what was spent so far, which is counted where it is spent and handed in.

use std::sync::Arc;

use augur_domain::{ReasonCode, TimeZone, Timestamp};

use crate::calendar::Period;

/// At most `total` in each period.
#[derive(Debug, Clone)]
pub struct Budget {
    pub(crate) total: u64,
    /// `None`: once and for all.
    pub(crate) period: Option<Period>,
    pub(crate) zone: &'static TimeZone,
    /// Spread evenly over the period.
    pub(crate) is_even: bool,
    /// The budget in words, for reasons.
    pub(crate) words: Arc<str>,
}

impl Budget {
    pub(crate) fn new(total: u64, period: Option<Period>, zone: &'static TimeZone, is_even: bool) -> Self {
        let per = period.map_or_else(|| " in all".to_owned(), |period| format!(" per {}", period.as_str()));
        let evenly = if is_even { ", evenly" } else { "" };
        Self { total, period, zone, is_even, words: format!("{total}{per}{evenly}").into() }
    }

    /// How much may be spent in each period.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// When the period of `now` began: whatever was spent at or after it counts. The beginning of time without periods.
    pub fn since(&self, now: Timestamp) -> Timestamp {
        self.period.map_or(Timestamp::MIN, |period| period.around(self.zone, now).0)
    }

    /// Why nothing may be spent at `now` when `spent` are, and the instant from which one more may be, if that comes by
    /// itself.
    ///
    /// An even pace allows the one after `spent` at the share `spent / total` of the period, so the first at once.
    pub(crate) fn refusal(&self, spent: u64, now: Timestamp) -> Option<(ReasonCode, Option<Timestamp>)> {
        let period = || self.period.map(|period| period.around(self.zone, now));
        if spent >= self.total {
            return Some((ReasonCode::BudgetSpent, period().map(|(_, next)| next)));
        }
        let (start, next) = self.is_even.then(period).flatten()?;
        let length_ms = i128::from(next.millis_since(start));
        let (spent, total) = (i128::from(spent), i128::from(self.total));
        let due_ms = (spent * length_ms + total - 1) / total;
        let due = start.plus_millis(i64::try_from(due_ms).unwrap_or(i64::MAX));
        (now < due).then_some((ReasonCode::BudgetPaced, Some(due)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use augur_domain::time::HOUR_MS;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).unwrap()
    }

    fn budget(total: u64, period: Option<Period>, is_even: bool) -> Budget {
        Budget::new(total, period, TimeZone::named("Europe/Berlin").unwrap(), is_even)
    }

    #[test]
    fn what_is_spent_comes_back_with_the_next_period_or_never() {
        let now = at("2026-11-22T12:00:00Z");
        let daily = budget(3, Some(Period::Day), false);
        assert_eq!((daily.since(now), &*daily.words), (at("2026-11-21T23:00:00Z"), "3 per day"));
        assert_eq!(daily.refusal(2, now), None);
        let next = Some(at("2026-11-22T23:00:00Z"));
        assert_eq!(daily.refusal(3, now), Some((ReasonCode::BudgetSpent, next)));
        let once = budget(3, None, false);
        assert_eq!((once.since(now), &*once.words), (Timestamp::MIN, "3 in all"));
        assert_eq!(once.refusal(4, now), Some((ReasonCode::BudgetSpent, None)));
    }

    #[test]
    fn an_even_pace_allows_one_more_exactly_when_it_is_due() {
        let even = budget(24, Some(Period::Day), true);
        let midnight = at("2026-11-21T23:00:00Z");
        assert_eq!(even.refusal(0, midnight), None);
        for spent in 1..24 {
            let due = midnight.plus_millis(i64::try_from(spent).unwrap() * HOUR_MS);
            assert_eq!(even.refusal(spent, midnight), Some((ReasonCode::BudgetPaced, Some(due))));
            assert_eq!(even.refusal(spent, due), None);
            assert!(even.refusal(spent, due.plus_millis(-1)).is_some());
        }
        // A day of 23 hours has a faster pace.
        let short = at("2027-03-27T23:00:00Z");
        let (_, due) = even.refusal(12, short).unwrap();
        assert_eq!(due, Some(short.plus_millis(23 * HOUR_MS / 2)));
    }
}
