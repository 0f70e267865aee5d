//! What caps count, and until when.
//!
//! Not here: caps in whole decisions (`tests/policy`).

use augur_domain::decision::Person;
use proptest::prelude::*;

use super::*;
use crate::calendar::UnknownZone;

fn exposure(action: &str, channel: &str, at_ms: i64) -> Exposure {
    Exposure::new(action, channel, Timestamp::from_unix_ms(at_ms))
}

#[test]
fn reads_both_forms_and_says_what_is_wrong() {
    let cap = Cap::parse("2 per 168h").unwrap();
    assert_eq!((cap.limit, cap.window, cap.scope), (2, Window::Rolling(7 * 86_400_000), Scope::Action));
    assert_eq!(&*cap.words, "2 per 7d");
    let cap = Cap::parse(" 1  per 24h per channel").unwrap();
    assert_eq!((cap.limit, cap.scope, &*cap.words), (1, Scope::Channel, "1 per 1d per channel"));
    let cap = Cap::parse("5 per month per category").unwrap();
    assert_eq!((cap.window, cap.scope), (Window::Calendar(Period::Month), Scope::Category));
    assert_eq!(&*cap.words, "5 per month per category");
    for (bad, message) in [
        ("", "`` is not a cap"),
        ("2 in 7d", "`2 in 7d` is not a cap"),
        ("0 per 7d", "`0` in `0 per 7d` is not a count"),
        ("1001 per 7d", "`1001` in `1001 per 7d` is not a count"),
        ("-1 per 7d", "`-1` in `-1 per 7d` is not a count"),
        ("2 per year", "`year` is not a length of time in `2 per year`"),
        ("2 per day per person", "`2 per day per person` is not a cap"),
        ("2 per 401d", "`401d` is out of range in `2 per 401d`"),
    ] {
        assert_eq!(Cap::parse(bad).unwrap_err(), message);
    }
}

fn held(action: &str, at_ms: i64, until_ms: i64) -> Exposure {
    Exposure { holds_until: Some(Timestamp::from_unix_ms(until_ms)), ..exposure(action, "", at_ms) }
}

/// When the cap on action `a` in channel `email` and category `offers` ends, for a person in Berlin.
fn until(cap: &str, exposures: &[Exposure], now: Timestamp) -> Option<Timestamp> {
    let subject = Subject { action: "a", channel: "email", category: "offers" };
    let person = Person { time_zone: Some("Europe/Berlin".into()), ..Person::default() };
    let clock = PersonClock::new(&person, &UnknownZone::Hold, now);
    match Cap::parse(cap).unwrap().verdict(subject, exposures, now, &clock) {
        Verdict::Open => None,
        Verdict::UsedUpUntil(until) => Some(until),
        Verdict::ZoneUnknown => panic!("the zone is known"),
    }
}

fn ms(at_ms: i64) -> Timestamp {
    Timestamp::from_unix_ms(at_ms)
}

#[test]
fn is_used_up_exactly_while_the_window_holds_enough() {
    let exposures =
        [exposure("a", "", 100), exposure("b", "", 102), exposure("a", "", 104), exposure("a", "", 105)];
    let until = |now_ms| until("2 per 10ms", &exposures, ms(now_ms));
    assert_eq!(until(106), Some(ms(114)), "three counted: two must leave before one more is allowed");
    assert_eq!(until(113), Some(ms(114)));
    assert_eq!(until(114), None, "an exposure leaves at exactly its age of one window");
    assert_eq!(until(90), Some(ms(114)), "exposures later than now count");
}

#[test]
fn shared_caps_count_every_action_of_the_channel_or_category() {
    let in_category = Exposure { category: "offers".into(), ..exposure("c", "push", 3) };
    let exposures = [exposure("a", "email", 1), exposure("b", "email", 2), in_category];
    let until = |cap| until(cap, &exposures, ms(10));
    assert_eq!(until("2 per 1h per channel"), Some(ms(3_600_001)));
    assert_eq!(until("1 per 1h per category"), Some(ms(3_600_003)));
    assert_eq!(until("2 per 1h per category"), None);
    assert_eq!(until("2 per 1h"), None);
}

#[test]
fn a_hold_counts_until_it_ends_and_may_leave_before_what_is_older() {
    let exposures = [exposure("a", "", 100), held("a", 110, 115)];
    let until = |cap, now_ms| until(cap, &exposures, ms(now_ms));
    assert_eq!(until("2 per 50ms", 112), Some(ms(115)), "the hold goes first");
    assert_eq!(until("1 per 50ms", 112), Some(ms(150)), "what stands outlasts the hold");
    assert_eq!(until("2 per 50ms", 115), None, "an expired hold counts no more");
    assert_eq!(until("1 per 50ms", 115), Some(ms(150)));
}

#[test]
fn calendar_windows_end_at_the_persons_midnight() {
    let at = |text: &str| Timestamp::parse_rfc3339(text).unwrap();
    // Half past eleven at night and half an hour after midnight, by Berlin's clocks.
    let exposures = [Exposure::new("a", "", at("2026-11-22T22:30:00Z"))];
    assert_eq!(
        until("1 per day", &exposures, at("2026-11-22T22:59:59.999Z")),
        Some(at("2026-11-22T23:00:00Z"))
    );
    assert_eq!(until("1 per day", &exposures, at("2026-11-22T23:00:00Z")), None);
    // The 22nd was a Sunday.
    assert_eq!(until("1 per week", &exposures, at("2026-11-22T22:31:00Z")), Some(at("2026-11-22T23:00:00Z")));
    assert_eq!(
        until("1 per month", &exposures, at("2026-11-30T22:59:59Z")),
        Some(at("2026-11-30T23:00:00Z"))
    );
    // Clocks stepped back: what is given tomorrow is in the way until tomorrow is over.
    assert_eq!(until("1 per day", &exposures, at("2026-11-21T12:00:00Z")), Some(at("2026-11-22T23:00:00Z")));
}

#[test]
fn without_a_zone_a_calendar_cap_cannot_tell() {
    let person = Person::default();
    let clock = PersonClock::new(&person, &UnknownZone::Hold, ms(0));
    let subject = Subject { action: "a", channel: "", category: "" };
    let verdict = |cap| Cap::parse(cap).unwrap().verdict(subject, &[], ms(0), &clock);
    assert_eq!((verdict("1 per day"), verdict("1 per 1d")), (Verdict::ZoneUnknown, Verdict::Open));
}

proptest! {
    /// What [`mark_countable`] leaves out changes no verdict.
    #[test]
    fn only_what_cannot_matter_is_left_out(
        given in prop::collection::vec((0_i64..200, 0..3_usize, prop::option::of(0_i64..40)), 0..30),
        caps in prop::collection::vec((1_u32..4, prop::sample::select(vec!["5h", "30h", "day", "week"]), 0..3_usize), 1..4),
        now_hours in 0_i64..220,
    ) {
        let hour = |hours: i64| ms(1_790_000_000_000 + hours * 3_600_000);
        let mut exposures: Vec<Exposure> = given.into_iter().map(|(at, name, hold)| Exposure {
            category: ["offers", "", "news"][name].into(),
            holds_until: hold.map(|hold| hour(at + hold)),
            ..Exposure::new(["a", "b", "c"][name], ["email", "email", "push"][name], hour(at))
        }).collect();
        exposures.sort_by_key(|exposure| exposure.at);
        let subject = Subject { action: "a", channel: "email", category: "offers" };
        let caps: Vec<Cap> = caps.into_iter().map(|(limit, window, scope)| {
            Cap::parse(&format!("{limit} per {window}{}", ["", " per channel", " per category"][scope])).unwrap()
        }).collect();
        let now = hour(now_hours);
        let mut marked = vec![false; exposures.len()];
        mark_countable([(subject, caps.as_slice())].into_iter(), &exposures, now, &mut marked);
        let kept: Vec<Exposure> =
            exposures.iter().zip(marked).filter(|(_, marked)| *marked).map(|(kept, _)| kept.clone()).collect();
        let person = Person { time_zone: Some("Europe/Berlin".into()), ..Person::default() };
        let clock = PersonClock::new(&person, &UnknownZone::Hold, now);
        for cap in &caps {
            prop_assert_eq!(
                cap.verdict(subject, &kept, now, &clock),
                cap.verdict(subject, &exposures, now, &clock)
            );
        }
    }
}
