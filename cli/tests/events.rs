//! `augur events`, as typed: what a faulty taxonomy says, and what a good one lists.
//!
//! Not here: what each complaint says; the feature store's tests do.

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")
)]

use std::path::Path;
use std::process::{Command, Output};

fn augur(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_augur")).args(arguments).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn a_taxonomy_is_checked_and_listed() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/events.toml");
    let shipped = shipped.to_str().unwrap();
    let good = augur(&["events", "check", shipped]);
    assert_eq!(good.status.code(), Some(0), "{good:?}");
    assert!(text(&good).starts_with("valid: 9 events with "), "{good:?}");
    let listed = text(&augur(&["events", "list", "--file", shipped]));
    assert!(listed.contains("purchase") && listed.contains("was revenue"), "{listed}");
    let json: serde_json::Value =
        serde_json::from_slice(&augur(&["--json", "events", "list", "--file", shipped]).stdout).unwrap();
    assert_eq!(json["events"][3]["name"], "page_view");
    assert_eq!(json["events"][3]["properties"][0]["type"], "text");

    let dir = tempfile::tempdir().unwrap();
    let faulty = dir.path().join("events.toml");
    std::fs::write(&faulty, "version = 1\n[policy]\nunknown_events = \"rejct\"\n").unwrap();
    let faulty = faulty.to_str().unwrap();
    let bad = augur(&["events", "check", faulty]);
    assert_eq!(bad.status.code(), Some(3), "{bad:?}");
    assert!(text(&bad).contains("events.toml:3:18: `unknown_events` is `\"rejct\"`"), "{bad:?}");
    let json: serde_json::Value =
        serde_json::from_slice(&augur(&["--json", "events", "check", faulty]).stdout).unwrap();
    assert_eq!((&json["valid"], &json["faults"][0]["line"]), (&false.into(), &3.into()));
    assert_eq!(augur(&["events", "check", "no-such-file"]).status.code(), Some(1));
}

#[test]
fn the_quarantine_is_worked_off_and_an_event_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let data = data.to_str().unwrap();
    let rows = dir.path().join("orders.csv");
    // Text where the shipped taxonomy wants a number, and a name that breaks the rule.
    std::fs::write(&rows, "id,u,t,e,v\nm1,ada,1795366965,purchase,20\nm2,ada,1795366966,purchase,x12\nm3,ada,1795366967,b\u{7},1\n")
        .unwrap();
    let maps = ["message_id=id", "user_id=u", "timestamp=t:s", "event=e"];
    let maps = maps.iter().flat_map(|map| ["--map", map]);
    let arguments: Vec<&str> = ["import", rows.to_str().unwrap(), "--data", data, "--prop", "value=v"]
        .into_iter()
        .chain(maps)
        .collect();
    assert_eq!(augur(&arguments).status.code(), Some(3));

    let run = |arguments: &[&str]| {
        let out = augur(&[&["--json", "events"], arguments, &["--data", data]].concat());
        let json: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap_or_default();
        (out.status.code().unwrap(), json)
    };
    let (_, listed) = run(&["quarantine", "list"]);
    let entries = listed["entries"].as_array().unwrap();
    let told: Vec<_> = entries.iter().map(|entry| entry["reason"].as_str().unwrap()).collect();
    assert_eq!(told, ["WRONG_TYPE", "INVALID_NAME"]);
    let number = entries[0]["number"].to_string();
    let (_, shown) = run(&["quarantine", "show", &number]);
    assert_eq!((&shown["properties"]["value"], &shown["whole"]), (&"x12".into(), &true.into()));
    assert_eq!(run(&["quarantine", "show", "999"]).0, 1);

    let suggested = augur(&["events", "suggest", "--data", data]);
    let proposal = dir.path().join("proposal.toml");
    std::fs::write(&proposal, &suggested.stdout).unwrap();
    assert!(text(&suggested).contains("name = \"purchase\""), "{suggested:?}");
    assert_eq!(augur(&["events", "check", proposal.to_str().unwrap()]).status.code(), Some(0));
    let (code, stays) = run(&["quarantine", "replay", &number]);
    assert_eq!((code, &stays["stays"][0]["reason"]), (3, &"WRONG_TYPE".into()));
    let mended = ["quarantine", "replay", "--all", "--event", "purchase", "--set", "properties.value=12"];
    let (code, replayed) = run(&mended);
    assert_eq!((code, &replayed["accepted"]), (0, &1.into()), "{replayed}");
    assert_eq!(run(&["quarantine", "delete", "--all"]).1["deleted"], 1);
    assert_eq!(run(&["quarantine", "list"]).1["entries"], serde_json::json!([]));

    // The shipped taxonomy says what may be taken back.
    let retract = |message: &str| run(&["retract", "--user-id", "ada", "--message-id", message]);
    assert_eq!(retract("nothing").1["reason"], "UNKNOWN_ORIGINAL");
    assert_eq!(retract("m2").1["reason"], "NOT_RETRACTABLE");
    // What has no name is told by its type.
    let (_, listed) = run(&["quarantine", "list"]);
    assert_eq!(
        (&listed["entries"][0]["event"], &listed["entries"][0]["type"]),
        (&"".into(), &"retract".into())
    );
    let file = dir.path().join("data/events.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("An order was paid\"", "An order was paid\"\nretractable = true"))
        .unwrap();
    // Some of the shipped features cannot un-count: that must be said before a purchase may be taken back.
    let refused = augur(&["events", "quarantine", "list", "--data", data]);
    assert_eq!(refused.status.code(), Some(1));
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(told.contains("features.toml:") && told.contains("retractable = false"), "{told}");
    let file = dir.path().join("data/features.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let computed = ["derived", "ratio", "request"].map(|kind| format!("kind = \"{kind}\""));
    let lines =
        text.lines().map(|line| match line.starts_with("kind = ") && !computed.contains(&line.to_owned()) {
            true => format!("{line}\nretractable = false\n"),
            false => format!("{line}\n"),
        });
    std::fs::write(&file, lines.collect::<String>()).unwrap();
    let (code, taken) = retract("m2");
    assert_eq!((code, &taken["outcome"]), (0, &"ACCEPTED".into()), "{taken}");
    assert_eq!(retract("m2").1["outcome"], "DUPLICATE");
    let verified = augur(&["features", "verify", "--data", data]);
    assert_eq!(verified.status.code(), Some(0), "{verified:?}");
}

#[test]
fn a_policy_is_checked_over_the_events_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    for name in ["policy.toml", "features.toml", "events.toml"] {
        std::fs::copy(format!("{}/../config/{name}", env!("CARGO_MANIFEST_DIR")), file(name)).unwrap();
    }
    // Only the taxonomy says what the condition's property holds.
    let features = std::fs::read_to_string(file("features.toml")).unwrap();
    let features = features.replace("property_types = { discount = \"number\" }\n", "");
    std::fs::write(file("features.toml"), features).unwrap();
    let checked = augur(&["policy", "check", &file("policy.toml")]);
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
    std::fs::remove_file(file("events.toml")).unwrap();
    assert_eq!(augur(&["policy", "check", &file("policy.toml")]).status.code(), Some(3));

    // A name without its length of time is told those that it has, also to machines.
    let (name, features) =
        ("sale_purchases", format!("{}/../config/features.toml", env!("CARGO_MANIFEST_DIR")));
    let unknown = augur(&["--json", "features", "explain", name, "--file", &features]);
    assert_eq!(unknown.status.code(), Some(3), "{unknown:?}");
    let told: serde_json::Value = serde_json::from_slice(&unknown.stdout).unwrap();
    assert_eq!(told["faults"][0]["expected"], "one of sale_purchases_90d");
}
