//! End to end on a real clickstream: import, train, decide for everybody, replay without a difference.
//!
//! The data are not part of this repository: `AUGUR_DATA` names their directory, `../shared/data` beside the
//! workspace otherwise. Not here: the larger retail log, which `scripts/real_data.sh` runs in release.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it did not expect")]

use std::path::{Path, PathBuf};
use std::process::Command;

fn events() -> Option<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let dir = std::env::var_os("AUGUR_DATA").map_or_else(|| workspace.join("../shared/data"), PathBuf::from);
    let file = dir.join("jdata_sample/events.csv.gz");
    file.is_file().then_some(file)
}

fn augur(arguments: &[&str], data: &Path) -> serde_json::Value {
    let output = Command::new(env!("CARGO_BIN_EXE_augur"))
        .args(arguments)
        .arg("--json")
        .arg("--data")
        .arg(data)
        .output()
        .unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{arguments:?}: {}\n{stdout}\n{stderr}", output.status);
    serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{arguments:?}: {error}\n{stdout}"))
}

#[test]
fn a_real_clickstream_goes_all_the_way() {
    let Some(file) = events() else {
        println!("SKIPPED: no jdata_sample/events.csv.gz; set AUGUR_DATA to the directory that holds it");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path();
    let file = file.to_str().unwrap();
    let import = [
        "import",
        file,
        "--map",
        "user_id=user_id",
        "--map",
        "timestamp=ts_ms:ms",
        "--map",
        "event=event",
        "--prop",
        "item_id=item_id:text",
        "--prop",
        "brand=brand:text",
        "--map-event",
        "click=view_item",
        "--map-event",
        "browse=page_view",
        "--map-event",
        "order=purchase",
    ];
    let imported = augur(&import, data);
    println!("import: {imported}");
    assert_eq!((imported["rows"].as_u64(), imported["accepted"].as_u64()), (Some(89_187), Some(89_187)));
    let again = augur(&import, data);
    assert_eq!((again["accepted"].as_u64(), again["duplicates"].as_u64()), (Some(0), Some(89_187)));

    let trained = augur(
        &["train", "--task", "conversion", "--event", "add_to_cart", "--horizon", "7d", "--cutoffs", "4"],
        data,
    );
    println!("conversion: {}", trained["report"]["out_of_time"]);
    let auc = trained["report"]["out_of_time"]["roc_auc"].as_f64().unwrap();
    assert!(auc > 0.5, "{auc}");
    let trained = augur(&["train", "--task", "churn", "--inactive", "7d", "--cutoffs", "4"], data);
    println!("churn: {}", trained["report"]["out_of_time"]);

    let decided = augur(&["decide-all", "--point", "weekly_email", "--at", "end"], data);
    println!("decide-all: {decided}");
    assert_eq!(decided["decisions"], 8_514);
    let replayed = augur(&["replay", "--verify"], data);
    println!("replay: {replayed}");
    assert_eq!(replayed["verdict"], "identical");
    assert_eq!(replayed["records"], 8_514);
}
