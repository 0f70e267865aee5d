//! What bounds how often, when and to how many an action may be given: caps, quiet hours and budgets together.
//!
//! Not here: what each of them says by itself (`cap`, `quiet`, `budget`).

use std::sync::Arc;

use augur_domain::decision::DecisionInputs;
use augur_domain::{Reason, ReasonCode, Timestamp};

use crate::budget::Budget;
use crate::calendar::PersonClock;
use crate::cap::{Cap, Subject, Verdict, Window};
use crate::quiet::{Quiet, first_open};

/// The bounds of one action.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    pub(crate) caps: Vec<Cap>,
    /// Its own and those of its channel.
    pub(crate) quiet: Vec<Quiet>,
    pub(crate) budget: Option<Budget>,
    /// How long what is given is held until its delivery is confirmed, in milliseconds; `None` if it counts at once.
    pub(crate) confirm_within_ms: Option<i64>,
}

/// Why an action may not be given now, and the first instant at which all its bounds together allow it, if that comes
/// by itself.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) reason: Reason,
    pub(crate) until: Option<Timestamp>,
}

/// One bound that refuses; without `until` it does not end by itself.
struct Bound<'a> {
    code: ReasonCode,
    words: &'a Arc<str>,
    until: Option<Timestamp>,
}

impl Limits {
    /// Whether the person's clock matters.
    pub(crate) fn goes_by_clock(&self) -> bool {
        let calendar = |cap: &Cap| matches!(cap.window, Window::Calendar(_));
        !self.quiet.is_empty() || self.caps.iter().any(calendar)
    }

    pub(crate) fn longest_cap_window_ms(&self) -> i64 {
        self.caps.iter().map(|cap| cap.window.longest_ms()).max().unwrap_or(0)
    }

    /// What refuses the action at `inputs.now`, if anything does. Of several bounds the one that holds longest is named,
    /// the first in the order of caps, budget and quiet hours among equals.
    ///
    /// Caps and budgets that have opened stay open while nothing is given, so they are all open from the last of their
    /// ends on; the first instant from there on that is not quiet is open to all.
    pub(crate) fn refusal(
        &self,
        subject: Subject<'_>,
        inputs: &DecisionInputs,
        clock: &PersonClock<'_>,
    ) -> Option<Refusal> {
        let mut bounds = self.caps.iter().filter_map(|cap| capped(cap, subject, inputs, clock));
        let longest = bounds.by_ref().reduce(longer);
        let longest = longest.into_iter().chain(self.overspent(subject, inputs)).reduce(longer);
        let counted_until = longest.as_ref().map(|bound| bound.until);
        let longest = longest.into_iter().chain(self.hushed(inputs, clock)).reduce(longer)?;
        let open = match counted_until {
            Some(until) => {
                until.filter(|_| longest.until.is_some()).and_then(|until| self.first_open(until, clock))
            }
            None => longest.until,
        };
        Some(Refusal { reason: Reason::with(longest.code, Arc::clone(longest.words)), until: open })
    }

    fn overspent(&self, subject: Subject<'_>, inputs: &DecisionInputs) -> Option<Bound<'_>> {
        let budget = self.budget.as_ref()?;
        let (code, until) = budget.refusal(spent(inputs, subject.action), inputs.now)?;
        Some(Bound { code, words: &budget.words, until })
    }

    fn hushed(&self, inputs: &DecisionInputs, clock: &PersonClock<'_>) -> Option<Bound<'_>> {
        let first = self.quiet.first()?;
        let (Some(zone), Some(local)) = (clock.zone(), clock.local()) else {
            return Some(Bound { code: ReasonCode::TimeZoneUnknown, words: &first.words, until: None });
        };
        let holding = self.quiet.iter().find(|quiet| quiet.is_quiet(local))?;
        let until = first_open(&self.quiet, zone, inputs.now);
        Some(Bound { code: ReasonCode::QuietHours, words: &holding.words, until })
    }

    fn first_open(&self, from: Timestamp, clock: &PersonClock<'_>) -> Option<Timestamp> {
        if self.quiet.is_empty() {
            return Some(from);
        }
        first_open(&self.quiet, clock.zone()?, from)
    }
}

fn capped<'a>(
    cap: &'a Cap,
    subject: Subject<'_>,
    inputs: &DecisionInputs,
    clock: &PersonClock<'_>,
) -> Option<Bound<'a>> {
    let (code, until) = match cap.verdict(subject, &inputs.exposures, inputs.now, clock) {
        Verdict::Open => return None,
        Verdict::UsedUpUntil(until) => (ReasonCode::FrequencyCap, Some(until)),
        Verdict::ZoneUnknown => (ReasonCode::TimeZoneUnknown, None),
    };
    Some(Bound { code, words: &cap.words, until })
}

/// The bound that holds longer, the first among equals. One without end holds longest.
fn longer<'a>(longest: Bound<'a>, other: Bound<'a>) -> Bound<'a> {
    let is_longer = match (longest.until, other.until) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(longest), Some(other)) => other > longest,
    };
    if is_longer { other } else { longest }
}

/// How much of the action's budget is spent. A budget that was not counted counts as spent: too little is given rather
/// than too much.
fn spent(inputs: &DecisionInputs, action: &str) -> u64 {
    let place = inputs.budgets.binary_search_by(|(name, _)| (**name).cmp(action)).ok();
    place.and_then(|place| inputs.budgets.get(place)).map_or(u64::MAX, |(_, spent)| *spent)
}
