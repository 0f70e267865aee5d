//! What a read tells beside numbers: texts, features of the request, named sets, versions, errors of estimates.
//!
//! Not here: how kinds of features are computed (`feature-store`).

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use augur_decision_log::{Reader, codec};
use augur_domain::time::HOUR_MS;
use augur_proto::v1;
use augur_proto::v1::FeatureStatus;
use augur_server::offline::Label;
use augur_server::{App, Config, FixedClock};
use tonic::Code;

use crate::replay::decide_again;
use crate::served::{NOW, Served, cart, number, purchase, subject, text};

const ADDED: &str = r#"
[[feature]]
name = "country_now"
kind = "request"
type = "text"
expression = "context.country"
description = "Where the request comes from"

[[feature]]
name = "cart_per_purchase"
kind = "request"
expression = "context.cart_value / features.purchase_count_30d"
unit = "EUR"

[[feature]]
name = "fresh_purchases"
kind = "windowed_count"
events = ["purchase"]
windows = ["30d"]
max_age = "12h"

[[feature]]
name = "twice_fresh"
kind = "derived"
expression = "features.fresh_purchases_30d * 2.0"

[[feature_set]]
name = "checkout"
features = ["cart_per_purchase", "country_now", "purchases_30d"]
description = "What the checkout page shows"

[context]
cart_value = "number"
country = "text"
"#;

const RULE: &str = r#"
[[rule]]
id = "not_from_atlantis"
when = "features.country_now == 'AT'"
then = "deny"
actions = ["free_shipping", "discount_10", "recommend_items"]
points = ["cart_page"]
reason = "FROM_AUSTRIA"

[[rule]]
id = "fresh_buyers_wait"
when = "features.fresh_purchases_30d > 0.0 || features.twice_fresh > 0.0"
then = "deny"
actions = ["free_shipping", "discount_10", "recommend_items"]
points = ["cart_page"]
reason = "FRESH"
"#;

fn with_request_features(config: &mut Config, dir: &Path) {
    let grown = |from: &Path, name: &str, added: &str| {
        let file = dir.join(name);
        fs::write(&file, fs::read_to_string(from).unwrap() + added).unwrap();
        file
    };
    config.data.features = grown(&config.data.features, "features.toml", ADDED);
    config.data.policy = grown(&config.data.policy, "policy.toml", RULE);
}

async fn start() -> Served {
    let served = Served::start_with(|_| {}).await.restart_with(with_request_features).await;
    served.ingest(vec![purchase("1", "ada", 30.0), purchase("2", "ada", 10.0)]).await;
    served
}

fn from(country: &str) -> v1::DecideRequest {
    let mut request = cart("ada", 60.0);
    request.context.insert("country".to_owned(), text(country));
    request
}

#[tokio::test]
async fn features_of_the_request_decide_are_logged_and_decide_the_same_again() {
    let served = start().await;
    let refused = served.decide(from("AT")).await;
    assert_eq!(refused.action, "none");
    assert!(refused.candidates.iter().any(|one| one.reason.as_ref().unwrap().detail == "FROM_AUSTRIA"));
    let given = served.decide(from("DE")).await;
    assert_ne!(given.action, "none");

    let request = v1::ExplainRequest { decision_id: refused.decision_id };
    let record = served.decisions().explain(request).await.unwrap().into_inner().record.unwrap();
    let named = |name: &str| record.features.iter().find(|feature| feature.name == name).unwrap();
    assert_eq!(named("country_now").text_value.as_deref(), Some("AT"));
    assert_eq!((named("country_now").value, named("country_now").status()), (None, FeatureStatus::Present));
    assert_eq!(named("cart_per_purchase").value, Some(30.0));

    let data = served.dir().join("data");
    let mut texts = Vec::new();
    for entry in Reader::open(&data.join("decisions")).unwrap() {
        let (_, record) = entry.unwrap();
        let (mut recorded, mut again) = (Vec::new(), Vec::new());
        codec::encode_decision(&record.decision, &mut recorded);
        codec::encode_decision(&decide_again(&data, &record), &mut again);
        assert_eq!(recorded, again);
        texts.extend(record.inputs.features.texts.iter().map(|(_, text)| text.to_string()));
    }
    assert_eq!(texts, ["AT", "DE"]);
    served.stop().await;
}

#[tokio::test]
async fn a_named_set_is_answered_in_its_order_with_its_version() {
    let served = start().await;
    let described = served.features().describe_features(v1::DescribeFeaturesRequest {}).await.unwrap();
    let described = described.into_inner();
    let set = &described.named_sets[0];
    assert_eq!((set.name.as_str(), set.features.len()), ("checkout", 3));
    assert_eq!(described.context["country"], "text");

    let context =
        BTreeMap::from([("country".to_owned(), text("FR")), ("cart_value".to_owned(), number(8.0))]);
    let request = v1::GetFeaturesRequest {
        subject: subject("ada"),
        features: vec![],
        context: context.clone(),
        named_set: "checkout".to_owned(),
    };
    let answer = served.features().get_features(request).await.unwrap().into_inner();
    assert_eq!(answer.named_set_version, set.version);
    let names: Vec<&str> = answer.features.iter().map(|feature| feature.name.as_str()).collect();
    assert_eq!(names, ["cart_per_purchase", "country_now", "purchases_30d"]);
    assert_eq!((answer.features[0].value, answer.features[0].unit.as_str()), (Some(4.0), "EUR"));
    assert_eq!(answer.features[1].text_value.as_deref(), Some("FR"));
    for feature in &answer.features {
        let definition = described.features.iter().find(|known| known.name == feature.name).unwrap();
        assert_eq!((feature.definition.len(), &feature.definition), (12, &definition.definition));
    }

    // In a batch the request is the same for all; who is not known has what the request alone tells.
    let request = v1::BatchGetFeaturesRequest {
        subjects: vec![subject("ada").unwrap(), subject("nobody").unwrap()],
        features: vec![],
        context,
        named_set: "checkout".to_owned(),
    };
    let batch = served.features().batch_get_features(request).await.unwrap().into_inner();
    assert_eq!(batch.results[0], answer);
    let nobody = &batch.results[1].features;
    assert_eq!((nobody[0].status(), nobody[2].status()), (FeatureStatus::NotFound, FeatureStatus::NotFound));
    assert_eq!(nobody[1].text_value.as_deref(), Some("FR"));
    served.stop().await;
}

#[tokio::test]
async fn what_is_asked_must_be_declared() {
    let served = start().await;
    let ask = |named_set: &str, features: &[&str], context: &[(&str, v1::Value)]| v1::GetFeaturesRequest {
        subject: subject("ada"),
        features: features.iter().map(|name| (*name).to_owned()).collect(),
        context: context.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
        named_set: named_set.to_owned(),
    };
    for (request, expected) in [
        (
            ask("checkuot", &[], &[]),
            "named_set: there is no feature set `checkuot`; expected a known name; did you mean `checkout`?",
        ),
        (ask("checkout", &["purchases_30d"], &[]), "named_set: beside `features`"),
        (
            ask("", &[], &[("contry", text("DE"))]),
            "context.contry: the feature definitions do not declare it",
        ),
        (ask("", &[], &[("country", number(1.0))]), "context.country: a number; expected a text"),
    ] {
        let status = served.features().get_features(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().contains(expected), "{}", status.message());
    }
    // What is left out is missing.
    let answer = served.features().get_features(ask("checkout", &[], &[])).await.unwrap().into_inner();
    assert_eq!(answer.features[1].status(), FeatureStatus::NullValue);
    served.stop().await;
}

/// Ada bought a day ago, and after half a day nobody may use how often.
#[tokio::test]
async fn what_is_too_old_is_told_so_and_used_nowhere() {
    let served = start().await;
    let (old, derived) = (FeatureStatus::OutsideMaxAge, FeatureStatus::NullValue);
    let names = ["fresh_purchases_30d", "twice_fresh"].map(str::to_owned).to_vec();
    let statuses = |features: &[v1::FeatureValue]| -> Vec<(FeatureStatus, Option<f64>)> {
        features.iter().map(|feature| (feature.status(), feature.value)).collect()
    };
    let expected = [(old, Some(2.0)), (derived, None)];

    let request = v1::GetFeaturesRequest {
        subject: subject("ada"),
        features: names.clone(),
        ..v1::GetFeaturesRequest::default()
    };
    let answer = served.features().get_features(request).await.unwrap().into_inner();
    assert_eq!(statuses(&answer.features), expected);
    let request = v1::BatchGetFeaturesRequest {
        subjects: vec![subject("ada").unwrap()],
        features: names.clone(),
        ..v1::BatchGetFeaturesRequest::default()
    };
    let batch = served.features().batch_get_features(request).await.unwrap().into_inner();
    assert_eq!(statuses(&batch.results[0].features), expected);

    // The rule that reads them does not fire, and says what it missed; the record tells why.
    let decided = served.decide(from("DE")).await;
    assert!(decided.candidates.iter().all(|one| one.reason.as_ref().unwrap().detail != "FRESH"));
    let missed = "rule fresh_buyers_wait: features.fresh_purchases_30d";
    assert!(decided.reasons.iter().any(|reason| reason.code == "MISSING_INPUT" && reason.detail == missed));
    let request = v1::ExplainRequest { decision_id: decided.decision_id };
    let record = served.decisions().explain(request).await.unwrap().into_inner().record.unwrap();
    let logged: Vec<_> =
        record.features.into_iter().filter(|feature| names.contains(&feature.name)).collect();
    assert_eq!(statuses(&logged), expected);

    let mut config = Config::default();
    let served = served.restart_with(|known, _| config = known.clone()).await;
    let dir = served.ended().await;
    let data = dir.path().join("data");
    for entry in Reader::open(&data.join("decisions")).unwrap() {
        let (_, record) = entry.unwrap();
        assert_eq!(decide_again(&data, &record), record.decision);
    }
    let app = App::open(config, FixedClock::new(NOW)).unwrap();
    let user = app.user_key(augur_domain::ids::Subject::User("ada"));
    let at = |at| Label { user, at, outcome: Some(1.0) };
    let set = app.training_set(&[at(NOW.plus_millis(-12 * HOUR_MS)), at(NOW)]).unwrap();
    let column = |name: &String| set.columns.iter().position(|known| known == name).unwrap();
    let rows: Vec<Vec<Option<f64>>> =
        set.rows().map(|(values, ..)| names.iter().map(|name| values[column(name)]).collect()).collect();
    assert_eq!(rows, [vec![Some(2.0), Some(4.0)], vec![None, None]]);
    app.close().unwrap();
}
