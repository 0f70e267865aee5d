//! Mistakes in what a rule says beside its condition, and exactly what the author is told.
//!
//! Not here: the rest of the file (`bad_policies`).

use crate::support::load;

/// A policy whose one rule ends with what a case says, on line 17.
fn complaints(effect: &str, rest: &str) -> Vec<String> {
    let text = format!(
        r#"version = 1
[[decision_point]]
name = "cart_page"
actions = ["gift", "list", "none"]
default_action = "none"
deadline = "50ms"
[[action]]
name = "gift"
[[action]]
name = "list"
payload = [1, 2]
[[action]]
name = "none"
[[rule]]
id = "r"
when = "true"
{rest}
then = "{effect}"
actions = ["gift"]
reason = "R"
"#
    );
    let complaints = load(&text).err().unwrap_or_default();
    complaints.iter().map(ToString::to_string).collect()
}

const INSTANT: &str = "expected a date like `2026-11-30`, which means its first instant in UTC, or an instant like \
                       `2026-11-30T18:00:00+01:00`";

#[test]
fn every_mistake_is_told_with_its_place_and_a_way_out() {
    let long = format!("owner = \"{}\"", "x".repeat(129));
    let long_owner = format!(
        "policy.toml:17:9: `{}…` is not an owner; expected a person or a team, at most 128 bytes, like \
         `growth@example.com`",
        "x".repeat(80)
    );
    let cases: &[(&str, &str, String)] = &[
        (
            "deny",
            "valid_from = \"2026-13-01\"",
            format!("policy.toml:17:14: `2026-13-01` in `valid_from` is not an instant; {INSTANT}"),
        ),
        (
            "deny",
            "valid_until = 2026-11-30T18:00:00",
            format!(
                "policy.toml:17:15: `2026-11-30T18:00:00` in `valid_until` is not an instant; {INSTANT}; say the time \
                 zone, e.g. with `Z` at the end"
            ),
        ),
        ("deny", "valid_from = 5", format!("policy.toml:17:14: `valid_from` is the number `5`; {INSTANT}")),
        (
            "deny",
            "valid_until = \"2026-11-01\"\nvalid_from = \"2026-11-01\"",
            "policy.toml:17:15: `valid_until` 2026-11-01T00:00:00.000Z is not after `valid_from` \
             2026-11-01T00:00:00.000Z; expected a later instant"
                .to_owned(),
        ),
        (
            "deny",
            "mode = \"shade\"",
            "policy.toml:17:8: `shade` is not a value of `mode`; expected one of `on`, `shadow`, `off`; did you mean \
             `shadow`?"
                .to_owned(),
        ),
        ("deny", &long, long_owner),
        (
            "deny",
            "owners = \"growth\"",
            "policy.toml:17:1: `owners` is not a key of rule; expected one of `id`, `when`, `then`, `actions`, `points`, \
             `factor`, `add`, `set`, `reason`, `priority`, `valid_from`, `valid_until`, `owner`, `mode`; did you mean \
             `owner`?"
                .to_owned(),
        ),
        (
            "deny",
            "set = { a = 1 }",
            "policy.toml:17:7: `set` without `then = \"set\"`; expected no such key here".to_owned(),
        ),
        (
            "set",
            "",
            "policy.toml:14:1: rule has no `set`; expected keys with their values, like `{ percent = 15 }`".to_owned(),
        ),
        ("set", "set = {}", "policy.toml:17:7: `set` is empty; expected at least one key".to_owned()),
        (
            "set",
            "set = [1]",
            "policy.toml:17:7: `set` is a list; expected keys with their values, like `{ percent = 15 }`".to_owned(),
        ),
        (
            "set",
            "set = { a = nan }",
            "policy.toml:17:13: JSON has no number `nan`; expected a finite number".to_owned(),
        ),
    ];
    for (effect, rest, expected) in cases {
        assert_eq!(complaints(effect, rest), [expected.as_str()], "{rest}");
    }
}

#[test]
fn keys_are_set_in_tables_that_stay_small() {
    let set = |actions: &str, value: &str| {
        let text = complaints("set", &format!("set = {{ a = {value} }}")).join("");
        assert_eq!(text, "", "the rule itself is sound");
        let policy = format!(
            "version = 1\n[[decision_point]]\nname = \"p\"\nactions = [\"gift\", \"list\", \"none\"]\n\
             default_action = \"none\"\ndeadline = \"1s\"\n[[action]]\nname = \"gift\"\npayload = {{ b = \"{}\" }}\n\
             [[action]]\nname = \"list\"\npayload = [1]\n[[action]]\nname = \"none\"\n[[rule]]\nid = \"r\"\n\
             when = \"true\"\nthen = \"set\"\nreason = \"R\"\nactions = {actions}\nset = {{ a = {value} }}\n",
            "x".repeat(10_000)
        );
        let complaints = load(&policy).err().unwrap_or_default();
        complaints.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(
        set("[\"gift\", \"list\"]", "1"),
        [
            "policy.toml:20:20: the payload of `list` is no table, so no key of it can be set; expected an action whose \
             `payload` is a table, or none"
        ]
    );
    let large = format!("\"{}\"", "y".repeat(7_000));
    assert_eq!(
        set("[\"gift\"]", &large),
        [
            "policy.toml:21:7: with all that rules set, the payload of `gift` has 17015 bytes; expected at most 16384"
        ]
    );
}
