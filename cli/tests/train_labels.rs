//! `augur train --labels` through the binary: labels of somebody's own, joined with stored features as they were.
//!
//! Not here: exports of the same rows (`exports`), or how good fits are (`augur_models`).

#![expect(clippy::unwrap_used, clippy::float_cmp, reason = "a test stops at what it did not expect")]

use std::fmt::Write as _;
use std::process::{Command, Output};

struct Shop {
    dir: tempfile::TempDir,
    data: String,
}

/// Days on which labels are as of.
const INSTANTS: [u8; 3] = [10, 16, 22];
const PEOPLE: usize = 60;
/// Beside the shipped ones, which the shipped policy reads.
const FEATURES: &str = "
[[feature]]
name = 'all_views'
kind = 'total_count'
events = ['view_item']
[[feature]]
name = 'all_purchases'
kind = 'total_count'
events = ['purchase']
";

impl Shop {
    /// People who look at things early in January; whoever looked at many buys at the very instant of each label.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("shop");
        std::fs::create_dir(&data).unwrap();
        let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/features.toml");
        let features = std::fs::read_to_string(shipped).unwrap() + FEATURES;
        std::fs::write(data.join("features.toml"), features).unwrap();
        let shop = Self { data: data.to_str().unwrap().to_owned(), dir };
        let mut events = String::from("user_id,timestamp,event\n");
        for person in 0..PEOPLE {
            for view in 0..=views(person) {
                writeln!(events, "u{person},2026-01-0{}T0{view}:00:00Z,view_item", 1 + person % 8).unwrap();
            }
            if positive(person) {
                writeln!(events, "u{person},2026-01-{}T00:00:00Z,purchase", INSTANTS[2]).unwrap();
            }
        }
        let events = shop.file("events.csv", &events);
        let maps = ["--map", "user_id=user_id", "--map", "timestamp=timestamp", "--map", "event=event"];
        let imported = shop.augur(&[&["import", &events][..], &maps].concat());
        assert!(imported.status.success(), "{}", String::from_utf8_lossy(&imported.stderr));
        shop
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn augur(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_augur"));
        command.args(arguments).args(["--data", &self.data, "--json"]).output().unwrap()
    }

    fn train(&self, labels: &str, more: &[&str]) -> Output {
        self.augur(&[&["train", "--labels", labels, "--name", "winback"][..], more].concat())
    }

    fn refusal(&self, labels: &str, more: &[&str]) -> String {
        let refused = self.train(labels, more);
        assert_eq!(refused.status.code(), Some(1));
        String::from_utf8(refused.stderr).unwrap()
    }
}

fn views(person: usize) -> usize {
    person * 7 % 10
}

fn positive(person: usize) -> bool {
    views(person) > 5 || person.is_multiple_of(11)
}

/// A label per person and instant.
fn labels() -> String {
    let mut labels = String::from("who,at,came\n");
    for day in INSTANTS {
        for person in 0..PEOPLE {
            writeln!(labels, "u{person},2026-01-{day}T00:00:00Z,{}", positive(person)).unwrap();
        }
    }
    labels + "ghost,2026-01-10T00:00:00Z,false\n"
}

const MAPS: [&str; 6] = ["--map", "user_id=who", "--map", "timestamp=at", "--map", "label=came"];

fn json(output: &Output) -> serde_json::Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn labels_learn_from_what_was_known_before_their_instant() {
    let shop = Shop::new();
    let labels = shop.file("labels.csv", &labels());
    let trained = json(&shop.train(&labels, &[&MAPS[..], &["--positive-class", "bought"]].concat()));
    let told = &trained["labels"];
    assert_eq!((&told["rows"], &told["without_features"]), (&181.into(), &1.into()));
    assert_eq!((&told["left_out"], &told["test_from"]), (&0.into(), &"2026-01-22T00:00:00.000Z".into()));
    let report = &trained["report"];
    assert_eq!((&report["train_rows"], &report["test_rows"]), (&121.into(), &60.into()));
    // The purchase at the very instant is what the label was made of: no row may know of it.
    let features = report["features"].as_array().unwrap();
    let mean = |name: &str| {
        let found = features.iter().find(|feature| feature["feature"] == name).unwrap();
        found["mean"].as_f64().unwrap()
    };
    assert_eq!(mean("all_purchases"), 0.0, "{report}");
    assert!(mean("all_views") > 0.0, "{report}");
    assert!(report["out_of_time"]["roc_auc"].as_f64().unwrap() > 0.8, "{report}");
    assert_eq!(trained["promoted"], true);

    let shown = json(&shop.augur(&["models", "show", "winback"]));
    assert!(shown.to_string().contains("bought"), "{shown}");
    let again = json(&shop.train(&labels, &[&MAPS[..], &["--positive-class", "bought"]].concat()));
    assert_eq!(again["report"]["out_of_time"], report["out_of_time"]);

    // Of the earlier instants, one lies within ten days of the time held back.
    let apart = json(&shop.train(&labels, &[&MAPS[..], &["--horizon", "10d", "--no-promote"]].concat()));
    assert_eq!((&apart["labels"]["left_out"], &apart["report"]["train_rows"]), (&60.into(), &61.into()));
    let from = ["--test-from", "2026-01-16", "--no-promote"];
    let from = json(&shop.train(&labels, &[&MAPS[..], &from].concat()));
    assert_eq!(from["report"]["test_rows"], 120);
}

#[test]
fn labels_that_cannot_teach_are_refused_with_their_place() {
    let shop = Shop::new();
    let good = shop.file("labels.csv", &labels());
    let refused = |text: &str| shop.refusal(&shop.file("bad.csv", text), &[]);
    let told = refused("user_id,timestamp,label\nu1,2026-01-10,1\nu2,2026-01-10,0.7\n");
    assert!(told.contains("row 2") && told.contains("`0.7`; expected 1, 0, true or false"), "{told}");
    let told = refused("user_id,timestamp,label\nu1,2026-01-10,\n");
    assert!(told.contains("row 1"), "{told}");
    let told = refused("user_id,timestamp\nu1,2026-01-10\n");
    assert!(told.contains("no column for `label`"), "{told}");
    let told = refused("user_id,timestamp,label\nghost,2026-01-10,1\n");
    assert!(told.contains("none is of somebody with an event") && told.contains("--map user_id"), "{told}");
    let told = shop.refusal(&good, &[&MAPS[..], &["--test-from", "2026-03-01"]].concat());
    assert!(told.contains("--test-from") && told.contains("2026-01-22"), "{told}");
    let unnamed = shop.augur(&["train", "--labels", &good, "--name", "Win back"]);
    assert!(String::from_utf8_lossy(&unnamed.stderr).contains("model name"));
    assert_eq!(json(&shop.augur(&["models", "list"])), serde_json::json!([]), "nothing was published");
}
