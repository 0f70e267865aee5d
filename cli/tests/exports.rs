//! Exports through the binary, and what a comparison finds.
//!
//! Not here: real data (`golden_values`).

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at what it did not expect"
)]

use std::process::{Command, Output};

fn augur(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_augur")).args(arguments).arg("--json").output().unwrap()
}

fn answer(arguments: &[&str]) -> serde_json::Value {
    let output = augur(arguments);
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{arguments:?}: {}\n{stdout}\n{stderr}", output.status);
    serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{arguments:?}: {error}\n{stdout}"))
}

/// A directory for one shop, with the shipped definitions and these after them.
struct Shop {
    dir: tempfile::TempDir,
    data: String,
}

impl Shop {
    fn new(definitions: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("shop");
        std::fs::create_dir(&data).unwrap();
        let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/features.toml");
        let features = std::fs::read_to_string(shipped).unwrap() + definitions;
        std::fs::write(data.join("features.toml"), features).unwrap();
        Self { data: data.to_str().unwrap().to_owned(), dir }
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn import(&self, events: &str) {
        let events = self.file("events.csv", events);
        let maps = ["user_id=user", "anonymous_id=device", "timestamp=at", "event=what"];
        let maps: Vec<&str> = maps.iter().flat_map(|map| ["--map", map]).collect();
        answer(&[&["import", &events, "--data", &self.data][..], &maps].concat());
    }

    /// Exports the rows of these labels.
    fn export(&self, labels: &str, more: &[&str]) -> Output {
        let labels = self.file("labels.csv", labels);
        let out = self.dir.path().join("rows.parquet").to_str().unwrap().to_owned();
        let arguments = ["features", "export", "--data", &self.data, "--labels", &labels, "--out", &out];
        augur(&[&arguments[..], more].concat())
    }

    /// Holds the export against a table whose columns are called like features.
    fn assert_exported(&self, golden: &str) {
        let (out, columns) = (self.dir.path().join("rows.parquet"), golden.lines().next().unwrap());
        let golden = self.file("golden.csv", golden);
        let maps: Vec<String> = columns.split(',').map(|name| format!("{name}={name}")).collect();
        let maps: Vec<&str> = maps.iter().flat_map(|map| ["--map", map]).collect();
        let arguments = ["features", "compare", "--export", out.to_str().unwrap(), "--golden", &golden];
        let report = answer(&[&arguments[..], &maps].concat());
        assert_eq!(report["different"], 0, "{report}");
    }
}

#[test]
fn labels_of_either_id_see_the_person_as_known_at_their_time() {
    let shop = Shop::new("[[feature]]\nname = 'views'\nkind = 'total_count'\nevents = ['view_item']\n");
    shop.import(
        "user,device,at,what
,phone,2026-01-01T00:00:00Z,view_item
,phone,2026-01-02T00:00:00Z,view_item
ada,,2026-01-03T00:00:00Z,view_item
ada,phone,2026-01-04T00:00:00Z,login
,phone,2026-01-05T00:00:00Z,view_item
,tablet,2026-01-05T00:00:00Z,view_item
",
    );
    // Before the first event of her own; at the link, before it is known; right after it; later.
    let instants = ["02T12:00:00Z", "04T00:00:00Z", "04T00:00:00.001Z", "06T00:00:00Z"];
    let rows =
        instants.iter().flat_map(|at| [format!("ada,,2026-01-{at}\n"), format!(",phone,2026-01-{at}\n")]);
    let labels = format!("user_id,anonymous_id,timestamp\n{},tablet,2026-01-06\n", rows.collect::<String>());
    assert!(shop.export(&labels, &[]).status.success());
    shop.assert_exported("views\n\"\"\n\"\"\n1\n1\n3\n3\n4\n4\n1\n");
    let verified = answer(&["features", "verify", "--data", &shop.data, "--all"]);
    assert_eq!((&verified["users"], &verified["identical"]), (&2.into(), &2.into()));
}

#[test]
fn labels_bring_the_context_of_their_requests() {
    let shop = Shop::new(
        "[context]
cart_value = 'number'
coupon = 'text'
[[feature]]
name = 'views'
kind = 'total_count'
events = ['view_item']
[[feature]]
name = 'cart_per_view'
kind = 'request'
expression = 'context.cart_value / features.views'
[[feature]]
name = 'with_coupon'
kind = 'request'
type = 'number'
expression = 'context.coupon == \"SPRING\" ? 1.0 : 0.0'
default = 0.5
",
    );
    shop.import("user,device,at,what\nada,,2026-01-01,view_item\nada,,2026-01-02,view_item\n");
    let labels = "user_id,timestamp,cart,code
ada,2026-01-03,30,SPRING
ada,2026-01-01T12:00:00Z,30,AUTUMN
ada,2026-01-03,,
bob,2026-01-03,30,SPRING
";
    let output = shop.export(labels, &["--context", "cart_value=cart", "--context", "coupon=code"]);
    assert!(output.status.success(), "{output:?}");
    shop.assert_exported("cart_per_view,with_coupon\n15,1\n30,0\n\"\",0.5\n\"\",1\n");
    assert!(shop.export(labels, &[]).status.success());
    shop.assert_exported("cart_per_view,with_coupon\n\"\",0.5\n\"\",0.5\n\"\",0.5\n\"\",0.5\n");

    for (context, words) in [
        ("basket=cart", "out of cart_value, coupon"),
        ("cart_value=nowhere", "there is no column `nowhere`"),
        ("cart_value=code", "a finite number"),
    ] {
        let refused = shop.export(labels, &["--context", context]);
        let stderr = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(refused.status.code() == Some(1) && stderr.contains(words), "{context}: {stderr}");
    }
    // Lines of JSON have no header.
    let lines =
        shop.file("labels.jsonl", "{\"user_id\": \"ada\", \"timestamp\": \"2026-01-03\", \"cart\": 30}\n");
    for (column, code) in [("cart", 0), ("cort", 1)] {
        let (context, out) = (format!("cart_value={column}"), shop.dir.path().join("lines.parquet"));
        let arguments =
            ["features", "export", "--data", &shop.data, "--labels", &lines, "--context", &context];
        let output = augur(&[&arguments[..], &["--out", out.to_str().unwrap()]].concat());
        assert_eq!(output.status.code(), Some(code), "{output:?}");
    }
}

#[test]
fn a_wrong_value_and_a_missing_row_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let data = dir.path().join("shop").to_str().unwrap().to_owned();
    let events = file("events.csv", "user,at,what\na,2026-01-01,view_item\na,2026-01-02,view_item\n");
    let maps = ["--map", "user_id=user", "--map", "timestamp=at", "--map", "event=what"];
    answer(&[&["import", &events, "--data", &data][..], &maps].concat());
    let labels = file("labels.csv", "user_id,timestamp\na,2026-01-03\nb,2026-01-03\n");
    let out = dir.path().join("rows.parquet").to_str().unwrap().to_owned();
    answer(&["features", "export", "--data", &data, "--labels", &labels, "--out", &out]);

    let compare = |golden: &str| {
        let golden = file("golden.csv", golden);
        let output = augur(&[
            "features",
            "compare",
            "--export",
            &out,
            "--golden",
            &golden,
            "--map",
            "views=view_items_1d",
        ]);
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        (output.status.code(), report)
    };
    let good = compare("views\n1.5\n\n\"\"\n");
    let found = good.1["differences"][0]["found"].as_f64().unwrap();
    let (code, report) = compare(&format!("views\n{found}\n\"\"\n"));
    assert_eq!((code, &report["different"]), (Some(0), &0.into()), "{report}");
    let (code, report) = compare("views\n0.25\n1\n");
    assert_eq!((code, &report["different"]), (Some(3), &2.into()), "{report}");
    assert_eq!(report["differences"][1]["row"], 2);
    let (code, report) = compare(&format!("views\n{found}\n\"\"\n0\n"));
    assert_eq!((code, &report["missing_rows"]), (Some(3), &1.into()), "{report}");
    assert_eq!(compare("views\n1\n").0, Some(1), "more rows than the golden file");
    assert_eq!(compare("views\ninf\n\"\"\n").0, Some(1), "everything is near to an infinity");
}
