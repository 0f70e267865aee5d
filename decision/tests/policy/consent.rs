//! Consents and suppressions: asked first, and on every rung.

use augur_decision::{decide, decide_default};
use augur_domain::decision::{Availability, DecisionInputs, Person};
use augur_domain::{Decision, Reason, ReasonCode};
use proptest::prelude::*;

use crate::support::{inputs, load, loaded};

const POLICY: &str = r#"
version = 1
consent_from_request = true

[[decision_point]]
name = "here"
actions = ["mail", "both", "banner", "plain", "nothing"]
default_action = "nothing"
deadline = "20ms"

[[action]]
name = "mail"
channel = "email"
value = "4"
requires_consent = "marketing"

[[action]]
name = "both"
value = "3"
requires_consent = ["profiling", "marketing"]

[[action]]
name = "banner"
channel = "onsite"
value = "2"

[[action]]
name = "plain"
value = "1"

[[action]]
name = "nothing"
channel = "onsite"

[[rule]]
id = "mail_everybody"
when = "true"
then = "force"
actions = ["mail"]
reason = "EVERYBODY"
"#;

fn of(consents: &[(&str, bool)], suppressed: &[&str]) -> DecisionInputs {
    let person = Person {
        consents: consents.iter().map(|(purpose, granted)| ((*purpose).into(), *granted)).collect(),
        suppressed: suppressed.iter().map(|channel| (*channel).into()).collect(),
        ..Person::default()
    };
    DecisionInputs { person, ..inputs("here") }
}

fn reason(decision: &Decision, action: &str) -> Reason {
    let candidate = decision.candidates.iter().find(|candidate| &*candidate.action == action);
    candidate.unwrap().reason.clone()
}

#[test]
fn what_was_not_consented_to_or_is_suppressed_is_refused_and_not_even_forced() {
    let policy = loaded(POLICY);
    let unasked = decide(&policy, &of(&[], &[]));
    assert_eq!(&*unasked.action, "banner");
    assert_eq!(reason(&unasked, "mail"), Reason::with(ReasonCode::NoConsent, "marketing".into()));
    assert_eq!(reason(&unasked, "both"), Reason::with(ReasonCode::NoConsent, "marketing".into()));
    assert_eq!(unasked.candidates[0].value, None, "it is refused before values are asked");

    let denied = decide(&policy, &of(&[("marketing", false), ("profiling", true)], &[]));
    assert_eq!(reason(&denied, "mail"), Reason::with(ReasonCode::NoConsent, "marketing".into()));
    let one = decide(&policy, &of(&[("marketing", true)], &[]));
    assert_eq!((&*one.action, one.reasons[0].code), ("mail", ReasonCode::RuleForced));
    assert_eq!(reason(&one, "both"), Reason::with(ReasonCode::NoConsent, "profiling".into()));

    let all = [("marketing", true), ("profiling", true)];
    let no_mail = decide(&policy, &of(&all, &["email"]));
    assert_eq!(&*no_mail.action, "both");
    assert_eq!(reason(&no_mail, "mail"), Reason::with(ReasonCode::Suppressed, "email".into()));
    let nothing = decide(&policy, &of(&[], &["*"]));
    assert_eq!(&*nothing.action, "plain", "without a channel there is nothing to suppress");
    assert_eq!(reason(&nothing, "banner"), Reason::with(ReasonCode::Suppressed, "*".into()));
}

#[test]
fn who_cannot_be_read_is_given_what_needs_no_leave() {
    let policy = loaded(POLICY);
    let mut unread = of(&[("marketing", true), ("profiling", true)], &[]);
    unread.person.availability = Availability::DeadlineExceeded;
    let decision = decide(&policy, &unread);
    assert_eq!(&*decision.action, "plain");
    let because = |code, detail: &str| Reason::with(code, detail.into());
    let profile = "profile DEADLINE_EXCEEDED";
    assert_eq!(reason(&decision, "mail"), because(ReasonCode::NoConsent, &format!("marketing: {profile}")));
    assert_eq!(reason(&decision, "banner"), because(ReasonCode::Suppressed, &format!("onsite: {profile}")));
}

#[test]
fn a_decision_point_needs_what_its_refusable_actions_need() {
    let policy = loaded(POLICY);
    let needs = policy.point("here").unwrap().person_needs();
    let names = |names: &[std::sync::Arc<str>]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(names(needs.purposes()), ["marketing", "profiling"]);
    assert_eq!(names(needs.channels()), ["email", "onsite"]);
    assert!(!needs.is_nothing() && !needs.time_zone() && policy.consent_from_request());
    assert_eq!(names(policy.purposes()), ["marketing", "profiling"]);
    let default_alone = POLICY
        .replace("[\"mail\", \"both\", \"banner\", \"plain\", \"nothing\"]", "[\"plain\", \"nothing\"]");
    // Without the actions that nobody offers any more.
    let (head, tail) = default_alone.split_once("[[action]]\nname = \"mail\"").unwrap();
    let kept = tail.split_once("[[action]]\nname = \"plain\"").unwrap().1;
    let kept = kept.split_once("[[rule]]").unwrap().0;
    let policy = loaded(&format!("{head}[[action]]\nname = \"plain\"{kept}"));
    assert!(policy.point("here").unwrap().person_needs().is_nothing());
}

#[test]
fn a_default_that_requires_a_consent_is_refused_at_load() {
    let bad =
        POLICY.replace("name = \"nothing\"\n", "name = \"nothing\"\nrequires_consent = \"marketing\"\n");
    let complaints = load(&bad).unwrap_err();
    assert!(
        complaints[0].message.contains("requires a consent, but a default is never refused"),
        "{complaints:?}"
    );
    let bad = POLICY.replace("consent_from_request = true", "consent_from_request = 1");
    assert!(load(&bad).unwrap_err()[0].message.contains("`consent_from_request` is the number `1`"));
    let bad = POLICY.replace("\"profiling\", \"marketing\"", "\"profiling\", \"profiling\"");
    assert!(load(&bad).unwrap_err()[0].message.contains("stands twice"));
}

fn any_person() -> impl Strategy<Value = Person> {
    let consents =
        prop::collection::btree_map(prop_oneof![Just("marketing"), Just("profiling")], any::<bool>(), 0..3);
    let suppressed = prop::collection::btree_set(prop_oneof![Just("*"), Just("email"), Just("onsite")], 0..3);
    let availability = prop_oneof![Just(Availability::Available), Just(Availability::Failed)];
    (availability, consents, suppressed).prop_map(|(availability, consents, suppressed)| Person {
        availability,
        consents: consents.into_iter().map(|(purpose, granted)| (purpose.into(), granted)).collect(),
        suppressed: suppressed.into_iter().map(Into::into).collect(),
        ..Person::default()
    })
}

proptest! {
    /// On every rung: with features, without them by rules or by default, and where nothing but the default is left.
    #[test]
    fn nobody_is_given_what_they_are_against(person in any_person(), features in 0..3_usize, by_default: bool) {
        let fallback = if by_default { "on_features_unavailable = \"default\"\n" } else { "" };
        let text = POLICY.replace("deadline = \"20ms\"\n", &format!("deadline = \"20ms\"\n{fallback}"));
        let policy = loaded(&text);
        let availability = [Availability::Available, Availability::Failed, Availability::DeadlineExceeded][features];
        let inputs = DecisionInputs { person, features_availability: availability, ..inputs("here") };
        let cause = Reason::new(ReasonCode::LogUnavailable);
        for decision in [decide(&policy, &inputs), decide_default(&policy, &inputs, cause)] {
            let person = &inputs.person;
            let readable = person.availability == Availability::Available;
            let consented = |purpose: &str| readable && person.consents.contains(&(purpose.into(), true));
            let wanted = |channel: &str| {
                readable && !person.suppressed.iter().any(|known| &**known == channel || &**known == "*")
            };
            let may = match &*decision.action {
                "mail" => consented("marketing") && wanted("email"),
                "both" => consented("marketing") && consented("profiling"),
                "banner" => wanted("onsite"),
                _ => true,
            };
            prop_assert!(may, "{} for {person:?}", decision.action);
        }
    }
}
