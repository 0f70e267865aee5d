//! The shipped files say what the code says, and every mistake is told with its place.

use super::sections::SECTIONS;
use super::*;

fn parse(text: &str, environment: &[(&str, &str)]) -> Result<Config, Vec<Diagnostic>> {
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::parse("augur.toml", text, Path::new(""), environment)
}

fn refused(text: &str, environment: &[(&str, &str)]) -> String {
    let complaints = parse(text, environment).unwrap_err();
    complaints.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// The defaults, and the shop's taxonomy and tasks, which no directory of an earlier version has.
fn shipped() -> Config {
    let mut config = Config::default();
    config.data.events = Some("events.toml".into());
    config.data.tasks = Some("tasks.toml".into());
    config
}

#[test]
fn the_shipped_file_is_the_defaults_and_names_every_key() {
    assert_eq!(parse(SHIPPED, &[]).unwrap(), shipped());
    for (section, keys) in SECTIONS {
        assert!(SHIPPED.contains(&format!("\n[{section}]\n")), "{section}");
        for key in keys {
            assert!(SHIPPED.contains(&format!("\n{key} = ")), "{section}.{key}");
        }
    }
}

#[test]
fn the_shipped_definitions_load() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config");
    let config = Config::load(Some(&dir.join("augur.toml"))).unwrap();
    let checked = crate::check_definitions(&config).unwrap_or_else(|error| panic!("{error}"));
    let points: Vec<&str> = checked.policy.decision_points().iter().map(|point| &**point.name()).collect();
    assert_eq!(points, ["cart_page", "home_page", "weekly_email"]);
    assert!(checked.taxonomy.event("purchase").is_some());
    assert!(checked.schema.feature_set().slot("purchases_30d").is_some());
    assert!(checked.schema.feature_set().slot("add_to_carts_1d").is_some());
}

#[test]
fn every_key_can_be_set_by_the_environment() {
    let default = toml::from_str::<toml::Table>(SHIPPED).unwrap();
    for (section, keys) in SECTIONS {
        for key in keys {
            let value = match &default[section][key] {
                toml::Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            let name = format!("AUGUR_{}_{}", section.to_uppercase(), key.to_uppercase());
            let mut expected = Config::default();
            match (section, *key) {
                ("data", "events") => expected.data.events = shipped().data.events,
                ("data", "tasks") => expected.data.tasks = shipped().data.tasks,
                _ => {}
            }
            assert_eq!(parse("", &[(&name, &value)]).unwrap(), expected, "{name}={value}");
        }
    }
}

#[test]
fn the_environment_wins_over_the_file() {
    let text = "[server]\nlisten = \"127.0.0.1:1\"\n[ingest]\nmax_lateness = \"30d\"\n";
    let config = parse(text, &[("AUGUR_SERVER_LISTEN", "127.0.0.1:2"), ("AUGUR_CONFIG", "x"), ("HOME", "/")]);
    let config = config.unwrap();
    assert_eq!(config.server.listen.port(), 2);
    assert_eq!(config.ingest.max_lateness_ms, 30 * DAY_MS);
}

#[test]
fn paths_of_the_file_are_relative_to_it_and_those_of_the_environment_are_not() {
    let environment = [("AUGUR_DATA_POLICY".to_owned(), "p.toml".to_owned())];
    let text = "[data]\nfeatures = \"/abs/f.toml\"\n";
    let config = Config::parse("augur.toml", text, Path::new("/etc/augur"), environment).unwrap();
    assert_eq!(config.data.dir, Path::new("/etc/augur/data"));
    assert_eq!(config.data.features, Path::new("/abs/f.toml"));
    assert_eq!(config.data.policy, Path::new("p.toml"));
}

#[test]
fn encrypted_and_authenticated_calls_may_come_from_anywhere() {
    let text = "[server]\nlisten = \"0.0.0.0:1\"\n[tls]\ncertificate = \"c.pem\"\nprivate_key = \"/k.pem\"\n[access]\nrequired = true\n";
    let config = Config::parse("augur.toml", text, Path::new("/etc/augur"), []).unwrap();
    assert_eq!(config.tls.certificate.as_deref(), Some(Path::new("/etc/augur/c.pem")));
    assert_eq!(config.tls.private_key.as_deref(), Some(Path::new("/k.pem")));
}

#[test]
fn http_can_be_switched_off_and_insecurity_allowed() {
    let config = parse("[server]\nhttp_listen = \"\"\nlisten = \"0.0.0.0:1\"\nallow_insecure = true\n", &[]);
    assert_eq!(config.unwrap().server.http_listen, None);
}

#[test]
fn every_mistake_is_told_with_place_value_and_expectation() {
    for (text, parts) in [
        ("[server\n", &["augur.toml:1:8:", "expected valid TOML"] as &[&str]),
        ("[sever]\n", &["augur.toml:1:2: unknown section `sever`", "did you mean `server`?"]),
        ("server = 1\n", &["augur.toml:1:1: `server` is not a section", "`[server]`"]),
        (
            "[server]\nlissen = 1\n",
            &["augur.toml:2:1: unknown key in [server] `lissen`", "did you mean `listen`?"],
        ),
        (
            "[server]\nlisten = 7401\n",
            &["augur.toml:2:10: `7401` is not an address for `listen`", "\"127.0.0.1:7401\""],
        ),
        ("[server]\nlisten = \"localhost:7401\"\n", &["`localhost:7401` is not an address"]),
        (
            "[server]\nlisten = \"0.0.0.0:7401\"\n",
            &["2:10:", "neither encrypted nor authenticated", "allow_insecure = true"],
        ),
        (
            "[server]\nlisten = \"0.0.0.0:1\"\n[access]\nrequired = true\n",
            &["2:10:", "connections are not encrypted", "`certificate` and `private_key` in [tls]"],
        ),
        (
            "[server]\nlisten = \"0.0.0.0:1\"\n[tls]\ncertificate = \"c\"\nprivate_key = \"k\"\n",
            &["2:10:", "connections are not authenticated"],
        ),
        ("[tls]\ncertificate = \"c\"\n", &["2:15: `certificate` is set without `private_key`"]),
        ("[tls]\nprivate_key = \"k\"\n", &["2:15: `private_key` is set without `certificate`"]),
        ("[tls]\nclient_ca = \"c\"\n", &["2:13: `client_ca` is set, but connections are not encrypted"]),
        ("[tls]\nrequire_client_certificate = true\n", &["2:30: client certificates are required"]),
        ("[access]\njwks = \"k\"\n", &["2:8: `jwks` is set, but no credential is asked for"]),
        (
            "[access]\nrequired = true\njwks = \"k\"\nissuer = \"i\"\n",
            &["3:8: `jwks` is set without `audience`"],
        ),
        (
            "[access]\nalgorithms = \"ES256, HS256\"\n",
            &["`ES256, HS256` is not a list of algorithms", "did you mean"],
        ),
        ("[access]\nalgorithms = \"none\"\n", &["is not a list of algorithms"]),
        ("[access]\nclock_skew = \"61s\"\n", &["`61s` is not in range for `clock_skew`"]),
        ("[server]\nhttp_listen = \"[::]:1\"\n", &["2:15:", "`http_listen` is [::]:1", "allow_insecure"]),
        ("[server]\nhttp_listen = \"127.0.0.1:7401\"\n", &["the same as `listen`"]),
        (
            "[server]\nmax_request_bytes = 0\n",
            &["2:21: `0` is not in range for `max_request_bytes`", "from 1024 to 7340032"],
        ),
        ("[server]\nmax_request_bytes = \"1MB\"\n", &["`1MB` is not a whole number"]),
        ("[server]\nmax_connections = -1\n", &["`-1` is not a whole number"]),
        ("[server]\nreflection = \"yes\"\n", &["`yes` is not true or false", "without quotes"]),
        ("[server]\nmax_deadline = 30\n", &["`30` is not a length of time", "in quotes"]),
        (
            "[server]\ndrain_timeout = \"11m\"\n",
            &["`11m` is not in range for `drain_timeout`", "up to `10m`"],
        ),
        ("[data]\ndir = \"\"\n", &["`` is not a path for `dir`"]),
        ("[ingest]\nqueue_events = 10\n", &["`10` is not in range", "from 2500"]),
        ("[ingest]\nshards = 257\n", &["from 1 to 256"]),
        ("[ingest]\nmax_lateness = \"500d\"\n", &["`500d` is not a length of time", "up to `400d`"]),
        (
            "[retention]\ndedup_marks = \"30d\"\n",
            &["2:15: `dedup_marks` is 30d, but late events", "a smaller `max_lateness`"],
        ),
        (
            "[ingest]\nmax_lateness = \"7d\"\n[retention]\nevents = \"10d\"\ndedup_marks = \"30d\"\n",
            &["5:15: `dedup_marks` is 30d, but some events", "at most 10d"],
        ),
        ("[retention]\nclasses = \"short\"\n", &["`short` is not a list of classes"]),
        ("[retention]\nevents = \"1h\"\n", &["`1h` is not in range for `events`"]),
        (
            "[decision_log]\ndurability = \"sync\"\n",
            &["`sync` is not a choice here for `durability`", "did you mean `synced`?"],
        ),
        ("[decision_log]\non_unavailable = true\n", &["`true` is not text", "`\"refuse\"`, `\"default\"`"]),
        ("[decision_log]\nsegment_bytes = 1\n", &["from 4096 to 1073741824"]),
        ("[decision_log]\nqueue_bytes = 4096\n", &["from 1048576 to"]),
        (
            "[server]\nmax_request_bytes = 1048576\n[decision_log]\nqueue_bytes = 1048576\n",
            &[
                "4:15: `queue_bytes` is 1048576, but a record may need 2359296",
                "a smaller `max_request_bytes`",
            ],
        ),
        ("[server]\nmax_request_bytes = 7340032\n[decision_log]\nqueue_bytes = 1048576\n", &["4:15:"]),
        ("[telemetry]\nlog_level = \"loud\"\n", &["2:13:", "`loud` is not a log level"]),
        (
            "[telemetry]\notlp_endpoint = \"collector:4317\"\n",
            &["is not an OTLP endpoint", "http://127.0.0.1:4317"],
        ),
        ("[telemetry]\notlp_sample_ratio = 1.5\n", &["`1.5` is not a share", "from 0 to 1"]),
        ("[telemetry]\notlp_sample_ratio = nan\n", &["`nan` is not a share"]),
    ] {
        let told = refused(text, &[]);
        for part in parts {
            assert!(told.contains(part), "{text}\n{told}\nlacks {part}");
        }
    }
}

#[test]
fn mistakes_in_the_environment_name_the_variable() {
    let told = refused("", &[("AUGUR_SERVER_LISTN", "x"), ("AUGUR_INGEST_SHARDS", "many")]);
    assert!(
        told.contains("environment variable AUGUR_SERVER_LISTN: unknown key in [server] `listn`"),
        "{told}"
    );
    assert!(
        told.contains("environment variable AUGUR_INGEST_SHARDS: `many` is not a whole number"),
        "{told}"
    );
}

#[test]
fn values_of_the_environment_are_not_asked_for_in_quotes() {
    for (name, value, expected) in [
        ("AUGUR_SERVER_LISTEN", "x", "an IP address and a port, like `127.0.0.1:7401`"),
        ("AUGUR_SERVER_REFLECTION", "x", "`true` or `false`"),
        ("AUGUR_DECISION_LOG_DURABILITY", "x", "one of `written`, `synced`"),
        ("AUGUR_SERVER_MAX_DEADLINE", "x", "up to `10m`, like `30s`"),
    ] {
        let told = refused("", &[(name, value)]);
        assert!(told.ends_with(expected), "{told}");
    }
}

#[test]
fn all_mistakes_are_told_at_once_in_order() {
    let told = refused("[telemetry]\nlog_format = \"xml\"\n[ingest]\nshards = 0\n", &[]);
    let lines: Vec<&str> = told.lines().collect();
    assert!(
        lines.len() == 2 && lines[0].starts_with("augur.toml:2:") && lines[1].starts_with("augur.toml:4:"),
        "{told}"
    );
}
