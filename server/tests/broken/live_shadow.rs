//! Candidates decide again on live traffic; what they do wrong nobody who asks for decisions notices.
//!
//! Not here: what the records come to (`augur_shadow_harness`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use augur_decision::PolicySnapshot;
use augur_decision_log::{Reader, ShadowReader};
use augur_domain::decision::{DecisionInputs, Rung};
use augur_domain::live_shadow::{ShadowRecord, ShadowStatus};
use augur_domain::{Decision, DecisionId};
use augur_server::breaker::{Mode, State};
use augur_server::config::ShadowCandidate;
use augur_server::{Decider, Layout};

use super::*;

fn candidate(name: &str, models: &[(&str, &str)]) -> ShadowCandidate {
    let models = models.iter().map(|(model, version)| ((*model).to_owned(), (*version).to_owned()));
    ShadowCandidate { name: name.to_owned(), policy: None, models: models.collect() }
}

/// Decides and hands over, as a call does.
async fn served(app: &App, user: &str) -> DecisionId {
    let record = app.decide(cart(app, user)).await.unwrap();
    let id = record.inputs.decision_id;
    app.offer_to_shadow(record);
    id
}

/// The value of a metric with these labels.
fn metric(app: &App, line: &str) -> f64 {
    app.refresh_metrics();
    let text = app.metrics().render();
    let found = text.lines().find_map(|known| known.strip_prefix(line)?.trim().parse().ok());
    found.unwrap_or_else(|| panic!("no {line} in {text}"))
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let since = Instant::now();
    while !holds() {
        assert!(since.elapsed() < LONG, "{what} does not come");
        // sleep: threads of live shadow tell nobody when they are done.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn records(dir: &Path) -> Vec<ShadowRecord> {
    let dir = Layout::new(dir.join("data")).shadow();
    ShadowReader::open(&dir).unwrap().map(|found| found.unwrap().1).collect()
}

#[tokio::test]
async fn candidates_decide_again_and_their_records_name_the_decision() {
    let dir = tempfile::tempdir().unwrap();
    let app = open(dir.path(), |config| {
        config.shadow.share = 1.0;
        config.shadow.time_budget = LONG;
        config.shadow.candidates = vec![
            candidate("alike", &[("conversion", "1")]),
            candidate("other", &[("conversion", "shadow")]),
            candidate("nobody", &[("conversion", "99")]),
        ];
    });
    // Version 2 says yes to everybody, and the alias `shadow` names it.
    app.publish(&model_with(0.5, 9.0), "tests", "").unwrap();
    app.set_alias("conversion", "shadow", 2, "tests", "a candidate").unwrap();
    let mut ids = BTreeSet::new();
    for user in 0..50 {
        ids.insert(served(&app, &format!("user {user}")).await);
    }
    let done = |app: &App, name: &str| {
        ["SAME", "DIFFERS"].map(|status| {
            metric(app, &format!(r#"augur_shadow_decisions{{candidate="{name}",status="{status}"}}"#))
        })
    };
    until("the last turn", || done(&app, "other").iter().sum::<f64>() >= 50.0).await;
    assert_eq!(done(&app, "alike"), [50.0, 0.0]);
    assert_eq!(metric(&app, r#"augur_shadow_unusable{candidate="nobody"}"#), 1.0);
    assert_eq!(metric(&app, r#"augur_shadow_unusable{candidate="other"}"#), 0.0);
    app.close().unwrap();

    let records = records(dir.path());
    assert_eq!(records.len(), 100);
    let decisions: BTreeMap<DecisionId, _> = Reader::open(&dir.path().join("data/decisions"))
        .unwrap()
        .map(|found| found.unwrap().1)
        .map(|record| (record.inputs.decision_id, record))
        .collect();
    assert_eq!(decisions.keys().copied().collect::<BTreeSet<_>>(), ids);
    for record in &records {
        let decision = &decisions[&record.decision];
        assert_eq!((record.decision_sequence, record.kept), (decision.sequence, 1.0));
        assert_eq!(record.served.action, decision.decision.action);
        let shadowed = record.candidates.as_ref().unwrap();
        let score = shadowed.scores.iter().find(|(alias, _)| &**alias == "conversion").unwrap().1.unwrap();
        match &*record.candidate {
            "alike" => {
                assert_eq!(record.status, ShadowStatus::Same);
                assert_eq!(
                    (&shadowed.reasons, shadowed.models[0].1.version),
                    (&decision.decision.reasons, 1)
                );
            }
            _ => assert_eq!((shadowed.models[0].1.version, score > 0.99), (2, true)),
        }
        assert_eq!(shadowed.policy, decision.policy);
    }
}

/// Candidates named after what is wrong with them.
#[derive(Default)]
struct Broken {
    hanging: Arc<AtomicUsize>,
}

impl Decider for Broken {
    fn shadow(&self, candidate: &str, policy: &PolicySnapshot, inputs: &DecisionInputs) -> Decision {
        let decided = augur_decision::decide(policy, inputs);
        match candidate {
            "panics" => panic!("a candidate panics"),
            "hangs" => {
                self.hanging.fetch_add(1, Ordering::SeqCst);
                // sleep: the hanging itself.
                std::thread::sleep(Duration::from_secs(10));
                decided
            }
            "garbage" => Decision {
                action: "\u{0}".repeat(1_000).into(),
                value: f64::NAN,
                propensity: f64::INFINITY,
                rung: Rung::Champion,
                ..decided
            },
            _ => decided,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_candidates_delay_and_fail_no_answer() {
    const CALLERS: usize = 8;
    const CALLS: usize = 250;
    let dir = tempfile::tempdir().unwrap();
    let broken = Broken::default();
    let hanging = Arc::clone(&broken.hanging);
    let app = open(dir.path(), |config| {
        config.shadow.share = 1.0;
        config.shadow.threads = 2;
        config.shadow.time_budget = LONG;
        config.shadow.abandon_after = Duration::from_millis(300);
        config.shadow.max_abandoned = 2;
        config.shadow.candidates =
            ["panics", "hangs", "garbage", "good"].map(|name| candidate(name, &[("conversion", "1")])).into();
    });
    let app = Arc::new(app.deciding_by(broken));
    let callers = (0..CALLERS).map(|caller| {
        let app = Arc::clone(&app);
        tokio::spawn(async move {
            let mut slowest = Duration::ZERO;
            for call in 0..CALLS {
                let asked = Instant::now();
                served(&app, &format!("user {caller} {call}")).await;
                slowest = slowest.max(asked.elapsed());
            }
            slowest
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        let slowest = caller.await.unwrap();
        // They hang for ten seconds.
        assert!(slowest < Duration::from_secs(5), "{slowest:?}");
    }
    let stands = |name: &str| {
        let name = format!("shadow/{name}");
        app.breakers().into_iter().find(|breaker| *breaker.name == *name).unwrap().state
    };
    until("the end of the hanging one", || stands("hangs") == State::ForcedOpen).await;
    assert_eq!(metric(&app, r#"augur_shadow_abandoned{candidate="hangs"}"#), 2.0);
    assert!((2..=3).contains(&hanging.load(Ordering::SeqCst)), "{hanging:?}");
    until("a turn of the good one", || {
        metric(&app, r#"augur_shadow_decisions{candidate="good",status="SAME"}"#) >= 100.0
    })
    .await;
    assert_ne!(stands("panics"), State::Closed);
    assert_eq!(stands("good"), State::Closed);
    for name in ["panics", "garbage"] {
        let failed =
            metric(&app, &format!(r#"augur_shadow_decisions{{candidate="{name}",status="FAILED"}}"#));
        let refused = metric(&app, &format!(r#"augur_shadow_refused{{candidate="{name}"}}"#));
        assert!(failed >= 10.0 && refused > 0.0, "{name}: {failed} failed, {refused} refused");
    }
    assert_eq!(metric(&app, "augur_shadow_offered"), (CALLERS * CALLS) as f64);
    // Whoever releases it has it asked again.
    app.force_breaker("shadow/hangs", None).unwrap();
    app.force_breaker("shadow/hangs", Some(Mode::ForcedOpen)).unwrap();
    Arc::into_inner(app).unwrap().close().unwrap();

    let mut by_status: BTreeMap<(Arc<str>, ShadowStatus), usize> = BTreeMap::new();
    for record in records(dir.path()) {
        let answered = record.candidates.is_some();
        assert_eq!(answered, matches!(record.status, ShadowStatus::Same | ShadowStatus::Differs));
        assert_eq!(record.problem.is_empty(), record.status != ShadowStatus::Failed);
        *by_status.entry((record.candidate, record.status)).or_default() += 1;
    }
    let of = |name: &str, status| by_status.get(&(name.into(), status)).copied().unwrap_or(0);
    assert!(of("hangs", ShadowStatus::TimedOut) >= 2 && of("hangs", ShadowStatus::Same) == 0);
    assert!(of("good", ShadowStatus::Same) >= 100 && of("garbage", ShadowStatus::Failed) >= 10);
    assert_eq!(of("good", ShadowStatus::Differs) + of("good", ShadowStatus::Failed), 0);
}

/// A candidate that takes its time.
struct Slow;

impl Decider for Slow {
    fn shadow(&self, _candidate: &str, policy: &PolicySnapshot, inputs: &DecisionInputs) -> Decision {
        // sleep: the slowness itself.
        std::thread::sleep(Duration::from_millis(2));
        augur_decision::decide(policy, inputs)
    }
}

#[tokio::test]
async fn a_full_queue_is_thinned_with_a_probability_that_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let app = open(dir.path(), |config| {
        config.shadow.share = 0.8;
        config.shadow.queue_bytes = 256 << 10;
        config.shadow.time_budget = LONG;
        config.shadow.candidates = vec![candidate("slow", &[("conversion", "1")])];
    });
    let app = app.deciding_by(Slow);
    for user in 0..1_500 {
        served(&app, &format!("user {user}")).await;
    }
    until("an empty queue", || metric(&app, "augur_shadow_queued_bytes") == 0.0).await;
    let [offered, thinned, full] =
        ["augur_shadow_offered", "augur_shadow_thinned", "augur_shadow_full"].map(|name| metric(&app, name));
    let turns = || metric(&app, r#"augur_shadow_decisions{candidate="slow",status="SAME"}"#);
    until("the last turn", || turns() == offered - thinned - full).await;
    app.close().unwrap();
    let records = records(dir.path());
    assert_eq!(records.len() as f64, offered - thinned - full);
    let weights: f64 = records.iter().map(|record| 1.0 / record.kept).sum();
    assert!(records.iter().any(|record| record.kept < 0.8), "it was never more than half full");
    assert_eq!((offered, full), (1_500.0, 0.0));
    // The weights stand for all that was offered, but for chance.
    assert!((weights / offered - 1.0).abs() < 0.25, "{weights} of {offered}");
    let last = records.last().unwrap().counts;
    assert_eq!((last.offered as f64, last.thinned as f64), (offered, thinned));
}
