//! Real shops' events through the binary: import, export as of given instants, and comparison, column by column, with
//! values that an independent program computed.
//!
//! The data are not part of this repository: `AUGUR_DATA` names their directory, `../shared/data` beside the workspace
//! otherwise. Every eighth user is compared, and everybody with `AUGUR_GOLDEN=all`. Any other data can be compared the
//! same way by hand: see `augur features compare --help`. Not here: the same without the binary
//! (`feature-store/tests/golden_data.rs`).

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test stops at what it did not expect"
)]

use std::fmt::Write as _;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// One data set: events, tasks with golden values, and what they are computed from.
struct DataSet {
    folder: &'static str,
    events: &'static [&'static str],
    half_lives: &'static str,
    windows: &'static str,
    with_value: bool,
    tasks: &'static [&'static str],
}

fn folder(name: &str) -> Option<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let root = std::env::var_os("AUGUR_DATA").map_or_else(|| workspace.join("../shared/data"), PathBuf::from);
    let folder = root.join(name);
    if !folder.is_dir() {
        println!("SKIPPED: {} is not there; set AUGUR_DATA to the data folder", folder.display());
        return None;
    }
    Some(folder)
}

fn augur(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_augur")).args(arguments).arg("--json").output().unwrap()
}

fn answer(arguments: &[&str]) -> serde_json::Value {
    let output = augur(arguments);
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{arguments:?}: {}\n{stdout}\n{stderr}", output.status);
    serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{arguments:?}: {error}\n{stdout}"))
}

/// Rows of the compared users, unpacked; returns the header.
fn copy_compared(from: &Path, to: &Path) -> Vec<String> {
    let everybody = std::env::var_os("AUGUR_GOLDEN").is_some_and(|wanted| wanted == "all");
    let mut reader = csv::Reader::from_reader(flate2::read::GzDecoder::new(File::open(from).unwrap()));
    let mut writer = csv::Writer::from_path(to).unwrap();
    let header = reader.headers().unwrap().clone();
    writer.write_record(&header).unwrap();
    let user = header.iter().position(|name| name == "user_id").unwrap();
    for row in reader.records() {
        let row = row.unwrap();
        if everybody || row[user].parse::<u64>().unwrap() % 8 == 0 {
            writer.write_record(&row).unwrap();
        }
    }
    writer.flush().unwrap();
    header.iter().map(str::to_owned).collect()
}

/// Features as the other program defines them.
fn definitions(set: &DataSet) -> String {
    let (half_lives, windows) = (set.half_lives, set.windows);
    let mut text = "version = 1\n".to_owned();
    let mut declare = |name: &str, kind: &str, keys: &str| {
        write!(text, "[[feature]]\nname = '{name}'\nkind = '{kind}'\n{keys}\n").unwrap();
    };
    for name in set.events {
        let of = format!("events = ['{name}']");
        declare(&format!("dc_{name}"), "decayed_count", &format!("half_lives = {half_lives}\n{of}"));
        let exact = format!("windows = {windows}\nexact_events = 4096\n{of}");
        declare(&format!("w_{name}"), "windowed_count", &exact);
        declare(&format!("n_{name}"), "total_count", &of);
        declare(&format!("rec_{name}"), "time_since_last", &of);
    }
    declare("rec_any", "time_since_last", "");
    declare("tenure", "time_since_first", "");
    declare("sessions", "sessions", "gap = '30m'");
    let items = "property = 'item_id'\nexact_values = 4096";
    declare("items_all", "distinct_count", items);
    declare("items", "distinct_count", &format!("windows = {windows}\n{items}"));
    if set.with_value {
        declare("val", "decayed_sum", &format!("property = 'value'\nhalf_lives = {half_lives}"));
    }
    text
}

fn feature_of(column: &str) -> Option<&str> {
    match column {
        "user_id" | "cutoff_ms" | "ts_ms" | "label" | "split" | "fold" => None,
        "sessions" => Some("sessions_count"),
        "sess_len_s" => Some("sessions_current_length_secs"),
        same => Some(same),
    }
}

fn check(set: &DataSet) {
    let Some(folder) = folder(set.folder) else { return };
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let data = file("shop");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(file("shop/features.toml"), definitions(set)).unwrap();
    // The shipped policy reads features that are not here.
    let policy = "version = 1\n[[decision_point]]\nname = 'page'\nactions = ['none']\ndefault_action = 'none'\ndeadline = '1s'\n\
                  [[action]]\nname = 'none'\n";
    std::fs::write(file("shop/policy.toml"), policy).unwrap();

    copy_compared(&folder.join("events.csv.gz"), Path::new(&file("events.csv")));
    let events = file("events.csv");
    let import =
        ["import", &events, "--data", &data, "--map", "user_id=user_id", "--map", "timestamp=ts_ms:ms"];
    let mut import = import.to_vec();
    import.extend(["--map", "event=event", "--prop", "item_id=item_id:text"]);
    if set.with_value {
        import.extend(["--map", "value=value"]);
    }
    let imported = answer(&import);
    assert_eq!(imported["accepted"], imported["rows"], "{imported}");

    for task in set.tasks {
        let (golden, out) = (file(task), file(&format!("{task}.parquet")));
        let header = copy_compared(&folder.join(format!("{task}.csv.gz")), Path::new(&golden));
        let at = format!("timestamp={}:ms", header[1]);
        let mut export = vec!["features", "export", "--data", &data, "--labels", &golden, "--format", "csv"];
        export.extend(["--map", &at, "--out", &out, "--memory", "16MiB"]);
        if header[1] == "ts_ms" {
            export.push("--inclusive");
        }
        let exported = answer(&export);

        let pairs = header.iter().filter_map(|column| Some((column, feature_of(column)?)));
        let maps: Vec<String> = pairs.map(|(column, feature)| format!("{column}={feature}")).collect();
        // -1 stands for none where an event never happened; amounts may really be -1.
        let (recencies, others): (Vec<&String>, Vec<&String>) =
            maps.iter().partition(|map| map.starts_with("rec_"));
        let mut compared = 0;
        for (maps, absent) in [(recencies, Some("-1")), (others, None)] {
            let mut compare = vec!["features", "compare", "--export", &out, "--golden", &golden];
            compare.extend(["--format", "csv", "--digits", "9", "--tolerance", "1e-9"]);
            compare.extend(absent.iter().flat_map(|absent| ["--absent", absent]));
            compare.extend(maps.iter().flat_map(|map| ["--map", map.as_str()]));
            let report = answer(&compare);
            assert_eq!((&report["different"], &report["missing_rows"]), (&0.into(), &0.into()), "{report}");
            assert_eq!(report["rows"], exported["rows"]);
            compared += report["values"].as_u64().unwrap();
        }
        assert_eq!(compared, exported["rows"].as_u64().unwrap() * maps.len() as u64);
        println!("{} {task}: {compared} values of {} rows as expected", set.folder, exported["rows"]);
    }
    let verified = answer(&["features", "verify", "--data", &data, "--all"]);
    assert_eq!(verified["different"], 0, "{verified}");
}

#[test]
fn a_music_shop() {
    check(&DataSet {
        folder: "cdnow",
        events: &["purchase"],
        half_lives: "['7d', '30d', '90d']",
        windows: "['30d', '90d']",
        with_value: true,
        tasks: &["task_churn39", "task_churn13"],
    });
}

#[test]
fn a_gift_shop() {
    check(&DataSet {
        folder: "online_retail",
        events: &["purchase", "return"],
        half_lives: "['1d', '7d', '30d', '90d']",
        windows: "['7d', '30d', '90d']",
        with_value: true,
        tasks: &["task_churn60", "task_repurchase30"],
    });
}

#[test]
fn a_click_stream() {
    check(&DataSet {
        folder: "jdata_sample",
        events: &["browse", "click", "add_to_cart", "remove_from_cart", "order", "follow"],
        half_lives: "['1h', '1d', '7d']",
        windows: "['1h', '1d', '7d']",
        with_value: false,
        tasks: &["task_intent24h", "task_intent1h"],
    });
}
