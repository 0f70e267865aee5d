//! Who may depend on whom, and which rooms may name which third-party crates.
//!
//! Not here: whether a crate's use of a dependency is sensible; only that the arrow is drawn.

use crate::Breach;
use crate::workspace::Dependency;

/// The drawn arrows, the same lines as in `ARCHITECTURE.md`. `name[feature]` lets that feature be asked for; without
/// it, an arrow asks for no feature that fences a heavy dependency off.
pub(crate) const DRAWN: &[(&str, &[&str])] = &[
    ("cli", &["server", "shadow-harness", "loadtest", "models[train]"]),
    ("server", &["decision", "feature-store[rocksdb,export]", "decision-log", "models", "proto", "domain"]),
    ("shadow-harness", &["decision", "feature-store", "decision-log", "models", "domain"]),
    ("loadtest", &["proto", "domain"]),
    ("decision", &["expression", "models", "domain"]),
    ("feature-store", &["expression", "domain"]),
    ("decision-log", &["domain"]),
    ("models", &["domain"]),
    ("expression", &["domain"]),
    ("proto", &["domain"]),
    ("domain", &[]),
];

/// Features of ours that pull in a heavy dependency: an arrow must be drawn with them.
const FENCING_FEATURES: &[&str] = &["rocksdb", "export", "train"];

/// Third-party crates by prefix, and the only rooms that may depend on them.
const FENCES: &[(&str, &[&str])] = &[
    ("tokio", &["server", "loadtest", "cli"]),
    ("tonic", &["server", "loadtest", "cli", "proto"]),
    ("hyper", &["server", "loadtest"]),
    ("tower", &["server"]),
    ("rustls", &["server", "loadtest"]),
    ("ring", &["server"]),
    ("axum", &["server"]),
    ("rocksdb", &["feature-store"]),
    ("librocksdb", &["feature-store"]),
    ("linfa", &["models"]),
    ("ndarray", &["models"]),
    ("opentelemetry", &["server"]),
    ("tracing-opentelemetry", &["server"]),
    ("cel", &["expression"]),
];

/// Fenced crates that must also stay behind a cargo feature of the room that has them.
const BEHIND_A_FEATURE: &[&str] = &["rocksdb", "linfa", "ndarray"];

/// Arrows between our crates that are not drawn, or that ask for a feature they are not drawn with.
pub(crate) fn undrawn(dependencies: &[Dependency]) -> Vec<Breach> {
    dependencies.iter().filter(|dependency| dependency.ours).filter_map(undrawn_arrow).collect()
}

fn undrawn_arrow(dependency: &Dependency) -> Option<Breach> {
    let place = format!("{}/Cargo.toml", dependency.from);
    let targets = DRAWN.iter().find(|(from, _)| *from == dependency.from).map(|(_, to)| *to);
    let drawn = targets.unwrap_or_default().iter().map(|target| parse(target));
    let Some((_, features)) = drawn.clone().find(|(to, _)| *to == dependency.to) else {
        let allowed: Vec<&str> = drawn.map(|(to, _)| to).collect();
        return Some(Breach::new(
            "arrow",
            place,
            format!("{} -> {} is not drawn", dependency.from, dependency.to),
            format!(
                "move the shared type to `domain`, or go through one of [{}]; a new arrow is drawn in \
                 ARCHITECTURE.md and in cli/tests/house_rules/arrows.rs first",
                allowed.join(", ")
            ),
        ));
    };
    let heavy = ["feature-store", "models"].contains(&&*dependency.to);
    let asked = dependency.features.iter().map(String::as_str);
    let undrawn = asked.filter(|asked| FENCING_FEATURES.contains(asked) && !features.contains(asked));
    let mut undrawn: Vec<&str> = undrawn.collect();
    if heavy && dependency.default_features {
        undrawn.push("default");
    }
    (!undrawn.is_empty()).then(|| {
        Breach::new(
            "arrow-feature",
            place,
            format!("{} -> {} asks for [{}]", dependency.from, dependency.to, undrawn.join(", ")),
            "take the feature off (and set default-features = false in the root manifest)",
        )
    })
}

/// `models[train]` as its name and features.
fn parse(target: &str) -> (&str, Vec<&str>) {
    match target.trim_end_matches(']').split_once('[') {
        Some((name, features)) => (name, features.split(',').collect()),
        None => (target, Vec::new()),
    }
}

/// Third-party crates outside their fence.
pub(crate) fn unfenced(dependencies: &[Dependency]) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for dependency in dependencies.iter().filter(|dependency| !dependency.ours) {
        let place = format!("{}/Cargo.toml", dependency.from);
        let matches = |prefix: &str| {
            dependency
                .to
                .strip_prefix(prefix)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '_']))
        };
        for (prefix, rooms) in FENCES.iter().filter(|(prefix, _)| matches(prefix)) {
            if !rooms.contains(&&*dependency.from) {
                breaches.push(Breach::new(
                    "fence",
                    place.clone(),
                    format!("{} depends on `{}`", dependency.from, dependency.to),
                    format!("`{prefix}` crates belong to [{}] only; go through that room", rooms.join(", ")),
                ));
            } else if !dependency.optional && BEHIND_A_FEATURE.contains(prefix) {
                breaches.push(Breach::new(
                    "fence",
                    place.clone(),
                    format!("`{}` is not optional", dependency.to),
                    "put it behind a cargo feature, so that the rest of the room builds without it",
                ));
            }
        }
    }
    breaches
}

/// Drawn arrows that `ARCHITECTURE.md` does not show in the same words.
pub(crate) fn undocumented(architecture: &str) -> Vec<Breach> {
    let shown: Vec<String> =
        architecture.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    DRAWN
        .iter()
        .map(|(from, to)| {
            format!("{from} -> {}", if to.is_empty() { "nothing".to_owned() } else { to.join(", ") })
        })
        .filter(|line| !shown.contains(line))
        .map(|line| {
            Breach::new(
                "arrow",
                "ARCHITECTURE.md",
                format!("the line `{line}` is missing"),
                "draw the same arrows in ARCHITECTURE.md and in cli/tests/house_rules/arrows.rs",
            )
        })
        .collect()
}

fn ours(from: &str, to: &str, features: &[&str]) -> Dependency {
    Dependency {
        from: from.to_owned(),
        to: to.to_owned(),
        ours: true,
        optional: false,
        default_features: false,
        features: features.iter().map(ToString::to_string).collect(),
    }
}

fn foreign(from: &str, to: &str, optional: bool) -> Dependency {
    Dependency { ours: false, optional, default_features: true, ..ours(from, to, &[]) }
}

#[test]
fn an_undrawn_arrow_is_told() {
    assert_eq!(undrawn(&[ours("server", "decision", &[]), ours("cli", "models", &["train"])]), []);
    let breaches = undrawn(&[ours("shadow-harness", "server", &[]), ours("domain", "expression", &[])]);
    assert_eq!(breaches.len(), 2);
    let text = breaches[0].to_string();
    assert!(text.starts_with("shadow-harness/Cargo.toml: [arrow] shadow-harness -> server"), "{text}");
    assert_eq!(undrawn(&[ours("newcomer", "domain", &[])]).len(), 1, "a crate that is not drawn at all");
}

#[test]
fn an_arrow_with_an_undrawn_feature_is_told() {
    assert_eq!(undrawn(&[ours("server", "feature-store", &["rocksdb", "export"])]), []);
    assert_eq!(undrawn(&[ours("shadow-harness", "feature-store", &["rocksdb"])]).len(), 1);
    assert_eq!(undrawn(&[ours("server", "models", &["train"])]).len(), 1);
    let defaulted = Dependency { default_features: true, ..ours("decision", "models", &[]) };
    assert!(undrawn(&[defaulted])[0].found.contains("default"));
}

#[test]
fn a_crate_outside_its_fence_is_told() {
    let inside = [
        foreign("server", "tokio", false),
        foreign("proto", "tonic-prost", false),
        foreign("feature-store", "rocksdb", true),
        foreign("decision", "tokioish", false),
    ];
    assert_eq!(unfenced(&inside), []);
    for (from, to) in [
        ("decision", "tokio"),
        ("shadow-harness", "tonic"),
        ("server", "rocksdb"),
        ("decision-log", "linfa-logistic"),
        ("cli", "opentelemetry_sdk"),
    ] {
        assert_eq!(unfenced(&[foreign(from, to, true)]).len(), 1, "{from} -> {to}");
    }
    assert_eq!(unfenced(&[foreign("models", "linfa", false)]).len(), 1, "not optional");
}

#[test]
fn an_arrow_missing_from_the_architecture_is_told() {
    let whole: String = DRAWN
        .iter()
        .map(|(from, to)| {
            format!("{from}  ->  {}\n", if to.is_empty() { "nothing".into() } else { to.join(", ") })
        })
        .collect();
    assert_eq!(undocumented(&whole), []);
    assert_eq!(undocumented(&whole.replace("loadtest, models[train]", "loadtest")).len(), 1);
}
