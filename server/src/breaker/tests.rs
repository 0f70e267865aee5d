//! Breakers against a simple model of what they promise.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn settings() -> Settings {
    Settings {
        minimum_calls: 4,
        consecutive_failures: 3,
        open_for: SECOND,
        max_open_for: 8 * SECOND,
        ..Settings::default()
    }
}

fn at_ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Calls once, whether or not it is let.
fn call(breaker: &Breaker, now: Duration, outcome: Outcome, took_ms: u64) -> bool {
    let admitted = breaker.admit(now);
    let is_admitted = admitted.is_ok();
    if let Ok(call) = admitted {
        call.end(outcome, now + at_ms(took_ms));
    }
    is_admitted
}

#[test]
fn failures_in_a_row_open_it_and_good_probes_close_it() {
    let breaker = Breaker::new("features", settings(), Mode::Automatic);
    for _ in 0..3 {
        assert!(call(&breaker, at_ms(0), Outcome::Failed, 1));
    }
    assert_eq!(breaker.standing(at_ms(2)).state, State::Open);
    let refused = breaker.admit(at_ms(2)).unwrap_err();
    assert!(refused.retry_after <= SECOND && refused.retry_after >= at_ms(740), "{refused:?}");

    let later = at_ms(1_100);
    for good in 0..3 {
        assert_eq!(breaker.standing(later).state, State::HalfOpen, "after {good}");
        assert!(call(&breaker, later, Outcome::Succeeded, 1));
    }
    let standing = breaker.standing(later);
    assert_eq!((standing.state, standing.refused, standing.transitions), (State::Closed, 1, 3));
}

#[test]
fn slow_calls_open_it_though_they_succeed() {
    let breaker = Breaker::new("features", settings(), Mode::Automatic);
    for number in 0..4 {
        assert!(call(&breaker, at_ms(number), Outcome::Succeeded, 25 * (number % 2)));
    }
    assert_eq!(breaker.standing(at_ms(30)).state, State::Open);

    let slow_is_fine = Settings { slow_share: 1.1, ..settings() };
    let breaker = Breaker::new("features", slow_is_fine, Mode::Automatic);
    assert!((0..100).all(|number| call(&breaker, at_ms(number), Outcome::Succeeded, 1_000)));
}

#[test]
fn each_opening_without_a_closing_is_longer_up_to_the_cap() {
    let mut machine = Machine::new(settings(), Mode::Automatic, 7);
    let mut now = Duration::ZERO;
    let mut lengths = Vec::new();
    for _ in 0..3 {
        let permit = machine.admit(now).unwrap();
        machine.end(permit, Outcome::Failed, Duration::ZERO, now);
    }
    for _ in 0..8 {
        let length = machine.admit(now).unwrap_err().retry_after;
        lengths.push(length);
        now += length;
        let probe = machine.admit(now).unwrap();
        machine.end(probe, Outcome::Failed, Duration::ZERO, now);
    }
    for (number, length) in lengths.iter().enumerate() {
        let longest = (SECOND * 2_u32.pow(number as u32)).min(8 * SECOND);
        assert!(*length <= longest && *length >= longest.mul_f64(0.74), "{number}: {length:?}");
    }
}

#[test]
fn a_probe_that_never_comes_back_expires_and_opens_it_again() {
    let breaker = Breaker::new("features", settings(), Mode::Automatic);
    for _ in 0..3 {
        call(&breaker, at_ms(0), Outcome::Failed, 0);
    }
    let probes: Vec<_> = (0..3).map(|_| breaker.admit(SECOND).unwrap()).collect();
    assert!(breaker.admit(at_ms(5_999)).is_err(), "no more than three at once");
    assert_eq!(breaker.standing(at_ms(5_999)).state, State::HalfOpen);
    assert_eq!(breaker.standing(at_ms(6_000)).state, State::Open);
    // What comes back so late says nothing about the next try.
    let next = at_ms(8_100);
    assert_eq!(breaker.standing(next).state, State::HalfOpen);
    for probe in probes {
        probe.end(Outcome::Failed, next);
    }
    assert_eq!(breaker.standing(next).state, State::HalfOpen);
    // One given back without a word makes room for another.
    for _ in 0..10 {
        drop(breaker.admit(next).unwrap());
    }
    assert_eq!(breaker.standing(next).state, State::HalfOpen);
}

#[test]
fn what_is_forced_holds_until_it_is_released() {
    let breaker = Breaker::new("features", settings(), Mode::Automatic);
    breaker.force(Some(Mode::ForcedOpen), at_ms(0));
    assert!(!call(&breaker, at_ms(1_000_000), Outcome::Succeeded, 0));
    breaker.force(Some(Mode::ForcedClosed), at_ms(1_000_000));
    assert!((0..50).all(|_| call(&breaker, at_ms(1_000_000), Outcome::Failed, 100)));
    assert_eq!(breaker.standing(at_ms(1_000_000)).tally.failed, 50);
    breaker.force(None, at_ms(1_000_000));
    let standing = breaker.standing(at_ms(1_000_000));
    assert_eq!((standing.state, standing.tally), (State::Closed, Tally::default()));

    let counted = Breaker::new("features", settings(), Mode::MetricsOnly);
    assert!((0..50).all(|_| call(&counted, at_ms(0), Outcome::Failed, 100)));
    counted.force(Some(Mode::ForcedOpen), at_ms(1));
    counted.force(None, at_ms(2));
    assert_eq!(counted.standing(at_ms(2)).state, State::MetricsOnly);
}

/// What is done to a breaker in a test.
#[derive(Debug, Clone)]
enum Step {
    /// The clock moves, back too.
    Move(i64),
    Admit,
    /// The n-th call under way ends.
    End(usize, Outcome, u64),
    Force(Option<Mode>),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let outcome = prop_oneof![
        4 => Just(Outcome::Failed), 3 => Just(Outcome::Succeeded), 1 => Just(Outcome::Unknown),
    ];
    let mode = prop_oneof![Just(None), Just(Some(Mode::ForcedOpen)), Just(Some(Mode::ForcedClosed)),];
    let step = prop_oneof![
        3 => (-2_000_i64..3_000).prop_map(Step::Move),
        6 => Just(Step::Admit),
        6 => (0_usize..8, outcome, 0_u64..50).prop_map(|(which, outcome, took)| Step::End(which, outcome, took)),
        1 => mode.prop_map(Step::Force),
    ];
    proptest::collection::vec(step, 1..400)
}

proptest! {
    #[test]
    fn a_breaker_keeps_its_promises_whatever_happens(steps in steps(), seed: u64) {
        let settings = settings();
        let mut machine = Machine::new(settings.clone(), Mode::Automatic, seed);
        let mut now_ms = 0_i64;
        let mut latest_ms = 0_i64;
        let mut forced = None;
        // Calls under way, each with the instant and the state it was let through in.
        let mut under_way: Vec<(Permit, i64, State)> = Vec::new();
        for step in steps {
            match step {
                Step::Move(by_ms) => now_ms = (now_ms + by_ms).max(0),
                Step::Force(mode) => {
                    forced = mode;
                    machine.set_mode(mode.unwrap_or(Mode::Automatic), at_ms(now_ms as u64));
                    prop_assert!(mode.is_some() || machine.last_state() != State::ForcedOpen);
                }
                Step::End(which, outcome, took_ms) if which < under_way.len() => {
                    let (permit, ..) = under_way.swap_remove(which);
                    machine.end(permit, outcome, at_ms(took_ms), at_ms(now_ms as u64));
                }
                Step::End(..) => {}
                Step::Admit => {
                    let state = machine.state(at_ms(now_ms as u64));
                    latest_ms = latest_ms.max(now_ms);
                    let admitted = machine.admit(at_ms(now_ms as u64));
                    match state {
                        State::Closed | State::ForcedClosed => prop_assert!(admitted.is_ok()),
                        State::Open | State::ForcedOpen => prop_assert!(admitted.is_err()),
                        State::HalfOpen | State::MetricsOnly => {}
                    }
                    if let Err(refused) = admitted {
                        prop_assert!(refused.retry_after <= settings.max_open_for.max(settings.probe_timeout));
                    }
                    under_way.extend(admitted.ok().map(|permit| (permit, latest_ms, state)));
                    // Those let through to try it and not yet expired are never more than it allows.
                    let trying = under_way.iter().filter(|(permit, at, _)| {
                        permit.probe.is_some()
                            && permit.epoch == machine.epoch
                            && latest_ms < at + 5_000
                    });
                    prop_assert!(trying.count() <= settings.probes as usize);
                }
            }
            latest_ms = latest_ms.max(now_ms);
            let state = machine.state(at_ms(now_ms as u64));
            match forced {
                Some(Mode::ForcedOpen) => prop_assert_eq!(state, State::ForcedOpen),
                Some(Mode::ForcedClosed) => prop_assert_eq!(state, State::ForcedClosed),
                _ => prop_assert!(matches!(state, State::Closed | State::Open | State::HalfOpen)),
            }
        }
        // Whatever happened, good calls close it in the end.
        machine.set_mode(Mode::Automatic, at_ms(now_ms as u64));
        let mut now = at_ms(latest_ms as u64);
        for _ in 0..10 {
            now += settings.max_open_for.max(settings.probe_timeout);
            while let Ok(permit) = machine.admit(now) {
                machine.end(permit, Outcome::Succeeded, Duration::ZERO, now);
                if machine.last_state() == State::Closed {
                    break;
                }
            }
        }
        prop_assert_eq!(machine.state(now), State::Closed);
    }
}
