//! Outcomes: one answer each, on disk when answered, repetitions told, over a restart too.

use augur_decision_log::OutcomeReader;
use augur_domain::{DecisionId, OutcomeKind};
use augur_proto::v1;
use augur_proto::v1::OutcomeStatus;
use augur_proto::v1::outcome_service_client::OutcomeServiceClient;
use tonic::Code;

use crate::main_path::get;
use crate::served::{NOW, Served, cart};

fn outcome(id: &str, decision: &str, kind: v1::OutcomeKind) -> v1::Outcome {
    v1::Outcome {
        outcome_id: id.to_owned(),
        decision_id: decision.to_owned(),
        kind: kind as i32,
        value: None,
        occurred_at: None,
    }
}

async fn report(served: &Served, outcomes: Vec<v1::Outcome>) -> Vec<OutcomeStatus> {
    let mut client = OutcomeServiceClient::new(served.channel.clone());
    let answer = client.report_outcomes(v1::ReportOutcomesRequest { outcomes }).await.unwrap().into_inner();
    answer.results.iter().map(v1::OutcomeResult::status).collect()
}

#[tokio::test]
async fn outcomes_are_kept_once_and_read_while_the_server_runs() {
    let served = Served::start().await;
    let decision = served.decide(cart("ada", 60.0)).await.decision_id;
    let stranger = DecisionId::new(NOW, [9; 10]).to_string();
    let value = v1::Outcome { value: Some(12.5), ..outcome("o3", &decision, v1::OutcomeKind::Value) };
    let batch = vec![
        outcome("o1", &decision, v1::OutcomeKind::Delivered),
        outcome("o2", &stranger, v1::OutcomeKind::Clicked),
        outcome("o1", &decision, v1::OutcomeKind::Delivered),
        outcome("o4", &decision, v1::OutcomeKind::Value),
        value.clone(),
    ];
    let told = report(&served, batch.clone()).await;
    assert_eq!(
        told,
        [
            OutcomeStatus::Accepted,
            OutcomeStatus::UnknownDecision,
            OutcomeStatus::Duplicate,
            OutcomeStatus::Rejected,
            OutcomeStatus::Accepted
        ]
    );
    let kept = |served: &Served| -> Vec<_> {
        let reader = OutcomeReader::open(&served.dir().join("data/outcomes")).unwrap();
        reader.map(|found| found.unwrap().1).collect()
    };
    let records = kept(&served);
    assert_eq!(records.len(), 3);
    assert_eq!(
        (records[0].decision.to_string(), records[0].kind),
        (decision.clone(), OutcomeKind::Delivered)
    );
    assert_eq!(records[2].value.map(augur_domain::value::Finite::get), Some(12.5));

    // What was kept is known again after a restart; decisions from before it cannot be told apart.
    served.clock.set(NOW.plus_millis(1));
    let served = served.restart_with(|_, _| {}).await;
    assert_eq!(report(&served, vec![value]).await, [OutcomeStatus::Duplicate]);
    let older = outcome("o5", &decision, v1::OutcomeKind::Opened);
    assert_eq!(report(&served, vec![older]).await, [OutcomeStatus::Accepted]);
    assert_eq!(kept(&served).len(), 4);
    let metrics = get(&served, "/metrics").await;
    assert!(metrics.contains(r#"augur_outcomes_total{kind="VALUE",status="DUPLICATE"} 1"#), "{metrics}");
    served.stop().await;
}

#[tokio::test]
async fn a_batch_has_bounds_and_faults_have_fields() {
    let served = Served::start().await;
    let mut client = OutcomeServiceClient::new(served.channel.clone());
    for count in [0, 1_001] {
        let outcomes = vec![outcome("o", "d", v1::OutcomeKind::Opened); count];
        let status = client.report_outcomes(v1::ReportOutcomesRequest { outcomes }).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().contains("1 to 1000"), "{status}");
    }
    let outcomes = vec![outcome("o", "not an id", v1::OutcomeKind::Opened)];
    let answer = client.report_outcomes(v1::ReportOutcomesRequest { outcomes }).await.unwrap().into_inner();
    assert_eq!((&*answer.results[0].outcome_id, &*answer.results[0].field), ("o", "decision_id"));
    assert!(answer.results[0].detail.contains("the id that Decide gave"));
    served.stop().await;
}
