//! `augur keys` and `augur config` from the command line.
//!
//! Not here: what a running server makes of keys (the server's own tests).

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn augur(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_augur")).args(arguments).output().unwrap()
}

fn json(arguments: &[&str]) -> Value {
    let output = augur(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn complaint(arguments: &[&str]) -> String {
    let output = augur(arguments);
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn configuration(dir: &Path, text: &str) -> String {
    let path = dir.join("augur.toml");
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn keys_are_made_rotated_and_revoked() {
    let dir = tempfile::tempdir().unwrap();
    let config = configuration(dir.path(), "");
    let at = ["--config", config.as_str(), "--json"];
    let with = |arguments: &[&'static str]| [arguments, &at[..]].concat();
    let made =
        json(&with(&["keys", "create", "shop", "--role", "decide", "--role", "ingest", "--expires", "90d"]));
    let text = made["key"].as_str().unwrap();
    let id = made["id"].as_str().unwrap();
    assert!(text.starts_with(&format!("augur_{id}_")), "{text}");
    assert_eq!(made["roles"], serde_json::json!(["ingest", "decide"]));

    let again = complaint(&["keys", "create", "shop", "--role", "decide", "--config", &config]);
    assert!(again.contains("an active key is called `shop`; rotate that one"), "{again}");
    let second = json(&["keys", "rotate", id, "--overlap", "0s", "--config", &config, "--json"]);
    assert_ne!(second["id"], made["id"]);
    let revoked = json(&["keys", "revoke", second["id"].as_str().unwrap(), "--config", &config, "--json"]);
    assert_eq!(revoked["state"], "revoked");
    let listed = json(&with(&["keys", "list"]));
    let states: Vec<&str> =
        listed.as_array().unwrap().iter().map(|key| key["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["expired", "revoked"]);

    let shown = String::from_utf8(augur(&["keys", "list", "--config", &config]).stdout).unwrap();
    assert!(shown.contains("last used") && shown.contains("ingest decide"), "{shown}");
    let secret = text.rsplit('_').next().unwrap();
    for file in ["data/access/keys", "data/secret.key"] {
        let bytes = std::fs::read(dir.path().join(file)).unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains(secret), "{file}");
    }
}

#[test]
fn mistakes_with_keys_are_told_with_what_was_expected() {
    let dir = tempfile::tempdir().unwrap();
    let config = configuration(dir.path(), "");
    for (arguments, part) in [
        (&["create", "shop", "--role", "decides"] as &[&str], "did you mean `decide`?"),
        (&["create", "a b", "--role", "decide"], "`a b` is no name of a key"),
        (&["create", "shop", "--role", "decide", "--expires", "soon"], "such as `12h` or `90d`"),
        (&["revoke", "123"], "key `123` is not known; `augur keys list` lists them"),
        (&["rotate", "123"], "is not known"),
    ] {
        let told = complaint(&[&["keys"], arguments, &["--config", &config]].concat());
        assert!(told.contains(part), "{arguments:?}: {told}");
    }
}

#[test]
fn a_setting_is_explained_with_what_it_is_set_to() {
    let dir = tempfile::tempdir().unwrap();
    let config = configuration(dir.path(), "[server]\nworkers = 3\n");
    let explained = json(&["config", "explain", "server.workers", "--config", &config, "--json"]);
    assert_eq!((&explained[0]["in_file"], &explained[0]["default"]), (&"3".into(), &"0".into()));
    let section = String::from_utf8(augur(&["config", "explain", "tls"]).stdout).unwrap();
    assert!(section.contains("tls.client_ca"), "{section}");
    let unknown = complaint(&["config", "explain", "server.lissen"]);
    assert!(unknown.contains("did you mean `server.listen`?"), "{unknown}");
    let printed = augur(&["config", "print-default"]).stdout;
    assert_eq!(
        String::from_utf8(printed).unwrap().trim_end(),
        include_str!("../../config/augur.toml").trim_end()
    );
}

#[test]
fn a_configuration_is_checked_with_all_that_it_names() {
    let dir = tempfile::tempdir().unwrap();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config");
    let definitions = format!(
        "[data]\nfeatures = \"{0}/features.toml\"\npolicy = \"{0}/policy.toml\"\n",
        shipped.display()
    );
    let config = configuration(dir.path(), &definitions);
    assert_eq!(json(&["config", "check", "--config", &config, "--json"])["valid"], true);

    std::fs::write(dir.path().join("identities.toml"), "version = 1\n[claims]\na = [\"decides\"]\n").unwrap();
    let access = "[access]\nrequired = true\nidentities = \"identities.toml\"\n";
    let config = configuration(dir.path(), &format!("{definitions}{access}"));
    let output = augur(&["config", "check", "--config", &config]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{told}");
    assert!(told.contains("identities.toml:3:6: `decides` is no role"), "{told}");

    std::fs::write(dir.path().join("server.key"), "no key").unwrap();
    std::fs::write(dir.path().join("server.pem"), "no certificate").unwrap();
    let tls = "[tls]\ncertificate = \"server.pem\"\nprivate_key = \"server.key\"\n";
    let config = configuration(dir.path(), &format!("{definitions}{tls}"));
    let told = complaint(&["config", "check", "--config", &config]);
    assert!(
        told.contains("server.pem: there is no certificate in it; expected certificates in PEM"),
        "{told}"
    );
}
