//! What a lint finds in policies that load, and what it lets pass; what is different between two policies; the page that
//! tells a policy.

use augur_decision::{DifferenceKind, LintContext, PossibleValues, SourceFile, diff_policies};

use crate::support::{EXAMPLE, FEATURES, NOW, loaded};

/// `CODE line message` per finding.
fn lint(text: &str) -> Vec<String> {
    let mut features = vec![PossibleValues::default(); FEATURES.len()];
    let slot = FEATURES.iter().position(|name| *name == "seconds_since_last_purchase").unwrap();
    features[slot].greatest = Some(7.0 * 86_400.0);
    let source = SourceFile { name: "policy.toml".to_owned(), text: text.to_owned() };
    let findings = loaded(text).lint(&source, LintContext { now: NOW, features: &features });
    let told = findings.iter().map(|finding| {
        assert!(!finding.complaint.hint.is_empty(), "{finding:?} has a next step");
        format!("{} {} {}", finding.code.as_str(), finding.complaint.line, finding.complaint.message)
    });
    told.collect()
}

const BASE: &str = "version = 1\n\
    [[decision_point]]\nname = \"page\"\nactions = [\"a\", \"b\", \"c\", \"none\"]\ndefault_action = \"none\"\ndeadline = \"50ms\"\n\
    [[action]]\nname = \"a\"\nchannel = \"web\"\n[[action]]\nname = \"b\"\nchannel = \"web\"\n[[action]]\nname = \"c\"\n\
    [[action]]\nname = \"none\"\n";

fn rule(id: &str, then: &str, when: &str, actions: &str, more: &str) -> String {
    format!(
        "[[rule]]\nid = \"{id}\"\nwhen = \"{when}\"\nthen = \"{then}\"\nactions = [{actions}]\nreason = \"R\"\n{more}\n"
    )
}

/// The findings of the base policy with `rules`.
fn of(rules: &[String]) -> Vec<String> {
    lint(&format!("{BASE}{}", rules.concat()))
}

/// Asserts that exactly one finding is there and begins with the code and contains the words.
fn finds(rules: &[String], code: &str, words: &str) {
    let found = of(rules);
    assert!(found.len() == 1 && found[0].starts_with(code) && found[0].contains(words), "{found:?}");
}

#[test]
fn rules_that_never_fire_are_told() {
    let never = rule("x", "deny", "features.purchases_7d > 5 && features.purchases_7d < 3", "'a'", "");
    finds(&[never], "NEVER_TRUE", "rule `x` never fires");
    let over = rule("x", "deny", "features.purchases_7d > 5", "'a'", "valid_until = 2020-01-01T00:00:00Z");
    finds(&[over], "WINDOW_OVER", "holds no more since 2020-01-01");
    let stale =
        rule("x", "deny", "features.seconds_since_last_purchase > seconds(duration('30d'))", "'a'", "");
    finds(&[stale], "STALE_FEATURE", "`features.seconds_since_last_purchase` is forgotten after 7d");
    let fresh =
        rule("x", "deny", "features.seconds_since_last_purchase > seconds(duration('6d'))", "'a'", "");
    assert_eq!(of(&[fresh]), [] as [&str; 0]);
    let off = rule("x", "deny", "false", "'a'", "mode = \"off\"");
    assert_eq!(of(&[off]), [] as [&str; 0]);
}

#[test]
fn rules_that_change_nothing_are_told() {
    let wide = rule("wide", "deny", "features.purchases_7d > 1", "'a', 'b'", "");
    let narrow = rule("narrow", "deny", "features.purchases_7d > 5 && features.revenue_30d > 3", "'a'", "");
    finds(&[wide.clone(), narrow.clone()], "SHADOWED", "rule `narrow` refuses nothing that rule `wide`");
    // The other way round each does something, for the reasons differ.
    assert_eq!(of(&[narrow, wide.clone()]), [] as [&str; 0]);
    let elsewhere = rule("narrow", "deny", "features.purchases_7d > 5", "'c'", "");
    assert_eq!(of(&[wide, elsewhere]), [] as [&str; 0]);
    let first = rule("first", "force", "features.purchases_7d > 1", "'none'", "priority = 9");
    let second = rule("second", "force", "features.purchases_7d > 2", "'a'", "");
    finds(
        &[second.clone(), first],
        "SHADOWED",
        "rule `second` never decides: rule `first` fires whenever it does",
    );
    let for_a_while = rule(
        "first",
        "force",
        "features.purchases_7d > 1",
        "'none'",
        "priority = 9\nvalid_until = 2090-01-01T00:00:00Z",
    );
    assert_eq!(of(&[second, for_a_while]), [] as [&str; 0]);
}

#[test]
fn rules_that_disagree_are_told() {
    let one = rule("one", "force", "features.purchases_7d > 1", "'a'", "");
    let two = rule("two", "force", "features.revenue_30d > 2", "'b'", "");
    finds(&[one.clone(), two.clone()], "EQUAL_PRIORITY", "rule `one` and rule `two` can fire together");
    let higher = two.replace("reason", "priority = 1\nreason");
    assert_eq!(of(&[one.clone(), higher]), [] as [&str; 0]);
    let apart = rule("two", "force", "features.purchases_7d <= 1", "'b'", "");
    assert_eq!(of(&[one, apart]), [] as [&str; 0]);
    let allow = rule("allow", "allow", "features.purchases_7d > 5", "'a'", "");
    let deny = rule("deny", "deny", "features.purchases_7d > 2", "'a'", "");
    finds(&[allow, deny], "ALLOW_DENIED", "rule `allow` leaves only actions that rule `deny` refuses");
}

#[test]
fn actions_and_caps_without_effect_are_told() {
    finds(&[rule("x", "deny", "true", "'a'", "")], "ALWAYS_REFUSED", "rule `x` always refuses it");
    let eligible = BASE.replacen(
        "name = \"a\"\n",
        "name = \"a\"\neligible_when = \"features.revenue_30d < 0 && features.revenue_30d > 0\"\n",
        1,
    );
    assert!(lint(&eligible)[0].starts_with("ALWAYS_REFUSED 8"), "{:?}", lint(&eligible));
    let with_time = format!("{BASE}[time]\nunknown_zone = \"hold\"\n");
    let caps = |list: &str| {
        lint(&with_time.replacen("name = \"a\"\n", &format!("name = \"a\"\ncaps = [{list}]\n"), 1))
    };
    for (list, loose) in [
        ("'5 per 7d', '1 per 7d'", "`5 per 7d` of `a` never refuses: `1 per 7d`"),
        ("'1 per 1d', '7 per 7d'", "`7 per 7d`"),
        ("'2 per 1d', '2 per 1d'", "`2 per 1d`"),
        ("'3 per 1d', '2 per 7d per channel'", "`3 per 1d`"),
        ("'2 per week', '1 per week'", "`2 per week`"),
        ("'9 per week', '1 per 1d'", "`9 per week`"),
    ] {
        let found = caps(list);
        assert!(
            found.len() == 1 && found[0].starts_with("CAP_NEVER_BINDS 9") && found[0].contains(loose),
            "{list}: {found:?}"
        );
    }
    for list in [
        "'1 per 1d', '3 per 7d'",
        "'1 per 7d', '2 per 30d'",
        "'1 per 7d', '4 per 1d per channel'",
        "'1 per day', '1 per week'",
        "'1 per week', '1 per 7d'",
    ] {
        assert_eq!(caps(list), [] as [&str; 0], "{list}");
    }
    let both = BASE
        .replacen("name = \"a\"\n", "name = \"a\"\ncaps = ['1 per 1d', '5 per 1d per channel']\n", 1)
        .replacen("name = \"b\"\n", "name = \"b\"\ncaps = ['2 per 1d']\n", 1);
    assert!(
        lint(&both)[0].contains("the caps of its channel's actions together allow no more"),
        "{:?}",
        lint(&both)
    );
}

#[test]
fn what_nothing_reads_is_told() {
    let models =
        BASE.replacen("deadline", "models = [\"churn\"]\ncontext = { country = \"text\" }\ndeadline", 1)
            + "[[model]]\nname = \"churn\"\n[[model]]\nname = \"conversion\"\n\
           [[explain]]\nmodel = \"conversion\"\nfeature = \"revenue_30d\"\nraises = \"R\"\n";
    let found = lint(&models);
    let codes: Vec<&str> = found.iter().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(codes, ["CONTEXT_UNREAD", "MODEL_UNREAD", "MODEL_UNREAD", "WORD_UNHEARD"], "{found:?}");
    let reading = rule("x", "deny", "context.country == 'DE' && scores.churn > 0.5", "'a'", "");
    let found = lint(&(models + &reading));
    assert!(found.iter().all(|line| line.contains("`conversion`")), "{found:?}");
}

#[test]
fn the_example_has_nothing_amiss() {
    let found = lint(EXAMPLE);
    assert!(
        found.iter().all(|line| !line.starts_with("NEVER") && !line.starts_with("SHADOWED")),
        "{found:?}"
    );
}

#[test]
fn differences_are_told_by_name_and_key() {
    let told = |after: &str| -> Vec<String> {
        diff_policies(BASE, after).unwrap().iter().map(ToString::to_string).collect()
    };
    assert_eq!(told(BASE), [] as [&str; 0]);
    assert_eq!(told(&format!("# a comment\n{BASE}")), [] as [&str; 0]);
    let x = rule("x", "deny", "true", "'a'", "");
    let added = format!("{BASE}{x}");
    assert_eq!(told(&added), ["rule x was added"]);
    let changed = diff_policies(&added, &added.replace("true", "false")).unwrap();
    assert_eq!(changed[0].to_string(), "rule x: when was \"true\", is now \"false\"");
    assert_eq!((changed.len(), changed[0].kind), (1, DifferenceKind::Changed));
    assert_eq!(
        told(
            &BASE
                .replace("deadline = \"50ms\"", "deadline = \"20ms\"\nmodels = []")
                .replace("[[action]]\nname = \"c\"\n", "")
        ),
        [
            "action c was removed",
            "decision_point page: deadline was \"50ms\", is now \"20ms\"",
            "decision_point page: models is now []",
        ]
    );
    let y = rule("y", "deny", "false", "'b'", "");
    let moved = diff_policies(&format!("{BASE}{x}{y}"), &format!("{BASE}{y}{x}")).unwrap();
    assert_eq!(moved.iter().map(ToString::to_string).collect::<Vec<_>>(), ["rule stands in another order"]);
    assert!(!diff_policies(BASE, "[[").unwrap_err().0);
}

#[test]
fn a_policy_is_told_point_by_point_in_the_order_of_a_decision() {
    let rules = [
        rule("last", "force", "features.purchases_7d > 1", "'a'", "owner = \"growth\""),
        rule("first", "deny", "features.purchases_7d > 1", "'b'", ""),
        rule("idle", "deny", "features.purchases_7d > 1", "'c'", "mode = \"shadow\""),
    ];
    let text = format!("{BASE}{}", rules.concat()).replacen(
        "name = \"a\"\n",
        "name = \"a\"\ncaps = ['1 per 7d']\n",
        1,
    );
    let page = loaded(&text).describe();
    assert_eq!((page.len(), &*page[0].name, &*page[0].default_action), (1, "page", "none"));
    let ids: Vec<&str> = page[0].rules.iter().map(|rule| &*rule.id).collect();
    assert_eq!(ids, ["first", "last", "idle"]);
    assert!(page[0].rules[0].sentence.contains("refuse b"), "{:?}", page[0].rules[0]);
    assert_eq!((&*page[0].rules[1].owner, page[0].rules[2].mode), ("growth", "shadow"));
    assert_eq!(
        (&*page[0].actions[0].channel, &*page[0].actions[0].caps),
        ("web", &["1 per 7d".to_owned()][..])
    );
}
