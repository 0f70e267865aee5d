//! Decision tables: which rows act, that they act as rules do, and exactly what the author of a bad one is told.
//!
//! Not here: how cells become conditions (tests of `file::cell`).

use std::convert::Infallible;

use augur_decision::{PolicySnapshot, PolicySource, SourceFile, decide};
use augur_domain::{Decision, Diagnostic, ReasonCode, Value};
use proptest::prelude::*;

use crate::support::{self, Shelf, features, inputs, lose_feature, number, set_context};

const BASE: &str = r#"version = 1
[[decision_point]]
name = "cart_page"
actions = ["discount_10", "free_shipping", "none"]
default_action = "none"
deadline = "50ms"
[decision_point.context]
cart_value = "number"
country = "text"
[[action]]
name = "discount_10"
payload = { percent = 10 }
value_fallback = 2.0
[[action]]
name = "free_shipping"
value_fallback = 1.0
[[action]]
name = "none"
"#;

fn source(table: &str, csv: Option<&str>) -> PolicySource {
    let policy = SourceFile { name: "policy.toml".to_owned(), text: format!("{BASE}{table}") };
    let read = |name: &str| {
        let file = |text: &str| SourceFile { name: name.to_owned(), text: text.to_owned() };
        Ok::<_, Infallible>(csv.map(file))
    };
    PolicySource::gather(policy, read).unwrap()
}

fn load(table: &str, csv: Option<&str>) -> Result<PolicySnapshot, Vec<Diagnostic>> {
    PolicySnapshot::load(&source(table, csv), features(), &Shelf)
}

fn loaded(table: &str, csv: Option<&str>) -> PolicySnapshot {
    load(table, csv).unwrap_or_else(|complaints| panic!("{complaints:#?}"))
}

fn complaints(table: &str, csv: Option<&str>) -> Vec<String> {
    load(table, csv).err().unwrap_or_default().iter().map(ToString::to_string).collect()
}

fn at(policy: &PolicySnapshot, cart_value: f64, country: &str) -> Decision {
    let mut person = inputs("cart_page");
    set_context(&mut person, "cart_value", number(cart_value));
    set_context(&mut person, "country", Value::Text(country.into()));
    decide(policy, &person)
}

fn rules_told(decision: &Decision) -> Vec<&str> {
    let of_rule = |code| {
        matches!(
            code,
            ReasonCode::RuleDenied | ReasonCode::RuleBoosted | ReasonCode::RuleForced | ReasonCode::RuleSet
        )
    };
    let all = decision.reasons.iter().chain(decision.candidates.iter().map(|candidate| &candidate.reason));
    let mut told: Vec<&str> =
        all.filter(|why| of_rule(why.code)).filter_map(|why| why.detail.as_deref()).collect();
    told.sort_unstable();
    told.dedup();
    told
}

const SHIPPING: &str = "[[table]]\nname = \"shipping\"\nfile = \"shipping.csv\"\nhit = \"HIT\"\n";

const CSV: &str = "\
context.cart_value, context.country,       then,  actions,                  reason,     priority, factor, set.percent
< 10,               ,                      deny,  discount_10;free_shipping, TINY,       1,        ,
10..50,             \"in ['DE', 'AT']\",   force, free_shipping,            HOME,       2,        ,
>= 10 && < 50,      FR,                    boost, free_shipping,            NEIGHBOURS, 3,        4.5,
*,                  DE,                    set,   discount_10,              GERMAN,     4,        ,       12
";

#[test]
fn the_first_row_that_holds_acts() {
    let policy = loaded(&SHIPPING.replace("HIT", "first"), Some(CSV));
    for (cart_value, country, action, told) in [
        (5.0, "DE", "none", vec!["TINY"]),
        (20.0, "DE", "free_shipping", vec!["HOME"]),
        (20.0, "FR", "free_shipping", vec!["NEIGHBOURS"]),
        (50.0, "DE", "discount_10", vec!["GERMAN"]),
        (50.0, "FR", "discount_10", vec![]),
    ] {
        let decision = at(&policy, cart_value, country);
        assert_eq!((&*decision.action, rules_told(&decision)), (action, told), "{cart_value} {country}");
    }
    assert_eq!(&*at(&policy, 60.0, "DE").payload, r#"{"percent":12}"#);
}

#[test]
fn the_row_of_highest_priority_acts_or_all_do() {
    let policy = loaded(&SHIPPING.replace("HIT", "priority"), Some(CSV));
    assert_eq!(rules_told(&at(&policy, 20.0, "DE")), ["GERMAN"]);
    assert_eq!(rules_told(&at(&policy, 5.0, "FR")), ["TINY"]);
    let policy = loaded(&SHIPPING.replace("HIT", "collect"), Some(CSV));
    let decision = at(&policy, 20.0, "DE");
    assert_eq!((&*decision.action, rules_told(&decision)), ("free_shipping", vec!["HOME"]));
    assert_eq!(rules_told(&at(&policy, 60.0, "DE")), ["GERMAN"]);
    assert_eq!(policy.rules().len(), 4);
}

#[test]
fn a_row_whose_value_is_missing_is_passed_over_and_told_once() {
    let csv = "features.revenue_30d,actions,reason\n> 5,discount_10,A\n> 3,discount_10,B\n,free_shipping,C\n";
    for hit in ["first", "priority", "collect"] {
        let policy = loaded(&format!("{}then = \"deny\"\n", SHIPPING.replace("HIT", hit)), Some(csv));
        let mut person = inputs("cart_page");
        lose_feature(&mut person, "revenue_30d");
        let decision = decide(&policy, &person);
        let missing: Vec<_> =
            decision.reasons.iter().filter(|why| why.code == ReasonCode::MissingInput).collect();
        let [only] = missing[..] else { panic!("{hit}: {missing:?}") };
        assert_eq!(only.detail.as_deref(), Some("table shipping: features.revenue_30d"));
        assert_eq!(rules_told(&decision), ["C"], "{hit}");
    }
}

#[test]
fn rows_stand_in_the_policy_too_and_the_table_speaks_for_them() {
    let table = r#"[[table]]
name = "stairs"
hit = "first"
when = "features.purchases_30d < 5"
then = "set"
actions = ["discount_10"]
reason = "STAIRS"
valid_until = 2030-01-01
owner = "growth"
columns = ["context.cart_value", "set.percent"]
rows = [[">= 100", 20], [">= 50", 15.5], [">= 20", "'12'"]]
"#;
    let policy = loaded(table, None);
    for (cart_value, payload) in [
        (120.0, r#"{"percent":20}"#),
        (60.0, r#"{"percent":15.5}"#),
        (20.0, r#"{"percent":"12"}"#),
        (10.0, r#"{"percent":10}"#),
    ] {
        assert_eq!(&*at(&policy, cart_value, "DE").payload, payload);
    }
    assert_eq!(
        policy.rule_in_english(&policy.rules()[1]),
        "row 2 of table stairs, of which the first that holds acts: if the number of purchases_30d is less than 5 and \
         the request's cart_value is at least 50 then set percent to 15.5 in the payload of discount_10 (STAIRS), until \
         2030-01-01T00:00:00.000Z"
    );
    assert_eq!(&**policy.rules()[1].id(), "stairs[2]");
    let expired = loaded(&table.replace("2030", "2020"), None);
    assert_eq!(&*at(&expired, 120.0, "DE").payload, r#"{"percent":10}"#);
}

#[test]
fn a_table_in_shadow_tells_its_row_and_changes_nothing() {
    for hit in ["first", "priority", "collect"] {
        let text = format!("{}mode = \"shadow\"\n", SHIPPING.replace("HIT", hit));
        let mut decision = at(&loaded(&text, Some(CSV)), 5.0, "FR");
        let told: Vec<_> = decision.shadow.drain(..).map(|why| why.detail.unwrap()).collect();
        assert_eq!(told, ["TINY".into()], "{hit}");
        assert_eq!(decision, at(&support::loaded(BASE), 5.0, "FR"));
    }
    let off = loaded(&format!("{}mode = \"off\"\n", SHIPPING.replace("HIT", "first")), Some(CSV));
    assert_eq!(at(&off, 5.0, "FR"), at(&support::loaded(BASE), 5.0, "FR"));
}

#[test]
fn the_files_of_a_policy_are_part_of_its_id_and_policies_without_any_keep_theirs() {
    let table = SHIPPING.replace("HIT", "first");
    let id = |csv: &str| loaded(&table, Some(csv)).id();
    assert_eq!(id(CSV), id(CSV));
    assert_ne!(id(CSV), id(&format!("{CSV}\n")));
    let text = support::loaded(BASE);
    let alone: PolicySource = SourceFile { name: "else.toml".to_owned(), text: BASE.to_owned() }.into();
    assert_eq!(PolicySnapshot::load(&alone, features(), &Shelf).unwrap().id(), text.id());
}

/// What is wrong in a file of rows, and what the author is told.
#[test]
fn every_mistake_in_a_cell_is_told_with_its_place() {
    let table = format!("{}then = \"deny\"\n", SHIPPING.replace("HIT", "first"));
    for (csv, expected) in [
        (
            "context.cart_valu,actions,reason\n> 2,discount_10,R\n",
            "shipping.csv:1:1: `context.cart_valu` in row 1 of table `shipping` at cart_page: `context.cart_valu` is not \
             a known name; did you mean `context.cart_value`?",
        ),
        (
            "context.cart_value,actions,reason\n> 2,discount_10,R\n>> 2,discount_10,R\n",
            "shipping.csv:3:2: `context.cart_value` in row 2 of table `shipping`: `>` is out of place; expected a value: \
             a name, a literal, `(` or `[`",
        ),
        (
            "context.country,actions,reason\n> 2,discount_10,R\n",
            "shipping.csv:2:1: `context.country` in row 1 of table `shipping` at cart_page: `>` cannot compare a text with \
             a number; expected two values of one type",
        ),
        (
            "actions,reason,context.cart_value,context.country\ndiscount_10,R, ,DE\ndiscount_10,R,> 1, == 5\n",
            "shipping.csv:3:20: `context.country` in row 2 of table `shipping` at cart_page: `==` cannot compare a text \
             with a number; expected two values of one type",
        ),
        (
            "context.country,action,reason\nDE,discount_10,R\n",
            "shipping.csv:1:17: `action` is not a column; expected a value such as `context.country`, `set.<key>`, or one \
             of `when`, `then`, `actions`, `points`, `factor`, `add`, `reason`, `priority`, `valid_from`, `valid_until`, \
             `owner`; did you mean `actions`?",
        ),
        (
            "context.country,actions,reason\nDE,discount_10 discount_11,R\n",
            "shipping.csv:2:16: there is no action `discount_11`; expected the name of a declared action; did you mean \
             `discount_10`?",
        ),
        (
            "context.country,actions,reason\nDE,none,R\n",
            "shipping.csv:2:4: row 1 of table `shipping` denies `none`, the default action of `cart_page`, which is never \
             refused; expected other actions, or `points` without that one",
        ),
        (
            "context.country,actions,reason,then\nDE,discount_10,R,refuse\n",
            "shipping.csv:2:18: `refuse` is not a value of `then`; expected one of `allow`, `deny`, `force`, `boost`, \
             `set`",
        ),
        (
            "context.country,actions,reason\nDE,discount_10,\n",
            "shipping.csv:2:1: the row has no `reason`, and the table says none for all; expected a reason code, like \
             `VIP_PAYS_FULL`",
        ),
        (
            "context.country,actions,reason\nDE,discount_10\n",
            "shipping.csv:2:1: the row has 2 cells; expected 3, one for each column",
        ),
        (
            "context.country,actions,reason,priority\nDE,discount_10,R,high\n",
            "shipping.csv:2:18: `high` in `priority` is not a whole number; expected a whole number",
        ),
        (
            "context.country,actions,reason,factor\nDE,discount_10,R,2\n",
            "shipping.csv:2:18: `factor` in a row that does not `boost`; expected a blank cell",
        ),
        (
            "context.country,actions,reason,set.percent\nDE,discount_10,R,2\n",
            "shipping.csv:2:18: `set.percent` in a row that does not `set`; expected a blank cell",
        ),
        (
            "context.country,actions,reason,valid_from\nDE,discount_10,R,soon\n",
            "shipping.csv:2:18: `soon` in `valid_from` is not an instant; expected a date like `2026-11-30`, which means \
             its first instant in UTC, or an instant like `2026-11-30T18:00:00+01:00`",
        ),
        (
            "context.country,context.country,actions,reason\nDE,,discount_10,R\n",
            "shipping.csv:1:17: the column `context.country` stands twice; expected each column once",
        ),
        (
            "context.country,actions,reason\n\"DE,discount_10,R\n",
            "shipping.csv:2:1: the quote that opens here is not closed; expected `\"`",
        ),
        ("", "shipping.csv:1:1: the file has no line; expected the titles of columns, then rows"),
    ] {
        assert_eq!(complaints(&table, Some(csv))[0], expected, "{csv}");
    }
}

#[test]
fn every_mistake_in_a_table_is_told_with_its_place() {
    for (table, expected) in [
        (
            "[[table]]\nname = \"t\"\nhit = \"first\"\nfile = \"t.csv\"\n",
            "policy.toml:22:8: there is no file `t.csv` beside the policy; expected a file that goes with the policy",
        ),
        (
            "[[table]]\nname = \"t\"\nhit = \"first\"\nfile = \"../t.csv\"\n",
            "policy.toml:22:8: `../t.csv` in `file` cannot be the file of a table; expected the plain name of a file \
             beside the policy, like `\"shipping.csv\"`: lower-case letters, digits, `_` and `-`, at most 64, then `.csv`",
        ),
        (
            "[[table]]\nname = \"t\"\nhit = \"last\"\ncolumns = [\"reason\"]\nrows = []\n",
            "policy.toml:21:7: `last` is not a value of `hit`; expected one of `first`, `priority`, `collect`",
        ),
        (
            "[[table]]\nname = \"t\"\nfile = \"t.csv\"\n",
            "policy.toml:19:1: table has no `hit`; expected one of `first`, `priority`, `collect`",
        ),
        (
            "[[table]]\nname = \"t\"\nhit = \"first\"\n",
            "policy.toml:19:1: table has no `file`; expected `file`, or `columns` and `rows`",
        ),
        (
            "[[table]]\nname = \"t\"\nhit = \"first\"\ncolumns = [\"context.country\"]\nrows = [[[1]]]\nthen = \"deny\"\n\
             actions = [\"discount_10\"]\nreason = \"R\"\n",
            "policy.toml:23:10: `rows` is a list; expected a text, a number, `true` or `false` in each cell",
        ),
        (
            "[[table]]\nname = \"t\"\nhit = \"first\"\ncolumns = [\"context.country\"]\nrows = [[\"DE\"], [\"!= oops.x\"]]\n\
             then = \"deny\"\nactions = [\"discount_10\"]\nreason = \"R\"\n",
            "policy.toml:23:22: `context.country` in row 2 of table `t` at cart_page: `oops.x` is not a known name",
        ),
    ] {
        assert_eq!(complaints(table, None)[0], expected, "{table}");
    }
}

#[test]
fn rows_are_bounded_and_so_are_the_complaints_about_them() {
    let table = format!(
        "{}then = \"deny\"\nactions = [\"discount_10\"]\nreason = \"R\"\n",
        SHIPPING.replace("HIT", "first")
    );
    let rows: String = (0..10_001).map(|n| format!("> {n}\n")).collect();
    assert_eq!(
        complaints(&table, Some(&format!("context.cart_value\n{rows}"))),
        [
            "shipping.csv:10002:1: the tables have more than 10000 rows; expected at most 10000 over all tables"
        ]
    );
    let bad: String = (0..5_000).map(|_| "> oops\n").collect();
    assert_eq!(complaints(&table, Some(&format!("context.cart_value\n{bad}"))).len(), 100);
    let long = format!("context.country\n{}\n", "x".repeat(1_025));
    assert_eq!(
        complaints(&table, Some(&long)),
        ["shipping.csv:2:1: the cell has 1025 bytes; expected at most 1024"]
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A table whose rows all act decides as the same rules would.
    #[test]
    fn collected_rows_are_rules(
        rows in proptest::collection::vec((0..60_u32, 1..30_u32, 0..3_usize, 0..3_usize, -3..3_i32), 1..8),
        cart_value in 0..60_u32,
        country in 0..3_usize,
    ) {
        let countries = ["DE", "FR", "AT"];
        let effects = ["deny", "force", "boost"];
        let mut csv = "context.cart_value,context.country,then,reason,priority,add\n".to_owned();
        let mut rules = String::new();
        for (index, (low, length, of, effect, priority)) in rows.iter().enumerate() {
            let (high, of, effect) = (low + length, countries[*of], effects[*effect]);
            let add = if effect == "boost" { "3" } else { "" };
            csv += &format!("{low}..{high},{of},{effect},R{index},{priority},{add}\n");
            let add = if effect == "boost" { "add = 3\n" } else { "" };
            rules += &format!(
                "[[rule]]\nid = \"r{index}\"\nthen = \"{effect}\"\nreason = \"R{index}\"\npriority = {priority}\n{add}\
                 actions = [\"free_shipping\"]\n\
                 when = \"context.cart_value >= {low} && context.cart_value < {high} && context.country == '{of}'\"\n"
            );
        }
        let table = format!("{}actions = [\"free_shipping\"]\n", SHIPPING.replace("HIT", "collect"));
        let (as_table, as_rules) = (loaded(&table, Some(&csv)), support::loaded(&format!("{BASE}{rules}")));
        let (value, country) = (f64::from(cart_value), countries[country]);
        prop_assert_eq!(at(&as_table, value, country), at(&as_rules, value, country));
    }
}
