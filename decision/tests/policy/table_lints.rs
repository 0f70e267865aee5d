//! What a lint finds in decision tables: values for which no row holds, rows that never act, rows that get into each
//! other's way; and that each finding leads into the file that the row is in.

use std::convert::Infallible;

use augur_decision::{LintContext, PolicySnapshot, PolicySource, PossibleValues, SourceFile};

use crate::support::{FEATURES, NOW, Shelf, features};

const BASE: &str = r#"version = 1
[[decision_point]]
name = "page"
actions = ["a", "b", "none"]
default_action = "none"
deadline = "50ms"
[decision_point.context]
country = { type = "text", values = ["DE", "AT", "CH"] }
cart_value = "number"
returning = "boolean"
waited = "duration"
[[action]]
name = "a"
payload = { percent = 10 }
[[action]]
name = "b"
[[action]]
name = "none"
"#;

fn source(table: &str, csv: &str) -> PolicySource {
    let policy = SourceFile { name: "policy.toml".to_owned(), text: format!("{BASE}{table}") };
    let read =
        |name: &str| Ok::<_, Infallible>(Some(SourceFile { name: name.to_owned(), text: csv.to_owned() }));
    PolicySource::gather(policy, read).unwrap()
}

/// `file:line CODE message` per finding about tables.
fn lint(table: &str, csv: &str) -> Vec<String> {
    let source = source(table, csv);
    let policy = PolicySnapshot::load(&source, features(), &Shelf);
    let policy = policy.unwrap_or_else(|complaints| panic!("{complaints:#?}"));
    let mut values = vec![PossibleValues::default(); FEATURES.len()];
    values[0] = PossibleValues { least: Some(0.0), greatest: None, is_whole: true };
    let findings = policy.lint(&source, LintContext { now: NOW, features: &values });
    let told = findings.iter().filter(|finding| !finding.code.as_str().ends_with("UNREAD"));
    told.map(|finding| {
        let place = &finding.complaint;
        format!("{}:{} {} {}", place.file, place.line, finding.code.as_str(), place.message)
    })
    .collect()
}

/// The findings of a table `t` in a file, whose rows deny `a` unless they say otherwise.
fn of_rows(hit: &str, csv: &str) -> Vec<String> {
    let table = format!(
        "[[table]]\nname = \"t\"\nfile = \"t.csv\"\nhit = \"{hit}\"\nthen = \"deny\"\nactions = [\"a\"]\nreason = \"R\"\n"
    );
    lint(&table, csv)
}

fn finds(hit: &str, csv: &str, expected: &[&str]) {
    let found = of_rows(hit, csv);
    let found: Vec<&str> = found.iter().map(String::as_str).collect();
    assert_eq!(found, expected, "{csv}");
}

const NONE: [&str; 0] = [];

#[test]
fn values_for_which_no_row_holds_are_shown() {
    for (csv, gap) in [
        ("context.cart_value\n< 20\n> 20\n", "`context.cart_value` = 20"),
        ("context.country\nDE\nin ['AT']\n", "`context.country` = 'CH'"),
        (
            "context.country,context.cart_value\nDE,< 20\nnot in ['DE'],\n",
            "`context.cart_value` = 20, `context.country` = 'DE'",
        ),
        ("context.returning\ntrue\n", "`context.returning` = false"),
        ("features.purchases_7d\n0\n> 1\n", "`features.purchases_7d` = 1"),
        ("context.waited\n< duration('1h')\n", "`context.waited` = 1h"),
    ] {
        for hit in ["first", "priority", "collect"] {
            finds(hit, csv, &[&format!("policy.toml:20 TABLE_GAP no row of table `t` holds for {gap}")]);
        }
    }
}

#[test]
fn tables_without_gaps_are_left_alone() {
    for csv in [
        "context.cart_value\n< 20\n>= 20\n",
        "context.country\nDE\nAT\nCH\n",
        "context.country,context.cart_value\nDE,< 20\nDE,>= 20\n!= DE,\n",
        "context.returning\ntrue\nfalse\n",
        // Counts are whole and never negative.
        "features.purchases_7d\n0\n1..3\n>= 3\n",
        "context.waited\n< duration('1h')\n>= duration('1h')\n",
        "context.country,then,factor\nDE,deny,\n*,boost,2\n",
        // What is not understood may hold for everything.
        "when\ncontext.cart_value + 1 > 20\n",
    ] {
        finds("collect", csv, &NONE);
    }
}

#[test]
fn several_examples_are_given_and_what_is_meant_can_be_said() {
    let csv = "context.country\nDE\n";
    finds("first", csv, &["policy.toml:20 TABLE_GAP no row of table `t` holds for `context.country` = 'AT'"]);
    let table = |more: &str| {
        format!(
            "[[table]]\nname = \"t\"\nfile = \"t.csv\"\nhit = \"first\"\nthen = \"deny\"\nactions = [\"a\"]\nreason = \"R\"\n{more}\n"
        )
    };
    assert!(lint(&table("complete = true"), csv)[0].contains("TABLE_INCOMPLETE"));
    assert_eq!(lint(&table("complete = false"), csv), NONE);
    assert_eq!(lint(&table("mode = \"off\""), csv), NONE);
    let two = lint(&table(""), "context.cart_value\n0..10\n20..30\n");
    assert!(two[0].ends_with("= 30; or `context.cart_value` = 10; or `context.cart_value` = -1"), "{two:?}");
}

#[test]
fn a_table_that_holds_at_two_points_is_told_of_each_that_differs() {
    let table = r#"
[[decision_point]]
name = "mail"
actions = ["b", "none"]
default_action = "none"
deadline = "50ms"
context = { cart_value = "number" }
[[table]]
name = "t"
hit = "first"
then = "deny"
reason = "R"
columns = ["context.cart_value", "actions"]
rows = [["< 10", "a b"], [">= 10", "a"]]
"#;
    let found = lint(table, "");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("holds for `context.cart_value` = 10"), "{found:?}");
}

#[test]
fn rows_that_never_act_are_told_with_their_place_in_the_file() {
    finds(
        "first",
        "context.cart_value\n# big ones\n> 20\n> 30\n<= 20\n",
        &["t.csv:4 SHADOWED row 2 of table `t` never acts: row 1 always acts before it"],
    );
    finds(
        "first",
        "context.country,context.cart_value\n,< 20\n,>= 20\nDE,> 5\n",
        // Without a cart value, the last row could not be answered either.
        &["t.csv:4 SHADOWED row 3 of table `t` never acts: the rows before it leave nothing to it"],
    );
    finds("first", "context.country,context.cart_value\n,< 20\n,>= 20\nDE,\n", &NONE);
    finds(
        "priority",
        "context.cart_value,priority\n> 30,1\n,9\n",
        &["t.csv:2 SHADOWED row 1 of table `t` never acts: row 2 always acts before it"],
    );
    finds("first", "context.cart_value,valid_until\n> 20,2090-01-01\n> 30,\n<= 20,\n", &NONE);
}

#[test]
fn rows_of_equal_priority_that_disagree_are_told() {
    finds(
        "priority",
        "context.cart_value,reason\n<= 20,LOW\n>= 20,HIGH\n",
        &[
            "t.csv:3 TABLE_OVERLAP rows 1 and 2 of table `t` both hold for `context.cart_value` = 20, with equal priority, and \
           do different things: the first decides",
        ],
    );
    finds("priority", "context.cart_value,reason,priority\n<= 20,LOW,1\n>= 20,HIGH,\n", &NONE);
    finds("priority", "context.cart_value\n<= 20\n>= 20\n", &NONE);
    finds("first", "context.cart_value,reason\n<= 20,LOW\n>= 20,HIGH\n", &NONE);
    let collect = |csv: &str| of_rows("collect", csv);
    assert_eq!(collect("context.cart_value,reason\n<= 20,LOW\n>= 20,HIGH\n"), NONE, "both refuse");
    let forced = collect("context.cart_value,then,actions\n<= 20,force,a\n>= 20,force,b\n");
    assert!(forced.len() == 1 && forced[0].starts_with("t.csv:3 TABLE_OVERLAP rows 1 and 2"), "{forced:?}");
    let set = collect("context.cart_value,then,set.percent\n<= 20,set,5\n>= 20,set,15\n");
    assert!(set.len() == 1 && set[0].starts_with("t.csv:3 TABLE_OVERLAP"), "{set:?}");
    assert_eq!(collect("context.cart_value,then,set.percent\n<= 20,set,5\n>= 20,set,5\n"), NONE);
}

#[test]
fn rows_are_checked_as_rules_are_and_found_in_their_file() {
    finds(
        "collect",
        "context.cart_value,context.country\n< 5 && > 10,\n,!= DE\n,DE\n",
        &["t.csv:2 NEVER_TRUE row 1 of table `t` never fires: its condition contradicts itself"],
    );
    finds(
        "collect",
        "context.cart_value,valid_until\n< 5,2020-01-01\n> 3,\n<= 3,\n",
        &["t.csv:2 WINDOW_OVER row 1 of table `t` holds no more since 2020-01-01T00:00:00.000Z"],
    );
    finds(
        "collect",
        "context.cart_value\n\n> 5\n> 9\n<= 5\n",
        &[
            "t.csv:4 SHADOWED row 2 of table `t` refuses nothing that row 1 of table `t` has not refused before",
        ],
    );
    // Of a rule and a row that may not act.
    let rule = "[[rule]]\nid = \"wide\"\nwhen = \"context.cart_value > 1\"\nthen = \"deny\"\nactions = [\"a\"]\nreason = \"R\"\n";
    let table = "[[table]]\nname = \"t\"\nfile = \"t.csv\"\nhit = \"first\"\nthen = \"deny\"\nactions = [\"a\"]\nreason = \"R\"\n";
    assert_eq!(lint(&format!("{table}{rule}"), "context.cart_value\n> 0\n*\n"), NONE);
}

#[test]
fn a_table_of_the_largest_size_is_checked_in_time() {
    let rows: String = (0..10_000).map(|n| format!("{n}..{}\n", n + 1)).collect();
    let found = of_rows("first", &format!("context.cart_value\n{rows}"));
    assert!(found.len() == 1 && found[0].contains("TABLE_GAP"), "{found:?}");
}
