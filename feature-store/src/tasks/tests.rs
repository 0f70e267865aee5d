//! Labels from events, cutoffs and parts, and what a bad file is told.

use augur_domain::event::EventKind;
use augur_domain::feature::FeatureInfo;
use augur_domain::ids::MessageKey;
use augur_domain::value::Finite;
use augur_domain::{ContentHash, UserKey, Value, ValueType};

use super::*;

const EVENTS: &str = r#"
version = 1
[policy]
unknown_events = "reject"
[[event]]
name = "purchase"
[[event.property]]
name = "value"
type = "number"
[[event]]
name = "page_view"
"#;

fn parsed(text: &str) -> Result<Vec<Task>, Vec<Diagnostic>> {
    let taxonomy = Taxonomy::parse("events.toml", EVENTS).unwrap();
    let info = FeatureInfo {
        name: "visits_7d".into(),
        value_type: ValueType::Number,
        description: "".into(),
        events: None,
        definition: ContentHash::default(),
        unit: "".into(),
    };
    let features = FeatureSet::new(ContentHash::default(), vec![info]);
    let context =
        TaskContext { taxonomy: &taxonomy, features: &features, families: &["auto", "logistic", "boosted"] };
    parse("tasks.toml", text, context)
}

fn one(keys: &str) -> Task {
    let text = format!("version = 1\n[[task]]\nname = \"t\"\n{keys}\n");
    let mut tasks = parsed(&text).unwrap_or_else(|complaints| panic!("{complaints:?}"));
    tasks.remove(0)
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_unix_ms(ms)
}

fn event(name: &str, ms: i64) -> Event {
    Event {
        message_key: MessageKey::default(),
        user: UserKey::default(),
        kind: EventKind::Track,
        name: name.into(),
        event_time: at(ms),
        received_at: at(ms),
        properties: Vec::new(),
    }
}

fn purchase(ms: i64, value: f64) -> Event {
    let properties = vec![("value".into(), Value::Number(Finite::new(value).unwrap()))];
    Event { properties, ..event("purchase", ms) }
}

#[test]
fn a_label_looks_from_the_cutoff_to_the_horizon_and_nowhere_else() {
    let task = one("kind = \"conversion\"\nhorizon = \"100ms\"");
    for (name, ms, expected) in [
        ("purchase", 999, false),
        ("purchase", 1_000, true),
        ("purchase", 1_099, true),
        ("purchase", 1_100, false),
        ("page_view", 1_050, false),
    ] {
        let events = [event("page_view", 500), event(name, ms)];
        assert_eq!(task.label(at(1_000), events.iter()), Some(expected), "{name} at {ms}");
    }
    assert_eq!(task.positive_class(), "purchase within 100ms");
}

#[test]
fn churn_is_the_absence() {
    let task = one("kind = \"churn\"\nhorizon = \"100ms\"");
    let silent = [event("page_view", 500)];
    let back = [event("page_view", 500), event("search", 1_010)];
    assert_eq!(task.label(at(1_000), silent.iter()), Some(true));
    assert_eq!(task.label(at(1_000), back.iter()), Some(false));
    assert_eq!(task.positive_class(), "no event within 100ms");
}

#[test]
fn a_condition_says_which_events_decide() {
    let task = one("kind = \"conversion\"\nwhere = \"properties.value >= 20.0\"\nhorizon = \"100ms\"");
    let there = event("page_view", 500);
    assert_eq!(task.label(at(1_000), [there.clone(), purchase(1_010, 19.0)].iter()), Some(false));
    assert_eq!(task.label(at(1_000), [there.clone(), purchase(1_010, 20.0)].iter()), Some(true));
    assert_eq!(task.label(at(1_000), [there, event("purchase", 1_010)].iter()), Some(false));
    assert_eq!(task.positive_class(), "purchase with properties.value >= 20.0 within 100ms");
}

#[test]
fn only_the_population_is_labelled() {
    let of = |keys: &str, events: &[Event]| {
        one(&format!("kind = \"churn\"\nhorizon = \"100ms\"\n{keys}")).label(at(1_000), events.iter())
    };
    assert_eq!(of("", &[event("page_view", 1_000)]), None, "a newcomer");
    assert_eq!(of("active = \"200ms\"", &[event("page_view", 799)]), None);
    assert_eq!(of("active = \"200ms\"", &[event("page_view", 800)]), Some(true));
    let bought = [event("page_view", 900), event("purchase", 999)];
    let buys_later = [event("page_view", 900), event("purchase", 1_000)];
    assert_eq!(of("has_done = [\"purchase\"]", &bought), Some(true));
    assert_eq!(of("has_done = [\"purchase\"]", &buys_later), None);
    assert_eq!(of("has_not_done = [\"purchase\"]", &bought), None);
    assert_eq!(of("has_not_done = [\"purchase\"]", &buys_later), Some(false));
}

#[test]
fn cutoffs_leave_the_horizon_and_parts_do_not_see_each_other() {
    let task = one("kind = \"churn\"\nhorizon = \"300ms\"\ncutoffs = 5");
    assert_eq!(task.cutoffs_between(at(0), at(1_000)), [at(100), at(400), at(700)]);
    assert_eq!(task.parts(&[at(100), at(400), at(700)]), Some((vec![at(100), at(400)], vec![at(700)])));
    assert_eq!(task.parts(&[at(700)]), None);
    assert!(task.cutoffs_between(at(800), at(1_000)).is_empty());
    // Closer together, labels of the last training cutoffs would look into the time of the test.
    let close =
        one("kind = \"churn\"\nhorizon = \"300ms\"\nevery = \"100ms\"\ncutoffs = 7\ntest_share = 0.3");
    let cutoffs = close.cutoffs_between(at(0), at(1_000));
    assert_eq!(cutoffs.len(), 7);
    let (train, test) = close.parts(&cutoffs).unwrap();
    assert_eq!((train, test), (vec![at(100), at(200), at(300)], vec![at(600), at(700)]));
    let from = one("kind = \"churn\"\nhorizon = \"300ms\"\ntest_from = \"1970-01-01T00:00:00.500Z\"");
    let (_, test) = from.parts(&[at(100), at(400), at(700)]).unwrap();
    assert_eq!(test, [at(700)]);
}

#[test]
fn the_canonical_text_is_a_declaration_of_the_same() {
    let keys = "kind = \"conversion\"\nwhere = 'properties.value > 1.0'\nhorizon = \"7d\"\nactive = \"30d\"\n\
                has_done = [\"page_view\"]\ncutoffs = 8\nevery = \"2d\"\ntest_share = 0.25\nseed = 7\n\
                family = \"boosted\"\npositive_weight = 2.0\nexclude = [\"visits_7d\"]\ngroup = \"user\"";
    let task = one(keys);
    let again = parsed(&format!("version = 1\n[[task]]\n{}\n", task.canonical_text())).unwrap().remove(0);
    assert_eq!(again, task);
    assert_eq!(again.canonical_text(), task.canonical_text());
}

#[test]
fn every_slip_is_told_with_its_place() {
    for (keys, told) in [
        ("kind = \"convertion\"", "tasks.toml:4:8: `kind` is `\"convertion\"`"),
        ("kind = \"churn\"\nhorizon = \"soon\"", "tasks.toml:5:11: `horizon` is `\"soon\"`"),
        ("kind = \"churn\"", "`horizon` is missing"),
        ("kind = \"churn\"\nhorizon = \"7d\"\nevents = \"x\"", "unknown key `events`"),
        ("kind = \"conversion\"\nevent = \"purchas\"\nhorizon = \"7d\"", "did you mean `purchase`?"),
        (
            "kind = \"conversion\"\nwhere = \"properties.valu > 1.0\"\nhorizon = \"7d\"",
            "tasks.toml:5:10: `properties.valu` is not a known name; did you mean `properties.value`?",
        ),
        ("kind = \"churn\"\nhorizon = \"7d\"\nexclude = [\"visits_7\"]", "did you mean `visits_7d`?"),
        ("kind = \"churn\"\nhorizon = \"7d\"\nfamily = \"boost\"", "`family` is `\"boost\"`"),
        ("kind = \"churn\"\nhorizon = \"7d\"\ncutoffs = 1", "a whole number from 2 to 365"),
        ("kind = \"churn\"\nhorizon = \"7d\"\ntest_share = 1.0", "0.01 to 0.9"),
        (
            "kind = \"churn\"\nhorizon = \"7d\"\nhas_done = [\"purchase\"]\nhas_not_done = [\"purchase\"]",
            "nobody is left",
        ),
        ("kind = \"churn\"\nhorizon = \"7d\"\nwhere = \"true\"", "`where` needs an `event`"),
    ] {
        let complaints = parsed(&format!("version = 1\n[[task]]\nname = \"t\"\n{keys}\n")).unwrap_err();
        let text: Vec<String> = complaints.iter().map(ToString::to_string).collect();
        assert!(text.iter().any(|line| line.contains(told)), "{keys}: {text:?}");
    }
    let twice = "version = 1\n[[task]]\nname = \"t\"\nkind = \"churn\"\nhorizon = \"7d\"\n\
                 [[task]]\nname = \"t\"\nkind = \"churn\"\nhorizon = \"7d\"\n";
    assert!(parsed(twice).unwrap_err()[0].to_string().contains("declared twice"));
}
