//! The decision core alone: 20 rules, 2 models of 20 inputs, 40 features, 5 actions, reasons and verdicts on; what 50 rules
//! and Thompson sampling add; and what loading a policy costs, up to its most rules.
//!
//! Not here: reading features, the log, the network. Inputs differ from call to call so that branches and caches
//! see something like traffic; they are built before the clock starts.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::allow_attributes,
    missing_docs,
    unreachable_pub,
    reason = "a benchmark may fail loudly"
)]

mod case;

use std::hint::black_box;
use std::sync::Arc;

use augur_decision::{PolicySnapshot, Scratch, SourceFile, decide, decide_into};
use augur_domain::Decision;
use augur_domain::decision::DecisionInputs;
use augur_domain::rng::{Purpose, Rng};
use criterion::{Criterion, criterion_group, criterion_main};

use case::{Published, RULES, features, person, policy_text};

/// As many as a policy may have.
const MOST_RULES: usize = 1_000;
const PEOPLE: usize = 256;

/// Decides for one after the other in room that is used again, as a server does.
fn bench_policy(criterion: &mut Criterion, name: &str, text: String) {
    let source = SourceFile { name: "policy.toml".to_owned(), text };
    let features = features();
    let policy = PolicySnapshot::load(&source, Arc::clone(&features), &Published).unwrap();
    let mut rng = Rng::new(42, Purpose::Simulation);
    let people: Vec<DecisionInputs> = (0..PEOPLE).map(|_| person(&features, &mut rng)).collect();
    let (mut scratch, mut decision) = (Scratch::default(), Decision::default());
    let mut next = 0_usize;
    criterion.bench_function(name, |bencher| {
        bencher.iter(|| {
            next = (next + 1) % PEOPLE;
            decide_into(black_box(&policy), black_box(&people[next]), &mut scratch, &mut decision);
            black_box(&decision);
        });
    });
}

/// The policy with `change` in its decision point.
fn with_point(rules: usize, words: bool, change: &str) -> String {
    policy_text(rules, words).replace("deadline = \"50ms\"\n", &format!("deadline = \"50ms\"\n{change}"))
}

fn bench_decide(criterion: &mut Criterion) {
    bench_policy(criterion, "decide/20_rules_2_models_40_features_5_actions", policy_text(RULES, false));
    bench_policy(criterion, "decide/the_same_with_words_for_inputs", policy_text(RULES, true));
    bench_policy(criterion, "decide/the_same_without_rules", policy_text(0, false));
    bench_policy(criterion, "decide/the_same_with_50_rules", policy_text(50, false));
    let softmax = "exploration = { kind = \"softmax\", temperature = 0.5 }\n";
    bench_policy(criterion, "decide/the_same_with_softmax", with_point(RULES, false, softmax));
    let thompson = with_point(RULES, false, "exploration = { kind = \"thompson\" }\n")
        .replace("expires_after = \"30m\"\n", "expires_after = \"30m\"\nsuccesses = 30\nfailures = 70\n");
    bench_policy(criterion, "decide/the_same_with_thompson", thompson);
    let source = SourceFile { name: "policy.toml".to_owned(), text: policy_text(RULES, false) };
    let features = features();
    let policy = PolicySnapshot::load(&source, Arc::clone(&features), &Published).unwrap();
    let mut rng = Rng::new(42, Purpose::Simulation);
    let people: Vec<DecisionInputs> = (0..PEOPLE).map(|_| person(&features, &mut rng)).collect();
    let mut next = 0_usize;
    criterion.bench_function("decide/the_same_allocated_anew", |bencher| {
        bencher.iter(|| {
            next = (next + 1) % PEOPLE;
            decide(black_box(&policy), black_box(&people[next]))
        });
    });
    for rules in [RULES, MOST_RULES] {
        let source = SourceFile { name: "policy.toml".to_owned(), text: policy_text(rules, false) };
        criterion.bench_function(&format!("load/{rules}_rules"), |bencher| {
            bencher.iter(|| {
                PolicySnapshot::load(black_box(&source), Arc::clone(&features), &Published).unwrap()
            });
        });
    }
}

criterion_group!(benches, bench_decide);
criterion_main!(benches);
