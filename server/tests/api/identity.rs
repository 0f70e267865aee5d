//! Two ids, one person, while serving.

use augur_proto::v1;
use augur_proto::v1::{EventOutcome, LinkedBy, QuarantineReason};
use tonic::Code;

use crate::served::{Served, event, purchase, subject};

fn anonymous(id: &str) -> Option<v1::Subject> {
    Some(v1::Subject { id: Some(v1::subject::Id::AnonymousId(id.to_owned())) })
}

fn by_browser(event: v1::Event, browser: &str) -> v1::Event {
    v1::Event { user_id: String::new(), anonymous_id: browser.to_owned(), ..event }
}

fn login(message_id: &str, user: &str, browser: &str) -> v1::Event {
    v1::Event { anonymous_id: browser.to_owned(), ..event(message_id, user, "login", 0) }
}

fn alias(message_id: &str, user: &str, previous: &str) -> v1::Event {
    let r#type = v1::EventType::Alias.into();
    v1::Event { r#type, previous_id: previous.to_owned(), ..event(message_id, user, "", 0) }
}

async fn person(served: &Served, subject: Option<v1::Subject>) -> v1::DescribePersonResponse {
    let request = v1::DescribePersonRequest { subject };
    served.identity().describe_person(request).await.unwrap().into_inner()
}

#[tokio::test]
async fn a_login_makes_a_browser_the_users_and_an_operator_undoes_it() {
    let served = Served::start().await;
    served.ingest(vec![by_browser(purchase("m1", "", 10.0), "b-1"), purchase("m2", "ada", 5.0)]).await;
    let outcomes = served.ingest(vec![login("m3", "ada", "b-1"), purchase("m2", "ada", 5.0)]).await;
    assert_eq!(outcomes, [EventOutcome::Accepted, EventOutcome::Duplicate]);
    assert_eq!(served.feature("ada", "revenue_30d").await.1, Some(15.0));
    let of_browser = person(&served, anonymous("b-1")).await;
    assert_eq!(of_browser.person_key, person(&served, subject("ada")).await.id_key);
    assert_eq!((of_browser.links.len(), of_browser.links[0].by()), (1, LinkedBy::Device));
    // A retry under the old id, after a restart.
    let served = served.restart_with(|_, _| {}).await;
    let again = served.ingest(vec![by_browser(purchase("m1", "", 10.0), "b-1")]).await;
    assert_eq!(again, [EventOutcome::Duplicate]);

    let request = v1::UnlinkIdRequest { id: anonymous("b-1") };
    let undone = served.identity().unlink_id(request.clone()).await.unwrap().into_inner();
    assert_eq!((undone.was_linked, undone.moved_events), (true, 1));
    assert_eq!(served.feature("ada", "revenue_30d").await.1, Some(5.0));
    assert!(!served.identity().unlink_id(request).await.unwrap().into_inner().was_linked);

    let request = v1::LinkIdRequest { user_id: "ada".to_owned(), id: anonymous("b-1") };
    let made = served.identity().link_id(request.clone()).await.unwrap().into_inner();
    assert_eq!((made.was_linked, made.moved_events), (false, 1));
    assert!(served.identity().link_id(request).await.unwrap().into_inner().was_linked);
    let taken = v1::LinkIdRequest { user_id: "bob".to_owned(), id: anonymous("b-1") };
    let status = served.identity().link_id(taken).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    served.stop().await;
}

#[tokio::test]
async fn a_refused_link_is_set_aside_with_its_reason() {
    let served = Served::start_with(|config| config.identity.max_links_per_person = 1).await;
    let outcomes = served
        .ingest(vec![
            login("m1", "ada", "b-1"),
            login("m2", "ada", "b-2"),
            alias("m3", "bob", "rob"),
            alias("m4", "rob", "bob"),
        ])
        .await;
    let aside = EventOutcome::Quarantined;
    assert_eq!(outcomes, [EventOutcome::Accepted, aside, EventOutcome::Accepted, aside]);
    let request = v1::ListQuarantineRequest::default();
    let kept = served.events().list_quarantine(request).await.unwrap().into_inner();
    let mut reasons: Vec<_> = kept.events.iter().map(v1::QuarantinedEvent::reason).collect();
    reasons.sort_unstable_by_key(|reason| *reason as i32);
    assert_eq!(reasons, [QuarantineReason::LinkCycle, QuarantineReason::TooManyLinks]);
    served.stop().await;
}
