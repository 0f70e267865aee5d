//! Rate limits over a socket: told, replaced while serving, and each for its own.

use augur_proto::v1;
use augur_server::Rate;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::served::{Served, cart};

fn rate(text: &str) -> Option<Rate> {
    Some(Rate::parse(text).unwrap())
}

#[tokio::test]
async fn callers_behind_a_proxy_have_their_own_limits_and_others_are_not_believed() {
    let served = Served::start_with(|config| config.limits.caller = rate("2 per 1h")).await;
    let call = |forwarded: &str| {
        let mut request = tonic::Request::new(cart("ada", 60.0));
        request.metadata_mut().insert("x-forwarded-for", forwarded.parse().unwrap());
        let mut client = served.decisions();
        async move { client.decide(request).await.map_err(|status| status.code()) }
    };
    for _ in 0..2 {
        call("192.0.2.1").await.unwrap();
        call("192.0.2.2").await.unwrap();
    }
    assert_eq!(call("192.0.2.1").await.unwrap_err(), Code::ResourceExhausted);
    assert_eq!(call("192.0.2.2, 192.0.2.1").await.unwrap_err(), Code::ResourceExhausted);
    call("192.0.2.1, 192.0.2.3").await.unwrap();
    served.stop().await;
}

#[tokio::test]
async fn a_limit_comes_and_goes_without_a_restart() {
    let served = Served::start().await;
    let mut config = served.config().clone();
    let reload = |config: &augur_server::Config| {
        let reloaded = served.running.reload(config);
        (reloaded.limits_changed, reloaded.needs_restart)
    };
    assert_eq!(reload(&config), (false, false));
    config.limits.methods = vec![("Decide".to_owned(), Rate::parse("1 per 1h").unwrap())];
    assert_eq!(reload(&config), (true, false));
    let answer = served.decisions().decide(cart("ada", 60.0)).await.unwrap();
    let told = |name| answer.metadata().get(name).unwrap().to_str().unwrap().to_owned();
    assert_eq!((told("x-ratelimit-limit"), told("x-ratelimit-remaining")), ("1".to_owned(), "0".to_owned()));
    let refused = served.decisions().decide(cart("ada", 60.0)).await.unwrap_err();
    assert_eq!(refused.metadata().get("augur-cause").unwrap(), "METHOD_LIMITED");
    assert!(
        refused.message().contains("all callers of this method together are at the limit of 1 per 1h"),
        "{refused}"
    );
    let delay = refused.get_error_details().retry_info().unwrap().retry_delay.unwrap();
    assert!((3_590..=3_600).contains(&delay.as_secs()), "{delay:?}");
    // Other methods are not concerned.
    served.feature("ada", "purchase_count_30d").await;
    config.limits.methods.clear();
    config.server.max_connections += 1;
    assert_eq!(reload(&config), (true, true));
    served.decide(cart("ada", 60.0)).await;
    served.stop().await;
}

#[tokio::test]
async fn decisions_for_one_user_are_limited_alone_and_in_batches() {
    let served = Served::start_with(|config| config.limits.user = rate("2 per 1h")).await;
    let requests = ["ada", "ada", "bob", "ada"].map(|user| cart(user, 60.0)).into();
    let batch = v1::BatchDecideRequest { requests };
    let results = served.decisions().batch_decide(batch).await.unwrap().into_inner().results;
    let codes: Vec<i32> = results
        .into_iter()
        .map(|result| match result.answer.unwrap() {
            v1::decide_result::Answer::Decision(_) => 0,
            v1::decide_result::Answer::Failure(failure) => failure.code,
        })
        .collect();
    assert_eq!(codes.iter().filter(|code| **code == Code::ResourceExhausted as i32).count(), 1, "{codes:?}");
    assert_eq!(codes[2], 0, "bob has a limit of his own");
    let refused = served.decisions().decide(cart("ada", 60.0)).await.unwrap_err();
    assert_eq!(refused.metadata().get("augur-cause").unwrap(), "USER_LIMITED");
    served.decide(cart("eve", 60.0)).await;
    served.stop().await;
}
