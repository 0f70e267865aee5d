//! `augur profiles import`, as typed, into a server that runs: what is taken in, what is refused, what counts then.
//!
//! Not here: single rows (tests of the command), or what contradicting statements come to (`feature-store`).

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod support;

use std::path::Path;

use serde_json::Value;
use support::{Server, augur, json};

/// A served directory, with the files to import beside it.
fn served(dir: &Path) -> Server {
    let (events, data) = (dir.join("events.csv"), dir.join("data"));
    std::fs::write(&events, "who,at,what\nc1,2026-11-01T00:00:00Z,purchase\n").unwrap();
    let line = ["import", events.to_str().unwrap(), "--data", data.to_str().unwrap()];
    let map = ["--map", "user_id=who", "--map", "timestamp=at", "--map", "event=what"];
    let imported = augur(&[&line[..], &map].concat());
    assert!(imported.status.success(), "{imported:?}");
    Server::start(&data)
}

fn profile(server: &Server, user: &str) -> Value {
    json(&augur(&["--json", "profiles", "get", "--user-id", user, "--endpoint", &server.endpoint]))
}

fn import(server: &Server, file: &Path) -> (Value, Option<i32>) {
    let line = ["--json", "profiles", "import", file.to_str().unwrap(), "--endpoint", &server.endpoint];
    let imported = augur(&line);
    (json(&imported), imported.status.code())
}

#[test]
fn profiles_come_in_out_of_files_and_bad_rows_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let server = served(dir.path());
    let file = dir.path().join("consents.csv");
    let rows = "user_id,at,time_zone,consents.marketing,suppressions.email\n\
                u-1,2026-03-01T12:00:00Z,Europe/Oslo,true,\n\
                u-2,2026-03-01T12:05:00Z,,false,true\n\
                ,2026-03-01T12:06:00Z,,true,\n\
                u-3,yesterday,,true,\n\
                u-4,2026-03-01T12:07:00Z,Mars/Olympus,,\n";
    std::fs::write(&file, rows).unwrap();
    let (told, code) = import(&server, &file);
    assert_eq!((&told["rows"], code), (&5.into(), Some(3)), "{told}");
    let examples = told["examples"].to_string();
    assert!(
        examples.contains("row 3: nobody is named") && examples.contains("row 4: `at` is `yesterday`"),
        "{told}"
    );
    let one = profile(&server, "u-1");
    assert_eq!(
        (&one["time_zone"]["value"], &one["consents"]["marketing"]["value"]),
        (&"Europe/Oslo".into(), &true.into())
    );
    assert_eq!(profile(&server, "u-2")["suppressions"]["email"]["value"], true);

    // The same file again changes nothing; what was said later counts, whichever comes first.
    let (again, _) = import(&server, &file);
    assert_eq!(told["taken"], again["taken"]);
    assert_eq!(profile(&server, "u-1"), one);
    let lines = dir.path().join("later.jsonl");
    let later = "{\"user_id\":\"u-1\",\"at\":\"2026-04-01T00:00:00Z\",\"consents\":{\"marketing\":false}}\n\
                 {\"user_id\":\"u-1\",\"at\":\"2026-02-01T00:00:00Z\",\"consents\":{\"marketing\":true}}\n";
    std::fs::write(&lines, later).unwrap();
    assert_eq!(import(&server, &lines).1, Some(0));
    assert_eq!(profile(&server, "u-1")["consents"]["marketing"]["value"], false);
}

#[test]
fn files_that_hold_no_profiles_are_refused_before_anything_is_sent() {
    let dir = tempfile::tempdir().unwrap();
    let server = served(dir.path());
    for (name, text, word) in [
        ("a.csv", "user_id,consent.marketing\nu-1,true\n", "`consent.marketing` is no column"),
        ("a.parquet", "", "not read from Parquet"),
    ] {
        let file = dir.path().join(name);
        std::fs::write(&file, text).unwrap();
        let line = ["profiles", "import", file.to_str().unwrap(), "--endpoint", &server.endpoint];
        let refused = augur(&line);
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
        assert!(String::from_utf8(refused.stderr).unwrap().contains(word), "{name}");
    }
}
