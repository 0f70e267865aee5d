//! Models watched: decisions and outcomes against the reference in the artifact, from the logs and while serving.

use std::sync::Arc;

use augur_domain::ids::Subject;
use augur_domain::time::DAY_MS;
use augur_domain::{Timestamp, math};
use augur_models::Artifact;
use augur_models::artifact::{InputReference, Reference, SCORE_BINS};
use augur_models::drift::score_bin;
use augur_proto::v1;
use augur_server::offline::{Monitored, Watch};
use augur_server::{App, FixedClock, Question};

use crate::served::{NOW, artifact, config, event};

const PEOPLE: usize = 400;

fn probability(purchases: usize) -> f64 {
    math::sigmoid(0.4 * purchases as f64 - 1.0)
}

/// As if trained on people with one to five purchases each.
fn watched() -> Artifact {
    let mut content = artifact("conversion", "purchase_count_30d", 0.4).content().clone();
    let mut scores = [0.0; SCORE_BINS];
    (1..=5).for_each(|purchases| scores[score_bin(probability(purchases))] += 0.2);
    let input = InputReference { edges: vec![1.0, 2.0, 3.0, 4.0], shares: vec![0.2; 5], missing_share: 0.0 };
    content.reference = Some(Reference { inputs: vec![input], scores, base_rate: 0.5, rows: 2_000 });
    content.lineage.parameters =
        format!(r#"{{"task":{{"kind":"conversion","event":"purchase","horizon_ms":{}}}}}"#, 7 * DAY_MS);
    Artifact::new(content).unwrap()
}

fn bought(user: &str, at: Timestamp, n: usize) -> v1::Event {
    let age_ms = NOW.unix_ms() - at.unix_ms();
    event(&format!("{user}-{}-{n}", at.unix_ms()), user, "purchase", age_ms)
}

async fn decide_for(app: &App, user: &str) {
    let question = Question {
        peek: false,
        user: app.user_key(Subject::User(user)),
        decision_point: "cart_page".into(),
        context: Vec::new(),
        asserted: augur_server::Asserted::default(),
        bytes: Vec::new(),
        read_until: None,
    };
    app.decide_for(question).await.unwrap();
}

/// Events in batches that are taken.
async fn ingest(app: &App, events: Vec<v1::Event>) {
    for batch in events.chunks(200) {
        app.ingest(batch.to_vec(), None).await.unwrap();
    }
}

fn watch(app: &App, since: Option<Timestamp>) -> Monitored {
    let watch = Watch { model: "conversion".to_owned(), selector: "champion".to_owned(), since };
    app.monitor(&watch, &mut |_| Ok(())).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_is_held_to_its_training_and_to_what_came_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    (config.monitor.sample, config.monitor.window_decisions) = (1, 100);
    let clock = FixedClock::new(NOW);
    let app = Arc::new(App::open(config, clock.clone()).unwrap());
    app.publish(&watched(), "tests", "").unwrap();
    app.set_alias("conversion", "champion", 1, "tests", "a test").unwrap();

    // The same people as in training, of whom each decides twice.
    let long_ago = NOW.plus_millis(-20 * DAY_MS);
    let purchases = |person: usize| 1 + person % 5;
    let name = |person: usize| format!("u{person}");
    let history = (0..PEOPLE)
        .flat_map(|person| (0..purchases(person)).map(move |n| bought(&name(person), long_ago, n)));
    ingest(&app, history.collect()).await;
    for person in (0..PEOPLE).chain(0..PEOPLE) {
        decide_for(&app, &name(person)).await;
    }
    let young = watch(&app, None);
    assert_eq!((young.decisions, young.people, young.version), (800, PEOPLE as u64, 1));
    assert!(!young.drifted, "{young:?}");
    let outcomes = young.outcomes.unwrap();
    assert_eq!((outcomes.matured, outcomes.waiting), (0, PEOPLE as u64));
    assert_eq!(&*outcomes.positive_class, "purchase within 7d");
    let metrics = app.metrics().render();
    assert!(
        metrics.contains(r#"augur_model_drift_psi{model="conversion",input="purchase_count_30d"}"#),
        "{metrics}"
    );
    assert!(metrics.contains(r#"augur_model_unscored_total{model="churn"} 800"#), "{metrics}");

    // A week later it is known who bought: as many as was foretold.
    let later = NOW.plus_millis(8 * DAY_MS);
    clock.set(later);
    let came = (0..PEOPLE).filter(|person| {
        let group = PEOPLE as f64 / 5.0;
        (person / 5) as f64 + 0.5 < probability(purchases(*person)) * group
    });
    ingest(&app, came.map(|person| bought(&name(person), NOW.plus_millis(DAY_MS), 0)).collect()).await;
    ingest(&app, vec![bought("latest", later, 0)]).await;
    let mature = watch(&app, None);
    let outcomes = mature.outcomes.clone().unwrap();
    assert_eq!((outcomes.matured, outcomes.waiting), (PEOPLE as u64, 0));
    assert!((outcomes.expected - outcomes.observed).abs() < 0.01, "{outcomes:?}");
    assert!(!mature.drifted && outcomes.metrics.unwrap().roc_auc.unwrap() > 0.6, "{mature:?}");

    // Then only the best customers come.
    let best: Vec<usize> = (0..PEOPLE).filter(|person| purchases(*person) == 5).collect();
    for person in best.iter().cycle().take(150) {
        decide_for(&app, &name(*person)).await;
    }
    let changed = watch(&app, Some(later));
    assert!(changed.drifted && changed.drift.as_ref().unwrap().inputs[0].drifted, "{changed:?}");
    assert_eq!(changed.people, best.len() as u64);
    assert!(changed.notes.iter().any(|note| note.contains("`purchase_count_30d` drifted")));
    let unknown = Watch { model: "conversoin".to_owned(), selector: "champion".to_owned(), since: None };
    let error = app.monitor(&unknown, &mut |_| Ok(())).unwrap_err().to_string();
    assert!(error.contains("did you mean `conversion`?"), "{error}");
    Arc::into_inner(app).unwrap().close().unwrap();
}
