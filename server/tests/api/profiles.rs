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
