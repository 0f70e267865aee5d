//! Events in, features and decisions out, explained and in the log.

use augur_domain::time::{HOUR_MS, MINUTE_MS};
use augur_proto::v1;
use augur_proto::v1::{EventOutcome, FeatureStatus, Rung};
use prost::Message as _;
use tonic::transport::Channel;

use crate::served::{NOW, Served, artifact, cart, event, number, promote, purchase, subject};

#[tokio::test]
async fn an_event_becomes_a_feature_and_moves_a_decision() {
    let served = Served::start().await;
    assert_eq!(served.feature("ada", "purchases_30d").await, (FeatureStatus::NotFound, None));

    let before = served.decide(cart("ada", 60.0)).await;
    assert_eq!((&*before.action, before.rung()), ("free_shipping", Rung::RulesOnly));
    let codes: Vec<&str> = before.reasons.iter().map(|reason| &*reason.code).collect();
    assert!(codes.contains(&"MODEL_UNAVAILABLE") && codes.contains(&"USER_UNKNOWN"), "{codes:?}");

    let outcomes = served.ingest((0..6).map(|n| purchase(&format!("m{n}"), "ada", 10.0)).collect()).await;
    assert_eq!(outcomes, [EventOutcome::Accepted; 6]);
    assert_eq!(served.ingest(vec![purchase("m0", "ada", 10.0)]).await, [EventOutcome::Duplicate]);
    assert_eq!(served.feature("ada", "purchase_count_30d").await, (FeatureStatus::Present, Some(6.0)));
    assert_eq!(served.feature("ada", "revenue_30d").await, (FeatureStatus::Present, Some(60.0)));

    let after = served.decide(cart("ada", 60.0)).await;
    let discount = after.candidates.iter().find(|candidate| candidate.action == "discount_10").unwrap();
    let reason = discount.reason.as_ref().unwrap();
    assert_eq!((&*reason.code, &*reason.detail), ("RULE_DENIED", "REGULARS_PAY_FULL"));
    served.stop().await;
}

#[tokio::test]
async fn models_score_and_the_decision_is_explained() {
    let served = Served::start().await;
    served.ingest((0..3).map(|n| purchase(&format!("m{n}"), "ada", 10.0)).collect()).await;
    assert_eq!(
        promote(&served, &artifact("conversion", "purchase_count_30d", 0.5)).await.previous_version,
        0
    );
    promote(&served, &artifact("churn", "revenue_30d", -0.01)).await;

    let decision = served.decide(cart("ada", 60.0)).await;
    assert_eq!(decision.rung(), Rung::Champion);
    assert_eq!(decision.scores[0].margin, Some(0.5));
    assert_eq!(decision.decided_at, Some(augur_proto::convert::timestamp_to_wire(NOW)));
    assert_eq!(decision.propensity, 1.0);

    let request = v1::ExplainRequest { decision_id: decision.decision_id.clone() };
    let explained = served.decisions().explain(request).await.unwrap().into_inner();
    let record = explained.record.unwrap();
    assert_eq!((record.sequence, record.decision.as_ref()), (1, Some(&decision)));
    assert_eq!(record.context["cart_value"], number(60.0));
    assert_eq!(record.features.iter().find(|f| f.name == "purchase_count_30d").unwrap().value, Some(3.0));
    let first = &explained.contributions[0];
    assert_eq!((&*first.alias, &*first.feature, first.margin), ("conversion", "purchase_count_30d", 1.5));
    served.stop().await;
}

#[tokio::test]
async fn an_answer_says_what_has_happened_to_its_record() {
    use augur_decision_log::Durability;
    for (durability, told) in [(Durability::Written, "written"), (Durability::Synced, "synced")] {
        let served = Served::start_with(|config| config.decision_log.durability = durability).await;
        let response = served.decisions().decide(cart("ada", 60.0)).await.unwrap();
        assert_eq!(response.metadata().get("augur-durability").unwrap(), told);
        served.stop().await;
    }
}

#[tokio::test]
async fn the_log_keeps_the_request_as_received() {
    let served = Served::start().await;
    // A field that this version does not know must survive: it is part of what was asked.
    let mut bytes = cart("ada", 60.0).encode_to_vec();
    bytes.extend([0x9a, 0x06, 0x03, b'n', b'e', b'w']);
    let decided = raw_decide(&served.channel, bytes.clone()).await.unwrap();
    let reader = augur_decision_log::Reader::open(&served.dir().join("data/decisions")).unwrap();
    let records: Vec<_> = reader.map(|entry| entry.unwrap().1).collect();
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].request, bytes);
    assert_eq!(records[0].inputs.decision_id.to_string(), decided.decision_id);
    served.stop().await;
}

/// `Decide` with bytes of the test's own making.
pub(crate) async fn raw_decide(
    channel: &Channel,
    bytes: Vec<u8>,
) -> Result<v1::DecideResponse, tonic::Status> {
    let mut grpc = tonic::client::Grpc::new(channel.clone());
    grpc.ready().await.unwrap();
    let path = http::uri::PathAndQuery::from_static("/augur.v1.DecisionService/Decide");
    Ok(grpc.unary(tonic::Request::new(bytes), path, Raw).await?.into_inner())
}

#[derive(Clone, Copy)]
struct Raw;

impl tonic::codec::Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = v1::DecideResponse;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl tonic::codec::Encoder for Raw {
    type Item = Vec<u8>;
    type Error = tonic::Status;

    fn encode(
        &mut self,
        item: Vec<u8>,
        buffer: &mut tonic::codec::EncodeBuf<'_>,
    ) -> Result<(), tonic::Status> {
        bytes::BufMut::put_slice(buffer, &item);
        Ok(())
    }
}

impl tonic::codec::Decoder for Raw {
    type Item = v1::DecideResponse;
    type Error = tonic::Status;

    fn decode(
        &mut self,
        buffer: &mut tonic::codec::DecodeBuf<'_>,
    ) -> Result<Option<v1::DecideResponse>, tonic::Status> {
        Ok(Some(v1::DecideResponse::decode(buffer).unwrap()))
    }
}

#[tokio::test]
async fn the_log_is_tailed_from_the_start_and_as_it_grows() {
    let served = Served::start().await;
    let first = served.decide(cart("ada", 60.0)).await;
    let request = v1::TailDecisionsRequest { from_sequence: 1, limit: 2, follow: true };
    let mut stream = served.log().tail_decisions(request).await.unwrap().into_inner();
    let told = stream.message().await.unwrap().unwrap().record.unwrap();
    assert_eq!((told.sequence, told.decision), (1, Some(first)));
    let second = served.decide(cart("bob", 60.0)).await;
    let told = stream.message().await.unwrap().unwrap().record.unwrap();
    assert_eq!((told.sequence, told.decision), (2, Some(second)));
    assert!(stream.message().await.unwrap().is_none());
    served.stop().await;
}

#[tokio::test]
async fn features_are_described_batched_and_placed_in_time() {
    let served = Served::start().await;
    served.ingest(vec![event("m1", "ada", "Product Added", 10 * MINUTE_MS)]).await;
    let described = served.features().describe_features(v1::DescribeFeaturesRequest {}).await.unwrap();
    let described = described.into_inner();
    assert!(described.features.iter().any(|feature| feature.name == "add_to_carts_1h"));

    let request = v1::BatchGetFeaturesRequest {
        subjects: vec![subject("ada").unwrap(), subject("nobody").unwrap()],
        features: vec!["add_to_carts_1h".to_owned(), "seconds_since_last_event".to_owned()],
        ..v1::BatchGetFeaturesRequest::default()
    };
    let results = served.features().batch_get_features(request).await.unwrap().into_inner().results;
    let ada = &results[0].features;
    assert_eq!((ada[0].value, ada[1].value), (Some(1.0), Some(600.0)));
    let start =
        augur_proto::convert::timestamp_from_wire(ada[0].window_start.as_ref().unwrap(), "t").unwrap();
    let length_ms = NOW.millis_since(start);
    assert!((HOUR_MS..=HOUR_MS + HOUR_MS / 12).contains(&length_ms), "{length_ms}");
    assert_eq!(results[1].features[0].status(), FeatureStatus::NotFound);
    assert_eq!(results[0].feature_set, described.feature_set);
    assert_eq!(results[0].events_applied, 1);
    served.stop().await;
}

#[tokio::test]
async fn one_bad_subject_fails_alone_among_a_thousand() {
    let served = Served::start().await;
    served.ingest(vec![event("m1", "user 7", "Product Added", 10 * MINUTE_MS)]).await;
    let mut subjects: Vec<v1::Subject> = (0..1_000).map(|n| subject(&format!("user {n}")).unwrap()).collect();
    subjects[3] = subject("").unwrap();
    subjects[999] = v1::Subject { id: None };
    let request = v1::BatchGetFeaturesRequest {
        subjects,
        features: vec!["add_to_carts_1h".to_owned()],
        ..v1::BatchGetFeaturesRequest::default()
    };
    let answer = served.features().batch_get_features(request).await.unwrap().into_inner();
    assert_eq!(answer.results.len(), 1_000);
    for (index, result) in answer.results.iter().enumerate() {
        match index {
            3 | 999 => assert!(result.features.is_empty(), "{index}"),
            7 => assert_eq!((result.features[0].value, result.events_applied), (Some(1.0), 1)),
            _ => assert_eq!(result.features[0].status(), FeatureStatus::NotFound, "{index}"),
        }
    }
    let instants: std::collections::BTreeSet<i64> =
        answer.results.iter().filter_map(|result| Some(result.effective_time?.seconds)).collect();
    assert_eq!(instants.len(), 1, "all at one instant");
    let failures: Vec<_> =
        answer.failures.iter().map(|failure| (failure.index, failure.code.as_str())).collect();
    assert_eq!(failures, [(3, "INVALID_ARGUMENT"), (999, "INVALID_ARGUMENT")]);
    assert!(answer.failures[0].message.starts_with("subjects[3].user_id"), "{:?}", answer.failures[0]);
    served.stop().await;
}

#[tokio::test]
async fn health_reflection_and_metrics_answer() {
    let served = Served::start().await;
    served.decide(cart("ada", 60.0)).await;
    let mut health = tonic_health::pb::health_client::HealthClient::new(served.channel.clone());
    for service in ["", "augur.v1.DecisionService", "augur.v1.PolicyService"] {
        let request = tonic_health::pb::HealthCheckRequest { service: service.to_owned() };
        assert_eq!(health.check(request).await.unwrap().into_inner().status, 1, "{service}");
    }
    let page = get(&served, "/metrics").await;
    assert!(page.contains(r#"augur_decisions_total{point="cart_page",rung="RULES_ONLY"} 1"#), "{page}");
    assert!(
        page.contains(r#"augur_requests_total{method="/augur.v1.DecisionService/Decide",code="OK"} 1"#),
        "{page}"
    );
    assert!(get(&served, "/healthz").await.starts_with("HTTP/1.1 200"));
    assert!(get(&served, "/readyz").await.starts_with("HTTP/1.1 200"));
    served.stop().await;
}

/// A page of the HTTP listener, headers and all.
pub(crate) async fn get(served: &Served, path: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(served.running.http_address.unwrap()).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).await.unwrap();
    page
}
