//! Caps, quiet hours and budgets in whole decisions, and the instant at which what they refuse is allowed again.
//!
//! Not here: each of them by itself, which is tested beside its code.

use std::sync::OnceLock;

use augur_decision::{PolicySnapshot, decide};
use augur_domain::decision::{CandidateOutcome, DecisionInputs, Exposure};
use augur_domain::time::{HOUR_MS, MINUTE_MS};
use augur_domain::{ReasonCode, Timestamp};
use proptest::prelude::*;

use crate::support::{in_words, inputs, loaded};

const POLICY: &str = r#"
version = 1

[[decision_point]]
name = "here"
actions = ["mail", "letter", "push", "coupon", "last", "none"]
default_action = "none"
deadline = "1s"

[[channel]]
name = "email"
quiet_hours = "21:00-08:00"

[[action]]
name = "mail"
channel = "email"
category = "offers"
value = "5.0"
caps = ["2 per day", "3 per 7d per category"]
confirm_within = "2h"
quiet_days = ["sunday"]

[[action]]
name = "letter"
channel = "email"
value = "4.0"
caps = ["1 per 6h per channel", "2 per week"]
budget = { total = 24, per = "day", time_zone = "America/New_York", pacing = "even" }

[[action]]
name = "push"
category = "offers"
value = "3.0"
caps = ["4 per month per category"]
quiet_hours = "01:30-02:30"

[[action]]
name = "coupon"
value = "2.0"
budget = { total = 3, per = "week" }
confirm_within = "1h"

[[action]]
name = "last"
value = "1.0"
budget = { total = 2, per = "none" }

[[action]]
name = "none"

[time]
unknown_zone = "UTC"
"#;

fn policy() -> &'static PolicySnapshot {
    static POLICY_ONCE: OnceLock<PolicySnapshot> = OnceLock::new();
    POLICY_ONCE.get_or_init(|| loaded(POLICY))
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

/// Someone in Berlin at an instant, with nothing spent.
fn asked(now: Timestamp) -> DecisionInputs {
    let mut inputs = DecisionInputs { now, context: Vec::new(), ..inputs("here") };
    inputs.person.time_zone = Some("Europe/Berlin".into());
    inputs.budgets = vec![("coupon".into(), 0), ("last".into(), 0), ("letter".into(), 0)];
    inputs
}

fn is_limit(code: ReasonCode) -> bool {
    use ReasonCode::{BudgetPaced, BudgetSpent, FrequencyCap, QuietHours, TimeZoneUnknown};
    [BudgetPaced, BudgetSpent, FrequencyCap, QuietHours, TimeZoneUnknown].contains(&code)
}

fn outcome(decision: &augur_domain::Decision, action: &str) -> CandidateOutcome {
    decision.candidates.iter().find(|candidate| &*candidate.action == action).unwrap().clone()
}

#[test]
fn a_quiet_night_is_told_with_its_end_and_the_rest_goes_on() {
    let decision = decide(policy(), &asked(at("2026-11-23T22:00:00Z")));
    let mail = outcome(&decision, "mail");
    assert_eq!(mail.reason.code, ReasonCode::QuietHours);
    assert_eq!(mail.reason.detail.as_deref(), Some("21:00-08:00"));
    assert_eq!(mail.next_eligible_at, Some(at("2026-11-24T07:00:00Z")));
    assert_eq!((&*decision.action, &*decision.category), ("push", "offers"));
    assert_eq!(decision.holds_until, None);
}

#[test]
fn a_cap_that_opens_at_night_waits_for_the_morning() {
    let mut asked = asked(at("2026-11-20T12:00:00Z"));
    for hour in [9, 10] {
        let given = at(&format!("2026-11-20T{hour:02}:00:00Z"));
        asked.exposures.push(Exposure::new("mail", "email", given));
    }
    let mail = outcome(&decide(policy(), &asked), "mail");
    assert_eq!(mail.reason.code, ReasonCode::FrequencyCap);
    assert_eq!(mail.reason.detail.as_deref(), Some("2 per day"));
    assert_eq!(mail.next_eligible_at, Some(at("2026-11-21T07:00:00Z")), "eight on Saturday, not midnight");
}

#[test]
fn what_is_held_says_until_when() {
    let now = at("2026-11-23T12:00:00Z");
    let decision = decide(policy(), &asked(now));
    assert_eq!((&*decision.action, decision.holds_until), ("mail", Some(now.plus_millis(2 * HOUR_MS))));
    assert!(decision.counts_against_caps);
}

#[test]
fn budgets_hold_by_what_is_spent_and_a_missing_count_is_a_spent_one() {
    let now = at("2026-11-23T12:00:00Z");
    let mut spent = asked(now);
    spent.budgets = vec![("coupon".into(), 3), ("letter".into(), 10)];
    let decision = decide(policy(), &spent);
    let told = |action| {
        let outcome = outcome(&decision, action);
        (outcome.reason.code, outcome.reason.detail.unwrap().to_string(), outcome.next_eligible_at)
    };
    let monday = Some(at("2026-11-30T00:00:00Z"));
    assert_eq!(told("coupon"), (ReasonCode::BudgetSpent, "3 per week".to_owned(), monday));
    let tenth = Some(at("2026-11-23T15:00:00Z"));
    assert_eq!(told("letter"), (ReasonCode::BudgetPaced, "24 per day, evenly".to_owned(), tenth));
    assert_eq!(told("last"), (ReasonCode::BudgetSpent, "2 in all".to_owned(), None));
}

#[test]
fn an_unknown_zone_is_assumed_and_said_or_held() {
    let mut unknown = asked(at("2026-11-23T20:30:00Z"));
    unknown.person.time_zone = Some("Mars/Olympus".into());
    let decision = decide(policy(), &unknown);
    assert_eq!(&*decision.action, "mail", "half past eight in UTC is not quiet");
    assert!(in_words(&decision).contains("because TIME_ZONE_UNKNOWN UTC"), "{}", in_words(&decision));

    let hold = loaded(&POLICY.replace("\"UTC\"", "\"hold\""));
    let decision = decide(&hold, &unknown);
    let mail = outcome(&decision, "mail");
    assert_eq!((mail.reason.code, mail.next_eligible_at), (ReasonCode::TimeZoneUnknown, None));
    assert_eq!(&*decision.action, "coupon", "what goes by no clock is given");
}

#[test]
fn the_release_of_the_time_zones_is_part_of_the_id_where_they_are_read() {
    // By another release of the tables this is another policy; the one without a clock stays what it is.
    let without = "version = 1\n[[decision_point]]\nname = \"p\"\nactions = [\"a\"]\ndefault_action = \"a\"\n\
                   deadline = \"1s\"\n[[action]]\nname = \"a\"\n";
    let (engine, features) =
        (augur_decision::ENGINE_VERSION.to_le_bytes(), crate::support::features().hash());
    let parts: [&[u8]; 3] = [&engine, without.as_bytes(), features.as_bytes()];
    assert_eq!(loaded(without).id(), augur_domain::ContentHash::of(&parts));
    let version = augur_domain::time_zone::database_version().as_bytes();
    let parts: [&[u8]; 4] = [&engine, POLICY.as_bytes(), features.as_bytes(), version];
    assert_eq!(policy().id(), augur_domain::ContentHash::of(&parts));
}

fn any_exposure() -> impl Strategy<Value = (usize, i64, Option<i64>)> {
    (0..4_usize, 0_i64..(20 * 24 * 60), prop::option::weighted(0.3, 0_i64..(3 * 24 * 60)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    /// At the instant that is named nothing of this refuses the action; a millisecond before, something does.
    #[test]
    fn the_instant_at_which_a_refusal_ends_is_exact(
        given in prop::collection::vec(any_exposure(), 0..8),
        zone in prop::sample::select(vec!["Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "nowhere"]),
        // Around both changes of clocks in Europe.
        start in prop::sample::select(vec!["2026-10-22T00:00:00Z", "2027-03-25T00:00:00Z", "2027-01-30T00:00:00Z"]),
        minutes in 0_i64..(5 * 24 * 60),
        (coupons, lasts, letters) in (0_u64..5, 0_u64..4, 0_u64..26),
    ) {
        let now = at(start).plus_millis(minutes * MINUTE_MS);
        let mut first = asked(now);
        first.person.time_zone = Some(zone.into());
        first.budgets = vec![("coupon".into(), coupons), ("last".into(), lasts), ("letter".into(), letters)];
        first.exposures = given.iter().map(|(action, age, held)| {
            let (name, channel, category) =
                [("mail", "email", "offers"), ("letter", "email", ""), ("push", "", "offers"), ("old", "email", "")][*action];
            let given_at = now.plus_millis(-age * MINUTE_MS);
            Exposure {
                category: category.into(),
                holds_until: held.map(|held| given_at.plus_millis(held * MINUTE_MS)),
                ..Exposure::new(name, channel, given_at)
            }
        }).collect();
        first.exposures.sort_by_key(|exposure| exposure.at);
        let point = policy().point("here").unwrap();
        // What is spent counts in the window in which it was.
        let asked_at = |later: Timestamp| {
            let mut inputs = DecisionInputs { now: later, ..first.clone() };
            for ((_, spent), (_, budget)) in inputs.budgets.iter_mut().zip(point.budgets()) {
                if budget.since(later) != budget.since(now) {
                    *spent = 0;
                }
            }
            inputs
        };
        let decision = decide(policy(), &first);
        for refused in decision.candidates.iter().filter(|candidate| is_limit(candidate.reason.code)) {
            let Some(next) = refused.next_eligible_at else {
                prop_assert_eq!(&*refused.action, "last", "only a budget for good does not come back");
                continue;
            };
            let code = |at: Timestamp| outcome(&decide(policy(), &asked_at(at)), &refused.action).reason.code;
            prop_assert!(next > now);
            prop_assert!(!is_limit(code(next)), "{}: {:?} at {next}", refused.action, code(next));
            prop_assert!(is_limit(code(next.plus_millis(-1))), "{}: open before {next}", refused.action);
        }
    }
}
