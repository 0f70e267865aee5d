//! What people say of themselves, over the wire.

use augur_domain::Timestamp;
use augur_proto::convert::timestamp_to_wire;
use augur_proto::v1;

use crate::served::{Served, subject};

async fn say(
    served: &Served,
    user: &str,
    change: impl FnOnce(&mut v1::UpdateProfileRequest),
) -> Result<v1::Profile, tonic::Status> {
    let mut request =
        v1::UpdateProfileRequest { subject: subject(user), ..v1::UpdateProfileRequest::default() };
    change(&mut request);
    Ok(served.profiles().update_profile(request).await?.into_inner().profile.unwrap())
}

async fn profile(served: &Served, user: &str) -> v1::Profile {
    let request = v1::GetProfileRequest { subject: subject(user) };
    served.profiles().get_profile(request).await.unwrap().into_inner().profile.unwrap()
}

#[tokio::test]
async fn a_profile_is_kept_across_a_restart_and_erased_but_for_opt_outs() {
    let served = Served::start().await;
    assert_eq!(profile(&served, "ada").await, v1::Profile::default());
    let said = say(&served, "ada", |change| {
        change.time_zone = Some("Europe/Oslo".to_owned());
        change.consents.insert("marketing".to_owned(), true);
        change.suppressions.insert("push".to_owned(), true);
    });
    let said = said.await.unwrap();
    let older = say(&served, "ada", |change| {
        change.at = Some(timestamp_to_wire(Timestamp::from_unix_ms(0)));
        change.consents.insert("marketing".to_owned(), false);
    });
    assert_eq!(older.await.unwrap(), said, "what was said before does not count when it comes late");

    let served = served.restart_with(|_, _| {}).await;
    assert_eq!(profile(&served, "ada").await, said);
    let request = v1::EraseUserRequest { subject: subject("ada"), forget_opt_outs: false };
    let receipt = served.privacy().erase_user(request.clone()).await.unwrap().into_inner();
    let of = |name: &str| receipt.stores.iter().find(|store| store.store == name).cloned();
    assert_eq!(of("profile").unwrap().records, 1);
    assert!(of("opt_outs").unwrap().note.starts_with("1 suppressed channels stay"));
    let left = profile(&served, "ada").await;
    assert_eq!((&*left.time_zone, left.consents.len(), left.suppressions["push"].value), ("", 0, true));
    let refused = say(&served, "ada", |change| change.consents = [("marketing".to_owned(), true)].into());
    assert_eq!(refused.await.unwrap_err().code(), tonic::Code::FailedPrecondition);
    say(&served, "ada", |change| change.suppressions = [("email".to_owned(), true)].into()).await.unwrap();
    let request = v1::EraseUserRequest { forget_opt_outs: true, ..request };
    served.privacy().erase_user(request).await.unwrap();
    assert_eq!(profile(&served, "ada").await, v1::Profile::default());
    served.stop().await;
}

const POLICY: &str = r#"
version = 1

[[decision_point]]
name = "mailing"
actions = ["offer", "nothing"]
default_action = "nothing"
deadline = "5s"

[[action]]
name = "offer"
channel = "email"
value = "1"
requires_consent = "marketing"

[[action]]
name = "nothing"
"#;

fn mailing(user: &str) -> v1::DecideRequest {
    v1::DecideRequest {
        subject: subject(user),
        decision_point: "mailing".to_owned(),
        ..v1::DecideRequest::default()
    }
}

/// The action given, and why the offer was not.
async fn offered(served: &Served, request: v1::DecideRequest) -> (String, String) {
    let answer = served.decide(request).await;
    let reason = answer.candidates[0].reason.clone().unwrap();
    (answer.action, format!("{} {}", reason.code, reason.detail))
}

async fn activate(served: &Served, policy_toml: String) {
    let request = v1::ActivatePolicyRequest { policy_toml, ..v1::ActivatePolicyRequest::default() };
    let response = served.policies().activate_policy(request).await.unwrap().into_inner();
    assert!(response.faults.is_empty(), "{:?}", response.faults);
}

#[tokio::test]
async fn a_decision_heeds_what_was_said_just_before_and_what_the_request_restricts() {
    let served = Served::start().await;
    activate(&served, POLICY.to_owned()).await;
    let no_consent = ("nothing".to_owned(), "NO_CONSENT marketing".to_owned());
    assert_eq!(offered(&served, mailing("ada")).await, no_consent);
    let granted = |granted| v1::DecideRequest {
        consents: [("marketing".to_owned(), granted)].into(),
        ..mailing("ada")
    };
    assert_eq!(offered(&served, granted(true)).await, no_consent, "the policy lets no request grant");

    say(&served, "ada", |change| change.consents = [("marketing".to_owned(), true)].into()).await.unwrap();
    assert_eq!(offered(&served, mailing("ada")).await.0, "offer");
    assert_eq!(offered(&served, granted(false)).await, no_consent);
    assert_eq!(offered(&served, mailing("ada")).await.0, "offer", "for that one decision alone");
    say(&served, "ada", |change| change.suppressions = [("*".to_owned(), true)].into()).await.unwrap();
    assert_eq!(offered(&served, mailing("ada")).await, ("nothing".to_owned(), "SUPPRESSED *".to_owned()));

    let typed = v1::DecideRequest { consents: [("marketting".to_owned(), false)].into(), ..mailing("ada") };
    let status = served.decisions().decide(typed).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::InvalidArgument);
    assert!(status.message().contains("did you mean `marketing`"), "{}", status.message());

    activate(&served, format!("consent_from_request = true\n{POLICY}")).await;
    let asked = |user: &str| v1::DecideRequest { subject: subject(user), ..granted(true) };
    assert_eq!(offered(&served, asked("bob")).await.0, "offer");
    say(&served, "bob", |change| change.consents = [("marketing".to_owned(), false)].into()).await.unwrap();
    assert_eq!(offered(&served, asked("bob")).await, no_consent, "a stored denial holds");

    let id = served.decide(mailing("ada")).await.decision_id;
    let request = v1::ExplainRequest { decision_id: id };
    let record = served.decisions().explain(request).await.unwrap().into_inner().record.unwrap();
    let person = record.person.unwrap();
    assert_eq!((person.consents["marketing"], person.suppressed), (true, vec!["*".to_owned()]));
    served.stop().await;
}

#[tokio::test]
async fn expressions_read_what_was_said_of_the_user_and_records_hold_what_they_read() {
    let served = Served::start().await;
    let policy = POLICY.replace(
        "requires_consent = \"marketing\"\n",
        "eligible_when = \"user.plan == 'gold' && user.time_zone != 'UTC'\"\n",
    );
    activate(&served, format!("{policy}\n[user]\nplan = \"text\"\nage = \"number\"\n")).await;
    let (action, why) = offered(&served, mailing("ada")).await;
    assert_eq!((&*action, why.starts_with("MISSING_INPUT")), ("nothing", true), "{why}");
    let text = |text: &str| v1::Value { kind: Some(v1::value::Kind::Text(text.to_owned())) };
    let traits = [("plan".to_owned(), text("gold")), ("shoe_size".to_owned(), text("40"))];
    say(&served, "ada", |change| {
        change.time_zone = Some("Europe/Oslo".to_owned());
        change.traits = traits.into();
    })
    .await
    .unwrap();
    let answer = served.decide(mailing("ada")).await;
    assert_eq!(answer.action, "offer");
    let request = v1::ExplainRequest { decision_id: answer.decision_id };
    let record = served.decisions().explain(request).await.unwrap().into_inner().record.unwrap();
    let person = record.person.unwrap();
    assert_eq!(person.traits.into_keys().collect::<Vec<_>>(), ["plan"], "what nothing reads is not recorded");
    assert_eq!(person.time_zone, "Europe/Oslo");
    served.stop().await;
}
