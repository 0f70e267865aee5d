//! Who is let in: every method for every role, and every way to show a credential wrongly.

use std::collections::BTreeMap;

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::*;
use crate::access::keys::KeyFile;
use crate::access::roles::{Admission, Role, rule};
use crate::files::Layout;
use crate::services::described_methods;

const NOW: Timestamp = Timestamp::from_unix_ms(1_795_366_965_000);
const DECIDE: &str = "/augur.v1.DecisionService/Decide";

/// A gate with one key for each role and one that has none of its own, with the texts of the keys.
struct Held {
    _dir: tempfile::TempDir,
    gate: Gate,
    metrics: Arc<Metrics>,
    keys: Vec<(Role, String)>,
}

fn held() -> Held {
    let dir = tempfile::tempdir().unwrap();
    let file = KeyFile::of(&Layout::new(dir.path().join("data"))).unwrap();
    let make = |role: Role| {
        let made = file.create(role.word(), [role].into_iter().collect(), None, NOW).unwrap();
        (role, made.text)
    };
    let keys = Role::ALL.map(make).into();
    let ring = KeyRing::new(*file.hashing(), file.list().unwrap(), &BTreeMap::new());
    let identities = "version = 1\n[certificates]\n\"spiffe://shop/checkout\" = [\"decide\"]\n";
    let names = Names { identities: Identities::parse("i.toml", identities).unwrap(), tokens: None };
    let metrics = Arc::new(Metrics::new().unwrap());
    let gate = Gate::new(Some(Credentials::new(ring, names)), &metrics);
    Held { _dir: dir, gate, metrics, keys }
}

fn headers(values: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(AUTHORIZATION, value.parse().unwrap());
    }
    headers
}

fn bearer_of(key: &str) -> HeaderMap {
    headers(&[&format!("Bearer {key}")])
}

#[test]
fn every_method_takes_its_roles_and_no_other() {
    let held = held();
    let methods = described_methods();
    assert!(methods.len() > 40);
    for method in &methods {
        let Admission::OneOf(allowed) = rule(method).admission else { panic!("{method}") };
        for (role, key) in &held.keys {
            let admitted = held.gate.admit(method, &bearer_of(key), None, NOW);
            match admitted {
                Ok(principal) => {
                    assert!(allowed.contains(role), "{method} let {role} in");
                    assert_eq!(principal.name(), format!("key:{role}"));
                }
                Err(error) => {
                    assert!(!allowed.contains(role), "{method} kept {role} out");
                    let status = Status::from(error);
                    assert_eq!(status.code(), Code::PermissionDenied);
                    assert_eq!(status.get_error_details().error_info().unwrap().reason, "ROLE_MISSING");
                }
            }
        }
        let nobody = Status::from(held.gate.admit(method, &HeaderMap::new(), None, NOW).unwrap_err());
        assert_eq!(nobody.code(), Code::Unauthenticated, "{method}");
        assert_eq!(nobody.get_error_details().error_info().unwrap().reason, "CREDENTIAL_MISSING");
    }
    for unknown in ["/augur.v1.DecisionService/Undo", "/", "", "/grpc.health.v1.Health/Check/"] {
        for (_, key) in &held.keys {
            assert!(held.gate.admit(unknown, &bearer_of(key), None, NOW).is_err(), "{unknown}");
        }
    }
    assert!(held.gate.admit("/grpc.health.v1.Health/Check", &HeaderMap::new(), None, NOW).is_ok());
}

#[test]
fn whatever_is_wrong_with_a_credential_the_caller_is_told_the_same() {
    let held = held();
    let (_, key) = &held.keys[1];
    let unknown = format!("augur_000000000000_{}", "0".repeat(64));
    let other = format!("{}{}", &key[..key.len() - 1], if key.ends_with('0') { '1' } else { '0' });
    let huge = "a".repeat(1 << 20);
    let cases: [(&str, Vec<String>); 10] = [
        ("KEY_UNKNOWN", vec![format!("Bearer {unknown}")]),
        ("KEY_UNKNOWN", vec![format!("Bearer {other}")]),
        ("CREDENTIAL_MALFORMED", vec![format!("Bearer {huge}")]),
        ("CREDENTIAL_MALFORMED", vec![format!("Bearer augur_{huge}")]),
        ("CREDENTIAL_MALFORMED", vec!["Bearer".to_owned()]),
        ("CREDENTIAL_MALFORMED", vec!["Bearer  ".to_owned()]),
        ("CREDENTIAL_MALFORMED", vec![format!("Basic {key}")]),
        ("CREDENTIAL_MALFORMED", vec!["Basic bm9jb2xvbg".to_owned()]),
        ("CREDENTIAL_MALFORMED", vec![key.clone()]),
        ("CREDENTIAL_MALFORMED", vec![format!("Bearer {key}"), format!("Bearer {key}")]),
    ];
    let mut answers = Vec::new();
    for (cause, values) in &cases {
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        let shown = headers(&values);
        // A good certificate does not mend a bad key.
        let certificate = ["spiffe://shop/checkout".to_owned()];
        let error = held.gate.admit(DECIDE, &shown, Some(&certificate), NOW).unwrap_err();
        let status = Status::from(error);
        assert_eq!(status.code(), Code::Unauthenticated, "{cause}");
        answers.push((status.message().to_owned(), status.details().to_vec()));
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    let told = held.metrics.render();
    for line in [
        "augur_auth_failures_total{cause=\"KEY_UNKNOWN\"} 2",
        "augur_auth_failures_total{cause=\"CREDENTIAL_MALFORMED\"} 8",
    ] {
        assert!(told.contains(line), "{told}");
    }
}

#[test]
fn the_scheme_may_be_spelled_either_way_and_other_headers_say_nothing() {
    let held = held();
    let (_, key) = &held.keys[1];
    assert!(held.gate.admit(DECIDE, &headers(&[&format!("bEARER  {key} ")]), None, NOW).is_ok());
    let mut wrong = HeaderMap::new();
    wrong.insert("x-api-key", key.parse().unwrap());
    assert!(matches!(
        held.gate.admit(DECIDE, &wrong, None, NOW),
        Err(Error::Unauthenticated { shown: false })
    ));
}

#[test]
fn a_certificate_is_its_first_name_that_stands_for_roles() {
    let held = held();
    let nothing = HeaderMap::new();
    let proved = ["dns.example".to_owned(), "spiffe://shop/checkout".to_owned()];
    let principal = held.gate.admit(DECIDE, &nothing, Some(&proved), NOW).unwrap();
    assert_eq!(principal.name(), "certificate:spiffe://shop/checkout");
    let ingest = held.gate.admit("/augur.v1.EventService/Ingest", &nothing, Some(&proved), NOW);
    assert!(matches!(ingest, Err(Error::NotAllowed { .. })));
    for shown in [&proved[..1], &[]] {
        let refused = held.gate.admit(DECIDE, &nothing, Some(shown), NOW);
        assert!(matches!(refused, Err(Error::Unauthenticated { shown: true })));
    }
}

#[test]
fn an_open_gate_lets_everybody_do_everything() {
    let gate = Gate::new(None, &Arc::new(Metrics::new().unwrap()));
    for method in described_methods() {
        assert_eq!(*gate.admit(&method, &HeaderMap::new(), None, NOW).unwrap(), Principal::of_development());
    }
}

#[test]
fn faults_have_words_of_their_own() {
    let mut words = Fault::ALL.map(Fault::as_str).to_vec();
    words.sort_unstable();
    words.dedup();
    assert_eq!(words.len(), Fault::ALL.len());
}
