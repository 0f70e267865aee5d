//! Mistakes in caps, quiet hours, budgets and holds, and exactly what the author is told.
//!
//! Not here: the rest of the file (`bad_policies`).

use crate::support::load;

/// A policy whose action `gift` in the channel `email` ends with what a case says, on line 13.
fn complaints(of_gift: &str, at_the_end: &str) -> Vec<String> {
    let text = format!(
        r#"version = 1
[[decision_point]]
name = "cart_page"
actions = ["gift", "none"]
default_action = "none"
deadline = "50ms"
[[action]]
name = "none"
channel = "screen"
[[action]]
name = "gift"
channel = "email"
{of_gift}
{at_the_end}
"#
    );
    let complaints = load(&text).err().unwrap_or_default();
    complaints.iter().map(ToString::to_string).collect()
}

const HOLD: &str = "[time]\nunknown_zone = \"hold\"";
const CLOCK: &str = "this goes by the person's clock, but nothing says what to do when it is not known; expected `[time]` \
                     with `unknown_zone = \"hold\"` or the zone to assume";

#[test]
fn every_mistake_is_told_with_its_place_and_a_way_out() {
    let never = "but a default is never refused; expected an action that may always be given";
    let cases: &[(&str, &str, &str)] = &[
        ("quiet_hours = \"21:00-08:00\"", "", &format!("policy.toml:13:15: {CLOCK}")),
        ("caps = [\"1 per week\"]", "", &format!("policy.toml:13:9: {CLOCK}")),
        (
            "",
            "[[channel]]\nname = \"email\"\nquiet_days = [\"sunday\"]",
            &format!("policy.toml:16:14: {CLOCK}"),
        ),
        (
            "quiet_hours = \"21-8\"",
            HOLD,
            "policy.toml:13:15: `21-8` is not a time of quiet; expected two different times of day, like `\"21:00-08:00\"`",
        ),
        (
            "quiet_days = [\"sundy\"]",
            HOLD,
            "policy.toml:13:15: `sundy` is not a day of the week; expected one of `monday`, `tuesday`, `wednesday`, \
             `thursday`, `friday`, `saturday`, `sunday`; did you mean `sunday`?",
        ),
        (
            "quiet_hours = \"08:00-20:00\"",
            "[time]\nunknown_zone = \"hold\"\n[[channel]]\nname = \"email\"\nquiet_hours = \"20:00-08:00\"",
            "policy.toml:13:15: quiet hours leave no time for `gift`; expected some time of the week without quiet",
        ),
        (
            "caps = [\"1 per 7d per category\"]",
            "",
            "policy.toml:13:9: `1 per 7d per category` counts a category, but the action has none; expected a `category` \
             in this action",
        ),
        (
            "confirm_within = \"1h\"",
            "",
            "policy.toml:13:18: `confirm_within` of `gift` holds nothing: no cap and no budget counts it; expected `caps` \
             or a `budget`, or no `confirm_within`",
        ),
        (
            "caps = [\"1 per 7d\"]\nconfirm_within = \"31d\"",
            "",
            "policy.toml:14:18: `confirm_within` is out of range; expected a length of time from `1ms` to `30d`",
        ),
        (
            "budget = { total = 0, per = \"day\" }",
            "",
            "policy.toml:13:20: `total` is the number `0`; expected a whole number from 1 to 1000000000000",
        ),
        (
            "budget = { total = 5, per = \"none\", pacing = \"even\" }",
            "",
            "policy.toml:13:10: `pacing` without a period to spread the budget over; expected `per` other than `none`",
        ),
        (
            "budget = { total = 5 }",
            "",
            "policy.toml:13:10: budget has no `per`; expected one of `day`, `week`, `month`, `none`",
        ),
        (
            "budget = { total = 5, per = \"day\", time_zone = \"Europe/Berlim\" }",
            "",
            "policy.toml:13:48: there is no time zone `Europe/Berlim`; expected the name of an IANA time zone, like \
             `Europe/Berlin`; did you mean `Europe/Berlin`?",
        ),
        (
            "",
            "[time]\nunknown_zone = \"utc\"",
            "policy.toml:15:16: there is no time zone `utc`; expected `\"hold\"`, or the time zone to assume, like `\"UTC\"`",
        ),
        (
            "",
            "[[channel]]\nname = \"emial\"",
            "policy.toml:15:8: no action is in the channel `emial`; expected the `channel` of an action; did you mean \
             `email`?",
        ),
        (
            "",
            "[time]\nunknown_zone = \"hold\"\n[[channel]]\nname = \"screen\"\nquiet_days = [\"sunday\"]",
            &format!("policy.toml:5:18: the default action `none` is in a channel with quiet hours, {never}"),
        ),
    ];
    for (of_gift, at_the_end, expected) in cases {
        assert_eq!(complaints(of_gift, at_the_end), [*expected], "{of_gift} {at_the_end}");
    }
    let sound = "category = \"offers\"\ncaps = [\"1 per 7d per category\"]\nconfirm_within = \"1h\"\n\
                 budget = { total = 5, per = \"day\" }\nquiet_hours = \"21:00-08:00\"";
    assert_eq!(complaints(sound, HOLD), Vec::<String>::new());
}

#[test]
fn a_default_action_is_bound_by_nothing() {
    for (bound, problem) in [
        ("budget = { total = 5, per = \"day\" }", "has a budget"),
        ("quiet_days = [\"sunday\"]", "has quiet hours"),
        ("category = \"offers\"\ncaps = [\"1 per 7d per category\"]", "has caps"),
    ] {
        let text = format!(
            "version = 1\n[time]\nunknown_zone = \"hold\"\n[[decision_point]]\nname = \"p\"\nactions = [\"a\"]\n\
             default_action = \"a\"\ndeadline = \"1s\"\n[[action]]\nname = \"a\"\n{bound}\n"
        );
        let complaints = load(&text).unwrap_err();
        let expected = format!(
            "policy.toml:7:18: the default action `a` {problem}, but a default is never refused; expected an action that \
             may always be given"
        );
        assert_eq!(complaints.iter().map(ToString::to_string).collect::<Vec<_>>(), [expected]);
    }
}
