//! What every manifest inherits from the workspace, and the bans of the pure crates.
//!
//! Not here: which crates may be named (`arrows`), licences and sources (cargo-deny).

use toml::{Table, Value};

use crate::Breach;

/// Crates in which no function may read a clock, iterate in random order, or use the platform's float functions.
pub(crate) const PURE_CRATES: &[&str] = &["domain", "expression", "decision"];

/// What the `clippy.toml` of a pure crate must ban.
const BANNED_METHODS: &[&str] = &[
    "std::time::SystemTime::now",
    "std::time::Instant::now",
    "f64::exp",
    "f64::exp2",
    "f64::ln",
    "f64::ln_1p",
    "f64::log2",
    "f64::log10",
    "f64::powf",
    "f64::powi",
    "f64::tanh",
    "f64::mul_add",
];
const BANNED_TYPES: &[&str] = &["std::collections::HashMap", "std::collections::HashSet"];

const INHERITED_KEYS: &[&str] = &["version", "edition", "rust-version", "license", "publish"];

/// Lints that the root must hold, and at least how firmly.
const ROOT_LINTS: &[(&str, &str, &str)] = &[
    ("rust", "unsafe_code", "deny"),
    ("rust", "missing_docs", "warn"),
    ("clippy", "unwrap_used", "warn"),
    ("clippy", "expect_used", "warn"),
    ("clippy", "panic", "warn"),
    ("clippy", "indexing_slicing", "warn"),
];

/// Whatever one crate's manifest decides for itself instead of inheriting it.
pub(crate) fn not_inherited(path: &str, text: &str) -> Vec<Breach> {
    let manifest = parse(path, text);
    let mut breaches = Vec::new();
    let inherits = |value: Option<&Value>| {
        value.and_then(|value| value.get("workspace")).and_then(Value::as_bool) == Some(true)
    };
    if !inherits(manifest.get("lints")) {
        breaches.push(Breach::new(
            "lints",
            path,
            "does not inherit the workspace's lints",
            "add `[lints]` with `workspace = true`",
        ));
    }
    for key in INHERITED_KEYS {
        if !inherits(manifest.get("package").and_then(|package| package.get(key))) {
            breaches.push(Breach::new(
                "inheritance",
                path,
                format!("`package.{key}` is not inherited"),
                format!("write `{key}.workspace = true`"),
            ));
        }
    }
    for (name, dependency) in dependencies(&manifest) {
        if !inherits(Some(dependency)) {
            breaches.push(Breach::new(
                "inheritance",
                path,
                format!("the version of `{name}` is not inherited"),
                format!("put it into the root's [workspace.dependencies], and `{name} = {{ workspace = true }}` here"),
            ));
        }
    }
    breaches
}

fn dependencies(manifest: &Table) -> Vec<(&String, &Value)> {
    const KINDS: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];
    let tables = manifest.get("target").and_then(Value::as_table);
    let per_target = tables.into_iter().flat_map(Table::values).filter_map(Value::as_table);
    let mut found = Vec::new();
    for table in per_target.chain([manifest]) {
        found.extend(KINDS.iter().filter_map(|kind| table.get(*kind)?.as_table()).flatten());
    }
    found
}

/// Lints that the root manifest has let go.
pub(crate) fn weak_root(path: &str, text: &str) -> Vec<Breach> {
    let manifest = parse(path, text);
    let lints = manifest.get("workspace").and_then(|workspace| workspace.get("lints"));
    let strength = |level: &str| ["allow", "warn", "deny", "forbid"].iter().position(|known| *known == level);
    let held = |tool: &str, lint: &str, least: &str| {
        let level = lints.and_then(|lints| lints.get(tool)?.get(lint)?.as_str());
        level.is_some_and(|level| strength(level) >= strength(least))
    };
    ROOT_LINTS
        .iter()
        .filter(|(tool, lint, least)| !held(tool, lint, least))
        .map(|(tool, lint, least)| {
            Breach::new(
                "lints",
                path,
                format!("`{tool}::{lint}` is weaker than `{least}`"),
                "restore it in [workspace.lints]; except a single place with #[expect(.., reason = \"..\")]",
            )
        })
        .collect()
}

/// Bans that a pure crate's `clippy.toml` lacks.
pub(crate) fn missing_bans(path: &str, text: &str) -> Vec<Breach> {
    let file = parse(path, text);
    let listed = |list: &str, wanted: &str| {
        let entries = file.get(list).and_then(Value::as_array).into_iter().flatten();
        entries.clone().any(|entry| {
            entry.as_str() == Some(wanted) || entry.get("path").and_then(Value::as_str) == Some(wanted)
        })
    };
    let methods = BANNED_METHODS.iter().map(|method| ("disallowed-methods", *method));
    let types = BANNED_TYPES.iter().map(|banned| ("disallowed-types", *banned));
    methods
        .chain(types)
        .filter(|(list, wanted)| !listed(list, wanted))
        .map(|(list, wanted)| {
            Breach::new(
                "purity",
                path,
                format!("`{wanted}` is not banned"),
                format!("list it under `{list}`: the crate's answers must not depend on it"),
            )
        })
        .collect()
}

fn parse(path: &str, text: &str) -> Table {
    text.parse().unwrap_or_else(|error| panic!("{path}: {error}"))
}

const GOOD: &str = "
[package]
name = 'augur-x'
version.workspace = true
edition.workspace = true
rust-version.workspace = true
license.workspace = true
publish.workspace = true
[lints]
workspace = true
[dependencies]
serde = { workspace = true }
[target.'cfg(unix)'.dependencies]
libc.workspace = true
";

#[test]
fn a_manifest_that_inherits_everything_passes() {
    assert_eq!(not_inherited("x/Cargo.toml", GOOD), []);
}

#[test]
fn what_a_manifest_decides_for_itself_is_told() {
    for (from, to, rule) in [
        ("[lints]\nworkspace = true\n", "", "lints"),
        ("\nversion.workspace = true", "\nversion = '0.2.0'", "inheritance"),
        ("license.workspace = true\n", "", "inheritance"),
        ("serde = { workspace = true }", "serde = '1'", "inheritance"),
        ("libc.workspace = true", "libc = { version = '0.2' }", "inheritance"),
    ] {
        let text = GOOD.replace(from, to);
        assert_ne!(text, GOOD);
        let breaches = not_inherited("x/Cargo.toml", &text);
        assert_eq!(breaches.iter().map(|breach| breach.rule).collect::<Vec<_>>(), [rule], "{to}");
    }
}

#[test]
fn a_weakened_lint_is_told() {
    let root = "
[workspace.lints.rust]
unsafe_code = 'deny'
missing_docs = 'warn'
[workspace.lints.clippy]
unwrap_used = 'deny'
expect_used = 'warn'
panic = 'warn'
indexing_slicing = 'warn'
";
    assert_eq!(weak_root("Cargo.toml", root), []);
    assert_eq!(
        weak_root("Cargo.toml", &root.replace("unsafe_code = 'deny'", "unsafe_code = 'warn'")).len(),
        1
    );
    assert_eq!(weak_root("Cargo.toml", &root.replace("panic = 'warn'", "panic = 'allow'")).len(), 1);
}

#[test]
fn a_lifted_ban_is_told() {
    let entries =
        |list: &[&str]| list.iter().map(|path| format!("{{ path = '{path}' }},")).collect::<String>();
    let text = format!(
        "disallowed-methods = [{}]\ndisallowed-types = [{}]\n",
        entries(BANNED_METHODS),
        entries(BANNED_TYPES)
    );
    assert_eq!(missing_bans("x/clippy.toml", &text), []);
    let lifted = text.replace("{ path = 'f64::exp' },", "");
    assert_eq!(missing_bans("x/clippy.toml", &lifted)[0].found, "`f64::exp` is not banned");
    assert_eq!(missing_bans("x/clippy.toml", "").len(), BANNED_METHODS.len() + BANNED_TYPES.len());
}
