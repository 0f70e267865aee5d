//! Looks count nothing and enrol nobody, and standings agree with decisions.

use augur_proto::v1;

use crate::served::{Served, subject};

const POLICY: &str = r#"
version = 1

[[decision_point]]
name = "here"
actions = ["offer", "none"]
default_action = "none"
deadline = "10s"

[[action]]
name = "offer"
value = "10.0"
caps = ["1 per 7d"]

[[action]]
name = "none"

[[experiment]]
name = "tone"
share = 1.0
[[experiment.arm]]
name = "dry"
[[experiment.arm]]
name = "warm"
payload.offer = { text = "hello" }
"#;

fn here(user: &str, peek: bool) -> v1::DecideRequest {
    let decision_point = "here".to_owned();
    v1::DecideRequest { subject: subject(user), decision_point, peek, ..v1::DecideRequest::default() }
}

#[tokio::test]
async fn a_look_counts_nothing_and_standings_agree_with_decisions() {
    let served = Served::start().await;
    let request = v1::ActivatePolicyRequest { policy_toml: POLICY.to_owned(), ..Default::default() };
    let response = served.policies().activate_policy(request).await.unwrap().into_inner();
    assert!(response.faults.is_empty(), "{:?}", response.faults);
    for user in ["ada", "bob", "eve"] {
        for _ in 0..3 {
            let look = served.decide(here(user, true)).await;
            assert_eq!(look.action, "offer", "a look uses up no cap");
            assert!(!look.assignments[0].enrolled);
        }
        let decision = served.decide(here(user, false)).await;
        assert!(decision.action == "offer" && decision.assignments[0].enrolled);
        assert_eq!(served.decide(here(user, true)).await.action, "none", "a look sees the caps");

        let request = v1::GetAssignmentsRequest { subject: subject(user) };
        let standings = served.decisions().get_assignments(request).await.unwrap().into_inner();
        assert_eq!(standings.policy_id, decision.policy_id);
        let [tone] = standings.standings.as_slice() else { panic!("{:?}", standings.standings) };
        assert_eq!((&*tone.standing, &*tone.arm), ("IN", &*decision.assignments[0].arm));

        let request = v1::ExplainRequest { decision_id: served.decide(here(user, true)).await.decision_id };
        let record = served.decisions().explain(request).await.unwrap().into_inner().record.unwrap();
        assert!(record.peek && record.user_key == standings.user_key);
    }
    served.stop().await;
}
