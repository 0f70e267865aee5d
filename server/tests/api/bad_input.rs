//! Everything that callers get wrong: told precisely, nothing lost, and the next call is served.

use std::collections::BTreeMap;

use augur_domain::time::DAY_MS;
use augur_proto::v1;
use augur_proto::v1::{EventOutcome, QuarantineReason};
use prost::Message as _;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::main_path::raw_decide;
use crate::served::{Served, cart, event, number, purchase, subject, text};

/// The status must have this code and say all of these.
fn check(name: &str, status: &Status, code: Code, parts: &[&str]) {
    assert_eq!(status.code(), code, "{name}: {status:?}");
    for part in parts {
        assert!(status.message().contains(part), "{name}: {}\nlacks {part}", status.message());
    }
    if code == Code::InvalidArgument {
        let details = status.get_error_details();
        let undecodable = status.message().contains("not a valid message");
        assert!(undecodable || details.bad_request().is_some(), "{name}: no field violation");
    }
}

fn with_context(name: &str, value: v1::Value) -> v1::DecideRequest {
    let mut request = cart("ada", 60.0);
    request.context.insert(name.to_owned(), value);
    request
}

#[tokio::test]
async fn bad_decide_requests() {
    let served = Served::start().await;
    let long = "x".repeat(300);
    let empty_subject = Some(v1::Subject { id: None });
    let many: BTreeMap<String, v1::Value> = (0..200).map(|n| (format!("c{n}"), number(1.0))).collect();
    let nothing = v1::Value { kind: None };
    let huge = v1::Value { kind: Some(v1::value::Kind::Integer(i64::MAX)) };
    let point = |point: &str| v1::DecideRequest { decision_point: point.to_owned(), ..cart("ada", 60.0) };
    let cases: Vec<(&str, v1::DecideRequest, Code, &[&str])> = vec![
        (
            "no subject",
            v1::DecideRequest { subject: None, ..cart("", 1.0) },
            Code::InvalidArgument,
            &["subject: nobody is named", "user_id, anonymous_id"],
        ),
        (
            "no id",
            v1::DecideRequest { subject: empty_subject, ..cart("", 1.0) },
            Code::InvalidArgument,
            &["subject: nobody is named"],
        ),
        ("empty id", cart("", 60.0), Code::InvalidArgument, &["subject.user_id: an id of 0 bytes"]),
        ("long id", cart(&long, 60.0), Code::InvalidArgument, &["300 bytes", "1 to 256"]),
        ("no point", point(""), Code::NotFound, &["decision point `` is not known", "cart_page"]),
        ("misspelt point", point("card_page"), Code::NotFound, &["did you mean `cart_page`?"]),
        (
            "foreign point",
            point("zzz"),
            Code::NotFound,
            &["the policy has cart_page, home_page, weekly_email"],
        ),
        (
            "misspelt context",
            with_context("cart_valu", number(1.0)),
            Code::InvalidArgument,
            &["context.cart_valu", "did you mean `cart_value`?"],
        ),
        (
            "undeclared context",
            with_context("zzz", number(1.0)),
            Code::InvalidArgument,
            &["context.zzz", "one of cart_value, country"],
        ),
        (
            "text for a number",
            with_context("cart_value", text("60")),
            Code::InvalidArgument,
            &["context.cart_value: a text; expected a number"],
        ),
        (
            "number for a text",
            with_context("country", number(49.0)),
            Code::InvalidArgument,
            &["context.country: a number; expected a text"],
        ),
        (
            "not a number",
            with_context("cart_value", number(f64::NAN)),
            Code::InvalidArgument,
            &["context.cart_value: NaN"],
        ),
        (
            "infinite",
            with_context("cart_value", number(f64::INFINITY)),
            Code::InvalidArgument,
            &["context.cart_value: inf"],
        ),
        (
            "no kind",
            with_context("cart_value", nothing),
            Code::InvalidArgument,
            &["context.cart_value", "no kind set"],
        ),
        (
            "inexact integer",
            with_context("cart_value", huge),
            Code::InvalidArgument,
            &["context.cart_value", "2^53"],
        ),
        (
            "long text",
            with_context("country", text(&"x".repeat(9_000))),
            Code::InvalidArgument,
            &["9000 bytes of text"],
        ),
        (
            "much context",
            v1::DecideRequest { context: many, ..cart("ada", 1.0) },
            Code::InvalidArgument,
            &["context: 200 entries"],
        ),
    ];
    assert!(cases.len() >= 17);
    for (name, request, code, parts) in cases {
        let status = served.decisions().decide(request).await.unwrap_err();
        check(name, &status, code, parts);
    }
    // None of them left a trace, and the next one is number one.
    let decided = served.decide(cart("ada", 60.0)).await;
    let request = v1::ExplainRequest { decision_id: decided.decision_id };
    assert_eq!(served.decisions().explain(request).await.unwrap().into_inner().record.unwrap().sequence, 1);
    served.stop().await;
}

#[tokio::test]
async fn bad_bytes_and_sizes() {
    let served = Served::start().await;
    let status = raw_decide(&served.channel, vec![0xff, 0xff, 0xff]).await.unwrap_err();
    check("garbage", &status, Code::InvalidArgument, &["not a valid message"]);
    let mut cut = cart("ada", 60.0).encode_to_vec();
    cut.truncate(cut.len() - 3);
    let status = raw_decide(&served.channel, cut).await.unwrap_err();
    check("cut", &status, Code::InvalidArgument, &["not a valid message"]);
    let status = raw_decide(&served.channel, vec![0; 300 << 10]).await.unwrap_err();
    check("too large", &status, Code::OutOfRange, &["message length too large"]);
    let huge = v1::Event { event: "x".repeat(5 << 20), ..event("m", "ada", "x", 0) };
    let status = served.events().ingest(v1::IngestRequest { events: vec![huge], sent_at: None }).await;
    check("too large a batch", &status.unwrap_err(), Code::OutOfRange, &["message length too large"]);
    served.decide(cart("ada", 60.0)).await;
    served.stop().await;
}

#[tokio::test]
async fn bad_events_are_set_aside_one_by_one_and_their_neighbours_count() {
    use QuarantineReason as Reason;
    let served = Served::start().await;
    let at = |seconds, nanos| Some(prost_timestamp(seconds, nanos));
    let good = || purchase("good", "ada", 5.0);
    let property = |value| BTreeMap::from([("value".to_owned(), value)]);
    let cases: Vec<(&str, v1::Event, Reason, &str)> = vec![
        (
            "no message id",
            v1::Event { message_id: String::new(), ..good() },
            Reason::MissingField,
            "message_id",
        ),
        (
            "long message id",
            v1::Event { message_id: "x".repeat(257), ..good() },
            Reason::TooLarge,
            "message_id",
        ),
        ("nobody", v1::Event { user_id: String::new(), ..good() }, Reason::MissingField, "user_id"),
        ("long user", v1::Event { user_id: "x".repeat(257), ..good() }, Reason::TooLarge, "user_id"),
        ("no name", v1::Event { event: String::new(), ..good() }, Reason::MissingField, "event"),
        ("escape", v1::Event { event: "\u{1b}[31m".to_owned(), ..good() }, Reason::InvalidName, "event"),
        ("kind", v1::Event { r#type: 77, ..good() }, Reason::UnsupportedKind, "type"),
        (
            "nan",
            v1::Event { properties: property(number(f64::NAN)), ..good() },
            Reason::InvalidValue,
            "properties.value",
        ),
        (
            "long text",
            v1::Event { properties: property(text(&"x".repeat(9_000))), ..good() },
            Reason::TooLarge,
            "properties.value",
        ),
        (
            "future",
            v1::Event { timestamp: at(4_070_908_800, 0), ..good() },
            Reason::TooFarInFuture,
            "timestamp",
        ),
        ("nanos", v1::Event { timestamp: at(0, -1), ..good() }, Reason::InvalidValue, "timestamp"),
        ("late", event("m", "ada", "purchase", 401 * DAY_MS), Reason::TooLate, "timestamp"),
    ];
    let mut batch: Vec<v1::Event> = cases.iter().map(|(_, event, ..)| event.clone()).collect();
    batch.insert(6, good());
    let request = v1::IngestRequest { events: batch, sent_at: None };
    let mut results = served.events().ingest(request).await.unwrap().into_inner().results;
    assert_eq!(results.remove(6).outcome(), EventOutcome::Accepted);
    for (result, (name, _, reason, field)) in results.iter().zip(&cases) {
        assert_eq!(result.outcome(), EventOutcome::Quarantined, "{name}");
        assert_eq!((result.reason(), &*result.field), (*reason, *field), "{name}: {result:?}");
        assert!(result.detail.contains("expected"), "{name}: {result:?}");
    }
    assert_eq!(served.feature("ada", "revenue_30d").await.1, Some(5.0));
    let listed = served
        .events()
        .list_quarantine(v1::ListQuarantineRequest { limit: 100, ..Default::default() })
        .await
        .unwrap();
    let listed = listed.into_inner().events;
    assert_eq!(listed.len(), cases.len());
    let kept: Vec<&v1::Event> = listed.iter().filter_map(|entry| entry.event.as_ref()).collect();
    let nameless = |event: &v1::Event| v1::Event {
        message_id: String::new(),
        user_id: String::new(),
        anonymous_id: String::new(),
        ..event.clone()
    };
    let mut cases = cases.iter().filter(|(name, ..)| *name != "nan");
    assert!(cases.all(|(_, event, ..)| kept.contains(&&nameless(event))));
    served.stop().await;
}

fn prost_timestamp<T: prost::Message + Default>(seconds: i64, nanos: i32) -> T {
    // The wire type belongs to a crate that these tests need for nothing else.
    let mut bytes = vec![0x08];
    prost::encoding::encode_varint(seconds.cast_unsigned(), &mut bytes);
    bytes.push(0x10);
    prost::encoding::encode_varint(i64::from(nanos).cast_unsigned(), &mut bytes);
    T::decode(bytes.as_slice()).unwrap()
}

#[tokio::test]
async fn bad_calls_of_the_other_services() {
    let served = Served::start().await;
    let events = (0..2_501).map(|n| event(&n.to_string(), "ada", "x", 0)).collect();
    let status = served.events().ingest(v1::IngestRequest { events, sent_at: None }).await.unwrap_err();
    check("large batch", &status, Code::InvalidArgument, &["events: 2501 events", "at most 2500"]);
    let request = v1::IngestRequest { events: vec![], sent_at: Some(prost_timestamp(0, -5)) };
    let status = served.events().ingest(request).await.unwrap_err();
    check("sent_at", &status, Code::InvalidArgument, &["sent_at: seconds=0 nanos=-5"]);
    let status = served
        .events()
        .list_quarantine(v1::ListQuarantineRequest { limit: 1_001, ..Default::default() })
        .await
        .unwrap_err();
    check("long listing", &status, Code::InvalidArgument, &["limit: 1001", "at most 1000"]);

    let request = v1::GetFeaturesRequest {
        subject: subject("ada"),
        features: vec!["purchase_30d".to_owned()],
        ..v1::GetFeaturesRequest::default()
    };
    let status = served.features().get_features(request).await.unwrap_err();
    check(
        "feature",
        &status,
        Code::InvalidArgument,
        &["features[0]: there is no feature `purchase_30d`", "did you mean `purchases_30d`?"],
    );
    let request =
        v1::GetFeaturesRequest { subject: None, features: vec![], ..v1::GetFeaturesRequest::default() };
    let status = served.features().get_features(request).await.unwrap_err();
    check("features of nobody", &status, Code::InvalidArgument, &["subject: nobody is named"]);
    let many = |count: usize| (0..count).map(|n| subject(&n.to_string()).unwrap()).collect::<Vec<_>>();
    let request = v1::BatchGetFeaturesRequest {
        subjects: many(1_001),
        features: vec![],
        ..v1::BatchGetFeaturesRequest::default()
    };
    let status = served.features().batch_get_features(request).await.unwrap_err();
    check("many subjects", &status, Code::InvalidArgument, &["subjects: 1001 subjects", "at most 1000"]);

    for id in ["", "zz", "00"] {
        let request = v1::ExplainRequest { decision_id: id.to_owned() };
        let status = served.decisions().explain(request).await.unwrap_err();
        check("decision id", &status, Code::InvalidArgument, &["decision_id", "32 hexadecimal digits"]);
    }
    let request = v1::ExplainRequest { decision_id: "0".repeat(32) };
    let status = served.decisions().explain(request).await.unwrap_err();
    check("unknown decision", &status, Code::NotFound, &["decision `00000000000000000000000000000000`"]);
    let request = v1::TailDecisionsRequest { from_sequence: 9, limit: 0, follow: true };
    let status = served.log().tail_decisions(request).await.unwrap_err();
    check("beyond the log", &status, Code::InvalidArgument, &["from_sequence: 9", "at most 1"]);

    let alias = |model: &str, version, reason: &str| v1::SetAliasRequest {
        model: model.to_owned(),
        alias: "champion".to_owned(),
        version,
        reason: reason.to_owned(),
        moved_by: "tests".to_owned(),
    };
    let status = served.models().set_alias(alias("churn", 1, " ")).await.unwrap_err();
    check("no reason", &status, Code::InvalidArgument, &["reason: it is empty"]);
    let status = served.models().set_alias(alias("churn", 1, "why")).await.unwrap_err();
    check("no model", &status, Code::NotFound, &["model `churn` is not known"]);
    let status = served.models().set_alias(alias("../etc", 1, "why")).await.unwrap_err();
    check("bad model name", &status, Code::InvalidArgument, &["`../etc` cannot be used as model name"]);
    crate::served::publish(&served, &crate::served::artifact("churn", "revenue_30d", 1.0));
    let status = served.models().set_alias(alias("churn", 2, "why")).await.unwrap_err();
    check("no version", &status, Code::NotFound, &["has no version 2; its newest is 1"]);
    served.decide(cart("ada", 60.0)).await;
    served.stop().await;
}

#[tokio::test]
async fn overload_has_its_own_words() {
    let served = Served::start_with(|config| config.server.max_requests_in_flight = 1).await;
    let calls = (0..64).map(|_| {
        let mut client = served.decisions();
        tokio::spawn(async move { client.decide(cart("ada", 60.0)).await })
    });
    let mut refused = 0;
    for call in calls.collect::<Vec<_>>() {
        if let Err(status) = call.await.unwrap() {
            check("too many", &status, Code::ResourceExhausted, &["calls under way is at its limit of 1"]);
            assert!(status.get_error_details().retry_info().is_some());
            refused += 1;
        }
    }
    assert!(refused > 0, "64 calls at once and a limit of one");
    served.decide(cart("ada", 60.0)).await;
    served.stop().await;
}

#[tokio::test]
async fn a_full_queue_refuses_whole_batches_and_takes_them_later() {
    let served = Served::start_with(|config| config.ingest.queue_events = 2_500).await;
    let batch = |call: usize| (0..2_500).map(|n| event(&format!("{call}-{n}"), "ada", "x", 0)).collect();
    let calls = (0..8).map(|call| {
        let mut client = served.events();
        let request = v1::IngestRequest { events: batch(call), sent_at: None };
        tokio::spawn(async move { (call, client.ingest(request).await) })
    });
    let (mut accepted, mut refused) = (0, Vec::new());
    for task in calls.collect::<Vec<_>>() {
        let (call, answer) = task.await.unwrap();
        match answer {
            Ok(answer) => accepted += answer.into_inner().results.len(),
            Err(status) => {
                check("full", &status, Code::ResourceExhausted, &["the queue of events", "limit of 2500"]);
                assert!(status.get_error_details().retry_info().is_some());
                refused.push(call);
            }
        }
    }
    for call in refused {
        accepted += served.ingest(batch(call)).await.len();
    }
    assert_eq!(accepted, 20_000);
    let request = v1::GetFeaturesRequest {
        subject: subject("ada"),
        features: vec![],
        ..v1::GetFeaturesRequest::default()
    };
    let response = served.features().get_features(request).await.unwrap().into_inner();
    assert_eq!(response.events_applied, 20_000);
    served.stop().await;
}

#[tokio::test]
async fn a_record_that_cannot_be_logged_is_refused_or_answered_by_default_as_declared() {
    // A record larger than the whole queue of the log can never be written.
    let with_long_context = || {
        let mut request = cart("ada", 60.0);
        request.context.insert("country".to_owned(), text(&"x".repeat(8_000)));
        request
    };
    let served = Served::start_with(|config| config.decision_log.queue_bytes = 4 << 10).await;
    let status = served.decisions().decide(with_long_context()).await.unwrap_err();
    check("refused", &status, Code::ResourceExhausted, &["decision log"]);

    let served = served
        .restart_with(|config, _| {
            config.decision_log.on_unavailable = augur_server::config::OnUnavailable::Default;
        })
        .await;
    let response = served.decisions().decide(with_long_context()).await.unwrap();
    assert_eq!(response.metadata().get("augur-durability").unwrap(), "none");
    let answer = response.into_inner();
    assert_eq!((&*answer.action, answer.rung()), ("none", v1::Rung::DefaultAction));
    assert_eq!(answer.reasons[0].code, "LOG_UNAVAILABLE");
    served.stop().await;
}

#[tokio::test]
async fn features_and_policy_must_mean_the_same_context() {
    let served = Served::start_with(|config| {
        let features = std::fs::read_to_string(&config.data.features).unwrap();
        assert!(!features.contains("[context]"));
        config.data.features = config.data.dir.with_file_name("features.toml");
        std::fs::write(&config.data.features, features + "\n[context]\ncart_value = \"text\"\n").unwrap();
    })
    .await;
    let refused = served.decisions().decide(cart("ada", 60.0)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    for words in ["context.cart_value: a number", "`cart_page`", "expected a text", "`[context]`"] {
        assert!(refused.message().contains(words), "{refused}");
    }
    let mut without = cart("ada", 60.0);
    without.context.remove("cart_value");
    served.decide(without).await;
    served.stop().await;
}
