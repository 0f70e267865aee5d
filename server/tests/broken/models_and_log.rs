//! Breakers before models and the log.
//!
//! Not here: breakers before reads (`cold_reads`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use augur_decision::PolicySnapshot;
use augur_domain::decision::{Availability, DecisionInputs, Rung};
use augur_domain::{Decision, ReasonCode};
use augur_server::breaker::{Mode, State};
use augur_server::config::OnUnavailable;
use augur_server::{Decider, Error};

use super::*;

/// Scoring takes long, or panics, while somebody says so.
#[derive(Clone, Default)]
struct Broken {
    stalls: Arc<AtomicBool>,
    panics: Arc<AtomicBool>,
}

fn asks_a_model(inputs: &DecisionInputs) -> bool {
    inputs.models.iter().any(|(_, availability)| *availability == Availability::Available)
}

impl Decider for Broken {
    fn decide(&self, policy: &PolicySnapshot, inputs: &DecisionInputs) -> Decision {
        if asks_a_model(inputs) {
            assert!(!self.panics.load(Ordering::SeqCst), "a model panics");
            if self.stalls.load(Ordering::SeqCst) {
                // sleep: the stall itself.
                std::thread::sleep(Duration::from_millis(25));
            }
        }
        augur_decision::decide(policy, inputs)
    }
}

fn state(app: &App, name: &str) -> State {
    app.breakers().into_iter().find(|breaker| &*breaker.name == name).unwrap().state
}

fn of_conversion(inputs: &DecisionInputs) -> Availability {
    inputs.models.iter().find(|(alias, _)| &**alias == "conversion").unwrap().1
}

#[tokio::test]
async fn a_stalling_model_is_left_alone_and_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let broken = Broken::default();
    let app = open(dir.path(), |config| config.breakers.common.open_for = Duration::from_millis(100));
    let app = app.deciding_by(broken.clone());
    let healthy = app.decide(cart(&app, "ada")).await.unwrap();
    assert_eq!(of_conversion(&healthy.inputs), Availability::Available);

    broken.stalls.store(true, Ordering::SeqCst);
    let (mut stalled, mut without) = (0, 0);
    for user in 0..200 {
        let record = app.decide(cart(&app, &format!("user {user}"))).await.unwrap();
        match of_conversion(&record.inputs) {
            Availability::Available => stalled += 1,
            Availability::BreakerOpen => {
                assert_eq!(record.decision.rung, Rung::RulesOnly);
                let named = |reason: &augur_domain::Reason| {
                    reason.code == ReasonCode::ModelUnavailable
                        && reason.detail.as_deref() == Some("conversion")
                };
                assert!(record.decision.reasons.iter().any(named), "{:?}", record.decision.reasons);
                without += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(stalled < 60 && without > 140, "{stalled} waited, {without} did not");

    broken.stalls.store(false, Ordering::SeqCst);
    let since = Instant::now();
    while state(&app, "model/conversion@1") != State::Closed {
        app.decide(cart(&app, "eve")).await.unwrap();
        assert!(since.elapsed() < LONG, "{:?}", app.breakers());
        // sleep: the breaker goes by the clock.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Another version begins with a breaker of its own.
    app.publish(&model(0.7), "tests", "").unwrap();
    app.force_breaker("model/conversion@1", Some(Mode::ForcedOpen)).unwrap();
    let refused = app.decide(cart(&app, "ada")).await.unwrap();
    assert_eq!(of_conversion(&refused.inputs), Availability::BreakerOpen);
    app.set_alias("conversion", "champion", 2, "tests", "a better one").unwrap();
    let taken = app.decide(cart(&app, "ada")).await.unwrap();
    assert_eq!(of_conversion(&taken.inputs), Availability::Available);
    app.close().unwrap();
}

#[tokio::test]
async fn a_model_that_panics_fails_no_decision() {
    let dir = tempfile::tempdir().unwrap();
    let broken = Broken::default();
    let app = open(dir.path(), |_| {}).deciding_by(broken.clone());
    broken.panics.store(true, Ordering::SeqCst);
    for user in 0..50 {
        let record = app.decide(cart(&app, &format!("user {user}"))).await.unwrap();
        assert_eq!(record.decision.rung, Rung::RulesOnly);
        assert!(matches!(of_conversion(&record.inputs), Availability::Failed | Availability::BreakerOpen));
        assert!(record.sequence > 0);
    }
    assert_ne!(state(&app, "model/conversion@1"), State::Closed);
    app.close().unwrap();
}

#[tokio::test]
async fn while_the_log_is_left_alone_the_declared_policy_holds() {
    let dir = tempfile::tempdir().unwrap();
    let app = open(dir.path(), |_| {});
    app.force_breaker("log", Some(Mode::ForcedOpen)).unwrap();
    let refused = app.decide(cart(&app, "ada")).await.unwrap_err();
    assert!(matches!(refused, Error::BreakerOpen { .. }), "{refused}");
    assert_eq!(tonic::Status::from(refused).code(), tonic::Code::Unavailable);
    app.force_breaker("log", None).unwrap();
    assert_eq!(app.decide(cart(&app, "ada")).await.unwrap().sequence, 1);
    let unknown = app.force_breaker("feature", None).unwrap_err().to_string();
    assert!(unknown.contains("`features`"), "{unknown}");
    app.close().unwrap();

    let dir = tempfile::tempdir().unwrap();
    let app = open(dir.path(), |config| config.decision_log.on_unavailable = OnUnavailable::Default);
    app.force_breaker("log", Some(Mode::ForcedOpen)).unwrap();
    let record = app.decide(cart(&app, "ada")).await.unwrap();
    assert_eq!((record.sequence, record.decision.rung), (0, Rung::DefaultAction));
    assert_eq!(record.decision.reasons[0].code, ReasonCode::LogUnavailable);
    app.close().unwrap();
}
