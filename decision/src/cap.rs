//! Frequency caps: how often a person may be given an action, or anything in its channel or category, within a rolling
//! window or a calendar one.
//!
//! Not here: where exposures are kept, or the lock that makes read, decide and record one step per person.

use std::sync::Arc;

use augur_domain::Timestamp;
use augur_domain::decision::Exposure;
use augur_domain::time::{format_duration_ms, parse_duration_ms};

use crate::calendar::{Period, PersonClock};

/// Exposures that one cap may allow; more than this in a window is no cap.
pub(crate) const MAX_LIMIT: u32 = 1_000;

/// Which exposures a cap counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Those of the action itself.
    Action,
    /// Those of every action in the action's channel.
    Channel,
    /// Those of every action in the action's category.
    Category,
}

impl Scope {
    /// The word in policies; empty for the action itself.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Action => "",
            Self::Channel => "channel",
            Self::Category => "category",
        }
    }

    /// What counts together with `subject`; empty if nothing does.
    pub(crate) const fn name(self, subject: Subject<'_>) -> &str {
        match self {
            Self::Action => subject.action,
            Self::Channel => subject.channel,
            Self::Category => subject.category,
        }
    }

    /// What counts together with an exposure.
    pub(crate) fn name_of(self, exposure: &Exposure) -> &str {
        match self {
            Self::Action => &exposure.action,
            Self::Channel => &exposure.channel,
            Self::Category => &exposure.category,
        }
    }
}

/// Over which time exposures count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Window {
    /// The last so many milliseconds.
    Rolling(i64),
    /// The day, week or month that it is for the person.
    Calendar(Period),
}

impl Window {
    /// No exposure older than this counts, in milliseconds.
    pub(crate) const fn longest_ms(self) -> i64 {
        match self {
            Self::Rolling(length_ms) => length_ms,
            Self::Calendar(period) => period.longest_ms(),
        }
    }
}

/// What a cap belongs to: what an action is called, and what it is in. Empty names are in nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) action: &'a str,
    pub(crate) channel: &'a str,
    pub(crate) category: &'a str,
}

/// At most `limit` exposures within a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cap {
    pub(crate) limit: u32,
    pub(crate) window: Window,
    pub(crate) scope: Scope,
    /// The cap in words, for reasons.
    pub(crate) words: Arc<str>,
}

/// What a cap says of one more exposure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Open,
    /// From this instant on one more is allowed.
    UsedUpUntil(Timestamp),
    /// It goes by a clock that is not known.
    ZoneUnknown,
}

impl Cap {
    /// Reads `2 per 7d`, `1 per 24h per channel` or `3 per week per category`; the error says what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let (limit, window, scope) = match words.as_slice() {
            [limit, "per", window] => (limit, *window, Scope::Action),
            [limit, "per", window, "per", "channel"] => (limit, *window, Scope::Channel),
            [limit, "per", window, "per", "category"] => (limit, *window, Scope::Category),
            _ => return Err(format!("`{text}` is not a cap")),
        };
        let count = limit.parse().ok().filter(|count| (1..=MAX_LIMIT).contains(count));
        let count = count.ok_or_else(|| format!("`{limit}` in `{text}` is not a count"))?;
        let window = match Period::named(window) {
            Some(period) => Window::Calendar(period),
            None => Window::Rolling(parse_duration_ms(window).map_err(|message| {
                let problem = message.split("; expected").next().unwrap_or_default().to_owned();
                format!("{problem} in `{text}`")
            })?),
        };
        let length = match window {
            Window::Rolling(length_ms) => format_duration_ms(length_ms),
            Window::Calendar(period) => period.as_str().to_owned(),
        };
        let per_scope = if scope == Scope::Action { "" } else { " per " };
        let words = format!("{count} per {length}{per_scope}{}", scope.as_str()).into();
        Ok(Self { limit: count, window, scope, words })
    }

    /// What the cap says at `now`. Exposures are oldest first.
    ///
    /// An exposure counts until it leaves the window, so also when it lies in the future (clocks step back), and not
    /// after its hold has ended. The cap stays used up until only `limit - 1` counted exposures are left, which is when
    /// the `limit`-th last of them leaves.
    pub(crate) fn verdict(
        &self,
        subject: Subject<'_>,
        exposures: &[Exposure],
        now: Timestamp,
        clock: &PersonClock<'_>,
    ) -> Verdict {
        let period = match self.window {
            Window::Rolling(_) => None,
            Window::Calendar(period) => match clock.period(period) {
                None => return Verdict::ZoneUnknown,
                around => around,
            },
        };
        let counts = |exposure: &&Exposure| {
            let is_within = match (self.window, period) {
                (Window::Rolling(length_ms), _) => exposure.at > now.plus_millis(-length_ms),
                (Window::Calendar(_), around) => around.is_some_and(|(start, _)| exposure.at >= start),
            };
            is_within && stands(exposure, now) && self.is_about(subject, exposure)
        };
        let counted = exposures.iter().rev().filter(counts);
        let nth_newest = self.limit.saturating_sub(1) as usize;
        let Some(last_to_leave) = counted.clone().nth(nth_newest) else { return Verdict::Open };
        if counted.clone().all(|exposure| exposure.holds_until.is_none()) {
            return Verdict::UsedUpUntil(self.leaves(last_to_leave, period, clock));
        }
        // What is held may leave before what is older.
        let mut leaving: Vec<_> = counted.map(|exposure| self.leaves(exposure, period, clock)).collect();
        leaving.sort_unstable_by(|one, other| other.cmp(one));
        leaving.get(nth_newest).map_or(Verdict::Open, |until| Verdict::UsedUpUntil(*until))
    }

    /// When a counted exposure counts no more.
    fn leaves(
        &self,
        exposure: &Exposure,
        around: Option<(Timestamp, Timestamp)>,
        clock: &PersonClock<'_>,
    ) -> Timestamp {
        let end = match (self.window, around) {
            (Window::Rolling(length_ms), _) => exposure.at.plus_millis(length_ms),
            (Window::Calendar(_), Some((_, next))) if exposure.at < next => next,
            (Window::Calendar(period), _) => {
                clock.zone().map_or(exposure.at, |zone| period.around(zone, exposure.at).1)
            }
        };
        exposure.holds_until.map_or(end, |until| until.min(end))
    }

    /// Whether the cap counts the exposure, if it is new enough.
    fn is_about(&self, subject: Subject<'_>, exposure: &Exposure) -> bool {
        self.scope.name_of(exposure) == self.scope.name(subject)
    }
}

/// Whether an exposure counts at all: for good, or still held.
pub(crate) fn stands(exposure: &Exposure, now: Timestamp) -> bool {
    exposure.holds_until.is_none_or(|until| now < until)
}

/// Marks those of `exposures`, oldest first, that [`Cap::verdict`] can tell apart from none: per cap of `actions`, all that
/// are held and the newest of the rest that it may count, up to its limit.
pub(crate) fn mark_countable<'a>(
    actions: impl Iterator<Item = (Subject<'a>, &'a [Cap])>,
    exposures: &[Exposure],
    now: Timestamp,
    marked: &mut [bool],
) {
    struct Open<'a> {
        subject: Subject<'a>,
        cap: &'a Cap,
        left: u32,
    }
    let caps = actions
        .flat_map(|(subject, caps)| caps.iter().map(move |cap| Open { subject, cap, left: cap.limit }));
    let mut open: Vec<Open<'_>> = caps.collect();
    for (exposure, marked) in exposures.iter().zip(marked).rev().filter(|(exposure, _)| stands(exposure, now))
    {
        for one in &mut open {
            let is_within = exposure.at > now.plus_millis(-one.cap.window.longest_ms());
            if one.left > 0 && is_within && one.cap.is_about(one.subject, exposure) {
                *marked = true;
                // One that is held may leave before older ones, which then count in its place.
                one.left -= u32::from(exposure.holds_until.is_none());
            }
        }
        open.retain(|one| one.left > 0);
        if open.is_empty() {
            break;
        }
    }
}

#[cfg(test)]
mod tests;
