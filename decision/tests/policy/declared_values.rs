//! Values that requests and people carry: their declared types, the texts they may hold, and times where people are.
//!
//! Not here: mistakes of other kinds (`bad_policies`).

use augur_decision::decide;
use augur_domain::decision::{DecisionInputs, Person};
use augur_domain::{ReasonCode, Timestamp, Value, ValueType};

use crate::support::{inputs, load, loaded, number, set_context};

/// Line 20 is the condition of the one rule, which refuses `gift`.
fn policy(context: &str, when: &str) -> String {
    format!(
        r#"version = 1
[[decision_point]]
name = "cart_page"
actions = ["gift", "none"]
default_action = "none"
deadline = "50ms"
context = {{ cart_value = "number", {context} }}
[[action]]
name = "gift"
value_fallback = 1.0
[[action]]
name = "none"
[user]
plan = {{ type = "text", values = ["free", "pro"] }}
age = "number"
subscribed = "boolean"
since = "timestamp"
[[rule]]
id = "r"
when = "{when}"
then = "deny"
actions = ["gift"]
reason = "R"
"#
    )
}

fn complaints(context: &str, when: &str) -> Vec<String> {
    let complaints = load(&policy(context, when)).err().unwrap_or_default();
    complaints.iter().map(ToString::to_string).collect()
}

const COUNTRY: &str = "country = { type = \"text\", values = [\"DE\", \"AT\", \"CH\"] }";

fn person(traits: Vec<(&str, Value)>, time_zone: Option<&str>) -> DecisionInputs {
    let traits = traits.into_iter().map(|(name, value)| (name.into(), value)).collect();
    let mut inputs = inputs("cart_page");
    inputs.person = Person { time_zone: time_zone.map(Into::into), traits, ..Person::default() };
    inputs
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

#[test]
fn a_text_that_can_never_be_is_refused_at_load() {
    for (when, expected) in [
        (
            "context.country == 'DR'",
            "policy.toml:20:28: `when` of rule r at cart_page: `context.country` is never 'DR'; expected one of 'AT', \
             'CH', 'DE'; did you mean `DE`?",
        ),
        (
            "context.country in ['DE', 'GERMANY']",
            "policy.toml:20:35: `when` of rule r at cart_page: `context.country` is never 'GERMANY'; expected one of \
             'AT', 'CH', 'DE'",
        ),
        (
            "user.plan != 'prow'",
            "policy.toml:20:22: `when` of rule r at cart_page: `user.plan` is never 'prow'; expected one of 'free', \
             'pro'; did you mean `pro`?",
        ),
        (
            "user.plam == 'pro'",
            "policy.toml:20:9: `when` of rule r at cart_page: `user.plam` is not a known name; did you mean `user.plan`?",
        ),
        (
            "user.shoe_size > 40",
            "policy.toml:20:9: `when` of rule r at cart_page: `user.shoe_size` is not a known name; declare it in `[user]`",
        ),
        (
            "local_hour(now, 'Europe/Berlim') < 8",
            "policy.toml:20:25: `when` of rule r at cart_page: there is no time zone `Europe/Berlim`; expected an IANA \
             name such as 'Europe/Berlin'; did you mean `Europe/Berlin`?",
        ),
        (
            "local_hour(user.plan, user.time_zone) < 8",
            "policy.toml:20:20: `when` of rule r at cart_page: `local_hour` does not take a text; expected a timestamp",
        ),
    ] {
        assert_eq!(complaints(COUNTRY, when), [expected], "{when}");
    }
    assert_eq!(
        complaints(COUNTRY, "context.country in ['DE', 'AT'] && user.plan == 'pro'"),
        Vec::<String>::new()
    );
}

#[test]
fn mistakes_in_declarations_are_told_with_their_place() {
    for (context, expected) in [
        (
            "x = \"txt\"",
            "policy.toml:7:40: `txt` is not a type of context; expected one of `number`, `boolean`, `text`, `timestamp`, \
             `duration`; did you mean `text`?",
        ),
        (
            "x = { values = [\"a\"] }",
            "policy.toml:7:40: a declared value has no `type`; expected one of `number`, `boolean`, `text`, `timestamp`, \
             `duration`",
        ),
        (
            "x = { type = \"number\", values = [\"a\"] }",
            "policy.toml:7:68: `values` of a number; expected `type = \"text\"`",
        ),
        (
            "x = { type = \"text\", values = [] }",
            "policy.toml:7:66: `values` names nothing; expected at least one text",
        ),
        (
            "x = { type = \"text\", values = [\"a\", \"a\"] }",
            "policy.toml:7:72: `a` stands twice in `values`; expected each text once",
        ),
    ] {
        assert_eq!(complaints(context, "true"), [expected], "{context}");
    }
    let taken = policy(COUNTRY, "true").replace("age = ", "time_zone = ");
    let complaints = load(&taken).unwrap_err();
    assert_eq!(
        complaints[0].to_string(),
        "policy.toml:15:1: `time_zone` is known without being declared; expected no such line"
    );
}

#[test]
fn what_a_request_may_carry_is_what_was_declared() {
    let context = format!("{COUNTRY}, sent = \"timestamp\", left = \"duration\"");
    let policy = loaded(&policy(&context, "context.left > duration('1h')"));
    let point = policy.point("cart_page").unwrap();
    let carried: Vec<_> = point.context_schema().iter().map(|(name, carried)| (&**name, *carried)).collect();
    assert_eq!(
        carried,
        [
            ("cart_value", ValueType::Number),
            ("country", ValueType::Text),
            ("left", ValueType::Text),
            ("sent", ValueType::Text)
        ]
    );
    for (name, value, unmet) in [
        ("country", text("DE"), None),
        ("country", text("FR"), Some("one of AT, CH, DE")),
        ("country", text("DEE"), Some("one of AT, CH, DE; did you mean `DE`?")),
        ("left", text("90m"), None),
        ("left", text("soon"), Some("a length of time such as `90s`, `15m` or `7d`")),
        ("sent", text("2026-11-30T18:00:00+01:00"), None),
        ("sent", text("2026-11-30"), Some("an instant such as `2026-11-30T18:00:00Z`")),
        ("cart_value", text("5"), Some("a number")),
        ("cart_value", number(5.0), None),
    ] {
        assert_eq!(point.unmet(name, &value).as_deref(), unmet, "{name} {value:?}");
    }
}

#[test]
fn instants_and_lengths_of_time_are_read_from_text() {
    let context = "sent = \"timestamp\", left = \"duration\"";
    let policy = loaded(&policy(context, "now - context.sent > context.left"));
    let action = |sent: &str, left: &str| {
        let mut inputs = inputs("cart_page");
        set_context(&mut inputs, "sent", text(sent));
        set_context(&mut inputs, "left", text(left));
        let decision = decide(&policy, &inputs);
        (decision.action.to_string(), decision.reasons.len())
    };
    // Now is 2027-01-15T08:00:00Z.
    assert_eq!(action("2027-01-15T06:59:59Z", "1h"), ("none".to_owned(), 1));
    assert_eq!(action("2027-01-15T08:00:00+01:00", "1h"), ("gift".to_owned(), 1));
    // What says no instant is missing.
    assert_eq!(action("yesterday", "1h"), ("gift".to_owned(), 2));
}

#[test]
fn traits_of_people_are_read_by_their_declared_type() {
    let action = |when: &str, traits| {
        let decision = decide(&loaded(&policy(COUNTRY, when)), &person(traits, None));
        let missing = decision.reasons.iter().find(|why| why.code == ReasonCode::MissingInput);
        (decision.action.to_string(), missing.and_then(|why| why.detail.as_deref().map(str::to_owned)))
    };
    let plan = |plan: &str| vec![("plan", text(plan))];
    assert_eq!(action("user.plan == 'pro'", plan("pro")), ("none".to_owned(), None));
    assert_eq!(action("user.plan == 'pro'", plan("free")), ("gift".to_owned(), None));
    let missing = Some("rule r: user.plan".to_owned());
    assert_eq!(action("user.plan == 'pro'", vec![]), ("gift".to_owned(), missing.clone()));
    assert_eq!(action("user.plan == 'pro'", vec![("plan", number(1.0))]), ("gift".to_owned(), missing));
    let many = vec![
        ("age", number(30.0)),
        ("since", text("2020-01-01T00:00:00Z")),
        ("subscribed", Value::Boolean(true)),
    ];
    let when = "user.age > 18 && user.subscribed && now - user.since > duration('365d')";
    assert_eq!(action(when, many), ("none".to_owned(), None));
    let policy = loaded(&policy(COUNTRY, "true"));
    let declared: Vec<_> = policy.traits().map(|(name, carried)| (name.to_string(), carried)).collect();
    assert_eq!(declared[2], ("since".to_owned(), ValueType::Text));
}

#[test]
fn local_times_are_those_of_the_users_zone() {
    let when = "local_hour(now, user.time_zone) >= 18 && local_weekday(now, user.time_zone) == 5";
    let policy = loaded(&policy(COUNTRY, when));
    let decision = |now: &str, zone: Option<&str>| {
        let mut inputs = person(Vec::new(), zone);
        inputs.now = Timestamp::parse_rfc3339(now).unwrap();
        decide(&policy, &inputs)
    };
    // A Friday in summer: 18:00 in Berlin is 16:00 UTC.
    for (now, zone, action) in [
        ("2026-07-10T16:00:00Z", "Europe/Berlin", "none"),
        ("2026-07-10T15:59:59Z", "Europe/Berlin", "gift"),
        ("2026-12-11T16:00:00Z", "Europe/Berlin", "gift"),
        ("2026-12-11T17:00:00Z", "Europe/Berlin", "none"),
        ("2026-07-10T16:00:00Z", "America/New_York", "gift"),
        ("2026-07-11T02:00:00Z", "America/New_York", "none"),
    ] {
        assert_eq!(&*decision(now, Some(zone)).action, action, "{now} {zone}");
    }
    let why =
        |zone| decision("2026-07-10T16:00:00Z", zone).reasons.pop().unwrap().detail.unwrap().to_string();
    assert_eq!(why(None), "rule r: user.time_zone");
    assert_eq!(why(Some("Mars/Olympus")), "rule r: a time zone that does not exist");
    let sentence = policy.rule_in_english(&policy.rules()[0]);
    assert!(
        sentence.starts_with(
            "if the local hour of now in the user's time zone is at least 18 and the local day of the week (1 for \
             Monday) of now in the user's time zone is 5 then refuse gift"
        ),
        "{sentence}"
    );
}

/// One expression serves two decision points only if both declare the same texts.
#[test]
fn points_that_declare_other_texts_are_checked_on_their_own() {
    let second = "[[decision_point]]\nname = \"second\"\nactions = [\"gift\", \"none\"]\ndefault_action = \"none\"\n\
                  deadline = \"50ms\"\ncontext = { country = { type = \"text\", values = [\"FR\"] } }\n";
    let text = policy(COUNTRY, "context.country == 'DE'")
        .replace("[[action]]\nname = \"gift\"", &format!("{second}[[action]]\nname = \"gift\""));
    let complaints = load(&text).unwrap_err();
    assert_eq!(complaints.len(), 1);
    assert!(
        complaints[0].message.starts_with("`when` of rule r at second: `context.country` is never 'DE'"),
        "{complaints:?}"
    );
}
