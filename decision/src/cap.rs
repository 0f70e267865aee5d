//! Frequency caps: how often a person may be given an action, or anything in its channel, within a rolling window.
//!
//! Not here: where exposures are kept, or the lock that makes read, decide and record one step per person.

use std::sync::Arc;

use augur_domain::Timestamp;
use augur_domain::decision::Exposure;
use augur_domain::time::{format_duration_ms, parse_duration_ms};

/// Exposures that one cap may allow; more than this in a window is no cap.
pub(crate) const MAX_LIMIT: u32 = 1_000;

/// Which exposures a cap counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Those of the action itself.
    Action,
    /// Those of every action in the action's channel.
    Channel,
}

/// At most `limit` exposures within any `window_ms`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cap {
    pub(crate) limit: u32,
    pub(crate) window_ms: i64,
    pub(crate) scope: Scope,
    /// The cap in words, for reasons.
    pub(crate) words: Arc<str>,
}

impl Cap {
    /// Reads `2 per 7d` or `1 per 24h per channel`; the error says what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let (limit, window, scope) = match words.as_slice() {
            [limit, "per", window] => (limit, window, Scope::Action),
            [limit, "per", window, "per", "channel"] => (limit, window, Scope::Channel),
            _ => return Err(format!("`{text}` is not a cap")),
        };
        let count = limit.parse().ok().filter(|count| (1..=MAX_LIMIT).contains(count));
        let count = count.ok_or_else(|| format!("`{limit}` in `{text}` is not a count"))?;
        let window_ms = parse_duration_ms(window).map_err(|message| {
            let problem = message.split("; expected").next().unwrap_or_default().to_owned();
            format!("{problem} in `{text}`")
        })?;
        let per_channel = if scope == Scope::Channel { " per channel" } else { "" };
        let words = format!("{count} per {}{per_channel}", format_duration_ms(window_ms)).into();
        Ok(Self { limit: count, window_ms, scope, words })
    }

    /// When the cap is used up at `now`: the instant from which one more is allowed. Exposures are oldest first.
    ///
    /// An exposure counts while `at > now - window`, so also when it lies in the future (clocks step back). The
    /// cap stays used up until only `limit - 1` counted exposures are left, which is when the `limit`-th newest
    /// leaves the window.
    pub(crate) fn used_up_until(
        &self,
        action: &str,
        channel: &str,
        exposures: &[Exposure],
        now: Timestamp,
    ) -> Option<Timestamp> {
        let counts = |exposure: &&Exposure| self.counts(action, channel, exposure, now);
        let nth_newest = self.limit.saturating_sub(1) as usize;
        let last_to_leave = exposures.iter().rev().filter(counts).nth(nth_newest)?;
        Some(last_to_leave.at.plus_millis(self.window_ms))
    }

    fn counts(&self, action: &str, channel: &str, exposure: &Exposure, now: Timestamp) -> bool {
        exposure.at > now.plus_millis(-self.window_ms)
            && match self.scope {
                Scope::Action => *exposure.action == *action,
                Scope::Channel => *exposure.channel == *channel,
            }
    }
}

/// Those of `exposures`, oldest first, that [`Cap::used_up_until`] can tell apart from none: per cap of `actions`, the
/// newest that it counts, up to its limit.
pub(crate) fn countable<'a>(
    actions: impl Iterator<Item = (&'a str, &'a str, &'a [Cap])>,
    exposures: &[Exposure],
    now: Timestamp,
) -> Vec<Exposure> {
    struct Open<'a> {
        action: &'a str,
        channel: &'a str,
        cap: &'a Cap,
        left: u32,
    }
    let caps = actions.flat_map(|(action, channel, caps)| {
        caps.iter().map(move |cap| Open { action, channel, cap, left: cap.limit })
    });
    let mut open: Vec<Open<'_>> = caps.collect();
    let mut kept = Vec::new();
    for exposure in exposures.iter().rev() {
        if open.is_empty() {
            break;
        }
        let mut counted = false;
        for one in &mut open {
            if one.cap.counts(one.action, one.channel, exposure, now) {
                one.left -= 1;
                counted = true;
            }
        }
        open.retain(|one| one.left > 0);
        if counted {
            kept.push(exposure.clone());
        }
    }
    kept.reverse();
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exposure(action: &str, channel: &str, at_ms: i64) -> Exposure {
        Exposure::new(action, channel, Timestamp::from_unix_ms(at_ms))
    }

    #[test]
    fn reads_both_forms_and_says_what_is_wrong() {
        let cap = Cap::parse("2 per 168h").unwrap();
        assert_eq!((cap.limit, cap.window_ms, cap.scope), (2, 7 * 86_400_000, Scope::Action));
        assert_eq!(&*cap.words, "2 per 7d");
        let cap = Cap::parse(" 1  per 24h per channel").unwrap();
        assert_eq!((cap.limit, cap.scope, &*cap.words), (1, Scope::Channel, "1 per 1d per channel"));
        for (bad, message) in [
            ("", "`` is not a cap"),
            ("2 in 7d", "`2 in 7d` is not a cap"),
            ("0 per 7d", "`0` in `0 per 7d` is not a count"),
            ("1001 per 7d", "`1001` in `1001 per 7d` is not a count"),
            ("-1 per 7d", "`-1` in `-1 per 7d` is not a count"),
            ("2 per week", "`week` is not a length of time in `2 per week`"),
            ("2 per 401d", "`401d` is out of range in `2 per 401d`"),
        ] {
            assert_eq!(Cap::parse(bad).unwrap_err(), message);
        }
    }

    #[test]
    fn is_used_up_exactly_while_the_window_holds_enough() {
        let cap = Cap::parse("2 per 10ms").unwrap();
        let exposures =
            [exposure("a", "", 100), exposure("b", "", 102), exposure("a", "", 104), exposure("a", "", 105)];
        let until = |now_ms| cap.used_up_until("a", "", &exposures, Timestamp::from_unix_ms(now_ms));
        let instant = |at_ms| Some(Timestamp::from_unix_ms(at_ms));
        assert_eq!(until(106), instant(114), "three counted: two must leave before one more is allowed");
        assert_eq!(until(113), instant(114));
        assert_eq!(until(114), None, "an exposure leaves at exactly its age of one window");
        assert_eq!(until(90), instant(114), "exposures later than now count");
    }

    #[test]
    fn a_channel_cap_counts_every_action_of_the_channel() {
        let cap = Cap::parse("2 per 1h per channel").unwrap();
        let exposures = [exposure("a", "email", 1), exposure("b", "email", 2), exposure("a", "push", 3)];
        let now = Timestamp::from_unix_ms(10);
        assert_eq!(
            cap.used_up_until("a", "email", &exposures, now),
            Some(Timestamp::from_unix_ms(3_600_001))
        );
        assert_eq!(cap.used_up_until("a", "push", &exposures, now), None);
    }
}
