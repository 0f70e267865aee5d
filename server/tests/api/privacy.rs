//! Erasing users while serving.

use augur_proto::v1;
use augur_proto::v1::{EventOutcome, FeatureStatus};

use crate::served::{Served, cart, purchase, subject};

async fn erase(served: &Served, user: &str) -> v1::EraseUserResponse {
    let request = v1::EraseUserRequest { subject: subject(user), forget_opt_outs: false };
    served.privacy().erase_user(request).await.unwrap().into_inner()
}

#[tokio::test]
async fn an_erased_user_is_gone_after_a_restart_too_and_is_kept_out_until_readmitted() {
    let served = Served::start().await;
    served.ingest(vec![purchase("m1", "ada", 10.0), purchase("m2", "bob", 10.0)]).await;
    served.decide(cart("ada", 60.0)).await;
    let receipt = erase(&served, "ada").await;
    let stores: Vec<_> =
        receipt.stores.iter().map(|store| (&*store.store, store.erased, store.records)).collect();
    assert_eq!(
        stores,
        [
            ("features", true, 1),
            ("events", true, 1),
            ("dedup_marks", true, 1),
            ("exposures", true, 1),
            ("profile", true, 0),
            ("quarantine", true, 0),
            ("identity_links", true, 0),
            ("decision_log", false, 0),
            ("backups", false, 0),
        ]
    );
    for store in &receipt.stores {
        assert_eq!(store.erased, store.note.is_empty(), "{store:?}");
    }
    let served = served.restart_with(|_, _| {}).await;
    assert_eq!(served.feature("ada", "revenue_30d").await.0, FeatureStatus::NotFound);
    assert_eq!(served.feature("bob", "revenue_30d").await.0, FeatureStatus::Present);
    let outcomes = served.ingest(vec![purchase("m1", "ada", 10.0), purchase("m3", "bob", 1.0)]).await;
    assert_eq!(outcomes, [EventOutcome::Suppressed, EventOutcome::Accepted]);
    assert_eq!(erase(&served, "ada").await.erased_at, receipt.erased_at, "erased once");

    let request = v1::ReadmitUserRequest { subject: subject("ada") };
    let readmitted = served.privacy().readmit_user(request.clone()).await.unwrap().into_inner();
    assert!(readmitted.was_erased);
    assert_eq!(served.ingest(vec![purchase("m1", "ada", 10.0)]).await, [EventOutcome::Accepted]);
    assert!(!served.privacy().readmit_user(request).await.unwrap().into_inner().was_erased);
    served.stop().await;
}

#[tokio::test]
async fn whom_to_erase_must_be_said() {
    let served = Served::start().await;
    let status = served.privacy().erase_user(v1::EraseUserRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::InvalidArgument);
    assert!(status.message().contains("subject"), "{}", status.message());
    served.stop().await;
}
