//! Mistakes in a policy file, and exactly what the author is told.
//!
//! Not here: mistakes inside expressions beyond what the policy adds to them.

use augur_decision::decide;

use crate::support::{EXAMPLE, inputs, load, loaded};

/// A small policy that loads. Line numbers in the cases count in it.
const BASE: &str = r#"version = 1
[[decision_point]]
name = "cart_page"
actions = ["gift", "none"]
default_action = "none"
deadline = "50ms"
models = ["conversion"]
[decision_point.context]
cart_value = "number"
[[decision_point]]
name = "search_page"
actions = ["gift", "none"]
default_action = "none"
deadline = "50ms"
[[model]]
name = "conversion"
[[action]]
name = "gift"
channel = "onsite"
value = "2.0"
caps = ["2 per 7d"]
[[action]]
name = "none"
[[rule]]
id = "big_carts"
when = "context.cart_value > 100.0"
then = "deny"
actions = ["gift"]
points = ["cart_page"]
reason = "BIG_CART"
"#;

/// What is replaced in the small policy, by what, and every complaint that follows.
const CASES: &[(&str, &str, &[&str])] = &[
    (
        "version = 1",
        "version = 2",
        &["policy.toml:1:11: version 2 of the policy format is not known; expected `version = 1`"],
    ),
    ("version = 1\n", "", &["policy.toml:1:1: the policy has no `version`; expected `version = 1`"]),
    (
        "version = 1\n",
        "version = 1\ndefault = \"none\"\n",
        &[
            "policy.toml:2:1: `default` is not a key of the policy; expected one of `version`, `decision_point`, `model`, `segment`, `action`, `channel`, `time`, `rule`, `table`, `user`, `explain`, `tests`, `holdout`, `layer`, `experiment`, `consent_from_request`",
        ],
    ),
    (
        "deadline = \"50ms\"\nmodels",
        "dead_line = \"50ms\"\nmodels",
        &[
            "policy.toml:2:1: decision_point has no `deadline`; expected a length of time up to `1m`, like `\"50ms\"`",
            "policy.toml:6:1: `dead_line` is not a key of decision_point; expected one of `name`, `actions`, `default_action`, `deadline`, `models`, `segments`, `context`, `on_features_unavailable`, `exploration`, `tie_break`, `fallback`, `time_needed`, `diversity`; did you mean `deadline`?",
        ],
    ),
    (
        "deadline = \"50ms\"\nmodels",
        "deadline = \"fifty\"\nmodels",
        &[
            "policy.toml:6:12: `deadline`: `fifty` is not a length of time; expected a positive whole number and a unit, like `250ms`, `30s`, `15m`, `12h` or `7d`",
        ],
    ),
    (
        "deadline = \"50ms\"\nmodels",
        "deadline = \"2m\"\nmodels",
        &[
            "policy.toml:6:12: `deadline` is longer than a minute; expected a length of time up to `1m`, like `\"50ms\"`",
        ],
    ),
    (
        "deadline = \"50ms\"\nmodels",
        "deadline = 50\nmodels",
        &[
            "policy.toml:6:12: `deadline` is the number `50`; expected a length of time, like `\"50ms\"` or `\"30m\"`",
        ],
    ),
    (
        "name = \"search_page\"",
        "name = \"Search page\"",
        &[
            "policy.toml:11:8: `Search page` in `name` is not a name; expected a lower-case letter, then at most 63 lower-case letters, digits or underscores",
        ],
    ),
    (
        "[[rule]]\n",
        "[[action]]\nname = \"none\"\n[[rule]]\n",
        &["policy.toml:25:8: the action `none` is declared twice; expected another name"],
    ),
    (
        "actions = [\"gift\", \"none\"]\ndefault_action = \"none\"\ndeadline = \"50ms\"\nmodels",
        "actions = [\"gitf\", \"none\"]\ndefault_action = \"none\"\ndeadline = \"50ms\"\nmodels",
        &[
            "policy.toml:4:12: there is no action `gitf`; expected the name of a declared action; did you mean `gift`?",
            "policy.toml:29:11: `cart_page` offers none of the rule's actions; expected a decision point that offers one of them",
        ],
    ),
    (
        "default_action = \"none\"\ndeadline = \"50ms\"\nmodels",
        "default_action = \"gift\"\ndeadline = \"50ms\"\nmodels",
        &[
            "policy.toml:5:18: the default action `gift` has caps, but a default is never refused; expected an action that may always be given",
            "policy.toml:28:12: rule `big_carts` denies `gift`, the default action of `cart_page`, which is never refused; expected other actions, or `points` without that one",
        ],
    ),
    (
        "default_action = \"none\"\ndeadline = \"50ms\"\nmodels",
        "default_action = \"nothing\"\ndeadline = \"50ms\"\nmodels",
        &[
            "policy.toml:5:18: the default action `nothing` is not in `actions`; expected one of the point's actions",
        ],
    ),
    (
        "models = [\"conversion\"]",
        "models = [\"conversions\"]",
        &[
            "policy.toml:7:11: there is no model `conversions`; expected the name of a declared model; did you mean `conversion`?",
        ],
    ),
    (
        "models = [\"conversion\"]",
        "models = \"conversion\"",
        &[
            "policy.toml:7:10: `models` is the text `conversion`; expected a list of names, like `[\"a\", \"b\"]`",
        ],
    ),
    (
        "models = [\"conversion\"]",
        "models = [\"conversion\", \"conversion\"]",
        &["policy.toml:7:25: `conversion` stands twice in `models`; expected each name once"],
    ),
    (
        "cart_value = \"number\"",
        "cart_value = \"numbr\"",
        &[
            "policy.toml:9:14: `numbr` is not a type of context; expected one of `number`, `boolean`, `text`, `timestamp`, `duration`; did you mean `number`?",
            "policy.toml:26:9: `when` of rule big_carts at cart_page: `context.cart_value` is not a known name; declare it in `context` of cart_page",
        ],
    ),
    (
        "[[model]]\nname = \"conversion\"",
        "[[model]]\nname = \"conversion\"\nmodel = \"broken\"",
        &[
            "policy.toml:17:9: model `broken` at `champion` cannot be used: the feature `shoe_size` is not in the feature set; expected a model that can be loaded and reads only features that there are; move the alias to another version, or train again",
        ],
    ),
    (
        "[\"2 per 7d\"]",
        "[\"2 per year\", 3]",
        &[
            "policy.toml:21:9: `year` is not a length of time in `2 per year`; expected `<count> per <window>`, then nothing, `per channel` or `per category`; count 1 to 1000, window up to 400d, or `day`, `week`, `month`",
            "policy.toml:21:23: `caps` is the number `3`; expected `<count> per <window>`, then nothing, `per channel` or `per category`; count 1 to 1000, window up to 400d, or `day`, `week`, `month`",
        ],
    ),
    (
        "channel = \"onsite\"\nvalue = \"2.0\"\ncaps = [\"2 per 7d\"]",
        "value = \"2.0\"\ncaps = [\"2 per 7d per channel\"]",
        &[
            "policy.toml:20:9: `2 per 7d per channel` counts a channel, but the action has none; expected a `channel` in this action",
        ],
    ),
    (
        "[[action]]\nname = \"none\"",
        "[[action]]\nname = \"none\"\nvalue_fallback = inf\npayload = { at = 2026-01-01 }",
        &[
            "policy.toml:24:18: `value_fallback` is the number `inf`; expected a finite number",
            "policy.toml:25:18: JSON has no date `2026-01-01`; expected the date as text, in quotes",
        ],
    ),
    (
        "[[action]]\nname = \"none\"",
        "[[action]]\nname = \"none\"\n[[action]]\nname = \"spare\"",
        &[
            "policy.toml:25:8: no decision point offers the action `spare`; expected its name in `actions` of a decision point",
        ],
    ),
    (
        "then = \"deny\"",
        "then = \"denny\"",
        &[
            "policy.toml:27:8: `denny` is not a value of `then`; expected one of `allow`, `deny`, `force`, `boost`, `set`; did you mean `deny`?",
        ],
    ),
    (
        "then = \"deny\"",
        "then = \"boost\"",
        &["policy.toml:24:1: rule has no `factor`; expected `factor`, `add` or both with `then = \"boost\"`"],
    ),
    (
        "then = \"deny\"",
        "then = \"deny\"\nfactor = 2",
        &["policy.toml:28:10: `factor` without `then = \"boost\"`; expected no such key here"],
    ),
    (
        "actions = [\"gift\"]\npoints",
        "actions = []\npoints",
        &[
            "policy.toml:28:11: `actions` is empty; expected at least one name",
            "policy.toml:29:11: `cart_page` offers none of the rule's actions; expected a decision point that offers one of them",
        ],
    ),
    (
        "points = [\"cart_page\"]",
        "points = [\"chart_page\"]",
        &[
            "policy.toml:29:11: there is no decision point `chart_page`; expected the name of a declared decision point; did you mean `cart_page`?",
        ],
    ),
    (
        "points = [\"cart_page\"]\n",
        "",
        &[
            "policy.toml:26:9: `when` of rule big_carts at search_page: `context.cart_value` is not a known name; declare it in `context` of search_page",
        ],
    ),
    (
        "reason = \"BIG_CART\"",
        "reason = \"big cart\"",
        &[
            "policy.toml:30:10: `big cart` is not a reason code; expected upper-case letters, digits and underscores, at most 64, like `VIP_PAYS_FULL`",
        ],
    ),
    (
        "reason = \"BIG_CART\"",
        "reason = \"BIG_CART\"\npriority = 1.5",
        &["policy.toml:31:12: `priority` is the number `1.5`; expected a whole number"],
    ),
];

fn complaints(text: &str) -> Vec<String> {
    load(text).err().unwrap_or_default().iter().map(ToString::to_string).collect()
}

#[test]
fn every_mistake_is_told_with_its_place_and_a_way_out() {
    assert_eq!(complaints(BASE), Vec::<String>::new());
    for (from, to, expected) in CASES {
        assert_eq!(BASE.matches(from).count(), 1, "`{from}` must name one place");
        let found = complaints(&BASE.replace(from, to));
        assert_eq!(found, *expected, "{from} -> {to}");
    }
}

#[test]
fn a_file_that_is_not_toml_is_only_that() {
    let complaints = complaints("version = 1\n[[action]]\nname = gift\nchannel = = 2\n");
    assert!(!complaints.is_empty());
    assert!(
        complaints
            .iter()
            .all(|line| line.starts_with("policy.toml:3:") || line.starts_with("policy.toml:4:")),
        "{complaints:?}"
    );
}

#[test]
fn an_empty_file_says_what_a_policy_needs() {
    assert_eq!(complaints(""), ["policy.toml:1:1: the policy has no `version`; expected `version = 1`"]);
    assert_eq!(
        complaints("version = 1"),
        ["policy.toml:1:1: the policy has no decision point; expected at least one `[[decision_point]]`"]
    );
}

#[test]
fn a_mistake_in_an_expression_is_placed_inside_its_quotes() {
    let text =
        BASE.replace("context.cart_value > 100.0", "1.0 < 2.0 && \\\"é\\\" == features.sessions_count");
    let complaints = load(&text).unwrap_err();
    assert_eq!(complaints.len(), 1);
    assert_eq!(complaints[0].line, 26);
    let line = text.lines().nth(25).unwrap();
    let place: String = line.chars().skip(complaints[0].column - 1).collect();
    assert!(
        place.starts_with("\\\"é") || place.starts_with("==") || place.starts_with("features"),
        "{place}"
    );
}

#[test]
fn one_point_without_a_score_is_named_alone() {
    let text = BASE.replace("value = \"2.0\"", "value = \"scores.conversion\"");
    let complaints = complaints(&text);
    assert_eq!(complaints.len(), 1, "{complaints:?}");
    assert!(
        complaints[0].starts_with("policy.toml:20:10: `value` of action gift at search_page: "),
        "{complaints:?}"
    );
}

#[test]
fn sizes_are_bounded() {
    let many = |count: usize, table: &str| -> String {
        (0..count).map(|n| table.replace("N", &n.to_string())).collect()
    };
    let rules = many(
        1_001,
        "[[rule]]\nid = \"rN\"\nwhen = \"true\"\nthen = \"deny\"\nactions = [\"gift\"]\nreason = \"R\"\n",
    );
    assert!(
        complaints(&format!("{BASE}{rules}"))
            .iter()
            .any(|line| line.ends_with("`rule` of the policy has 1002 elements; expected at most 1000"))
    );
    let points = many(
        63,
        "[[decision_point]]\nname = \"pN\"\nactions = [\"none\"]\ndefault_action = \"none\"\ndeadline = \"1s\"\n",
    );
    assert!(complaints(&format!("{BASE}{points}")).iter().any(|line| line.ends_with("`decision_point` of the policy has 65 elements; expected at most 64")));
    let caps = BASE.replace("[\"2 per 7d\"]", &format!("[{}]", "\"1 per 1d\",".repeat(9)));
    assert_eq!(complaints(&caps), ["policy.toml:21:8: `caps` of action has 9 elements; expected at most 8"]);
    let models = BASE.replace("models = [\"conversion\"]", &format!("models = [{}]", many(9, "\"mN\",")));
    assert!(
        complaints(&models)[0]
            .starts_with("policy.toml:7:10: `models` of decision_point has 9 elements; expected at most 8")
    );
    let payload = BASE.replace("channel = \"onsite\"", &format!("payload = \"{}\"", "x".repeat(17_000)));
    assert_eq!(
        complaints(&payload),
        ["policy.toml:19:11: the payload has 17002 bytes as JSON; expected at most 16384"]
    );
}

#[test]
fn the_largest_policy_loads_and_decides() {
    let mut text = String::from("version = 1\n");
    let names: Vec<String> = (0..256).map(|n| format!("\"a{n}\"")).collect();
    for n in 0..64 {
        text += &format!(
            "[[decision_point]]\nname = \"p{n}\"\nactions = [{}]\ndefault_action = \"a0\"\ndeadline = \"1s\"\n",
            names.join(",")
        );
    }
    for n in 0..256 {
        text += &format!("[[action]]\nname = \"a{n}\"\n");
    }
    for n in 0..1_000 {
        text += &format!(
            "[[rule]]\nid = \"r{n}\"\nwhen = \"features.purchases_7d > {n}.0\"\nthen = \"boost\"\nadd = 1\nactions = [\"a{}\"]\nreason = \"R{n}\"\n",
            n % 256
        );
    }
    let decision = decide(&loaded(&text), &inputs("p63"));
    assert_eq!(&*decision.action, "a0");
    assert_eq!(decision.candidates.len(), 256);
}

#[test]
fn the_example_policy_has_no_mistakes() {
    assert_eq!(complaints(EXAMPLE), Vec::<String>::new());
}
