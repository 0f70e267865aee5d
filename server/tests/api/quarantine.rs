//! Events that were set aside: found, mended, replayed once, given up.

use augur_domain::time::{DAY_MS, HOUR_MS};
use augur_proto::v1;
use augur_proto::v1::{EventOutcome, QuarantineReason as Reason};

use crate::main_path::get;
use crate::served::{NOW, Served, event, number, purchase, text};
use crate::taxonomy::files_with;

pub(crate) async fn list(served: &Served, request: v1::ListQuarantineRequest) -> v1::ListQuarantineResponse {
    served.events().list_quarantine(request).await.unwrap().into_inner()
}

pub(crate) async fn replay(
    served: &Served,
    numbers: &[u64],
    changes: &[(&str, Option<v1::Value>)],
    accept_late: bool,
) -> Vec<(EventOutcome, Reason)> {
    let changes = changes
        .iter()
        .map(|(field, value)| v1::EventChange { field: (*field).to_owned(), value: value.clone() });
    let request =
        v1::ReplayQuarantineRequest { numbers: numbers.to_vec(), changes: changes.collect(), accept_late };
    let replayed = served.events().replay_quarantine(request).await.unwrap().into_inner().events;
    replayed.iter().map(|event| (event.outcome(), event.reason())).collect()
}

#[tokio::test]
async fn a_mended_event_counts_once_and_leaves() {
    const ID: &str = "ada-whose-name-is-nowhere";
    let served = Served::start().await;
    let broken = v1::Event {
        properties: [("value".to_owned(), number(f64::NAN)), ("note".to_owned(), text("keep"))].into(),
        ..purchase("m1", ID, 0.0)
    };
    assert_eq!(served.ingest(vec![broken.clone()]).await, [EventOutcome::Quarantined]);
    let entry = list(&served, v1::ListQuarantineRequest::default()).await.events.remove(0);
    let kept = entry.event.unwrap();
    assert_eq!((&*kept.user_id, &*kept.message_id, kept.properties.len()), ("", "", 2));
    assert_eq!((entry.user_key.len(), entry.message_key.len()), (32, 32));
    assert_eq!(files_with(&served.dir().join("data"), ID), [""; 0], "no file names anybody");

    let stays = [(EventOutcome::Quarantined, Reason::InvalidValue)];
    assert_eq!(replay(&served, &[entry.number], &[], false).await, stays);
    let value = Some(number(12.0));
    let mended = replay(&served, &[entry.number, 99], &[("properties.value", value.clone())], false).await;
    let nothing = (EventOutcome::Unspecified, Reason::Unspecified);
    assert_eq!(mended, [(EventOutcome::Accepted, Reason::Unspecified), nothing]);
    assert_eq!(served.feature(ID, "revenue_30d").await.1, Some(12.0));
    assert_eq!(list(&served, v1::ListQuarantineRequest::default()).await.events, []);

    // The sender mends it too and sends it again: the same event.
    assert_eq!(served.ingest(vec![purchase("m1", ID, 12.0)]).await, [EventOutcome::Duplicate]);
    // As after a crash between storing and removing: set aside once more, it leaves as a duplicate.
    assert_eq!(served.ingest(vec![broken]).await, [EventOutcome::Quarantined]);
    let entry = list(&served, v1::ListQuarantineRequest::default()).await.events.remove(0);
    let again = replay(&served, &[entry.number], &[("properties.value", value)], false).await;
    assert_eq!(again, [(EventOutcome::Duplicate, Reason::Unspecified)]);
    assert_eq!(list(&served, v1::ListQuarantineRequest::default()).await.events, []);
    assert_eq!(served.feature(ID, "revenue_30d").await.1, Some(12.0));
    served.stop().await;
}

#[tokio::test]
async fn late_and_future_events_wait_to_be_replayed() {
    let served = Served::start().await;
    let late = event("m1", "ada", "purchase", 401 * DAY_MS);
    let future = event("m2", "ada", "purchase", -2 * HOUR_MS);
    let nobody = v1::Event { user_id: String::new(), ..event("m3", "", "login", HOUR_MS) };
    served.ingest(vec![late, future, nobody]).await;
    let metrics = get(&served, "/metrics").await;
    for reason in ["TOO_LATE", "TOO_FAR_IN_FUTURE", "MISSING_FIELD"] {
        assert!(metrics.contains(&format!("augur_quarantined_total{{reason=\"{reason}\"}} 1")), "{metrics}");
    }
    let listed = list(&served, v1::ListQuarantineRequest::default()).await.events;
    let numbers: Vec<u64> = listed.iter().map(|entry| entry.number).collect();
    let reasons: Vec<Reason> =
        replay(&served, &numbers, &[], false).await.into_iter().map(|(_, it)| it).collect();
    assert_eq!(reasons, [Reason::TooLate, Reason::TooFarInFuture, Reason::MissingField]);

    served.clock.set(NOW.plus_millis(3 * HOUR_MS));
    let accepted = (EventOutcome::Accepted, Reason::Unspecified);
    assert_eq!(replay(&served, &[numbers[1]], &[], false).await, [accepted], "its time has come");
    assert_eq!(replay(&served, &[numbers[0]], &[], true).await, [accepted], "allowed by hand");
    let named = replay(&served, &[numbers[2]], &[("user_id", Some(text("ada")))], false).await;
    assert_eq!(named, [accepted]);
    let user = augur_proto::v1::Subject { id: Some(v1::subject::Id::UserId("ada".to_owned())) };
    let request = v1::GetFeaturesRequest { subject: Some(user), ..Default::default() };
    assert!(served.features().get_features(request).await.is_ok());
    served.stop().await;
}

#[tokio::test]
async fn entries_are_filtered_paged_and_deleted() {
    let served = Served::start().await;
    for batch in 0..3 {
        let bad = |n: i64| match n % 2 {
            0 => event(&format!("{batch}-{n}"), "ada", "Order Completed", 500 * DAY_MS),
            _ => v1::Event { user_id: String::new(), ..event(&format!("{batch}-{n}"), "", "search", 0) },
        };
        served.ingest((0..10).map(bad).collect()).await;
        served.clock.set(NOW.plus_millis((batch + 1) * HOUR_MS));
    }
    let all = list(&served, v1::ListQuarantineRequest { limit: 1_000, ..Default::default() }).await;
    assert_eq!((all.events.len(), &*all.next_page_token), (30, ""));
    let late = v1::ListQuarantineRequest { reason: Reason::TooLate as i32, limit: 4, ..Default::default() };
    let mut seen = Vec::new();
    let mut request = late.clone();
    loop {
        let page = list(&served, request).await;
        assert!(page.events.len() <= 4 && page.events.iter().all(|entry| entry.reason() == Reason::TooLate));
        seen.extend(page.events.iter().rev().map(|entry| entry.number));
        if page.next_page_token.is_empty() {
            break;
        }
        request = v1::ListQuarantineRequest { page_token: page.next_page_token, ..late.clone() };
    }
    assert_eq!(seen.len(), 15);
    assert!(seen.is_sorted_by(|newer, older| newer > older));
    let named = v1::ListQuarantineRequest { event: "purchase".to_owned(), ..Default::default() };
    assert_eq!(list(&served, named).await.events.len(), 15, "in any spelling");
    let at = |ms| Some(augur_proto::convert::timestamp_to_wire(NOW.plus_millis(ms)));
    let second = v1::ListQuarantineRequest {
        received_from: at(HOUR_MS),
        received_until: at(2 * HOUR_MS),
        ..Default::default()
    };
    assert_eq!(list(&served, second).await.events.len(), 10);

    let request = v1::DeleteQuarantineRequest { numbers: seen.clone() };
    assert_eq!(served.events().delete_quarantine(request.clone()).await.unwrap().into_inner().deleted, 15);
    assert_eq!(served.events().delete_quarantine(request).await.unwrap().into_inner().deleted, 0);
    assert_eq!(list(&served, late).await.events, []);
    served.stop().await;
}

#[tokio::test]
async fn a_full_quarantine_tells_what_it_loses() {
    let served = Served::start_with(|config| config.ingest.quarantine_entries = 4).await;
    let bad = |n: u32| event(&n.to_string(), "ada", "bad\u{7}", 0);
    served.ingest((0..3).map(bad).collect()).await;
    assert!(get(&served, "/metrics").await.contains("augur_quarantine_evicted_total 0"));
    served.ingest((3..9).map(bad).collect()).await;
    assert!(get(&served, "/metrics").await.contains("augur_quarantine_evicted_total 5"));
    assert_eq!(list(&served, v1::ListQuarantineRequest::default()).await.events.len(), 4);
    served.stop().await;
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused() {
    let served = Served::start().await;
    let replay = |field: &str, value| v1::ReplayQuarantineRequest {
        numbers: vec![1],
        changes: vec![v1::EventChange { field: field.to_owned(), value }],
        accept_late: false,
    };
    served.ingest(vec![event("m", "ada", "bad\u{7}", 0)]).await;
    let number_of = list(&served, v1::ListQuarantineRequest::default()).await.events[0].number;
    for (field, value, told) in [
        ("colour", Some(text("red")), "or properties.NAME"),
        ("timestamp", Some(text("noon")), "RFC 3339"),
        ("user_id", Some(number(1.0)), "a text value"),
    ] {
        let request = v1::ReplayQuarantineRequest { numbers: vec![number_of], ..replay(field, value) };
        let status = served.events().replay_quarantine(request).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::InvalidArgument);
        assert!(status.message().contains(told), "{status}");
    }
    let many = v1::DeleteQuarantineRequest { numbers: vec![1; 1_001] };
    let status = served.events().delete_quarantine(many).await.unwrap_err();
    assert!(status.message().contains("at most 1000"), "{status}");
    for request in [
        v1::ListQuarantineRequest { reason: 999, ..Default::default() },
        v1::ListQuarantineRequest { page_token: "x".to_owned(), ..Default::default() },
    ] {
        let status = served.events().list_quarantine(request).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::InvalidArgument);
    }
    served.stop().await;
}
