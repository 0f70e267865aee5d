//! Holdouts, layers and experiments: who is in what, what it changes, and what is refused at load.
//!
//! Not here: the hash itself and its vectors (`augur_domain::assignment`).

use augur_decision::{PolicySnapshot, Standing, decide};
use augur_domain::decision::DecisionInputs;
use augur_domain::math::sqrt;
use augur_domain::{Decision, ReasonCode, UserKey};

use crate::support::{NOW, in_words, inputs, load, loaded, lose_feature, set_feature};

const SHOP: &str = r#"
version = 1

[[decision_point]]
name = "cart"
actions = ["offer", "note", "nothing"]
default_action = "nothing"
deadline = "20ms"

[[decision_point]]
name = "mail"
actions = ["note", "nothing"]
default_action = "nothing"
deadline = "20ms"

[[action]]
name = "offer"
value_fallback = 2.0
payload = { percent = 10, text = "plain" }
caps = ["1 per 24h"]

[[action]]
name = "note"
value_fallback = 1.0

[[action]]
name = "nothing"
"#;

const LAYER: &str = r#"
[[layer]]
name = "prices"

[[experiment]]
name = "wording"
layer = "prices"
share = 0.5
points = ["cart"]
[[experiment.arm]]
name = "control"
[[experiment.arm]]
name = "bold"
weight = 3
payload.offer = { percent = 20 }

[[experiment]]
name = "worth"
layer = "prices"
from = 0.5
share = 0.25
[[experiment.arm]]
name = "control"
[[experiment.arm]]
name = "noted"
factor.note = 5.0

[[experiment]]
name = "apart"
share = 1.0
points = ["mail"]
[[experiment.arm]]
name = "a"
[[experiment.arm]]
name = "b"
"#;

const HOLDOUT: &str = r#"
[[holdout]]
name = "everywhere"
share = 0.1
until = "2100-01-01"
"#;

fn policy(parts: &[&str]) -> PolicySnapshot {
    loaded(&[SHOP, &parts.concat()].concat())
}

fn user(number: u64) -> UserKey {
    let mut bytes = [9; 16];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    UserKey::from_bytes(bytes)
}

fn of(point: &str, number: u64) -> DecisionInputs {
    DecisionInputs { user: user(number), ..inputs(point) }
}

fn square(number: f64) -> f64 {
    number * number
}

fn arm<'d>(decision: &'d Decision, experiment: &str) -> Option<&'d str> {
    let found = decision.assignments.iter().find(|assignment| &*assignment.experiment == experiment);
    found.map(|assignment| &*assignment.arm)
}

/// The first user of whom `wanted` is true.
fn find(policy: &PolicySnapshot, point: &str, wanted: impl Fn(&Decision) -> bool) -> DecisionInputs {
    (0..10_000).map(|number| of(point, number)).find(|inputs| wanted(&decide(policy, inputs))).unwrap()
}

#[test]
fn an_arm_changes_the_payload_and_says_so() {
    let policy = policy(&[LAYER]);
    let bold = decide(&policy, &find(&policy, "cart", |decision| arm(decision, "wording") == Some("bold")));
    assert_eq!((&*bold.action, &*bold.payload), ("offer", r#"{"percent":20}"#));
    assert!(in_words(&bold).contains("because EXPERIMENT_ARM wording: bold"), "{}", in_words(&bold));
    assert!(bold.assignments.iter().all(|assignment| assignment.enrolled));

    let control = find(&policy, "cart", |decision| arm(decision, "wording") == Some("control"));
    let control = decide(&policy, &control);
    assert_eq!(&*control.payload, r#"{"percent":10,"text":"plain"}"#);
    assert!(!in_words(&control).contains("EXPERIMENT_ARM"), "a control that changes nothing has no say");
}

#[test]
fn rules_set_keys_of_the_arms_payload() {
    let rule = r#"
[[rule]]
id = "shout"
when = "true"
then = "set"
actions = ["offer"]
set = { text = "loud" }
reason = "SHOUT"
"#;
    let policy = policy(&[LAYER, rule]);
    let bold = find(&policy, "cart", |decision| arm(decision, "wording") == Some("bold"));
    assert_eq!(&*decide(&policy, &bold).payload, r#"{"percent":20,"text":"loud"}"#);
    let control = find(&policy, "cart", |decision| arm(decision, "wording") == Some("control"));
    assert_eq!(&*decide(&policy, &control).payload, r#"{"percent":10,"text":"loud"}"#);
}

#[test]
fn an_arm_scales_values_before_boosts() {
    let policy = policy(&[LAYER]);
    let noted = decide(&policy, &find(&policy, "cart", |decision| arm(decision, "worth") == Some("noted")));
    assert_eq!((&*noted.action, noted.value), ("note", 5.0));
    assert!(in_words(&noted).contains("because EXPERIMENT_ARM worth: noted"));
}

#[test]
fn expressions_read_the_arm_and_none_of_users_in_no_arm() {
    let rule = r#"
[[rule]]
id = "by_arm"
when = "experiments.wording in ['bold']"
then = "deny"
actions = ["offer"]
reason = "BY_ARM"
"#;
    let policy = policy(&[LAYER, rule]);
    let bold = decide(&policy, &find(&policy, "cart", |decision| arm(decision, "wording") == Some("bold")));
    assert_eq!(&*bold.action, "note");
    assert!(bold.reasons.iter().any(|reason| reason.code == ReasonCode::ExperimentArm), "it is read");
    let outside = decide(&policy, &find(&policy, "cart", |decision| arm(decision, "wording").is_none()));
    assert_eq!(&*outside.action, "offer");
    assert!(outside.reasons.iter().all(|reason| reason.code != ReasonCode::MissingInput), "{outside:?}");
}

#[test]
fn experiments_of_one_layer_exclude_each_other_and_shares_hold() {
    let policy = policy(&[LAYER]);
    let (mut wording, mut bold, mut worth, mut apart) = (0, 0, 0, [[0.0; 2]; 2]);
    const USERS: u64 = 20_000;
    for number in 0..USERS {
        let cart = decide(&policy, &of("cart", number));
        wording += i32::from(arm(&cart, "wording").is_some());
        bold += i32::from(arm(&cart, "wording") == Some("bold"));
        worth += i32::from(arm(&cart, "worth").is_some());
        assert!(cart.assignments.len() <= 1, "{:?}", cart.assignments);
        let mail = decide(&policy, &of("mail", number));
        assert_eq!(arm(&mail, "wording"), None);
        if let Some(of_wording) = arm(&cart, "wording") {
            let (row, column) = (of_wording == "bold", arm(&mail, "apart") == Some("b"));
            apart[usize::from(row)][usize::from(column)] += 1.0;
        }
    }
    let near = |count: i32, share: f64| {
        let (mean, deviation) = (USERS as f64 * share, sqrt(USERS as f64 * share * (1.0 - share)));
        assert!((f64::from(count) - mean).abs() < 4.0 * deviation, "{count} of {USERS}, expected {mean}");
    };
    near(wording, 0.5);
    near(bold, 0.375);
    near(worth, 0.25);
    // Independence of arms across layers: chi-square of a 2 by 2 table, one degree of freedom, 1e-4 beyond 15.1.
    let (rows, columns) = (apart.map(|row| row[0] + row[1]), [0, 1].map(|c| apart[0][c] + apart[1][c]));
    let total: f64 = rows.iter().sum();
    let cell = |row: usize, column: usize| rows[row] * columns[column] / total;
    let statistic: f64 = [(0, 0), (0, 1), (1, 0), (1, 1)]
        .map(|(row, column)| square(apart[row][column] - cell(row, column)) / cell(row, column))
        .iter()
        .sum();
    assert!(statistic < 15.1, "{statistic}: {apart:?}");
}

#[test]
fn whoever_is_held_out_gets_the_default_and_is_in_no_experiment() {
    let held_out = policy(&[LAYER, HOLDOUT]);
    let without = policy(&[LAYER]);
    let (mut count, mut in_experiment, mut held_in_experiment) = (0, 0, 0);
    const USERS: u64 = 20_000;
    for number in 0..USERS {
        let (decision, open) =
            (decide(&held_out, &of("cart", number)), decide(&without, &of("cart", number)));
        in_experiment += i32::from(!open.assignments.is_empty());
        if arm(&decision, "everywhere") == Some("held_out") {
            count += 1;
            held_in_experiment += i32::from(!open.assignments.is_empty());
            assert_eq!((&*decision.action, decision.assignments.len()), ("nothing", 1));
            assert_eq!(decision.reasons[0].code, ReasonCode::HeldOut);
            assert!(decision.candidates.iter().all(|candidate| candidate.reason.code == ReasonCode::HeldOut));
        } else {
            assert_eq!(arm(&decision, "everywhere"), Some("reached"));
            assert_eq!(decision.action, open.action, "a holdout moves nobody between arms");
            assert_eq!(decision.assignments[1..], open.assignments[..]);
        }
    }
    let expected = 0.1 * USERS as f64;
    assert!((f64::from(count) - expected).abs() < 4.0 * sqrt(0.9 * expected), "{count}");
    // A tenth of those in experiments are held out too: the holdout is independent of the layer.
    let expected = 0.1 * f64::from(in_experiment);
    assert!((f64::from(held_in_experiment) - expected).abs() < 4.0 * sqrt(0.9 * expected));
}

#[test]
fn dates_and_conditions_bound_who_is_in() {
    let ended = LAYER.replace("share = 0.5\n", "share = 0.5\nvalid_until = \"2001-01-01\"\n");
    let holdout = HOLDOUT.replace("2100", "2001");
    let over = policy(&[&ended, &holdout]);
    for number in 0..200 {
        let decision = decide(&over, &of("cart", number));
        assert!(arm(&decision, "wording").is_none() && arm(&decision, "everywhere").is_none());
    }
    let condition = LAYER.replace("share = 1.0", "share = 1.0\nwhen = \"features.purchases_7d > 3\"");
    let conditional = policy(&[&condition]);
    let mut inputs = of("mail", 1);
    assert_eq!(arm(&decide(&conditional, &inputs), "apart"), None);
    set_feature(&mut inputs, "purchases_7d", 4.0);
    assert!(arm(&decide(&conditional, &inputs), "apart").is_some());
    lose_feature(&mut inputs, "purchases_7d");
    let unanswered = decide(&conditional, &inputs);
    assert_eq!(arm(&unanswered, "apart"), None);
    let words = in_words(&unanswered);
    assert!(words.contains("MISSING_INPUT experiment apart: features.purchases_7d"), "{words}");
}

#[test]
fn a_look_decides_the_same_enrols_nobody_and_counts_nothing() {
    let policy = policy(&[LAYER, HOLDOUT]);
    for number in 0..200 {
        let inputs = of("cart", number);
        let (decision, look) =
            (decide(&policy, &inputs), decide(&policy, &DecisionInputs { peek: true, ..inputs }));
        assert!(!look.counts_against_caps);
        assert!(look.assignments.iter().all(|assignment| !assignment.enrolled));
        let mut as_decided = look;
        as_decided.counts_against_caps = decision.counts_against_caps;
        as_decided.assignments.iter_mut().for_each(|assignment| assignment.enrolled = true);
        assert_eq!(as_decided, decision);
    }
}

#[test]
fn changes_elsewhere_move_nobody() {
    let before = policy(&[LAYER]);
    let more_arms =
        LAYER.replace("name = \"noted\"", "name = \"third\"\n[[experiment.arm]]\nname = \"noted\"");
    let another = r#"
[[experiment]]
name = "late"
layer = "prices"
from = 0.75
share = 0.25
[[experiment.arm]]
name = "x"
[[experiment.arm]]
name = "y"
"#;
    // Another arm in `worth`, an experiment more in the layer, `wording` grown into free room of its own.
    let after = policy(&[&more_arms, another]);
    let (mut moved, mut in_worth) = (0, 0);
    for number in 0..4_000 {
        let (old, new) = (decide(&before, &of("cart", number)), decide(&after, &of("cart", number)));
        assert_eq!(arm(&old, "wording"), arm(&new, "wording"));
        assert_eq!(arm(&old, "worth").is_some(), arm(&new, "worth").is_some());
        in_worth += i32::from(arm(&old, "worth").is_some());
        if arm(&old, "worth") != arm(&new, "worth") {
            assert_eq!(arm(&new, "worth"), Some("third"));
            moved += 1;
        }
    }
    let expected = f64::from(in_worth) / 3.0;
    assert!((f64::from(moved) - expected).abs() < 4.0 * sqrt(expected * 2.0 / 3.0), "{moved} of {in_worth}");
}

#[test]
fn standings_tell_without_deciding_and_agree_with_decisions() {
    let policy = policy(&[LAYER, HOLDOUT]);
    for number in 0..500 {
        let standings = policy.standings(user(number), NOW);
        let names: Vec<&str> = standings.iter().map(|standing| &*standing.name).collect();
        assert_eq!(names, ["everywhere", "wording", "worth", "apart"]);
        let decision = decide(&policy, &of("cart", number));
        let is_held_out = standings[0].standing == Standing::In;
        assert_eq!(is_held_out, arm(&decision, "everywhere") == Some("held_out"));
        for standing in &standings[1..3] {
            match standing.standing {
                Standing::In => assert_eq!(arm(&decision, &standing.name), Some(&*standing.arm)),
                _ => assert_eq!(arm(&decision, &standing.name), None),
            }
            assert_eq!(standing.standing == Standing::HeldOut, is_held_out);
        }
    }
}

fn complaint(parts: &[&str]) -> String {
    let complaints = load(&[SHOP, &parts.concat()].concat()).unwrap_err();
    complaints.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn mistakes_are_refused_with_their_remedy() {
    let unknown_arm = r#"
[[rule]]
id = "by_arm"
when = "experiments.wording == 'bolt'"
then = "deny"
actions = ["offer"]
reason = "BY_ARM"
"#;
    let reads_another = LAYER.replace("share = 1.0", "share = 1.0\nwhen = \"experiments.worth == 'noted'\"");
    for (parts, expected) in [
        (vec![LAYER, unknown_arm], "`experiments.wording` is never 'bolt'"),
        (vec![LAYER, unknown_arm], "did you mean `bold`"),
        (vec![&LAYER.replace("from = 0.5", "from = 0.4")], "`worth` and `wording` share buckets from 400000"),
        (vec![&LAYER.replace("from = 0.5", "from = 0.4")], "`from = 0.5`"),
        (vec![&LAYER.replace("\"prices\"\nshare", "\"prises\"\nshare")], "there is no layer `prises`"),
        (vec![&LAYER.replace("name = \"noted\"", "name = \"none\"")], "an arm is called `none`"),
        (vec![&LAYER.replace("factor.note", "factor.nota")], "there is no action `nota`"),
        (vec![&LAYER.replace("factor.note = 5.0", "factor.note = -1")], "a number from 0 to"),
        (vec![&LAYER.replace("share = 0.5", "share = 1.5")], "a share from 0 to 1"),
        (vec![&LAYER.replace("share = 0.5", "buckets = [[5, 5]]")], "no range of buckets"),
        (vec![&LAYER.replace("share = 0.5", "hash = \"v2\"")], "one of `v1`"),
        (vec![&reads_another], "a condition of an experiment reads none"),
        (vec![LAYER, &HOLDOUT.replace("everywhere", "apart")], "`apart` is declared twice"),
        (vec![&HOLDOUT.replace("share = 0.1\n", "")], "holdout has no `share`"),
        (vec![&HOLDOUT.replace("2100-01-01", "soon")], "`soon` in `until` is not an instant"),
    ] {
        let found = complaint(&parts);
        assert!(found.contains(expected), "expected {expected}\n{found}");
    }
}

#[test]
fn what_reports_need_is_declared() {
    let with_pre =
        LAYER.replacen("points = [\"cart\"]", "points = [\"cart\"]\npre = \"features.revenue_30d\"", 1);
    let holdout = "[[holdout]]\nname = \"few\"\nshare = 0.02\n";
    let policy = policy(&[&with_pre, holdout]);
    let shares = |name: &str| -> Vec<(String, f64)> {
        let declared = policy.declared_shares(name).unwrap_or_default();
        declared.into_iter().map(|(arm, share)| (arm.to_string(), share)).collect()
    };
    assert_eq!(shares("wording"), [("control".to_owned(), 0.25), ("bold".to_owned(), 0.75)]);
    assert_eq!(shares("few"), [("held_out".to_owned(), 0.02), ("reached".to_owned(), 0.98)]);
    assert_eq!(shares("unknown"), []);
    let slot = policy.features().slot("revenue_30d");
    assert_eq!((policy.declared_pre("wording"), policy.declared_pre("worth")), (slot, None));
    let unknown = complaint(&[&with_pre.replace("revenue_30d", "revenu_30d")]);
    assert!(
        unknown.contains("there is no feature `revenu_30d`") && unknown.contains("`revenue_30d`"),
        "{unknown}"
    );
    let no_path = complaint(&[&with_pre.replace("features.revenue_30d", "revenue_30d")]);
    assert!(no_path.contains("`pre` is `revenue_30d`"), "{no_path}");
}
