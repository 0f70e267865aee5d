//! Many decisions in one call: every one answered or failed by itself, in order, logged, and held to caps.

use augur_proto::v1;
use augur_proto::v1::decide_result::Answer;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

use crate::served::{Served, cart};

fn requests(count: usize) -> Vec<v1::DecideRequest> {
    (0..count).map(|n| cart(&format!("user-{n}"), n as f64)).collect()
}

async fn batch(served: &Served, requests: Vec<v1::DecideRequest>) -> Vec<Answer> {
    let mut client = served.decisions().max_decoding_message_size(16 << 20);
    let answer = client.batch_decide(v1::BatchDecideRequest { requests }).await.unwrap().into_inner();
    answer.results.into_iter().map(|result| result.answer.unwrap()).collect()
}

#[tokio::test]
async fn a_batch_is_answered_in_order_and_faults_stay_alone() {
    let served = Served::start().await;
    let mut asked = requests(1_000);
    asked[7].decision_point = "no_such_place".to_owned();
    asked[9].subject = None;
    asked[11].context.insert("padding".to_owned(), crate::served::number(1.0));
    let answers = batch(&served, asked).await;
    assert_eq!(answers.len(), 1_000);
    let failure = |at: usize| match &answers[at] {
        Answer::Failure(failure) => (Code::from_i32(failure.code), failure.field.clone()),
        Answer::Decision(decision) => panic!("{decision:?}"),
    };
    assert_eq!(failure(7), (Code::NotFound, String::new()));
    assert_eq!(failure(9), (Code::InvalidArgument, "subject".to_owned()));
    assert_eq!(failure(11).0, Code::InvalidArgument);

    // Each was decided for the user and the context of its own place.
    for at in [0, 500, 999] {
        let Answer::Decision(decision) = &answers[at] else { panic!("{:?}", answers[at]) };
        let request = v1::ExplainRequest { decision_id: decision.decision_id.clone() };
        let record = served.decisions().explain(request).await.unwrap().into_inner().record.unwrap();
        assert_eq!(record.context["cart_value"], crate::served::number(at as f64));
    }
    let failed = answers.iter().filter(|answer| matches!(answer, Answer::Failure(_))).count();
    assert_eq!(failed, 3);

    for count in [0, 1_001] {
        let request = v1::BatchDecideRequest { requests: requests(count) };
        let status = served.decisions().batch_decide(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
    }
    served.stop().await;
}

#[tokio::test]
async fn a_stream_answers_more_than_fits_under_way_and_goes_on_after_a_fault() {
    let served = Served::start().await;
    let (sender, stream) = tokio::sync::mpsc::channel(1);
    let mut answers =
        served.decisions().decide_stream(ReceiverStream::new(stream)).await.unwrap().into_inner();
    let asking = tokio::spawn(async move {
        for (n, mut request) in requests(300).into_iter().enumerate() {
            if n == 100 {
                request.decision_point = "no_such_place".to_owned();
            }
            sender.send(v1::DecideStreamRequest { request: Some(request) }).await.unwrap();
        }
    });
    let mut told = Vec::new();
    while let Some(answer) = answers.message().await.unwrap() {
        told.push(matches!(answer.result.unwrap().answer.unwrap(), Answer::Decision(_)));
    }
    asking.await.unwrap();
    assert_eq!(told.len(), 300);
    assert_eq!(told.iter().position(|decided| !decided), Some(100));
    assert_eq!(told.iter().filter(|decided| !**decided).count(), 1);
    served.stop().await;
}
