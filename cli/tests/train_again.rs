//! Training that goes on from what was learned before, on a data directory: versions in parts, and warm starts.
//!
//! Not here: what a warm start does to a fit (`augur-models`), or tables (`train_table`).

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it did not expect")]

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

const DAY_S: u64 = 86_400;

fn augur(arguments: &[&str], data: &Path) -> (Result<serde_json::Value, String>, Option<i32>) {
    let output = Command::new(env!("CARGO_BIN_EXE_augur"))
        .args(arguments)
        .arg("--json")
        .arg("--data")
        .arg(data)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let report =
        serde_json::from_slice(&output.stdout).map_err(|_| text(&output.stdout) + &text(&output.stderr));
    (report, output.status.code())
}

fn fine(arguments: &[&str], data: &Path) -> serde_json::Value {
    let (report, code) = augur(arguments, data);
    let report = report.unwrap_or_else(|told| panic!("{arguments:?}: {told}"));
    assert_eq!(code, Some(0), "{report}");
    report
}

/// People who look at things every third day for sixty days; every second of them buys a week after each tenth look.
fn events() -> String {
    let mut rows = "who,at,what\n".to_owned();
    for person in 0..120_u64 {
        for look in 0..20_u64 {
            let at = 1_700_000_000 + look * 3 * DAY_S + person * 601;
            writeln!(rows, "p{person},{at},view_item").unwrap();
            if person % 2 == 0 && (look + person) % 5 == 0 {
                writeln!(rows, "p{person},{},add_to_cart", at + 60).unwrap();
                writeln!(rows, "p{person},{},purchase", at + DAY_S).unwrap();
            }
        }
    }
    rows
}

#[test]
fn a_model_is_published_in_parts_and_gone_on_from() {
    let dir = tempfile::tempdir().unwrap();
    let (data, file) = (dir.path().join("data"), dir.path().join("events.csv"));
    std::fs::write(&file, events()).unwrap();
    let mapping = ["--map", "user_id=who", "--map", "timestamp=at", "--map", "event=what"];
    fine(&[&["import", file.to_str().unwrap()], &mapping[..]].concat(), &data);

    let task = ["train", "--task", "conversion", "--horizon", "5d", "--cutoffs", "6"];
    let trained = |more: &[&str]| fine(&[&task[..], more].concat(), &data);
    let online = trained(&["--family", "ftrl", "--every", "120"]);
    let versions: Vec<u64> =
        online["versions"].as_array().unwrap().iter().map(|version| version.as_u64().unwrap()).collect();
    assert!(versions.len() >= 2, "{online}");
    assert_eq!(versions, (1..=versions.len() as u64).collect::<Vec<_>>());
    assert_eq!(online["version"].as_u64(), versions.last().copied());

    // Nothing is later than what the last version has learned from.
    let (told, code) =
        augur(&[&task[..], &["--family", "ftrl", "--warm-from", "conversion"]].concat(), &data);
    assert_ne!(code, Some(0), "{told:?}");
    assert!(told.unwrap_err().contains("0 training rows"), "a reason is told");

    let cold = trained(&["--search", "none"]);
    let warm = trained(&["--warm-from", "conversion"]);
    let convergence =
        |report: &serde_json::Value, field: &str| report["report"]["convergence"][field].clone();
    assert_eq!(convergence(&warm, "warm_start"), true);
    let steps = |report| convergence(report, "newton_steps").as_u64().unwrap();
    assert!(steps(&warm) < steps(&cold), "the champion is the optimum of the same rows: {warm}");
    assert_eq!(convergence(&cold, "warm_start"), false);
    let (told, code) = augur(&[&task[..], &["--every", "120"]].concat(), &data);
    assert_eq!(code, Some(1), "{told:?}");
}
